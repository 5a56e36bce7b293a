//! Requests and answers of `/executor`.

use crate::executor::PhaseName;
use crate::time::Time;
use agentwright_domain::build::{ApprovalMode, INTENT_MAX_CHARS};
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::RunId;
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest `droplet_name`, in characters.
const NAME_MAX_CHARS: usize = 200;
/// The longest `notes`, in characters.
const NOTES_MAX_CHARS: usize = 4_000;
/// The longest time or range of times, in bytes.
const MOMENT_MAX: usize = 100;
/// The furthest that a list is leafed through; beyond it `to` leads on.
const OFFSET_MAX: u32 = 1_000_000;

/// `POST /executor/build-droplet`. Takes an `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct BuildDroplet {
    /// What is to be built, in words: 1 to 20,000 characters.
    #[garde(length(chars, min = 1, max = INTENT_MAX_CHARS), custom(some_words))]
    #[schemars(regex(pattern = r"\S"))]
    pub architect_intent: String,
    /// The caller's number for it; kept and given back.
    #[serde(default)]
    #[garde(skip)]
    pub droplet_id: Option<i64>,
    /// The caller's name for it; kept and given back, and the label is made from it.
    #[serde(default)]
    #[garde(inner(length(chars, min = 1, max = NAME_MAX_CHARS)))]
    #[schemars(length(min = 1, max = NAME_MAX_CHARS))]
    pub droplet_name: Option<String>,
    /// When a person is asked.
    #[serde(default)]
    #[garde(skip)]
    pub approval_mode: ApprovalMode,
    /// Whether it goes on after Verify.
    #[serde(default = "yes")]
    #[garde(skip)]
    pub auto_deploy: bool,
}

fn yes() -> bool {
    true
}

fn some_words(intent: &str, (): &()) -> garde::Result {
    if intent.trim().is_empty() {
        return Err(garde::Error::new(
            "says nothing: say in a sentence what you want built",
        ));
    }
    Ok(())
}

/// The 202 to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// The build.
    pub build_id: RunId,
    /// How it stands.
    pub status: JobStatus,
    /// When it is expected to end; null where too few like builds are known.
    pub estimated_completion: Option<Time>,
    /// WebSocket, absolute.
    pub stream_url: String,
    /// Absolute.
    pub status_url: String,
}

/// The statuses of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Not begun.
    Queued,
    /// Begun; where it waits, `details` of its phase says for what.
    Running,
    /// At a gate.
    AwaitingApproval,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Ended by a person: with `final_decision` `rejected` at a gate.
    Cancelled,
}

impl JobStatus {
    /// As sent.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing can happen to it any more.
    pub fn ended(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Queued | Self::Running | Self::AwaitingApproval => false,
        }
    }
}

/// What a person decided in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinalDecision {
    /// Yes to the deploy.
    Approved,
    /// No, at a gate.
    Rejected,
}

/// `GET /executor/builds/{build_id}/status`, and each entry of `GET /executor/builds`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// The build.
    pub build_id: RunId,
    /// What was asked for; empty where a spec was given over another surface.
    pub architect_intent: String,
    /// The caller's number.
    pub droplet_id: Option<i64>,
    /// The caller's name; without one the automation's, before that is known the build's label.
    pub droplet_name: String,
    /// When a person is asked.
    pub approval_mode: ApprovalMode,
    /// How it stands.
    pub status: JobStatus,
    /// Where.
    pub current_phase: PhaseName,
    /// 0 to 100, of the whole build.
    pub progress_percent: u8,
    /// All six, in order.
    pub phases: Vec<JobPhase>,
    /// When it was submitted.
    pub created_at: Time,
    /// When it was first worked on.
    pub started_at: Option<Time>,
    /// When it ended.
    pub completed_at: Option<Time>,
    /// When it is expected to end; null at a gate, and where too few like builds are known.
    pub estimated_completion: Option<Time>,
    /// Seconds of work that are expected to be left; null where too few like builds are known.
    pub estimated_time_remaining: Option<i64>,
    /// What a person decided.
    pub final_decision: Option<FinalDecision>,
    /// Where what was deployed answers; null for what does not.
    pub deployment_url: Option<String>,
    /// Why it failed, was rejected or cancelled.
    pub error: Option<String>,
}

/// The statuses of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhaseStatus {
    /// Not begun; at a gate, `details` says so.
    Pending,
    /// Begun.
    Running,
    /// Ended well.
    Completed,
    /// Ended badly, or with the build.
    Failed,
    /// Will not be done, or was done by another build.
    Skipped,
}

/// One phase of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobPhase {
    /// Which.
    pub phase_name: PhaseName,
    /// How it stands.
    pub status: PhaseStatus,
    /// When its first stage was begun.
    pub started_at: Option<Time>,
    /// When its last stage ended.
    pub completed_at: Option<Time>,
    /// Between them, whole seconds.
    pub duration_seconds: Option<i64>,
    /// 0 to 100, of this phase.
    pub progress_percent: u8,
    /// `stages` that were worked with their sentences, `attempts`, and what is waited for: `waits_for`, `gate`,
    /// `subject_digest`.
    pub details: Map<String, Value>,
    /// Why it failed.
    pub error: Option<String>,
}

