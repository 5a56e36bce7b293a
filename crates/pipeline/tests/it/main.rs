//! Builds from an intent to a deployed automation: real store, real engine, real sandbox.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod approvals;
mod author;
mod life;
mod model_faults;
mod model_kills;
mod models;
mod planted;
mod refusals;
mod repeated;
mod replays;
mod services;
mod support;
mod thin_line;
mod wishes;
