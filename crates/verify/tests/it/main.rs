//! Verify against real code behind real walls, and sealing without any.

mod cheats;
mod hosts;
mod levels;
mod preview;
mod seal;
mod service;
mod support;
