//! A file as the rules read it: which language, its lines without comments, and the shell commands
//! that Python starts.

use regex::{Captures, Regex};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What a file is written in, as far as the rules care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Shell,
    /// Data and other languages: URLs and secrets count, commands do not.
    Other,
    /// For people: only secrets count.
    Prose,
}

/// A file, prepared.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    pub(crate) language: Language,
    /// Every line as written.
    pub(crate) raw: Vec<&'a str>,
    /// Every line without comments and documentation, and with known constants put in. Same numbers.
    pub(crate) code: Vec<String>,
}

/// Compiles a pattern that stands in this program.
macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| {
            // Invariant: the pattern is a constant, and every one is used by a test.
            Regex::new($text).unwrap()
        });
    };
}
pub(crate) use pattern;

pattern!(LITERAL, r#""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'"#);
pattern!(
    STARTS,
    r"\b(?:os\.(?:system|popen|exec\w+|spawn\w+)|subprocess\.\w+|pty\.spawn|asyncio\.create_subprocess_\w+)\s*\("
);
pattern!(
    PYTHON_CONSTANT,
    r#"^\s*(\w+)\s*(?::[^=]+)?=\s*(?:pathlib\.)?(?:Path\()?[rRuUbB]?(?:"(/[^"\n]*)"|'(/[^'\n]*)')\)?\s*$"#
);
pattern!(
    SHELL_CONSTANT,
    r#"^\s*(?:export\s+|readonly\s+|local\s+)?(\w+)=["']?([/~][^"'\s;]*)["']?\s*$"#
);

pattern!(PYTHON_NAME, r"\b([A-Za-z_]\w*)\b");
pattern!(SHELL_NAME, r"\$(?:\{(\w+)\}|(\w+))");

impl<'a> Source<'a> {
    pub(crate) fn read(path: &'a str, text: &'a str) -> Self {
        let language = language(path, text);
        let raw: Vec<&str> = text.lines().collect();
        let code = match language {
            Language::Python => {
                with_constants(&without_python_comments(text), &PYTHON_CONSTANT, false)
            }
            Language::Shell => {
                let lines: Vec<String> = raw.iter().map(|l| without_shell_comment(l)).collect();
                with_constants(&lines, &SHELL_CONSTANT, true)
            }
            Language::Other => raw.iter().map(|line| (*line).to_owned()).collect(),
            Language::Prose => Vec::new(),
        };
        Self {
            path,
            language,
            raw,
            code,
        }
    }

    /// Shell lines in it, with their numbers: all of a shell script, and what Python starts.
    pub(crate) fn commands(&self) -> Vec<(usize, String)> {
        let numbered = self.code.iter().enumerate().map(|(i, line)| (i + 1, line));
        match self.language {
            Language::Shell => numbered.map(|(n, line)| (n, line.clone())).collect(),
            Language::Python => numbered
                .filter(|(_, line)| STARTS.is_match(line))
                .map(|(n, line)| (n, literals(line).join(" ")))
                .collect(),
            Language::Other | Language::Prose => Vec::new(),
        }
    }
}

/// The texts in quotes on a line.
pub(crate) fn literals(line: &str) -> Vec<String> {
    LITERAL
        .captures_iter(line)
        .filter_map(|found| found.get(1).or(found.get(2)))
        .map(|found| found.as_str().to_owned())
        .collect()
}

/// A line with nothing in its quotes.
pub(crate) fn without_literals(line: &str) -> String {
    LITERAL.replace_all(line, "\"\"").into_owned()
}

fn language(path: &str, text: &str) -> Language {
    let name = path.rsplit('/').next().unwrap_or(path);
    let first = text.lines().next().unwrap_or_default();
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("py") => Language::Python,
        Some("sh" | "bash") => Language::Shell,
        Some("md" | "txt" | "rst") => Language::Prose,
        _ if first.starts_with("#!") && first.contains("python") => Language::Python,
        _ if first.starts_with("#!") && first.contains("sh") => Language::Shell,
        _ if matches!(name, "LICENSE" | "NOTICE") => Language::Prose,
        _ => Language::Other,
    }
}

/// Puts a constant's path where its name is used, so that a rule sees the path.
fn with_constants(lines: &[String], constant: &Regex, shell: bool) -> Vec<String> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for line in lines {
        if let Some(found) = constant.captures(line) {
            let value = found.get(2).or(found.get(3)).map_or("", |m| m.as_str());
            known.insert(found[1].to_owned(), value.to_owned());
        }
    }
    let name: &Regex = if shell { &SHELL_NAME } else { &PYTHON_NAME };
    lines
        .iter()
        .map(|line| {
            if known.is_empty() || constant.is_match(line) {
                return line.clone();
            }
            let put_in = name.replace_all(line, |found: &Captures<'_>| {
                let asked = found.get(1).or(found.get(2)).map_or("", |m| m.as_str());
                match known.get(asked) {
                    None => found[0].to_owned(),
                    Some(value) if shell => value.clone(),
                    Some(value) => format!("\"{value}\""),
                }
            });
            put_in.into_owned()
        })
        .collect()
}

fn without_shell_comment(line: &str) -> String {
    let (mut quote, mut escaped, mut before) = (None, false, ' ');
    for (at, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else {
            match (c, quote) {
                ('\\', None | Some('"')) => escaped = true,
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                ('#', None) if before.is_whitespace() || before == ';' => {
                    return line[..at].to_owned();
                }
                _ => {}
            }
        }
        before = c;
    }
    line.to_owned()
}

/// Comments and documentation strings become blanks; lines keep their numbers.
fn without_python_comments(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    // Inside a text over several lines: its closing quotes, and whether it is documentation.
    let mut inside: Option<(&'static str, bool)> = None;
    for line in text.lines() {
        let mut kept = String::new();
        let mut rest = line;
        loop {
            if let Some((close, prose)) = inside {
                let (part, after) = match rest.split_once(close) {
                    Some((part, after)) => (part, Some(after)),
                    None => (rest, None),
                };
                if !prose {
                    kept.push_str(part);
                }
                let Some(after) = after else { break };
                inside = None;
                rest = after;
                if !prose {
                    kept.push_str(close);
                }
            }
            match next_token(rest) {
                Token::Comment(at) => {
                    kept.push_str(&rest[..at]);
                    break;
                }
                Token::Long(at, quotes) => {
                    let prose = kept.trim().is_empty()
                        && rest[..at].trim().trim_matches(['r', 'R']).is_empty();
                    kept.push_str(&rest[..at]);
                    if !prose {
                        kept.push_str(quotes);
                    }
                    inside = Some((quotes, prose));
                    rest = &rest[at + 3..];
                }
                Token::None => {
                    kept.push_str(rest);
                    break;
                }
            }
        }
        lines.push(kept);
    }
    lines
}

enum Token {
    Comment(usize),
    Long(usize, &'static str),
    None,
}

/// The next comment or long text outside short texts.
fn next_token(line: &str) -> Token {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in line.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match (c, quote) {
            ('\\', Some(_)) => escaped = true,
            ('#', None) => return Token::Comment(at),
            ('"', None) if line[at..].starts_with("\"\"\"") => return Token::Long(at, "\"\"\""),
            ('\'', None) if line[at..].starts_with("'''") => return Token::Long(at, "'''"),
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    Token::None
}
