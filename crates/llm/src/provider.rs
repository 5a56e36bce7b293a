//! What answers.

use crate::{Event, LlmError, Request};
use futures::stream::BoxStream;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A source of model answers. Others do not call it: they use a [`crate::Caller`], which meters,
/// retries, checks and records.
#[async_trait::async_trait]
pub trait Provider: Send + Sync {
    /// Its name in configuration: `anthropic`, `ollama`, `gpu1`.
    fn id(&self) -> &str;

    /// The kind of its wire, for prices and recordings: `ollama`, `anthropic`, `openai`, `scripted`.
    fn kind(&self) -> &str;

    /// What it can do with a model.
    fn caps(&self, model: &str) -> Caps;

    /// Asks once. Either ends with [`Event::Done`] or with one error; nothing comes after either.
    /// Dropping the stream ends the exchange.
    fn stream(&self, request: Request, cx: CallCx) -> BoxStream<'static, Result<Event, LlmError>>;

    /// The models it offers, sorted.
    async fn models(&self) -> Result<Vec<String>, LlmError>;

    /// Whether it is there and takes our key. Costs no tokens.
    async fn health(&self) -> Result<(), LlmError>;
}

/// What a provider can do with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Whether it takes tools.
    pub tools: bool,
    /// How it is held to a schema. The answer is checked here in every case.
    pub schema: SchemaSupport,
    /// Tokens of context, where known.
    pub context_tokens: Option<u32>,
    /// The longest answer in tokens, where known.
    pub max_output_tokens: Option<u32>,
}

/// How a schema reaches a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaSupport {
    /// The wire has a field for it.
    Native,
    /// As the arguments of a tool that must be called.
    ForcedTool,
    /// As words in the prompt.
    Prompt,
}

/// The bounds of one call.
#[derive(Clone, Debug)]
pub struct CallCx {
    /// From the start to the end of everything, retries and their waits included.
    pub deadline: Duration,
    /// The longest silence. Whitespace is silence. Not used where the answer comes in
    /// one piece.
    pub idle: Duration,
    /// Ends the call at once.
    pub cancel: CancellationToken,
}

/// How long a call may take where nothing else is said.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long a model may say nothing where nothing else is said.
const IDLE: Duration = Duration::from_secs(60);

impl Default for CallCx {
    /// 120 s in all, 60 s of silence, nobody cancels.
    fn default() -> Self {
        Self {
            deadline: DEADLINE,
            idle: IDLE,
            cancel: CancellationToken::new(),
        }
    }
}
