//! A yes is a yes to exactly this.

use crate::support::{World, auto, facts, failure, names, phase, scope};
use agentwright_domain::build::{
    ApprovalMode, BuildPolicy, BuildRequest, BuildState, FailureClass, Phase,
};
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::{ApprovalId, RunId, Slug};
use agentwright_domain::run::{Decision, Run, RunStatus, Signal};
use std::path::Path;

const SENTENCE: &str =
    "every night, keep a zip of the folder ./notes in ./backups and keep the last 7";

fn final_mode() -> BuildPolicy {
    BuildPolicy {
        mode: ApprovalMode::Final,
        ..auto()
    }
}

fn yes(subject: Option<Digest>) -> Signal {
    Signal::Decided(Decision {
        id: ApprovalId::new("approval-1"),
        approved: true,
        by: "ann".into(),
        notes: None,
        subject,
    })
}

async fn waiting(world: &World) -> Run {
    world.write("notes/a.txt", "one\n");
    let run = world.build(SENTENCE, final_mode()).await;
    assert_eq!(
        run.status,
        RunStatus::Waiting,
        "{}",
        world.story(&run.id).await
    );
    run
}

async fn approved(world: &World, id: &RunId) -> Run {
    world
        .engine
        .signal(&scope(), id, yes(None), None)
        .await
        .unwrap();
    world.settled(id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_waits_with_a_preview_of_the_real_data_and_deploys_after_the_yes() {
    let world = World::new().await;
    let run = waiting(&world).await;
    let seen = facts(&run).clone();
    assert!(!seen.preview.is_empty(), "the preview is empty");
    assert!(
        !world.home().join("backups").exists(),
        "a preview changes nothing"
    );
    assert!(names(&world.runtime.layout().data().join("deployments")).is_empty());

    let subject = seen.subject.unwrap();
    let other = yes(Some(Digest::from_sha256([1; 32])));
    let stale = world
        .engine
        .signal(&scope(), &run.id, other, None)
        .await
        .unwrap_err();
    assert!(stale.to_string().contains("look again"), "{stale}");
    let right = yes(Some(subject.digest));
    world
        .engine
        .signal(&scope(), &run.id, right, None)
        .await
        .unwrap();
    let run = world.settled(&run.id).await;
    assert_eq!(
        phase(&run),
        &Phase::Completed { deployed: true },
        "{}",
        world.story(&run.id).await
    );
    let name = facts(&run).name.clone().unwrap();
    let grant = &world.store.grants(&scope(), &name).await.unwrap()[0];
    assert_eq!(grant.approval, Some(ApprovalId::new("approval-1")));
    assert!(world.home().join("backups").is_dir());
    world.end().await;
}

async fn tampered(change: impl FnOnce(&World, &Path), expected: &str) {
    let world = World::new().await;
    let run = waiting(&world).await;
    change(&world, &world.runtime.layout().build(&run.id));
    let run = approved(&world, &run.id).await;
    let (class, reason) = failure(&run);
    assert!(reason.contains(expected), "{reason}");
    assert!(
        matches!(class, FailureClass::Deploy | FailureClass::Fault),
        "{class:?}"
    );
    assert!(names(&world.runtime.layout().data().join("deployments")).is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_was_changed_while_it_waited_is_not_deployed() {
    tampered(
        |_, build| std::fs::write(build.join("repo/backup.py"), "print(1)\n").unwrap(),
        "the code changed after it was approved",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_added_while_it_waited_is_not_deployed() {
    tampered(
        |_, build| std::fs::write(build.join("repo/sitecustomize.py"), "print(1)\n").unwrap(),
        "the code changed",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_was_changed_while_it_waited_is_not_deployed() {
    tampered(
        |_, build| {
            let path = build.join("repo/spec.json");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text.replace("notes", "other")).unwrap();
        },
        "not the spec that was sealed",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_was_changed_while_it_waited_is_noticed() {
    tampered(
        |_, build| {
            let path = build.join("evidence.json");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text.replace("pass", "fail")).unwrap();
        },
        "the evidence changed",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_folder_behind_the_same_path_is_noticed() {
    tampered(
        |world, _| {
            std::fs::rename(world.home().join("notes"), world.home().join("was")).unwrap();
            world.write("notes/other.txt", "x\n");
        },
        "a folder or a program of this machine changed",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_in_advance_holds_for_the_plan_that_was_shown_and_for_no_other() {
    let world = World::new().await;
    world.write("notes/a.txt", "one\n");
    let request = world.request(SENTENCE);
    let policy = world.advance(&request).await;
    let id = world.submit(request, policy.clone()).await;
    let run = world.settled(&id).await;
    assert_eq!(
        phase(&run),
        &Phase::Completed { deployed: true },
        "{}",
        world.story(&id).await
    );
    let approval = &world.store.approvals(&scope(), &id).await.unwrap()[0];
    assert!(approval.in_advance && approval.by == "ann");

    let other = world.request(
        "every night, keep a zip of the folder ./notes in ./elsewhere and keep the last 7",
    );
    let id = world.submit(other, policy).await;
    let run = world.settled(&id).await;
    assert_eq!(run.status, RunStatus::Waiting, "{}", world.story(&id).await);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn places_of_keys_ask_a_person_whatever_the_mode() {
    let world = World::new().await;
    world.write(".ssh/known_hosts", "x\n");
    let request = world
        .request("every night, keep a zip of the folder ./.ssh in ./backups and keep the last 7");
    let policy = BuildPolicy {
        mode: ApprovalMode::Auto,
        ..world.advance(&request).await
    };
    let id = world.submit(request, policy).await;
    let run = world.settled(&id).await;
    assert_eq!(run.status, RunStatus::Waiting, "{}", world.story(&id).await);
    assert_eq!(facts(&run).risks.len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_builds_of_one_new_name_the_second_replaces_nothing() {
    let world = World::new().await;
    let (first, second) = (waiting(&world).await, waiting(&world).await);
    let name = facts(&first).name.clone().unwrap();
    assert_eq!(facts(&second).name.as_ref(), Some(&name));
    let first = approved(&world, &first.id).await;
    assert_eq!(phase(&first), &Phase::Completed { deployed: true });
    let second = approved(&world, &second.id).await;
    let (class, reason) = failure(&second);
    assert_eq!(class, FailureClass::Deploy);
    assert!(reason.contains("nothing was replaced"), "{reason}");
    let active = world.runtime.active(&scope(), &name).await.unwrap();
    assert_eq!((active.version, active.build), (1, first.id));
    let again = BuildRequest {
        spec: Some(Box::new(active.spec)),
        ..world.request("")
    };
    let plan = world.builds.plan(&scope(), &again).await.unwrap();
    let reason = plan.reason.unwrap();
    assert!(reason.contains("deployed already"), "{reason}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_builds_of_one_new_name_that_are_approved_at_once_one_is_deployed() {
    let world = World::new().await;
    let (first, second) = (waiting(&world).await, waiting(&world).await);
    let (first, second) = tokio::join!(approved(&world, &first.id), approved(&world, &second.id));
    let (done, lost) = match phase(&first) {
        Phase::Completed { .. } => (first, second),
        _ => (second, first),
    };
    assert_eq!(phase(&done), &Phase::Completed { deployed: true });
    let (class, reason) = failure(&lost);
    assert_eq!(class, FailureClass::Deploy);
    assert!(reason.contains("nothing was replaced"), "{reason}");
    let name = facts(&done).name.clone().unwrap();
    let active = world.runtime.active(&scope(), &name).await.unwrap();
    assert_eq!(active.build, done.id);
    only_versions(&world, &name, &[active.version]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_what_was_removed_meanwhile_revives_nothing() {
    let world = World::new().await;
    let first = waiting(&world).await;
    let name = facts(&approved(&world, &first.id).await)
        .name
        .clone()
        .unwrap();
    let request = BuildRequest {
        changes: Some(name.clone()),
        ..world.request("keep 3 instead")
    };
    let id = world.submit(request, final_mode()).await;
    assert_eq!(world.settled(&id).await.status, RunStatus::Waiting);
    world.runtime.remove(&scope(), &name).await.unwrap();
    let (_, reason) = failure(&approved(&world, &id).await);
    assert!(reason.contains("removed meanwhile"), "{reason}");
    assert!(!world.runtime.layout().deployment(&name).exists());
    world.end().await;
}

/// A change of it that waits for a yes.
async fn change(world: &World, name: &Slug, words: &str) -> Run {
    let request = BuildRequest {
        changes: Some(name.clone()),
        ..world.request(words)
    };
    let id = world.submit(request, final_mode()).await;
    let run = world.settled(&id).await;
    assert_eq!(run.status, RunStatus::Waiting, "{}", world.story(&id).await);
    run
}

async fn deployed(world: &World) -> Slug {
    let first = waiting(world).await;
    let first = approved(world, &first.id).await;
    assert_eq!(phase(&first), &Phase::Completed { deployed: true });
    facts(&first).name.clone().unwrap()
}

async fn active(world: &World, name: &Slug) -> (u32, serde_json::Value) {
    let version = world.runtime.active(&scope(), name).await.unwrap();
    (version.version, version.spec.inputs["keep"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_not_put_over_another_one_and_is_made_again_from_it() {
    let world = World::new().await;
    let name = deployed(&world).await;
    let first = change(&world, &name, "keep 3 instead").await;
    let second = change(&world, &name, "keep 5 instead").await;
    assert_eq!(facts(&second).replaces.as_ref().unwrap().version, 1);
    approved(&world, &first.id).await;
    assert_eq!(active(&world, &name).await, (2, 3.into()));
    let (class, reason) = failure(&approved(&world, &second.id).await);
    assert_eq!(class, FailureClass::Deploy);
    assert!(
        reason.contains("made from version 1") && reason.contains("version 2 is active now"),
        "{reason}"
    );
    assert!(reason.contains("agentwright change"), "{reason}");
    assert_eq!(active(&world, &name).await, (2, 3.into()));
    // One that is asked for now is made from the version of now.
    let third = change(&world, &name, "keep 5 instead").await;
    assert_eq!(facts(&third).replaces.as_ref().unwrap().version, 2);
    approved(&world, &third.id).await;
    assert_eq!(active(&world, &name).await, (3, 5.into()));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_that_are_approved_at_once_one_is_deployed_and_the_other_leaves_no_files() {
    let world = World::new().await;
    let name = deployed(&world).await;
    let first = change(&world, &name, "keep 3 instead").await;
    let second = change(&world, &name, "keep 5 instead").await;
    let (first, second) = tokio::join!(approved(&world, &first.id), approved(&world, &second.id));
    let (done, lost) = match phase(&first) {
        Phase::Completed { .. } => (first, second),
        _ => (second, first),
    };
    assert_eq!(phase(&done), &Phase::Completed { deployed: true });
    let (class, reason) = failure(&lost);
    assert_eq!(class, FailureClass::Deploy);
    assert!(reason.contains("nothing was deployed"), "{reason}");
    let won = world.runtime.active(&scope(), &name).await.unwrap();
    assert_eq!(won.build, done.id);
    only_versions(&world, &name, &[1, won.version]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_another_active_version_for_a_change_that_waits() {
    let world = World::new().await;
    let name = deployed(&world).await;
    let second = change(&world, &name, "keep 3 instead").await;
    approved(&world, &second.id).await;
    let third = change(&world, &name, "keep 5 instead").await;
    world.runtime.rollback(&scope(), &name, None).await.unwrap();
    let (_, reason) = failure(&approved(&world, &third.id).await);
    assert!(
        reason.contains("made from version 2") && reason.contains("version 1 is active now"),
        "{reason}"
    );
    assert_eq!(active(&world, &name).await.0, 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_does_not_replace_what_was_built_anew_under_the_same_name_and_number() {
    let world = World::new().await;
    let name = deployed(&world).await;
    let waits = change(&world, &name, "keep 3 instead").await;
    world.runtime.remove(&scope(), &name).await.unwrap();
    assert_eq!(deployed(&world).await, name);
    let (_, reason) = failure(&approved(&world, &waits.id).await);
    assert!(reason.contains("removed and built anew"), "{reason}");
    assert_eq!(active(&world, &name).await, (1, 7.into()));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_outdated_before_its_gate_asks_nobody() {
    let world = World::new().await;
    let name = deployed(&world).await;
    let policy = BuildPolicy {
        auto_deploy: false,
        ..final_mode()
    };
    let request = BuildRequest {
        changes: Some(name.clone()),
        ..world.request("keep 3 instead")
    };
    let id = world.submit(request.clone(), policy).await;
    let made = world.settled(&id).await;
    let other = change(&world, &name, "keep 5 instead").await;
    approved(&world, &other.id).await;
    let deploys = BuildRequest {
        deploys: Some(made.id.clone()),
        ..request.clone()
    };
    let state = BuildState::deploying(final_mode(), facts(&made));
    let id = world.submit_state(deploys, state).await;
    let (class, reason) = failure(&world.settled(&id).await);
    assert_eq!(class, FailureClass::Deploy);
    assert!(reason.contains("version 2 is active now"), "{reason}");
    // As is one that was asked for when another version was active.
    let late = BuildRequest {
        from_version: Some(1),
        ..request
    };
    let id = world.submit(late, final_mode()).await;
    let (class, reason) = failure(&world.settled(&id).await);
    assert_eq!(class, FailureClass::Refused);
    assert!(reason.contains("version 2 is active now"), "{reason}");
    world.end().await;
}

/// What lies on disk of it.
fn only_versions(world: &World, name: &Slug, versions: &[u32]) {
    let mut there = names(&world.runtime.layout().versions(name));
    there.sort();
    let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
    assert_eq!(there, versions);
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_ask_after_the_spec_and_again_before_deploy() {
    let world = World::new().await;
    world.write("notes/a.txt", "one\n");
    let policy = BuildPolicy {
        mode: ApprovalMode::Checkpoints,
        ..auto()
    };
    let run = world.build(SENTENCE, policy).await;
    assert!(
        run.state.stage().contains("spec gate"),
        "{}",
        world.story(&run.id).await
    );
    assert!(facts(&run).subject.as_ref().unwrap().code.is_none());
    let run = approved(&world, &run.id).await;
    assert!(
        run.state.stage().contains("deploy gate"),
        "{}",
        world.story(&run.id).await
    );
    let again = Signal::Decided(Decision {
        id: ApprovalId::new("approval-2"),
        approved: true,
        by: "ann".into(),
        notes: None,
        subject: None,
    });
    world
        .engine
        .signal(&scope(), &run.id, again, None)
        .await
        .unwrap();
    let run = world.settled(&run.id).await;
    assert_eq!(
        phase(&run),
        &Phase::Completed { deployed: true },
        "{}",
        world.story(&run.id).await
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_build_that_was_not_deployed_can_be_deployed_later() {
    let world = World::new().await;
    world.write("notes/a.txt", "one\n");
    let policy = BuildPolicy {
        auto_deploy: false,
        ..auto()
    };
    let first = world.build(SENTENCE, policy.clone()).await;
    assert_eq!(phase(&first), &Phase::Completed { deployed: false });
    let request = BuildRequest {
        deploys: Some(first.id.clone()),
        ..world.request(SENTENCE)
    };
    let id = world
        .submit_state(request, BuildState::deploying(policy, facts(&first)))
        .await;
    let run = world.settled(&id).await;
    assert_eq!(
        phase(&run),
        &Phase::Completed { deployed: true },
        "{}",
        world.story(&id).await
    );
    let name = facts(&run).name.clone().unwrap();
    assert_eq!(
        world.runtime.active(&scope(), &name).await.unwrap().build,
        id
    );
    world.end().await;
}
