//! The one HTTP core under all wires: sends, watches time and cancel, checks what kind of answer it is,
//! cuts it into frames and has the wire read them. It never retries.

mod explain;
mod framing;
mod retry_after;

pub use framing::{BODY_BYTES_MAX, FRAME_BYTES_MAX, Framer, Framing};

use crate::guard::Guard;
use crate::wire::{Decode, Dialect, Wire, WireFault};
use crate::{CallCx, Caps, Event, Kind, LlmError, Provider, Request, Secret, Usage};
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{HeaderMap, header};
use reqwest::Response;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The most of a refusal that is read.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// How long a list of models may take.
const LIST_DEADLINE: Duration = Duration::from_secs(10);

/// A model server behind an address.
pub struct HttpProvider(Arc<Endpoint>);

/// What is known of it. Made by [`crate::ProviderConfig::provider`].
pub(crate) struct Endpoint {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) wire: Wire,
    pub(crate) base: Url,
    /// The address as it may be shown: without user, password and query.
    pub(crate) shown: String,
    pub(crate) client: reqwest::Client,
    /// The key and other headers, marked as sensitive.
    pub(crate) headers: HeaderMap,
    pub(crate) secrets: Vec<Secret>,
    /// Where the key comes from, for people.
    pub(crate) key: Option<String>,
    pub(crate) dialect: Dialect,
}

impl HttpProvider {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self(Arc::new(endpoint))
    }

    /// Everything that must not be shown or recorded of it.
    pub fn secrets(&self) -> &[Secret] {
        &self.0.secrets
    }

    /// Its wire form, for who relays to it.
    pub fn wire(&self) -> Wire {
        self.0.wire
    }

    /// Its base address, for who relays to it. May hold a password: not to be shown.
    pub fn base_url(&self) -> &Url {
        &self.0.base
    }

    /// The headers that it is asked with, the key among them, for who relays to it.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The list of models, with the failure as it is.
    async fn list(&self) -> Result<Vec<String>, LlmError> {
        let endpoint = &self.0;
        let cx = CallCx {
            deadline: LIST_DEADLINE,
            idle: LIST_DEADLINE,
            ..CallCx::default()
        };
        let guard = Guard::new(&cx);
        let mut url = endpoint.url(endpoint.wire.models_path());
        if endpoint.wire == Wire::Anthropic {
            // Its list comes in pages; this is the largest.
            url.query_pairs_mut().append_pair("limit", "1000");
        }
        let ask = endpoint.client.get(url).headers(endpoint.headers.clone());
        let response = endpoint.send(ask, &guard, None).await?;
        let mut framer = Framer::new(Framing::Whole);
        let body = endpoint.rest(response, &guard, &mut framer).await?;
        let names = serde_json::from_str::<Value>(&body).ok().and_then(|list| {
            let rows = list
                .get("data")
                .or_else(|| list.get("models"))?
                .as_array()?;
            let name = |row: &Value| {
                let name = row.get("id").or_else(|| row.get("name"))?;
                name.as_str().map(str::to_owned)
            };
            Some(rows.iter().filter_map(name).collect::<Vec<_>>())
        });
        let Some(mut names) = names else {
            let fault = WireFault::new(Kind::BadBody, "it is no list of models");
            return Err(endpoint.error(&fault, None));
        };
        names.sort();
        Ok(names)
    }
}

#[async_trait::async_trait]
impl Provider for HttpProvider {
    fn id(&self) -> &str {
        &self.0.id
    }

    fn kind(&self) -> &str {
        &self.0.kind
    }

    fn caps(&self, _: &str) -> Caps {
        self.0.wire.caps()
    }

