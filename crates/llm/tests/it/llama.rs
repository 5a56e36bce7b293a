//! A real llama.cpp server as the other side of the wires that it speaks: Anthropic, OpenAI chat and responses. Its model
//! is random, so nothing is said about words; temperature 0 makes them the same each time. `scripts/llama.sh` installs it.

use crate::support::{Ledger, caller, cx};
use agentwright_llm::{Kind, Message, OutputSchema, Provider, ProviderConfig, Request, Stop, Wire};
use serde_json::json;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// The wires that it speaks.
const WIRES: [Wire; 3] = [Wire::Anthropic, Wire::OpenaiChat, Wire::OpenaiResponses];

/// A running server; ends when it is dropped.
struct Llama {
    process: Child,
    url: String,
}

impl Drop for Llama {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Llama {
    /// Starts it, if it is installed; else says so.
    #[expect(clippy::disallowed_methods, reason = "a test starts its peer itself")]
    fn start() -> Option<Self> {
        let tools = std::env::var_os("AGENTWRIGHT_TOOLS").map_or_else(
            || {
                let beside = std::env::current_exe().unwrap();
                beside.ancestors().nth(3).unwrap().join("tools")
            },
            PathBuf::from,
        );
        let place = tools.join("llama");
        if !place.join("version").is_file() {
            println!(
                "SKIPPED: llama.cpp is not installed, the wires Anthropic, OpenAI chat and OpenAI responses were not tested \
                 against a real server; scripts/llama.sh installs it"
            );
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/llama/serve.py");
        let mut process = Command::new("python3")
            .arg(script)
            .arg(place.join("tiny.gguf"))
            .env("PYTHONPATH", place.join("site"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        Some(Self { process, url })
    }

    fn config(&self, wire: Wire) -> ProviderConfig {
        let base = match wire {
            Wire::OpenaiChat | Wire::OpenaiResponses => format!("{}/v1", self.url),
            Wire::Anthropic | Wire::OllamaChat | Wire::OllamaGenerate => self.url.clone(),
        };
        ProviderConfig {
            base_url: Some(base),
            ..ProviderConfig::new("llama", wire)
        }
    }
}

fn asked(words: &str) -> Request {
    Request {
        system: Some("You are terse.".to_owned()),
        messages: vec![Message::user(words)],
        max_output_tokens: 12,
        temperature: Some(0.0),
        ..Request::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_llama_server_answers_on_its_wires_and_its_refusals_are_understood() {
    let Some(llama) = Llama::start() else { return };
    for wire in WIRES {
        let provider = llama.config(wire).provider(&|_| None).unwrap();
        let models = provider.models().await.unwrap();
        assert!(
            matches!(models.as_slice(), [one] if one.ends_with("tiny.gguf")),
            "{wire:?}: {models:?}"
        );
        provider.health().await.unwrap();
        let ledger: Arc<Ledger> = Arc::default();
        let caller = caller(provider, ledger.clone());
        let mut pieces = 0;
        let reply = caller.complete(asked("Say something."), cx(), |_| pieces += 1);
        let reply = reply.await.unwrap();
        assert!(
            matches!(reply.stop, Stop::MaxTokens | Stop::End),
            "{wire:?}"
        );
        assert!(!reply.text.is_empty() && pieces > 2, "{wire:?}: {reply:?}");
        let usage = reply.usage;
        assert!(usage.input.is_some_and(|n| n > 0) || usage.cache_read.is_some_and(|n| n > 0));
        assert!(
            usage.output.is_some_and(|n| (1..=12).contains(&n)),
            "{wire:?}: {usage:?}"
        );
        let long = caller.complete(asked(&"word ".repeat(3_000)), cx(), |_| ());
        let error = long.await.unwrap_err();
        assert_eq!(error.kind, Kind::ContextOverflow, "{wire:?}: {error}");
        assert!(ledger.is_even());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_llama_server_keeps_to_a_schema_and_what_it_does_not_speak_is_named() {
    let Some(llama) = Llama::start() else { return };
    let caller_of = |wire| {
        let provider = llama.config(wire).provider(&|_| None).unwrap();
        caller(provider, Arc::default())
    };
    let verdict = OutputSchema {
        name: "verdict".to_owned(),
        schema: json!({
            "type": "object", "required": ["verdict"], "additionalProperties": false,
            "properties": { "verdict": { "enum": ["PASS", "FAIL"] } }
        }),
    };
    let request = Request {
        schema: Some(verdict),
        max_output_tokens: 64,
        ..asked("Is it right?")
    };
    let openai = caller_of(Wire::OpenaiChat);
    let reply = openai.complete(request, cx(), |_| ()).await.unwrap();
    let structured = reply.structured.unwrap();
    let verdict = structured["verdict"].as_str().unwrap();
    assert!(matches!(verdict, "PASS" | "FAIL"), "{structured}");
    let ollama = caller_of(Wire::OllamaChat);
    let error = ollama.complete(asked("Hello?"), cx(), |_| ()).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error.kind, Kind::UnknownModel | Kind::BadRequest),
        "{error:?}"
    );
}
