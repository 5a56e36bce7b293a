//! Unix sockets whose path is longer than the 107 bytes that the kernel takes.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// What fits into `sockaddr_un` with its closing NUL.
const SUN_PATH_MAX: usize = 107;

/// A path under which a socket can be bound or connected, however long its real one is. Usable while this
/// value lives, because it may go through an open directory.
#[derive(Debug)]
pub struct ReachableSocket {
    path: PathBuf,
    _dir: Option<File>,
}

impl ReachableSocket {
    /// Finds it. A short path is itself; a long one is reached through `/proc/self/fd/<its directory>`.
    ///
    /// # Errors
    /// When the directory cannot be opened, or the path names none.
    pub fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= SUN_PATH_MAX {
            return Ok(Self {
                path: path.to_owned(),
                _dir: None,
            });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let dir = File::open(parent)?;
        let path = Path::new("/proc/self/fd")
            .join(dir.as_raw_fd().to_string())
            .join(name);
        Ok(Self {
            path,
            _dir: Some(dir),
        })
    }

    /// The path to hand to `bind` or `connect`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
