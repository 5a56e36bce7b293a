//! Agents that speak the Agent Client Protocol: small ones of our own, well behaved and not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentwright_agent::{Acp, AcpAgent, AcpWay, Coder, CoderError, CoderLimit, Silent};
use agentwright_llm::Wire;
use agentwright_testkit::model_server::{ModelServer, Step};
use tokio_util::sync::CancellationToken;

use crate::support::{CANARY, Counting, KEY, Place, alive, task, until, upstream, within};

/// What every small agent begins with. `call` asks us and waits; `ends` answers the prompt.
const BEGIN: &str = r#"#!/usr/bin/env python3
import json, os, subprocess, sys, time, urllib.request
def read():
    line = sys.stdin.readline()
    if not line: sys.exit(0)
    return json.loads(line)
def say(**m): print(json.dumps({"jsonrpc": "2.0", **m}), flush=True)
count = 100
def call(method, params):
    global count
    count += 1
    say(id=count, method=method, params=params)
    while True:
        m = read()
        if m.get("id") == count and "method" not in m: return m
def update(**u): say(method="session/update", params={"sessionId": "s1", "update": u})
def text(t): update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": t})
def may(kind, path):
    options = [{"optionId": "yes", "name": "y", "kind": "allow_once"}, {"optionId": "no", "name": "n", "kind": "reject_once"}]
    answer = call("session/request_permission", {"sessionId": "s1", "options": options,
        "toolCall": {"toolCallId": "t", "kind": kind, "locations": [{"path": path}]}})
    return answer["result"]["outcome"].get("optionId") == "yes"
def write(path, content): return call("fs/write_text_file", {"sessionId": "s1", "path": path, "content": content})
def fetch(path): return call("fs/read_text_file", {"sessionId": "s1", "path": path})
m = read(); assert m["method"] == "initialize" and m["params"]["protocolVersion"] == 1
say(id=m["id"], result={"protocolVersion": 1, "agentCapabilities": {}})
m = read(); assert m["method"] == "session/new" and m["params"]["cwd"] == os.getcwd() == "/app"
say(id=m["id"], result={"sessionId": "s1"})
prompt = read(); assert prompt["method"] == "session/prompt"
asked = prompt["params"]["prompt"][0]["text"]
def ends(why="end_turn"): say(id=prompt["id"], result={"stopReason": why})
"#;

fn agent(place: &Place, body: &str) -> AcpAgent {
    program(place, &format!("{BEGIN}{body}\n"))
}

/// The program lies beside the workspace, not in it.
fn program(place: &Place, text: &str) -> AcpAgent {
    use std::os::unix::fs::PermissionsExt;
    let path = place.dir().with_extension("agent.py");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    AcpAgent {
        name: "small".into(),
        program: path,
        arguments: Vec::new(),
        env: Vec::new(),
        files: Vec::new(),
        mounts: Vec::new(),
        way: AcpWay::Unmetered {
            accepted: true,
            hosts: Vec::new(),
        },
    }
}

struct Done(PathBuf);

