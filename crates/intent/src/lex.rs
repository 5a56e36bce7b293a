//! Cutting a sentence into tokens: words with their stems, numbers, times, paths, addresses, quoted texts.
//!
//! Everything between the tokens is blank. Nothing is executed or expanded: shell characters are data.

use crate::vocabulary::{self, Vocabulary};
use regex::Regex;
use std::sync::LazyLock;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Letters.
    Word,
    /// Digits or a number word, with the unit that was glued to it (`30d`, `500MB`).
    Number {
        /// Its value.
        value: f64,
        /// `d`, `mb`, `st`; empty without one.
        unit: String,
    },
    /// A clock time such as `7:30` or `7pm`.
    Time {
        /// Minutes since midnight; 1440 and more is impossible.
        minute: u32,
        /// Whether am or pm, or an hour above 12, settled it.
        settled: bool,
    },
    /// A file or folder.
    Path,
    /// An http, https or postgres address.
    Url,
    /// Somebody's mail address.
    Email,
    /// A file name pattern: `*.log`.
    Glob,
    /// `env:NAME`, `file:/PATH` or `vault:MOUNT/PATH#FIELD`.
    Secret,
    /// Text in quotes.
    Quoted,
    /// A path of Windows, which no folder here has.
    Windows,
    /// A five-field cron expression.
    Cron,
    /// An IANA zone.
    Zone,
    /// One character of punctuation.
    Punct,
}

/// One piece of a sentence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    /// As written, without quotes.
    pub(crate) text: String,
    /// In lower case, a typing error put right.
    pub(crate) lower: String,
    /// Its stem (words only).
    pub(crate) stem: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// Where the piece of the sentence that it came from lies, in bytes.
    pub(crate) from: usize,
    /// Where it ends.
    pub(crate) to: usize,
}

impl Token {
    pub(crate) fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }

    pub(crate) fn is(&self, words: &[&str]) -> bool {
        self.is_word() && words.contains(&self.lower.as_str())
    }

    pub(crate) fn punct(&self, of: &str) -> bool {
        self.kind == Kind::Punct && of.contains(&self.text)
    }
}

