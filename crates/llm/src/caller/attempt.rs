//! One attempt on the wire, and what is made of its end.

use super::Caller;
use super::fold::{ANSWER_BYTES_MAX, Fold, TOOL_CALLS_MAX};
use crate::guard::Guard;
use crate::schema::{self, Unfit};
use crate::{
    CallCx, CallRecord, Event, Exchange, Kind, LlmError, Planned, Price, Reply, Request, Stop,
    Ticket,
};
use futures::StreamExt;
use jsonschema::Validator;
use std::time::Duration;
use tokio::time::Instant;

/// The most events that are kept for a recorder; beyond it an exchange is not recorded whole.
const RECORDED_EVENTS_MAX: usize = 1_000_000;

/// An attempt that came to its final event and is not settled yet.
pub(super) struct Tried {
    ticket: Ticket,
    record: CallRecord,
    reply: Reply,
}

/// How the stream went.
struct Streamed {
    fold: Fold,
    error: Option<LlmError>,
    latency: Duration,
    first: Option<Duration>,
    events: Vec<(Duration, Event)>,
}

impl Caller {
    /// Reserves and asks once. On an error it has settled; on an answer [`Caller::finish`] will.
    pub(super) async fn attempt(
        &self,
        request: &Request,
        cx: &CallCx,
        attempt: u32,
        on_event: &mut (impl FnMut(&Event) + Send),
    ) -> Result<Tried, LlmError> {
        if cx.cancel.is_cancelled() {
            return Err(self.ended(Kind::Cancelled));
        }
        let price = self
            .prices
            .find(self.provider.kind(), &self.model, (self.now)())
            .cloned();
        let ticket = self.reserve(request, price.as_ref(), attempt).await?;
        self.told(&Event::Restarted { attempt });
        let mut streamed = self.listen(request, cx, on_event).await;
        self.keep(request, &streamed);
        let record = self.record(&streamed, price.as_ref(), attempt);
        if let Some(error) = streamed.error.take() {
            self.meter.settle(ticket, &record).await;
            return Err(error);
        }
        let (stop, request_id) = streamed.fold.end.unwrap_or((Stop::End, None));
        Ok(Tried {
            ticket,
            reply: Reply {
                provider: self.provider.id().to_owned(),
                model: self.model.clone(),
                text: streamed.fold.text,
                reasoning: streamed.fold.reasoning,
                tool_calls: streamed.fold.tool_calls,
                usage: streamed.fold.usage,
                stop,
                request_id,
                structured: None,
                latency_ms: record.latency_ms,
            },
            record,
        })
    }

    fn told(&self, event: &Event) {
        if let Some(listener) = &self.listener {
            listener(event);
        }
    }

    async fn reserve(
        &self,
        request: &Request,
        price: Option<&Price>,
        attempt: u32,
    ) -> Result<Ticket, LlmError> {
        let max_input_tokens = input_tokens(request);
        let max_output_tokens = u64::from(request.max_output_tokens);
        let planned = Planned {
            role: self.role,
            provider: self.provider.id().to_owned(),
            model: self.model.clone(),
            attempt,
            max_input_tokens,
            max_output_tokens,
            max_cost_micro_usd: price.and_then(|p| p.most(max_input_tokens, max_output_tokens)),
        };
        self.meter.reserve(&planned).await.map_err(|refusal| {
            let reason = crate::redact::redact(&refusal.reason, &[]);
            let message = format!("nothing was sent to {}: {reason}", self.name());
            let mut error = self.error(Kind::Refused, message);
            error.retry_after = refusal.until_ms.map(|until| {
                let wait = until.saturating_sub((self.now)());
                Duration::from_millis(u64::try_from(wait).unwrap_or(0))
            });
            error
        })
    }

    /// Listens to the end, within the bounds whatever the provider does.
    async fn listen(
        &self,
        request: &Request,
        cx: &CallCx,
        on_event: &mut (impl FnMut(&Event) + Send),
    ) -> Streamed {
        let start = Instant::now();
        // Silence is the provider's to judge: only it sees the bytes.
        let guard = Guard::new(cx).without_idle();
        let mut stream = self.provider.stream(request.clone(), cx.clone());
        let mut fold = Fold::default();
        let mut events = Vec::new();
        let mut first = None;
        let error = loop {
            let event = match guard.run(stream.next()).await {
                Err(kind) => break Some(self.ended(kind)),
                Ok(None) => break Some(self.ended(Kind::Truncated)),
                Ok(Some(Err(error))) => break Some(error),
                Ok(Some(Ok(event))) => event,
            };
            first = first.or_else(|| Some(start.elapsed()));
            on_event(&event);
            self.told(&event);
            let taken = fold.take(&event);
            if self.recorder.is_some() && events.len() < RECORDED_EVENTS_MAX {
                events.push((start.elapsed(), event));
            }
            if let Err(kind) = taken {
                break Some(self.ended(kind));
            }
            if fold.end.is_some() {
                break None;
            }
        };
        let error = error.map(|mut error| {
            let mut usage = error.usage;
            usage.overwrite(&fold.usage);
            error.usage = usage;
            error
        });
        Streamed {
            fold,
            error,
            latency: start.elapsed(),
            first,
            events,
        }
    }

