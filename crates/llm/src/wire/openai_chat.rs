//! OpenAI chat completions and what is compatible with it. The end is a `finish_reason` and then
//! `[DONE]`; usage comes between the two, and its prompt tokens include the cached ones.

use super::{Decode, Pieces, WireFault, number, object, parse, temperature, text};
use crate::{Event, Kind, Message, Request, Stop, Usage};
use serde_json::{Map, Value, json};

/// The field for the limit where the dialect names no other.
const MAX_TOKENS_FIELD: &str = "max_completion_tokens";
/// The end of a stream.
const DONE: &str = "[DONE]";

pub(super) fn encode(request: &Request, stream: bool, limit: Option<&str>) -> Map<String, Value> {
    let system = request
        .system
        .iter()
        .map(|system| json!({"role": "system", "content": system}));
    let messages: Vec<Value> = system
        .chain(request.messages.iter().flat_map(turns))
        .collect();
    let tools: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| {
            json!({"type": "function", "function": {
                "name": tool.name, "description": tool.description, "parameters": tool.schema,
            }})
        })
        .collect();
    let format = request.schema.as_ref().map(|output| {
        json!({"type": "json_schema", "json_schema": {
            "name": output.name, "schema": output.schema, "strict": is_strict(&output.schema),
        }})
    });
    object([
        ("model", Some(json!(request.model))),
        ("messages", Some(json!(messages))),
        ("tools", (!tools.is_empty()).then(|| json!(tools))),
        ("response_format", format),
        (
            limit.unwrap_or(MAX_TOKENS_FIELD),
            Some(json!(request.max_output_tokens)),
        ),
        ("temperature", temperature(request)),
        ("stream", Some(json!(stream))),
        (
            "stream_options",
            stream.then(|| json!({"include_usage": true})),
        ),
    ])
}

