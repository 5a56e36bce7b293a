//! Anthropic Messages. Usage comes as snapshots; input excludes what the cache read and wrote. A
//! schema goes as a tool that must be called, and its arguments come back as the text.

use super::{Decode, Pieces, WireFault, number, object, parse, temperature, text};
use crate::{Event, Kind, Message, Part, Request, Speaker, Stop, Usage};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(super) fn encode(request: &Request, stream: bool) -> Map<String, Value> {
    // A conversation with tools comes again, longer: what it begins with is worth keeping there.
    let again = !request.tools.is_empty();
    let system = request.system.as_ref().filter(|s| !s.is_empty());
    let system =
        system.map(|system| json!([cached(json!({"type": "text", "text": system}), again)]));
    let mut messages: Vec<Value> = request.messages.iter().filter_map(turn).collect();
    if let Some(last) = messages
        .last_mut()
        .and_then(|m| m["content"].as_array_mut())
        .and_then(|content| content.last_mut())
    {
        *last = cached(last.take(), again);
    }
    let schema = request.schema.as_ref();
    let mut tools: Vec<Value> = request
        .tools
        .iter()
        .map(|t| json!({"name": t.name, "description": t.description, "input_schema": t.schema}))
        .collect();
    tools.extend(schema.map(|output| {
        json!({
            "name": output.name, "input_schema": output.schema,
            "description": "Give the final answer with this tool, exactly once.",
        })
    }));
    let choice = schema.map(|output| {
        if again {
            json!({"type": "any"})
        } else {
            json!({"type": "tool", "name": output.name})
        }
    });
    object([
        ("model", Some(json!(request.model))),
        ("max_tokens", Some(json!(request.max_output_tokens))),
        ("system", system),
        ("messages", Some(json!(messages))),
        ("tools", (!tools.is_empty()).then(|| json!(tools))),
        ("tool_choice", choice),
        ("temperature", temperature(request)),
        ("stream", Some(json!(stream))),
    ])
}

fn cached(mut block: Value, again: bool) -> Value {
    if again {
        block["cache_control"] = json!({"type": "ephemeral"});
    }
    block
}

/// A turn; `None` when nothing is left of it: empty texts are refused there.
fn turn(message: &Message) -> Option<Value> {
    let role = match message.role {
        Speaker::User => "user",
        Speaker::Assistant => "assistant",
    };
    let mut results = Vec::new();
    let mut others = Vec::new();
    for part in &message.parts {
        match part {
            Part::Text(text) if text.trim().is_empty() => {}
            Part::Text(text) => others.push(json!({"type": "text", "text": text})),
            Part::ToolCall(call) => others.push(json!({
                "type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments,
            })),
            Part::ToolResult {
                id,
                content,
                is_error,
                ..
            } => results.push(json!({
                "type": "tool_result", "tool_use_id": id, "content": content, "is_error": is_error,
            })),
        }
    }
    // Results must come first.
    results.append(&mut others);
    (!results.is_empty()).then(|| json!({"role": role, "content": results}))
}

/// One content block while it comes.
enum Block {
    Tool(Pieces),
    /// The tool that stands for the schema.
    Answer,
    Other,
}

pub(super) struct Decoder {
    answer: Option<String>,
    blocks: BTreeMap<u64, Block>,
    calls: Vec<Pieces>,
    answered: bool,
    stop: Option<String>,
    id: Option<String>,
}

impl Decoder {
    pub(super) fn new(request: &Request) -> Self {
        Self {
            answer: request.schema.as_ref().map(|output| output.name.clone()),
            blocks: BTreeMap::new(),
            calls: Vec::new(),
            answered: false,
            stop: None,
            id: None,
        }
    }

    fn begin(&mut self, value: &Value, out: &mut Vec<Event>) {
        let index = number(value, "/index").unwrap_or(0);
        let Some(block) = value.get("content_block") else {
            return;
        };
        let begun = self.block(block, out);
        self.blocks.insert(index, begun);
    }

    /// A block as far as it is there.
    fn block(&mut self, block: &Value, out: &mut Vec<Event>) -> Block {
        match text(block, "/type") {
            Some("tool_use") => {
                let name = text(block, "/name").unwrap_or("");
                // Where the block begins a stream its input is empty and comes in pieces.
                let input = block
                    .get("input")
                    .filter(|input| input.as_object().is_some_and(|i| !i.is_empty()))
                    .map(Value::to_string)
                    .unwrap_or_default();
                if self.answer.as_deref() == Some(name) {
                    self.answered = true;
                    super::push_text(out, Some(&input));
                    return Block::Answer;
                }
                Block::Tool(Pieces {
                    id: text(block, "/id").unwrap_or("").to_owned(),
                    name: name.to_owned(),
                    arguments: input,
                })
            }
            Some("thinking") => {
                super::push_reasoning(out, text(block, "/thinking"));
                Block::Other
            }
            _ => {
                super::push_text(out, text(block, "/text"));
                Block::Other
            }
        }
    }

