//! Builds: creating, showing and deciding.

use crate::plan::PlanRequest;
use crate::time::Time;
use agentwright_domain::approval::{Gate, GateReason, Subject};
use agentwright_domain::build::{ApprovalMode, FailureClass, INTENT_MAX_CHARS, Mends};
use agentwright_domain::digest::Digest;
use agentwright_domain::evidence::{Level, Verdict};
use agentwright_domain::ids::{ApprovalId, RunId, Slug};
use agentwright_domain::spec::{REPAIR_BUILDS_MAX, Spec};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The most inputs given beside a sentence.
pub(crate) const INPUTS_MAX: usize = 64;
/// The longest name or text of a person, in characters.
pub(crate) const BY_MAX_CHARS: usize = 1_000;
/// The longest notes of a decision, in characters.
pub const NOTES_MAX_CHARS: usize = 4_000;
/// The longest path, in bytes (Linux `PATH_MAX`).
pub(crate) const PATH_MAX_BYTES: usize = 4_096;
/// The most extra foundation directories.
const FOUNDATIONS_MAX: usize = 16;
/// The lowest and highest priority number.
const PRIORITY_MAX: i64 = 1_000_000;
/// The most repairs: with the first writing they are all tries that a stage has.
const REPAIRS_MAX: u32 = agentwright_domain::build::ATTEMPTS_MAX - 1;

/// `POST /builds`. Takes an `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct CreateBuild {
    /// The sentence; empty when a spec is given.
    #[serde(default)]
    #[garde(length(chars, max = INTENT_MAX_CHARS), custom(one_wish(self.spec.is_some())))]
    pub intent: String,
    /// A ready spec instead of an intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub spec: Option<Box<Spec>>,
    /// Inputs given beside the sentence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(custom(few_inputs))]
    #[schemars(extend("maxProperties" = INPUTS_MAX))]
    pub inputs: BTreeMap<String, Value>,
    /// The directory that relative paths are meant from; absolute.
    #[garde(custom(absolute))]
    #[schemars(regex(pattern = "^/"), length(max = PATH_MAX_BYTES))]
    pub base_dir: String,
    /// The person's time zone, IANA.
    #[garde(custom(short_zone))]
    pub zone: String,
    /// Name for people; made from the intent when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub label: Option<Slug>,
    /// When a person is asked.
    #[serde(default)]
    #[garde(skip)]
    pub mode: ApprovalMode,
    /// Whether it goes on after verify.
    #[serde(default = "yes")]
    #[garde(skip)]
    pub auto_deploy: bool,
    /// A yes in advance: the `permissions_digest` of the plan that the person saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub advance: Option<Digest>,
    /// Whether the target counts as production.
    #[serde(default)]
    #[garde(skip)]
    pub production: bool,
    /// Repairs of code that does not hold; 0 to 9, 9 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(max = REPAIRS_MAX)))]
    #[schemars(range(max = REPAIRS_MAX))]
    pub repairs: Option<u32>,
    /// Whether it may wait for a model's quota to come back.
    #[serde(default = "yes")]
    #[garde(skip)]
    pub wait_for_quota: bool,
    /// Repair builds that failures of the deployed result may start in a row, each through its own gates; as the spec or
    /// the deployed version has it where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(max = REPAIR_BUILDS_MAX)))]
    pub repair_failing: Option<u32>,
    /// Lower goes first.
    #[serde(default)]
    #[garde(range(min = -PRIORITY_MAX, max = PRIORITY_MAX))]
    pub priority: i64,
    /// The deployment that is to be changed: the next version of what exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub changes: Option<Slug>,
    /// The version of it that was planned from: where another one is active by now the build is refused. The active one
    /// where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub from_version: Option<u32>,
    /// Extra foundation directories, absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(custom(few_foundations))]
    #[schemars(length(max = FOUNDATIONS_MAX), inner(regex(pattern = "^/")))]
    pub foundations: Vec<String>,
}

impl CreateBuild {
    /// The build of what was planned, with everything else left at its default.
    pub fn of(plan: PlanRequest) -> Self {
        Self {
            intent: plan.intent,
            spec: plan.spec,
            inputs: plan.inputs,
            base_dir: plan.base_dir,
            zone: plan.zone,
            label: None,
            mode: ApprovalMode::default(),
            auto_deploy: true,
            advance: None,
            production: false,
            repairs: None,
            wait_for_quota: true,
            repair_failing: None,
            priority: 0,
            changes: plan.changes,
            from_version: None,
            foundations: plan.foundations,
        }
    }
}

