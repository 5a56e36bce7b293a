//! The words between supervisor and inner init: JSON datagrams over one socket pair, with descriptors.
//!
//! The workload never sees the socket. Both sides are the same binary, so there is no version to agree on.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::policy::Limits;
use crate::report::Limit;
use crate::seccomp::Sockets;

/// First argument of the inner init.
pub(crate) const INIT_ARGUMENT: &str = "__sandbox-init";
/// Longest message; larger content travels in a memory file.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Most descriptors in one message: a listener per network rule, and the proxy's.
const MAX_DESCRIPTORS: usize = 80;

/// What the init is told before it begins, in a memory file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InitConfig {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) workdir: PathBuf,
    pub(crate) limits: Limits,
    /// Each mount and the identity (device, inode) of the file it must show.
    pub(crate) identities: Vec<(PathBuf, u64, u64)>,
    /// Where the command may write.
    pub(crate) writable: Vec<PathBuf>,
    /// In-memory file systems that count as memory.
    pub(crate) memory_dirs: Vec<PathBuf>,
    /// Loopback addresses to listen on; the descriptors go to the supervisor.
    pub(crate) listeners: Vec<(Ipv4Addr, u16)>,
    /// Standard input; none is `/dev/null`.
    pub(crate) stdin: Option<i32>,
    pub(crate) stdout: i32,
    pub(crate) stderr: i32,
    pub(crate) sockets: Sockets,
    /// Whether the init is process 1 of its own process namespace.
    pub(crate) namespaced: bool,
}

/// Supervisor to init.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToInit {
    /// End everything: SIGTERM first when there is grace.
    Stop { reason: StopReason, grace_ms: u64 },
    /// A TCP socket of the inner network is wanted.
    Socket { id: u64 },
    /// The process table is wanted.
    Processes { id: u64 },
}

/// Why the supervisor ends a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StopReason {
    Asked,
    Cancelled,
    Limit(Limit),
}

/// Init to supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromInit {
    /// The walls stand and the command has been started; carries the listeners.
    Started { landlock_abi: i32 },
    /// The walls could not be built.
    Failed { what: String },
    /// Answer to [`ToInit::Socket`]; carries the socket unless it failed.
    Socket { id: u64 },
    /// Answer to [`ToInit::Processes`]; carries a memory file.
    Processes { id: u64 },
    /// All processes are gone.
    Done(Done),
}

/// The init's account of the run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Wait status of the command.
    pub(crate) status: i32,
    /// Why it was ended, when it did not end by itself.
    pub(crate) stopped: Option<StopReason>,
    pub(crate) wall_ms: u64,
    pub(crate) cpu_ms: u64,
    pub(crate) max_rss_bytes: u64,
    pub(crate) max_processes: u32,
    pub(crate) left_over: u32,
}

pub(crate) fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(
            &socket,
            &[IoSlice::new(&bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })?;
    Ok(())
}

/// The next message and its descriptors; `None` when the other side is gone.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0_u8; MAX_MESSAGE_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            &socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    Ok(Some((
        serde_json::from_slice(&bytes[..received.bytes])?,
        fds,
    )))
}

/// A memory file with this content, positioned at its begin.
pub(crate) fn memory_file(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    use std::io::{Seek, Write};
    let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}
