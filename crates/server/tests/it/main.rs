//! The whole app over its socket: a real store, a real engine, a scripted executor.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::too_many_lines,
    reason = "a table of refusals is read in one piece"
)]

mod access;
mod builds;
mod config;
mod connected;
mod daemon;
mod deployments;
mod executor;
mod keyed;
mod live;
mod pages;
mod phone;
mod pushing;
mod queue;
mod real;
mod requests;
mod streams;
mod support;
mod surface;
mod tenants;
mod up;
mod walls;
mod watching;
mod wire;
