//! What one call of a coder has used of its limits, and what is left. Start at [`Spent`].

use std::time::Duration;

use agentwright_llm::{CallCx, Kind, LlmError, Reply, Usage};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::coder::CoderLimits;
use crate::error::{CoderError, CoderLimit};

/// Bytes of text that are counted as one token where the provider does not say.
const BYTES_PER_TOKEN: u64 = 3;
/// The longest silence of a model.
const IDLE: Duration = Duration::from_secs(120);

/// Counts turns, tokens and time of one call of a coder that asks a model by itself.
pub(crate) struct Spent {
    limits: CoderLimits,
    until: Instant,
    pub(crate) turns: u32,
    pub(crate) usage: Usage,
    tokens: u64,
}

impl Spent {
    pub(crate) fn new(limits: &CoderLimits) -> Self {
        Self {
            limits: limits.clone(),
            until: Instant::now() + limits.wall.min(Duration::from_secs(1 << 25)),
            turns: 0,
            usage: Usage::default(),
            tokens: 0,
        }
    }

    /// The bounds of the next model call, and the most it may write.
    ///
    /// # Errors
    /// [`CoderError::Limit`] when nothing is left.
    pub(crate) fn next(&mut self, cancel: &CancellationToken) -> Result<(CallCx, u32), CoderError> {
        if cancel.is_cancelled() {
            return Err(CoderError::Cancelled);
        }
        if self.turns >= self.limits.turns {
            return Err(CoderError::Limit(CoderLimit::Turns));
        }
        let left = self.limits.max_output_tokens.saturating_sub(self.tokens);
        if left == 0 {
            return Err(CoderError::Limit(CoderLimit::Tokens));
        }
        let deadline = self.left()?;
        self.turns += 1;
        let cx = CallCx {
            deadline,
            idle: IDLE,
            cancel: cancel.clone(),
        };
        Ok((cx, u32::try_from(left).unwrap_or(u32::MAX)))
    }

    /// The time that is left.
    pub(crate) fn left(&self) -> Result<Duration, CoderError> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(CoderError::Limit(CoderLimit::Wall));
        }
        Ok(left)
    }

    /// Counts an answer.
    pub(crate) fn count(&mut self, reply: &Reply) {
        let arguments: usize = reply
            .tool_calls
            .iter()
            .map(|c| c.arguments.to_string().len())
            .sum();
        let said = (reply.text.len() + reply.reasoning.len() + arguments) as u64;
        let tokens = reply.usage.output.unwrap_or(said / BYTES_PER_TOKEN);
        self.tokens = self.tokens.saturating_add(tokens);
        add(&mut self.usage, &reply.usage);
    }

    /// A failed call in the words of this crate: our own wall and the caller's cancel are not the model's fault.
    pub(crate) fn failed(&self, error: LlmError) -> CoderError {
        match error.kind {
            Kind::Cancelled => CoderError::Cancelled,
            Kind::TimeoutTotal if self.left().is_err() => CoderError::Limit(CoderLimit::Wall),
            _ => CoderError::Model(error),
        }
    }
}

/// Adds what is known; unknown plus known is known.
pub(crate) fn add(sum: &mut Usage, more: &Usage) {
    for (field, new) in [
        (&mut sum.input, more.input),
        (&mut sum.output, more.output),
        (&mut sum.cache_read, more.cache_read),
        (&mut sum.cache_write_5m, more.cache_write_5m),
        (&mut sum.cache_write_1h, more.cache_write_1h),
        (&mut sum.reasoning, more.reasoning),
    ] {
        if let Some(new) = new {
            *field = Some(field.unwrap_or(0).saturating_add(new));
        }
    }
}
