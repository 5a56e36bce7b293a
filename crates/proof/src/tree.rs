//! The digest of a tree of files: which paths, whether they can be run, and what they hold. Owners,
//! times and other mode bits do not count, so that a copy of a tree is the same tree.

use crate::{NoJson, of_json};
use agentwright_domain::digest::Digest;
use serde::Serialize;

/// One regular file of a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TreeEntry {
    /// Path below the root, with `/` between its parts.
    pub path: String,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Digest of its bytes.
    pub content: Digest,
    /// Size in bytes.
    pub bytes: u64,
}

/// All regular files of a tree, in the order of their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Tree {
    entries: Vec<TreeEntry>,
}

impl Tree {
    /// A tree of these files, given in any order.
    pub fn new(mut entries: Vec<TreeEntry>) -> Self {
        entries.sort();
        Self { entries }
    }

    /// The files, in the order of their paths.
    pub fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    /// The digest over all of them.
    ///
    /// # Errors
    /// Never in practice: a tree can always be written as JSON.
    pub fn digest(&self) -> Result<Digest, NoJson> {
        of_json(self)
    }

    /// Paths that differ between two trees, in order: added, removed or changed.
    pub fn differs(&self, other: &Self) -> Vec<String> {
        let only = |a: &Self, b: &Self| -> Vec<String> {
            a.entries
                .iter()
                .filter(|entry| !b.entries.contains(entry))
                .map(|entry| entry.path.clone())
                .collect()
        };
        let mut paths = only(self, other);
        paths.extend(only(other, self));
        paths.sort();
        paths.dedup();
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::of_bytes;

    fn file(path: &str, text: &str, executable: bool) -> TreeEntry {
        TreeEntry {
            path: path.into(),
            executable,
            content: of_bytes(text.as_bytes()),
            bytes: text.len() as u64,
        }
    }

    #[test]
    fn the_order_in_which_files_are_given_does_not_matter() {
        let one = Tree::new(vec![file("a", "1", false), file("b", "2", false)]);
        let two = Tree::new(vec![file("b", "2", false), file("a", "1", false)]);
        assert_eq!(one.digest().unwrap(), two.digest().unwrap());
        assert!(one.differs(&two).is_empty());
    }

    #[test]
    fn path_mode_and_content_each_change_the_digest_and_are_named() {
        let tree = Tree::new(vec![file("a", "1", false)]);
        for other in [
            file("a2", "1", false),
            file("a", "1", true),
            file("a", "2", false),
        ] {
            let path = other.path.clone();
            let other = Tree::new(vec![other]);
            assert_ne!(tree.digest().unwrap(), other.digest().unwrap());
            assert!(tree.differs(&other).contains(&path));
        }
    }
}
