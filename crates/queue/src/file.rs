//! `BUILD_QUEUE.md` (requirements E1): read tolerantly, merged with the store, written back.
//!
//! A person owns the file. What they wrote stays byte for byte where nothing has to change; where both sides
//! changed the same thing, theirs wins. Start with [`merge`].

mod details;
mod entry;
mod known;
mod lines;
mod merge;
mod read;
mod write;

pub use merge::{Merged, merge};
pub use read::{Parsed, parse, parse_known};

/// The largest file that is read: 5,000 items have room many times over.
pub const FILE_MAX_BYTES: usize = 8 * 1024 * 1024;
/// The most items of one file.
pub const ITEMS_MAX: usize = 10_000;
/// The most problems that are told of one file.
pub const PROBLEMS_MAX: usize = 200;

/// A file for somebody who has none.
pub const EMPTY: &str = "# Build queue\n\n## Active Queue\n\n## Task Details\n\n## Completed\n";

/// What is wrong at a place of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// The bytes of a file as text. A mark at its beginning is no fault; what is no text is.
///
/// # Errors
/// The place of the first byte that is no text, or the file's size.
pub fn text(bytes: &[u8]) -> Result<&str, Problem> {
    let problem = |before: &[u8], message: &str| {
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        let line = before
            .rsplit(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        Problem {
            line: lines + 1,
            column: String::from_utf8_lossy(line).chars().count() + 1,
            message: message.to_owned(),
        }
    };
    if bytes.len() > FILE_MAX_BYTES {
        let message = format!(
            "the queue file has {} bytes, and at most {FILE_MAX_BYTES} are read: move what is done into another file",
            bytes.len()
        );
        return Err(problem(&[], &message));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(problem(
            &bytes[..at],
            "this is no text: the queue file is Markdown in UTF-8",
        ));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        problem(before, "this byte is not UTF-8: save the file as UTF-8")
    })
}
