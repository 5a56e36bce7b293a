//! Values that must be references: keys by their shape, and named texts that look drawn at random. And secrets that are
//! read without being declared: the sandbox has none of them, so whoever reads one hopes for another place to run in.

use super::disguise::declared;
use super::source::{Language, Source, literals, pattern};
use super::{Finding, Rule};
use agentwright_domain::spec::{SECRET_FILES, SecretForm, Spec};
use regex::Regex;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// A named text this long is looked at.
const NAMED_MIN: usize = 8;
/// Bits per character from which a named text counts as drawn at random.
const NAMED_ENTROPY: f64 = 2.8;
/// A text without a telling name must be this long.
const UNNAMED_MIN: usize = 36;
/// Bits per character from which it counts.
const UNNAMED_ENTROPY: f64 = 4.4;

/// Keys that tell what they are.
const SHAPES: [(&str, &str); 15] = [
    ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a GitHub token", r"\bgh[pousr]_[A-Za-z0-9]{36,}\b"),
    ("a GitHub token", r"\bgithub_pat_[A-Za-z0-9_]{40,}\b"),
    ("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("a Slack token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    (
        "a Slack webhook",
        r"hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,}",
    ),
    ("an Anthropic key", r"\bsk-ant-[A-Za-z0-9_-]{20,}"),
    (
        "an OpenAI key",
        r"\bsk-(?:proj-|svcacct-)?[A-Za-z0-9_-]{32,}",
    ),
    ("a Google key", r"\bAIza[0-9A-Za-z_-]{35}"),
    ("a Stripe key", r"\b[sr]k_live_[0-9A-Za-z]{20,}"),
    ("an npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    (
        "a Discord webhook",
        r"discord(?:app)?\.com/api/webhooks/\d{10,}/[A-Za-z0-9_-]{30,}",
    ),
    (
        "a private key",
        r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----",
    ),
    (
        "a JSON web token",
        r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    ),
    ("a Telegram bot token", r"\b\d{8,10}:AA[A-Za-z0-9_-]{32,}"),
];

static PATTERNS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    SHAPES
        .iter()
        .filter_map(|(what, text)| Some((*what, Regex::new(text).ok()?)))
        .collect()
});

pattern!(
    NAMED,
    r#"(?i)["']?([\w-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|auth[_-]?key|bearer)[\w-]*)["']?\s*(?::\s*\w+\s*)?(?:[:=]|:=|=>)\s*[rbuf]?(?:"([^"]{8,})"|'([^']{8,})'|([A-Za-z0-9+/_=.-]{16,})\s*$)"#
);
pattern!(
    HEADER,
    r#"(?i)(?:bearer|basic|token)\s+([A-Za-z0-9+/_=.-]{16,})"#
);
pattern!(
    IN_URL,
    r#"\b[a-z][a-z0-9+.-]*://([^\s/:@'"<>]*):([^\s/@'"<>]{3,})@"#
);
pattern!(UNNAMED, r"^[A-Za-z0-9+/_=-]{36,}$");

pattern!(
    READ,
    r#"(?:\b(?:environ(?:\.\w+)?|getenv|Getenv|ENV(?:\.fetch)?|env::var(?:_os)?)\s*[\[(]\s*["']|\bprocess\.env(?:\.|\[\s*["']))([A-Z][A-Z0-9_]{2,})"#
);
pattern!(SHELL_READ, r"\$\{?([A-Z][A-Z0-9_]{2,})");
pattern!(
    SHELL_SET,
    r"(?:^|[;&|(]|\b(?:export|local|readonly|declare)\b)\s*([A-Z][A-Z0-9_]{2,})=(.*)"
);
pattern!(SHELL_GIVEN, r"\b(?:read|for)\b([^;|&]*)");
pattern!(OPTIONAL, r#"^(?:["']\s*,\s*(?:""|'')\s*\)|:?-\})"#);
pattern!(NAME, r"\b[A-Z][A-Z0-9_]{2,}\b");
pattern!(HANDED, r"/run/secrets(?:/+([\w.-]*))?");
pattern!(
    STORE,
    r"\.aws/credentials\b|\.netrc\b|\.pgpass\b|\.ssh/id_\w+|\.docker/config\.json\b|\.kube/config\b"
);
/// Words of a name that make its value a secret.
const TELLING_WORDS: [&str; 8] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "CREDENTIALS",
    "APIKEY",
];
/// The same, of two words.
const TELLING_PAIRS: [&str; 5] = [
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "SECRET_KEY",
    "AUTH_KEY",
];

