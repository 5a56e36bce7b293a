//! Builds from an intent to a deployed automation: real store, real engine, real sandbox.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on panics; which real agents are missing is said"
)]

mod approle;
mod approvals;
mod author;
mod changes;
mod fault_table;
mod life;
mod mending;
mod model_faults;
mod model_gates;
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
