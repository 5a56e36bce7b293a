//! A whole installation without its server: what a person's folders are, what is built, what runs.

use agentwright_domain::approval::AdvanceApproval;
use agentwright_domain::build::{
    ApprovalMode, BuildPolicy, BuildRequest, BuildState, Facts, FailureClass, Phase,
};
use agentwright_domain::ids::{LOCAL_ORGANIZATION, OrganizationId, RunId, Slug};
use agentwright_domain::run::{NewRun, Run, RunInput, RunKind, RunState};
use agentwright_engine::{Clock, Engine, Executor, Settings, SystemClock};
use agentwright_pipeline::{Builds, Foundations, ModelSettings, Models, Parts};
use agentwright_runtime::environment::Programs;
use agentwright_runtime::layout::Layout;
use agentwright_runtime::{Executions, OrgScope, Runtime};
use agentwright_sandbox::{Sandbox, Settings as SandboxSettings};
use agentwright_store::Store;
use agentwright_store::{Location, Options};
use agentwright_testkit::FakeVault;
use agentwright_testkit::{TestClock, eventually};
use agentwright_verify::{Settings as VerifySettings, Verifier};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// An installation with a person's home beside it.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) engine: Engine,
    pub(crate) runtime: Runtime,
    pub(crate) builds: Builds,
    pub(crate) clock: TestClock,
    stop: CancellationToken,
    supervisor: Option<tokio::task::JoinHandle<()>>,
}

/// A canonical directory on a real disk: folders are bound into the sandbox from here.
fn folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("aw-")
        .tempdir_in(std::env::temp_dir().canonicalize().unwrap())
        .unwrap()
}

pub(crate) fn scope() -> OrgScope {
    OrgScope::local()
}

/// No model is configured, and none is looked for where one might be.
pub(crate) fn nothing() -> ModelSettings {
    ModelSettings {
        ollama_url: "http://127.0.0.1:9".to_owned(),
        ..ModelSettings::new(Arc::new(|_| None))
    }
}

