//! Reading and writing below one directory that untrusted code can write to.
//!
//! Every path is resolved with `openat2(RESOLVE_BENEATH | NO_SYMLINKS | NO_MAGICLINKS)`, files are opened
//! non-blocking and must be regular: a planted symbolic link, pipe or device can neither lead us outside
//! nor hang us. Everything is bounded. Start at [`Root`].

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;
use serde::Serialize;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The most entries that are looked at below one directory.
pub(crate) const WALK_MAX: usize = 50_000;
/// The deepest directory that is looked into.
pub(crate) const DEPTH_MAX: usize = 40;
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// A directory; nothing outside it is ever touched.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
    shown: String,
}

/// What kind of thing an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink { target: String },
    Other { what: &'static str },
}

impl Kind {
    /// For people.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::File => "a regular file",
            Self::Directory => "a directory",
            Self::Symlink { .. } => "a symbolic link",
            Self::Other { what } => what,
        }
    }
}

/// One thing below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative to the root, parts joined with `/`.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) size: u64,
    /// Last change, nanoseconds since 1970.
    pub(crate) changed_ns: i128,
}

/// What is written into a fixture file.
pub(crate) struct NewFile<'a> {
    pub(crate) path: &'a str,
    pub(crate) content: &'a [u8],
    pub(crate) mode: u32,
    /// Last change; `None` is now.
    pub(crate) changed_at: Option<SystemTime>,
}

