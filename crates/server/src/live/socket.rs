//! Events over a WebSocket. Nothing is expected from the reader but that it takes what is sent.

use super::{Follower, Turn};
use crate::app::App;
use crate::error::ApiError;
use agentwright_api::code;
use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::header::{HOST, ORIGIN, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use std::time::Duration;

/// How long a reader may take for one message before it is dropped.
const SEND_MAX: Duration = Duration::from_secs(20);
/// How long the last word may take.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// What a reader may send at once, in bytes: it has nothing to say.
const HEARD_MAX_BYTES: usize = 4 << 10;
/// The room that a socket has for reading and for writing, in bytes; thousands of idle ones must be cheap.
const BUFFER_BYTES: usize = 4 << 10;
/// What may wait to be written, in bytes.
const WRITING_MAX_BYTES: usize = 1 << 20;
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// How events are asked for: the headers, and the WebSocket where one is wanted.
pub(crate) struct Asked {
    /// All of them.
    pub(crate) headers: HeaderMap,
    /// The offered WebSocket.
    pub(crate) upgrade: Option<WebSocketUpgrade>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let headers = parts.headers.clone();
        let upgrade = if headers.contains_key(UPGRADE) {
            WebSocketUpgrade::from_request_parts(parts, state)
                .await
                .ok()
        } else {
            None
        };
        Ok(Self { headers, upgrade })
    }
}

/// Refuses a browser's page of another origin: it would use the person's session.
pub(crate) fn same_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let (_, authority) = origin.split_once("://").unwrap_or_default();
    let ours = [HOST, FORWARDED_HOST].iter().any(|name| {
        let host = headers.get(name).and_then(|host| host.to_str().ok());
        host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
    });
    if ours {
        return Ok(());
    }
    Err(ApiError::Forbidden(
        code::ORIGIN,
        "a page of another origin may not open this stream".into(),
    ))
}

/// Bounds a socket's buffers.
fn bounded(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITING_MAX_BYTES)
        .max_message_size(HEARD_MAX_BYTES)
        .max_frame_size(HEARD_MAX_BYTES)
}

/// Sends a run's events until its last one.
pub(super) fn run(app: &App, upgrade: WebSocketUpgrade, mut follower: Follower) -> Response {
    serve(app, upgrade, move |mut socket| async move {
        let ended = tell(&mut socket, &mut follower).await;
        (socket, ended)
    })
}

async fn tell(socket: &mut WebSocket, follower: &mut Follower) -> End {
    loop {
        let turn = tokio::select! {
            turn = follower.next() => turn,
            () = heard(socket) => return End::Back,
        };
        let message = match turn {
            Turn::Said(said) => Message::Text(said.text.clone()),
            Turn::Quiet => Message::Ping(Bytes::new()),
            Turn::Over => return End::Over,
            Turn::Revoked => return End::Revoked,
            Turn::Stopping => return End::Back,
        };
        if send(socket, message).await.is_none() {
            return End::Back;
        }
    }
}

/// How a talk ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The run has ended.
    Over,
    /// The reader may no longer.
    Revoked,
    /// The reader may come back with what it has.
    Back,
}

/// Upgrades, and does the talking in a task that a stop waits for.
pub(crate) fn serve<F>(
    app: &App,
    upgrade: WebSocketUpgrade,
    talk: impl FnOnce(WebSocket) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = (WebSocket, End)> + Send + 'static,
{
    let tasks = app.tasks().clone();
    let open = app.metrics().stream();
    bounded(upgrade).on_upgrade(move |socket| {
        tasks.track_future(async move {
            let (mut socket, ended) = talk(socket).await;
            let (code, reason) = match ended {
                End::Over => (close_code::NORMAL, "the run has ended"),
                End::Revoked => (close_code::POLICY, "the key or session holds no longer"),
                End::Back => (close_code::RESTART, "come back"),
            };
            let reason = Utf8Bytes::from_static(reason);
            let close = Message::Close(Some(CloseFrame { code, reason }));
            let _ = tokio::time::timeout(CLOSE_MAX, socket.send(close)).await;
            drop(open);
        })
    })
}

/// Sends within [`SEND_MAX`]; `None` when the reader is gone or takes nothing.
pub(crate) async fn send(socket: &mut WebSocket, message: Message) -> Option<()> {
    let sent = tokio::time::timeout(SEND_MAX, socket.send(message)).await;
    matches!(sent, Ok(Ok(()))).then_some(())
}

/// Ends when the reader goes away. What it says is not listened to; pings are answered underneath.
pub(crate) async fn heard(socket: &mut WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Close(_)) {
            return;
        }
    }
}
