use super::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends one request and gives back everything that comes until the server closes.
async fn raw(server: &ModelServer, request: &str, body: &str) -> String {
    with_key(server, request, "", body).await
}

async fn with_key(server: &ModelServer, request: &str, key: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut out = Vec::new();
    let _ = stream.read_to_end(&mut out).await;
    String::from_utf8(out).unwrap()
}

fn body_of(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

fn question(stream: bool) -> String {
    json!({
        "model": "m", "stream": stream, "system": [{"type": "text", "text": "be brief"}],
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "a", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "ok"}], "is_error": true},
                {"type": "text", "text": "and now?"},
            ]},
        ],
        "tools": [{"name": "a", "input_schema": {}}],
    })
    .to_string()
}

#[tokio::test]
async fn a_question_is_read_and_answered_in_pieces_and_in_one() {
    let server = ModelServer::playing([Step::text("one"), Step::text("two")]).await;
    let whole = raw(&server, "POST /v1/messages?beta=true", &question(false)).await;
    assert_eq!(body_of(&whole)["content"][0]["text"], "one");
    let pieces = raw(&server, "POST /v1/messages", &question(true)).await;
    for part in [
        "content-type: text/event-stream",
        "event: message_start\n",
        "\"text\":\"two\"",
        "event: message_stop\n",
    ] {
        assert!(pieces.contains(part), "{part} in {pieces}");
    }
    let seen = &server.requests()[0];
    assert_eq!(seen.path, "/v1/messages?beta=true");
    assert_eq!(
        (seen.system.as_str(), seen.last_user_text()),
        ("be brief", "and now?")
    );
    assert!(seen.has_tool("a") && !seen.has_tool("b"));
    let result = ToolAnswer {
        id: "t1".to_owned(),
        content: "ok".to_owned(),
        is_error: true,
    };
    assert_eq!(seen.results, [result]);
    let over = raw(&server, "POST /v1/messages", &question(false)).await;
    assert!(over.starts_with("HTTP/1.1 500"), "{over}");
}

#[tokio::test]
async fn listings_counts_and_signs_of_life_are_no_questions() {
    let server = ModelServer::playing([]).await;
    server.set_models(["a-model"]);
    assert!(raw(&server, "HEAD /", "").await.starts_with("HTTP/1.1 200"));
    let tags = raw(&server, "GET /api/tags", "").await;
    assert_eq!(body_of(&tags)["models"][0]["name"], "a-model");
    let models = raw(&server, "GET /v1/models?limit=5", "").await;
    assert_eq!(body_of(&models)["data"][0]["id"], "a-model");
    let count = raw(
        &server,
        "POST /v1/messages/count_tokens?beta=true",
        "{\"a\": 12}",
    )
    .await;
    assert_eq!(body_of(&count)["input_tokens"], 3);
    let unknown = raw(&server, "GET /nonsense", "").await;
    assert!(unknown.starts_with("HTTP/1.1 404"));
    assert!(server.requests().is_empty());
    assert_eq!(server.other_requests().len(), 5);
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_the_script_does_not_see_it() {
    let server = ModelServer::playing([Step::text("x")]).await;
    server.require_key("right");
    let refused = with_key(&server, "POST /v1/messages", "wrong", &question(false)).await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    assert!(server.requests().is_empty());
    let taken = with_key(&server, "POST /v1/messages", "right", &question(false)).await;
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
    assert_eq!(server.requests()[0].key(), Some("right"));
}

#[tokio::test]
async fn a_tool_that_is_declared_as_custom_is_called_with_bare_text() {
    let call = Step::tool("apply_patch", json!({"input": "*** Begin"}));
    let server = ModelServer::playing([call]).await;
    let asked = json!({
        "model": "m", "input": "go", "stream": false,
        "tools": [{"type": "custom", "name": "apply_patch"}],
    });
    let answer = raw(&server, "POST /v1/responses", &asked.to_string()).await;
    let item = &body_of(&answer)["output"][0];
    assert_eq!(item["type"], "custom_tool_call");
    assert_eq!(item["input"], "*** Begin");
}

#[tokio::test]
async fn what_is_no_http_ends_the_connection_and_nothing_else() {
    let server = ModelServer::playing([Step::text("x")]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[b'x'; 70_000]).await.unwrap();
    let mut out = Vec::new();
    let _ = stream.read_to_end(&mut out).await;
    assert!(out.is_empty());
    let whole = raw(&server, "POST /v1/messages", &question(false)).await;
    assert!(whole.starts_with("HTTP/1.1 200"));
}
