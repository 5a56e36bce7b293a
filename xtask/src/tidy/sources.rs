//! One Rust file against the rules: a header, a bounded size, no silent `allow`, no lost reminder.

/// The longest file, in lines of code: tests, comments and blank lines are not counted.
const LINES_MAX: usize = 500;
/// Reminders that need the number of an issue; put together so that this file passes.
const REMINDERS: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];
/// The attribute whose place is taken by `expect` with a reason.
const SILENT: [&str; 2] = [concat!("#[al", "low("), concat!("#![al", "low(")];

/// Paths of the files that a file takes in for its tests: `#[cfg(test)] mod name;`.
pub(crate) fn test_modules(path: &str, text: &str) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = match file.strip_suffix(".rs") {
        Some("lib" | "main" | "mod") | None => folder.to_owned(),
        Some(stem) => format!("{folder}/{stem}"),
    };
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .filter(|pair| pair[0].trim() == "#[cfg(test)]")
        .filter_map(|pair| pair[1].strip_prefix("mod ")?.strip_suffix(';'))
        .map(|name| format!("{folder}/{name}.rs"))
        .collect()
}

/// Complaints about the file at `path` with this text; `for_tests` when only tests take it in.
pub(crate) fn check(path: &str, text: &str, for_tests: bool) -> Vec<String> {
    let mut complaints = Vec::new();
    // A `tests.rs` belongs to the module whose tests it holds.
    if !text.starts_with("//!") && !path.ends_with("/tests.rs") {
        complaints.push(format!(
            "{path}: begins without a //! header (what it is, what it is not, where to start)"
        ));
    }
    let is_test = for_tests || path.contains("/tests/");
    let lines = lines_of_code(text);
    if !is_test && lines > LINES_MAX {
        complaints.push(format!(
            "{path}: {lines} lines of code without tests, more than {LINES_MAX}"
        ));
    }
    for (i, line) in text.lines().enumerate() {
        let number = i + 1;
        if SILENT.iter().any(|attribute| line.contains(attribute)) {
            complaints.push(format!(
                "{path}:{number}: use #[expect(…, reason = \"…\")] instead of allow"
            ));
        }
        if REMINDERS.iter().any(|word| is_reminder(line, word)) {
            complaints.push(format!(
                "{path}:{number}: a reminder names its issue, as in #12"
            ));
        }
    }
    complaints
}

fn is_reminder(line: &str, word: &str) -> bool {
    let Some((before, after)) = line.split_once(word) else {
        return false;
    };
    let alone = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
        && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let numbered = line
        .split('#')
        .skip(1)
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    alone && before.contains("//") && !numbered
}

/// Counts lines of code outside of `#[cfg(test)] mod … { … }`.
fn lines_of_code(text: &str) -> usize {
    let mut count = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let begins = line.trim() == "#[cfg(test)]"
            && lines
                .peek()
                .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if begins {
            lines.by_ref().find(|line| *line == "}");
        } else if !line.trim().is_empty() && !line.trim_start().starts_with("//") {
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_comments_do_not_count_towards_the_size() {
        let text = format!(
            "//! A file.\n\nfn a() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\nfn b() {{}}\n",
            "    line();\n".repeat(2 * LINES_MAX)
        );
        assert_eq!(lines_of_code(&text), 2);
        assert!(check("crates/x/src/a.rs", &text, false).is_empty());
    }

    #[test]
    fn a_long_file_a_missing_header_and_silent_lints_are_named() {
        let long = "fn a() {}\n".repeat(LINES_MAX + 1);
        let found = check("crates/x/src/a.rs", &long, false);
        assert!(found[0].contains("header") && found[1].contains("501 lines of code"));
        assert_eq!(check("crates/x/src/a.rs", &long, true).len(), 1);
        let silent = format!("//! A file.\n{}dead_code)]\n", SILENT[0]);
        assert!(check("a.rs", &silent, false)[0].starts_with("a.rs:2: use #[expect"));
    }

    #[test]
    fn files_that_only_tests_take_in_are_found() {
        let text = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\nmod c {\n}\n";
        assert_eq!(
            test_modules("crates/x/src/lib.rs", text),
            ["crates/x/src/b.rs"]
        );
        assert_eq!(
            test_modules("crates/x/src/y.rs", text),
            ["crates/x/src/y/b.rs"]
        );
    }

    #[test]
    fn a_reminder_needs_an_issue() {
        let word = REMINDERS[0];
        let with = |rest: &str| check("a.rs", &format!("//! A.\n{rest}\n"), false).len();
        assert_eq!(with(&format!("// {word}: later")), 1);
        assert_eq!(with(&format!("// {word} #12: later")), 0);
        assert_eq!(with(&format!("let {word}_LIST = 1;")), 0);
    }
}
