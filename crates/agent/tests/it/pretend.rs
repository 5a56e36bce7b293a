//! Programs that pretend to be `claude` or `codex` and misbehave as the real ones do on their worst days.

use std::sync::Arc;
use std::time::Duration;

use agentwright_agent::{Claude, Coder, CoderError, CoderLimit, Codex, Written};
use agentwright_llm::Wire;
use agentwright_testkit::model_server::ModelServer;

use crate::support::{CANARY, Counting, Place, alive, task, upstream, within};

/// Says its result as Claude Code does.
const CLAUDE: &str = r#"#!/usr/bin/env python3
import json, os, subprocess, sys, time
def say(**m): print(json.dumps(m), flush=True)
def result(**m): say(**{"type": "result", "subtype": "success", "is_error": False, "result": "done", **m})
begin = json.loads(sys.stdin.readline()); assert begin["request"]["subtype"] == "initialize"
user = json.loads(sys.stdin.readline()); assert "Build it." in user["message"]["content"]
def may(tool, **args):
    say(type="control_request", request_id="r", request={"subtype": "can_use_tool", "tool_name": tool, "input": args})
    return json.loads(sys.stdin.readline())["response"]["response"]["behavior"]
"#;

/// Says its events as Codex does.
const CODEX: &str = r#"#!/usr/bin/env python3
import json, os, sys, time
def say(**m): print(json.dumps(m), flush=True)
asked = sys.stdin.read(); assert "Build it." in asked and sys.argv[1] == "exec"
say(type="thread.started", thread_id="t"); say(type="turn.started")
def message(t): say(type="item.completed", item={"id": "i", "type": "agent_message", "text": t})
"#;

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Claude,
    Codex,
}

async fn run(place: &Place, who: Who, body: &str, wall: Duration) -> Result<Written, CoderError> {
    use std::os::unix::fs::PermissionsExt;
    let begin = if who == Who::Claude { CLAUDE } else { CODEX };
    let dir = tempfile::tempdir_in(std::env::temp_dir().canonicalize().unwrap()).unwrap();
    let program = dir.path().join("agent");
    std::fs::write(&program, format!("{begin}{body}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = ModelServer::playing([]).await;
    let meter = Counting::up_to(5);
    let coder: Arc<dyn Coder> = match who {
        Who::Claude => Arc::new(Claude::new(
            "c",
            program,
            upstream(&server, Wire::Anthropic, meter),
        )),
        Who::Codex => Arc::new(Codex::new(
            "c",
            program,
            upstream(&server, Wire::OpenaiResponses, meter),
        )),
    };
    place.run(&*coder, &within(task("Build it."), wall)).await
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_agent_that_hangs_after_its_result_is_ended_and_its_work_counts() {
    for (who, body) in [
        (
            Who::Claude,
            "open('a.txt','w').write('x')\nresult()\ntime.sleep(600)",
        ),
        (
            Who::Codex,
            "open('a.txt','w').write('x')\nmessage('done')\nsay(type='turn.completed', usage={})\ntime.sleep(600)",
        ),
    ] {
        let place = Place::new();
        let written = run(&place, who, body, LONG).await.unwrap();
        assert_eq!(
            (written.says.as_str(), place.names()),
            ("done", vec!["a.txt".to_owned()])
        );
    }
}

#[tokio::test]
async fn an_agent_that_drips_or_says_nothing_is_ended_by_our_clock() {
    for who in [Who::Claude, Who::Codex] {
        for body in [
            "while True:\n  sys.stdout.write('{'); sys.stdout.flush(); time.sleep(1)",
            "time.sleep(600)",
        ] {
            let place = Place::new();
            let error = run(&place, who, body, Duration::from_secs(2))
                .await
                .err()
                .unwrap();
            assert!(
                matches!(error, CoderError::Limit(CoderLimit::Wall)),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn an_agent_cannot_hide_a_failure_behind_its_exit_code_or_a_success_behind_nothing() {
    for (who, body, why) in [
        (Who::Claude, "sys.exit(0)", "without a result"),
        (
            Who::Claude,
            "result(is_error=True, result='API Error: 500')",
            "API Error: 500",
        ),
        (
            Who::Claude,
            "result(is_error=True, result='Not logged in \u{b7} Please run /login')",
            "not logged in",
        ),
        (
            Who::Claude,
            "result(subtype='error_max_turns', is_error=True, errors=['x'])",
            "turns",
        ),
        (
            Who::Claude,
            "result(subtype='error_during_execution', errors=['it broke'])",
            "it broke",
        ),
        (
            Who::Claude,
            "print('error: unknown option', file=sys.stderr); sys.exit(1)",
            "unknown option",
        ),
        (
            Who::Claude,
            "print('not json'); print('[1]'); print('{\"type\":7}'); sys.exit(3)",
            "exit code 3",
        ),
        (Who::Codex, "sys.exit(0)", "without completing its turn"),
        (
            Who::Codex,
            "say(type='turn.failed', error={'message': 'stream disconnected'}); sys.exit(1)",
            "stream disconnected",
        ),
        (
            Who::Codex,
            "say(type='error', message='retrying'); sys.exit(1)",
            "exit code 1",
        ),
        (Who::Codex, "os.kill(os.getpid(), 9)", "signal 9"),
    ] {
        let place = Place::new();
        let error = run(&place, who, body, LONG).await.err().unwrap();
        assert!(error.to_string().contains(why), "{body}: {error}");
    }
}

#[tokio::test]
async fn what_an_agent_prints_is_redacted_bounded_and_never_believed() {
    let word = "agent-test-daemon-pretend";
    let body = format!(
        "print('{CANARY}' * 3); print('{CANARY}', file=sys.stderr)\n\
         subprocess.Popen(['bash', '-c', 'exec -a {word} setsid sleep 600'])\n\
         for i in range(3000): say(type='assistant', message={{'content': [{{'type': 'text', 'text': 'x' * 3000 + '{CANARY}'}}]}})\n\
         allowed = [may('Write', file_path='/app/a'), may('Write', file_path='/app/spec.json'), may('WebSearch', query='x')]\n\
         result(result=str(allowed) + ' {CANARY} ' + 'y' * 1000000)"
    );
    let place = Place::new();
    let written = run(&place, Who::Claude, &body, LONG).await.unwrap();
    assert!(
        written
            .says
            .starts_with("['allow', 'deny', 'deny'] [redacted]"),
        "{}",
        &written.says[..100]
    );
    assert!(written.says.len() < 70_000);
    assert!(written.transcript.len() <= agentwright_agent::MAX_TRANSCRIPT_BYTES + 200);
    let transcript = String::from_utf8(written.transcript).unwrap();
    assert!(!transcript.contains(CANARY) && transcript.contains("lines_left_out"));
    assert!(place.names().is_empty());
    assert_eq!(alive(word), 0);
}
