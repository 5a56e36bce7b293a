//! The relay from outside: who may ask, what is sent on, what is counted, what comes back.

use std::sync::Arc;
use std::time::Duration;

use agentwright_agent::relay::MAX_QUESTION_BYTES;
use agentwright_agent::{CoderError, CoderLimit, Relay, RelayLimits, Traffic, Trouble};
use agentwright_llm::{Kind, Usage, Wire};
use agentwright_testkit::model_server::{Fault, ModelServer, Step, Tokens};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Counting, KEY, upstream};

const LIMITS: RelayLimits = RelayLimits {
    calls: 100,
    output_tokens: 1_000_000,
};

async fn relay(
    server: &ModelServer,
    wire: Wire,
    meter: &Arc<Counting>,
    limits: RelayLimits,
) -> Relay {
    Relay::start(upstream(server, wire, meter.clone()), limits)
        .await
        .unwrap()
}

/// Sends one request by hand; the whole answer as text.
async fn send(relay: &Relay, head: &str, token: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    let length = body.len();
    let head = format!(
        "{head} HTTP/1.1\r\nhost: relay\r\nx-api-key: {token}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A refusal may come before the body has been read.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn ask(relay: &Relay, path: &str, body: &Value) -> String {
    let token = relay.token().expose().to_owned();
    send(
        relay,
        &format!("POST {path}"),
        &token,
        body.to_string().as_bytes(),
    )
    .await
}

fn trouble(traffic: &Traffic) -> Option<Kind> {
    match &traffic.trouble {
        Some(Trouble::Model(error)) => Some(error.kind),
        _ => None,
    }
}

#[tokio::test]
async fn every_wire_is_passed_on_with_our_key_and_model_and_is_metered() {
    for (wire, path, stream) in [
        (Wire::Anthropic, "/v1/messages?beta=true", true),
        (Wire::Anthropic, "/v1/messages", false),
        (Wire::OpenaiResponses, "/v1/responses", true),
        (Wire::OpenaiResponses, "/v1/responses", false),
        (Wire::OpenaiChat, "/v1/chat/completions", true),
        (Wire::OpenaiChat, "/v1/chat/completions", false),
    ] {
        let tokens = Tokens {
            input: 1000,
            output: 70,
            ..Tokens::default()
        };
        let server =
            ModelServer::playing([Step::text("hello from the model").with_tokens(Some(tokens))])
                .await;
        let meter = Counting::up_to(5);
        let relay = relay(&server, wire, &meter, LIMITS).await;
        let body = json!({"model": "dearest", "stream": stream, "messages": [], "input": []});
        let answer = ask(&relay, path, &body).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{wire:?} {answer}");
        let plain: String = answer.split("\"delta\"").collect();
        assert!(plain.contains("hello"), "{wire:?} {answer}");
        assert!(!answer.contains(KEY));
        let asked = &server.requests()[0];
        assert_eq!(asked.key(), Some(KEY));
        assert_ne!(asked.model, "dearest");
        let traffic = relay.finish().await;
        assert_eq!(
            (traffic.calls, traffic.usage.input, traffic.usage.output),
            (1, Some(1000), Some(70)),
            "{wire:?}"
        );
        assert!(traffic.trouble.is_none());
        assert_eq!(meter.assert_even(), 1);
        let planned = meter.planned.lock().unwrap();
        assert!(planned[0].max_output_tokens == 8000 && planned[0].max_cost_micro_usd.is_some());
        let settled = meter.settled.lock().unwrap();
        assert_eq!(
            (settled[0].usage.output, settled[0].error),
            (Some(70), None)
        );
        assert!(settled[0].cost_micro_usd.is_some_and(|cost| cost > 0));
    }
}

#[tokio::test]
async fn nobody_asks_without_the_token_or_for_anything_else() {
    let server = ModelServer::playing([]).await;
    let meter = Counting::up_to(5);
    let relay = relay(&server, Wire::Anthropic, &meter, LIMITS).await;
    let token = relay.token().expose().to_owned();
    for wrong in ["", "x", &token[1..], KEY] {
        let answer = send(&relay, "POST /v1/messages", wrong, b"{}").await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    for (head, status) in [
        ("HEAD /", "200"),
        ("GET /v1/models", "200"),
        ("POST /v1/messages/count_tokens", "200"),
        ("POST /v1/responses", "404"),
        ("POST /v1/files", "404"),
        ("GET /v1/messages", "404"),
        ("POST /v1/messages", "400"),
        ("CONNECT example.org:443", "404"),
        ("POST http://example.org/v1/x", "404"),
    ] {
        let answer = send(&relay, head, &token, b"no json").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{head}: {answer}"
        );
    }
    let answer = send(
        &relay,
        "POST /v1/messages",
        &token,
        &vec![b' '; MAX_QUESTION_BYTES + 1],
    )
    .await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
        "{answer}"
    );
    assert_eq!((meter.assert_even(), server.requests().len()), (0, 0));
}

