//! The data directory: made, checked, locked, and left as clean as it was found.

use agentwright_api::Health;
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

/// Held exclusively by the daemon for its whole life; has its process id.
const LOCK: &str = "daemon.lock";
/// The settings.
const CONFIG: &str = "config.toml";
/// Who the daemon is, for programs that only read files.
const CARD: &str = "daemon.json";
/// A directory with one of these is ours.
const MARKS: &[&str] = &[
    "agentwright.db",
    LOCK,
    CONFIG,
    "daemon.start.log",
    "auth.key",
];

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Another daemon has it.
    #[error("a daemon of {dir} is already running{}: use it, or end it with agentwright daemon stop", process(.pid))]
    Running {
        /// The data directory.
        dir: PathBuf,
        /// Its process, where it could be read.
        pid: Option<u32>,
    },
    /// It holds something else.
    #[error(
        "{0} holds other files and is no data directory of agentwright: choose an empty or a new directory with --data"
    )]
    NotOurs(PathBuf),
    /// It belongs to somebody else.
    #[error(
        "{dir} belongs to user {owner}, not to user {us}: choose a directory of your own with --data"
    )]
    Foreign {
        /// The data directory.
        dir: PathBuf,
        /// Its owner.
        owner: u32,
        /// The daemon's user.
        us: u32,
    },
    /// It was taken away under a running daemon.
    #[error(
        "the data directory {0} was removed or replaced while the daemon ran; this daemon ends"
    )]
    Gone(PathBuf),
    /// It cannot be written.
    #[error(
        "cannot write in the data directory {dir}: {source}; check owner, mode, mount and free room, or choose another with --data"
    )]
    Unwritable {
        /// The data directory.
        dir: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

fn process(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// The data directory, held.
#[derive(Debug)]
pub(crate) struct Held {
    dir: PathBuf,
    lock: File,
}

impl Held {
    /// Makes the directory where it is missing (mode 0700), checks it and takes its lock.
    pub(crate) fn take(dir: &Path) -> Result<Self, PlaceError> {
        let unwritable = |source| PlaceError::Unwritable {
            dir: dir.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(unwritable)?;
        check(dir)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(LOCK))
            .map_err(unwritable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(PlaceError::Running {
                    dir: dir.to_owned(),
                    pid: read_pid(&mut lock),
                });
            }
            Err(error) => return Err(unwritable(error.into())),
        }
        write_pid(&mut lock).map_err(unwritable)?;
        close_to_others(dir).map_err(unwritable)?;
        forget_snapshots(dir);
        Ok(Self {
            dir: dir.to_owned(),
            lock,
        })
    }

    /// Writes who the daemon is; whole or not at all.
    pub(crate) fn announce(&self, health: &Health) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(health).map_err(io::Error::other)?;
        self.write(CARD, &text)
    }

    /// Writes the configuration of a first start, where there is none. Whether it did.
    pub(crate) fn configure(&self, text: &str) -> io::Result<bool> {
        if self.dir.join(CONFIG).exists() {
            return Ok(false);
        }
        self.write(CONFIG, text.as_bytes())?;
        Ok(true)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let beside = self.dir.join(format!("{name}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(beside, self.dir.join(name))
    }

    /// Whether the directory is still the one that was locked. Somebody may have removed it, and another
    /// daemon may have made a new one in its place.
    pub(crate) fn is_ours(&self) -> bool {
        let there = self.dir.join(LOCK).metadata();
        match (self.lock.metadata(), there) {
            (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
            (Ok(_) | Err(_), _) => false,
        }
    }

    /// Takes away what only a running daemon has; the lock goes with this value.
    pub(crate) fn leave(&self) {
        if self.is_ours() {
            let _ = std::fs::remove_file(self.dir.join(CARD));
        }
    }
}

fn check(dir: &Path) -> Result<(), PlaceError> {
    let unreadable = |source| PlaceError::Unwritable {
        dir: dir.to_owned(),
        source,
    };
    let (owner, us) = (
        dir.metadata().map_err(unreadable)?.uid(),
        rustix::process::geteuid().as_raw(),
    );
    if owner != us {
        return Err(PlaceError::Foreign {
            dir: dir.to_owned(),
            owner,
            us,
        });
    }
    let empty = std::fs::read_dir(dir).map_err(unreadable)?.next().is_none();
    let ours = MARKS.iter().any(|mark| dir.join(mark).exists());
    if empty || ours {
        Ok(())
    } else {
        Err(PlaceError::NotOurs(dir.to_owned()))
    }
}

/// Whether a daemon could start here, without touching anything: what it would find.
pub(crate) fn look(dir: &Path) -> Result<Found, PlaceError> {
    if !dir.exists() {
        return Ok(Found::Nothing);
    }
    check(dir)?;
    let Ok(mut lock) = File::open(dir.join(LOCK)) else {
        return Ok(Found::Ours);
    };
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(PlaceError::Running {
            dir: dir.to_owned(),
            pid: read_pid(&mut lock),
        }),
        // Given back when the file is closed, on return.
        Ok(()) | Err(_) => Ok(Found::Ours),
    }
}

/// What is in a place.
pub(crate) enum Found {
    /// It would be made.
    Nothing,
    /// A data directory, or an empty one.
    Ours,
}

/// Copies of the database whose backup was given up.
fn forget_snapshots(dir: &Path) {
    let all = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in all {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(crate::backup::SNAPSHOT) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whoever can reach the socket may do anything, so nobody else may enter.
fn close_to_others(dir: &Path) -> io::Result<()> {
    let mut permissions = dir.metadata()?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o700);
        std::fs::set_permissions(dir, permissions)?;
    }
    Ok(())
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// The name of a user, or `uid N` where the machine has none for it.
pub(crate) fn user_name(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("uid {uid}"))
}
