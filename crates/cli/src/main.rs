//! The binary `agentwright`: parse the command line, carry it out as a client of the daemon, end with a
//! documented exit code.
//!
//! Not here: anything that a daemon or a browser would need too. Start at [`commands::run`]; the arguments
//! are in [`args`], the one long command is [`commands::build`].

mod args;
mod ask;
mod commands;
mod connect;
mod describe;
mod fault;
mod follow;
mod output;
mod progress;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Inside a sandbox this executable is the first process, before any thread or runtime exists.
    agentwright_sandbox::run_init_if_requested();
    commands::run().into()
}
