//! A run: a durable unit of work that the engine carries to an end, whatever its kind.
//!
//! The engine loads a [`Run`], lets an executor work, and asks [`decide`] what the outcome makes of
//! it. The answer is a [`Transition`], written in one commit guarded by [`Run::epoch`]. Approvals,
//! cancels and faults are [`Signal`]s on the same path; there is no other way to change a run.

use crate::approval::{Approval, Grant};
use crate::build::{self, BuildRequest, BuildState, MadeFrom, StageOutcome};
use crate::deployment::{DeployedVersion, Health, ServiceEntry};
use crate::digest::Digest;
use crate::evidence::TestResult;
use crate::execution::{self, ExecutionOutcome, ExecutionState};
use crate::ids::{ApprovalId, OrganizationId, RunId, Slug};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The kinds of run. More come with the issues that need them (invocation, task, chain).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// One automation through all its stages.
    Build,
    /// One firing of a deployed automation.
    Execution,
}

impl RunKind {
    /// As stored and sent.
    pub fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Execution => "execution",
        }
    }
}

/// Where a run stands, for lists and filters. `Leased` alone never means "running": a reader also
/// looks at the lease, and shows `running` only while it is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// May be claimed, now or at its time.
    Ready,
    /// A worker holds it.
    Leased,
    /// Waits for a person.
    Waiting,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Ended by a person.
    Cancelled,
}

impl RunStatus {
    /// As stored.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The inverse of [`Self::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Ready,
            Self::Leased,
            Self::Waiting,
            Self::Completed,
            Self::Failed,
            Self::Cancelled,
        ]
        .into_iter()
        .find(|status| status.word() == word)
    }

    /// Whether nothing can happen to it any more.
    pub fn ended(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Ready | Self::Leased | Self::Waiting => false,
        }
    }
}

/// The state of a run, by kind. Stored as JSON in `runs.state`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Of a build.
    Build(Box<BuildState>),
    /// Of an execution.
    Execution(ExecutionState),
}

/// What a run was asked to do; written once, never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "builds are the usual ones")]
pub enum RunInput {
    /// A build.
    Build(BuildRequest),
    /// An execution needs nothing beyond its state.
    Execution,
}

/// A run as loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Whose.
    pub organization: OrganizationId,
    /// Which.
    pub id: RunId,
    /// What kind.
    pub kind: RunKind,
    /// Name for people; unique among the live runs of one kind in an organization.
    pub label: Slug,
    /// Lower goes first.
    pub priority: i64,
    /// Where it stands.
    pub status: RunStatus,
    /// The kind's own state.
    pub state: RunState,
    /// What it was asked to do.
    pub input: RunInput,
    /// Grows with every write; a commit names the epoch that it saw.
    pub epoch: i64,
    /// Version of the stage definition that it runs on.
    pub definition: u32,
    /// How often it was claimed since its last commit. More than a few mean that it kills its workers.
    pub claims: u32,
    /// Time spent working so far, ms; waiting never counts.
    pub worked_ms: i64,
    /// When the work now being reported began, ms.
    pub attempt_started_at_ms: i64,
    /// The run that this one repeats.
    pub repeats: Option<RunId>,
    /// When it was submitted, ms.
    pub created_at_ms: i64,
    /// When it was first claimed, ms.
    pub started_at_ms: Option<i64>,
    /// When it last showed progress, ms.
    pub progress_at_ms: i64,
    /// When it ended, ms.
    pub ended_at_ms: Option<i64>,
}

/// What a new run is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// Whose.
    pub organization: OrganizationId,
    /// Its id, made by the caller so that a repeated submission is recognised.
    pub id: RunId,
    /// Name for people.
    pub label: Slug,
    /// Lower goes first.
    pub priority: i64,
    /// Where it begins.
    pub state: RunState,
    /// What it was asked to do.
    pub input: RunInput,
    /// Not before this time, ms.
    pub not_before_ms: Option<i64>,
    /// The run that this one repeats.
    pub repeats: Option<RunId>,
}

impl NewRun {
    /// The run as it is when it was just submitted.
    pub fn submitted(self, at_ms: i64) -> Run {
        Run {
            organization: self.organization,
            id: self.id,
            kind: self.state.kind(),
            label: self.label,
            priority: self.priority,
            status: RunStatus::Ready,
            state: self.state,
            input: self.input,
            epoch: 0,
            definition: crate::build::DEFINITION,
            claims: 0,
            worked_ms: 0,
            attempt_started_at_ms: at_ms,
            repeats: self.repeats,
            created_at_ms: at_ms,
            started_at_ms: None,
            progress_at_ms: at_ms,
            ended_at_ms: None,
        }
    }
}

