//! From a policy to a living bubblewrap: opens the declared paths, builds the profile, forks, drops identity.
//!
//! Everything here runs on the spawner thread and leaves nothing on disk. Start at [`launch`].

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;

use crate::cgroup::{Cgroups, Leaf};
use crate::conversation::Input;
use crate::disk::Watched;
use crate::error::Error;
use crate::net::Plan;
use crate::policy::{Access, Command, Mount, Policy};
use crate::profile::{self, Bind};
use crate::scratch::Scratch;
use crate::seccomp::Sockets;
use crate::stage::{self, Identity, Opened, Pool, Stage};
use crate::start::{self, Ritual, Started};
use crate::wire::{self, INIT_ARGUMENT, InitConfig};

/// What a launch needs to know of the machine.
pub(crate) struct Machine {
    /// The executable that becomes the inner init.
    pub(crate) init: OwnedFd,
    pub(crate) bwrap: PathBuf,
    /// Spare identities, when the daemon is root.
    pub(crate) pool: Option<Arc<Pool>>,
    /// Where sandboxes get cgroups of their own, when that is possible.
    pub(crate) cgroups: Option<Cgroups>,
}

/// A started bubblewrap and our ends of everything.
pub(crate) struct Launched {
    pub(crate) process: Started,
    pub(crate) control: OwnedFd,
    /// Where a live standard input is written.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) watched: Watched,
    pub(crate) leaf: Option<Leaf>,
    /// Given back when everything has ended.
    pub(crate) held: Held,
}

/// What a sandbox holds on to.
pub(crate) struct Held {
    pub(crate) _identity: Option<Identity>,
    pub(crate) _scratch: Option<Scratch>,
}

/// Starts the sandbox; the command inside begins once its init has put up the walls.
///
/// # Errors
/// [`Error::Refused`] for a declared path that is missing, is or crosses a symbolic link, or cannot be shown
/// to another identity; [`Error::Io`] or [`Error::Setup`] when the machine does not play along.
pub(crate) fn launch(
    machine: &Machine,
    policy: &Policy,
    command: &Command,
    input: Input,
    plan: &Plan,
) -> Result<Launched, Error> {
    let opened = open_all(policy)?;
    let View {
        identity,
        stage,
        binds,
    } = view(machine, policy, &opened)?;
    let leaf = machine
        .cgroups
        .as_ref()
        .map(|c| c.leaf(&policy.limits))
        .transpose();
    let leaf = leaf.map_err(|e| Error::io("make a cgroup", e))?;
    let entrance = leaf.as_ref().map(Leaf::entrance).transpose();
    let entrance = entrance.map_err(|e| Error::io("enter a cgroup", e))?;
    let mut profile = profile::arguments(policy, &binds, &plan.hosts_file)?;
    let id = identity.as_ref().map(|i| i.id);
    let ends = Ends::make(&command.stdin, input, id).map_err(pipes)?;
    let config = config_file(&init_config(policy, command, plan, &ends, &opened)?)?;
    profile
        .arguments
        .extend(inner_command(machine, &ends, &config).map(Into::into));
    let mut inherited = inherited(machine, &ends, &config);
    inherited.extend(profile.inherited.iter().map(AsRawFd::as_raw_fd));
    let ritual = Ritual {
        entrance,
        stage,
        ..Ritual::new(inherited)
    };
    let process = start::spawn(&machine.bwrap, &profile.arguments, ritual)?;
    let watched = Watched {
        roots: writable(policy, opened),
    };
    let held = Held {
        _identity: identity,
        _scratch: None,
    };
    Ok(Launched {
        process,
        control: ends.control.0,
        stdin: ends.stdin.1,
        stdout: ends.stdout.0,
        stderr: ends.stderr.0,
        watched,
        leaf,
        held,
    })
}

pub(crate) fn pipes(error: io::Error) -> Error {
    Error::io("make the sandbox's pipes", error)
}

/// Who the sandbox is, how it gets there, and what bubblewrap binds.
struct View {
    identity: Option<Identity>,
    stage: Option<Stage>,
    binds: Vec<Bind>,
}