impl Root {
    /// Opens a directory of ours. `shown` is what people know it as (`/data/source`).
    pub(crate) fn open(path: &Path, shown: &str) -> Result<Self, String> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = fs::open(path, flags, Mode::empty())
            .map_err(|error| format!("cannot open {}: {error}", path.display()))?;
        Ok(Self {
            fd,
            shown: shown.to_owned(),
        })
    }

    /// A path below it, as people know it.
    pub(crate) fn shown(&self, path: &str) -> String {
        format!("{}/{path}", self.shown)
    }

    /// Everything below it, sorted by path. Symbolic links are listed, never followed.
    pub(crate) fn walk(&self) -> Result<Vec<Entry>, String> {
        self.walk_up_to(WALK_MAX)
    }

    /// The same with another bound, for tests of the bound.
    pub(crate) fn walk_up_to(&self, most: usize) -> Result<Vec<Entry>, String> {
        let mut found = Vec::new();
        let mut open = vec![(String::new(), 0)];
        while let Some((directory, depth)) = open.pop() {
            let first = found.len();
            self.list(&directory, most, &mut found)?;
            for entry in &found[first..] {
                if entry.kind != Kind::Directory {
                    continue;
                }
                if depth + 1 >= DEPTH_MAX {
                    return Err(format!(
                        "{} is nested deeper than {DEPTH_MAX} directories",
                        self.shown(&entry.path)
                    ));
                }
                open.push((entry.path.clone(), depth + 1));
            }
        }
        found.sort_by(|a: &Entry, b: &Entry| a.path.cmp(&b.path));
        Ok(found)
    }

    fn list(&self, directory: &str, most: usize, found: &mut Vec<Entry>) -> Result<(), String> {
        let here = if directory.is_empty() { "." } else { directory };
        let failed = |error: Errno| format!("cannot list {}: {error}", self.shown(directory));
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = fs::openat2(&self.fd, here, flags, Mode::empty(), BENEATH).map_err(failed)?;
        for item in Dir::read_from(&fd).map_err(failed)? {
            let item = item.map_err(failed)?;
            if matches!(item.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if found.len() >= most {
                return Err(format!("{} holds more than {most} entries", self.shown));
            }
            let name = item.file_name().to_string_lossy();
            let path = match directory {
                "" => name.into_owned(),
                _ => format!("{directory}/{name}"),
            };
            match fs::statat(&fd, item.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => {
                    let target = || read_link(&fd, item.file_name());
                    found.push(entry(path, &stat, target));
                }
                // It went away while we looked; a running service may do that.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// What is at a path, without following anything; `None` when nothing is there.
    pub(crate) fn look(&self, path: &str) -> Result<Option<Entry>, String> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat2(&self.fd, path, flags, Mode::empty(), BENEATH) {
            Ok(fd) => {
                let stat = fs::fstat(&fd).map_err(|error| self.failed("look at", path, error))?;
                Ok(Some(entry(path.to_owned(), &stat, String::new)))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(self.failed("look at", path, error)),
        }
    }

    /// Opens a regular file for reading.
    pub(crate) fn open_file(&self, path: &str) -> Result<(File, Entry), String> {
        let flags =
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = fs::openat2(&self.fd, path, flags, Mode::empty(), BENEATH)
            .map_err(|error| self.failed("open", path, error))?;
        let stat = fs::fstat(&fd).map_err(|error| self.failed("look at", path, error))?;
        let entry = entry(path.to_owned(), &stat, String::new);
        if entry.kind == Kind::File {
            Ok((File::from(fd), entry))
        } else {
            Err(format!(
                "{} is {}, not a regular file",
                self.shown(path),
                entry.kind.word()
            ))
        }
    }

    /// Reads a regular file of at most `most` bytes.
    pub(crate) fn read(&self, path: &str, most: u64) -> Result<Vec<u8>, String> {
        let (file, entry) = self.open_file(path)?;
        let too_large = || format!("{} is larger than {most} bytes", self.shown(path));
        if entry.size > most {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        file.take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("cannot read {}: {error}", self.shown(path)))?;
        if bytes.len() as u64 > most {
            return Err(too_large());
        }
        Ok(bytes)
    }

    /// Makes a directory and those above it; one that is there is kept.
    pub(crate) fn make_directory(&self, path: &str) -> Result<(), String> {
        let mut upto = String::new();
        for part in path.split('/') {
            let parent = self.directory(&upto)?;
            match fs::mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(self.failed("make directory", path, error)),
            }
            if !upto.is_empty() {
                upto.push('/');
            }
            upto.push_str(part);
            // Fails when a link or a file stands there.
            self.directory(&upto)?;
        }
        Ok(())
    }

    fn directory(&self, path: &str) -> Result<OwnedFd, String> {
        let here = if path.is_empty() { "." } else { path };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        fs::openat2(&self.fd, here, flags, Mode::empty(), BENEATH)
            .map_err(|error| self.failed("open directory", path, error))
    }

    /// Writes a file anew, in place of whatever stands there.
    pub(crate) fn write(&self, new: &NewFile<'_>) -> Result<(), String> {
        let (parent, name) = match new.path.rsplit_once('/') {
            Some((parent, name)) => {
                self.make_directory(parent)?;
                (self.directory(parent)?, name)
            }
            None => (self.directory("")?, new.path),
        };
        match fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(self.failed("replace", new.path, error)),
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat2(&parent, name, flags, Mode::from_raw_mode(0o600), BENEATH)
            .map_err(|error| self.failed("write", new.path, error))?;
        let mut file = File::from(fd);
        file.write_all(new.content)
            .map_err(|error| format!("cannot write {}: {error}", self.shown(new.path)))?;
        fs::fchmod(file.as_fd(), Mode::from_raw_mode(new.mode))
            .map_err(|error| self.failed("set the mode of", new.path, error))?;
        if let Some(at) = new.changed_at {
            let time = timespec(at);
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            fs::futimens(file.as_fd(), &times)
                .map_err(|error| self.failed("set the age of", new.path, error))?;
        }
        Ok(())
    }

    /// Removes one file or link.
    pub(crate) fn remove(&self, path: &str) -> Result<(), String> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        fs::unlinkat(self.directory(parent)?, name, AtFlags::empty())
            .map_err(|error| self.failed("remove", path, error))
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&self, path: &str) -> Result<(), String> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        fs::unlinkat(self.directory(parent)?, name, AtFlags::REMOVEDIR)
            .map_err(|error| self.failed("remove directory", path, error))
    }

    fn failed(&self, what: &str, path: &str, error: Errno) -> String {
        let why = match error {
            Errno::LOOP => "a symbolic link is in the way".to_owned(),
            Errno::XDEV => "it leads outside the folder".to_owned(),
            error => error.to_string(),
        };
        format!("cannot {what} {}: {why}", self.shown(path))
    }
}

