//! The loop that fires: looks at every deployment, does what is due, and waits for the next time,
//! for a wake-up, or for the end of what runs.
//!
//! Level-triggered: each pass looks at the whole truth in the store, so that a restart and normal
//! operation are one path. Every write names the revision that it saw; whoever is late changes nothing.

use crate::Runtime;
use crate::error::{Error, blocking};
use crate::executions::chain;
use crate::schedule::{Due, Schedule};
use crate::tree;
use agentwright_domain::deployment::{Activity, DeployedVersion};
use agentwright_domain::execution::{ExecutionState, Firing, Phase};
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::run::{NewRun, RunInput, RunKind, RunState, Signal, backoff_ms};
use agentwright_domain::spec::{Missed, Trigger};
use agentwright_engine::Engine;
use agentwright_store::{DeploymentRow, OrgScope, RunFilter, RunRow};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The longest wait: after it everything is looked at again, so that a moved clock is noticed.
const LOOK_AT_LEAST_EVERY_MS: i64 = 60_000;
/// The shortest wait between two passes, however often it is woken.
const PASS_PAUSE_MS: i64 = 10;
/// The pause before a failed service is started anew; doubles with each failure in a row.
const RESTART_FIRST_MS: i64 = 1_000;
/// A service that was up for so long has proved itself: its failures count from the start again.
pub(crate) const PROVED_MS: i64 = 10 * 60_000;
/// Executions go after builds that a person waits for, unless those are less urgent.
pub(crate) const PRIORITY: i64 = 100;

/// What a pass over one deployment leaves to wait for.
#[derive(Default)]
struct Waiting {
    /// Not before this time, ms.
    until_ms: Option<i64>,
    /// Until this run ends.
    run: Option<(OrgScope, RunId)>,
}

