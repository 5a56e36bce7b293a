//! What was said and done, kept as JSON lines: redacted before it is kept, and bounded.
//!
//! Start at [`Transcript`].

use agentwright_llm::{Secret, redact::redact};
use serde_json::{Value, json};

use crate::coder::{Progress, Written};
use crate::relay::Traffic;

/// Bytes kept of one transcript; what comes later is counted.
pub const MAX_TRANSCRIPT_BYTES: usize = 4 * 1024 * 1024;
/// Bytes kept of one text inside.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Bytes kept of a coder's last words.
const MAX_SAYS_BYTES: usize = 64 * 1024;
/// Characters of a line of progress.
const MAX_STEP_CHARS: usize = 160;

/// One coder's transcript while it works.
pub(crate) struct Transcript<'a> {
    kept: Vec<u8>,
    left_out: u64,
    secrets: Vec<Secret>,
    report: &'a dyn Progress,
}

impl<'a> Transcript<'a> {
    pub(crate) fn new(secrets: Vec<Secret>, report: &'a dyn Progress) -> Self {
        Self {
            kept: Vec::new(),
            left_out: 0,
            secrets,
            report,
        }
    }

    /// Keeps one value as a line, its long texts cut.
    pub(crate) fn line(&mut self, value: &Value) {
        let mut value = value.clone();
        shorten(&mut value, &self.secrets);
        let line = redact(&value.to_string(), &self.secrets);
        self.report.transcript(&line);
        if self.kept.len() + line.len() + 1 > MAX_TRANSCRIPT_BYTES {
            self.left_out += 1;
            return;
        }
        self.kept.extend_from_slice(line.as_bytes());
        self.kept.push(b'\n');
    }

    /// Tells people what is going on.
    pub(crate) fn step(&self, what: &str) {
        // Before it is cut: half a secret would not be recognised.
        let short: String = self
            .redacted(what)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MAX_STEP_CHARS)
            .collect();
        self.report.step(&short);
    }

    pub(crate) fn redacted(&self, text: &str) -> String {
        redact(text, &self.secrets)
    }

    /// A coder's last words, bounded.
    pub(crate) fn last_words(&self, text: &str) -> String {
        cut(&self.redacted(text), MAX_SAYS_BYTES)
    }

    /// What an agent leaves when it ended well.
    pub(crate) fn written(self, says: &str, traffic: &Traffic) -> Written {
        Written {
            says: self.last_words(says),
            transcript: self.finish(),
            turns: traffic.calls,
            usage: traffic.usage,
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.left_out > 0 {
            let end = json!({"type": "cut", "lines_left_out": self.left_out});
            self.kept.extend_from_slice(end.to_string().as_bytes());
            self.kept.push(b'\n');
        }
        self.kept
    }
}

/// Cuts long texts, wherever they stand. Secrets go first: one must not survive by being cut in two.
fn shorten(value: &mut Value, secrets: &[Secret]) {
    match value {
        Value::String(text) if text.len() > MAX_TEXT_BYTES => {
            *text = cut(&redact(text, secrets), MAX_TEXT_BYTES);
        }
        Value::Array(all) => all.iter_mut().for_each(|v| shorten(v, secrets)),
        Value::Object(all) => all.values_mut().for_each(|v| shorten(v, secrets)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Head and tail of a text that is too long, with the number of bytes between them.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let head = floor(text, limit / 2);
    let tail = floor(text, text.len() - limit / 2);
    let between = tail - head;
    format!(
        "{}\n[… {between} bytes …]\n{}",
        &text[..head],
        &text[tail..]
    )
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coder::Silent;

    #[test]
    fn a_secret_is_gone_also_where_a_text_is_cut() {
        let secret = Secret::new("canary-7f3a9c1e55");
        let mut transcript = Transcript::new(vec![secret.clone()], &Silent);
        let half = MAX_TEXT_BYTES / 2;
        for before in half - 20..half + 3 {
            let text = format!(
                "{}{}{}",
                "x".repeat(before),
                secret.expose(),
                "y".repeat(MAX_TEXT_BYTES)
            );
            transcript.line(&json!({"type": "said", "text": text}));
        }
        transcript.line(&json!({"key": "sk-ant-REDACTED"}));
        let text = String::from_utf8(transcript.finish()).unwrap();
        for part in ["canary", "7f3a9c", "c1e55", "sk-ant-REDACTED"] {
            assert!(!text.contains(part), "{part}");
        }
    }

    #[test]
    fn a_transcript_is_bounded_and_says_what_it_left_out() {
        let mut transcript = Transcript::new(Vec::new(), &Silent);
        let line = json!({"text": "x".repeat(MAX_TEXT_BYTES)});
        for _ in 0..400 {
            transcript.line(&line);
        }
        let kept = transcript.finish();
        assert!(kept.len() < MAX_TRANSCRIPT_BYTES + 100);
        assert!(String::from_utf8(kept).unwrap().contains("lines_left_out"));
    }
}
