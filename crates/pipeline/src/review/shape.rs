//! What does not belong into code: too much of it, unreadable or special files, more rights, and a
//! life after the run.

use super::source::{Language, Source, pattern, without_literals};
use super::{File, Finding, Rule};
use regex::Regex;
use std::sync::LazyLock;

/// Most files of an automation.
pub const FILES_MAX: usize = 200;
/// Most bytes of one file.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of all files.
pub const TOTAL_BYTES_MAX: usize = 1 << 20;
/// Longest line, in characters: longer ones are packed, not written.
pub const LINE_CHARS_MAX: usize = 4_000;

/// File names that hold keys or somebody else's settings.
const FORBIDDEN: [&str; 14] = [
    r"(^|/)\.git(/|$)",
    r"(^|/)\.ssh(/|$)",
    r"(^|/)\.env(\.|$)",
    r"(^|/)id_(rsa|dsa|ecdsa|ed25519)$",
    r"\.(pem|key|p12|pfx|keystore|jks)$",
    r"(^|/)\.netrc$",
    r"(^|/)\.npmrc$",
    r"(^|/)\.pypirc$",
    r"(^|/)\.aws(/|$)",
    r"\.(so|o|a|exe|dll|dylib|pyc|class|jar|wasm)$",
    r"(^|/)__pycache__(/|$)",
    r"(^|/)node_modules(/|$)",
    r"(^|/)\.\.?(/|$)",
    r"(^|/)(spec|acceptance)\.(json|toml|md)$",
];

static FORBIDDEN_PATHS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    FORBIDDEN
        .iter()
        .filter_map(|text| Regex::new(text).ok())
        .collect()
});

pattern!(
    RIGHTS,
    r#"(?:^|[;&|(`]|\b(?:then|do|else|exec)\s)\s*(sudo|su|doas|pkexec|setcap|insmod|modprobe|mount|umount|chroot|unshare|nsenter|iptables|useradd|usermod|passwd|visudo)\s"#
);
pattern!(
    SETUID,
    r"\bchmod\s+(?:-\w+\s+)*(?:[0-7]?[4-7][0-7]{3}\b|[ug]*\+s)|\bos\.(?:setuid|setgid|seteuid|setresuid|chroot)\(|0o[0-7]?[4-7][0-7]{3}\b.*chmod|chmod\(.*0o[4-7][0-7]{3}\b"
);
pattern!(
    STAYS,
    r#"(?:^|[;&|(`]|\b(?:then|do|else|exec)\s)\s*(nohup|setsid|disown|crontab|systemctl|systemd-run|daemonize|at\s+now|batch|screen\s+-d|tmux\s+new)\b"#
);
pattern!(DETACHES, r"\bos\.setsid\(\)|\bdaemon\.DaemonContext\b");
pattern!(
    PACKED,
    r"\b(?:exec|eval)\s*\(\s*(?:compile\s*\()?\s*(?:__import__\(.{1,20}\)\.|\w+\.)?(?:b64decode|b32decode|a85decode|decompress|unhexlify|fromhex|loads)\b|\bbase64\s+(?:-d|--decode)\b[^|]*\|\s*(?:ba)?sh\b|\|\s*(?:sudo\s+)?(?:ba)?sh\s*(?:-s)?\s*$"
);

pattern!(
    TEXT_AS_CODE,
    r#"(?:^|[^.\w])(?:exec|eval)\s*\(\s*(?:[^"'\s)]|""\s*[.%+])|\brunpy\.run_path\(|\bspec_from_file_location\("#
);

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut together = |what: String| found.push(finding(Rule::Size, ".", what));
    if files.len() > FILES_MAX {
        together(format!(
            "{} files, at most {FILES_MAX} are accepted",
            files.len()
        ));
    }
    let total: usize = files.iter().map(|file| file.bytes.len()).sum();
    if total > TOTAL_BYTES_MAX {
        together(format!(
            "{total} bytes in all, at most {TOTAL_BYTES_MAX} are accepted"
        ));
    }
    for file in files {
        check_file(file, &mut found);
    }
    found
}

fn finding(rule: Rule, path: &str, what: String) -> Finding {
    Finding {
        rule,
        path: path.to_owned(),
        line: 0,
        what,
    }
}

fn check_file(file: &File, found: &mut Vec<Finding>) {
    let (path, size) = (file.path.as_str(), file.bytes.len());
    let mut add = |rule, what: String| found.push(finding(rule, path, what));
    if size > FILE_BYTES_MAX {
        add(
            Rule::Size,
            format!("{size} bytes, at most {FILE_BYTES_MAX} are accepted"),
        );
    }
    if file.mode & 0o7000 != 0 {
        let mode = file.mode & 0o7777;
        add(
            Rule::File,
            format!("mode {mode:o}: it would run with somebody else's rights"),
        );
    }
    if FORBIDDEN_PATHS
        .iter()
        .any(|forbidden| forbidden.is_match(path))
    {
        add(
            Rule::File,
            "a file of this name does not belong into code".to_owned(),
        );
    }
    match std::str::from_utf8(&file.bytes) {
        Ok(text) if !text.contains('\0') => {
            let long = text
                .lines()
                .position(|line| line.chars().count() > LINE_CHARS_MAX);
            if let Some(at) = long {
                let what = format!("line {} is longer than {LINE_CHARS_MAX} characters", at + 1);
                add(Rule::Size, what);
            }
        }
        _ => add(
            Rule::File,
            "it is not text: nobody can review it".to_owned(),
        ),
    }
}

fn text_as_code(source: &Source<'_>, line: &str) -> bool {
    source.language == Language::Python
        && !line.trim_start().starts_with("def ")
        && TEXT_AS_CODE.is_match(&without_literals(line))
}

pub(super) fn check_privileges(source: &Source<'_>, found: &mut Vec<Finding>) {
    let mut add = |line: usize, what: String| {
        found.push(Finding {
            rule: Rule::Privilege,
            path: source.path.to_owned(),
            line,
            what,
        });
    };
    for (i, line) in source.code.iter().enumerate() {
        if SETUID.is_match(line) {
            add(i + 1, "it changes whose rights a program has".to_owned());
        }
        if DETACHES.is_match(line) {
            add(i + 1, "it leaves a process behind".to_owned());
        }
        if PACKED.is_match(line) {
            add(i + 1, "it runs code that nobody can read".to_owned());
        } else if text_as_code(source, line) {
            add(
                i + 1,
                "it runs text as code, which nobody has reviewed".to_owned(),
            );
        }
    }
    for (number, line) in source.commands() {
        if let Some(word) = RIGHTS.captures(&line) {
            add(number, format!("it runs {}", &word[1]));
        }
        if let Some(word) = STAYS.captures(&line) {
            add(
                number,
                format!("it leaves something behind with {}", &word[1]),
            );
        }
    }
}
