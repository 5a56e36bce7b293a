//! Verify against real code behind real walls, and sealing without any.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on panics"
)]

mod cheats;
mod foundations;
mod hosts;
mod levels;
mod preview;
mod seal;
mod service;
mod support;
