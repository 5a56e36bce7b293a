//! How much the writable folders grow, and the clean-up of what must not stay in them.
//!
//! Walks by descriptor and never follows a link, because the command changes the tree meanwhile. What the
//! walk cannot enter it makes enterable when it is ours. Start at [`Watched`].

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

/// Deeper trees count as a broken limit.
const MAX_DEPTH: usize = 128;
/// The set-user-id and set-group-id bits.
const SET_ID: u32 = 0o6000;

/// What lies in a tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Size {
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
    /// Deeper than [`MAX_DEPTH`], or larger than the walk was allowed to count.
    pub(crate) beyond: bool,
    /// Files with a set-id bit, and directories that could not be entered.
    notable: HashSet<(u64, u64)>,
}

/// The writable folders of one sandbox, held open since before its start.
pub(crate) struct Watched {
    pub(crate) roots: Vec<OwnedFd>,
}

/// Why a walk is made.
#[derive(Clone, Copy)]
enum Aim<'a> {
    /// Before the start: notes what is notable and changes nothing.
    Before,
    /// Meanwhile: opens new directories that are closed to us.
    During(&'a Size),
    /// Afterwards: takes new set-id bits away, too.
    After(&'a Size),
}

impl Watched {
    /// Measures before the start.
    pub(crate) fn before(&self) -> Size {
        self.walk_all(Aim::Before, u64::MAX)
    }

    /// Measures meanwhile; stops counting above `most_inodes`.
    pub(crate) fn during(&self, before: &Size, most_inodes: u64) -> Size {
        self.walk_all(Aim::During(before), most_inodes)
    }

    /// Measures at the end, and takes the set-id bits off files that did not have them before.
    pub(crate) fn after(&self, before: &Size) -> Size {
        self.walk_all(Aim::After(before), u64::MAX)
    }

    fn walk_all(&self, aim: Aim<'_>, most_inodes: u64) -> Size {
        let mut size = Size::default();
        let mut seen = HashSet::new();
        for root in &self.roots {
            let Ok(meta) = rustix::fs::fstat(root) else {
                continue;
            };
            if FileType::from_raw_mode(meta.st_mode) == FileType::Directory {
                if let Ok(fd) = open_dir(root.as_fd(), c".") {
                    walk(
                        &fd,
                        0,
                        &mut Walk {
                            size: &mut size,
                            seen: &mut seen,
                            aim,
                            most_inodes,
                        },
                    );
                }
            } else {
                size.bytes += allocated(&meta);
            }
        }
        size
    }
}

struct Walk<'a> {
    size: &'a mut Size,
    /// Files with several names, counted once.
    seen: &'a mut HashSet<(u64, u64)>,
    aim: Aim<'a>,
    most_inodes: u64,
}

fn allocated(meta: &rustix::fs::Stat) -> u64 {
    meta.st_blocks.cast_unsigned() * 512
}

fn open_dir(at: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

fn walk(dir: &OwnedFd, depth: usize, state: &mut Walk<'_>) {
    if depth > MAX_DEPTH {
        state.size.beyond = true;
        return;
    }
    let Ok(entries) = Dir::read_from(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        if state.size.inodes > state.most_inodes {
            state.size.beyond = true;
            return;
        }
        let Ok(meta) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        if meta.st_nlink > 1
            && FileType::from_raw_mode(meta.st_mode) != FileType::Directory
            && !state.seen.insert((meta.st_dev, meta.st_ino))
        {
            continue;
        }
        state.size.inodes += 1;
        state.size.bytes += allocated(&meta);
        match FileType::from_raw_mode(meta.st_mode) {
            FileType::Directory => {
                if let Some(fd) = state.enter(dir, name, &meta) {
                    walk(&fd, depth + 1, state);
                }
            }
            FileType::RegularFile if meta.st_mode & SET_ID != 0 => state.set_id(dir, name, &meta),
            _ => {}
        }
    }
}

impl Walk<'_> {
    /// Opens a subdirectory; a new one of ours that is closed to us is opened up first.
    fn enter(&mut self, dir: &OwnedFd, name: &CStr, meta: &rustix::fs::Stat) -> Option<OwnedFd> {
        if let Ok(fd) = open_dir(dir.as_fd(), name) {
            return Some(fd);
        }
        let identity = (meta.st_dev, meta.st_ino);
        let (Aim::During(before) | Aim::After(before)) = self.aim else {
            self.size.notable.insert(identity);
            return None;
        };
        if before.notable.contains(&identity) || meta.st_uid != rustix::process::geteuid().as_raw()
        {
            return None;
        }
        change_mode(dir, name, (meta.st_mode & 0o777) | 0o700)?;
        open_dir(dir.as_fd(), name).ok()
    }

    fn set_id(&mut self, dir: &OwnedFd, name: &CStr, meta: &rustix::fs::Stat) {
        let identity = (meta.st_dev, meta.st_ino);
        match self.aim {
            Aim::Before => {
                self.size.notable.insert(identity);
            }
            Aim::During(_) => {}
            Aim::After(before) => {
                if !before.notable.contains(&identity) {
                    change_mode(dir, name, meta.st_mode & 0o1777);
                }
            }
        }
    }
}

/// Changes the mode of exactly this entry, never of what a link points to.
fn change_mode(dir: &OwnedFd, name: &CStr, mode: u32) -> Option<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty()).ok()?;
    if FileType::from_raw_mode(rustix::fs::fstat(&fd).ok()?.st_mode) == FileType::Symlink {
        return None;
    }
    // The link in /proc leads to the opened inode itself, whatever its name means by now.
    rustix::fs::chmod(
        format!("/proc/self/fd/{}", fd.as_raw_fd()),
        Mode::from_raw_mode(mode),
    )
    .ok()
}
