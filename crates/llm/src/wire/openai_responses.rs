//! OpenAI responses. The end is `response.completed` or `response.incomplete`; input tokens include
//! the cached ones. Nothing is stored there (`store: false`).

use super::openai_chat::is_strict;
use super::{Decode, Pieces, WireFault, number, object, parse, temperature, text};
use crate::{Event, Kind, Message, Part, Request, Speaker, Stop, Usage};
use serde_json::{Map, Value, json};

pub(super) fn encode(request: &Request, stream: bool) -> Map<String, Value> {
    let input: Vec<Value> = request.messages.iter().flat_map(items).collect();
    let tools: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| {
            json!({
                "type": "function", "name": tool.name, "description": tool.description,
                "parameters": tool.schema, "strict": is_strict(&tool.schema),
            })
        })
        .collect();
    let format = request.schema.as_ref().map(|output| {
        json!({"format": {
            "type": "json_schema", "name": output.name, "schema": output.schema,
            "strict": is_strict(&output.schema),
        }})
    });
    object([
        ("model", Some(json!(request.model))),
        ("instructions", request.system.as_ref().map(|s| json!(s))),
        ("input", Some(json!(input))),
        ("tools", (!tools.is_empty()).then(|| json!(tools))),
        ("text", format),
        ("max_output_tokens", Some(json!(request.max_output_tokens))),
        ("temperature", temperature(request)),
        ("store", Some(json!(false))),
        ("stream", Some(json!(stream))),
    ])
}

fn items(message: &Message) -> Vec<Value> {
    let (role, kind) = match message.role {
        Speaker::User => ("user", "input_text"),
        Speaker::Assistant => ("assistant", "output_text"),
    };
    let item = |part: &Part| match part {
        Part::Text(text) => json!({
            "type": "message", "role": role, "content": [{"type": kind, "text": text}],
        }),
        Part::ToolCall(call) => json!({
            "type": "function_call", "call_id": call.id, "name": call.name,
            "arguments": call.arguments.to_string(),
        }),
        Part::ToolResult {
            id,
            content,
            is_error,
            ..
        } => {
            let output = super::told(content, *is_error);
            json!({"type": "function_call_output", "call_id": id, "output": output})
        }
    };
    message.parts.iter().map(item).collect()
}

#[derive(Default)]
pub(super) struct Decoder {
    calls: Vec<Pieces>,
    refused: bool,
}

impl Decoder {
    fn item(&mut self, item: &Value) {
        if text(item, "/type") == Some("function_call") {
            let said = |place| text(item, place).unwrap_or("").to_owned();
            self.calls.push(Pieces {
                id: said("/call_id"),
                name: said("/name"),
                arguments: said("/arguments"),
            });
        }
    }

    fn end(&mut self, response: &Value, out: &mut Vec<Event>) -> Result<(), WireFault> {
        super::push_usage(out, usage(response));
        let cut = text(response, "/incomplete_details/reason");
        let mut stop = match (text(response, "/status"), cut) {
            _ if self.refused => Stop::Refused,
            (_, Some("max_output_tokens")) => Stop::MaxTokens,
            (_, Some("content_filter")) => Stop::Refused,
            (_, Some(other)) => Stop::Other(other.to_owned()),
            (Some("completed"), None) => Stop::End,
            (other, None) => Stop::Other(other.unwrap_or("no status").to_owned()),
        };
        let calls = super::finish_calls(std::mem::take(&mut self.calls), &stop, out)?;
        if calls > 0 && stop == Stop::End {
            stop = Stop::ToolCalls;
        }
        out.push(Event::Done {
            stop,
            request_id: text(response, "/id").map(str::to_owned),
        });
        Ok(())
    }

    /// The output of an answer in one piece.
    fn output(&mut self, item: &Value, out: &mut Vec<Event>) {
        let parts = |place: &str| {
            let list = item.get(place).and_then(Value::as_array);
            list.into_iter().flatten()
        };
        for part in parts("summary") {
            super::push_reasoning(out, text(part, "/text"));
        }
        for part in parts("content") {
            match text(part, "/type") {
                Some("refusal") => {
                    self.refused = true;
                    super::push_text(out, text(part, "/refusal"));
                }
                Some("reasoning_text") => super::push_reasoning(out, text(part, "/text")),
                _ => super::push_text(out, text(part, "/text")),
            }
        }
        self.item(item);
    }
}

fn usage(response: &Value) -> Usage {
    let Some(usage) = response.get("usage").filter(|usage| usage.is_object()) else {
        return Usage::default();
    };
    let cached = number(usage, "/input_tokens_details/cached_tokens");
    Usage {
        input: number(usage, "/input_tokens").map(|all| all.saturating_sub(cached.unwrap_or(0))),
        output: number(usage, "/output_tokens"),
        cache_read: cached,
        reasoning: number(usage, "/output_tokens_details/reasoning_tokens"),
        ..Usage::default()
    }
}

fn failed(value: &Value) -> WireFault {
    ["/response/error", "/error"]
        .iter()
        .find_map(|place| value.pointer(place).filter(|error| !error.is_null()))
        .map_or_else(|| super::fault_in(value), super::fault_in)
}

impl Decode for Decoder {
    fn frame(&mut self, data: &str, out: &mut Vec<Event>) -> Result<(), WireFault> {
        // Some compatible servers end with the mark of the older form.
        if data.trim() == "[DONE]" {
            return Ok(());
        }
        let value = parse(data)?;
        match text(&value, "/type") {
            Some("response.output_text.delta") => super::push_text(out, text(&value, "/delta")),
            Some("response.refusal.delta") => {
                self.refused = true;
                super::push_text(out, text(&value, "/delta"));
            }
            Some("response.reasoning_summary_text.delta" | "response.reasoning_text.delta") => {
                super::push_reasoning(out, text(&value, "/delta"));
            }
            Some("response.output_item.done") => {
                self.item(value.get("item").unwrap_or(&Value::Null));
            }
            Some("response.completed" | "response.incomplete") => {
                self.end(value.get("response").unwrap_or(&Value::Null), out)?;
            }
            Some("response.failed" | "error") => return Err(failed(&value)),
            Some(_) => {}
            None if value.get("error").is_some() => return Err(failed(&value)),
            None => return Err(WireFault::new(Kind::BadBody, "an event has no type")),
        }
        Ok(())
    }

    fn whole(&mut self, body: &str, out: &mut Vec<Event>) -> Result<(), WireFault> {
        let value = parse(body)?;
        if value.get("error").is_some_and(|error| !error.is_null()) {
            return Err(failed(&value));
        }
        let Some(output) = value.get("output").and_then(Value::as_array) else {
            return Err(WireFault::new(Kind::BadBody, "it has no output"));
        };
        for item in output {
            self.output(item, out);
        }
        self.end(&value, out)
    }
}