    fn more(&mut self, value: &Value, out: &mut Vec<Event>) {
        let index = number(value, "/index").unwrap_or(0);
        let piece = text(value, "/delta/partial_json").unwrap_or("");
        match (text(value, "/delta/type"), self.blocks.get_mut(&index)) {
            (Some("text_delta"), _) => super::push_text(out, text(value, "/delta/text")),
            (Some("thinking_delta"), _) => {
                super::push_reasoning(out, text(value, "/delta/thinking"));
            }
            (Some("input_json_delta"), Some(Block::Tool(pieces))) => {
                pieces.arguments.push_str(piece);
            }
            (Some("input_json_delta"), Some(Block::Answer)) => super::push_text(out, Some(piece)),
            _ => {}
        }
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), WireFault> {
        for block in std::mem::take(&mut self.blocks).into_values() {
            if let Block::Tool(pieces) = block {
                self.calls.push(pieces);
            }
        }
        let Some(word) = self.stop.take() else {
            return Err(WireFault::new(
                Kind::BadBody,
                "the answer ended without a reason",
            ));
        };
        let mut stop = stop(&word);
        let calls = super::finish_calls(std::mem::take(&mut self.calls), &stop, out)?;
        // The tool that stands for the schema is the answer, not a call.
        if stop == Stop::ToolCalls && calls == 0 && self.answered {
            stop = Stop::End;
        }
        out.push(Event::Done {
            stop,
            request_id: self.id.take(),
        });
        Ok(())
    }
}

fn stop(word: &str) -> Stop {
    match word {
        "end_turn" | "stop_sequence" => Stop::End,
        "max_tokens" | "model_context_window_exceeded" => Stop::MaxTokens,
        "tool_use" => Stop::ToolCalls,
        "refusal" => Stop::Refused,
        other => Stop::Other(other.to_owned()),
    }
}

fn usage(value: &Value) -> Usage {
    let hour = number(value, "/cache_creation/ephemeral_1h_input_tokens");
    let minutes = number(value, "/cache_creation/ephemeral_5m_input_tokens");
    let written = number(value, "/cache_creation_input_tokens");
    Usage {
        input: number(value, "/input_tokens"),
        output: number(value, "/output_tokens"),
        cache_read: number(value, "/cache_read_input_tokens"),
        // Older servers give the sum alone; what is not of an hour is of five minutes.
        cache_write_5m: minutes.or(written.map(|all| all.saturating_sub(hour.unwrap_or(0)))),
        cache_write_1h: hour,
        reasoning: None,
    }
}

impl Decode for Decoder {
    fn frame(&mut self, data: &str, out: &mut Vec<Event>) -> Result<(), WireFault> {
        let value = parse(data)?;
        match text(&value, "/type") {
            Some("message_start") => {
                self.id = text(&value, "/message/id").map(str::to_owned);
                super::push_usage(
                    out,
                    usage(value.pointer("/message/usage").unwrap_or(&Value::Null)),
                );
            }
            Some("content_block_start") => self.begin(&value, out),
            Some("content_block_delta") => self.more(&value, out),
            Some("message_delta") => {
                if let Some(word) = text(&value, "/delta/stop_reason") {
                    self.stop = Some(word.to_owned());
                }
                super::push_usage(out, usage(value.get("usage").unwrap_or(&Value::Null)));
            }
            Some("message_stop") => self.end(out)?,
            Some("error") => {
                return Err(super::fault_in(value.get("error").unwrap_or(&Value::Null)));
            }
            // Pings, ends of blocks, and whatever comes with later versions.
            Some(_) => {}
            None => {
                return Err(match value.get("error") {
                    Some(error) => super::fault_in(error),
                    None => WireFault::new(Kind::BadBody, "an event has no type"),
                });
            }
        }
        Ok(())
    }

    fn whole(&mut self, body: &str, out: &mut Vec<Event>) -> Result<(), WireFault> {
        let value = parse(body)?;
        if let Some(error) = value.get("error") {
            return Err(super::fault_in(error));
        }
        let Some(content) = value.get("content").and_then(Value::as_array) else {
            return Err(WireFault::new(Kind::BadBody, "it has no content"));
        };
        for (block, index) in content.iter().zip(0..) {
            let begun = self.block(block, out);
            self.blocks.insert(index, begun);
        }
        super::push_usage(out, usage(value.get("usage").unwrap_or(&Value::Null)));
        self.id = text(&value, "/id").map(str::to_owned);
        self.stop = text(&value, "/stop_reason").map(str::to_owned);
        self.end(out)
    }
}
