//! A build: its stages, its gates and [`decide`], the heart of agentwright.
//!
//! The whole table (phase × signal → transition or refusal) is printed into one snapshot,
//! `tests/snapshots`, which people review. Invariant: no path reaches the deploy stage without an
//! approval of exactly the current subject where one is due (`due`, `to_deploy`).

use crate::approval::{AdvanceApproval, Gate, GateReason, Subject};
use crate::digest::Digest;
use crate::ids::{ApprovalId, RunId, Slug};
use crate::run::Record;
use crate::spec::Spec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

mod change;
mod decide;
mod going_back;
mod told;

pub use change::{MadeFrom, is_of, outdated, wrong_version};
pub use decide::{decide, due};

/// Version of the list of stages; a running build finishes on its own.
pub const DEFINITION: u32 = 1;
/// Tries at one stage (requirements B11). Those of generate, review and verify are numbered through, repairs
/// included: together they have so many.
pub const ATTEMPTS_MAX: u32 = 10;
/// Waits for a quota or an outage of one build; a provider that never comes back ends it.
pub const PARKS_MAX: u32 = 100;
/// The same evidence of failure so often in a row means that repair gets nowhere.
pub const SAME_EVIDENCE_MAX: usize = 3;
/// Work of one build, waiting not counted (requirements B11): 2 hours.
pub const WORK_MAX_MS: i64 = 2 * 3_600_000;
/// The longest intent, in characters.
pub const INTENT_MAX_CHARS: usize = 20_000;

/// What a person asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildRequest {
    /// The sentence; empty when a spec is given.
    pub intent: String,
    /// A ready spec instead of an intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Box<Spec>>,
    /// Inputs given beside the sentence.
    #[serde(default)]
    pub inputs: BTreeMap<String, Value>,
    /// The directory that relative paths are meant from; absolute.
    pub base_dir: String,
    /// The person's time zone, IANA.
    pub zone: String,
    /// The deployment that is to be changed, where it is a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Slug>,
    /// The version of it that was active when the change was asked for: no other one is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_version: Option<u32>,
    /// A finished build whose result is deployed now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploys: Option<RunId>,
    /// Extra foundation directories, absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foundations: Vec<String>,
    /// An ended build whose recorded answers take the place of the models; nothing is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replays: Option<RunId>,
    /// What a caller of `/executor` calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub droplet: Option<Droplet>,
    /// A failed execution: this build mends the version that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mends: Option<Mends>,
    /// Repair builds that failures of the result may start; nothing said leaves it as the spec or the deployed
    /// version has it ([`crate::spec::FailurePolicy::repairs`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repairs_failing: Option<u32>,
    /// The row of a person's own table that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<BacklogRow>,
}

/// A row of a person's own table of automations (requirements A1). Its words are data, never instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacklogRow {
    /// The connected table.
    pub source: Slug,
    /// The row's number.
    pub id: i64,
    /// What it is called there.
    pub name: String,
    /// `claude_agent` or `script`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A caller's own number and name for what is built: kept and given back, never interpreted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Droplet {
    /// The number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What a repair build makes up for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mends {
    /// The execution that failed.
    pub execution: RunId,
    /// The version that it ran.
    pub version: u32,
    /// Why it failed, in one line, without secrets.
    pub reason: String,
    /// Digest of the failure without times and made-up values: the same failure has the same one.
    pub failure: Digest,
    /// What was mended before in the same row of repair builds, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Digest>,
}

/// The fixed steps of a build.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Intent → spec, acceptance sealed.
    Spec,
    /// Repository laid out.
    Package,
    /// Code written.
    Generate,
    /// Code looked at.
    Review,
    /// Four levels.
    Verify,
    /// Dry run on the person's real data.
    Preview,
    /// To the target.
    Deploy,
    /// Into the directory.
    Register,
}

impl Stage {
    /// In order.
    pub const ALL: [Self; 8] = [
        Self::Spec,
        Self::Package,
        Self::Generate,
        Self::Review,
        Self::Verify,
        Self::Preview,
        Self::Deploy,
        Self::Register,
    ];

    /// As stored and sent.
    pub fn word(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Package => "package",
            Self::Generate => "generate",
            Self::Review => "review",
            Self::Verify => "verify",
            Self::Preview => "preview",
            Self::Deploy => "deploy",
            Self::Register => "register",
        }
    }

    /// How long one attempt may take, ms.
    pub fn limit_ms(self) -> i64 {
        match self {
            Self::Spec => 2 * 60_000,
            Self::Package | Self::Review | Self::Register => 5 * 60_000,
            Self::Preview | Self::Deploy => 15 * 60_000,
            Self::Generate | Self::Verify => 60 * 60_000,
        }
    }
}

