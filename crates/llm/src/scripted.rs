//! A provider in memory that says what a test told it to, for tests of this crate and of others.
//!
//! ```
//! # use agentwright_llm::{CallCx, Caller, Request, Role, ScriptedProvider, Step, Unmetered};
//! # use std::sync::Arc;
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let provider = Arc::new(ScriptedProvider::new("test").then(Step::text("PASS: fine")));
//! let caller = Caller::new(Role::Review, provider.clone(), "m", Arc::new(Unmetered), Arc::new(|| 0));
//! let reply = caller.complete(Request::user("look"), CallCx::default(), |_| ()).await.unwrap();
//! assert_eq!(reply.text, "PASS: fine");
//! assert_eq!(provider.requests()[0].messages[0].text(), "look");
//! # }
//! ```

use crate::guard::Guard;
use crate::{
    CallCx, Caps, Event, Kind, LlmError, Provider, Request, SchemaSupport, Stop, ToolCall, Usage,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Characters of a scripted text in one event.
const PIECE: usize = 16;

/// One answer of the script.
#[derive(Clone, Debug)]
pub struct Step {
    /// What comes, in order.
    events: Vec<Event>,
    /// The wait before each event.
    every: Duration,
    end: End,
    usage: Usage,
}

#[derive(Clone, Debug)]
enum End {
    Done(Stop),
    Error(LlmError),
    /// Silence for ever.
    Hang,
    /// The stream ends without a final event.
    Cut,
}

impl Step {
    /// A text, in small pieces.
    pub fn text(text: impl AsRef<str>) -> Self {
        let letters: Vec<char> = text.as_ref().chars().collect();
        let pieces = letters.chunks(PIECE).map(|piece| piece.iter().collect());
        Self::events(pieces.map(Event::Text).collect(), Stop::End)
    }

    /// A JSON value as text.
    pub fn json(value: &Value) -> Self {
        Self::text(value.to_string())
    }

    /// Calls of tools: names and arguments. Ids are `call_1`, ….
    pub fn tool_calls(calls: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        let calls = calls.into_iter().zip(1..).map(|((name, arguments), n)| {
            Event::ToolCall(ToolCall {
                id: format!("call_{n}"),
                name: name.to_owned(),
                arguments,
            })
        });
        Self::events(calls.collect(), Stop::ToolCalls)
    }

    /// Exactly these events, then usage and the end.
    pub fn events(events: Vec<Event>, stop: Stop) -> Self {
        Self {
            events,
            every: Duration::ZERO,
            end: End::Done(stop),
            usage: Usage {
                input: Some(10),
                output: Some(5),
                ..Usage::default()
            },
        }
    }

    /// A failure.
    pub fn error(kind: Kind) -> Self {
        Self::failing(LlmError::new(
            kind,
            "scripted",
            format!("scripted failure: {kind}"),
        ))
    }

    /// Exactly this failure.
    pub fn failing(error: LlmError) -> Self {
        Self::events(Vec::new(), Stop::End).ending(End::Error(error))
    }

    /// 429 with a time to come back at.
    pub fn rate_limited(after: Duration) -> Self {
        Self::failing(
            LlmError::new(Kind::RateLimited, "scripted", "scripted limit").with_retry_after(after),
        )
    }

    /// Silence until a bound of the call ends it.
    pub fn hang() -> Self {
        Self::events(Vec::new(), Stop::End).ending(End::Hang)
    }

    /// A text whose stream ends without the final event.
    pub fn cut(text: impl AsRef<str>) -> Self {
        Self::text(text).ending(End::Cut)
    }

    /// A text whose pieces come slowly.
    pub fn drip(text: impl AsRef<str>, every: Duration) -> Self {
        Self {
            every,
            ..Self::text(text)
        }
    }

    /// The same with this usage in place of 10 in, 5 out.
    #[must_use]
    pub fn with_usage(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }

    /// The same, ended by this.
    #[must_use]
    pub fn with_stop(self, stop: Stop) -> Self {
        self.ending(End::Done(stop))
    }

    fn ending(self, end: End) -> Self {
        Self { end, ..self }
    }
}

type Closure = dyn FnMut(&Request) -> Step + Send;

/// The provider. It answers with its steps in order; when they are used up (or there are none) with
/// its closure; without one with [`Kind::Replay`].
pub struct ScriptedProvider {
    id: String,
    caps: Caps,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    steps: VecDeque<Step>,
    closure: Option<Box<Closure>>,
    seen: Vec<Request>,
}

impl ScriptedProvider {
    /// Says nothing yet.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            caps: Caps {
                tools: true,
                schema: SchemaSupport::Native,
                context_tokens: None,
                max_output_tokens: None,
            },
            script: Mutex::default(),
        }
    }

    /// Answers every question with what the closure makes of it.
    pub fn answering(
        id: impl Into<String>,
        closure: impl FnMut(&Request) -> Step + Send + 'static,
    ) -> Self {
        let provider = Self::new(id);
        provider.lock().closure = Some(Box::new(closure));
        provider
    }

    /// The same with one more step.
    #[must_use]
    pub fn then(self, step: Step) -> Self {
        self.push(step);
        self
    }

    /// The same with other abilities.
    #[must_use]
    pub fn with_caps(mut self, caps: Caps) -> Self {
        self.caps = caps;
        self
    }

    /// One more step, later.
    pub fn push(&self, step: Step) {
        self.lock().steps.push_back(step);
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().seen.clone()
    }

    /// The steps that nobody asked for yet.
    pub fn left(&self) -> usize {
        self.lock().steps.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, request: &Request) -> Step {
        let mut script = self.lock();
        script.seen.push(request.clone());
        if let Some(step) = script.steps.pop_front() {
            return step;
        }
        if let Some(closure) = &mut script.closure {
            return closure(request);
        }
        let number = script.seen.len();
        Step::failing(LlmError::new(
            Kind::Replay,
            &self.id,
            format!(
                "the script of {} has no step for question {number}",
                self.id
            ),
        ))
    }
}

