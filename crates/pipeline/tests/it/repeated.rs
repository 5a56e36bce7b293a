//! Each stage worked twice, and killed at any point before its commit: the same end.

use crate::support::{World, auto, facts, names, phase, scope};
use agentwright_domain::build::Phase;
use agentwright_domain::run::{Run, Signal};
use agentwright_engine::{Executor, Handle};
use agentwright_pipeline::Builds;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SENTENCE: &str = "back up ./notes into ./backups every Sunday at 3 as tar.gz, keep 2 copies";

/// Works every stage to its end, forgets what came out, and works it again.
pub(crate) struct Twice(pub(crate) Builds);

#[async_trait::async_trait]
impl Executor for Twice {
    async fn execute(&self, run: &Run, handle: &Handle) -> Signal {
        let forgotten = self.0.execute(run, handle).await;
        assert!(matches!(forgotten, Signal::Stage { .. }));
        self.0.execute(run, handle).await
    }
}

/// Drops the work of every stage after some milliseconds, again and again, a little later each time.
struct Killed {
    builds: Builds,
    step: Duration,
    kills: AtomicU64,
}

/// So often is one stage killed.
const KILLS: u32 = 8;

#[async_trait::async_trait]
impl Executor for Killed {
    async fn execute(&self, run: &Run, handle: &Handle) -> Signal {
        for kill in 0..KILLS {
            let limit = self.step * kill;
            match tokio::time::timeout(limit, self.builds.execute(run, handle)).await {
                Ok(signal) => return signal,
                Err(_) => self.kills.fetch_add(1, Ordering::Relaxed),
            };
        }
        self.builds.execute(run, handle).await
    }
}

async fn ends_well(world: World) {
    world.write("notes/a.txt", "one\n");
    let run = world.build(SENTENCE, auto()).await;
    let story = world.story(&run.id).await;
    assert_eq!(phase(&run), &Phase::Completed { deployed: true }, "{story}");
    let name = facts(&run).name.clone().unwrap();
    let layout = world.runtime.layout();
    let status = world.runtime.status(&scope(), &name).await.unwrap();
    assert_eq!(status.versions.len(), 1);
    assert_eq!(names(&layout.versions(&name)), ["1"]);
    assert!(
        names(&layout.build(&run.id).join("scratch")).is_empty(),
        "scratch is left"
    );
    assert!(!story.contains("tries again"), "{story}");
    let grants = world.store.grants(&scope(), &name).await.unwrap();
    assert_eq!(grants.len(), 1);
    let results = world.store.test_results(&scope(), &run.id).await.unwrap();
    assert_eq!(results.len(), 4, "{results:?}");
    assert_eq!(
        commits(&layout.build(&run.id).join("repo")),
        ["package", "generate"]
    );
    assert_eq!(names(&world.home().join("backups")), [""; 0]);
    let execution = world.runtime.run_now(&scope(), &name, "ann").await.unwrap();
    let ran = world.settled(&execution).await;
    assert_eq!(
        ran.status.word(),
        "completed",
        "{}",
        world.story(&execution).await
    );
    world.end().await;
}

/// The stages that have committed, oldest first.
#[expect(
    clippy::disallowed_methods,
    reason = "a test reads the history with git itself"
)]
fn commits(repository: &std::path::Path) -> Vec<String> {
    let output = std::process::Command::new("git")
        .args([
            "-c",
            "safe.directory=*",
            "log",
            "--reverse",
            "--format=%(trailers:key=Agentwright-Stage,valueonly)",
        ])
        .current_dir(repository)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_stages_are_all_done_twice_ends_as_if_they_were_done_once() {
    ends_well(World::with(|builds| Arc::new(Twice(builds))).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_killed_early_in_every_stage_goes_on_to_the_same_end() {
    let world = World::with(|builds| killed(builds, 3)).await;
    ends_well(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_killed_late_in_every_stage_goes_on_to_the_same_end() {
    let world = World::with(|builds| killed(builds, 40)).await;
    ends_well(world).await;
}

pub(crate) fn killed(builds: Builds, step_ms: u64) -> Arc<dyn Executor> {
    Arc::new(Killed {
        builds,
        step: Duration::from_millis(step_ms),
        kills: AtomicU64::new(0),
    })
}