fn yes() -> bool {
    true
}

/// A build, without what its stages left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Build {
    /// Its run.
    pub id: RunId,
    /// Name for people.
    pub label: Slug,
    /// How it stands.
    #[serde(flatten)]
    pub state: BuildState,
    /// The stage or gate that it is at, or ended at.
    pub stage: String,
    /// Which try at it, from 1.
    pub attempt: u32,
    /// The sentence; empty when a spec was given.
    pub intent: String,
    /// The automation's name, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Slug>,
    /// When a person is asked.
    pub mode: ApprovalMode,
    /// Whether it goes on after verify.
    pub auto_deploy: bool,
    /// Lower goes first.
    pub priority: i64,
    /// When it was submitted.
    pub created_at: Time,
    /// When it was first worked on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it last showed progress.
    pub progress_at: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Time spent working, waiting not counted.
    pub worked_ms: i64,
    /// The build that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<RunId>,
    /// The deployment that it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Slug>,
    /// The version of it that the change is made from, and that it replaces while it is the active one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_version: Option<u32>,
    /// The build whose result it deploys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploys: Option<RunId>,
    /// The failed execution that started it, and whose version it mends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mends: Option<Mends>,
    /// What it deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed: Option<Deployed>,
}

impl Build {
    /// The status without its details.
    pub fn status(&self) -> BuildStatus {
        self.state.status()
    }
}

/// A line of the list of builds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildSummary {
    /// Its run.
    pub id: RunId,
    /// Name for people.
    pub label: Slug,
    /// How it stands.
    pub status: BuildStatus,
    /// The stage or gate that it is at, or ended at.
    pub stage: String,
    /// Which try at it, from 1.
    pub attempt: u32,
    /// Lower goes first.
    pub priority: i64,
    /// When it was submitted.
    pub created_at: Time,
    /// When it was first worked on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it last showed progress.
    pub progress_at: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// When it is tried again; while it is queued for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// Time spent working, waiting not counted.
    pub worked_ms: i64,
    /// The build that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<RunId>,
}

/// How a build stands, with what belongs to that status. On the wire `status` and its fields stand beside
/// the build's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum BuildState {
    /// Waits for a worker, or for the time of its next try.
    Queued,
    /// A live worker has it.
    Running,
    /// Its worker is gone; another one takes over.
    Resuming,
    /// Waits for a person.
    Waiting {
        /// At which gate.
        gate: Gate,
        /// Why.
        reasons: Vec<GateReason>,
        /// What exactly is asked; its `digest` goes into the decision.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<Subject>,
        /// Since when.
        since: Time,
    },
    /// A budget is spent: waits until it is raised and the build resumed.
    Spent {
        /// Which budget, in words.
        limit: String,
        /// Since when.
        since: Time,
    },
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed {
        /// What kind of end.
        class: FailureClass,
        /// Why.
        reason: String,
    },
    /// A person said no.
    Rejected {
        /// At which gate.
        gate: Gate,
        /// Who.
        by: String,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notes: Option<String>,
    },
    /// A person ended it.
    Cancelled {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
}

impl BuildState {
    /// The word alone.
    pub fn status(&self) -> BuildStatus {
        match self {
            Self::Queued => BuildStatus::Queued,
            Self::Running => BuildStatus::Running,
            Self::Resuming => BuildStatus::Resuming,
            Self::Waiting { .. } | Self::Spent { .. } => BuildStatus::Waiting,
            Self::Completed => BuildStatus::Completed,
            Self::Failed { .. } => BuildStatus::Failed,
            Self::Rejected { .. } => BuildStatus::Rejected,
            Self::Cancelled { .. } => BuildStatus::Cancelled,
        }
    }
}

/// The statuses of a build on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildStatus {
    /// Waits for a worker.
    Queued,
    /// A live worker has it.
    Running,
    /// Its worker is gone; another one takes over.
    Resuming,
    /// Waits for a person.
    Waiting,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// A person said no.
    Rejected,
    /// A person ended it.
    Cancelled,
}

