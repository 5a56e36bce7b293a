//! The wiring: store → sandbox → runtime → pipeline → engine, and what routes share.

use crate::asking::Asking;
use crate::changes;
use crate::config::Config;
use crate::error::ApiError;
use crate::front::Front;
use crate::later::Later;
use crate::queue::heart::{self, Heart};
use crate::queue::{desk, table};
use crate::secrets::Resolve;
use agentwright_api::Health;
use agentwright_domain::run::{Decision, Run, RunKind, Signal};
use agentwright_engine::{Clock, Engine, Executor, SignalError, SystemClock};
use agentwright_notify::Channel;
use agentwright_queue::window::{NotAWindow, Window};
use agentwright_runtime::environment::Programs;
use agentwright_runtime::layout::Layout;
use agentwright_runtime::{Executions, Parts, Runtime};
use agentwright_sandbox::Sandbox;
use agentwright_store::{Audit, Location, OpenError, Options, OrgScope, Store, Time as StoreTime};
use agentwright_vault::{NotAVault, Vault};
use axum::Router;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Who works each kind of run.
pub type Executors = Vec<(RunKind, Arc<dyn Executor>)>;

/// Who does the work of runs.
pub enum Work {
    /// The pipeline and the runtime; deployments are supervised.
    Real,
    /// These, for each kind of run that is to be worked; nothing is supervised. Routes, store and engine are
    /// the same.
    Given(Executors),
}

/// What an app goes by.
pub struct Clocks {
    /// What everything but the store does.
    pub clock: Arc<dyn Clock>,
    /// What the store does: leases and timers.
    pub store: StoreTime,
}

impl Default for Clocks {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            store: StoreTime::default(),
        }
    }
}

