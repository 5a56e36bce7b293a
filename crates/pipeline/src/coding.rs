//! Code by a coder: the brief, the workspace, and what is taken of what it leaves.
//!
//! The coder works in a copy. What it says counts for nothing: the copy is looked at, and only regular files within
//! limits are taken, by digest. The spec, its acceptance and the pages of the repository are shown and never taken.

mod left;

use crate::models::{Asking, CoderKind, Models};
use crate::stages::Stop;
use agentwright_agent::{
    Acp, AcpAgent, AcpWay, Claude, Coder, CoderError, CoderLimits, Codex, FileEntry, OneShot,
    Progress, Protected, Task, ToolLoop, Workspace, inspect,
};
use agentwright_domain::build::{FailureClass, Repair};
use agentwright_domain::spec::{AutomationKind, Spec};
use agentwright_engine::Handle;
use agentwright_llm::Role;
use agentwright_runtime::install::NOT_CODE;
use agentwright_runtime::tree;
use agentwright_sandbox::Sandbox;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Files of a repository that are shown to a coder and never taken from it.
const PROTECTED: [&str; 4] = ["spec.json", "spec.md", "AGENTS.md", ".git"];
/// The most of a transcript that is kept, in bytes.
const TRANSCRIPT_MAX: usize = 4 << 20;
/// Lines of progress that may wait to be told.
const STEPS_WAITING: usize = 256;
/// So many tries of a coder that writes nothing or nothing usable.
const EMPTY_MAX: u32 = 3;

/// What a coder is to do.
pub(crate) struct Job<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) conventions: &'a str,
    pub(crate) repair: Option<&'a Repair>,
    /// Whether the code of a deployed version is there, to be changed.
    pub(crate) changes: bool,
    /// What the failing level saw.
    pub(crate) evidence: Option<String>,
    pub(crate) attempt: u32,
    /// Tries of this writing, the ones before the last repair not counted.
    pub(crate) tries: u32,
    /// The repository.
    pub(crate) repository: PathBuf,
    /// An empty directory of ours.
    pub(crate) scratch: PathBuf,
    pub(crate) sandbox: Sandbox,
    /// Where this attempt's record keeps what a command-line agent left, for a replay.
    pub(crate) left: PathBuf,
    /// In a replay: where the record is that takes an agent's place.
    pub(crate) left_then: Option<PathBuf>,
}

/// What came of it. The transcript is there whatever came.
pub(crate) struct Coded {
    pub(crate) by: String,
    pub(crate) transcript: Vec<u8>,
    pub(crate) outcome: Result<Taken, Stop>,
}

/// The files that were taken.
pub(crate) struct Taken {
    pub(crate) files: usize,
    pub(crate) says: String,
}

/// Lets the configured coder work, and takes what it left into the repository.
pub(crate) async fn code(
    models: &Models,
    asking: &Asking<'_>,
    job: &Job<'_>,
    handle: &Handle,
) -> Result<Coded, Stop> {
    let role = match job.repair {
        Some(_) => Role::Repair,
        None => Role::Code,
    };
    let kind = match models.settings().coder.kind {
        Some(kind) => kind,
        None => usual(models, role).await,
    };
    let (coder, by) = match &job.left_then {
        Some(then) if kind.is_agent() => left_then(then),
        Some(_) | None => chosen(models, asking, role, kind).await?,
    };
    let workspace = workspace(asking, job)?;
    let (steps, mut lines) = mpsc::channel(STEPS_WAITING);
    let told = Told {
        steps,
        transcript: Mutex::default(),
    };
    let limits = limits(models);
    let task = task(job, limits.clone());
    let cancel = handle.cancelled();
    let telling = async {
        while let Some(line) = lines.recv().await {
            if let Err(error) = handle.progress(50, &line).await {
                tracing::debug!(%error, "progress was not recorded");
            }
        }
    };
    let writing = async {
        let written = coder.write(&task, &workspace, &told, &cancel).await;
        let Told { steps, transcript } = told;
        drop(steps);
        let kept = transcript
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        (written, kept)
    };
    let ((written, kept), ()) = tokio::join!(writing, telling);
    let (transcript, outcome) = match written {
        Ok(written) => {
            let mut taken = take(asking, job, &workspace, &limits, written.says);
            if taken.is_ok() && kind.is_agent() {
                taken = left::keep(&job.repository, &job.left)
                    .map_err(Stop::from)
                    .and(taken);
            }
            (written.transcript, taken)
        }
        Err(error) => (kept, Err(stop(asking, error, job.tries))),
    };
    let by = match asking.answered() {
        Some(model) => format!("{by}, {model}"),
        None => by,
    };
    Ok(Coded {
        by,
        transcript,
        outcome,
    })
}