impl BuildStatus {
    /// Whether nothing can happen to it any more.
    pub fn ended(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Rejected | Self::Cancelled => true,
            Self::Queued | Self::Running | Self::Resuming | Self::Waiting => false,
        }
    }

    /// As sent.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Resuming => "resuming",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a build deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deployed {
    /// The deployment.
    pub name: Slug,
    /// The version.
    pub version: u32,
    /// Where it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// `GET /builds/{id}`: a build with everything that its stages left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BuildDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub build: Build,
    /// The `seq` of its last event; give it as `wait_after` to wait for the next.
    pub seq: i64,
    /// Each ended attempt at a stage, in order.
    pub stages: Vec<StageResult>,
    /// Each level's result, in order.
    pub levels: Vec<LevelResult>,
    /// Each decision, in order.
    pub approvals: Vec<Approval>,
    /// What was kept.
    pub artifacts: Vec<Artifact>,
    /// What the dry run on the person's data said, line by line.
    pub preview: Vec<String>,
    /// What asks for a person.
    pub risks: Vec<String>,
    /// What the build is made of.
    pub digests: Digests,
    /// Its git repository on the host.
    pub repository: String,
}

/// The names of exactly what a build is made of; absent while unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Digests {
    /// The spec, acceptance included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<Digest>,
    /// The sealed acceptance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<Digest>,
    /// Permissions, trigger and target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Digest>,
    /// The tree of code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Digest>,
    /// The tree that review passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reviewed: Option<Digest>,
    /// The tree that verify passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Digest>,
    /// What verify saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Digest>,
}

/// How one attempt at a stage ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageResult {
    /// The stage's name.
    pub stage: String,
    /// From 1.
    pub attempt: u32,
    /// `done`, `failed`, `retried`, `skipped`, `cancelled`.
    pub status: String,
    /// Start.
    pub started_at: Time,
    /// End.
    pub ended_at: Time,
    /// Between them.
    pub duration_ms: i64,
    /// One sentence.
    pub summary: String,
}

/// The result of one level of verify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LevelResult {
    /// The attempt at verify that it belongs to.
    pub attempt: u32,
    /// 0 to 4.
    pub number: u8,
    /// Its word.
    pub level: Level,
    /// Whether it held.
    pub verdict: Verdict,
    /// What held, or the first thing that did not.
    pub summary: String,
    /// What was done and seen, line by line.
    pub log: String,
    /// What was kept.
    pub evidence: Vec<Artifact>,
    /// Wall clock.
    pub duration_ms: u64,
    /// Processor time of the code under test.
    pub cpu_ms: u64,
    /// Largest resident memory of the code under test.
    pub max_rss_bytes: u64,
    /// How strong the walls were.
    pub tier: String,
}

/// A recorded decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// Which gate.
    pub gate: Gate,
    /// What was decided on.
    pub subject: Digest,
    /// Yes or no.
    pub approved: bool,
    /// Who.
    pub by: String,
    /// When.
    pub at: Time,
    /// What they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Whether it was given in advance.
    pub in_advance: bool,
}

/// One kept file: `GET /builds/{id}/artifacts/{name}` gives its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// Its name.
    pub name: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

/// How much `GET /builds/{id}` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// A [`BuildDetail`] with everything.
    #[default]
    Full,
    /// A [`BuildDetail`] whose lists are empty: cheap, for waiting.
    Brief,
}

/// What a waiting `GET /builds/{id}` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Ended, or waiting for a person: nothing more happens by itself.
    Settled,
}

/// The query of `GET /builds/{id}`. With `wait_after` or `wait_until` the answer comes as soon as that is
/// so, at the latest after `timeout_s`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct ShowQuery {
    /// Until there is an event with a greater `seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 0))]
    pub wait_after: Option<i64>,
    /// Until the build stands so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub wait_until: Option<Until>,
    /// Seconds; [`crate::WAIT_DEFAULT_S`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 0, max = crate::WAIT_MAX_S))]
    pub timeout_s: Option<u32>,
    /// How much is told.
    #[serde(default)]
    #[garde(skip)]
    pub view: View,
}

/// The query of `GET /builds`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct BuildQuery {
    /// Only builds of this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub status: Option<BuildStatus>,
    /// Only builds of this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub label: Option<Slug>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 1, max = crate::LIST_MAX))]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = 64))]
    pub before: Option<String>,
}

