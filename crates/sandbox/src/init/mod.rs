//! The inner init: process 1 of a sandbox. It starts the command, watches its limits from inside, reaps every
//! process, and says at the end what was used.
//!
//! It is this same executable, started again by bubblewrap, single-threaded, before any runtime. It is not in
//! the path of network data: it only makes sockets and hands them to the supervisor. Start at [`run`].

mod harden;
mod table;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, WaitOptions};

use crate::report::Limit;
use crate::wire::{Done, FromInit, INIT_ARGUMENT, InitConfig, StopReason, ToInit};

/// How long processes that end together with the command may take before they count as left behind.
const LEFT_OVER_GRACE: Duration = Duration::from_millis(50);
/// How fast memory can fill, for choosing when to look next.
const FILL_BYTES_PER_MS: u64 = 2 * 1024 * 1024;
/// Bounds of the time between two looks at the process table.
const TICK_MS: std::ops::RangeInclusive<u64> = 10..=250;
/// Exit code when the program does not exist, as shells have it.
const NOT_FOUND: i32 = 127;
/// Exit code when it cannot be started.
const NOT_STARTED: i32 = 126;

/// Becomes the inner init and never returns when the command line asks for it; else does nothing.
/// Call it first in `main`, before any thread or runtime exists.
pub fn run_init_if_requested() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(INIT_ARGUMENT) {
        return;
    }
    let mut descriptor = || {
        arguments
            .next()
            .and_then(|a| a.parse::<i32>().ok())
            .filter(|fd| *fd > 2)
    };
    let (Some(control), Some(config)) = (descriptor(), descriptor()) else {
        std::process::exit(2)
    };
    // SAFETY: fcntl on a number only asks whether it is an open descriptor; both come from the supervisor and
    // belong to nobody else in this process.
    #[expect(unsafe_code, reason = "descriptors inherited by number")]
    let (control, config) = unsafe {
        if libc::fcntl(control, libc::F_GETFD) < 0 || libc::fcntl(config, libc::F_GETFD) < 0 {
            std::process::exit(2);
        }
        (OwnedFd::from_raw_fd(control), OwnedFd::from_raw_fd(config))
    };
    let code = match run(&control, config) {
        Ok(()) => 0,
        Err(what) => {
            let _ = crate::wire::send(&control, &FromInit::Failed { what }, &[]);
            1
        }
    };
    std::process::exit(code);
}

/// The main flow: wall in, start, watch, clean up, account.
fn run(control: &OwnedFd, config: OwnedFd) -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| e.to_string())?;
    harden::close_on_exec_all()?;
    let config = read_config(config).map_err(|e| format!("cannot read the configuration: {e}"))?;
    if config.namespaced {
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
            .map_err(|e| format!("cannot hide the init from the command: {e}"))?;
    } else {
        rustix::process::set_child_subreaper(Pid::from_raw(1)).map_err(|e| e.to_string())?;
    }
    check_identities(&config)?;
    let listeners = listen(&config.listeners)?;
    harden::drop_capabilities()?;
    let signals = harden::child_signals()?;
    if supervisor_is_gone(control) {
        std::process::exit(1);
    }
    let started = Instant::now();
    let command = start_command(&config);
    let descriptors: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
    let abi = harden::landlock_abi();
    let pid = match command {
        Ok(pid) => pid,
        Err((code, what)) => {
            complain(config.stderr, &what);
            let _ = crate::wire::send(
                control,
                &FromInit::Started { landlock_abi: abi },
                &descriptors,
            );
            let done = Done {
                status: code << 8,
                ..empty_account()
            };
            return crate::wire::send(control, &FromInit::Done(done), &[])
                .map_err(|e| e.to_string());
        }
    };
    crate::wire::send(
        control,
        &FromInit::Started { landlock_abi: abi },
        &descriptors,
    )
    .map_err(|e| e.to_string())?;
    drop(listeners);
    let mut watch = Watch {
        config: &config,
        control,
        signals,
        pid,
        started,
        status: None,
        account: empty_account(),
    };
    watch.until_ended();
    watch.clean_up();
    crate::wire::send(control, &FromInit::Done(watch.settle()), &[]).map_err(|e| e.to_string())
}

/// Asks only whether the other end was closed.
fn supervisor_is_gone(control: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(control, PollFlags::empty())];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

fn empty_account() -> Done {
    Done {
        status: 0,
        stopped: None,
        wall_ms: 0,
        cpu_ms: 0,
        max_rss_bytes: 0,
        max_processes: 1,
        left_over: 0,
    }
}

