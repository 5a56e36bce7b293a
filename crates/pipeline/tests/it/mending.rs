//! A failing execution starts a repair build, as its spec allows, and within bounds.

use crate::author::{Asked, asked, faultless, lay_out, said, settings, wish_of, writes};
use crate::models::replayed_the_same;
use crate::support::{World, auto, facts, failure, phase, scope};
use crate::wishes::wish;
use agentwright_domain::build::{BuildRequest, FailureClass, Mends, Phase};
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::run::{Run, RunInput, RunKind};
use agentwright_llm::Wire;
use agentwright_proof::of_bytes;
use agentwright_store::RunFilter;
use agentwright_testkit::eventually;
use agentwright_testkit::model_server::{ModelServer, Question, Step};

const WISH: &str = "count-words";
/// Counts what is a file and can be read.
const MENDED: &str = "import json\nfrom pathlib import Path\ncounts = {p.name: len(p.read_text(errors='replace').split()) for p in Path('/data/texts').iterdir() if p.is_file()}\nopen('/data/counts/words.json', 'w').write(json.dumps(counts))\n";

/// Good code at first; when it failed for real, mended code.
fn mends(question: &Question) -> Step {
    match asked(question) {
        Asked::Repair if said(question).contains("IsADirectoryError") => writes(question, MENDED),
        _ => faultless(question),
    }
}

/// A deployed automation whose failures may start so many repair builds.
async fn deployed(
    script: impl FnMut(&Question) -> Step + Send + 'static,
    repairs: u32,
) -> (ModelServer, World, Run) {
    let server = ModelServer::start(script).await;
    let world = World::modelled(settings(&server, Wire::Anthropic)).await;
    lay_out(&world, wish(WISH));
    let request = BuildRequest {
        repairs_failing: Some(repairs),
        ..world.request(wish(WISH).sentence)
    };
    let id = world.submit(request, auto()).await;
    let run = world.settled(&id).await;
    let story = world.story(&id).await;
    assert_eq!(phase(&run), &Phase::Completed { deployed: true }, "{story}");
    (server, world, run)
}

fn name() -> Slug {
    Slug::parse(WISH).unwrap()
}

/// Runs it by hand to its end, all its tries.
async fn run(world: &World) -> Run {
    let id = world.runtime.run_now(&scope(), &name(), "ann").await;
    let id = id.unwrap();
    eventually("it has ended", async || {
        world.clock.advance(10 * 60_000);
        let run = world.store.run(&scope(), &id).await.unwrap().unwrap();
        run.status.ended().then_some(run)
    })
    .await
}

/// The repair build of that number of a build's version, at its end.
async fn repair(world: &World, of: &Run, number: u32) -> Run {
    let id = RunId::new(format!("{}-repair-{number}", of.id));
    eventually("a repair build is there", async || {
        world.store.run(&scope(), &id).await.unwrap()
    })
    .await;
    world.settled(&id).await
}