/// The query of `GET /approvals`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct WaitingQuery {
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 1, max = crate::LIST_MAX))]
    pub limit: Option<u32>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decide {
    /// Go on.
    Approve,
    /// End it.
    Reject,
}

/// `POST /builds/{id}/decisions`. Who decides is known from the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    /// Yes or no.
    #[garde(skip)]
    pub decision: Decide,
    /// The `digest` of the subject that the person saw; anything else is stale. A yes needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(custom(yes_to_something(self.decision)))]
    pub subject: Option<Digest>,
    /// What they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(chars, max = NOTES_MAX_CHARS))]
    pub notes: Option<String>,
}

/// `POST /builds/{id}/cancel`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(by_text)))]
    #[schemars(length(max = BY_MAX_CHARS))]
    pub reason: Option<String>,
}

/// How a replay came out: `GET /builds/{id}/replay`, where `id` is the replay's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// The build that was replayed.
    pub of: RunId,
    /// The replay.
    pub build: RunId,
    /// Whether both came to the same spec, code and verdicts.
    pub identical: bool,
    /// What was compared, and found the same.
    pub same: Vec<String>,
    /// Where they differ, in words.
    pub differences: Vec<String>,
}

/// `POST /builds/{id}/retry`: a new build of the same request. Takes an `Idempotency-Key`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct RetryBuild {
    /// Inputs that replace or complete the old ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(custom(few_inputs))]
    pub inputs: BTreeMap<String, Value>,
}

/// `POST /builds/{id}/deploy`: deploys what a completed build made, through its own gate. Takes an
/// `Idempotency-Key`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct DeployBuild {
    /// A yes in advance, as in [`CreateBuild::advance`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub advance: Option<Digest>,
}

type Checked = garde::Result;

pub(crate) fn one_wish(has_spec: bool) -> impl FnOnce(&str, &()) -> Checked {
    move |intent, &()| match (intent.trim().is_empty(), has_spec) {
        (true, false) => Err(garde::Error::new(
            "is empty: say in a sentence what you want built, or give a spec",
        )),
        (false, true) => Err(garde::Error::new("give an intent or a spec, not both")),
        (true, true) | (false, false) => Ok(()),
    }
}

fn yes_to_something(decision: Decide) -> impl FnOnce(&Option<Digest>, &()) -> Checked {
    move |subject, &()| match (decision, subject) {
        (Decide::Approve, None) => Err(garde::Error::new(
            "is missing: a yes names the digest of what it is said to",
        )),
        (Decide::Approve, Some(_)) | (Decide::Reject, _) => Ok(()),
    }
}

pub(crate) fn few_inputs(inputs: &BTreeMap<String, Value>, (): &()) -> Checked {
    if inputs.len() > INPUTS_MAX {
        return Err(garde::Error::new(format!(
            "has {} entries, at most {INPUTS_MAX} are taken",
            inputs.len()
        )));
    }
    Ok(())
}

pub(crate) fn absolute(path: &str, (): &()) -> Checked {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(garde::Error::new("must be an absolute path"));
    }
    if path.len() > PATH_MAX_BYTES {
        return Err(garde::Error::new(format!(
            "is longer than {PATH_MAX_BYTES} bytes"
        )));
    }
    Ok(())
}

pub(crate) fn short_zone(zone: &str, (): &()) -> Checked {
    if jiff::tz::TimeZone::get(zone).is_err() {
        return Err(garde::Error::new(
            "is not a time zone: expected an IANA name, for example Europe/Berlin",
        ));
    }
    Ok(())
}

pub(crate) fn few_foundations(dirs: &[String], (): &()) -> Checked {
    if dirs.len() > FOUNDATIONS_MAX {
        return Err(garde::Error::new(format!(
            "names {} directories, at most {FOUNDATIONS_MAX} are taken",
            dirs.len()
        )));
    }
    dirs.iter().try_for_each(|dir| absolute(dir, &()))
}

pub(crate) fn by_text(text: &str, (): &()) -> Checked {
    if text.chars().count() > BY_MAX_CHARS {
        return Err(garde::Error::new(format!(
            "is longer than {BY_MAX_CHARS} characters"
        )));
    }
    Ok(())
}
