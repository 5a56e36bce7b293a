//! The daemon itself: whether it is well, what the machine can do, what keeps it running.

use crate::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `healthy`, `stopping`, or `fenced`: restored from a backup and not confirmed, so that nothing is worked.
    pub status: String,
    /// Always `agentwright`.
    pub service: String,
    /// The program's version.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// Since when.
    pub started_at: Time,
    /// New at every start.
    pub boot_id: String,
    /// The data directory.
    pub data_dir: String,
    /// Where TCP is listened on, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
}

/// `GET /doctor`: what was looked at, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Doctor {
    /// The worst status among the checks.
    pub status: CheckStatus,
    /// Each check.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// `sandbox`, `git`, `python3`, …
    pub name: String,
    /// How it stands.
    pub status: CheckStatus,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How a check stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// Something optional is absent or weaker.
    Warning,
    /// Builds or deployments do not work.
    Failed,
}

/// What starts the daemon when the machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Supervision {
    /// A systemd unit of the machine.
    SystemdSystem,
    /// A systemd unit of the user.
    SystemdUser,
    /// An `@reboot` line in the user's crontab.
    Crontab,
    /// Nothing: after a restart of the machine nothing runs until a command is given.
    None,
}

/// What the tables are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// A file of the data directory.
    #[default]
    Sqlite,
    /// A database server.
    Postgres,
}

/// `POST /snapshots`: a copy of the database as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// The file, in the data directory; whoever asked takes it away.
    pub file: String,
    /// The moment.
    pub made_at: Time,
    /// Of what it is a copy.
    pub store: StoreKind,
}