/// A moment in a query: a time with an offset, one without (UTC is meant), or a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A time, ms since 1970 UTC.
    At(i64),
    /// A day in UTC, its first and its last ms.
    Day(i64, i64),
}

impl Moment {
    /// Reads it.
    ///
    /// # Errors
    /// In words, for whoever gave it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "{:?} is no ISO 8601 time, for example 2026-11-21T22:00:00Z or 2026-11-21",
                text.chars().take(40).collect::<String>()
            )
        };
        // In a query, an unescaped plus of an offset arrives as a blank.
        let text = text.trim().replace(' ', "+");
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::At(at.as_millisecond()));
        }
        let in_utc = |time: jiff::civil::DateTime| {
            let zoned = time.to_zoned(jiff::tz::TimeZone::UTC);
            zoned.map(|zoned| zoned.timestamp().as_millisecond())
        };
        if text.contains(['T', 't'])
            && let Ok(time) = text.parse::<jiff::civil::DateTime>()
        {
            return in_utc(time).map(Self::At).map_err(|_| refused());
        }
        let day: jiff::civil::Date = text.parse().map_err(|_| refused())?;
        let first = in_utc(day.at(0, 0, 0, 0)).map_err(|_| refused())?;
        Ok(Self::Day(first, first + 86_400_000 - 1))
    }

    /// As a lower bound, ms.
    pub fn from_ms(self) -> i64 {
        match self {
            Self::At(ms) | Self::Day(ms, _) => ms,
        }
    }

    /// As an upper bound, ms; the whole day of a date counts.
    pub fn to_ms(self) -> i64 {
        match self {
            Self::At(ms) | Self::Day(_, ms) => ms,
        }
    }
}

/// The query of `GET /executor/builds`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct JobQuery {
    /// Only jobs of this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub status: Option<JobStatus>,
    /// Only those submitted then or later: an ISO 8601 time, or a date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = MOMENT_MAX))]
    pub from: Option<String>,
    /// Only those submitted then or earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = MOMENT_MAX))]
    pub to: Option<String>,
    /// Both in one: `FROM/TO`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = MOMENT_MAX))]
    pub date_range: Option<String>,
    /// At most so many; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 1, max = crate::LIST_MAX))]
    pub limit: Option<u32>,
    /// After so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(max = OFFSET_MAX))]
    pub offset: Option<u32>,
}

/// The first and the last ms of a range; open where there is none.
pub type Bounds = (Option<i64>, Option<i64>);

impl JobQuery {
    /// The first and the last ms of what is asked for.
    ///
    /// # Errors
    /// The parameter, and what is wrong with it.
    pub fn bounds(&self) -> Result<Bounds, (&'static str, String)> {
        let (mut from, mut to) = (self.from.as_deref(), self.to.as_deref());
        let mut at = ("from", "to");
        if let Some(range) = &self.date_range {
            if from.is_some() || to.is_some() {
                let twice = "stands beside from or to: give the one or the other";
                return Err(("date_range", twice.to_owned()));
            }
            let Some((first, last)) = range.split_once('/') else {
                return Err(("date_range", "must be FROM/TO".to_owned()));
            };
            let given = |part| Some(part).filter(|part: &&str| !part.is_empty());
            (from, to) = (given(first), given(last));
            at = ("date_range", "date_range");
        }
        let read = |at, text: Option<&str>| {
            text.map(|text| Moment::parse(text).map_err(|problem| (at, problem)))
                .transpose()
        };
        let from = read(at.0, from)?.map(Moment::from_ms);
        let to = read(at.1, to)?.map(Moment::to_ms);
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            return Err((at.0, "begins after it ends".to_owned()));
        }
        Ok((from, to))
    }
}

/// The query of `WS /executor/builds/{build_id}/stream`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct StreamQuery {
    /// Only events with a greater `seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 0))]
    pub after: Option<i64>,
}

/// `POST /executor/builds/{build_id}/approve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Approve {
    /// Yes or no.
    #[garde(skip)]
    pub approved: bool,
    /// What the person says. The first implementation called it `feedback`.
    #[serde(default, alias = "feedback")]
    #[garde(inner(length(chars, max = NOTES_MAX_CHARS)))]
    #[schemars(length(max = NOTES_MAX_CHARS))]
    pub notes: Option<String>,
    /// The digest of what the person saw; when it is no longer what waits, the answer is 409.
    #[serde(default)]
    #[garde(skip)]
    pub subject_digest: Option<Digest>,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approved {
    /// The build.
    pub build_id: RunId,
    /// As decided.
    pub approved: bool,
    /// How it stands now.
    pub status: JobStatus,
    /// What happens now, and where to look.
    pub next_steps: Vec<String>,
    /// What exactly was decided on.
    pub subject_digest: Digest,
}