fn view(machine: &Machine, policy: &Policy, opened: &[OwnedFd]) -> Result<View, Error> {
    let identity = machine.pool.as_ref().map(Pool::take).transpose()?;
    let (stage, sources) = match (&machine.pool, &identity) {
        (Some(pool), Some(identity)) => {
            let view = |(m, fd): (&Mount, _)| Opened {
                fd,
                host: m.host.clone(),
                access: m.access,
            };
            let mounts: Vec<Opened<'_>> = policy.mounts.iter().zip(opened).map(view).collect();
            let (stage, sources) = Stage::prepare(pool, identity.id, &mounts)?;
            (Some(stage), sources)
        }
        _ => (None, policy.mounts.iter().map(|m| m.host.clone()).collect()),
    };
    let bind = |(m, source): (&Mount, _)| Bind {
        source,
        inside: m.inside.clone(),
        access: m.access,
    };
    Ok(View {
        identity,
        stage,
        binds: policy.mounts.iter().zip(sources).map(bind).collect(),
    })
}

/// What the child must inherit for the init.
pub(crate) fn inherited(machine: &Machine, ends: &Ends, config: &OwnedFd) -> Vec<RawFd> {
    let inner = [
        Some(&ends.control.1),
        Some(&ends.stdout.1),
        Some(&ends.stderr.1),
        ends.stdin.0.as_ref(),
    ];
    let inner = inner.into_iter().flatten().chain([&machine.init, config]);
    inner.map(AsRawFd::as_raw_fd).collect()
}

/// The declared paths that are writable.
pub(crate) fn writable(policy: &Policy, opened: Vec<OwnedFd>) -> Vec<OwnedFd> {
    let declared = policy.mounts.iter().zip(opened);
    declared
        .filter(|(m, _)| m.access == Access::Write)
        .map(|(_, fd)| fd)
        .collect()
}

pub(crate) fn config_file(config: &InitConfig) -> Result<OwnedFd, Error> {
    let text = serde_json::to_vec(config).map_err(|e| Error::Setup(e.to_string()))?;
    wire::memory_file("config", &text).map_err(|e| Error::io("hold the configuration in memory", e))
}

/// The init's command line. It is executed through its descriptor, so its path need not exist inside.
pub(crate) fn inner_command(machine: &Machine, ends: &Ends, config: &OwnedFd) -> [String; 5] {
    [
        format!("/proc/self/fd/{}", machine.init.as_raw_fd()),
        INIT_ARGUMENT.into(),
        ends.control.1.as_raw_fd().to_string(),
        config.as_raw_fd().to_string(),
        // By which a later daemon recognises what was left behind.
        std::process::id().to_string(),
    ]
}

/// Opens all declared paths.
pub(crate) fn open_all(policy: &Policy) -> Result<Vec<OwnedFd>, Error> {
    policy.mounts.iter().map(open_declared).collect()
}

/// Opens the writable folders alone, to measure them before the start.
pub(crate) fn open_writable(policy: &Policy) -> Result<Watched, Error> {
    let writable = policy.mounts.iter().filter(|m| m.access == Access::Write);
    Ok(Watched {
        roots: writable.map(open_declared).collect::<Result<_, _>>()?,
    })
}

/// Opens a declared path without following any link on the way.
fn open_declared(mount: &Mount) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = rustix::fs::openat2(
        rustix::fs::CWD,
        &mount.host,
        flags,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS,
    );
    let fd = opened.map_err(|error| match error {
        rustix::io::Errno::LOOP => Error::refused(
            mount.host.display(),
            format!("{} is a symbolic link", first_link(&mount.host).display()),
            "declare the path that it leads to",
        ),
        rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => Error::refused(
            mount.host.display(),
            "it does not exist",
            "create it or declare another path",
        ),
        rustix::io::Errno::ACCESS => Error::refused(
            mount.host.display(),
            "it may not be entered",
            "give this user access or declare another path",
        ),
        other => Error::io(format!("open {}", mount.host.display()), other),
    })?;
    let meta = rustix::fs::fstat(&fd)
        .map_err(|e| Error::io(format!("look at {}", mount.host.display()), e))?;
    match FileType::from_raw_mode(meta.st_mode) {
        FileType::Directory | FileType::RegularFile => Ok(fd),
        _ => Err(Error::refused(
            mount.host.display(),
            "it is neither a directory nor a regular file",
            "declare a directory or a file",
        )),
    }
}

fn first_link(path: &Path) -> PathBuf {
    let mut so_far = PathBuf::new();
    for part in path.components() {
        so_far.push(part);
        if so_far.is_symlink() {
            break;
        }
    }
    so_far
}

/// The pipes and the socket pair: ours first, the sandbox's second; of standard input, the other way round.
pub(crate) struct Ends {
    pub(crate) control: (OwnedFd, OwnedFd),
    pub(crate) stdout: (OwnedFd, OwnedFd),
    pub(crate) stderr: (OwnedFd, OwnedFd),
    pub(crate) stdin: (Option<OwnedFd>, Option<OwnedFd>),
}

