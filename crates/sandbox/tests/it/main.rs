//! Real attacks against real walls. Each case states the stop and, where it makes sense, that the same thing
//! works when it is allowed.

mod attacks;
mod basics;
mod life;
mod limits;
mod network;
mod support;
mod tiers;
mod users;
