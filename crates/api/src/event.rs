//! One entry of a run's event log, as a list and as a live stream.

use crate::time::Time;
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
