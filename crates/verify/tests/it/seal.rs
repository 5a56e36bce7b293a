//! The vacuity check: what is sealed says something, and what says nothing is named.

use crate::support::*;
use agentwright_domain::spec::Spec;
use agentwright_verify::{SealError, seal};
use serde_json::{Value, json};

async fn problems(spec: &Value) -> Vec<String> {
    let spec: Spec = serde_json::from_value(spec.clone()).unwrap();
    let scratch = folder();
    match seal(&spec, scratch.path()).await {
        Ok(_) => Vec::new(),
        Err(SealError::Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
        Err(SealError::Fault(why)) => panic!("{why}"),
    }
}

/// The honest spec with one probe in place of the first case's.
fn with_probe(holds: &str, check: &Value) -> Value {
    let mut spec = shout_spec();
    let honest = spec["acceptance"]["cases"][0]["probes"][0].clone();
    spec["acceptance"]["cases"][0]["probes"] =
        json!([honest, {"name": "this", "holds": holds, "check": check}]);
    spec
}

#[track_caller]
fn assert_names(problems: &[String], at: &str, why: &str) {
    assert!(
        problems
            .iter()
            .any(|problem| problem.starts_with(at) && problem.contains(why)),
        "expected {at} … {why}, found {problems:#?}"
    );
}

#[tokio::test]
async fn an_honest_acceptance_is_sealed_under_one_digest() {
    assert_eq!(problems(&shout_spec()).await, Vec::<String>::new());
    let spec: Spec = serde_json::from_value(shout_spec()).unwrap();
    let one = seal(&spec, folder().path()).await.unwrap();
    let two = seal(&spec, folder().path()).await.unwrap();
    assert_eq!(one, two);
    let mut other = spec;
    other.acceptance.cases[0].name.push('!');
    assert_ne!(
        seal(&other, folder().path()).await.unwrap().digest,
        one.digest
    );
}

#[tokio::test]
async fn an_effect_that_already_holds_is_named() {
    for check in [
        json!({"type": "file_absent", "folder": "target", "path": "x"}),
        json!({"type": "file_exists", "folder": "source", "path": "*.txt"}),
        json!({"type": "file_exists", "folder": "target", "path": "*", "count": "0"}),
        json!({"type": "unchanged", "folder": "source"}),
        json!({"type": "tree", "folder": "target", "files": ""}),
    ] {
        let found = problems(&with_probe("effect", &check)).await;
        assert_names(
            &found,
            "/acceptance/cases/0/probes/1",
            "already holds before anything ran",
        );
    }
}

#[tokio::test]
async fn an_invariant_that_does_not_hold_before_is_named() {
    let check = json!({"type": "file_exists", "folder": "target", "path": "count"});
    let found = problems(&with_probe("invariant", &check)).await;
    assert_names(
        &found,
        "/acceptance/cases/0/probes/1",
        "does not hold before",
    );
}

#[tokio::test]
async fn an_invariant_that_nothing_breaks_is_named() {
    for check in [
        json!({"type": "unchanged", "folder": "source", "except": ["**"]}),
        json!({"type": "sqlite_rows", "folder": "target", "path": "x", "query": "SELECT 1", "rows": "[]"}),
    ] {
        let found = problems(&with_probe("invariant", &check)).await;
        let why = if check["type"] == "unchanged" {
            "shows nothing"
        } else {
            "does not hold before"
        };
        assert_names(&found, "/acceptance/cases/0/probes/1", why);
    }
}

#[tokio::test]
async fn invariants_that_a_mutant_breaks_are_fine() {
    for check in [
        json!({"type": "unchanged", "folder": "target"}),
        json!({"type": "file_absent", "folder": "target", "path": "deep/**/*.tmp"}),
        json!({"type": "file_exists", "folder": "source", "path": "*.txt", "count": "{{ draw.texts|length }}"}),
        json!({"type": "file_content", "folder": "source", "path": "{{ draw.texts[1].name }}.txt",
               "content": {"equals": "{{ draw.texts[1].body }}"}}),
        json!({"type": "file_mode", "folder": "source", "path": "*.txt", "mode": "644"}),
        json!({"type": "tree", "folder": "target", "files": ""}),
        json!({"type": "exit_code"}),
    ] {
        assert_eq!(
            problems(&with_probe("invariant", &check)).await,
            Vec::<String>::new(),
            "{check}"
        );
    }
}

#[tokio::test]
async fn an_effect_made_true_by_the_acceptance_itself_is_named() {
    let mut spec = with_probe(
        "effect",
        &json!({"type": "file_exists", "folder": "target", "path": "mark"}),
    );
    spec["acceptance"]["cases"][0]["steps"] = json!([
        {"type": "run"},
        {"type": "arrange", "fixture": {"type": "file", "folder": "target", "path": "mark"}},
        {"type": "run"}
    ]);
    let found = problems(&spec).await;
    assert_names(
        &found,
        "/acceptance/cases/0/probes/1",
        "through what the acceptance itself arranges",
    );
}

#[tokio::test]
async fn templates_globs_and_expressions_are_tried() {
    for (check, why) in [
        (
            json!({"type": "file_exists", "folder": "target", "path": "{{ draw.nope }}"}),
            "undefined",
        ),
        (
            json!({"type": "file_exists", "folder": "target", "path": "{{ draw.texts"}),
            "template",
        ),
        (
            json!({"type": "file_exists", "folder": "target", "path": "[x"}),
            "glob",
        ),
        (
            json!({"type": "file_content", "folder": "target", "path": "x", "content": {"matches": "("}}),
            "regular expression",
        ),
        (
            json!({"type": "file_content", "folder": "target", "path": "x", "content": {"json": {"nope": "1"}}}),
            "JSON pointer",
        ),
        (json!({"type": "http", "path": "/"}), "only a service"),
        (json!({"type": "tcp", "port": 1}), "only a service"),
        (
            json!({"type": "http_seen", "host": "x.org:80", "path": "/"}),
            "no HTTP fixture",
        ),
    ] {
        let found = problems(&with_probe("effect", &check)).await;
        assert_names(&found, "/acceptance/cases/0/probes/1", why);
    }
}

/// The honest spec with this as the only fixture of its smoke case.
fn fixture(fixture: &Value) -> Value {
    let mut spec = shout_spec();
    spec["acceptance"]["smoke"]["fixtures"] = json!([fixture]);
    spec
}

/// The honest spec with this as the only step of its smoke case.
fn step(step: &Value) -> Value {
    let mut spec = shout_spec();
    spec["acceptance"]["smoke"]["steps"] = json!([step]);
    spec
}

#[tokio::test]
async fn fixtures_are_tried() {
    for (given, why) in [
        (
            json!({"type": "file", "folder": "source", "path": "../x"}),
            "relative",
        ),
        (
            json!({"type": "file", "folder": "source", "path": "x", "age": "1w"}),
            "age",
        ),
        (
            json!({"type": "file", "folder": "source", "path": "x", "mode": "9"}),
            "octal",
        ),
        (
            json!({"type": "file", "folder": "source", "path": "x", "repeat": "10001"}),
            "repeats",
        ),
        (
            json!({"type": "file", "folder": "nope", "path": "x"}),
            "not declared",
        ),
        (
            json!({"type": "sqlite", "folder": "source", "path": "x", "sql": ["CREATE TABEL"]}),
            "statement",
        ),
        (
            json!({"type": "http", "host": "x.org:80", "answers": []}),
            "x.org:80 is not declared",
        ),
        (
            json!({"type": "program", "name": "a/b", "script": "#!/bin/sh"}),
            "plain name",
        ),
        (
            json!({"type": "environment", "name": "A=B", "value": ""}),
            "variable name",
        ),
    ] {
        let found = problems(&fixture(&given)).await;
        assert_names(&found, "/acceptance/smoke/fixtures/0", why);
    }
}

#[tokio::test]
async fn steps_and_draws_are_tried() {
    for (given, why) in [
        (json!({"type": "start"}), "only a service"),
        (json!({"type": "run", "limit_s": 0}), "limit_s"),
        (json!({"type": "run", "args": ["{{ nope }}"]}), "undefined"),
        (
            json!({"type": "request", "path": "/", "status": 200}),
            "not running",
        ),
    ] {
        assert_names(
            &problems(&step(&given)).await,
            "/acceptance/smoke/steps/0",
            why,
        );
    }
    let mut draw = shout_spec();
    draw["acceptance"]["draw"]["bad"] = json!({"type": "int", "min": 2, "max": 1});
    assert_names(
        &problems(&draw).await,
        "/acceptance/draw/bad",
        "min is greater",
    );
}

#[tokio::test]
async fn a_service_is_started_and_asked_and_never_run() {
    let service = |steps: Value, probe: Value| {
        json!({
            "format": 1, "name": "s", "purpose": "p", "kind": "service", "command": ["python3", "/app/main.py"],
            "trigger": {"type": "service", "port": 8000, "publish": 0, "health_path": "/health"},
            "acceptance": {"smoke": {"name": "s", "steps": [{"type": "start"}]},
                "cases": [{"name": "c", "steps": steps, "probes": [
                    {"name": "e", "holds": "effect", "check": {"type": "http", "path": "/x/{{ saved.id }}"}}, probe]}]}
        })
    };
    let good = json!([{"type": "start"}, {"type": "request", "method": "POST", "path": "/x", "status": 201, "save": {"id": "/id"}}]);
    let probe = json!({"name": "p", "holds": "effect", "check": {"type": "tcp", "port": 8000}});
    assert_eq!(
        problems(&service(good.clone(), probe.clone())).await,
        Vec::<String>::new()
    );
    let run = service(json!([{"type": "run"}]), probe.clone());
    assert_names(
        &problems(&run).await,
        "/acceptance/cases/0/steps/0",
        "does not run to an end",
    );
    let twice = service(json!([{"type": "start"}, {"type": "start"}]), probe.clone());
    assert_names(
        &problems(&twice).await,
        "/acceptance/cases/0/steps/1",
        "already running",
    );
    let invariant =
        json!({"name": "p", "holds": "invariant", "check": {"type": "tcp", "port": 8000}});
    assert_names(
        &problems(&service(good.clone(), invariant)).await,
        "/acceptance/cases/0/probes/1",
        "make it an effect",
    );
    let pointer = json!([{"type": "start"}, {"type": "request", "path": "/x", "status": 200, "save": {"id": "id"}}]);
    assert_names(
        &problems(&service(pointer, probe)).await,
        "/acceptance/cases/0/steps/1",
        "JSON pointer",
    );
}

#[tokio::test]
async fn fixture_hosts_are_tried_without_any_server() {
    let mut spec = with_probe(
        "invariant",
        &json!({"type": "http_seen", "host": "x.org:443", "path": "/", "count": 0}),
    );
    spec["permissions"]["network"] = json!(["x.org:443"]);
    let host =
        json!({"type": "http", "host": "x.org:443", "answers": [{"path": "/", "answers": [{}]}]});
    spec["acceptance"]["cases"][0]["fixtures"]
        .as_array_mut()
        .unwrap()
        .push(host);
    assert_eq!(problems(&spec).await, Vec::<String>::new());
}