/// The coder of the configuration, and its name for people.
async fn chosen(
    models: &Models,
    asking: &Asking<'_>,
    role: Role,
    kind: CoderKind,
) -> Result<(Box<dyn Coder>, String), Stop> {
    let config = &models.settings().coder;
    let program = || {
        config.program.clone().ok_or_else(|| {
            Stop::fault(
                "the coder of the configuration needs `program`, the absolute path of the agent",
            )
        })
    };
    let coder: (Box<dyn Coder>, String) = match kind {
        CoderKind::OneShot | CoderKind::ToolLoop => {
            let callers = asking.callers(role).await?;
            if kind == CoderKind::OneShot {
                let coder = Box::new(OneShot::new("one_shot", callers));
                (coder, "one shot".to_owned())
            } else {
                let coder = Box::new(ToolLoop::new("tool_loop", callers));
                (coder, "tool loop".to_owned())
            }
        }
        CoderKind::Claude => {
            let upstream = asking.upstream(role).await?;
            let by = format!("Claude Code, {}", upstream.model);
            (Box::new(Claude::new("claude", program()?, upstream)), by)
        }
        CoderKind::Codex => {
            let upstream = asking.upstream(role).await?;
            let by = format!("Codex, {}", upstream.model);
            (Box::new(Codex::new("codex", program()?, upstream)), by)
        }
        CoderKind::Acp => {
            let upstream = asking.upstream(role).await?;
            let program = program()?;
            let by = format!("{}, {}", program.display(), upstream.model);
            let agent = AcpAgent {
                name: "acp".to_owned(),
                program,
                arguments: config.arguments.clone(),
                env: config.environment.clone().into_iter().collect(),
                files: Vec::new(),
                mounts: Vec::new(),
                way: AcpWay::Relay(Box::new(upstream)),
            };
            (Box::new(Acp::new(agent)), by)
        }
    };
    Ok(coder)
}

/// In a replay an agent's place is taken by what it left.
fn left_then(then: &Path) -> (Box<dyn Coder>, String) {
    let coder = Box::new(left::Left(then.to_owned()));
    (coder, "what was recorded of an agent".to_owned())
}

/// Small local models write whole files at once; the others use tools.
async fn usual(models: &Models, role: Role) -> CoderKind {
    let found = models.found().await;
    let wire = found.roles.get(&role).and_then(|used| {
        let mut providers = found.providers.iter();
        providers.find(|provider| provider.name == used.provider)
    });
    match wire {
        Some(provider) if provider.wire.is_ollama() => CoderKind::OneShot,
        Some(_) | None => CoderKind::ToolLoop,
    }
}

fn limits(models: &Models) -> CoderLimits {
    let config = &models.settings().coder;
    let usual = CoderLimits::default();
    CoderLimits {
        turns: config.turns.unwrap_or(usual.turns),
        wall: config.wall_s.map_or(usual.wall, Duration::from_secs),
        max_output_tokens: config.max_output_tokens.unwrap_or(usual.max_output_tokens),
        ..usual
    }
}

fn task(job: &Job<'_>, limits: CoderLimits) -> Task {
    Task {
        brief: brief(job),
        evidence: job.evidence.clone(),
        attempt: job.attempt,
        main_file: main_file(job.spec),
        limits,
    }
}

/// What to build, in words and as data.
fn brief(job: &Job<'_>) -> String {
    let spec = job.spec;
    let json = serde_json::to_string_pretty(spec).unwrap_or_default();
    let conventions = match job.conventions.trim() {
        "" => String::new(),
        some => format!("\nConventions that hold here:\n{some}\n"),
    };
    let begun = if job.changes && job.repair.is_none() {
        "The code of the version that is deployed is there. Change what the spec asks for and keep the rest.\n"
    } else {
        ""
    };
    let help = match spec.kind {
        AutomationKind::Script | AutomationKind::ClaudeAgent => {
            "Started with --help it says in a few lines what it does, touches nothing and ends with 0; no network and \
             no folder is there then.\n"
        }
        AutomationKind::Service => "",
    };
    format!(
        "Write the automation {name}: {purpose}\n\n\
         It is started with the command {command:?}. Your files are in /app (here: the workspace), which is read-only \
         when it runs; its own directory is /state, declared folders are /data/<name>, /tmp is scratch. Python 3 with its \
         standard library and sh are there; nothing can be installed. Only the hosts, folders and programs of the \
         permissions can be reached. Secrets come as the spec's permissions say, never in the code: each in the environment variable of its name or, \
         declared as a file, in /run/secrets/NAME (read-only, to which NAME_FILE points). Role-id and secret-id files of Vault's \
         AppRole are for `POST /v1/auth/approle/login` of the declared Vault host; the token stays in memory.\n\
         Handle errors: say what failed on standard error and end with a code other than 0; log to standard output; \
         change nothing beyond what is asked. Where there is a preview command it changes nothing.\n{begun}{help}{conventions}\n\
         The whole spec, with the acceptance that it will be tested by (its values are drawn anew at each test):\n\
         ```json\n{json}\n```",
        name = spec.name,
        purpose = spec.purpose.trim(),
        command = spec.command,
    )
}

