//! Intents that no foundation covers, built by models: over every wire and by every coder.

use crate::author::{KEY, asked, author, coder, lay_out, settings};
use crate::model_gates::holding;
use crate::support::{World, auto, facts, phase, scope};
use crate::wishes::{WISHES, Wish, wish};
use agentwright_domain::build::{BuildPolicy, BuildRequest, Oversight, Phase};
use agentwright_domain::ids::RunId;
use agentwright_domain::run::Run;
use agentwright_llm::Wire;
use agentwright_pipeline::{CoderKind, ModelSettings, Verdict};
use agentwright_store::{CostRow, CostsBy, TestResultRow};
use agentwright_testkit::model_server::ModelServer;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A world whose models are a server with the scripted author.
async fn authored(wire: Wire, change: impl FnOnce(&mut ModelSettings)) -> (ModelServer, World) {
    let server = ModelServer::start(author).await;
    if !wire.is_ollama() {
        server.require_key(KEY);
    }
    let mut settings = settings(&server, wire);
    change(&mut settings);
    (server, World::modelled(settings).await)
}

/// Builds wishes at the same time, checks each, and replays each.
async fn built(server: &ModelServer, world: &World, wishes: &[&Wish]) {
    let mut ids = Vec::new();
    for wish in wishes {
        lay_out(world, wish);
        ids.push(world.submit(world.request(wish.sentence), auto()).await);
    }
    let mut runs = Vec::new();
    for (id, wish) in ids.iter().zip(wishes) {
        let run = world.settled(id).await;
        repaired_once_and_deployed(world, wish, &run).await;
        runs.push(run);
    }
    let asked = server.requests().len();
    for run in &runs {
        replayed_the_same(world, run).await;
    }
    assert_eq!(
        server.requests().len(),
        asked,
        "a replay asked the provider"
    );
    let told = holding(world.dir.path(), KEY);
    assert_eq!(told, [""; 0], "the key is kept");
}

async fn repaired_once_and_deployed(world: &World, wish: &Wish, run: &Run) {
    let story = world.story(&run.id).await;
    assert_eq!(phase(run), &Phase::Completed { deployed: true }, "{story}");
    let facts = facts(run);
    let name = facts.name.clone().unwrap();
    assert_eq!(name.as_str(), wish.name);
    assert!(facts.coder.is_some() && facts.tried.len() == 1, "{story}");
    let code = facts.code.clone().unwrap();
    assert_ne!(code, facts.tried[0].code);
    assert_eq!(facts.oversight, Oversight::Passed { code }, "{story}");
    assert!(world.runtime.status(&scope(), &name).await.unwrap().granted);
    let costs = costs(world, run).await;
    let roles: BTreeSet<&str> = costs.iter().map(|row| row.key.as_str()).collect();
    assert_eq!(roles, BTreeSet::from(["code", "repair", "review", "spec"]));
    assert!(
        costs
            .iter()
            .all(|row| row.calls > 0 && row.output_tokens > 0)
    );
    assert!(
        costs.iter().all(|row| row.reserved_micro_usd == 0),
        "{costs:?}"
    );
    let kept = world.store.artifacts(&scope(), &run.id).await.unwrap();
    let kept: BTreeSet<&str> = kept.iter().map(|kept| kept.name.as_str()).collect();
    for name in [
        "calls-spec-1.jsonl",
        "calls-review-1.jsonl",
        "calls-review-3.jsonl",
        "transcript-1.jsonl",
        "transcript-2.jsonl",
        "failure-1.txt",
    ] {
        assert!(kept.contains(name), "{name} is not among {kept:?}");
    }
}

/// The record of a build gives the same files and verdicts again, without a call and without a cost.
pub(crate) async fn replayed_the_same(world: &World, old: &Run) {
    let run = replay(world, old).await;
    let story = world.story(&run.id).await;
    assert_eq!(
        phase(&run),
        &Phase::Completed { deployed: false },
        "{story}"
    );
    let (was, is) = (facts(old), facts(&run));
    assert_eq!((&was.spec, &was.code), (&is.spec, &is.code), "{story}");
    assert_eq!((&was.tried, &was.oversight), (&is.tried, &is.oversight));
    assert_eq!(verdicts(world, old).await, verdicts(world, &run).await);
    assert!(costs(world, &run).await.is_empty());
}

async fn costs(world: &World, run: &Run) -> Vec<CostRow> {
    let of = Some(&run.id);
    world
        .store
        .costs(&scope(), CostsBy::Role, 0, of)
        .await
        .unwrap()
}

async fn replay(world: &World, old: &Run) -> Run {
    let id = replay_of(world, old).await;
    world.settled(&id).await
}

/// Submits a replay.
pub(crate) async fn replay_of(world: &World, old: &Run) -> RunId {
    let request = match &old.input {
        agentwright_domain::run::RunInput::Build(request) => request.clone(),
        other => panic!("not a build: {other:?}"),
    };
    let request = BuildRequest {
        replays: Some(old.id.clone()),
        ..request
    };
    let mode = match &old.state {
        agentwright_domain::run::RunState::Build(state) => state.policy.mode,
        other => panic!("not a build: {other:?}"),
    };
    let policy = BuildPolicy {
        auto_deploy: false,
        ..BuildPolicy::new(mode)
    };
    world.submit(request, policy).await
}

