//! Builds from their creation to their end, as a client sees them.

use crate::support::{World, digest, wish, yes};
use agentwright_api::{
    BuildQuery, BuildState, BuildStatus, CancelRequest, Client, ClientError, Decide,
    DecisionRequest, DeployBuild, RetryBuild, View, code,
};
use agentwright_domain::approval::{Gate, GateReason};
use agentwright_domain::build::FailureClass;
use agentwright_domain::ids::Slug;
use std::collections::BTreeMap;

fn refusal<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> (u16, String) {
    let error = answer.unwrap_err();
    let problem = error.problem().unwrap_or_else(|| panic!("{error}"));
    (problem.status, problem.code.clone())
}

#[tokio::test]
async fn a_build_waits_for_a_yes_and_is_deployed_with_its_evidence() {
    let world = World::new().await;
    let waiting = world.settled(&wish("zip the notes")).await;
    let BuildState::Waiting { gate, reasons, .. } = &waiting.build.state else {
        panic!("{:?}", waiting.build.state);
    };
    assert_eq!((*gate, reasons), (Gate::Deploy, &vec![GateReason::Mode]));
    assert_eq!(waiting.preview, ["would create 1 zip"]);
    assert_eq!(waiting.levels[0].number, 1);

    let done = world.approve(&waiting).await;
    assert_eq!(done.build.status(), BuildStatus::Completed);
    let stages: Vec<_> = done.stages.iter().map(|row| row.stage.as_str()).collect();
    let all = "spec package generate review verify preview deploy register";
    assert_eq!(stages, all.split(' ').collect::<Vec<_>>());
    assert!(done.approvals[0].approved && !done.approvals[0].in_advance);
    assert_ne!(done.approvals[0].by, "");
    assert_eq!(done.approvals[0].subject, digest(6));
    assert_eq!(done.artifacts[0].name, "main.py");
    let deployed = done.build.deployed.unwrap();
    assert_eq!((deployed.name.as_str(), deployed.version), ("notes-zip", 1));
    world.end().await;
}

#[tokio::test]
async fn a_yes_in_advance_to_the_shown_permissions_needs_no_second_one() {
    let world = World::new().await;
    let mut request = wish("zip the notes");
    request.advance = Some(digest(7));
    let done = world.settled(&request).await;
    assert_eq!(done.build.status(), BuildStatus::Completed);
    assert!(done.approvals[0].in_advance);

    request.advance = Some(digest(9));
    let waiting = world.settled(&request).await;
    assert_eq!(waiting.build.status(), BuildStatus::Waiting);
    world.end().await;
}

#[tokio::test]
async fn a_decision_that_does_not_fit_is_a_conflict_with_its_own_code() {
    let world = World::new().await;
    let waiting = world.settled(&wish("zip the notes")).await;
    let id = waiting.build.id.as_str();
    let stale = DecisionRequest {
        subject: Some(digest(9)),
        ..yes(&waiting)
    };
    let answer = world.client.decide(id, &stale).await;
    assert_eq!(refusal(answer), (409, code::STALE.into()));

    let no = DecisionRequest {
        decision: Decide::Reject,
        subject: None,
        notes: Some("not this folder".into()),
    };
    let rejected = world.client.decide(id, &no).await.unwrap();
    let BuildState::Rejected { notes, gate, .. } = &rejected.state else {
        panic!("{:?}", rejected.state);
    };
    assert_eq!(
        (notes.as_deref(), *gate),
        (Some("not this folder"), Gate::Deploy)
    );
    let twice = world.client.decide(id, &yes(&waiting)).await;
    assert_eq!(refusal(twice), (409, code::ENDED.into()));
    let cancel = world.client.cancel(id, &CancelRequest::default()).await;
    assert_eq!(refusal(cancel), (409, code::ENDED.into()));

    let held = world.create("hold it").await;
    world.script.holding().await;
    let early = world.client.decide(held.id.as_str(), &yes(&waiting)).await;
    assert_eq!(refusal(early), (409, code::NOT_WAITING.into()));
    world.script.release();
    world.end().await;
}

