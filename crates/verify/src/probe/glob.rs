//! Globs over paths below a folder: `*` stays within one directory, `**` does not; `?`, `[…]`, `{a,b}`.
//! Names that begin with a dot match like any other.

use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

/// Compiles one glob.
pub(crate) fn one(pattern: &str) -> Result<GlobMatcher, String> {
    Ok(builder(pattern)?.compile_matcher())
}

/// Compiles several.
pub(crate) fn set(patterns: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(builder(pattern)?);
    }
    set.build().map_err(|error| error.to_string())
}

fn builder(pattern: &str) -> Result<globset::Glob, String> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .empty_alternates(true)
        .build()
        .map_err(|error| format!("glob {pattern:?}: {error}"))
}

/// A path that the glob matches, where one is easily made up.
pub(crate) fn sample(pattern: &str) -> Option<String> {
    let mut made = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' => {
                while rest.next_if_eq(&'*').is_some() {}
                made.push('x');
            }
            '?' => made.push('x'),
            '\\' => made.extend(rest.next()),
            '[' => {
                let class: String = rest.by_ref().take_while(|c| *c != ']').collect();
                made.extend(class.chars().find(|c| !matches!(c, '!' | '^')));
            }
            '{' => {
                let group: String = rest.by_ref().take_while(|c| *c != '}').collect();
                made.push_str(group.split(',').next().unwrap_or_default());
            }
            c => made.push(c),
        }
    }
    one(pattern).ok()?.is_match(&made).then_some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_in_its_directory() {
        assert!(one("*.zip").unwrap().is_match("a.zip"));
        assert!(!one("*.zip").unwrap().is_match("d/a.zip"));
        assert!(one("**/*.zip").unwrap().is_match("d/e/a.zip"));
        assert!(one("**/*.zip").unwrap().is_match("a.zip"));
    }

    #[test]
    fn a_broken_glob_is_named() {
        assert!(one("[").unwrap_err().contains("glob \"[\""));
        assert!(set(&["{a".into()]).is_err());
    }

    #[test]
    fn samples_match_their_glob() {
        for pattern in ["a.txt", "*.zip", "**/*.tmp", "x?[ab].{log,txt}", "a-*-b"] {
            let made = sample(pattern).unwrap();
            assert!(one(pattern).unwrap().is_match(&made), "{pattern} {made}");
        }
    }
}
