//! The tools and their answers. What a model gets wrong is an answer for it, never an error of ours.
//!
//! Start at [`Tools::answer`].

use std::time::Duration;

use agentwright_llm::{Tool, ToolCall};
use regex::RegexBuilder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::coder::{CoderLimits, Task, Workspace};
use crate::error::CoderError;
use crate::files::{MAX_LISTED, WorkFiles};
use crate::paths;
use crate::protected::Protected;
use crate::transcript::cut;

use super::run;

/// Bytes of one answer.
const MAX_ANSWER_BYTES: usize = 32 * 1024;
/// Lines that a search returns.
const MAX_FOUND: usize = 100;
/// Characters of one found line.
const MAX_LINE_CHARS: usize = 240;
/// Size of a compiled pattern.
const MAX_PATTERN_BYTES: usize = 256 * 1024;

/// What a tool answers.
pub(super) enum Answer {
    /// Nothing was changed.
    Said(String),
    /// The workspace is different now.
    Changed(String),
    /// The model's mistake.
    Error(String),
    /// The model says that it is done.
    Done(String),
}

impl Answer {
    pub(super) fn error(why: impl Into<String>) -> Self {
        Self::Error(why.into())
    }

    /// The text, and whether it is an error.
    pub(super) fn content(&self) -> (String, bool) {
        match self {
            Self::Said(text) | Self::Changed(text) | Self::Done(text) => (text.clone(), false),
            Self::Error(text) => (text.clone(), true),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    path: String,
    #[serde(default)]
    from_line: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Write {
    path: String,
    content: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    path: String,
    old: String,
    new: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    pattern: String,
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    command: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Done {
    #[serde(default)]
    summary: String,
}

/// What the model is offered.
pub(super) fn offered() -> Vec<Tool> {
    let tool = |name: &str, description: &str, properties: Value, required: &[&str]| Tool {
        name: name.to_owned(),
        description: description.to_owned(),
        schema: json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        }),
    };
    let text = json!({"type": "string"});
    vec![
        tool(
            "read_file",
            "Read a text file, from a line on (1 is the first).",
            json!({"path": text, "from_line": {"type": "integer", "minimum": 1}}),
            &["path"],
        ),
        tool(
            "write_file",
            "Write a whole file; directories are made.",
            json!({"path": text, "content": text}),
            &["path", "content"],
        ),
        tool(
            "edit",
            "Replace a piece of a file. `old` must stand in it exactly once.",
            json!({"path": text, "old": text, "new": text}),
            &["path", "old", "new"],
        ),
        tool(
            "list",
            "List files below a directory; without a path, all.",
            json!({"path": text}),
            &[],
        ),
        tool(
            "search",
            "Find lines that match a regular expression.",
            json!({"pattern": text, "path": text}),
            &["pattern"],
        ),
        tool(
            "run",
            "Run a shell command in the workspace, without network, for at most a minute.",
            json!({"command": text}),
            &["command"],
        ),
        tool(
            "done",
            "Say that everything is written.",
            json!({"summary": text}),
            &[],
        ),
    ]
}

/// A call in a few words, for progress.
pub(super) fn in_words(call: &ToolCall, is_error: bool) -> String {
    let about = ["path", "command", "pattern"]
        .iter()
        .find_map(|key| call.arguments.get(key).and_then(Value::as_str))
        .unwrap_or_default();
    let failed = if is_error { " (refused)" } else { "" };
    format!("{} {about}{failed}", call.name)
}

/// The tools of one session.
pub(super) struct Tools<'a> {
    files: &'a WorkFiles,
    work: &'a Workspace,
    limits: &'a CoderLimits,
    cancel: &'a CancellationToken,
}

impl<'a> Tools<'a> {
    pub(super) fn new(
        files: &'a WorkFiles,
        task: &'a Task,
        work: &'a Workspace,
        cancel: &'a CancellationToken,
    ) -> Self {
        Self {
            files,
            work,
            limits: &task.limits,
            cancel,
        }
    }

    /// Carries a call out.
    ///
    /// # Errors
    /// Only what is not the model's mistake: the sandbox, a cancel.
    pub(super) async fn answer(
        &self,
        call: &ToolCall,
        left: Duration,
    ) -> Result<Answer, CoderError> {
        let answered = match call.name.as_str() {
            "read_file" => arguments(call).and_then(|a| self.read(&a)),
            "write_file" => arguments(call).and_then(|a| self.write(&a)),
            "edit" => arguments(call).and_then(|a| self.edit(&a)),
            "list" => arguments(call).and_then(|a| self.list(&a)),
            "search" => arguments(call).and_then(|a| self.search(&a)),
            "done" => arguments::<Done>(call).map(|done| Answer::Done(done.summary)),
            "run" => match arguments::<Run>(call) {
                Ok(Run { command }) if command.contains('\0') => {
                    Err("the command holds a NUL".into())
                }
                Ok(Run { command }) => {
                    let said = run::run(self.work, &command, left, self.cancel).await?;
                    Ok(Answer::Said(said))
                }
                Err(why) => Err(why),
            },
            other => Err(format!(
                "there is no tool {}; there are read_file, write_file, edit, list, search, run and done",
                paths::shown(other)
            )),
        };
        Ok(answered.unwrap_or_else(Answer::Error))
    }

