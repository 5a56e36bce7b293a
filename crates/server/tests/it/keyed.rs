//! The seed's API, streams and limits with keys: who is let in, slowed down, and put out.

use crate::support::{World, wish};
use crate::wire::Answer;
use agentwright_api::CreateKey;
use agentwright_domain::principal::{KeyKind, Role};
use serde_json::{Value, json};

/// A key's id and its header line.
async fn key(world: &World, role: Role, kind: KeyKind) -> (String, String) {
    let request = CreateKey {
        name: role.word().into(),
        role,
        kind,
        organizations: Vec::new(),
        expires_in_days: None,
    };
    let made = world.client.create_key(&request).await.unwrap();
    let line = format!("authorization: Bearer {}\r\n", made.secret);
    (made.key.id, line)
}

#[tokio::test]
async fn on_the_seeds_paths_a_role_may_what_it_may() {
    let world = World::new().await;
    let build = world.settled(&wish("zip the notes")).await.build.id;
    let (_, viewer) = key(&world, Role::Viewer, KeyKind::Person).await;
    let (_, operator) = key(&world, Role::Operator, KeyKind::Agent).await;
    let (_, approver) = key(&world, Role::Approver, KeyKind::Person).await;
    let wrong = "x-api-key: aw_wrong\r\n".to_owned();
    let path = |what: &str| format!("/executor/builds/{build}/{what}");
    let submit = json!({ "architect_intent": "fail" });
    for (who, method, path, body, expected) in [
        (&viewer, "GET", path("status"), Value::Null, 200),
        (
            &viewer,
            "POST",
            "/executor/build-droplet".into(),
            submit.clone(),
            403,
        ),
        (&viewer, "POST", path("cancel"), Value::Null, 403),
        (
            &viewer,
            "POST",
            path("approve"),
            json!({ "approved": true }),
            403,
        ),
        (
            &operator,
            "POST",
            "/executor/build-droplet".into(),
            submit,
            202,
        ),
        (
            &operator,
            "POST",
            path("approve"),
            json!({ "approved": true }),
            403,
        ),
        (&wrong, "GET", path("status"), Value::Null, 401),
        (&wrong, "GET", "/capabilities".into(), Value::Null, 401),
        (&wrong, "GET", "/metrics".into(), Value::Null, 401),
        (
            &approver,
            "POST",
            path("approve"),
            json!({ "approved": true }),
            200,
        ),
    ] {
        let answer = world.ask_with(method, &path, who, body).await;
        assert_eq!(
            answer.status,
            expected,
            "{method} {path} {who}: {}",
            answer.text()
        );
        if expected >= 400 {
            answer.refusal();
        }
    }
    world.end().await;
}

#[tokio::test]
async fn too_many_requests_with_one_key_are_told_to_wait_and_others_are_not() {
    let world = World::new().await;
    let (_, busy) = key(&world, Role::Viewer, KeyKind::Agent).await;
    let (_, calm) = key(&world, Role::Viewer, KeyKind::Agent).await;
    let ask = async |line: &str| -> Answer {
        world.ask_with("GET", "/api/v1/me", line, Value::Null).await
    };
    let mut asked = 0;
    let refused = loop {
        let answers = futures::future::join_all((0..100).map(|_| ask(&busy))).await;
        asked += answers.len();
        assert!(asked < 20_000, "never refused");
        if let Some(refused) = answers.into_iter().find(|answer| answer.status != 200) {
            break refused;
        }
    };
    assert_eq!(refused.refusal(), (429, "rate.limited".into()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(ask(&calm).await.status, 200);
    world.end().await;
}

#[tokio::test]
async fn streams_end_when_the_key_that_opened_them_is_revoked() {
    let world = World::new().await;
    let build = world.create("hold").await.id;
    world.script.holding().await;
    let (id, line) = key(&world, Role::Viewer, KeyKind::Person).await;
    let secret = line
        .trim_start_matches("authorization: ")
        .trim_end()
        .to_owned();
    let mut lines = world.lines("/api/v1/events", &line).await;
    assert_eq!(lines.next().await.unwrap().event, "ready");
    let mut sockets = Vec::new();
    for path in [
        format!("/executor/builds/{build}/stream"),
        format!("/api/v1/builds/{build}/events"),
    ] {
        let shown = [("authorization", secret.as_str())];
        sockets.push(world.websocket(&path, &shown).await.unwrap());
    }
    let revoked = world
        .ask("DELETE", &format!("/api/v1/keys/{id}"), Value::Null)
        .await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_eq!(lines.next().await.unwrap().event, "revoked");
    assert!(lines.next().await.is_none());
    for socket in sockets {
        assert_eq!(socket.all().await.1.unwrap().0, 1008);
    }
    world.script.release();
    world.end().await;
}

#[tokio::test]
async fn a_command_is_done_for_the_key_that_signed_it_in_its_time() {
    let world = World::new().await;
    let build = world.settled(&wish("zip the notes")).await.build.id;
    let (_, line) = key(&world, Role::Operator, KeyKind::Agent).await;
    let secret = line.trim_start_matches("authorization: Bearer ").trim_end();
    let now = world.get("/health").await.json()["timestamp"].clone();
    let message = json!({
        "trace_id": "t", "source": "verifier", "target": "executor", "message_type": "command",
        "payload": { "command": "cancel", "build_id": build }, "timestamp": now,
    });
    let send = async |message: &Value, with: &str| {
        let mut signed = message.clone();
        signed["signature"] = json!(signature(message, with));
        world.ask_with("POST", "/message", &line, signed).await
    };
    let other = send(&message, "another key").await;
    assert_eq!(other.refusal(), (403, "message.signature".into()));
    let mut old = message.clone();
    old["timestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(
        send(&old, secret).await.refusal(),
        (400, "request.invalid".into())
    );
    let mut odd = message.clone();
    odd["payload"]["command"] = json!("reboot");
    assert_eq!(
        send(&odd, secret).await.refusal(),
        (400, "request.invalid".into())
    );
    let done = send(&message, secret).await;
    assert_eq!(
        done.json()["result"]["status"],
        "cancelled",
        "{}",
        done.text()
    );
    let gone = world.client.build(build.as_str()).await.unwrap();
    assert!(gone.build.status().ended());
    world.end().await;
}

/// HMAC-SHA256 over the message with sorted keys and without blanks, in hex.
fn signature(message: &Value, key: &str) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
    // serde_json's maps are sorted.
    mac.update(message.to_string().as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
