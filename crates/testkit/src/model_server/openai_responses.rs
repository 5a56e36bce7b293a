//! Answers in the form of OpenAI responses.

use super::answer::{Frames, sse};
use super::step::pieces;
use super::{Content, Question, Step, Tokens};
use serde_json::{Value, json};

pub(super) fn stream(question: &Question, step: &Step) -> Frames {
    let mut events = Vec::new();
    let whole = response(question, step);
    let mut begun = whole.clone();
    begun["status"] = json!("in_progress");
    begun["output"] = json!([]);
    begun["usage"] = Value::Null;
    begun["incomplete_details"] = Value::Null;
    for kind in ["response.created", "response.in_progress"] {
        events.push(json!({"type": kind, "response": begun}));
    }
    for (item, index) in items(question, step).iter().zip(0..) {
        let mut empty = item.clone();
        empty["status"] = json!("in_progress");
        for key in ["content", "summary"] {
            if item.get(key).is_some() {
                empty[key] = json!([]);
            }
        }
        for key in ["arguments", "input"] {
            if item.get(key).is_some() {
                empty[key] = json!("");
            }
        }
        events.push(
            json!({"type": "response.output_item.added", "output_index": index, "item": empty}),
        );
        inside(item, index, &mut events);
        events.push(
            json!({"type": "response.output_item.done", "output_index": index, "item": item}),
        );
    }
    let last = if step.cut {
        "response.incomplete"
    } else {
        "response.completed"
    };
    events.push(json!({"type": last, "response": whole}));
    let mut frames = Frames::default();
    let end = events.len() - 1;
    for (at, mut event) in events.into_iter().enumerate() {
        event["sequence_number"] = json!(at);
        let name = event["type"].as_str().unwrap_or("").to_owned();
        let frame = sse(Some(&name), &event);
        if at == end {
            frames.end(frame);
        } else {
            frames.push(frame);
        }
    }
    frames
}

/// What comes between the beginning and the end of an item.
fn inside(item: &Value, index: usize, events: &mut Vec<Value>) {
    let id = &item["id"];
    match item["type"].as_str() {
        Some("message") => {
            let text = item["content"][0]["text"].as_str().unwrap_or("");
            let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
            let event = |kind: &str| json!({"type": kind, "item_id": id, "output_index": index, "content_index": 0});
            let mut added = event("response.content_part.added");
            added["part"] = part("");
            events.push(added);
            for piece in pieces(text) {
                let mut delta = event("response.output_text.delta");
                delta["delta"] = json!(piece);
                events.push(delta);
            }
            let mut done = event("response.output_text.done");
            done["text"] = json!(text);
            events.push(done);
            let mut done = event("response.content_part.done");
            done["part"] = part(text);
            events.push(done);
        }
        Some("reasoning") => {
            let text = item["summary"][0]["text"].as_str().unwrap_or("");
            for piece in pieces(text) {
                events.push(json!({
                    "type": "response.reasoning_summary_text.delta", "item_id": id,
                    "output_index": index, "summary_index": 0, "delta": piece,
                }));
            }
        }
        Some(call) => {
            let (key, event) = if call == "custom_tool_call" {
                ("input", "response.custom_tool_call_input")
            } else {
                ("arguments", "response.function_call_arguments")
            };
            let text = item[key].as_str().unwrap_or("");
            for piece in pieces(text) {
                events.push(json!({
                    "type": format!("{event}.delta"), "item_id": id,
                    "output_index": index, "delta": piece,
                }));
            }
            let mut done = json!({
                "type": format!("{event}.done"), "item_id": id, "output_index": index,
            });
            done[key] = json!(text);
            events.push(done);
        }
        None => {}
    }
}

/// The answer in one piece.
pub(super) fn response(question: &Question, step: &Step) -> Value {
    let cut = json!({"reason": "max_output_tokens"});
    json!({
        "id": format!("resp_{:04}", question.number), "object": "response",
        "created_at": 1_700_000_000, "model": question.model, "error": null,
        "status": if step.cut { "incomplete" } else { "completed" },
        "incomplete_details": step.cut.then_some(cut),
        "output": items(question, step),
        "usage": step.tokens.map(usage),
    })
}

pub(super) fn error(code: &str, message: &str) -> Value {
    json!({"error": {"message": message, "type": code, "code": code, "param": null}})
}

/// The frame of an answer that fails.
pub(super) fn failed(code: &str, message: &str) -> String {
    let event = json!({
        "type": "response.failed",
        "response": {"status": "failed", "error": {"code": code, "message": message}},
    });
    sse(Some("response.failed"), &event)
}

fn items(question: &Question, step: &Step) -> Vec<Value> {
    let said = |text: &str, n: usize| {
        json!({
            "id": format!("msg_{}_{n}", question.number), "type": "message", "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        })
    };
    step.content
        .iter()
        .zip(1..)
        .map(|(content, n)| match content {
            Content::Text(text) => said(text, n),
            Content::Json(value) => said(&value.to_string(), n),
            Content::Reasoning(text) => json!({
                "id": format!("rs_{}_{n}", question.number), "type": "reasoning",
                "summary": [{"type": "summary_text", "text": text}],
            }),
            Content::ToolCall { name, arguments } => call(question, name, arguments, n),
        })
        .collect()
}

/// A tool that is declared as `custom` takes bare text: the argument `input`, or all of them.
fn call(question: &Question, name: &str, arguments: &Value, n: usize) -> Value {
    let call_id = format!("call_{}_{n}", question.number);
    let tools = question.body["tools"].as_array();
    let custom = tools
        .into_iter()
        .flatten()
        .any(|tool| tool["name"].as_str() == Some(name) && tool["type"].as_str() == Some("custom"));
    if custom {
        let input = arguments.get("input").unwrap_or(arguments);
        let input = input
            .as_str()
            .map_or_else(|| input.to_string(), str::to_owned);
        return json!({
            "id": format!("ctc_{}_{n}", question.number), "type": "custom_tool_call",
            "status": "completed", "call_id": call_id, "name": name, "input": input,
        });
    }
    json!({
        "id": format!("fc_{}_{n}", question.number), "type": "function_call",
        "status": "completed", "call_id": call_id, "name": name,
        "arguments": arguments.to_string(),
    })
}

fn usage(tokens: Tokens) -> Value {
    json!({
        "input_tokens": tokens.input + tokens.cache_read,
        "input_tokens_details": {"cached_tokens": tokens.cache_read},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.cache_read + tokens.output,
    })
}