static PIECES: LazyLock<Regex> = LazyLock::new(|| {
    let name = r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_])?";
    let extension = vocabulary::EXTENSIONS.join("|");
    let domains = vocabulary::DOMAINS.join("|");
    let areas =
        "Europe|America|Asia|Africa|Australia|Pacific|Atlantic|Indian|Antarctica|Arctic|Etc";
    let pieces = format!(
        r#"(?x)
          (?P<cron>(?:[0-9*][0-9*/,\-]*\x20){{3}}(?:[0-9*?L][0-9A-Za-z*/,\-]*)\x20(?:[0-9*][0-9A-Za-z*/,\-\#]*|(?i:mon|tue|wed|thu|fri|sat|sun)[A-Za-z,\-]*))
        | "(?P<double>[^"\n]*)" | “(?P<curly>[^”\n]*)” | `(?P<tick>[^`\n]*)`
        | (?:^|(?P<lead>[\s(,:=]))'(?P<single>[^'\n]+)'
        | (?P<url>(?i:https?|postgres|postgresql)://[^\s"'<>]+)
        | (?P<windows>[A-Za-z]:\\[^\s"]* | \\\\[^\s"]+)
        | (?P<secret>env:[A-Za-z_][A-Za-z0-9_]* | vault:[A-Za-z0-9_.\-]+(?:/[A-Za-z0-9_.\-]+)+\#[A-Za-z0-9_\-]+ | file:/[^\s"',;]+)
        | (?P<email>[A-Za-z0-9._%+\-]+@[A-Za-z0-9.\-]+\.[A-Za-z]{{2,}})
        | (?P<zone>(?:{areas})/[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z_]+)?)
        | (?P<path>(?:~|\.\.|\.)?/(?:\\.|[^\s"',;:()<>?!|&\\])*  | ~ | (?:{name}/)+(?:{name}|\*(?:\.[A-Za-z0-9]+)?)?)
        | (?P<glob>\*\.[A-Za-z0-9*]+ | [A-Za-z0-9_\-]+\*[A-Za-z0-9_.\-*]*)
        | (?P<host>(?i:localhost)(?::\d+)?(?:/[^\s"',;]*)? | \d{{1,3}}(?:\.\d{{1,3}}){{3}}(?::\d+)?(?:/[^\s"',;]*)?)
        | (?P<file>[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_])?\.(?i:{extension})\b)
        | (?P<domain>(?:[A-Za-z0-9](?:[A-Za-z0-9\-]*[A-Za-z0-9])?\.)+(?i:{domains})\b(?::\d+)?(?:/[^\s"',;]*)?)
        | (?P<time>\d{{1,2}}(?:[:.]\d{{2}})?\s?(?i:am|pm|a\.m\.?|p\.m\.?)\b | \d{{1,2}}:\d{{2}}(?::\d{{2}})? | \d{{1,2}}h\d{{2}}\b)
        | (?P<number>\d+(?:[.,]\d+)*)(?P<unit>[A-Za-z]{{1,8}}\b|%)?
        | (?P<arrow>-{{1,2}}> | => | [→⇒➜])
        | (?P<word>[A-Za-z\u{{c0}}-\u{{24f}}][A-Za-z0-9_'’\u{{c0}}-\u{{24f}}]*)
        | (?P<extension>\.[A-Za-z0-9]{{1,6}}\b)
        | (?P<punct>[^\s])
        "#
    );
    compiled(&pieces)
});

/// Compiles a pattern that is part of the program.
pub(crate) fn compiled(pattern: &str) -> Regex {
    // Invariant: every pattern is a constant of this crate; a test uses each of them.
    #[expect(
        clippy::expect_used,
        reason = "constant patterns, compiled by the tests"
    )]
    Regex::new(pattern).expect("a constant pattern compiles")
}

/// Cuts a sentence into tokens.
pub(crate) fn tokens(sentence: &str, vocabulary: &Vocabulary) -> Vec<Token> {
    let mut tokens = Vec::new();
    for found in PIECES.captures_iter(sentence) {
        let group = |name: &str| found.name(name).map(|m| m.as_str());
        let first = tokens.len();
        if let Some(text) = group("double")
            .or(group("curly"))
            .or(group("tick"))
            .or(group("single"))
        {
            if let Some(lead) = group("lead").filter(|lead| !lead.trim().is_empty()) {
                push(&mut tokens, lead, Kind::Punct);
            }
            push(&mut tokens, text, quoted(text));
        } else if let Some(text) = group("word") {
            word(&mut tokens, text, vocabulary);
        } else if let Some(text) = group("arrow") {
            push(&mut tokens, text, Kind::Word);
            // "./a -> ./b" is "./a to ./b".
            if let Some(token) = tokens.last_mut() {
                (token.lower, token.stem) = ("to".to_owned(), "to".to_owned());
            }
        } else if let Some(text) = group("number") {
            number(&mut tokens, text, group("unit").unwrap_or(""));
        } else if let Some(text) = group("time") {
            push(&mut tokens, text, time(text));
        } else if let Some(text) = group("path") {
            path(&mut tokens, text, vocabulary);
        } else if let Some(text) = group("url").or(group("host")).or(group("domain")) {
            address(&mut tokens, text);
        } else {
            rest(&mut tokens, &found);
        }
        if let Some(piece) = found.get(0) {
            for token in &mut tokens[first..] {
                (token.from, token.to) = (piece.start(), piece.end());
            }
        }
    }
    separators(&mut tokens);
    abbreviations(&mut tokens);
    between_paths(&mut tokens);
    look_into(&mut tokens);
    name_folders(&mut tokens, vocabulary);
    tokens
}

/// "max. 24" is "max 24".
fn abbreviations(tokens: &mut Vec<Token>) {
    let point = |i: usize, tokens: &[Token]| {
        tokens[i].punct(".")
            && i > 0
            && tokens[i - 1].is(&["max", "min", "approx", "nr"])
            && tokens
                .get(i + 1)
                .is_some_and(|t| matches!(t.kind, Kind::Number { .. }))
    };
    let mut i = 0;
    while i < tokens.len() {
        if point(i, tokens) {
            tokens.remove(i);
        }
        i += 1;
    }
}

/// "look into ./app.log" reads it: there, "into" leads to no target.
fn look_into(tokens: &mut [Token]) {
    for i in 1..tokens.len() {
        if tokens[i].is(&["into"])
            && tokens[i - 1].is(&["look", "looks", "looking", "dig", "digs", "peek", "dive"])
        {
            (tokens[i].lower, tokens[i].stem) = ("in".to_owned(), "in".to_owned());
        }
    }
}

/// "zip ./a 2 ./b", "zip ./a too ./b"
fn between_paths(tokens: &mut [Token]) {
    for i in 1..tokens.len().saturating_sub(1) {
        let path = |k: usize| tokens[k].kind == Kind::Path;
        if ["2", "too"].contains(&tokens[i].lower.as_str()) && path(i - 1) && path(i + 1) {
            tokens[i].kind = Kind::Word;
            (tokens[i].lower, tokens[i].stem) = ("to".to_owned(), "to".to_owned());
        }
    }
}

/// Several slashes that stand alone separate ("table books / ./books.csv / daily"); one is the root folder.
fn separators(tokens: &mut [Token]) {
    let alone = |token: &Token| token.kind == Kind::Path && token.text == "/";
    if tokens.iter().filter(|token| alone(token)).count() < 2 {
        return;
    }
    for token in tokens.iter_mut().filter(|token| alone(token)) {
        token.kind = Kind::Punct;
        token.text = ",".to_owned();
    }
}

fn push(tokens: &mut Vec<Token>, text: &str, kind: Kind) {
    let lower = text.to_lowercase();
    tokens.push(Token {
        stem: vocabulary::stem(&lower),
        text: text.to_owned(),
        lower,
        kind,
        from: 0,
        to: 0,
    });
}

fn rest(tokens: &mut Vec<Token>, found: &regex::Captures<'_>) {
    let kinds = [
        ("cron", Kind::Cron),
        ("windows", Kind::Windows),
        ("secret", Kind::Secret),
        ("email", Kind::Email),
        ("zone", Kind::Zone),
        ("glob", Kind::Glob),
        ("extension", Kind::Glob),
        ("file", Kind::Path),
        ("punct", Kind::Punct),
    ];
    for (name, kind) in kinds {
        let Some(text) = found.name(name).map(|m| m.as_str()) else {
            continue;
        };
        // "tar.gz" and ".zip" by themselves are kinds of files, not files.
        if name == "file"
            && ["tar.gz", "tar.xz", "tar.bz2"].contains(&text.to_ascii_lowercase().as_str())
        {
            text.split('.')
                .for_each(|part| push(tokens, part, Kind::Word));
            return;
        }
        push(tokens, text, kind);
        if name == "extension"
            && let Some(token) = tokens.last_mut()
        {
            token.stem = vocabulary::stem(token.lower.trim_start_matches('.'));
        }
        return;
    }
}

fn quoted(text: &str) -> Kind {
    let rooted = ["/", "./", "../", "~/"]
        .iter()
        .any(|start| text.starts_with(start));
    if rooted && !text.contains("\n") {
        Kind::Path
    } else if text.starts_with("http://") || text.starts_with("https://") {
        Kind::Url
    } else if text.contains('*') && !text.contains(' ') {
        Kind::Glob
    } else {
        Kind::Quoted
    }
}

fn word(tokens: &mut Vec<Token>, text: &str, vocabulary: &Vocabulary) {
    let plain = text.replace('’', "'");
    let trimmed = plain.trim_end_matches('\'');
    let base = trimmed.strip_suffix("'s").unwrap_or(trimmed);
    let lower = base.to_lowercase();
    if let Some(value) = vocabulary::number_word(&lower) {
        let unit = String::new();
        push(tokens, base, Kind::Number { value, unit });
        return;
    }
    let lower = vocabulary.corrected(&lower);
    tokens.push(Token {
        text: base.to_owned(),
        stem: vocabulary::stem(&lower),
        lower,
        kind: Kind::Word,
        from: 0,
        to: 0,
    });
}

fn number(tokens: &mut Vec<Token>, text: &str, unit: &str) {
    // A comma groups thousands (1,000) or lists (1,2): only groups of three digits belong together.
    let groups: Vec<&str> = text.split(',').collect();
    let grouped = groups.len() > 1 && groups[1..].iter().all(|g| g.len() == 3);
    let parts = if grouped {
        vec![text.replace(',', "")]
    } else {
        groups.iter().map(|g| (*g).to_owned()).collect()
    };
    let last = parts.len() - 1;
    for (i, part) in parts.iter().enumerate() {
        let unit = if i == last {
            unit.to_lowercase()
        } else {
            String::new()
        };
        let value = part.parse().unwrap_or(f64::INFINITY);
        if i > 0 {
            push(tokens, ",", Kind::Punct);
        }
        push(
            tokens,
            &format!("{part}{unit}"),
            Kind::Number { value, unit },
        );
    }
}

fn time(text: &str) -> Kind {
    let lower = text.to_lowercase();
    let digits: Vec<u32> = lower
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .filter_map(|part| part.parse().ok())
        .collect();
    let mut hour = digits.first().copied().unwrap_or(0);
    let minute = digits.get(1).copied().unwrap_or(0);
    let half = lower.contains('m');
    let mut settled = half || hour > 12 || hour == 0 || text.starts_with('0');
    let possible = minute < 60 && hour <= 24 && !(half && (hour > 12 || hour == 0));
    if half && hour <= 12 {
        hour %= 12;
        if lower.contains('p') {
            hour += 12;
        }
        settled = true;
    }
    let minute = if possible {
        (hour * 60 + minute) % 1440
    } else {
        9999
    };
    Kind::Time { minute, settled }
}

/// A word with slashes is a path if it looks like one: `and/or`, `24/7` and `CSV/JSON` do not.
fn path(tokens: &mut Vec<Token>, text: &str, vocabulary: &Vocabulary) {
    let trimmed = text.trim_end_matches(['.', '!', '?']);
    let trimmed = if trimmed.is_empty() || trimmed == "~" {
        text
    } else {
        trimmed
    };
    let rooted = trimmed.starts_with(['/', '.', '~']);
    let parts: Vec<&str> = trimmed.split('/').collect();
    let known = |part: &&str| {
        let lower = part.to_lowercase();
        part.bytes().all(|b| b.is_ascii_digit()) || vocabulary.format_word(&lower)
    };
    if !rooted && !trimmed.ends_with('/') && parts.iter().all(known) {
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                push(tokens, "/", Kind::Punct);
            }
            match part.parse() {
                Ok(value) => push(
                    tokens,
                    part,
                    Kind::Number {
                        value,
                        unit: String::new(),
                    },
                ),
                Err(_) => word(tokens, part, vocabulary),
            }
        }
        return;
    }
    // example.com/pricing is an address, data/sales.csv is not.
    let host = parts[0].to_lowercase();
    if !rooted
        && vocabulary::DOMAINS
            .iter()
            .any(|d| host.ends_with(&format!(".{d}")))
    {
        return address(tokens, text);
    }
    push(tokens, &trimmed.replace("\\ ", " "), Kind::Path);
}

fn address(tokens: &mut Vec<Token>, text: &str) {
    let trimmed = text.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '\'']);
    let lower = trimmed.to_lowercase();
    let full = if lower.contains("://") {
        trimmed.to_owned()
    } else if lower.starts_with("localhost") || lower.starts_with(|c: char| c.is_ascii_digit()) {
        format!("http://{trimmed}")
    } else {
        format!("https://{trimmed}")
    };
    push(tokens, &full, Kind::Url);
    if text[trimmed.len()..].contains([',', ';']) {
        push(tokens, ",", Kind::Punct);
    }
}

/// `the folder notes`, `the notes folder`, `my Downloads`, quoted names beside the word folder.
fn name_folders(tokens: &mut [Token], vocabulary: &Vocabulary) {
    const FOLDER: [&str; 5] = ["folder", "directory", "dir", "folders", "subfolder"];
    for i in 0..tokens.len() {
        let near = |step: usize, back: bool| -> Option<&Token> {
            if back {
                i.checked_sub(step).map(|k| &tokens[k])
            } else {
                tokens.get(i + step)
            }
        };
        let before = |step| near(step, true);
        let named = |token: Option<&Token>| token.is_some_and(|t| t.is(&["called", "named"]));
        let folder = |token: Option<&Token>| token.is_some_and(|t| t.is(&FOLDER));
        let quoted = tokens[i].kind == Kind::Quoted;
        // In "the ./contracts directory archived into …" the path is the name, not what follows.
        let named_already = before(2).is_some_and(|t| t.kind == Kind::Path);
        let beside = folder(before(1)) && !named_already
            || (named(before(1)) && folder(before(2)))
            || (folder(tokens.get(i + 1))
                && !tokens.get(i + 2).is_some_and(|t| t.kind == Kind::Path))
            || (quoted && tokens[i].text.contains('/') && !tokens[i].text.contains("  "));
        let possible = quoted || (tokens[i].is_word() && vocabulary.may_name(&tokens[i]));
        let owned = before(1).is_some_and(|t| {
            t.is(&[
                "my", "our", "the", "in", "from", "of", "to", "into", "his", "her",
            ])
        });
        let home = tokens[i].is_word()
            && owned
            && vocabulary::HOME_FOLDERS
                .iter()
                .any(|known| known.eq_ignore_ascii_case(&tokens[i].text))
            && (before(1).is_some_and(|t| t.is(&["my"]))
                || tokens[i].text.starts_with(char::is_uppercase));
        let determined = quoted
            || (folder(before(1)) && !named_already)
            || named(before(1))
            || before(1).is_some_and(|t| {
                t.is(&[
                    "the", "my", "our", "of", "in", "into", "to", "from", "up", "under",
                ])
            });
        if home {
            let name = vocabulary::HOME_FOLDERS
                .iter()
                .find(|known| known.eq_ignore_ascii_case(&tokens[i].text))
                .copied()
                .unwrap_or_default();
            tokens[i].text = format!("~/{name}");
            tokens[i].kind = Kind::Path;
        } else if beside && possible && determined {
            tokens[i].kind = Kind::Path;
        } else if tokens[i].is(&["here", "current", "this"])
            && (tokens[i].lower == "here" || folder(tokens.get(i + 1)))
        {
            tokens[i].text = ".".to_owned();
            tokens[i].kind = Kind::Path;
        }
    }
}
