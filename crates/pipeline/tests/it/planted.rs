//! The runtime with scripts of every temper: planted as deployed versions, without a build.

use crate::support::{World, auto, scope};
use agentwright_domain::approval::Grant;
use agentwright_domain::build::{FailureClass, StageOutcome};
use agentwright_domain::deployment::{Activity, DeployedVersion};
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::{GrantId, Slug};
use agentwright_domain::run::{Record, Run, RunKind, RunStatus, Signal};
use agentwright_domain::spec::Spec;
use agentwright_engine::{Executor, Handle};
use agentwright_pipeline::Builds;
use agentwright_runtime::Runtime;
use agentwright_runtime::install::code_digest;
use agentwright_store::RunFilter;
use agentwright_testkit::FakeVault;
use agentwright_testkit::eventually;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// In place of a build: records a version with this spec and script.
struct Plants {
    spec: Spec,
    script: String,
    environment: Option<Digest>,
    runtime: Arc<Mutex<Option<Runtime>>>,
}

#[async_trait::async_trait]
impl Executor for Plants {
    async fn execute(&self, run: &Run, handle: &Handle) -> Signal {
        let runtime = self.runtime.lock().unwrap().clone().unwrap();
        let (name, layout) = (self.spec.name.clone(), runtime.layout().clone());
        let app = layout.app(&name, 1);
        std::fs::create_dir_all(&app).unwrap();
        std::fs::create_dir_all(layout.state(&name)).unwrap();
        std::fs::write(app.join("main.py"), &self.script).unwrap();
        let environment = runtime.programs().environment(&self.spec).unwrap();
        let version = DeployedVersion {
            name: name.clone(),
            version: 1,
            build: run.id.clone(),
            grant: GrantId::new(format!("{}-grant", run.id)),
            code: code_digest(&app).unwrap(),
            spec: self.spec.clone(),
            environment: self.environment.clone().unwrap_or(environment),
            deployed_at_ms: 0,
        };
        let grant = Grant {
            id: version.grant.clone(),
            approval: None,
            deployment: name,
            code: version.code.clone(),
            spec: agentwright_proof::of_json(&self.spec).unwrap(),
            permissions: self.spec.permissions.clone(),
            trigger: self.spec.trigger.clone(),
            target: "local".into(),
            granted_at_ms: 0,
            revoked_at_ms: None,
        };
        handle.record(Record::Grant(Box::new(grant))).await.unwrap();
        handle
            .record(Record::Version(Box::new(version)))
            .await
            .unwrap();
        let outcome = StageOutcome::Failed {
            class: FailureClass::Fault,
            reason: "planted".into(),
            records: Vec::new(),
        };
        runtime.wake();
        Signal::Stage {
            outcome: Box::new(outcome),
        }
    }
}

fn name() -> Slug {
    Slug::parse("planted").unwrap()
}

async fn planted(more: &Value, script: &str) -> World {
    planted_with(more, script, None).await
}

async fn planted_with(more: &Value, script: &str, environment: Option<Digest>) -> World {
    let mut spec = json!({
        "format": 1, "name": "planted", "purpose": "p", "kind": "script",
        "command": ["python3", "/app/main.py"], "trigger": {"type": "manual"},
        "on_failure": {"retries": 0, "backoff_s": 1, "pause_after": 2},
        "acceptance": {"smoke": {"name": "s", "steps": []}, "cases": []},
    });
    let fields = spec.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    let runtime = Arc::new(Mutex::new(None));
    let plants = Plants {
        spec: serde_json::from_value(spec).unwrap(),
        script: script.to_owned(),
        environment,
        runtime: Arc::clone(&runtime),
    };
    let world = World::with(|_: Builds| Arc::new(plants)).await;
    *runtime.lock().unwrap() = Some(world.runtime.clone());
    let id = world.submit(world.request("x"), auto()).await;
    world.settled(&id).await;
    *runtime.lock().unwrap() = None;
    world
}

