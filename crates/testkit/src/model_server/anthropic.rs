//! Answers in the form of Anthropic Messages.

use super::answer::{Frames, sse};
use super::step::pieces;
use super::{Content, Question, Step, Tokens};
use serde_json::{Value, json};

pub(super) fn stream(question: &Question, step: &Step) -> Frames {
    let mut frames = Frames::default();
    let mut message = message(question, step);
    message["content"] = json!([]);
    message["stop_reason"] = Value::Null;
    if let Some(tokens) = step.tokens {
        // Where a stream begins nearly nothing is written yet.
        message["usage"] = usage(Tokens {
            output: 1,
            ..tokens
        });
    }
    frames.push(event(&json!({"type": "message_start", "message": message})));
    frames.push(event(&json!({"type": "ping"})));
    for (content, index) in blocks(question, step).into_iter().zip(0..) {
        let (begin, deltas) = parts(&content);
        frames.push(event(
            &json!({"type": "content_block_start", "index": index, "content_block": begin}),
        ));
        for delta in deltas {
            frames.push(event(
                &json!({"type": "content_block_delta", "index": index, "delta": delta}),
            ));
        }
        frames.push(event(
            &json!({"type": "content_block_stop", "index": index}),
        ));
    }
    let mut delta = json!({
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason(question, step), "stop_sequence": null},
    });
    if let Some(tokens) = step.tokens {
        delta["usage"] = usage(tokens);
    }
    frames.push(event(&delta));
    frames.end(event(&json!({"type": "message_stop"})));
    frames
}

/// The answer in one piece.
pub(super) fn message(question: &Question, step: &Step) -> Value {
    let mut message = json!({
        "id": format!("msg_{:04}", question.number), "type": "message", "role": "assistant",
        "model": question.model, "content": blocks(question, step),
        "stop_reason": stop_reason(question, step), "stop_sequence": null,
    });
    if let Some(tokens) = step.tokens {
        message["usage"] = usage(tokens);
    }
    message
}

pub(super) fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}})
}

pub(super) fn event(value: &Value) -> String {
    let name = value["type"].as_str().unwrap_or("").to_owned();
    sse(Some(&name), value)
}

fn stop_reason(question: &Question, step: &Step) -> &'static str {
    let forced = question.forced_tool().is_some();
    if step.cut {
        "max_tokens"
    } else if step.calls_tools() || (forced && has_json(step)) {
        "tool_use"
    } else {
        "end_turn"
    }
}

fn has_json(step: &Step) -> bool {
    let is_json = |content: &Content| matches!(content, Content::Json(_));
    step.content.iter().any(is_json)
}

fn blocks(question: &Question, step: &Step) -> Vec<Value> {
    let tool = |name: &str, input: &Value, n: usize| {
        let id = format!("toolu_{}_{n}", question.number);
        json!({"type": "tool_use", "id": id, "name": name, "input": input})
    };
    step.content
        .iter()
        .zip(1..)
        .map(|(content, n)| match content {
            Content::Text(text) => json!({"type": "text", "text": text}),
            Content::Reasoning(text) => {
                json!({"type": "thinking", "thinking": text, "signature": "c2lnbmF0dXJl"})
            }
            Content::Json(value) => match question.forced_tool() {
                Some(name) => tool(name, value, n),
                None => json!({"type": "text", "text": value.to_string()}),
            },
            Content::ToolCall { name, arguments } => tool(name, arguments, n),
        })
        .collect()
}

/// How a block begins, and what comes then.
fn parts(block: &Value) -> (Value, Vec<Value>) {
    let mut begin = block.clone();
    let said = |key: &str| pieces(block[key].as_str().unwrap_or(""));
    let deltas: Vec<Value> = match block["type"].as_str() {
        Some("tool_use") => {
            begin["input"] = json!({});
            pieces(&block["input"].to_string())
                .iter()
                .map(|piece| json!({"type": "input_json_delta", "partial_json": piece}))
                .collect()
        }
        Some("thinking") => {
            begin["thinking"] = json!("");
            begin["signature"] = json!("");
            let thoughts = said("thinking");
            let thoughts = thoughts
                .iter()
                .map(|piece| json!({"type": "thinking_delta", "thinking": piece}));
            let signature = json!({"type": "signature_delta", "signature": block["signature"]});
            thoughts.chain([signature]).collect()
        }
        _ => {
            begin["text"] = json!("");
            said("text")
                .iter()
                .map(|piece| json!({"type": "text_delta", "text": piece}))
                .collect()
        }
    };
    (begin, deltas)
}

fn usage(tokens: Tokens) -> Value {
    json!({
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation_input_tokens": tokens.cache_write_5m + tokens.cache_write_1h,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.cache_write_5m,
            "ephemeral_1h_input_tokens": tokens.cache_write_1h,
        },
        "service_tier": "standard",
    })
}
