//! A sandbox of the crate's own init, temporary folders, and short words for policies and commands.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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

/// One for all tests of a user; a spare identity must be able to enter it.
pub(crate) fn scratch() -> PathBuf {
    let path = std::env::temp_dir().join(format!(
        "sandbox-scratch-{}",
        rustix::process::geteuid().as_raw()
    ));
    std::fs::create_dir_all(&path).unwrap();
    path
}

pub(crate) fn sandbox() -> Sandbox {
    sandbox_with(Settings::default())
}

pub(crate) fn sandbox_with(settings: Settings) -> Sandbox {
    Sandbox::new(init(), scratch(), settings).unwrap()
}

/// A canonical temporary folder that only its owner may enter.
pub(crate) fn folder() -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix("aw-")
        .tempdir_in(std::env::temp_dir().canonicalize().unwrap())
        .unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    dir
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

/// Wraps the body of a Python function: prints `LEAKED value` when it returns, `STOPPED errno` when refused.
pub(crate) fn attempt(body: &str) -> String {
    let body = body.replace('\n', "\n    ");
    format!(
        "import os,sys,errno,socket,ctypes,stat,struct,fcntl,signal,time,subprocess\n\
         libc=ctypes.CDLL(None,use_errno=True)\n\
         libc.syscall.restype=ctypes.c_long\n\
         def sc(*a):\n    r=libc.syscall(*[ctypes.c_long(x) if isinstance(x,int) else x for x in a])\n    \
         if r<0: raise OSError(ctypes.get_errno(),'')\n    return r\n\
         def attempt():\n    {body}\n\
         try: print('LEAKED',attempt())\n\
         except socket.gaierror: print('STOPPED DNS')\n\
         except OSError as e: print('STOPPED',errno.errorcode.get(e.errno,e.errno))\n"
    )
}

/// The same attempt without any walls, to show that it is the walls that stop it.
pub(crate) fn bare(body: &str) -> String {
    let output = std::process::Command::new("/usr/bin/python3")
        .args(["-c", &attempt(body)])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What the attempt says inside.
pub(crate) async fn inside(policy: Policy, body: &str) -> String {
    output(policy, python(&attempt(body))).await
}

/// Waits for a condition; fails after a while.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..400 {
        if condition() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("waited in vain: {what}");
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// How many processes of the machine have this word in their command line.
pub(crate) fn alive(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let has = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line)
            .split('\0')
            .any(|argument| argument == word)
    };
    entries.filter(has).count()
}
