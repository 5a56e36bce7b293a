//! The one way to ask a model: reserve, stream, fold, check, settle; again where that helps.
//!
//! A [`Caller`] is a provider with a model and limits, for one role. [`Callers`] tries the next one where
//! another may answer.

mod attempt;
mod fold;

use crate::{
    Advice, CallCx, Event, Kind, LlmError, Meter, Prices, Provider, Recorder, Reply, Request, Role,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Output tokens of an answer where nothing else is said.
pub const OUTPUT_TOKENS: u32 = 4_096;

/// What a question may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The longest answer in tokens. A request may ask for less, never for more.
    pub max_output_tokens: u32,
    /// Context for the models that must be told ([`Request::context_tokens`]).
    pub context_tokens: Option<u32>,
    /// For requests that name none.
    pub temperature: Option<f32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_output_tokens: OUTPUT_TOKENS,
            context_tokens: None,
            temperature: None,
        }
    }
}

/// How often and how soon a failed question is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts on the wire, the first included. 1 means never again; 0 is taken as 1.
    pub max_attempts: u32,
    /// The first wait; each next one is twice as long, and a random part of up to half is taken off.
    pub base: Duration,
    /// The longest wait of our own. What the provider asks for is honoured up to
    /// [`crate::RETRY_AFTER_MAX`].
    pub cap: Duration,
}

impl Retry {
    /// Never again.
    pub const NEVER: Self = Self {
        max_attempts: 1,
        base: Duration::ZERO,
        cap: Duration::ZERO,
    };

    /// The wait before an attempt (from 2), with `random` deciding the part that is taken off.
    pub fn wait(&self, attempt: u32, random: u32) -> Duration {
        let doublings = attempt.saturating_sub(2).min(16);
        let full = self.base.saturating_mul(1 << doublings).min(self.cap);
        full - full.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
    }
}

impl Default for Retry {
    /// Three attempts, half a second and up to 20 s between them.
    fn default() -> Self {
        Self {
            max_attempts: 3,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(20),
        }
    }
}

/// Tells the time in ms since 1970; only the date of a price is taken from it.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A provider with a model, limits and a meter, for one role. Cheap to clone.
#[derive(Clone)]
pub struct Caller {
    /// What for.
    pub role: Role,
    /// Who answers.
    pub provider: Arc<dyn Provider>,
    /// With which model.
    pub model: String,
    /// How much.
    pub limits: Limits,
    /// Who counts.
    pub meter: Arc<dyn Meter>,
    /// What it costs.
    pub prices: Arc<Prices>,
    /// Who keeps it.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// Who listens while it comes: every event of every attempt, each attempt begun with [`Event::Restarted`].
    pub listener: Option<Listener>,
    /// How often.
    pub retry: Retry,
    /// The time, for the date of a price.
    pub now: Now,
}

/// Hears events as they come. Must not block.
pub type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

impl Caller {
    /// With default limits and retries, the embedded prices, no recorder, and the time that `now`
    /// tells.
    pub fn new(
        role: Role,
        provider: Arc<dyn Provider>,
        model: impl Into<String>,
        meter: Arc<dyn Meter>,
        now: Now,
    ) -> Self {
        Self {
            role,
            provider,
            model: model.into(),
            limits: Limits::default(),
            meter,
            prices: Arc::new(Prices::embedded()),
            recorder: None,
            listener: None,
            retry: Retry::default(),
            now,
        }
    }

    /// Asks, and gives the whole answer or one error; never a part of an answer.
    ///
    /// Every attempt on the wire is reserved before and settled after, also when it fails or is
    /// cancelled. Where the future is dropped instead, the reservation stays open, and an open one counts as
    /// spent. `on_event` sees everything as it comes; [`Event::Restarted`] voids what it saw before.
    ///
    /// With a schema the answer's [`Reply::structured`] holds against it, or the error is
    /// [`Kind::BadOutput`] with the answer in it; that is not asked again here.
    pub async fn complete(
        &self,
        request: Request,
        cx: CallCx,
        mut on_event: impl FnMut(&Event) + Send,
    ) -> Result<Reply, LlmError> {
        let until = Instant::now() + cx.deadline.min(Duration::from_secs(1 << 25));
        let request = self.fit(request);
        let validator = self.validator(&request)?;
        let mut attempt = 1;
        loop {
            let cx = CallCx {
                deadline: until.saturating_duration_since(Instant::now()),
                ..cx.clone()
            };
            let tried = self.attempt(&request, &cx, attempt, &mut on_event).await;
            let error = match tried {
                Ok(tried) => return self.finish(tried, validator.as_ref()).await,
                Err(error) => error,
            };
            let wait = self.again(&error, attempt, until).ok_or(error)?;
            self.pause(wait, &cx).await?;
            attempt += 1;
            on_event(&Event::Restarted { attempt });
        }
    }

