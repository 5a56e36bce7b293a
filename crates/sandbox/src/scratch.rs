//! Private directories of sandboxes without a mount namespace, and the sweeping of those that were left.
//!
//! Tier `full` needs none of this: its scratch lives in memory and dies with it. Start at [`Scratch::make`].

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Directories of ours begin with this, followed by the daemon's process id and a number.
const PREFIX: &str = "run-";

static NEXT: AtomicU64 = AtomicU64::new(0);

/// The directory of one sandbox, with `state` and `tmp` in it; removed when dropped.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn make(root: &Path, owner: Option<(u32, u32)>) -> io::Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let scratch = Self {
            path: root.join(format!("{PREFIX}{}-{number}", std::process::id())),
        };
        for path in [
            scratch.path.clone(),
            scratch.path.join("state"),
            scratch.path.join("tmp"),
        ] {
            private_dir(&path)?;
            if let Some((uid, gid)) = owner {
                chown(&path, Some(uid), Some(gid))?;
            }
        }
        Ok(scratch)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Makes the root, 0700, and removes the directories of daemons that are gone.
pub(crate) fn open_root(root: &Path) -> io::Result<()> {
    if !root.is_dir() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)?;
    }
    for entry in fs::read_dir(root)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-'))
            .and_then(|(pid, _)| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}
