//! A sandbox, a workspace with protected files, meters and scripted models.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentwright_agent::{
    Coder, CoderError, CoderLimits, FileEntry, Progress, Protected, Task, Upstream, Workspace,
    Written, inspect,
};
use agentwright_llm::{
    CallRecord, Caller, Callers, KeyRef, Meter, Planned, ProviderConfig, Refusal, Role,
    ScriptedProvider, Secret, Ticket, Unmetered, Wire,
};
use agentwright_sandbox::{Sandbox, Settings};
use agentwright_testkit::model_server::ModelServer;
use tokio_util::sync::CancellationToken;

/// What must never be seen in a transcript or an error.
pub(crate) const CANARY: &str = "canary-5f1c0ffee-never-shown";
/// The provider's real key, which never enters the sandbox.
pub(crate) const KEY: &str = "real-key-9d2b7a-never-inside";

/// The init next to the test binary, where the re-executed test finds its copy, or as cargo built it.
pub(crate) fn init() -> PathBuf {
    let copy = std::env::current_exe()
        .unwrap()
        .with_file_name("agent-init");
    if copy.exists() {
        copy
    } else {
        PathBuf::from(env!("CARGO_BIN_EXE_agent-init"))
    }
}

pub(crate) fn sandbox() -> Sandbox {
    let scratch = std::env::temp_dir().join(format!(
        "agent-scratch-{}",
        rustix::process::geteuid().as_raw()
    ));
    std::fs::create_dir_all(&scratch).unwrap();
    Sandbox::new(init(), scratch, Settings::default()).unwrap()
}

/// A workspace in a temporary directory.
pub(crate) struct Place {
    _dir: tempfile::TempDir,
    pub(crate) work: Workspace,
}

impl Place {
    /// With a spec, an acceptance and a repository that nobody may change.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("aw-agent-")
            .tempdir_in(std::env::temp_dir().canonicalize().unwrap())
            .unwrap();
        let work = Workspace {
            dir: dir.path().to_owned(),
            protected: Protected::new(["spec.json", "acceptance", ".git", "AGENTS.md"]),
            sandbox: sandbox(),
            beside: Vec::new(),
            secrets: vec![Secret::new(CANARY)],
        };
        let place = Self { _dir: dir, work };
        place.put("spec.json", "{\"sealed\": true}\n");
        place.put("acceptance/probe.toml", "sealed = true\n");
        place.put(".git/HEAD", "ref: refs/heads/main\n");
        place
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.work.dir
    }

    pub(crate) fn put(&self, path: &str, content: &str) {
        let path = self.dir().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.dir().join(path)).unwrap_or_else(|e| format!("<{e}>"))
    }

    /// What the caller would take.
    pub(crate) fn taken(&self) -> Vec<FileEntry> {
        inspect(self.dir(), &CoderLimits::default(), &self.work.protected).unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.taken().into_iter().map(|file| file.path).collect()
    }

    /// The protected files are what they were.
    pub(crate) fn assert_sealed(&self) {
        assert_eq!(self.text("spec.json"), "{\"sealed\": true}\n");
        assert_eq!(self.text("acceptance/probe.toml"), "sealed = true\n");
        assert_eq!(self.text(".git/HEAD"), "ref: refs/heads/main\n");
    }

    pub(crate) async fn run(&self, coder: &dyn Coder, task: &Task) -> Result<Written, CoderError> {
        let log = Log::default();
        let done = coder
            .write(task, &self.work, &log, &CancellationToken::new())
            .await;
        let seen = log.all();
        let error = done
            .as_ref()
            .err()
            .map(|e| format!("{e} {e:?}"))
            .unwrap_or_default();
        for secret in [CANARY, KEY] {
            assert!(
                !seen.contains(secret) && !error.contains(secret),
                "a secret is shown"
            );
        }
        done
    }
}

/// Keeps what a coder reports.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<String>>);

