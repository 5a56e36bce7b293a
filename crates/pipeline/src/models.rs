//! Which models a build asks, and who counts and keeps what they say.
//!
//! The one place where a role becomes something that can be asked: what the machine has is looked for here
//! (`llm::detect`), every call is reserved with the run's ledger and recorded for a replay. Not here: what is asked.

mod recorded;
mod window;

use agentwright_agent::Upstream;
use agentwright_domain::build::{FailureClass, Stage};
use agentwright_domain::spend::{Amount, PlannedCall, SettledCall};
use agentwright_engine::{Handle, ReportError};
use agentwright_llm::caller::Now;
use agentwright_llm::detect::OLLAMA_URL;
use agentwright_llm::redact::SECRET_MIN;
use agentwright_llm::{
    Advice, CallRecord, Caller, Callers, Cassette, CassetteWriter, Detected, Event, Keys, Kind,
    Listener, LlmError, Meter, ModelsConfig, Parts, Planned, Prices, ProviderConfig, Refusal,
    Resolve, Role, Secret, Ticket,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use crate::stages::Stop;
use window::Window;

/// How long what was found on the machine is believed.
const FOUND_FOR: Duration = Duration::from_secs(30);
/// The longest that one attempt on the wire may take; set aside as time.
const WIRE_MAX_MS: i64 = 10 * 60_000;
/// Up to so much later than it must a parked build comes back, so that not all come at once.
const JITTER_MAX_MS: u64 = 20_000;
/// Code beyond so many bytes is too large for the overseer.
const OVERSEER_BYTES: usize = 60_000;
/// So often the overseer is asked about one build.
const REVIEWS: u32 = 3;
/// The longest conventions of an organization, in bytes.
pub const CONVENTIONS_MAX: usize = 8_000;

/// Reads a variable of the environment.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a person configured about models.
#[derive(Clone)]
pub struct ModelSettings {
    /// Providers and roles; empty means that the machine is looked at.
    pub models: ModelsConfig,
    /// Who writes code.
    pub coder: CoderConfig,
    /// The independent look.
    pub overseer: OverseerConfig,
    /// What models cost.
    pub prices: Arc<Prices>,
    /// What every spec and all code follow here, in words.
    pub conventions: String,
    /// Where Ollama is looked for.
    pub ollama_url: String,
    /// Where keys are looked for.
    pub env: Environment,
    /// Who resolves references to keys. May block.
    pub keys: Option<Resolve>,
}

impl ModelSettings {
    /// Nothing configured, and an environment.
    pub fn new(env: Environment) -> Self {
        Self {
            models: ModelsConfig::default(),
            coder: CoderConfig::default(),
            overseer: OverseerConfig::default(),
            prices: Arc::new(Prices::embedded()),
            conventions: String::new(),
            ollama_url: OLLAMA_URL.to_owned(),
            env,
            keys: None,
        }
    }
}

/// Who writes code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoderConfig {
    /// How it is written; small local models write in one shot, others with tools, where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<CoderKind>,
    /// The agent's program, absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// Its arguments (`acp` only). `{relay}`, `{token}` and `{model}` are filled in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Its environment (`acp` only), filled in the same way.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Model calls of one writing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
    /// Seconds of one writing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_s: Option<u64>,
    /// Tokens that it may write in one writing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
}

/// The ways of writing code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoderKind {
    /// One question, all files in the answer.
    OneShot,
    /// A model with tools: read, write, list, search, run.
    ToolLoop,
    /// Claude Code.
    Claude,
    /// Codex.
    Codex,
    /// Any agent that speaks ACP.
    Acp,
}

impl CoderKind {
    /// Whether it is a program that asks its model by itself.
    pub fn is_agent(self) -> bool {
        match self {
            Self::OneShot | Self::ToolLoop => false,
            Self::Claude | Self::Codex | Self::Acp => true,
        }
    }
}

/// The independent look at the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OverseerConfig {
    /// Larger code is not shown: a person decides.
    pub code_max_bytes: usize,
    /// So often it is asked about one build; beyond that a person decides.
    pub reviews_max: u32,
}

