//! After deploy: versions, rollback, pause, firing, refusing, export, remove.

use crate::support::{World, auto, facts, names, phase, scope};
use agentwright_domain::build::{BuildRequest, Phase};
use agentwright_domain::deployment::{Action, Activity};
use agentwright_domain::execution::Firing;
use agentwright_domain::ids::Slug;
use agentwright_domain::run::{Run, RunKind, RunState};
use agentwright_store::RunFilter;
use agentwright_testkit::eventually;

async fn deployed(world: &World, intent: &str) -> Slug {
    world.write("notes/a.txt", "one\n");
    let run = world.build(intent, auto()).await;
    assert_eq!(
        phase(&run),
        &Phase::Completed { deployed: true },
        "{}",
        world.story(&run.id).await
    );
    facts(&run).name.clone().unwrap()
}

async fn changed(world: &World, name: &Slug, words: &str) -> Run {
    let request = BuildRequest {
        changes: Some(name.clone()),
        ..world.request(words)
    };
    let id = world.submit(request, auto()).await;
    let run = world.settled(&id).await;
    assert_eq!(
        phase(&run),
        &Phase::Completed { deployed: true },
        "{}",
        world.story(&id).await
    );
    run
}

async fn executions(world: &World, name: &Slug) -> Vec<Run> {
    let filter = RunFilter {
        kind: Some(RunKind::Execution),
        label: Some(name.clone()),
        ..RunFilter::default()
    };
    let mut runs = Vec::new();
    for row in world.store.runs(&scope(), filter).await.unwrap() {
        runs.push(world.store.run(&scope(), &row.id).await.unwrap().unwrap());
    }
    runs
}

async fn next_due(world: &World, name: &Slug) -> i64 {
    eventually("the next night is worked out", async || {
        let status = world.runtime.status(&scope(), name).await.unwrap();
        status.row.next_due_at_ms
    })
    .await
}

