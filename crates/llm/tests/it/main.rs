//! The crate from outside: every wire against a scripted server, with every fault.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on panics; which real peer is missing is said"
)]

mod caller;
mod canary;
mod encode;
mod faults;
mod llama;
mod pieces;
mod support;
mod wires;
