//! The five wire forms: a request into a body, frames of an answer into events. Pure: nothing here
//! sends, waits or retries ([`crate::http`] does). One file for each form.

mod anthropic;
mod ollama;
mod openai_chat;
mod openai_responses;

use crate::{
    Caps, Event, Kind, Message, Part, Request, SchemaSupport, Speaker, Stop, ToolCall, Usage,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Ollama's least and most context where nothing else is said. Always sent: its own default cuts without a
/// word. Powers of two between them, because a new size loads the model again.
pub const OLLAMA_CONTEXT_TOKENS: std::ops::RangeInclusive<u32> = 8_192..=32_768;

/// A wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// Ollama, `POST /api/generate`: one prompt, no tools.
    OllamaGenerate,
    /// Ollama, `POST /api/chat`.
    OllamaChat,
    /// Anthropic Messages, `POST /v1/messages`.
    Anthropic,
    /// OpenAI chat completions, `POST …/chat/completions`, and everything compatible with it.
    OpenaiChat,
    /// OpenAI responses, `POST …/responses`.
    OpenaiResponses,
}

/// What differs between servers of one form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dialect {
    /// Whether the answer comes in pieces; the form's own default where absent.
    pub stream: Option<bool>,
    /// Name of the field with the limit of output tokens, for compatible servers that know an older one.
    pub max_tokens_field: Option<String>,
    /// Put into the body last, field by field; `null` takes a field out.
    pub body: Map<String, Value>,
}

/// What is wrong with an answer, or what it says is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireFault {
    /// What kind.
    pub kind: Kind,
    /// The server's code for it.
    pub word: Option<String>,
    /// What is wrong, in words.
    pub detail: String,
    /// Whether the words are the server's own: not safe to show as they are.
    pub quoted: bool,
}

impl WireFault {
    /// A fault that this side found.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            word: None,
            detail: detail.into(),
            quoted: false,
        }
    }
}

/// Reads one answer.
pub trait Decode: Send {
    /// One frame of a stream: the data of an event, or a line.
    fn frame(&mut self, data: &str, out: &mut Vec<Event>) -> Result<(), WireFault>;

    /// An answer that came in one piece.
    fn whole(&mut self, body: &str, out: &mut Vec<Event>) -> Result<(), WireFault>;
}

