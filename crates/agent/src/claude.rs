//! Claude Code over bidirectional stream-json, its permission prompts answered by our policy.
//!
//! Its model calls go to a relay ([`Metered`]); it knows no key, no settings of the user and no network. What it says counts for
//! nothing but an error. Start at [`Claude`].

use std::path::PathBuf;

use agentwright_sandbox::Report;
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::coder::{Coder, Progress, Task, Workspace, Written};
use crate::error::{CoderError, CoderLimit};
use crate::metered::Metered;
use crate::permission::{self, Deed};
use crate::program::Program;
use crate::prompt;
use crate::protected::Protected;
use crate::relay::{Traffic, Upstream};
use crate::talk::{Heard, Stop, Talk};
use crate::transcript::Transcript;

/// The tools it is given.
const TOOLS: &str = "Read,Write,Edit,Bash,Glob,Grep";
/// Environment that keeps it quiet, whole and away from everything but the relay.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("IS_SANDBOX", "1"),
    ("TERM", "dumb"),
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_ERROR_REPORTING", "1"),
    ("CLAUDE_CODE_MAX_RETRIES", "2"),
    ("BASH_DEFAULT_TIMEOUT_MS", "60000"),
    ("BASH_MAX_TIMEOUT_MS", "120000"),
];

/// Claude Code as a coder.
pub struct Claude {
    name: String,
    program: PathBuf,
    upstream: Upstream,
}

impl Claude {
    /// `program` is the absolute path of the native executable; `upstream` speaks Anthropic's form.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, upstream: Upstream) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            upstream,
        }
    }

    fn argv(&self, program: &Program, task: &Task, work: &Workspace) -> Vec<String> {
        let turns = task.limits.turns.to_string();
        let rules = prompt::rules(work);
        let words = [
            program.inside.as_str(),
            "-p",
            "--input-format",
            "stream-json",
            "--output-format",
            "stream-json",
            "--verbose",
            "--permission-prompt-tool",
            "stdio",
            "--permission-mode",
            "default",
            "--setting-sources",
            "",
            "--strict-mcp-config",
            "--tools",
            TOOLS,
            "--model",
            &self.upstream.model,
            "--max-turns",
            &turns,
            "--append-system-prompt",
            &rules,
        ];
        words.map(str::to_owned).to_vec()
    }
}

#[async_trait]
impl Coder for Claude {
    fn name(&self) -> &str {
        &self.name
    }

    async fn write(
        &self,
        task: &Task,
        work: &Workspace,
        report: &dyn Progress,
        cancel: &CancellationToken,
    ) -> Result<Written, CoderError> {
        let agent = (self.program.as_path(), &self.upstream);
        let Metered {
            program,
            relay,
            mut policy,
            bounds,
            mut transcript,
        } = Metered::begin(agent, task, work, report, cancel).await?;
        policy.env.extend(
            ENVIRONMENT
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        );
        policy
            .env
            .insert("ANTHROPIC_BASE_URL".into(), relay.inside());
        policy.env.insert(
            "ANTHROPIC_API_KEY".into(),
            relay.token().expose().to_owned(),
        );
        let argv = self.argv(&program, task, work);
        transcript.step("starts");
        let talk = Talk::start(&work.sandbox, policy, argv, bounds).await?;
        let (spoken, ended) = converse(talk, task, work, &mut transcript).await;
        let traffic = relay.finish().await;
        let says = judge(&program, spoken, &*ended?, &traffic, &transcript)?;
        Ok(transcript.written(&says, &traffic))
    }
}

/// How the conversation went: its result line, or why there is none.
enum Spoken {
    Result(Value),
    Nothing,
    TooLong,
    Stopped(Stop),
}

async fn converse(
    mut talk: Talk,
    task: &Task,
    work: &Workspace,
    transcript: &mut Transcript<'_>,
) -> (Spoken, Result<std::sync::Arc<Report>, CoderError>) {
    match until_result(&mut talk, task, work, transcript).await {
        Ok(spoken @ (Spoken::Result(_) | Spoken::Nothing)) => (spoken, talk.end().await),
        Ok(other) => (other, talk.kill().await),
        Err(stop) => (Spoken::Stopped(stop), talk.kill().await),
    }
}

async fn until_result(
    talk: &mut Talk,
    task: &Task,
    work: &Workspace,
    transcript: &mut Transcript<'_>,
) -> Result<Spoken, Stop> {
    let begin = json!({
        "type": "control_request", "request_id": "begin", "request": {"subtype": "initialize", "hooks": null},
    });
    talk.say(&begin).await?;
    let question = prompt::task(task);
    talk.say(&json!({"type": "user", "message": {"role": "user", "content": question}}))
        .await?;
    loop {
        let line = match talk.hear(transcript).await? {
            Heard::Line(line) => line,
            Heard::End => return Ok(Spoken::Nothing),
            Heard::TooLong => return Ok(Spoken::TooLong),
        };
        transcript.line(&line);
        match line["type"].as_str() {
            Some("control_request") => {
                let answer = answer(&line, &work.protected);
                transcript.line(&answer);
                talk.say(&answer).await?;
            }
            Some("assistant") => steps(&line, transcript),
            Some("result") => return Ok(Spoken::Result(line)),
            _ => {}
        }
    }
}

