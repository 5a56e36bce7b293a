//! The two levels that run no part of the automation's work: structure and deployment.

pub(crate) mod code;
pub(crate) mod deployment;
pub(crate) mod dockerfile;
pub(crate) mod structure;

use crate::judge::{ending_words, last_words, sandbox_stop};
use crate::outcome::Stop;
use crate::verifier::{Seen, Verifier};
use agentwright_sandbox::{Access, Command, Ending, Limits, Mount, Network, Policy, Report, Tier};
use serde::de::DeserializeOwned;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// How long one of our own checks may take inside, in milliseconds.
const CHECK_LIMIT_MS: u64 = 60_000;

/// Runs a check of ours over the code, which is bound read-only; nothing of the code itself is executed.
pub(crate) async fn inspect(
    verifier: &Verifier,
    app: &Path,
    minimum: Tier,
    command: Command,
    cancel: &CancellationToken,
    seen: &mut Seen,
) -> Result<Report, Stop> {
    let policy = Policy {
        mounts: vec![Mount {
            host: app.to_owned(),
            inside: "/app".into(),
            access: Access::Read,
        }],
        workdir: "/app".into(),
        network: Network::Off,
        limits: Limits {
            wall_ms: Some(CHECK_LIMIT_MS),
            ..Limits::default()
        },
        minimum,
        ..Policy::default()
    };
    let report = verifier
        .sandbox
        .run(policy, command, cancel.clone())
        .await
        .map_err(|error| sandbox_stop(&error))?;
    seen.used(&report.usage);
    if report.ending == Ending::Cancelled {
        return Err(Stop::Cancelled);
    }
    Ok(report)
}

/// Reads what a check of ours printed.
pub(crate) fn answer<T: DeserializeOwned>(report: &Report, what: &str) -> Result<T, Stop> {
    if report.ending != Ending::Exited(0) {
        return Err(match report.ending {
            Ending::Exited(127) => Stop::Fault(format!(
                "{what} needs a program that this machine lacks{}; install it (Debian, Ubuntu: apt-get install python3)",
                last_words(report)
            )),
            ending => Stop::Code(format!(
                "{what} did not come to an end: {}{}",
                ending_words(ending),
                last_words(report)
            )),
        });
    }
    serde_json::from_slice(&report.stdout.bytes).map_err(|error| {
        Stop::Fault(format!(
            "{what} gave no answer: {error}{}",
            last_words(report)
        ))
    })
}