impl Runtime {
    /// Supervises until `stop`. One per data directory, for the daemon's whole life.
    pub async fn supervise(&self, stop: CancellationToken) {
        self.sweep().await;
        let watches = TaskTracker::new();
        let watched = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
        while !stop.is_cancelled() {
            let (until_ms, runs) = self.pass().await;
            for (scope, run) in runs {
                let new = lock(&watched).insert(run.clone());
                if new && let Ok(engine) = self.engine() {
                    let runtime = self.clone();
                    let (watched, stop) = (std::sync::Arc::clone(&watched), stop.clone());
                    watches.spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = until_ended(&runtime, &engine, &scope, &run) => {}
                        }
                        lock(&watched).remove(&run);
                        runtime.wake();
                    });
                }
            }
            let wait_ms = until_ms
                .saturating_sub(self.now_ms())
                .clamp(PASS_PAUSE_MS, LOOK_AT_LEAST_EVERY_MS);
            let pause = millis(PASS_PAUSE_MS);
            let wait = millis(wait_ms) - pause;
            tokio::time::sleep(pause).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.inner.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        watches.close();
        watches.wait().await;
        self.set_engine(None);
    }

    /// One look at every deployment: when to look again, and which runs to wait for.
    async fn pass(&self) -> (i64, Vec<(OrgScope, RunId)>) {
        let mut until_ms = self.now_ms() + LOOK_AT_LEAST_EVERY_MS;
        let mut runs = Vec::new();
        let deployments = match self.store().all_deployments().await {
            Ok(deployments) => deployments,
            Err(error) => {
                tracing::warn!(error = chain(&error), "cannot look at the deployments");
                return (self.now_ms() + RESTART_FIRST_MS, runs);
            }
        };
        for (scope, row) in deployments {
            match self.tend(&scope, &row).await {
                Ok(waiting) => {
                    until_ms = waiting.until_ms.map_or(until_ms, |at| at.min(until_ms));
                    runs.extend(waiting.run);
                }
                Err(error) => {
                    let name = &row.name;
                    tracing::warn!(automation = %name, error = chain(&error), "cannot tend to a deployment");
                }
            }
        }
        (until_ms, runs)
    }

    /// Does what one deployment asks for now.
    async fn tend(&self, scope: &OrgScope, row: &DeploymentRow) -> Result<Waiting, Error> {
        let current = self.current(scope, row).await?;
        let Some(version) = self
            .store()
            .version(scope, &row.name, row.active_version)
            .await?
        else {
            return Ok(Waiting::default());
        };
        if current.is_none() {
            self.mend(scope, row, &version).await?;
        }
        let mut waiting = match (&row.activity, &version.spec.trigger) {
            (Activity::Paused { .. }, _) => Waiting::default(),
            (Activity::Stopped { .. }, _) => {
                if let Some(run) = &current {
                    self.end(scope, run, "the automation was stopped").await?;
                }
                Waiting::default()
            }
            (Activity::Active, Trigger::Schedule { cron, zone, missed }) => {
                let schedule = Schedule::parse(cron, zone);
                match schedule {
                    Ok(schedule) => {
                        let busy = current.is_some();
                        self.tend_schedule(scope, row, &version, &schedule, (*missed, busy))
                            .await?
                    }
                    Err(error) => {
                        tracing::warn!(automation = %row.name, %error, "a stored schedule cannot be read");
                        Waiting::default()
                    }
                }
            }
            (Activity::Active, Trigger::Service { .. }) => {
                self.tend_service(scope, row, &version, current.as_ref())
                    .await?
            }
            (Activity::Active, Trigger::Once) => {
                let id = RunId::new(format!("{}-once", version.build));
                if current.is_none() && self.store().run(scope, &id).await?.is_none() {
                    let run = execution(scope, row, &version, id, Firing::Once);
                    self.fire(scope, row, run, None).await?;
                }
                Waiting::default()
            }
            (Activity::Active, Trigger::Manual) => Waiting::default(),
        };
        waiting.run = current.map(|run| (scope.clone(), run.id));
        Ok(waiting)
    }

    async fn tend_schedule(
        &self,
        scope: &OrgScope,
        row: &DeploymentRow,
        version: &DeployedVersion,
        schedule: &Schedule,
        (missed, busy): (Missed, bool),
    ) -> Result<Waiting, Error> {
        let due = schedule.settle(row.next_due_at_ms, missed, self.now_ms());
        let next = due.next_due_at_ms();
        match due {
            Due::Fire { .. } if busy && missed == Missed::RunOnce => {
                // It stays due and fires when what runs has ended.
                return Ok(Waiting::default());
            }
            Due::Fire { due_at_ms, .. } if !busy => {
                let id = RunId::new(self.store().new_id());
                let run = execution(scope, row, version, id, Firing::Scheduled { due_at_ms });
                self.fire(scope, row, run, Some(next)).await?;
            }
            Due::Fire { due_at_ms, .. } | Due::Dropped { due_at_ms, .. } => {
                tracing::info!(automation = %row.name, due_at_ms, "a firing was dropped, as its schedule says");
                self.next(scope, row, Some(next)).await?;
            }
            Due::Wait { .. } if row.next_due_at_ms != Some(next) => {
                self.next(scope, row, Some(next)).await?;
            }
            Due::Wait { .. } => {}
        }
        Ok(Waiting {
            until_ms: Some(next),
            run: None,
        })
    }

    async fn tend_service(
        &self,
        scope: &OrgScope,
        row: &DeploymentRow,
        version: &DeployedVersion,
        current: Option<&RunRow>,
    ) -> Result<Waiting, Error> {
        if let Some(run) = current {
            let whole = self.store().run(scope, &run.id).await?;
            let other = whole.is_some_and(|run| match &run.state {
                RunState::Execution(state) => state.version != row.active_version,
                RunState::Build(_) => false,
            });
            if other {
                let why = format!("version {} takes over", row.active_version);
                self.end(scope, run, &why).await?;
            }
            return Ok(Waiting::default());
        }
        let proved = self.last_life_ms(scope, row).await? >= PROVED_MS;
        let failures = if proved { 0 } else { row.failures_in_a_row };
        if failures > 0 {
            let at = match row.next_due_at_ms {
                Some(at) => at,
                None => {
                    let at = self.now_ms() + backoff_ms(RESTART_FIRST_MS, failures);
                    self.next(scope, row, Some(at)).await?;
                    at
                }
            };
            // A clock that was set back must not keep it down.
            let longest = self.now_ms() + agentwright_domain::run::BACKOFF_MAX_MS;
            if self.now_ms() < at && at <= longest {
                return Ok(Waiting {
                    until_ms: Some(at),
                    run: None,
                });
            }
        }
        let id = RunId::new(self.store().new_id());
        let mut run = execution(scope, row, version, id, Firing::Service);
        if let RunState::Execution(state) = &mut run.state {
            state.failures_before = failures;
        }
        self.fire(scope, row, run, None).await?;
        Ok(Waiting::default())
    }

    /// How long the newest run of it worked, ms.
    async fn last_life_ms(&self, scope: &OrgScope, row: &DeploymentRow) -> Result<i64, Error> {
        let newest = self.newest(scope, &row.name).await?;
        Ok(newest.map_or(0, |run| run.worked_ms))
    }

    /// The newest execution of a deployment.
    pub(crate) async fn newest(
        &self,
        scope: &OrgScope,
        name: &Slug,
    ) -> Result<Option<RunRow>, Error> {
        let filter = RunFilter {
            kind: Some(RunKind::Execution),
            label: Some(name.clone()),
            limit: 1,
            ..RunFilter::default()
        };
        Ok(self.store().runs(scope, filter).await?.into_iter().next())
    }

    /// The execution that goes on, if one does.
    pub(crate) async fn current(
        &self,
        scope: &OrgScope,
        row: &DeploymentRow,
    ) -> Result<Option<RunRow>, Error> {
        let Some(id) = &row.current_run else {
            return Ok(None);
        };
        let run = self.store().run_row(scope, id).await?;
        Ok(run.filter(|run| !run.status.ended()))
    }

    /// Fires once; whether it was us.
    pub(crate) async fn fire(
        &self,
        scope: &OrgScope,
        row: &DeploymentRow,
        run: NewRun,
        next_due_at_ms: Option<i64>,
    ) -> Result<bool, Error> {
        let id = run.id.clone();
        let fired = self
            .store()
            .fire(scope, &row.name, row.revision, run, next_due_at_ms)
            .await?;
        if fired {
            self.engine()?.wake(&id, self.now_ms());
        }
        // Either way the row has changed: look again.
        self.wake();
        Ok(fired)
    }

    async fn next(
        &self,
        scope: &OrgScope,
        row: &DeploymentRow,
        next_due_at_ms: Option<i64>,
    ) -> Result<(), Error> {
        let written = self
            .store()
            .set_activity(
                scope,
                &row.name,
                row.revision,
                &row.activity,
                None,
                next_due_at_ms,
            )
            .await?;
        if !written {
            self.wake();
        }
        Ok(())
    }

    /// Ends a run; one that has ended meanwhile is fine.
    pub(crate) async fn end(&self, scope: &OrgScope, run: &RunRow, why: &str) -> Result<(), Error> {
        let cancel = Signal::Cancel {
            by: "agentwright".to_owned(),
            reason: why.to_owned(),
        };
        match self.engine()?.signal(scope, &run.id, cancel, None).await {
            Ok(_)
            | Err(
                agentwright_engine::SignalError::Refused(_)
                | agentwright_engine::SignalError::Unknown,
            ) => {}
            Err(agentwright_engine::SignalError::Store(error)) => return Err(error.into()),
            Err(agentwright_engine::SignalError::Busy) => self.wake(),
        }
        Ok(())
    }

    /// Removes what a killed removal left.
    async fn sweep(&self) {
        let layout = self.layout().clone();
        blocking(move || {
            let entries = layout
                .all_deployments()
                .into_iter()
                .filter_map(|dir| std::fs::read_dir(dir).ok())
                .flatten()
                .flatten();
            for entry in entries {
                let left = entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with(".removing-");
                if left && let Err(error) = tree::remove_all(&entry.path()) {
                    tracing::warn!(%error, "cannot remove what a killed removal left");
                }
            }
        })
        .await;
    }
}

