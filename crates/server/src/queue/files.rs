//! `BUILD_QUEUE.md`, brought together with the store whenever it changes. What is written about builds beside it is
//! in `written.rs`.
//!
//! The directory is looked at every second, not watched: editors replace files, and network file systems tell
//! nobody. A file that is still being written is left until it rests.

use super::edit::{append, write};
use super::{Entry, From};
use crate::app::App;
use crate::error::ApiError;
use agentwright_domain::ids::Slug;
use agentwright_queue::Item;
use agentwright_queue::file::{self, Problem, merge};
use agentwright_queue::start::Standing;
use agentwright_store::OrgScope;
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The file.
const QUEUE: &str = "BUILD_QUEUE.md";
/// Problems that are logged of one reading.
const LOGGED: usize = 10;
/// Edits that are kept beside the file; with more nothing is written until somebody looks at them.
const CONFLICTS_MAX: u32 = 20;
/// Tries of a merge whose file changes under its hands.
const TRIES: u32 = 5;

/// What the file looked like when it was last read.
#[derive(Default)]
pub(crate) struct Watch {
    /// After the last merge.
    known: Option<Stamp>,
    /// At the last look: what is the same twice rests.
    last: Option<Stamp>,
    told: Option<String>,
    revision: Option<i64>,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    Missing,
    There {
        inode: u64,
        bytes: u64,
        changed: (i64, i64),
    },
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => Ok(Stamp::There {
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        }),
        Ok(_) => Err(io::Error::other(
            "it is no plain file: links and directories are not followed",
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Stamp::Missing),
        Err(error) => Err(error),
    }
}

/// Brings file and store together when one of them changed; `true` when the store did by it.
pub(crate) async fn sync(app: &App, watch: &mut Watch) -> Result<bool, ApiError> {
    let Some(dir) = app.config().settings.queue.dir.clone() else {
        return Ok(false);
    };
    let path = dir.join(QUEUE);
    let now = match stamp(&path) {
        Ok(now) => now,
        Err(error) => return Ok(tell(watch, format!("{}: {error}", path.display()))),
    };
    let rests = watch.last == Some(now);
    watch.last = Some(now);
    let revision = app.store().backlog_revision(&OrgScope::local()).await?;
    if watch.known == Some(now) && watch.revision == Some(revision) {
        return Ok(false);
    }
    // The first look, and a change of the store, need no rest of the file beyond what it has had.
    if !rests && watch.known.is_some() {
        return Ok(false);
    }
    let mut rested = now;
    for _ in 0..TRIES {
        match bring_together(app, &path, rested).await? {
            Brought::Again { stamp } => rested = stamp,
            // Left until it rests: what is being written is half of it.
            Brought::Moved => return Ok(false),
            Brought::Done { changed, stamp } => {
                watch.known = Some(stamp);
                watch.last = Some(stamp);
                watch.revision = Some(app.store().backlog_revision(&OrgScope::local()).await?);
                return Ok(changed);
            }
            Brought::Not(why) => {
                watch.known = Some(now);
                watch.revision = Some(revision);
                return Ok(tell(watch, why));
            }
        }
    }
    Ok(false)
}

/// Says it once, as long as it is the same.
fn tell(watch: &mut Watch, why: String) -> bool {
    if watch.told.as_ref() != Some(&why) {
        tracing::warn!(why, "the queue file is left as it is");
        watch.told = Some(why);
    }
    false
}

enum Brought {
    /// Both say the same now.
    Done {
        /// Whether the store changed.
        changed: bool,
        stamp: Stamp,
    },
    /// Somebody wrote the file meanwhile.
    Moved,
    /// Somebody wrote the store meanwhile; the file is as we wrote it.
    Again { stamp: Stamp },
    /// It cannot be, in words.
    Not(String),
}

/// `before` is what the file was when it rested: nothing is read or written of another state.
async fn bring_together(app: &App, path: &Path, before: Stamp) -> Result<Brought, ApiError> {
    let scope = OrgScope::local();
    let bytes = match read(path, before) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Brought::Moved),
        Err(why) => return Ok(Brought::Not(why)),
    };
    let text = match file::text(&bytes) {
        Ok(text) => text,
        Err(problem) => return Ok(Brought::Not(problem.to_string())),
    };
    let place = path.parent().unwrap_or(path).display().to_string();
    let zone = app.queue_zone().iana_name().unwrap_or("UTC").to_owned();
    let of = From {
        base_dir: &place,
        zone: &zone,
        now_ms: app.now_ms(),
    };
    let (mut changed, mut written) = (false, before);
    let merged = write(app, &scope, |entries| {
        let agreed = |entry: &Entry| {
            entry
                .idea
                .agreed
                .clone()
                .and_then(|json| serde_json::from_value(json).ok())
        };
        let base: Vec<Item> = entries.iter().filter_map(agreed).collect();
        let there = entries.iter().filter(|entry| !entry.is_removed());
        let store: Vec<Item> = there.map(|entry| entry.item.clone()).collect();
        let merged = merge(text, &base, &store);
        if written != before || stamp(path).ok() != Some(before) {
            return Ok(None);
        }
        if merged.text != text {
            // What we wrote, not what is there afterwards: a person may be quicker.
            let read = (before != Stamp::Missing).then_some(bytes.as_slice());
            match replace(path, read, &merged.text) {
                Ok(Some(stamp)) => written = stamp,
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(Err(format!("it cannot be written: {error}")))),
            }
        }
        changed = take(entries, &merged.items, &of);
        Ok(Some(Ok(merged.problems)))
    })
    .await?;
    match merged {
        None if written != before && stamp(path).ok() == Some(written) => {
            Ok(Brought::Again { stamp: written })
        }
        None => Ok(Brought::Moved),
        Some(Err(why)) => Ok(Brought::Not(why)),
        Some(Ok(problems)) => {
            told(path, &problems);
            Ok(Brought::Done {
                changed,
                stamp: written,
            })
        }
    }
}

