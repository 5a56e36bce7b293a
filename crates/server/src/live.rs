//! Events as they are committed, over server-sent events and WebSocket.
//!
//! The log is the truth: a reader gets what is after the last event that it had, and then whatever is committed,
//! so nothing is lost and nothing comes twice, whenever it joins. What many readers follow is read once (`feed`);
//! whoever falls behind reads the tables at its own pace. Memory per reader is one page. The stream of a whole
//! organization is `organization`; who takes nothing for too long loses the connection (`daemon::patient`).

mod feed;
mod organization;
mod socket;

pub(crate) use feed::{Feeds, Follower, Turn};
pub(crate) use organization::{Everything, Reader, everything};
pub(crate) use socket::{Asked, End, heard, same_origin, send, serve};

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use crate::view;
use agentwright_api::{CloudEvent, EventQuery, LIST_DEFAULT, Page};
use agentwright_domain::ids::RunId;
use agentwright_domain::run::{Run, RunKind};
use axum::body::{Body, Bytes};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use std::convert::Infallible;
use std::time::Duration;

/// A reader hears something at least this often.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The event after a run's last one. The name is the client's `END_EVENT`.
const END: Bytes = Bytes::from_static(b"event: end\ndata: {}\n\n");
/// The last event of a reader whose key was revoked, or whose session ended.
const REVOKED: Bytes = Bytes::from_static(b"event: revoked\ndata: {}\n\n");
/// Keeps a quiet stream open.
pub(crate) const QUIET: Bytes = Bytes::from_static(b":\n\n");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Which run's events, and from where.
pub(crate) struct Of {
    pub(crate) kind: RunKind,
    pub(crate) run: RunId,
    pub(crate) label: String,
}

impl Of {
    pub(crate) fn run(run: Run) -> Self {
        Self {
            kind: run.kind,
            run: run.id,
            label: run.label.as_str().to_owned(),
        }
    }
}

/// A page of events, or the live stream when the request accepts one or asks for a WebSocket.
pub(crate) async fn events(
    app: App,
    who: Who,
    of: Of,
    query: EventQuery,
    asked: Asked,
) -> Result<Response, ApiError> {
    let after = resumed(&asked.headers)
        .and_then(|text| text.parse::<i64>().ok())
        .or(query.after);
    let after = after.unwrap_or(0).max(0);
    if let Some(upgrade) = asked.upgrade {
        same_origin(&asked.headers)?;
        let follower = app.feeds().follow(&app, &who, of, after);
        return Ok(socket::run(&app, upgrade, follower));
    }
    if wants_stream(&asked.headers) {
        let follower = app.feeds().follow(&app, &who, of, after);
        return Ok(streamed(&app, lines(follower)));
    }
    let limit = query.limit.unwrap_or(LIST_DEFAULT);
    let rows = app
        .store()
        .events(&who.scope, &of.run, after, limit)
        .await?;
    let full = u32::try_from(rows.len()) == Ok(limit);
    let next = rows.last().filter(|_| full).map(|row| row.seq.to_string());
    let items: Vec<CloudEvent> = rows
        .into_iter()
        .map(|row| CloudEvent::of(of.kind, &of.run, Some(&of.label), view::event(row)))
        .collect();
    Ok(axum::Json(Page { items, next }).into_response())
}

/// What the reader had last.
pub(crate) fn resumed(headers: &HeaderMap) -> Option<&str> {
    headers.get(LAST_EVENT_ID)?.to_str().ok()
}

pub(crate) fn wants_stream(headers: &HeaderMap) -> bool {
    let types = headers.get(ACCEPT).and_then(|types| types.to_str().ok());
    types.is_some_and(|types| types.contains("text/event-stream"))
}

/// Server-sent events of a run, the end included.
fn lines(follower: Follower) -> impl Stream<Item = Bytes> {
    stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        match follower.next().await {
            Turn::Said(said) => Some((said.lines.clone(), Some(follower))),
            Turn::Quiet => Some((QUIET, Some(follower))),
            Turn::Over => Some((END, None)),
            Turn::Revoked => Some((REVOKED, None)),
            // The reader comes back with what it has.
            Turn::Stopping => None,
        }
    })
}

/// The response around a stream. What sits in between is asked not to hold it back.
pub(crate) fn streamed(app: &App, lines: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let open = app.metrics().stream();
    let lines = stream::StreamExt::map(lines, move |line| {
        let _counted = &open;
        Ok::<_, Infallible>(line)
    });
    let mut response = Body::from_stream(lines).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
