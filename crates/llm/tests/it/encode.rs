//! The bodies that go over the wire, for people to review.

use agentwright_llm::{Dialect, Message, Part, Request, Speaker, Tool, ToolCall, Wire};
use serde_json::json;

fn conversation() -> Request {
    Request {
        model: "m-1".to_owned(),
        system: Some("You build things.".to_owned()),
        messages: vec![
            Message::user("Read a.txt."),
            Message {
                role: Speaker::Assistant,
                parts: vec![
                    Part::Text("I look.".to_owned()),
                    Part::ToolCall(ToolCall {
                        id: "call_1".to_owned(),
                        name: "read".to_owned(),
                        arguments: json!({"path": "a.txt"}),
                    }),
                ],
            },
            Message::results(vec![
                Part::ToolResult {
                    id: "call_1".to_owned(),
                    name: "read".to_owned(),
                    content: "no such file".to_owned(),
                    is_error: true,
                },
                Part::Text("Try another.".to_owned()),
            ]),
        ],
        tools: vec![Tool {
            name: "read".to_owned(),
            description: "Reads a file.".to_owned(),
            schema: json!({
                "type": "object", "properties": {"path": {"type": "string"}},
                "required": ["path"], "additionalProperties": false,
            }),
        }],
        schema: None,
        max_output_tokens: 500,
        temperature: Some(0.2),
        context_tokens: Some(16_000),
    }
}

fn question() -> Request {
    let schema = json!({
        "type": "object", "properties": {"verdict": {"type": "string"}, "why": {"type": "string"}},
        "required": ["verdict"],
    });
    Request {
        model: "m-1".to_owned(),
        max_output_tokens: 100,
        ..Request::user("Is it right?").with_schema("verdict", schema)
    }
}

#[test]
fn a_conversation_with_tools_in_every_form() {
    for wire in Wire::ALL {
        let body = wire.encode(&conversation(), &Dialect::default());
        insta::assert_json_snapshot!(format!("conversation_{}", wire.as_str()), body);
    }
}

#[test]
fn a_question_with_a_schema_in_every_form() {
    for wire in Wire::ALL {
        let body = wire.encode(&question(), &Dialect::default());
        insta::assert_json_snapshot!(format!("question_{}", wire.as_str()), body);
    }
}

#[test]
fn a_configured_body_wins_and_its_objects_are_merged() {
    let dialect = Dialect {
        body: json!({"options": {"seed": 1}, "keep_alive": "1h", "format": null, "model": "other"})
            .as_object()
            .cloned()
            .unwrap(),
        ..Dialect::default()
    };
    let body = Wire::OllamaGenerate.encode(&question(), &dialect);
    assert_eq!(body["options"]["seed"], 1);
    assert_eq!(body["options"]["num_ctx"], 8_192);
    assert_eq!(body["keep_alive"], "1h");
    assert_eq!(body["model"], "other");
    assert!(body.get("format").is_none());
}

#[test]
fn only_a_closed_schema_is_sent_as_strict() {
    for (schema, strict) in [
        (json!({"type": "string"}), true),
        (json!({"type": "object", "properties": {}}), false),
        (
            json!({"type": "object", "additionalProperties": false, "required": ["a"],
                   "properties": {"a": {"type": "array", "items": {"type": "object"}}}}),
            false,
        ),
        (
            json!({"type": "object", "additionalProperties": false, "required": ["a"],
                   "properties": {"a": {"type": "array", "items": {"type": "string"}}}}),
            true,
        ),
    ] {
        let request = Request::user("x").with_schema("s", schema.clone());
        let body = Wire::OpenaiChat.encode(&request, &Dialect::default());
        let sent = &body["response_format"]["json_schema"]["strict"];
        assert_eq!(sent, strict, "{schema}");
    }
}