/// The file's bytes, where it still is what it was; or why it cannot be read.
fn read(path: &Path, before: Stamp) -> Result<Option<Vec<u8>>, String> {
    let bytes = match before {
        Stamp::Missing => Vec::new(),
        Stamp::There { bytes, .. } if bytes > file::FILE_MAX_BYTES as u64 => {
            return Err(format!(
                "it has {bytes} bytes, and at most {} are read",
                file::FILE_MAX_BYTES
            ));
        }
        Stamp::There { .. } => std::fs::read(path).map_err(|error| error.to_string())?,
    };
    Ok((stamp(path).ok() == Some(before)).then_some(bytes))
}

fn told(path: &Path, problems: &[Problem]) {
    for problem in problems.iter().take(LOGGED) {
        tracing::info!("{}:{problem}", path.display());
    }
}

/// Takes over what both sides agreed on; `true` when something of the store is different by it.
fn take(entries: &mut Vec<Entry>, items: &[Item], of: &From<'_>) -> bool {
    let mut changed = false;
    // A removed one that the file does not have any more is gone; one that a person deleted from the file is,
    // too, unless it is being built.
    let agreed: HashSet<&Slug> = items.iter().map(|item| &item.label).collect();
    entries.retain_mut(|entry| {
        let stays = agreed.contains(entry.label());
        let building = entry.standing() == Standing::Building && !entry.is_removed();
        if !stays && building {
            entry.idea.agreed = None;
        }
        changed |= !stays && !building && !entry.is_removed();
        stays || building
    });
    let there = entries.iter().enumerate();
    let there: HashMap<Slug, usize> = there
        .map(|(at, entry)| (entry.label().clone(), at))
        .collect();
    for (position, item) in items.iter().enumerate() {
        let at = there.get(&item.label).copied().unwrap_or_else(|| {
            changed = true;
            append(entries, item.clone(), of);
            entries.len() - 1
        });
        let entry = &mut entries[at];
        if entry.item != *item {
            changed = true;
            let (was, is) = (entry.item.done, item.done);
            entry.item = item.clone();
            match (was, is) {
                // Ticked or unticked by a person.
                (false, true) => entry.stand(&Standing::Done),
                (true, false) => entry.stand(&Standing::Queued),
                (true, true) | (false, false) => {}
            }
        }
        if entry.is_removed() {
            // Changed by a person after it was removed here: theirs.
            entry.idea.status = String::new();
        }
        entry.idea.position = i64::try_from(position).unwrap_or(i64::MAX);
        entry.idea.agreed = serde_json::to_value(item).ok();
        entry.kept();
    }
    entries.sort_by_key(|entry| entry.idea.position);
    changed
}

