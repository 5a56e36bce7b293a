//! Where a command-line agent's model calls go: a server of ours on loopback that holds the key, pins the model,
//! reserves before each call, passes the answer on as it comes, and settles after it.
//!
//! One relay for one run of one agent; what it does not know is refused. No key is ever inside the sandbox: the agent
//! has a token that is worth nothing elsewhere. Bodies and keys are never logged. Not here: what the agent is.
//! Start at [`Relay::start`].

mod forward;
mod inspect;
mod request;
mod serve;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use agentwright_llm::caller::Now;
use agentwright_llm::{
    Advice, Caller, HttpProvider, Kind, LlmError, Meter, Prices, Provider, Role, Secret, Usage,
    Wire,
};
use agentwright_sandbox::{HostRule, Network, Route};
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::coder::CoderLimits;
use crate::error::{CoderError, CoderLimit};
use crate::spent;

/// Where the agent finds the relay, inside its sandbox. A port that nothing else wants.
pub(crate) const INSIDE_PORT: u16 = 38_417;
/// Largest question.
pub const MAX_QUESTION_BYTES: usize = 8 * 1024 * 1024;
/// Questions that are read at the same time: read, one takes many times its size.
const MAX_READ_AT_ONCE: usize = 2;
/// Largest answer.
pub const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
/// The longest answer in tokens that one question may ask for.
const DEFAULT_OUTPUT_TOKENS: u32 = 32_000;

/// Where the relay asks, and with what.
#[derive(Clone)]
pub struct Upstream {
    /// The provider's name, for the ledger and for messages.
    pub provider: String,
    /// The provider's kind, for prices.
    pub kind: String,
    /// The one form that is spoken. Only Anthropic, OpenAI chat and OpenAI responses are relayed.
    pub wire: Wire,
    /// Its base address. May hold a password: never shown.
    pub base_url: Url,
    /// Sent with every call, the key among them; they never leave this process but to the provider.
    pub headers: HeaderMap,
    /// What in them must not be shown.
    pub secrets: Vec<Secret>,
    /// The one model that is asked, whatever the agent names.
    pub model: String,
    /// The longest answer of one call; 32,000 tokens where absent.
    pub max_output_tokens: Option<u32>,
    /// What the calls are for.
    pub role: Role,
    /// Who counts.
    pub meter: Arc<dyn Meter>,
    /// What it costs.
    pub prices: Arc<Prices>,
    /// The time, for the date of a price.
    pub now: Now,
}

impl Upstream {
    /// The same provider, model, meter and prices as a caller uses. The caller's limit of output tokens is made for
    /// single answers, so it is not taken over.
    #[must_use]
    pub fn of(provider: &HttpProvider, caller: &Caller) -> Self {
        Self {
            provider: provider.id().to_owned(),
            kind: provider.kind().to_owned(),
            wire: provider.wire(),
            base_url: provider.base_url().clone(),
            headers: provider.headers().clone(),
            secrets: provider.secrets().to_vec(),
            model: caller.model.clone(),
            max_output_tokens: None,
            role: caller.role,
            meter: Arc::clone(&caller.meter),
            prices: Arc::clone(&caller.prices),
            now: Arc::clone(&caller.now),
        }
    }

    fn output_tokens(&self) -> u32 {
        self.max_output_tokens.unwrap_or(DEFAULT_OUTPUT_TOKENS)
    }
}

/// How far one agent may go through its relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Model calls.
    pub calls: u32,
    /// Tokens written, all calls together.
    pub output_tokens: u64,
}

impl RelayLimits {
    /// From a coder's limits.
    #[must_use]
    pub fn of(limits: &CoderLimits) -> Self {
        Self {
            calls: limits.turns,
            output_tokens: limits.max_output_tokens,
        }
    }
}

/// A running relay. Dropping it ends its connections; what was reserved is settled all the same.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    until: DropGuard,
}

/// What happened at a relay.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Calls that were sent on.
    pub calls: u32,
    /// What they took together.
    pub usage: Usage,
    /// Why the agent could not go on, if its last call did not go well.
    pub trouble: Option<Trouble>,
}

/// Why a relay did not give an answer.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The provider or the budget.
    Model(LlmError),
    /// A limit of the coder.
    Limit(CoderLimit),
}

impl From<Trouble> for CoderError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Model(error) => Self::Model(error),
            Trouble::Limit(limit) => Self::Limit(limit),
        }
    }
}

/// What all connections of a relay share.
struct Shared {
    upstream: Upstream,
    limits: RelayLimits,
    token: Secret,
    client: forward::Client,
    reading: Semaphore,
    traffic: Mutex<Traffic>,
    /// Fired when no further call will be answered.
    over: CancellationToken,
    until: CancellationToken,
    tasks: TaskTracker,
}

