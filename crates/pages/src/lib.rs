//! What people see in a browser: one struct for each page, its template, and the embedded assets.
//!
//! Not here: routes, rows, who may do what (`server`). A page is made from what goes over the wire of
//! `/api/v1` and from what the server says about the request ([`Shell`]); rendering is pure. Every text is
//! escaped by the templates; only the types of `parts.rs`, templates themselves, are put in as they are.
//! Links are relative to the page's `<base>`, so that everything works behind a path prefix.
//! Start at [`Shell`], then `templates/shell.html` and one page, for example [`BuildPage`].

mod approvals;
pub mod assets;
mod build;
mod builds;
mod code;
mod deployment;
mod deployments;
mod diff;
mod fresh;
mod gate;
mod home;
mod ledger;
mod login;
mod money;
mod parts;
mod problem;
mod progress;
mod queue;
mod report;
mod settings;
mod shell;
mod words;

pub use approvals::Approvals;
pub use askama::{Error as RenderError, Template};
pub use build::{BuildGiven, BuildPage};
pub use builds::{Builds, BuildsQuery, Row};
pub use deployment::{DeploymentGiven, DeploymentPage};
pub use deployments::{Deployments, Services};
pub use diff::{Change, Step};
pub use fresh::{Asked, Forecast, Fresh, Matched, forecast};
pub use gate::{Ask, Gated, SAW, Saw};
pub use home::{Home, HomeGiven};
pub use ledger::{AuditLine, AuditPage};
pub use login::Login;
pub use money::{Costs, CostsGiven, Finished, Insights, InsightsGiven};
pub use problem::ProblemPage;
pub use progress::Progress;
pub use queue::{Queue, QueueGiven, QueueTyped};
pub use report::ReportPage;
pub use settings::{KeyLine, OrganizationLine, SessionLine, Settings, ShownOnce};
pub use shell::{Live, Section, Shell};