#[async_trait::async_trait]
impl Provider for ScriptedProvider {
    fn id(&self) -> &str {
        &self.id
    }

    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn caps(&self, _: &str) -> Caps {
        self.caps
    }

    fn stream(&self, request: Request, cx: CallCx) -> BoxStream<'static, Result<Event, LlmError>> {
        let step = self.next(&request);
        play(step, &cx, self.id.clone(), request.model)
    }

    async fn models(&self) -> Result<Vec<String>, LlmError> {
        Ok(vec!["scripted".to_owned()])
    }

    async fn health(&self) -> Result<(), LlmError> {
        Ok(())
    }
}

/// What is left of a step.
struct Playing {
    events: std::vec::IntoIter<Event>,
    every: Duration,
    end: Option<End>,
    guard: Guard,
    id: String,
    model: String,
}

fn play(
    step: Step,
    cx: &CallCx,
    id: String,
    model: String,
) -> BoxStream<'static, Result<Event, LlmError>> {
    let mut events = step.events;
    if let End::Done(stop) = &step.end {
        if !step.usage.is_unknown() {
            events.push(Event::Usage(step.usage));
        }
        events.push(Event::Done {
            stop: stop.clone(),
            request_id: None,
        });
    }
    let playing = Playing {
        events: events.into_iter(),
        every: step.every,
        end: Some(step.end),
        guard: Guard::new(cx),
        id,
        model,
    };
    futures::stream::unfold(playing, |mut playing| async move {
        let item = playing.item().await?;
        Some((item, playing))
    })
    .boxed()
}

impl Playing {
    async fn item(&mut self) -> Option<Result<Event, LlmError>> {
        let every = self.every;
        let waited = match (self.events.len(), &self.end) {
            (0, Some(End::Hang)) => self.guard.run(std::future::pending()).await,
            (0, _) => Ok(()),
            _ if every.is_zero() => Ok(()),
            _ => self.guard.run(tokio::time::sleep(every)).await,
        };
        if let Err(kind) = waited {
            self.events = Vec::new().into_iter();
            self.end = None;
            let message = format!("the scripted answer of {} was ended: {kind}", self.id);
            return Some(Err(
                LlmError::new(kind, &self.id, message).with_model(&self.model)
            ));
        }
        if let Some(event) = self.events.next() {
            self.guard.heard();
            return Some(Ok(event));
        }
        match self.end.take()? {
            End::Error(mut error) => {
                error.provider.clone_from(&self.id);
                error.model.clone_from(&self.model);
                Some(Err(error))
            }
            End::Done(_) | End::Hang | End::Cut => None,
        }
    }
}