    fn read(&self, asked: &Read) -> Result<Answer, String> {
        let text = self.text_of(&asked.path)?;
        let from = asked.from_line.saturating_sub(1);
        let lines: Vec<&str> = text.split_inclusive('\n').skip(from).collect();
        if lines.is_empty() && from > 0 {
            return Err(format!("{} has fewer lines", paths::shown(&asked.path)));
        }
        Ok(Answer::Said(cut(&lines.concat(), MAX_ANSWER_BYTES)))
    }

    fn write(&self, asked: &Write) -> Result<Answer, String> {
        let path = paths::checked(&asked.path, &self.work.protected)?;
        self.put(&path, &asked.content)
    }

    fn edit(&self, asked: &Edit) -> Result<Answer, String> {
        let path = paths::checked(&asked.path, &self.work.protected)?;
        let text = self.text_of(&path)?;
        if asked.old.is_empty() {
            return Err("`old` is empty; say which piece to replace".into());
        }
        match text.matches(&asked.old).count() {
            1 => self.put(&path, &text.replacen(&asked.old, &asked.new, 1)),
            0 => Err(format!("`old` does not stand in {}", paths::shown(&path))),
            times => Err(format!(
                "`old` stands in {} {times} times; take a longer piece",
                paths::shown(&path)
            )),
        }
    }

    fn put(&self, path: &str, content: &str) -> Result<Answer, String> {
        if content.len() as u64 > self.limits.file_bytes {
            return Err(format!("a file may have {} bytes", self.limits.file_bytes));
        }
        if content.contains('\0') {
            return Err("the content is not text: it holds a NUL".into());
        }
        let same = self
            .files
            .read(path, self.limits.file_bytes)
            .is_ok_and(|old| !old.cut && old.bytes == content.as_bytes());
        if same {
            return Ok(Answer::Said(format!("{path} was like that already")));
        }
        self.files
            .write(path, content.as_bytes())
            .map_err(|e| format!("cannot write {}: {e}", paths::shown(path)))?;
        Ok(Answer::Changed(format!(
            "wrote {path}, {} bytes",
            content.len()
        )))
    }

    fn list(&self, asked: &List) -> Result<Answer, String> {
        let below = self.readable(&asked.path)?;
        let found = self
            .files
            .list(&below)
            .map_err(|e| format!("cannot list {}: {e}", paths::shown(&asked.path)))?;
        let more = if found.len() >= MAX_LISTED {
            "\n[there are more]"
        } else {
            ""
        };
        Ok(Answer::Said(cut(
            &(found.join("\n") + more),
            MAX_ANSWER_BYTES,
        )))
    }

    fn search(&self, asked: &Search) -> Result<Answer, String> {
        let pattern = RegexBuilder::new(&asked.pattern)
            .size_limit(MAX_PATTERN_BYTES)
            .build()
            .map_err(|e| format!("the pattern cannot be used: {e}"))?;
        let below = self.readable(&asked.path)?;
        let listed = match self.files.list(&below) {
            Ok(listed) => listed,
            Err(_) if !below.is_empty() => vec![below],
            Err(e) => return Err(format!("cannot search: {e}")),
        };
        let mut found = Vec::new();
        for path in listed.iter().filter(|path| !path.ends_with('/')) {
            let Ok(text) = self.text_of(path) else {
                continue;
            };
            for (number, line) in text
                .lines()
                .enumerate()
                .filter(|(_, l)| pattern.is_match(l))
            {
                if found.len() >= MAX_FOUND {
                    found.push("[there are more]".to_owned());
                    return Ok(Answer::Said(cut(&found.join("\n"), MAX_ANSWER_BYTES)));
                }
                let line: String = line.chars().take(MAX_LINE_CHARS).collect();
                found.push(format!("{path}:{}: {line}", number + 1));
            }
        }
        if found.is_empty() {
            found.push("nothing found".to_owned());
        }
        Ok(Answer::Said(cut(&found.join("\n"), MAX_ANSWER_BYTES)))
    }

    /// Protected files may be read; links are refused where the file is opened.
    fn readable(&self, path: &str) -> Result<String, String> {
        match path.trim_end_matches('/') {
            "" | "." => Ok(String::new()),
            path => paths::checked(path, &Protected::default()),
        }
    }

    fn text_of(&self, path: &str) -> Result<String, String> {
        let path = self.readable(path)?;
        let content = self
            .files
            .read(&path, self.limits.file_bytes)
            .map_err(|e| format!("cannot read {}: {e}", paths::shown(&path)))?;
        if content.cut {
            return Err(format!("{} is too large to be read", paths::shown(&path)));
        }
        String::from_utf8(content.bytes).map_err(|_| format!("{} is not text", paths::shown(&path)))
    }
}

fn arguments<T: DeserializeOwned>(call: &ToolCall) -> Result<T, String> {
    let wrong = |why: &str| format!("the arguments of {} are wrong: {why}", call.name);
    if !call.arguments.is_object() {
        return Err(wrong("they are not an object"));
    }
    T::deserialize(&call.arguments).map_err(|e| wrong(&e.to_string()))
}
