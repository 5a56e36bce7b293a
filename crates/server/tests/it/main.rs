//! The whole app over its socket: a real store, a real engine, a scripted executor.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod access;
mod builds;
mod config;
mod daemon;
mod deployments;
mod live;
mod real;
mod requests;
mod support;
mod tenants;
mod up;
