//! What a model is asked, in one form for every wire.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The model's name as its provider knows it. A [`crate::Caller`] writes its own here.
    #[serde(default)]
    pub model: String,
    /// What holds for the whole conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The conversation so far, oldest first.
    pub messages: Vec<Message>,
    /// What the model may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// The answer must be JSON that holds against this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<OutputSchema>,
    /// The longest answer, in tokens; always sent. 0 means the caller's limit.
    #[serde(default)]
    pub max_output_tokens: u32,
    /// 0 (firm) to 2 (loose); the provider's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Tokens of context to make room for. Only Ollama is told (`num_ctx`), and always: its own default
    /// cuts long prompts without a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
}

impl Request {
    /// Asks with one user message.
    pub fn user(text: impl Into<String>) -> Self {
        Self {
            messages: vec![Message::user(text)],
            ..Self::default()
        }
    }

    /// The same with a system text.
    #[must_use]
    pub fn with_system(mut self, text: impl Into<String>) -> Self {
        self.system = Some(text.into());
        self
    }

    /// The same with a schema for the answer.
    #[must_use]
    pub fn with_schema(mut self, name: impl Into<String>, schema: Value) -> Self {
        self.schema = Some(OutputSchema {
            name: name.into(),
            schema,
        });
        self
    }
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// We: people, tools, the program.
    User,
    /// The model.
    Assistant,
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Whose turn.
    pub role: Speaker,
    /// What was said, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// A user's text.
    pub fn user(text: impl Into<String>) -> Self {
        Self {
            role: Speaker::User,
            parts: vec![Part::Text(text.into())],
        }
    }

    /// The model's text.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self {
            role: Speaker::Assistant,
            parts: vec![Part::Text(text.into())],
        }
    }

    /// The model's turn as it came back: its text, then its calls.
    pub fn reply(reply: &crate::Reply) -> Self {
        let text = (!reply.text.is_empty()).then(|| Part::Text(reply.text.clone()));
        let calls = reply.tool_calls.iter().cloned().map(Part::ToolCall);
        Self {
            role: Speaker::Assistant,
            parts: text.into_iter().chain(calls).collect(),
        }
    }

    /// What tools answered: [`Part::ToolResult`]s.
    pub fn results(parts: Vec<Part>) -> Self {
        Self {
            role: Speaker::User,
            parts,
        }
    }

    /// All its text.
    pub fn text(&self) -> String {
        self.parts
            .iter()
            .filter_map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                Part::ToolCall(_) | Part::ToolResult { .. } => None,
            })
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// A piece of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Words.
    Text(String),
    /// The model calls a tool.
    ToolCall(ToolCall),
    /// What the tool answered.
    ToolResult {
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
        /// The answer, as text.
        content: String,
        /// Whether the tool failed.
        #[serde(default)]
        is_error: bool,
    },
}

/// One call of a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// Names this call in this conversation. Where the wire has none (Ollama) it is made: `call_1`, …
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// What it is called with; not checked against the tool's schema.
    pub arguments: Value,
}

/// What the model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// `[a-zA-Z0-9_-]{1,64}`.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its arguments, an object.
    pub schema: Value,
}

/// What the answer must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSchema {
    /// `[a-zA-Z0-9_-]{1,64}`.
    pub name: String,
    /// JSON Schema. Whatever the provider promises, the answer is checked against it here.
    pub schema: Value,
}
