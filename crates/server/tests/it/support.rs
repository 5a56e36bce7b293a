//! A served app on a temporary data directory, and an executor that does what the intent says.

use agentwright_api::{Build, BuildDetail, BuildStatus, Client, CreateBuild, PlanRequest};
use agentwright_domain::approval::{Grant, Subject};
use agentwright_domain::build::{BuildState, FailureClass, Phase, Repair, Stage, StageOutcome};
use agentwright_domain::deployment::{DeployedVersion, ServiceEntry};
use agentwright_domain::digest::Digest;
use agentwright_domain::evidence::{Level, TestResult, Verdict};
use agentwright_domain::ids::{GrantId, Slug};
use agentwright_domain::run::{Record, Run, RunKind, RunState, Signal};
use agentwright_domain::spec::Spec;
use agentwright_engine::{Executor, Handle};
use agentwright_server::daemon::Served;
use agentwright_server::{Clocks, Config, Work};
use agentwright_testkit::Cluster;
use agentwright_testkit::TestClock;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;

/// What an app ends within, when nothing holds it.
const GRACE: Duration = Duration::from_secs(2);

/// Where the app keeps its data: a directory, and with `TEST_STORE=postgres` a database of its own, so
/// that the same tests hold for both stores.
struct Place {
    dir: TempDir,
    database: Option<(Cluster, String)>,
}

impl Place {
    async fn new() -> Arc<Self> {
        let dir = TempDir::new().unwrap();
        let wanted = std::env::var_os("TEST_STORE");
        let database = match wanted.is_some_and(|store| store == "postgres") {
            true => {
                let cluster = Cluster::start().await.unwrap();
                let url = cluster.database().await;
                Some((cluster, url))
            }
            false => None,
        };
        Arc::new(Self { dir, database })
    }
}

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) script: Script,
    served: Option<Served>,
    place: Arc<Place>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(Place::new().await, change).await
    }

    /// By a clock that the test moves.
    pub(crate) async fn by(clock: &TestClock, change: impl FnOnce(&mut Config)) -> Self {
        let clocks = Clocks {
            clock: Arc::new(clock.clone()),
            store: clock.for_store(),
        };
        Self::going_by(clocks, Place::new().await, change).await
    }

    /// The same, started anew on the same data.
    pub(crate) async fn again_by(
        mut self,
        clock: &TestClock,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let place = Arc::clone(&self.place);
        self.served.take().unwrap().stop(Duration::ZERO).await;
        let clocks = Clocks {
            clock: Arc::new(clock.clone()),
            store: clock.for_store(),
        };
        Self::going_by(clocks, place, change).await
    }

    async fn on(place: Arc<Place>, change: impl FnOnce(&mut Config)) -> Self {
        Self::going_by(Clocks::default(), place, change).await
    }

    async fn going_by(clocks: Clocks, place: Arc<Place>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::plain(&place.dir.path().join("data"));
        if let Some((_, url)) = &place.database {
            config.settings.store.clone_from(url);
        }
        change(&mut config);
        let script = Script::default();
        let executor: Arc<dyn Executor> = Arc::new(script.clone());
        let work = Work::Given(vec![(RunKind::Build, executor)]);
        let client = Client::unix(config.socket());
        let served = Served::start_by(config, work, clocks).await.unwrap();
        Self {
            client,
            script,
            served: Some(served),
            place,
        }
    }

    /// Ends the app and starts another one on the same data.
    pub(crate) async fn restarted(mut self) -> Self {
        let place = Arc::clone(&self.place);
        self.served.take().unwrap().stop(Duration::ZERO).await;
        Self::on(place, |_| {}).await
    }

    pub(crate) async fn end(mut self) {
        self.served.take().unwrap().stop(GRACE).await;
    }

    pub(crate) fn store(&self) -> agentwright_store::Store {
        self.served.as_ref().unwrap().app().store().clone()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.place.dir.path().join("data")
    }

    pub(crate) async fn create(&self, intent: &str) -> Build {
        self.client.create_build(&wish(intent), None).await.unwrap()
    }

    /// Creates it and waits until nothing more happens by itself.
    pub(crate) async fn settled(&self, request: &CreateBuild) -> BuildDetail {
        let build = self.client.create_build(request, None).await.unwrap();
        self.until_settled(build.id.as_str()).await
    }

    pub(crate) async fn until_settled(&self, id: &str) -> BuildDetail {
        let detail = self.client.settled_build(id, 20).await.unwrap();
        let status = detail.build.status();
        assert!(
            status.ended() || status == BuildStatus::Waiting,
            "{id} is still {}",
            status.word()
        );
        self.client.build(id).await.unwrap()
    }

    /// Approves what waits, and waits again.
    pub(crate) async fn approve(&self, detail: &BuildDetail) -> BuildDetail {
        let id = detail.build.id.as_str();
        self.client.decide(id, &yes(detail)).await.unwrap();
        self.until_settled(id).await
    }
}

