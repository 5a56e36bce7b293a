//! The coder for models that call tools: it reads, writes and tries until it says that it is done, or until a limit
//! or a lack of progress ends it. Start at [`ToolLoop`].

mod run;
mod tools;

use std::collections::HashMap;

use agentwright_llm::{Callers, Message, Part, Reply, Request, Stop, ToolCall};
use async_trait::async_trait;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::coder::{Coder, Progress, Task, Workspace, Written};
use crate::error::{CoderError, CoderLimit};
use crate::files::WorkFiles;
use crate::prompt;
use crate::spent::Spent;
use crate::transcript::Transcript;
use tools::{Answer, Tools};

/// The same call with the same answer, without a change in between.
pub const MAX_REPEATS: u32 = 3;
/// Calls in one answer that are carried out.
const MAX_CALLS_PER_TURN: usize = 16;
/// Bytes of the conversation beyond which old tool results are left out.
const MAX_CONVERSATION_BYTES: usize = 400 * 1024;
/// The newest messages always stay whole.
const KEPT_MESSAGES: usize = 8;
/// Answers that may be cut at their limit before the work is ended.
const MAX_CUT: u32 = 2;
/// Answers without a call that are reminded of the tools.
const REMINDERS: u32 = 1;

/// Lets a model work in the workspace with tools.
pub struct ToolLoop {
    name: String,
    callers: Callers,
}

impl ToolLoop {
    /// With the providers to ask, in order.
    pub fn new(name: impl Into<String>, callers: Callers) -> Self {
        Self {
            name: name.into(),
            callers,
        }
    }
}

#[async_trait]
impl Coder for ToolLoop {
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
        let files = WorkFiles::open(&work.dir)?;
        let mut session = Session {
            tools: Tools::new(&files, task, work, cancel),
            transcript: Transcript::new(work.secrets.clone(), report),
            spent: Spent::new(&task.limits),
            seen: HashMap::new(),
            reminders: 0,
            cut: 0,
            cancel,
        };
        let says = session.work(&self.callers, task, work).await?;
        Ok(Written {
            says: session.transcript.last_words(&says),
            transcript: session.transcript.finish(),
            turns: session.spent.turns,
            usage: session.spent.usage,
        })
    }
}

/// One call of the coder.
struct Session<'a> {
    tools: Tools<'a>,
    transcript: Transcript<'a>,
    spent: Spent,
    /// Calls with their answers since the last change of the workspace, and how often.
    seen: HashMap<[u8; 32], u32>,
    reminders: u32,
    cut: u32,
    cancel: &'a CancellationToken,
}

/// What a turn leads to.
enum Next {
    /// Another one, after these messages.
    Turn(Vec<Message>),
    /// The end, with the last words.
    Done(String),
}

