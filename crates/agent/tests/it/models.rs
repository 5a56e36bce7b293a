//! The coders that ask a model by themselves: one shot and the tool loop.

use std::sync::Arc;
use std::time::Duration;

use agentwright_agent::{Coder, CoderError, CoderLimit, MAX_REPEATS, OneShot, Silent, ToolLoop};
use agentwright_llm::{Kind, LlmError, Part, Request, ScriptedProvider, Step, Stop};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{CANARY, Place, alive, callers, task, within};

fn one_shot(provider: ScriptedProvider) -> (Arc<ScriptedProvider>, OneShot) {
    let provider = Arc::new(provider);
    let coder = OneShot::new("small", callers(&provider));
    (provider, coder)
}

fn tool_loop(provider: ScriptedProvider) -> (Arc<ScriptedProvider>, ToolLoop) {
    let provider = Arc::new(provider);
    let coder = ToolLoop::new("loop", callers(&provider));
    (provider, coder)
}

/// What the last tool answered.
fn last_result(request: &Request) -> (String, bool) {
    let parts = request.messages.iter().flat_map(|m| &m.parts);
    let mut result = parts.filter_map(|part| match part {
        Part::ToolResult {
            content, is_error, ..
        } => Some((content.clone(), *is_error)),
        _ => None,
    });
    result.next_back().unwrap_or_default()
}

