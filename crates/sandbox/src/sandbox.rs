//! The door: [`Sandbox`] finds out what the machine can do and starts sandboxes.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attend::{self, Case};
use crate::cgroup::Cgroups;
use crate::conversation::{Conversation, Input};
use crate::disk::Size;
use crate::error::Error;

use crate::launch::{self, Machine};
use crate::living::{Living, Roots};
use crate::net::{Net, Plan};
use crate::policy::{Command, Limits, Policy, Tier};
use crate::publish::Published;
use crate::report::{Ending, Report};
use crate::running::Running;
use crate::scratch;
use crate::spawner::on_spawner_thread;
use crate::stage::{self, Pool};
use crate::start;
use crate::weak;

/// Resolves a host name and port to addresses; blocking.
pub type Lookup = Arc<dyn Fn(&str, u16) -> std::io::Result<Vec<IpAddr>> + Send + Sync>;

/// What the operator decides.
#[derive(Clone)]
pub struct Settings {
    /// Whether tier `process` is offered where `full` is not possible, to policies that accept it.
    pub allow_process_tier: bool,
    /// Whether it is offered in a container, too, because that is itself disposable.
    pub containers_are_disposable: bool,
    /// The bubblewrap program.
    pub bwrap: PathBuf,
    /// How host names are resolved; `None` asks the system.
    pub lookup: Option<Lookup>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow_process_tier: false,
            containers_are_disposable: true,
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
    /// For whom it starts what it starts.
    name: Option<Arc<str>>,
}