impl Session<'_> {
    async fn work(
        &mut self,
        callers: &Callers,
        task: &Task,
        work: &Workspace,
    ) -> Result<String, CoderError> {
        let system = format!(
            "{}\nWork with the tools. Look at what is there, write the files, run them where that helps, then call \
             `done`.",
            prompt::rules(work)
        );
        let mut messages = vec![Message::user(prompt::task(task))];
        loop {
            let (cx, most) = self.spent.next(self.cancel)?;
            let request = Request {
                system: Some(system.clone()),
                messages: within_bounds(&messages),
                tools: tools::offered(),
                max_output_tokens: most,
                ..Request::default()
            };
            let reply = callers.complete(request, cx, |_| ()).await;
            let reply = reply.map_err(|e| self.spent.failed(e))?;
            self.spent.count(&reply);
            self.transcript.line(&json!({
                "type": "answer", "model": reply.model, "text": reply.text, "calls": reply.tool_calls,
            }));
            match self.turn(reply).await? {
                Next::Turn(more) => messages.extend(more),
                Next::Done(says) => return Ok(says),
            }
        }
    }

    async fn turn(&mut self, reply: Reply) -> Result<Next, CoderError> {
        if reply.stop == Stop::MaxTokens {
            return self.was_cut(&reply);
        }
        if reply.tool_calls.is_empty() {
            if self.reminders >= REMINDERS {
                return Ok(Next::Done(reply.text));
            }
            self.reminders += 1;
            let remind = "Go on with the tools, or call `done` when the files are written.";
            let said = if reply.text.is_empty() {
                "…"
            } else {
                &reply.text
            };
            return Ok(Next::Turn(vec![
                Message::assistant(said),
                Message::user(remind),
            ]));
        }
        let mut results = Vec::new();
        for (number, call) in reply.tool_calls.iter().enumerate() {
            let answer = if number < MAX_CALLS_PER_TURN {
                self.spent.left()?;
                self.tools.answer(call, self.spent.left()?).await?
            } else {
                Answer::error("not carried out: too many calls in one answer")
            };
            self.note(call, &answer)?;
            if let Answer::Done(says) = answer {
                return Ok(Next::Done(says));
            }
            let (content, is_error) = answer.content();
            results.push(Part::ToolResult {
                id: call.id.clone(),
                name: call.name.clone(),
                content,
                is_error,
            });
        }
        Ok(Next::Turn(vec![
            Message::reply(&reply),
            Message::results(results),
        ]))
    }

    /// Calls of a cut answer may be cut themselves: none is carried out.
    fn was_cut(&mut self, reply: &Reply) -> Result<Next, CoderError> {
        self.cut += 1;
        if self.cut > MAX_CUT {
            return Err(CoderError::Limit(CoderLimit::Tokens));
        }
        let said = if reply.text.is_empty() {
            "…"
        } else {
            &reply.text
        };
        let smaller = "That answer was cut at its limit and nothing of it was carried out. Take smaller steps: \
                       shorter files, or one file in several edits.";
        Ok(Next::Turn(vec![
            Message::assistant(said),
            Message::user(smaller),
        ]))
    }

    /// Writes a call down, and stops a coder that turns in circles.
    fn note(&mut self, call: &ToolCall, answer: &Answer) -> Result<(), CoderError> {
        let (content, is_error) = answer.content();
        self.transcript.line(&json!({
            "type": "tool", "name": call.name, "is_error": is_error, "answer": content,
        }));
        self.transcript.step(&tools::in_words(call, is_error));
        if matches!(answer, Answer::Changed(_)) {
            self.seen.clear();
            return Ok(());
        }
        let mut hash = Sha256::new();
        for part in [&call.name, &call.arguments.to_string(), &content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let times = self.seen.entry(hash.finalize().into()).or_default();
        *times += 1;
        if *times >= MAX_REPEATS {
            return Err(CoderError::Limit(CoderLimit::NoProgress));
        }
        Ok(())
    }
}

/// The conversation, with the oldest tool results left out when it has become too long.
fn within_bounds(messages: &[Message]) -> Vec<Message> {
    let size = |part: &Part| match part {
        Part::Text(text) => text.len(),
        Part::ToolCall(call) => call.arguments.to_string().len(),
        Part::ToolResult { content, .. } => content.len(),
    };
    let mut all = messages.to_vec();
    let mut total: usize = all.iter().flat_map(|m| &m.parts).map(size).sum();
    let old = all.len().saturating_sub(KEPT_MESSAGES);
    for part in all[..old].iter_mut().flat_map(|m| &mut m.parts) {
        if total <= MAX_CONVERSATION_BYTES {
            break;
        }
        if let Part::ToolResult { content, .. } = part {
            total -= content.len();
            "[left out: ask again]".clone_into(content);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_results_are_left_out_of_a_long_conversation_and_new_ones_stay() {
        let result = |text: &str| {
            Message::results(vec![Part::ToolResult {
                id: "call_1".into(),
                name: "read_file".into(),
                content: text.repeat(8000),
                is_error: false,
            }])
        };
        let messages: Vec<Message> = (0..100).map(|_| result("x")).collect();
        let bounded = within_bounds(&messages);
        let length = |m: &Message| match &m.parts[0] {
            Part::ToolResult { content, .. } => content.len(),
            _ => 0,
        };
        assert!(bounded.iter().map(length).sum::<usize>() <= MAX_CONVERSATION_BYTES + 1000);
        assert!(length(&bounded[0]) < 100 && length(&bounded[99]) == 8000);
        assert_eq!(within_bounds(&messages[..5]), messages[..5]);
    }
}
