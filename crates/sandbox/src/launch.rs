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
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::cgroup::{Cgroups, Leaf};
use crate::disk::Watched;
use crate::error::Error;
use crate::net::Plan;
use crate::policy::{Access, Command, Mount, Network, Policy};
use crate::profile::{self, Bind};
use crate::scratch::Scratch;
use crate::seccomp::Sockets;
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
    /// Where sandboxes get cgroups of their own, when that is possible.
    pub(crate) cgroups: Option<Cgroups>,
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
    pub(crate) leaf: Option<Leaf>,
    pub(crate) scratch: Option<Scratch>,
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
    let (identity, stage, binds) = views(machine, policy, &opened)?;
    let leaf = machine
        .cgroups
        .as_ref()
        .map(|c| c.leaf(&policy.limits))
        .transpose();
    let leaf = leaf.map_err(|e| Error::io("make a cgroup", e))?;
    let mut profile = profile::arguments(policy, &binds, &plan.hosts_file)?;
    let ends = Ends::make(&command.stdin, identity.as_ref()).map_err(pipes)?;
    let config = config_file(&init_config(policy, command, plan, &ends, &opened)?)?;
    let inner = inner_command(machine, &ends, &config);
    profile.arguments.extend(inner.map(Into::into));
    let mut inherited: Vec<RawFd> = profile.inherited.iter().map(AsRawFd::as_raw_fd).collect();
    inherited.extend([machine.init.as_raw_fd(), config.as_raw_fd()]);
    inherited.extend(ends.inner_numbers());
    let entrance = leaf
        .as_ref()
        .map(Leaf::entrance)
        .transpose()
        .map_err(|e| Error::io("enter a cgroup", e))?;
    let ritual = Ritual {
        inherited,
        entrance,
        stage,
        become_id: None,
        own_session: false,
        parent: std::process::id(),
    };
    let (child, complaints) = spawn(&machine.bwrap, &profile.arguments, ritual)?;
    let pidfd = pidfd(&child)?;
    let declared = policy.mounts.iter().zip(opened);
    let roots = declared
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
        leaf,
        scratch: None,
    })
}

fn pipes(error: io::Error) -> Error {
    Error::io("make the sandbox's pipes", error)
}

/// Who the sandbox is, how it gets there, and what bubblewrap binds.
fn views(
    machine: &Machine,
    policy: &Policy,
    opened: &[OwnedFd],
) -> Result<(Option<Identity>, Option<Stage>, Vec<Bind>), Error> {
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
    Ok((
        identity,
        stage,
        policy.mounts.iter().zip(sources).map(bind).collect(),
    ))
}

fn config_file(config: &InitConfig) -> Result<OwnedFd, Error> {
    let text = serde_json::to_vec(config).map_err(|e| Error::Setup(e.to_string()))?;
    wire::memory_file("config", &text).map_err(|e| Error::io("hold the configuration in memory", e))
}

/// The init's command line. It is executed through its descriptor, so its path need not exist inside.
fn inner_command(machine: &Machine, ends: &Ends, config: &OwnedFd) -> [String; 4] {
    [
        format!("/proc/self/fd/{}", machine.init.as_raw_fd()),
        INIT_ARGUMENT.into(),
        ends.control.1.as_raw_fd().to_string(),
        config.as_raw_fd().to_string(),
    ]
}

fn pidfd(child: &Child) -> Result<OwnedFd, Error> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let pid = pid.ok_or_else(|| Error::Setup("bubblewrap has no process id".into()))?;
    rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)
        .map_err(|e| Error::io("watch bubblewrap", e))
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
        let stdout = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let stderr = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
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
        stdin: ends.stdin.as_ref().map(AsRawFd::as_raw_fd),
        stdout: ends.stdout.1.as_raw_fd(),
        stderr: ends.stderr.1.as_raw_fd(),
        sockets: sockets(policy),
        namespaced: true,
    })
}

/// Unix sockets are the command's own only where no folder of somebody else is visible.
fn sockets(policy: &Policy) -> Sockets {
    let own = |m: &Mount| m.inside.starts_with("/app") || m.inside.starts_with("/state");
    if policy.mounts.iter().all(own) {
        Sockets::NetworkAndUnix
    } else {
        Sockets::Network
    }
}

