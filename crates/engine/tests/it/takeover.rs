//! Two processes on one PostgreSQL: one is killed, the other takes over.

use crate::bed::{done, scripted};
use agentwright_domain::run::{RunKind, RunStatus};
use agentwright_engine::{Engine, Settings, SystemClock};
use agentwright_store::{Location, Options, OrgScope, Store};
use agentwright_testkit::{Cluster, DEADLINE, Empty, build_run, eventually, temp_dir};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names the database to the process that is going to be killed.
const VICTIM: &str = "AGENTWRIGHT_TEST_VICTIM";
const LEASE: Duration = Duration::from_secs(3);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);

fn settings() -> Settings {
    Settings {
        lease: LEASE,
        ..Settings::default()
    }
}

/// Not a test by itself: the other process. Works on its first run until it is killed.
#[tokio::test]
async fn victim() {
    #[expect(
        clippy::disallowed_methods,
        reason = "what the test that starts it says"
    )]
    let Ok(said) = std::env::var(VICTIM) else {
        return;
    };
    // Processes of one database share the key that lies outside it.
    let (secret, url) = said.split_once('|').unwrap();
    let dir = temp_dir();
    let options = Options {
        secret: secret.into(),
        ..Options::new(dir.path())
    };
    let store = Store::open(Location::Postgres(url.into()), options)
        .await
        .unwrap();
    let endless = scripted(|run, handle| async move {
        handle.cancelled().cancelled().await;
        done(&run)
    });
    let executors = vec![(RunKind::Build, endless)];
    let _engine = Engine::start(store, Arc::new(SystemClock), executors, settings());
    tokio::time::sleep(DEADLINE).await;
}

#[tokio::test]
async fn a_killed_worker_s_run_is_taken_over_within_its_lease_and_a_second() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let url = cluster.database().await;
    let dir = temp_dir();
    let store = Store::open(Location::Postgres(url.clone()), Options::new(dir.path()))
        .await
        .unwrap();
    let id = store
        .submit(build_run(&store.new_id(), "run"), None)
        .await
        .unwrap()
        .id;
    #[expect(clippy::disallowed_methods, reason = "a process to kill")]
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "takeover::victim", "--nocapture"])
        .env(
            VICTIM,
            format!("{}|{url}", dir.path().join("auth.key").display()),
        )
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let scope = OrgScope::local();
    eventually("the victim works on it", async || {
        let row = store.run_row(&scope, &id).await.unwrap().unwrap();
        row.live.then_some(())
    })
    .await;
    let executors: Vec<(_, Arc<dyn agentwright_engine::Executor>)> =
        vec![(RunKind::Build, Arc::new(Empty))];
    let engine = Engine::start(store.clone(), Arc::new(SystemClock), executors, settings());
    victim.kill().unwrap();
    victim.wait().unwrap();
    let since = Instant::now();
    let run = eventually("it is taken over", async || {
        let run = store.run(&scope, &id).await.unwrap().unwrap();
        run.status.ended().then_some(run)
    })
    .await;
    let took = since.elapsed();
    assert_eq!(run.status, RunStatus::Completed);
    assert!(took <= LEASE + Duration::from_secs(1) + SLACK, "{took:?}");
    engine.stop(DEADLINE).await;
}
