//! `/executor` and the service contract, to the letter: names, statuses, refusals.

use crate::support::{World, digest, wish};
use serde_json::{Value, json};

/// Submits over `/executor` and waits until nothing more happens by itself.
async fn job(world: &World, body: Value) -> Value {
    let accepted = world.ask("POST", "/executor/build-droplet", body).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let id = accepted.json()["build_id"].as_str().unwrap().to_owned();
    world.until_settled(&id).await;
    status(world, &id).await
}

async fn status(world: &World, id: &str) -> Value {
    let answer = world.get(&format!("/executor/builds/{id}/status")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn id(job: &Value) -> String {
    job["build_id"].as_str().unwrap().to_owned()
}

fn of_phases(job: &Value, field: &str) -> Vec<String> {
    let phases = job["phases"].as_array().unwrap();
    let each = phases.iter().map(|phase| match &phase[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    each.collect()
}

fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    keys
}

async fn approve(world: &World, id: &str, body: Value) -> Value {
    let path = format!("/executor/builds/{id}/approve");
    let answer = world.ask("POST", &path, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    world.until_settled(id).await;
    answer.json()
}

#[tokio::test]
async fn a_submission_is_answered_with_absolute_addresses_and_a_job_has_exactly_its_names() {
    let world = World::new().await;
    let body = json!({ "architect_intent": "zip the notes", "droplet_id": 20, "droplet_name": "Note Keeper" });
    let accepted = world.ask("POST", "/executor/build-droplet", body).await;
    assert_eq!(accepted.status, 202);
    let accepted = accepted.json();
    assert_eq!(
        keys(&accepted),
        [
            "build_id",
            "estimated_completion",
            "status",
            "status_url",
            "stream_url"
        ]
    );
    let id = id(&accepted);
    assert_eq!(
        accepted["stream_url"],
        format!("ws://example.test:8400/executor/builds/{id}/stream")
    );
    assert_eq!(
        accepted["status_url"],
        format!("http://example.test:8400/executor/builds/{id}/status")
    );
    assert_eq!(accepted["estimated_completion"], Value::Null);
    let detail = world.until_settled(&id).await;
    assert_eq!(detail.build.label.as_str(), "note-keeper");

    let job = status(&world, &id).await;
    let names = "approval_mode architect_intent build_id completed_at created_at current_phase \
        deployment_url droplet_id droplet_name error estimated_completion estimated_time_remaining \
        final_decision phases progress_percent started_at status";
    assert_eq!(keys(&job), names.split_whitespace().collect::<Vec<_>>());
    let phase =
        "completed_at details duration_seconds error phase_name progress_percent started_at status";
    assert_eq!(
        keys(&job["phases"][0]),
        phase.split(' ').collect::<Vec<_>>()
    );
    assert_eq!(
        of_phases(&job, "phase_name"),
        [
            "SPEC Generation",
            "Package",
            "Build",
            "Verify",
            "Deploy",
            "Register"
        ]
    );
    assert_eq!(
        (&job["droplet_id"], &job["droplet_name"]),
        (&json!(20), &json!("Note Keeper"))
    );
    assert_eq!(
        (&job["status"], &job["current_phase"]),
        (&json!("awaiting_approval"), &json!("Deploy"))
    );
    let gate = &job["phases"][4]["details"];
    assert_eq!(
        (&gate["gate"], &gate["waits_for"]),
        (&json!("deploy"), &json!("approval"))
    );
    assert_eq!(gate["subject_digest"], digest(6).as_str());

    let forwarded = "x-forwarded-proto: https\r\nx-forwarded-host: builds.example\r\n";
    let body = json!({ "architect_intent": "zip the notes" });
    let behind = world
        .ask_with("POST", "/executor/build-droplet", forwarded, body)
        .await
        .json();
    assert!(
        behind["stream_url"]
            .as_str()
            .unwrap()
            .starts_with("wss://builds.example/executor/")
    );
    world.end().await;
}

#[tokio::test]
async fn every_approval_mode_with_and_without_deploying() {
    let world = World::new().await;
    for (mode, deploy, gates) in [
        ("auto", true, &[][..]),
        ("final", true, &["deploy"]),
        ("checkpoints", true, &["spec", "deploy"]),
        ("auto", false, &[]),
        ("final", false, &[]),
        ("checkpoints", false, &["spec"]),
    ] {
        let case = format!("{mode} {deploy}");
        let body = json!({ "architect_intent": "zip the notes", "approval_mode": mode, "auto_deploy": deploy });
        let mut now = job(&world, body).await;
        let build = id(&now);
        for gate in gates {
            assert_eq!(now["status"], "awaiting_approval", "{case}");
            let follows = if *gate == "spec" { "Package" } else { "Deploy" };
            assert_eq!(now["current_phase"], follows, "{case}");
            assert_eq!(now["final_decision"], Value::Null, "{case}");
            let place = if *gate == "spec" { 1 } else { 4 };
            let subject = now["phases"][place]["details"]["subject_digest"].clone();
            let said = approve(
                &world,
                &build,
                json!({ "approved": true, "subject_digest": subject }),
            )
            .await;
            assert_eq!(
                keys(&said),
                [
                    "approved",
                    "build_id",
                    "next_steps",
                    "status",
                    "subject_digest"
                ]
            );
            assert_eq!(
                (&said["approved"], &said["subject_digest"]),
                (&json!(true), &subject)
            );
            now = status(&world, &build).await;
        }
        assert_eq!(now["status"], "completed", "{case}: {now}");
        assert_eq!(now["progress_percent"], 100, "{case}");
        let decided = if gates.contains(&"deploy") {
            json!("approved")
        } else {
            Value::Null
        };
        assert_eq!(now["final_decision"], decided, "{case}");
        let (last, url) = match deploy {
            true => (["completed", "completed"], json!("http://127.0.0.1:9000")),
            false => (["skipped", "skipped"], Value::Null),
        };
        assert_eq!(of_phases(&now, "status")[4..], last, "{case}");
        assert_eq!(of_phases(&now, "status")[..4], ["completed"; 4], "{case}");
        assert_eq!(now["deployment_url"], url, "{case}");
        assert_ne!(now["completed_at"], Value::Null, "{case}");
    }
    world.end().await;
}

#[tokio::test]
async fn without_deploying_nothing_is_repaired_and_the_result_is_deployed_later_through_its_gate() {
    let world = World::new().await;
    let body = |intent: &str, deploy: bool| json!({ "architect_intent": intent, "auto_deploy": deploy, "approval_mode": "final" });
    let broken = job(&world, body("mend the notes", false)).await;
    assert_eq!(
        (&broken["status"], &broken["current_phase"]),
        (&json!("failed"), &json!("Verify"))
    );
    assert_eq!(broken["phases"][3]["error"], broken["error"]);
    assert_eq!(
        of_phases(&broken, "status"),
        [
            "completed",
            "completed",
            "completed",
            "failed",
            "skipped",
            "skipped"
        ]
    );
    let mended = job(&world, body("mend the notes", true)).await;
    assert_eq!(mended["status"], "awaiting_approval");
    assert_eq!(
        mended["phases"][2]["details"]["attempts"], 4,
        "written and looked at twice"
    );

    let verified = job(&world, body("zip the notes", false)).await;
    assert_eq!(verified["status"], "completed");
    let path = format!("/api/v1/builds/{}/deploy", id(&verified));
    let later = world.ask("POST", &path, json!({})).await;
    assert_eq!(later.status, 202, "{}", later.text());
    let later = later.json()["id"].as_str().unwrap().to_owned();
    world.until_settled(&later).await;
    let waiting = status(&world, &later).await;
    assert_eq!(waiting["status"], "awaiting_approval");
    assert_eq!(of_phases(&waiting, "status")[..3], ["skipped"; 3]);
    assert_eq!(
        waiting["phases"][0]["details"]["made_by"],
        verified["build_id"]
    );
    approve(&world, &later, json!({ "approved": true })).await;
    let done = status(&world, &later).await;
    assert_eq!(
        (&done["status"], &done["final_decision"]),
        (&json!("completed"), &json!("approved"))
    );
    world.end().await;
}

#[tokio::test]
async fn decisions_and_cancels_fit_the_state_or_are_conflicts() {
    let world = World::new().await;
    let waiting = job(&world, json!({ "architect_intent": "zip the notes" })).await;
    let build = id(&waiting);
    let path = format!("/executor/builds/{build}/approve");
    let stale = json!({ "approved": true, "subject_digest": digest(9) });
    let stale = world.ask("POST", &path, stale).await;
    assert_eq!(stale.refusal(), (409, "decision.stale".into()));
    assert!(
        stale.text().contains(digest(6).as_str()),
        "{}",
        stale.text()
    );

    let no = approve(
        &world,
        &build,
        json!({ "approved": false, "feedback": "not these" }),
    )
    .await;
    assert_eq!(
        (&no["status"], &no["subject_digest"]),
        (&json!("cancelled"), &json!(digest(6)))
    );
    let rejected = status(&world, &build).await;
    assert_eq!(
        (&rejected["status"], &rejected["final_decision"]),
        (&json!("cancelled"), &json!("rejected"))
    );
    assert!(rejected["error"].as_str().unwrap().ends_with("not these"));
    assert_eq!(of_phases(&rejected, "status")[4..], ["skipped", "skipped"]);
    let twice = world.ask("POST", &path, json!({ "approved": true })).await;
    assert_eq!(twice.refusal(), (409, "run.ended".into()));
    let cancel = format!("/executor/builds/{build}/cancel");
    let ended = world.ask("POST", &cancel, Value::Null).await;
    assert_eq!(ended.refusal(), (409, "run.ended".into()));

    let body = json!({ "architect_intent": "hold the notes" });
    let held = world
        .ask("POST", "/executor/build-droplet", body)
        .await
        .json();
    world.script.holding().await;
    let held = id(&held);
    let running = status(&world, &held).await;
    assert_eq!(
        (&running["status"], &running["current_phase"]),
        (&json!("running"), &json!("Build"))
    );
    assert_eq!(running["phases"][2]["details"]["stage"], "generate");
    let path = format!("/executor/builds/{held}/approve");
    let early = world.ask("POST", &path, json!({ "approved": true })).await;
    assert_eq!(early.refusal(), (409, "decision.not_waiting".into()));
    let gone = world
        .ask(
            "DELETE",
            &format!("/executor/builds/{held}"),
            json!({ "reason": "changed my mind" }),
        )
        .await;
    assert_eq!(gone.status, 200, "{}", gone.text());
    let gone = gone.json();
    assert_eq!(keys(&gone), ["build_id", "cancelled_at", "status"]);
    assert_eq!(gone["status"], "cancelled");
    let cancelled = status(&world, &held).await;
    assert_eq!(cancelled["completed_at"], gone["cancelled_at"]);
    assert_eq!(
        (&cancelled["current_phase"], &cancelled["final_decision"]),
        (&json!("Build"), &Value::Null)
    );

    let path = format!("/executor/builds/{held}/retry?from_step=Build");
    let again = world.ask("POST", &path, Value::Null).await;
    assert_eq!(again.status, 202, "{}", again.text());
    assert_ne!(again.json()["build_id"], held);
    world.script.release();
    world.end().await;
}

#[tokio::test]
async fn a_list_is_a_bare_array_with_filters_and_a_link_to_the_next_page() {
    let world = World::new().await;
    for intent in ["one", "fail two", "three", "four"] {
        job(
            &world,
            json!({ "architect_intent": intent, "approval_mode": "auto" }),
        )
        .await;
    }
    let waiting = job(&world, json!({ "architect_intent": "five" })).await;
    let list = async |query: &str| {
        let answer = world.get(&format!("/executor/builds{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let link = answer.header("link").map(str::to_owned);
        let intents: Vec<String> = answer
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job["architect_intent"].as_str().unwrap().to_owned())
            .collect();
        (intents.join(","), link)
    };
    assert_eq!(
        list("").await,
        ("five,four,three,fail two,one".into(), None)
    );
    let (first, link) = list("?limit=2&status=completed").await;
    assert_eq!(first, "four,three");
    let link = link.unwrap();
    let next = "<http://example.test:8400/executor/builds?limit=2&offset=2&status=completed>; rel=\"next\"";
    assert_eq!(link, next);
    assert_eq!(
        list("?limit=2&offset=2&status=completed").await,
        ("one".into(), None)
    );
    for (status, found) in [
        ("queued", ""),
        ("running", ""),
        ("awaiting_approval", "five"),
        ("failed", "fail two"),
        ("cancelled", ""),
    ] {
        assert_eq!(
            list(&format!("?status={status}")).await.0,
            found,
            "{status}"
        );
    }
    let at = waiting["created_at"].as_str().unwrap();
    let (day, _) = at.split_once('T').unwrap();
    assert_eq!(list(&format!("?from={at}")).await.0, "five");
    assert_eq!(list(&format!("?from={at}&to={at}")).await.0, "five");
    assert_eq!(
        list(&format!("?to={day}")).await.0,
        "five,four,three,fail two,one"
    );
    assert_eq!(
        list(&format!("?date_range={day}/{day}&limit=1")).await.0,
        "five"
    );
    assert_eq!(list("?to=2020-01-01").await.0, "");

    for query in [
        "?status=waiting",
        "?limit=0",
        "?limit=501",
        "?limit=-1",
        "?limit=many",
        "?offset=1000001",
        "?from=yesterday",
        "?date_range=2026-01-01",
        "?date_range=2026-01-01/2026-01-02&to=2026-01-02",
        "?from=2026-01-02&to=2026-01-01",
        "?unknown=1",
        "?status=failed&status=failed",
    ] {
        let answer = world.get(&format!("/executor/builds{query}")).await;
        assert_eq!(answer.refusal(), (400, "request.invalid".into()), "{query}");
    }
    world.end().await;
}

#[tokio::test]
async fn every_fault_of_a_body_is_a_400_and_a_stable_code() {
    let world = World::new().await;
    let path = "/executor/build-droplet";
    let long = "x".repeat(20_001);
    for body in [
        json!({}),
        json!([]),
        json!("build it"),
        json!({ "architect_intent": "" }),
        json!({ "architect_intent": " \n" }),
        json!({ "architect_intent": long }),
        json!({ "architect_intent": 7 }),
        json!({ "architect_intent": null }),
        json!({ "architect_intent": "x", "droplet_id": "20" }),
        json!({ "architect_intent": "x", "droplet_id": 1.5 }),
        json!({ "architect_intent": "x", "droplet_name": "" }),
        json!({ "architect_intent": "x", "droplet_name": "n".repeat(201) }),
        json!({ "architect_intent": "x", "approval_mode": "never" }),
        json!({ "architect_intent": "x", "auto_deploy": "yes" }),
    ] {
        let answer = world.ask("POST", path, body.clone()).await;
        assert_eq!(answer.refusal(), (400, "request.invalid".into()), "{body}");
    }
    let is_json = "content-type: application/json\r\n";
    for (head, body, status, code) in [
        (is_json, "{\"architect_intent\": ", 400, "request.json"),
        (is_json, "", 400, "request.invalid"),
        (is_json, "\u{0}", 400, "request.json"),
        (
            "content-type: text/plain\r\n",
            "{}",
            415,
            "request.media_type",
        ),
        ("", "{}", 415, "request.media_type"),
    ] {
        let answer = world.send("POST", path, head, body.as_bytes()).await;
        assert_eq!(answer.refusal(), (status, code.into()), "{head}{body}");
    }
    let huge = vec![b' '; agentwright_api::BODY_MAX_BYTES + 1];
    let answer = world.send("POST", path, is_json, &huge).await;
    assert_eq!(answer.refusal(), (413, "request.too_large".into()));

    let unknown = "/executor/builds/00000000-0000-7000-8000-000000000000";
    for (method, path, status, code) in [
        ("GET", path.to_owned(), 405, "request.method"),
        ("PUT", "/executor/builds".to_owned(), 405, "request.method"),
        ("GET", "/executor/nothing".to_owned(), 404, "request.path"),
        ("GET", format!("{unknown}/status"), 404, "not_found"),
        ("POST", format!("{unknown}/cancel"), 404, "not_found"),
        ("POST", format!("{unknown}/retry"), 404, "not_found"),
        ("DELETE", unknown.to_owned(), 404, "not_found"),
        (
            "GET",
            "/executor/builds/%00/status".to_owned(),
            404,
            "not_found",
        ),
        (
            "GET",
            "/executor/builds/%ff/status".to_owned(),
            404,
            "request.path",
        ),
        (
            "GET",
            "/executor/builds/../status".to_owned(),
            404,
            "not_found",
        ),
    ] {
        let answer = world.send(method, &path, "", b"").await;
        assert_eq!(answer.refusal(), (status, code.into()), "{method} {path}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{path}");
    }
    let waiting = job(&world, json!({ "architect_intent": "zip", "more": [1] })).await;
    let approve = format!("/executor/builds/{}/approve", id(&waiting));
    for body in [
        json!({}),
        json!({ "approved": "yes" }),
        json!({ "approved": null }),
        json!({ "approved": true, "notes": 5 }),
        json!({ "approved": true, "notes": "n".repeat(4_001) }),
        json!({ "approved": true, "subject_digest": "sha256:0" }),
    ] {
        let answer = world.ask("POST", &approve, body.clone()).await;
        assert_eq!(answer.refusal(), (400, "request.invalid".into()), "{body}");
    }
    let key = format!("idempotency-key: {}\r\n", "k".repeat(201));
    let body = json!({ "architect_intent": "x" });
    let answer = world.ask_with("POST", path, &key, body).await;
    assert_eq!(answer.refusal(), (400, "request.invalid".into()));
    world.end().await;
}

#[tokio::test]
async fn a_repeated_submission_with_the_same_key_is_one_build() {
    let world = World::new().await;
    let path = "/executor/build-droplet";
    let key = "idempotency-key: one\r\n";
    let body = json!({ "architect_intent": "zip the notes", "droplet_id": 3 });
    let first = world.ask_with("POST", path, key, body.clone()).await.json();
    let second = world.ask_with("POST", path, key, body).await.json();
    assert_eq!(first["build_id"], second["build_id"]);
    let other = json!({ "architect_intent": "zip the notes", "droplet_id": 4 });
    let other = world.ask_with("POST", path, key, other).await;
    assert_eq!(other.refusal(), (409, "idempotency.mismatch".into()));
    world.end().await;
}

#[tokio::test]
async fn an_estimate_is_given_when_like_builds_are_known() {
    let world = World::new().await;
    for _ in 0..3 {
        let body = json!({ "architect_intent": "hold the notes", "approval_mode": "auto" });
        let build = world
            .ask("POST", "/executor/build-droplet", body)
            .await
            .json();
        assert_eq!(
            build["estimated_completion"],
            Value::Null,
            "too few are known"
        );
        world.script.holding().await;
        status(&world, &id(&build)).await;
        world.script.release();
        world.until_settled(&id(&build)).await;
    }
    // What was read is good for a while; a restart reads anew.
    let world = world.restarted().await;
    let body = json!({ "architect_intent": "hold the notes", "approval_mode": "auto" });
    let build = world
        .ask("POST", "/executor/build-droplet", body)
        .await
        .json();
    assert_ne!(build["estimated_completion"], Value::Null);
    world.script.holding().await;
    world.script.release();
    let done = world.until_settled(&id(&build)).await;
    let done = status(&world, done.build.id.as_str()).await;
    assert_eq!(done["estimated_time_remaining"], Value::Null);
    world.end().await;
}

#[tokio::test]
async fn the_server_tells_how_it_is_and_what_it_can_do() {
    let world = World::new().await;
    let health = world.get("/executor/health").await;
    let health = health.json();
    assert_eq!(
        keys(&health),
        [
            "active_builds",
            "claude_api",
            "status",
            "uptime_seconds",
            "version"
        ]
    );
    assert!(["healthy", "degraded"].contains(&health["status"].as_str().unwrap()));
    let can = world.get("/executor/capabilities").await.json();
    assert_eq!(
        keys(&can),
        [
            "can_deploy",
            "claude_model",
            "max_concurrent_builds",
            "providers",
            "supported_approval_modes",
            "targets"
        ]
    );
    assert_eq!(
        can["supported_approval_modes"],
        json!(["auto", "checkpoints", "final"])
    );
    assert_eq!(
        (&can["max_concurrent_builds"], &can["targets"]),
        (&json!(3), &json!(["local"]))
    );

    let health = world.get("/health").await.json();
    assert_eq!(keys(&health), ["service", "status", "timestamp", "version"]);
    assert_eq!(health["status"], "active");
    let can = world.get("/capabilities").await.json();
    assert_eq!(
        keys(&can),
        [
            "dependencies",
            "features",
            "metadata",
            "udc_version",
            "version"
        ]
    );
    assert_eq!(can["udc_version"], "1.0");
    let needs = world.get("/dependencies").await.json();
    assert_eq!(keys(&needs), ["missing", "optional", "required"]);
    assert_eq!(
        needs["required"][0],
        json!({ "name": "store", "status": "connected" })
    );
    let state = world.get("/state").await.json();
    assert_eq!(
        keys(&state),
        [
            "errors_last_hour",
            "last_restart",
            "requests_per_minute",
            "requests_total",
            "resource_usage",
            "uptime_seconds"
        ]
    );
    assert!(state["requests_total"].as_u64().unwrap() >= 5);
    let metrics = world.get("/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = metrics.text();
    assert!(text.contains("agentwright_http_requests_total{method=\"GET\",route=\"/executor/health\",status=\"200\"} 1"), "{text}");
    assert!(text.ends_with("# EOF\n"));
    world.end().await;
}

#[tokio::test]
async fn a_message_is_taken_answered_or_refused() {
    let world = World::new().await;
    let waiting = world.settled(&wish("zip the notes")).await;
    let id = waiting.build.id;
    let message = |kind: &str, payload: Value| {
        json!({
            "trace_id": "t1", "source": "verifier", "target": "executor", "message_type": kind,
            "payload": payload, "timestamp": "2026-11-21T22:00:00",
        })
    };
    let taken = world
        .ask("POST", "/message", message("status", json!({})))
        .await
        .json();
    assert_eq!(
        keys(&taken),
        ["processed_at", "received", "result", "trace_id"]
    );
    assert_eq!(
        (&taken["received"], &taken["result"]),
        (&json!(true), &Value::Null)
    );
    let asked = message("query", json!({ "build_id": id }));
    let told = world.ask("POST", "/message", asked).await.json();
    assert_eq!(told["result"]["status"], "awaiting_approval");

    let command = message("command", json!({ "command": "cancel", "build_id": id }));
    let mut signed = command.clone();
    signed["signature"] = json!("00");
    let unknown = json!({ "build_id": "nobody" });
    for (body, status, code) in [
        (command, 403, "message.unsigned"),
        (signed, 403, "message.signature"),
        (message("query", unknown), 404, "not_found"),
        (message("query", json!({})), 400, "request.invalid"),
        (message("gossip", json!({})), 400, "request.invalid"),
        (json!({ "trace_id": "t1" }), 400, "request.invalid"),
    ] {
        let answer = world.ask("POST", "/message", body.clone()).await;
        assert_eq!(answer.refusal(), (status, code.into()), "{body}");
    }
    let still = world.client.build(id.as_str()).await.unwrap();
    assert!(!still.build.status().ended(), "nothing was cancelled");
    world.end().await;
}
