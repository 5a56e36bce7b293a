//! What happened: ending, output, usage, network decisions. Facts measured by the walls, never by the command.

use serde::{Deserialize, Serialize};

use crate::policy::Tier;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// With this exit code. 127: the program was not found; 126: it could not be started.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// By a limit of its policy.
    Stopped(Limit),
    /// By the caller's cancellation.
    Cancelled,
}

/// The limit that stopped a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// Wall time.
    Wall,
    /// CPU time.
    Cpu,
    /// Memory of all processes.
    Memory,
    /// Growth of writable folders.
    Disk,
    /// New files and directories.
    Inodes,
    /// Output.
    Output,
}

/// What the command used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From the start of the command to its end.
    pub wall_ms: u64,
    /// CPU time of all its processes.
    pub cpu_ms: u64,
    /// Highest sum of resident memory seen, at least that of the largest process.
    pub max_rss_bytes: u64,
    /// Highest number of processes seen at once.
    pub max_processes: u32,
    /// Growth of the writable folders.
    pub disk_bytes: u64,
    /// New files and directories in the writable folders.
    pub inodes: u64,
}

/// One decision of the network proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkDecision {
    /// Milliseconds after the start of the sandbox.
    pub at_ms: u64,
    /// Asked host.
    pub host: String,
    /// Asked port.
    pub port: u16,
    /// Whether the connection was made.
    pub allowed: bool,
    /// Why, in words.
    pub reason: String,
    /// For plain HTTP: the method.
    pub method: Option<String>,
    /// For plain HTTP: path and query.
    pub path: Option<String>,
    /// For plain HTTP: the answer's status.
    pub status: Option<u16>,
    /// Bytes from the command to the host.
    pub sent_bytes: u64,
    /// Bytes from the host to the command.
    pub received_bytes: u64,
}

/// One output stream, its middle left out when it is longer than the limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Head and tail within the limit.
    pub bytes: Vec<u8>,
    /// How many bytes between head and tail were dropped.
    pub truncated_bytes: u64,
}

impl Captured {
    /// The kept bytes as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A process inside, as the inner init sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id inside.
    pub pid_inside: u32,
    /// Its arguments, shortened.
    pub argv: Vec<String>,
    /// The state letter of `/proc`: `R`, `S`, `D`, `T`, `Z`.
    pub state: char,
    /// Resident memory.
    pub rss_bytes: u64,
}

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of live output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLine {
    /// Where it was written.
    pub stream: Stream,
    /// Without its line end; cut at [`crate::MAX_LINE_BYTES`].
    pub text: String,
}

/// The whole result of one sandboxed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The walls it ran behind.
    pub tier: Tier,
    /// How it ended.
    pub ending: Ending,
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
    /// What it used.
    pub usage: Usage,
    /// What it asked of the network.
    pub network: Vec<NetworkDecision>,
    /// Processes it left behind, which were killed.
    pub left_over_processes: u32,
}

impl Report {
    /// Whether the command ended by itself with code 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.ending == Ending::Exited(0)
    }
}