    fn stream(&self, request: Request, cx: CallCx) -> BoxStream<'static, Result<Event, LlmError>> {
        let exchange = Exchange::new(Arc::clone(&self.0), request, &cx);
        futures::stream::unfold(exchange, |mut exchange| async move {
            let item = exchange.item().await?;
            Some((item, exchange))
        })
        .boxed()
    }

    async fn models(&self) -> Result<Vec<String>, LlmError> {
        self.list().await
    }

    async fn health(&self) -> Result<(), LlmError> {
        match self.list().await {
            // It answered and took the key; not every compatible server has a list.
            Err(error) if matches!(error.status, Some(404 | 405 | 501)) => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

impl Endpoint {
    /// An address below the base, whose query stays.
    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }

    /// Sends, and gives back the answer if its status is good.
    async fn send(
        &self,
        ask: reqwest::RequestBuilder,
        guard: &Guard,
        request: Option<&Request>,
    ) -> Result<Response, LlmError> {
        let timed = |kind| self.error(&WireFault::new(kind, ""), request);
        let response = match guard.run(ask.send()).await.map_err(timed)? {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(
                    provider = self.id,
                    connect = error.is_connect(),
                    "no answer"
                );
                let mut failed = timed(Kind::Connect);
                if error.is_connect() {
                    // No connection, so no byte of the question went out: it cost nothing.
                    failed.usage = Usage::NOTHING;
                }
                return Err(failed);
            }
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let headers = response.headers().clone();
        let body = self.refusal(response, guard).await;
        let fault = explain::classify(status, &body);
        let mut error = self.failure(&fault, Some(status), request);
        error.retry_after = retry_after::retry_after(&headers);
        error.request_id = request_id(&headers);
        Err(error)
    }

    /// The body of a refusal, as far as it comes; a broken one changes nothing about the refusal.
    async fn refusal(&self, mut response: Response, guard: &Guard) -> String {
        let mut body = Vec::new();
        while let Ok(Ok(Some(piece))) = guard.run(response.chunk()).await {
            body.extend_from_slice(&piece);
            if body.len() >= REFUSAL_BYTES_MAX {
                break;
            }
        }
        body.truncate(REFUSAL_BYTES_MAX);
        String::from_utf8_lossy(&body).into_owned()
    }

    /// All of a body that comes in one piece.
    async fn rest(
        &self,
        mut response: Response,
        guard: &Guard,
        framer: &mut Framer,
    ) -> Result<String, LlmError> {
        let fail = |fault: &WireFault| self.error(fault, None);
        loop {
            let piece = guard.run(response.chunk()).await;
            match piece.map_err(|kind| fail(&WireFault::new(kind, "")))? {
                Ok(Some(piece)) => framer.push(&piece).map_err(|fault| fail(&fault))?,
                Ok(None) => break,
                Err(_) => return Err(fail(&WireFault::new(Kind::Truncated, ""))),
            }
        }
        let body = framer.finish().map_err(|fault| fail(&fault))?;
        Ok(body.unwrap_or_default())
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    ["request-id", "x-request-id"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .map(|id| id.chars().take(128).collect())
}

/// One question and its answer.
struct Exchange {
    endpoint: Arc<Endpoint>,
    request: Request,
    guard: Guard,
    phase: Phase,
    framer: Framer,
    decoder: Box<dyn Decode>,
    /// Decoded and not given out yet.
    queue: VecDeque<Event>,
    usage: Usage,
    request_id: Option<String>,
}

enum Phase {
    Ask,
    Read(Response),
    Over,
}

impl Exchange {
    fn new(endpoint: Arc<Endpoint>, request: Request, cx: &CallCx) -> Self {
        let streams = endpoint.wire.streams(&endpoint.dialect);
        let framing = match (streams, endpoint.wire.is_ollama()) {
            (false, _) => Framing::Whole,
            (true, true) => Framing::Lines,
            (true, false) => Framing::Sse,
        };
        let guard = Guard::new(cx);
        Self {
            // What comes in one piece is silent while it is made.
            guard: if streams { guard } else { guard.without_idle() },
            decoder: endpoint.wire.decoder(&request),
            framer: Framer::new(framing),
            endpoint,
            request,
            phase: Phase::Ask,
            queue: VecDeque::new(),
            usage: Usage::default(),
            request_id: None,
        }
    }

    async fn item(&mut self) -> Option<Result<Event, LlmError>> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(Ok(self.give(event)));
            }
            let done = match &mut self.phase {
                Phase::Over => return None,
                Phase::Ask => self.ask().await,
                Phase::Read(_) => self.read().await,
            };
            if let Err(error) = done {
                // What was decoded before the failure in the same piece is not given out: a failure
                // makes all of it void anyway.
                self.queue.clear();
                self.phase = Phase::Over;
                return Some(Err(error));
            }
        }
    }

    fn give(&mut self, event: Event) -> Event {
        match event {
            Event::Done { stop, request_id } => {
                self.queue.clear();
                self.phase = Phase::Over;
                Event::Done {
                    stop,
                    request_id: self.request_id.take().or(request_id),
                }
            }
            Event::Usage(usage) => {
                self.usage.overwrite(&usage);
                Event::Usage(self.usage)
            }
            other => other,
        }
    }

    async fn ask(&mut self) -> Result<(), LlmError> {
        let endpoint = Arc::clone(&self.endpoint);
        if let Some(fault) = endpoint.wire.unfit(&self.request) {
            return Err(self.fail(&fault));
        }
        let body = endpoint.wire.encode(&self.request, &endpoint.dialect);
        let ask = endpoint
            .client
            .post(endpoint.url(endpoint.wire.path()))
            .headers(endpoint.headers.clone())
            .json(&body);
        let response = endpoint.send(ask, &self.guard, Some(&self.request)).await?;
        self.guard.heard();
        self.request_id = request_id(response.headers());
        self.check_type(response.headers())?;
        self.phase = Phase::Read(response);
        Ok(())
    }

    /// A page of a proxy, or an answer in one piece where a stream was asked for, is not read.
    fn check_type(&self, headers: &HeaderMap) -> Result<(), LlmError> {
        let given = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
            .split(';')
            .next()
            .unwrap_or("")
            .trim()
            .to_ascii_lowercase();
        let streams = self.endpoint.wire.streams(&self.endpoint.dialect);
        let wanted: &[&str] = match (streams, self.endpoint.wire.is_ollama()) {
            (true, false) => &["text/event-stream"],
            (true, true) => &[
                "application/x-ndjson",
                "application/ndjson",
                "application/json",
            ],
            (false, _) => &["application/json"],
        };
        if wanted.contains(&given.as_str()) {
            return Ok(());
        }
        let shown: String = given
            .chars()
            .filter(char::is_ascii_graphic)
            .take(40)
            .collect();
        let detail = format!("its content type is \"{shown}\", not {}", wanted[0]);
        Err(self.fail(&WireFault::new(Kind::BadBody, detail)))
    }

    async fn read(&mut self) -> Result<(), LlmError> {
        let Phase::Read(response) = &mut self.phase else {
            return Ok(());
        };
        let piece = self.guard.run(response.chunk()).await;
        match piece {
            Err(kind) => Err(self.fail(&WireFault::new(kind, ""))),
            Ok(Err(_)) => Err(self.fail(&WireFault::new(Kind::Truncated, ""))),
            Ok(Ok(Some(piece))) => {
                if piece.iter().any(|byte| !byte.is_ascii_whitespace()) {
                    self.guard.heard();
                }
                self.take(&piece).map_err(|fault| self.fail(&fault))
            }
            Ok(Ok(None)) => self.ended().map_err(|fault| self.fail(&fault)),
        }
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), WireFault> {
        let pushed = self.framer.push(piece);
        let mut out = Vec::new();
        while let Some(frame) = self.framer.next_frame() {
            self.decoder.frame(&frame, &mut out)?;
            self.queue.extend(out.drain(..));
            if matches!(self.queue.back(), Some(Event::Done { .. })) {
                return Ok(());
            }
        }
        pushed
    }

    /// The bytes have ended. What is left may be the last line or the whole; it must be the end.
    fn ended(&mut self) -> Result<(), WireFault> {
        let streams = self.endpoint.wire.streams(&self.endpoint.dialect);
        let mut out = Vec::new();
        match self.framer.finish()? {
            Some(rest) if streams => {
                let broken = serde_json::from_str::<Value>(&rest).is_err();
                if broken {
                    return Err(WireFault::new(Kind::Truncated, "the last line is cut"));
                }
                self.decoder.frame(&rest, &mut out)?;
            }
            Some(rest) => self.decoder.whole(&rest, &mut out)?,
            None if self.framer.bytes() == 0 => {
                return Err(WireFault::new(Kind::BadBody, "it is empty"));
            }
            None => {}
        }
        self.queue.extend(out);
        if matches!(self.queue.back(), Some(Event::Done { .. })) {
            return Ok(());
        }
        Err(WireFault::new(Kind::Truncated, ""))
    }

    /// A failure with what is known so far.
    fn fail(&self, fault: &WireFault) -> LlmError {
        let mut error = self.endpoint.error(fault, Some(&self.request));
        error.usage = self.usage;
        error.partial_bytes = self.framer.bytes();
        error.request_id.clone_from(&self.request_id);
        error
    }
}
