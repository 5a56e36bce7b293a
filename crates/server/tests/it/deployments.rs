//! What people do to a deployment, and what they are told when it does not fit.

use crate::support::{World, digest, wish};
use agentwright_api::{
    ActivityNow, ClientError, Deployment, ExecutionQuery, ExecutionStatus, ExportRequest, LogQuery,
    PauseRequest, RollbackRequest, code,
};

async fn deployed() -> World {
    let world = World::new().await;
    let mut request = wish("zip the notes");
    request.advance = Some(digest(7));
    let done = world.settled(&request).await;
    assert!(done.build.deployed.is_some(), "{:?}", done.build.state);
    world
}

fn conflict<T: std::fmt::Debug>(answer: Result<T, ClientError>) {
    let error = answer.unwrap_err();
    let problem = error.problem().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(
        (problem.status, problem.code.as_str()),
        (409, code::CONFLICT)
    );
}

#[tokio::test]
async fn a_deployment_is_listed_with_its_version_and_registered() {
    let world = deployed().await;
    let list: Vec<Deployment> = world.client.deployments().await.unwrap().items;
    assert_eq!(list[0].name.as_str(), "notes-zip");
    assert_eq!(list[0].activity, ActivityNow::Active);
    let detail = world.client.deployment("notes-zip").await.unwrap();
    assert_eq!(detail.versions.len(), 1);
    assert!(detail.versions[0].active && detail.versions[0].revoked_at.is_none());
    assert!(detail.state_dir.ends_with("deployments/notes-zip/state"));
    let services = world.client.services().await.unwrap().items;
    assert_eq!(services[0].purpose, "zips the notes");
    world.end().await;
}

#[tokio::test]
async fn pausing_resuming_and_stopping_twice_is_a_conflict() {
    let world = deployed().await;
    let pause = PauseRequest {
        reason: Some("holidays".into()),
    };
    let paused = world.client.pause("notes-zip", &pause).await.unwrap();
    assert!(matches!(&paused.activity, ActivityNow::Paused { reason, .. } if reason == "holidays"));
    conflict(world.client.pause("notes-zip", &pause).await);
    let active = world.client.resume("notes-zip").await.unwrap();
    assert_eq!(active.activity, ActivityNow::Active);
    conflict(world.client.resume("notes-zip").await);
    let stopped = world.client.stop("notes-zip").await.unwrap();
    assert!(matches!(stopped.activity, ActivityNow::Stopped { .. }));
    conflict(world.client.stop("notes-zip").await);
    world.end().await;
}

#[tokio::test]
async fn a_rollback_needs_an_earlier_version() {
    let world = deployed().await;
    let back = RollbackRequest::default();
    conflict(world.client.rollback("notes-zip", &back).await);
    let nowhere = RollbackRequest { to: Some(9) };
    let error = world
        .client
        .rollback("notes-zip", &nowhere)
        .await
        .unwrap_err();
    assert_eq!(error.problem().unwrap().status, 404);
    world.end().await;
}

#[tokio::test]
async fn a_firing_by_hand_is_an_execution_with_its_own_page() {
    let world = deployed().await;
    let fired = world.client.run_now("notes-zip").await.unwrap();
    // Nothing works executions here: it stays due.
    assert_eq!(fired.status, ExecutionStatus::Queued);
    conflict(world.client.run_now("notes-zip").await);
    let query = ExecutionQuery::default();
    let list = world.client.executions("notes-zip", &query).await.unwrap();
    assert_eq!(list.items[0].id, fired.id);
    let shown = world.client.wait_execution(fired.id.as_str(), 0, 5).await;
    assert_eq!(shown.unwrap().deployment.as_str(), "notes-zip");
    let newest = LogQuery::default();
    let log = world.client.execution_log("notes-zip", &newest).await;
    assert_eq!(log.unwrap().execution.id, fired.id);
    world.end().await;
}

#[tokio::test]
async fn an_export_into_an_occupied_directory_is_refused() {
    let world = deployed().await;
    let to = world.data().display().to_string();
    conflict(
        world
            .client
            .export("notes-zip", &ExportRequest { to })
            .await,
    );
    world.end().await;
}

#[tokio::test]
async fn a_removed_deployment_is_gone() {
    let world = deployed().await;
    let removed = world.client.remove("notes-zip").await.unwrap();
    assert_eq!((removed.name.as_str(), removed.versions), ("notes-zip", 1));
    let again = world.client.remove("notes-zip").await.unwrap_err();
    assert_eq!(again.problem().unwrap().status, 404);
    assert_eq!(world.client.services().await.unwrap().items, []);
    world.end().await;
}