impl Wire {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::OllamaGenerate,
        Self::OllamaChat,
        Self::Anthropic,
        Self::OpenaiChat,
        Self::OpenaiResponses,
    ];

    /// Its name in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OllamaGenerate => "ollama_generate",
            Self::OllamaChat => "ollama_chat",
            Self::Anthropic => "anthropic",
            Self::OpenaiChat => "openai_chat",
            Self::OpenaiResponses => "openai_responses",
        }
    }

    /// Whether Ollama speaks it.
    pub fn is_ollama(self) -> bool {
        matches!(self, Self::OllamaGenerate | Self::OllamaChat)
    }

    /// Where questions go, below the base address.
    pub fn path(self) -> &'static str {
        match self {
            Self::OllamaGenerate => "api/generate",
            Self::OllamaChat => "api/chat",
            Self::Anthropic => "v1/messages",
            Self::OpenaiChat => "chat/completions",
            Self::OpenaiResponses => "responses",
        }
    }

    /// Where the models are listed, below the base address.
    pub fn models_path(self) -> &'static str {
        match self {
            Self::OllamaGenerate | Self::OllamaChat => "api/tags",
            Self::Anthropic => "v1/models",
            Self::OpenaiChat | Self::OpenaiResponses => "models",
        }
    }

    /// The base address where none is configured.
    pub fn base_url(self) -> &'static str {
        match self {
            Self::OllamaGenerate | Self::OllamaChat => "http://localhost:11434",
            Self::Anthropic => "https://api.anthropic.com",
            Self::OpenaiChat | Self::OpenaiResponses => "https://api.openai.com/v1",
        }
    }

    /// Whether answers come in pieces. All but `/api/generate`, which is asked for the whole.
    pub fn streams(self, dialect: &Dialect) -> bool {
        dialect.stream.unwrap_or(self != Self::OllamaGenerate)
    }

    /// What it can carry.
    pub fn caps(self) -> Caps {
        Caps {
            tools: self != Self::OllamaGenerate,
            schema: match self {
                Self::Anthropic => SchemaSupport::ForcedTool,
                _ => SchemaSupport::Native,
            },
            context_tokens: None,
            max_output_tokens: None,
        }
    }

    /// The body of a question.
    pub fn encode(self, request: &Request, dialect: &Dialect) -> Value {
        let stream = self.streams(dialect);
        let limit = dialect.max_tokens_field.as_deref();
        let mut body = match self {
            Self::OllamaGenerate => ollama::encode_generate(request, stream),
            Self::OllamaChat => ollama::encode_chat(request, stream),
            Self::Anthropic => anthropic::encode(request, stream),
            Self::OpenaiChat => openai_chat::encode(request, stream, limit),
            Self::OpenaiResponses => openai_responses::encode(request, stream),
        };
        for (key, value) in &dialect.body {
            if value.is_null() {
                body.remove(key);
            } else if let (Some(Value::Object(ours)), Value::Object(more)) =
                (body.get_mut(key), value)
            {
                ours.extend(more.clone());
            } else {
                body.insert(key.clone(), value.clone());
            }
        }
        Value::Object(body)
    }

    /// Why a question cannot be put on this wire at all, if it cannot.
    pub fn unfit(self, request: &Request) -> Option<WireFault> {
        if self == Self::OllamaGenerate && !request.tools.is_empty() {
            let detail = "/api/generate knows no tools: set `wire = \"ollama_chat\"`";
            return Some(WireFault::new(Kind::BadRequest, detail));
        }
        let full = self.is_ollama() && ollama::surely_too_long(request);
        full.then(|| WireFault::new(Kind::ContextOverflow, "it would be cut without a word"))
    }

    /// A reader for the answer to this question.
    pub fn decoder(self, request: &Request) -> Box<dyn Decode> {
        match self {
            Self::OllamaGenerate | Self::OllamaChat => Box::new(ollama::Decoder::new(request)),
            Self::Anthropic => Box::new(anthropic::Decoder::new(request)),
            Self::OpenaiChat => Box::<openai_chat::Decoder>::default(),
            Self::OpenaiResponses => Box::<openai_responses::Decoder>::default(),
        }
    }
}

/// A body from pairs; those without a value are left out.
fn object<const N: usize>(pairs: [(&str, Option<Value>); N]) -> Map<String, Value> {
    pairs
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

/// A message as turns of a chat, where what a tool said is a turn of its own: `call` writes a call, `result` what a tool
/// said, by the call's id and the tool's name.
fn chat_turns(
    message: &Message,
    call: impl Fn(&ToolCall) -> Value,
    result: impl Fn(&str, &str, String) -> Value,
) -> Vec<Value> {
    let mut turns = Vec::new();
    let mut calls = Vec::new();
    for part in &message.parts {
        match part {
            Part::Text(_) => {}
            Part::ToolCall(it) => calls.push(call(it)),
            Part::ToolResult {
                id,
                name,
                content,
                is_error,
            } => turns.push(result(id, name, told(content, *is_error))),
        }
    }
    let words = message.text();
    if !words.is_empty() || !calls.is_empty() {
        let role = match message.role {
            Speaker::User => "user",
            Speaker::Assistant => "assistant",
        };
        let calls = (!calls.is_empty()).then(|| json!(calls));
        turns.push(Value::Object(object([
            ("role", Some(json!(role))),
            ("content", Some(json!(words))),
            ("tool_calls", calls),
        ])));
    }
    turns
}

/// What a tool said, in the forms that have no mark for a failure.
fn told(content: &str, is_error: bool) -> String {
    if is_error {
        format!("error: {content}")
    } else {
        content.to_owned()
    }
}

/// A temperature without the noise of its binary form: 0.2 and not 0.20000000298.
fn temperature(request: &Request) -> Option<Value> {
    let written = request.temperature?.to_string();
    serde_json::from_str(&written).ok()
}

fn parse(data: &str) -> Result<Value, WireFault> {
    serde_json::from_str(data).map_err(|_| WireFault::new(Kind::BadBody, "it is not JSON"))
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

fn number(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer)?.as_u64()
}

fn push_text(out: &mut Vec<Event>, piece: Option<&str>) {
    if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
        out.push(Event::Text(piece.to_owned()));
    }
}