/// Why an app does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The sandbox cannot be prepared.
    #[error("cannot prepare the sandbox")]
    Sandbox(#[source] agentwright_sandbox::Error),
    /// The keys cannot be read.
    #[error("cannot read the keys of this server")]
    Keys(#[source] agentwright_store::Error),
    /// A channel for notices cannot be made.
    #[error("cannot set up the notices of the configuration: {0}")]
    Notify(#[from] agentwright_notify::OpenError),
    /// The table of Vault cannot be meant.
    #[error("vault in the configuration {0}")]
    Vault(#[from] NotAVault),
    /// The off-hours cannot be meant.
    #[error("cannot read the off-hours of the queue: {0}")]
    Queue(#[from] NotAWindow),
}

/// Why a decision was not taken.
pub(crate) enum Undecided {
    /// Its row says something else by now, or cannot be seen.
    Row(ApiError),
    /// The engine does not take it.
    Engine(SignalError),
}

impl From<ApiError> for Undecided {
    fn from(error: ApiError) -> Self {
        Self::Row(error)
    }
}

impl From<SignalError> for Undecided {
    fn from(error: SignalError) -> Self {
        Self::Engine(error)
    }
}

impl From<Undecided> for ApiError {
    fn from(error: Undecided) -> Self {
        match error {
            Undecided::Row(error) => error,
            Undecided::Engine(error) => error.into(),
        }
    }
}

/// The running app. Cheap to clone.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    store: Store,
    engine: Engine,
    builds: Later,
    runtime: Runtime,
    sandbox: Sandbox,
    layout: Layout,
    clock: Arc<dyn Clock>,
    heart: Heart,
    window: Window,
    started_at_ms: i64,
    boot_id: String,
    secrets: Resolve,
    vault: Option<Vault>,
    front: Front,
    requests: AtomicU64,
    kept_steps: crate::pages::Kept,
    clock_jump_ms: AtomicI64,
    fenced: bool,
    listening: OnceLock<SocketAddr>,
    access: watch::Sender<u64>,
    stop_asked: CancellationToken,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl App {
    /// Opens the store, starts the engine and takes up everything where it was left.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(config: Config, work: Work) -> Result<Self, StartError> {
        Self::start_by(config, work, Clocks::default()).await
    }

    /// The same, by other clocks.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_by(config: Config, work: Work, clocks: Clocks) -> Result<Self, StartError> {
        let Clocks { clock, store: time } = clocks;
        let layout = Layout::new(&config.data_dir);
        let vault = crate::config::vault(&config.settings)?;
        let secrets = crate::config::secrets(vault.clone());
        let channels = agentwright_notify::open(&config.settings.notify, &secrets)?;
        let window = config.settings.queue.window()?;
        let store = open(&config, time).await?;
        let public_url = config.settings.public_url.as_deref();
        let mut channels = Asking::around(channels, &store, public_url);
        let sandbox = sandbox(&config)?;
        let runtime = Runtime::new(Parts {
            store: store.clone(),
            sandbox: sandbox.clone(),
            clock: clock.clone(),
            layout: layout.clone(),
            programs: Programs::new(config.program_dirs()),
            secrets: Arc::clone(&secrets),
        });
        let builds = Later::new(&config, &runtime, Arc::clone(&secrets));
        let fenced = config.data_dir.join(crate::backup::FENCE).exists();
        let supervised = matches!(work, Work::Real) && !fenced;
        let executors = match work {
            // What the instance before did, or told, is not done again.
            _ if fenced => Executors::new(),
            Work::Real => real(&builds, &runtime),
            Work::Given(executors) => executors,
        };
        if fenced {
            tracing::warn!(
                "restored from a backup: nothing is worked until agentwright restore --confirm"
            );
            // What waited is settled as told to nobody: it was, or will be, told by the instance before.
            channels.clear();
        }
        let settings = engine_settings(&config, channels);
        let engine = Engine::start(store.clone(), clock.clone(), executors, settings);
        runtime.attach(engine.clone());
        let app = Self {
            inner: Arc::new(Inner {
                started_at_ms: clock.now_ms(),
                boot_id: store.new_id(),
                config,
                store,
                engine,
                builds,
                runtime,
                sandbox,
                layout,
                clock,
                heart: Heart::default(),
                window,
                secrets,
                vault,
                front: Front::default(),
                requests: AtomicU64::new(0),
                kept_steps: crate::pages::Kept::default(),
                clock_jump_ms: AtomicI64::new(0),
                fenced,
                listening: OnceLock::new(),
                access: watch::Sender::new(0),
                stop_asked: CancellationToken::new(),
                stopping: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        };
        app.begin(supervised);
        Ok(app)
    }

    /// What goes on by itself, until the app stops.
    fn begin(&self, supervised: bool) {
        if supervised {
            let (runtime, stop) = (self.runtime().clone(), self.stopping().clone());
            self.tasks()
                .spawn(async move { runtime.supervise(stop).await });
        }
        if !self.inner.fenced {
            self.tasks().spawn(crate::removal::sweep(self.clone()));
            self.tasks().spawn(heart::run(self.clone()));
            self.tasks().spawn(table::run(self.clone()));
            self.tasks().spawn(crate::queue::watch::run(self.clone()));
            self.tasks().spawn(crate::queue::push::run(self.clone()));
        }
    }

    /// All routes, for whoever serves them. Each request carries a [`crate::extract::Who`] as an extension.
    pub(crate) fn router(&self) -> Router {
        crate::router::router(self.clone())
    }

    /// Ends everything: streams close, runs that are being worked on get `grace` to finish and are then
    /// handed back, the store closes.
    pub async fn stop(&self, grace: Duration) {
        self.inner.stopping.cancel();
        self.inner.engine.stop(grace).await;
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.store.close().await;
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// What it was started with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn builds(&self) -> &Later {
        &self.inner.builds
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.inner.runtime
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.inner.sandbox
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// The Vault of the configuration. It blocks.
    pub(crate) fn vault(&self) -> Option<&Vault> {
        self.inner.vault.as_ref()
    }

    /// What reads references. It blocks.
    pub(crate) fn secrets(&self) -> &Resolve {
        &self.inner.secrets
    }

    /// The value that a reference (`env:NAME`, …) names, or why there is none, without it.
    pub(crate) async fn secret(&self, reference: &str) -> Result<String, String> {
        let (resolve, reference) = (Arc::clone(&self.inner.secrets), reference.to_owned());
        let read = tokio::task::spawn_blocking(move || resolve(&reference)).await;
        read.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Decides what waits at a gate. A yes to a build of a row of a connected table is only taken while the row still
    /// says what was built.
    pub(crate) async fn decide(
        &self,
        scope: &OrgScope,
        run: &Run,
        decision: Decision,
        audit: Option<Audit>,
    ) -> Result<Run, Undecided> {
        if decision.approved {
            desk::unedited(self, scope, run).await?;
            changes::current(self, scope, run).await?;
        }
        let signal = Signal::Decided(decision);
        Ok(self.engine().signal(scope, &run.id, signal, audit).await?)
    }

    /// Wakes the queue's heartbeat.
    pub(crate) fn heart(&self) -> &Heart {
        &self.inner.heart
    }

    /// The off-hours in which medium items start.
    pub(crate) fn queue_window(&self) -> &Window {
        &self.inner.window
    }

    /// The person's zone.
    pub(crate) fn queue_zone(&self) -> &jiff::tz::TimeZone {
        self.inner.window.zone()
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }

    /// Fires when the app stops: streams and waits end.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.inner.stopping
    }

    /// Tasks that a stop waits for.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.inner.tasks
    }

    pub(crate) fn front(&self) -> &Front {
        &self.inner.front
    }

    /// Whether it is ending, or was asked to.
    pub(crate) fn stops(&self) -> bool {
        self.inner.stopping.is_cancelled() || self.inner.stop_asked.is_cancelled()
    }

    /// When it was started, ms.
    pub(crate) fn started_at_ms(&self) -> i64 {
        self.inner.started_at_ms
    }

    /// Seconds since the start.
    pub(crate) fn uptime_s(&self) -> i64 {
        (self.now_ms() - self.inner.started_at_ms).max(0) / 1000
    }

    /// Somebody lost access: whatever lasts longer than a request looks again whether it still may.
    pub(crate) fn access_changed(&self) {
        self.inner.access.send_modify(|count| *count += 1);
    }

    /// Changes with every [`Self::access_changed`] of this process.
    pub(crate) fn access(&self) -> watch::Receiver<u64> {
        self.inner.access.subscribe()
    }

    /// Keeps where TCP is listened on.
    pub(crate) fn listens(&self, address: SocketAddr) {
        let _ = self.inner.listening.set(address);
    }

    /// Where people reach this server, without a slash at its end: as configured, else where it listens; `None`
    /// where it does not listen on TCP.
    pub(crate) fn address(&self) -> Option<String> {
        let listening = || {
            let address = self.inner.listening.get()?;
            Some(format!("http://{address}"))
        };
        let configured = self.config().settings.public_url.as_deref();
        configured
            .map(|url| url.trim_end_matches('/').to_owned())
            .or_else(listening)
    }

    /// Asks whoever runs the app to stop it.
    pub(crate) fn ask_to_stop(&self) {
        self.inner.stop_asked.cancel();
    }

    /// Fires when somebody asked over the API.
    pub(crate) fn stop_asked(&self) -> &CancellationToken {
        &self.inner.stop_asked
    }

    /// A name for one request, unique in the log: the boot's last digits and a count.
    pub(crate) fn request_id(&self) -> String {
        let count = self.inner.requests.fetch_add(1, Ordering::Relaxed);
        let boot = &self.inner.boot_id;
        format!("{}-{count}", &boot[boot.len().saturating_sub(6)..])
    }

    /// What the commits of builds changed, as pages read it last.
    pub(crate) fn kept_steps(&self) -> &crate::pages::Kept {
        &self.inner.kept_steps
    }

    /// Remembers that the machine's clock was set, by so much.
    pub(crate) fn clock_jumped(&self, by_ms: i64) {
        self.inner.clock_jump_ms.store(by_ms, Ordering::Relaxed);
        self.inner.runtime.wake();
    }

    /// Whether it was restored and nobody has confirmed yet that it is the only one of its kind: nothing is worked.
    pub(crate) fn fenced(&self) -> bool {
        self.inner.fenced
    }

    /// The last jump of the clock since the start, ms; 0 when there was none.
    pub(crate) fn clock_jump_ms(&self) -> i64 {
        self.inner.clock_jump_ms.load(Ordering::Relaxed)
    }

    /// The daemon as others see it.
    pub fn health(&self) -> Health {
        let it = &self.inner;
        Health {
            status: match (self.stops(), it.fenced) {
                (true, _) => "stopping",
                (false, true) => "fenced",
                (false, false) => "healthy",
            }
            .to_owned(),
            service: "agentwright".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: agentwright_api::Time::from_ms(it.started_at_ms),
            boot_id: it.boot_id.clone(),
            data_dir: it.config.data_dir.display().to_string(),
            listen: it.listening.get().map(ToString::to_string),
        }
    }
}

async fn open(config: &Config, time: StoreTime) -> Result<Store, OpenError> {
    crate::backup::restored_there(&config.data_dir, &config.settings.store)?;
    let location = match config.settings.store.as_str() {
        "sqlite" => Location::Sqlite(config.data_dir.join("agentwright.db")),
        url => Location::Postgres(url.to_owned()),
    };
    let options = Options {
        artifacts_quota_bytes: config.settings.artifacts_quota_mb.saturating_mul(1_000_000),
        time,
        ..Options::new(&config.data_dir)
    };
    Store::open(location, options).await
}

fn sandbox(config: &Config) -> Result<Sandbox, StartError> {
    let settings = agentwright_sandbox::Settings {
        allow_process_tier: config.settings.allow_process_tier,
        bwrap: config.settings.bwrap.clone(),
        ..agentwright_sandbox::Settings::default()
    };
    let scratch = config.data_dir.join("sandboxes");
    Sandbox::new(&config.init, scratch, settings).map_err(StartError::Sandbox)
}

fn real(builds: &Later, runtime: &Runtime) -> Executors {
    let builds: Arc<dyn Executor> = Arc::new(builds.clone());
    let executions: Arc<dyn Executor> = Arc::new(Executions::new(runtime.clone()));
    vec![(RunKind::Build, builds), (RunKind::Execution, executions)]
}

fn engine_settings(
    config: &Config,
    channels: Vec<Arc<dyn Channel>>,
) -> agentwright_engine::Settings {
    agentwright_engine::Settings {
        builds: config.settings.builds,
        builds_per_organization: config.settings.organization_builds(),
        executions: config.settings.executions,
        executions_per_organization: config.settings.organization_executions(),
        lease: Duration::from_secs(config.settings.lease_s),
        channels,
        ..agentwright_engine::Settings::default()
    }
}
