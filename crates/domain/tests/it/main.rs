//! The domain from outside: its transition table, its properties, its texts.
mod made;
mod properties;
mod table;
mod texts;
