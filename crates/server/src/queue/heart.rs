//! When the queue is looked at: every so often, when something was asked for, when a build ended, when a time came.

use super::{beat, files, report, written};
use crate::app::App;
use agentwright_api::BeatMode;
use agentwright_domain::ids::RunId;
use agentwright_store::OrgScope;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

/// How often it is seen whether a build ended or the file changed.
const PEEK: Duration = Duration::from_secs(1);

/// Wakes the heartbeat. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Heart {
    wake: Arc<Notify>,
    tables: Arc<Notify>,
    watch: Arc<Notify>,
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

    /// A look at builds under way as soon as possible.
    pub(crate) fn watch_soon(&self) {
        self.watch.notify_one();
    }

    /// Waits until one is asked for.
    pub(crate) async fn watch_asked(&self) {
        self.watch.notified().await;
    }
}

/// What is known from look to look.
#[derive(Default)]
struct Pulse {
    /// When the next look is due, ms.
    next_ms: i64,
    files: files::Watch,
    written: written::Written,
    nights: report::Nights,
}

/// Looks at every queue until the app stops.
pub(crate) async fn run(app: App) {
    let mut pulse = Pulse::default();
    let mut cause = Some("start");
    let mut commits = app.store().commits();
    loop {
        if let Err(error) = round(&app, &mut pulse, cause.take()).await {
            tracing::warn!(?error, "cannot look at the queue");
        }
        if let Err(error) = report::nightly(&app, &mut pulse.nights).await {
            tracing::warn!(?error, "cannot make the nightly report");
        }
        // What builds do is written about as they do it, not only when the queue is looked at.
        if moved(&mut commits)
            && let Err(error) = written::report(&app, &mut pulse.written).await
        {
            tracing::warn!(?error, "cannot write about builds");
        }
        tokio::select! {
            () = app.stopping().cancelled() => return,
            () = app.heart().wake.notified() => cause = Some("asked"),
            () = tokio::time::sleep(PEEK) => {}
        }
    }
}

/// Whether a run of this process was committed since the last time.
fn moved(commits: &mut Receiver<(RunId, i64)>) -> bool {
    let mut moved = false;
    loop {
        match commits.try_recv() {
            Ok(_) | Err(TryRecvError::Lagged(_)) => moved = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return moved,
        }
    }
}

async fn round(
    app: &App,
    pulse: &mut Pulse,
    cause: Option<&'static str>,
) -> Result<(), crate::error::ApiError> {
    // What comes due while this look goes on is due at the next one, and not a whole interval later.
    let began_ms = app.now_ms();
    let cause = match cause {
        Some(cause) => Some(cause),
        None if began_ms >= pulse.next_ms => Some("time"),
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
            written::report(app, &mut pulse.written).await?;
        }
    }
    if looked {
        // What ended may have made room for rows of connected tables.
        app.heart().tables_soon();
    }
    if cause.is_some() || looked {
        let every_ms =
            i64::try_from(app.config().settings.queue.heartbeat_s * 1_000).unwrap_or(i64::MAX);
        let regular_ms = began_ms.saturating_add(every_ms);
        pulse.next_ms = next_ms.map_or(regular_ms, |at_ms| {
            regular_ms.min(at_ms.max(began_ms + 1_000))
        });
    }
    Ok(())
}
