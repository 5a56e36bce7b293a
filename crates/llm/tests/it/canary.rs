//! Planted keys and words are looked for in everything that is kept or shown.

use crate::support::{KEY, Ledger, config, cx, env, once};
use agentwright_llm::{
    CassetteWriter, Kind, Provider, ProviderConfig, Recorder, Request, Secret, Wire,
};
use agentwright_testkit::model_server::{Content, Fault, ModelServer, Question, Step};
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex};

/// Stands in the question, and must not stand in an error.
const WORDS: &str = "the heron lands at midnight near the old mill";

#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<u8>>>);

impl Write for Shelf {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A server that says back everything it was told, the key and the question too.
fn telling_back(status: u16) -> impl FnMut(&Question) -> Step + Send {
    move |question| {
        let said = format!(
            "bad key {} and {:?}; you asked: {}",
            question.key().unwrap_or(""),
            question.header("authorization"),
            question.last_user_text()
        );
        if status == 200 {
            // In small pieces: a key is split over many of them.
            return Step::content([
                Content::Reasoning(said.clone()),
                Content::Text(said.clone()),
                Content::ToolCall {
                    name: "t".to_owned(),
                    arguments: json!({ "a": said }),
                },
            ]);
        }
        let body = json!({"error": {"type": "x_error", "code": question.key(), "message": said}});
        Step::fault(Fault::Raw {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        })
    }
}

#[tokio::test]
async fn no_key_and_no_question_is_in_any_error_cassette_or_debug_output() {
    for wire in Wire::ALL {
        for status in [200, 400, 401, 429, 500] {
            let server = ModelServer::start(telling_back(status)).await;
            let mut config = config(wire, &server);
            config
                .headers
                .insert("x-more".to_owned(), "canary-two-0123".to_owned());
            let shelf = Shelf::default();
            let provider = config.provider(&env).unwrap();
            let secrets = provider.secrets().to_vec();
            assert_eq!(secrets.len(), 2);
            let recorder: Arc<dyn Recorder> =
                Arc::new(CassetteWriter::new(shelf.clone(), secrets.clone()));
            let meter = Arc::new(Ledger::default());
            let mut caller = once(provider, meter.clone());
            caller.recorder = Some(recorder);
            let asked = Request::user(format!("{WORDS}; use {KEY} and canary-two-0123"));
            let outcome = caller.complete(asked, cx(), |_| ()).await;
            let mut shown = format!("{config:?}{secrets:?}{:?}", meter.settled());
            if status == 200 {
                assert!(outcome.is_ok(), "{wire:?}");
            } else {
                let error = outcome.unwrap_err();
                shown.push_str(&format!("{error}{error:?}"));
            }
            // The header's own value stands in the configuration, as it was written.
            let shown = shown.replacen("canary-two-0123", "", 1);
            let kept = String::from_utf8(shelf.0.lock().unwrap().clone()).unwrap();
            assert!(kept.contains("[redacted]") && kept.ends_with("\n"));
            for secret in [KEY, "canary-two-0123", "0123456789abcdef"] {
                assert!(!kept.contains(secret), "{wire:?} {status}: {kept}");
                assert!(!shown.contains(secret), "{wire:?} {status}: {shown}");
            }
            assert!(!shown.contains("heron"), "{wire:?} {status}: {shown}");
        }
    }
}

#[tokio::test]
async fn a_servers_own_words_are_shown_where_they_are_safe() {
    let body = json!({"error": {"message": "the moon is\u{1b}[2J full"}}).to_string();
    let server = ModelServer::playing([Step::fault(Fault::Raw {
        status: 422,
        headers: Vec::new(),
        body: body.into_bytes(),
    })])
    .await;
    let caller = once(
        config(Wire::OpenaiChat, &server).provider(&env).unwrap(),
        Arc::default(),
    );
    let error = caller.complete(Request::user("x"), cx(), |_| ()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind, Kind::BadRequest);
    let said = error.to_string();
    assert!(said.ends_with("it said: the moon is [2J full"), "{said}");
}

#[tokio::test]
async fn an_address_with_a_password_is_shown_without_it() {
    let config = ProviderConfig {
        base_url: Some("http://me:pass-word-1@127.0.0.1:1/v1?token=tok-tok-tok".to_owned()),
        ..ProviderConfig::new("here", Wire::OpenaiChat)
    };
    let provider = config.provider(&env).unwrap();
    let error = provider.health().await.unwrap_err();
    let said = format!("{error}{error:?}");
    assert!(
        !said.contains("pass-word-1") && !said.contains("tok-tok"),
        "{said}"
    );
    assert!(said.contains("http://127.0.0.1:1/v1"), "{said}");
    assert_eq!(provider.secrets(), [Secret::new("pass-word-1")]);
}
