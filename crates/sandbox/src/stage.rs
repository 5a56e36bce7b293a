//! Running as root: a spare identity for each sandbox, and declared folders shown to it as their owner.
//!
//! The identity is dropped before bubblewrap is executed. A folder below a 0700 home could then not be
//! reached, so each is cloned into an idmapped mount (the owner's id on disk is the spare id in the view),
//! and these are attached in a private mount namespace that dies with the sandbox. Start at [`Stage::prepare`].
//!
//! Not here: anything for ordinary users, who simply are the owner.
#![expect(
    unsafe_code,
    reason = "system calls between fork and exec, and those that no safe wrapper offers"
)]

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use crate::error::Error;
use crate::policy::Access;

/// Where spare identities begin, by preference: far above every system's own ids, else Debian's reserved range.
const IDENTITY_RANGES: &[(u32, u32)] = &[(2_100_000_000, 4096), (65_000, 500)];
/// Directories that exist everywhere, that nothing in the profile needs, and that everybody may enter.
const STAGING_POINTS: &[&str] = &["/mnt", "/media", "/srv", "/opt"];

/// A uid and gid that belong to nobody, taken for one sandbox.
pub(crate) struct Identity {
    pub(crate) id: u32,
    pool: Arc<Pool>,
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.pool
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .free
            .push(self.id);
    }
}

/// The spare identities and the user namespaces that map owners to them.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    free: Vec<u32>,
    used: u32,
    /// By owner uid, owner gid, spare id.
    namespaces: HashMap<(u32, u32, u32), Arc<OwnedFd>>,
}

impl Pool {
    /// Takes an identity; the last one returned first, because its user namespaces are at hand.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Identity, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = state.free.pop() {
            return Ok(Identity {
                id,
                pool: Arc::clone(self),
            });
        }
        let mapped = mapped_ids();
        let range = IDENTITY_RANGES
            .iter()
            .find(|(first, count)| u64::from(first + count) <= mapped);
        let Some((first, count)) = range else {
            return Err(Error::refused(
                "running as root",
                "this user namespace has no spare ids to drop to",
                "run agentwright as an ordinary user",
            ));
        };
        // Two daemons on one machine begin at different places.
        let id = first + (std::process::id().wrapping_mul(61) + state.used) % count;
        state.used += 1;
        if state.used > *count {
            return Err(Error::Setup("all spare identities are in use".into()));
        }
        Ok(Identity {
            id,
            pool: Arc::clone(self),
        })
    }

    fn namespace(&self, owner: (u32, u32), id: u32) -> io::Result<Arc<OwnedFd>> {
        let key = (owner.0, owner.1, id);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fd) = state.namespaces.get(&key) {
            return Ok(Arc::clone(fd));
        }
        let fd = Arc::new(user_namespace(owner, id)?);
        state.namespaces.insert(key, Arc::clone(&fd));
        Ok(fd)
    }
}

/// How many ids this process' own user namespace maps, from 0.
fn mapped_ids() -> u64 {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let first: Vec<u64> = map
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    match first[..] {
        [0, _, count] => count,
        _ => 0,
    }
}

/// Identity everywhere, but the owner's id on disk is shown as the spare id.
fn id_map(owner: u32, spare: u32, end: u64) -> String {
    let (low, high) = (u64::from(owner.min(spare)), u64::from(owner.max(spare)));
    let mut map = format!("{owner} {spare} 1\n");
    for (from, to) in [(0, low), (low + 1, high), (high + 1, end)] {
        if from < to {
            map.push_str(&format!("{from} {from} {}\n", to - from));
        }
    }
    map
}

/// A user namespace with such a map. Made by a short-lived child that only waits.
fn user_namespace(owner: (u32, u32), spare: u32) -> io::Result<OwnedFd> {
    // SAFETY: a fork whose child calls nothing but prctl and pause, which are async-signal-safe.
    let pid = unsafe {
        let pid = libc::syscall(
            libc::SYS_clone,
            libc::CLONE_NEWUSER | libc::SIGCHLD,
            0,
            0,
            0,
            0,
        );
        if pid == 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            loop {
                libc::pause();
            }
        }
        pid
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    let made = (|| {
        let end = mapped_ids();
        std::fs::write(format!("/proc/{pid}/uid_map"), id_map(owner.0, spare, end))?;
        std::fs::write(format!("/proc/{pid}/gid_map"), id_map(owner.1, spare, end))?;
        Ok(OwnedFd::from(std::fs::File::open(format!(
            "/proc/{pid}/ns/user"
        ))?))
    })();
    if let Some(pid) = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    }
    made
}

/// What the child does between fork and exec when the daemon is root.
pub(crate) struct Stage {
    identity: u32,
    ground: OwnedFd,
    point: CString,
    trees: Vec<(OwnedFd, CString)>,
}

/// A declared path, opened without following any link.
pub(crate) struct Opened<'a> {
    pub(crate) fd: &'a OwnedFd,
    pub(crate) host: PathBuf,
    pub(crate) access: Access,
}

