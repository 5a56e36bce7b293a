//! A question as it came in, read from any form.

use serde_json::Value;

/// In which form a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiForm {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI chat completions.
    OpenaiChat,
    /// OpenAI responses.
    OpenaiResponses,
    /// Ollama, one prompt.
    OllamaGenerate,
    /// Ollama, a conversation.
    OllamaChat,
}

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Which question of this server, from 1.
    pub number: usize,
    /// In which form.
    pub form: ApiForm,
    /// The path with its query.
    pub path: String,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Value,
    /// The model that is asked.
    pub model: String,
    /// Whether the answer is to come in pieces.
    pub stream: bool,
    /// The system text.
    pub system: String,
    /// What was said, texts only, oldest first; a message with several texts is several turns.
    pub turns: Vec<Turn>,
    /// Names of the tools that may be called.
    pub tools: Vec<String>,
    /// What tools answered, oldest first.
    pub results: Vec<ToolAnswer>,
}

/// Somebody's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// `user`, `assistant`, `developer`, …
    pub role: String,
    /// The words.
    pub text: String,
}

/// What a tool answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolAnswer {
    /// The call's id; empty in the Ollama form.
    pub id: String,
    /// The answer.
    pub content: String,
    /// Whether the tool failed, where the form says so.
    pub is_error: bool,
}

impl Question {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The key it came with, from `x-api-key` or a bearer.
    pub fn key(&self) -> Option<&str> {
        key(&self.headers)
    }

    /// The last words of the user.
    pub fn last_user_text(&self) -> &str {
        let mut users = self.turns.iter().rev().filter(|turn| turn.role == "user");
        users.next().map_or("", |turn| turn.text.as_str())
    }

    /// Whether a tool may be called.
    pub fn has_tool(&self, name: &str) -> bool {
        self.tools.iter().any(|tool| tool == name)
    }

    /// The tool that must be called, if one must.
    pub(super) fn forced_tool(&self) -> Option<&str> {
        let choice = self.body.get("tool_choice")?;
        choice.get("name")?.as_str()
    }

    pub(super) fn read(
        form: ApiForm,
        path: String,
        headers: Vec<(String, String)>,
        body: Value,
    ) -> Self {
        let flag = body.get("stream").and_then(Value::as_bool);
        let ollama = matches!(form, ApiForm::OllamaGenerate | ApiForm::OllamaChat);
        let mut question = Self {
            number: 0,
            form,
            path,
            headers,
            model: string(&body, "model"),
            stream: flag.unwrap_or(ollama),
            system: String::new(),
            turns: Vec::new(),
            tools: tools(&body),
            results: Vec::new(),
            body: Value::Null,
        };
        match form {
            ApiForm::OllamaGenerate => {
                question.system = string(&body, "system");
                question.say("user", string(&body, "prompt"));
            }
            ApiForm::OpenaiResponses => question.items(&body),
            ApiForm::Anthropic | ApiForm::OpenaiChat | ApiForm::OllamaChat => {
                question.system = words(body.get("system").unwrap_or(&Value::Null));
                question.messages(&body);
            }
        }
        question.body = body;
        question
    }

    fn say(&mut self, role: &str, text: String) {
        if !text.is_empty() {
            let role = role.to_owned();
            self.turns.push(Turn { role, text });
        }
    }

    /// Each text of a content as a turn of its own: clients put reminders beside what a person said.
    fn say_all(&mut self, role: &str, content: &Value) {
        match content {
            Value::Array(blocks) => {
                for block in blocks {
                    self.say(role, string(block, "text"));
                }
            }
            other => self.say(role, words(other)),
        }
    }

    fn messages(&mut self, body: &Value) {
        for message in list(body, "messages") {
            let role = string(message, "role");
            let content = message.get("content").unwrap_or(&Value::Null);
            if role == "tool" {
                self.results.push(ToolAnswer {
                    id: string(message, "tool_call_id"),
                    content: words(content),
                    is_error: false,
                });
                continue;
            }
            if role == "system" {
                self.system.push_str(&words(content));
                continue;
            }
            for block in content.as_array().into_iter().flatten() {
                if string(block, "type") == "tool_result" {
                    self.results.push(ToolAnswer {
                        id: string(block, "tool_use_id"),
                        content: words(block.get("content").unwrap_or(&Value::Null)),
                        is_error: block.get("is_error").and_then(Value::as_bool) == Some(true),
                    });
                }
            }
            self.say_all(&role, content);
        }
    }

    fn items(&mut self, body: &Value) {
        self.system = string(body, "instructions");
        if let Some(text) = body.get("input").and_then(Value::as_str) {
            self.say("user", text.to_owned());
        }
        for item in list(body, "input") {
            if string(item, "type").ends_with("_call_output") {
                self.results.push(ToolAnswer {
                    id: string(item, "call_id"),
                    content: words(item.get("output").unwrap_or(&Value::Null)),
                    is_error: false,
                });
            } else {
                let role = string(item, "role");
                self.say_all(&role, item.get("content").unwrap_or(&Value::Null));
            }
        }
    }
}

/// The key among headers.
pub(super) fn key(headers: &[(String, String)]) -> Option<&str> {
    headers
        .iter()
        .find_map(|(name, value)| match name.as_str() {
            "x-api-key" => Some(value.as_str()),
            "authorization" => value.strip_prefix("Bearer "),
            _ => None,
        })
}

fn tools(body: &Value) -> Vec<String> {
    let name = |tool: &Value| {
        let name = tool
            .get("name")
            .or_else(|| tool.pointer("/function/name"))?;
        name.as_str().map(str::to_owned)
    };
    list(body, "tools").filter_map(name).collect()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

pub(super) fn string(value: &Value, key: &str) -> String {
    let text = value.get(key).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// The text of a content: a string, or the texts of its blocks.
fn words(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts = blocks
                .iter()
                .filter_map(|block| block.get("text")?.as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}
