//! What a caller asks for: folders, files, environment, network, limits and the lowest acceptable tier.
//!
//! Plain data with the checks that need no machine. What the machine can do stands in [`crate::Probe`];
//! what happened stands in [`crate::Report`]. Start at [`Policy`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How strong the walls around a command are, weakest first. It stands in every result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// No walls: nothing is executed.
    None,
    /// Landlock and seccomp on an ordinary process; no private view of files, network or processes.
    Process,
    /// A container of Docker or Podman.
    Engine,
    /// bubblewrap namespaces, inner init, seccomp, Landlock, limits.
    Full,
    /// gVisor or a microVM.
    Strong,
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Process => "process",
            Self::Engine => "engine",
            Self::Full => "full",
            Self::Strong => "strong",
        })
    }
}

const MIB: u64 = 1024 * 1024;
/// Five minutes of wall time unless the caller says otherwise.
const DEFAULT_WALL_MS: u64 = 300_000;
/// Memory of all processes together, what lies in `/tmp` and `/dev/shm` included.
const DEFAULT_MEMORY_BYTES: u64 = 512 * MIB;
/// Cores at a time (requirements B15).
const DEFAULT_CORES: u64 = 2;
/// Processes and threads together.
const DEFAULT_PROCESSES: u64 = 128;
/// Open files of one process.
const DEFAULT_OPEN_FILES: u64 = 1024;
/// Size of one written file.
const DEFAULT_FILE_SIZE_BYTES: u64 = 1024 * MIB;
/// Growth of all writable folders together.
const DEFAULT_DISK_BYTES: u64 = 2048 * MIB;
/// New files and directories in all writable folders, `/tmp` and `/dev/shm` together.
const DEFAULT_INODES: u64 = 200_000;
/// Bytes kept of each of stdout and stderr.
const DEFAULT_OUTPUT_BYTES: u64 = MIB;
/// Size of `/tmp`.
const DEFAULT_SCRATCH_BYTES: u64 = 256 * MIB;

/// The limits of one sandbox, over all its processes unless a field says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Wall time in milliseconds; `None` for a service, which runs until it is stopped.
    pub wall_ms: Option<u64>,
    /// CPU time in milliseconds.
    pub cpu_ms: Option<u64>,
    /// Memory of all processes, `/tmp` and `/dev/shm`.
    pub memory_bytes: u64,
    /// Cores that all processes together may keep busy; held where cgroup v2 is writable.
    pub cores: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Open files of one process.
    pub open_files: u64,
    /// Size of one written file.
    pub file_size_bytes: u64,
    /// Growth of the writable folders.
    pub disk_bytes: u64,
    /// New files and directories.
    pub inodes: u64,
    /// Bytes kept of each output stream. A command (not a service) that writes
    /// [`crate::OUTPUT_DRAIN_FACTOR`] times as much is stopped.
    pub output_bytes: u64,
    /// Size of `/tmp`, and of `/state` when no folder is mounted there.
    pub scratch_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall_ms: Some(DEFAULT_WALL_MS),
            cpu_ms: None,
            memory_bytes: DEFAULT_MEMORY_BYTES,
            cores: DEFAULT_CORES,
            processes: DEFAULT_PROCESSES,
            open_files: DEFAULT_OPEN_FILES,
            file_size_bytes: DEFAULT_FILE_SIZE_BYTES,
            disk_bytes: DEFAULT_DISK_BYTES,
            inodes: DEFAULT_INODES,
            output_bytes: DEFAULT_OUTPUT_BYTES,
            scratch_bytes: DEFAULT_SCRATCH_BYTES,
        }
    }
}

/// What a command may do with a mounted folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read and execute.
    Read,
    /// Read, execute, create, change and delete.
    Write,
}

/// A directory or a single file of the host, shown at another path inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path on the host; no component may be a symbolic link.
    pub host: PathBuf,
    /// Absolute path inside: `/app`, `/state`, `/data/<name>`, or another path the base system does not use.
    pub inside: PathBuf,
    /// Reading only, or writing too.
    pub access: Access,
}

/// A read-only file given as bytes: a CA bundle, a fake `claude` in `/run/bin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyntheticFile {
    /// Absolute path inside. `/run/bin` is first on `PATH`.
    pub inside: PathBuf,
    /// What the file holds.
    pub content: Vec<u8>,
    /// Permission bits, for instance `0o755`.
    pub mode: u32,
}

/// How a declared host is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// Resolved on the host; private, loopback, link-local, shared and metadata addresses are refused;
    /// the connection goes to the very address that was checked.
    Public,
    /// A private or loopback address that a person approved as `host:port`. Metadata stays refused.
    Private,
    /// The declared name and port, answered by a listener of ours at this address: a fixture of a test, the relay
    /// of a coding agent.
    Fixture(SocketAddr),
}

/// One declared `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRule {
    /// Name or address literal, matched exactly and without regard to case.
    pub host: String,
    /// The one allowed port.
    pub port: u16,
    /// Where the connection goes.
    pub route: Route,
}

/// What the command can reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Nothing but its own loopback.
    #[default]
    Off,
    /// The declared hosts, in two ways. Web clients find them through `HTTP_PROXY` and `HTTPS_PROXY`
    /// (`http://127.0.0.1:3128`). Everything else finds them by name: `/etc/hosts` inside points each declared host
    /// at a loopback address of its own, where its ports are carried to the real host, so a database is simply
    /// `db.example.org:5432`. Only ports below 1024 have moved (by 10,000); where each one is stands in
    /// `AGENTWRIGHT_ROUTE_<HOST>_<PORT>`, for instance `AGENTWRIGHT_ROUTE_DB_EXAMPLE_ORG_5432=127.0.1.1:5432`.
    Allow(Vec<HostRule>),
}

