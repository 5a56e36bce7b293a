//! The task that attends to one living sandbox: it owns the process, the control socket and the backstop's clock.
//!
//! The init enforces most limits from inside; this side enforces disk, output and cancellation, and kills from
//! outside what the init could not end. Start at [`attend`].

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cgroup::Leaf;
use crate::conversation::Spoken;
use crate::disk::Size;
use crate::error::Error;
use crate::growth::Growth;
use crate::launch::Launched;
use crate::net::Net;
use crate::output::{Kept, LIVE_LINES, Pump};
use crate::policy::{Limits, Tier};
use crate::publish::Published;
use crate::report::{Ending, Limit, OutputLine, Report, Stream, Usage};
use crate::running::{Handle, Running, Wish};
use crate::start::{Mortal, read_complaints};
use crate::wire::{self, Done, FromInit, StopReason, ToInit};

/// Wishes that may wait for the attending task.
const WISHES: usize = 64;
/// After a limit or a cancellation the init has this long to clean up before everything is killed from outside.
const BACKSTOP: Duration = Duration::from_secs(1);
/// How long output may still flow when every process is dead.
const LAST_OUTPUT: Duration = Duration::from_secs(2);
/// The walls stand after this time or never.
const SETUP: Duration = Duration::from_secs(20);

/// A launched sandbox and what surrounds it.
pub(crate) struct Case {
    pub(crate) tier: Tier,
    pub(crate) limits: Limits,
    pub(crate) launched: Launched,
    /// The writable folders before the start.
    pub(crate) before: Size,
    pub(crate) net: Option<Arc<Net>>,
    pub(crate) published: Option<Published>,
    /// Where standard output also goes, unshortened, in a conversation.
    pub(crate) spoken: Option<Spoken>,
}

