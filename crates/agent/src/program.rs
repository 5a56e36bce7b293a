//! A command-line agent as a program: where it is on the host, how it lies in the sandbox, what its end means.
//!
//! Start at [`Program::find`].

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentwright_sandbox::{Access, Ending, Limit, Limits, Mount, Network, Policy, Report};

use crate::coder::{CoderLimits, Workspace};
use crate::error::{CoderError, CoderLimit};
use crate::transcript::{Transcript, cut};
use crate::walls;

/// Where programs lie inside.
const PROGRAMS: &str = "/run/agent";
/// Memory of an agent with all it starts; its home and `/tmp` are in it.
const MEMORY_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Processes and threads.
const PROCESSES: u64 = 512;
/// Open files of one process.
const OPEN_FILES: u64 = 4096;
/// Bytes kept of each stream; an agent that says eight times as much is stopped.
const OUTPUT_BYTES: u64 = 8 * 1024 * 1024;
/// Its home, which lives in memory and is gone afterwards.
const HOME_BYTES: u64 = 512 * 1024 * 1024;
/// What may be in the workspace beyond the caller's limits while it works: caches, builds.
const ROOM_BYTES: u64 = 256 * 1024 * 1024;
const ROOM_FILES: u64 = 20_000;
/// The walls' own clock runs out later than ours, and only if ours did not work.
const AFTER_WALL: Duration = Duration::from_secs(5);
/// Bytes of a program's complaint that are repeated.
const MAX_SAID_BYTES: usize = 600;

/// A program of the host that is shown inside.
pub(crate) struct Program {
    /// As the configuration names it; for messages.
    pub(crate) name: String,
    /// How it is called inside.
    pub(crate) inside: String,
    mount: Option<Mount>,
}

impl Program {
    /// Looks at an absolute path of the host, through links. What lies in `/usr` is visible inside anyway.
    ///
    /// # Errors
    /// [`CoderError::NotInstalled`].
    pub(crate) fn find(path: &Path) -> Result<Self, CoderError> {
        let name = path.display().to_string();
        let missing = |why: &str| CoderError::NotInstalled {
            program: name.clone(),
            why: why.to_owned(),
        };
        if !path.is_absolute() {
            return Err(missing("its path is not absolute"));
        }
        let real = path.canonicalize().map_err(|e| missing(&e.to_string()))?;
        let meta = real.metadata().map_err(|e| missing(&e.to_string()))?;
        if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
            return Err(missing("it is not an executable file"));
        }
        if real.starts_with("/usr") {
            return Ok(Self {
                inside: real.display().to_string(),
                name,
                mount: None,
            });
        }
        let file_name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        let inside = PathBuf::from(PROGRAMS).join(file_name.unwrap_or_default());
        Ok(Self {
            inside: inside.display().to_string(),
            name,
            mount: Some(Mount {
                host: real,
                inside,
                access: Access::Read,
            }),
        })
    }

    /// The sandbox of one run.
    ///
    /// # Errors
    /// As [`walls::policy`].
    pub(crate) fn policy(
        &self,
        work: &Workspace,
        limits: &CoderLimits,
        network: Network,
    ) -> Result<Policy, CoderError> {
        let wall = limits.wall.saturating_add(AFTER_WALL);
        let limits = Limits {
            wall_ms: Some(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)),
            memory_bytes: MEMORY_BYTES,
            processes: PROCESSES,
            open_files: OPEN_FILES,
            disk_bytes: limits.total_bytes.saturating_add(ROOM_BYTES),
            inodes: (limits.files as u64).saturating_add(ROOM_FILES),
            output_bytes: OUTPUT_BYTES,
            scratch_bytes: HOME_BYTES,
            ..Limits::default()
        };
        let mut policy = walls::policy(work, limits)?;
        policy.mounts.extend(self.mount.clone());
        policy.network = network;
        Ok(policy)
    }

    /// What a program's end means when nothing better is known.
    pub(crate) fn ended(&self, report: &Report, transcript: &Transcript<'_>) -> Option<CoderError> {
        let limit = match report.ending {
            Ending::Exited(0) => return None,
            Ending::Cancelled => return Some(CoderError::Cancelled),
            Ending::Stopped(Limit::Wall) => CoderLimit::Wall,
            Ending::Stopped(Limit::Output) => CoderLimit::Output,
            Ending::Stopped(_) => CoderLimit::Resources,
            Ending::Exited(126 | 127) if report.stderr.bytes.starts_with(b"sandbox:") => {
                return Some(CoderError::NotInstalled {
                    program: self.name.clone(),
                    why: said(report, transcript),
                });
            }
            Ending::Exited(code) => {
                return Some(
                    self.failed(&format!("exit code {code}: {}", said(report, transcript))),
                );
            }
            Ending::Signalled(signal) => {
                return Some(
                    self.failed(&format!("signal {signal}: {}", said(report, transcript))),
                );
            }
        };
        Some(CoderError::Limit(limit))
    }

    pub(crate) fn failed(&self, said: &str) -> CoderError {
        CoderError::Failed {
            program: self.name.clone(),
            said: cut(said, MAX_SAID_BYTES),
        }
    }
}

fn said(report: &Report, transcript: &Transcript<'_>) -> String {
    let text = transcript.redacted(&report.stderr.text());
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match text.trim() {
        "" => "it said nothing".to_owned(),
        some => cut(some, MAX_SAID_BYTES),
    }
}