impl Drop for Done {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn run(
    place: &Place,
    agent: AcpAgent,
    wall: Duration,
) -> Result<agentwright_agent::Written, CoderError> {
    let _done = Done(agent.program.clone());
    place
        .run(&Acp::new(agent), &within(task("Build it."), wall))
        .await
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_agent_works_through_our_files_and_permissions_within_the_workspace() {
    let place = Place::new();
    place.put("data.txt", "one\ntwo\n");
    let body = r#"
assert "Build it." in asked and "spec.json" in asked
assert fetch("/app/data.txt")["result"]["content"] == "one\ntwo\n"
assert write("/app/src/main.py", "print(1)\n")["result"] is None
said = [may("edit", "/app/x"), may("edit", "/etc/x"), may("edit", "/app/spec.json"), may("fetch", "/app/x"), may("execute", "/app")]
errors = ["error" in write(p, "x") for p in ["/etc/x", "/app/../state/x", "/app/spec.json", "/app/.git/config", "x\0"]]
errors += ["error" in fetch("/proc/1/environ"), "error" in call("terminal/create", {})]
open("/app/direct.txt", "w").write("by itself")
text(json.dumps([said, errors]))
ends()
"#;
    let written = run(&place, agent(&place, body), LONG).await.unwrap();
    assert_eq!(
        written.says,
        "[[true, false, false, false, true], [true, true, true, true, true, true, true]]"
    );
    assert_eq!(place.names(), ["data.txt", "direct.txt", "src/main.py"]);
    assert_eq!(place.text("direct.txt"), "by itself");
    place.assert_sealed();
}

#[tokio::test]
async fn an_agent_reaches_the_model_through_the_relay_and_nothing_else() {
    let place = Place::new();
    let server = ModelServer::playing([Step::text("print(42)")]).await;
    let meter = Counting::up_to(5);
    let body = r#"
relay, token = os.environ["MODEL_URL"], os.environ["MODEL_KEY"]
def ask(url):
    body = json.dumps({"model": "dearest", "max_tokens": 100000, "messages": [{"role": "user", "content": "code?"}]}).encode()
    headers = {"x-api-key": token, "content-type": "application/json"}
    return json.load(urllib.request.urlopen(urllib.request.Request(url + "/v1/messages", body, headers), timeout=10))
open("main.py", "w").write(ask(relay)["content"][0]["text"])
try: urllib.request.urlopen("http://example.org/", timeout=5); text("out ")
except Exception as e: text("kept in ")
text(json.load(open("/state/.config/agent.json"))["model"])
ends()
"#;
    let mut agent = agent(&place, body);
    agent.env = vec![
        ("MODEL_URL".into(), "{relay}".into()),
        ("MODEL_KEY".into(), "{token}".into()),
    ];
    agent.files = vec![(
        "/state/.config/agent.json".into(),
        "{\"model\": \"{model}\"}".into(),
    )];
    agent.way = AcpWay::Relay(Box::new(upstream(&server, Wire::Anthropic, meter.clone())));
    let written = run(&place, agent, LONG).await.unwrap();
    assert_eq!(written.says, "kept in claude-sonnet-4-5-20250929");
    assert_eq!(place.text("main.py"), "print(42)");
    assert_eq!((written.turns, meter.assert_even()), (1, 1));
    let asked = &server.requests()[0];
    assert_eq!(
        (asked.key(), asked.model.as_str()),
        (Some(KEY), "claude-sonnet-4-5-20250929")
    );
    assert_eq!(asked.body["max_tokens"], 8000);
}

#[tokio::test]
async fn an_agent_that_nobody_can_meter_runs_only_where_that_was_accepted() {
    let place = Place::new();
    let mut agent = agent(&place, "ends()");
    agent.way = AcpWay::Unmetered {
        accepted: false,
        hosts: Vec::new(),
    };
    let error = run(&place, agent, LONG).await.err().unwrap();
    assert!(matches!(error, CoderError::Unmetered { .. }));
    assert!(
        error.to_string().contains("accept it as unmetered"),
        "{error}"
    );
}

#[tokio::test]
async fn what_an_agent_destroys_is_only_the_scratch_copy_and_never_what_is_protected() {
    let place = Place::new();
    place.put("main.py", "x");
    let word = "agent-test-daemon-acp";
    let body = format!(
        "subprocess.run(['bash', '-c', \"rm -rf /app/* /app/.git; echo x > spec.json; mkdir -p acceptance; mv acceptance a; \
         touch AGENTS.md; ln -s /etc/passwd link; setsid bash -c 'exec -a {word} sleep 600' & sleep 0.1\"])\n\
         text('{CANARY}'); print('{CANARY}', file=sys.stderr); print('noise {CANARY}')\nends()"
    );
    let written = run(&place, agent(&place, &body), LONG).await.unwrap();
    place.assert_sealed();
    assert_eq!(alive(word), 0);
    let problem = agentwright_agent::inspect(place.dir(), &task("").limits, &place.work.protected);
    assert_eq!(
        problem.err().unwrap().to_string().split(' ').next(),
        Some("link")
    );
    let transcript = String::from_utf8(written.transcript).unwrap();
    assert!(
        transcript.contains("noise")
            && !transcript.contains(CANARY)
            && !written.says.contains(CANARY)
    );
}

#[tokio::test]
async fn an_agent_that_hangs_at_any_point_is_ended_by_our_clock() {
    for body in [
        "time.sleep(600)",
        "text('x')\nwhile True:\n  sys.stdout.write('.'); sys.stdout.flush(); time.sleep(1)",
    ] {
        let place = Place::new();
        let error = run(&place, agent(&place, body), Duration::from_secs(3))
            .await
            .err()
            .unwrap();
        assert!(
            matches!(error, CoderError::Limit(CoderLimit::Wall)),
            "{error}"
        );
    }
    let place = Place::new();
    let silent = program(&place, "#!/bin/sh\nexec sleep 600\n");
    let error = run(&place, silent, Duration::from_secs(2))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, CoderError::Limit(CoderLimit::Wall)),
        "{error}"
    );
    let deaf = program(&place, "#!/bin/sh\nexec cat /dev/zero\n");
    let error = run(&place, deaf, LONG).await.err().unwrap();
    assert!(
        matches!(error, CoderError::Limit(CoderLimit::Output)),
        "{error}"
    );
}

