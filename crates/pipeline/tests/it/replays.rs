//! A replay says where it differs from the build that was recorded.

use crate::author::{Asked, asked, author, faultless, lay_out, proposal, settings, writes};
use crate::models::{replay_of, replayed_the_same};
use crate::support::{World, auto, failure, phase, scope};
use crate::wishes::wish;
use agentwright_domain::build::{ApprovalMode, BuildPolicy, FailureClass, Phase};
use agentwright_domain::ids::ApprovalId;
use agentwright_domain::run::{Decision, Run, RunInput, Signal};
use agentwright_engine::{Executor, Handle};
use agentwright_llm::Wire;
use agentwright_pipeline::Builds;
use agentwright_runtime::Runtime;
use agentwright_testkit::model_server::{ModelServer, Question, Step};
use agentwright_verify::draw_all;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

const WISH: &str = "unique-lines";

async fn recorded() -> (ModelServer, World, Run) {
    let server = ModelServer::start(author).await;
    let world = World::modelled(settings(&server, Wire::OllamaGenerate)).await;
    lay_out(&world, wish(WISH));
    let run = world.build(wish(WISH).sentence, auto()).await;
    let story = world.story(&run.id).await;
    assert_eq!(phase(&run), &Phase::Completed { deployed: true }, "{story}");
    (server, world, run)
}

fn record(world: &World, run: &Run, name: &str) -> PathBuf {
    world
        .runtime
        .layout()
        .build(&run.id)
        .join("replay")
        .join(name)
}

