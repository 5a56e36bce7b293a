//! Tells a page that something changed; what, it asks for itself. A lost signal costs nothing: a page that comes
//! back is fetched anew.

use super::frame::Frame;
use crate::app::App;
use crate::auth::Standing;
use crate::error::ApiError;
use crate::extract::Query;
use crate::find;
use crate::live::{KEEP_ALIVE, QUIET, Reader};
use agentwright_domain::ids::RunId;
use agentwright_domain::run::RunKind;
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
    let watched = if query.run.is_empty() {
        let after = (!query.after.is_empty()).then_some(query.after.as_str());
        Watched::All(app.everything().follow(&app, &who, after))
    } else {
        // News of a run come by its id alone: whose it is, is asked here.
        let run = find::run_id(&app, &who, RunKind::Build, &query.run).await?;
        Watched::Run(run, query.after.parse().unwrap_or(0))
    };
    let watcher = Watcher {
        standing: Standing::of(&app, &who),
        scope: who.scope,
        watched,
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
    /// The same, but not at once.
    Pause,
}

struct Watcher {
    app: App,
    standing: Standing,
    scope: OrgScope,
    watched: Watched,
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
        let app = self.app.clone();
        tokio::select! {
            changed = self.changed() => match changed {
                Ok(true) => {
                    self.turn = Turn::Pause;
                    Some(Event::default().event("change").data("{}"))
                }
                Ok(false) => Some(Event::default().comment("")),
                Err(error) => {
                    tracing::debug!(error, "a page's stream ends early");
                    None
                }
            },
            () = app.stopping().cancelled() => None,
        }
    }

    async fn changed(&mut self) -> Result<bool, String> {
        if self.turn == Turn::Pause {
            tokio::time::sleep(PAUSE).await;
        }
        match &mut self.watched {
            Watched::Run(run, after) => {
                let engine = self.app.engine();
                let newest = engine.changed(&self.scope, run, *after, KEEP_ALIVE).await;
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
}