#[tokio::test]
async fn a_running_build_says_so_and_can_be_cancelled_but_not_retried() {
    let world = World::new().await;
    let build = world.create("hold it").await;
    world.script.holding().await;
    let id = build.id.as_str();
    let running = world.client.build(id).await.unwrap();
    assert_eq!(running.build.status(), BuildStatus::Running);
    assert_eq!(running.build.stage, "generate");
    let retry = world.client.retry(id, &RetryBuild::default(), None).await;
    assert_eq!(refusal(retry), (409, code::NOT_ENDED.into()));
    let deploy = world.client.deploy(id, &DeployBuild::default(), None).await;
    assert_eq!(refusal(deploy), (409, code::NOT_DEPLOYABLE.into()));

    let reason = Some("changed my mind".to_owned());
    let ended = world.client.cancel(id, &CancelRequest { reason }).await;
    let BuildState::Cancelled { reason, .. } = ended.unwrap().state else {
        panic!("not cancelled");
    };
    assert_eq!(reason, "changed my mind");
    world.end().await;
}

#[tokio::test]
async fn a_failed_build_says_why_and_is_retried_as_a_new_one_that_names_it() {
    let world = World::new().await;
    let failed = world.settled(&wish("fail at the tests")).await;
    let BuildState::Failed { class, reason } = &failed.build.state else {
        panic!("{:?}", failed.build.state);
    };
    assert_eq!(*class, FailureClass::Tests);
    assert!(reason.contains("the zip is empty"));
    assert_eq!(failed.build.stage, "verify");

    let inputs = BTreeMap::from([("folder".to_owned(), serde_json::json!("/other"))]);
    let id = failed.build.id.as_str();
    let retry = RetryBuild { inputs };
    let again = world.client.retry(id, &retry, Some("again-1")).await;
    let again = again.unwrap();
    assert_eq!(again.repeats.as_ref(), Some(&failed.build.id));
    assert_ne!(again.id, failed.build.id);
    let again = world.until_settled(again.id.as_str()).await;
    assert_eq!(again.build.status(), BuildStatus::Failed);
    let deploy = world.client.deploy(id, &DeployBuild::default(), None).await;
    assert_eq!(refusal(deploy), (409, code::NOT_DEPLOYABLE.into()));
    world.end().await;
}

#[tokio::test]
async fn a_verified_build_can_be_deployed_later_through_its_own_gate() {
    let world = World::new().await;
    let mut request = wish("zip the notes");
    request.auto_deploy = false;
    let verified = world.settled(&request).await;
    assert_eq!(verified.build.status(), BuildStatus::Completed);
    assert_eq!(verified.build.deployed, None);
    let id = verified.build.id.as_str();
    let deploy = world.client.deploy(id, &DeployBuild::default(), None).await;
    let waiting = world.until_settled(deploy.unwrap().id.as_str()).await;
    assert_eq!(waiting.build.status(), BuildStatus::Waiting);
    assert_eq!(waiting.build.deploys.as_ref(), Some(&verified.build.id));
    assert!(waiting.repository.contains(id), "{}", waiting.repository);
    let done = world.approve(&waiting).await;
    assert!(done.build.deployed.is_some());
    let id = done.build.id.as_str();
    let twice = world.client.deploy(id, &DeployBuild::default(), None).await;
    assert_eq!(refusal(twice), (409, code::NOT_DEPLOYABLE.into()));
    world.end().await;
}

