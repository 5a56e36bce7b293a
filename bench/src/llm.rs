//! What a call of a model costs beside the same exchange as a bare HTTP round trip in the same run: through the caller
//! alone, and with every call reserved and settled in a ledger on this disk; and what many streams at once hold in
//! memory. The other side is the scripted server, in this process.

use agentwright_domain::build::Stage;
use agentwright_domain::run::Run;
use agentwright_domain::spend::{Amount, Budget, BudgetScope, PlannedCall, SettledCall};
use agentwright_llm::{
    CallCx, CallRecord, Caller, Dialect, Meter, OutputSchema, Planned, ProviderConfig, Refusal,
    Request, Role, Ticket, Unmetered, Wire,
};
use agentwright_store::{OrgScope, Reserved, Store};
use agentwright_testkit::model_server::{ModelServer, Step};
use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Rounds that are not counted.
const WARM: usize = 50;
/// Words of each of the answers that stream at once.
const WORDS: usize = 4_000;
/// Memory is looked at once in so many events.
const LOOK_EVERY: u64 = 256;
/// The answer.
const ANSWER: &str = r#"{"verdict": "PASS", "why": "it does what was asked"}"#;

#[derive(Parser, Clone)]
pub(crate) struct Options {
    /// Exchanges of each kind.
    #[arg(long, default_value_t = 1_000)]
    rounds: usize,
    /// Answers that stream at the same time.
    #[arg(long, default_value_t = 100)]
    streams: usize,
    /// Where the ledger is made; must be a real disk.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Times of one kind of exchange.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn ms(&mut self, share: f64) -> f64 {
        self.0.sort();
        let at = (self.0.len() as f64 * share) as usize;
        self.0
            .get(at)
            .map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
    }

    fn line(&mut self) -> Value {
        json!({ "p50": self.ms(0.5), "p99": self.ms(0.99) })
    }

    /// How much longer these take.
    fn over(&mut self, bare: &mut Self) -> Value {
        json!({ "p50": self.ms(0.5) - bare.ms(0.5), "p99": self.ms(0.99) - bare.ms(0.99) })
    }
}

pub(crate) async fn run(options: &Options) -> Result<Value> {
    let dir = match &options.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let ledger = Ledger::open(dir.path()).await?;
    let server = ModelServer::start(|_| Step::text(ANSWER)).await;
    let plain = caller(&server, Arc::new(Unmetered))?;
    let metered = Caller {
        meter: Arc::new(ledger),
        ..plain.clone()
    };
    let request = Request {
        model: "m".to_owned(),
        max_output_tokens: 4_096,
        ..asked()
    };
    let body = Wire::Anthropic.encode(&request, &Dialect::default());
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("{}/v1/messages", server.url());
    let (mut bare, mut ours, mut counted) = (Times::default(), Times::default(), Times::default());
    for round in 0..options.rounds + WARM {
        let start = Instant::now();
        let answer = client.post(&url).json(&body).send().await?.bytes().await?;
        let times = [
            start.elapsed(),
            answered(&plain).await?,
            answered(&metered).await?,
        ];
        ensure!(!answer.is_empty(), "the server said nothing");
        if round >= WARM {
            for (kind, time) in [&mut bare, &mut ours, &mut counted].into_iter().zip(times) {
                kind.0.push(time);
            }
        }
    }
    let (streams_ms, streams_mib) = streams(options.streams).await?;
    Ok(json!({
        "bench": "llm", "rounds": options.rounds,
        "bare_ms": bare.line(), "call_ms": ours.line(), "metered_ms": counted.line(),
        "overhead_ms": ours.over(&mut bare), "metered_overhead_ms": counted.over(&mut bare),
        "streams": options.streams, "streams_ms": streams_ms, "streams_mib": streams_mib,
    }))
}

/// A question with a schema, as a spec's is.
fn asked() -> Request {
    Request {
        schema: Some(OutputSchema {
            name: "verdict".to_owned(),
            schema: json!({
                "type": "object", "required": ["verdict"],
                "properties": { "verdict": { "enum": ["PASS", "FAIL"] }, "why": { "type": "string" } },
            }),
        }),
        ..Request::user("Is it right?")
    }
}