    /// The wait before the next attempt, where there is one.
    fn again(&self, error: &LlmError, attempt: u32, until: Instant) -> Option<Duration> {
        if attempt >= self.retry.max_attempts {
            return None;
        }
        let Advice::Retry { after } = error.advice() else {
            return None;
        };
        // Without randomness the whole wait is kept, which is the safe end.
        let random = getrandom::u32().unwrap_or(0);
        let own = self.retry.wait(attempt + 1, random);
        let wait = after.map_or(own, |after| after.max(own));
        (Instant::now() + wait < until).then_some(wait)
    }

    async fn pause(&self, wait: Duration, cx: &CallCx) -> Result<(), LlmError> {
        tokio::select! {
            biased;
            () = cx.cancel.cancelled() => Err(self.error(
                Kind::Cancelled,
                format!("the call to {} was cancelled while it waited to ask again", self.name()),
            )),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// The request with our model, within our limits.
    fn fit(&self, mut request: Request) -> Request {
        request.model.clone_from(&self.model);
        let most = self.limits.max_output_tokens.max(1);
        request.max_output_tokens = match request.max_output_tokens {
            0 => most,
            asked => asked.min(most),
        };
        request.context_tokens = request.context_tokens.or(self.limits.context_tokens);
        request.temperature = request.temperature.or(self.limits.temperature);
        request
    }

    fn validator(&self, request: &Request) -> Result<Option<jsonschema::Validator>, LlmError> {
        let Some(output) = &request.schema else {
            return Ok(None);
        };
        let compiled = crate::schema::compile(&output.schema).map_err(|detail| {
            self.error(
                Kind::BadRequest,
                format!(
                    "nothing was sent to {}: the schema {} is not a JSON Schema ({detail})",
                    self.name(),
                    output.name
                ),
            )
        })?;
        Ok(Some(compiled))
    }

    fn error(&self, kind: Kind, message: String) -> LlmError {
        LlmError::new(kind, self.provider.id(), message).with_model(&self.model)
    }

    /// For messages.
    fn name(&self) -> String {
        format!("{} ({})", self.provider.id(), self.model)
    }
}

/// A role's providers in the order of preference.
#[derive(Clone)]
pub struct Callers(pub Vec<Caller>);

impl Callers {
    /// Asks the first; the next one where another may answer (a refused key, no credit, no answer, a
    /// limit), never for what is wrong with the question or the answer, a spent budget, a cancel or the time.
    /// The bounds in `cx` are for all of them together. The error is the first provider's that says when to come
    /// back, otherwise the last one's.
    pub async fn complete(
        &self,
        request: Request,
        cx: CallCx,
        mut on_event: impl FnMut(&Event) + Send,
    ) -> Result<Reply, LlmError> {
        let until = Instant::now() + cx.deadline.min(Duration::from_secs(1 << 25));
        let mut parked: Option<LlmError> = None;
        let mut last = LlmError::new(
            Kind::NotConfigured,
            "",
            "no model is configured for this: set a provider and a model (see `agentwright doctor`)",
        );
        for (i, caller) in self.0.iter().enumerate() {
            if i > 0 {
                on_event(&Event::Restarted { attempt: 1 });
            }
            let cx = CallCx {
                deadline: until.saturating_duration_since(Instant::now()),
                ..cx.clone()
            };
            match caller.complete(request.clone(), cx, &mut on_event).await {
                Ok(reply) => return Ok(reply),
                Err(error) if error.kind.elsewhere() => {
                    if parked.is_none() && matches!(error.advice(), Advice::Park { .. }) {
                        parked = Some(error.clone());
                    }
                    last = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(parked.unwrap_or(last))
    }
}
