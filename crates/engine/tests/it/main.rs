//! The engine on real stores.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod attempts;
mod bed;
mod lessons;
mod takeover;
mod telling;