impl Log {
    pub(crate) fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl Progress for Log {
    fn step(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }

    fn transcript(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

pub(crate) fn task(brief: &str) -> Task {
    Task {
        brief: brief.to_owned(),
        evidence: None,
        attempt: 1,
        main_file: Some("main.py".to_owned()),
        limits: CoderLimits {
            turns: 20,
            wall: Duration::from_secs(120),
            ..CoderLimits::default()
        },
    }
}

pub(crate) fn within(mut task: Task, wall: Duration) -> Task {
    task.limits.wall = wall;
    task
}

pub(crate) fn callers(provider: &Arc<ScriptedProvider>) -> Callers {
    let provider: Arc<ScriptedProvider> = Arc::clone(provider);
    Callers(vec![Caller::new(
        Role::Code,
        provider,
        "m",
        Arc::new(Unmetered),
        Arc::new(|| 0),
    )])
}

/// Counts reservations and settlements, and says no after so many.
pub(crate) struct Counting {
    most: usize,
    pub(crate) planned: Mutex<Vec<Planned>>,
    pub(crate) settled: Mutex<Vec<CallRecord>>,
}

impl Counting {
    pub(crate) fn up_to(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            planned: Mutex::default(),
            settled: Mutex::default(),
        })
    }

    /// Everything that was reserved was settled.
    pub(crate) fn assert_even(&self) -> usize {
        let (planned, settled) = (
            self.planned.lock().unwrap().len(),
            self.settled.lock().unwrap().len(),
        );
        assert_eq!(planned, settled, "reserved and settled");
        planned
    }
}

#[async_trait::async_trait]
impl Meter for Counting {
    async fn reserve(&self, planned: &Planned) -> Result<Ticket, Refusal> {
        let mut all = self.planned.lock().unwrap();
        if all.len() >= self.most {
            return Err(Refusal::new("the day's budget is spent: raise it"));
        }
        all.push(planned.clone());
        Ok(Ticket(format!("ticket-{}", all.len())))
    }

    async fn settle(&self, _: Ticket, call: &CallRecord) {
        self.settled.lock().unwrap().push(call.clone());
    }
}

/// A way to the scripted server, which takes the real key only.
pub(crate) fn upstream(server: &ModelServer, wire: Wire, meter: Arc<dyn Meter>) -> Upstream {
    server.require_key(KEY);
    let (base_url, prices, model) = if wire == Wire::Anthropic {
        (server.url(), "anthropic", "claude-sonnet-4-5-20250929")
    } else {
        (server.openai_url(), "openai", "gpt-5")
    };
    let config = ProviderConfig {
        base_url: Some(base_url),
        key: Some(KeyRef::Env("MODEL_KEY".into())),
        prices: Some(prices.into()),
        ..ProviderConfig::new("test", wire)
    };
    let env = |name: &str| (name == "MODEL_KEY").then(|| KEY.to_owned());
    let provider = config.provider(&env).unwrap();
    let now = Arc::new(|| 1_780_000_000_000);
    let asker = Arc::new(ScriptedProvider::new("unused"));
    let caller = Caller::new(Role::Code, asker, model, meter, now);
    Upstream {
        max_output_tokens: Some(8000),
        ..Upstream::of(&provider, &caller)
    }
}

/// Where the real agent is, if it is installed; else says so.
pub(crate) fn real(program: &str) -> Option<PathBuf> {
    let tools = std::env::var_os("AGENTWRIGHT_TOOLS").map_or_else(default_tools, PathBuf::from);
    let path = tools.join(program);
    if path.is_file() {
        return Some(path);
    }
    println!(
        "SKIPPED: {program} is not installed, its tests did not run; scripts/agents.sh installs it"
    );
    None
}

/// `tools` in the target directory that this test was built into.
fn default_tools() -> PathBuf {
    let init = Path::new(env!("CARGO_BIN_EXE_agent-init"));
    init.ancestors().nth(2).unwrap().join("tools")
}

/// How many processes of the machine have this word in their command line.
pub(crate) fn alive(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let has = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line)
            .split('\0')
            .any(|argument| argument == word)
    };
    entries.filter(has).count()
}

/// Waits for a condition; fails after a while.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..400 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("waited in vain: {what}");
}