#[tokio::test]
async fn the_same_idempotency_key_makes_one_build() {
    let world = World::new().await;
    let request = wish("zip the notes");
    let first = world
        .client
        .create_build(&request, Some("k1"))
        .await
        .unwrap();
    let second = world
        .client
        .create_build(&request, Some("k1"))
        .await
        .unwrap();
    assert_eq!(first.id, second.id);
    let other = world
        .client
        .create_build(&wish("another"), Some("k1"))
        .await;
    assert_eq!(refusal(other), (409, code::IDEMPOTENCY.into()));
    let long = "k".repeat(201);
    let long = world.client.create_build(&request, Some(&long)).await;
    assert_eq!(refusal(long), (422, code::INVALID.into()));
    let list = world.client.builds(&BuildQuery::default()).await.unwrap();
    assert_eq!(list.items.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_label_is_unique_among_what_is_not_ended() {
    let world = World::new().await;
    let mut request = wish("hold it");
    request.label = Slug::parse("mine").ok();
    world.client.create_build(&request, None).await.unwrap();
    world.script.holding().await;
    let taken = world.client.create_build(&request, None).await;
    assert_eq!(refusal(taken), (409, code::LABEL_TAKEN.into()));
    // A made-up one is made anew.
    let one = world.create("hold the notes").await;
    let two = world.create("hold the notes").await;
    assert_eq!(one.label.as_str(), "hold-the-notes");
    assert_eq!(two.label.as_str(), "hold-the-notes-2");
    for _ in 0..3 {
        world.script.release();
    }
    world.end().await;
}

#[tokio::test]
async fn a_build_is_found_by_label_id_and_beginning_of_its_id() {
    let world = World::new().await;
    let build = world.create("zip the notes").await;
    let id = build.id.as_str();
    for text in [id, &id[..23], build.label.as_str()] {
        let found = world.client.build(text).await.unwrap();
        assert_eq!(found.build.id, build.id, "{text}");
    }
    // The first 8 digits last for a minute, so of three builds at once two begin alike.
    let second = world.create("zip the pictures").await.id;
    world.create("zip the music").await;
    let several = world.client.build(&second.as_str()[..8]).await;
    let first = world.client.build(&id[..8]).await;
    let ambiguous = [several, first].into_iter().filter(Result::is_err);
    let codes: Vec<_> = ambiguous.map(refusal).collect();
    assert!(codes.contains(&(409, code::AMBIGUOUS.into())), "{codes:?}");
    for text in [
        "nobody",
        "00000000-0000-7000-8000-000000000000",
        "../etc",
        "%00",
    ] {
        let answer = world.client.build(text).await;
        assert_eq!(refusal(answer), (404, code::NOT_FOUND.into()), "{text}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_list_has_pages_and_filters() {
    let world = World::new().await;
    for intent in ["one", "fail two", "three", "fail four", "five"] {
        world.settled(&wish(intent)).await;
    }
    let page = |before| BuildQuery {
        limit: Some(2),
        before,
        ..BuildQuery::default()
    };
    let first = world.client.builds(&page(None)).await.unwrap();
    let labels: Vec<_> = first.items.iter().map(|row| row.label.as_str()).collect();
    assert_eq!(labels, ["five", "fail-four"]);
    let second = world.client.builds(&page(first.next)).await.unwrap();
    let third = world.client.builds(&page(second.next)).await.unwrap();
    assert_eq!(third.items[0].label.as_str(), "one");
    assert_eq!(third.next, None);

    let failed = BuildQuery {
        status: Some(BuildStatus::Failed),
        ..BuildQuery::default()
    };
    let failed = world.client.builds(&failed).await.unwrap().items;
    assert_eq!(failed.len(), 2);
    assert!(failed.iter().all(|row| row.stage == "verify"));
    let rejected = BuildQuery {
        status: Some(BuildStatus::Rejected),
        ..BuildQuery::default()
    };
    assert_eq!(world.client.builds(&rejected).await.unwrap().items, []);
    let limit = BuildQuery {
        limit: Some(501),
        ..BuildQuery::default()
    };
    let too_many = world.client.builds(&limit).await;
    assert_eq!(refusal(too_many), (422, code::INVALID.into()));
    world.end().await;
}

#[tokio::test]
async fn a_log_has_events_and_levels_and_artifacts_come_as_they_were() {
    let world = World::new().await;
    let waiting = world.settled(&wish("zip the notes")).await;
    let id = waiting.build.id.as_str();
    let log = world.client.build_log(id).await.unwrap();
    let text: Vec<_> = log.lines.iter().map(|line| line.text.as_str()).collect();
    assert!(text.contains(&"half of it"), "{text:?}");
    assert!(text.contains(&"level 1 structure: pass, every file parses"));
    assert!(text.contains(&"  main.py: parsed"));
    assert_eq!(log.seq, waiting.seq);
    let bytes = world.client.artifact(id, "main.py").await.unwrap();
    assert_eq!(&bytes[..], b"print()");
    let digest = waiting.artifacts[0].digest.as_str();
    assert_eq!(world.client.artifact(id, digest).await.unwrap(), bytes);
    let none = world.client.artifact(id, "other.py").await;
    assert_eq!(refusal(none), (404, code::NOT_FOUND.into()));
    world.end().await;
}

#[tokio::test]
async fn a_long_poll_answers_when_something_happens_and_at_its_time() {
    let world = World::new().await;
    let build = world.create("hold it").await;
    world.script.holding().await;
    let id = build.id.as_str();
    let now = world.client.build(id).await.unwrap();
    let same = world.client.wait_build(id, now.seq, 1, View::Brief).await;
    assert_eq!(same.unwrap().seq, now.seq);

    let client: Client = world.client.clone();
    let (waited, ()) = tokio::join!(client.wait_build(id, now.seq, 20, View::Brief), async {
        world.script.release();
    });
    assert!(waited.unwrap().seq > now.seq);
    let settled = world.until_settled(id).await;
    assert_eq!(settled.build.status(), BuildStatus::Waiting);
    let ended = world.client.cancel(id, &CancelRequest::default()).await;
    assert_eq!(ended.unwrap().status(), BuildStatus::Cancelled);
    // Nothing more can happen, so there is nothing to wait for.
    let last = world.client.build(id).await.unwrap().seq;
    let ended = world.client.wait_build(id, last, 60, View::Brief).await;
    assert_eq!(ended.unwrap().seq, last);
    world.end().await;
}

#[tokio::test]
async fn after_a_restart_a_build_goes_on_where_it_was() {
    let world = World::new().await;
    let build = world.create("hold it").await;
    world.script.holding().await;
    let world = world.restarted().await;
    world.script.holding().await;
    let running = world.client.build(build.id.as_str()).await.unwrap();
    assert_eq!(running.build.status(), BuildStatus::Running);
    world.script.release();
    let waiting = world.until_settled(build.id.as_str()).await;
    let spec = waiting.stages.iter().filter(|row| row.stage == "spec");
    assert_eq!(spec.count(), 1, "a recorded stage is not run again");
    world.end().await;
}

#[tokio::test]
async fn a_replay_is_compared_with_what_it_replays_and_each_difference_is_named() {
    let world = World::new().await;
    let client = &world.client;
    // It fails the first two times.
    let first = world.settled(&wish("stumble over the notes")).await.build;
    assert_eq!(first.status(), BuildStatus::Failed);
    let no_replay = client.replayed(first.id.as_str()).await;
    assert_eq!(refusal(no_replay), (409, code::NOT_A_REPLAY.to_owned()));

    let same = client.replay(first.id.as_str(), None).await.unwrap();
    world.until_settled(same.id.as_str()).await;
    let compared = client.replayed(same.id.as_str()).await.unwrap();
    assert!(compared.identical, "{:?}", compared.differences);
    assert_eq!((&compared.of, &compared.build), (&first.id, &same.id));
    let spec = compared.same.iter().any(|line| line.starts_with("spec "));
    assert!(spec, "{:?}", compared.same);

    // A replay of a replay replays the first one.
    let other = client.replay(same.id.as_str(), None).await.unwrap();
    world.until_settled(other.id.as_str()).await;
    let compared = client.replayed(other.id.as_str()).await.unwrap();
    assert_eq!((compared.identical, &compared.of), (false, &first.id));
    let told = compared.differences.join("\n");
    for part in ["stages", "verify", "verdicts", "level 4"] {
        assert!(told.contains(part), "{part}: {told}");
    }

    let held = world.create("hold it").await;
    world.script.holding().await;
    let early = client.replay(held.id.as_str(), None).await;
    assert_eq!(refusal(early), (409, code::NOT_ENDED.to_owned()));
    world.end().await;
}
