//! Tests that need the inside: crashes between a decision and its commit.

mod simulation;
