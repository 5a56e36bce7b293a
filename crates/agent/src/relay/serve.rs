//! The relay's door: connections, the token, which paths there are, and refusals in the form of the wire.
//!
//! Start at [`accept`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use agentwright_llm::Wire;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::request::Question;
use super::{MAX_QUESTION_BYTES, Shared, forward};

/// Connections at the same time.
const MAX_CONNECTIONS: usize = 32;
/// The longest a client may take for its headers, and then for its body.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause after a failed accept.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// What is answered.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A refusal of ours: status, a code for the wire, words.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) words: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, words: impl Into<String>) -> Self {
        Self {
            status,
            code,
            words: words.into(),
        }
    }
}

/// Serves until the relay ends.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let until = shared.until.clone();
    let serving = async {
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            };
            let connection = connection(Arc::clone(&shared), stream);
            let until = shared.until.clone();
            shared.tasks.spawn(async move {
                until.run_until_cancelled(connection).await;
                drop(permit);
            });
        }
    };
    until.run_until_cancelled(serving).await;
}

async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move {
            let wire = shared.upstream.wire;
            let answer = answer(&shared, request).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|refusal| refused(wire, &refusal)))
        }
    });
    // How a connection ends is the client's business.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let wire = shared.upstream.wire;
    if matches!(*request.method(), Method::HEAD | Method::GET) && path.is_empty() {
        return Ok(Response::new(full("")));
    }
    if !knows(shared, request.headers()) {
        return Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "authentication_error",
            "the relay does not know this token",
        ));
    }
    match (request.method(), path.as_str()) {
        (&Method::GET, "/v1/models") => Ok(json_answer(&models(&shared.upstream.model))),
        (&Method::POST, "/v1/messages/count_tokens") if wire == Wire::Anthropic => {
            let body = read(request).await?;
            Ok(json_answer(&json!({"input_tokens": body.len() / 4})))
        }
        (&Method::POST, asked) if asked == inside_path(wire) => {
            let headers = request.headers().clone();
            let question = question(shared, request).await?;
            forward::forward(shared, &headers, question).await
        }
        _ => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "not_found_error",
            format!("the relay answers POST {} only", inside_path(wire)),
        )),
    }
}

/// Where the agent asks.
fn inside_path(wire: Wire) -> &'static str {
    match wire {
        Wire::OpenaiChat => "/v1/chat/completions",
        Wire::OpenaiResponses => "/v1/responses",
        _ => "/v1/messages",
    }
}

async fn question(shared: &Shared, request: Request<Incoming>) -> Result<Question, Refusal> {
    // The semaphore is never closed; without a permit the question is read all the same.
    let _turn = shared.reading.acquire().await;
    let body = read(request).await?;
    let upstream = &shared.upstream;
    Question::read(
        upstream.wire,
        &upstream.model,
        upstream.output_tokens(),
        &body,
    )
    .map_err(|why| Refusal::new(StatusCode::BAD_REQUEST, "invalid_request_error", why))
}

/// Whether the request carries the relay's token, in either of the usual places.
fn knows(shared: &Shared, headers: &HeaderMap) -> bool {
    let token = shared.token.expose().as_bytes();
    let key = headers.get("x-api-key").map(HeaderValue::as_bytes);
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    [key, bearer]
        .into_iter()
        .flatten()
        .any(|given| same(given, token))
}

/// Takes the same time wherever the difference is.
fn same(given: &[u8], token: &[u8]) -> bool {
    given.len() == token.len() && given.iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

async fn read(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let body = Limited::new(request.into_body(), MAX_QUESTION_BYTES).collect();
    match tokio::time::timeout(PATIENCE, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            format!("the question is cut or larger than {MAX_QUESTION_BYTES} bytes"),
        )),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "invalid_request_error",
            "the question did not come in time",
        )),
    }
}

/// The one model, in a form that both kinds of client read.
fn models(model: &str) -> Value {
    json!({
        "object": "list",
        "data": [{"id": model, "type": "model", "object": "model", "display_name": model, "owned_by": "relay"}],
        "has_more": false,
    })
}

pub(super) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

fn json_answer(value: &Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// A refusal as the agent's client expects an error, and not to be asked again.
pub(super) fn refused(wire: Wire, refusal: &Refusal) -> Response<Body> {
    let error = json!({"type": refusal.code, "code": refusal.code, "message": refusal.words});
    let mut response = json_answer(&match wire {
        Wire::Anthropic => json!({"type": "error", "error": error}),
        _ => json!({"error": error}),
    });
    *response.status_mut() = refusal.status;
    let no = HeaderValue::from_static("false");
    response.headers_mut().insert("x-should-retry", no);
    response
}
