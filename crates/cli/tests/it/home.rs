//! A person's home for one test: an empty directory to work in, a data directory, and the program.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Far longer than any command takes.
const COMMAND_MAX: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// The sentence of the README.
pub(crate) const README_WISH: &str =
    "every night, keep a zip of the folder ./notes in ./backups and keep the last 7";

/// The home. Its daemon ends with it, and a test fails when that leaves something behind.
pub(crate) struct Home {
    dir: tempfile::TempDir,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Home {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("work")).expect("a directory to work in");
        Self { dir }
    }

    /// One with some notes in it.
    pub(crate) fn with_notes() -> Self {
        let home = Self::new();
        let notes = home.work().join("notes");
        std::fs::create_dir(&notes).expect("the folder");
        std::fs::write(notes.join("milk.txt"), "remember the milk\n").expect("a note");
        home
    }

    /// Where commands are given.
    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The data directory; made by the daemon.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Gives a command without a terminal and waits for its end.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        finished(self.start(args), args)
    }

    /// The same, and it must end with 0.
    pub(crate) fn done(&self, args: &[&str]) -> Said {
        let said = self.run(args);
        assert_eq!(said.code, 0, "{args:?}: {said:#?}");
        said
    }

    /// The JSON document that a command prints last; it must end with this code.
    pub(crate) fn json(&self, code: i32, args: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(args);
        let said = self.run(&all);
        assert_eq!(said.code, code, "{args:?}: {said:#?}");
        let last = said.out.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {said:#?}"))
    }

    /// Starts a command.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().expect("the program starts")
    }

    /// A command that is not started yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentwright"));
        command
            .args(args)
            .current_dir(self.work())
            .env("AGENTWRIGHT_DATA", self.data())
            .env("TZ", "UTC")
            .env_remove("AGENTWRIGHT_STORE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The daemon's process, while there is one.
    pub(crate) fn daemon(&self) -> Option<u32> {
        let status = self.run(&["daemon", "status", "--json"]);
        let value: Value = serde_json::from_str(&status.out).ok()?;
        u32::try_from(value["health"]["pid"].as_u64()?).ok()
    }

    /// The zips in ./backups.
    pub(crate) fn zips(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.work().join("backups")) else {
            return Vec::new();
        };
        let mut zips: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "zip"))
            .collect();
        zips.sort();
        zips
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let stopped = self.run(&["daemon", "stop"]);
        if !std::thread::panicking() {
            assert_eq!(stopped.code, 0, "{stopped:#?}");
            let left = processes_in(self.dir.path());
            assert!(left.is_empty(), "left running: {left:?}");
        }
    }
}

/// Waits for a command's end.
pub(crate) fn finished(child: Child, args: &[&str]) -> Said {
    let pid = child.id();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(COMMAND_MAX) {
        Ok(output) => Said::from(output.expect("its output")),
        Err(_) => {
            kill(pid);
            panic!("{args:?} did not end within {COMMAND_MAX:?}");
        }
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// `kill -9`.
pub(crate) fn kill(pid: u32) {
    let status = Command::new("kill")
        .args(["-9", &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok());
}

/// Whether a process is there and not merely waiting to be collected.
pub(crate) fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .starts_with(" Z")
    })
}

/// Looks until the condition holds.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + COMMAND_MAX;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < until, "not within {COMMAND_MAX:?}: {what}");
        std::thread::sleep(LOOK);
    }
}

/// Command lines of processes that name something below the directory.
pub(crate) fn processes_in(dir: &Path) -> Vec<String> {
    let needle = dir.display().to_string();
    let own = std::process::id().to_string();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name() != own.as_str())
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .filter(|line| line.contains(&needle))
        .collect()
}

/// Mounts below the directory.
pub(crate) fn mounts_in(dir: &Path) -> Vec<String> {
    let needle = dir.display().to_string();
    std::fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter(|line| line.contains(&needle))
        .map(str::to_owned)
        .collect()
}