/// `POST /executor/builds/{build_id}/cancel`; the body may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct CancelJob {
    /// Why.
    #[serde(default)]
    #[garde(inner(custom(crate::build::by_text)))]
    #[schemars(length(max = crate::build::BY_MAX_CHARS))]
    pub reason: Option<String>,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelled {
    /// The build.
    pub build_id: RunId,
    /// Always `cancelled`.
    pub status: JobStatus,
    /// When.
    pub cancelled_at: Time,
}

/// The query of `POST /executor/builds/{build_id}/retry`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct RetryJob {
    /// Taken for the first implementation's callers. A retry repeats the whole build, so every step is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, max = NAME_MAX_CHARS)))]
    #[schemars(length(max = NAME_MAX_CHARS))]
    pub from_step: Option<String>,
}

/// How the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// As it should be.
    Healthy,
    /// Builds go on, something is weaker than it should be.
    Degraded,
    /// Nothing can be built.
    Unhealthy,
}

/// Whether Claude can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClaudeApi {
    /// A key is there, and the last call was answered.
    Connected,
    /// The last call was not answered.
    Unavailable,
    /// No key is there.
    NotConfigured,
}

/// `GET /executor/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutorHealth {
    /// How it is; 500 goes with `unhealthy`.
    pub status: HealthStatus,
    /// Builds that are worked on now.
    pub active_builds: u64,
    /// Whether Claude can be asked.
    pub claude_api: ClaudeApi,
    /// The program's version.
    pub version: String,
    /// Since the start.
    pub uptime_seconds: i64,
}

/// `GET /executor/capabilities`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutorCapabilities {
    /// All of them.
    pub supported_approval_modes: Vec<ApprovalMode>,
    /// Builds at once; more wait.
    pub max_concurrent_builds: u32,
    /// The Claude model that writes code; null where none does.
    pub claude_model: Option<String>,
    /// The configured or detected model providers, in the order of preference.
    pub providers: Vec<String>,
    /// Whether what is built can be deployed from here: not while the server is a restored copy that nobody confirmed.
    pub can_deploy: bool,
    /// Where to.
    pub targets: Vec<String>,
}

/// The kinds of progress event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// A phase begins; again after a repair.
    PhaseStart,
    /// Something happened in a phase, or at the gate before it.
    PhaseProgress,
    /// A phase is done; with `data.final` the build is.
    PhaseComplete,
    /// The build ended otherwise.
    Error,
}

/// One message of `WS /executor/builds/{build_id}/stream`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProgressEvent {
    /// What kind.
    pub event_type: EventType,
    /// The build.
    pub build_id: RunId,
    /// The phase.
    pub phase_name: PhaseName,
    /// 0 to 100, of the whole build.
    pub progress_percent: u8,
    /// One line for people.
    pub message: String,
    /// When.
    pub timestamp: Time,
    /// Details; `final` is true in the last event.
    pub data: Map<String, Value>,
    /// 1, 2, 3, … without gaps: give the last one seen as `after`.
    pub seq: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(from: &str, to: &str, range: &str) -> JobQuery {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        JobQuery {
            from: given(from),
            to: given(to),
            date_range: given(range),
            ..JobQuery::default()
        }
    }

    #[test]
    fn moments_are_times_with_and_without_an_offset_and_dates() {
        let ten = Ok(Moment::At(1_795_298_400_000));
        for text in [
            "2026-11-21T22:00:00Z",
            "2026-11-21T23:00:00+01:00",
            "2026-11-21T23:00:00 01:00",
            "2026-11-21T22:00:00",
            "2026-11-21T22:00",
        ] {
            assert_eq!(Moment::parse(text), ten, "{text}");
        }
        let day = Moment::parse("2026-11-21").unwrap();
        assert_eq!(day.to_ms() - day.from_ms(), 86_399_999);
        for text in ["", "yesterday", "2026-13-01", "1795298400", "22:00"] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_is_said_in_one_way_and_does_not_end_before_it_begins() {
        let range = query("", "", "2026-11-21/2026-11-21").bounds().unwrap();
        assert_eq!(
            query("2026-11-21", "2026-11-21", "").bounds(),
            Ok(range),
            "both ways mean the same"
        );
        assert!(query("", "", "2026-11-21/").bounds().unwrap().1.is_none());
        for (wrong, at) in [
            (query("", "", "2026-11-21"), "date_range"),
            (query("2026-11-21", "", "2026-11-21/"), "date_range"),
            (query("2026-11-22", "2026-11-21", ""), "from"),
            (query("", "soon", ""), "to"),
        ] {
            assert_eq!(wrong.bounds().unwrap_err().0, at);
        }
    }

    #[test]
    fn feedback_stands_for_notes_and_unknown_fields_are_ignored() {
        let read: Approve =
            serde_json::from_str(r#"{"approved": false, "feedback": "no", "more": 1}"#).unwrap();
        assert_eq!(read.notes.as_deref(), Some("no"));
        let read: BuildDroplet =
            serde_json::from_str(r#"{"architect_intent": "x", "priority": 3}"#).unwrap();
        assert_eq!(
            (read.approval_mode, read.auto_deploy),
            (ApprovalMode::Final, true)
        );
        assert!(serde_json::from_str::<Approve>(r#"{"approved": "yes"}"#).is_err());
    }
}
