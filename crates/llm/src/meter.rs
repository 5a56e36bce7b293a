//! The seam to whoever counts: asked before every attempt on the wire, told after it.

use crate::{Kind, Role, Usage};
use serde::{Deserialize, Serialize};

/// Reserves and settles; the engine's ledger is the real one.
#[async_trait::async_trait]
pub trait Meter: Send + Sync {
    /// Before an attempt on the wire: sets aside its most, or says no. A refusal ends the call.
    async fn reserve(&self, planned: &Planned) -> Result<Ticket, Refusal>;

    /// After it, exactly once for each ticket, also when it failed or was cancelled. A ticket whose
    /// call's future was dropped, or whose process died, is never settled: it counts as spent.
    async fn settle(&self, ticket: Ticket, call: &CallRecord);
}

/// One attempt that is about to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// What for.
    pub role: Role,
    /// The provider's id.
    pub provider: String,
    /// The model.
    pub model: String,
    /// Which attempt of this call, from 1.
    pub attempt: u32,
    /// An estimate from above: half the bytes of everything that is sent, as canonical JSON, rounded up. Text has
    /// three to four bytes to a token, code about three, Chinese two to three; only noise comes near one.
    pub max_input_tokens: u64,
    /// What the provider is told as the limit.
    pub max_output_tokens: u64,
    /// The most that this may cost, in millionths of a US dollar: all input at the dearest input rate, all output.
    /// `None` when there is no price.
    pub max_cost_micro_usd: Option<i64>,
}

/// A reservation's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ticket(pub String);

/// Why a call may not be made now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For people: which budget, what is left, what to do.
    pub reason: String,
    /// When asking again makes sense by itself (a day's budget), ms since 1970.
    pub until_ms: Option<i64>,
}

impl Refusal {
    /// A refusal that only a person ends.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            until_ms: None,
        }
    }
}

/// One attempt that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// What for.
    pub role: Role,
    /// The provider's id.
    pub provider: String,
    /// The model.
    pub model: String,
    /// What it took, as far as known.
    pub usage: Usage,
    /// Why it ended; `None` when it failed.
    pub stop: Option<String>,
    /// From asking to the end, ms.
    pub latency_ms: u64,
    /// To the first event, ms.
    pub ttft_ms: Option<u64>,
    /// The provider's name for the exchange.
    pub request_id: Option<String>,
    /// Which attempt of this call, from 1.
    pub attempt: u32,
    /// What failed. [`Kind::BadOutput`] is a call that ended and was paid.
    pub error: Option<Kind>,
    /// In millionths of a US dollar. `None` when usage or price is unknown, never 0 instead.
    pub cost_micro_usd: Option<i64>,
    /// The row of the price table.
    pub price_id: Option<String>,
}

/// Counts nothing and allows everything: for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmetered;

#[async_trait::async_trait]
impl Meter for Unmetered {
    async fn reserve(&self, _: &Planned) -> Result<Ticket, Refusal> {
        Ok(Ticket("unmetered".to_owned()))
    }

    async fn settle(&self, _: Ticket, _: &CallRecord) {}
}
