//! What is refused, with what a person can do about it; and nothing is left behind.

use crate::support::{World, auto, facts, failure, names, scope};
use agentwright_domain::build::{BuildRequest, FailureClass};
use agentwright_domain::ids::Slug;
use agentwright_pipeline::Verdict;
use serde_json::json;

async fn refused(world: &World, request: BuildRequest) -> String {
    let plan = world.builds.plan(&scope(), &request).await.unwrap();
    assert_ne!(plan.verdict, Verdict::Ready, "{plan:?}");
    let id = world.submit(request, auto()).await;
    let run = world.settled(&id).await;
    let (class, reason) = failure(&run);
    assert_eq!(class, FailureClass::Refused, "{reason}");
    assert_eq!(
        plan.reason.as_deref(),
        Some(reason.as_str()),
        "plan and build say the same"
    );
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_built_is_refused_with_what_is_missing_or_possible() {
    let world = World::new().await;
    world.write("notes/a.txt", "one\n");
    std::os::unix::fs::symlink(world.home().join("notes"), world.home().join("link")).unwrap();
    let cases = [
        ("make it better", "build"),
        ("", "empty"),
        ("zip ./nowhere into ./backups every night", "does not exist"),
        ("zip ./link into ./backups every night", "symbolic link"),
        (
            "zip ./notes/a.txt/ into ./backups every night",
            "not a folder",
        ),
        ("zip /proc into ./backups every night", "beyond any sandbox"),
        ("zip ../data into ./backups every night", "its own data"),
        ("zip ./notes every night", "Where are the archives"),
    ];
    for (intent, expected) in cases {
        let reason = refused(&world, world.request(intent)).await;
        assert!(reason.contains(expected), "{intent}: {reason}");
    }
    let long = refused(&world, world.request(&"zip ./notes ".repeat(3_000))).await;
    assert!(long.contains("characters"), "{long}");
    let deployments = world.runtime.layout().data().join("deployments");
    assert!(names(&deployments).is_empty());
    assert!(names(&world.home().join("backups")).is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_input_is_asked_for_and_may_be_given_beside_the_sentence() {
    let world = World::new().await;
    world.write("notes/a.txt", "one\n");
    let mut request = world.request("zip ./notes every night");
    let plan = world.builds.plan(&scope(), &request).await.unwrap();
    assert_eq!(plan.verdict, Verdict::Incomplete);
    assert_eq!(plan.missing[0].input, "target");
    request.inputs.insert("target".into(), json!("./backups"));
    let plan = world.builds.plan(&scope(), &request).await.unwrap();
    assert_eq!(plan.verdict, Verdict::Ready, "{:?}", plan.reason);
    assert!(
        !world.home().join("backups").exists(),
        "a plan changes nothing"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_cannot_be_carried_out_is_refused() {
    let world = World::new().await;
    world.write("notes/a.txt", "one\n");
    let request = world.request("zip ./notes into ./backups every night");
    let plan = world.builds.plan(&scope(), &request).await.unwrap();
    let spec = plan.spec.unwrap();
    let with = |change: &dyn Fn(&mut agentwright_domain::spec::Spec)| {
        let mut spec = spec.clone();
        change(&mut spec);
        BuildRequest {
            spec: Some(Box::new(spec)),
            ..world.request("")
        }
    };
    let none = refused(&world, with(&|spec| spec.foundation = None)).await;
    assert!(none.contains("names no foundation"), "{none}");
    let other = refused(
        &world,
        with(&|spec| {
            spec.foundation.as_mut().unwrap().digest =
                agentwright_domain::digest::Digest::from_sha256([7; 32]);
        }),
    )
    .await;
    assert!(
        other.contains("another version of the foundation"),
        "{other}"
    );
    let unknown = refused(
        &world,
        with(&|spec| spec.foundation.as_mut().unwrap().name = "nope".into()),
    )
    .await;
    assert!(unknown.contains("not installed"), "{unknown}");
    let empty = refused(&world, with(&|spec| spec.command.clear())).await;
    assert!(empty.contains("/command"), "{empty}");
    let never = refused(
        &world,
        with(&|spec| {
            spec.trigger = serde_json::from_value(
                json!({"type": "schedule", "cron": "0 0 31 2 *", "zone": "UTC"}),
            )
            .unwrap();
        }),
    )
    .await;
    assert!(never.contains("never fires"), "{never}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_that_proves_nothing_is_not_sealed() {
    let world = World::new().await;
    world.write("notes/a.txt", "one\n");
    let request = world.request("zip ./notes into ./backups every night");
    let mut spec = world
        .builds
        .plan(&scope(), &request)
        .await
        .unwrap()
        .spec
        .unwrap();
    for case in &mut spec.acceptance.cases {
        for probe in &mut case.probes {
            if probe.holds == agentwright_domain::acceptance::Holds::Effect {
                probe.check = serde_json::from_value(
                    json!({"type": "file_exists", "folder": "source", "path": "*"}),
                )
                .unwrap();
            }
        }
    }
    let request = BuildRequest {
        spec: Some(Box::new(spec)),
        ..world.request("")
    };
    let id = world.submit(request, auto()).await;
    let (class, reason) = failure(&world.settled(&id).await);
    assert_eq!(class, FailureClass::Refused);
    assert!(reason.contains("proves nothing"), "{reason}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_what_is_not_there_is_refused() {
    let world = World::new().await;
    let request = BuildRequest {
        changes: Some(Slug::parse("nothing").unwrap()),
        ..world.request("keep 3")
    };
    let reason = refused(&world, request).await;
    assert!(reason.contains("no deployment named nothing"), "{reason}");
    world.end().await;
}

/// A foundation of one's own, taken from the built-in one, with another program.
fn own(world: &World, program: &str) -> BuildRequest {
    let source = world
        .builds
        .foundations()
        .source("folder-backup")
        .unwrap()
        .clone();
    let place = world.home().join("foundations/folder-backup");
    for (path, bytes) in &source.files {
        let target = place.join(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, bytes).unwrap();
    }
    std::fs::write(place.join("files/backup.py"), program).unwrap();
    BuildRequest {
        foundations: vec![world.home().join("foundations").display().to_string()],
        ..world.request("zip ./notes into ./backups every night")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_lies_is_stopped_by_verify_and_never_deployed() {
    let world = World::new().await;
    world.write("notes/a.txt", "one\n");
    let id = world
        .submit(own(&world, "print('1 archive made')\n"), auto())
        .await;
    let run = world.settled(&id).await;
    let (class, reason) = failure(&run);
    assert_eq!(class, FailureClass::Tests, "{reason}");
    assert!(reason.contains("assertion"), "{reason}");
    assert!(names(&world.runtime.layout().data().join("deployments")).is_empty());
    let results = world.store.test_results(&scope(), &id).await.unwrap();
    assert_eq!(results.len(), 4);
    assert!(facts(&run).verified.is_none());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_with_a_secret_or_an_undeclared_host_is_stopped_by_review() {
    let world = World::new().await;
    world.write("notes/a.txt", "one\n");
    let program = "import urllib.request\npassword = 'hV7!kq29zLp'\n";
    let id = world.submit(own(&world, program), auto()).await;
    let run = world.settled(&id).await;
    let (class, reason) = failure(&run);
    assert_eq!(class, FailureClass::Review, "{reason}");
    assert!(
        reason.contains("backup.py:1") && reason.contains("backup.py:2"),
        "{reason}"
    );
    assert!(!reason.contains("hV7"), "{reason}");
    let kept = world.store.artifacts(&scope(), &id).await.unwrap();
    assert!(kept.iter().any(|artifact| artifact.name == "review.json"));
    world.end().await;
}
