//! A living sandbox: the task that attends to it, and the handle that callers hold.
//!
//! The task owns the process, the control socket and the clocks of the backstop; handles only send wishes.
//! Start at [`attend`].

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::disk::Size;
use crate::error::Error;
use crate::launch::{Launched, read_complaints};
use crate::output::{Kept, LIVE_LINES, Pump};
use crate::policy::{Limits, Policy, Tier};
use crate::report::{Ending, Limit, OutputLine, Process, Report, Stream, Usage};
use crate::wire::{self, Done, FromInit, StopReason, ToInit};

/// Wishes that may wait for the attending task.
const WISHES: usize = 64;
/// After a limit or a cancellation the init has this long to clean up before everything is killed from outside.
const BACKSTOP: Duration = Duration::from_secs(1);
/// How long output may still flow when every process is dead.
const LAST_OUTPUT: Duration = Duration::from_secs(2);
/// The walls stand after this time or never.
const SETUP: Duration = Duration::from_secs(20);

/// A started sandbox. Clones share it; dropping the last one kills it.
#[derive(Clone)]
pub struct Running {
    handle: Arc<Handle>,
}

struct Handle {
    wishes: mpsc::Sender<Wish>,
    lines: broadcast::Sender<OutputLine>,
    outcome: watch::Receiver<Option<Result<Arc<Report>, String>>>,
    cancel: CancellationToken,
    published: Option<SocketAddr>,
    tier: Tier,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// What a handle asks of the attending task.
pub(crate) enum Wish {
    Stop(StopReason, Duration),
    Socket(oneshot::Sender<io::Result<OwnedFd>>),
    Processes(oneshot::Sender<io::Result<OwnedFd>>),
}

impl Running {
    /// Lines of output from now on. A reader that is too slow loses the oldest lines, never the newest.
    #[must_use]
    pub fn subscribe_output(&self) -> broadcast::Receiver<OutputLine> {
        self.handle.lines.subscribe()
    }

    /// Where the published port listens on the host.
    #[must_use]
    pub fn published(&self) -> Option<SocketAddr> {
        self.handle.published
    }

    /// The tier it runs in.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.handle.tier
    }

    /// Connects to a port inside (on its 127.0.0.1).
    ///
    /// # Errors
    /// [`Error::Ended`], or [`Error::Io`] when nothing listens.
    pub async fn connect(&self, port: u16) -> Result<TcpStream, Error> {
        connect_inside(&self.handle.wishes, port).await
    }

    /// The processes inside, without the init.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn processes(&self) -> Result<Vec<Process>, Error> {
        let file = ask(&self.handle.wishes, Wish::Processes).await?;
        let mut file = std::fs::File::from(file);
        io::Seek::rewind(&mut file).map_err(|e| Error::io("read the process table", e))?;
        serde_json::from_reader(io::BufReader::new(file))
            .map_err(|e| Error::io("read the process table", e))
    }

    /// Asks all processes to end (SIGTERM), kills what is left after `grace`, and waits. The ending is what
    /// the command did with the signal.
    pub async fn stop(&self, grace: Duration) {
        // A grace of zero would mean "kill": one millisecond still lets the signal be seen.
        let grace = grace.max(Duration::from_millis(1));
        let _ = self
            .handle
            .wishes
            .send(Wish::Stop(StopReason::Asked, grace))
            .await;
        let _ = self.wait().await;
    }

    /// Kills at once; the ending is `Cancelled`.
    pub fn cancel(&self) {
        self.handle.cancel.cancel();
    }

    /// Waits for the end. May be called by several holders.
    ///
    /// # Errors
    /// [`Error::Setup`] when the walls broke before the command ended.
    pub async fn wait(&self) -> Result<Arc<Report>, Error> {
        let mut outcome = self.handle.outcome.clone();
        let ended = outcome
            .wait_for(Option::is_some)
            .await
            .map_err(|_| Error::Ended)?;
        match &*ended {
            Some(Ok(report)) => Ok(Arc::clone(report)),
            Some(Err(what)) => Err(Error::Setup(what.clone())),
            None => Err(Error::Ended),
        }
    }

    pub(crate) async fn wait_or_cancel(
        &self,
        cancel: &CancellationToken,
    ) -> Result<Arc<Report>, Error> {
        tokio::select! {
            ended = self.wait() => return ended,
            () = cancel.cancelled() => self.cancel(),
        }
        self.wait().await
    }
}

async fn ask(
    wishes: &mpsc::Sender<Wish>,
    wish: fn(oneshot::Sender<io::Result<OwnedFd>>) -> Wish,
) -> Result<OwnedFd, Error> {
    let (reply, answer) = oneshot::channel();
    wishes.send(wish(reply)).await.map_err(|_| Error::Ended)?;
    answer
        .await
        .map_err(|_| Error::Ended)?
        .map_err(|e| Error::io("ask the sandbox's init", e))
}

