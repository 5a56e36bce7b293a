//! A run's events as they are committed, over server-sent events.
//!
//! The log is the truth: each turn reads what is after the last event sent and then waits until there is
//! more, so nothing is lost and nothing comes twice, whenever a reader joins. Memory per reader is one page.

use crate::app::App;
use crate::auth::Standing;
use crate::error::ApiError;
use crate::extract::Who;
use crate::view;
use agentwright_api::{EventQuery, LIST_DEFAULT, Page};
use agentwright_domain::ids::RunId;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event as Sse, Sse as Stream};
use axum::response::{IntoResponse, Response};
use futures::stream;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

/// Events read at once.
const PAGE: u32 = 200;
/// A reader hears something at least this often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The last event of a reader whose key was revoked, or whose session ended.
const REVOKED: &str = "revoked";
/// The event after a run's last one. The name is the client's `END_EVENT`.
const END: &str = "end";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A page of events, or the live stream when the request accepts one.
pub(crate) async fn events(
    app: App,
    who: Who,
    run: RunId,
    query: EventQuery,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let header = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let resumed = header(&LAST_EVENT_ID).and_then(|text| text.parse::<i64>().ok());
    let after = resumed.or(query.after).unwrap_or(0).max(0);
    if header(&ACCEPT).is_some_and(|types| types.contains("text/event-stream")) {
        return Ok(Tail::new(app, who, run, after).into_response());
    }
    let limit = query.limit.unwrap_or(LIST_DEFAULT);
    let rows = app.store().events(&who.scope, &run, after, limit).await?;
    let full = u32::try_from(rows.len()) == Ok(limit);
    let next = rows.last().filter(|_| full).map(|row| row.seq.to_string());
    let items: Vec<_> = rows.into_iter().map(view::event).collect();
    Ok(axum::Json(Page { items, next }).into_response())
}

/// Where one reader is.
struct Tail {
    app: App,
    who: Who,
    standing: Standing,
    run: RunId,
    after: i64,
    read: VecDeque<agentwright_store::Event>,
    state: Reading,
}

#[derive(PartialEq)]
enum Reading {
    Following,
    Ended,
}

impl Tail {
    fn new(app: App, who: Who, run: RunId, after: i64) -> Self {
        Self {
            standing: Standing::of(&app, &who),
            app,
            who,
            run,
            after,
            read: VecDeque::new(),
            state: Reading::Following,
        }
    }

    fn into_response(self) -> Response {
        let events = stream::unfold(self, |mut tail| async move {
            let said = tail.next().await?;
            Some((Ok::<_, Infallible>(said), tail))
        });
        Stream::new(events).into_response()
    }

    /// The next thing to send; `None` closes the stream: after the end, when the daemon stops (the reader
    /// comes back with what it has), or when the store fails.
    async fn next(&mut self) -> Option<Sse> {
        if self.state == Reading::Ended {
            return None;
        }
        loop {
            if let Some(row) = self.read.pop_front() {
                self.after = row.seq;
                return sse(row);
            }
            match self.turn().await {
                Ok(Turn::Read) => {}
                Ok(Turn::Quiet) => return Some(Sse::default().comment("")),
                Ok(Turn::Over) => {
                    self.state = Reading::Ended;
                    return Some(Sse::default().event(END).data("{}"));
                }
                Ok(Turn::Revoked) => {
                    self.state = Reading::Ended;
                    return Some(Sse::default().event(REVOKED).data("{}"));
                }
                Ok(Turn::Stopping) => return None,
                Err(error) => {
                    tracing::warn!(run = %self.run, %error, "a live stream ends early");
                    return None;
                }
            }
        }
    }

    async fn turn(&mut self) -> Result<Turn, agentwright_store::Error> {
        if self.standing.lost().await? {
            return Ok(Turn::Revoked);
        }
        let (store, scope) = (self.app.store(), &self.who.scope);
        // Asked before reading: what is committed in between is in the events or in the next turn.
        let row = store.run_row(scope, &self.run).await?;
        self.read = store
            .events(scope, &self.run, self.after, PAGE)
            .await?
            .into();
        if !self.read.is_empty() {
            return Ok(Turn::Read);
        }
        let over = row.is_none_or(|row| row.status.ended() && row.event_seq <= self.after);
        if over {
            return Ok(Turn::Over);
        }
        let changed = self
            .app
            .engine()
            .changed(scope, &self.run, self.after, KEEP_ALIVE);
        tokio::select! {
            newest = changed => Ok(if newest? > self.after { Turn::Read } else { Turn::Quiet }),
            () = self.standing.told() => Ok(Turn::Read),
            () = self.app.stopping().cancelled() => Ok(Turn::Stopping),
        }
    }
}

enum Turn {
    Read,
    Quiet,
    Over,
    Revoked,
    Stopping,
}

fn sse(row: agentwright_store::Event) -> Option<Sse> {
    let event = view::event(row);
    let text = serde_json::to_string(&event).ok()?;
    Some(
        Sse::default()
            .id(event.seq.to_string())
            .event(&event.event)
            .data(text),
    )
}
