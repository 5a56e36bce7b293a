//! The system call filter of the command: everything is allowed but what leads out of the walls.
//!
//! Three stacked programs, because one program has one refusing answer: EPERM for the forbidden, ENOSYS for
//! calls whose arguments cannot be seen (so that libraries fall back), ENOSYS for the x32 numbers. Start at
//! [`filters`].

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op,
    SeccompCondition as Condition, SeccompFilter, SeccompRule as Rule, TargetArch,
};
use serde::{Deserialize, Serialize};

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// Calls that are refused whatever their arguments.
const FORBIDDEN: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_settimeofday,
    libc::SYS_adjtimex,
    libc::SYS_personality,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// `fchmodat2`, younger than the libc crate's table on some targets.
const SYS_FCHMODAT2: i64 = 452;

/// Namespaces that `clone` can make.
const NAMESPACES: &[i32] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Which sockets a command may make. Pairs of connected Unix sockets are always allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sockets {
    /// None: there is no private network.
    None,
    /// Those of the private network. A declared folder of the host may hold a Unix socket that some program of
    /// the host listens on, and neither namespaces nor Landlock (before ABI 9) keep a command from it.
    Network,
    /// Unix sockets, too: nothing of the host is visible but the agent's own folders.
    NetworkAndUnix,
}

/// The programs, in the order in which they are installed.
pub(crate) fn filters(sockets: Sockets) -> Result<Vec<BpfProgram>, Error> {
    let mut programs = vec![
        program(hidden(), libc::ENOSYS)?,
        program(forbidden(sockets)?, libc::EPERM)?,
    ];
    if cfg!(target_arch = "x86_64") {
        programs.insert(0, x32_guard());
    }
    Ok(programs)
}

type Rules = BTreeMap<i64, Vec<Rule>>;

fn program(rules: Rules, errno: i32) -> Result<BpfProgram, Error> {
    let refuse = SeccompAction::Errno(errno.cast_unsigned());
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, refuse, ARCH)?.try_into()?)
}

/// Calls whose flags lie in memory, where a filter cannot look.
fn hidden() -> Rules {
    [libc::SYS_clone3, libc::SYS_openat2, SYS_FCHMODAT2]
        .into_iter()
        .map(|call| (call, Vec::new()))
        .collect()
}

fn forbidden(sockets: Sockets) -> Result<Rules, Error> {
    let mut rules: Rules = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    let namespaces = NAMESPACES
        .iter()
        .map(|flag| Ok(Rule::new(vec![masked(0, flag.cast_unsigned().into())?])?));
    rules.insert(libc::SYS_clone, namespaces.collect::<Result<_, Error>>()?);
    let injecting =
        [libc::TIOCSTI, libc::TIOCLINUX].map(|request| Ok(Rule::new(vec![equal(1, request)?])?));
    rules.insert(
        libc::SYS_ioctl,
        injecting.into_iter().collect::<Result<_, Error>>()?,
    );
    let families: &[i32] = match sockets {
        Sockets::None => &[],
        Sockets::Network => &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
        Sockets::NetworkAndUnix => &[
            libc::AF_INET,
            libc::AF_INET6,
            libc::AF_NETLINK,
            libc::AF_UNIX,
        ],
    };
    let others: Vec<Condition> = families
        .iter()
        .map(|family| unequal(0, *family))
        .collect::<Result<_, _>>()?;
    rules.insert(
        libc::SYS_socket,
        if others.is_empty() {
            Vec::new()
        } else {
            vec![Rule::new(others)?]
        },
    );
    rules.insert(
        libc::SYS_socketpair,
        vec![Rule::new(vec![unequal(0, libc::AF_UNIX)?])?],
    );
    add_setuid(&mut rules)?;
    Ok(rules)
}

/// No file gets the set-user-id bit: in a declared folder it would be the owner's on the host.
fn add_setuid(rules: &mut Rules) -> Result<(), Error> {
    let bit = u64::from(libc::S_ISUID);
    let creating = u64::from(libc::O_CREAT.cast_unsigned());
    let temporary = u64::from(libc::O_TMPFILE.cast_unsigned());
    let opening = |flags: u8, mode: u8| -> Result<Vec<Rule>, Error> {
        Ok(vec![
            Rule::new(vec![masked(flags, creating)?, masked(mode, bit)?])?,
            Rule::new(vec![masked(flags, temporary)?, masked(mode, bit)?])?,
        ])
    };
    let mode = |argument: u8| -> Result<Vec<Rule>, Error> {
        Ok(vec![Rule::new(vec![masked(argument, bit)?])?])
    };
    rules.insert(libc::SYS_fchmod, mode(1)?);
    rules.insert(libc::SYS_fchmodat, mode(2)?);
    rules.insert(libc::SYS_mknodat, mode(2)?);
    rules.insert(libc::SYS_openat, opening(2, 3)?);
    #[cfg(target_arch = "x86_64")]
    {
        rules.insert(libc::SYS_chmod, mode(1)?);
        rules.insert(libc::SYS_creat, mode(1)?);
        rules.insert(libc::SYS_mknod, mode(1)?);
        rules.insert(libc::SYS_open, opening(1, 2)?);
    }
    Ok(())
}

fn masked(argument: u8, bits: u64) -> Result<Condition, Error> {
    Ok(Condition::new(
        argument,
        Len::Dword,
        Op::MaskedEq(bits),
        bits,
    )?)
}

fn equal(argument: u8, value: u64) -> Result<Condition, Error> {
    Ok(Condition::new(argument, Len::Dword, Op::Eq, value)?)
}

fn unequal(argument: u8, value: i32) -> Result<Condition, Error> {
    Ok(Condition::new(
        argument,
        Len::Dword,
        Op::Ne,
        value.cast_unsigned().into(),
    )?)
}

/// x32 calls carry the native architecture's mark but other numbers.
fn x32_guard() -> BpfProgram {
    use seccompiler::sock_filter;
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const X32_BIT: u32 = 0x4000_0000;
    const RET_ALLOW: u32 = 0x7fff_0000;
    const RET_ERRNO: u32 = 0x0005_0000;
    vec![
        sock_filter {
            code: LOAD_WORD,
            jt: 0,
            jf: 0,
            k: 0,
        },
        sock_filter {
            code: JUMP_IF_AT_LEAST,
            jt: 0,
            jf: 1,
            k: X32_BIT,
        },
        sock_filter {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: RET_ERRNO | libc::ENOSYS.cast_unsigned(),
        },
        sock_filter {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: RET_ALLOW,
        },
    ]
}