/// Connects to a port of the inner network through a socket that its init made.
pub(crate) async fn connect_inside(
    wishes: &mpsc::Sender<Wish>,
    port: u16,
) -> Result<TcpStream, Error> {
    let socket = ask(wishes, Wish::Socket).await?;
    let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket
        .connect(address)
        .await
        .map_err(|e| Error::io(format!("connect to port {port} inside the sandbox"), e))
}

/// Takes over a launched sandbox; returns when the command has been started.
///
/// # Errors
/// [`Error::Setup`] with what bubblewrap or the init said.
pub(crate) async fn attend(
    tracker: &TaskTracker,
    policy: Policy,
    launched: Launched,
    before: Size,
) -> Result<Running, Error> {
    let (wishes, asked) = mpsc::channel(WISHES);
    let (lines, _) = broadcast::channel(LIVE_LINES);
    let (tell, outcome) = watch::channel(None);
    let cancel = CancellationToken::new();
    let (started, is_started) = oneshot::channel();
    let io_error = |e: io::Error| Error::io("attend to the sandbox", e);
    let kept = [Stream::Stdout, Stream::Stderr]
        .map(|_| Arc::new(Mutex::new(Kept::new(policy.limits.output_bytes))));
    let pumps = TaskTracker::new();
    let pipes = [
        (Stream::Stdout, launched.stdout),
        (Stream::Stderr, launched.stderr),
    ];
    for ((stream, pipe), kept) in pipes.into_iter().zip(&kept) {
        let pipe = Receiver::from_owned_fd(pipe).map_err(io_error)?;
        let pump = Pump {
            stream,
            kept: Arc::clone(kept),
            lines: lines.clone(),
        };
        // A service may talk for years; what it says is dropped, not held against it.
        let flooded = policy.limits.wall_ms.is_some().then(|| wishes.clone());
        pumps.spawn(pump.run(pipe, move || {
            if let Some(wishes) = flooded {
                let _ =
                    wishes.try_send(Wish::Stop(StopReason::Limit(Limit::Output), Duration::ZERO));
            }
        }));
    }
    pumps.close();
    let control =
        registered(launched.control, Interest::READABLE | Interest::WRITABLE).map_err(io_error)?;
    let pidfd = registered(launched.pidfd, Interest::READABLE).map_err(io_error)?;
    let disk = DiskWatch {
        watched: Arc::new(launched.watched),
        before: Arc::new(before),
    };
    let attendant = Attendant {
        control,
        pidfd,
        child: launched.child,
        complaints: launched.complaints,
        limits: policy.limits,
        asked,
        cancel: cancel.clone(),
        started: Some(started),
        pending: HashMap::new(),
        begun: Instant::now(),
        kill_at: None,
        reason: None,
        done: None,
        failed: None,
    };
    let disk_wishes = wishes.downgrade();
    tracker.spawn(async move {
        let identity = launched.identity;
        let outcome = attendant.run(disk, disk_wishes, pumps, kept).await;
        drop(identity);
        let _ = tell.send(Some(outcome.map(Arc::new)));
    });
    let handle = Handle {
        wishes,
        lines,
        outcome,
        cancel,
        published: None,
        tier: Tier::Full,
    };
    let running = Running {
        handle: Arc::new(handle),
    };
    match is_started.await {
        Ok(()) => Ok(running),
        Err(_) => match running.wait().await {
            Ok(_) => Ok(running),
            Err(error) => Err(error),
        },
    }
}

/// The writable folders and what they held before.
struct DiskWatch {
    watched: Arc<crate::disk::Watched>,
    before: Arc<Size>,
}

struct Attendant {
    control: AsyncFd<OwnedFd>,
    pidfd: AsyncFd<OwnedFd>,
    child: Child,
    complaints: OwnedFd,
    limits: Limits,
    asked: mpsc::Receiver<Wish>,
    cancel: CancellationToken,
    started: Option<oneshot::Sender<()>>,
    pending: HashMap<u64, oneshot::Sender<io::Result<OwnedFd>>>,
    begun: Instant,
    kill_at: Option<Instant>,
    reason: Option<StopReason>,
    done: Option<Done>,
    failed: Option<String>,
}

