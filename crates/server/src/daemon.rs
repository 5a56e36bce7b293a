//! The life of the process: one per data directory, from its lock file to its last connection.
//!
//! Not here: what is answered (`router`), what is worked (`App`). Start at [`run`]; the command line starts
//! a detached one with [`start_detached`].

mod detached;
mod doors;
mod log;
mod patient;
mod place;
mod up;

pub use detached::{DetachError, EXIT_RUNNING, Started, start_detached};
pub use place::PlaceError;
pub use up::{Welcome, check, up};

use crate::app::{App, Clocks, StartError, Work};
use crate::config::Config;
use agentwright_domain::run::RunStatus;
use agentwright_store::{OrgScope, RunFilter};
use doors::Doors;
use place::Held;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// The word on standard output when a detached daemon answers.
pub(crate) const READY: &str = "ready";
/// Open files that a daemon takes the right to: each connection is one, runs and the store have some.
const OPEN_FILES: u64 = 65_536;
/// What runs is given so long to finish; the rest is handed back and taken up at the next start.
const GRACE: Duration = Duration::from_secs(2);
/// After so long the process ends whatever is left.
const HARD_STOP: Duration = Duration::from_secs(10);
/// How often the data directory and the socket are looked at.
const PLACE_TICK: Duration = Duration::from_secs(2);
/// How often the clock is compared with the time that has passed.
const CLOCK_TICK: Duration = Duration::from_secs(5);
/// A difference beyond this is a jump.
const CLOCK_JUMP_MS: i64 = 2_000;

/// How the process belongs to whoever started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A terminal or a service manager holds it; it logs to standard error, too.
    Foreground,
    /// A command started it and goes away: its own session, and [`READY`] on standard output.
    Detached,
}

/// Why the daemon does not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The data directory or its lock.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The store, the sandbox, the foundations.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Others could reach it, and nobody could show that they may.
    #[error(
        "will not listen on {0}, which others can reach, while there is no key: make one first (agentwright key create NAME --role admin), or listen on 127.0.0.1:{port}", port = .0.port()
    )]
    Open(SocketAddr),
    /// Another program listens there.
    #[error(
        "cannot listen on {0}: another program does (ss -ltnp shows which); end it, or choose another port"
    )]
    PortTaken(SocketAddr),
    /// The system refused something.
    #[error("cannot {attempted}: {source}")]
    Io {
        /// What was tried, on what.
        attempted: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

impl DaemonError {
    /// The exit code of `agentwright daemon run` for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Place(PlaceError::Running { .. }) => EXIT_RUNNING,
            Self::Place(_)
            | Self::Start(_)
            | Self::Open(_)
            | Self::PortTaken(_)
            | Self::Io { .. } => 1,
        }
    }

    fn io(attempted: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let attempted = attempted.into();
        move |source| Self::Io { attempted, source }
    }
}

/// Is the daemon of this data directory until it is asked to stop (SIGTERM, SIGINT, `POST /daemon/stop`).
///
/// # Errors
/// [`DaemonError`]; the directory is left as it was found.
pub fn run(config: Config, attachment: Attachment) -> Result<(), DaemonError> {
    be(config, attachment, Opening::Plain)
}

/// What is done before the doors open, and told when they are.
enum Opening<'a> {
    /// Nothing.
    Plain,
    /// What a first start needs, and how to get in.
    Up(&'a mut dyn FnMut(&Welcome)),
}

