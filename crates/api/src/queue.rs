//! The queue of builds that start by themselves.

use crate::Time;
use agentwright_domain::ids::{RunId, Slug};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Items of one request.
pub const QUEUE_ADD_MAX: usize = 1_000;
/// The longest text of an item, in characters.
pub(crate) const QUEUE_TEXT_MAX: usize = 20_000;
/// Lines of one list of an item.
pub(crate) const QUEUE_LINES_MAX: usize = 100;

/// How soon an item may start by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueuePriority {
    /// At any time; a person's own request.
    #[default]
    High,
    /// In the off-hours window.
    Medium,
    /// After an explicit yes.
    Low,
}

impl QueuePriority {
    /// As it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// One item of `POST /queue`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueAdd {
    /// What it is called.
    #[garde(length(chars, min = 1, max = 200))]
    pub name: String,
    /// What is wanted.
    #[serde(default)]
    #[garde(inner(length(chars, max = QUEUE_TEXT_MAX)))]
    pub description: Option<String>,
    /// When it is done.
    #[serde(default)]
    #[garde(length(max = QUEUE_LINES_MAX), inner(length(chars, max = 1_000)))]
    pub criteria: Vec<String>,
    /// How soon.
    #[serde(default)]
    #[garde(skip)]
    pub priority: QueuePriority,
    /// With what.
    #[serde(default)]
    #[garde(inner(length(chars, max = 1_000)))]
    pub tech: Option<String>,
    /// How long it may take.
    #[serde(default)]
    #[garde(inner(length(chars, max = 200)))]
    pub estimate: Option<String>,
    /// What must be out of the way first: names of items, or words.
    #[serde(default)]
    #[garde(length(max = QUEUE_LINES_MAX), inner(length(chars, max = 1_000)))]
    pub blockers: Vec<String>,
    /// The service, target or files that it touches.
    #[serde(default)]
    #[garde(length(max = QUEUE_LINES_MAX), inner(length(chars, max = 1_000)))]
    pub touches: Vec<String>,
    /// Not before this time, for example `2026-02-07 09:00`.
    #[serde(default)]
    #[garde(inner(length(chars, max = 100)))]
    pub start: Option<String>,
    /// A label of one's own; taken means refused.
    #[serde(default)]
    #[garde(skip)]
    pub label: Option<Slug>,
}

/// The body of `POST /queue`: all of them, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueAdds {
    /// The items, first ones first.
    #[garde(length(min = 1, max = QUEUE_ADD_MAX), dive)]
    pub items: Vec<QueueAdd>,
    /// The directory that relative paths are meant from; absolute.
    #[garde(length(chars, min = 1, max = 4_096))]
    pub base_dir: String,
    /// The person's time zone, IANA.
    #[garde(length(chars, min = 1, max = 100))]
    pub zone: String,
}

/// The body of `POST /queue/import`: a file in the form of `BUILD_QUEUE.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueImport {
    /// The file's text.
    #[garde(length(min = 1))]
    pub text: String,
    /// The directory that relative paths are meant from; absolute.
    #[garde(length(chars, min = 1, max = 4_096))]
    pub base_dir: String,
    /// The person's time zone, IANA.
    #[garde(length(chars, min = 1, max = 100))]
    pub zone: String,
}

/// What an import made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueueImported {
    /// What was added.
    pub items: Vec<QueueItem>,
    /// What could not be read: line, column and what to do, as text.
    pub problems: Vec<String>,
}

/// The body of `POST /queue/{label}`: one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "do", deny_unknown_fields)]
pub enum QueueChange {
    /// To another place.
    Move {
        /// Before this item.
        #[serde(default)]
        #[garde(skip)]
        before: Option<Slug>,
    },
    /// Something must be out of the way first.
    Block {
        /// What.
        #[garde(length(chars, min = 1, max = 1_000))]
        by: String,
    },
    /// Something is out of the way.
    Unblock {
        /// What; everything when absent.
        #[serde(default)]
        #[garde(inner(length(chars, max = 1_000)))]
        by: Option<String>,
    },
    /// How soon.
    Priority {
        /// Which.
        #[garde(skip)]
        to: QueuePriority,
    },
    /// A yes to its start: what is low, or risky.
    Approve {},
    /// Built anew, after it failed too often.
    Retry {},
    /// Its build gets nowhere: it is ended and counts as failed, so that it is built again in five minutes.
    Fail {},
}

/// An item as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueueItem {
    /// Its label.
    pub label: Slug,
    /// What it is called.
    pub name: String,
    /// What is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How soon.
    pub priority: QueuePriority,
    /// `queued`, `building`, `awaiting_approval`, `failed`, `done`.
    pub status: String,
    /// Its place among those that are not done, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// What is in the way, as written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blockers: Vec<String>,
    /// Not before this time, as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Who said yes to its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Its last build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<RunId>,
    /// Builds that failed in a row.
    pub failures: u32,
    /// What the last look at the queue came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Receipt>,
    /// How far its build is, while it is being built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<QueueProgress>,
    /// Another priority, learned from done items like it; nothing applies it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<QueueSuggestion>,
}

/// A priority that somebody may want to set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueSuggestion {
    /// Which.
    pub priority: QueuePriority,
    /// Why.
    pub words: String,
}

/// How far a build is, and whether it gets on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueProgress {
    /// The phase that it is in.
    pub phase: String,
    /// 0 to 100.
    pub percent: u8,
    /// When it will be done, from the history of like builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Time>,
    /// `working`, `waiting`, `hung`, `looping`: judged from what its model, processes, logs and files do; `unwatched`
    /// until it is looked at.
    pub verdict: String,
    /// What the verdict rests on, or what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// When it last got on.
    pub last: Time,
}

/// Why an item started or did not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// `start`, or the reason's name.
    pub decision: String,
    /// In a sentence.
    pub words: String,
    /// The reason as data.
    pub detail: Value,
    /// Since when this is the answer.
    pub since: Time,
    /// When it last was.
    pub last: Time,
    /// Looks that came to it.
    pub looks: i64,
}

/// An item with all its answers, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueueWhy {
    /// The item.
    pub item: QueueItem,
    /// Its answers.
    pub receipts: Vec<Receipt>,
}

/// What became of an inbound webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookTaken {
    /// The item that it is.
    pub label: Slug,
    /// Whether the same message had come before.
    pub repeated: bool,
}

/// What a look at the queue is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BeatMode {
    /// What may start does.
    #[default]
    Start,
    /// Nothing starts and nothing is written.
    Check,
}

/// The body of `POST /heartbeat`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct BeatRequest {
    /// What for.
    #[serde(default)]
    #[garde(skip)]
    pub mode: BeatMode,
}

/// A look at the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Beat {
    /// When.
    pub at: Time,
    /// What started, or would.
    pub started: Vec<Slug>,
    /// The answer for every item.
    pub items: Vec<QueueItem>,
}

/// The heartbeat as it is set, and its last looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// Seconds between looks.
    pub every_s: u64,
    /// When medium items start: from, to, zone.
    pub off_hours: [String; 3],
    /// Builds that may have started by themselves at once.
    pub limit: u32,
    /// Whether a look is overdue.
    pub late: bool,
    /// The last looks, newest first.
    pub looks: Vec<HeartbeatLook>,
}

/// One look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatLook {
    /// When.
    pub at: Time,
    /// What it was for.
    pub cause: String,
    /// Items that it answered for.
    pub items: u32,
    /// Items that it started.
    pub started: u32,
}
