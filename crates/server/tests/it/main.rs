//! The whole app over its socket: a real store, a real engine, a scripted executor.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod access;
mod builds;
mod config;
mod daemon;
mod deployments;
mod executor;
mod live;
mod pages;
mod phone;
mod real;
mod requests;
mod streams;
mod support;
mod surface;
mod wire;