/// Under which path the init must find which file.
fn identities(
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
fn environment(policy: &Policy, network: &[(String, String)]) -> Vec<(String, String)> {
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

/// What happens in the child between fork and exec. Everything in it was made before the fork.
struct Ritual {
    inherited: Vec<RawFd>,
    entrance: Option<OwnedFd>,
    stage: Option<Stage>,
    /// For the tier without namespaces: the identity to take, when the daemon is root.
    become_id: Option<(u32, u32)>,
    /// For the tier without namespaces: bubblewrap leaves the terminal by itself.
    own_session: bool,
    parent: u32,
}

fn spawn(
    program: &Path,
    arguments: &[std::ffi::OsString],
    ritual: Ritual,
) -> Result<(Child, OwnedFd), Error> {
    let (complaints, theirs) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|e| pipes(e.into()))?;
    rustix::io::ioctl_fionbio(&complaints, true).map_err(|e| pipes(e.into()))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the sandbox is where untrusted processes start"
    )]
    let mut command = std::process::Command::new(program);
    command.args(arguments).env_clear().current_dir("/");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(theirs));
    // SAFETY: the closure only makes system calls on what was prepared before the fork; it does not allocate.
    unsafe {
        command.pre_exec(move || {
            ritual.perform().map_err(|what| {
                let error = io::Error::last_os_error();
                let _ = rustix::io::write(io::stderr(), what.as_bytes());
                error
            })
        });
    }
    let child = command.spawn().map_err(|error| {
        let said = read_complaints(&complaints);
        if error.kind() == io::ErrorKind::NotFound && said.is_empty() {
            let what = program.display();
            return Error::Setup(format!(
                "{what} does not exist; install it: apt install bubblewrap"
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

impl Ritual {
    fn perform(&self) -> Result<(), &'static str> {
        let score = rustix::fs::openat(
            rustix::fs::CWD,
            c"/proc/self/oom_score_adj",
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        if let Ok(score) = score {
            let _ = rustix::io::write(score, OOM_SCORE);
        }
        if let Some(entrance) = &self.entrance {
            rustix::io::write(entrance, b"0").map_err(|_| "enter the cgroup")?;
        }
        if let Some(stage) = &self.stage {
            stage.enter()?;
        }
        if let Some((uid, gid)) = self.become_id {
            stage::take_identity(uid, gid)?;
        }
        if self.own_session {
            rustix::process::setsid().map_err(|_| "leave the terminal")?;
        }
        // After the change of identity, which clears it.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|_| "die with the daemon")?;
        if rustix::process::getppid()
            .is_none_or(|p| p.as_raw_nonzero().get().cast_unsigned() != self.parent)
        {
            return Err("start under a daemon that has died");
        }
        for fd in &self.inherited {
            // SAFETY: only the close-on-exec flag of a descriptor that this launch owns is changed.
            if unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) } < 0 {
                return Err("hand over a descriptor");
            }
        }
        Ok(())
    }
}

/// Starts the command without namespaces: same init, same protocol, but the host's own paths and no sockets.
///
/// # Errors
/// [`Error::Refused`] for what needs a private view: network, published ports, given files.
pub(crate) fn launch_process(
    machine: &Machine,
    policy: &Policy,
    command: &Command,
    scratch_root: &Path,
) -> Result<Launched, Error> {
    refuse_views(policy)?;
    let opened = policy
        .mounts
        .iter()
        .map(open_declared)
        .collect::<Result<Vec<_>, _>>()?;
    let (identity, become_id) = match &machine.pool {
        Some(pool) => owner_of_all(pool, policy, &opened)?,
        None => (None, None),
    };
    let scratch = Scratch::make(scratch_root, become_id)
        .map_err(|e| Error::io("make a scratch directory", e))?;
    let ends = Ends::make(&command.stdin, None).map_err(pipes)?;
    let outside = Outside {
        policy,
        scratch: &scratch,
    };
    let writable = policy
        .mounts
        .iter()
        .filter(|m| m.access == Access::Write)
        .map(|m| m.host.clone());
    let env = environment(policy, &[])
        .into_iter()
        .map(|(k, v)| (k, outside.word(&v)));
    let config = InitConfig {
        argv: command.argv.iter().map(|word| outside.word(word)).collect(),
        env: env.collect(),
        workdir: outside.word(&policy.workdir.to_string_lossy()).into(),
        limits: policy.limits.clone(),
        identities: identities(policy, &opened, |m| m.host.clone())?,
        writable: writable.chain([scratch.path().to_owned()]).collect(),
        memory_dirs: Vec::new(),
        listeners: Vec::new(),
        stdin: ends.stdin.as_ref().map(AsRawFd::as_raw_fd),
        stdout: ends.stdout.1.as_raw_fd(),
        stderr: ends.stderr.1.as_raw_fd(),
        sockets: Sockets::None,
        namespaced: false,
    };
    let config = config_file(&config)?;
    let [program, arguments @ ..] = inner_command(machine, &ends, &config);
    let mut inherited = vec![machine.init.as_raw_fd(), config.as_raw_fd()];
    inherited.extend(ends.inner_numbers());
    let parent = std::process::id();
    let ritual = Ritual {
        inherited,
        entrance: None,
        stage: None,
        become_id,
        own_session: true,
        parent,
    };
    let (child, complaints) = spawn(Path::new(&program), &arguments.map(Into::into), ritual)?;
    let pidfd = pidfd(&child)?;
    let scratch_dir = std::fs::File::open(scratch.path())
        .map_err(|e| Error::io("open the scratch directory", e))?;
    let declared = policy
        .mounts
        .iter()
        .zip(opened)
        .filter(|(m, _)| m.access == Access::Write)
        .map(|(_, fd)| fd);
    let roots = declared.chain([OwnedFd::from(scratch_dir)]).collect();
    Ok(Launched {
        child,
        pidfd,
        control: ends.control.0,
        stdout: ends.stdout.0,
        stderr: ends.stderr.0,
        complaints,
        watched: Watched { roots },
        identity,
        leaf: None,
        scratch: Some(scratch),
    })
}

fn refuse_views(policy: &Policy) -> Result<(), Error> {
    let needs = [
        (policy.network != Network::Off, "network"),
        (policy.publish.is_some(), "a published port"),
        (!policy.files.is_empty(), "given files"),
    ];
    match needs.iter().find(|(needed, _)| *needed) {
        Some((_, what)) => Err(Error::refused(
            what,
            "sandbox tier process has no private view of the machine",
            "install bubblewrap so that tier full is possible",
        )),
        None => Ok(()),
    }
}

/// Without a private view a root daemon can only become the one owner of everything that is written.
fn owner_of_all(
    pool: &Arc<Pool>,
    policy: &Policy,
    opened: &[OwnedFd],
) -> Result<(Option<Identity>, Option<(u32, u32)>), Error> {
    let mut owner = None;
    for (mount, fd) in policy
        .mounts
        .iter()
        .zip(opened)
        .filter(|(m, _)| m.access == Access::Write)
    {
        let meta = rustix::fs::fstat(fd)
            .map_err(|e| Error::io(format!("look at {}", mount.host.display()), e))?;
        if meta.st_uid == 0 || owner.is_some_and(|(uid, _)| uid != meta.st_uid) {
            return Err(Error::refused(
                mount.host.display(),
                "in sandbox tier process nothing runs as root, and one command has one identity",
                "run agentwright as an ordinary user, or give the folder to one",
            ));
        }
        owner = Some((meta.st_uid, meta.st_gid));
    }
    match owner {
        Some(owner) => Ok((None, Some(owner))),
        None => {
            let identity = pool.take()?;
            let id = identity.id;
            Ok((Some(identity), Some((id, id))))
        }
    }
}

/// Says a word of the inside in the host's paths.
struct Outside<'a> {
    policy: &'a Policy,
    scratch: &'a Scratch,
}

impl Outside<'_> {
    fn word(&self, word: &str) -> String {
        let path = Path::new(word);
        let mounted = self
            .policy
            .mounts
            .iter()
            .map(|m| (m.inside.clone(), m.host.clone()));
        let private = [("/state", "state"), ("/tmp", "tmp")]
            .map(|(inside, name)| (inside.into(), self.scratch.path().join(name)));
        for (inside, host) in mounted.chain(private) {
            if let Ok(rest) = path.strip_prefix(&inside) {
                let whole = if rest.as_os_str().is_empty() {
                    host
                } else {
                    host.join(rest)
                };
                return whole.to_string_lossy().into_owned();
            }
        }
        word.to_owned()
    }
}

/// What bubblewrap has said so far.
pub(crate) fn read_complaints(pipe: &OwnedFd) -> String {
    let mut buffer = [0_u8; 4096];
    let count = rustix::io::read(pipe, &mut buffer).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..count]).trim().to_owned()
}
