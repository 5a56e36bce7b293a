//! The workspace from the host's side, while an untrusted program may be changing it: no link is followed, nothing
//! but regular files is opened, and a file is replaced, never written into.
//!
//! Start at [`WorkFiles`].

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use crate::error::CoderError;

/// Most directory entries that one look returns.
pub(crate) const MAX_LISTED: usize = 500;
/// Deepest directory that is listed.
const MAX_DEPTH: usize = 12;

/// An opened workspace.
pub(crate) struct WorkFiles {
    root: OwnedFd,
    dir: PathBuf,
    owner: (u32, u32),
}

/// What a read of the host's side found.
pub(crate) struct Content {
    /// Up to the limit.
    pub(crate) bytes: Vec<u8>,
    /// Whether there is more.
    pub(crate) cut: bool,
}

impl WorkFiles {
    /// Opens the workspace's directory.
    ///
    /// # Errors
    /// [`CoderError::Workspace`].
    pub(crate) fn open(dir: &Path) -> Result<Self, CoderError> {
        let failed = |e: Errno| CoderError::workspace("open the workspace", dir, e);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(dir, flags, Mode::empty()).map_err(failed)?;
        let meta = rustix::fs::fstat(&root).map_err(failed)?;
        Ok(Self {
            root,
            dir: dir.to_owned(),
            owner: (meta.st_uid, meta.st_gid),
        })
    }

    /// Reads a regular file, at most `limit` bytes of it.
    pub(crate) fn read(&self, path: &str, limit: u64) -> io::Result<Content> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = self.beneath(path, flags)?;
        let meta = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(meta.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        let mut file = std::fs::File::from(fd).take(limit.saturating_add(1));
        file.read_to_end(&mut bytes)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let cut = bytes.len() > limit;
        bytes.truncate(limit);
        Ok(Content { bytes, cut })
    }

    /// Puts a file there, whatever was there before except a directory. Its mode stays.
    ///
    /// The path must have been checked; links on the way are refused here all the same.
    pub(crate) fn write(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = self.directory(above)?;
        let old = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let executable = old.is_ok_and(|meta| meta.st_mode & 0o100 != 0);
        let mode = if executable || content.starts_with(b"#!") {
            0o755
        } else {
            0o644
        };
        let temporary = format!(".{}.aw-new", crate::unique());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&dir, &temporary, flags, Mode::from_raw_mode(mode))?;
        let written = self.fill(fd, content, mode).and_then(|()| {
            rustix::fs::renameat(&dir, &temporary, &dir, name).map_err(io::Error::from)
        });
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&dir, &temporary, AtFlags::empty());
        }
        written
    }

    fn fill(&self, fd: OwnedFd, content: &[u8], mode: u32) -> io::Result<()> {
        self.give(&fd)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
        std::fs::File::from(fd).write_all(content)
    }

    /// Relative paths of everything, directories with `/` at their end, sorted, bounded; links are named, not
    /// followed.
    pub(crate) fn list(&self, below: &str) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let top = if below.is_empty() {
            rustix::io::fcntl_dupfd_cloexec(&self.root, 3)?
        } else {
            self.beneath(below, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC)?
        };
        let mut waiting = vec![(top, below.to_owned(), 0_usize)];
        while let Some((dir, at, depth)) = waiting.pop() {
            for entry in rustix::fs::Dir::read_from(&dir)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if found.len() >= MAX_LISTED {
                    break;
                }
                if matches!(
                    name.as_str(),
                    "." | ".." | ".git" | "__pycache__" | "node_modules"
                ) {
                    continue;
                }
                let path = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}/{name}")
                };
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(&dir, entry.file_name(), flags, Mode::empty()) {
                    Ok(inner) => {
                        found.push(format!("{path}/"));
                        if depth < MAX_DEPTH {
                            waiting.push((inner, path, depth + 1));
                        }
                    }
                    Err(_) => found.push(path),
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Opens the directory a file goes into, making what is missing on the way.
    fn directory(&self, path: &str) -> io::Result<OwnedFd> {
        let mut dir = rustix::io::fcntl_dupfd_cloexec(&self.root, 3)?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = match rustix::fs::openat(&dir, part, flags, Mode::empty()) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&dir, part, Mode::from_raw_mode(0o755))?;
                    let made = rustix::fs::openat(&dir, part, flags, Mode::empty())?;
                    self.give(&made)?;
                    made
                }
                other => other?,
            };
            dir = below;
        }
        Ok(dir)
    }

    /// What a root daemon makes belongs to the workspace's owner, as what the sandbox makes does.
    fn give(&self, fd: &OwnedFd) -> io::Result<()> {
        if rustix::process::geteuid().is_root() && self.owner != (0, 0) {
            let (uid, gid) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
            rustix::fs::fchown(fd, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    fn beneath(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve).map_err(|e| match e {
            Errno::LOOP | Errno::XDEV => io::Error::other("it is or crosses a link"),
            other => other.into(),
        })
    }

    /// For errors.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> (tempfile::TempDir, WorkFiles) {
        let dir = tempfile::tempdir().unwrap();
        let files = WorkFiles::open(dir.path()).unwrap();
        (dir, files)
    }

    #[test]
    fn what_is_written_is_read_back_and_directories_are_made() {
        let (dir, files) = opened();
        files.write("a/b/run.sh", b"#!/bin/sh\n").unwrap();
        files.write("a/b/run.sh", b"#!/bin/sh\nexit 0\n").unwrap();
        let content = files.read("a/b/run.sh", 10).unwrap();
        assert_eq!(
            (content.bytes.as_slice(), content.cut),
            (&b"#!/bin/sh\n"[..], true)
        );
        assert_eq!(files.list("").unwrap(), ["a/", "a/b/", "a/b/run.sh"]);
        assert_eq!(files.list("a/b").unwrap(), ["a/b/run.sh"]);
        use std::os::unix::fs::PermissionsExt;
        let mode = dir
            .path()
            .join("a/b/run.sh")
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn links_pipes_and_ways_out_are_refused_and_nothing_outside_is_touched() {
        let (dir, files) = opened();
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret");
        std::fs::write(&secret, "kept").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
        std::os::unix::fs::symlink(&secret, dir.path().join("file")).unwrap();
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            dir.path().join("fifo"),
            Mode::from_raw_mode(0o644),
        )
        .unwrap();
        for path in ["out/secret", "file", "fifo", "../x", "/etc/passwd"] {
            assert!(files.read(path, 100).is_err(), "{path}");
        }
        assert!(files.write("out/secret", b"lost").is_err());
        assert!(files.list("out").is_err());
        files.write("file", b"mine").unwrap();
        files.write("fifo", b"mine").unwrap();
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "kept");
        assert_eq!(files.read("file", 100).unwrap().bytes, b"mine");
    }
}
