//! One entry of a run's event log, as a list and as a live stream.

use crate::time::Time;
use agentwright_domain::ids::RunId;
use agentwright_domain::run::RunKind;
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that happened to a run. `seq` grows by one within a run, without gaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its place in the run's log, from 1.
    pub seq: i64,
    /// When.
    pub at: Time,
    /// `run.submitted`, `stage.done`, `gate.waiting`, `progress`, `run.ended`, …
    pub event: String,
    /// The stage that it belongs to.
    pub stage: String,
    /// One line for people.
    pub message: String,
    /// Details.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

/// `GET /builds/{id}/logs`: events, stages and levels as one text, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Log {
    /// Line by line.
    pub lines: Vec<LogLine>,
    /// The `seq` of the last event in it.
    pub seq: i64,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When; absent on a level's own lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// The stage.
    pub stage: String,
    /// The line.
    pub text: String,
}

impl From<&Event> for LogLine {
    fn from(event: &Event) -> Self {
        Self {
            at: Some(event.at),
            stage: event.stage.clone(),
            text: event.message.clone(),
        }
    }
}

/// An event in its envelope, CloudEvents 1.0 in its JSON form: what our own surface sends, in pages and streams.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CloudEvent {
    /// `1.0`.
    pub specversion: String,
    /// The run and the event's `seq`: once for each event, whoever sends it.
    pub id: String,
    /// The run's path.
    pub source: String,
    /// `agentwright.` and the event.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    pub time: Time,
    /// The run's label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// `application/json`.
    pub datacontenttype: String,
    /// The event.
    pub data: Event,
}

impl CloudEvent {
    /// The envelope of a run's event.
    pub fn of(kind: RunKind, run: &RunId, label: Option<&str>, event: Event) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id: format!("{run}:{}", event.seq),
            source: format!("{}/{}s/{run}", crate::PREFIX, kind.word()),
            kind: format!("agentwright.{}", event.event),
            time: event.at,
            subject: label.map(str::to_owned),
            datacontenttype: "application/json".to_owned(),
            data: event,
        }
    }
}

/// Where the stream of an organization is: take it, read what you show, then follow with `after`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cursor {
    /// The place.
    pub cursor: String,
}

/// The query of `GET /events`, the live stream of everything in an organization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct FollowQuery {
    /// The `id` of the last message that was seen. `Last-Event-ID` means the same and wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = 100))]
    pub after: Option<String>,
}

/// The query of `GET …/events`. With `Accept: text/event-stream` the answer is live and ends after the
/// run's last event; otherwise it is one [`crate::Page`] of what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Only events with a greater `seq`. `Last-Event-ID` means the same and wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 0))]
    pub after: Option<i64>,
    /// At most so many in one page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(range(min = 1, max = crate::LIST_MAX))]
    pub limit: Option<u32>,
}