impl Default for OverseerConfig {
    fn default() -> Self {
        Self {
            code_max_bytes: OVERSEER_BYTES,
            reviews_max: REVIEWS,
        }
    }
}

/// The models of this machine. Cheap to clone.
#[derive(Clone)]
pub struct Models {
    inner: Arc<Inner>,
}

struct Inner {
    settings: ModelSettings,
    found: tokio::sync::Mutex<Option<(Instant, Arc<Detected>)>>,
    /// Providers that answer nothing before a time, ms: nobody calls them until then.
    closed: Mutex<BTreeMap<String, i64>>,
}

impl Models {
    /// By configuration.
    pub fn new(settings: ModelSettings) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                found: tokio::sync::Mutex::default(),
                closed: Mutex::default(),
            }),
        }
    }

    /// What was configured.
    pub fn settings(&self) -> &ModelSettings {
        &self.inner.settings
    }

    /// What the machine has now. Looks anew after half a minute; asks Ollama and nobody else.
    pub async fn found(&self) -> Arc<Detected> {
        let mut found = self.inner.found.lock().await;
        if let Some((at, known)) = &*found
            && at.elapsed() < FOUND_FOR
        {
            return Arc::clone(known);
        }
        let it = self.settings();
        let env = |name: &str| (it.env)(name);
        let mut now = agentwright_llm::detect(&it.models, &env, &it.ollama_url).await;
        if let Some(keys) = &it.keys {
            now.keys = Keys::by(Arc::clone(keys));
            let held: Vec<String> = now
                .providers
                .iter()
                .flat_map(ProviderConfig::in_vault)
                .collect();
            prepared(keys, held).await;
        }
        let now = Arc::new(now);
        *found = Some((Instant::now(), Arc::clone(&now)));
        now
    }

    /// Whether anybody can be asked.
    pub async fn any(&self) -> bool {
        !self.found().await.providers.is_empty()
    }

    /// Keys of all providers, for what is kept and shown.
    pub(crate) async fn secrets(&self) -> Vec<Secret> {
        let env = |name: &str| (self.settings().env)(name);
        self.found().await.secrets(&env)
    }

    fn closed_until(&self, provider: &str, now_ms: i64) -> Option<i64> {
        let mut closed = self
            .inner
            .closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        closed.retain(|_, until_ms| *until_ms > now_ms);
        closed.get(provider).copied()
    }

    fn close(&self, provider: &str, until_ms: i64) {
        let mut closed = self
            .inner
            .closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        closed.insert(provider.to_owned(), until_ms);
    }
}

/// Asks Vault where it may take its time: whoever needs the keys next finds what it said, or why not.
async fn prepared(keys: &Resolve, references: Vec<String>) {
    if references.is_empty() {
        return;
    }
    let keys = Arc::clone(keys);
    let asked = tokio::task::spawn_blocking(move || {
        references
            .iter()
            .for_each(|reference| drop(keys(reference)));
    });
    if let Err(error) = asked.await {
        tracing::warn!(%error, "keys could not be asked for");
    }
}

/// The models as one attempt at a stage asks them: counted, and recorded or replayed.
pub(crate) struct Asking<'a> {
    models: &'a Models,
    handle: &'a Handle,
    now: Now,
    tape: Tape,
    secrets: Vec<Secret>,
    /// The recorded answers, where this is a replay.
    replays: Option<Cassette>,
}

/// What is recorded, on its way to disk.
#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The file of a build's directory that holds the model's answers of one attempt.
pub(crate) fn tape_name(stage: Stage, attempt: u32) -> String {
    format!("calls-{}-{attempt}.jsonl", stage.word())
}

impl<'a> Asking<'a> {
    pub(crate) async fn new(
        models: &'a Models,
        handle: &'a Handle,
        now: Now,
        replays: Option<&Path>,
    ) -> Result<Self, Stop> {
        let replays = match replays {
            Some(path) => Some(read_tape(path)?),
            None => None,
        };
        Ok(Self {
            secrets: models.secrets().await,
            models,
            handle,
            now,
            tape: Tape::default(),
            replays,
        })
    }

