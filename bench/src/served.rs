//! The server under measurement, as a process of its own.

use crate::Engine;
use agentwright_api::Client;
use agentwright_domain::build::StageOutcome;
use agentwright_domain::run::{Run, RunInput, RunKind, RunState, Signal};
use agentwright_engine::{Executor, Handle};
use agentwright_server::daemon::Served;
use agentwright_server::{Config, Work};
use agentwright_testkit::Cluster;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Builds at once.
const BUILDS: u32 = 64;
/// How long followers may take to come.
const GATHERING: Duration = Duration::from_secs(5);
/// How long a start may take.
const START: Duration = Duration::from_secs(30);

/// Works every stage at once and well.
pub(crate) struct Empty {
    pub(crate) stage: Duration,
}

#[async_trait::async_trait]
impl Executor for Empty {
    async fn execute(&self, run: &Run, handle: &Handle) -> Signal {
        if let Some((ticks, per_s)) = ticks(run) {
            tick(handle, ticks, per_s).await;
        }
        if !self.stage.is_zero() {
            tokio::time::sleep(self.stage).await;
        }
        let facts = match &run.state {
            RunState::Build(state) => state.facts.clone(),
            RunState::Execution(_) => Default::default(),
        };
        Signal::Stage {
            outcome: Box::new(StageOutcome::Done {
                summary: "done".to_owned(),
                facts: Box::new(facts),
                records: Vec::new(),
            }),
        }
    }
}

/// How often a build is to say something, at its first stage, and how often per second: `ticks 100 10`.
fn ticks(run: &Run) -> Option<(u32, u32)> {
    let RunInput::Build(request) = &run.input else {
        return None;
    };
    let mut words = request.intent.strip_prefix("ticks ")?.split(' ');
    let numbers = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (run.state.stage() == "spec").then_some(numbers)
}

/// Says the time so often, once all followers have had the time to come.
async fn tick(handle: &Handle, ticks: u32, per_s: u32) {
    tokio::time::sleep(GATHERING).await;
    for _ in 0..ticks {
        let said = format!("tick {}", crate::front::now_us());
        if handle.progress(1, &said).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1) / per_s).await;
    }
}

/// Serves until it is killed.
pub(crate) async fn serve(data: &Path, store: &str, stage_ms: u64) -> Result<()> {
    crate::front::more_files();
    let mut config = Config::plain(data);
    store.clone_into(&mut config.settings.store);
    config.settings.builds = BUILDS;
    let stage = Duration::from_millis(stage_ms);
    let executor: Arc<dyn Executor> = Arc::new(Empty { stage });
    let _served = Served::start(config, Work::Given(vec![(RunKind::Build, executor)])).await?;
    std::future::pending().await
}

/// A data directory, a database where one is needed, and the process.
pub(crate) struct Server {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: String,
    _cluster: Option<Cluster>,
    process: Child,
}

impl Server {
    pub(crate) async fn start(
        engine: Engine,
        dir: Option<&PathBuf>,
        stage_ms: u64,
    ) -> Result<Self> {
        let dir = match dir {
            Some(dir) => tempfile::tempdir_in(dir)?,
            None => tempfile::tempdir()?,
        };
        let (cluster, store) = match engine {
            Engine::Sqlite => (None, "sqlite".to_owned()),
            Engine::Postgres => {
                let cluster = Cluster::start()
                    .await
                    .context("PostgreSQL is not installed")?;
                let url = cluster.database().await;
                (Some(cluster), url)
            }
        };
        let process = spawn(dir.path(), &store, stage_ms)?;
        let server = Self {
            dir,
            store,
            _cluster: cluster,
            process,
        };
        server.answering().await?;
        Ok(server)
    }

    pub(crate) fn client(&self) -> Client {
        Client::unix(Config::plain(self.dir.path()).socket())
    }

    /// Waits until it answers.
    pub(crate) async fn answering(&self) -> Result<Duration> {
        let since = Instant::now();
        loop {
            if self.client().health().await.is_ok() {
                return Ok(since.elapsed());
            }
            anyhow::ensure!(since.elapsed() < START, "the server does not answer");
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    }

    /// `kill -9`, then started again at once. Answers how long until it answers.
    pub(crate) async fn kill_and_restart(&mut self, stage_ms: u64) -> Result<Duration> {
        self.process.kill()?;
        self.process.wait()?;
        self.process = spawn(self.dir.path(), &self.store, stage_ms)?;
        self.answering().await
    }

    pub(crate) fn socket(&self) -> PathBuf {
        Config::plain(self.dir.path()).socket()
    }

    /// The memory that it holds now, MB.
    pub(crate) fn resident_mb(&self) -> Result<f64> {
        resident_mb(self.process.id())
    }

    /// Of it what is not a page of a file, the program's own among them, MB.
    pub(crate) fn own_mb(&self) -> Result<f64> {
        memory_mb(self.process.id(), "RssAnon:")
    }

    /// The most memory that it has held, MB.
    pub(crate) fn rss_mb(&self) -> Result<f64> {
        memory_mb(self.process.id(), "VmHWM:")
    }
}

/// The memory that a process holds now, MB.
pub(crate) fn resident_mb(pid: u32) -> Result<f64> {
    memory_mb(pid, "VmRSS:")
}

fn memory_mb(pid: u32, which: &'static str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix(which))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .context(which)?;
    Ok((kib / 1024.0 * 10.0).round() / 10.0)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(dir: &Path, store: &str, stage_ms: u64) -> Result<Child> {
    Ok(Command::new(std::env::current_exe()?)
        .args(["serve", "--store", store])
        .args(["--stage-ms", &stage_ms.to_string()])
        .arg("--data")
        .arg(dir)
        .spawn()?)
}

pub(crate) fn spawn_bare(socket: &Path, page: &Path) -> Result<Child> {
    Ok(Command::new(std::env::current_exe()?)
        .args(["bare", "--socket"])
        .arg(socket)
        .arg("--page")
        .arg(page)
        .spawn()?)
}
