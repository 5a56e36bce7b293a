//! When the queue is looked at: every so often, when something was asked for, when a build ended, when a time came.

use super::{beat, files};
use crate::app::App;
use agentwright_api::BeatMode;
use agentwright_store::OrgScope;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How often it is seen whether a build ended or the file changed.
const PEEK: Duration = Duration::from_secs(1);

/// Wakes the heartbeat. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Heart {
    wake: Arc<Notify>,
    tables: Arc<Notify>,
}

impl Heart {
    /// A look as soon as possible.
    pub(crate) fn look_soon(&self) {
        self.wake.notify_one();
        self.tables_soon();
    }

    /// The same for the connected tables alone.
    pub(crate) fn tables_soon(&self) {
        self.tables.notify_one();
    }

    /// Waits until somebody wants them looked at.
    pub(super) async fn tables_asked(&self) {
        self.tables.notified().await;
    }
}

/// What is known from look to look.
#[derive(Default)]
struct Pulse {
    /// When the next look is due, ms.
    next_ms: i64,
    files: files::Watch,
}

/// Looks at every queue until the app stops.
pub(crate) async fn run(app: App) {
    let mut pulse = Pulse::default();
    let mut cause = Some("start");
    loop {
        if let Err(error) = round(&app, &mut pulse, cause.take()).await {
            tracing::warn!(?error, "cannot look at the queue");
        }
        tokio::select! {
            () = app.stopping().cancelled() => return,
            () = app.heart().wake.notified() => cause = Some("asked"),
            () = tokio::time::sleep(PEEK) => {}
        }
    }
}

async fn round(
    app: &App,
    pulse: &mut Pulse,
    cause: Option<&'static str>,
) -> Result<(), crate::error::ApiError> {
    let cause = match cause {
        Some(cause) => Some(cause),
        None if app.now_ms() >= pulse.next_ms => Some("time"),
        None => None,
    };
    let filed = files::sync(app, &mut pulse.files).await?;
    let mut next_ms: Option<i64> = None;
    let mut looked = false;
    for scope in app.store().backlogs().await? {
        let cause = match cause {
            Some(cause) => Some(cause),
            None if filed && scope == OrgScope::local() => Some("file"),
            None if beat::moved(app, &scope).await? => Some("build"),
            None => None,
        };
        let Some(cause) = cause else { continue };
        let beat = beat::beat(app, &scope, cause, BeatMode::Start).await?;
        looked = true;
        next_ms = [next_ms, beat::next_ms(&beat.items)]
            .into_iter()
            .flatten()
            .min();
        if scope == OrgScope::local() {
            files::sync(app, &mut pulse.files).await?;
            files::report(app, &beat).await;
        }
    }
    if looked {
        // What ended may have made room for rows of connected tables.
        app.heart().tables_soon();
    }
    if cause.is_some() || looked {
        let every_ms =
            i64::try_from(app.config().settings.queue.heartbeat_s * 1_000).unwrap_or(i64::MAX);
        let regular_ms = app.now_ms().saturating_add(every_ms);
        pulse.next_ms = next_ms.map_or(regular_ms, |at_ms| {
            regular_ms.min(at_ms.max(app.now_ms() + 1_000))
        });
    }
    Ok(())
}
