//! The queue's pure parts, as whoever calls them sees them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::too_many_lines, reason = "a case tells its story in one piece")]

mod file;
mod merging;
mod simulation;
mod stalls;
mod starting;
