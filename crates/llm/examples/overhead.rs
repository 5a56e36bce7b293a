//! What a call through the caller costs beside the same exchange as a bare HTTP round trip, and what a hundred
//! streams at once hold in memory. One JSON line. `cargo run --release -p agentwright-llm --example overhead`.

#![expect(clippy::print_stdout, reason = "the figures are its output")]
#![expect(clippy::unwrap_used, reason = "a measurement that fails is none")]

use agentwright_llm::{CallCx, Caller, ProviderConfig, Request, Role, Unmetered, Wire};
use agentwright_testkit::model_server::{ModelServer, Step};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Exchanges of each kind.
const ROUNDS: usize = 1_000;
/// Exchanges that are not counted.
const WARM: usize = 50;

#[tokio::main]
async fn main() {
    let server = ModelServer::start(|_| Step::text("PASS: it does what was asked")).await;
    let config = ProviderConfig {
        base_url: Some(server.url()),
        ..ProviderConfig::new("here", Wire::Anthropic)
    };
    let provider = Arc::new(config.provider(&|_| None).unwrap());
    let caller = Caller::new(
        Role::Review,
        provider,
        "m",
        Arc::new(Unmetered),
        Arc::new(|| 0),
    );
    let ask = || Request::user("Is it right?");
    let body = Wire::Anthropic.encode(
        &Request {
            model: "m".to_owned(),
            max_output_tokens: 4_096,
            ..ask()
        },
        &agentwright_llm::Dialect::default(),
    );
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/messages", server.url());
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS + WARM {
        let start = Instant::now();
        let answer = client.post(&url).json(&body).send().await.unwrap();
        let bytes = answer.bytes().await.unwrap();
        assert!(!bytes.is_empty());
        let first = start.elapsed();
        let start = Instant::now();
        let reply = caller.complete(ask(), CallCx::default(), |_| ()).await;
        assert!(reply.unwrap().text.starts_with("PASS"));
        let second = start.elapsed();
        if round >= WARM {
            bare.push(first);
            ours.push(second);
        }
    }
    let ms = |times: &mut Vec<Duration>, share: f64| {
        times.sort();
        times[(times.len() as f64 * share) as usize].as_secs_f64() * 1_000.0
    };
    let before = resident();
    let long = Step::text("word ".repeat(4_000));
    let streams = ModelServer::start(move |_| long.clone()).await;
    let config = ProviderConfig {
        base_url: Some(streams.url()),
        ..config
    };
    let caller = Caller {
        provider: Arc::new(config.provider(&|_| None).unwrap()),
        ..caller
    };
    let start = Instant::now();
    let calls = (0..100).map(|_| caller.complete(ask(), CallCx::default(), |_| ()));
    let all = futures::future::join_all(calls).await;
    assert!(all.iter().all(Result::is_ok));
    println!(
        "{}",
        serde_json::json!({
            "bench": "llm_overhead", "rounds": ROUNDS,
            "bare_ms": {"p50": ms(&mut bare, 0.5), "p99": ms(&mut bare, 0.99)},
            "ours_ms": {"p50": ms(&mut ours, 0.5), "p99": ms(&mut ours, 0.99)},
            "streams": 100, "streams_ms": start.elapsed().as_secs_f64() * 1_000.0,
            "streams_mib": resident().saturating_sub(before) / 1_024 / 1_024,
        })
    );
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1_024
}
