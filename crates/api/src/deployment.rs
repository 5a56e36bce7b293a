//! Deployments: what runs by itself, its versions, and what a person can ask of it.

use crate::build::by_text;
use crate::execution::Execution;
use crate::time::Time;
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::spec::{AutomationKind, Permissions, Trigger};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A deployed automation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deployment {
    /// Its name.
    pub name: Slug,
    /// What it is.
    pub kind: AutomationKind,
    /// What it does.
    pub purpose: String,
    /// The active version.
    pub version: u32,
    /// Whether it fires.
    #[serde(flatten)]
    pub activity: ActivityNow,
    /// When it runs.
    pub trigger: Trigger,
    /// When it fires next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_due_at: Option<Time>,
    /// The execution that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_execution: Option<RunId>,
    /// Where it answers; services only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Failed executions in a row.
    pub failures_in_a_row: u32,
    /// When the active version was deployed.
    pub deployed_at: Time,
}

/// Whether a deployment fires, as seen now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "activity")]
pub enum ActivityNow {
    /// It fires when it is due.
    Active,
    /// It does not fire.
    Paused {
        /// Why.
        reason: String,
        /// Since when.
        since: Time,
    },
    /// Nothing of it runs.
    Stopped {
        /// Since when.
        since: Time,
    },
}

/// `GET /deployments/{name}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub deployment: Deployment,
    /// What the active version may touch.
    pub permissions: Permissions,
    /// All versions, newest first.
    pub versions: Vec<Version>,
    /// The newest executions, newest first.
    pub executions: Vec<Execution>,
    /// The private directory that survives versions, on the host.
    pub state_dir: String,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// 1, 2, 3, …
    pub version: u32,
    /// Whether it is the active one.
    pub active: bool,
    /// The build that made it.
    pub build: RunId,
    /// The tree of code.
    pub code: Digest,
    /// When.
    pub deployed_at: Time,
    /// When its grant was taken back; it cannot become active again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Time>,
}

/// `POST /deployments/{name}/pause`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(by_text)))]
    #[schemars(length(max = crate::build::BY_MAX_CHARS))]
    pub reason: Option<String>,
}

/// `POST /deployments/{name}/rollback`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Which version; the one before the active one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 1))]
    pub to: Option<u32>,
}

/// `POST /deployments/{name}/export`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// The directory to write; absolute, absent or empty.
    #[garde(custom(crate::build::absolute))]
    pub to: String,
}

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Export {
    /// The directory.
    pub dir: String,
    /// The version.
    pub version: u32,
    /// For a schedule: the line for a crontab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crontab: Option<String>,
    /// The command that runs it.
    pub command: String,
}

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    /// The name, free again.
    pub name: Slug,
    /// How many versions it had.
    pub versions: u32,
}

/// One entry of the service directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// The automation.
    pub name: Slug,
    /// What it is.
    pub kind: AutomationKind,
    /// What it does.
    pub purpose: String,
    /// Active version.
    pub version: u32,
    /// Where it answers; services only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// When it was registered.
    pub registered_at: Time,
}