/// Says what it does, for people.
fn steps(line: &Value, transcript: &Transcript<'_>) {
    let blocks = line.pointer("/message/content").and_then(Value::as_array);
    for block in blocks
        .into_iter()
        .flatten()
        .filter(|b| b["type"] == "tool_use")
    {
        let about = ["file_path", "command", "pattern"]
            .iter()
            .find_map(|key| block["input"][key].as_str());
        let tool = block["name"].as_str().unwrap_or("a tool");
        transcript.step(&format!("{tool} {}", about.unwrap_or_default()));
    }
}

/// The answer to what it asks of us.
fn answer(line: &Value, protected: &Protected) -> Value {
    let id = &line["request_id"];
    let request = &line["request"];
    if request["subtype"] != "can_use_tool" {
        return json!({"type": "control_response", "response": {
            "subtype": "error", "request_id": id, "error": "this is not offered here",
        }});
    }
    let input = &request["input"];
    let decision = match allowed(
        request["tool_name"].as_str().unwrap_or_default(),
        input,
        protected,
    ) {
        Ok(()) => json!({"behavior": "allow", "updatedInput": input}),
        Err(why) => json!({"behavior": "deny", "message": why}),
    };
    json!({"type": "control_response", "response": {
        "subtype": "success", "request_id": id, "response": decision,
    }})
}

fn allowed(tool: &str, input: &Value, protected: &Protected) -> Result<(), String> {
    let path = |key: &str| input[key].as_str();
    let deed = |deed, path: Option<&str>| {
        let path = path.ok_or("the call names no path")?;
        permission::decide(deed, path, protected).map(drop)
    };
    match tool {
        "Read" => deed(Deed::Read, path("file_path")),
        "Write" | "Edit" | "MultiEdit" => deed(Deed::Write, path("file_path")),
        "Glob" | "Grep" => deed(Deed::Read, path("path").or(Some("."))),
        // The walls are what holds a command.
        "Bash" => Ok(()),
        other => Err(format!(
            "{other} is not offered here; the tools are {TOOLS}"
        )),
    }
}

/// Success is what all sources agree on; else the best reason that one of them has.
fn judge(
    program: &Program,
    spoken: Spoken,
    report: &Report,
    traffic: &Traffic,
    transcript: &Transcript<'_>,
) -> Result<String, CoderError> {
    let from_relay = || traffic.trouble.clone().map(CoderError::from);
    let result = match spoken {
        Spoken::Result(result) => result,
        Spoken::TooLong => return Err(CoderError::Limit(CoderLimit::Output)),
        Spoken::Stopped(Stop::Over) => {
            return Err(from_relay().unwrap_or_else(|| Stop::Over.error()));
        }
        Spoken::Stopped(stop) => return Err(stop.error()),
        Spoken::Nothing => {
            let ended = program.ended(report, transcript);
            let nothing = || program.failed("it ended without a result");
            return Err(from_relay().or(ended).unwrap_or_else(nothing));
        }
    };
    let text = result["result"].as_str().unwrap_or_default();
    let subtype = result["subtype"].as_str().unwrap_or_default();
    if subtype == "success" && result["is_error"] == false {
        return Ok(text.to_owned());
    }
    if subtype == "error_max_turns" {
        return Err(CoderError::Limit(CoderLimit::Turns));
    }
    if let Some(error) = from_relay() {
        return Err(error);
    }
    if text.contains("Not logged in") || text.contains("/login") {
        return Err(CoderError::NotLoggedIn {
            program: program.name.clone(),
        });
    }
    let errors = result["errors"].as_array().into_iter().flatten();
    let errors: Vec<&str> = errors.filter_map(Value::as_str).collect();
    let said = if errors.is_empty() {
        text.to_owned()
    } else {
        errors.join("; ")
    };
    Err(program.failed(&transcript.redacted(&format!("{subtype}: {said}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_answered_by_the_policy_and_everything_else_is_no() {
        let protected = Protected::new(["spec.json"]);
        let ask = |tool: &str, input: Value| {
            let line = json!({"type": "control_request", "request_id": "r1", "request": {
                "subtype": "can_use_tool", "tool_name": tool, "input": input,
            }});
            let answer = answer(&line, &protected);
            assert_eq!(answer["response"]["request_id"], "r1");
            answer["response"]["response"]["behavior"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            ask(
                "Write",
                json!({"file_path": "/app/main.py", "content": "x"})
            ),
            "allow"
        );
        assert_eq!(ask("Bash", json!({"command": "rm -rf /"})), "allow");
        assert_eq!(ask("Glob", json!({"pattern": "*"})), "allow");
        for (tool, input) in [
            ("Write", json!({"file_path": "/etc/cron.d/x"})),
            ("Write", json!({"file_path": "/app/spec.json"})),
            ("Edit", json!({"file_path": "/app/../state/.claude.json"})),
            ("Read", json!({"file_path": "/proc/1/environ"})),
            ("Write", json!({})),
            ("WebFetch", json!({"url": "https://example.org"})),
            ("mcp__x__y", json!({})),
        ] {
            assert_eq!(ask(tool, input.clone()), "deny", "{tool} {input}");
        }
        let hook = json!({"request_id": "r2", "request": {"subtype": "hook_callback"}});
        assert_eq!(answer(&hook, &protected)["response"]["subtype"], "error");
    }
}