    /// What this side says about an end that the provider did not tell.
    fn ended(&self, kind: Kind) -> LlmError {
        let who = self.name();
        self.error(
            kind,
            match kind {
                Kind::Cancelled => format!("the call to {who} was cancelled"),
                Kind::TimeoutTotal => format!(
                    "{who} did not finish in the time of the call: allow more time, a shorter answer or a faster model"
                ),
                Kind::BadBody => format!(
                    "the answer of {who} is longer than {ANSWER_BYTES_MAX} bytes or {TOOL_CALLS_MAX} calls; it was dropped"
                ),
                _ => format!("the answer of {who} ended before its final event; none of it is used"),
            },
        )
    }

    fn keep(&self, request: &Request, streamed: &Streamed) {
        if let Some(recorder) = &self.recorder {
            recorder.record(&Exchange {
                role: self.role,
                provider: self.provider.id(),
                kind: self.provider.kind(),
                request,
                events: &streamed.events,
                error: streamed.error.as_ref(),
            });
        }
    }

    fn record(&self, streamed: &Streamed, price: Option<&Price>, attempt: u32) -> CallRecord {
        let fold = &streamed.fold;
        let usage = streamed.error.as_ref().map_or(fold.usage, |e| e.usage);
        let end = fold.end.as_ref();
        CallRecord {
            role: self.role,
            provider: self.provider.id().to_owned(),
            model: self.model.clone(),
            usage,
            stop: end.map(|(stop, _)| stop.as_str().to_owned()),
            latency_ms: millis(streamed.latency),
            ttft_ms: streamed.first.map(millis),
            request_id: match &streamed.error {
                Some(error) => error.request_id.clone(),
                None => end.and_then(|(_, id)| id.clone()),
            },
            attempt,
            error: streamed.error.as_ref().map(|error| error.kind),
            cost_micro_usd: price.and_then(|price| price.cost(&usage)),
            price_id: price.map(|price| price.id.clone()),
        }
    }

    /// Checks the answer against its schema and settles, once, with what came of it.
    pub(super) async fn finish(
        &self,
        tried: Tried,
        validator: Option<&Validator>,
    ) -> Result<Reply, LlmError> {
        let Tried {
            ticket,
            mut record,
            mut reply,
        } = tried;
        let checked = match validator {
            Some(validator) if reply.tool_calls.is_empty() => self.check(&mut reply, validator),
            _ => Ok(()),
        };
        record.error = checked.as_ref().err().map(|error| error.kind);
        self.meter.settle(ticket, &record).await;
        match checked {
            Ok(()) => Ok(reply),
            Err(mut error) => {
                error.usage = reply.usage;
                error.request_id.clone_from(&reply.request_id);
                error.reply = Some(reply);
                Err(error)
            }
        }
    }

    fn check(&self, reply: &mut Reply, validator: &Validator) -> Result<(), LlmError> {
        let unfit = match schema::extract(&reply.text, validator) {
            Ok(value) => {
                reply.structured = Some(value);
                return Ok(());
            }
            Err(unfit) => unfit,
        };
        let who = self.name();
        let message = match (&reply.stop, unfit) {
            (Stop::MaxTokens, _) => format!(
                "the answer of {who} was cut at its limit of output tokens before it was whole: raise max_output_tokens"
            ),
            (Stop::Refused, _) => format!("{who} refused to answer"),
            (_, Unfit::NoJson) => format!("the answer of {who} holds no JSON, which was asked for"),
            (_, Unfit::Ambiguous) => format!(
                "the answer of {who} holds several different values that all fit; none is taken"
            ),
            (_, Unfit::Invalid(complaints)) => format!(
                "the answer of {who} does not hold against its schema: {}",
                crate::redact::redact(&complaints.join("; "), &[])
            ),
        };
        Err(self.error(Kind::BadOutput, message))
    }
}

/// Counts what is written.
struct Counted(usize);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// See [`Planned::max_input_tokens`].
fn input_tokens(request: &Request) -> u64 {
    // Counted, not kept: a question may be megabytes long.
    let mut bytes = Counted(0);
    if serde_json::to_writer(&mut bytes, request).is_err() {
        bytes.0 = usize::MAX;
    }
    let bytes = bytes.0;
    let estimate = u64::try_from(bytes.div_ceil(2)).unwrap_or(u64::MAX);
    request
        .context_tokens
        .map_or(estimate, |context| estimate.min(u64::from(context)))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
