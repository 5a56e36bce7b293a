//! Real attacks against real walls. Each case states the stop and, where it makes sense, that the same thing
//! works when it is allowed.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "test helpers; bare processes are what the walls are compared with"
)]

mod attacks;
mod basics;
mod conversation;
mod life;
mod limits;
mod network;
mod support;
mod tiers;
mod users;
