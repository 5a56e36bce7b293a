//! From a policy to a living bubblewrap: opens the declared paths, builds the profile, forks, drops identity.
//!
//! Everything here runs on the spawner thread and leaves nothing on disk. Start at [`launch`].
#![expect(unsafe_code, reason = "what happens between fork and exec")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::disk::Watched;
use crate::error::Error;
use crate::net::Plan;
use crate::policy::{Access, Command, Mount, Policy};
use crate::profile::{self, Bind};
use crate::stage::{self, Identity, Opened, Pool, Stage};
use crate::wire::{self, INIT_ARGUMENT, InitConfig};

/// Under memory pressure of the whole machine a sandbox goes before the daemon.
const OOM_SCORE: &[u8] = b"500";

/// What a launch needs to know of the machine.
pub(crate) struct Machine {
    /// The executable that becomes the inner init.
    pub(crate) init: OwnedFd,
    pub(crate) bwrap: PathBuf,
    /// Spare identities, when the daemon is root.
    pub(crate) pool: Option<Arc<Pool>>,
}

/// A started bubblewrap and our ends of everything.
pub(crate) struct Launched {
    pub(crate) child: Child,
    pub(crate) pidfd: OwnedFd,
    pub(crate) control: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// What bubblewrap itself says.
    pub(crate) complaints: OwnedFd,
    pub(crate) watched: Watched,
    pub(crate) identity: Option<Identity>,
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
    plan: &Plan,
) -> Result<Launched, Error> {
    let opened = policy
        .mounts
        .iter()
        .map(open_declared)
        .collect::<Result<Vec<_>, _>>()?;
    let identity = machine.pool.as_ref().map(Pool::take).transpose()?;
    let (stage, sources) = match (&machine.pool, &identity) {
        (Some(pool), Some(identity)) => {
            let mounts: Vec<Opened<'_>> = policy
                .mounts
                .iter()
                .zip(&opened)
                .map(|(m, fd)| Opened {
                    fd,
                    host: &m.host,
                    access: m.access,
                })
                .collect();
            let (stage, sources) = Stage::prepare(pool, identity.id, &mounts)?;
            (Some(stage), sources)
        }
        _ => (None, policy.mounts.iter().map(|m| m.host.clone()).collect()),
    };
    let binds: Vec<Bind> = policy
        .mounts
        .iter()
        .zip(sources)
        .map(|(m, source)| Bind {
            source,
            inside: m.inside.clone(),
            access: m.access,
        })
        .collect();
    let mut profile = profile::arguments(policy, &binds, &plan.hosts_file)?;
    let ends = Ends::make(&command.stdin, identity.as_ref())
        .map_err(|e| Error::io("make the sandbox's pipes", e))?;
    let config = init_config(policy, command, plan, &ends, &opened)?;
    let config = serde_json::to_vec(&config).map_err(|e| Error::Setup(e.to_string()))?;
    let config = wire::memory_file("config", &config)
        .map_err(|e| Error::io("hold the configuration in memory", e))?;
    let inner = [
        format!("/proc/self/fd/{}", machine.init.as_raw_fd()),
        INIT_ARGUMENT.into(),
        ends.control.1.as_raw_fd().to_string(),
        config.as_raw_fd().to_string(),
    ];
    profile.arguments.extend(inner.map(Into::into));
    let mut inherited: Vec<RawFd> = profile.inherited.iter().map(AsRawFd::as_raw_fd).collect();
    inherited.extend([machine.init.as_raw_fd(), config.as_raw_fd()]);
    inherited.extend(ends.inner_numbers());
    let (child, complaints) = spawn(&machine.bwrap, &profile.arguments, inherited, stage)?;
    let pid = Pid::from_raw(child.id().cast_signed())
        .ok_or_else(|| Error::Setup("bubblewrap has no process id".into()))?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)
        .map_err(|e| Error::io("watch bubblewrap", e))?;
    let roots = policy
        .mounts
        .iter()
        .zip(opened)
        .filter(|(m, _)| m.access == Access::Write)
        .map(|(_, fd)| fd)
        .collect();
    Ok(Launched {
        child,
        pidfd,
        control: ends.control.0,
        stdout: ends.stdout.0,
        stderr: ends.stderr.0,
        complaints,
        watched: Watched { roots },
        identity,
    })
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
    match rustix::fs::FileType::from_raw_mode(meta.st_mode) {
        rustix::fs::FileType::Directory | rustix::fs::FileType::RegularFile => Ok(fd),
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

/// The pipes and the socket pair: ours first, the sandbox's second.
struct Ends {
    control: (OwnedFd, OwnedFd),
    stdout: (OwnedFd, OwnedFd),
    stderr: (OwnedFd, OwnedFd),
    stdin: Option<OwnedFd>,
}

impl Ends {
    fn make(stdin: &[u8], identity: Option<&Identity>) -> io::Result<Self> {
        let control = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::io::ioctl_fionbio(&control.0, true)?;
        let stdout = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let stderr = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&stdout.0, true)?;
        rustix::io::ioctl_fionbio(&stderr.0, true)?;
        let stdin = if stdin.is_empty() {
            None
        } else {
            Some(wire::memory_file("stdin", stdin)?)
        };
        if let Some(identity) = identity {
            for fd in [Some(&stdout.1), Some(&stderr.1), stdin.as_ref()]
                .into_iter()
                .flatten()
            {
                stage::give(fd, identity.id)?;
            }
        }
        Ok(Self {
            control,
            stdout,
            stderr,
            stdin,
        })
    }

    fn inner_numbers(&self) -> Vec<RawFd> {
        let inner = [
            Some(&self.control.1),
            Some(&self.stdout.1),
            Some(&self.stderr.1),
            self.stdin.as_ref(),
        ];
        inner
            .into_iter()
            .flatten()
            .map(AsRawFd::as_raw_fd)
            .collect()
    }
}

