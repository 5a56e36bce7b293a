//! What the tests here share.

use agentwright_llm::{
    CallCx, CallRecord, Caller, HttpProvider, Meter, Planned, Provider, ProviderConfig, Refusal,
    Retry, Role, Ticket, Wire,
};
use agentwright_testkit::ModelServer;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The key that everything here is asked with.
pub(crate) const KEY: &str = "sk-ant-canary-0123456789abcdef";

/// A configuration for a wire at a server.
pub(crate) fn config(wire: Wire, server: &ModelServer) -> ProviderConfig {
    let base = match wire {
        Wire::OpenaiChat | Wire::OpenaiResponses => server.openai_url(),
        Wire::Anthropic | Wire::OllamaGenerate | Wire::OllamaChat => server.url(),
    };
    ProviderConfig {
        base_url: Some(base),
        key: Some("env:KEY".parse().unwrap()),
        ..ProviderConfig::new("here", wire)
    }
}

pub(crate) fn env(name: &str) -> Option<String> {
    (name == "KEY").then(|| KEY.to_owned())
}

pub(crate) fn provider(wire: Wire, stream: bool, server: &ModelServer) -> HttpProvider {
    ProviderConfig {
        stream: Some(stream),
        ..config(wire, server)
    }
    .provider(&env)
    .unwrap()
}

/// A caller that asks once.
pub(crate) fn once(provider: impl Provider + 'static, meter: Arc<Ledger>) -> Caller {
    Caller {
        retry: Retry::NEVER,
        ..caller(provider, meter)
    }
}

/// A caller with usual retries whose waits are short.
pub(crate) fn caller(provider: impl Provider + 'static, meter: Arc<Ledger>) -> Caller {
    let mut caller = Caller::new(
        Role::Code,
        Arc::new(provider),
        "m-1",
        meter,
        Arc::new(|| 1_780_272_000_000),
    );
    caller.retry.base = Duration::from_millis(1);
    caller
}

/// Bounds that no test with a healthy server meets.
pub(crate) fn cx() -> CallCx {
    CallCx {
        deadline: Duration::from_secs(60),
        idle: Duration::from_secs(60),
        ..CallCx::default()
    }
}

/// A meter that keeps what it was told, and refuses after some calls.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) planned: Mutex<Vec<Planned>>,
    pub(crate) settled: Mutex<Vec<(Ticket, CallRecord)>>,
    pub(crate) refuse_from: Option<usize>,
}

impl Ledger {
    pub(crate) fn settled(&self) -> Vec<CallRecord> {
        let settled = self.settled.lock().unwrap();
        settled.iter().map(|(_, call)| call.clone()).collect()
    }

    /// Every reservation settled exactly once.
    pub(crate) fn is_even(&self) -> bool {
        let mut tickets: Vec<String> = self
            .settled
            .lock()
            .unwrap()
            .iter()
            .map(|(ticket, _)| ticket.0.clone())
            .collect();
        tickets.sort();
        let given: Vec<String> = (1..=self.planned.lock().unwrap().len())
            .map(|n| format!("{n:04}"))
            .collect();
        tickets == given
    }
}

#[async_trait::async_trait]
impl Meter for Ledger {
    async fn reserve(&self, planned: &Planned) -> Result<Ticket, Refusal> {
        let mut all = self.planned.lock().unwrap();
        if self.refuse_from.is_some_and(|from| all.len() >= from) {
            return Err(Refusal::new("the day's budget is spent; raise it"));
        }
        all.push(planned.clone());
        Ok(Ticket(format!("{:04}", all.len())))
    }

    async fn settle(&self, ticket: Ticket, call: &CallRecord) {
        self.settled.lock().unwrap().push((ticket, call.clone()));
    }
}