impl Attendant {
    async fn run(
        mut self,
        disk: DiskWatch,
        wishes: mpsc::WeakSender<Wish>,
        pumps: TaskTracker,
        kept: [Arc<Mutex<Kept>>; 2],
    ) -> Result<Report, String> {
        let watching = CancellationToken::new();
        let watch = TaskTracker::new();
        if !disk.watched.roots.is_empty() {
            watch.spawn(disk.follow(self.limits.clone(), wishes, watching.clone()));
        }
        watch.close();
        self.until_dead().await;
        watching.cancel();
        watch.wait().await;
        let _ = tokio::time::timeout(LAST_OUTPUT, pumps.wait()).await;
        let grown = disk.finish().await;
        let [stdout, stderr] =
            kept.map(|k| k.lock().unwrap_or_else(PoisonError::into_inner).captured());
        let (ending, usage, left_over_processes) = self.account(grown)?;
        Ok(Report {
            tier: Tier::Full,
            ending,
            stdout,
            stderr,
            usage,
            network: Vec::new(),
            left_over_processes,
        })
    }

    /// Serves wishes and messages until bubblewrap, and with it everything inside, is dead.
    async fn until_dead(&mut self) {
        if let Some(wall_ms) = self.limits.wall_ms {
            self.kill_at = Some(self.begun + Duration::from_millis(wall_ms) + BACKSTOP);
        }
        let setup_until = self.begun + SETUP;
        let mut next_id = 0;
        loop {
            let setup = self.started.is_some().then_some(setup_until);
            let alarm = [self.kill_at, setup].into_iter().flatten().min();
            tokio::select! {
                dead = self.pidfd.readable() => { drop(dead); break }
                message = receive(&self.control) => match message {
                    Ok(Some((message, fds))) => self.heard(message, fds),
                    _ => break,
                },
                wish = self.asked.recv() => if let Some(wish) = wish {
                    next_id += 1;
                    self.serve(next_id, wish).await;
                },
                () = self.cancel.cancelled(), if self.reason.is_none() => {
                    self.serve(0, Wish::Stop(StopReason::Cancelled, Duration::ZERO)).await;
                }
                () = sleep_until(alarm) => {
                    if self.started.is_some() {
                        self.failed = Some("the walls did not stand in time".into());
                    }
                    self.reason.get_or_insert(StopReason::Limit(Limit::Wall));
                    let _ = self.child.kill();
                    self.kill_at = None;
                    self.started = None;
                }
            }
        }
        self.bury().await;
    }

    /// Reads what the init still said, then waits for bubblewrap; kills it when it lingers.
    async fn bury(&mut self) {
        while let Ok(Some((message, fds))) = wire::receive(self.control.get_ref()) {
            self.heard(message, fds);
        }
        if tokio::time::timeout(BACKSTOP, self.pidfd.readable())
            .await
            .is_err()
        {
            let _ = self.child.kill();
        }
        let _ = self.pidfd.readable().await;
        let _ = self.child.wait();
        self.pending.clear();
    }

    fn heard(&mut self, message: FromInit, mut fds: Vec<OwnedFd>) {
        match message {
            FromInit::Started { .. } => {
                if let Some(started) = self.started.take() {
                    let _ = started.send(());
                }
            }
            FromInit::Failed { what } => self.failed = Some(what),
            FromInit::Socket { id } | FromInit::Processes { id } => {
                if let Some(reply) = self.pending.remove(&id) {
                    let _ = reply.send(
                        fds.pop()
                            .ok_or_else(|| io::Error::other("the init could not answer")),
                    );
                }
            }
            FromInit::Done(done) => self.done = Some(done),
        }
    }

    async fn serve(&mut self, id: u64, wish: Wish) {
        let message = match wish {
            Wish::Stop(reason, grace) => {
                self.reason.get_or_insert(reason);
                let at = Instant::now() + grace + BACKSTOP;
                self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
                let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                ToInit::Stop { reason, grace_ms }
            }
            Wish::Socket(reply) => {
                self.pending.insert(id, reply);
                ToInit::Socket { id }
            }
            Wish::Processes(reply) => {
                self.pending.insert(id, reply);
                ToInit::Processes { id }
            }
        };
        let sent = self.control.async_io(Interest::WRITABLE, |socket| {
            wire::send(socket, &message, &[])
        });
        if !matches!(tokio::time::timeout(BACKSTOP, sent).await, Ok(Ok(()))) {
            self.pending.remove(&id);
        }
    }

