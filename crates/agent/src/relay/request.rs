//! A question of an agent, made into what may be sent on. Pure. Start at [`Question::read`].
//!
//! The model is ours, the longest answer is bounded, and whatever would make the provider act or charge beyond
//! answering (tools that run on its side, connectors, faster service, several answers) is taken out: the agent's
//! sandbox has no other network, and must not find one here.

use agentwright_llm::Wire;
use serde_json::{Map, Value, json};

/// Fields that are taken out on every wire.
const TAKEN_OUT: &[&str] = &[
    "mcp_servers",
    "container",
    "service_tier",
    "speed",
    "background",
    "web_search_options",
    "n",
    "best_of",
    "prediction",
    "modalities",
    "audio",
    "prompt",
    "conversation",
    "previous_response_id",
];
/// Tools that the agent itself carries out. Anthropic's carry a date behind their name.
const OWN_TOOLS: &[&str] = &["custom", "function", "local_shell", "shell", "apply_patch"];
const OWN_TOOLS_DATED: &[&str] = &["bash_", "text_editor_", "memory_"];
/// Fields that bound the answer, by wire.
const CHAT_LIMITS: [&str; 2] = ["max_completion_tokens", "max_tokens"];

/// What is sent on.
#[derive(Debug)]
pub(super) struct Question {
    /// The body.
    pub(super) body: Vec<u8>,
    /// An estimate from above, as the ledger wants it.
    pub(super) input_tokens: u64,
    /// What the provider is told as the limit.
    pub(super) output_tokens: u32,
}

impl Question {
    /// Reads the agent's body.
    ///
    /// # Errors
    /// What is wrong with it, in words for the agent.
    pub(super) fn read(
        wire: Wire,
        model: &str,
        most: u32,
        body: &[u8],
    ) -> Result<Self, &'static str> {
        let Ok(Value::Object(mut body)) = serde_json::from_slice::<Value>(body) else {
            return Err("the body is not a JSON object");
        };
        for name in TAKEN_OUT {
            body.remove(*name);
        }
        own_tools_only(&mut body);
        body.insert("model".into(), json!(model));
        let output_tokens = bounded(wire, &mut body, most.max(1));
        if wire == Wire::OpenaiChat && body.get("stream") == Some(&Value::Bool(true)) {
            body.insert("stream_options".into(), json!({"include_usage": true}));
        }
        if wire == Wire::OpenaiResponses {
            body.insert("store".into(), Value::Bool(false));
        }
        let body = Value::Object(body).to_string().into_bytes();
        Ok(Self {
            input_tokens: (body.len() as u64).div_ceil(2),
            output_tokens,
            body,
        })
    }
}

fn own_tools_only(body: &mut Map<String, Value>) {
    let Some(Value::Array(tools)) = body.get_mut("tools") else {
        return;
    };
    tools.retain(|tool| match tool.get("type").and_then(Value::as_str) {
        None => tool.get("name").is_some(),
        Some(kind) => {
            OWN_TOOLS.contains(&kind) || OWN_TOOLS_DATED.iter().any(|own| kind.starts_with(own))
        }
    });
    if tools.is_empty() {
        body.remove("tools");
        body.remove("tool_choice");
    }
}

/// Bounds the field that is there, or puts one in.
fn bounded(wire: Wire, body: &mut Map<String, Value>, most: u32) -> u32 {
    let fields: &[&str] = match wire {
        Wire::OpenaiChat => &CHAT_LIMITS,
        Wire::OpenaiResponses => &["max_output_tokens"],
        _ => &["max_tokens"],
    };
    let asked = fields
        .iter()
        .find_map(|field| Some((*field, body.get(*field)?.as_u64()?)));
    let (field, asked) = asked.unwrap_or((fields[0], u64::from(most)));
    for other in fields {
        body.remove(*other);
    }
    let bound = u32::try_from(asked).unwrap_or(u32::MAX).clamp(1, most);
    body.insert(field.to_owned(), json!(bound));
    shrink_thinking(body, bound);
    bound
}

