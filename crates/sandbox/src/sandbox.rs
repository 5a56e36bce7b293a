//! The door: [`Sandbox`] and [`Running`].

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::policy::{Command, Policy, Tier};
use crate::report::{OutputLine, Process, Report};

/// Resolves a host name and port to addresses; blocking.
pub type Lookup = Arc<dyn Fn(&str, u16) -> std::io::Result<Vec<IpAddr>> + Send + Sync>;

/// What the operator decides.
#[derive(Clone)]
pub struct Settings {
    /// Whether commands may run in tier `process` where `full` is not possible.
    pub allow_process_tier: bool,
    /// The bubblewrap program.
    pub bwrap: PathBuf,
    /// How host names are resolved; `None` asks the system.
    pub lookup: Option<Lookup>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow_process_tier: false,
            bwrap: PathBuf::from("/usr/bin/bwrap"),
            lookup: None,
        }
    }
}

/// What this machine can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The strongest tier that really worked.
    pub tier: Tier,
    /// What is missing for a stronger one and how to get it; also what runs with a weaker mechanism.
    pub reasons: Vec<String>,
}

/// Starts sandboxes. Cheap to clone; one per daemon.
#[derive(Clone)]
pub struct Sandbox {}

impl Sandbox {
    /// Prepares to start sandboxes and sweeps what a killed predecessor left in `scratch_root`.
    ///
    /// `init_executable` is normally `/proc/self/exe`: a program that calls [`crate::run_init_if_requested`]
    /// first. `scratch_root` is a directory of the daemon's own, created with mode 0700.
    ///
    /// # Errors
    /// [`Error::Io`] when either cannot be opened.
    pub fn new(
        init_executable: PathBuf,
        scratch_root: PathBuf,
        settings: Settings,
    ) -> Result<Self, Error> {
        let _ = (init_executable, scratch_root, settings);
        Ok(Self {})
    }

    /// Runs the full profile once and says what held; the answer is kept.
    pub async fn probe(&self) -> Probe {
        Probe {
            tier: Tier::None,
            reasons: vec!["not built yet".into()],
        }
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn run(
        &self,
        policy: Policy,
        command: Command,
        cancel: CancellationToken,
    ) -> Result<Report, Error> {
        let _ = cancel;
        self.start(policy, command).await?;
        Err(Error::Ended)
    }

    /// Starts a command, for services and live logs. Dropping the last [`Running`] kills it.
    ///
    /// # Errors
    /// Any [`Error`] but [`Error::Ended`].
    pub async fn start(&self, policy: Policy, command: Command) -> Result<Running, Error> {
        policy.check(&command)?;
        Err(Error::Setup("not built yet".into()))
    }
}

/// A started sandbox. Clones share it; dropping the last one kills it.
#[derive(Clone)]
pub struct Running {}

impl Running {
    /// Lines of output from now on. A reader that is too slow loses the oldest lines, never the newest.
    #[must_use]
    pub fn subscribe_output(&self) -> broadcast::Receiver<OutputLine> {
        broadcast::channel(1).1
    }

    /// Where the published port listens on the host.
    #[must_use]
    pub fn published(&self) -> Option<SocketAddr> {
        None
    }

    /// The tier it runs in.
    #[must_use]
    pub fn tier(&self) -> Tier {
        Tier::None
    }

    /// Connects to a port inside (on its 127.0.0.1).
    ///
    /// # Errors
    /// [`Error::Ended`], or [`Error::Io`] when nothing listens.
    pub async fn connect(&self, port: u16) -> Result<TcpStream, Error> {
        let _ = port;
        Err(Error::Ended)
    }

    /// The processes inside, without the init.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn processes(&self) -> Result<Vec<Process>, Error> {
        Err(Error::Ended)
    }

    /// Asks all processes to end (SIGTERM), kills what is left after `grace`, and waits. The ending is what
    /// the command did with the signal.
    pub async fn stop(&self, grace: Duration) {
        let _ = grace;
    }

    /// Kills at once; the ending is `Cancelled`.
    pub fn cancel(&self) {}

    /// Waits for the end. May be called by several holders.
    ///
    /// # Errors
    /// [`Error::Setup`] when the walls broke before the command ended.
    pub async fn wait(&self) -> Result<Arc<Report>, Error> {
        Err(Error::Ended)
    }
}

/// Becomes the inner init and never returns when the command line asks for it; else does nothing.
/// Call it first in `main`, before any thread or runtime exists.
pub fn run_init_if_requested() {}
