//! The real Codex in the real sandbox, against a scripted server behind the real relay.

use std::sync::Arc;
use std::time::Duration;

use agentwright_agent::{CoderError, CoderLimit, Codex};
use agentwright_llm::{Kind, Wire};
use agentwright_testkit::model_server::{Fault, ModelServer, Question, Step};
use serde_json::json;

use crate::support::{CANARY, Counting, KEY, Place, alive, real, task, upstream, within};

async fn codex(
    program: std::path::PathBuf,
    calls: usize,
    script: impl FnMut(&Question) -> Step + Send + 'static,
) -> (ModelServer, Arc<Counting>, Codex) {
    let server = ModelServer::start(script).await;
    let meter = Counting::up_to(calls);
    let coder = Codex::new(
        "codex",
        program,
        upstream(&server, Wire::OpenaiResponses, meter.clone()),
    );
    (server, meter, coder)
}

/// A command in whichever form this version takes it.
fn shell(question: &Question, script: &str) -> Step {
    if question.has_tool("exec_command") {
        Step::tool(
            "exec_command",
            json!({"cmd": script, "yield_time_ms": 2000}),
        )
    } else {
        Step::tool("shell", json!({"command": ["bash", "-c", script]}))
    }
}

#[tokio::test]
async fn real_codex_writes_and_runs_inside_and_cannot_reach_outside() {
    let Some(program) = real("codex") else { return };
    let place = Place::new();
    let word = "agent-test-daemon-codex";
    // It refuses `rm -rf` by itself; the walls must not depend on that.
    let mischief = format!(
        "python3 main.py > out.txt; echo hacked > spec.json; find acceptance .git -delete; echo x > /etc/evil; \
         env | grep -c -e {KEY} -e RELAY_TOKEN > leak.txt; \
         setsid bash -c 'exec -a {word} sleep 600' > /dev/null 2>&1 & echo started; printf {CANARY}"
    );
    let (server, meter, coder) = codex(program, 20, move |question| match question.results.len() {
        0 => shell(question, "printf 'print(\"made\")\\n' > main.py"),
        1 => shell(question, &mischief),
        _ => Step::text("I wrote main.py."),
    })
    .await;
    let written = place
        .run(&coder, &task("Print the word made."))
        .await
        .unwrap();
    assert_eq!(written.says, "I wrote main.py.");
    assert_eq!(place.names(), ["leak.txt", "main.py", "out.txt"]);
    assert_eq!(
        (
            place.text("out.txt").as_str(),
            place.text("leak.txt").as_str()
        ),
        ("made\n", "0\n")
    );
    place.assert_sealed();
    assert_eq!(alive(word), 0, "nothing is left running");
    let asked = server.requests();
    assert!(
        asked
            .iter()
            .all(|q| q.key() == Some(KEY) && q.model == "gpt-5")
    );
    assert_eq!(meter.assert_even(), asked.len());
    assert!(written.usage.output.is_some_and(|tokens| tokens >= 15));
    let transcript = String::from_utf8(written.transcript).unwrap();
    assert!(transcript.contains("command_execution") && !transcript.contains(CANARY));
}

#[tokio::test]
async fn real_codex_that_does_nothing_leaves_nothing_whatever_it_says() {
    let Some(program) = real("codex") else { return };
    let place = Place::new();
    let (_server, _, coder) = codex(program, 20, |_| {
        Step::text("Everything is done and tested.")
    })
    .await;
    let written = place.run(&coder, &task("x")).await.unwrap();
    assert_eq!(written.says, "Everything is done and tested.");
    assert!(place.names().is_empty());
}

#[tokio::test]
async fn real_codex_is_ended_by_our_clock_when_the_model_hangs() {
    let Some(program) = real("codex") else { return };
    let place = Place::new();
    let (_server, meter, coder) = codex(program, 20, |_| Step::fault(Fault::Hang)).await;
    let started = std::time::Instant::now();
    let error = place
        .run(&coder, &within(task("x"), Duration::from_secs(8)))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, CoderError::Limit(CoderLimit::Wall)),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(meter.assert_even(), 1);
}

#[tokio::test]
async fn real_codex_stops_when_turns_budget_or_key_say_no() {
    let Some(program) = real("codex") else { return };
    let place = Place::new();
    let busy = |question: &Question| shell(question, &format!("echo {}", question.number));
    let (server, _, coder) = codex(program.clone(), 20, busy).await;
    let mut few = task("x");
    few.limits.turns = 2;
    let error = place.run(&coder, &few).await.err().unwrap();
    assert!(
        matches!(error, CoderError::Limit(CoderLimit::Turns)),
        "{error}"
    );
    assert_eq!(
        server.requests().len(),
        2,
        "it has no limit of turns; the relay has"
    );
    let (_server, meter, coder) = codex(program.clone(), 1, busy).await;
    match place.run(&coder, &task("x")).await {
        Err(CoderError::Model(error)) => assert_eq!(error.kind, Kind::Refused, "{error}"),
        other => panic!("{other:?}"),
    }
    meter.assert_even();
    let (_server, _, coder) = codex(program, 20, |_| Step::fault(Fault::Unauthorized)).await;
    match place.run(&coder, &task("x")).await {
        Err(CoderError::Model(error)) => assert_eq!(error.kind, Kind::Auth, "{error}"),
        other => panic!("{other:?}"),
    }
}
