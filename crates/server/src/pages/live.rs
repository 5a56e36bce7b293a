//! Tells a page that something changed; what, it asks for itself. A lost signal costs nothing: a page that comes
//! back is fetched anew. What a model writes for a build goes along while it is written, for it is kept nowhere.

use super::frame::Frame;
use crate::app::App;
use crate::auth::Standing;
use crate::error::ApiError;
use crate::extract::Query;
use crate::find;
use crate::live::{KEEP_ALIVE, QUIET, Reader};
use agentwright_domain::ids::RunId;
use agentwright_domain::run::RunKind;
use agentwright_engine::{Piece, Writing};
use agentwright_store::OrgScope;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::{FutureExt as _, stream};
use garde::Validate;
use serde::Deserialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::Instant;

/// After a signal the next one waits so long, so that a page is not fetched for each of many events.
const PAUSE: Duration = Duration::from_millis(100);

/// Which news, and from where on. `after` is a run's newest event that the page shows, or the place in the stream
/// of the organization at which the page was made.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LiveQuery {
    #[garde(length(max = 64))]
    run: String,
    #[garde(length(max = 128))]
    after: String,
}

pub(super) async fn stream(
    State(app): State<App>,
    frame: Frame,
    Query(query): Query<LiveQuery>,
) -> Result<Response, ApiError> {
    let who = frame.who;
    let (watched, writing) = if query.run.is_empty() {
        let after = (!query.after.is_empty()).then_some(query.after.as_str());
        (
            Watched::All(app.everything().follow(&app, &who, after)),
            None,
        )
    } else {
        // News of a run come by its id alone: whose it is, is asked here.
        let run = find::run_id(&app, &who, RunKind::Build, &query.run).await?;
        let writing = app.engine().writing(&run);
        let after = query.after.parse().unwrap_or(0);
        (Watched::Run(run, after), Some(writing))
    };
    let watcher = Watcher {
        standing: Standing::of(&app, &who),
        scope: who.scope,
        watched,
        writing,
        turn: Turn::Hello,
        app,
    };
    let events = stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((Ok::<_, Infallible>(event), watcher))
    });
    let mut response = Sse::new(events).into_response();
    let headers = response.headers_mut();
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

enum Watched {
    /// One run, from this event on.
    Run(RunId, i64),
    /// All of the organization.
    All(Reader),
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Which boot this is.
    Hello,
    /// Whatever happens.
    Wait,
    /// The same, but a change not before then.
    Pause(Instant),
}

struct Watcher {
    app: App,
    standing: Standing,
    scope: OrgScope,
    watched: Watched,
    /// What is written for the run.
    writing: Option<Writing>,
    turn: Turn,
}

impl Watcher {
    /// The next signal; `None` when the daemon stops, the store fails or access was lost: the page comes back.
    async fn next(&mut self) -> Option<Event> {
        if self.standing.lost().await.ok()? {
            return None;
        }
        if self.turn == Turn::Hello {
            self.turn = Turn::Wait;
            let boot = self.app.health().boot_id;
            return Some(Event::default().event("hello").data(boot));
        }
        let (app, stopping) = (self.app.clone(), self.app.stopping().clone());
        tokio::select! {
            changed = changed(&app, &self.scope, &mut self.watched, self.turn) => match changed {
                Ok(true) => {
                    self.turn = Turn::Pause(Instant::now() + PAUSE);
                    Some(Event::default().event("change").data("{}"))
                }
                Ok(false) => Some(Event::default().comment("")),
                Err(error) => {
                    tracing::debug!(error, "a page's stream ends early");
                    None
                }
            },
            piece = written(&mut self.writing) => {
                let data = serde_json::json!({"first": piece.first, "text": piece.text});
                Some(Event::default().event("text").data(data.to_string()))
            }
            () = stopping.cancelled() => None,
        }
    }
}

/// The next piece of what is written; waits for ever where nothing is followed.
async fn written(writing: &mut Option<Writing>) -> Piece {
    match writing {
        Some(writing) => writing.next().await,
        None => std::future::pending().await,
    }
}

/// Whether there is news; `false` after a while without any. Loses nothing when it is given up.
async fn changed(
    app: &App,
    scope: &OrgScope,
    watched: &mut Watched,
    turn: Turn,
) -> Result<bool, String> {
    if let Turn::Pause(until) = turn {
        tokio::time::sleep_until(until).await;
    }
    match watched {
        Watched::Run(run, after) => {
            let engine = app.engine();
            let newest = engine.changed(scope, run, *after, KEEP_ALIVE).await;
            let newest = newest.map_err(|error| error.to_string())?;
            let news = newest > *after;
            *after = newest;
            Ok(news)
        }
        Watched::All(reader) => {
            let ended = || "the stream of the organization ended".to_owned();
            let first = reader.next().await.ok_or_else(ended)?;
            // What is there already is the same signal.
            while let Some(more) = reader.next().now_or_never() {
                more.ok_or_else(ended)?;
            }
            Ok(first != QUIET)
        }
    }
}
