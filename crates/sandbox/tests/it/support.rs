//! A sandbox of the crate's own init, temporary folders, and short words for policies and commands.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use agentwright_sandbox::{Access, Command, Mount, Policy, Report, Sandbox, Settings};
use tokio_util::sync::CancellationToken;

/// The init next to the test binary, or where the re-executed test finds its copy.
pub(crate) fn init() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let copy = here.with_file_name("sandbox-init");
    if copy.exists() {
        copy
    } else {
        PathBuf::from(env!("CARGO_BIN_EXE_sandbox-init"))
    }
}

pub(crate) fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<tempfile::TempDir> = OnceLock::new();
    SCRATCH.get_or_init(|| tempfile::tempdir().unwrap()).path()
}

pub(crate) fn sandbox() -> Sandbox {
    sandbox_with(Settings::default())
}

pub(crate) fn sandbox_with(settings: Settings) -> Sandbox {
    Sandbox::new(init(), scratch(), settings).unwrap()
}

/// A canonical temporary folder that only its owner may enter.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("aw-")
        .tempdir_in(std::env::temp_dir().canonicalize().unwrap())
        .unwrap()
}

pub(crate) fn writes(host: &Path, inside: &str) -> Mount {
    Mount {
        host: host.to_owned(),
        inside: inside.into(),
        access: Access::Write,
    }
}

pub(crate) fn reads(host: &Path, inside: &str) -> Mount {
    Mount {
        host: host.to_owned(),
        inside: inside.into(),
        access: Access::Read,
    }
}

pub(crate) fn sh(script: &str) -> Command {
    Command {
        argv: vec!["sh".into(), "-c".into(), script.into()],
        stdin: Vec::new(),
    }
}

pub(crate) fn python(script: &str) -> Command {
    Command {
        argv: vec!["python3".into(), "-c".into(), script.into()],
        stdin: Vec::new(),
    }
}

pub(crate) async fn run(policy: Policy, command: Command) -> Report {
    sandbox()
        .run(policy, command, CancellationToken::new())
        .await
        .unwrap()
}

/// Standard output of a command that must succeed.
pub(crate) async fn output(policy: Policy, command: Command) -> String {
    let report = run(policy, command).await;
    assert!(
        report.succeeded(),
        "{:?}\n{}\n{}",
        report.ending,
        report.stdout.text(),
        report.stderr.text()
    );
    report.stdout.text()
}