#[tokio::test]
async fn one_shot_writes_the_files_of_the_answer_and_shows_the_model_what_was_there() {
    let place = Place::new();
    place.put("lib.py", "A = 1\n");
    let answer = format!(
        "```python main.py\nimport lib\nprint('{CANARY}')\n```\n\n```toml conf/a.toml\nx = 1\n```"
    );
    let (provider, coder) = one_shot(ScriptedProvider::new("p").then(Step::text(answer)));
    let written = place.run(&coder, &task("Print the number.")).await.unwrap();
    assert_eq!(place.names(), ["conf/a.toml", "lib.py", "main.py"]);
    assert_eq!((written.turns, written.usage.output), (1, Some(5)));
    let asked = &provider.requests()[0];
    let question = asked.messages[0].text();
    assert!(
        question.contains("Print the number.") && question.contains("```text lib.py\nA = 1\n```")
    );
    assert!(
        !question.contains("sealed"),
        "what is protected is the caller's to show"
    );
    assert!(asked.system.as_ref().unwrap().contains("spec.json"));
    let transcript = String::from_utf8(written.transcript).unwrap();
    assert!(
        transcript
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
    assert!(transcript.contains("main.py") && !transcript.contains(CANARY));
    place.assert_sealed();
}

#[tokio::test]
async fn one_shot_says_what_was_wrong_and_takes_the_better_answer() {
    let place = Place::new();
    let (provider, coder) = one_shot(
        ScriptedProvider::new("p")
            .then(Step::text("```json spec.json\n{}\n```"))
            .then(Step::text("I am not sure.\nReally."))
            .then(Step::text("```main.py\nprint(1)\n```")),
    );
    let written = place.run(&coder, &task("x")).await.unwrap();
    assert_eq!(
        (written.turns, place.names()),
        (3, vec!["main.py".to_owned()])
    );
    let again = provider.requests()[1].messages[2].text();
    assert!(
        again.contains("spec.json") && again.contains("protected"),
        "{again}"
    );
    place.assert_sealed();
}

#[tokio::test]
async fn one_shot_gives_up_with_the_reason_and_changes_nothing() {
    for (answer, expected) in [
        ("```../../x.py\nx\n```", "leads elsewhere"),
        ("no code at all", "holds no file"),
    ] {
        let place = Place::new();
        let (_, coder) = one_shot(ScriptedProvider::answering("p", move |_| {
            Step::text(answer)
        }));
        let error = place.run(&coder, &task("x")).await.err().unwrap();
        assert!(matches!(
            error,
            CoderError::BadOutput(_) | CoderError::NothingWritten(_)
        ));
        assert!(error.to_string().contains(expected), "{error}");
        assert!(place.names().is_empty());
    }
}

#[tokio::test]
async fn one_shot_takes_no_half_answer_and_passes_the_models_failures_on() {
    let cut = Step::text("```main.py\nprint(").with_stop(Stop::MaxTokens);
    let place = Place::new();
    let (_, coder) = one_shot(ScriptedProvider::new("p").then(cut));
    let error = place.run(&coder, &task("x")).await.err().unwrap();
    assert!(matches!(error, CoderError::Limit(CoderLimit::Tokens)));
    let parked = LlmError::new(Kind::RateLimited, "p", "come back")
        .with_retry_after(Duration::from_secs(3600));
    let (_, coder) = one_shot(ScriptedProvider::new("p").then(Step::failing(parked)));
    match place.run(&coder, &task("x")).await {
        Err(CoderError::Model(error)) => {
            assert_eq!(error.retry_after, Some(Duration::from_secs(3600)));
        }
        other => panic!("{other:?}"),
    }
    let (_, coder) = one_shot(ScriptedProvider::new("p").then(Step::hang()));
    let short = within(task("x"), Duration::from_millis(50));
    let error = place.run(&coder, &short).await.err().unwrap();
    assert!(
        matches!(error, CoderError::Limit(CoderLimit::Wall)),
        "{error}"
    );
    assert!(place.names().is_empty());
}

#[tokio::test]
async fn evidence_of_a_repair_reaches_the_model_trimmed() {
    let place = Place::new();
    let (provider, coder) =
        one_shot(ScriptedProvider::new("p").then(Step::text("```main.py\nx\n```")));
    let mut repair = task("Count files.");
    repair.attempt = 2;
    repair.evidence = Some(format!("expected 3, found 2{}", "y".repeat(100_000)));
    place.run(&coder, &repair).await.unwrap();
    let question = provider.requests()[0].messages[0].text();
    assert!(question.contains("expected 3, found 2") && question.contains("attempt 2"));
    assert!(question.len() < 40_000);
}

#[tokio::test]
async fn the_tool_loop_reads_writes_edits_searches_runs_and_is_done() {
    let place = Place::new();
    place.put("data.txt", "one\ntwo\nthree\n");
    let steps = [
        ("list", json!({})),
        ("read_file", json!({"path": "data.txt", "from_line": 2})),
        (
            "write_file",
            json!({"path": "src/main.py", "content": "import sys\nprint('helo')\n"}),
        ),
        (
            "edit",
            json!({"path": "src/main.py", "old": "helo", "new": "hello"}),
        ),
        ("search", json!({"pattern": "h.llo"})),
        (
            "run",
            json!({"command": "python3 src/main.py && cat spec.json"}),
        ),
        ("done", json!({"summary": "It prints hello."})),
    ];
    let mut provider = ScriptedProvider::new("p");
    for (name, arguments) in steps {
        provider = provider.then(Step::tool_calls([(name, arguments)]));
    }
    let (provider, coder) = tool_loop(provider);
    let written = place.run(&coder, &task("Say hello.")).await.unwrap();
    assert_eq!(
        (written.says.as_str(), written.turns),
        ("It prints hello.", 7)
    );
    assert_eq!(place.names(), ["data.txt", "src/main.py"]);
    let answers: Vec<String> = provider.requests()[1..]
        .iter()
        .map(|r| last_result(r).0)
        .collect();
    assert!(answers[0].contains("data.txt") && answers[0].contains("acceptance/probe.toml"));
    assert_eq!(answers[1], "two\nthree\n");
    assert_eq!(answers[4], "src/main.py:2: print('hello')");
    assert_eq!(
        answers[5],
        "exit code 0\n--- stdout\nhello\n{\"sealed\": true}\n"
    );
    place.assert_sealed();
}

#[tokio::test]
async fn what_a_model_gets_wrong_is_an_answer_for_it_and_not_an_error() {
    let place = Place::new();
    std::os::unix::fs::symlink("/etc", place.dir().join("etc")).unwrap();
    let wrong = [
        ("launch_missiles", json!({}), "there is no tool"),
        ("write_file", json!({"path": "a.py"}), "missing field"),
        (
            "write_file",
            json!({"path": "a.py", "content": 7}),
            "invalid type",
        ),
        (
            "write_file",
            json!({"path": "a.py", "content": "", "mode": 1}),
            "unknown field",
        ),
        (
            "write_file",
            json!({"path": "../a.py", "content": "x"}),
            "leads elsewhere",
        ),
        (
            "write_file",
            json!({"path": "/etc/x", "content": "x"}),
            "absolute",
        ),
        (
            "write_file",
            json!({"path": "etc/x", "content": "x"}),
            "cannot write",
        ),
        (
            "write_file",
            json!({"path": "spec.json", "content": "x"}),
            "protected",
        ),
        (
            "write_file",
            json!({"path": "acceptance/new.toml", "content": "x"}),
            "protected",
        ),
        (
            "write_file",
            json!({"path": "big", "content": "x".repeat(600_000)}),
            "may have",
        ),
        ("read_file", json!({"path": "etc/passwd"}), "cannot read"),
        ("read_file", json!({"path": "nothing"}), "cannot read"),
        (
            "edit",
            json!({"path": "spec.json", "old": "true", "new": "false"}),
            "protected",
        ),
        ("search", json!({"pattern": "("}), "pattern"),
        ("run", json!({"command": "a\u{0}b"}), "NUL"),
        ("run", json!(["ls"]), "arguments"),
    ];
    for (name, arguments, why) in wrong {
        let (provider, coder) = tool_loop(
            ScriptedProvider::new("p")
                .then(Step::tool_calls([(name, arguments)]))
                .then(Step::tool_calls([("done", json!({}))])),
        );
        place.run(&coder, &task("x")).await.unwrap();
        let (answer, is_error) = last_result(&provider.requests()[1]);
        assert!(is_error && answer.contains(why), "{name}: {answer} / {why}");
    }
    place.assert_sealed();
    assert_eq!(std::fs::read_dir(place.dir()).unwrap().count(), 4);
}

#[tokio::test]
async fn a_command_has_no_network_no_reach_and_leaves_nothing_running() {
    let place = Place::new();
    let word = "agent-test-daemon-71";
    let script = format!(
        "echo hacked > spec.json; rm -rf acceptance .git; rm -rf /app/.git; (exec -a {word} sleep 600) & \
         bash -c 'exec -a {word} setsid sleep 600' & cat < /dev/tcp/127.0.0.1/22; echo x > out.txt; ls /home /root; \
         printf {CANARY}"
    );
    let (provider, coder) = tool_loop(
        ScriptedProvider::new("p")
            .then(Step::tool_calls([("run", json!({"command": script}))]))
            .then(Step::tool_calls([("done", json!({}))])),
    );
    let written = place.run(&coder, &task("x")).await.unwrap();
    assert_eq!(alive(word), 0);
    place.assert_sealed();
    assert_eq!(place.names(), ["out.txt"]);
    assert!(
        !String::from_utf8(written.transcript)
            .unwrap()
            .contains(CANARY)
    );
    assert!(last_result(&provider.requests()[1]).0.len() < 30_000);
}

#[tokio::test]
async fn long_output_is_cut_and_a_command_that_hangs_is_ended() {
    let place = Place::new();
    let (provider, coder) = tool_loop(
        ScriptedProvider::new("p")
            .then(Step::tool_calls([(
                "run",
                json!({"command": "yes | head -c 100000; sleep 600"}),
            )]))
            .then(Step::tool_calls([("done", json!({}))])),
    );
    let error = place
        .run(&coder, &within(task("x"), Duration::from_secs(2)))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, CoderError::Limit(CoderLimit::Wall)),
        "{error}"
    );
    assert_eq!(provider.requests().len(), 1);
}

