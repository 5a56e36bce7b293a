//! Declared hosts are answered by fixtures: plain HTTP, TLS, PostgreSQL, and programs in place of real ones.

use crate::support::*;
use agentwright_domain::evidence::Level;
use serde_json::{Value, json};

fn watch_spec() -> Value {
    json!({
        "format": 1, "name": "watch", "purpose": "tells a hook about a page", "kind": "script",
        "command": ["python3", "/app/main.py"],
        "permissions": {
            "folders": [{"name": "out", "path": "/srv/out", "access": "write"}],
            "network": ["status.example.org:443"],
            "allow_private": ["hook.internal:8080"],
            "secrets": [{"variable": "TOKEN", "reference": "env:TOKEN"}]
        },
        "trigger": {"type": "schedule", "cron": "0 * * * *", "zone": "UTC"},
        "acceptance": {
            "draw": {"one": {"type": "word", "length": 9}, "two": {"type": "word", "length": 9}},
            "smoke": {
                "name": "a page is read",
                "fixtures": [
                    {"type": "http", "host": "status.example.org:443", "answers": [{"path": "/", "answers": [{"body": "up"}]}]},
                    {"type": "http", "host": "hook.internal:8080", "answers": [{"method": "POST", "path": "/alert", "answers": [{"status": 204}]}]}
                ],
                "steps": [{"type": "run"}]
            },
            "cases": [{
                "name": "a change is told to the hook once",
                "fixtures": [
                    {"type": "http", "host": "status.example.org:443", "answers": [{"path": "/", "answers": [
                        {"body": "{{ draw.one }}"}, {"body": "{{ draw.two }}"}]}]},
                    {"type": "http", "host": "hook.internal:8080", "answers": [
                        {"method": "POST", "path": "/alert", "answers": [{"status": 204}]}]}
                ],
                "steps": [{"type": "run"}, {"type": "run"}, {"type": "run"}],
                "probes": [
                    {"name": "asked three times", "holds": "effect", "check": {"type": "http_seen",
                        "host": "status.example.org:443", "path": "/", "count": 3}},
                    {"name": "told once", "holds": "effect", "check": {"type": "http_seen", "method": "POST",
                        "host": "hook.internal:8080", "path": "/alert", "count": 1,
                        "content": {"json": {"/now": "\"{{ draw.two }}\""}}}}
                ]
            }]
        }
    })
}

const WATCH: &str = r#"
import json, os, pathlib, sys, urllib.request
if "--help" in sys.argv:
    sys.exit(print("tells a hook about a page"))
now = urllib.request.urlopen("https://status.example.org/", timeout=10).read().decode()
last = pathlib.Path("/state/last")
if last.exists() and last.read_text() != now:
    body = json.dumps({"now": now}).encode()
    request = urllib.request.Request("http://hook.internal:8080/alert", body, {"X-Token": os.environ["TOKEN"]})
    urllib.request.urlopen(request, timeout=10)
last.write_text(now)
"#;

