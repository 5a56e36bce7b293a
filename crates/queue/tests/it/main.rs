//! The queue's pure parts, as whoever calls them sees them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod file;
mod merging;
mod simulation;
mod stalls;
mod starting;
