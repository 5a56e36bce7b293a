//! The one tool that starts processes: in the sandbox, without network, with short limits.

use std::time::Duration;

use agentwright_llm::Secret;
use agentwright_llm::redact::redact;
use agentwright_sandbox::{Command, Ending, Limits, Report};
use tokio_util::sync::CancellationToken;

use crate::coder::Workspace;
use crate::error::CoderError;
use crate::transcript::cut;
use crate::walls;

/// Wall time of one command.
pub(super) const MAX_RUN: Duration = Duration::from_secs(60);
/// Bytes of each output stream that the model sees.
const MAX_OUTPUT_BYTES: usize = 12 * 1024;
/// What one command may leave on disk.
const MAX_DISK_BYTES: u64 = 64 * 1024 * 1024;
const MAX_FILES: u64 = 5000;

/// Runs a shell command in the workspace and says what came of it.
pub(super) async fn run(
    work: &Workspace,
    script: &str,
    left: Duration,
    cancel: &CancellationToken,
) -> Result<String, CoderError> {
    let wall = left.min(MAX_RUN);
    let limits = Limits {
        wall_ms: Some(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX).max(1)),
        disk_bytes: MAX_DISK_BYTES,
        inodes: MAX_FILES,
        output_bytes: 2 * MAX_OUTPUT_BYTES as u64,
        ..Limits::default()
    };
    let policy = walls::policy(work, limits)?;
    let command = Command {
        argv: vec!["sh".into(), "-c".into(), script.into()],
        stdin: Vec::new(),
    };
    let report = work.sandbox.run(policy, command, cancel.clone()).await?;
    if report.ending == Ending::Cancelled {
        return Err(CoderError::Cancelled);
    }
    Ok(in_words(&report, &work.secrets))
}

/// Secrets go before anything is cut: neither the model nor the transcript gets half of one.
fn in_words(report: &Report, secrets: &[Secret]) -> String {
    let ending = match report.ending {
        Ending::Exited(code) => format!("exit code {code}"),
        Ending::Signalled(signal) => format!("ended by signal {signal}"),
        Ending::Stopped(limit) => format!("stopped: its limit of {limit:?} was reached"),
        Ending::Cancelled => "cancelled".to_owned(),
    };
    let mut text = ending;
    for (name, stream) in [("stdout", &report.stdout), ("stderr", &report.stderr)] {
        let said = redact(&stream.text(), secrets);
        if !said.is_empty() {
            text.push_str(&format!("\n--- {name}\n{}", cut(&said, MAX_OUTPUT_BYTES)));
        }
    }
    if report.left_over_processes > 0 {
        text.push_str(&format!(
            "\n--- {} processes were left behind and have been ended",
            report.left_over_processes
        ));
    }
    text
}