fn be(config: Config, attachment: Attachment, opening: Opening<'_>) -> Result<(), DaemonError> {
    if attachment == Attachment::Detached {
        // Fails only where it already leads a session: then it has its own.
        let _ = rustix::process::setsid();
    }
    let held = Held::take(&config.data_dir)?;
    open_many_files();
    log::start(&config, attachment).map_err(DaemonError::io("write the log"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(DaemonError::io("start the async runtime"))?;
    let ended = runtime.block_on(live(config, held, attachment, opening));
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

/// A terminal allows 1,024 open files, fewer than the connections that the doors let in; as many as the system lets
/// us have are ours to take.
fn open_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = limit
        .maximum
        .map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if limit.current.is_some_and(|now| now < most) {
        let more = Rlimit {
            current: Some(most),
            maximum: limit.maximum,
        };
        // With fewer it works as well, until there are too many connections.
        let _ = setrlimit(Resource::Nofile, more);
    }
}

async fn live(
    config: Config,
    held: Held,
    attachment: Attachment,
    opening: Opening<'_>,
) -> Result<(), DaemonError> {
    let mut asked = Asked::listen().map_err(DaemonError::io("listen for signals"))?;
    let daemon = match opening {
        Opening::Plain => Served::open(config, Work::Real, held).await?,
        Opening::Up(tell) => {
            let (daemon, welcome) = up::open(config, Work::Real, held).await?;
            tell(&welcome);
            daemon
        }
    };
    if attachment == Attachment::Detached {
        // Whoever started it may be gone by now.
        let _ = writeln!(std::io::stdout(), "{READY}");
    }
    let app = daemon.app();
    let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION"));
    tracing::info!(pid, version, data = %app.config().data_dir.display(), "ready");
    app.tasks().spawn(watch_clock(app.clone()));
    tell_resumed(app).await;
    let why = tokio::select! {
        () = asked.wait(app) => Why::Asked,
        () = daemon.watch_place() => Why::PlaceGone,
    };
    let (grace, ended) = match why {
        Why::Asked => (GRACE, Ok(())),
        Why::PlaceGone => {
            let dir = app.config().data_dir.clone();
            (Duration::ZERO, Err(PlaceError::Gone(dir).into()))
        }
    };
    tracing::info!(?why, "stopping");
    if tokio::time::timeout(HARD_STOP, daemon.stop(grace))
        .await
        .is_err()
    {
        tracing::warn!(
            "not everything ended in time; what was being worked on is taken up at the next start"
        );
    }
    tracing::info!("stopped");
    ended
}

/// Why it stops.
#[derive(Debug)]
enum Why {
    Asked,
    PlaceGone,
}

/// What was left open by the daemon before, in one line.
async fn tell_resumed(app: &App) {
    let open = RunFilter {
        open: Some(true),
        limit: RunFilter::LIMIT_MAX,
        ..RunFilter::default()
    };
    match app.store().runs(&OrgScope::local(), open).await {
        Ok(rows) => {
            let waiting = rows.iter().filter(|row| row.status == RunStatus::Waiting);
            tracing::info!(
                open = rows.len(),
                waiting = waiting.count(),
                "runs are taken up"
            );
        }
        Err(error) => tracing::warn!(%error, "cannot tell which runs are open"),
    }
}

/// The ways to be asked to stop.
struct Asked {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Asked {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self, app: &App) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = app.stop_asked().cancelled() => {}
        }
    }
}

/// Notices when somebody sets the machine's clock: what is due is worked out anew. A machine that slept
/// looks the same.
async fn watch_clock(app: App) {
    let mut known = (Instant::now(), app.now_ms());
    loop {
        tokio::select! {
            () = app.stopping().cancelled() => return,
            () = tokio::time::sleep(CLOCK_TICK) => {}
        }
        let now = (Instant::now(), app.now_ms());
        let passed = i64::try_from((now.0 - known.0).as_millis()).unwrap_or(i64::MAX);
        let jump = now.1.saturating_sub(known.1).saturating_sub(passed);
        if jump.abs() > CLOCK_JUMP_MS {
            tracing::warn!(jump_ms = jump, "the machine's clock was set");
            app.clock_jumped(jump);
        }
        known = now;
    }
}

/// Serves an app that somebody else started, on a data directory's socket: the daemon without its process.
/// For programs that measure or test the whole app.
pub struct Served {
    doors: Doors,
    held: Held,
    app: App,
}

impl Served {
    /// Takes the directory's lock, starts the app and opens its doors.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn start(config: Config, work: Work) -> Result<Self, DaemonError> {
        let held = Held::take(&config.data_dir)?;
        Self::open(config, work, held).await
    }

    /// The same, by other clocks.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn start_by(config: Config, work: Work, clocks: Clocks) -> Result<Self, DaemonError> {
        let held = Held::take(&config.data_dir)?;
        let app = App::start_by(config, work, clocks).await?;
        Self::serve(app, held).await
    }

    /// The same as `agentwright up` does it: see [`up()`].
    ///
    /// # Errors
    /// As [`run`].
    pub async fn up(config: Config, work: Work) -> Result<(Self, Welcome), DaemonError> {
        let held = Held::take(&config.data_dir)?;
        up::open(config, work, held).await
    }

    async fn open(config: Config, work: Work, held: Held) -> Result<Self, DaemonError> {
        let app = App::start(config, work).await?;
        Self::serve(app, held).await
    }

    async fn serve(app: App, held: Held) -> Result<Self, DaemonError> {
        let doors = match Doors::open(&app).await {
            Ok(doors) => doors,
            Err(error) => {
                app.stop(Duration::ZERO).await;
                return Err(error);
            }
        };
        held.announce(&app.health())
            .map_err(DaemonError::io("write daemon.json"))?;
        Ok(Self { doors, held, app })
    }

    /// Ends when the data directory is no longer the one that was locked. Meanwhile a socket that somebody
    /// took away is made again.
    pub async fn watch_place(&self) {
        while self.held.is_ours() {
            self.doors.mend();
            tokio::time::sleep(PLACE_TICK).await;
        }
        let dir = self.app.config().data_dir.display();
        tracing::error!(%dir, "the data directory was removed or replaced");
    }

    /// The app.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Closes the doors and ends the app.
    pub async fn stop(self, grace: Duration) {
        tokio::join!(self.doors.close(), self.app.stop(grace));
        self.held.leave();
    }
}