#[tokio::test]
async fn turning_in_circles_running_out_of_turns_and_tokens_and_a_cancel_end_it() {
    let place = Place::new();
    let same = || Step::tool_calls([("read_file", json!({"path": "spec.json"}))]);
    let (provider, coder) = tool_loop(ScriptedProvider::answering("p", move |_| same()));
    let error = place.run(&coder, &task("x")).await.err().unwrap();
    assert!(matches!(error, CoderError::Limit(CoderLimit::NoProgress)));
    assert_eq!(provider.requests().len(), MAX_REPEATS as usize);

    let mut number = 0;
    let (provider, coder) = tool_loop(ScriptedProvider::answering("p", move |_| {
        number += 1;
        Step::tool_calls([(
            "write_file",
            json!({"path": "n", "content": number.to_string()}),
        )])
    }));
    let error = place.run(&coder, &task("x")).await.err().unwrap();
    assert!(matches!(error, CoderError::Limit(CoderLimit::Turns)));
    assert_eq!(provider.requests().len(), 20);

    let mut few = task("x");
    few.limits.max_output_tokens = 12;
    let (provider, coder) = tool_loop(ScriptedProvider::answering("p", move |r| {
        let n = r.messages.len();
        Step::tool_calls([("write_file", json!({"path": "n", "content": n.to_string()}))])
    }));
    let error = place.run(&coder, &few).await.err().unwrap();
    assert!(matches!(error, CoderError::Limit(CoderLimit::Tokens)));
    assert_eq!(provider.requests().len(), 3);

    let (_, coder) = tool_loop(ScriptedProvider::new("p").then(Step::hang()));
    let cancel = CancellationToken::new();
    let task = task("x");
    let working = coder.write(&task, &place.work, &Silent, &cancel);
    let cancelling = async { cancel.cancel() };
    let (done, ()) = tokio::join!(working, cancelling);
    assert!(matches!(done, Err(CoderError::Cancelled)));
}

