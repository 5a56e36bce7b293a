//! Our tables: all their SQL, on SQLite and on PostgreSQL, behind one struct, [`Store`].
//!
//! One SQL text per statement for both engines. Every write of a run goes through one group
//! committer (`group`), which turns waiting operations into one durable transaction; nothing else
//! writes those tables. Reads and the few other writes are methods here, by noun. The store knows no decisions: what a
//! transition is, `domain` says. Start with [`Store::open`], then `group.rs`.

mod artifacts;
mod audit;
mod backlogs;
mod connections;
mod db;
mod decision_tokens;
mod deployments;
mod dump;
mod error;
mod figures;
mod group;
mod history;
mod idempotency;
mod keys;
mod migrate;
mod open;
mod organizations;
mod outbox;
mod queue;
mod removal;
mod reports;
mod rows;
mod runs;
mod scope;
mod secret;
mod sessions;
mod spend;
mod tenancy;
mod watch;
mod whole;

pub use artifacts::{ARTIFACT_MAX_BYTES, ARTIFACTS_QUOTA_BYTES};
pub use audit::{AUDIT_PAGE_MAX, Actor, Audit, AuditRow, AuditVerdict, BrokenRow, Change};
pub use backlogs::{BacklogSource, KnownRow, SOURCES_MAX};
pub use db::Statement;
pub use decision_tokens::DecisionToken;
pub use dump::{load_postgres, postgres_place};
pub use error::{CommitError, Error, Found, OpenError, SubmitError};
pub use figures::{EndedRow, Order, Search};
pub use group::{Claim, Commit, Committed, KindLimit, Report, Submitted, Writer};
pub use history::{BUILDS_MAX, BuildFilter, BuildRow, EndedBuild, Standing};
pub use idempotency::Remembered;
pub use keys::{
    ApiKey, KEY_ORGANIZATIONS_MAX, KEY_PREFIX, KEYS_MAX, KeyCheck, NewKey, NewKeyError,
};
pub use open::{Location, Options, Time};
pub use organizations::OrganizationRow;
pub use outbox::{Delivery, OutboxRow, Told};
pub use queue::{Answer, Backlog, BeingBuilt, IDEAS_MAX, Idea, Look, RECEIPTS_MAX, Receipt};
pub use removal::{Deleted, Retention, SWEEP_MAX};
pub use reports::{EndedOf, KeptReport};
pub use rows::{DeploymentRow, Event, RunFilter, RunRow, TestResultRow, UsageTotals};
pub use runs::EVENTS_MAX;
pub use scope::OrgScope;
pub use sessions::{LOGIN_CODE_MS, SESSION_MS, SESSIONS_MAX, Session};
pub use spend::{Budgets, COSTS_MAX, CostRow, CostsBy, DAY_MS, Reserved};

use std::sync::Arc;

/// The open store. Cheap to clone; the database closes when the last clone is gone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<open::Inner>,
}

impl Store {
    /// A new id: UUIDv7, so that ids sort by the time they were made.
    pub fn new_id(&self) -> String {
        uuid::Uuid::now_v7().to_string()
    }
}

/// Every statement of this crate, with how often this process has executed it.
pub fn statements() -> Vec<&'static Statement> {
    let mut all = group::statements();
    for of in [
        artifacts::STATEMENTS,
        backlogs::STATEMENTS,
        decision_tokens::STATEMENTS,
        audit::STATEMENTS,
        deployments::STATEMENTS,
        history::STATEMENTS,
        figures::STATEMENTS,
        idempotency::STATEMENTS,
        keys::STATEMENTS,
        open::STATEMENTS,
        organizations::STATEMENTS,
        outbox::STATEMENTS,
        queue::STATEMENTS,
        removal::STATEMENTS,
        reports::STATEMENTS,
        runs::STATEMENTS,
        secret::STATEMENTS,
        sessions::STATEMENTS,
        spend::STATEMENTS,
    ] {
        all.extend(of);
    }
    all
}
