//! Coders at work: scripted models, real command-line agents where they are installed, and programs that misbehave,
//! always in the real sandbox.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "test helpers; the environment says where the real agents are, and who is missing is said"
)]

mod acp;
mod claude;
mod codex;
mod installed;
mod models;
mod pretend;
mod relay;
mod support;
mod tree;
mod users;