async fn ran(world: &World) -> (Run, String, String) {
    let id = world
        .runtime
        .run_now(&scope(), &name(), "ann")
        .await
        .unwrap();
    let run = world.settled(&id).await;
    let log = match world.store.artifacts(&scope(), &id).await.unwrap().first() {
        Some(kept) => {
            let bytes = world.store.artifact(&kept.digest).await.unwrap().unwrap();
            String::from_utf8(bytes).unwrap()
        }
        None => String::new(),
    };
    (run, world.story(&id).await, log)
}

async fn executions(world: &World) -> usize {
    let filter = RunFilter {
        kind: Some(RunKind::Execution),
        label: Some(name()),
        ..RunFilter::default()
    };
    world.store.runs(&scope(), filter).await.unwrap().len()
}

async fn titles(world: &World, topic: &str) -> Vec<String> {
    let notices = world.store.notices(&scope(), 100).await.unwrap();
    let of = notices.into_iter().filter(|due| due.notice.topic == topic);
    of.map(|due| due.notice.title).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_reaches_the_program_and_nothing_that_is_kept() {
    let more = json!({"permissions": {"secrets": [{"variable": "KEY", "reference": "env:TOKEN"}]}});
    let script = "import os, sys\nkey = os.environ['KEY']\nprint(len(key), key)\nsys.exit(key)\n";
    let world = planted(&more, script).await;
    let (run, story, log) = ran(&world).await;
    assert_eq!(run.status, RunStatus::Failed);
    assert!(log.contains("16 [KEY]"), "{log}");
    assert!(
        !log.contains("t0p-secret") && !story.contains("t0p-secret"),
        "{story}\n{log}"
    );
    assert!(story.contains("exit code 1: [KEY]"), "{story}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_comes_as_a_file_is_there_for_the_program_only_and_in_memory() {
    let more = json!({"permissions": {"secrets": [
        {"variable": "KEY", "reference": "env:TOKEN", "as": "file"}]}});
    let script = "import os, sys\npath = os.environ['KEY_FILE']\nkey = open(path).read()\n\
        print(path, len(key), key, oct(os.stat(path).st_mode & 0o777), 'KEY' in os.environ)\n\
        for wrong in [lambda: open(path, 'w'), lambda: os.remove(path), lambda: open('/run/secrets/other', 'w')]:\n\
        \x20   try:\n        wrong()\n        print('writable')\n    except OSError as error:\n        print('kept')\n\
        at = max((line.split()[4] for line in open('/proc/self/mountinfo') if path.startswith(line.split()[4])), key=len)\n\
        print([line.split(' - ')[1].split()[0] for line in open('/proc/self/mountinfo') if line.split()[4] == at])\n\
        sys.exit(key)\n";
    let world = planted(&more, script).await;
    let (_, story, log) = ran(&world).await;
    assert!(
        log.contains("/run/secrets/KEY 16 [KEY] 0o400 False"),
        "{log}"
    );
    assert_eq!(log.matches("kept").count(), 3, "{log}");
    assert!(log.contains("['tmpfs']"), "{log}");
    assert!(
        !log.contains("t0p-secret") && !story.contains("t0p-secret"),
        "{story}\n{log}"
    );
    // Neither the daemon's directory nor the installed code has it.
    let everything = world.home().parent().unwrap().to_owned();
    assert!(!holds(&everything, b"t0p-secret-value"));
    world.end().await;
}

/// Whether any file below the directory has these bytes in it.
fn holds(dir: &std::path::Path, what: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let read = || std::fs::read(entry.path()).unwrap_or_default();
        (kind.is_dir() && holds(&entry.path(), what))
            || (kind.is_file() && read().windows(what.len()).any(|part| part == what))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_is_not_declared_is_not_reached_with_whatever_role() {
    let vault = FakeVault::start().await;
    let more = json!({"permissions": {
        "environment": {"VAULT_ADDR": vault.url()},
        "secrets": [{"variable": "VAULT_ROLE_ID", "reference": "file:/etc/vault/role-id", "as": "file"}]}});
    let script = "import os, urllib.request\nrole = open(os.environ['VAULT_ROLE_ID_FILE']).read()\n\
        urllib.request.urlopen(os.environ['VAULT_ADDR'] + '/v1/auth/approle/login', role.encode(), timeout=10)\n";
    let world = planted(&more, script).await;
    let (run, _, log) = ran(&world).await;
    assert_eq!(run.status, RunStatus::Failed);
    assert!(log.contains("urllib.error"), "{log}");
    assert_eq!(vault.asked(), [""; 0]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_last_words_of_a_success_or_in_a_notice_is_not_kept() {
    let more = json!({"permissions": {"secrets": [{"variable": "KEY", "reference": "env:TOKEN"}]}});
    let script = "import json, os\nkey = os.environ['KEY']\n\
        open('/state/notices.jsonl', 'a').write(json.dumps({'title': key, 'body': key}) + '\\n')\n\
        print('x' * 290 + key)\n";
    let world = planted(&more, script).await;
    let (run, story, _) = ran(&world).await;
    assert_eq!(run.status, RunStatus::Completed, "{story}");
    assert!(
        !story.contains("t0p") && story.contains("x[KEY]"),
        "{story}"
    );
    let notices = world.store.notices(&scope(), 100).await.unwrap();
    let said = format!("{notices:?}");
    assert!(
        !said.contains("t0p") && said.contains("planted: [KEY]"),
        "{said}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stopped_runs_only_after_it_was_resumed() {
    let world = planted(&json!({}), "print('ok')\n").await;
    let act = async |action| world.runtime.act(&scope(), &name(), &action).await.unwrap();
    act(agentwright_domain::deployment::Action::Stop).await;
    let refused = world.runtime.run_now(&scope(), &name(), "ann").await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("agentwright resume planted"), "{refused}");
    act(agentwright_domain::deployment::Action::Resume).await;
    assert_eq!(ran(&world).await.0.status, RunStatus::Completed);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_was_changed_is_not_exported() {
    let world = planted(&json!({}), "print('ok')\n").await;
    let app = world.runtime.layout().app(&name(), 1);
    std::fs::write(app.join("main.py"), "evil\n").unwrap();
    let to = world.home().join("out");
    let refused = world.runtime.export(&scope(), &name(), &to).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("somebody changed it"), "{refused}");
    assert!(!to.exists());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_could_not_remove_the_files_can_be_repeated() {
    let world = planted(&json!({}), "print('ok')\n").await;
    // In the way of the files: what a killed or refused removal meets.
    let going = world
        .runtime
        .layout()
        .data()
        .join("deployments/.removing-planted");
    std::fs::write(&going, "x").unwrap();
    world.runtime.remove(&scope(), &name()).await.unwrap_err();
    std::fs::remove_file(&going).unwrap();
    world.runtime.remove(&scope(), &name()).await.unwrap();
    assert!(!world.runtime.layout().deployment(&name()).exists());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_there_fails_the_run_and_names_its_reference() {
    let more = json!({"permissions": {"secrets": [{"variable": "KEY", "reference": "env:NOPE"}]}});
    let world = planted(&more, "print(1)\n").await;
    let (_, story, _) = ran(&world).await;
    assert!(story.contains("env:NOPE"), "{story}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_wants_to_say_is_said_once_and_its_state_survives() {
    let script = "import json, os\nn = len(os.listdir('/state'))\n\
        open(f'/state/run-{n}', 'w').write('x')\n\
        open('/state/notices.jsonl', 'a').write(json.dumps({'title': f'run {n}'}) + '\\n')\n";
    let world = planted(&json!({}), script).await;
    for _ in 0..2 {
        assert_eq!(ran(&world).await.0.status, RunStatus::Completed);
    }
    let mut titles = titles(&world, "automation.notice").await;
    titles.sort();
    assert_eq!(titles, ["planted: run 0", "planted: run 2"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_interpreter_than_at_verify_is_said_once_and_it_goes_on() {
    let other = Digest::from_sha256([9; 32]);
    let world = planted_with(&json!({}), "print('ok')\n", Some(other)).await;
    assert!(
        world
            .runtime
            .status(&scope(), &name())
            .await
            .unwrap()
            .drifted
    );
    for _ in 0..2 {
        assert_eq!(ran(&world).await.0.status, RunStatus::Completed);
    }
    assert_eq!(titles(&world, "automation.drift").await.len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_may_not_do_does_not_happen_and_is_told() {
    let more = json!({"limits": {"wall_s": 2, "memory_mib": 128, "processes": 16, "disk_mib": 16}});
    let script = "import socket, time\n\
        try:\n    open('/app/x', 'w')\nexcept OSError as e:\n    print('app', type(e).__name__)\n\
        try:\n    socket.create_connection(('192.0.2.1', 80), 1)\nexcept OSError:\n    print('no network')\n\
        print('waits', flush=True)\ntime.sleep(60)\n";
    let world = planted(&more, script).await;
    let (run, story, log) = ran(&world).await;
    assert_eq!(run.status, RunStatus::Failed);
    assert!(story.contains("it took longer than 2 s"), "{story}");
    assert!(
        log.contains("app OSError") || log.contains("app PermissionError"),
        "{log}"
    );
    assert!(log.contains("no network"), "{log}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nights_that_were_missed_run_once_or_are_dropped_as_the_schedule_says() {
    for (missed, runs) in [("run_once", 1), ("skip", 0)] {
        let trigger = json!({"type": "schedule", "cron": "0 2 * * *", "zone": "Europe/Berlin", "missed": missed});
        let world = planted(&json!({"trigger": trigger}), "print('ok')\n").await;
        let due = async || {
            world
                .runtime
                .status(&scope(), &name())
                .await
                .unwrap()
                .row
                .next_due_at_ms
        };
        let first = eventually("the next night is worked out", due).await;
        let three_days = 3 * 24 * 3_600_000;
        world.clock.set(first + three_days + 3_600_000);
        world.runtime.wake();
        let next = eventually("the night after is worked out", async || {
            due().await.filter(|at| *at > first)
        })
        .await;
        assert!(next > first + three_days);
        assert_eq!(executions(&world).await, runs, "{missed}");
        world.end().await;
    }
}

const FALLS: &str = "import http.server, os, threading\n\
    class H(http.server.BaseHTTPRequestHandler):\n    def do_GET(self):\n        \
    self.send_response(200)\n        self.end_headers()\n        \
    threading.Timer(0.3, os._exit, (7,)).start()\n\
    print('up', flush=True)\n\
    http.server.HTTPServer(('0.0.0.0', 8080), H).serve_forever()\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_falls_is_started_anew_and_paused_when_it_keeps_falling() {
    let more = json!({"kind": "service", "trigger":
        {"type": "service", "port": 8080, "publish": 0, "health_path": "/health"}});
    let world = planted(&more, FALLS).await;
    let row = eventually("it is paused", async || {
        world.clock.advance(50);
        let row = world.runtime.status(&scope(), &name()).await.unwrap().row;
        matches!(row.activity, Activity::Paused { .. }).then_some(row)
    })
    .await;
    assert_eq!((row.failures_in_a_row, row.endpoint), (2, None));
    assert_eq!(executions(&world).await, 2);
    let log = world.runtime.live_log(&scope(), &name()).await;
    assert!(log.contains("up"), "{log}");
    let filter = RunFilter {
        label: Some(name()),
        ..RunFilter::default()
    };
    let last = &world.store.runs(&scope(), filter).await.unwrap()[0];
    let story = world.story(&last.id).await;
    assert!(story.contains("ended by itself: exit code 7"), "{story}");
    world.end().await;
}
