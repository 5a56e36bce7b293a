//! What a coder left in the workspace, looked at as what it is: something an untrusted program wrote.
//!
//! Nothing is followed, nothing is opened that is not a regular file, and a tree that is not plain is refused as a
//! whole. Start at [`inspect`].

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use sha2::{Digest, Sha256};

use crate::coder::CoderLimits;
use crate::protected::Protected;

/// Deepest directory.
const MAX_DEPTH: usize = 16;
/// Longest relative path.
const MAX_PATH_BYTES: usize = 255;
/// Directory entries looked at, protected and left out ones included.
const MAX_ENTRIES: usize = 20_000;
/// What interpreters and agents leave beside the code: never taken, wherever it is.
const LEFT_OUT: &[&str] = &[
    "__pycache__",
    "node_modules",
    ".venv",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".claude",
    ".codex",
];

/// One regular file of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Relative to the workspace, with `/`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
}

/// Why a tree is not taken. The message names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeProblem {
    /// A symbolic link, wherever it leads.
    #[error("{0} is a symbolic link; the workspace may hold regular files only")]
    Link(String),
    /// A device, pipe or socket.
    #[error("{0} is a device, a pipe or a socket; the workspace may hold regular files only")]
    Special(String),
    /// Set-user-id, set-group-id.
    #[error("{0} would run with another identity (set-user-id or set-group-id); remove the bit")]
    Identity(String),
    /// A file with a second name, perhaps outside.
    #[error("{0} has more than one name (hard link); write it as a file of its own")]
    HardLink(String),
    /// A name that other systems or tools cannot hold.
    #[error(
        "{0} is not a usable name: it is not UTF-8, has control characters or is too long or too deep"
    )]
    Name(String),
    /// Too many files.
    #[error("the workspace holds more than {limit} files; write fewer")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// One file is too large.
    #[error(
        "{path} is larger than {limit} bytes; write less, or create data when the program runs"
    )]
    TooLarge {
        /// Which file.
        path: String,
        /// The limit.
        limit: u64,
    },
    /// All together are too large.
    #[error("the workspace is larger than {limit} bytes; write less")]
    TooLargeTogether {
        /// The limit.
        limit: u64,
    },
    /// The system refused something.
    #[error("cannot look at {path}: {why}")]
    Unreadable {
        /// Which file or directory.
        path: String,
        /// The system's answer.
        why: String,
    },
}

/// Looks at everything a coder left, protected names and caches left out, sorted by path.
///
/// Call it after every coder and take only what it returns, by the digests it returns.
///
/// # Errors
/// The first [`TreeProblem`]; then nothing of the tree may be taken.
pub fn inspect(
    dir: &Path,
    limits: &CoderLimits,
    protected: &Protected,
) -> Result<Vec<FileEntry>, TreeProblem> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(dir, flags, Mode::empty())
        .map_err(|e| unreadable(&dir.to_string_lossy(), e))?;
    let mut walk = Walk {
        limits,
        protected,
        found: Vec::new(),
        total: 0,
        seen: 0,
    };
    walk.directory(&root, Path::new(""), 0)?;
    walk.found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.found)
}

fn unreadable(path: &str, why: impl std::fmt::Display) -> TreeProblem {
    TreeProblem::Unreadable {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

struct Walk<'a> {
    limits: &'a CoderLimits,
    protected: &'a Protected,
    found: Vec<FileEntry>,
    total: u64,
    seen: usize,
}

impl Walk<'_> {
    fn directory(&mut self, dir: &OwnedFd, at: &Path, depth: usize) -> Result<(), TreeProblem> {
        let shown = at.to_string_lossy().into_owned();
        let entries = Dir::read_from(dir).map_err(|e| unreadable(&shown, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| unreadable(&shown, e))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            self.seen += 1;
            if self.seen > MAX_ENTRIES {
                return Err(TreeProblem::TooMany { limit: MAX_ENTRIES });
            }
            let path = at.join(name);
            if self.protected.covers(&path) || LEFT_OUT.iter().any(|left| name == *left) {
                continue;
            }
            self.entry(dir, name, &path, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        dir: &OwnedFd,
        name: &OsStr,
        path: &Path,
        depth: usize,
    ) -> Result<(), TreeProblem> {
        let shown = path.to_string_lossy().into_owned();
        let usable = path.to_str().is_some_and(|text| {
            text.len() <= MAX_PATH_BYTES && !text.chars().any(|c| c.is_control() || c == '\\')
        });
        if !usable || depth >= MAX_DEPTH {
            return Err(TreeProblem::Name(shown.escape_debug().to_string()));
        }
        let meta = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| unreadable(&shown, e))?;
        let mode = Mode::from_raw_mode(meta.st_mode);
        match FileType::from_raw_mode(meta.st_mode) {
            FileType::Symlink => return Err(TreeProblem::Link(shown)),
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(dir, name, flags, Mode::empty())
                    .map_err(|e| unreadable(&shown, e))?;
                return self.directory(&below, path, depth + 1);
            }
            FileType::RegularFile => {}
            _ => return Err(TreeProblem::Special(shown)),
        }
        if mode.intersects(Mode::SUID | Mode::SGID) {
            return Err(TreeProblem::Identity(shown));
        }
        if meta.st_nlink > 1 {
            return Err(TreeProblem::HardLink(shown));
        }
        if self.found.len() >= self.limits.files {
            let limit = self.limits.files;
            return Err(TreeProblem::TooMany { limit });
        }
        let (bytes, sha256) = self.content(dir, name, &shown)?;
        self.total = self.total.saturating_add(bytes);
        if self.total > self.limits.total_bytes {
            let limit = self.limits.total_bytes;
            return Err(TreeProblem::TooLargeTogether { limit });
        }
        self.found.push(FileEntry {
            path: shown,
            bytes,
            executable: mode.contains(Mode::XUSR),
            sha256,
        });
        Ok(())
    }

    /// Reads what is there now, up to the limit, whatever its size was said to be.
    fn content(
        &self,
        dir: &OwnedFd,
        name: &OsStr,
        shown: &str,
    ) -> Result<(u64, String), TreeProblem> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, name, flags, Mode::empty())
            .map_err(|e| unreadable(shown, e))?;
        let limit = self.limits.file_bytes;
        let mut file = std::fs::File::from(fd).take(limit.saturating_add(1));
        let mut hash = Sha256::new();
        let mut chunk = vec![0_u8; 64 * 1024];
        let mut bytes = 0_u64;
        loop {
            let read = file.read(&mut chunk).map_err(|e| unreadable(shown, e))?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
            hash.update(&chunk[..read]);
        }
        if bytes > limit {
            let path = shown.to_owned();
            return Err(TreeProblem::TooLarge { path, limit });
        }
        let digest = hash.finalize();
        Ok((bytes, digest.iter().map(|b| format!("{b:02x}")).collect()))
    }
}