impl RunState {
    /// The kind.
    pub fn kind(&self) -> RunKind {
        match self {
            Self::Build(_) => RunKind::Build,
            Self::Execution(_) => RunKind::Execution,
        }
    }

    /// The stage that it stands at, as stored and shown.
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Build(state) => state.phase.stage_word(),
            Self::Execution(_) => "execute",
        }
    }

    /// Which try at that stage, from 1.
    pub fn attempt(&self) -> u32 {
        match self {
            Self::Build(state) => state.phase.attempt(),
            Self::Execution(state) => state.phase.attempt(),
        }
    }
}

/// How long the work that a run does now may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimit {
    /// From now on, ms.
    pub left_ms: i64,
    /// Which limit it is, in words.
    pub words: &'static str,
}

impl Run {
    /// The limit of the attempt that begins now. Waiting never counts. `None` where the kind's own
    /// work is bounded elsewhere (an execution by its sandbox).
    pub fn time_limit(&self) -> Option<TimeLimit> {
        let RunState::Build(state) = &self.state else {
            return None;
        };
        let build::Phase::Stage { stage, .. } = &state.phase else {
            return None;
        };
        let work_ms = state.policy.work_limit_ms();
        let work_left_ms = (work_ms - self.worked_ms).max(0);
        let stage_ms = stage.limit_ms();
        Some(if work_left_ms < stage_ms {
            TimeLimit {
                left_ms: work_left_ms,
                words: if work_ms > build::WORK_MAX_MS {
                    "twice the time that was estimated for the build is used up"
                } else {
                    "the build's 2 hours of work are used up"
                },
            }
        } else {
            TimeLimit {
                left_ms: stage_ms,
                words: "the stage's time is used up",
            }
        })
    }
}

/// Something that happens to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "signal")]
pub enum Signal {
    /// A build's stage was worked.
    Stage {
        /// What came out.
        outcome: Box<StageOutcome>,
    },
    /// An execution ran.
    Executed {
        /// What came out.
        outcome: Box<ExecutionOutcome>,
    },
    /// A person decided at a gate.
    Decided(Decision),
    /// A person ends it.
    Cancel {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A person lets a run that waits for a spent budget go on.
    Resume {
        /// Who.
        by: String,
    },
    /// The worker failed without an outcome: a panic, a lost dependency, too many dead workers.
    Fault {
        /// What happened.
        message: String,
        /// Whether trying again can help.
        retryable: bool,
    },
    /// Its time is used up.
    Overdue {
        /// Which limit, in words.
        limit: String,
    },
}

/// A person's answer at a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The approval's id, made by the caller.
    pub id: ApprovalId,
    /// Yes or no.
    pub approved: bool,
    /// Who.
    pub by: String,
    /// What they said.
    pub notes: Option<String>,
    /// What they saw; when given it must be what waits.
    pub subject: Option<Digest>,
}

/// What the run does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "next")]
pub enum Next {
    /// The same worker goes on at once.
    Continue,
    /// Back to the queue, not before this time.
    Requeue {
        /// Milliseconds.
        not_before_ms: i64,
    },
    /// Waits for a signal. Holds no lease and no slot.
    Wait,
    /// Ended.
    End {
        /// How.
        status: RunStatus,
    },
}

/// Everything that one commit writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The new state.
    pub state: RunState,
    /// What comes next.
    pub next: Next,
    /// The stage row that ended with this commit.
    pub stage: Option<StageRow>,
    /// Appended to the run's event log, in order.
    pub events: Vec<NewEvent>,
    /// Rows written in the same commit.
    pub records: Vec<Record>,
    /// Notices put into the outbox.
    pub notices: Vec<Notice>,
}

/// How one attempt at a stage ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageRow {
    /// The stage's name.
    pub stage: String,
    /// From 1.
    pub attempt: u32,
    /// `done`, `failed`, `retried`, `skipped`, `cancelled`.
    pub status: String,
    /// Start, ms.
    pub started_at_ms: i64,
    /// End, ms.
    pub ended_at_ms: i64,
    /// One sentence.
    pub summary: String,
}