/// When a person is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalMode {
    /// Never, unless a risk or a production target asks.
    Auto,
    /// After the spec and before deploy.
    Checkpoints,
    /// Before deploy.
    #[default]
    Final,
}

/// How this build is to be carried out; fixed when it is submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildPolicy {
    /// When a person is asked.
    pub mode: ApprovalMode,
    /// Whether it goes on after verify.
    pub auto_deploy: bool,
    /// A yes in advance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance: Option<AdvanceApproval>,
    /// Whether the target is marked as production.
    #[serde(default)]
    pub production: bool,
    /// Repairs of code that does not hold; 0 means none. They count as tries ([`ATTEMPTS_MAX`]).
    #[serde(default = "BuildPolicy::repairs_default")]
    pub repairs: u32,
    /// Whether it may wait for a model's quota to come back.
    #[serde(default = "BuildPolicy::may_park_default")]
    pub may_park: bool,
    /// Work that it may take, ms, where that is more than [`WORK_MAX_MS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_max_ms: Option<i64>,
}

impl BuildPolicy {
    /// With a mode, and everything else as it is where nobody says anything.
    pub fn new(mode: ApprovalMode) -> Self {
        Self {
            mode,
            auto_deploy: true,
            advance: None,
            production: false,
            repairs: Self::repairs_default(),
            may_park: true,
            work_max_ms: None,
        }
    }

    /// Work that it may take, ms: at least [`WORK_MAX_MS`], more where its policy says so (requirements B11).
    pub fn work_limit_ms(&self) -> i64 {
        self.work_max_ms
            .map_or(WORK_MAX_MS, |ms| ms.max(WORK_MAX_MS))
    }

    /// As many as tries are left after the first.
    pub fn repairs_default() -> u32 {
        ATTEMPTS_MAX - 1
    }

    fn may_park_default() -> bool {
        true
    }
}

/// What the overseer, an independent model, has said of the code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Oversight {
    /// No model is asked: a foundation wrote the code, or no model is there.
    #[default]
    None,
    /// It passed exactly this.
    Passed {
        /// The tree of code.
        code: Digest,
    },
    /// The code was repaired since: it is asked again when the tests hold.
    Due,
    /// It could not judge: a person decides, in every mode.
    Missing {
        /// Why.
        reason: String,
    },
}

/// Why code goes back to be repaired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repair {
    /// What does not hold, in a sentence.
    pub reason: String,
    /// The name of the build's artifact that shows it.
    pub evidence: String,
}

/// Code that was tried and did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    /// The tree of code.
    pub code: Digest,
    /// Digest of what failed, without times and made-up values: the same failure has the same one.
    pub failure: Digest,
}

/// What is known of a build so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The automation's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Slug>,
    /// The version that a change was made from; it replaces no other one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<MadeFrom>,
    /// The foundation that it is made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foundation: Option<String>,
    /// Digest of the spec, acceptance included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<Digest>,
    /// Digest of the sealed acceptance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<Digest>,
    /// Digest of permissions, trigger and target: what an approval in advance is bounded by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Digest>,
    /// Digest of the tree of code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Digest>,
    /// The tree that review passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reviewed: Option<Digest>,
    /// The tree that verify passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Digest>,
    /// Digest over what verify saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Digest>,
    /// Who wrote the code: a coder and its model; nobody where a foundation is the generator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coder: Option<String>,
    /// What the overseer has said.
    #[serde(skip_serializing_if = "Oversight::is_none")]
    pub oversight: Oversight,
    /// How often it was asked.
    #[serde(skip_serializing_if = "is_zero")]
    pub reviews: u32,
    /// What is to be repaired now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
    /// What was tried and did not hold, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    /// How often it waited for a model's quota.
    #[serde(skip_serializing_if = "is_zero")]
    pub parks: u32,
    /// The spec proved wrong: what is to be different in the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amendment: Option<String>,
    /// Risks that ask for a person.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub risks: Vec<String>,
    /// What waits or waited at the last gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// The approval of exactly that subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalId>,
    /// What preview said, line by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preview: Vec<String>,
    /// The deployed version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Where it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Oversight {
    /// Whether nobody is asked.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Where a build stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "at")]
