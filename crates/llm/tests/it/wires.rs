//! What is asked arrives, and what is answered comes back, in every form, in pieces and in one.

use crate::support::{KEY, Ledger, caller, config, cx, env, once, provider};
use agentwright_llm::{
    Auth, Event, Kind, LlmError, Message, Part, Provider, ProviderConfig, Request, Stop, Tool,
    Usage, Wire,
};
use agentwright_testkit::model_server::{Content, Fault, ModelServer, Step, Tokens};
use serde_json::json;
use std::sync::Arc;

fn cases() -> impl Iterator<Item = (Wire, bool)> {
    Wire::ALL
        .into_iter()
        .flat_map(|wire| [(wire, true), (wire, false)])
}

#[tokio::test]
async fn a_text_comes_back_with_its_usage_and_its_end_in_every_form() {
    for (wire, stream) in cases() {
        let tokens = Tokens {
            input: 100,
            output: 20,
            cache_read: 30,
            cache_write_5m: 4,
            cache_write_1h: 2,
            reasoning: 7,
        };
        let step = Step::content([
            Content::Reasoning("let me think".to_owned()),
            Content::Text("grüße, 世界: \"a\"\n\\b \u{1f600}".to_owned()),
        ]);
        let server = ModelServer::playing([step.with_tokens(Some(tokens))]).await;
        let meter = Arc::new(Ledger::default());
        let caller = once(provider(wire, stream, &server), meter.clone());
        let mut pieces = 0;
        let count = |event: &Event| pieces += usize::from(matches!(event, Event::Text(_)));
        let asked = Request::user("hello").with_system("be brief");
        let reply = caller.complete(asked, cx(), count).await.unwrap();
        let at = format!("{wire:?} stream={stream}");
        assert_eq!(reply.text, "grüße, 世界: \"a\"\n\\b \u{1f600}", "{at}");
        assert_eq!(reply.reasoning, "let me think", "{at}");
        assert_eq!(reply.stop, Stop::End, "{at}");
        assert_eq!(reply.usage, expected_usage(wire), "{at}");
        assert_eq!(reply.request_id.as_deref(), Some("req_0001"), "{at}");
        assert_eq!(pieces > 1, stream, "{at}");
        let question = &server.requests()[0];
        assert_eq!(question.key(), Some(KEY), "{at}");
        assert_eq!(question.system, "be brief", "{at}");
        assert_eq!(question.last_user_text(), "hello", "{at}");
        assert_eq!((question.stream, question.model.as_str()), (stream, "m-1"));
        assert!(meter.is_even(), "{at}");
        assert_eq!(meter.settled()[0].usage, reply.usage, "{at}");
    }
}

fn expected_usage(wire: Wire) -> Usage {
    let base = Usage {
        input: Some(100),
        output: Some(20),
        ..Usage::default()
    };
    match wire {
        Wire::OllamaGenerate | Wire::OllamaChat => base,
        Wire::Anthropic => Usage {
            cache_read: Some(30),
            cache_write_5m: Some(4),
            cache_write_1h: Some(2),
            ..base
        },
        Wire::OpenaiChat | Wire::OpenaiResponses => Usage {
            cache_read: Some(30),
            reasoning: Some(7),
            ..base
        },
    }
}

