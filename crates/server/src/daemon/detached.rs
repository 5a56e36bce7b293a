//! Starting a daemon that outlives the command that needs it.

use super::READY;
use agentwright_api::{Client, Health};
use std::fs::OpenOptions;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// What a daemon says before its log is open, and what it fails with.
const START_LOG: &str = "daemon.start.log";
/// How much of that is shown, in bytes.
const START_LOG_MAX: usize = 8 * 1024;
/// How long a start may take: an upgrade of the tables is in it.
const START_MAX: Duration = Duration::from_secs(120);
/// How often somebody else's start is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A daemon that answers.
#[derive(Clone, Debug)]
pub struct Started {
    /// What it says of itself.
    pub health: Health,
    /// Whether this call started it; `false` when it was there or somebody else was faster.
    pub by_us: bool,
}

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub enum DetachError {
    /// It said why not.
    #[error("the daemon did not start: {said}")]
    Refused {
        /// Its own words.
        said: String,
        /// How it ended.
        status: Option<i32>,
    },
    /// The program could not be started.
    #[error("cannot start {program}: {source}")]
    Program {
        /// Which.
        program: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The data directory cannot be written.
    #[error(
        "cannot write in the data directory {dir}: {source}; check owner, mode, mount and free room, or choose another with --data"
    )]
    Unwritable {
        /// Which.
        dir: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// It takes too long.
    #[error("the daemon did not answer within {} seconds; its log is {log}", START_MAX.as_secs())]
    TooSlow {
        /// Where to look.
        log: PathBuf,
    },
}

/// Makes sure that a daemon of this data directory answers: finds it, or starts
/// `EXE --data DATA daemon run --detached FURTHER…` in a session of its own and waits until it is ready. Two
/// callers at once end with one daemon. `progress` hears what it says meanwhile.
///
/// # Errors
/// [`DetachError`], with the daemon's own words.
pub async fn start_detached(
    exe: &Path,
    data: &Path,
    further: &[String],
    mut progress: impl FnMut(&str),
) -> Result<Started, DetachError> {
    let client = Client::unix(data.join("daemon.sock"));
    if let Ok(health) = client.health().await {
        return Ok(Started {
            health,
            by_us: false,
        });
    }
    let mut child = spawn(exe, data, further)?;
    let deadline = Instant::now() + START_MAX;
    let ready = tokio::time::timeout_at(deadline, heard(&mut child, &mut progress)).await;
    let too_slow = || DetachError::TooSlow {
        log: data.join("daemon.log"),
    };
    if ready.map_err(|_| too_slow())? {
        return answering(&client, true, deadline)
            .await
            .ok_or_else(too_slow);
    }
    // It ended. Somebody else may have been faster and hold the lock now, still starting.
    let status = child.wait().await.ok();
    if lost_the_race(status)
        && let Some(started) = answering(&client, false, deadline).await
    {
        return Ok(started);
    }
    Err(DetachError::Refused {
        said: last_words(data),
        status: status.and_then(|status| status.code()),
    })
}

/// The exit code of `daemon run` when another daemon has the data directory.
pub const EXIT_RUNNING: u8 = 75;

fn lost_the_race(status: Option<ExitStatus>) -> bool {
    status.and_then(|status| status.code()) == Some(i32::from(EXIT_RUNNING))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where this program starts itself as the daemon"
)]
fn spawn(exe: &Path, data: &Path, further: &[String]) -> Result<Child, DetachError> {
    let unwritable = |source| DetachError::Unwritable {
        dir: data.to_owned(),
        source,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(unwritable)?;
    let words = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(data.join(START_LOG))
        .map_err(unwritable)?;
    Command::new(exe)
        .arg("--data")
        .arg(data)
        .args(["daemon", "run", "--detached"])
        .args(further)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(words)
        .kill_on_drop(false)
        .spawn()
        .map_err(|source| DetachError::Program {
            program: exe.to_owned(),
            source,
        })
}

/// Whether it became ready; `false` when it ended first.
async fn heard(child: &mut Child, progress: &mut impl FnMut(&str)) -> bool {
    let Some(stdout) = child.stdout.take() else {
        return false;
    };
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line == READY {
            return true;
        }
        progress(&line);
    }
    false
}

async fn answering(client: &Client, by_us: bool, deadline: Instant) -> Option<Started> {
    while Instant::now() < deadline {
        if let Ok(health) = client.health().await {
            return Some(Started { health, by_us });
        }
        tokio::time::sleep(LOOK).await;
    }
    None
}

fn last_words(data: &Path) -> String {
    let bytes = std::fs::read(data.join(START_LOG)).unwrap_or_default();
    let end = &bytes[bytes.len().saturating_sub(START_LOG_MAX)..];
    let text = String::from_utf8_lossy(end).trim().to_owned();
    if text.is_empty() {
        "it ended without a word; see daemon.log in the data directory".to_owned()
    } else {
        text
    }
}