pub(crate) fn auto() -> BuildPolicy {
    BuildPolicy::new(ApprovalMode::Auto)
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|builds| Arc::new(builds)).await
    }

    /// With something between the engine and the builds.
    pub(crate) async fn with(wrap: impl FnOnce(Builds) -> Arc<dyn Executor>) -> Self {
        Self::open(folder(), nothing(), wrap).await
    }

    /// With models.
    pub(crate) async fn modelled(models: ModelSettings) -> Self {
        Self::open(folder(), models, |builds| Arc::new(builds)).await
    }

    /// With models, and something between the engine and the builds.
    pub(crate) async fn modelled_with(
        models: ModelSettings,
        wrap: impl FnOnce(Builds) -> Arc<dyn Executor>,
    ) -> Self {
        Self::open(folder(), models, wrap).await
    }

    /// Ends the daemon and starts it again on the same data directory.
    pub(crate) async fn restarted(self) -> Self {
        let dir = self.end().await;
        Self::open(dir, nothing(), |builds| Arc::new(builds)).await
    }

    async fn open(
        dir: tempfile::TempDir,
        models: ModelSettings,
        wrap: impl FnOnce(Builds) -> Arc<dyn Executor>,
    ) -> Self {
        std::fs::create_dir_all(dir.path().join("home")).unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let test_clock = TestClock::at(SystemClock.now_ms());
        let options = Options {
            time: test_clock.for_store(),
            ..Options::new(&data)
        };
        // The lock of a daemon before goes with the last of its tasks.
        let store = eventually("the store opens", async || {
            let place = Location::Sqlite(data.join("agentwright.db"));
            Store::open(place, options.clone()).await.ok()
        })
        .await;
        let init = PathBuf::from(env!("CARGO_BIN_EXE_pipeline-init"));
        let sandbox =
            Sandbox::new(init, data.join("sandboxes"), SandboxSettings::default()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(test_clock.clone());
        let runtime = Runtime::new(agentwright_runtime::Parts {
            store: store.clone(),
            sandbox: sandbox.clone(),
            clock: clock.clone(),
            layout: Layout::new(&data),
            programs: Programs::new(vec![dir.path().join("bin")]),
            secrets: Arc::new(|reference| match reference {
                "env:TOKEN" => Ok("t0p-secret-value".to_owned()),
                "file:/etc/vault/role-id" => Ok(FakeVault::ROLE_ID.to_owned()),
                "file:/etc/vault/secret-id" => Ok(FakeVault::SECRET_ID.to_owned()),
                other => Err(format!("there is no {other}")),
            }),
        });
        let builds = Builds::new(Parts {
            runtime: runtime.clone(),
            verifier: Verifier::new(Arc::new(sandbox), VerifySettings::default()),
            foundations: Arc::new(Foundations::load(&[]).unwrap()),
            foundation_dirs: Vec::new(),
            home: Some(dir.path().join("home").display().to_string()),
            models: Models::new(models),
        });
        let executors: Vec<(RunKind, Arc<dyn Executor>)> = vec![
            (RunKind::Build, wrap(builds.clone())),
            (
                RunKind::Execution,
                Arc::new(Executions::new(runtime.clone())),
            ),
        ];
        let engine = Engine::start(store.clone(), clock, executors, Settings::default());
        runtime.attach(engine.clone());
        let stop = CancellationToken::new();
        let (this, until) = (runtime.clone(), stop.clone());
        #[expect(clippy::disallowed_methods, reason = "a test ends it itself")]
        let supervisor = tokio::spawn(async move { this.supervise(until).await });
        Self {
            dir,
            store,
            engine,
            runtime,
            builds,
            clock: test_clock,
            stop,
            supervisor: Some(supervisor),
        }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.home().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn request(&self, intent: &str) -> BuildRequest {
        BuildRequest {
            intent: intent.to_owned(),
            base_dir: self.home().display().to_string(),
            zone: "Europe/Berlin".to_owned(),
            ..BuildRequest::default()
        }
    }

    pub(crate) async fn submit(&self, request: BuildRequest, policy: BuildPolicy) -> RunId {
        self.submit_state(request, BuildState::new(policy)).await
    }

    pub(crate) async fn submit_state(&self, request: BuildRequest, state: BuildState) -> RunId {
        let id = RunId::new(self.store.new_id());
        let label = format!("b-{}", &id.as_str()[id.as_str().len() - 12..]);
        let new = NewRun {
            organization: OrganizationId::new(LOCAL_ORGANIZATION),
            id: id.clone(),
            label: Slug::parse(&label).unwrap(),
            priority: 0,
            state: RunState::Build(Box::new(state)),
            input: RunInput::Build(request),
            not_before_ms: None,
            repeats: None,
        };
        self.engine.submit(new, None).await.unwrap();
        id
    }

    /// Waits until it waits or has ended.
    pub(crate) async fn settled(&self, id: &RunId) -> Run {
        eventually("the run waits or has ended", async || {
            // Time goes on: what is to be tried again is tried again.
            self.clock.advance(10);
            let run = self.store.run(&scope(), id).await.unwrap()?;
            let settled =
                run.status.ended() || run.status == agentwright_domain::run::RunStatus::Waiting;
            settled.then_some(run)
        })
        .await
    }

    /// Builds and waits.
    pub(crate) async fn build(&self, intent: &str, policy: BuildPolicy) -> Run {
        let id = self.submit(self.request(intent), policy).await;
        self.settled(&id).await
    }

    /// What a run said, line by line.
    pub(crate) async fn story(&self, id: &RunId) -> String {
        let events = self.store.events(&scope(), id, 0, 1_000).await.unwrap();
        let lines = events
            .iter()
            .map(|e| format!("{} {}: {}", e.event, e.stage, e.message));
        lines.collect::<Vec<_>>().join("\n")
    }

    pub(crate) async fn advance(&self, request: &BuildRequest) -> BuildPolicy {
        let plan = self.builds.plan(&scope(), request).await.unwrap();
        BuildPolicy {
            mode: ApprovalMode::Final,
            advance: Some(AdvanceApproval {
                by: "ann".to_owned(),
                permissions: plan.permissions_digest.unwrap(),
            }),
            ..auto()
        }
    }

    pub(crate) async fn end(mut self) -> tempfile::TempDir {
        self.stop.cancel();
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.await.unwrap();
        }
        self.engine.stop(Duration::from_secs(20)).await;
        self.runtime.sandbox().drained().await;
        self.store.close().await;
        self.dir
    }
}

pub(crate) fn facts(run: &Run) -> &Facts {
    match &run.state {
        RunState::Build(state) => &state.facts,
        RunState::Execution(_) => panic!("not a build"),
    }
}

pub(crate) fn phase(run: &Run) -> &Phase {
    match &run.state {
        RunState::Build(state) => &state.phase,
        RunState::Execution(_) => panic!("not a build"),
    }
}

/// Class and reason of a build that failed.
pub(crate) fn failure(run: &Run) -> (FailureClass, String) {
    match phase(run) {
        Phase::Failed { class, reason, .. } => (*class, reason.clone()),
        other => panic!("it did not fail: {other:?}"),
    }
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .map(|entries| {
            entries
                .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}
