//! One session: from `initialize` to the answer to our one prompt. Start at [`Session::run`].

use std::sync::Arc;

use agentwright_sandbox::Report;
use serde_json::{Value, json};

use super::answers::Answers;
use crate::coder::{Task, Workspace};
use crate::error::{CoderError, CoderLimit};
use crate::files::WorkFiles;
use crate::program::Program;
use crate::prompt;
use crate::relay::Traffic;
use crate::talk::{Heard, Stop, Talk};
use crate::transcript::{Transcript, cut};
use crate::walls::INSIDE;

/// The version of the protocol.
const VERSION: u64 = 1;
/// "Authentication required".
const AUTH_REQUIRED: i64 = -32000;
/// Bytes kept of what it says.
const MAX_SAYS_BYTES: usize = 64 * 1024;

/// How a session went.
pub(super) enum Spoken {
    /// It answered the prompt, for this reason.
    Answered {
        stop: String,
        says: String,
    },
    /// It refused one of our requests.
    Refused {
        method: &'static str,
        error: Value,
    },
    /// It speaks another version.
    Version(Value),
    /// It closed its output.
    Ended,
    TooLong,
    Stopped(Stop),
}

/// Ends a session early.
enum Early {
    Spoken(Spoken),
    Stop(Stop),
}

impl From<Stop> for Early {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

pub(super) struct Session<'a> {
    talk: Talk,
    task: &'a Task,
    work: &'a Workspace,
    answers: Answers<'a>,
    next_id: u64,
    id: Option<String>,
    says: String,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        talk: Talk,
        task: &'a Task,
        work: &'a Workspace,
        files: &'a WorkFiles,
    ) -> Self {
        Self {
            talk,
            task,
            work,
            answers: Answers {
                files,
                limits: &task.limits,
                protected: &work.protected,
            },
            next_id: 0,
            id: None,
            says: String::new(),
        }
    }

    /// Runs it and ends the program, whatever happened.
    pub(super) async fn run(
        mut self,
        transcript: &mut Transcript<'_>,
    ) -> (Spoken, Result<Arc<Report>, CoderError>) {
        let spoken = match self.speak(transcript).await {
            Ok(spoken) | Err(Early::Spoken(spoken)) => spoken,
            Err(Early::Stop(stop)) => Spoken::Stopped(stop),
        };
        match spoken {
            Spoken::Answered { .. } | Spoken::Ended => (spoken, self.talk.end().await),
            Spoken::Stopped(_) => {
                if let Some(id) = &self.id {
                    let cancel = json!({
                        "jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": id},
                    });
                    self.talk.last_word(&cancel).await;
                }
                (spoken, self.talk.kill().await)
            }
            other => (other, self.talk.kill().await),
        }
    }

    async fn speak(&mut self, transcript: &mut Transcript<'_>) -> Result<Spoken, Early> {
        let begin = json!({
            "protocolVersion": VERSION,
            "clientCapabilities": {"fs": {"readTextFile": true, "writeTextFile": true}, "terminal": false},
        });
        let begun = self.ask("initialize", begin, transcript).await?;
        if begun["protocolVersion"] != json!(VERSION) {
            return Ok(Spoken::Version(begun["protocolVersion"].clone()));
        }
        let new = json!({"cwd": INSIDE, "mcpServers": []});
        let session = self.ask("session/new", new, transcript).await?;
        let id = session["sessionId"].as_str().unwrap_or_default().to_owned();
        self.id = Some(id.clone());
        let text = format!("{}\n{}", prompt::rules(self.work), prompt::task(self.task));
        let prompt = json!({"sessionId": id, "prompt": [{"type": "text", "text": text}]});
        let answer = self.ask("session/prompt", prompt, transcript).await?;
        Ok(Spoken::Answered {
            stop: answer["stopReason"].as_str().unwrap_or_default().to_owned(),
            says: std::mem::take(&mut self.says),
        })
    }

    /// Asks and waits for the answer, answering what it asks meanwhile.
    async fn ask(
        &mut self,
        method: &'static str,
        params: Value,
        transcript: &mut Transcript<'_>,
    ) -> Result<Value, Early> {
        self.next_id += 1;
        let id = json!(self.next_id);
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        transcript.line(&request);
        self.talk.say(&request).await?;
        loop {
            let line = match self.talk.hear(transcript).await? {
                Heard::Line(line) => line,
                Heard::End => return Err(Early::Spoken(Spoken::Ended)),
                Heard::TooLong => return Err(Early::Spoken(Spoken::TooLong)),
            };
            transcript.line(&line);
            let asked = line["method"].as_str();
            match (asked, line.get("id")) {
                (Some(asked), Some(asked_id)) => {
                    let answer = self.answers.to(asked, &line["params"]);
                    let answer = match answer {
                        Ok(result) => json!({"jsonrpc": "2.0", "id": asked_id, "result": result}),
                        Err(error) => json!({"jsonrpc": "2.0", "id": asked_id, "error": error}),
                    };
                    transcript.line(&answer);
                    self.talk.say(&answer).await?;
                }
                (Some("session/update"), None) => {
                    self.update(&line["params"]["update"], transcript);
                }
                (None, Some(answered)) if *answered == id => {
                    if let Some(error) = line.get("error") {
                        let error = error.clone();
                        return Err(Early::Spoken(Spoken::Refused { method, error }));
                    }
                    return Ok(line["result"].clone());
                }
                _ => {}
            }
        }
    }

    fn update(&mut self, update: &Value, transcript: &Transcript<'_>) {
        match update["sessionUpdate"].as_str() {
            Some("agent_message_chunk") => {
                let text = update.pointer("/content/text").and_then(Value::as_str);
                let room = MAX_SAYS_BYTES.saturating_sub(self.says.len());
                if room > 0 {
                    self.says.push_str(&cut(text.unwrap_or_default(), room));
                }
            }
            Some("tool_call") => transcript.step(update["title"].as_str().unwrap_or("uses a tool")),
            _ => {}
        }
    }
}

