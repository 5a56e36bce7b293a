//! Why something stopped, shaped by whose turn it is next, and what a person reads about it.

use agentwright_domain::evidence::LOG_MAX;

/// Why a level or a case did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The code under test: back to the coder.
    Code(String),
    /// The acceptance: to a person, as an amendment.
    Spec(String),
    /// This program or this machine: level 0.
    Fault(String),
    /// Somebody cancelled.
    Cancelled,
}

/// Lines for people, cut to [`LOG_MAX`]: what does not fit is dropped from the middle on, the last
/// line always stays.
#[derive(Debug, Default)]
pub(crate) struct Log {
    text: String,
    dropped: u64,
    last: String,
}

/// Room kept for the note about dropped lines and the last line.
const RESERVED: usize = 4 * 1024;
/// The longest line.
const LINE_MAX: usize = 2 * 1024;

impl Log {
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        let mut line = line.as_ref().trim_end().to_owned();
        if line.len() > LINE_MAX {
            let end = line.floor_char_boundary(LINE_MAX - 3);
            line.truncate(end);
            line.push('…');
        }
        if self.dropped == 0 && self.text.len() + line.len() < LOG_MAX - RESERVED {
            self.text.push_str(&line);
            self.text.push('\n');
        } else {
            self.dropped += 1;
            self.last = line;
        }
    }

    /// Several lines, indented.
    pub(crate) fn block(&mut self, title: &str, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        self.line(format!("{title}:"));
        for line in text.trim_end().lines() {
            self.line(format!("  {line}"));
        }
    }

    pub(crate) fn into_text(self) -> String {
        if self.dropped == 0 {
            return self.text;
        }
        format!(
            "{}… {} lines dropped\n{}\n",
            self.text, self.dropped, self.last
        )
    }
}

/// The end of an output, for people: the last lines of it.
pub(crate) fn tail(text: &str) -> String {
    const LINES: usize = 15;
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_never_outgrows_its_bound_and_keeps_the_last_line() {
        let mut log = Log::default();
        for i in 0..100_000 {
            log.line(format!("line {i}"));
        }
        log.line("é".repeat(LINE_MAX));
        log.line("the end");
        let text = log.into_text();
        assert!(text.len() <= LOG_MAX, "{}", text.len());
        assert!(text.starts_with("line 0\n"));
        assert!(text.ends_with("lines dropped\nthe end\n"));
    }

    #[test]
    fn blocks_are_indented_and_empty_ones_left_out() {
        let mut log = Log::default();
        log.block("stdout", " \n");
        log.block("stderr", "a\nb\n");
        assert_eq!(log.into_text(), "stderr:\n  a\n  b\n");
    }

    #[test]
    fn a_tail_is_the_last_lines() {
        let text: String = (0..40).map(|i| format!("{i}\n")).collect();
        assert_eq!(tail(&text).lines().next(), Some("25"));
    }
}