impl Stage {
    /// Makes the mounts, detached. Returns the stage and, per mount, the path that bubblewrap binds.
    ///
    /// # Errors
    /// [`Error::Refused`] for a folder whose file system cannot be idmapped.
    pub(crate) fn prepare(
        pool: &Pool,
        identity: u32,
        mounts: &[Opened<'_>],
    ) -> Result<(Self, Vec<PathBuf>), Error> {
        let point = STAGING_POINTS
            .iter()
            .find(|p| std::fs::symlink_metadata(p).is_ok_and(|m| m.is_dir()));
        let point = point.ok_or_else(|| {
            Error::Setup(format!(
                "none of {} exists to stage declared folders on",
                STAGING_POINTS.join(", ")
            ))
        })?;
        let ground = ground().map_err(|e| Error::io("make a staging file system (running as root needs CAP_SYS_ADMIN; else run as an ordinary user)", e))?;
        let mut trees = Vec::new();
        let mut paths = Vec::new();
        for (number, mount) in mounts.iter().enumerate() {
            let name = format!("{number}");
            let meta = rustix::fs::fstat(mount.fd)
                .map_err(|e| Error::io(format!("look at {}", mount.host.display()), e))?;
            let attempt = format!("stage {}", mount.host.display());
            if FileType::from_raw_mode(meta.st_mode) == FileType::Directory {
                rustix::fs::mkdirat(&ground, &name, Mode::from_raw_mode(0o755))
                    .map_err(|e| Error::io(&attempt, e))?;
            } else {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
                rustix::fs::openat(&ground, &name, flags, Mode::from_raw_mode(0o644))
                    .map_err(|e| Error::io(&attempt, e))?;
            }
            let tree = rustix::mount::open_tree(
                mount.fd,
                "",
                OpenTreeFlags::OPEN_TREE_CLONE
                    | OpenTreeFlags::OPEN_TREE_CLOEXEC
                    | OpenTreeFlags::AT_EMPTY_PATH,
            );
            let tree = tree.map_err(|e| Error::io(&attempt, e))?;
            let view = pool
                .namespace((meta.st_uid, meta.st_gid), identity)
                .map_err(|e| Error::io("make a user namespace", e))?;
            idmap(&tree, &view, mount.access)
                .map_err(|e| cannot_idmap(&mount.host, meta.st_uid, &e))?;
            let path = Path::new(point).join(&name);
            trees.push((
                tree,
                CString::new(path.to_string_lossy().into_owned()).unwrap_or_default(),
            ));
            paths.push(path);
        }
        let point = CString::new(*point).unwrap_or_default();
        Ok((
            Self {
                identity,
                ground,
                point,
                trees,
            },
            paths,
        ))
    }

    /// Runs in the child, as root; afterwards it is the spare identity.
    pub(crate) fn enter(&self) -> Result<(), &'static str> {
        let id = self.identity;
        // SAFETY: plain system calls on descriptors and strings that were made before the fork.
        unsafe {
            let root = c"/".as_ptr();
            let null = std::ptr::null();
            step(
                libc::unshare(libc::CLONE_NEWNS),
                "make a private mount namespace",
            )?;
            let private = libc::MS_REC | libc::MS_PRIVATE;
            step(
                libc::mount(null, root, null, private, null.cast()),
                "make the mounts private",
            )?;
            step(
                move_mount(&self.ground, &self.point),
                "attach the staging file system",
            )?;
            for (tree, target) in &self.trees {
                step(move_mount(tree, target), "attach a declared folder")?;
            }
        }
        take_identity(id, id)
    }
}

/// Runs in the child, as root: never to return.
pub(crate) fn take_identity(uid: u32, gid: u32) -> Result<(), &'static str> {
    // SAFETY: plain system calls without memory of ours.
    unsafe {
        step(libc::setgroups(0, std::ptr::null()), "drop groups")?;
        step(libc::setresgid(gid, gid, gid), "drop the group")?;
        step(libc::setresuid(uid, uid, uid), "drop the user")
    }
}

fn step(answer: i32, what: &'static str) -> Result<(), &'static str> {
    if answer == 0 { Ok(()) } else { Err(what) }
}

/// # Safety
/// Only a system call; the arguments are valid by their types.
unsafe fn move_mount(from: &OwnedFd, to: &CString) -> i32 {
    // SAFETY: both strings are NUL-terminated and live through the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    i32::try_from(answer).unwrap_or(-1)
}

/// An empty in-memory file system, not attached anywhere.
fn ground() -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "mode", "0755")?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "size", "65536")?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

fn idmap(tree: &OwnedFd, view: &OwnedFd, access: Access) -> io::Result<()> {
    let mut set = libc::MOUNT_ATTR_IDMAP | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    if access == Access::Read {
        set |= libc::MOUNT_ATTR_RDONLY;
    }
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(view.as_raw_fd().cast_unsigned()),
    };
    // SAFETY: the structure is valid for the given size, the path is empty and both descriptors are open.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn cannot_idmap(host: &Path, owner: u32, error: &io::Error) -> Error {
    Error::refused(
        host.display(),
        format!(
            "its file system cannot show it to another identity (idmapped mount: {error}), and nothing runs as root"
        ),
        if owner == 0 {
            "move it to a file system with idmapped mounts (ext4, xfs, btrfs, tmpfs), or run agentwright as an ordinary user".to_owned()
        } else {
            format!("run agentwright as the folder's owner (uid {owner})")
        },
    )
}

/// Gives a pipe end to the identity, so that the command can open `/dev/stdout` anew.
pub(crate) fn give(fd: &OwnedFd, id: u32) -> io::Result<()> {
    use rustix::fs::{Gid, Uid};
    Ok(rustix::fs::fchown(
        fd,
        Some(Uid::from_raw(id)),
        Some(Gid::from_raw(id)),
    )?)
}

/// Whether a file's mode lets everybody execute it.
pub(crate) fn everybody_executes(fd: &OwnedFd) -> bool {
    rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH).is_ok_and(|meta| meta.st_mode & 0o005 == 0o005)
}