/// A yes to exactly what waits.
pub(crate) fn yes(detail: &BuildDetail) -> agentwright_api::DecisionRequest {
    let agentwright_api::BuildState::Waiting { subject, .. } = &detail.build.state else {
        panic!("{} does not wait", detail.build.label);
    };
    agentwright_api::DecisionRequest {
        decision: agentwright_api::Decide::Approve,
        subject: subject.as_ref().map(|subject| subject.digest.clone()),
        notes: None,
    }
}

pub(crate) fn wish(intent: &str) -> CreateBuild {
    CreateBuild::of(PlanRequest {
        intent: intent.into(),
        base_dir: "/home/ann".into(),
        zone: "UTC".into(),
        ..PlanRequest::default()
    })
}

/// Builds that stumble.
const STUMBLES: u32 = 2;

/// Does what the intent says: `break STAGE CLASS` ends there like that, `fail` fails at verify, `stumble` does the first two times, `mend` is repaired once, `hold` waits at generate for [`Script::release`].
#[derive(Clone)]
pub(crate) struct Script {
    held: Arc<Semaphore>,
    at_work: Arc<Semaphore>,
    stumbles: Arc<AtomicU32>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            held: Arc::new(Semaphore::new(0)),
            at_work: Arc::new(Semaphore::new(0)),
            stumbles: Arc::new(AtomicU32::new(0)),
        }
    }
}

impl Script {
    /// Lets one held build go on.
    pub(crate) fn release(&self) {
        self.held.add_permits(1);
    }

    /// Waits until a build is held.
    pub(crate) async fn holding(&self) {
        let held = tokio::time::timeout(Duration::from_secs(60), self.at_work.acquire());
        held.await.unwrap().unwrap().forget();
    }

    async fn stage(&self, run: &Run, state: &BuildState, handle: &Handle) -> StageOutcome {
        let Phase::Stage { stage, .. } = state.phase else {
            panic!("worked at {:?}", state.phase);
        };
        let agentwright_domain::run::RunInput::Build(request) = &run.input else {
            panic!("not a build");
        };
        if let Some(failed) = broken(&request.intent, stage) {
            return failed;
        }
        let stumbles = request.intent.contains("stumble")
            && stage == Stage::Verify
            && self.stumbles.fetch_add(1, Ordering::SeqCst) < STUMBLES;
        if (stumbles || request.intent.contains("fail")) && stage == Stage::Verify {
            return StageOutcome::Failed {
                class: FailureClass::Tests,
                reason: "level 4: the zip is empty".into(),
                records: vec![Record::TestResult(level(Level::Assertion, Verdict::Fail))],
            };
        }
        if request.intent.contains("mend") && stage == Stage::Verify && state.facts.tried.is_empty()
        {
            return StageOutcome::Repair {
                repair: Repair {
                    reason: "level 4: the zip is empty".into(),
                    evidence: "failure.txt".into(),
                },
                failure: digest(11),
                records: Vec::new(),
            };
        }
        if request.intent.contains("hold") && stage == Stage::Generate {
            let draft = handle.draft();
            draft.push("print('<b>held</b>')");
            self.at_work.add_permits(1);
            let cancelled = handle.cancelled();
            tokio::select! {
                held = self.held.acquire() => held.unwrap().forget(),
                () = cancelled.cancelled() => {}
            }
        }
        if stage == Stage::Generate {
            handle.progress(50, "half of it").await.unwrap();
            handle.keep("main.py", b"print()".to_vec()).await.unwrap();
        }
        done(run, stage, state)
    }
}

#[async_trait::async_trait]
impl Executor for Script {
    async fn execute(&self, run: &Run, handle: &Handle) -> Signal {
        let RunState::Build(state) = &run.state else {
            panic!("not a build");
        };
        let outcome = Box::new(self.stage(run, state, handle).await);
        Signal::Stage { outcome }
    }
}

