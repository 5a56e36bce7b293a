//! The nouns of agentwright, their states, and every decision about them.
//!
//! Pure: no async, no I/O, no clock, no randomness. Times come in as milliseconds, ids as text made
//! elsewhere. Start with [`run`]
//! moves from stage to stage), then [`spec`] and [`acceptance`] (what is built and what must hold).

pub mod acceptance;
pub mod approval;
pub mod build;
pub mod deployment;
pub mod digest;
pub mod evidence;
pub mod execution;
pub mod ids;
pub mod principal;
pub mod run;
pub mod secret;
pub mod spec;
pub mod spend;