impl Ends {
    /// Makes them, and gives the sandbox's to the identity that it will have.
    pub(crate) fn make(given: &[u8], input: Input, identity: Option<u32>) -> io::Result<Self> {
        let control = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let stdout = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let stderr = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        for ours in [&control.0, &stdout.0, &stderr.0] {
            rustix::io::ioctl_fionbio(ours, true)?;
        }
        let stdin = match input {
            Input::Given if given.is_empty() => (None, None),
            Input::Given => (Some(wire::memory_file("stdin", given)?), None),
            Input::Live => {
                let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
                rustix::io::ioctl_fionbio(&ours, true)?;
                (Some(theirs), Some(ours))
            }
        };
        if let Some(identity) = identity {
            for fd in [Some(&stdout.1), Some(&stderr.1), stdin.0.as_ref()]
                .into_iter()
                .flatten()
            {
                stage::give(fd, identity)?;
            }
        }
        Ok(Self {
            control,
            stdout,
            stderr,
            stdin,
        })
    }
}

fn init_config(
    policy: &Policy,
    command: &Command,
    plan: &Plan,
    ends: &Ends,
    opened: &[OwnedFd],
) -> Result<InitConfig, Error> {
    let mut memory_dirs: Vec<PathBuf> = vec!["/tmp".into(), "/dev/shm".into()];
    if !profile::mounts_at(policy, "/state") {
        memory_dirs.push("/state".into());
    }
    let mut writable = memory_dirs.clone();
    writable.extend(
        policy
            .mounts
            .iter()
            .filter(|m| m.access == Access::Write)
            .map(|m| m.inside.clone()),
    );
    Ok(InitConfig {
        argv: command.argv.clone(),
        env: environment(policy, &plan.env),
        workdir: policy.workdir.clone(),
        limits: policy.limits.clone(),
        identities: identities(policy, opened, |m| m.inside.clone())?,
        writable,
        memory_dirs,
        listeners: plan.listeners.clone(),
        stdin: ends.stdin.0.as_ref().map(AsRawFd::as_raw_fd),
        stdout: ends.stdout.1.as_raw_fd(),
        stderr: ends.stderr.1.as_raw_fd(),
        sockets: sockets(policy, opened),
        namespaced: true,
    })
}

/// Unix sockets are the command's own only where no folder of somebody else is visible.
fn sockets(policy: &Policy, opened: &[OwnedFd]) -> Sockets {
    let foreign = |(m, fd): (&Mount, &OwnedFd)| {
        let own = m.inside.starts_with("/app") || m.inside.starts_with("/state");
        let is_dir =
            |meta: rustix::fs::Stat| FileType::from_raw_mode(meta.st_mode) == FileType::Directory;
        !own && rustix::fs::fstat(fd).map_or(true, is_dir)
    };
    if policy.mounts.iter().zip(opened).any(foreign) {
        Sockets::Network
    } else {
        Sockets::NetworkAndUnix
    }
}

/// Under which path the init must find which file.
pub(crate) fn identities(
    policy: &Policy,
    opened: &[OwnedFd],
    path: fn(&Mount) -> PathBuf,
) -> Result<Vec<(PathBuf, u64, u64)>, Error> {
    let identity = |(mount, fd): (&Mount, &OwnedFd)| {
        let meta = rustix::fs::fstat(fd)
            .map_err(|e| Error::io(format!("look at {}", mount.host.display()), e))?;
        Ok((path(mount), meta.st_dev, meta.st_ino))
    };
    policy.mounts.iter().zip(opened).map(identity).collect()
}

/// The whole environment of the command; nothing of the daemon's.
pub(crate) fn environment(policy: &Policy, network: &[(String, String)]) -> Vec<(String, String)> {
    let base = [
        // Debian's own interpreters before anything an administrator put into /usr/local.
        (
            "PATH",
            "/run/bin:/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin",
        ),
        ("HOME", "/state"),
        ("USER", "user"),
        ("LOGNAME", "user"),
        ("SHELL", "/bin/sh"),
        ("LANG", "C.UTF-8"),
        ("TMPDIR", "/tmp"),
        ("TZ", "UTC"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONUNBUFFERED", "1"),
    ];
    let mut all: std::collections::BTreeMap<String, String> = base
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    all.extend(policy.env.clone());
    all.extend(network.iter().cloned());
    all.into_iter().collect()
}