#[tokio::test]
async fn tools_are_called_and_their_answers_go_back_in_every_form_that_has_them() {
    for (wire, stream) in cases().filter(|(wire, _)| *wire != Wire::OllamaGenerate) {
        let server = ModelServer::start(|question| match question.results.last() {
            None => Step::content([
                Content::Text("I read both".to_owned()),
                Content::ToolCall {
                    name: "read".to_owned(),
                    arguments: json!({"path": "a \"quoted\" name.txt"}),
                },
                Content::ToolCall {
                    name: "list".to_owned(),
                    arguments: json!({}),
                },
            ]),
            Some(last) => Step::text(format!(
                "{} answers, the last: {}",
                question.results.len(),
                last.content
            )),
        })
        .await;
        let at = format!("{wire:?} stream={stream}");
        let caller = once(provider(wire, stream, &server), Arc::default());
        let tool = |name: &str| Tool {
            name: name.to_owned(),
            description: "d".to_owned(),
            schema: json!({"type": "object", "properties": {}}),
        };
        let mut request = Request::user("what is there?");
        request.tools = vec![tool("read"), tool("list")];
        let reply = caller
            .complete(request.clone(), cx(), |_| ())
            .await
            .unwrap();
        assert_eq!(reply.stop, Stop::ToolCalls, "{at}");
        assert_eq!(reply.text, "I read both", "{at}");
        let names: Vec<&str> = reply.tool_calls.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["read", "list"], "{at}");
        assert_eq!(
            reply.tool_calls[0].arguments,
            json!({"path": "a \"quoted\" name.txt"}),
            "{at}"
        );
        assert_eq!(reply.tool_calls[1].arguments, json!({}), "{at}");
        assert_ne!(reply.tool_calls[0].id, reply.tool_calls[1].id, "{at}");
        request.messages.push(Message::reply(&reply));
        let answers = reply.tool_calls.iter().map(|call| Part::ToolResult {
            id: call.id.clone(),
            name: call.name.clone(),
            content: format!("of {}", call.name),
            is_error: call.name == "list",
        });
        request.messages.push(Message::results(answers.collect()));
        let reply = caller.complete(request, cx(), |_| ()).await.unwrap();
        assert!(reply.text.starts_with("2 answers, the last: "), "{at}");
        assert!(reply.text.ends_with("of list"), "{at}: {}", reply.text);
        assert!(server.requests()[1].has_tool("read"), "{at}");
    }
}

