//! Our own surface beside builds and deployments: the document of it, what is kept, conditions, compression.

use crate::support::{World, wish};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

#[tokio::test]
async fn every_operation_of_the_document_is_served_and_answers_as_documented() {
    let world = World::new().await;
    let build = world.settled(&wish("zip the notes")).await.build.id;
    let document = world.get("/api/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if path.ends_with("/stop") && path.contains("daemon") {
                continue;
            }
            let path = path
                .replace("{build_id}", "nobody")
                .replace("{id}", build.as_str());
            let path = path.split(['{', '}']).enumerate();
            let path: String = path
                .map(|(n, part)| if n % 2 == 0 { part } else { "nothing" })
                .collect();
            let method = method.to_uppercase();
            let body = if operation.get("requestBody").is_some() {
                json!({ "x": 1 })
            } else {
                Value::Null
            };
            let answer = world.ask(&method, &path, body).await;
            let known = operation["responses"].get(answer.status.to_string());
            assert!(
                known.is_some(),
                "{method} {path}: {} {}",
                answer.status,
                answer.text()
            );
            if answer.status >= 400 {
                let (_, code) = answer.refusal();
                assert!(
                    !["request.path", "request.method"].contains(&code.as_str()),
                    "{method} {path}"
                );
            }
            asked += 1;
        }
    }
    assert!(asked > 50);
    world.end().await;
}

/// What validation refuses, the published schemas refuse, and what one takes the other takes.
#[tokio::test]
async fn the_documents_limits_are_those_of_validation() {
    let world = World::new().await;
    let document = world.get("/api/v1/openapi.json").await.json();
    let create = json!({ "intent": "x", "base_dir": "/tmp", "zone": "UTC" });
    let with = |name: &str, value: Value| {
        let mut body = create.clone();
        body[name] = value;
        body
    };
    for (name, path, body, fits) in [
        (
            "BuildDroplet",
            "/executor/build-droplet",
            json!({ "architect_intent": "x" }),
            true,
        ),
        (
            "BuildDroplet",
            "/executor/build-droplet",
            json!({ "architect_intent": "" }),
            false,
        ),
        (
            "BuildDroplet",
            "/executor/build-droplet",
            json!({ "architect_intent": " " }),
            false,
        ),
        (
            "BuildDroplet",
            "/executor/build-droplet",
            json!({ "architect_intent": "x".repeat(20_001) }),
            false,
        ),
        (
            "BuildDroplet",
            "/executor/build-droplet",
            json!({ "architect_intent": "x", "droplet_name": "" }),
            false,
        ),
        (
            "BuildDroplet",
            "/executor/build-droplet",
            json!({ "architect_intent": "x", "droplet_name": null }),
            true,
        ),
        (
            "BuildDroplet",
            "/executor/build-droplet",
            json!({ "architect_intent": "x", "approval_mode": "no" }),
            false,
        ),
        ("CreateBuild", "/api/v1/builds", create.clone(), true),
        (
            "CreateBuild",
            "/api/v1/builds",
            with("more", json!(1)),
            false,
        ),
        (
            "CreateBuild",
            "/api/v1/builds",
            with("repairs", json!(10)),
            false,
        ),
        (
            "CreateBuild",
            "/api/v1/builds",
            with("priority", json!(1_000_001)),
            false,
        ),
        (
            "CreateBuild",
            "/api/v1/builds",
            with("label", json!("Not A Slug")),
            false,
        ),
        (
            "CreateBuild",
            "/api/v1/builds",
            with("base_dir", json!("relative")),
            false,
        ),
        (
            "CreateBuild",
            "/api/v1/builds",
            with("intent", json!("x".repeat(20_001))),
            false,
        ),
        (
            "CreateBuild",
            "/api/v1/builds",
            with("foundations", json!(vec!["/f"; 17])),
            false,
        ),
    ] {
        let schema = json!({
            "$ref": format!("#/components/schemas/{name}"),
            "components": document["components"],
        });
        let schema = jsonschema::validator_for(&schema).unwrap();
        assert_eq!(schema.is_valid(&body), fits, "the schema on {body}");
        let answer = world.ask("POST", path, body.clone()).await;
        assert_eq!(answer.status == 202, fits, "{body}: {}", answer.text());
    }
    world.end().await;
}

