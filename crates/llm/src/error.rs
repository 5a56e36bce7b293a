//! What goes wrong with a model, shaped by what the caller does next.

use crate::{Reply, Usage};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// The longest wait that a call makes by itself; beyond it the advice is to park.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 429: too many questions, or a quota is used up until a known time.
    RateLimited,
    /// 503, 529: it is too busy.
    Overloaded,
    /// Another 5xx.
    Server,
    /// 401, 403: the key is not taken.
    Auth,
    /// 402, or no credit.
    Billing,
    /// It does not know the model.
    UnknownModel,
    /// The question is longer than the model's context.
    ContextOverflow,
    /// Another 4xx: what we sent is wrong for it.
    BadRequest,
    /// The answer is not in the wire's form.
    BadBody,
    /// The connection ended, cut or clean, before the final event.
    Truncated,
    /// An error event inside the stream.
    InBand,
    /// It cannot be reached.
    Connect,
    /// Silence for longer than allowed.
    TimeoutIdle,
    /// The whole took longer than allowed.
    TimeoutTotal,
    /// Somebody cancelled.
    Cancelled,
    /// The answer does not hold against the schema.
    BadOutput,
    /// The budget said no; nothing was sent.
    Refused,
    /// A replay met a question that was not recorded.
    Replay,
    /// No provider, key or model is configured.
    NotConfigured,
}

impl Kind {
    /// Its name in tables and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Server => "server",
            Self::Auth => "auth",
            Self::Billing => "billing",
            Self::UnknownModel => "unknown_model",
            Self::ContextOverflow => "context_overflow",
            Self::BadRequest => "bad_request",
            Self::BadBody => "bad_body",
            Self::Truncated => "truncated",
            Self::InBand => "in_band",
            Self::Connect => "connect",
            Self::TimeoutIdle => "timeout_idle",
            Self::TimeoutTotal => "timeout_total",
            Self::Cancelled => "cancelled",
            Self::BadOutput => "bad_output",
            Self::Refused => "refused",
            Self::Replay => "replay",
            Self::NotConfigured => "not_configured",
        }
    }

    /// Whether the same question may well be answered the next time.
    pub fn retryable(self) -> bool {
        match self {
            Self::RateLimited
            | Self::Overloaded
            | Self::Server
            | Self::BadBody
            | Self::Truncated
            | Self::InBand
            | Self::Connect
            | Self::TimeoutIdle => true,
            Self::Auth
            | Self::Billing
            | Self::UnknownModel
            | Self::ContextOverflow
            | Self::BadRequest
            | Self::TimeoutTotal
            | Self::Cancelled
            | Self::BadOutput
            | Self::Refused
            | Self::Replay
            | Self::NotConfigured => false,
        }
    }

    /// Whether another provider may answer where this one did not.
    pub fn elsewhere(self) -> bool {
        self.retryable()
            || matches!(
                self,
                Self::Auth | Self::Billing | Self::UnknownModel | Self::NotConfigured
            )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Ask again, not before this.
    Retry {
        /// What the provider asked for; our own back-off where absent.
        after: Option<Duration>,
    },
    /// The provider answers nobody until then: let go of everything and come back.
    Park {
        /// From now.
        after: Duration,
    },
    /// Asking again changes nothing.
    Fail,
}

/// A failure. Its message says what was attempted, where, and what to do; it never holds a key or
/// text of the question.
#[derive(Clone)]
pub struct LlmError(Box<Failure>);

/// What an [`LlmError`] holds; its fields are reached through it.
#[derive(Clone)]
pub struct Failure {
    /// What kind.
    pub kind: Kind,
    /// The provider's id.
    pub provider: String,
    /// The model that was asked; empty where none was.
    pub model: String,
    /// The HTTP status.
    pub status: Option<u16>,
    /// When the provider (or, with [`Kind::Refused`], the budget) says to come back, from now.
    pub retry_after: Option<Duration>,
    /// The provider's name for the exchange.
    pub request_id: Option<String>,
    /// Bytes of the answer that came before.
    pub partial_bytes: u64,
    /// Usage that was known before.
    pub usage: Usage,
    /// For people.
    pub message: String,
    /// With [`Kind::BadOutput`] only: the answer that does not hold, for a repair turn.
    pub reply: Option<Reply>,
}

impl LlmError {
    /// A failure of a kind at a provider.
    pub fn new(kind: Kind, provider: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Box::new(Failure {
            kind,
            provider: provider.into(),
            model: String::new(),
            status: None,
            retry_after: None,
            request_id: None,
            partial_bytes: 0,
            usage: Usage::default(),
            message: message.into(),
            reply: None,
        }))
    }

    /// The same with a time to come back at, from now.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The same with a model.
    #[must_use]
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// What to do about it. Only a limit or an overload parks, and only when it says that it lasts
    /// longer than [`RETRY_AFTER_MAX`].
    pub fn advice(&self) -> Advice {
        match (self.kind, self.retry_after) {
            (Kind::RateLimited | Kind::Overloaded, Some(after)) if after > RETRY_AFTER_MAX => {
                Advice::Park { after }
            }
            (kind, after) if kind.retryable() => Advice::Retry {
                after: after.map(|after| after.min(RETRY_AFTER_MAX)),
            },
            _ => Advice::Fail,
        }
    }
}

impl Deref for LlmError {
    type Target = Failure;
    fn deref(&self) -> &Failure {
        &self.0
    }
}

impl DerefMut for LlmError {
    fn deref_mut(&mut self) -> &mut Failure {
        &mut self.0
    }
}

impl fmt::Display for LlmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for LlmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmError")
            .field("kind", &self.kind)
            .field("provider", &self.provider)
            .field("model", &self.model)
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("request_id", &self.request_id)
            .field("partial_bytes", &self.partial_bytes)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for LlmError {}