const NIGHTLY: &str =
    "every night, keep a zip of the folder ./notes in ./backups and keep the last 7";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_makes_the_next_version_and_rollback_takes_one_step_back() {
    let world = World::new().await;
    let name = deployed(&world, NIGHTLY).await;
    let request = BuildRequest {
        changes: Some(name.clone()),
        ..world.request("keep 3 instead")
    };
    let plan = world.builds.plan(&scope(), &request).await.unwrap();
    assert_eq!(plan.name.as_ref(), Some(&name));
    let keep = plan
        .differs
        .iter()
        .find(|d| d.at == "/inputs/keep")
        .expect("keep differs");
    assert_eq!(
        (keep.before.clone(), keep.after.clone()),
        (Some(7.into()), Some(3.into()))
    );
    assert!(
        !plan
            .differs
            .iter()
            .any(|d| d.at.starts_with("/permissions")),
        "{:?}",
        plan.differs
    );

    changed(&world, &name, "keep 3 instead").await;
    let status = world.runtime.status(&scope(), &name).await.unwrap();
    assert_eq!((status.row.active_version, status.versions.len()), (2, 2));
    assert_eq!(
        world.runtime.rollback(&scope(), &name, None).await.unwrap(),
        1
    );
    assert_eq!(
        world
            .runtime
            .status(&scope(), &name)
            .await
            .unwrap()
            .row
            .active_version,
        1
    );
    let nothing = world
        .runtime
        .rollback(&scope(), &name, None)
        .await
        .unwrap_err();
    assert!(
        nothing.to_string().contains("no earlier version"),
        "{nothing}"
    );
    let missing = world
        .runtime
        .rollback(&scope(), &name, Some(9))
        .await
        .unwrap_err();
    assert!(missing.to_string().contains("no version 9"), "{missing}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_a_revision_that_was_seen_is_done_to_no_other() {
    let world = World::new().await;
    let name = deployed(&world, NIGHTLY).await;
    changed(&world, &name, "keep 3 instead").await;
    next_due(&world, &name).await;
    let runtime = &world.runtime;
    let row = async || runtime.status(&scope(), &name).await.unwrap().row;
    let seen = row().await.revision;
    let pause = Action::Pause {
        reason: "holidays".into(),
    };
    let paused = runtime.act_on(&scope(), &name, &pause, Some(seen)).await;
    let now = paused.unwrap().revision;
    assert!(now > seen);
    let refused = [
        runtime
            .act_on(&scope(), &name, &Action::Stop, Some(seen))
            .await
            .err()
            .unwrap(),
        runtime
            .rollback_on(&scope(), &name, None, Some(seen))
            .await
            .err()
            .unwrap(),
    ];
    for error in refused {
        let said = error.to_string();
        assert!(said.contains("look again"), "{said}");
    }
    let same = row().await;
    assert_eq!((same.active_version, same.revision), (2, now));
    let back = runtime.rollback_on(&scope(), &name, None, Some(now)).await;
    assert_eq!(back.unwrap(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_spec_can_be_verified_and_deployed_again() {
    let world = World::new().await;
    let name = deployed(&world, NIGHTLY).await;
    let run = changed(&world, &name, "verify again").await;
    assert_eq!(facts(&run).version, Some(2));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_whose_grant_was_taken_back_never_runs() {
    let world = World::new().await;
    let name = deployed(&world, NIGHTLY).await;
    changed(&world, &name, "keep 3 instead").await;
    let grants = world.store.grants(&scope(), &name).await.unwrap();
    world
        .store
        .revoke_grant(&scope(), &grants[1].id)
        .await
        .unwrap();
    let now = world
        .runtime
        .run_now(&scope(), &name, "ann")
        .await
        .unwrap_err();
    assert!(now.to_string().contains("taken back"), "{now}");
    world
        .store
        .revoke_grant(&scope(), &grants[0].id)
        .await
        .unwrap();
    let back = world
        .runtime
        .rollback(&scope(), &name, Some(1))
        .await
        .unwrap_err();
    assert!(back.to_string().contains("taken back"), "{back}");
    let none = world
        .runtime
        .rollback(&scope(), &name, None)
        .await
        .unwrap_err();
    assert!(none.to_string().contains("no earlier version"), "{none}");
    assert!(names(&world.home().join("backups")).is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_was_changed_after_deploy_does_not_run() {
    let world = World::new().await;
    let name = deployed(&world, NIGHTLY).await;
    let app = world.runtime.layout().app(&name, 1);
    std::fs::write(app.join("backup.py"), "print('mine now')\n").unwrap();
    let id = world.runtime.run_now(&scope(), &name, "ann").await.unwrap();
    let run = world.settled(&id).await;
    assert_eq!(run.status.word(), "failed");
    let story = world.story(&id).await;
    assert!(story.contains("changed after it was approved"), "{story}");
    assert!(!story.contains("mine now"), "{story}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_fires_by_itself() {
    let world = World::new().await;
    let name = deployed(&world, NIGHTLY).await;
    let due = next_due(&world, &name).await;
    world.clock.set(due + 1);
    world.runtime.wake();
    let run = eventually("it fired", async || executions(&world, &name).await.pop()).await;
    let RunState::Execution(state) = &run.state else {
        panic!("an execution")
    };
    assert_eq!(state.firing, Firing::Scheduled { due_at_ms: due });
    let ran = world.settled(&run.id).await;
    assert_eq!(
        ran.status.word(),
        "completed",
        "{}",
        world.story(&run.id).await
    );
    let next = world
        .runtime
        .status(&scope(), &name)
        .await
        .unwrap()
        .row
        .next_due_at_ms
        .unwrap();
    assert!(next > due);

    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paused_runs_only_by_hand_and_makes_up_for_nothing() {
    let world = World::new().await;
    let name = deployed(&world, NIGHTLY).await;
    let next = next_due(&world, &name).await;
    let pause = Action::Pause {
        reason: "holidays".into(),
    };
    world.runtime.act(&scope(), &name, &pause).await.unwrap();
    let again = world
        .runtime
        .act(&scope(), &name, &pause)
        .await
        .unwrap_err();
    assert!(again.to_string().contains("already paused"), "{again}");
    world.clock.set(next + 1);
    world.runtime.wake();
    // It may still be run by hand, and that is all that ran.
    let by_hand = world.runtime.run_now(&scope(), &name, "ann").await.unwrap();
    world.settled(&by_hand).await;
    assert_eq!(executions(&world, &name).await.len(), 1);
    world
        .runtime
        .act(&scope(), &name, &Action::Stop)
        .await
        .unwrap();
    let status = world
        .runtime
        .act(&scope(), &name, &Action::Resume)
        .await
        .unwrap();
    assert_eq!(status.activity, Activity::Active);
    let due = next_due(&world, &name).await;
    assert!(due > next, "missed while it was paused: not fired");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_again_and_again_pauses_it() {
    let world = World::new().await;
    let name = deployed(&world, "zip ./notes into ./backups once, now").await;
    let first = eventually("it fired", async || executions(&world, &name).await.pop()).await;
    world.settled(&first.id).await;
    std::fs::remove_dir_all(world.home().join("notes")).unwrap();
    let pause_after = world
        .runtime
        .active(&scope(), &name)
        .await
        .unwrap()
        .spec
        .on_failure
        .pause_after;
    for count in 1..=pause_after {
        let id = world.runtime.run_now(&scope(), &name, "ann").await.unwrap();
        // The tries of one execution lie minutes apart.
        let run = eventually("it has ended", async || {
            world.clock.advance(10 * 60_000);
            let run = world.store.run(&scope(), &id).await.unwrap().unwrap();
            run.status.ended().then_some(run)
        })
        .await;
        assert_eq!(run.status.word(), "failed");
        let row = world.runtime.status(&scope(), &name).await.unwrap().row;
        assert_eq!(row.failures_in_a_row, count);
        let paused = matches!(row.activity, Activity::Paused { .. });
        assert_eq!(paused, count == pause_after, "{row:?}");
    }
    let notices = world.store.notices(&scope(), 100).await.unwrap();
    assert!(
        notices
            .iter()
            .any(|due| due.notice.topic == "automation.paused")
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn once_means_once_also_when_everything_is_looked_at_again() {
    let world = World::new().await;
    let name = deployed(&world, "zip ./notes into ./backups once, now").await;
    let spec = world.runtime.active(&scope(), &name).await.unwrap().spec;
    assert_eq!(
        spec.trigger,
        agentwright_domain::spec::Trigger::Once,
        "{spec:?}"
    );
    let run = eventually("it fired", async || executions(&world, &name).await.pop()).await;
    assert_eq!(world.settled(&run.id).await.status.word(), "completed");
    for _ in 0..5 {
        world.runtime.wake();
    }
    let id = world.runtime.run_now(&scope(), &name, "ann").await.unwrap();
    world.settled(&id).await;
    assert_eq!(executions(&world, &name).await.len(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_runs_without_agentwright() {
    let world = World::new().await;
    let name = deployed(&world, NIGHTLY).await;
    let to = world.home().join("my export");
    world.runtime.export(&scope(), &name, &to).await.unwrap();
    assert!(
        std::fs::read_to_string(to.join("crontab"))
            .unwrap()
            .contains("my export/run'")
    );
    let taken = world
        .runtime
        .export(&scope(), &name, &to)
        .await
        .unwrap_err();
    assert!(taken.to_string().contains("not empty"), "{taken}");
    let output = run_exported(&to);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(names(&world.home().join("backups")).len(), 1);
    world.end().await;
}

#[expect(clippy::disallowed_methods, reason = "a person runs what was exported")]
fn run_exported(to: &std::path::Path) -> std::process::Output {
    std::process::Command::new(to.join("run")).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_deployment_is_said_to_be_unknown_whatever_is_asked() {
    let world = World::new().await;
    let name = Slug::parse("nothing").unwrap();
    let runtime = &world.runtime;
    let words = [
        runtime.status(&scope(), &name).await.err().unwrap(),
        runtime.run_now(&scope(), &name, "ann").await.err().unwrap(),
        runtime
            .act(&scope(), &name, &Action::Stop)
            .await
            .err()
            .unwrap(),
        runtime.rollback(&scope(), &name, None).await.err().unwrap(),
        runtime.remove(&scope(), &name).await.err().unwrap(),
        runtime
            .export(&scope(), &name, &world.home())
            .await
            .err()
            .unwrap(),
    ];
    for error in words {
        assert!(
            error.to_string().contains("no deployment named nothing"),
            "{error}"
        );
    }
    world.end().await;
}
