//! `sandbox`: one command behind the walls that builds get, for people who want to see them hold. Needs no
//! daemon.

use agentwright_sandbox::{
    Access, Command, Ending, Error, Mount, Policy, Report, Sandbox, Settings,
};
use owo_colors::OwoColorize as _;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use super::App;
use super::plan::folder;
use crate::args::SandboxRun;
use crate::fault::{Exit, Fault, chain};
use crate::output::{bytes, duration, safe};

const MIB: u64 = 1024 * 1024;
/// Where the command starts, and where `--dir` is shown.
const INSIDE: &str = "/state";

/// `sandbox`.
pub(super) async fn sandbox(app: &App, args: SandboxRun) -> Result<Exit, Fault> {
    let scratch =
        tempfile::tempdir().map_err(|error| Fault::caused("make a temporary directory", &error))?;
    let sandbox = Sandbox::new("/proc/self/exe", scratch.path(), Settings::default())
        .map_err(|error| refused(&error))?;
    let mut policy = Policy::default();
    policy.limits.wall_ms = Some(args.timeout.saturating_mul(1_000));
    policy.limits.memory_bytes = args.memory.saturating_mul(MIB);
    if let Some(dir) = &args.dir {
        policy.mounts.push(Mount {
            // Without the symbolic links that the person may have used; the sandbox refuses those.
            host: PathBuf::from(folder(dir)?),
            inside: PathBuf::from(INSIDE),
            access: Access::Write,
        });
    }
    let command = Command {
        argv: args.command,
        stdin: Vec::new(),
    };
    let cancel = CancellationToken::new();
    let run = sandbox.run(policy, command, cancel.clone());
    tokio::pin!(run);
    let report = tokio::select! {
        report = &mut run => report,
        _ = tokio::signal::ctrl_c() => {
            cancel.cancel();
            run.await
        }
    };
    sandbox.drained().await;
    let report = report.map_err(|error| refused(&error))?;
    Ok(said(app, &report))
}

fn said(app: &App, report: &Report) -> Exit {
    let exit = exit_of(report.ending);
    let (exit_code, limit) = match report.ending {
        Ending::Exited(code) => (Some(code), None),
        Ending::Stopped(limit) => (None, Some(limit)),
        Ending::Signalled(_) | Ending::Cancelled => (None, None),
    };
    app.out.json(&json!({
        "tier": report.tier,
        "ending": report.ending,
        "exit_code": exit_code,
        "limit": limit,
        "stdout": report.stdout.text(),
        "stdout_omitted_bytes": report.stdout.truncated_bytes,
        "stderr": report.stderr.text(),
        "stderr_omitted_bytes": report.stderr.truncated_bytes,
        "usage": report.usage,
        "network": report.network,
        "left_over_processes": report.left_over_processes,
        "exit": exit.number(),
    }));
    if app.out.is_json() {
        return exit;
    }
    let output = report.stdout.text();
    if !output.is_empty() {
        app.out.line(safe(output.trim_end_matches('\n')));
    }
    let errors = report.stderr.text();
    if !errors.is_empty() {
        app.out.note(safe(errors.trim_end_matches('\n')));
    }
    let how = match report.ending {
        Ending::Exited(0) => "ended with 0".green().to_string(),
        Ending::Exited(code) => format!("ended with {code}").yellow().to_string(),
        Ending::Signalled(signal) => format!("ended by signal {signal}").yellow().to_string(),
        Ending::Stopped(limit) => format!("stopped by its limit on {}", limit_word(limit))
            .red()
            .to_string(),
        Ending::Cancelled => "stopped by you".yellow().to_string(),
    };
    let usage = &report.usage;
    app.out.note(format!(
        "tier {} · {how} · {} · processor {} · memory {} · at most {} processes · {} left over",
        report.tier,
        duration(Duration::from_millis(usage.wall_ms)),
        duration(Duration::from_millis(usage.cpu_ms)),
        bytes(usage.max_rss_bytes),
        usage.max_processes,
        report.left_over_processes
    ));
    exit
}

fn limit_word(limit: agentwright_sandbox::Limit) -> &'static str {
    use agentwright_sandbox::Limit;
    match limit {
        Limit::Wall => "time",
        Limit::Cpu => "processor time",
        Limit::Memory => "memory",
        Limit::Disk => "disk space",
        Limit::Inodes => "files",
        Limit::Output => "output",
    }
}

fn exit_of(ending: Ending) -> Exit {
    match ending {
        Ending::Exited(0) => Exit::Done,
        Ending::Exited(_) | Ending::Signalled(_) => Exit::Failed,
        Ending::Stopped(_) => Exit::Limit,
        Ending::Cancelled => Exit::Left,
    }
}

/// Nothing ran: refused where the machine or the request is the reason.
fn refused(error: &Error) -> Fault {
    match error {
        Error::TooWeak { .. } | Error::Refused { .. } => {
            Fault::refused(chain(error)).hint("agentwright doctor says what this machine lacks")
        }
        Error::AddressInUse(_) | Error::Ended | Error::Setup(_) | Error::Io { .. } => {
            Fault::failed(chain(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentwright_sandbox::{Limit, Tier};

    #[test]
    fn the_end_of_a_command_has_the_documented_exit_code() {
        for (ending, code) in [
            (Ending::Exited(0), 0),
            (Ending::Exited(3), 1),
            (Ending::Signalled(9), 1),
            (Ending::Stopped(Limit::Memory), 5),
            (Ending::Cancelled, 130),
        ] {
            assert_eq!(exit_of(ending).number(), code, "{ending:?}");
        }
    }

    #[test]
    fn without_walls_the_command_is_refused() {
        let fault = refused(&Error::TooWeak {
            needed: Tier::Full,
            offered: Tier::None,
            reasons: vec!["install bubblewrap".to_owned()],
        });
        assert_eq!(fault.exit.number(), 4);
        assert!(fault.message.contains("install bubblewrap"));
    }
}
