//! The crate from outside: every wire against a scripted server, with every fault.

#![expect(clippy::unwrap_used, reason = "tests")]

mod caller;
mod canary;
mod encode;
mod faults;
mod pieces;
mod support;
mod wires;