/// Whether a schema may be sent as strict: every object closed and every property required, which is
/// what the strict mode asks for. Others go as a wish, and the check here holds them.
pub(super) fn is_strict(schema: &Value) -> bool {
    let Some(fields) = schema.as_object() else {
        return true;
    };
    let object = fields.get("type").and_then(Value::as_str) == Some("object");
    let closed = fields.get("additionalProperties") == Some(&json!(false));
    let properties = fields.get("properties").and_then(Value::as_object);
    let required = fields.get("required").and_then(Value::as_array);
    let all = properties.is_some_and(|properties| {
        required.is_some_and(|required| properties.keys().all(|key| required.contains(&json!(key))))
    });
    (!object || (closed && all))
        && properties
            .into_iter()
            .flat_map(Map::values)
            .chain(fields.get("items"))
            .chain(
                ["anyOf", "$defs"]
                    .iter()
                    .filter_map(|key| fields.get(*key))
                    .flat_map(children),
            )
            .all(is_strict)
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

fn turns(message: &Message) -> Vec<Value> {
    super::chat_turns(
        message,
        |call| {
            json!({
                "id": call.id, "type": "function",
                "function": {"name": call.name, "arguments": call.arguments.to_string()},
            })
        },
        |id, _, content| json!({"role": "tool", "tool_call_id": id, "content": content}),
    )
}

#[derive(Default)]
pub(super) struct Decoder {
    calls: Vec<(u64, Pieces)>,
    stop: Option<String>,
    refused: bool,
    id: Option<String>,
}

impl Decoder {
    /// What a delta and a whole message have in common.
    fn take(&mut self, message: &Value, out: &mut Vec<Event>) {
        for place in ["/reasoning_content", "/reasoning"] {
            super::push_reasoning(out, text(message, place));
        }
        super::push_text(out, text(message, "/content"));
        if let Some(refusal) = text(message, "/refusal").filter(|r| !r.is_empty()) {
            self.refused = true;
            super::push_text(out, Some(refusal));
        }
        let calls = message.get("tool_calls").and_then(Value::as_array);
        for call in calls.into_iter().flatten() {
            self.piece(call);
        }
    }

    fn piece(&mut self, call: &Value) {
        let id = text(call, "/id").unwrap_or("");
        let last = self.calls.last();
        // Some servers leave the index out: a new id is a new call then.
        let index = number(call, "/index").unwrap_or_else(|| match last {
            Some((index, pieces)) if id.is_empty() || pieces.id == id => *index,
            Some((index, _)) => index + 1,
            None => 0,
        });
        let at = match self.calls.iter().position(|(known, _)| *known == index) {
            Some(at) => at,
            None => {
                self.calls.push((index, Pieces::default()));
                self.calls.len() - 1
            }
        };
        let pieces = &mut self.calls[at].1;
        if !id.is_empty() {
            id.clone_into(&mut pieces.id);
        }
        if let Some(name) = text(call, "/function/name").filter(|name| !name.is_empty()) {
            name.clone_into(&mut pieces.name);
        }
        let arguments = call.pointer("/function/arguments");
        match arguments {
            Some(Value::String(piece)) => pieces.arguments.push_str(piece),
            Some(whole @ Value::Object(_)) => pieces.arguments = whole.to_string(),
            _ => {}
        }
    }

    fn end(&mut self, out: &mut Vec<Event>) -> Result<(), WireFault> {
        let Some(word) = self.stop.take() else {
            return Err(WireFault::new(
                Kind::Truncated,
                "the stream ended without a finish_reason",
            ));
        };
        let mut stop = match word.as_str() {
            _ if self.refused => Stop::Refused,
            "stop" => Stop::End,
            "length" => Stop::MaxTokens,
            "tool_calls" | "function_call" => Stop::ToolCalls,
            "content_filter" => Stop::Refused,
            other => Stop::Other(other.to_owned()),
        };
        let pieces = std::mem::take(&mut self.calls);
        let pieces = pieces.into_iter().map(|(_, pieces)| pieces).collect();
        let calls = super::finish_calls(pieces, &stop, out)?;
        if calls > 0 && stop == Stop::End {
            stop = Stop::ToolCalls;
        }
        out.push(Event::Done {
            stop,
            request_id: self.id.take(),
        });
        Ok(())
    }

    fn head(&mut self, value: &Value) -> Result<(), WireFault> {
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            return Err(super::fault_in(error));
        }
        if !value.get("choices").is_some_and(Value::is_array) {
            return Err(WireFault::new(Kind::BadBody, "it has no choices"));
        }
        if self.id.is_none() {
            self.id = text(value, "/id").map(str::to_owned);
        }
        if let Some(word) = text(value, "/choices/0/finish_reason") {
            self.stop = Some(word.to_owned());
        }
        Ok(())
    }
}

fn usage(value: &Value) -> Usage {
    let Some(usage) = value.get("usage").filter(|usage| usage.is_object()) else {
        return Usage::default();
    };
    let cached = number(usage, "/prompt_tokens_details/cached_tokens");
    Usage {
        input: number(usage, "/prompt_tokens").map(|all| all.saturating_sub(cached.unwrap_or(0))),
        output: number(usage, "/completion_tokens"),
        cache_read: cached,
        reasoning: number(usage, "/completion_tokens_details/reasoning_tokens"),
        ..Usage::default()
    }
}

impl Decode for Decoder {
    fn frame(&mut self, data: &str, out: &mut Vec<Event>) -> Result<(), WireFault> {
        if data.trim() == DONE {
            return self.end(out);
        }
        let value = parse(data)?;
        self.head(&value)?;
        if let Some(delta) = value.pointer("/choices/0/delta") {
            self.take(delta, out);
        }
        super::push_usage(out, usage(&value));
        Ok(())
    }

    fn whole(&mut self, body: &str, out: &mut Vec<Event>) -> Result<(), WireFault> {
        let value = parse(body)?;
        self.head(&value)?;
        let Some(message) = value.pointer("/choices/0/message") else {
            return Err(WireFault::new(Kind::BadBody, "it has no message"));
        };
        self.take(message, out);
        super::push_usage(out, usage(&value));
        self.end(out)
    }
}
