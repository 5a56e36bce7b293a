//! Carries runs to their end: claim → execute → decide → commit.
//!
//! Knows no kind of run: what the work is, an [`Executor`] knows; what its outcome means,
//! `domain::run::decide` says; the store writes it. Start with [`Engine::start`], then `worker.rs`,
//! the loop on one screen.

mod clock;
mod handle;

pub use clock::{Clock, SystemClock};
pub use handle::{Handle, ReportError};

use agentwright_domain::ids::RunId;
use agentwright_domain::run::{NewRun, Refusal, Run, RunKind, Signal};
use agentwright_notify::Channel;
use agentwright_store::{Error, OrgScope, Store, SubmitError, Submitted};
use std::sync::Arc;
use std::time::Duration;

/// Does the work of one kind of run.
#[async_trait::async_trait]
pub trait Executor: Send + Sync {
    /// Works the run's current stage once. Writes no state: what it has to say meanwhile goes
    /// through the handle, what came out is the answer. May be called again for the same stage
    /// after a crash: it looks before it acts.
    async fn execute(&self, run: &Run, handle: &Handle) -> Signal;
}

/// How an engine works.
#[derive(Clone)]
pub struct Settings {
    /// Builds at once, in all processes and in one organization.
    pub builds: u32,
    /// Executions at once.
    pub executions: u32,
    /// How long a lease lasts; renewed three times in it.
    pub lease: Duration,
    /// How often the queue is looked at when nothing wakes it.
    pub poll: Duration,
    /// Where notices go.
    pub channels: Vec<Arc<dyn Channel>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            builds: 3,
            executions: 64,
            lease: Duration::from_secs(15),
            poll: Duration::from_secs(1),
            channels: Vec::new(),
        }
    }
}

/// Why a signal changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// The run does not take it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such run.
    #[error("no such run")]
    Unknown,
    /// It kept changing under our hands.
    #[error("the run keeps changing: try again")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// The running engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    store: Store,
}

impl Engine {
    /// Starts claiming and working. Must be called within a tokio runtime.
    pub fn start(
        store: Store,
        clock: Arc<dyn Clock>,
        executors: Vec<(RunKind, Arc<dyn Executor>)>,
        settings: Settings,
    ) -> Self {
        let _ = (clock, executors, settings);
        Self { store }
    }

    /// The store that it works on.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Submits a run; durable when it returns. Submitting the same id again changes nothing.
    pub async fn submit(&self, new: NewRun) -> Result<Submitted, SubmitError> {
        self.store.submit(new).await
    }

    /// Applies a signal from outside: a decision, a cancel. Durable when it returns; an attempt
    /// that goes on for the run is cancelled.
    pub async fn signal(
        &self,
        scope: &OrgScope,
        id: &RunId,
        signal: Signal,
    ) -> Result<Run, SignalError> {
        let _ = (scope, id, signal);
        Err(SignalError::Unknown)
    }

    /// Waits until the run has an event newer than `after_seq`, or until `timeout`; answers the
    /// newest event's number. Signalled, never polled (other processes' commits: within a second).
    pub async fn changed(
        &self,
        scope: &OrgScope,
        id: &RunId,
        after_seq: i64,
        timeout: Duration,
    ) -> Result<i64, Error> {
        self.store.changed(scope, id, after_seq, timeout).await
    }

    /// A hint that a run may be claimed at that time, ms. May come twice, late or never.
    pub fn wake(&self, run: &RunId, at_ms: i64) {
        let _ = (run, at_ms);
    }

    /// The runs that this process works on now.
    pub fn active(&self) -> Vec<RunId> {
        Vec::new()
    }

    /// Claims nothing more, lets what goes on finish within `grace`, then cancels and gives it back.
    pub async fn stop(&self, grace: Duration) {
        let _ = grace;
    }
}
