//! Answers in the form of Ollama.

use super::answer::Frames;
use super::step::pieces;
use super::{ApiForm, Content, Question, Step};
use serde_json::{Value, json};

pub(super) fn stream(question: &Question, step: &Step) -> Frames {
    let mut frames = Frames::default();
    for content in &step.content {
        let parts: Vec<Value> = match content {
            Content::Text(text) => pieces(text).iter().map(|p| said(question, p)).collect(),
            Content::Json(value) => pieces(&value.to_string())
                .iter()
                .map(|piece| said(question, piece))
                .collect(),
            Content::Reasoning(text) => pieces(text).iter().map(|p| thought(question, p)).collect(),
            Content::ToolCall { name, arguments } => vec![called(&[(name, arguments)])],
        };
        for part in parts {
            frames.push(line(&with_head(question, part, false)));
        }
    }
    frames.end(line(&last(question, step, said(question, ""))));
    frames
}

/// The answer in one piece.
pub(super) fn whole(question: &Question, step: &Step) -> Value {
    let (mut text, mut reasoning, mut calls) = (String::new(), String::new(), Vec::new());
    for content in &step.content {
        match content {
            Content::Text(piece) => text.push_str(piece),
            Content::Json(value) => text.push_str(&value.to_string()),
            Content::Reasoning(piece) => reasoning.push_str(piece),
            Content::ToolCall { name, arguments } => calls.push((name, arguments)),
        }
    }
    let mut part = said(question, &text);
    if question.form == ApiForm::OllamaChat && !calls.is_empty() {
        part["message"]["tool_calls"] = called(&calls)["message"]["tool_calls"].take();
    }
    if !reasoning.is_empty() {
        match question.form {
            ApiForm::OllamaChat => part["message"]["thinking"] = json!(reasoning),
            _ => part["thinking"] = json!(reasoning),
        }
    }
    last(question, step, part)
}

pub(super) fn error(message: &str) -> Value {
    json!({"error": message})
}

pub(super) fn line(value: &Value) -> String {
    format!("{value}\n")
}

fn said(question: &Question, text: &str) -> Value {
    match question.form {
        ApiForm::OllamaChat => json!({"message": {"role": "assistant", "content": text}}),
        _ => json!({"response": text}),
    }
}

fn thought(question: &Question, text: &str) -> Value {
    match question.form {
        ApiForm::OllamaChat => {
            json!({"message": {"role": "assistant", "content": "", "thinking": text}})
        }
        _ => json!({"response": "", "thinking": text}),
    }
}

fn called(calls: &[(&String, &Value)]) -> Value {
    let calls: Vec<Value> = calls
        .iter()
        .map(|(name, arguments)| json!({"function": {"name": name, "arguments": arguments}}))
        .collect();
    json!({"message": {"role": "assistant", "content": "", "tool_calls": calls}})
}

fn with_head(question: &Question, mut part: Value, done: bool) -> Value {
    part["model"] = json!(question.model);
    part["created_at"] = json!("2026-01-01T00:00:00Z");
    part["done"] = json!(done);
    part
}

fn last(question: &Question, step: &Step, part: Value) -> Value {
    let mut last = with_head(question, part, true);
    last["done_reason"] = json!(if step.cut { "length" } else { "stop" });
    last["total_duration"] = json!(1_000_000);
    if let Some(tokens) = step.tokens {
        last["prompt_eval_count"] = json!(tokens.input);
        last["eval_count"] = json!(tokens.output);
    }
    last
}