/// How a replay fails after the record was changed.
async fn differs(change: impl FnOnce(&World, &Run)) -> String {
    let (server, world, run) = recorded().await;
    let calls = server.requests().len();
    change(&world, &run);
    let id = replay_of(&world, &run).await;
    let (class, reason) = failure(&world.settled(&id).await);
    assert!(
        matches!(class, FailureClass::Tests | FailureClass::Fault),
        "{class:?}: {reason}"
    );
    assert_eq!(server.requests().len(), calls);
    world.end().await;
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_record_is_named_with_its_place() {
    let edit = |name: &'static str, from: &'static str, to: &'static str| {
        move |world: &World, run: &Run| {
            let path = record(world, run, name);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            std::fs::write(path, text.replace(from, to)).unwrap();
        }
    };
    let reason = differs(edit(
        "calls-generate-1.jsonl",
        "Write the automation",
        "Forget the automation",
    ))
    .await;
    assert!(
        reason.contains("calls-generate-1.jsonl: line 1 of the cassette"),
        "{reason}"
    );
    let reason = differs(edit("surroundings-1.json", "[]", "[\"other\"]")).await;
    assert!(
        reason.contains("it differs: test was asked what was not recorded"),
        "{reason}"
    );
    assert!(
        reason.contains("recorded question 1 at /messages/0/parts/0/text"),
        "{reason}"
    );
    let reason =
        differs(|world, run| std::fs::remove_file(record(world, run, "seed-1")).unwrap()).await;
    assert!(
        reason.contains("it differs") && reason.contains("seed-1"),
        "{reason}"
    );
    let reason = differs(|world, run| {
        std::fs::remove_file(record(world, run, "calls-generate-2.jsonl")).unwrap();
    })
    .await;
    assert!(
        reason.contains("it differs") && reason.contains("all 0 recorded answers are used"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_changed_in_the_record_gives_other_files_and_is_named() {
    let reason = differs(|world, run| {
        let path = record(world, run, "calls-generate-2.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(
            path,
            text.replace("dict.fromkeys(lines)", "dict.fromkeys( lines)"),
        )
        .unwrap();
    })
    .await;
    assert!(
        reason.contains("it differs") && reason.contains("other files"),
        "{reason}"
    );
}

/// Takes away, for the first try of each stage, the place where it would work.
struct Roomless {
    builds: Builds,
    runtime: Arc<OnceLock<Runtime>>,
}

#[async_trait::async_trait]
impl Executor for Roomless {
    async fn execute(&self, run: &Run, handle: &Handle) -> Signal {
        let directory = self.runtime.get().unwrap().layout().build(&run.id);
        let scratch = directory.join("scratch");
        let replay = matches!(&run.input, RunInput::Build(request) if request.replays.is_some());
        if run.state.attempt() > 1 || replay {
            return self.builds.execute(run, handle).await;
        }
        std::fs::create_dir_all(&directory).unwrap();
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::write(&scratch, "in the way").unwrap();
        let signal = self.builds.execute(run, handle).await;
        std::fs::remove_file(&scratch).unwrap();
        signal
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_that_failed_for_the_machines_sake_are_replayed_as_the_same_tries() {
    let server = ModelServer::start(author).await;
    let runtime = Arc::new(OnceLock::new());
    let known = Arc::clone(&runtime);
    let wrap = |builds| -> Arc<dyn Executor> { Arc::new(Roomless { builds, runtime }) };
    let world = World::modelled_with(settings(&server, Wire::OllamaGenerate), wrap).await;
    known.set(world.runtime.clone()).ok().unwrap();
    lay_out(&world, wish(WISH));
    let run = world.build(wish(WISH).sentence, auto()).await;
    let story = world.story(&run.id).await;
    assert_eq!(phase(&run), &Phase::Completed { deployed: true }, "{story}");
    assert!(
        record(&world, &run, "failed-spec-1.txt").exists(),
        "{story}"
    );
    assert!(
        record(&world, &run, "calls-spec-2.jsonl").exists(),
        "{story}"
    );
    assert!(
        !record(&world, &run, "calls-spec-1.jsonl").exists(),
        "{story}"
    );
    replayed_the_same(&world, &run).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_can_be_replayed_without_a_provider_or_a_key() {
    let (server, world, run) = recorded().await;
    drop(server);
    replayed_the_same(&world, &run).await;
    let id = replay_of(&world, &run).await;
    let again = world.settled(&id).await;
    replayed_the_same(&world, &again).await;
    world.end().await;
}

/// A spec whose effect already holds, but not with the values of the trial when it is sealed.
fn wrong(base: &str) -> Value {
    let mut spec = (wish(WISH).spec)(base);
    let draw = json!({ "n": { "type": "int", "min": 1, "max": 1_000_000_000 } });
    let how = serde_json::from_value(draw.clone()).unwrap();
    let trial = |seed| draw_all(&how, [seed; 32]).unwrap()["n"].clone();
    let acceptance = &mut spec["acceptance"];
    acceptance["draw"] = draw;
    let path = format!(
        "{{% if draw.n in [{}, {}] %}}in{{% else %}}out{{% endif %}}.txt",
        trial(1),
        trial(2)
    );
    let fixtures =
        json!([{ "type": "file", "folder": "lists", "path": path, "content": "a\na\n" }]);
    let check = json!({ "type": "file_exists", "folder": "lists", "path": "out.txt" });
    acceptance["smoke"]["fixtures"] = fixtures.clone();
    acceptance["cases"][0]["fixtures"] = fixtures;
    acceptance["cases"][0]["probes"] =
        json!([{ "name": "effect 1", "holds": "effect", "check": check }]);
    spec
}

/// A wrong spec first, a good one when it is told so.
fn amending(question: &Question) -> Step {
    let told =
        crate::author::said(question).contains("An earlier spec for this sentence proved wrong");
    match asked(question) {
        Asked::Spec if !told => proposal(&wrong(&crate::author::base(question))),
        Asked::Code if crate::author::said(question).contains("out.txt") => {
            writes(question, "print(1)\n")
        }
        _ => faultless(question),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_proves_wrong_is_made_anew_and_shown_to_a_person() {
    let server = ModelServer::start(amending).await;
    let world = World::modelled(settings(&server, Wire::Anthropic)).await;
    lay_out(&world, wish(WISH));
    let policy = BuildPolicy::new(ApprovalMode::Final);
    let run = world.build(wish(WISH).sentence, policy).await;
    let story = world.story(&run.id).await;
    let Phase::Gate { gate, reasons, .. } = phase(&run) else {
        panic!("{story}")
    };
    assert_eq!(gate.word(), "spec");
    assert!(
        format!("{reasons:?}").contains("already holds before anything ran"),
        "{reasons:?}"
    );
    for number in ["1", "2"] {
        let yes = Signal::Decided(Decision {
            id: ApprovalId::new(format!("approval-{number}")),
            approved: true,
            by: "ann".into(),
            notes: None,
            subject: None,
        });
        world
            .engine
            .signal(&scope(), &run.id, yes, None)
            .await
            .unwrap();
        world.settled(&run.id).await;
    }
    let run = world.settled(&run.id).await;
    let story = world.story(&run.id).await;
    assert_eq!(phase(&run), &Phase::Completed { deployed: true }, "{story}");
    // What was answered about the first spec is still there, and a replay asks no person.
    for name in ["calls-spec-1.jsonl", "amended-calls-spec-1.jsonl"] {
        assert!(record(&world, &run, name).is_file(), "{name}");
    }
    let asked = server.requests().len();
    replayed_the_same(&world, &run).await;
    assert_eq!(server.requests().len(), asked);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_proves_wrong_ends_a_build_that_asks_nobody() {
    let server = ModelServer::start(amending).await;
    let world = World::modelled(settings(&server, Wire::Anthropic)).await;
    lay_out(&world, wish(WISH));
    let run = world.build(wish(WISH).sentence, auto()).await;
    let (class, reason) = failure(&run);
    assert_eq!(class, FailureClass::Tests);
    assert!(
        reason.contains("the spec is wrong") && reason.contains("already holds"),
        "{reason}"
    );
    world.end().await;
}
