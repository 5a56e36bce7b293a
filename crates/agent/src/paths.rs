//! Relative paths that came from a model: plain ones pass, everything else is refused with the reason. Pure.

use std::path::Path;

use crate::protected::Protected;

/// Longest path.
const MAX_PATH_BYTES: usize = 200;
/// Longest part of a path.
const MAX_PART_BYTES: usize = 100;
/// Most parts.
const MAX_PARTS: usize = 8;
/// What a part may hold beside letters and digits.
const MARKS: &str = "._-+@=,~";

/// The path in its plain form, or why it is refused.
pub(crate) fn checked(path: &str, protected: &Protected) -> Result<String, String> {
    let refuse = |why: &str| Err(format!("the path {} {why}", shown(path)));
    let plain = path.strip_prefix("./").unwrap_or(path);
    if plain.is_empty() || plain == "." {
        return refuse("is empty");
    }
    if plain.len() > MAX_PATH_BYTES {
        return refuse("is too long");
    }
    if plain.contains(['\0', '\\', ':']) {
        return refuse("holds a character that a path may not hold");
    }
    if plain.starts_with(['/', '~']) {
        return refuse("is absolute; paths are relative to the workspace");
    }
    let parts: Vec<&str> = plain.split('/').collect();
    if parts.len() > MAX_PARTS {
        return refuse("is too deep");
    }
    for part in parts {
        if part.is_empty() || part == "." || part == ".." {
            return refuse("leads elsewhere; write it without empty parts, `.` and `..`");
        }
        if part.len() > MAX_PART_BYTES || part.ends_with('.') {
            return refuse("has a part that not every system can hold");
        }
        if part.eq_ignore_ascii_case(".git") {
            return refuse("is inside a repository's own directory");
        }
        if !part
            .chars()
            .all(|c| c.is_alphanumeric() || MARKS.contains(c))
        {
            return refuse("holds a character that a path may not hold");
        }
    }
    if protected.covers(Path::new(plain)) {
        return refuse("is protected; it cannot be changed");
    }
    Ok(plain.to_owned())
}

/// For messages: short, and without anything that moves a cursor.
pub(crate) fn shown(path: &str) -> String {
    let short: String = path.chars().take(80).collect();
    format!("\"{}\"", short.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_relative_paths_pass_and_nothing_else_does() {
        let protected = Protected::new(["spec.json", "acceptance"]);
        for (path, plain) in [
            ("main.py", "main.py"),
            ("./src/a-b_c.py", "src/a-b_c.py"),
            ("größe.txt", "größe.txt"),
            (".env.example", ".env.example"),
            ("a/b/c/d/e/f/g/h", "a/b/c/d/e/f/g/h"),
        ] {
            assert_eq!(checked(path, &protected).as_deref(), Ok(plain));
        }
        let long = "x".repeat(300);
        for path in [
            "",
            ".",
            "./",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/./b",
            "a//b",
            "a/",
            "..",
            "~/x",
            "~root",
            "C:\\x",
            "C:/x",
            "a\\b",
            "a\0b",
            "a\nb",
            "a b",
            "a\u{202e}b",
            ".git/config",
            "sub/.GIT/hooks/x",
            "spec.json",
            "./spec.json",
            "SPEC.JSON",
            "acceptance/x",
            "a/b/c/d/e/f/g/h/i",
            "x.",
            &long,
        ] {
            assert!(checked(path, &protected).is_err(), "{path:?}");
        }
    }
}