/// `break review review`: the stage ends the build with a failure of that class.
fn broken(intent: &str, stage: Stage) -> Option<StageOutcome> {
    let mut words = intent.split_once("break ")?.1.split_whitespace();
    let (at, class) = (words.next()?, words.next()?);
    let class = serde_json::from_value(serde_json::Value::String(class.to_owned())).unwrap();
    (at == stage.word()).then(|| StageOutcome::Failed {
        class,
        reason: format!("{at} broke"),
        records: Vec::new(),
    })
}

fn done(run: &Run, stage: Stage, state: &BuildState) -> StageOutcome {
    let mut facts = state.facts.clone();
    let mut records = Vec::new();
    facts.name = Some(name());
    facts.spec = Some(digest(1));
    facts.permissions = Some(digest(7));
    facts.code = Some(digest(2));
    match stage {
        Stage::Spec => facts.subject = Some(subject(None)),
        Stage::Package | Stage::Generate => {}
        Stage::Review => facts.reviewed = facts.code.clone(),
        Stage::Verify => {
            facts.verified = facts.code.clone();
            facts.evidence = Some(digest(3));
            records.push(Record::TestResult(level(Level::Structure, Verdict::Pass)));
        }
        Stage::Preview => {
            facts.preview = vec!["would create 1 zip".into()];
            facts.subject = Some(subject(Some(digest(2))));
        }
        Stage::Deploy => {
            facts.version = Some(1);
            facts.url = Some("http://127.0.0.1:9000".into());
            records = deployed(run);
        }
        Stage::Register => records.push(Record::Service(ServiceEntry {
            name: name(),
            kind: spec().kind,
            purpose: spec().purpose,
            version: 1,
            endpoint: None,
            registered_at_ms: 5,
        })),
    }
    StageOutcome::Done {
        summary: format!("{} is done", stage.word()),
        facts: Box::new(facts),
        records,
    }
}

/// Of the spec gate without code, of the deploy gate with it.
fn subject(code: Option<Digest>) -> Subject {
    Subject {
        spec: digest(1),
        evidence: code.as_ref().map(|_| digest(3)),
        target: digest(4),
        policy: digest(5),
        digest: digest(if code.is_some() { 6 } else { 16 }),
        code,
    }
}

fn deployed(run: &Run) -> Vec<Record> {
    let (id, spec) = (GrantId::new(format!("{}-grant", run.id)), spec());
    let grant = Grant {
        id: id.clone(),
        approval: None,
        deployment: name(),
        code: digest(2),
        spec: digest(1),
        permissions: spec.permissions.clone(),
        trigger: spec.trigger.clone(),
        target: "local".into(),
        granted_at_ms: 4,
        revoked_at_ms: None,
    };
    let version = DeployedVersion {
        name: name(),
        version: 1,
        build: run.id.clone(),
        grant: id,
        code: digest(2),
        spec,
        environment: digest(8),
        deployed_at_ms: 4,
    };
    vec![
        Record::Grant(Box::new(grant)),
        Record::Version(Box::new(version)),
    ]
}

fn level(level: Level, verdict: Verdict) -> TestResult {
    TestResult {
        level,
        verdict,
        summary: "every file parses".into(),
        log: "main.py: parsed\n".into(),
        evidence: Vec::new(),
        duration_ms: 3,
        cpu_ms: 2,
        max_rss_bytes: 1,
        tier: "full".into(),
    }
}

pub(crate) fn name() -> Slug {
    Slug::parse("notes-zip").unwrap()
}

pub(crate) fn spec() -> Spec {
    serde_json::from_value(serde_json::json!({
        "format": 1,
        "name": "notes-zip",
        "purpose": "zips the notes",
        "kind": "script",
        "command": ["python3", "/app/main.py"],
        "trigger": { "type": "manual" },
        "acceptance": { "smoke": { "name": "runs", "steps": [] }, "cases": [] },
    }))
    .unwrap()
}

pub(crate) fn digest(byte: u8) -> Digest {
    Digest::from_sha256([byte; 32])
}

/// The same over TCP.
pub(crate) async fn answer(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends exactly these bytes over the socket and reads until the other side closes.
pub(crate) async fn raw(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    // The other side may answer and close before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// One request with a body; the connection closes after the answer.
pub(crate) fn text(method: &str, path: &str, content_type: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