fn push_reasoning(out: &mut Vec<Event>, piece: Option<&str>) {
    if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
        out.push(Event::Reasoning(piece.to_owned()));
    }
}

fn push_usage(out: &mut Vec<Event>, usage: Usage) {
    if !usage.is_unknown() {
        out.push(Event::Usage(usage));
    }
}

/// A call that is put together from pieces.
#[derive(Debug, Default)]
struct Pieces {
    id: String,
    name: String,
    arguments: String,
}

impl Pieces {
    /// The call; `None` when its arguments are cut or no object.
    fn call(self, number: usize) -> Option<ToolCall> {
        let arguments = if self.arguments.trim().is_empty() {
            Value::Object(Map::new())
        } else {
            serde_json::from_str(&self.arguments).ok()?
        };
        let usable = arguments.is_object() && !self.name.is_empty();
        usable.then(|| ToolCall {
            id: if self.id.is_empty() {
                format!("call_{number}")
            } else {
                self.id
            },
            name: self.name,
            arguments,
        })
    }
}

/// Calls at the end of an answer: a cut one is left out where the answer was cut, a fault elsewhere.
fn finish_calls(
    pieces: Vec<Pieces>,
    stop: &Stop,
    out: &mut Vec<Event>,
) -> Result<usize, WireFault> {
    let mut count = 0;
    for (piece, number) in pieces.into_iter().zip(1..) {
        match piece.call(number) {
            Some(call) => {
                out.push(Event::ToolCall(call));
                count += 1;
            }
            None if *stop == Stop::MaxTokens => {}
            None => {
                return Err(WireFault::new(
                    Kind::BadBody,
                    "the arguments of a tool call are not a JSON object",
                ));
            }
        }
    }
    Ok(count)
}

/// A fault from an error object: `{type, code, message}` in any mix, or a bare text.
pub(crate) fn fault_in(error: &Value) -> WireFault {
    let said = |key: &str| error.get(key).and_then(Value::as_str);
    let word = said("code")
        .or_else(|| said("type"))
        .filter(|word| is_word(word));
    let detail = said("message").or_else(|| error.as_str()).unwrap_or("");
    let lower = format!(
        "{} {} {detail}",
        said("type").unwrap_or(""),
        word.unwrap_or("")
    )
    .to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let kind = if has(OVERFLOW) {
        Kind::ContextOverflow
    } else if has(BILLING) {
        Kind::Billing
    } else if has(&[
        "authentication_error",
        "invalid_api_key",
        "permission_error",
    ]) {
        Kind::Auth
    } else if has(&["model_not_found"])
        || (lower.contains("model") && has(&["not found", "does not exist", "not_found_error"]))
    {
        Kind::UnknownModel
    } else {
        Kind::InBand
    };
    WireFault {
        kind,
        word: word.map(str::to_owned),
        detail: detail.to_owned(),
        quoted: true,
    }
}

/// How servers say that a question is too long.
const OVERFLOW: &[&str] = &[
    "context_length_exceeded",
    "exceed_context_size",
    "prompt is too long",
    "context length",
    "context window",
    "context size",
    "maximum context",
    "exceeds the available context",
    "request_too_large",
];
/// How servers say that there is no money.
const BILLING: &[&str] = &["insufficient_quota", "billing", "credit balance"];

/// A code, never words of the question: short, without spaces.
fn is_word(word: &str) -> bool {
    word.len() <= 64
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}
