//! A build's git repository. The one place of this crate that starts a process.
//!
//! Its own identity and nobody's configuration: no system or user settings, no hooks, no templates,
//! no signing. Each commit carries the run and the stage, so that a stage that is done again after a
//! crash recognises its commit.

use agentwright_domain::build::Stage;
use agentwright_domain::ids::RunId;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// One git command may take so long.
const GIT_MAX: Duration = Duration::from_secs(60);
/// The most of git's words that are repeated.
const WORDS_MAX: usize = 500;

/// Why git did not do it. Trying again may help: a full disk, a missing program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// It is not there or does not start.
    #[error("cannot start git: {0}; install git")]
    Start(std::io::Error),
    /// It says no.
    #[error("git {command} failed in {}: {words}", place.display())]
    Failed {
        /// The subcommand.
        command: String,
        /// Where.
        place: PathBuf,
        /// What it said.
        words: String,
    },
    /// It hangs.
    #[error("git {0} did not end within {limit} s", limit = GIT_MAX.as_secs())]
    Slow(String),
}

/// Which work a commit is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) stage: Stage,
    pub(crate) attempt: u32,
}

/// A repository on disk.
pub(crate) struct Repository {
    path: PathBuf,
}

impl Repository {
    /// Makes the repository if it is not there, and takes away the locks of a git that was killed:
    /// nobody else works in it.
    pub(crate) async fn open(path: &Path) -> Result<Self, GitError> {
        let repository = Self {
            path: path.to_owned(),
        };
        for lock in [
            "index.lock",
            "HEAD.lock",
            "config.lock",
            "refs/heads/main.lock",
        ] {
            let _ = std::fs::remove_file(path.join(".git").join(lock));
        }
        repository
            .git(&["init", "--quiet", "--template="], 0)
            .await?;
        Ok(repository)
    }

    /// Commits everything that differs, and answers the newest commit. Does nothing when nothing
    /// differs: either this stage has committed already, or it changed nothing.
    pub(crate) async fn commit(
        &self,
        run: &RunId,
        step: Step,
        subject: &str,
        at_ms: i64,
    ) -> Result<String, GitError> {
        self.committing(run, step, subject, at_ms, false).await
    }

    /// The same, also when nothing differs: each attempt has its commit.
    pub(crate) async fn commit_always(
        &self,
        run: &RunId,
        step: Step,
        subject: &str,
        at_ms: i64,
    ) -> Result<String, GitError> {
        self.committing(run, step, subject, at_ms, true).await
    }

    /// Whether the newest commit is that work's.
    pub(crate) async fn committed(&self, run: &RunId, step: Step) -> Result<bool, GitError> {
        let message = self.git(&["log", "-1", "--format=%B"], 0).await?;
        Ok(message.trim_end().ends_with(trailer(run, step).trim_end()))
    }

    /// The newest commit's first line.
    pub(crate) async fn subject(&self) -> Result<String, GitError> {
        let line = self.git(&["log", "-1", "--format=%s"], 0).await?;
        Ok(line.trim().to_owned())
    }

    /// Takes away what is not committed: a killed attempt's half.
    pub(crate) async fn reset(&self) -> Result<(), GitError> {
        self.git(&["reset", "--quiet", "--hard", "HEAD"], 0).await?;
        self.git(&["clean", "--quiet", "--force", "-d", "-x"], 0)
            .await?;
        Ok(())
    }

