//! The fork itself: what a child does before it becomes bubblewrap, or the init of the weaker tier.
//!
//! Between fork and exec there are only system calls on what was prepared before. Start at [`spawn`].
#![expect(unsafe_code, reason = "what happens between fork and exec")]

use std::ffi::OsString;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::error::Error;
use crate::launch::pipes;
use crate::stage::{self, Stage};
use crate::wire::INIT_ARGUMENT;

/// Under memory pressure of the whole machine a sandbox goes before the daemon.
const OOM_SCORE: &[u8] = b"500";
/// Most of what bubblewrap says that is kept.
const MAX_COMPLAINTS: usize = 4096;

/// A started process.
pub(crate) struct Started {
    pub(crate) child: Mortal,
    /// Readable when it has ended.
    pub(crate) pidfd: OwnedFd,
    /// What it says itself, as opposed to the command inside.
    pub(crate) complaints: OwnedFd,
}

/// A child that never outlives its owner, not even as a zombie.
pub(crate) struct Mortal(Child);

impl Mortal {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
    }

    /// Waits for its end; returns at once when it has been waited for.
    pub(crate) fn reap(&mut self) {
        let _ = self.0.wait();
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.kill();
        self.reap();
    }
}

/// What happens in the child between fork and exec. Everything in it was made before the fork.
pub(crate) struct Ritual {
    pub(crate) inherited: Vec<RawFd>,
    pub(crate) entrance: Option<OwnedFd>,
    pub(crate) stage: Option<Stage>,
    /// For the tier without namespaces: the identity to take, when the daemon is root.
    pub(crate) become_id: Option<(u32, u32)>,
    /// For the tier without namespaces: bubblewrap leaves the terminal by itself.
    pub(crate) own_session: bool,
    pub(crate) parent: u32,
}

/// Starts a program that dies with this thread.
///
/// # Errors
/// [`Error::Setup`] naming the step that failed.
pub(crate) fn spawn(
    program: &Path,
    arguments: &[OsString],
    ritual: Ritual,
) -> Result<Started, Error> {
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
    let pid = Pid::from_raw(child.id().cast_signed());
    let child = Mortal(child);
    let pid = pid.ok_or_else(|| Error::Setup("the child has no process id".into()))?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)
        .map_err(|e| Error::io("watch the child", e))?;
    Ok(Started {
        child,
        pidfd,
        complaints,
    })
}

impl Ritual {
    pub(crate) fn new(inherited: Vec<RawFd>) -> Self {
        let parent = std::process::id();
        Self {
            inherited,
            entrance: None,
            stage: None,
            become_id: None,
            own_session: false,
            parent,
        }
    }

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
        if self.own_session {
            // After the change of identity, which clears it. Not for bubblewrap: killed between its own fork and
            // the moment it lets its child go on, it would leave that child waiting for ever. It arranges its
            // death by itself later, and an init whose daemon is gone ends at once.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
                .map_err(|_| "die with the daemon")?;
        }
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

/// What bubblewrap has said so far.
pub(crate) fn read_complaints(pipe: &OwnedFd) -> String {
    let mut buffer = [0_u8; MAX_COMPLAINTS];
    let count = rustix::io::read(pipe, &mut buffer).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..count]).trim().to_owned()
}

/// Kills what the sandboxes of daemons that are gone left behind, should there be anything: a bubblewrap whose
/// daemon died in the very instant before it let its child go on.
pub(crate) fn sweep() {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let Some(marker) = words
            .iter()
            .position(|word| *word == INIT_ARGUMENT.as_bytes())
        else {
            continue;
        };
        let daemon = words
            .get(marker + 3)
            .and_then(|word| std::str::from_utf8(word).ok()?.parse::<u32>().ok());
        let orphaned =
            daemon.is_some_and(|daemon| !Path::new("/proc").join(daemon.to_string()).exists());
        if let (true, Some(pid)) = (orphaned, Pid::from_raw(pid)) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}
