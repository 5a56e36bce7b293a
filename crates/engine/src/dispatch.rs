//! Claims runs while there are free slots, and renews the leases of exactly the runs in memory.
//!
//! Being woken is a hint; looking every [`Settings::poll`] is the truth.

use crate::settings::RENEWALS;
use crate::writing::Desk;
use crate::{Clock, Executor, Settings, worker};
use agentwright_domain::ids::RunId;
use agentwright_domain::run::{Run, RunKind};
use agentwright_store::{Claim, Store};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What all tasks of an engine share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) executors: HashMap<RunKind, Arc<dyn Executor>>,
    /// Random, new with every start: nobody renews a dead process's leases by accident.
    pub(crate) owner: String,
    pub(crate) wake: Notify,
    pub(crate) outbox: Notify,
    /// No more claims.
    pub(crate) stopping: CancellationToken,
    /// Everything ends now.
    pub(crate) stopped: CancellationToken,
    workers: TaskTracker,
    pub(crate) loops: TaskTracker,
    pub(crate) desk: Arc<Desk>,
    active: Mutex<HashMap<RunId, Active>>,
    next_wake_ms: Mutex<Option<i64>>,
}

struct Active {
    kind: RunKind,
    token: CancellationToken,
}

impl Shared {
    pub(crate) fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        executors: Vec<(RunKind, Arc<dyn Executor>)>,
        settings: Settings,
    ) -> Self {
        Self {
            owner: store.new_id(),
            store,
            clock,
            settings,
            executors: executors.into_iter().collect(),
            wake: Notify::new(),
            outbox: Notify::new(),
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
            workers: TaskTracker::new(),
            loops: TaskTracker::new(),
            desk: Arc::default(),
            active: Mutex::new(HashMap::new()),
            next_wake_ms: Mutex::new(None),
        }
    }

    fn active(&self) -> MutexGuard<'_, HashMap<RunId, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn active_ids(&self) -> Vec<RunId> {
        self.active().keys().cloned().collect()
    }

    /// Fires the token of whoever works on the run here.
    pub(crate) fn cancel(&self, run: &RunId) {
        if let Some(active) = self.active().get(run) {
            active.token.cancel();
        }
    }

    pub(crate) fn wake_at(&self, at_ms: i64) {
        {
            let mut next = self
                .next_wake_ms
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *next = Some(next.map_or(at_ms, |next| next.min(at_ms)));
        }
        self.wake.notify_one();
    }

    /// How long to sleep: until the next known time, at most a poll.
    fn pause(&self) -> Duration {
        let now_ms = self.clock.now_ms();
        let mut next = self
            .next_wake_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let until_ms = next.map_or(i64::MAX, |at_ms| at_ms - now_ms);
        if until_ms <= 0 {
            *next = None;
        }
        let until = Duration::from_millis(u64::try_from(until_ms).unwrap_or(0));
        until.min(self.settings.poll)
    }

    /// The request for what fits here now; `None` when every slot is taken.
    pub(crate) fn request(&self) -> Option<Claim> {
        let active = self.active();
        let kinds: Vec<_> = self
            .executors
            .keys()
            .map(|kind| {
                let here = active.values().filter(|active| active.kind == *kind);
                let here = u32::try_from(here.count()).unwrap_or(u32::MAX);
                self.settings.limit(*kind, here)
            })
            .filter(|limit| limit.free > 0)
            .collect();
        (!kinds.is_empty()).then(|| Claim {
            owner: self.owner.clone(),
            lease_ms: self.settings.lease_ms(),
            kinds,
            active: active.keys().cloned().collect(),
        })
    }

    /// Puts a claimed run among the active ones; its token ends the attempt.
    pub(crate) fn begin(&self, run: &Run) -> CancellationToken {
        let token = self.stopped.child_token();
        let active = Active {
            kind: run.kind,
            token: token.clone(),
        };
        self.active().insert(run.id.clone(), active);
        token
    }

    pub(crate) fn end(&self, run: &RunId) {
        self.active().remove(run);
        self.wake.notify_one();
    }

    pub(crate) async fn stop(&self, grace: Duration) {
        self.stopping.cancel();
        self.workers.close();
        if tokio::time::timeout(grace, self.workers.wait())
            .await
            .is_err()
        {
            tracing::info!(runs = self.active().len(), "ending what still works");
        }
        self.stopped.cancel();
        self.workers.wait().await;
        self.loops.close();
        self.loops.wait().await;
        // A claim that was under way when the stop came has brought runs: they are given back, too.
        self.workers.wait().await;
    }
}

/// Starts the two loops.
pub(crate) fn start(shared: &Arc<Shared>) {
    shared.loops.spawn(claiming(Arc::clone(shared)));
    shared.loops.spawn(renewing(Arc::clone(shared)));
}

async fn claiming(shared: Arc<Shared>) {
    while !shared.stopping.is_cancelled() {
        if let Some(request) = shared.request() {
            match shared.store.claim(request).await {
                Ok(runs) => {
                    for run in runs {
                        let token = shared.begin(&run);
                        let work = worker::work(Arc::clone(&shared), run, token);
                        shared.workers.spawn(work);
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot claim"),
            }
        }
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(shared.pause()) => {}
            () = shared.stopping.cancelled() => {}
        }
    }
}

async fn renewing(shared: Arc<Shared>) {
    let every = shared.settings.lease / RENEWALS;
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => renew(&shared).await,
            () = shared.stopped.cancelled() => return,
        }
    }
}

/// Renews what is in memory; whatever is no longer ours is told to stop.
pub(crate) async fn renew(shared: &Shared) {
    let runs = shared.active_ids();
    if runs.is_empty() {
        return;
    }
    let lease_ms = shared.settings.lease_ms();
    match shared.store.renew(&shared.owner, &runs, lease_ms).await {
        Ok(held) => {
            for run in runs.iter().filter(|run| !held.contains(run)) {
                tracing::debug!(%run, "no longer held");
                shared.cancel(run);
            }
        }
        Err(error) => tracing::warn!(%error, "cannot renew leases"),
    }
}