/// An entry of a run's event log; the store gives it its `seq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// `run.submitted`, `stage.done`, `gate.waiting`, `progress`, …
    pub event: String,
    /// The stage that it belongs to.
    pub stage: String,
    /// One line for people.
    pub message: String,
    /// Details; `Null` when there are none.
    pub data: Value,
}

impl NewEvent {
    /// An event without details.
    pub fn new(event: &str, stage: &str, message: impl Into<String>) -> Self {
        Self {
            event: event.to_owned(),
            stage: stage.to_owned(),
            message: message.into(),
            data: Value::Null,
        }
    }
}

/// A row beside the run, written in the same commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record", content = "row")]
pub enum Record {
    /// One level's result; the pair (run, attempt, level) is written over when repeated.
    TestResult(TestResult),
    /// A decision.
    Approval(Approval),
    /// A grant.
    Grant(Box<Grant>),
    /// A new version, which becomes the active one.
    Version(Box<DeployedVersion>),
    /// How an execution leaves its deployment.
    Health(Health),
    /// A directory entry.
    Service(ServiceEntry),
    /// What an execution used.
    Usage(Usage),
    /// A named artifact of the run.
    Artifact(crate::evidence::EvidenceRef),
    /// No row but a condition of the commit: where it does not hold nothing is written, and the stage is done again.
    Expects(Expected),
    /// The same for a change: the version that it replaces is the active one.
    Replaces(Replaced),
}

/// What a version that is written was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// The deployment.
    pub name: Slug,
    /// Whether there is one of that name.
    pub deployed: bool,
}

/// The version that a change replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// The deployment.
    pub name: Slug,
    /// Which version of it.
    pub version: MadeFrom,
}

/// What some work used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Wall clock.
    pub wall_ms: u64,
    /// Processor time.
    pub cpu_ms: u64,
    /// Largest resident memory.
    pub max_rss_bytes: u64,
}

/// Something to tell a person; delivered by the outbox through the configured channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// `build.waiting`, `build.failed`, `execution.failed`, `automation.paused`, `automation.notice`, …
    pub topic: String,
    /// One line.
    pub title: String,
    /// Some lines.
    pub body: String,
}

/// Why a signal changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has ended.
    #[error("{label} has already ended as {status}", status = status.word())]
    Ended {
        /// Which run.
        label: Slug,
        /// How it ended.
        status: RunStatus,
    },
    /// A decision, but nothing waits for one.
    #[error("{label} does not wait for a decision; it is at {stage}")]
    NotWaiting {
        /// Which run.
        label: Slug,
        /// Where it is.
        stage: String,
    },
    /// A decision on something else than what waits.
    #[error("what waits at {label} is now {current}, not {given}: look again before you decide")]
    Stale {
        /// Which run.
        label: Slug,
        /// What waits.
        current: Digest,
        /// What was decided on.
        given: Digest,
    },
    /// It cannot be resumed: it does not wait for a budget.
    #[error("{label} does not wait for a budget; it is at {stage}")]
    NotSpent {
        /// Which run.
        label: Slug,
        /// Where it is.
        stage: String,
    },
    /// An outcome for work that this run is not doing.
    #[error("{label} is not at work on that")]
    NotWorking {
        /// Which run.
        label: Slug,
    },
}

/// Decides what a signal makes of a run. Pure; the one entry for the engine.
pub fn decide(run: &Run, signal: &Signal, now_ms: i64) -> Result<Transition, Refusal> {
    if run.status.ended() {
        return Err(Refusal::Ended {
            label: run.label.clone(),
            status: run.status,
        });
    }
    match &run.state {
        RunState::Build(state) => build::decide(run, state, signal, now_ms),
        RunState::Execution(state) => execution::decide(run, state, signal, now_ms),
    }
}

/// The first pause after a retryable fault.
pub const BACKOFF_FIRST_MS: i64 = 1_000;
/// The longest pause between tries.
pub const BACKOFF_MAX_MS: i64 = 5 * 60_000;

/// The pause before try `attempt + 1`: doubles from `first_ms`, never above [`BACKOFF_MAX_MS`].
pub fn backoff_ms(first_ms: i64, attempt: u32) -> i64 {
    let doublings = attempt.saturating_sub(1).min(30);
    first_ms
        .saturating_mul(1_i64 << doublings)
        .clamp(0, BACKOFF_MAX_MS)
}
