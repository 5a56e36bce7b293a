//! Rows as readers get them.

use agentwright_domain::deployment::Activity;
use agentwright_domain::evidence::TestResult;
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::run::{RunKind, RunStatus};
use serde_json::Value;

/// One line of a list of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    /// Which.
    pub id: RunId,
    /// What kind.
    pub kind: RunKind,
    /// Name for people.
    pub label: Slug,
    /// Lower goes first.
    pub priority: i64,
    /// Where it stands.
    pub status: RunStatus,
    /// The stage that it stands at.
    pub stage: String,
    /// Which try at it.
    pub attempt: u32,
    /// Whether a worker's lease on it is live now: only then may it be called running.
    pub live: bool,
    /// The newest event of it.
    pub event_seq: i64,
    /// Not before this time, ms, while it is ready.
    pub not_before_ms: Option<i64>,
    /// The run that it repeats.
    pub repeats: Option<RunId>,
    /// Time spent working, ms.
    pub worked_ms: i64,
    /// When it was submitted, ms.
    pub created_at_ms: i64,
    /// When it was first claimed, ms.
    pub started_at_ms: Option<i64>,
    /// When it last showed progress, ms.
    pub progress_at_ms: i64,
    /// When it ended, ms.
    pub ended_at_ms: Option<i64>,
}

/// Which runs a list holds; newest first.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only this kind.
    pub kind: Option<RunKind>,
    /// Only in this status.
    pub status: Option<RunStatus>,
    /// Only those not ended (`true`) or ended (`false`).
    pub open: Option<bool>,
    /// Only with exactly this label.
    pub label: Option<Slug>,
    /// At most so many; 0 means [`RunFilter::LIMIT_DEFAULT`].
    pub limit: u32,
    /// Only older than this run: the cursor of the page before.
    pub before: Option<RunId>,
}

impl RunFilter {
    /// Rows of a page when nothing is asked.
    pub const LIMIT_DEFAULT: u32 = 100;
    /// The most rows of a page.
    pub const LIMIT_MAX: u32 = 1_000;
}

/// An entry of a run's event log.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// 1, 2, 3, … without gaps within the run.
    pub seq: i64,
    /// When, ms.
    pub at_ms: i64,
    /// `run.submitted`, `stage.done`, …
    pub event: String,
    /// The stage that it belongs to.
    pub stage: String,
    /// One line for people.
    pub message: String,
    /// Details; `Null` when there are none.
    pub data: Value,
}

/// One level's result, with the attempt that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct TestResultRow {
    /// Which try at verify.
    pub attempt: u32,
    /// When, ms.
    pub at_ms: i64,
    /// What was seen.
    pub result: TestResult,
}

/// What all executions of a label used together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageTotals {
    /// How many executions.
    pub runs: u64,
    /// Wall clock.
    pub wall_ms: u64,
    /// Processor time.
    pub cpu_ms: u64,
    /// Largest resident memory of any.
    pub max_rss_bytes: u64,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentRow {
    /// The automation.
    pub name: Slug,
    /// The version that fires.
    pub active_version: u32,
    /// Whether it fires.
    pub activity: Activity,
    /// Failed executions in a row.
    pub failures_in_a_row: u32,
    /// When it fires next, ms; `None` until the runtime has worked it out, or when nothing is due.
    pub next_due_at_ms: Option<i64>,
    /// The execution that goes on now.
    pub current_run: Option<RunId>,
    /// Where it answers.
    pub endpoint: Option<String>,
    /// Grows with every change; guarded writes name the one that they saw.
    pub revision: i64,
}