#[tokio::test]
async fn a_refusal_of_the_ledger_reaches_the_agent_and_ends_its_work() {
    let server = ModelServer::playing([]).await;
    let meter = Counting::up_to(0);
    let relay = relay(&server, Wire::Anthropic, &meter, LIMITS).await;
    let over = relay.over();
    let answer = ask(&relay, "/v1/messages", &json!({"messages": []})).await;
    assert!(
        answer.starts_with("HTTP/1.1 402") && answer.contains("x-should-retry: false"),
        "{answer}"
    );
    assert!(
        answer.contains("the day's budget is spent") && answer.contains("\"type\":\"error\""),
        "{answer}"
    );
    assert!(over.is_cancelled());
    let traffic = relay.finish().await;
    assert_eq!(
        (trouble(&traffic), server.requests().len()),
        (Some(Kind::Refused), 0)
    );
}

#[tokio::test]
async fn calls_and_tokens_of_one_agent_are_bounded() {
    let server = ModelServer::start(|_| Step::text("x")).await;
    for (limits, expected) in [
        (RelayLimits { calls: 2, ..LIMITS }, CoderLimit::Turns),
        (
            RelayLimits {
                output_tokens: 6,
                ..LIMITS
            },
            CoderLimit::Tokens,
        ),
    ] {
        let meter = Counting::up_to(9);
        let relay = relay(&server, Wire::Anthropic, &meter, limits).await;
        for _ in 0..2 {
            let answer = ask(&relay, "/v1/messages", &json!({"messages": []})).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        let answer = ask(&relay, "/v1/messages", &json!({"messages": []})).await;
        assert!(
            answer.starts_with("HTTP/1.1 402") && answer.contains("no further call"),
            "{answer}"
        );
        assert!(relay.over().is_cancelled());
        let traffic = relay.finish().await;
        assert_eq!(meter.assert_even(), 2);
        assert!(matches!(traffic.trouble, Some(Trouble::Limit(limit)) if limit == expected));
    }
}

#[tokio::test]
async fn every_failure_of_the_provider_is_settled_and_named() {
    for (fault, kind, over) in [
        (
            Fault::RateLimited {
                retry_after: Some(2),
            },
            Kind::RateLimited,
            false,
        ),
        (
            Fault::RateLimited {
                retry_after: Some(9000),
            },
            Kind::RateLimited,
            true,
        ),
        (Fault::Overloaded, Kind::Overloaded, false),
        (Fault::Server, Kind::Server, false),
        (Fault::Unauthorized, Kind::Auth, true),
        (Fault::PaymentRequired, Kind::Billing, true),
        (Fault::UnknownModel, Kind::UnknownModel, true),
        (Fault::HtmlBadGateway, Kind::Server, false),
        (Fault::ContextOverflow, Kind::ContextOverflow, false),
        (Fault::InvalidJson, Kind::BadBody, false),
        (Fault::EmptyBody, Kind::Truncated, false),
        (Fault::TruncatedJson, Kind::BadBody, false),
        (Fault::Cut, Kind::Truncated, false),
        (Fault::EarlyEnd, Kind::Truncated, false),
        (Fault::ErrorEvent, Kind::InBand, false),
        (Fault::InvalidUtf8, Kind::BadBody, false),
        (Fault::Reset, Kind::Connect, false),
    ] {
        let server = ModelServer::playing([Step::fault(fault.clone())]).await;
        let meter = Counting::up_to(5);
        let relay = relay(&server, Wire::Anthropic, &meter, LIMITS).await;
        let answer = ask(
            &relay,
            "/v1/messages",
            &json!({"messages": [], "stream": true}),
        )
        .await;
        assert!(!answer.contains(KEY));
        assert_eq!(relay.over().is_cancelled(), over, "{fault:?}");
        let traffic = relay.finish().await;
        assert_eq!(trouble(&traffic), Some(kind), "{fault:?} {answer}");
        assert_eq!(meter.assert_even(), 1);
        assert_eq!(meter.settled.lock().unwrap()[0].error, Some(kind));
    }
}

#[tokio::test]
async fn a_provider_that_echoes_the_key_does_not_give_it_away() {
    let fault = Fault::Raw {
        status: 401,
        headers: vec![("x-leak".into(), KEY.into())],
        body: format!("{{\"error\":{{\"message\":\"bad key {KEY}\"}}}}").into_bytes(),
    };
    let server = ModelServer::playing([Step::fault(fault)]).await;
    let meter = Counting::up_to(5);
    let relay = relay(&server, Wire::OpenaiResponses, &meter, LIMITS).await;
    let answer = ask(&relay, "/v1/responses", &json!({"input": []})).await;
    assert!(
        answer.starts_with("HTTP/1.1 401")
            && answer.contains("[redacted]")
            && !answer.contains(KEY),
        "{answer}"
    );
    let traffic = relay.finish().await;
    assert!(!format!("{traffic:?}").contains(KEY));
}

#[tokio::test]
async fn an_agent_that_hangs_up_or_a_relay_that_ends_leaves_nothing_unsettled() {
    let server = ModelServer::start(|question| match question.number {
        1 => Step::text("a long story, slowly told").paced(Duration::from_millis(100)),
        _ => Step::fault(Fault::Hang),
    })
    .await;
    let meter = Counting::up_to(5);
    let relay = relay(&server, Wire::Anthropic, &meter, LIMITS).await;
    let token = relay.token().expose().to_owned();
    let body = json!({"messages": [], "stream": true}).to_string();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: r\r\nx-api-key: {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut piece = [0_u8; 64];
    assert!(stream.read(&mut piece).await.unwrap() > 0);
    drop(stream);
    crate::support::until("the settlement", || {
        meter.settled.lock().unwrap().len() == 1
    })
    .await;
    assert_eq!(
        meter.settled.lock().unwrap()[0].error,
        Some(Kind::Cancelled)
    );
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    crate::support::until("the second question", || server.requests().len() == 2).await;
    drop(stream);
    crate::support::until("the second settlement", || {
        meter.settled.lock().unwrap().len() == 2
    })
    .await;
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    crate::support::until("the third question", || server.requests().len() == 3).await;
    relay.finish().await;
    assert_eq!(meter.assert_even(), 3);
}

#[tokio::test]
async fn a_form_that_is_not_relayed_is_refused_at_the_start() {
    let server = ModelServer::playing([]).await;
    let upstream = upstream(&server, Wire::OllamaChat, Counting::up_to(1));
    assert!(matches!(
        Relay::start(upstream, LIMITS).await,
        Err(CoderError::Unmetered { .. })
    ));
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_costs_nothing() {
    let server = ModelServer::playing([Step::text("never asked")]).await;
    let meter = Counting::up_to(5);
    let mut upstream = upstream(&server, Wire::Anthropic, meter.clone());
    upstream.base_url = "http://127.0.0.1:1".parse().unwrap();
    let relay = Relay::start(upstream, LIMITS).await.unwrap();
    let answer = ask(&relay, "/v1/messages", &json!({"messages": []})).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert_eq!(trouble(&relay.finish().await), Some(Kind::Connect));
    assert_eq!(meter.assert_even(), 1);
    let settled = meter.settled.lock().unwrap();
    assert_eq!(settled[0].usage, Usage::NOTHING);
    assert_eq!(settled[0].cost_micro_usd, Some(0));
}
