//! Untrusted commands inside walls: limits, accounting, declared folders and hosts, and nothing else.
//!
//! Not here: what to run and what its result means. This crate does not know builds, specs or tests.
//!
//! Start at [`Sandbox::start`]: it turns a [`Policy`] and a [`Command`] into a [`Running`], which ends as a
//! [`Report`]. A program that uses this crate calls [`run_init_if_requested`] first in `main`, because
//! the inner init is the same executable, started again inside. A command that is spoken with while it runs
//! starts with [`Sandbox::converse`].
//!
//! What a command finds inside, in every policy: uid 1000, `/app` (code), `/state` (its home and working
//! directory), `/data/<name>` (declared folders), `/tmp` and `/dev/shm` in memory, the host's `/usr` read-only,
//! `/run/bin` first on `PATH`, a loopback of its own and nothing else. It cannot make namespaces or mounts, so a
//! program that brings a sandbox of its own must be told to leave it off. Unix sockets are refused as soon as a
//! folder of somebody else is mounted (connected pairs stay possible), and no file can get the set-user-id bit.

mod attend;
mod cgroup;
mod conversation;
mod disk;
mod error;
mod growth;
mod init;
mod launch;
mod living;
mod net;
mod output;
mod policy;
mod profile;
mod publish;
mod report;
mod running;
mod sandbox;
mod scratch;
mod seccomp;
mod spawner;
pub mod spec_policy;
mod stage;
mod start;
mod weak;
mod wire;

pub use conversation::{Conversation, Stdin, Stdout};
pub use error::Error;
pub use init::run_init_if_requested;
pub use living::Living;
pub use policy::{
    Access, Command, HostRule, Limits, Mount, Network, Policy, Publish, Route, SyntheticFile, Tier,
};
pub use report::{
    Captured, Ending, Limit, NetworkDecision, OutputLine, Process, Report, Stream, Usage,
};
pub use running::Running;
pub use sandbox::{Lookup, Probe, Sandbox, Settings};

/// A command that writes this many times its kept output is stopped.
pub const OUTPUT_DRAIN_FACTOR: u64 = 8;
/// Longest line of live output; longer ones are cut into several.
pub const MAX_LINE_BYTES: usize = 16 * 1024;