#[tokio::test]
async fn a_model_that_only_talks_is_reminded_once_and_then_taken_at_its_word() {
    let place = Place::new();
    let (provider, coder) = tool_loop(ScriptedProvider::answering("p", |_| {
        Step::text("I did everything.")
    }));
    let written = place.run(&coder, &task("x")).await.unwrap();
    assert_eq!(
        (written.says.as_str(), written.turns),
        ("I did everything.", 2)
    );
    assert!(provider.requests()[1].messages[2].text().contains("done"));
    assert!(
        place.names().is_empty(),
        "nothing was written, and the caller sees it"
    );
}

#[tokio::test]
async fn an_answer_that_was_cut_is_not_carried_out_and_smaller_steps_are_asked_for() {
    let place = Place::new();
    let cut = || {
        let call = json!({"path": "half.py", "content": "print("});
        Step::tool_calls([("write_file", call)]).with_stop(Stop::MaxTokens)
    };
    let done = Step::tool_calls([("done", json!({}))]);
    let (provider, coder) = tool_loop(ScriptedProvider::new("p").then(cut()).then(done));
    place.run(&coder, &task("x")).await.unwrap();
    let again = provider.requests()[1].messages[2].text();
    assert!(again.contains("smaller steps"), "{again}");
    let (provider, coder) = tool_loop(ScriptedProvider::answering("p", move |_| cut()));
    let error = place.run(&coder, &task("x")).await.err().unwrap();
    assert!(
        matches!(error, CoderError::Limit(CoderLimit::Tokens)),
        "{error}"
    );
    assert_eq!(provider.requests().len(), 3);
    assert!(place.names().is_empty());
}
