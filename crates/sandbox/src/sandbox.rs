//! The door: [`Sandbox`] finds out what the machine can do and starts sandboxes.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::Error;
use crate::launch::{self, Machine};
use crate::net::Plan;
use crate::policy::{Command, Limits, Policy, Tier};
use crate::report::{Ending, Report};
use crate::running::{self, Running};
use crate::spawner::on_spawner_thread;
use crate::stage::{self, Pool};

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
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    machine: Arc<Machine>,
    settings: Settings,
    tracker: TaskTracker,
    probe: OnceCell<Probe>,
}

/// Wall time of the command that the probe runs.
const PROBE_WALL_MS: u64 = 10_000;

impl Sandbox {
    /// Prepares to start sandboxes and sweeps what a killed predecessor left in `scratch_root`.
    ///
    /// `init_executable` is normally `/proc/self/exe`: a program that calls [`crate::run_init_if_requested`]
    /// first. `scratch_root` is a directory of the daemon's own, created with mode 0700.
    ///
    /// # Errors
    /// [`Error::Io`] when either cannot be opened.
    pub fn new(
        init_executable: impl AsRef<Path>,
        scratch_root: impl AsRef<Path>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let _ = scratch_root.as_ref();
        let root = rustix::process::geteuid().is_root();
        let init = open_init(init_executable.as_ref(), root)?;
        let pool = root.then(|| Arc::new(Pool::default()));
        let machine = Arc::new(Machine {
            init,
            bwrap: settings.bwrap.clone(),
            pool,
        });
        Ok(Self {
            inner: Arc::new(Inner {
                machine,
                settings,
                tracker: TaskTracker::new(),
                probe: OnceCell::new(),
            }),
        })
    }

    /// Runs the full profile once and says what held; the answer is kept.
    pub async fn probe(&self) -> Probe {
        self.inner
            .probe
            .get_or_init(|| self.try_profile())
            .await
            .clone()
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
        let running = self.start(policy, command).await?;
        let report = running.wait_or_cancel(&cancel).await?;
        Ok(Arc::unwrap_or_clone(report))
    }

    /// Starts a command, for services and live logs. Dropping the last [`Running`] kills it.
    ///
    /// # Errors
    /// Any [`Error`] but [`Error::Ended`].
    pub async fn start(&self, policy: Policy, command: Command) -> Result<Running, Error> {
        policy.check(&command)?;
        let probe = self.probe().await;
        if probe.tier < policy.minimum || probe.tier == Tier::None {
            return Err(Error::TooWeak {
                needed: policy.minimum,
                offered: probe.tier,
                reasons: probe.reasons,
            });
        }
        self.start_full(policy, command).await
    }

    /// Waits for all sandboxes to be accounted for. Call it when shutting down, after stopping them.
    pub async fn drained(&self) {
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
    }

    async fn start_full(&self, policy: Policy, command: Command) -> Result<Running, Error> {
        let machine = Arc::clone(&self.inner.machine);
        let plan = Plan::new(&policy.network);
        let (policy, launched, before) = on_spawner_thread(move || {
            let before = launch::open_writable(&policy)?.before();
            let launched = launch::launch(&machine, &policy, &command, &plan)?;
            Ok((policy, launched, before))
        })
        .await?;
        running::attend(&self.inner.tracker, policy, launched, before).await
    }

    async fn try_profile(&self) -> Probe {
        let policy = Policy {
            limits: Limits {
                wall_ms: Some(PROBE_WALL_MS),
                ..Limits::default()
            },
            ..Policy::default()
        };
        let command = Command {
            argv: vec!["true".into()],
            stdin: Vec::new(),
        };
        let ended = async { self.start_full(policy, command).await?.wait().await }.await;
        match ended {
            Ok(report) if report.ending == Ending::Exited(0) => Probe {
                tier: Tier::Full,
                reasons: Vec::new(),
            },
            Ok(report) => self.weaker(format!(
                "the probe ended as {:?}: {}",
                report.ending,
                report.stderr.text()
            )),
            Err(error) => self.weaker(error.to_string()),
        }
    }

    fn weaker(&self, reason: String) -> Probe {
        let _ = self.inner.settings.allow_process_tier;
        Probe {
            tier: Tier::None,
            reasons: vec![reason],
        }
    }
}

/// Opens the init. One that a dropped identity could not execute is copied into memory.
fn open_init(path: &Path, root: bool) -> Result<OwnedFd, Error> {
    let attempt = || format!("open the sandbox's init {}", path.display());
    let file = std::fs::File::open(path).map_err(|e| Error::io(attempt(), e))?;
    let fd = OwnedFd::from(file);
    if !root || stage::everybody_executes(&fd) {
        return Ok(fd);
    }
    let content = std::fs::read(path).map_err(|e| Error::io(attempt(), e))?;
    crate::wire::memory_file("init", &content).map_err(|e| Error::io(attempt(), e))
}
