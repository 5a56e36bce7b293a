//! What failed, for whoever mends it: trimmed, without times, the same for the same failure.

use agentwright_domain::digest::Digest;
use agentwright_domain::evidence::{TestResult, Verdict};
use agentwright_proof::of_bytes;
use agentwright_runtime::shape;
use regex::Regex;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// The most of a level's log that goes back, in bytes.
const LOG_MAX: usize = 12_000;

/// How long something took, as verify says it.
static TIMES: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r" after [0-9]+ ms\b").ok());

/// The failing level's evidence as text, and a digest that is the same when the same thing fails again.
pub(crate) fn told(results: &[TestResult]) -> (String, Digest) {
    let mut text = String::new();
    for result in results {
        let word = match result.verdict {
            Verdict::Pass => "holds",
            Verdict::Fail => "does not hold",
        };
        let _ = writeln!(
            text,
            "Level {} ({}) {word}: {}",
            result.level.number(),
            result.level.word(),
            result.summary
        );
    }
    let failed = results.last();
    if let Some(result) = failed.filter(|result| result.verdict == Verdict::Fail) {
        text.push_str("\nIts log:\n");
        text.push_str(end_of(&result.log, LOG_MAX));
        text.push('\n');
    }
    let same = failed.map_or_else(String::new, |result| {
        format!("{} {}", result.level.word(), shape(&result.summary))
    });
    (untimed(&text), of_bytes(same.as_bytes()))
}

/// A text without how long things took: a replay tells the coder exactly the same.
fn untimed(text: &str) -> String {
    match &*TIMES {
        Some(times) => times.replace_all(text, "").into_owned(),
        None => text.to_owned(),
    }
}

/// Findings as text, and their digest.
pub(crate) fn findings(lines: &[String]) -> (String, Digest) {
    let text = format!("The review found:\n- {}\n", lines.join("\n- "));
    let digest = of_bytes(shape(&text).as_bytes());
    (text, digest)
}

/// The last bytes of a text, from the beginning of a line.
fn end_of(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut from = text.len() - max;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let tail = &text[from..];
    tail.find('\n').map_or(tail, |at| &tail[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentwright_domain::evidence::Level;

    fn failed(summary: &str, duration_ms: u64) -> TestResult {
        TestResult {
            level: Level::Assertion,
            verdict: Verdict::Fail,
            summary: summary.to_owned(),
            log: "ran\nsaw nothing\n".to_owned(),
            evidence: Vec::new(),
            duration_ms,
            cpu_ms: 1,
            max_rss_bytes: 1,
            tier: "full".to_owned(),
        }
    }

    #[test]
    fn the_same_failure_with_other_drawn_values_has_the_same_digest() {
        let (text, one) = told(&[failed("out.txt is \"qwrt\" and not \"xuvz\" (3 bytes)", 9)]);
        let (_, two) = told(&[failed(
            "out.txt is \"abcd\" and not \"efgh\" (12 bytes)",
            800,
        )]);
        let (_, other) = told(&[failed("out.txt is missing", 9)]);
        assert_eq!(one, two);
        assert_ne!(one, other);
        assert!(
            text.contains("saw nothing") && !text.contains("800"),
            "{text}"
        );
    }

    #[test]
    fn a_long_log_keeps_its_end_from_a_line_on() {
        let log = format!("{}\nlast line\n", "é".repeat(LOG_MAX));
        assert_eq!(end_of(&log, 20), "last line\n");
    }
}