/// Anthropic refuses a thinking budget that is not below the limit.
fn shrink_thinking(body: &mut Map<String, Value>, bound: u32) {
    let budget = body
        .get_mut("thinking")
        .and_then(|t| t.get_mut("budget_tokens"));
    if let Some(budget) = budget
        && budget.as_u64().is_some_and(|b| b >= u64::from(bound))
    {
        *budget = json!(bound.saturating_sub(1));
    }
}

/// `anthropic-beta` without what reaches beyond answering or costs more.
pub(super) fn beta(value: &str) -> String {
    const REFUSED: &[&str] = &[
        "mcp-client",
        "web-fetch",
        "web-search",
        "code-execution",
        "files-api",
        "fast-mode",
        "context-1m",
        "skills",
    ];
    value
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && !REFUSED.iter().any(|r| name.starts_with(r)))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: Wire, body: &Value) -> Value {
        let question = Question::read(wire, "pinned", 1000, body.to_string().as_bytes()).unwrap();
        serde_json::from_slice(&question.body).unwrap()
    }

    #[test]
    fn the_model_is_ours_and_the_answer_is_bounded_on_every_wire() {
        let asked = json!({"model": "dearest", "max_tokens": 64_000, "messages": []});
        assert_eq!(
            read(Wire::Anthropic, &asked),
            json!({"model": "pinned", "max_tokens": 1000, "messages": []})
        );
        let asked = json!({"model": "dearest", "input": []});
        assert_eq!(
            read(Wire::OpenaiResponses, &asked),
            json!({"model": "pinned", "max_output_tokens": 1000, "input": [], "store": false})
        );
        let asked = json!({"model": "dearest", "max_tokens": 10, "stream": true, "n": 50});
        assert_eq!(
            read(Wire::OpenaiChat, &asked),
            json!({"model": "pinned", "max_tokens": 10, "stream": true, "stream_options": {"include_usage": true}})
        );
        let asked =
            json!({"max_tokens": 9999, "thinking": {"type": "enabled", "budget_tokens": 5000}});
        assert_eq!(
            read(Wire::Anthropic, &asked)["thinking"]["budget_tokens"],
            999
        );
    }

    #[test]
    fn whatever_acts_on_the_providers_side_is_taken_out() {
        let asked = json!({
            "tools": [
                {"name": "Write", "input_schema": {}},
                {"type": "bash_20250124", "name": "bash"},
                {"type": "web_search_20250305", "name": "web_search"},
                {"type": "web_fetch_20250910", "name": "web_fetch"},
                {"type": "code_execution_20250825", "name": "x"},
            ],
            "mcp_servers": [{"url": "https://evil.example"}],
            "service_tier": "priority",
        });
        let sent = read(Wire::Anthropic, &asked);
        let names: Vec<&str> = sent["tools"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|t| t["name"].as_str())
            .collect();
        assert_eq!(names, ["Write", "bash"]);
        assert!(sent.get("mcp_servers").is_none() && sent.get("service_tier").is_none());
        let asked = json!({"tools": [{"type": "web_search"}, {"type": "mcp", "server_url": "x"}], "tool_choice": "auto"});
        let sent = read(Wire::OpenaiResponses, &asked);
        assert!(sent.get("tools").is_none() && sent.get("tool_choice").is_none());
        assert_eq!(
            beta(
                "claude-code-20250219, mcp-client-2025-04-04,context-1m-2025-08-07,interleaved-thinking-2025-05-14"
            ),
            "claude-code-20250219,interleaved-thinking-2025-05-14"
        );
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for body in [&b""[..], b"[]", b"{", b"\xff", b"7"] {
            assert!(Question::read(Wire::Anthropic, "m", 1, body).is_err());
        }
    }
}
