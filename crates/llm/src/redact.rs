//! Keys out of everything that is recorded or shown.

use crate::Secret;
use regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;

/// What stands where a key stood.
pub const REDACTED: &str = "[redacted]";
/// A secret shorter than this is not looked for: it would blank ordinary words.
pub const SECRET_MIN: usize = 6;

/// Shapes of keys: Anthropic, OpenAI, GitHub, AWS, Google, Slack, Vault, our own, JSON web tokens,
/// private keys, and what stands after `Bearer` or `Basic`.
static SHAPES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"(?:\b|\\[nrt])(?P<rest>sk-[A-Za-z0-9_-]{8,})",
        r"gh[pousr]_[A-Za-z0-9]{16,}",
        r"github_pat_[A-Za-z0-9_]{16,}",
        r"glpat-[A-Za-z0-9_-]{16,}",
        r"(?:AKIA|ASIA)[A-Z0-9]{16}",
        r"AIza[A-Za-z0-9_-]{30,}",
        r"xox[abprs]-[A-Za-z0-9-]{10,}",
        r"hv[sb]\.[A-Za-z0-9_-]{16,}",
        r"\baw_[A-Za-z0-9_-]{16,}",
        r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
        r"(?i:\b(?:bearer|basic)[ :=]+)(?P<rest>[A-Za-z0-9._~+/=-]{8,})",
    ]
    .iter()
    .filter_map(|shape| Regex::new(shape).ok())
    .collect()
});

/// The text without these secrets and without anything that has the shape of a key. A secret that
/// stands in the text as a JSON string would write it is found too.
pub fn redact(text: &str, secrets: &[Secret]) -> String {
    let mut out = text.to_owned();
    let mut known: Vec<&str> = secrets
        .iter()
        .map(Secret::expose)
        .filter(|secret| secret.len() >= SECRET_MIN)
        .collect();
    // The longest first: one may be the beginning of another.
    known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in known {
        out = out.replace(secret, REDACTED);
        let escaped = Value::from(secret).to_string();
        let escaped = escaped.trim_matches('"');
        if escaped != secret {
            out = out.replace(escaped, REDACTED);
        }
    }
    for shape in SHAPES.iter() {
        if shape.is_match(&out) {
            out = shape
                .replace_all(&out, |found: &regex::Captures<'_>| {
                    let all = &found[0];
                    let rest = found.name("rest").map_or(0, |m| all.len() - m.len());
                    format!("{}{REDACTED}", &all[..rest])
                })
                .into_owned();
        }
    }
    out
}

/// The same for every text and every key in a value.
pub fn redact_value(value: Value, secrets: &[Secret]) -> Value {
    match value {
        Value::String(text) => Value::String(redact(&text, secrets)),
        Value::Array(items) => items
            .into_iter()
            .map(|item| redact_value(item, secrets))
            .collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (redact(&key, secrets), redact_value(value, secrets)))
            .collect(),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_vanish_by_value_and_by_shape() {
        let secrets = [Secret::new("hunter2-long"), Secret::new("quo\"ted-key")];
        for (text, out) in [
            ("key hunter2-long!", "key [redacted]!"),
            (r#"{"k":"quo\"ted-key"}"#, r#"{"k":"[redacted]"}"#),
            ("use sk-ant-api03-AAAABBBBCCCC.", "use [redacted]."),
            ("sk-proj-abcdefgh12345678 end", "[redacted] end"),
            ("ghp_abcdefghijklmnopqrst", "[redacted]"),
            ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
            (
                "Authorization: Bearer abcdef.ghijk",
                "Authorization: Bearer [redacted]",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
                "[redacted]",
            ),
        ] {
            assert_eq!(redact(text, &secrets), out);
        }
    }

    #[test]
    fn ordinary_words_stay() {
        let secrets = [Secret::new("a"), Secret::new("")];
        for text in [
            "a task-force asks",
            "the bearer of news",
            "disk-usage",
            "sk-short",
            "",
        ] {
            assert_eq!(redact(text, &secrets), text);
        }
    }

    #[test]
    fn every_shape_is_a_pattern() {
        assert_eq!(SHAPES.len(), 12);
    }
}