fn entry(path: String, stat: &fs::Stat, target: impl FnOnce() -> String) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink { target: target() },
        FileType::Fifo => Kind::Other {
            what: "a named pipe",
        },
        FileType::Socket => Kind::Other { what: "a socket" },
        FileType::CharacterDevice | FileType::BlockDevice => Kind::Other { what: "a device" },
        _ => Kind::Other {
            what: "something unknown",
        },
    };
    Entry {
        path,
        kind,
        mode: stat.st_mode & 0o7777,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        changed_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
    }
}

fn read_link(directory: &OwnedFd, name: &std::ffi::CStr) -> String {
    fs::readlinkat(directory, name, Vec::new())
        .map(|target| target.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn timespec(at: SystemTime) -> Timespec {
    let (seconds, nanos) = match at.duration_since(UNIX_EPOCH) {
        Ok(after) => (after.as_secs(), after.subsec_nanos()),
        Err(_) => (0, 0),
    };
    Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX),
        tv_nsec: i64::from(nanos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn file<'a>(path: &'a str, content: &'a [u8]) -> NewFile<'a> {
        NewFile {
            path,
            content,
            mode: 0o644,
            changed_at: None,
        }
    }

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path(), "/data/x").unwrap();
        (dir, root)
    }

    #[test]
    fn written_files_are_read_and_listed_with_mode_and_age() {
        let (_dir, root) = root();
        let at = UNIX_EPOCH + std::time::Duration::from_secs(86_400);
        root.write(&NewFile {
            path: "a/b.txt",
            content: b"hi",
            mode: 0o600,
            changed_at: Some(at),
        })
        .unwrap();
        let all = root.walk().unwrap();
        assert_eq!(
            all.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(),
            ["a", "a/b.txt"]
        );
        assert_eq!(
            (all[1].mode, all[1].size, all[1].changed_ns),
            (0o600, 2, 86_400_000_000_000)
        );
        assert_eq!(root.read("a/b.txt", 2).unwrap(), b"hi");
        assert!(
            root.read("a/b.txt", 1)
                .unwrap_err()
                .contains("larger than 1")
        );
    }

    #[test]
    fn a_planted_link_is_neither_read_nor_written_through() {
        let (dir, root) = root();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        symlink(outside.path().join("secret"), dir.path().join("link")).unwrap();
        symlink(outside.path(), dir.path().join("out")).unwrap();
        assert!(root.read("link", 10).unwrap_err().contains("symbolic link"));
        assert!(
            root.read("out/secret", 10)
                .unwrap_err()
                .contains("symbolic link")
        );
        assert!(root.write(&file("out/new", b"x")).is_err());
        assert!(root.make_directory("out/new").is_err());
        root.write(&file("link", b"mine")).unwrap();
        assert_eq!(
            std::fs::read_to_string(outside.path().join("secret")).unwrap(),
            "s"
        );
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(root.read("link", 10).unwrap(), b"mine");
    }

    #[test]
    fn a_pipe_does_not_hang_us() {
        let (dir, root) = root();
        fs::mknodat(
            fs::CWD,
            dir.path().join("pipe"),
            FileType::Fifo,
            Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
        assert!(root.read("pipe", 10).unwrap_err().contains("a named pipe"));
        assert_eq!(
            root.look("pipe").unwrap().unwrap().kind.word(),
            "a named pipe"
        );
        assert_eq!(root.look("none").unwrap(), None);
    }

    #[test]
    fn more_entries_or_depth_than_allowed_is_an_error() {
        let (_dir, root) = root();
        for name in ["a", "b", "c"] {
            root.write(&file(name, b"")).unwrap();
        }
        assert!(
            root.walk_up_to(2)
                .unwrap_err()
                .contains("more than 2 entries")
        );
        root.make_directory(&vec!["d"; DEPTH_MAX + 1].join("/"))
            .unwrap();
        assert!(root.walk().unwrap_err().contains("nested deeper"));
    }

    #[test]
    fn removing_takes_one_file() {
        let (_dir, root) = root();
        root.write(&file("d/a", b"")).unwrap();
        root.remove("d/a").unwrap();
        assert!(root.remove("d/a").is_err());
    }
}
