//! An engine on a fresh SQLite store, with a clock that the test moves.

use agentwright_domain::build::StageOutcome;
use agentwright_domain::ids::RunId;
use agentwright_domain::run::{Record, Run, RunKind, RunState, RunStatus, Signal};
use agentwright_engine::{Engine, Executor, Handle, Settings};
use agentwright_store::{Location, Options, OrgScope, Store};
use agentwright_testkit::{TestClock, build_run, eventually, temp_dir};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const START_MS: i64 = 1_000_000;

type Work = Pin<Box<dyn Future<Output = Signal> + Send>>;

/// Does what a closure says.
pub(crate) struct Scripted<F>(pub(crate) F);

#[async_trait::async_trait]
impl<F> Executor for Scripted<F>
where
    F: Fn(Run, Handle) -> Work + Send + Sync,
{
    async fn execute(&self, run: &Run, handle: &Handle) -> Signal {
        (self.0)(run.clone(), handle.clone()).await
    }
}

/// An executor made of a closure.
pub(crate) fn scripted<W: Future<Output = Signal> + Send + 'static>(
    work: impl Fn(Run, Handle) -> W + Send + Sync + 'static,
) -> Arc<dyn Executor> {
    Arc::new(Scripted(move |run, handle| {
        Box::pin(work(run, handle)) as Work
    }))
}

pub(crate) fn done(run: &Run) -> Signal {
    done_with(run, Vec::new())
}

/// Done, with rows or conditions.
pub(crate) fn done_with(run: &Run, records: Vec<Record>) -> Signal {
    let RunState::Build(state) = &run.state else {
        panic!("no build")
    };
    Signal::Stage {
        outcome: Box::new(StageOutcome::Done {
            summary: "done".to_owned(),
            facts: Box::new(state.facts.clone()),
            records,
        }),
    }
}

pub(crate) fn cancel() -> Signal {
    Signal::Cancel {
        by: "anna".to_owned(),
        reason: "no longer needed".to_owned(),
    }
}

/// Fast enough for a test.
pub(crate) fn settings() -> Settings {
    Settings {
        poll: Duration::from_millis(20),
        lease: Duration::from_secs(15),
        wind_down: Duration::from_millis(500),
        ..Settings::default()
    }
}

pub(crate) struct Bed {
    pub(crate) store: Store,
    pub(crate) clock: TestClock,
    pub(crate) scope: OrgScope,
    _dir: tempfile::TempDir,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        let dir = temp_dir();
        let clock = TestClock::at(START_MS);
        let options = Options {
            time: clock.for_store(),
            ..Options::new(dir.path())
        };
        let location = Location::Sqlite(dir.path().join("a.db"));
        Self {
            store: Store::open(location, options).await.unwrap(),
            clock,
            scope: OrgScope::local(),
            _dir: dir,
        }
    }

    pub(crate) fn engine(&self, executor: Arc<dyn Executor>, settings: Settings) -> Engine {
        let executors = vec![(RunKind::Build, executor)];
        let clock = Arc::new(self.clock.clone());
        Engine::start(self.store.clone(), clock, executors, settings)
    }

    pub(crate) async fn submit(&self, label: &str) -> RunId {
        let new = build_run(&self.store.new_id(), label);
        self.store.submit(new, None).await.unwrap().id
    }

    pub(crate) async fn run(&self, id: &RunId) -> Run {
        self.store.run(&self.scope, id).await.unwrap().unwrap()
    }

    /// Waits until the run has ended, moving the clock on meanwhile.
    pub(crate) async fn ended(&self, id: &RunId) -> Run {
        eventually("the run has ended", async || {
            self.clock.advance(100);
            let run = self.run(id).await;
            run.status.ended().then_some(run)
        })
        .await
    }

    pub(crate) async fn is(&self, id: &RunId, status: RunStatus) -> Run {
        eventually("the run stands so", async || {
            let run = self.run(id).await;
            (run.status == status).then_some(run)
        })
        .await
    }
}