async fn verdicts(world: &World, run: &Run) -> Vec<String> {
    let results = world.store.test_results(&scope(), &run.id).await.unwrap();
    let line = |row: &TestResultRow| {
        let result = &row.result;
        let (level, summary) = (result.level.word(), &result.summary);
        format!("{} {level} {:?} {summary}", row.attempt, result.verdict)
    };
    results.iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_foundation_covers_the_ten_wishes_and_a_model_would_be_asked() {
    let world = World::new().await;
    for wish in &WISHES {
        lay_out(&world, wish);
        let request = world.request(wish.sentence);
        let plan = world.builds.plan(&scope(), &request).await.unwrap();
        assert_eq!(plan.verdict, Verdict::Refused, "{}", wish.sentence);
        assert_eq!(plan.foundation, None, "{}", wish.sentence);
    }
    world.end().await;
    let (_server, world) = authored(Wire::Anthropic, |_| ()).await;
    for wish in &WISHES {
        lay_out(&world, wish);
        let request = world.request(wish.sentence);
        let plan = world.builds.plan(&scope(), &request).await.unwrap();
        assert_eq!(plan.verdict, Verdict::Model, "{}", wish.sentence);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_wishes_are_built_repaired_once_deployed_and_replayed() {
    let (server, world) = authored(Wire::Anthropic, |_| ()).await;
    let all: Vec<&Wish> = WISHES.iter().collect();
    built(&server, &world, &all).await;
    // One name for each kind of question: spec, code, repair and review, of each wish.
    let kinds: BTreeSet<String> = server
        .requests()
        .iter()
        .map(|question| {
            format!(
                "{:?} {}",
                asked(question),
                crate::author::wish_of(question).name
            )
        })
        .collect();
    assert_eq!(kinds.len(), 40);
    world.end().await;
}

/// Two wishes: one whose code does the wrong thing, one whose code does not even parse. All ten with
/// `AGENTWRIGHT_MATRIX=full`, which makes of these tests every provider and every coder times every wish.
async fn two(wire: Wire, names: [&str; 2], change: impl FnOnce(&mut ModelSettings)) {
    let full = std::env::var_os("AGENTWRIGHT_MATRIX").is_some_and(|value| value == "full");
    let wishes: Vec<&Wish> = if full {
        WISHES.iter().collect()
    } else {
        names.map(wish).to_vec()
    };
    let (server, world) = authored(wire, change).await;
    for pair in wishes.chunks(2) {
        built(&server, &world, pair).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_are_built_over_ollama_generate() {
    two(Wire::OllamaGenerate, ["count-words", "split-book"], |_| ()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_are_built_over_ollama_chat() {
    two(Wire::OllamaChat, ["months", "title-index"], |_| ()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_are_built_over_openai_chat() {
    two(Wire::OpenaiChat, ["checksums", "split-book"], |_| ()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_are_built_over_openai_responses() {
    two(
        Wire::OpenaiResponses,
        ["compare-folders", "title-index"],
        |_| (),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_are_built_in_one_shot_and_with_tools() {
    for kind in [CoderKind::OneShot, CoderKind::ToolLoop] {
        two(
            Wire::OpenaiChat,
            ["unique-lines", "split-book"],
            |settings| {
                settings.coder = coder(kind, None);
            },
        )
        .await;
    }
}

/// Where the real agent is, if it is installed; else says so.
fn installed(program: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_BIN_EXE_pipeline-init"));
    let tools = std::env::var_os("AGENTWRIGHT_TOOLS").map_or_else(
        || beside.ancestors().nth(2).unwrap().join("tools"),
        PathBuf::from,
    );
    let path = tools.join(program);
    if path.is_file() {
        return Some(path);
    }
    println!(
        "SKIPPED: {program} is not installed, its tests did not run; scripts/agents.sh installs it"
    );
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_are_built_by_the_real_claude() {
    let Some(program) = installed("claude") else {
        return;
    };
    two(
        Wire::Anthropic,
        ["settings-to-json", "split-book"],
        |settings| {
            settings.coder = coder(CoderKind::Claude, Some(program));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_are_built_by_the_real_codex() {
    let Some(program) = installed("codex") else {
        return;
    };
    two(
        Wire::OpenaiResponses,
        ["number-photos", "split-book"],
        |settings| {
            settings.coder = coder(CoderKind::Codex, Some(program));
        },
    )
    .await;
}

/// A small agent that speaks ACP: asks the relay what it was asked, and writes the one file of the answer.
const AGENT: &str = r#"#!/usr/bin/env python3
import json, os, sys, urllib.request
def read():
    line = sys.stdin.readline()
    return json.loads(line) if line else sys.exit(0)
def say(**m): print(json.dumps({"jsonrpc": "2.0", **m}), flush=True)
m = read(); say(id=m["id"], result={"protocolVersion": 1, "agentCapabilities": {}})
m = read(); say(id=m["id"], result={"sessionId": "s1"})
prompt = read()
asked = prompt["params"]["prompt"][0]["text"]
body = {"model": "any", "max_tokens": 4000, "messages": [{"role": "user", "content": asked}]}
headers = {"x-api-key": os.environ["MODEL_KEY"], "content-type": "application/json"}
url = os.environ["MODEL_URL"] + "/v1/messages"
answer = json.load(urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)))
text = answer["content"][0]["text"]
code = text.split("```python main.py\n")[1].split("```")[0]
say(id=7, method="fs/write_text_file", params={"sessionId": "s1", "path": "/app/main.py", "content": code})
read()
say(id=prompt["id"], result={"stopReason": "end_turn"})
"#;

#[tokio::test(flavor = "multi_thread")]
async fn wishes_are_built_by_an_agent_that_speaks_acp() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().canonicalize().unwrap().join("agent.py");
    std::fs::write(&program, AGENT).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    two(
        Wire::Anthropic,
        ["unique-lines", "split-book"],
        |settings| {
            settings.coder = coder(CoderKind::Acp, Some(program));
            let variables = [("MODEL_URL", "{relay}"), ("MODEL_KEY", "{token}")];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            settings.coder.environment = variables.into();
        },
    )
    .await;
}