/// A new execution of the active version.
pub(crate) fn execution(
    scope: &OrgScope,
    row: &DeploymentRow,
    version: &DeployedVersion,
    id: RunId,
    firing: Firing,
) -> NewRun {
    NewRun {
        organization: scope.organization().clone(),
        id,
        label: row.name.clone(),
        priority: PRIORITY,
        state: RunState::Execution(ExecutionState {
            deployment: row.name.clone(),
            version: version.version,
            firing,
            policy: version.spec.on_failure.clone(),
            failures_before: row.failures_in_a_row,
            phase: Phase::Working { attempt: 1 },
        }),
        input: RunInput::Execution,
        not_before_ms: None,
        repeats: None,
    }
}

/// Waits until a run has ended, signalled by its commits.
pub(crate) async fn until_ended(runtime: &Runtime, engine: &Engine, scope: &OrgScope, run: &RunId) {
    let mut seq = 0;
    loop {
        match runtime.store().run_row(scope, run).await {
            Ok(Some(row)) if !row.status.ended() => seq = seq.max(row.event_seq),
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(run = %run, error = chain(&error), "cannot look at a run");
                return;
            }
        }
        match engine
            .changed(scope, run, seq, Duration::from_secs(60))
            .await
        {
            Ok(newest) => seq = seq.max(newest),
            Err(_) => return,
        }
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
