//! Codex through `exec --json`: the prompt on its standard input, events on its output.
//!
//! Its own sandbox is off (ours holds, and does not let it build another); its model calls go to a [`Relay`]. It knows
//! no limit of turns: the relay has one. Start at [`Codex`].

use std::path::PathBuf;

use agentwright_sandbox::Report;
use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::coder::{Coder, Progress, Task, Workspace, Written};
use crate::error::{CoderError, CoderLimit};
use crate::metered::Metered;
use crate::program::Program;
use crate::prompt;
use crate::relay::{Relay, Traffic, Upstream};
use crate::talk::{Heard, Stop, Talk};
use crate::transcript::Transcript;

/// Where it finds the relay's token; kept from the commands that it runs.
const TOKEN: &str = "AGENT_RELAY_TOKEN";

/// Codex as a coder.
pub struct Codex {
    name: String,
    program: PathBuf,
    upstream: Upstream,
}

impl Codex {
    /// `program` is the absolute path of the native executable; `upstream` speaks OpenAI's responses.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, upstream: Upstream) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            upstream,
        }
    }

    fn argv(&self, program: &Program, relay: &Relay) -> Vec<String> {
        let provider = format!(
            "model_providers.relay={{name=\"relay\",base_url=\"{}/v1\",env_key=\"{TOKEN}\",wire_api=\"responses\",\
             request_max_retries=1,stream_max_retries=1,supports_websockets=false}}",
            relay.inside()
        );
        let environment = format!("shell_environment_policy.exclude=[\"{TOKEN}\"]");
        let words = [
            program.inside.as_str(),
            "exec",
            "--json",
            "--skip-git-repo-check",
            "--ephemeral",
            "--dangerously-bypass-approvals-and-sandbox",
            "-m",
            &self.upstream.model,
            "-c",
            "model_provider=\"relay\"",
            "-c",
            &provider,
            "-c",
            &environment,
            // A prompt that begins with a word like `resume` would be taken for a command.
            "-",
        ];
        words.map(str::to_owned).to_vec()
    }
}

#[async_trait]
impl Coder for Codex {
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
        policy
            .env
            .insert(TOKEN.into(), relay.token().expose().to_owned());
        let argv = self.argv(&program, &relay);
        transcript.step("starts");
        let mut talk = Talk::start(&work.sandbox, policy, argv, bounds).await?;
        let question = format!("{}\n{}", prompt::rules(work), prompt::task(task));
        let (heard, ended) = match listen(&mut talk, &question, &mut transcript).await {
            Ok(heard) if heard.too_long => (Ok(heard), talk.kill().await),
            Ok(heard) => (Ok(heard), talk.end().await),
            Err(stop) => (Err(stop), talk.kill().await),
        };
        let traffic = relay.finish().await;
        let says = judge(&program, heard, &*ended?, &traffic, &transcript)?;
        Ok(transcript.written(&says, &traffic))
    }
}

/// What its events said.
#[derive(Default)]
struct Spoken {
    last: String,
    completed: bool,
    failed: Option<String>,
    too_long: bool,
}

async fn listen(
    talk: &mut Talk,
    question: &str,
    transcript: &mut Transcript<'_>,
) -> Result<Spoken, Stop> {
    talk.write(question.as_bytes()).await?;
    talk.close();
    let mut spoken = Spoken::default();
    loop {
        let line = match talk.hear(transcript).await? {
            Heard::Line(line) => line,
            Heard::End => return Ok(spoken),
            Heard::TooLong => {
                spoken.too_long = true;
                return Ok(spoken);
            }
        };
        transcript.line(&line);
        match line["type"].as_str() {
            Some("item.started" | "item.completed") => item(&line, transcript, &mut spoken),
            Some("turn.completed") => {
                spoken.completed = true;
                return Ok(spoken);
            }
            Some("turn.failed") => {
                let why = line.pointer("/error/message").and_then(Value::as_str);
                spoken.failed = Some(why.unwrap_or("its turn failed").to_owned());
            }
            // Also said before it tries again: only the turn's own end counts.
            Some("error") => transcript.step(line["message"].as_str().unwrap_or("an error")),
            _ => {}
        }
    }
}

fn item(line: &Value, transcript: &Transcript<'_>, spoken: &mut Spoken) {
    let item = &line["item"];
    match (line["type"].as_str(), item["type"].as_str()) {
        (Some("item.completed"), Some("agent_message")) => {
            item["text"]
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut spoken.last);
        }
        (Some("item.started"), Some("command_execution")) => {
            transcript.step(&format!(
                "runs {}",
                item["command"].as_str().unwrap_or_default()
            ));
        }
        (Some("item.completed"), Some("file_change")) => {
            for change in item["changes"].as_array().into_iter().flatten() {
                transcript.step(&format!(
                    "changed {}",
                    change["path"].as_str().unwrap_or_default()
                ));
            }
        }
        // An item of type `error` is a warning more often than not.
        _ => {}
    }
}

fn judge(
    program: &Program,
    heard: Result<Spoken, Stop>,
    report: &Report,
    traffic: &Traffic,
    transcript: &Transcript<'_>,
) -> Result<String, CoderError> {
    let from_relay = || traffic.trouble.clone().map(CoderError::from);
    let spoken = match heard {
        Ok(spoken) => spoken,
        Err(Stop::Over) => return Err(from_relay().unwrap_or_else(|| Stop::Over.error())),
        Err(stop) => return Err(stop.error()),
    };
    if spoken.too_long {
        return Err(CoderError::Limit(CoderLimit::Output));
    }
    if spoken.completed {
        return Ok(spoken.last);
    }
    if let Some(error) = from_relay() {
        return Err(error);
    }
    let why = spoken
        .failed
        .map(|why| program.failed(&transcript.redacted(&why)));
    let ended = || program.ended(report, transcript);
    Err(why
        .or_else(ended)
        .unwrap_or_else(|| program.failed("it ended without completing its turn")))
}
