//! Tells a page that something changed; what, it asks for itself. A lost signal costs nothing: a page that comes
//! back is fetched anew.

use super::frame::Frame;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::Query;
use agentwright_domain::ids::RunId;
use agentwright_store::{OrgScope, RunFilter};
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use garde::Validate;
use serde::Deserialize;
use std::convert::Infallible;
use std::time::Duration;

/// A page hears something at least this often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often the whole organization is looked at while pages watch it.
const LOOK: Duration = Duration::from_millis(500);
/// Runs whose news a list shows.
const RUNS_MAX: u32 = 50;

#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LiveQuery {
    #[garde(length(max = 64))]
    run: String,
    #[garde(range(min = 0))]
    after: i64,
}

pub(super) async fn stream(
    State(app): State<App>,
    frame: Frame,
    Query(query): Query<LiveQuery>,
) -> Result<Response, ApiError> {
    let watched = if query.run.is_empty() {
        Watched::All(seen(&app, &frame.who.scope).await?)
    } else {
        Watched::Run(RunId::new(query.run), query.after)
    };
    let watcher = Watcher {
        scope: frame.who.scope,
        watched,
        greeted: false,
        app,
    };
    let events = stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((Ok::<_, Infallible>(event), watcher))
    });
    let mut response = Sse::new(events).into_response();
    response.headers_mut().insert(
        "x-accel-buffering",
        axum::http::HeaderValue::from_static("no"),
    );
    Ok(response)
}

enum Watched {
    /// One run, from this event on.
    Run(RunId, i64),
    /// All of the organization, as it was seen last.
    All(Vec<(RunId, i64)>),
}

struct Watcher {
    app: App,
    scope: OrgScope,
    watched: Watched,
    greeted: bool,
}

impl Watcher {
    /// The next signal; `None` when the daemon stops or the store fails: the page comes back.
    async fn next(&mut self) -> Option<Event> {
        if !self.greeted {
            self.greeted = true;
            let boot = self.app.health().boot_id;
            return Some(Event::default().event("hello").data(boot));
        }
        let app = self.app.clone();
        tokio::select! {
            changed = self.changed() => match changed {
                Ok(true) => Some(Event::default().event("change").data("")),
                Ok(false) => Some(Event::default().comment("")),
                Err(error) => {
                    tracing::warn!(%error, "a page's stream ends early");
                    None
                }
            },
            () = app.stopping().cancelled() => None,
        }
    }

    async fn changed(&mut self) -> Result<bool, agentwright_store::Error> {
        let app = &self.app;
        match &mut self.watched {
            Watched::Run(run, after) => {
                let newest = app
                    .engine()
                    .changed(&self.scope, run, *after, KEEP_ALIVE)
                    .await?;
                let news = newest > *after;
                *after = newest;
                Ok(news)
            }
            Watched::All(before) => {
                let until = tokio::time::Instant::now() + KEEP_ALIVE;
                while tokio::time::Instant::now() < until {
                    tokio::time::sleep(LOOK).await;
                    let now = seen(app, &self.scope).await?;
                    if now != *before {
                        *before = now;
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

/// The newest runs with their newest events: what lists show.
async fn seen(app: &App, scope: &OrgScope) -> Result<Vec<(RunId, i64)>, agentwright_store::Error> {
    let filter = RunFilter {
        limit: RUNS_MAX,
        ..RunFilter::default()
    };
    let rows = app.store().runs(scope, filter).await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.event_seq))
        .collect())
}
