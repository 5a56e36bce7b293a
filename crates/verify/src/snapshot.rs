//! What a folder holds at one moment, and what differs between two moments.
//!
//! What counts as a change: a path that appears or goes, its type, its permission bits, its size, its
//! content, the target of a link. What does not: times (they are listed in the evidence), owners (the
//! walls map them), directories' sizes.

use crate::beneath::{Kind, Root};
use globset::GlobSet;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::Read;

/// The most bytes of content that one snapshot reads.
pub(crate) const CONTENT_MAX: u64 = 512 << 20;

/// Path → what was there.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Snapshot(BTreeMap<String, Seen>);

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Seen {
    #[serde(flatten)]
    kind: Kind,
    mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    changed_ns: i128,
}

impl Seen {
    fn differs(&self, other: &Self) -> Option<&'static str> {
        if self.kind != other.kind {
            Some("is of another type")
        } else if self.mode != other.mode {
            Some("has another mode")
        } else if self.size != other.size || self.sha256 != other.sha256 {
            Some("has other content")
        } else {
            None
        }
    }
}

impl Snapshot {
    /// Reads everything below a directory.
    pub(crate) fn take(root: &Root) -> Result<Self, String> {
        let mut left = CONTENT_MAX;
        let mut seen = BTreeMap::new();
        for entry in root.walk()? {
            let regular = entry.kind == Kind::File;
            let sha256 = if regular {
                if entry.size > left {
                    return Err(format!(
                        "{} holds more than {CONTENT_MAX} bytes, too much to compare",
                        root.shown("")
                    ));
                }
                left -= entry.size;
                match hash(root, &entry.path, entry.size) {
                    Ok(hash) => Some(hash),
                    // It went away while we looked.
                    Err(_) if matches!(root.look(&entry.path), Ok(None)) => continue,
                    Err(error) => return Err(error),
                }
            } else {
                None
            };
            seen.insert(
                entry.path,
                Seen {
                    kind: entry.kind,
                    mode: format!("{:o}", entry.mode),
                    size: regular.then_some(entry.size),
                    sha256,
                    changed_ns: entry.changed_ns,
                },
            );
        }
        Ok(Self(seen))
    }

    /// What differs in `now`, one line each, leaving out paths that match.
    pub(crate) fn changes(&self, now: &Self, except: &GlobSet) -> Vec<String> {
        let mut changes = Vec::new();
        let paths: std::collections::BTreeSet<&String> =
            self.0.keys().chain(now.0.keys()).collect();
        for path in paths {
            if except.is_match(path) {
                continue;
            }
            match (self.0.get(path), now.0.get(path)) {
                (Some(_), None) => changes.push(format!("{path} is gone")),
                // A new directory that holds something excepted was needed for it.
                (None, Some(is)) if is.kind == Kind::Directory && now.holds(path, except) => {}
                (None, Some(_)) => changes.push(format!("{path} is new")),
                (Some(was), Some(is)) => {
                    if let Some(how) = was.differs(is) {
                        changes.push(format!("{path} {how}"));
                    }
                }
                (None, None) => {}
            }
        }
        changes
    }

    fn holds(&self, directory: &str, wanted: &GlobSet) -> bool {
        let below = format!("{directory}/");
        self.0
            .range(below.clone()..)
            .take_while(|(path, _)| path.starts_with(&below))
            .any(|(path, _)| wanted.is_match(path))
    }

    /// Takes over into this snapshot what we ourselves changed between two others.
    pub(crate) fn adopt(&mut self, before: &Self, after: &Self) {
        for path in before.0.keys() {
            if !after.0.contains_key(path) {
                self.0.remove(path);
            }
        }
        for (path, seen) in &after.0 {
            if before.0.get(path) != Some(seen) {
                self.0.insert(path.clone(), seen.clone());
            }
        }
    }

    /// Number of paths.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

fn hash(root: &Root, path: &str, size: u64) -> Result<String, String> {
    let (file, _) = root.open_file(path)?;
    let mut file = file.take(size + 1);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = file
            .read(&mut buffer)
            .map_err(|error| format!("cannot read {}: {error}", root.shown(path)))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
    }
    Ok(
        agentwright_domain::digest::Digest::from_sha256(hasher.finalize().into())
            .hex()
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beneath::NewFile;
    use std::os::unix::fs::PermissionsExt;

    fn write(root: &Root, path: &str, content: &str) {
        root.write(&NewFile {
            path,
            content: content.as_bytes(),
            mode: 0o644,
            changed_at: None,
        })
        .unwrap();
    }

    #[test]
    fn new_gone_and_changed_paths_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path(), "/data/x").unwrap();
        for name in ["content", "mode", "gone", "same", "type"] {
            write(&root, name, "1");
        }
        let before = Snapshot::take(&root).unwrap();
        write(&root, "content", "2");
        write(&root, "same", "1");
        write(&root, "sub/new", "");
        root.remove("gone").unwrap();
        root.remove("type").unwrap();
        std::os::unix::fs::symlink("same", dir.path().join("type")).unwrap();
        std::fs::set_permissions(
            dir.path().join("mode"),
            std::fs::Permissions::from_mode(0o600),
        )
        .unwrap();
        let after = Snapshot::take(&root).unwrap();
        assert_eq!(
            before.changes(&after, &GlobSet::empty()),
            [
                "content has other content",
                "gone is gone",
                "mode has another mode",
                "sub is new",
                "sub/new is new",
                "type is of another type"
            ]
        );
        let except =
            crate::probe::glob::set(&["{content,gone,mode,type}".into(), "sub/*".into()]).unwrap();
        assert!(before.changes(&after, &except).is_empty());
    }

    #[test]
    fn what_we_changed_ourselves_is_not_held_against_the_code() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path(), "/data/x").unwrap();
        write(&root, "a", "1");
        let mut baseline = Snapshot::take(&root).unwrap();
        write(&root, "by-code", "x");
        let before = Snapshot::take(&root).unwrap();
        write(&root, "a", "2");
        write(&root, "ours", "x");
        let after = Snapshot::take(&root).unwrap();
        baseline.adopt(&before, &after);
        assert_eq!(
            baseline.changes(&after, &GlobSet::empty()),
            ["by-code is new"]
        );
    }

    #[test]
    fn a_huge_file_is_refused_and_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path(), "/data/x").unwrap();
        std::fs::File::create(dir.path().join("huge"))
            .unwrap()
            .set_len(CONTENT_MAX + 1)
            .unwrap();
        assert!(
            Snapshot::take(&root)
                .unwrap_err()
                .contains("too much to compare")
        );
    }
}