/// What a session means.
pub(super) fn judge(
    program: &Program,
    spoken: Spoken,
    report: &Report,
    traffic: &Traffic,
    transcript: &Transcript<'_>,
) -> Result<String, CoderError> {
    let from_relay = || traffic.trouble.clone().map(CoderError::from);
    match spoken {
        Spoken::Answered { stop, says } => match stop.as_str() {
            "end_turn" => Ok(says),
            "max_tokens" => Err(CoderError::Limit(CoderLimit::Tokens)),
            "max_turn_requests" => Err(CoderError::Limit(CoderLimit::Turns)),
            "cancelled" => Err(CoderError::Cancelled),
            "refusal" => Err(CoderError::BadOutput("the agent will not do this".into())),
            other => Err(program.failed(&format!(
                "it ended its turn with \"{}\"",
                other.escape_debug()
            ))),
        },
        Spoken::Refused { error, .. }
            if error["code"] == json!(AUTH_REQUIRED) && traffic.trouble.is_none() =>
        {
            Err(CoderError::NotLoggedIn {
                program: program.name.clone(),
            })
        }
        Spoken::Refused { method, error } => Err(from_relay().unwrap_or_else(|| {
            let said = error["message"].as_str().unwrap_or("no reason");
            program.failed(&transcript.redacted(&format!("{method}: {said}")))
        })),
        Spoken::Version(version) => Err(program.failed(&format!(
            "it speaks version {version} of the protocol; version {VERSION} is needed"
        ))),
        Spoken::TooLong => Err(CoderError::Limit(CoderLimit::Output)),
        Spoken::Stopped(Stop::Over) => Err(from_relay().unwrap_or_else(|| Stop::Over.error())),
        Spoken::Stopped(stop) => Err(stop.error()),
        Spoken::Ended => Err(from_relay()
            .or_else(|| program.ended(report, transcript))
            .unwrap_or_else(|| program.failed("it ended before it answered"))),
    }
}
