//! Cancel, total deadline and silence around one wait, for everything that waits for a model.

use crate::{CallCx, Kind};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The bounds of one call as points in time.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    cancel: CancellationToken,
    until: Instant,
    idle: Option<Duration>,
    quiet_until: Option<Instant>,
}

impl Guard {
    /// Starts now.
    pub(crate) fn new(cx: &CallCx) -> Self {
        let now = Instant::now();
        Self {
            cancel: cx.cancel.clone(),
            until: far(now, cx.deadline),
            idle: Some(cx.idle),
            quiet_until: Some(far(now, cx.idle)),
        }
    }

    /// The same without a bound on silence.
    pub(crate) fn without_idle(mut self) -> Self {
        self.idle = None;
        self.quiet_until = None;
        self
    }

    /// Something was said.
    pub(crate) fn heard(&mut self) {
        self.quiet_until = self.idle.map(|idle| far(Instant::now(), idle));
    }

    /// Waits for something within the bounds.
    pub(crate) async fn run<F: Future>(&self, what: F) -> Result<F::Output, Kind> {
        let (first, kind) = match self.quiet_until {
            Some(quiet) if quiet < self.until => (quiet, Kind::TimeoutIdle),
            _ => (self.until, Kind::TimeoutTotal),
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Kind::Cancelled),
            // Before the thing itself: what is always ready must not outrun its deadline.
            () = tokio::time::sleep_until(first) => Err(kind),
            out = what => Ok(out),
        }
    }
}

/// A point in time that cannot overflow.
fn far(now: Instant, by: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    now + by.min(YEAR)
}