fn mended(run: &Run) -> &Mends {
    match &run.input {
        RunInput::Build(request) => request.mends.as_ref().unwrap(),
        RunInput::Execution => panic!("not a build"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_execution_is_mended_by_a_build_that_becomes_the_next_version() {
    let (server, world, first) = deployed(mends, 1).await;
    world.write("texts/more/b.txt", "three\n");
    let failed = run(&world).await;
    assert_eq!(failed.status.word(), "failed");
    let build = repair(&world, &first, 1).await;
    let story = world.story(&build.id).await;
    assert_eq!(
        phase(&build),
        &Phase::Completed { deployed: true },
        "{story}"
    );
    assert_eq!(build.label.as_str(), "repair-count-words");
    // Linked both ways.
    assert_eq!(
        (&mended(&build).execution, mended(&build).version),
        (&failed.id, 1)
    );
    let told = world.story(&failed.id).await;
    assert!(
        told.contains("repair.started execute: the build repair-count-words"),
        "{told}"
    );
    // The failure was the evidence, and the code that failed was the beginning.
    let asked_to_mend: Vec<Question> = server
        .requests()
        .into_iter()
        .filter(|question| asked(question) == Asked::Repair)
        .collect();
    let told = said(&asked_to_mend[0]);
    assert!(
        told.contains("version 1 failed when it ran for real"),
        "{told}"
    );
    assert_eq!(
        facts(&build).tried[0].code,
        facts(&first).code.clone().unwrap()
    );
    assert_eq!(facts(&build).version, Some(2));
    let kept = world.store.artifacts(&scope(), &build.id).await.unwrap();
    assert!(kept.iter().any(|kept| kept.name == "failure-0.txt"));
    // The same spec, so the same permission; the next run is well.
    assert_eq!(facts(&build).spec, facts(&first).spec);
    let again = run(&world).await;
    assert_eq!(
        again.status.word(),
        "completed",
        "{}",
        world.story(&again.id).await
    );
    replayed_the_same(&world, &build).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_could_not_be_mended_starts_nothing_again_and_all_together_are_bounded() {
    // The coder changes nothing, whatever it is told.
    let stubborn = |question: &Question| match asked(question) {
        Asked::Repair => writes(question, wish_of(question).good),
        _ => faultless(question),
    };
    let (_server, world, first) = deployed(stubborn, 2).await;
    let name = name();
    world.write("texts/more/b.txt", "three\n");
    let one = run(&world).await;
    let (class, reason) = failure(&repair(&world, &first, 1).await);
    assert_eq!(class, FailureClass::Tests);
    assert!(
        reason.contains("exit code 1") && reason.contains("changed nothing"),
        "{reason}"
    );
    let same = run(&world).await;
    // Another failure: the next repair build is for it, not for the one before.
    std::fs::remove_dir_all(world.home().join("texts/more")).unwrap();
    std::fs::write(world.home().join("texts/c.txt"), [0xff, 0xfe, 0xfd]).unwrap();
    let other = run(&world).await;
    let second = repair(&world, &first, 2).await;
    assert_eq!(mended(&second).execution, other.id);
    assert!(mended(&second).reason.contains("UnicodeDecodeError"));
    assert!(!world.story(&same.id).await.contains("repair.started"));
    assert!(world.story(&one.id).await.contains("repair.started"));
    // A third kind of failure, and no third build: two are allowed.
    std::fs::write(world.home().join("texts/c.txt"), "x").unwrap();
    std::fs::create_dir(world.home().join("counts/words.json")).unwrap();
    for _ in 0..2 {
        let failed = run(&world).await;
        assert_eq!(failed.status.word(), "failed");
    }
    let row = world.runtime.status(&scope(), &name).await.unwrap().row;
    assert_eq!((row.active_version, row.failures_in_a_row), (1, 5));
    let filter = RunFilter {
        kind: Some(RunKind::Build),
        label: Some(second.label.clone()),
        ..RunFilter::default()
    };
    assert_eq!(world.store.runs(&scope(), filter).await.unwrap().len(), 2);
    world.end().await;
}

/// Why a repair of version `version` of a deployment is refused.
async fn refused(world: &World, name: &Slug, version: u32) -> String {
    let request = BuildRequest {
        changes: Some(name.clone()),
        mends: Some(Mends {
            execution: RunId::new("gone"),
            version,
            reason: "it ended with exit code 1".to_owned(),
            failure: of_bytes(b"it"),
            before: Vec::new(),
        }),
        ..world.request("repair it")
    };
    let id = world.submit(request, auto()).await;
    let (class, reason) = failure(&world.settled(&id).await);
    assert_eq!(class, FailureClass::Refused, "{reason}");
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_model_can_mend_is_refused_with_the_reason() {
    let (_server, world, _) = deployed(faultless, 0).await;
    let reason = refused(&world, &name(), 7).await;
    assert!(
        reason.contains("version 7 of count-words failed, and version 1 is active now"),
        "{reason}"
    );
    let gone = Slug::parse("gone").unwrap();
    let reason = refused(&world, &gone, 1).await;
    assert!(reason.contains("nothing to repair any more"), "{reason}");
    world.write("notes/a.txt", "one\n");
    let by_hand = world.build(
        "every night, keep a zip of the folder ./notes in ./backups",
        auto(),
    );
    let by_foundation = facts(&by_hand.await).name.clone().unwrap();
    let reason = refused(&world, &by_foundation, 1).await;
    assert!(
        reason.contains("no model, cannot repair") && reason.contains("foundation folder-backup"),
        "{reason}"
    );
    let world = world.restarted().await;
    let reason = refused(&world, &name(), 1).await;
    assert!(
        reason.contains("no model, cannot repair: count-words") && reason.contains("doctor"),
        "{reason}"
    );
    world.end().await;
}