fn read_config(fd: OwnedFd) -> io::Result<InitConfig> {
    let mut file = File::from(fd);
    file.rewind()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Every mount shows the very file that the supervisor opened, although its path may have been exchanged since.
fn check_identities(config: &InitConfig) -> Result<(), String> {
    for (path, device, inode) in &config.identities {
        let meta = std::fs::symlink_metadata(path)
            .map_err(|e| format!("cannot see {}: {e}", path.display()))?;
        if (meta.dev(), meta.ino()) != (*device, *inode) {
            return Err(format!(
                "{} is not the declared file any more: it was exchanged meanwhile",
                path.display()
            ));
        }
    }
    Ok(())
}

fn listen(addresses: &[(Ipv4Addr, u16)]) -> Result<Vec<TcpListener>, String> {
    let bind = |&(ip, port): &(Ipv4Addr, u16)| {
        let listener = TcpListener::bind((ip, port))
            .map_err(|e| format!("cannot listen on {ip}:{port} inside: {e}"))?;
        listener.set_nonblocking(true).map_err(|e| e.to_string())?;
        Ok(listener)
    };
    addresses.iter().map(bind).collect()
}

fn start_command(config: &InitConfig) -> Result<Pid, (i32, String)> {
    let program = config.argv.first().map(String::as_str).unwrap_or_default();
    let walls = harden::Walls::prepare(config).map_err(|what| (NOT_STARTED, what))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the sandbox is where untrusted processes start"
    )]
    let mut command = std::process::Command::new(program);
    command
        .args(&config.argv[1..])
        .env_clear()
        .envs(config.env.iter().map(|(k, v)| (k, v)));
    command.current_dir(&config.workdir);
    command.stdin(config.stdin.map_or_else(Stdio::null, inherited));
    command
        .stdout(inherited(config.stdout))
        .stderr(inherited(config.stderr));
    let mut walls = Some(walls);
    // SAFETY: this process has one thread, so the forked child may allocate and call anything.
    #[expect(unsafe_code, reason = "the walls go up between fork and exec")]
    unsafe {
        command.pre_exec(move || walls.take().map_or(Ok(()), harden::Walls::raise));
    }
    if !config.workdir.is_dir() {
        return Err((
            NOT_STARTED,
            format!(
                "the working directory {} does not exist",
                config.workdir.display()
            ),
        ));
    }
    match command.spawn() {
        // Invariant: a spawned child's id is positive.
        Ok(child) => {
            Pid::from_raw(child.id().cast_signed()).ok_or((NOT_STARTED, "no process id".into()))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err((NOT_FOUND, format!("cannot find {program}")))
        }
        Err(e) => Err((NOT_STARTED, format!("cannot start {program}: {e}"))),
    }
}

/// One more descriptor for what the supervisor passed by number; the number itself stays open, for complaints.
fn inherited(fd: i32) -> Stdio {
    rustix::io::fcntl_dupfd_cloexec(passed(fd), 3).map_or_else(|_| Stdio::null(), Stdio::from)
}

fn passed<'a>(fd: i32) -> BorrowedFd<'a> {
    // SAFETY: the supervisor passed this descriptor for exactly this use, and it is never closed here.
    #[expect(unsafe_code, reason = "descriptor inherited by number")]
    unsafe {
        BorrowedFd::borrow_raw(fd)
    }
}

fn complain(stderr: i32, what: &str) {
    let _ = rustix::io::write(passed(stderr), format!("sandbox: {what}\n").as_bytes());
}

/// Watches one command.
struct Watch<'a> {
    config: &'a InitConfig,
    control: &'a OwnedFd,
    signals: OwnedFd,
    pid: Pid,
    started: Instant,
    status: Option<i32>,
    account: Done,
}