#[tokio::test]
async fn an_agent_that_hangs_after_its_answer_is_ended_and_its_work_counts() {
    let place = Place::new();
    let body = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen('a.txt','w').write('x')\ntext('ok')\nends()\ntime.sleep(600)";
    let written = run(&place, agent(&place, body), LONG).await.unwrap();
    assert_eq!(
        (written.says.as_str(), place.names()),
        ("ok", vec!["a.txt".to_owned()])
    );
}

#[tokio::test]
async fn every_way_to_fail_has_its_own_error() {
    let cases = [
        ("ends('max_tokens')", "max_output_tokens"),
        ("ends('max_turn_requests')", "turns"),
        ("ends('refusal')", "will not do this"),
        ("ends('tired')", "tired"),
        (
            "say(id=prompt['id'], error={'code': -32000, 'message': 'auth'})",
            "not logged in",
        ),
        (
            "say(id=prompt['id'], error={'code': 1, 'message': 'broken'})",
            "session/prompt: broken",
        ),
        ("sys.exit('it burns')", "it burns"),
        ("os._exit(0)", "before it answered"),
        ("os.abort()", "signal 6"),
    ];
    for (body, why) in cases {
        let place = Place::new();
        let error = run(&place, agent(&place, body), LONG).await.err().unwrap();
        assert!(error.to_string().contains(why), "{body}: {error}");
    }
    let place = Place::new();
    let other = program(
        &place,
        "#!/bin/sh\nread a; echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"protocolVersion\":2}}'; cat",
    );
    let error = run(&place, other, LONG).await.err().unwrap();
    assert!(error.to_string().contains("speaks version 2"), "{error}");
    let broken = program(&place, "#!/no/such/interpreter\n");
    let error = run(&place, broken, LONG).await.err().unwrap();
    assert!(matches!(error, CoderError::NotInstalled { .. }), "{error}");
}

#[tokio::test]
async fn a_cancel_ends_the_agent_with_everything_it_started_also_when_the_future_is_dropped() {
    let place = Place::new();
    let word = "agent-test-cancelled";
    let body = format!("subprocess.run(['bash', '-c', 'exec -a {word} sleep 600'])");
    let agent = agent(&place, &body);
    let _done = Done(agent.program.clone());
    let coder: Arc<dyn Coder> = Arc::new(Acp::new(agent));
    let task = task("x");
    let cancel = CancellationToken::new();
    let working = coder.write(&task, &place.work, &Silent, &cancel);
    let cancelling = async {
        until("the agent's process", || alive(word) > 0).await;
        cancel.cancel();
    };
    let (done, ()) = tokio::join!(working, cancelling);
    assert!(matches!(done, Err(CoderError::Cancelled)));
    assert_eq!(alive(word), 0);
    let never = CancellationToken::new();
    tokio::select! {
        _ = coder.write(&task, &place.work, &Silent, &never) => panic!("it cannot end by itself"),
        () = until("the agent's process", || alive(word) > 0) => {}
    }
    until("the end of the agent's process", || alive(word) == 0).await;
}