/// The port of a service, offered on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// Where the service listens inside (on 127.0.0.1 or all addresses).
    pub inside_port: u16,
    /// Where the host listens; port 0 lets the system choose.
    pub host: SocketAddr,
}

/// Everything a sandbox is built from. The same policy gives the same view, in tests and in production.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Folders and files of the host. Without one at `/state` it is empty and lives in memory.
    pub mounts: Vec<Mount>,
    /// Files given as bytes.
    pub files: Vec<SyntheticFile>,
    /// Added to the scrubbed environment (`PATH`, `HOME`, `LANG`, `TMPDIR`, `TZ`); nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Where the command starts, inside.
    pub workdir: PathBuf,
    /// What it can reach.
    pub network: Network,
    /// The port it offers.
    pub publish: Option<Publish>,
    /// Its limits.
    pub limits: Limits,
    /// Below this tier nothing runs.
    pub minimum: Tier,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mounts: Vec::new(),
            files: Vec::new(),
            env: BTreeMap::new(),
            workdir: PathBuf::from("/state"),
            network: Network::Off,
            publish: None,
            limits: Limits::default(),
            minimum: Tier::Full,
        }
    }
}

/// What is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Program (searched on the inner `PATH`) and arguments.
    pub argv: Vec<String>,
    /// Given on standard input, then end of file.
    pub stdin: Vec<u8>,
}

/// Paths of the base system that no mount may replace.
const RESERVED: &[&str] = &[
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sys", "/dev",
    "/tmp", "/etc",
];
/// Most mounts, files and rules of one policy.
const MAX_ENTRIES: usize = 64;

impl Policy {
    /// Checks what needs no machine.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the entry and what to change.
    pub(crate) fn check(&self, command: &Command) -> Result<(), Error> {
        if command.argv.first().is_none_or(String::is_empty) {
            return Err(Error::refused(
                "the command",
                "it is empty",
                "name a program",
            ));
        }
        if command.argv.iter().any(|a| a.contains('\0'))
            || self.env.iter().any(|(k, v)| bad_env(k, v))
        {
            return Err(Error::refused(
                "the command or its environment",
                "a value holds a NUL byte or a variable's name is not a name",
                "remove it",
            ));
        }
        if self.mounts.len() > MAX_ENTRIES || self.files.len() > MAX_ENTRIES {
            return Err(Error::refused(
                "the policy",
                "it has too many mounts or files",
                "declare fewer, larger folders",
            ));
        }
        check_inside(&self.workdir, &[])?;
        let mut seen = std::collections::BTreeSet::new();
        for mount in &self.mounts {
            check_inside(&mount.inside, RESERVED)?;
            if !mount.host.is_absolute() {
                return Err(Error::refused(
                    mount.host.display(),
                    "a declared path is relative",
                    "give its absolute path",
                ));
            }
            if !seen.insert(&mount.inside) {
                return Err(Error::refused(
                    mount.inside.display(),
                    "two mounts share the path",
                    "give each its own",
                ));
            }
        }
        for file in &self.files {
            check_inside(
                &file.inside,
                &[
                    "/usr", "/proc", "/sys", "/dev", "/bin", "/sbin", "/lib", "/lib64",
                ],
            )?;
            if self
                .mounts
                .iter()
                .any(|m| file.inside.starts_with(&m.inside))
            {
                return Err(Error::refused(
                    file.inside.display(),
                    "a given file would be written into a mounted folder",
                    "put it into /run or /etc",
                ));
            }
        }
        self.check_network()
    }

    fn check_network(&self) -> Result<(), Error> {
        let Network::Allow(rules) = &self.network else {
            return Ok(());
        };
        if rules.len() > MAX_ENTRIES {
            return Err(Error::refused(
                "the network rules",
                "there are too many",
                "declare fewer hosts",
            ));
        }
        for rule in rules {
            let name_ok = !rule.host.is_empty()
                && rule.host.len() <= 253
                && rule
                    .host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
            if !name_ok || rule.port == 0 {
                return Err(Error::refused(
                    format!("{}:{}", rule.host, rule.port),
                    "this is not a host name and a port",
                    "declare exact hosts; patterns are not supported",
                ));
            }
        }
        Ok(())
    }
}

fn bad_env(key: &str, value: &str) -> bool {
    key.is_empty() || key.contains('=') || key.contains('\0') || value.contains('\0')
}

fn check_inside(path: &Path, reserved: &[&str]) -> Result<(), Error> {
    let plain = path.is_absolute()
        && path
            .components()
            .all(|c| matches!(c, Component::RootDir | Component::Normal(_)))
        && path.components().count() > 1;
    if !plain {
        return Err(Error::refused(
            path.display(),
            "a path inside must be absolute, without . and ..",
            "write it out",
        ));
    }
    if path == Path::new("/run") || reserved.iter().any(|r| path.starts_with(r)) {
        return Err(Error::refused(
            path.display(),
            "the base system of the sandbox uses this path",
            "use /app, /state or /data/<name>",
        ));
    }
    Ok(())
}
