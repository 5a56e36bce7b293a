//! Coders: whoever writes the code of an automation, behind one trait and inside walls.
//!
//! A coder works in a scratch copy of the code. What counts is the difference that it leaves there, looked at with
//! [`inspect`] and taken by the caller; what it says about its work counts for nothing. The acceptance, the spec and
//! the repository are not writable for it. This crate knows no builds, stages or stores: it reports through
//! [`Progress`] and meters through what it is given.
//!
//! Start at [`Coder`].

mod acp;
mod blocks;
mod claude;
mod coder;
mod codex;
mod error;
mod files;
mod metered;
mod oneshot;
mod paths;
mod permission;
mod program;
mod prompt;
mod protected;
pub mod relay;
mod spent;
mod talk;
mod toolloop;
mod transcript;
mod tree;
mod walls;

pub use acp::{Acp, AcpAgent, AcpWay};
pub use blocks::{BlockProblem, FileBlock, MAX_ANSWER_BYTES, parse as parse_blocks};
pub use claude::Claude;
pub use coder::{Coder, CoderLimits, Progress, Silent, Task, Workspace, Written};
pub use codex::Codex;
pub use error::{CoderError, CoderLimit};
pub use oneshot::OneShot;
pub use protected::Protected;
pub use relay::{Relay, RelayLimits, Traffic, Trouble, Upstream};
pub use toolloop::{MAX_REPEATS, ToolLoop};
pub use transcript::MAX_TRANSCRIPT_BYTES;
pub use tree::{FileEntry, TreeProblem, inspect};

/// A random name for temporary files. Never a secret.
fn unique() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness names collide, and a file that is there already is refused.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
