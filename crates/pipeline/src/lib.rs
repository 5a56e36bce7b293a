//! The stages of a build.

pub mod review;
