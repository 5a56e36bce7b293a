//! Reports: what was built in a time, what is being built, what waits.

use crate::{QueueItem, Time};
use agentwright_domain::ids::{RunId, Slug};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The query of `GET /report`: one night that was reported, or a time of one's own; the last 24 hours when nothing is
/// said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportQuery {
    /// From this date (`2026-02-06`, the beginning of that day in the person's zone) or moment on.
    #[garde(inner(length(chars, max = 40)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until this date (with the whole of that day) or moment.
    #[garde(inner(length(chars, max = 40)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The report that was made on the evening of this date.
    #[garde(inner(length(chars, max = 10)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub night: Option<String>,
}

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The evening that it is of, in the person's zone, where it is a nightly one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub night: Option<String>,
    /// From, inclusive.
    pub from: Time,
    /// To, exclusive.
    pub to: Time,
    /// The zone of its days.
    pub zone: String,
    /// Builds that ended, the newest first; at most 2,000.
    pub ended: Vec<ReportBuild>,
    /// What is being built, as it stood when the report was made.
    pub active: Vec<QueueItem>,
    /// What waits, in its order, with the reason.
    pub queue: Vec<QueueItem>,
    /// Failures by their cause, the commonest first.
    pub causes: Vec<ReportCause>,
    /// Everything together.
    pub totals: ReportTotals,
    /// Day by day, oldest first.
    pub days: Vec<ReportDay>,
    /// The same for people, as Markdown.
    pub markdown: String,
}

/// A build that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReportBuild {
    /// Its id.
    pub build: RunId,
    /// Its label.
    pub label: Slug,
    /// `completed`, `failed`, `cancelled`.
    pub status: String,
    /// When it ended.
    pub ended_at: Time,
    /// From its first work to its end, seconds.
    pub took_s: i64,
    /// Of that, work; waiting never counts.
    pub worked_s: i64,
    /// What the item said that it would take, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_s: Option<i64>,
    /// What its models cost, in millionths of a US dollar, as far as it is known.
    pub micro_usd: i64,
    /// Processor time of its tests, ms.
    pub cpu_ms: i64,
    /// The most memory that a test of it held, bytes.
    pub memory_bytes: i64,
    /// What it keeps, bytes.
    pub disk_bytes: i64,
    /// What came of it: a version, an address; or why it failed.
    pub outcome: String,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// How often something was the cause of a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportCause {
    /// The stage and the kind of failure.
    pub cause: String,
    /// How often.
    pub builds: u32,
}

/// Sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportTotals {
    /// Builds that ended well.
    pub completed: u32,
    /// Builds that failed.
    pub failed: u32,
    /// Builds that a person ended.
    pub cancelled: u32,
    /// Of those that ended by themselves, how many of a hundred ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_percent: Option<u32>,
    /// Work, seconds.
    pub worked_s: i64,
    /// Calls of models.
    pub calls: i64,
    /// What they cost, in millionths of a US dollar, as far as it is known.
    pub micro_usd: i64,
    /// Processor time of tests, ms.
    pub cpu_ms: i64,
    /// What is kept, bytes.
    pub disk_bytes: i64,
}

/// One day of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportDay {
    /// The date in the report's zone.
    pub date: String,
    /// Builds that ended well.
    pub completed: u32,
    /// Builds that failed.
    pub failed: u32,
    /// Builds that a person ended.
    pub cancelled: u32,
    /// Work, seconds.
    pub worked_s: i64,
    /// What models of the builds that ended cost, in millionths of a US dollar.
    pub micro_usd: i64,
    /// Processor time of tests, ms.
    pub cpu_ms: i64,
    /// The most memory that a test held, bytes.
    pub memory_bytes: i64,
    /// What is kept, bytes.
    pub disk_bytes: i64,
}
