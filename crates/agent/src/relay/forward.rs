//! One call: reserved, sent on, passed back as it comes, settled. Start at [`forward`].
//!
//! What happens after the reservation happens in a task of its own, so that it is settled also when the agent hangs
//! up or the relay ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use agentwright_llm::{
    CallRecord, Kind, LlmError, Planned, Price, Ticket, Usage, Wire, redact::redact,
};
use bytes::Bytes;
use futures::stream::poll_fn;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::inspect::Inspector;
use super::request::{Question, beta};
use super::serve::{Body, Refusal, full};
use super::{MAX_ANSWER_BYTES, Shared, Upstream};
use crate::error::CoderLimit;

/// How long a connection to the provider may take.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest silence of a provider, before its headers and between pieces.
const IDLE: Duration = Duration::from_secs(300);
/// The longest one call may take.
const TOTAL: Duration = Duration::from_secs(1200);
/// Pieces that may wait for the agent.
const PIECES: usize = 8;
/// The most of a refusal that is passed on.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
/// Headers of the agent that are sent on.
const SENT_ON: &[&str] = &["accept", "anthropic-version", "user-agent"];
/// Headers of the provider that are passed back.
const PASSED_BACK: &[&str] = &[
    "content-type",
    "request-id",
    "x-request-id",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
];

/// The way to the provider.
pub(super) type Client =
    hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

pub(super) fn client() -> io::Result<Client> {
    let mut http = HttpConnector::new();
    http.set_connect_timeout(Some(CONNECT));
    http.set_nodelay(true);
    http.enforce_http(false);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let https = HttpsConnectorBuilder::new()
        .with_provider_and_platform_verifier(provider)
        .map_err(|e| io::Error::other(e.to_string()))?
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Ok(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https))
}

/// Sends a question on and answers with what comes.
///
/// # Errors
/// A refusal of ours, when nothing was sent.
pub(super) async fn forward(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    question: Question,
) -> Result<Response<Body>, Refusal> {
    let request = outgoing(&shared.upstream, headers, question.body)
        .map_err(|why| Refusal::new(StatusCode::BAD_GATEWAY, "api_error", why))?;
    shared.admit().map_err(|limit| spent(&limit))?;
    let upstream = &shared.upstream;
    let price = upstream
        .prices
        .find(&upstream.kind, &upstream.model, (upstream.now)())
        .cloned();
    let output_tokens = u64::from(question.output_tokens);
    let attempt = shared.traffic().calls;
    let planned = Planned {
        role: upstream.role,
        provider: upstream.provider.clone(),
        model: upstream.model.clone(),
        attempt,
        max_input_tokens: question.input_tokens,
        max_output_tokens: output_tokens,
        max_cost_micro_usd: price
            .as_ref()
            .and_then(|p| p.most(question.input_tokens, output_tokens)),
    };
    let ticket = upstream.meter.reserve(&planned).await.map_err(|refusal| {
        let words = redact(&refusal.reason, &[]);
        let error = failure(
            upstream,
            Kind::Refused,
            format!("nothing was sent to {}: {words}", upstream.provider),
        );
        shared.ended(&Usage::default(), Some(error));
        Refusal::new(StatusCode::PAYMENT_REQUIRED, "billing_error", words)
    })?;
    let call = Call {
        shared: Arc::clone(shared),
        ticket,
        price,
        attempt,
        begun: Instant::now(),
        first: None,
    };
    let (head, answered) = oneshot::channel();
    shared.tasks.spawn(call.run(request, head));
    answered.await.map_err(|_| {
        Refusal::new(
            StatusCode::BAD_GATEWAY,
            "api_error",
            "the provider does not answer",
        )
    })
}

fn spent(limit: &CoderLimit) -> Refusal {
    Refusal::new(
        StatusCode::PAYMENT_REQUIRED,
        "billing_error",
        format!("no further call: {limit}"),
    )
}

fn failure(upstream: &Upstream, kind: Kind, words: String) -> LlmError {
    LlmError::new(kind, &upstream.provider, words).with_model(&upstream.model)
}