/// Secrets that the code reads and the spec does not declare.
pub(super) fn check_reads(source: &Source<'_>, spec: &Spec, found: &mut Vec<Finding>) {
    let declared = declared(spec);
    let files = files(spec);
    let set = match source.language {
        Language::Shell => set_in_shell(source),
        Language::Python | Language::Other | Language::Prose => BTreeSet::new(),
    };
    for (i, line) in source.code.iter().enumerate() {
        let read = match source.language {
            Language::Shell => &*SHELL_READ,
            Language::Python | Language::Other | Language::Prose => &*READ,
        };
        // Nothing where it is not there: such code does without.
        let needed = read
            .captures_iter(line)
            .filter_map(|found| found.get(1))
            .filter(|name| !OPTIONAL.is_match(&line[name.end()..]));
        let names = needed.map(|name| name.as_str().to_owned());
        let reads = names
            .filter(|name| is_secret(name) && !set.contains(name))
            .filter_map(|name| match files.contains(name.as_str()) {
                true => Some(format!(
                    "the secret {name} comes as the file {SECRET_FILES}/{name}, not as a variable"
                )),
                false if declared.contains(name.as_str()) => None,
                false => Some(format!(
                    "it reads the secret {name}, which the spec does not declare"
                )),
            });
        let stores = STORE.find_iter(line).map(|store| store.as_str());
        let handed = HANDED.captures_iter(line).filter_map(|at| {
            let whole = at.get(0).map_or("", |at| at.as_str());
            match at.get(1).map_or("", |name| name.as_str()) {
                // A name that is put together: nothing but what was declared is there.
                "" => files.is_empty().then_some(whole),
                name => (!files.contains(name)).then_some(whole),
            }
        });
        let stores = stores.chain(handed);
        let stores = stores.map(|at| format!("it reads {at}, where secrets of others are"));
        for what in reads.chain(stores) {
            found.push(Finding {
                rule: Rule::Undeclared,
                path: source.path.to_owned(),
                line: i + 1,
                what,
            });
        }
    }
}

/// Names of the secrets that come as files.
fn files(spec: &Spec) -> BTreeSet<&str> {
    let secrets = spec.permissions.secrets.iter();
    let files = secrets.filter(|secret| secret.form == SecretForm::File);
    files.map(|secret| secret.variable.as_str()).collect()
}

/// Variables that a script gives a value of its own.
fn set_in_shell(source: &Source<'_>) -> BTreeSet<String> {
    let mut set = BTreeSet::new();
    for line in &source.code {
        for found in SHELL_SET.captures_iter(line) {
            // `NAME=${NAME:?}` only repeats it.
            let repeats = SHELL_READ
                .captures_iter(&found[2])
                .any(|read| read[1] == found[1]);
            if !repeats {
                set.insert(found[1].to_owned());
            }
        }
        for given in SHELL_GIVEN.captures_iter(line) {
            let names = NAME.find_iter(given.get(1).map_or("", |given| given.as_str()));
            set.extend(names.map(|name| name.as_str().to_owned()));
        }
    }
    set
}

/// Whether a variable of that name holds a secret, or points to the file of one; other places of them are none.
fn is_secret(name: &str) -> bool {
    let name = name.strip_suffix("_FILE").unwrap_or(name);
    let mut words = name.split('_');
    let place = ["_PATH", "_DIR", "_URL"]
        .iter()
        .any(|end| name.ends_with(end));
    let told = words.any(|word| TELLING_WORDS.contains(&word))
        || TELLING_PAIRS.iter().any(|pair| name.contains(pair));
    told && !place
}