/// The file that the command starts: `python3 /app/main.py` → `main.py`.
fn main_file(spec: &Spec) -> Option<String> {
    let words = spec.command.iter();
    words
        .filter_map(|word| word.strip_prefix("/app/"))
        .find(|path| !path.is_empty())
        .map(str::to_owned)
}

/// A copy of the repository without its history.
fn workspace(asking: &Asking<'_>, job: &Job<'_>) -> Result<Workspace, Stop> {
    let dir = job.scratch.join("workspace");
    tree::remove_all(&dir)?;
    tree::copy(&job.repository, &[".git"], &dir)?;
    Ok(Workspace {
        dir,
        protected: Protected::new(PROTECTED),
        sandbox: job.sandbox.clone(),
        beside: Vec::new(),
        secrets: asking.secrets().to_vec(),
    })
}

/// Looks at what the coder left, and makes the repository's code exactly that.
fn take(
    asking: &Asking<'_>,
    job: &Job<'_>,
    workspace: &Workspace,
    limits: &CoderLimits,
    says: String,
) -> Result<Taken, Stop> {
    let left = inspect(&workspace.dir, limits, &workspace.protected).map_err(|problem| {
        Stop::Failed(
            FailureClass::Review,
            format!("what the coder left is not taken: {problem}"),
        )
    })?;
    for file in &left {
        let path = workspace.dir.join(&file.path);
        let bytes = std::fs::read(&path).map_err(tree::io_error("read", &path))?;
        if asking.leaks(&String::from_utf8_lossy(&bytes)) {
            let why = format!(
                "{} holds a provider's key; nothing of it is taken",
                file.path
            );
            return Err(Stop::Failed(FailureClass::Review, why));
        }
    }
    let kept: BTreeSet<&str> = left.iter().map(|file| file.path.as_str()).collect();
    for file in tree::files(&job.repository, &NOT_CODE)? {
        if !kept.contains(file.path.as_str()) && file.path != "AGENTS.md" {
            let path = job.repository.join(&file.path);
            std::fs::remove_file(&path).map_err(tree::io_error("remove", &path))?;
        }
    }
    for file in &left {
        put(&workspace.dir, &job.repository, file)?;
    }
    Ok(Taken {
        files: left.len(),
        says,
    })
}

fn put(from: &Path, to: &Path, file: &FileEntry) -> Result<(), Stop> {
    let source = from.join(&file.path);
    let bytes = std::fs::read(&source).map_err(tree::io_error("read", &source))?;
    if agentwright_proof::of_bytes(&bytes).hex() != file.sha256 {
        return Err(Stop::Retry(format!(
            "{} changed while it was taken: something of the coder still runs",
            file.path
        )));
    }
    let target = to.join(&file.path);
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).map_err(tree::io_error("make the directory", parent))?;
    }
    tree::write_file(&target, &bytes, file.executable)?;
    Ok(())
}

/// What a coder's failure means for the build.
fn stop(asking: &Asking<'_>, error: CoderError, tries: u32) -> Stop {
    let words = error.to_string();
    match error {
        CoderError::Model(error) => asking.stop(&error),
        CoderError::Cancelled => Stop::Retry("it was stopped".to_owned()),
        CoderError::NotInstalled { .. }
        | CoderError::NotLoggedIn { .. }
        | CoderError::Unmetered { .. } => Stop::fault(words),
        CoderError::Limit(_) => Stop::Failed(FailureClass::Limit, words),
        CoderError::NothingWritten(_) | CoderError::BadOutput(_) | CoderError::Failed { .. } => {
            if tries >= EMPTY_MAX {
                Stop::Failed(
                    FailureClass::Tests,
                    format!("{words}; gave up after {tries} tries"),
                )
            } else {
                Stop::Retry(words)
            }
        }
        CoderError::Sandbox(_) | CoderError::Workspace { .. } => Stop::Retry(words),
    }
}

/// Where a coder says what it does. Steps that nobody can take in time are dropped; the transcript is bounded.
struct Told {
    steps: mpsc::Sender<String>,
    transcript: Mutex<Vec<u8>>,
}

impl Progress for Told {
    fn step(&self, line: &str) {
        let _ = self.steps.try_send(line.to_owned());
    }

    fn transcript(&self, line: &str) {
        let mut kept = self
            .transcript
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if kept.len() + line.len() < TRANSCRIPT_MAX {
            kept.extend_from_slice(line.as_bytes());
            kept.push(b'\n');
        }
    }
}