#[tokio::test]
async fn a_schema_goes_the_way_of_the_wire_and_its_value_comes_back_checked() {
    let schema = json!({
        "type": "object", "required": ["verdict"], "additionalProperties": false,
        "properties": {"verdict": {"enum": ["PASS", "FAIL"]}},
    });
    for (wire, stream) in cases() {
        let at = format!("{wire:?} stream={stream}");
        let steps = [
            Step::json(json!({"verdict": "PASS"})),
            Step::json(json!({"verdict": "PERHAPS"})),
            Step::text("{\"verdict\": \"PA").cut(),
        ];
        let server = ModelServer::playing(steps).await;
        let meter = Arc::new(Ledger::default());
        let caller = once(provider(wire, stream, &server), meter.clone());
        let ask = || Request::user("look").with_schema("verdict", schema.clone());
        let reply = caller.complete(ask(), cx(), |_| ()).await.unwrap();
        assert_eq!(reply.structured, Some(json!({"verdict": "PASS"})), "{at}");
        assert_eq!(reply.stop, Stop::End, "{at}");
        assert!(reply.tool_calls.is_empty(), "{at}");
        for part in ["does not hold", "limit of output tokens"] {
            let error = caller.complete(ask(), cx(), |_| ()).await.unwrap_err();
            assert_eq!(error.kind, Kind::BadOutput, "{at}");
            assert!(error.to_string().contains(part), "{at}: {error}");
            assert!(!error.to_string().contains("PERHAPS"), "{at}: {error}");
            assert!(error.reply.is_some(), "{at}: the answer is there to repair");
        }
        let settled = meter.settled();
        assert_eq!(settled.len(), 3, "{at}");
        assert_eq!(settled[1].error, Some(Kind::BadOutput), "{at}");
        assert_eq!(settled[1].usage.output, Some(5), "{at}: it was paid");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_at_its_limit_says_so() {
    for (wire, stream) in cases() {
        let server = ModelServer::playing([Step::text("half an ans").cut()]).await;
        let caller = once(provider(wire, stream, &server), Arc::default());
        let reply = caller.complete(Request::user("x"), cx(), |_| ()).await;
        assert_eq!(reply.unwrap().stop, Stop::MaxTokens, "{wire:?} {stream}");
    }
}

#[tokio::test]
async fn unknown_usage_stays_unknown_and_costs_nothing_that_could_be_summed() {
    for (wire, stream) in cases() {
        let server = ModelServer::playing([Step::text("x").with_tokens(None)]).await;
        let meter = Arc::new(Ledger::default());
        let mut config = config(wire, &server);
        config.stream = Some(stream);
        config.prices = Some("ollama".to_owned());
        let caller = once(config.provider(&env).unwrap(), meter.clone());
        let reply = caller.complete(Request::user("x"), cx(), |_| ()).await;
        assert!(reply.unwrap().usage.is_unknown(), "{wire:?} {stream}");
        let call = &meter.settled()[0];
        assert_eq!(call.cost_micro_usd, None, "{wire:?} {stream}");
        assert_eq!(call.price_id.as_deref(), Some("ollama"));
    }
}

#[tokio::test]
async fn the_key_goes_as_configured_and_more_headers_and_fields_go_along() {
    for (auth, header, value) in [
        (Auth::XApiKey, "x-api-key", KEY.to_owned()),
        (Auth::Bearer, "authorization", format!("Bearer {KEY}")),
        (
            Auth::Header("api-key".to_owned()),
            "api-key",
            KEY.to_owned(),
        ),
    ] {
        let server = ModelServer::playing([Step::text("x")]).await;
        let mut config = config(Wire::OpenaiChat, &server);
        config.auth = Some(auth);
        config.max_tokens_field = Some("max_tokens".to_owned());
        config
            .headers
            .insert("x-team".to_owned(), "env:KEY".to_owned());
        config.headers.insert("x-plain".to_owned(), "p".to_owned());
        config.body.insert("seed".to_owned(), json!(7));
        config.without = vec!["stream_options".to_owned()];
        let caller = once(config.provider(&env).unwrap(), Arc::default());
        caller
            .complete(Request::user("x"), cx(), |_| ())
            .await
            .unwrap();
        let question = &server.requests()[0];
        assert_eq!(question.header(header), Some(value.as_str()));
        assert_eq!(question.header("x-team"), Some(KEY));
        assert_eq!(question.header("x-plain"), Some("p"));
        assert_eq!(question.body["seed"], 7);
        assert_eq!(question.body["max_tokens"], 4_096);
        assert!(question.body.get("max_completion_tokens").is_none());
        assert!(question.body.get("stream_options").is_none());
    }
    let server = ModelServer::playing([Step::text("x")]).await;
    let config = ProviderConfig {
        auth: Some(Auth::None),
        ..config(Wire::Anthropic, &server)
    };
    let caller = once(config.provider(&env).unwrap(), Arc::default());
    caller
        .complete(Request::user("x"), cx(), |_| ())
        .await
        .unwrap();
    assert_eq!(server.requests()[0].key(), None);
    assert_eq!(
        server.requests()[0].header("anthropic-version"),
        Some("2023-06-01")
    );
}

#[tokio::test]
async fn models_are_listed_and_health_is_told_in_every_form() {
    for wire in Wire::ALL {
        let server = ModelServer::playing([]).await;
        server.set_models(["b", "a"]);
        server.require_key(KEY);
        let provider = config(wire, &server).provider(&env).unwrap();
        assert_eq!(provider.models().await.unwrap(), ["a", "b"], "{wire:?}");
        provider.health().await.unwrap();
        server.require_key("another");
        let error = provider.health().await.unwrap_err();
        assert_eq!(error.kind, Kind::Auth, "{wire:?}");
        assert!(error.to_string().contains("check env:KEY"), "{error}");
    }
}

#[tokio::test]
async fn only_the_first_calls_fail_and_the_answer_comes_after() {
    for (wire, stream) in cases() {
        for fault in [Fault::Server, Fault::Cut, Fault::EarlyEnd, Fault::Reset] {
            let server = ModelServer::failing_first(2, fault.clone(), Step::text("at last")).await;
            let meter = Arc::new(Ledger::default());
            let caller = caller(provider(wire, stream, &server), meter.clone());
            let mut voided = 0;
            let mut seen = String::new();
            let see = |event: &Event| match event {
                Event::Restarted { attempt } => {
                    voided = *attempt;
                    seen.clear();
                }
                Event::Text(text) => seen.push_str(text),
                _ => {}
            };
            let reply = caller
                .complete(Request::user("x"), cx(), see)
                .await
                .unwrap();
            let at = format!("{wire:?} stream={stream} {fault:?}");
            assert_eq!(
                (reply.text.as_str(), seen.as_str()),
                ("at last", "at last"),
                "{at}"
            );
            assert_eq!(voided, 3, "{at}");
            assert!(meter.is_even(), "{at}");
            let attempts: Vec<u32> = meter.settled().iter().map(|call| call.attempt).collect();
            assert_eq!(attempts, [1, 2, 3], "{at}");
        }
    }
}

#[tokio::test]
async fn a_prompt_that_fills_ollamas_context_was_cut_there_and_is_an_error() {
    for stream in [true, false] {
        let full = Tokens {
            input: 8_192,
            ..Tokens::default()
        };
        let server = ModelServer::playing([Step::text("x").with_tokens(Some(full))]).await;
        let caller = once(provider(Wire::OllamaChat, stream, &server), Arc::default());
        let error: LlmError = caller
            .complete(Request::user("x"), cx(), |_| ())
            .await
            .unwrap_err();
        assert_eq!(error.kind, Kind::ContextOverflow);
        assert_eq!(server.requests()[0].body["options"]["num_ctx"], 8_192);
    }
}

#[tokio::test]
async fn ollama_gets_room_for_a_long_question_and_is_not_asked_one_that_it_would_cut() {
    let server = ModelServer::start(|_| Step::text("x")).await;
    let caller = once(
        provider(Wire::OllamaGenerate, false, &server),
        Arc::default(),
    );
    let ask = |bytes: usize, context: Option<u32>| {
        let request = Request {
            context_tokens: context,
            ..Request::user("y".repeat(bytes))
        };
        caller.complete(request, cx(), |_| ())
    };
    for (bytes, context) in [(30_000, 16_384), (90_000, 32_768), (200_000, 32_768)] {
        ask(bytes, None).await.unwrap();
        let asked = server.requests().pop().unwrap();
        assert_eq!(asked.body["options"]["num_ctx"], context, "{bytes}");
    }
    for (bytes, context) in [(300_000, None), (20_000, Some(2_048))] {
        let error = ask(bytes, context).await.unwrap_err();
        assert_eq!(error.kind, Kind::ContextOverflow, "{bytes}");
        assert!(
            error.to_string().contains("raise context_tokens"),
            "{error}"
        );
    }
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn generate_refuses_tools_and_names_the_wire_that_takes_them() {
    let server = ModelServer::playing([]).await;
    let caller = once(
        provider(Wire::OllamaGenerate, false, &server),
        Arc::default(),
    );
    let mut request = Request::user("x");
    request.tools = vec![Tool {
        name: "t".to_owned(),
        description: String::new(),
        schema: json!({}),
    }];
    let error = caller.complete(request, cx(), |_| ()).await.unwrap_err();
    assert_eq!(error.kind, Kind::BadRequest);
    assert!(error.to_string().contains("ollama_chat"), "{error}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_hundred_answers_stream_at_once() {
    let step = Step::text("word ".repeat(300));
    let server = ModelServer::start(move |_| step.clone()).await;
    let meter = Arc::new(Ledger::default());
    let caller = once(provider(Wire::Anthropic, true, &server), meter.clone());
    let calls = (0..100).map(|_| caller.complete(Request::user("x"), cx(), |_| ()));
    for reply in futures::future::join_all(calls).await {
        assert_eq!(reply.unwrap().text.len(), 1_500);
    }
    assert!(meter.is_even());
}
