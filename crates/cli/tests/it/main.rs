//! The real binary, as people and scripts meet it: words, exit codes, stories, and being killed.
//!
//! Each test has a data directory and a daemon of its own ([`home::Home`]), which end with it.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking; those of a program start it, wait for it, and kill it at chosen moments"
)]

mod daemon;
mod foundation;
mod full_disk;
mod help;
mod home;
mod kill;
mod money;
mod queue;
mod sandbox;
mod stories;
mod terminal;
mod up;
mod words;
