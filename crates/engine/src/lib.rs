//! Carries runs to their end: claim → execute → decide → commit.
//!
//! Knows no kind of run: what the work is, an [`Executor`] knows; what its outcome means,
//! `domain::run::decide` says; the store writes it. Waiting is a row, never a task. Start with
//! [`Engine::start`], then `worker.rs`, the loop on one screen; `dispatch.rs` claims and renews,
//! `outbox.rs` tells people.

mod clock;
mod dispatch;
mod handle;
mod journal;
mod outbox;
mod settings;
#[cfg(test)]
mod tests;
mod worker;
mod writing;

pub use clock::{Clock, SystemClock};
pub use handle::{Handle, ReportError};
pub use settings::Settings;
pub use writing::{Draft, Piece, Writing};

use agentwright_domain::ids::RunId;
use agentwright_domain::run::{NewRun, Refusal, Run, RunKind, RunStatus, Signal, decide};
use agentwright_store::{
    Audit, Commit, CommitError, Error, OrgScope, Store, SubmitError, Submitted, Writer,
};
use dispatch::Shared;
use std::sync::Arc;
use std::time::Duration;

/// Tries of a signal whose run changes under its hands.
const SIGNAL_TRIES: u32 = 10;

/// Does the work of one kind of run.
#[async_trait::async_trait]
pub trait Executor: Send + Sync {
    /// Works the run's current stage once. Writes no state: what it has to say meanwhile goes
    /// through the handle, what came out is the answer. May be called again for the same stage
    /// after a crash: it looks before it acts. When the handle's token fires it returns soon;
    /// its answer then counts for nothing.
    async fn execute(&self, run: &Run, handle: &Handle) -> Signal;
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

/// The running engine. Cheap to clone; works until [`Engine::stop`].
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// Starts claiming and working. Must be called within a tokio runtime.
    pub fn start(
        store: Store,
        clock: Arc<dyn Clock>,
        executors: Vec<(RunKind, Arc<dyn Executor>)>,
        settings: Settings,
    ) -> Self {
        let shared = Arc::new(Shared::new(store, clock, executors, settings));
        dispatch::start(&shared);
        outbox::start(&shared);
        Self { shared }
    }

    /// The store that it works on.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Submits a run, with its row in the audit trail where somebody asked for it; durable when it returns.
    /// Submitting the same id again changes nothing.
    pub async fn submit(
        &self,
        new: NewRun,
        audit: Option<Audit>,
    ) -> Result<Submitted, SubmitError> {
        let submitted = self.shared.store.submit(new.clone(), audit).await?;
        if !submitted.repeated() {
            journal::submitted(&new);
        }
        self.shared.wake.notify_one();
        Ok(submitted)
    }

    /// Applies a signal from outside: a decision, a cancel; with its row in the audit trail where somebody
    /// gave it. Durable when it returns; an attempt that goes on for the run is cancelled.
    pub async fn signal(
        &self,
        scope: &OrgScope,
        id: &RunId,
        signal: Signal,
        audit: Option<Audit>,
    ) -> Result<Run, SignalError> {
        let store = &self.shared.store;
        for _ in 0..SIGNAL_TRIES {
            let run = store.run(scope, id).await?.ok_or(SignalError::Unknown)?;
            let to = decide(&run, &signal, self.shared.clock.now_ms())?;
            let told = !to.notices.is_empty();
            let writer = Writer::Outsider;
            let commit = Commit {
                run,
                to,
                writer,
                audit: audit.clone(),
            };
            match store.commit(commit.clone()).await {
                Ok(done) => {
                    journal::committed(&commit.run, &commit.to);
                    self.shared.moved(&done.run, told);
                    return Ok(done.run);
                }
                Err(CommitError::Stale { .. } | CommitError::Unexpected { .. }) => {}
                Err(CommitError::Unknown) => return Err(SignalError::Unknown),
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(SignalError::Busy)
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
        self.shared
            .store
            .changed(scope, id, after_seq, timeout)
            .await
    }

    /// Which draft a model writes for a run in this process just now, and how many bytes of it there are: evidence
    /// that it gets on. A number that differs is another draft.
    pub fn written(&self, run: &RunId) -> Option<(u64, u64)> {
        self.shared.desk.written(run)
    }

    /// Follows what models write for a run while they write it, in this process. Whose run it is, the caller has asked.
    pub fn writing(&self, run: &RunId) -> Writing {
        self.shared.desk.follow(run)
    }

    /// A hint that a run may be claimed at that time, ms. May come twice, late or never: the queue
    /// is looked at every [`Settings::poll`] anyway.
    pub fn wake(&self, _run: &RunId, at_ms: i64) {
        self.shared.wake_at(at_ms);
    }

    /// The runs that this process works on now.
    pub fn active(&self) -> Vec<RunId> {
        self.shared.active_ids()
    }

    /// Claims nothing more, lets what goes on finish within `grace`, then cancels it and gives it
    /// back to the queue. Returns when nothing of the engine runs any more.
    pub async fn stop(&self, grace: Duration) {
        self.shared.stop(grace).await;
    }
}

impl Shared {
    /// After somebody else's commit: whoever works on the run stops, whoever waits for work looks.
    fn moved(&self, run: &Run, told: bool) {
        self.cancel(&run.id);
        if run.status == RunStatus::Ready {
            self.wake.notify_one();
        }
        if told {
            self.outbox.notify_one();
        }
    }
}
