//! What comes back: events while it comes, a reply when all of it is there.

use crate::ToolCall;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing that came over the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// More of the answer.
    Text(String),
    /// More of what the model thinks; never part of the answer.
    Reasoning(String),
    /// One whole call.
    ToolCall(ToolCall),
    /// The usage known so far: a snapshot that takes the place of an earlier one, field by field.
    Usage(Usage),
    /// The end. A stream without it is an error, whatever came before.
    Done {
        /// Why it ended.
        stop: Stop,
        /// The provider's name for the exchange.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    },
    /// From [`crate::Caller`] only, never from a provider: everything before in this call is void,
    /// the question is asked again.
    Restarted {
        /// The attempt that begins, from 2.
        attempt: u32,
    },
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It was said.
    End,
    /// The limit of output tokens (or the context) cut it.
    MaxTokens,
    /// The model waits for tools.
    ToolCalls,
    /// The model, or a filter before it, will not answer.
    Refused,
    /// The provider's own word.
    Other(String),
}

impl Stop {
    /// Its name in tables and logs.
    pub fn as_str(&self) -> &str {
        match self {
            Self::End => "end",
            Self::MaxTokens => "max_tokens",
            Self::ToolCalls => "tool_calls",
            Self::Refused => "refused",
            Self::Other(word) => word,
        }
    }
}

/// Tokens. `None` is unknown, which is not 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// Read, without what came from or went into a cache.
    pub input: Option<u64>,
    /// Written, reasoning included.
    pub output: Option<u64>,
    /// Read from a cache.
    pub cache_read: Option<u64>,
    /// Written into a cache that lives five minutes.
    pub cache_write_5m: Option<u64>,
    /// Written into a cache that lives an hour.
    pub cache_write_1h: Option<u64>,
    /// The part of `output` that was reasoning.
    pub reasoning: Option<u64>,
}

impl Usage {
    /// Of a call that never reached its provider.
    pub const NOTHING: Self = Self {
        input: Some(0),
        output: Some(0),
        cache_read: None,
        cache_write_5m: None,
        cache_write_1h: None,
        reasoning: None,
    };

    /// Takes what a later snapshot knows; what it does not mention stays. Never adds.
    pub fn overwrite(&mut self, later: &Self) {
        for (field, new) in [
            (&mut self.input, later.input),
            (&mut self.output, later.output),
            (&mut self.cache_read, later.cache_read),
            (&mut self.cache_write_5m, later.cache_write_5m),
            (&mut self.cache_write_1h, later.cache_write_1h),
            (&mut self.reasoning, later.reasoning),
        ] {
            if new.is_some() {
                *field = new;
            }
        }
    }

    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Who answered.
    pub provider: String,
    /// With which model.
    pub model: String,
    /// The answer's text.
    pub text: String,
    /// What the model thought, where it says so.
    pub reasoning: String,
    /// The tools it calls, in order.
    pub tool_calls: Vec<ToolCall>,
    /// What it took.
    pub usage: Usage,
    /// Why it ended. [`Stop::MaxTokens`] means that `text` may be cut.
    pub stop: Stop,
    /// The provider's name for the exchange.
    pub request_id: Option<String>,
    /// With a schema: the value, which holds against it. `None` without one, and when tools are called.
    pub structured: Option<Value>,
    /// From asking to the end, ms; the last attempt only.
    pub latency_ms: u64,
}