impl Watch<'_> {
    /// Returns when the command has ended or must be ended.
    fn until_ended(&mut self) {
        let deadline = self
            .config
            .limits
            .wall_ms
            .map(|ms| self.started + Duration::from_millis(ms));
        let mut tick = self.started + Duration::from_millis(self.next_tick_ms(0, 0));
        let mut kill_at: Option<Instant> = None;
        while self.status.is_none() {
            let wake = [Some(tick), deadline, kill_at]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(tick);
            let (child, control) = self.poll(wake);
            if child {
                self.reap();
            }
            if control && self.status.is_none() {
                match self.hear() {
                    Heard::Nothing => {}
                    Heard::Stop(reason, 0) => return self.end(reason),
                    Heard::Stop(reason, grace_ms) => {
                        self.account.stopped = Some(reason);
                        kill_at = Some(Instant::now() + Duration::from_millis(grace_ms));
                        let _ = self.signal_all(Signal::TERM);
                    }
                }
            }
            let now = Instant::now();
            if self.status.is_none() && kill_at.is_some_and(|at| at <= now) {
                return self.end(StopReason::Asked);
            }
            if self.status.is_none() && deadline.is_some_and(|at| at <= now) {
                return self.end(StopReason::Limit(Limit::Wall));
            }
            if self.status.is_none() && tick <= now {
                match self.look() {
                    Ok(next_ms) => tick = now + Duration::from_millis(next_ms),
                    Err(limit) => return self.end(StopReason::Limit(limit)),
                }
            }
        }
    }

    fn end(&mut self, reason: StopReason) {
        self.account.stopped = Some(reason);
    }

    /// Waits for a child or a message until `wake`.
    fn poll(&self, wake: Instant) -> (bool, bool) {
        // One more millisecond, so that the deadline has passed when poll says so.
        let left = wake.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let timeout = rustix::event::Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(self.control, PollFlags::IN),
        ];
        if rustix::event::poll(&mut fds, Some(&timeout)).is_err() {
            return (true, false);
        }
        (!fds[0].revents().is_empty(), !fds[1].revents().is_empty())
    }

    /// Reaps what has ended; notes the command's own status.
    fn reap(&mut self) -> Left {
        let mut buffer = [0_u8; 512];
        while rustix::io::read(&self.signals, &mut buffer).is_ok_and(|n| n > 0) {}
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if pid == self.pid {
                        self.status = Some(status.as_raw());
                    }
                }
                Ok(None) => return Left::Some,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Left::None,
            }
        }
    }

    /// One message of the supervisor. When it is gone, so is the sandbox.
    fn hear(&mut self) -> Heard {
        let Ok(Some((message, _))) = crate::wire::receive::<ToInit>(self.control) else {
            let _ = self.signal_all(Signal::KILL);
            std::process::exit(1);
        };
        match message {
            ToInit::Stop { reason, grace_ms } => return Heard::Stop(reason, grace_ms),
            ToInit::Socket { id } => {
                let socket = harden::tcp_socket();
                let fds: Vec<BorrowedFd<'_>> = socket.iter().map(AsFd::as_fd).collect();
                let _ = crate::wire::send(self.control, &FromInit::Socket { id }, &fds);
            }
            ToInit::Processes { id } => {
                let processes = table::describe(self.own_pid());
                let file = serde_json::to_vec(&processes)
                    .map_err(io::Error::from)
                    .and_then(|text| crate::wire::memory_file("processes", &text));
                let fds: Vec<BorrowedFd<'_>> = file.iter().map(AsFd::as_fd).collect();
                let _ = crate::wire::send(self.control, &FromInit::Processes { id }, &fds);
            }
        }
        Heard::Nothing
    }

    /// Looks at memory, CPU time and in-memory files; says when to look again.
    fn look(&mut self) -> Result<u64, Limit> {
        let limits = &self.config.limits;
        let seen = table::scan(self.own_pid(), self.config.namespaced);
        let files = table::memory_files(&self.config.memory_dirs);
        self.account.max_processes = self.account.max_processes.max(seen.processes);
        self.account.max_rss_bytes = self.account.max_rss_bytes.max(seen.rss_bytes);
        let mut memory = seen.rss_bytes + files.bytes;
        if memory > limits.memory_bytes {
            memory = table::proportional(&seen.pids) + files.bytes;
        }
        if memory > limits.memory_bytes {
            return Err(Limit::Memory);
        }
        if files.inodes > limits.inodes {
            return Err(Limit::Inodes);
        }
        let cpu_ms = seen.cpu_ms + table::reaped_cpu_ms();
        if limits.cpu_ms.is_some_and(|limit| cpu_ms > limit) {
            return Err(Limit::Cpu);
        }
        Ok(self.next_tick_ms(memory, cpu_ms))
    }

    /// The time in which the room that is left could be used up.
    fn next_tick_ms(&self, memory: u64, cpu_ms: u64) -> u64 {
        let limits = &self.config.limits;
        let memory_ms = limits.memory_bytes.saturating_sub(memory) / FILL_BYTES_PER_MS;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let cpu_left_ms = limits
            .cpu_ms
            .map_or(u64::MAX, |limit| limit.saturating_sub(cpu_ms) / cores);
        memory_ms
            .min(cpu_left_ms)
            .clamp(*TICK_MS.start(), *TICK_MS.end())
    }

    /// Counts what the command left behind, then kills and reaps everything.
    fn clean_up(&mut self) {
        self.account.wall_ms =
            u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let by_itself = self.account.stopped.is_none();
        let grace = Instant::now() + LEFT_OVER_GRACE;
        while by_itself && self.reap() == Left::Some {
            if Instant::now() >= grace {
                self.account.left_over =
                    table::scan(self.own_pid(), self.config.namespaced).processes;
                break;
            }
            self.poll(grace);
        }
        loop {
            let _ = self.signal_all(Signal::KILL);
            if self.reap() == Left::None {
                break;
            }
            self.poll(Instant::now() + Duration::from_millis(*TICK_MS.start()));
        }
    }

    fn own_pid(&self) -> u32 {
        std::process::id()
    }

    /// Signals every process inside but this one.
    fn signal_all(&self, signal: Signal) -> rustix::io::Result<()> {
        if self.config.namespaced {
            harden::signal_namespace(signal)
        } else {
            table::signal_descendants(self.own_pid(), signal);
            Ok(())
        }
    }

    fn settle(&self) -> Done {
        let reaped = table::reaped();
        Done {
            status: self.status.unwrap_or(libc::SIGKILL),
            cpu_ms: reaped.cpu_ms,
            max_rss_bytes: self.account.max_rss_bytes.max(reaped.max_rss_bytes),
            ..self.account
        }
    }
}

enum Heard {
    Nothing,
    Stop(StopReason, u64),
}

/// Whether children are left.
#[derive(PartialEq, Eq)]
enum Left {
    None,
    Some,
}
