//! What no coder may change: the spec, the sealed acceptance, the repository itself. Pure.

use std::path::{Component, Path};

/// Names in the workspace that are never writable and never taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protected(Vec<String>);

impl Protected {
    /// From paths relative to the workspace; each protects everything below it, too.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// The names, as they were given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether a relative path is protected. Upper and lower case are the same here: a copy of the workspace may
    /// land on a file system that does not tell them apart.
    #[must_use]
    pub fn covers(&self, path: &Path) -> bool {
        let asked = parts(path);
        self.0.iter().any(|name| {
            let name = parts(Path::new(name));
            !name.is_empty()
                && name.len() <= asked.len()
                && name
                    .iter()
                    .zip(&asked)
                    .all(|(a, b)| a.eq_ignore_ascii_case(b))
        })
    }
}

fn parts(path: &Path) -> Vec<String> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_protects_itself_and_what_is_below_it_and_nothing_beside_it() {
        let protected = Protected::new(["spec.json", "acceptance", ".git", "docs/seal"]);
        for path in [
            "spec.json",
            "./spec.json",
            "SPEC.json",
            "acceptance/a/b",
            ".git/hooks/pre-commit",
            "docs/seal/x",
        ] {
            assert!(protected.covers(Path::new(path)), "{path}");
        }
        for path in [
            "spec.json5",
            "src/spec.json",
            "acceptance.py",
            "docs",
            "docs/a",
            "",
        ] {
            assert!(!protected.covers(Path::new(path)), "{path}");
        }
    }
}
