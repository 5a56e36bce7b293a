//! Ollama: `/api/generate` and `/api/chat`. Answers are lines of JSON, the last with `"done": true`, or that
//! last line alone. Tool calls have no ids; the reason of the end is `stop` also when tools are called.

use super::{Decode, OLLAMA_CONTEXT_TOKENS, WireFault, number, object, parse, temperature, text};
use crate::{Event, Kind, Message, Part, Request, Speaker, Stop, ToolCall, Usage};
use serde_json::{Map, Value, json};

pub(super) fn encode_generate(request: &Request, stream: bool) -> Map<String, Value> {
    object([
        ("model", Some(json!(request.model))),
        ("system", request.system.as_ref().map(|s| json!(s))),
        ("prompt", Some(json!(prompt(&request.messages)))),
        ("stream", Some(json!(stream))),
        ("format", request.schema.as_ref().map(|s| s.schema.clone())),
        ("options", Some(options(request))),
    ])
}

pub(super) fn encode_chat(request: &Request, stream: bool) -> Map<String, Value> {
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
    object([
        ("model", Some(json!(request.model))),
        ("messages", Some(json!(messages))),
        ("tools", (!tools.is_empty()).then(|| json!(tools))),
        ("stream", Some(json!(stream))),
        ("format", request.schema.as_ref().map(|s| s.schema.clone())),
        ("options", Some(options(request))),
    ])
}

fn options(request: &Request) -> Value {
    Value::Object(object([
        ("num_ctx", Some(json!(context(request)))),
        ("num_predict", Some(json!(request.max_output_tokens))),
        ("temperature", temperature(request)),
    ]))
}

/// What was asked for, or enough for the question (three bytes to a token) and its answer.
fn context(request: &Request) -> u32 {
    request.context_tokens.unwrap_or_else(|| {
        let question = u32::try_from(bytes(request) / 3).unwrap_or(u32::MAX);
        let needed = question.saturating_add(request.max_output_tokens);
        let (least, most) = OLLAMA_CONTEXT_TOKENS.into_inner();
        needed.min(most).next_power_of_two().clamp(least, most)
    })
}

/// Whether the question is longer than its context at eight bytes to a token, which no text reaches: the
/// server would drop the oldest messages and say nothing.
pub(super) fn surely_too_long(request: &Request) -> bool {
    const DENSEST: usize = 8;
    let context = usize::try_from(context(request)).unwrap_or(usize::MAX);
    bytes(request) / DENSEST > context
}

fn bytes(request: &Request) -> usize {
    let part = |part: &Part| match part {
        Part::Text(text) => text.len(),
        Part::ToolCall(call) => call.arguments.to_string().len(),
        Part::ToolResult { content, .. } => content.len(),
    };
    let parts = request.messages.iter().flat_map(|m| &m.parts).map(part);
    let tools = request.tools.iter().map(|t| t.schema.to_string().len());
    let system = request.system.as_ref().map_or(0, String::len);
    parts.chain(tools).sum::<usize>() + system
}

/// A single question as it is; a conversation with its speakers named.
fn prompt(messages: &[Message]) -> String {
    if let [only] = messages
        && only.role == Speaker::User
    {
        return only.text();
    }
    let turns = messages.iter().map(|message| match message.role {
        Speaker::User => format!("User: {}\n\n", message.text()),
        Speaker::Assistant => format!("Assistant: {}\n\n", message.text()),
    });
    turns.chain(["Assistant:".to_owned()]).collect()
}

fn turns(message: &Message) -> Vec<Value> {
    super::chat_turns(
        message,
        |call| json!({"function": {"name": call.name, "arguments": call.arguments}}),
        |_, name, content| json!({"role": "tool", "tool_name": name, "content": content}),
    )
}

pub(super) struct Decoder {
    context: u64,
    calls: usize,
}

impl Decoder {
    pub(super) fn new(request: &Request) -> Self {
        Self {
            context: u64::from(context(request)),
            calls: 0,
        }
    }

    fn calls(&mut self, value: &Value, out: &mut Vec<Event>) -> Result<(), WireFault> {
        let calls = value.pointer("/message/tool_calls");
        for call in calls.and_then(Value::as_array).into_iter().flatten() {
            let (Some(name), Some(arguments)) = (
                text(call, "/function/name").filter(|name| !name.is_empty()),
                call.pointer("/function/arguments")
                    .filter(|a| a.is_object()),
            ) else {
                return Err(WireFault::new(
                    Kind::BadBody,
                    "a tool call has no name or no arguments",
                ));
            };
            self.calls += 1;
            out.push(Event::ToolCall(ToolCall {
                id: format!("call_{}", self.calls),
                name: name.to_owned(),
                arguments: arguments.clone(),
            }));
        }
        Ok(())
    }
}

impl Decode for Decoder {
    fn frame(&mut self, data: &str, out: &mut Vec<Event>) -> Result<(), WireFault> {
        let value = parse(data)?;
        if let Some(error) = value.get("error") {
            return Err(super::fault_in(error));
        }
        let Some(done) = value.get("done").and_then(Value::as_bool) else {
            return Err(WireFault::new(
                Kind::BadBody,
                "a line does not say whether it is the last",
            ));
        };
        for place in ["/thinking", "/message/thinking"] {
            super::push_reasoning(out, text(&value, place));
        }
        for place in ["/response", "/message/content"] {
            super::push_text(out, text(&value, place));
        }
        self.calls(&value, out)?;
        if !done {
            return Ok(());
        }
        let usage = Usage {
            input: number(&value, "/prompt_eval_count"),
            output: number(&value, "/eval_count"),
            ..Usage::default()
        };
        if usage.input.is_some_and(|input| input >= self.context) {
            return Err(WireFault::new(
                Kind::ContextOverflow,
                format!("the prompt filled all {} tokens and was cut", self.context),
            ));
        }
        super::push_usage(out, usage);
        let stop = match text(&value, "/done_reason") {
            _ if self.calls > 0 => Stop::ToolCalls,
            Some("stop") | None => Stop::End,
            Some("length") => Stop::MaxTokens,
            Some(other) => Stop::Other(other.to_owned()),
        };
        out.push(Event::Done {
            stop,
            request_id: None,
        });
        Ok(())
    }

    fn whole(&mut self, body: &str, out: &mut Vec<Event>) -> Result<(), WireFault> {
        self.frame(body, out)
    }
}
