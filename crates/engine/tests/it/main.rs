//! The engine on real stores.

use agentwright_domain::run::{RunKind, RunStatus};
use agentwright_engine::{Engine, Settings, SystemClock};
use agentwright_store::OrgScope;
use agentwright_testkit::{DEADLINE, Empty, build_run, sqlite, temp_dir};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_build_goes_through_all_its_stages_to_its_end() {
    let dir = temp_dir();
    let store = sqlite(dir.path()).await;
    let executors = vec![(
        RunKind::Build,
        Arc::new(Empty) as Arc<dyn agentwright_engine::Executor>,
    )];
    let engine = Engine::start(
        store.clone(),
        Arc::new(SystemClock),
        executors,
        Settings::default(),
    );
    let scope = OrgScope::local();
    let id = engine
        .submit(build_run(&store.new_id(), "empty"))
        .await
        .unwrap()
        .id;
    let mut seq = 0;
    let run = loop {
        let run = store.run(&scope, &id).await.unwrap().unwrap();
        if run.status.ended() {
            break run;
        }
        seq = engine.changed(&scope, &id, seq, DEADLINE).await.unwrap();
    };
    assert_eq!(run.status, RunStatus::Completed);
    engine.stop(Duration::from_secs(1)).await;
    store.close().await;
}