/// A repository as the pipeline leaves it: two commits.
fn repository(at: &Path) {
    let git = |arguments: &[&str]| {
        #[expect(clippy::disallowed_methods, reason = "a test makes a repository")]
        let done = Command::new("git")
            .current_dir(at)
            .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
            .args(arguments)
            .status()
            .unwrap();
        assert!(done.success());
    };
    std::fs::create_dir_all(at.join("src")).unwrap();
    git(&["init", "--quiet", "--initial-branch=main"]);
    std::fs::write(at.join("src/main.py"), "print(1)\n").unwrap();
    git(&["add", "."]);
    git(&[
        "commit",
        "--quiet",
        "-m",
        "package: laid out\n\nAgentwright-Stage: package\nAgentwright-Attempt: 1\n",
    ]);
    std::fs::write(at.join("src/main.py"), "print(2)\n").unwrap();
    std::fs::write(at.join("big"), vec![b'x'; (8 << 20) + 1]).unwrap();
    git(&["add", "."]);
    git(&[
        "commit",
        "--quiet",
        "-m",
        "generate: written\n\nAgentwright-Stage: generate\nAgentwright-Attempt: 2\n",
    ]);
}

#[tokio::test]
async fn a_builds_commits_files_and_differences_are_shown_and_nothing_beside_them() {
    let world = World::new().await;
    let build = world.settled(&wish("zip the notes")).await.build.id;
    let path = format!("/api/v1/builds/{build}");
    let none = world.get(&format!("{path}/files")).await;
    assert_eq!(none.refusal(), (404, "not_found".into()));
    repository(
        &world
            .data()
            .join("builds")
            .join(build.as_str())
            .join("repo"),
    );

    let commits = world.get(&format!("{path}/commits")).await.json()["items"].clone();
    assert_eq!(
        (&commits[0]["stage"], &commits[0]["attempt"]),
        (&json!("generate"), &json!(2))
    );
    let first = commits[1]["id"].as_str().unwrap();
    let files = world
        .get(&format!("{path}/files?commit={first}"))
        .await
        .json();
    assert_eq!(
        files["items"],
        json!([{ "path": "src/main.py", "bytes": 9, "executable": false }])
    );
    let file = world
        .get(&format!("{path}/files/src/main.py?commit={}", &first[..9]))
        .await;
    assert_eq!(
        (file.text().as_str(), file.header("x-content-type-options")),
        ("print(1)\n", Some("nosniff"))
    );
    assert_eq!(
        world.get(&format!("{path}/files/src/main.py")).await.text(),
        "print(2)\n"
    );
    let diff = world
        .get(&format!("{path}/diff?path=src/main.py"))
        .await
        .json();
    assert_eq!(diff["from"], first);
    assert_eq!(
        diff["files"],
        json!([{ "path": "src/main.py", "added": 1, "removed": 1 }])
    );
    assert!(
        diff["text"]
            .as_str()
            .unwrap()
            .contains("-print(1)\n+print(2)\n")
    );
    let whole = world.get(&format!("{path}/diff?to={first}")).await.json();
    assert!(
        whole["text"].as_str().unwrap().contains("new file"),
        "{whole}"
    );
    let all = world.get(&format!("{path}/diff")).await.json();
    assert_eq!(
        (&all["cut"], all["files"].as_array().unwrap().len()),
        (&json!(true), 2)
    );

    for (what, status, code) in [
        ("files/../../token", 404, "not_found"),
        ("files/%2e%2e/%2e%2e/token", 404, "not_found"),
        ("files/src//main.py", 404, "not_found"),
        ("files/.git/config", 404, "not_found"),
        ("files/src", 404, "not_found"),
        ("files/big", 413, "request.too_large"),
        ("files?commit=--help", 404, "not_found"),
        ("files?commit=main", 404, "not_found"),
        ("files?commit=0000000", 404, "not_found"),
        ("diff?from=HEAD~1", 404, "not_found"),
        ("diff?path=:(glob)*", 200, ""),
        ("diff?path=/etc/passwd", 404, "not_found"),
        ("diff?unknown=1", 422, "request.invalid"),
    ] {
        let answer = world.get(&format!("{path}/{what}")).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        if status != 200 {
            assert_eq!(answer.refusal().1, code, "{what}");
        } else {
            assert_eq!(answer.json()["files"], json!([]), "no pattern");
        }
    }
    for (kept, count) in [
        ("stages", 6),
        ("evidence", 1),
        ("approvals", 0),
        ("transcripts", 0),
    ] {
        let page = world.get(&format!("{path}/{kept}")).await.json();
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{kept}");
    }
    let waiting = world.get("/api/v1/approvals").await.json();
    assert_eq!(waiting["items"][0]["id"], build.as_str());
    assert!(waiting["items"][0]["subject"]["digest"].is_string());
    world.end().await;
}

