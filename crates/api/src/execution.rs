//! Executions: the firings of deployed automations.

use crate::time::Time;
use agentwright_domain::execution::Firing;
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::run::Usage;
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One firing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Execution {
    /// Its run.
    pub id: RunId,
    /// Of which deployment.
    pub deployment: Slug,
    /// Of which version.
    pub version: u32,
    /// Why it fired.
    #[serde(flatten)]
    pub firing: Firing,
    /// How it stands.
    pub status: ExecutionStatus,
    /// Which try, from 1.
    pub attempt: u32,
    /// Why it failed or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it fired.
    pub created_at: Time,
    /// When a worker took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// The `seq` of its last event.
    pub seq: i64,
    /// What it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// How an execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionStatus {
    /// Due; no worker has it, or it waits for its next try.
    Queued,
    /// A live worker has it.
    Running,
    /// Its worker is gone; another one takes over.
    Resuming,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Ended by a person.
    Cancelled,
}

/// The query of `GET /deployments/{name}/executions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct ExecutionQuery {
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 1, max = crate::LIST_MAX))]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = 64))]
    pub before: Option<String>,
}

/// The query of `GET /deployments/{name}/logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// Which execution; the newest when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = 64))]
    pub execution: Option<String>,
}

/// The query of `GET /executions/{id}`: with `wait_after` the answer comes as soon as there is an event with a
/// greater `seq`, at the latest after `timeout_s`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// The `seq` that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 0))]
    pub wait_after: Option<i64>,
    /// Seconds; [`crate::WAIT_DEFAULT_S`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 0, max = crate::WAIT_MAX_S))]
    pub timeout_s: Option<u32>,
}

/// What an execution wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionLog {
    /// Which one.
    pub execution: Execution,
    /// Its output; while it runs, what there is so far.
    pub text: String,
    /// How many bytes at the beginning were left out.
    pub omitted_bytes: u64,
}
