//! The queue of builds that start by themselves: its file, when an item may start, whether a build stalls.
//!
//! Pure: no clock, no files, no tables. Whoever calls hands in the text, the time and what is known, and writes what
//! comes back. Start with [`file::merge`] (`BUILD_QUEUE.md` and the store, brought together), then
//! [`start::decide_start`], then [`stall::judge`].

pub mod calendar;
pub mod file;
pub mod item;
pub mod learn;
pub mod needs;
pub mod risk;
pub mod room;
pub mod stall;
pub mod start;
pub mod window;

pub use item::{Criterion, Item, Priority};