    /// The end of the story, from the init's account or from what is known without it.
    fn account(&self, grown: (u64, u64)) -> Result<(Ending, Usage, u32), String> {
        let (disk_bytes, inodes) = grown;
        let Some(done) = self.done else {
            let ending = match (&self.failed, self.reason) {
                (Some(what), _) => return Err(what.clone()),
                (None, Some(StopReason::Limit(limit))) => Ending::Stopped(limit),
                (None, Some(StopReason::Cancelled)) => Ending::Cancelled,
                (None, Some(StopReason::Asked)) => Ending::Signalled(libc::SIGKILL),
                (None, None) => return Err(self.broken()),
            };
            let wall_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Ok((
                ending,
                Usage {
                    wall_ms,
                    disk_bytes,
                    inodes,
                    ..Usage::default()
                },
                0,
            ));
        };
        let usage = Usage {
            wall_ms: done.wall_ms,
            cpu_ms: done.cpu_ms,
            max_rss_bytes: done.max_rss_bytes,
            max_processes: done.max_processes,
            disk_bytes,
            inodes,
        };
        let ending = match done.stopped {
            Some(StopReason::Limit(limit)) => Ending::Stopped(limit),
            Some(StopReason::Cancelled) => Ending::Cancelled,
            Some(StopReason::Asked) | None => ending_of(done.status),
        };
        Ok((ending, usage, done.left_over))
    }

    fn broken(&self) -> String {
        let said = read_complaints(&self.complaints);
        if said.is_empty() {
            "the sandbox ended without an account; was it killed?".into()
        } else {
            said
        }
    }
}

fn ending_of(status: i32) -> Ending {
    if libc::WIFSIGNALED(status) {
        Ending::Signalled(libc::WTERMSIG(status))
    } else {
        Ending::Exited(libc::WEXITSTATUS(status))
    }
}

/// Hands a descriptor to the runtime's poller.
fn registered(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` keeps its descriptor open and the same until the `AsyncFd` drops it.
    #[expect(unsafe_code, reason = "tokio asks for exactly that promise")]
    unsafe {
        AsyncFd::register_with_interest(fd, interest).map_err(|e| io::Error::other(e.to_string()))
    }
}

async fn receive(control: &AsyncFd<OwnedFd>) -> io::Result<Option<(FromInit, Vec<OwnedFd>)>> {
    control
        .async_io(Interest::READABLE, |socket| wire::receive(socket))
        .await
}

async fn sleep_until(alarm: Option<Instant>) {
    match alarm {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// How fast a disk can fill, for choosing when to look next.
const FILL_BYTES_PER_MS: u64 = 1024 * 1024;
/// How fast files can be made.
const INODES_PER_MS: u64 = 100;
/// Bounds of the time between two looks at the writable folders.
const LOOK_MS: std::ops::RangeInclusive<u64> = 20..=2000;
/// A look may take this part of the time.
const LOOK_SHARE: u32 = 10;

impl DiskWatch {
    /// Looks at the writable folders as often as they could fill up, and stops the command that fills them.
    fn follow(
        &self,
        limits: Limits,
        wishes: mpsc::WeakSender<Wish>,
        until: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let (watched, before) = (Arc::clone(&self.watched), Arc::clone(&self.before));
        async move {
            let mut pause = next_look(&limits, 0, 0, Duration::ZERO);
            loop {
                if until
                    .run_until_cancelled(tokio::time::sleep(pause))
                    .await
                    .is_none()
                {
                    return;
                }
                let (watched, measured_from) = (Arc::clone(&watched), Arc::clone(&before));
                let most = before.inodes.saturating_add(limits.inodes);
                let began = Instant::now();
                let Ok(now) =
                    tokio::task::spawn_blocking(move || watched.during(&measured_from, most)).await
                else {
                    return;
                };
                let bytes = now.bytes.saturating_sub(before.bytes);
                let inodes = now.inodes.saturating_sub(before.inodes);
                let limit = if inodes > limits.inodes || now.beyond {
                    Some(Limit::Inodes)
                } else if bytes > limits.disk_bytes {
                    Some(Limit::Disk)
                } else {
                    None
                };
                if let Some(limit) = limit {
                    if let Some(wishes) = wishes.upgrade() {
                        let _ = wishes
                            .send(Wish::Stop(StopReason::Limit(limit), Duration::ZERO))
                            .await;
                    }
                    return;
                }
                pause = next_look(&limits, bytes, inodes, began.elapsed());
            }
        }
    }

    /// The growth, after taking set-id bits off new files.
    async fn finish(self) -> (u64, u64) {
        if self.watched.roots.is_empty() {
            return (0, 0);
        }
        let before = Arc::clone(&self.before);
        let after = tokio::task::spawn_blocking(move || self.watched.after(&self.before))
            .await
            .unwrap_or_default();
        (
            after.bytes.saturating_sub(before.bytes),
            after.inodes.saturating_sub(before.inodes),
        )
    }
}

fn next_look(limits: &Limits, bytes: u64, inodes: u64, took: Duration) -> Duration {
    let room = limits.disk_bytes.saturating_sub(bytes) / FILL_BYTES_PER_MS;
    let files = limits.inodes.saturating_sub(inodes) / INODES_PER_MS;
    Duration::from_millis(room.min(files).clamp(*LOOK_MS.start(), *LOOK_MS.end()))
        .max(took * LOOK_SHARE)
}
