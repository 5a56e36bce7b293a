//! A notice on the standard input of a program of the user's, as JSON.
//!
//! The program runs in a process group of its own, which is killed when it takes too long: nothing
//! of it stays.

use crate::{Channel, Message, SendError};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

/// How long the program may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How much of what it complains about is kept.
const STDERR_MAX: u64 = 2_000;

/// Runs one program.
pub struct Command {
    name: String,
    words: Vec<String>,
    timeout: Duration,
}

impl Command {
    /// A channel that runs `words`: the program and its arguments, no shell in between.
    pub fn new(name: &str, words: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            words,
            timeout: TIMEOUT,
        }
    }

    /// The same with another time limit.
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the user's own program, named in the configuration: not untrusted code"
    )]
    fn start(&self) -> Result<Child, SendError> {
        let (program, arguments) = self
            .words
            .split_first()
            .ok_or_else(|| SendError::Never("no program is configured".to_owned()))?;
        tokio::process::Command::new(program)
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound | ErrorKind::PermissionDenied => {
                    SendError::Never(format!("{program}: {error}"))
                }
                _ => SendError::later(format!("{program}: {error}")),
            })
    }
}

/// Kills the whole group when it goes out of scope: also when the sending is given up half way.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[async_trait::async_trait]
impl Channel for Command {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mut child = self.start()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let _group = Group(id.and_then(Pid::from_raw));
        let talk = async {
            if let Some(mut input) = child.stdin.take() {
                let said = format!("{}\n", message.to_json());
                // A program that does not read its input may still end well.
                let _ = input.write_all(said.as_bytes()).await;
            }
            let mut complaint = Vec::new();
            if let Some(errors) = child.stderr.take() {
                let _ = errors.take(STDERR_MAX).read_to_end(&mut complaint).await;
            }
            (child.wait().await, complaint)
        };
        let late = |_| SendError::later(format!("took longer than {:?}", self.timeout));
        let (ended, complaint) = tokio::time::timeout(self.timeout, talk)
            .await
            .map_err(late)?;
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let complaint = String::from_utf8_lossy(&complaint);
                Err(SendError::later(format!("{status}: {}", complaint.trim())))
            }
            Err(error) => Err(SendError::later(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::message;
    use rustix::process::test_kill_process;

    fn shell(script: &str) -> Command {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        Command::new("shell", words.to_vec())
    }

    #[tokio::test]
    async fn the_program_gets_the_notice_on_its_input() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("got");
        shell(&format!("cat > {}", to.display()))
            .send(&message())
            .await
            .unwrap();
        let got: serde_json::Value = serde_json::from_slice(&std::fs::read(to).unwrap()).unwrap();
        assert_eq!(got, message().to_json());
    }

    #[tokio::test]
    async fn a_program_that_fails_is_tried_again_with_its_complaint_told() {
        let error = shell("echo no paper >&2; exit 3")
            .send(&message())
            .await
            .unwrap_err();
        assert!(
            matches!(&error, SendError::Later { said, .. } if said.contains("no paper")),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_not_tried_again() {
        for words in [vec![], vec!["/nowhere/program".to_owned()]] {
            let error = Command::new("gone", words)
                .send(&message())
                .await
                .unwrap_err();
            assert!(matches!(error, SendError::Never(_)));
        }
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", to.display());
        let error = shell(&script)
            .within(Duration::from_millis(300))
            .send(&message())
            .await
            .unwrap_err();
        assert!(matches!(error, SendError::Later { .. }));
        let pid: i32 = std::fs::read_to_string(to).unwrap().trim().parse().unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        // Killed; whoever adopts it reaps it soon.
        for _ in 0..1_000 {
            let gone = test_kill_process(pid).is_err() || zombie(pid);
            if gone {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("a child of the program is still there");
    }

    fn zombie(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        stat.is_ok_and(|stat| stat.contains(") Z "))
    }
}
