//! The domain from outside: its transition table, its properties, its texts.
#![expect(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a test that cannot go on panics; tables are long"
)]

mod made;
mod properties;
mod table;
mod texts;
