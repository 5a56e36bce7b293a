//! What a script can say.

use serde_json::Value;
use std::time::Duration;

/// One answer: its content, what it took, and how it fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// In order.
    pub content: Vec<Content>,
    /// What it says that it took; `None` says nothing.
    pub tokens: Option<Tokens>,
    /// Whether it was cut at the limit of output tokens.
    pub cut: bool,
    /// How it fails.
    pub fault: Option<Fault>,
    /// The wait before each piece of a stream.
    pub pace: Duration,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Words.
    Text(String),
    /// What the model thinks.
    Reasoning(String),
    /// A value for a question with a schema: as text, or as the tool that the question forces.
    Json(Value),
    /// A call of a tool. Its id is made: `call_1` (`toolu_1` in the Anthropic form), counted over the server's answer.
    ToolCall {
        /// The tool's name.
        name: String,
        /// What it is called with.
        arguments: Value,
    },
}

/// What an answer took, every field as its own: input without the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Read, not from a cache.
    pub input: u64,
    /// Written.
    pub output: u64,
    /// Read from a cache.
    pub cache_read: u64,
    /// Written into the cache of five minutes (Anthropic only).
    pub cache_write_5m: u64,
    /// Written into the cache of an hour (Anthropic only).
    pub cache_write_1h: u64,
    /// The part of the output that was reasoning (OpenAI only).
    pub reasoning: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            input: 10,
            output: 5,
            cache_read: 0,
            cache_write_5m: 0,
            cache_write_1h: 0,
            reasoning: 0,
        }
    }
}

/// A way to fail. What says "half" gives the first half of the step's content before.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// 429.
    RateLimited {
        /// `retry-after`, seconds.
        retry_after: Option<u64>,
    },
    /// 529.
    Overloaded,
    /// 500.
    Server,
    /// 401, the key is wrong.
    Unauthorized,
    /// 402.
    PaymentRequired,
    /// 404, the model is unknown.
    UnknownModel,
    /// 502 with a page, as a proxy gives it.
    HtmlBadGateway,
    /// 400, the question is too long.
    ContextOverflow,
    /// 200, and the first frame (or the body) is no JSON.
    InvalidJson,
    /// 200, and nothing.
    EmptyBody,
    /// 200, half, then a frame whose JSON is cut, and a proper end.
    TruncatedJson,
    /// 200 and one JSON body where a stream was asked for; a stream where one body was.
    WrongKind,
    /// 200, half, and the connection is closed in the middle.
    Cut,
    /// 200, everything but what marks the end, and a proper end of the body.
    EarlyEnd,
    /// 200, and the body byte by byte.
    Drip(Duration),
    /// 200, and white space, byte by byte, for ever.
    BlankDrip(Duration),
    /// Nothing is ever said; the connection stays.
    Hang,
    /// 200, half, and then nothing more; the connection stays.
    HangMidStream,
    /// 200, half, and an error event in the form of the wire (overloaded).
    ErrorEvent,
    /// 200, half, and bytes that are no UTF-8.
    InvalidUtf8,
    /// The connection is reset.
    Reset,
    /// Exactly this; `content-length` is added.
    Raw {
        /// The status.
        status: u16,
        /// All other headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
}

impl Step {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::content([Content::Text(text.into())])
    }

    /// A value for a question with a schema.
    pub fn json(value: Value) -> Self {
        Self::content([Content::Json(value)])
    }

    /// A call of a tool.
    pub fn tool(name: impl Into<String>, arguments: Value) -> Self {
        Self::content([Content::ToolCall {
            name: name.into(),
            arguments,
        }])
    }

    /// Several things in order.
    pub fn content(content: impl IntoIterator<Item = Content>) -> Self {
        Self {
            content: content.into_iter().collect(),
            tokens: Some(Tokens::default()),
            cut: false,
            fault: None,
            pace: Duration::ZERO,
        }
    }

    /// A failure; those that give half give half of a short text.
    pub fn fault(fault: Fault) -> Self {
        Self::text("a text of which half comes before it fails").failing(fault)
    }

    /// The same, failing in this way.
    #[must_use]
    pub fn failing(self, fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..self
        }
    }

    /// The same with this usage; `None` says nothing about it.
    #[must_use]
    pub fn with_tokens(self, tokens: Option<Tokens>) -> Self {
        Self { tokens, ..self }
    }

    /// The same, cut at the limit of output tokens.
    #[must_use]
    pub fn cut(self) -> Self {
        Self { cut: true, ..self }
    }

    /// The same, with a wait before each piece of the stream.
    #[must_use]
    pub fn paced(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    pub(super) fn calls_tools(&self) -> bool {
        let is_call = |content: &Content| matches!(content, Content::ToolCall { .. });
        self.content.iter().any(is_call)
    }
}

/// A text in pieces of a few letters, as a model gives it.
pub(super) fn pieces(text: &str) -> Vec<String> {
    const LETTERS: usize = 12;
    let letters: Vec<char> = text.chars().collect();
    letters
        .chunks(LETTERS)
        .map(|piece| piece.iter().collect())
        .collect()
}
