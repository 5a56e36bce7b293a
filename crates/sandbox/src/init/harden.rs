//! The walls that the init puts around the command between fork and exec: resource limits, Landlock, seccomp.
//!
//! Not here: namespaces and mounts, which bubblewrap has made by now. Start at [`Walls`].
#![expect(unsafe_code, reason = "system calls that no safe wrapper offers")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope,
    path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, Signal};
use seccompiler::BpfProgram;

use crate::seccomp;
use crate::wire::InitConfig;

/// Everything made ready before the fork, so that the child only has to raise it.
pub(super) struct Walls {
    limits: Vec<(Resource, u64)>,
    landlock: RulesetCreated,
    must_hold: bool,
    filters: Vec<BpfProgram>,
}

impl Walls {
    pub(super) fn prepare(config: &InitConfig) -> Result<Self, String> {
        let limits = &config.limits;
        // Without a user namespace the limit counts all processes of this user.
        let others = if config.namespaced {
            0
        } else {
            super::table::processes_of_user()
        };
        let mut list = vec![
            (Resource::Core, 0),
            (Resource::Nofile, limits.open_files),
            (Resource::Fsize, limits.file_size_bytes),
            (Resource::Nproc, limits.processes + others),
            (Resource::Memlock, 0),
        ];
        if let Some(ms) = limits.cpu_ms {
            list.push((Resource::Cpu, ms.div_ceil(1000) + 1));
        }
        let filters = seccomp::filters(config.sockets)
            .map_err(|e| format!("cannot build the system call filter: {e}"))?;
        let landlock =
            ruleset(config).map_err(|e| format!("cannot build the Landlock rules: {e}"))?;
        Ok(Self {
            limits: list,
            landlock,
            must_hold: !config.namespaced,
            filters,
        })
    }

    /// Runs in the child. Cannot be undone there.
    pub(super) fn raise(self) -> io::Result<()> {
        for (resource, value) in self.limits {
            let hard = rustix::process::getrlimit(resource).maximum;
            let value = Some(hard.map_or(value, |hard| value.min(hard)));
            rustix::process::setrlimit(
                resource,
                Rlimit {
                    current: value,
                    maximum: value,
                },
            )?;
        }
        rustix::thread::set_no_new_privs(true)?;
        let status = self.landlock.restrict_self().map_err(io::Error::other)?;
        if self.must_hold && status.ruleset != landlock::RulesetStatus::FullyEnforced {
            return Err(io::Error::other("Landlock is not fully enforced"));
        }
        for filter in &self.filters {
            seccompiler::apply_filter(filter).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// Writing only below the writable folders; with a private view of the files reading needs no second rule.
fn ruleset(config: &InitConfig) -> Result<RulesetCreated, landlock::RulesetError> {
    let abi = ABI::V6;
    let base = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?;
    let readable = if config.namespaced {
        vec![PathBuf::from("/")]
    } else {
        base_system(config)
    };
    let device: &[&str] = if config.namespaced {
        &["/dev", "/proc"]
    } else {
        &["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"]
    };
    base.add_rules(path_beneath_rules(readable, AccessFs::from_read(abi)))?
        .add_rules(path_beneath_rules(
            &config.writable,
            AccessFs::from_all(abi),
        ))?
        .add_rules(path_beneath_rules(device, AccessFs::from_all(abi)))
}

/// What a command may read where the host's own files are visible: the system's programs and its mounts.
fn base_system(config: &InitConfig) -> Vec<PathBuf> {
    const SYSTEM: &[&str] = &[
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/lib64",
        "/dev",
        "/etc/ld.so.cache",
        "/etc/alternatives",
        "/etc/ssl/certs",
    ];
    let entries = std::fs::read_dir("/etc").into_iter().flatten().flatten();
    // Debian's interpreters complain when their start-up files in /etc cannot be read.
    let python = entries
        .filter(|e| e.file_name().to_string_lossy().starts_with("python3"))
        .map(|e| e.path());
    let mounts = config.identities.iter().map(|(path, _, _)| path.clone());
    SYSTEM
        .iter()
        .map(PathBuf::from)
        .chain(python)
        .chain(mounts)
        .collect()
}

/// The kernel's Landlock version; 0 or less when there is none.
pub(super) fn landlock_abi() -> i32 {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with a null attribute and size 0 the call only answers with its version.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    i32::try_from(answer).unwrap_or(0)
}

/// Nothing inherited from the supervisor or from bubblewrap reaches the command.
pub(super) fn close_on_exec_all() -> Result<(), String> {
    // SAFETY: changes descriptor flags only.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(format!(
            "cannot mark descriptors: {}",
            io::Error::last_os_error()
        ))
    }
}

/// Gives up what was needed to listen on low ports.
pub(super) fn drop_capabilities() -> Result<(), String> {
    let none = rustix::thread::CapabilitySets {
        effective: rustix::thread::CapabilitySet::empty(),
        permitted: rustix::thread::CapabilitySet::empty(),
        inheritable: rustix::thread::CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none)
        .map_err(|e| format!("cannot drop capabilities: {e}"))
}

/// A descriptor that becomes readable when a child ends; the signal itself stays blocked.
pub(super) fn child_signals() -> Result<OwnedFd, String> {
    // SAFETY: the set is initialised by sigemptyset before use, and signalfd returns a descriptor we own.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(format!(
                "cannot watch children: {}",
                io::Error::last_os_error()
            )),
        }
    }
}

/// A socket of the inner network, not yet connected.
pub(super) fn tcp_socket() -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    Ok(socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?)
}

/// Signals every process of this namespace but its init.
pub(super) fn signal_namespace(signal: Signal) -> rustix::io::Result<()> {
    // SAFETY: called only as process 1 of a process namespace, where -1 means that namespace.
    match unsafe { libc::kill(-1, signal.as_raw()) } {
        0 => Ok(()),
        _ => Err(
            rustix::io::Errno::from_io_error(&io::Error::last_os_error())
                .unwrap_or(rustix::io::Errno::SRCH),
        ),
    }
}