    /// Keys that must not be shown.
    pub(crate) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Whether a text holds one of them.
    pub(crate) fn leaks(&self, text: &str) -> bool {
        self.secrets
            .iter()
            .map(Secret::expose)
            .any(|secret| secret.len() >= SECRET_MIN && text.contains(secret))
    }

    /// What was asked and answered so far, a JSON object a line.
    pub(crate) fn tape(&self) -> Vec<u8> {
        let kept = self.tape.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    /// Shows what is written to whoever looks.
    fn listener(&self) -> Listener {
        let draft = self.handle.draft();
        Arc::new(move |event| match event {
            Event::Text(text) => draft.push(text),
            Event::Restarted { .. } => draft.again(),
            Event::Reasoning(_) | Event::ToolCall(_) | Event::Usage(_) | Event::Done { .. } => {}
        })
    }

    /// Who is asked for a role, without those that are known to answer nothing now.
    pub(crate) async fn callers(&self, role: Role) -> Result<Callers, Stop> {
        let found = self.models.found().await;
        let it = self.models.settings();
        let env = |name: &str| (it.env)(name);
        let secrets = self.secrets.clone();
        let recorder = Arc::new(CassetteWriter::new(self.tape.clone(), secrets));
        let parts = Parts {
            meter: self.meter(),
            prices: Arc::clone(&it.prices),
            recorder: Some(recorder),
            listener: Some(self.listener()),
            now: Arc::clone(&self.now),
        };
        if let Some(cassette) = &self.replays {
            let config = found.roles.get(&role);
            let recorded = recorded::callers(cassette, role, config, &parts, &self.secrets);
            return Ok(recorded);
        }
        let callers = found
            .callers(role, &env, &parts)
            .map_err(|error| self.stop(&error))?;
        self.open(callers)
    }

    /// Who gave the last answer of this attempt: a provider and its model.
    pub(crate) fn answered(&self) -> Option<String> {
        let tape = String::from_utf8(self.tape()).ok()?;
        let entries = Cassette::read(&tape).ok()?.entries;
        let last = entries.iter().rev().find(|entry| entry.error.is_none())?;
        let model = last.request.get("model")?.as_str()?;
        Some(format!("{} {model}", last.provider))
    }

    /// Those that are not known to answer nobody now, each behind its window.
    fn open(&self, callers: Callers) -> Result<Callers, Stop> {
        let now_ms = (self.now)();
        let mut open = Vec::new();
        let mut closed = Vec::new();
        for caller in callers.0 {
            let id = caller.provider.id().to_owned();
            match self.models.closed_until(&id, now_ms) {
                Some(until_ms) => closed.push((until_ms, id)),
                None => open.push(Caller {
                    provider: Arc::new(Window {
                        inner: Arc::clone(&caller.provider),
                        models: self.models.clone(),
                        now: Arc::clone(&self.now),
                    }),
                    ..caller
                }),
            }
        }
        match closed.into_iter().min() {
            Some((until_ms, id)) if open.is_empty() => Err(Stop::Park {
                reason: format!("{id} said when it answers again, and it is not asked before"),
                until_ms: until_ms.saturating_add(jitter_ms()),
            }),
            Some(_) | None => Ok(Callers(open)),
        }
    }

    /// Where an agent's relay asks: the first provider of the role.
    pub(crate) async fn upstream(&self, role: Role) -> Result<Upstream, Stop> {
        let callers = self.callers(role).await?;
        let found = self.models.found().await;
        let it = self.models.settings();
        let env = |name: &str| (it.env)(name);
        let none = || Stop::fault(Detected::help().join("\n"));
        let caller = callers.0.first().ok_or_else(none)?;
        let config = found
            .providers
            .iter()
            .find(|provider| provider.name == caller.provider.id())
            .ok_or_else(none)?;
        let provider = config.provider_with(&env, &found.keys);
        let provider = provider.map_err(|error| self.stop(&error))?;
        Ok(Upstream::of(&provider, caller))
    }

    fn meter(&self) -> Arc<dyn Meter> {
        Arc::new(Ledger {
            handle: self.handle.clone(),
        })
    }

    /// What a model's failure means for the build.
    pub(crate) fn stop(&self, error: &LlmError) -> Stop {
        let now_ms = (self.now)();
        match (error.kind, error.advice()) {
            (Kind::Refused, _) => Stop::Spent(error.message.clone()),
            (Kind::Cancelled, _) => Stop::Retry("it was stopped".to_owned()),
            (Kind::Replay, _) => Stop::Failed(
                FailureClass::Tests,
                format!("it differs: {}", error.message),
            ),
            (_, Advice::Park { .. }) if self.replays.is_some() => Stop::Failed(
                FailureClass::Limit,
                format!("the recorded try ended here: {}", error.message),
            ),
            (_, Advice::Park { after }) => {
                let after_ms = i64::try_from(after.as_millis()).unwrap_or(i64::MAX / 4);
                let until_ms = now_ms.saturating_add(after_ms);
                self.models.close(&error.provider, until_ms);
                Stop::Park {
                    reason: error.to_string(),
                    until_ms: until_ms.saturating_add(jitter_ms()),
                }
            }
            (_, Advice::Retry { .. }) => Stop::Retry(error.to_string()),
            (_, Advice::Fail) => Stop::Failed(FailureClass::Fault, error.to_string()),
        }
    }
}

fn jitter_ms() -> i64 {
    let random = getrandom::u64().unwrap_or(0);
    i64::try_from(random % JITTER_MAX_MS).unwrap_or(0)
}

/// The recorded answers of an attempt; none where the attempt asked nobody.
fn read_tape(path: &Path) -> Result<Cassette, Stop> {
    match std::fs::read_to_string(path) {
        Ok(text) => Cassette::read(&text)
            .map_err(|error| Stop::fault(format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Cassette::default()),
        Err(error) => Err(Stop::Retry(format!(
            "cannot read {}: {error}",
            path.display()
        ))),
    }
}

/// The run's ledger, as calls see it.
struct Ledger {
    handle: Handle,
}

#[async_trait::async_trait]
impl Meter for Ledger {
    async fn reserve(&self, planned: &Planned) -> Result<Ticket, Refusal> {
        let tokens = planned
            .max_input_tokens
            .saturating_add(planned.max_output_tokens);
        let call = PlannedCall {
            role: planned.role.as_str().to_owned(),
            provider: planned.provider.clone(),
            model: planned.model.clone(),
            wire_attempt: planned.attempt,
            most: Amount {
                calls: 1,
                tokens: i64::try_from(tokens).unwrap_or(i64::MAX),
                micro_usd: planned.max_cost_micro_usd.unwrap_or(0),
                wire_ms: WIRE_MAX_MS,
            },
        };
        match self.handle.reserve(&call).await {
            Ok(Ok(id)) => Ok(Ticket(id)),
            Ok(Err(exceeded)) => Err(Refusal::new(exceeded.to_string())),
            Err(error @ ReportError::Stale) => Err(Refusal::new(error.to_string())),
            Err(ReportError::Store(error)) => Err(Refusal::new(format!(
                "nothing can be set aside for it: {error}"
            ))),
        }
    }

    async fn settle(&self, ticket: Ticket, call: &CallRecord) {
        let count = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        let usage = &call.usage;
        let writes = [usage.cache_write_5m, usage.cache_write_1h];
        let cache_write = writes
            .iter()
            .any(Option::is_some)
            .then(|| writes.iter().flatten().sum());
        let ended = match (&call.error, &call.stop) {
            (Some(kind), _) => kind.to_string(),
            (None, Some(stop)) => stop.clone(),
            (None, None) => "end".to_owned(),
        };
        let settled = SettledCall {
            input: count(usage.input),
            output: count(usage.output),
            cache_read: count(usage.cache_read),
            cache_write: count(cache_write),
            micro_usd: call.cost_micro_usd,
            price: call.price_id.clone(),
            ended,
            request_id: call.request_id.clone(),
            latency_ms: i64::try_from(call.latency_ms).unwrap_or(i64::MAX),
            first_ms: count(call.ttft_ms),
        };
        // What cannot be settled stays as it was set aside: it counts as spent.
        if let Err(error) = self.handle.settle(&ticket.0, &settled).await {
            tracing::warn!(%error, call = ticket.0, "a model's call was not settled");
        }
    }
}