    async fn committing(
        &self,
        run: &RunId,
        step: Step,
        subject: &str,
        at_ms: i64,
        always: bool,
    ) -> Result<String, GitError> {
        self.git(&["add", "--all", "--force", "."], at_ms).await?;
        let status = self
            .git(&["status", "--porcelain", "--ignored=no"], at_ms)
            .await?;
        let has_head = self
            .git(&["rev-parse", "--quiet", "--verify", "HEAD"], at_ms)
            .await
            .is_ok();
        if always || !status.trim().is_empty() || !has_head {
            let message = format!("{}: {subject}\n\n{}", step.stage.word(), trailer(run, step));
            self.git(
                &[
                    "commit",
                    "--quiet",
                    "--allow-empty",
                    "--no-verify",
                    "--message",
                    &message,
                ],
                at_ms,
            )
            .await?;
        }
        let head = self.git(&["rev-parse", "HEAD"], at_ms).await?;
        Ok(head.trim().to_owned())
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that starts git")]
    async fn git(&self, arguments: &[&str], at_ms: i64) -> Result<String, GitError> {
        let date = format!("@{} +0000", at_ms / 1000);
        let mut command = tokio::process::Command::new("git");
        command
            .current_dir(&self.path)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env(
                "GIT_CEILING_DIRECTORIES",
                self.path.parent().unwrap_or(Path::new("/")),
            )
            .env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date)
            .args([
                "-c",
                "user.name=agentwright",
                "-c",
                "user.email=agentwright@localhost",
            ])
            .args([
                "-c",
                "init.defaultBranch=main",
                "-c",
                "commit.gpgSign=false",
            ])
            .args([
                "-c",
                "core.hooksPath=/dev/null",
                "-c",
                "core.fsmonitor=false",
            ])
            .args([
                "-c",
                "core.autocrlf=false",
                "-c",
                "gc.auto=0",
                "-c",
                "safe.directory=*",
            ])
            .args(["-c", "core.fsync=all"])
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let name = arguments.first().copied().unwrap_or_default();
        let output = tokio::time::timeout(GIT_MAX, command.output())
            .await
            .map_err(|_| GitError::Slow(name.to_owned()))?
            .map_err(GitError::Start)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        Err(GitError::Failed {
            command: name.to_owned(),
            place: self.path.clone(),
            words: words.trim().chars().take(WORDS_MAX).collect(),
        })
    }
}

/// The end of a commit's message: whose work it is.
fn trailer(run: &RunId, step: Step) -> String {
    format!(
        "Agentwright-Run: {run}\nAgentwright-Stage: {}\nAgentwright-Attempt: {}\n",
        step.stage.word(),
        step.attempt
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(stage: Stage) -> Step {
        Step { stage, attempt: 1 }
    }

    async fn log(repository: &Repository) -> Vec<String> {
        let text = repository
            .git(
                &["log", "--format=%an|%s|%(trailers:separator=%x2C)|%at"],
                0,
            )
            .await;
        text.unwrap().lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn a_stage_that_is_done_again_makes_no_second_commit() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId::new("r1");
        for _ in 0..2 {
            let repository = Repository::open(dir.path()).await.unwrap();
            std::fs::write(dir.path().join("a"), "1").unwrap();
            repository
                .commit(&run, step(Stage::Package), "laid out", 7_000)
                .await
                .unwrap();
        }
        let repository = Repository::open(dir.path()).await.unwrap();
        std::fs::write(dir.path().join("b"), "2").unwrap();
        repository
            .commit(&run, step(Stage::Generate), "written", 9_000)
            .await
            .unwrap();
        let log = log(&repository).await;
        assert_eq!(log.len(), 2, "{log:?}");
        assert!(
            log[0].starts_with("agentwright|generate: written|"),
            "{}",
            log[0]
        );
        assert!(log[0].contains("Agentwright-Run: r1"), "{}", log[0]);
        assert!(log[1].ends_with("|7"), "{}", log[1]);
    }

    #[tokio::test]
    async fn a_lock_that_a_killed_git_left_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        Repository::open(dir.path()).await.unwrap();
        std::fs::write(dir.path().join(".git/index.lock"), "").unwrap();
        std::fs::write(dir.path().join("a"), "1").unwrap();
        let repository = Repository::open(dir.path()).await.unwrap();
        repository
            .commit(&RunId::new("r"), step(Stage::Package), "x", 0)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn hooks_attributes_and_ignore_files_of_the_code_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::open(dir.path()).await.unwrap();
        let hooks = dir.path().join(".git/hooks");
        std::fs::create_dir_all(&hooks).unwrap();
        std::fs::write(hooks.join("pre-commit"), "#!/bin/sh\nexit 1\n").unwrap();
        std::fs::write(dir.path().join(".gitignore"), "*\n").unwrap();
        std::fs::write(dir.path().join("kept.py"), "x\n").unwrap();
        repository
            .commit(&RunId::new("r"), step(Stage::Generate), "x", 0)
            .await
            .unwrap();
        let files = repository.git(&["ls-files"], 0).await.unwrap();
        assert!(files.contains("kept.py"), "{files}");
    }

    #[tokio::test]
    async fn what_git_says_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".git"), "nonsense").unwrap();
        let error = Repository::open(dir.path()).await.err().unwrap();
        assert!(error.to_string().contains("git init failed"), "{error}");
    }
}
