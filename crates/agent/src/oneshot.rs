//! The coder for small models: one question, files in the answer. Start at [`OneShot`].

use agentwright_llm::{Callers, Message, Request, Stop};
use async_trait::async_trait;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::blocks::{self, BlockProblem, FileBlock};
use crate::coder::{Coder, Progress, Task, Workspace, Written};
use crate::error::{CoderError, CoderLimit};
use crate::files::WorkFiles;
use crate::prompt::{self, MAX_SHOWN_BYTES};
use crate::spent::Spent;
use crate::transcript::Transcript;
use crate::tree;

/// Questions in all: the task, and the same again with what was wrong about the answer.
const MAX_QUESTIONS: u32 = 3;

/// The form that the answer should have.
const FORM: &str = "Answer with every file as a fenced block with its path after the language, for instance:\n\
\n```python main.py\nprint(\"hello\")\n```\n\n\
Give each file whole, also when only a part of it changes. Leave out files that stay as they are. Where a file itself \
holds fences, use a longer fence around it.";

/// Asks a model once for whole files and writes them.
pub struct OneShot {
    name: String,
    callers: Callers,
}

impl OneShot {
    /// With the providers to ask, in order.
    pub fn new(name: impl Into<String>, callers: Callers) -> Self {
        Self {
            name: name.into(),
            callers,
        }
    }

    async fn ask(
        &self,
        job: &Job<'_>,
        spent: &mut Spent,
        transcript: &mut Transcript<'_>,
    ) -> Result<(Vec<FileBlock>, String), CoderError> {
        let mut messages = vec![Message::user(job.question()?)];
        let mut question = 1;
        loop {
            let (cx, most) = spent.next(job.cancel)?;
            transcript.step(&format!("asks the model (question {question})"));
            let request = Request {
                system: Some(format!("{}\n{FORM}", prompt::rules(job.work))),
                messages: messages.clone(),
                max_output_tokens: most,
                ..Request::default()
            };
            let reply = self.callers.complete(request, cx, |_| ()).await;
            let reply = reply.map_err(|e| spent.failed(e))?;
            spent.count(&reply);
            transcript.line(&json!({"type": "answer", "model": reply.model, "text": reply.text}));
            let problem = match (reply.stop, job.read(&reply.text)) {
                // The last file of a cut answer would be half a file.
                (Stop::MaxTokens, _) => return Err(CoderError::Limit(CoderLimit::Tokens)),
                (Stop::Refused, Err(_)) => {
                    return Err(CoderError::BadOutput(
                        "the model will not answer this".into(),
                    ));
                }
                (_, Ok(files)) => return Ok((files, reply.text)),
                (_, Err(problem)) => problem,
            };
            transcript.line(&json!({"type": "refused", "why": problem.to_string()}));
            transcript.step(&format!("the answer is not usable: {problem}"));
            if question >= MAX_QUESTIONS.min(job.task.limits.turns) {
                return Err(match problem {
                    BlockProblem::Nothing => CoderError::NothingWritten(problem.to_string()),
                    BlockProblem::Refused(why) => CoderError::BadOutput(why),
                });
            }
            question += 1;
            messages.push(Message::assistant(reply.text));
            messages.push(Message::user(format!(
                "That answer cannot be used: {problem}.\n{FORM}\nAnswer again with all files."
            )));
        }
    }
}

#[async_trait]
impl Coder for OneShot {
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
        let mut transcript = Transcript::new(work.secrets.clone(), report);
        let mut spent = Spent::new(&task.limits);
        let job = Job {
            task,
            work,
            files: &files,
            cancel,
        };
        let (blocks, says) = self.ask(&job, &mut spent, &mut transcript).await?;
        for block in &blocks {
            files
                .write(&block.path, block.content.as_bytes())
                .map_err(|e| CoderError::workspace("write", &files.dir().join(&block.path), e))?;
            transcript
                .line(&json!({"type": "wrote", "path": block.path, "bytes": block.content.len()}));
            transcript.step(&format!("wrote {}", block.path));
        }
        Ok(Written {
            says: transcript.last_words(&says),
            transcript: transcript.finish(),
            turns: spent.turns,
            usage: spent.usage,
        })
    }
}

/// One call of the coder.
struct Job<'a> {
    task: &'a Task,
    work: &'a Workspace,
    files: &'a WorkFiles,
    cancel: &'a CancellationToken,
}

impl Job<'_> {
    fn read(&self, answer: &str) -> Result<Vec<FileBlock>, BlockProblem> {
        let main_file = self.task.main_file.as_deref();
        blocks::parse(
            answer.as_bytes(),
            &self.task.limits,
            &self.work.protected,
            main_file,
        )
    }

    /// The task and the code that is there.
    fn question(&self) -> Result<String, CoderError> {
        let there = tree::inspect(&self.work.dir, &self.task.limits, &self.work.protected)
            .map_err(|e| CoderError::BadOutput(e.to_string()))?;
        let mut text = prompt::task(self.task);
        let mut room = MAX_SHOWN_BYTES;
        if !there.is_empty() {
            text.push_str("\n\nThese files are there already:\n");
        }
        for file in there {
            let content = self.files.read(&file.path, room as u64).ok();
            let shown = content
                .filter(|c| !c.cut)
                .and_then(|c| String::from_utf8(c.bytes).ok());
            match shown {
                Some(content) => {
                    room -= content.len().min(room);
                    let fence = fence_for(&content);
                    text.push_str(&format!(
                        "\n{fence}text {}\n{}\n{fence}\n",
                        file.path,
                        content.trim_end()
                    ));
                }
                None => text.push_str(&format!(
                    "\n{} ({} bytes, not shown)\n",
                    file.path, file.bytes
                )),
            }
        }
        Ok(text)
    }
}

/// A fence longer than any in the text.
fn fence_for(text: &str) -> String {
    let longest = text
        .lines()
        .map(|line| line.trim_start().chars().take_while(|c| *c == '`').count())
        .max();
    "`".repeat(longest.unwrap_or(0).max(2) + 1)
}