struct Inner {
    machine: Arc<Machine>,
    settings: Settings,
    scratch_root: PathBuf,
    /// Why there are no cgroups; the watchdog of the init does their work.
    no_cgroups: Option<String>,
    tracker: TaskTracker,
    probe: OnceCell<Probe>,
    roots: Roots,
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
        let scratch_root = scratch_root.as_ref().to_owned();
        start::sweep();
        scratch::open_root(&scratch_root)
            .map_err(|e| Error::io(format!("prepare {}", scratch_root.display()), e))?;
        let root = rustix::process::geteuid().is_root();
        let init = open_init(init_executable.as_ref(), root)?;
        let pool = root.then(|| Arc::new(Pool::default()));
        let (cgroups, no_cgroups) = match Cgroups::find(root) {
            Ok(found) => (Some(found), None),
            Err(why) => (None, Some(why)),
        };
        let bwrap = settings.bwrap.clone();
        let machine = Arc::new(Machine {
            init,
            bwrap,
            pool,
            cgroups,
        });
        Ok(Self {
            inner: Arc::new(Inner {
                machine,
                settings,
                scratch_root,
                no_cgroups,
                tracker: TaskTracker::new(),
                probe: OnceCell::new(),
                roots: Roots::default(),
            }),
            name: None,
        })
    }

    /// The same, which remembers what it starts under a name: see [`Self::living`].
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            name: Some(Arc::from(name)),
        }
    }

    /// The processes that live in sandboxes of that name, started by any clone. Reads all of `/proc`: for whoever
    /// looks now and then.
    pub fn living(&self, name: &str) -> Vec<Living> {
        self.inner.roots.living(name)
    }

    /// Runs the full profile once and says what held; the answer is kept.
    pub async fn probe(&self) -> Probe {
        self.inner
            .probe
            .get_or_init(|| self.try_tiers())
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
        let running = self.start(policy, command).await?.without_listener();
        let report = running.wait_or_cancel(&cancel).await?;
        Ok(Arc::unwrap_or_clone(report))
    }

    /// Starts a command, for services and live logs. Dropping the last [`Running`] kills it.
    ///
    /// # Errors
    /// Any [`Error`] but [`Error::Ended`].
    pub async fn start(&self, policy: Policy, command: Command) -> Result<Running, Error> {
        let tier = self.tier_for(&policy, &command).await?;
        let started = self.start_in(tier, policy, command, Input::Given).await?;
        Ok(started.0)
    }

    /// Starts a command that is spoken with while it runs: standard input stays open until it is dropped, and
    /// standard output comes whole and in order, in the pace in which it is read. All other walls are the same.
    ///
    /// # Errors
    /// As [`Self::start`]; [`Error::Refused`] when the command brings an input of its own.
    pub async fn converse(
        &self,
        policy: Policy,
        command: Command,
    ) -> Result<(Running, Conversation), Error> {
        if !command.stdin.is_empty() {
            return Err(Error::refused(
                "the command's standard input",
                "it is given although the input is to stay open",
                "write it into the conversation",
            ));
        }
        let tier = self.tier_for(&policy, &command).await?;
        let (running, conversation) = self.start_in(tier, policy, command, Input::Live).await?;
        let conversation = conversation.ok_or(Error::Ended)?;
        Ok((running.without_listener(), conversation))
    }

    async fn tier_for(&self, policy: &Policy, command: &Command) -> Result<Tier, Error> {
        policy.check(command)?;
        let probe = self.probe().await;
        if probe.tier < policy.minimum || probe.tier == Tier::None {
            return Err(Error::TooWeak {
                needed: policy.minimum,
                offered: probe.tier,
                reasons: probe.reasons,
            });
        }
        Ok(probe.tier)
    }

    /// Waits for all sandboxes to be accounted for. Call it when shutting down, after stopping them.
    pub async fn drained(&self) {
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
    }

    async fn start_in(
        &self,
        tier: Tier,
        policy: Policy,
        command: Command,
        input: Input,
    ) -> Result<(Running, Option<Conversation>), Error> {
        let inner = Arc::clone(&self.inner);
        let published = match &policy.publish {
            Some(publish) if tier >= Tier::Full => Some(Published::bind(publish).await?),
            _ => None,
        };
        let net = Net::new(&policy.network, inner.settings.lookup.clone());
        let limits = policy.limits.clone();
        // Measuring a large folder takes a while, and must not hold up the thread that starts all sandboxes.
        let writable = launch::open_writable(&policy)?;
        let before = if writable.roots.is_empty() {
            Size::default()
        } else {
            let measured = tokio::task::spawn_blocking(move || writable.before()).await;
            measured
                .map_err(|e| Error::Setup(format!("cannot measure the writable folders: {e}")))?
        };
        let mut launched = on_spawner_thread(move || {
            if tier == Tier::Process {
                weak::launch(
                    &inner.machine,
                    &policy,
                    &command,
                    input,
                    &inner.scratch_root,
                )
            } else {
                launch::launch(
                    &inner.machine,
                    &policy,
                    &command,
                    input,
                    &Plan::new(&policy.network),
                )
            }
        })
        .await?;
        if let Some(name) = &self.name {
            self.inner.roots.add(name, launched.process.child.id());
        }
        let (conversation, spoken) = match launched.stdin.take() {
            Some(stdin) => {
                let (conversation, spoken) = Conversation::over(stdin)
                    .map_err(|e| Error::io("hold the standard input", e))?;
                (Some(conversation), Some(spoken))
            }
            None => (None, None),
        };
        let case = Case {
            tier,
            limits,
            launched,
            before,
            net,
            published,
            spoken,
        };
        let running = attend::attend(&self.inner.tracker, case).await?;
        Ok((running, conversation))
    }

    async fn try_tiers(&self) -> Probe {
        let mut reasons = Vec::new();
        match self.try_tier(Tier::Full).await {
            Ok(()) => {
                if let Some(why) = &self.inner.no_cgroups {
                    reasons.push(format!("memory is watched, not fenced: {why}"));
                }
                return Probe {
                    tier: Tier::Full,
                    reasons,
                };
            }
            Err(why) => reasons.push(advice(&self.inner.settings.bwrap, &why)),
        }
        let settings = &self.inner.settings;
        let offered =
            settings.allow_process_tier || (settings.containers_are_disposable && in_container());
        if !offered {
            reasons.push("tier process is not allowed by the configuration".into());
            return Probe {
                tier: Tier::None,
                reasons,
            };
        }
        match self.try_tier(Tier::Process).await {
            Ok(()) => Probe {
                tier: Tier::Process,
                reasons,
            },
            Err(why) => {
                reasons.push(format!("tier process: {why}"));
                Probe {
                    tier: Tier::None,
                    reasons,
                }
            }
        }
    }

    async fn try_tier(&self, tier: Tier) -> Result<(), String> {
        let limits = Limits {
            wall_ms: Some(PROBE_WALL_MS),
            ..Limits::default()
        };
        let policy = Policy {
            limits,
            ..Policy::default()
        };
        let command = Command {
            argv: vec!["true".into()],
            stdin: Vec::new(),
        };
        let running = self
            .start_in(tier, policy, command, Input::Given)
            .await
            .map_err(|e| said(&e))?
            .0;
        let report = running.wait().await.map_err(|e| said(&e))?;
        match report.ending {
            Ending::Exited(0) => Ok(()),
            ending => Err(format!(
                "the probe ended as {ending:?}: {}",
                report.stderr.text()
            )),
        }
    }
}

fn said(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// What the operator can do about a profile that did not run.
fn advice(bwrap: &Path, why: &str) -> String {
    let todo = if !bwrap.exists() {
        "install bubblewrap: apt install bubblewrap"
    } else if in_container() {
        "in a container, start it with --security-opt seccomp=unconfined --security-opt systempaths=unconfined \
         (podman: unmask=ALL; and, as root, --cap-add SYS_ADMIN)"
    } else if why.contains("Unknown option") {
        "bubblewrap 0.8 or newer is needed"
    } else if why.contains("uid map") || why.contains("RTM_NEWADDR") || why.contains("namespace") {
        "allow unprivileged user namespaces for it: on Ubuntu install an AppArmor profile for bwrap \
         (apt install apparmor-profiles; cp /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ \
         and reload apparmor), elsewhere set kernel.unprivileged_userns_clone=1"
    } else {
        "run it by hand to see more: bwrap --unshare-all --ro-bind / / true"
    };
    format!("tier full: {why}; {todo}")
}

/// Whether this machine is a container, and so itself disposable.
fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|marker| Path::new(marker).exists())
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
