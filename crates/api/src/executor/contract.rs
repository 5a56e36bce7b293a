//! The contract that every service of the seed's world answers, ours included.

use crate::time::Time;
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version of the contract.
pub const UDC_VERSION: &str = "1.0";
/// The longest name, id or signature in a message, in characters.
const WORD_MAX_CHARS: usize = 200;

/// How a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceStatus {
    /// It works.
    Active,
    /// It is ending.
    Inactive,
    /// It cannot work.
    Error,
}

/// `GET /health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContractHealth {
    /// How it is.
    pub status: ServiceStatus,
    /// Always `agentwright`.
    pub service: String,
    /// The program's version.
    pub version: String,
    /// Now.
    pub timestamp: Time,
}

/// `GET /capabilities`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContractCapabilities {
    /// The program's version.
    pub version: String,
    /// What it can do.
    pub features: Vec<String>,
    /// What it stands on.
    pub dependencies: Vec<String>,
    /// [`UDC_VERSION`].
    pub udc_version: String,
    /// More.
    pub metadata: Map<String, Value>,
}

/// `GET /state`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContractState {
    /// Since the start.
    pub uptime_seconds: i64,
    /// Requests answered since the start.
    pub requests_total: u64,
    /// Requests of the last whole minute.
    pub requests_per_minute: u64,
    /// Answers 5xx of the last hour.
    pub errors_last_hour: u64,
    /// When it was started.
    pub last_restart: Time,
    /// What the process uses.
    pub resource_usage: ResourceUsage,
}

/// What the process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceUsage {
    /// Resident memory, MiB.
    pub memory_mb: u64,
    /// Processor time since the start, seconds.
    pub cpu_seconds: f64,
    /// Open descriptors.
    pub open_files: u64,
    /// Builds that are worked on now.
    pub active_builds: u64,
}

/// How something else is that a service uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackingStatus {
    /// It is used now.
    Connected,
    /// It is there.
    Available,
    /// It is not.
    Unavailable,
}

/// Something else that a service uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backing {
    /// What.
    pub name: String,
    /// How it is.
    pub status: BackingStatus,
}

/// `GET /dependencies`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dependencies {
    /// Nothing works without.
    pub required: Vec<Backing>,
    /// Some things do not work without.
    pub optional: Vec<Backing>,
    /// The names of the required ones that are not there.
    pub missing: Vec<String>,
}

/// The kinds of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageType {
    /// How the sender is; taken note of.
    Status,
    /// Something happened; taken note of.
    Event,
    /// Do something; needs an operator's key and a signature.
    Command,
    /// A question; answered in `result`.
    Query,
}

/// `POST /message`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
pub struct Message {
    /// The sender's id for it; comes back in the answer.
    #[garde(length(chars, min = 1, max = WORD_MAX_CHARS))]
    pub trace_id: String,
    /// Who sends.
    #[garde(length(chars, min = 1, max = WORD_MAX_CHARS))]
    pub source: String,
    /// Whom it is for.
    #[garde(length(chars, min = 1, max = WORD_MAX_CHARS))]
    pub target: String,
    /// What kind.
    #[garde(skip)]
    pub message_type: MessageType,
    /// A query: `build_id`. A command: `command` (`cancel`) and `build_id`.
    #[serde(default)]
    #[garde(skip)]
    pub payload: Map<String, Value>,
    /// When it was sent; UTC is meant where no offset is said.
    #[serde(deserialize_with = "in_utc_unless_said")]
    #[garde(skip)]
    pub timestamp: Time,
    /// HMAC-SHA256 with the sender's key, in hex, over the other fields; see docs/operations.md.
    #[serde(default)]
    #[garde(inner(length(chars, min = 1, max = WORD_MAX_CHARS)))]
    #[schemars(length(min = 1, max = WORD_MAX_CHARS))]
    pub signature: Option<String>,
}

fn in_utc_unless_said<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
    let text = String::deserialize(from)?;
    let moment = crate::executor::Moment::parse(&text).map_err(serde::de::Error::custom)?;
    Ok(Time::from_ms(moment.from_ms()))
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageReply {
    /// Always true: what is not taken is refused with a problem.
    pub received: bool,
    /// The message's.
    pub trace_id: String,
    /// When.
    pub processed_at: Time,
    /// What a query asked for, or what a command did; null otherwise.
    pub result: Option<Value>,
}