fn init_config(
    policy: &Policy,
    command: &Command,
    plan: &Plan,
    ends: &Ends,
    opened: &[OwnedFd],
) -> Result<InitConfig, Error> {
    let mut identities = Vec::new();
    let mut writable: Vec<PathBuf> = vec!["/tmp".into(), "/dev/shm".into()];
    let mut memory_dirs = writable.clone();
    for (mount, fd) in policy.mounts.iter().zip(opened) {
        let meta = rustix::fs::fstat(fd)
            .map_err(|e| Error::io(format!("look at {}", mount.host.display()), e))?;
        identities.push((mount.inside.clone(), meta.st_dev, meta.st_ino));
        if mount.access == Access::Write {
            writable.push(mount.inside.clone());
        }
    }
    if !profile::mounts_at(policy, "/state") {
        writable.push("/state".into());
        memory_dirs.push("/state".into());
    }
    Ok(InitConfig {
        argv: command.argv.clone(),
        env: environment(policy, plan),
        workdir: policy.workdir.clone(),
        limits: policy.limits.clone(),
        identities,
        writable,
        memory_dirs,
        listeners: plan.listeners.clone(),
        stdin: ends.stdin.as_ref().map(AsRawFd::as_raw_fd),
        stdout: ends.stdout.1.as_raw_fd(),
        stderr: ends.stderr.1.as_raw_fd(),
        no_sockets: false,
        namespaced: true,
    })
}

/// The whole environment of the command; nothing of the daemon's.
fn environment(policy: &Policy, plan: &Plan) -> Vec<(String, String)> {
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
    all.extend(plan.env.iter().cloned());
    all.into_iter().collect()
}

fn spawn(
    bwrap: &Path,
    arguments: &[std::ffi::OsString],
    inherited: Vec<RawFd>,
    stage: Option<Stage>,
) -> Result<(Child, OwnedFd), Error> {
    let (complaints, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|e| Error::io("make a pipe", e))?;
    rustix::io::ioctl_fionbio(&complaints, true).map_err(|e| Error::io("make a pipe", e))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the sandbox is where untrusted processes start"
    )]
    let mut command = std::process::Command::new(bwrap);
    command.args(arguments).env_clear().current_dir("/");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(theirs));
    let parent = std::process::id();
    // SAFETY: the closure only makes system calls on what was prepared before the fork; it does not allocate.
    unsafe {
        command.pre_exec(move || {
            let answer = before_exec(&inherited, stage.as_ref(), parent);
            answer.map_err(|what| {
                let error = io::Error::last_os_error();
                let _ = rustix::io::write(io::stderr(), what.as_bytes());
                error
            })
        });
    }
    let child = command.spawn().map_err(|error| {
        let said = read_complaints(&complaints);
        if error.kind() == io::ErrorKind::NotFound && said.is_empty() {
            return Error::Setup(format!(
                "{} does not exist; install it: apt install bubblewrap",
                bwrap.display()
            ));
        }
        Error::Setup(format!(
            "cannot {}: {error}",
            if said.is_empty() {
                "start bubblewrap"
            } else {
                &said
            }
        ))
    })?;
    Ok((child, complaints))
}

/// Runs in the forked child.
fn before_exec(
    inherited: &[RawFd],
    stage: Option<&Stage>,
    parent: u32,
) -> Result<(), &'static str> {
    let path = c"/proc/self/oom_score_adj";
    if let Ok(file) = rustix::fs::openat(
        rustix::fs::CWD,
        path,
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        let _ = rustix::io::write(file, OOM_SCORE);
    }
    if let Some(stage) = stage {
        stage.enter()?;
    }
    // After the change of identity, which clears it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|_| "die with the daemon")?;
    if rustix::process::getppid().is_none_or(|p| p.as_raw_nonzero().get().cast_unsigned() != parent)
    {
        return Err("start under a daemon that has died");
    }
    for fd in inherited {
        // SAFETY: only the close-on-exec flag of a descriptor that this launch owns is changed.
        if unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) } < 0 {
            return Err("hand over a descriptor");
        }
    }
    Ok(())
}

/// What bubblewrap has said so far.
pub(crate) fn read_complaints(pipe: &OwnedFd) -> String {
    let mut buffer = [0_u8; 4096];
    let count = rustix::io::read(pipe, &mut buffer).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..count]).trim().to_owned()
}
