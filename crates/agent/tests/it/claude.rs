//! The real Claude Code in the real sandbox, against a scripted server behind the real relay.

use std::time::Duration;

use agentwright_agent::{Claude, CoderError, CoderLimit};
use agentwright_llm::{Kind, Wire};
use agentwright_testkit::model_server::{Fault, ModelServer, Question, Step};
use serde_json::json;

use crate::support::{CANARY, Counting, KEY, Place, alive, real, task, upstream, within};

/// A coder over a server that answers by script.
async fn claude(
    program: std::path::PathBuf,
    calls: usize,
    script: impl FnMut(&Question) -> Step + Send + 'static,
) -> (ModelServer, std::sync::Arc<Counting>, Claude) {
    let server = ModelServer::start(script).await;
    let meter = Counting::up_to(calls);
    let coder = Claude::new(
        "claude",
        program,
        upstream(&server, Wire::Anthropic, meter.clone()),
    );
    (server, meter, coder)
}

#[tokio::test]
async fn real_claude_writes_and_runs_inside_and_is_denied_outside_and_on_protected_files() {
    let Some(program) = real("claude") else {
        return;
    };
    let place = Place::new();
    let word = "agent-test-daemon-claude";
    let mischief = format!(
        "python3 main.py > out.txt; echo hacked > spec.json; rm -rf acceptance .git; env | grep -c {KEY} > leak.txt; \
         setsid bash -c 'exec -a {word} sleep 600' > /dev/null 2>&1 & echo started; printf {CANARY}"
    );
    let (server, meter, coder) =
        claude(program, 20, move |question| match question.results.len() {
            0 => Step::tool(
                "Write",
                json!({"file_path": "/app/main.py", "content": "print('made')\n"}),
            ),
            1 => Step::tool("Write", json!({"file_path": "/etc/evil", "content": "x"})),
            2 => Step::tool(
                "Write",
                json!({"file_path": "/app/acceptance/new.toml", "content": "x"}),
            ),
            3 => Step::tool(
                "Bash",
                json!({"command": mischief, "description": "Runs it"}),
            ),
            _ => Step::text("I wrote main.py and it works."),
        })
        .await;
    let written = place
        .run(&coder, &task("Print the word made."))
        .await
        .unwrap();
    assert_eq!(written.says, "I wrote main.py and it works.");
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
            .all(|q| q.key() == Some(KEY) && q.model == "claude-sonnet-4-5-20250929")
    );
    let results = &asked.last().unwrap().results;
    assert!(!results[0].is_error, "{results:?}");
    assert!(
        results[1].is_error && results[1].content.contains("outside"),
        "{results:?}"
    );
    assert!(
        results[2].is_error && results[2].content.contains("protected"),
        "{results:?}"
    );
    assert_eq!(meter.assert_even(), asked.len());
    assert!(written.usage.output.is_some_and(|tokens| tokens >= 25));
    let settled = meter.settled.lock().unwrap();
    assert!(
        settled
            .iter()
            .all(|call| call.error.is_none() && call.cost_micro_usd.is_some())
    );
    let transcript = String::from_utf8(written.transcript).unwrap();
    assert!(transcript.contains("can_use_tool") && !transcript.contains(CANARY));
}

#[tokio::test]
async fn real_claude_that_does_nothing_leaves_nothing_whatever_it_says() {
    let Some(program) = real("claude") else {
        return;
    };
    let place = Place::new();
    let (_server, _, coder) = claude(program, 20, |_| {
        Step::text("Everything is done and tested.")
    })
    .await;
    let written = place.run(&coder, &task("x")).await.unwrap();
    assert_eq!(written.turns, 1);
    assert!(place.names().is_empty());
}

#[tokio::test]
async fn real_claude_is_ended_by_our_clock_when_the_model_hangs_or_drips() {
    let Some(program) = real("claude") else {
        return;
    };
    for fault in [Fault::Hang, Fault::Drip(Duration::from_secs(1))] {
        let place = Place::new();
        let (server, meter, coder) =
            claude(program.clone(), 20, move |_| Step::fault(fault.clone())).await;
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
        assert_eq!(server.requests().len(), 1);
        assert_eq!(
            meter.assert_even(),
            1,
            "a call that nobody heard the end of is settled"
        );
    }
}

#[tokio::test]
async fn real_claude_stops_when_the_budget_the_key_or_the_quota_says_no() {
    let Some(program) = real("claude") else {
        return;
    };
    let busy = |question: &Question| {
        Step::tool(
            "Bash",
            json!({"command": format!("echo {}", question.number)}),
        )
    };
    let place = Place::new();
    let (_server, meter, coder) = claude(program.clone(), 1, busy).await;
    match place.run(&coder, &task("x")).await {
        Err(CoderError::Model(error)) => {
            assert_eq!(error.kind, Kind::Refused);
            assert!(
                error.to_string().contains("the day's budget is spent"),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(meter.assert_even(), 1);
    for (fault, kind) in [
        (Fault::Unauthorized, Kind::Auth),
        (Fault::UnknownModel, Kind::UnknownModel),
        (
            Fault::RateLimited {
                retry_after: Some(3600),
            },
            Kind::RateLimited,
        ),
    ] {
        let (_server, meter, coder) =
            claude(program.clone(), 20, move |_| Step::fault(fault.clone())).await;
        match place.run(&coder, &task("x")).await {
            Err(CoderError::Model(error)) => assert_eq!(error.kind, kind, "{error}"),
            other => panic!("{kind}: {other:?}"),
        }
        meter.assert_even();
    }
}

#[tokio::test]
async fn real_claude_stops_after_its_turns() {
    let Some(program) = real("claude") else {
        return;
    };
    let place = Place::new();
    let busy = |question: &Question| {
        Step::tool(
            "Bash",
            json!({"command": format!("echo {}", question.number)}),
        )
    };
    let (server, _, coder) = claude(program, 20, busy).await;
    let mut few = task("x");
    few.limits.turns = 2;
    let error = place.run(&coder, &few).await.err().unwrap();
    assert!(
        matches!(error, CoderError::Limit(CoderLimit::Turns)),
        "{error}"
    );
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named_with_what_to_do() {
    let place = Place::new();
    let (_server, _, coder) = claude("/nowhere/claude".into(), 1, |_| Step::text("x")).await;
    let error = place.run(&coder, &task("x")).await.err().unwrap();
    assert!(matches!(error, CoderError::NotInstalled { .. }));
    assert!(
        error.to_string().contains("/nowhere/claude") && error.to_string().contains("install it")
    );
}