/// Takes over a launched sandbox; returns when the command has been started.
///
/// # Errors
/// [`Error::Setup`] with what bubblewrap or the init said.
pub(crate) async fn attend(tracker: &TaskTracker, case: Case) -> Result<Running, Error> {
    let (wishes, asked) = mpsc::channel(WISHES);
    let (lines, first_listener) = broadcast::channel(LIVE_LINES);
    let (tell, outcome) = watch::channel(None);
    let (started, is_started) = oneshot::channel();
    let cancel = CancellationToken::new();
    let Case {
        tier,
        limits,
        launched,
        before,
        net,
        published,
        spoken,
    } = case;
    let failed = |e: io::Error| Error::io("attend to the sandbox", e);
    let pipes = [launched.stdout, launched.stderr];
    let output = Output::follow(pipes, &limits, &lines, &wishes, spoken).map_err(failed)?;
    let address = published.as_ref().map(|p| p.address);
    let around = Around {
        tier,
        output,
        growth: Growth {
            watched: Arc::new(launched.watched),
            before: Arc::new(before),
        },
        published,
        wishes: wishes.downgrade(),
    };
    let attendant = Attendant {
        control: registered(launched.control, Interest::READABLE | Interest::WRITABLE)
            .map_err(failed)?,
        pidfd: registered(launched.process.pidfd, Interest::READABLE).map_err(failed)?,
        child: launched.process.child,
        complaints: launched.process.complaints,
        leaf: launched.leaf,
        limits,
        net,
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
    let held = launched.held;
    tracker.spawn(async move {
        let outcome = attendant.run(around).await;
        drop(held);
        let _ = tell.send(Some(outcome.map(Arc::new)));
    });
    let running = Running::new(Handle {
        wishes,
        lines,
        first_listener: Mutex::new(Some(first_listener)),
        outcome,
        cancel,
        published: address,
        tier,
    });
    if is_started.await.is_err() {
        // It is over already: with an account when the command was quick, else with the reason.
        running.wait().await?;
    }
    Ok(running)
}

/// Both output streams.
struct Output {
    kept: [Arc<Mutex<Kept>>; 2],
    pumps: TaskTracker,
}

impl Output {
    fn follow(
        pipes: [OwnedFd; 2],
        limits: &Limits,
        lines: &broadcast::Sender<OutputLine>,
        wishes: &mpsc::Sender<Wish>,
        mut spoken: Option<Spoken>,
    ) -> io::Result<Self> {
        let kept = [(); 2].map(|()| Arc::new(Mutex::new(Kept::new(limits.output_bytes))));
        let pumps = TaskTracker::new();
        for ((stream, pipe), kept) in [Stream::Stdout, Stream::Stderr]
            .into_iter()
            .zip(pipes)
            .zip(&kept)
        {
            let pipe = Receiver::from_owned_fd(pipe)?;
            let pump = Pump {
                stream,
                kept: Arc::clone(kept),
                lines: lines.clone(),
                // Standard output comes first.
                spoken: spoken.take(),
            };
            // A service may talk for years; what it says is dropped, not held against it.
            let flooded = limits.wall_ms.is_some().then(|| wishes.downgrade());
            pumps.spawn(pump.run(pipe, move || {
                if let Some(wishes) = flooded.and_then(|w| w.upgrade()) {
                    let _ = wishes
                        .try_send(Wish::Stop(StopReason::Limit(Limit::Output), Duration::ZERO));
                }
            }));
        }
        pumps.close();
        Ok(Self { kept, pumps })
    }
}

/// What runs beside the sandbox and ends with it.
struct Around {
    tier: Tier,
    output: Output,
    growth: Growth,
    published: Option<Published>,
    wishes: mpsc::WeakSender<Wish>,
}

struct Attendant {
    control: AsyncFd<OwnedFd>,
    pidfd: AsyncFd<OwnedFd>,
    child: Mortal,
    complaints: OwnedFd,
    leaf: Option<Leaf>,
    limits: Limits,
    net: Option<Arc<Net>>,
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
    async fn run(mut self, around: Around) -> Result<Report, String> {
        let Around {
            tier,
            output,
            growth,
            published,
            wishes,
        } = around;
        let until = CancellationToken::new();
        let beside = TaskTracker::new();
        if !growth.watched.roots.is_empty() {
            beside.spawn(growth.follow(self.limits.clone(), wishes.clone(), until.clone()));
        }
        if let Some(published) = published {
            beside.spawn(published.serve(wishes, until.clone()));
        }
        beside.close();
        self.until_dead().await;
        until.cancel();
        beside.wait().await;
        let _ = tokio::time::timeout(LAST_OUTPUT, output.pumps.wait()).await;
        let network = match &self.net {
            Some(net) => net.finish().await,
            None => Vec::new(),
        };
        let grown = growth.finish().await;
        let [stdout, stderr] = output
            .kept
            .map(|k| k.lock().unwrap_or_else(PoisonError::into_inner).captured());
        let (ending, usage, left_over_processes) = self.account(grown)?;
        Ok(Report {
            tier,
            ending,
            stdout,
            stderr,
            usage,
            network,
            left_over_processes,
        })
    }

    /// Serves wishes and messages until bubblewrap, and with it everything inside, is dead.
    async fn until_dead(&mut self) {
        let setup_until = self.begun + SETUP;
        let mut next_id = 0;
        let mut cancelled = false;
        loop {
            let setup = self.started.is_some().then_some(setup_until);
            let alarm = [self.kill_at, setup].into_iter().flatten().min();
            tokio::select! {
                dead = self.pidfd.readable() => { drop(dead); break }
                message = receive(&self.control) => match message {
                    Ok(Some((message, fds))) => self.heard(message, fds),
                    _ => break,
                },
                Some(wish) = self.asked.recv() => {
                    next_id += 1;
                    self.serve(next_id, wish).await;
                }
                () = self.cancel.cancelled(), if !cancelled => {
                    cancelled = true;
                    self.serve(0, Wish::Stop(StopReason::Cancelled, Duration::ZERO)).await;
                }
                () = sleep_until(alarm) => {
                    if self.started.is_some() {
                        self.failed = Some("the walls did not stand in time".into());
                    }
                    self.reason.get_or_insert(StopReason::Limit(Limit::Wall));
                    self.kill();
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
            self.kill();
        }
        let _ = self.pidfd.readable().await;
        self.child.reap();
        self.pending.clear();
    }

    fn kill(&mut self) {
        self.child.kill();
        if let Some(leaf) = &self.leaf {
            leaf.kill();
        }
    }

    fn heard(&mut self, message: FromInit, mut fds: Vec<OwnedFd>) {
        match message {
            FromInit::Started { landlock_abi } => {
                tracing::debug!(landlock_abi, "the walls stand");
                if let Some(Err(error)) = self.net.as_ref().map(|net| net.serve(fds)) {
                    tracing::error!(%error, "cannot serve the network of a sandbox");
                }
                if let Some(wall_ms) = self.limits.wall_ms {
                    let at = Instant::now() + Duration::from_millis(wall_ms) + BACKSTOP;
                    self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
                }
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
        let counted = self.leaf.as_ref().map(Leaf::counted).unwrap_or_default();
        let Some(done) = self.done else {
            let ending = match (&self.failed, self.reason) {
                (Some(what), _) => return Err(what.clone()),
                (None, Some(StopReason::Limit(limit))) => Ending::Stopped(limit),
                (None, Some(StopReason::Cancelled)) => Ending::Cancelled,
                (None, Some(StopReason::Asked)) => Ending::Signalled(libc::SIGKILL),
                (None, None) if counted.oom_kills > 0 => Ending::Stopped(Limit::Memory),
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
            cpu_ms: done.cpu_ms.max(counted.cpu_ms),
            max_rss_bytes: done.max_rss_bytes.max(counted.peak_bytes),
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
