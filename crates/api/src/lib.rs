//! What goes over the wire of `/api/v1`, and the typed client for it.
//!
//! Not here: routes, rows and decisions. A request refuses unknown fields and is checked with
//! [`garde::Validate`] before anything happens; an answer may grow fields, and a reader ignores those that
//! it does not know. Start at [`Client`], then [`CreateBuild`] and [`Build`].

mod access;
mod backlog;
mod build;
mod client;
mod deployment;
mod event;
mod execution;
pub mod executor;
mod files;
mod plan;
mod problem;
mod queue;
mod report;
mod socket;
mod spending;
mod system;
mod time;

pub use access::{
    AuditBreak, AuditEntry, AuditQuery, AuditReport, CSRF_FIELD, CSRF_HEADER, CreateKey,
    CreateLoginCode, CreateOrganization, CreatedKey, DeletedOrganization, KEY_DAYS_MAX, KEY_HEADER,
    Key, LoginCode, Me, NAME_MAX, ORGANIZATION_HEADER, Organization, SessionInfo,
};
pub use backlog::{ConnectTable, ConnectedTable, TableRow};
pub use build::{
    Approval, Artifact, Build, BuildDetail, BuildQuery, BuildState, BuildStatus, BuildSummary,
    CancelRequest, CreateBuild, Decide, DecisionRequest, DeployBuild, Deployed, Digests,
    LevelResult, NOTES_MAX_CHARS, Replayed, RetryBuild, ShowQuery, StageResult, Until, View,
    WaitingQuery,
};
pub use client::{Client, ClientError, EventStream, REPLY_MAX_BYTES};
pub use deployment::{
    ActivityNow, Deployment, DeploymentDetail, Export, ExportRequest, PauseRequest, Removed,
    RollbackRequest, Service, Version,
};
pub use event::{CloudEvent, Cursor, Event, EventQuery, FollowQuery, Log, LogLine};
pub use execution::{
    Execution, ExecutionLog, ExecutionQuery, ExecutionStatus, LogQuery, WaitQuery,
};
pub use files::{ChangedFile, Commit, Diff, DiffQuery, FILES_MAX, FileEntry, FilesQuery};
pub use plan::{Choice, Difference, Missing, Plan, PlanRequest, PlanVerdict};
pub use problem::{FieldProblem, Problem, code};
pub use queue::{
    Beat, BeatMode, BeatRequest, Heartbeat, HeartbeatLook, HookTaken, QUEUE_ADD_MAX, QueueAdd,
    QueueAdds, QueueChange, QueueImport, QueueImported, QueueItem, QueuePriority, QueueProgress,
    QueueSuggestion, QueueWhy, Receipt,
};
pub use report::{Report, ReportBuild, ReportCause, ReportDay, ReportQuery, ReportTotals};
pub use socket::ReachableSocket;
pub use spending::{BudgetNow, BudgetQuery, COST_DAYS_MAX, Cost, CostQuery, CostsBy, SetBudget};
pub use system::{Check, CheckStatus, Doctor, Health, Snapshot, StoreKind, Supervision};
pub use time::Time;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of this surface; the first part of every path.
pub const PREFIX: &str = "/api/v1";
/// The largest request body, in bytes.
pub const BODY_MAX_BYTES: usize = 2 << 20;
/// The longest that one long poll is held, seconds.
pub const WAIT_MAX_S: u32 = 60;
/// How long one is held where no time is asked for, seconds.
pub const WAIT_DEFAULT_S: u32 = 30;
/// The longest list in one answer.
pub const LIST_MAX: u32 = 500;
/// The list's length where none is asked for.
pub const LIST_DEFAULT: u32 = 100;
/// The header that makes a creating request repeatable.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// The longest idempotency key, in bytes.
pub const IDEMPOTENCY_MAX: usize = 200;

/// One page of a list, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Give it as `before` to get the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