pub(super) fn check(source: &Source<'_>, found: &mut Vec<Finding>) {
    for (i, line) in source.raw.iter().enumerate() {
        // Longer lines are stopped by another rule.
        let line: String = line.chars().take(super::shape::LINE_CHARS_MAX).collect();
        if let Some(what) = secret(&line, source.language) {
            found.push(Finding {
                rule: Rule::Secret,
                path: source.path.to_owned(),
                line: i + 1,
                what: format!("{what}; declare it as a secret and read it from its variable"),
            });
        }
    }
}

fn secret(line: &str, language: Language) -> Option<String> {
    if let Some((what, _)) = PATTERNS.iter().find(|(_, shape)| {
        shape
            .find_iter(line)
            .any(|m| !placeholder(m.as_str()) && variety(m.as_str()) > 6)
    }) {
        return Some(format!("it holds {what}"));
    }
    for named in NAMED.captures_iter(line) {
        let value = (2..=4)
            .find_map(|i| named.get(i))
            .map_or("", |m| m.as_str());
        let code = language != Language::Prose || named.get(4).is_none();
        // What stands bare behind `=` in code is an expression, not a text.
        let bare = named.get(4).is_some() && language == Language::Python;
        if code && !bare && value.len() >= NAMED_MIN && random(value, NAMED_ENTROPY) {
            return Some(format!("{} has a fixed value", &named[1]));
        }
    }
    for header in HEADER.captures_iter(line) {
        if random(&header[1], 3.3) && header[1].bytes().any(|b| b.is_ascii_digit()) {
            return Some("it holds a fixed authorization".to_owned());
        }
    }
    for url in IN_URL.captures_iter(line) {
        if !placeholder(&url[2]) && !url[2].starts_with(['$', '{', '%', '(']) {
            return Some("an address holds a password".to_owned());
        }
    }
    let unnamed = literals(line).into_iter().any(|text| {
        text.len() >= UNNAMED_MIN
            && UNNAMED.is_match(&text)
            && mixed(&text)
            && random(&text, UNNAMED_ENTROPY)
    });
    unnamed.then(|| "it holds a text that looks like a key".to_owned())
}

/// Neither a placeholder nor words, and varied enough.
fn random(value: &str, bits: f64) -> bool {
    !placeholder(value) && !words(value) && entropy(value) >= bits
}

fn placeholder(value: &str) -> bool {
    const TELLING: [&str; 22] = [
        "example",
        "changeme",
        "change-me",
        "change_me",
        "placeholder",
        "your",
        "xxxx",
        "dummy",
        "redacted",
        "not-a-",
        "test",
        "sample",
        "fake",
        "default",
        "secret",
        "password",
        "passwd",
        "insert",
        "todo",
        "****",
        "....",
        "0000",
    ];
    let lower = value.to_ascii_lowercase();
    TELLING.iter().any(|word| lower.contains(word))
        || value.contains(['<', '>', '{', '}', '$', '%'])
        || ["env:", "file:", "vault:", "os.environ", "getenv"]
            .iter()
            .any(|p| lower.contains(p))
}

/// Text made of words, names, paths or an alphabet.
fn words(value: &str) -> bool {
    let parts: Vec<&str> = value
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|p| !p.is_empty())
        .collect();
    let word = |part: &&str| {
        let small = part.len() <= 20;
        small
            && (part.bytes().all(|b| b.is_ascii_lowercase())
                || part.bytes().all(|b| b.is_ascii_uppercase())
                || part.len() <= 3)
    };
    let spoken = parts.iter().all(word) && value.bytes().any(|b| !b.is_ascii_alphanumeric());
    let single = parts.len() == 1
        && value.len() <= 20
        && value.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    let ordered = value
        .as_bytes()
        .windows(2)
        .filter(|w| w[1] == w[0].wrapping_add(1))
        .count();
    spoken || single || ordered * 2 > value.len()
}

fn mixed(value: &str) -> bool {
    let has = |test: fn(&u8) -> bool| value.as_bytes().iter().any(test);
    has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit)
}

fn variety(value: &str) -> usize {
    value.bytes().collect::<BTreeSet<u8>>().len()
}

/// Shannon entropy, bits per character.
fn entropy(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in value.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let length = value.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / length;
            -share * share.log2()
        })
        .sum()
}