fn caller(server: &ModelServer, meter: Arc<dyn Meter>) -> Result<Caller> {
    let config = ProviderConfig {
        base_url: Some(server.url()),
        ..ProviderConfig::new("here", Wire::Anthropic)
    };
    let provider = config.provider(&|_| None)?;
    Ok(Caller::new(
        Role::Review,
        Arc::new(provider),
        "m",
        meter,
        Arc::new(|| 0),
    ))
}

async fn answered(caller: &Caller) -> Result<Duration> {
    let start = Instant::now();
    let reply = caller.complete(asked(), CallCx::default(), |_| ()).await?;
    let time = start.elapsed();
    ensure!(reply.structured.is_some(), "the answer was not read");
    Ok(time)
}

/// Many long answers at the same time: how long they take, and how much more memory this process holds at the most.
async fn streams(count: usize) -> Result<(f64, u64)> {
    let words = "word ".repeat(WORDS);
    let server = ModelServer::start(move |_| Step::text(words.clone())).await;
    let caller = caller(&server, Arc::new(Unmetered))?;
    let before = resident()?;
    let (most, heard) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    let calls = (0..count).map(|_| {
        caller.complete(Request::user("Go on."), CallCx::default(), |_| {
            if heard.fetch_add(1, Relaxed) % LOOK_EVERY == 0
                && let Ok(now) = resident()
            {
                most.fetch_max(now, Relaxed);
            }
        })
    });
    let all = futures::future::join_all(calls).await;
    for reply in all {
        ensure!(reply?.text.len() == 5 * WORDS, "an answer was cut");
    }
    let most = most.into_inner().saturating_sub(before);
    Ok((start.elapsed().as_secs_f64() * 1_000.0, most >> 20))
}

/// Bytes of this process in memory.
fn resident() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text
        .split(' ')
        .nth(1)
        .context("statm has no second field")?;
    Ok(pages.parse::<u64>()? * rustix::param::page_size() as u64)
}

/// Every call reserved and settled as a build's is, with a limit of every kind.
struct Ledger {
    store: Store,
    scope: OrgScope,
    run: Run,
}

impl Ledger {
    async fn open(dir: &std::path::Path) -> Result<Self> {
        let store = agentwright_testkit::sqlite(dir).await;
        let scope = OrgScope::local();
        let new = agentwright_testkit::build_run("bench", "bench");
        let id = new.id.clone();
        store.submit(new, None).await?;
        let much = Some(i64::MAX / 4);
        let budget = Budget {
            calls: much,
            tokens: much,
            micro_usd: much,
            wire_ms: much,
        };
        for of in BudgetScope::ALL {
            store.set_budget(&scope, of, None, &budget, "bench").await?;
        }
        let run = store.run(&scope, &id).await?.context("no run")?;
        Ok(Self { store, scope, run })
    }
}

#[async_trait::async_trait]
impl Meter for Ledger {
    async fn reserve(&self, planned: &Planned) -> Result<Ticket, Refusal> {
        let call = PlannedCall {
            role: Stage::Review.word().to_owned(),
            provider: planned.provider.clone(),
            model: planned.model.clone(),
            wire_attempt: planned.attempt,
            most: Amount {
                calls: 1,
                tokens: 1,
                micro_usd: 1,
                wire_ms: 1,
            },
        };
        match self.store.reserve(&self.run, &call).await {
            Ok(Reserved::Yes(id)) => Ok(Ticket(id)),
            other => Err(Refusal::new(format!("{other:?}"))),
        }
    }

    async fn settle(&self, ticket: Ticket, call: &CallRecord) {
        let settled = SettledCall {
            input: Some(1),
            output: Some(1),
            ended: call.stop.clone().unwrap_or_default(),
            ..SettledCall::default()
        };
        if let Err(error) = self.store.settle(&self.scope, &ticket.0, &settled).await {
            println!("a call was not settled: {error}");
        }
    }
}