/// Writes a file so that a reader sees the old one or the new one, never half of it. Answers what it looks like.
pub(super) fn put(path: &Path, text: &str) -> io::Result<Stamp> {
    let (beside, written) = lay_beside(path, text)?;
    std::fs::rename(&beside, path)?;
    Ok(written)
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn lay_beside(path: &Path, text: &str) -> io::Result<(PathBuf, Stamp)> {
    let beside = beside(path);
    match write_whole(&beside, path, text) {
        Ok(written) => Ok((beside, written)),
        Err(error) => {
            // Half of ours, on a full disk for example, must not look like somebody's edit to the next try.
            let _ = std::fs::remove_file(&beside);
            Err(error)
        }
    }
}

fn write_whole(beside: &Path, like: &Path, text: &str) -> io::Result<Stamp> {
    std::fs::write(beside, text)?;
    if let Ok(metadata) = like.metadata() {
        std::fs::set_permissions(beside, metadata.permissions())?;
    }
    std::fs::File::open(beside)?.sync_all()?;
    stamp(beside)
}

/// Writes a file in the place of the one that was read (`None`: there was none), and nothing where somebody wrote
/// another one since: then what they wrote stays and the answer is `None`.
///
/// The two are exchanged, and what comes out is held against what was read, so that no edit can fall between a
/// look and a rename. What an earlier try that was killed left there may be such an edit, and is kept.
fn replace(path: &Path, read: Option<&[u8]>, text: &str) -> io::Result<Option<Stamp>> {
    let left = beside(path);
    if left.symlink_metadata().is_ok() && !read.is_some_and(|read| holds(&left, read)) {
        keep_aside(&left, path)?;
    }
    let (beside, written) = lay_beside(path, text)?;
    let swap = |flags| rename_with(&beside, path, flags);
    let done = match read {
        None => match swap(RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(Some(written)),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error),
        },
        Some(read) => match swap(RenameFlags::EXCHANGE) {
            Ok(()) if holds(&beside, read) => Ok(true),
            Ok(()) => swap(RenameFlags::EXCHANGE).map(|()| false),
            // It was deleted since.
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(true) => {
            std::fs::remove_file(&beside)?;
            Ok(Some(written))
        }
        Ok(false) if holds(&beside, text.as_bytes()) => {
            std::fs::remove_file(&beside)?;
            Ok(None)
        }
        // Somebody was quick enough to edit what stood there for an instant.
        Ok(false) => {
            keep_aside(&beside, path)?;
            Ok(None)
        }
        // File systems that cannot exchange: the stamp was looked at just before.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            std::fs::rename(&beside, path)?;
            Ok(Some(written))
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives a file that may hold somebody's edit a name of its own beside the queue file.
fn keep_aside(from: &Path, path: &Path) -> io::Result<()> {
    for number in 1..=CONFLICTS_MAX {
        let ending = match number {
            1 => "conflict.md".to_owned(),
            _ => format!("conflict-{number}.md"),
        };
        let kept = path.with_extension(ending);
        if kept.symlink_metadata().is_ok() {
            continue;
        }
        std::fs::rename(from, &kept)?;
        tracing::warn!(
            kept = %kept.display(),
            "an edit of the queue file could not be placed: look whether it misses something, then delete it"
        );
        return Ok(());
    }
    let many = format!(
        "{CONFLICTS_MAX} edits of it lie beside it as BUILD_QUEUE.conflict….md: look through them and delete them"
    );
    Err(io::Error::other(many))
}

fn rename_with(from: &Path, to: &Path, flags: RenameFlags) -> Result<(), Errno> {
    rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, flags)
}

/// Whether a plain file has exactly these bytes.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    matches!(stamp(path), Ok(Stamp::There { bytes: size, .. }) if size == bytes.len() as u64)
        && std::fs::read(path).is_ok_and(|there| there == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_file_that_was_read_is_replaced_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(QUEUE);
        assert!(replace(&path, None, "first").unwrap().is_some());
        let written = replace(&path, Some(b"first"), "second").unwrap();
        assert_eq!(written, Some(stamp(&path).unwrap()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(names(dir.path()), [QUEUE]);
    }

    #[test]
    fn a_file_that_is_no_longer_what_it_was_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(QUEUE);
        assert_eq!(read(&path, Stamp::Missing), Ok(Some(Vec::new())));
        std::fs::write(&path, "whole").unwrap();
        assert_eq!(read(&path, Stamp::Missing), Ok(None));
        let whole = stamp(&path).unwrap();
        assert_eq!(read(&path, whole), Ok(Some(b"whole".to_vec())));
        // An editor empties it before it writes it anew.
        std::fs::write(&path, "").unwrap();
        assert_eq!(read(&path, whole), Ok(None));
    }

    #[test]
    fn what_somebody_wrote_since_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(QUEUE);
        std::fs::write(&path, "theirs").unwrap();
        assert_eq!(
            replace(&path, Some(b"as it was read"), "ours").unwrap(),
            None
        );
        assert_eq!(replace(&path, None, "ours").unwrap(), None);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(names(dir.path()), [QUEUE]);

        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            replace(&path, Some(b"as it was read"), "ours").unwrap(),
            None
        );
        assert!(names(dir.path()).is_empty());

        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert_eq!(
            replace(&path, Some(b"as it was read"), "ours").unwrap(),
            None
        );
        assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("elsewhere"));
        assert_eq!(names(dir.path()), [QUEUE]);
    }

    #[test]
    fn what_a_killed_try_left_beside_the_file_is_kept_and_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(QUEUE);
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        for (edit, kept) in [
            ("theirs", "BUILD_QUEUE.conflict.md"),
            ("another", "BUILD_QUEUE.conflict-2.md"),
        ] {
            std::fs::write(&path, "now").unwrap();
            std::fs::write(beside(&path), edit).unwrap();
            assert!(replace(&path, Some(b"now"), "ours").unwrap().is_some());
            assert_eq!((read(QUEUE).as_str(), read(kept).as_str()), ("ours", edit));
        }
        // What was read before the try was killed is nobody's edit.
        std::fs::write(beside(&path), "ours").unwrap();
        assert!(replace(&path, Some(b"ours"), "new").unwrap().is_some());
        assert_eq!(names(dir.path()).len(), 3);

        for number in 3..=CONFLICTS_MAX {
            let kept = path.with_extension(format!("conflict-{number}.md"));
            std::fs::write(kept, "unread").unwrap();
        }
        std::fs::write(beside(&path), "one more").unwrap();
        let full = replace(&path, Some(b"new"), "ours").unwrap_err();
        assert!(full.to_string().contains("look through them"), "{full}");
        assert_eq!(std::fs::read_to_string(beside(&path)).unwrap(), "one more");
    }
}
