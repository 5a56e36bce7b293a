//! Writes to places that the spec does not declare writable, as far as the places stand in the code.

use super::source::{Language, Source, pattern};
use super::{Finding, Rule};
use agentwright_domain::spec::{Access, Spec};
use regex::Regex;
use std::sync::LazyLock;

/// Python calls that write to a place given as a text.
const CALLS: [&str; 8] = [
    r#"\bopen\(\s*[rbuf]*["'](/[^"']*)["']\s*,\s*(?:mode\s*=\s*)?["'][^"']*[wax+]"#,
    r#"\bPath\(\s*[rbuf]*["'](/[^"']*)["']\s*\)[^#]*\.(?:write_text|write_bytes|mkdir|unlink|touch|rmdir|rename|replace|symlink_to|chmod|open\(\s*["'][^"']*[wax])"#,
    r#"["'](/[^"']*)["']\s*\.(?:write_text|write_bytes|mkdir|unlink|touch|rmdir)\("#,
    r#"\b(?:os|shutil)\.(?:remove|unlink|rmdir|removedirs|makedirs|mkdir|rename|renames|replace|rmtree|chmod|chown|truncate|mknod|mkfifo|move)\(\s*[rbuf]*["'](/[^"']*)["']"#,
    r#"\b(?:os|shutil)\.(?:rename|renames|replace|move|copy|copy2|copyfile|copytree|symlink|link)\([^,]+,\s*[rbuf]*["'](/[^"']*)["']"#,
    r#"\bsqlite3\.connect\(\s*[rbuf]*["'](/[^"']*)["']"#,
    r#"\b(?:ZipFile|tarfile\.open|gzip\.open|bz2\.open|lzma\.open)\(\s*[rbuf]*["'](/[^"']*)["']\s*,\s*(?:mode\s*=\s*)?["'][wax]"#,
    r#"\bFileHandler\(\s*[rbuf]*["'](/[^"']*)["']"#,
];

static PYTHON: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    CALLS
        .iter()
        .filter_map(|text| Regex::new(text).ok())
        .collect()
});

pattern!(
    REDIRECTION,
    r#"(?:^|[^<>=-])>{1,2}\|?\s*["']?([/~][^\s"';&|)]*)"#
);
pattern!(
    COMMAND,
    r#"(?:^|[;&|(`{]|\b(?:then|do|else|exec|sudo|env|xargs|command|time)\s)\s*(rm|rmdir|mkdir|touch|tee|cp|mv|ln|chmod|chown|install|dd|truncate|rsync|unlink|mkfifo|mknod|sed)\s+([^;&|)]*)"#
);
/// Inside, the home is scratch: whoever writes these means the person's own.
const PERSONAL: [&str; 9] = [
    ".ssh",
    ".bashrc",
    ".profile",
    ".bash_profile",
    ".zshrc",
    ".gnupg",
    ".aws",
    ".config/autostart",
    ".netrc",
];

pub(super) fn check(source: &Source<'_>, spec: &Spec, found: &mut Vec<Finding>) {
    let mut report = |line: usize, place: &str| {
        if !allowed(place, spec) {
            found.push(Finding {
                rule: Rule::Write,
                path: source.path.to_owned(),
                line,
                what: format!("it writes to {place}"),
            });
        }
    };
    if source.language == Language::Python {
        for (i, line) in source.code.iter().enumerate() {
            for place in PYTHON.iter().flat_map(|call| call.captures_iter(line)) {
                report(i + 1, &place[1]);
            }
            let home = line.contains("expanduser") || line.contains("Path.home()");
            if home && let Some(place) = PERSONAL.iter().find(|place| line.contains(**place)) {
                report(i + 1, &format!("~/{place}"));
            }
        }
    }
    for (number, line) in source.commands() {
        for place in shell_places(&line) {
            report(number, &place);
        }
    }
}

/// The places that a shell line writes to.
fn shell_places(line: &str) -> Vec<String> {
    let mut places: Vec<String> = REDIRECTION
        .captures_iter(line)
        .map(|found| found[1].to_owned())
        .collect();
    for command in COMMAND.captures_iter(line) {
        let words: Vec<&str> = command[2]
            .split_whitespace()
            .map(|word| word.trim_matches(['"', '\'']))
            .collect();
        let paths = || {
            words
                .iter()
                .filter(|word| word.starts_with(['/', '~']))
                .copied()
        };
        match &command[1] {
            "cp" | "ln" | "install" | "rsync" => {
                places.extend(
                    words
                        .last()
                        .filter(|w| w.starts_with(['/', '~']))
                        .map(|w| (*w).to_owned()),
                );
            }
            "dd" => places.extend(
                words
                    .iter()
                    .filter_map(|w| w.strip_prefix("of="))
                    .map(str::to_owned),
            ),
            "sed" if !words.iter().any(|word| word.starts_with("-i")) => {}
            "sed" => places.extend(
                words
                    .last()
                    .filter(|w| w.starts_with('/'))
                    .map(|w| (*w).to_owned()),
            ),
            _ => places.extend(paths().map(str::to_owned)),
        }
    }
    places
}

fn allowed(place: &str, spec: &Spec) -> bool {
    if place.starts_with('~') {
        return !PERSONAL.iter().any(|personal| place.contains(personal));
    }
    if place.split('/').any(|part| part == "..") {
        return false;
    }
    let below = |root: &str| {
        place == root
            || place
                .strip_prefix(root)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    if [
        "/state",
        "/tmp",
        "/dev/null",
        "/dev/stdout",
        "/dev/stderr",
        "/dev/fd",
        "/dev/shm",
    ]
    .iter()
    .any(|root| below(root))
    {
        return true;
    }
    let Some(rest) = place.strip_prefix("/data") else {
        return false;
    };
    let name = rest
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    // The folder's name is put in when it runs; the walls hold what cannot be read here.
    if name.is_empty() || name.contains(['{', '$', '%']) {
        return true;
    }
    spec.permissions
        .folder(name)
        .is_some_and(|folder| folder.access == Access::Write)
}
