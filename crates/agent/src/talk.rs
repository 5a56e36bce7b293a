//! JSON lines with a program in the sandbox, within time: the end of our wall, a cancel or a relay that is over ends
//! every wait. Start at [`Talk::start`].

use std::sync::Arc;
use std::time::Duration;

use agentwright_sandbox::{Command, Conversation, Policy, Report, Running, Sandbox, Stdin, Stdout};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{CoderError, CoderLimit};
use crate::transcript::Transcript;

/// Longest line.
const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;
/// After the end of the conversation a program may take this long to leave by itself.
const GRACE: Duration = Duration::from_secs(5);
/// Then this long after it was asked to.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// Everything that ends a wait.
#[derive(Clone)]
pub(crate) struct Bounds {
    until: Instant,
    cancel: CancellationToken,
    over: CancellationToken,
}

/// Why a wait was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Wall,
    Cancelled,
    /// No model call will be answered any more.
    Over,
}

impl Bounds {
    pub(crate) fn new(wall: Duration, cancel: &CancellationToken, over: CancellationToken) -> Self {
        Self {
            until: Instant::now() + wall.min(Duration::from_secs(1 << 25)),
            cancel: cancel.clone(),
            over,
        }
    }

    async fn run<T>(&self, what: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Stop::Cancelled),
            () = tokio::time::sleep_until(self.until) => Err(Stop::Wall),
            () = self.over.cancelled() => Err(Stop::Over),
            done = what => Ok(done),
        }
    }
}

impl Stop {
    /// The error, where the relay does not know a better one.
    pub(crate) fn error(self) -> CoderError {
        match self {
            Self::Wall => CoderError::Limit(CoderLimit::Wall),
            Self::Cancelled => CoderError::Cancelled,
            Self::Over => CoderError::Limit(CoderLimit::Turns),
        }
    }
}

/// What came next.
pub(crate) enum Heard {
    /// A line that is JSON.
    Line(Value),
    /// It has closed its output.
    End,
    /// It speaks in longer lines than are read.
    TooLong,
}

/// A running program that is spoken with.
pub(crate) struct Talk {
    running: Running,
    stdin: Option<Stdin>,
    stdout: Stdout,
    bounds: Bounds,
    buffer: Vec<u8>,
    searched: usize,
}

impl Talk {
    pub(crate) async fn start(
        sandbox: &Sandbox,
        policy: Policy,
        argv: Vec<String>,
        bounds: Bounds,
    ) -> Result<Self, CoderError> {
        let command = Command {
            argv,
            stdin: Vec::new(),
        };
        let (running, Conversation { stdin, stdout }) = sandbox.converse(policy, command).await?;
        Ok(Self {
            running,
            stdin: Some(stdin),
            stdout,
            bounds,
            buffer: Vec::new(),
            searched: 0,
        })
    }

    /// Says one line. A program that does not listen any more is found out when it is heard.
    pub(crate) async fn say(&mut self, line: &Value) -> Result<(), Stop> {
        self.write(format!("{line}\n").as_bytes()).await
    }

    /// Writes bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let Some(stdin) = &mut self.stdin else {
            return Ok(());
        };
        if self.bounds.run(stdin.write_all(bytes)).await?.is_err() {
            self.stdin = None;
        }
        Ok(())
    }

    /// Says one line although the bounds have ended everything; tried for a moment only.
    pub(crate) async fn last_word(&mut self, line: &Value) {
        if let Some(stdin) = &mut self.stdin {
            let line = format!("{line}\n");
            let _ = tokio::time::timeout(LAST_GRACE, stdin.write_all(line.as_bytes())).await;
        }
    }

    /// Says that nothing more will be said.
    pub(crate) fn close(&mut self) {
        self.stdin = None;
    }

    /// The next line that is JSON; others go into the transcript only.
    pub(crate) async fn hear(&mut self, transcript: &mut Transcript<'_>) -> Result<Heard, Stop> {
        loop {
            if let Some(line) = self.line() {
                match serde_json::from_slice::<Value>(&line) {
                    Ok(value) if value.is_object() => return Ok(Heard::Line(value)),
                    _ if line.trim_ascii().is_empty() => {}
                    _ => {
                        let text = String::from_utf8_lossy(&line);
                        transcript.line(&json!({"type": "noise", "text": text}));
                    }
                }
                continue;
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                return Ok(Heard::TooLong);
            }
            match self.bounds.run(self.stdout.chunk()).await? {
                Some(chunk) => self.buffer.extend(chunk),
                None if self.buffer.is_empty() => return Ok(Heard::End),
                None => self.buffer.push(b'\n'),
            }
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer[self.searched..]
            .iter()
            .position(|b| *b == b'\n');
        let Some(end) = end.map(|end| self.searched + end) else {
            self.searched = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.buffer, rest);
        line.pop();
        self.searched = 0;
        Some(line)
    }

    /// Lets the program leave by itself, for a short time, then ends it with everything that it started.
    pub(crate) async fn end(mut self) -> Result<Arc<Report>, CoderError> {
        self.close();
        let until = Instant::now() + GRACE;
        // Its output must be read, or it could not get rid of it.
        while let Ok(Some(_)) = tokio::time::timeout_at(until, self.stdout.chunk()).await {}
        match tokio::time::timeout_at(until, self.running.wait()).await {
            Ok(report) => Ok(report?),
            Err(_) => {
                self.running.stop(LAST_GRACE).await;
                Ok(self.running.wait().await?)
            }
        }
    }

    /// Ends it at once, with everything that it started.
    pub(crate) async fn kill(self) -> Result<Arc<Report>, CoderError> {
        self.running.cancel();
        Ok(self.running.wait().await?)
    }
}