#[tokio::test]
async fn whoever_saw_an_older_state_changes_nothing() {
    let world = World::new().await;
    let build = world.settled(&wish("zip the notes")).await.build.id;
    let path = format!("/api/v1/builds/{build}");
    let seen = world.get(&path).await;
    let tag = seen.header("etag").unwrap().to_owned();
    let cancel = format!("{path}/cancel");
    let stale = world
        .ask_with("POST", &cancel, "if-match: \"1\"\r\n", json!({}))
        .await;
    assert_eq!(stale.refusal(), (412, "request.changed".into()));
    let fresh = world
        .ask_with("POST", &cancel, &format!("if-match: {tag}\r\n"), json!({}))
        .await;
    assert_eq!(fresh.status, 200, "{}", fresh.text());

    let mut request = wish("zip the notes");
    request.mode = agentwright_domain::build::ApprovalMode::Auto;
    world.settled(&request).await;
    let path = "/api/v1/deployments/notes-zip";
    let tag = world.get(path).await.header("etag").unwrap().to_owned();
    let pause = format!("{path}/pause");
    let head = format!("if-match: {tag}\r\n");
    let first = world.ask_with("POST", &pause, &head, json!({})).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let again = world
        .ask_with("POST", &format!("{path}/resume"), &head, Value::Null)
        .await;
    assert_eq!(again.refusal(), (412, "request.changed".into()));
    world.end().await;
}

#[tokio::test]
async fn answers_are_compressed_where_that_is_wanted_and_carry_the_callers_id() {
    let world = World::new().await;
    let plain = world.get("/api/v1/openapi.json").await.body.len();
    for encoding in ["gzip", "br"] {
        let head = format!("accept-encoding: {encoding}\r\n");
        let answer = world
            .ask_with("GET", "/api/v1/openapi.json", &head, Value::Null)
            .await;
        assert_eq!(answer.header("content-encoding"), Some(encoding));
        assert!(answer.body.len() * 3 < plain, "{}", answer.body.len());
    }
    let stream = world
        .lines("/api/v1/events", "accept-encoding: gzip\r\n")
        .await;
    drop(stream);
    let named = world
        .ask_with("GET", "/health", "x-request-id: mine.7\r\n", Value::Null)
        .await;
    assert_eq!(named.header("x-request-id"), Some("mine.7"));
    for bad in ["a b", "", "<x>", &"x".repeat(65)] {
        let head = format!("x-request-id: {bad}\r\n");
        let answer = world.ask_with("GET", "/health", &head, Value::Null).await;
        assert_ne!(answer.header("x-request-id"), Some(bad));
    }
    let cursor = world.get("/api/v1/events").await.json()["cursor"].clone();
    let after = format!("/api/v1/events?after={}", cursor.as_str().unwrap());
    let mut stream = world.lines(&after, "").await;
    world.create("fail").await;
    assert_eq!(stream.next().await.unwrap().event, "run.submitted");
    world.end().await;
}