impl Relay {
    /// Listens on a loopback port of its own.
    ///
    /// # Errors
    /// [`CoderError::Unmetered`] for a form that is not relayed; [`CoderError::Workspace`] when the system has no
    /// port or no randomness.
    pub async fn start(upstream: Upstream, limits: RelayLimits) -> Result<Self, CoderError> {
        if !matches!(
            upstream.wire,
            Wire::Anthropic | Wire::OpenaiChat | Wire::OpenaiResponses
        ) {
            let program = format!("for {}", upstream.wire.as_str());
            return Err(CoderError::Unmetered { program });
        }
        let failed = |attempted: &str, source| CoderError::Workspace {
            attempted: attempted.to_owned(),
            source,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.map_err(|e| failed("listen for the relay", e))?;
        let address = listener
            .local_addr()
            .map_err(|e| failed("listen for the relay", e))?;
        let token = token().map_err(|e| failed("make a token for the relay", e))?;
        let client = forward::client().map_err(|e| failed("prepare to ask the provider", e))?;
        let until = CancellationToken::new();
        let tasks = TaskTracker::new();
        let shared = Arc::new(Shared {
            upstream,
            limits,
            token,
            client,
            reading: Semaphore::new(MAX_READ_AT_ONCE),
            traffic: Mutex::default(),
            over: CancellationToken::new(),
            until: until.clone(),
            tasks: tasks.clone(),
        });
        tasks.spawn(serve::accept(Arc::clone(&shared), listener));
        Ok(Self {
            address,
            shared,
            tasks,
            until: until.drop_guard(),
        })
    }

    /// What the agent presents instead of a key.
    #[must_use]
    pub fn token(&self) -> &Secret {
        &self.shared.token
    }

    /// Where it listens on the host.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the agent finds it inside, without a path: an address that no client takes to the sandbox's proxy.
    #[must_use]
    pub fn inside(&self) -> String {
        format!("http://127.0.0.1:{INSIDE_PORT}")
    }

    /// The network of the agent's sandbox: this relay and nothing else.
    #[must_use]
    pub fn network(&self) -> Network {
        Network::Allow(vec![HostRule {
            host: "127.0.0.1".into(),
            port: INSIDE_PORT,
            route: Route::Fixture(self.address),
        }])
    }

    /// Fires when no further call will be answered: the budget is spent, a limit is reached, or the provider will not
    /// answer by itself again. The agent can be ended then.
    #[must_use]
    pub fn over(&self) -> CancellationToken {
        self.shared.over.clone()
    }

    /// Ends all connections, waits until everything is settled, and says what happened.
    pub async fn finish(self) -> Traffic {
        drop(self.until);
        self.tasks.close();
        self.tasks.wait().await;
        self.shared.traffic().clone()
    }
}

impl Shared {
    fn traffic(&self) -> std::sync::MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call about to be made.
    fn admit(&self) -> Result<(), CoderLimit> {
        let mut traffic = self.traffic();
        let limit = if traffic.calls >= self.limits.calls {
            Some(CoderLimit::Turns)
        } else if traffic.usage.output.unwrap_or(0) >= self.limits.output_tokens {
            Some(CoderLimit::Tokens)
        } else {
            None
        };
        if let Some(limit) = limit {
            traffic.trouble = Some(Trouble::Limit(limit));
            self.over.cancel();
            return Err(limit);
        }
        traffic.calls += 1;
        Ok(())
    }

    /// Keeps how a call ended.
    fn ended(&self, usage: &Usage, error: Option<LlmError>) {
        let mut traffic = self.traffic();
        spent::add(&mut traffic.usage, usage);
        // Only a failure that does not pass by itself ends the agent's work; it may ask again after others.
        if error.as_ref().is_some_and(lasting) {
            self.over.cancel();
        }
        traffic.trouble = error.map(Trouble::Model);
    }
}

/// Whether asking again soon cannot help. An agent would otherwise wait for an hour inside its sandbox.
fn lasting(error: &LlmError) -> bool {
    let kind = matches!(
        error.kind,
        Kind::Refused | Kind::Auth | Kind::Billing | Kind::UnknownModel
    );
    kind || matches!(error.advice(), Advice::Park { .. })
}

fn token() -> std::io::Result<Secret> {
    let mut bytes = [0_u8; 24];
    getrandom::fill(&mut bytes).map_err(|e| std::io::Error::other(e.to_string()))?;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    Ok(Secret::new(format!("relay-{hex}")))
}