/// The request to the provider: its address, its headers, few of the agent's.
fn outgoing(
    upstream: &Upstream,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Result<Request<Full<Bytes>>, String> {
    let mut url = upstream.base_url.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/{}", upstream.wire.path()));
    let uri: Uri = url
        .as_str()
        .parse()
        .map_err(|_| "the provider's base_url is no address".to_owned())?;
    let mut request = Request::post(uri)
        .body(Full::new(body.into()))
        .map_err(|e| e.to_string())?;
    let out = request.headers_mut();
    for name in SENT_ON {
        if let Some(value) = headers.get(*name) {
            out.insert(*name, value.clone());
        }
    }
    let asked = headers
        .get_all("anthropic-beta")
        .iter()
        .filter_map(|v| v.to_str().ok());
    let asked = beta(&asked.collect::<Vec<_>>().join(","));
    if let (Wire::Anthropic, Ok(value)) = (upstream.wire, HeaderValue::from_str(&asked))
        && !asked.is_empty()
    {
        out.insert("anthropic-beta", value);
    }
    // The provider's own come last: the agent's never stand in for them.
    for (name, value) in &upstream.headers {
        out.insert(name.clone(), value.clone());
    }
    out.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(request)
}

/// A reserved call.
struct Call {
    shared: Arc<Shared>,
    ticket: Ticket,
    price: Option<Price>,
    attempt: u32,
    begun: Instant,
    first: Option<Duration>,
}

/// How a call went.
struct Outcome {
    usage: Usage,
    stop: Option<String>,
    request_id: Option<String>,
    error: Option<LlmError>,
}

impl Call {
    async fn run(mut self, request: Request<Full<Bytes>>, head: oneshot::Sender<Response<Body>>) {
        let until = self.shared.until.clone();
        let work = async {
            let exchange = self.exchange(request, head);
            tokio::time::timeout(TOTAL, exchange)
                .await
                .unwrap_or(Err(Kind::TimeoutTotal))
        };
        let outcome = until
            .run_until_cancelled(work)
            .await
            .unwrap_or(Err(Kind::Cancelled));
        let outcome = outcome.unwrap_or_else(|kind| self.failed(kind, Usage::default()));
        self.settle(outcome).await;
    }

    /// A call without an answer.
    fn failed(&self, kind: Kind, usage: Usage) -> Outcome {
        let words = in_words(&self.shared.upstream.provider, kind);
        Outcome {
            usage,
            stop: None,
            request_id: None,
            error: Some(failure(&self.shared.upstream, kind, words)),
        }
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        mut head: oneshot::Sender<Response<Body>>,
    ) -> Result<Outcome, Kind> {
        let asked = tokio::time::timeout(IDLE, self.shared.client.request(request));
        let asked = tokio::select! {
            asked = asked => asked.map_err(|_| Kind::TimeoutIdle)?,
            () = head.closed() => return Err(Kind::Cancelled),
        };
        let response = match asked {
            Ok(response) => response,
            // No connection, so no byte of the question went out: it cost nothing.
            Err(error) if error.is_connect() => {
                return Ok(self.failed(Kind::Connect, Usage::NOTHING));
            }
            Err(_) => return Err(Kind::Connect),
        };
        if !response.status().is_success() {
            return Ok(self.refusal(response, head).await);
        }
        let streamed = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("text/event-stream"));
        let mut answer = Response::new(());
        *answer.status_mut() = response.status();
        pass_back(response.headers(), answer.headers_mut());
        let (pieces, mut waiting) = mpsc::channel::<Bytes>(PIECES);
        let stream = poll_fn(move |cx| {
            waiting
                .poll_recv(cx)
                .map(|piece| piece.map(|p| Ok(Frame::data(p))))
        });
        let body = StreamBody::new(stream).boxed_unsync();
        let hung_up = head.send(answer.map(|()| body)).is_err();
        let mut inspector = Inspector::new(self.shared.upstream.wire, streamed);
        let ended = self
            .pass(
                response.into_body(),
                (!hung_up).then_some(pieces),
                &mut inspector,
            )
            .await;
        let kind = match ended {
            Ok(()) => inspector.finish(),
            // What is known of a whole answer counts, also when nobody listened to its end.
            Err(kind) => inspector.finish().map(|_| kind),
        };
        let provider = &self.shared.upstream.provider;
        Ok(Outcome {
            usage: inspector.usage,
            stop: inspector.stop.map(|stop| stop.as_str().to_owned()),
            request_id: inspector.request_id,
            error: kind.map(|kind| failure(&self.shared.upstream, kind, in_words(provider, kind))),
        })
    }

    /// Passes the answer on, reading along.
    async fn pass(
        &mut self,
        mut body: Incoming,
        pieces: Option<mpsc::Sender<Bytes>>,
        inspector: &mut Inspector,
    ) -> Result<(), Kind> {
        let pieces = pieces.ok_or(Kind::Cancelled)?;
        let mut bytes = 0_u64;
        loop {
            let frame = tokio::time::timeout(IDLE, body.frame())
                .await
                .map_err(|_| Kind::TimeoutIdle)?;
            let Some(frame) = frame else { return Ok(()) };
            let Ok(piece) = frame.map_err(|_| Kind::Truncated)?.into_data() else {
                continue;
            };
            self.first = self.first.or_else(|| Some(self.begun.elapsed()));
            bytes += piece.len() as u64;
            if bytes > MAX_ANSWER_BYTES {
                return Err(Kind::BadBody);
            }
            inspector.push(&piece);
            if pieces.send(piece).await.is_err() {
                return Err(Kind::Cancelled);
            }
        }
    }

    /// A refusal of the provider, passed on without anything that looks like a key.
    async fn refusal(
        &self,
        response: Response<Incoming>,
        head: oneshot::Sender<Response<Body>>,
    ) -> Outcome {
        let upstream = &self.shared.upstream;
        let status = response.status();
        let mut answer = Response::new(());
        *answer.status_mut() = status;
        pass_back(response.headers(), answer.headers_mut());
        let after = retry_after(response.headers());
        let body = Limited::new(response.into_body(), MAX_REFUSAL_BYTES).collect();
        let body = tokio::time::timeout(IDLE, body)
            .await
            .ok()
            .and_then(Result::ok);
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let text = redact(&String::from_utf8_lossy(&body), &upstream.secrets);
        let kind = kind_of(status, &text);
        let words = format!(
            "{} (status {})",
            in_words(&upstream.provider, kind),
            status.as_u16()
        );
        let mut error = failure(upstream, kind, words);
        error.status = Some(status.as_u16());
        error.retry_after = after;
        let _ = head.send(answer.map(|()| full(text)));
        Outcome {
            usage: Usage::default(),
            stop: None,
            request_id: None,
            error: Some(error),
        }
    }

    async fn settle(self, outcome: Outcome) {
        let upstream = &self.shared.upstream;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let record = CallRecord {
            role: upstream.role,
            provider: upstream.provider.clone(),
            model: upstream.model.clone(),
            usage: outcome.usage,
            stop: outcome.stop,
            latency_ms: millis(self.begun.elapsed()),
            ttft_ms: self.first.map(millis),
            request_id: outcome.request_id,
            attempt: self.attempt,
            error: outcome.error.as_ref().map(|error| error.kind),
            cost_micro_usd: self
                .price
                .as_ref()
                .and_then(|price| price.cost(&outcome.usage)),
            price_id: self.price.as_ref().map(|price| price.id.clone()),
        };
        upstream.meter.settle(self.ticket, &record).await;
        self.shared.ended(&outcome.usage, outcome.error);
    }
}

