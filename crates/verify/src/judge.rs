//! How a sandboxed command ended, judged and put into words.

use crate::outcome::Stop;
use agentwright_domain::acceptance::ExpectedExit;
use agentwright_sandbox::{Captured, Ending, Error, Limit, Report};
use serde_json::{Value, json};

/// The most bytes of each output that are kept as evidence.
const OUTPUT_MAX: usize = 32 << 10;

/// What a refusal or failure of the sandbox means.
pub(crate) fn sandbox_stop(error: &Error) -> Stop {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Stop::Fault(text)
}

pub(crate) fn judge_exit(report: &Report, expected: ExpectedExit) -> Result<(), Stop> {
    match (report.ending, expected) {
        (Ending::Exited(0), ExpectedExit::Success) => Ok(()),
        (Ending::Exited(0), ExpectedExit::Failure) => Err(Stop::Code(
            "it ended with 0 although it could not do its work: the failure is hidden".into(),
        )),
        (Ending::Exited(code @ (126 | 127)), _) => Err(Stop::Code(format!(
            "the command could not be started (exit code {code}){}",
            last_words(report)
        ))),
        (Ending::Exited(_), ExpectedExit::Failure) => Ok(()),
        (ending, _) => Err(Stop::Code(format!(
            "it {}{}",
            ending_words(ending),
            last_words(report)
        ))),
    }
}

/// How it ended, for people.
pub(crate) fn ending_words(ending: Ending) -> String {
    match ending {
        Ending::Exited(code) => format!("ended with exit code {code}"),
        Ending::Signalled(signal) => format!("was ended by signal {signal}"),
        Ending::Stopped(limit) => limit_words(limit).to_owned(),
        Ending::Cancelled => "was cancelled".to_owned(),
    }
}

pub(crate) fn limit_words(limit: Limit) -> &'static str {
    match limit {
        Limit::Wall => "it was stopped by the time limit",
        Limit::Cpu => "it was stopped by the processor time limit",
        Limit::Memory => "it was stopped by the memory limit",
        Limit::Disk => "it was stopped by the disk limit",
        Limit::Inodes => "it was stopped by the limit on new files",
        Limit::Output => "it was stopped by the output limit",
    }
}

/// The last line of what it said, for a summary.
pub(crate) fn last_words(report: &Report) -> String {
    let said = |captured: &Captured| {
        captured
            .text()
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .map(crate::probe::matcher::cut)
    };
    match said(&report.stderr).or_else(|| said(&report.stdout)) {
        Some(line) => format!("; its last words: {}", line.trim()),
        None => String::new(),
    }
}

pub(crate) fn output(captured: &Captured) -> Value {
    json!({
        "text": clipped(&captured.bytes),
        "bytes": captured.bytes.len(),
        "dropped_bytes": captured.truncated_bytes,
    })
}

pub(crate) fn clipped(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(OUTPUT_MAX);
    String::from_utf8_lossy(&bytes[from..]).into_owned()
}