pub enum Phase {
    /// To be worked, or being worked: the lease says which.
    Stage {
        /// Which.
        stage: Stage,
        /// From 1.
        attempt: u32,
    },
    /// Waits for a person.
    Gate {
        /// Which.
        gate: Gate,
        /// Why it is there.
        reasons: Vec<GateReason>,
        /// Since when, ms.
        since_ms: i64,
    },
    /// A budget is spent: waits until somebody raises it and resumes the build.
    Spent {
        /// The stage that goes on then.
        stage: Stage,
        /// Its try.
        attempt: u32,
        /// Which budget, in words.
        limit: String,
        /// Since when, ms.
        since_ms: i64,
    },
    /// Ended well.
    Completed {
        /// Whether it was deployed.
        deployed: bool,
    },
    /// Ended badly.
    Failed {
        /// Where.
        stage: Stage,
        /// What kind of end.
        class: FailureClass,
        /// Why.
        reason: String,
    },
    /// A person said no.
    Rejected {
        /// Where.
        gate: Gate,
        /// Who.
        by: String,
        /// Why.
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

/// How a build failed; the command line's exit code follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Vague, impossible, or an input is missing.
    Refused,
    /// Review found something.
    Review,
    /// A level did not hold.
    Tests,
    /// Deploy or register failed.
    Deploy,
    /// Time, memory, money.
    Limit,
    /// A fault of our own or of the machine.
    Fault,
}

/// The state of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildState {
    /// Where it stands.
    pub phase: Phase,
    /// How it is to be carried out.
    pub policy: BuildPolicy,
    /// What is known.
    #[serde(default)]
    pub facts: Facts,
}

impl BuildState {
    /// A build from its first stage.
    pub fn new(policy: BuildPolicy) -> Self {
        Self {
            phase: Phase::Stage {
                stage: Stage::Spec,
                attempt: 1,
            },
            policy,
            facts: Facts::default(),
        }
    }

    /// A build that deploys what another one made: from preview on, with that one's facts. Its
    /// approval is not taken over.
    pub fn deploying(policy: BuildPolicy, of: &Facts) -> Self {
        let facts = Facts {
            subject: None,
            approval: None,
            ..of.clone()
        };
        let policy = BuildPolicy {
            auto_deploy: true,
            ..policy
        };
        Self {
            phase: Phase::Stage {
                stage: Stage::Preview,
                attempt: 1,
            },
            policy,
            facts,
        }
    }
}

impl Phase {
    /// The stage's or end's name, as stored and shown.
    pub fn stage_word(&self) -> &'static str {
        match self {
            Self::Stage { stage, .. } | Self::Failed { stage, .. } | Self::Spent { stage, .. } => {
                stage.word()
            }
            Self::Gate {
                gate: Gate::Spec, ..
            }
            | Self::Rejected {
                gate: Gate::Spec, ..
            } => "spec gate",
            Self::Gate {
                gate: Gate::Deploy, ..
            }
            | Self::Rejected {
                gate: Gate::Deploy, ..
            } => "deploy gate",
            Self::Completed { .. } => "completed",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// The try at it, from 1.
    pub fn attempt(&self) -> u32 {
        match self {
            Self::Stage { attempt, .. } | Self::Spent { attempt, .. } => *attempt,
            Self::Gate { .. }
            | Self::Completed { .. }
            | Self::Failed { .. }
            | Self::Rejected { .. }
            | Self::Cancelled { .. } => 1,
        }
    }
}

/// What came out of working a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum StageOutcome {
    /// It held.
    Done {
        /// One sentence.
        summary: String,
        /// All that is known now (the state's facts with this stage's added).
        facts: Box<Facts>,
        /// Rows to write.
        records: Vec<Record>,
    },
    /// It did not, and trying again cannot help.
    Failed {
        /// What kind of end.
        class: FailureClass,
        /// Why, for people.
        reason: String,
        /// Rows to write.
        records: Vec<Record>,
    },
    /// Something outside failed; trying again may help.
    Retry {
        /// Why.
        reason: String,
        /// Not before, ms; `None` leaves it to the back-off.
        not_before_ms: Option<i64>,
    },
    /// A model's quota is used up, or its service is out, until a known time. Is no try.
    Park {
        /// Why.
        reason: String,
        /// Until when, ms.
        until_ms: i64,
    },
    /// A budget is spent. Is no try; waits until somebody raises it.
    Spent {
        /// Which budget, in words.
        limit: String,
    },
    /// The code does not hold, and whoever wrote it may mend it.
    Repair {
        /// What to mend.
        repair: Repair,
        /// Digest of what failed ([`Tried::failure`]).
        failure: Digest,
        /// Rows to write.
        records: Vec<Record>,
    },
    /// The spec is wrong: no code can hold it.
    Amend {
        /// What is to be different.
        reason: String,
        /// Rows to write.
        records: Vec<Record>,
    },
}

impl Gate {
    /// As stored and sent.
    pub fn word(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Deploy => "deploy",
        }
    }

    /// The stage that it stands after.
    pub fn after(self) -> Stage {
        match self {
            Self::Spec => Stage::Spec,
            Self::Deploy => Stage::Preview,
        }
    }

    /// The stage that it stands before.
    pub fn before(self) -> Stage {
        match self {
            Self::Spec => Stage::Package,
            Self::Deploy => Stage::Deploy,
        }
    }
}
