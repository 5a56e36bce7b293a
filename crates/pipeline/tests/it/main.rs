//! Builds from an intent to a deployed automation: real store, real engine, real sandbox.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on panics"
)]

mod support;
mod thin_line;