#[tokio::test]
async fn tls_and_plain_hosts_are_answered_through_the_declared_routes() {
    let done = verify(&watch_spec(), &[("main.py", WATCH)]).await;
    done.assert_passed();
    let case = done.kept.json("case-1.json");
    assert_eq!(
        case["hosts"]["status.example.org:443"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert!(case["steps"][0]["network"][0]["allowed"].as_bool().unwrap());
}

#[tokio::test]
async fn a_secret_that_comes_as_a_file_does_so_in_tests_too_with_the_value_of_the_case() {
    let mut spec = watch_spec();
    spec["permissions"]["secrets"][0]["as"] = json!("file");
    let case = &mut spec["acceptance"]["cases"][0];
    let fixtures = case["fixtures"].as_array_mut().unwrap();
    fixtures.push(json!({"type": "environment", "name": "TOKEN", "value": "{{ draw.one }}"}));
    let said = &mut case["probes"][1]["check"]["content"]["json"];
    said["/token"] = json!("\"{{ draw.one }}\"");
    let read = "open(os.environ[\"TOKEN_FILE\"]).read()";
    let code = WATCH.replace("os.environ[\"TOKEN\"]", "\"x\"").replace(
        "{\"now\": now}",
        &format!("{{\"now\": now, \"token\": {read}}}"),
    );
    verify(&spec, &[("main.py", &code)]).await.assert_passed();
    let code = code.replace(read, "os.environ[\"TOKEN\"]");
    verify(&spec, &[("main.py", &code)])
        .await
        .assert_stopped(Level::Assertion, "KeyError");
}

#[tokio::test]
async fn telling_too_often_is_stopped() {
    let code = WATCH.replace("last.exists() and last.read_text() != now", "True");
    verify(&watch_spec(), &[("main.py", &code)])
        .await
        .assert_stopped(Level::Assertion, "told once: expected 1 × POST /alert");
}

#[tokio::test]
async fn another_port_of_a_declared_host_is_undeclared() {
    let code = WATCH.replace(
        "https://status.example.org/",
        "https://status.example.org:8443/",
    );
    verify(&watch_spec(), &[("main.py", &code)])
        .await
        .assert_stopped(Level::Smoke, "tried to reach status.example.org:8443");
}

#[tokio::test]
async fn a_host_that_is_down_can_be_part_of_a_case() {
    let mut spec = watch_spec();
    spec["acceptance"]["cases"][0] = json!({
        "name": "a cut connection is a failure",
        "fixtures": [{"type": "http", "host": "status.example.org:443", "answers": [{"path": "/", "answers": [{"cut": true}]}]}],
        "steps": [{"type": "run", "exit": "failure"}],
        "probes": [
            {"name": "it tried", "holds": "effect", "check": {"type": "http_seen", "host": "status.example.org:443", "path": "/"}},
            {"name": "nothing is remembered", "holds": "invariant", "check": {"type": "file_absent", "folder": "state", "path": "last"}}
        ]
    });
    verify(&spec, &[("main.py", WATCH)]).await.assert_passed();
}

fn agent_spec() -> Value {
    let claude =
        "#!/bin/sh\nprintf '%s' \"$*\" > /state/asked\ncat > /state/told\necho '{{ draw.word }}'\n";
    let fixtures = json!([
        {"type": "program", "name": "claude", "script": claude},
        {"type": "environment", "name": "TOPIC", "value": "{{ draw.word }}"}
    ]);
    json!({
        "format": 1, "name": "agent", "purpose": "asks claude", "kind": "claude_agent",
        "command": ["/app/run.sh"],
        "permissions": {
            "folders": [{"name": "out", "path": "/srv/out", "access": "write"}],
            "programs": ["claude"]
        },
        "trigger": {"type": "manual"},
        "acceptance": {
            "draw": {"word": {"type": "word", "length": 12}},
            "smoke": {"name": "it asks", "fixtures": fixtures, "steps": [{"type": "run"}]},
            "cases": [{
                "name": "the answer is kept",
                "fixtures": fixtures,
                "steps": [{"type": "run"}],
                "probes": [
                    {"name": "kept", "holds": "effect", "check": {"type": "file_content", "folder": "out", "path": "answer.txt",
                        "content": {"equals": "{{ draw.word }}\n"}}},
                    {"name": "asked with -p", "holds": "effect", "check": {"type": "file_content", "folder": "state", "path": "asked",
                        "content": {"equals": "-p"}}},
                    {"name": "told the topic", "holds": "effect", "check": {"type": "file_content", "folder": "state", "path": "told",
                        "content": {"contains": ["{{ draw.word }}"]}}}
                ]
            }]
        }
    })
}

#[tokio::test]
async fn a_program_of_the_fixture_stands_in_for_the_real_one() {
    let app = app(&[(
        "run.sh",
        "#!/bin/sh\nset -eu\n[ \"${1:-}\" = --help ] && { echo 'asks claude'; exit 0; }\nprintf 'about %s' \"$TOPIC\" | claude -p > /data/out/answer.txt\n",
    )]);
    let run = app.path().join("run.sh");
    std::fs::set_permissions(&run, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    verify_at(&verifier(), &agent_spec(), app.path(), [3; 32])
        .await
        .assert_passed();
    std::fs::set_permissions(&run, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    verify_at(&verifier(), &agent_spec(), app.path(), [3; 32])
        .await
        .assert_stopped(Level::Structure, "not executable");
}

fn export_spec() -> Value {
    let postgres = json!({"type": "postgres", "host": "db.internal:5432", "database": "shop", "user": "reader", "sql": [
        "CREATE TABLE orders (id INT, item TEXT, price NUMERIC(8,2))",
        "{% for o in draw.orders %}INSERT INTO orders VALUES ({{ o.id }}, '{{ o.item }}', {{ o.id }}.50);{% endfor %}"
    ]});
    json!({
        "format": 1, "name": "export", "purpose": "exports orders", "kind": "script",
        "command": ["python3", "/app/main.py"],
        "permissions": {
            "folders": [{"name": "out", "path": "/srv/out", "access": "write"}],
            "allow_private": ["db.internal:5432"], "programs": ["psql"]
        },
        "trigger": {"type": "manual"},
        "acceptance": {
            "draw": {"orders": {"type": "rows", "min": 2, "max": 5, "columns": {
                "id": {"type": "int", "min": 1, "max": 900}, "item": {"type": "word", "length": 6}}}},
            "smoke": {"name": "it connects", "fixtures": [postgres], "steps": [{"type": "run"}]},
            "cases": [{
                "name": "every order is exported and marked",
                "fixtures": [postgres],
                "steps": [{"type": "run"}],
                "probes": [
                    {"name": "exported", "holds": "effect", "check": {"type": "file_content", "folder": "out", "path": "orders.csv",
                        "content": {"equals": "{% for o in draw.orders|sort(attribute='item') %}{{ o.item }},{{ o.id }}.50\n{% endfor %}"}}},
                    {"name": "marked", "holds": "effect", "check": {"type": "postgres_rows", "host": "db.internal:5432",
                        "database": "shop", "query": "SELECT count(*), bool_and(item LIKE '%!') FROM orders",
                        "rows": "[[{{ draw.orders|length }}, true]]"}}
                ]
            }]
        }
    })
}

const EXPORT: &str = r#"
import subprocess, sys
if "--help" in sys.argv:
    sys.exit(print("exports orders"))
base = ["psql", "-h", "db.internal", "-p", "5432", "-U", "reader", "-d", "shop", "-v", "ON_ERROR_STOP=1", "-At", "-F", ",", "-c"]
rows = subprocess.run(base + ["SELECT item, price FROM orders ORDER BY item"], check=True, capture_output=True, text=True).stdout
with open("/data/out/orders.csv", "w") as out:
    out.write(rows)
subprocess.run(base + ["UPDATE orders SET item = item || '!'"], check=True, stdout=subprocess.DEVNULL)
"#;

#[tokio::test]
async fn a_postgres_fixture_is_reached_and_read_back() {
    if !std::path::Path::new("/usr/lib/postgresql").exists() {
        let done = verify(&export_spec(), &[("main.py", EXPORT)]).await;
        let (level, summary) = done.stopped();
        assert!(
            level == Level::Fault || summary.contains("psql"),
            "{summary}"
        );
        return;
    }
    verify(&export_spec(), &[("main.py", EXPORT)])
        .await
        .assert_passed();
    let code = EXPORT.replace("SET item = item || '!'", "SET item = item");
    verify(&export_spec(), &[("main.py", &code)])
        .await
        .assert_stopped(Level::Assertion, "marked: expected rows");
}