fn pass_back(from: &HeaderMap, to: &mut HeaderMap) {
    for name in PASSED_BACK {
        if let Some(value) = from.get(*name) {
            to.insert(*name, value.clone());
        }
    }
}

/// What a provider's refusal means.
fn kind_of(status: StatusCode, text: &str) -> Kind {
    let text = text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match status.as_u16() {
        401 | 403 => Kind::Auth,
        402 => Kind::Billing,
        429 if says(&["insufficient_quota"]) => Kind::Billing,
        429 => Kind::RateLimited,
        404 => Kind::UnknownModel,
        413 => Kind::ContextOverflow,
        503 | 529 => Kind::Overloaded,
        500.. => Kind::Server,
        _ if says(&[
            "prompt is too long",
            "context_length",
            "context length",
            "context window",
        ]) =>
        {
            Kind::ContextOverflow
        }
        _ if says(&["credit balance", "billing"]) => Kind::Billing,
        _ => Kind::BadRequest,
    }
}

fn in_words(provider: &str, kind: Kind) -> String {
    match kind {
        Kind::Auth => format!("{provider} does not take the key: check it"),
        Kind::Billing => {
            format!("{provider} wants to be paid first: check the account's credit and billing")
        }
        Kind::RateLimited => {
            format!("{provider} limits how often it is asked, or a quota is used up")
        }
        Kind::Overloaded => format!("{provider} is overloaded"),
        Kind::UnknownModel => format!("{provider} does not know the model: check its name"),
        Kind::ContextOverflow => {
            format!("the question is longer than what the model at {provider} can read")
        }
        Kind::Connect => format!("cannot reach {provider}: check its base_url and the network"),
        Kind::Cancelled => format!("the call to {provider} was not listened to to its end"),
        Kind::TimeoutIdle | Kind::TimeoutTotal => {
            format!("{provider} was silent for longer than a call allows")
        }
        Kind::Truncated => {
            format!("the connection to {provider} ended before the answer's final event")
        }
        other => format!("the call to {provider} failed ({other})"),
    }
}

/// Seconds, as providers send them; a date is left to the caller's own back-off.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms")
        .map(|ms| ms / 1000.0)
        .or_else(|| number("retry-after"))?;
    Duration::try_from_secs_f64(seconds).ok()
}
