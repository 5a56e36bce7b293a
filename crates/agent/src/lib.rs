//! Coders: whoever writes the code of an automation, behind one trait and inside walls.
//!
//! A coder works in a scratch copy of the code. What counts is the difference that it leaves there, looked at with
//! [`inspect`] and taken by the caller; what it says about its work counts for nothing. The acceptance, the spec and
//! the repository are not writable for it. This crate knows no builds, stages or stores: it reports through
//! [`Progress`] and meters through what it is given.
//!
//! Start at [`Coder`].

mod blocks;
mod coder;
mod error;
mod paths;
mod protected;
mod tree;

pub use blocks::{BlockProblem, FileBlock, MAX_ANSWER_BYTES, parse as parse_blocks};
pub use coder::{Coder, CoderLimits, Progress, Silent, Task, Workspace, Written};
pub use error::{CoderError, CoderLimit};
pub use protected::Protected;
pub use tree::{FileEntry, TreeProblem, inspect};
