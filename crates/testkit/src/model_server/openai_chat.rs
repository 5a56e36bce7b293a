//! Answers in the form of OpenAI chat completions.

use super::answer::{Frames, sse};
use super::step::pieces;
use super::{Content, Question, Step, Tokens};
use serde_json::{Value, json};

pub(super) fn stream(question: &Question, step: &Step) -> Frames {
    let mut frames = Frames::default();
    let delta = |delta: Value, reason: Option<&str>| {
        sse(
            None,
            &chunk(
                question,
                &json!([{"index": 0, "delta": delta, "finish_reason": reason}]),
            ),
        )
    };
    frames.push(delta(json!({"role": "assistant", "content": ""}), None));
    let mut calls = 0;
    for content in &step.content {
        match content {
            Content::Text(text) => {
                for piece in pieces(text) {
                    frames.push(delta(json!({"content": piece}), None));
                }
            }
            Content::Json(value) => {
                for piece in pieces(&value.to_string()) {
                    frames.push(delta(json!({"content": piece}), None));
                }
            }
            Content::Reasoning(text) => {
                for piece in pieces(text) {
                    frames.push(delta(json!({"reasoning_content": piece}), None));
                }
            }
            Content::ToolCall { name, arguments } => {
                let begin = json!({"tool_calls": [{
                    "index": calls, "id": id(question, calls), "type": "function",
                    "function": {"name": name, "arguments": ""},
                }]});
                frames.push(delta(begin, None));
                for piece in pieces(&arguments.to_string()) {
                    let more = json!({"index": calls, "function": {"arguments": piece}});
                    frames.push(delta(json!({"tool_calls": [more]}), None));
                }
                calls += 1;
            }
        }
    }
    frames.push(delta(json!({}), Some(finish_reason(step))));
    let wanted = question.body.pointer("/stream_options/include_usage") == Some(&json!(true));
    if let Some(tokens) = step.tokens.filter(|_| wanted) {
        let mut last = chunk(question, &json!([]));
        last["usage"] = usage(tokens);
        frames.push(sse(None, &last));
    }
    frames.end("data: [DONE]\n\n".to_owned());
    frames
}

/// The answer in one piece.
pub(super) fn completion(question: &Question, step: &Step) -> Value {
    let (mut text, mut reasoning, mut calls) = (String::new(), String::new(), Vec::new());
    for content in &step.content {
        match content {
            Content::Text(piece) => text.push_str(piece),
            Content::Json(value) => text.push_str(&value.to_string()),
            Content::Reasoning(piece) => reasoning.push_str(piece),
            Content::ToolCall { name, arguments } => calls.push(json!({
                "id": id(question, calls.len()), "type": "function",
                "function": {"name": name, "arguments": arguments.to_string()},
            })),
        }
    }
    let mut message = json!({"role": "assistant", "content": text});
    if !reasoning.is_empty() {
        message["reasoning_content"] = json!(reasoning);
    }
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    let choices = json!([{"index": 0, "message": message, "finish_reason": finish_reason(step)}]);
    let mut completion = chunk(question, &choices);
    completion["object"] = json!("chat.completion");
    if let Some(tokens) = step.tokens {
        completion["usage"] = usage(tokens);
    }
    completion
}

pub(super) fn error(code: &str, message: &str) -> Value {
    json!({"error": {"message": message, "type": code, "code": code, "param": null}})
}

fn chunk(question: &Question, choices: &Value) -> Value {
    json!({
        "id": format!("chatcmpl-{:04}", question.number), "object": "chat.completion.chunk",
        "created": 1_700_000_000, "model": question.model, "choices": choices,
    })
}

fn id(question: &Question, at: usize) -> String {
    format!("call_{}_{}", question.number, at + 1)
}

fn finish_reason(step: &Step) -> &'static str {
    if step.cut {
        "length"
    } else if step.calls_tools() {
        "tool_calls"
    } else {
        "stop"
    }
}

fn usage(tokens: Tokens) -> Value {
    json!({
        "prompt_tokens": tokens.input + tokens.cache_read,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.cache_read + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    })
}
