//! The loads.

use crate::served::Server;
use crate::{Load, limit};
use agentwright_api::Client;
use agentwright_api::{BuildQuery, BuildState, CreateBuild};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Durable commits of one build: submitted, claimed, eight stages.
const COMMITS: f64 = 10.0;
/// How long one build may take.
const WAIT_S: u32 = 60;
/// How long a stage takes where builds are to be in flight, ms.
const IN_FLIGHT_STAGE_MS: u64 = 5;

fn request(label: usize) -> Result<CreateBuild> {
    Ok(serde_json::from_value(json!({
        "intent": "nothing at all",
        "base_dir": "/",
        "zone": "UTC",
        "label": format!("bench-{label}"),
        "mode": "auto",
    }))?)
}

/// One build: POST, then wait for its end.
async fn build(client: &Client, label: usize) -> Result<Duration> {
    let since = Instant::now();
    let made = client.create_build(&request(label)?, None).await?;
    let done = client.settled_build(made.id.as_str(), WAIT_S).await?;
    ensure!(
        matches!(done.build.state, BuildState::Completed),
        "it did not complete"
    );
    Ok(since.elapsed())
}

/// So many builds, so many at a time; answers each one's latency.
pub(crate) async fn run(client: &Client, n: usize, clients: usize) -> Result<Vec<Duration>> {
    let next = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (client, next) = (client.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut took = Vec::new();
                loop {
                    let label = next.fetch_add(1, Ordering::Relaxed);
                    if label >= n {
                        return Ok::<_, anyhow::Error>(took);
                    }
                    took.push(build(&client, label).await?);
                }
            })
        })
        .collect();
    let mut took = Vec::with_capacity(n);
    for task in tasks {
        took.extend(task.await??);
    }
    took.sort_unstable();
    Ok(took)
}

pub(crate) fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}

pub(crate) fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |time| ms(*time))
}

pub(crate) async fn w1(load: &Load) -> Result<Value> {
    let server = Server::start(load.store, load.dir.as_ref(), 0).await?;
    let since = Instant::now();
    let took = run(&server.client(), load.n, load.clients).await?;
    let per_s = load.n as f64 / since.elapsed().as_secs_f64();
    let rss_mb = server.rss_mb()?;
    let disk = limit::rows_per_s(load.store, server.dir.path(), &server.store).await?;
    let limit = disk.rows_per_s / COMMITS;
    Ok(json!({
        "bench": "w1", "store": load.store.word(), "n": load.n, "clients": load.clients,
        "completed_per_s": per_s.round(), "p50_ms": percentile(&took, 50),
        "p99_ms": percentile(&took, 99), "rss_mb": rss_mb,
        "commit_limit_per_s": limit.round(), "ratio": round(per_s / limit),
    }))
}

pub(crate) async fn one(load: &Load) -> Result<Value> {
    let server = Server::start(load.store, load.dir.as_ref(), 0).await?;
    let n = load.n.min(200);
    let client = server.client();
    run(&client, 5, 1).await?;
    let since = Instant::now();
    let mut took = Vec::new();
    for label in 0..n {
        took.push(build(&client, 1_000 + label).await?);
    }
    let per_s = n as f64 / since.elapsed().as_secs_f64();
    took.sort_unstable();
    let disk = limit::rows_per_s(load.store, server.dir.path(), &server.store).await?;
    let floor_ms = disk.commit_ms * COMMITS;
    Ok(json!({
        "bench": "one", "store": load.store.word(), "n": n,
        "completed_per_s": per_s.round(), "p50_ms": percentile(&took, 50),
        "p99_ms": percentile(&took, 99), "rss_mb": server.rss_mb()?,
        "commit_limit_per_s": (1_000.0 / floor_ms).round(), "floor_ms": round(floor_ms),
        "ratio": round(percentile(&took, 50) / floor_ms),
    }))
}

/// All submitted, none done; killed; restarted.
pub(crate) async fn w3(load: &Load) -> Result<Value> {
    let mut server = Server::start(load.store, load.dir.as_ref(), IN_FLIGHT_STAGE_MS).await?;
    let client = server.client();
    for label in 0..load.n {
        client.create_build(&request(label)?, None).await?;
    }
    let before = ended(&client).await?;
    let since = Instant::now();
    let up = server.kill_and_restart(0).await?;
    let client = server.client();
    while ended(&client).await? < load.n {
        ensure!(
            since.elapsed() < Duration::from_secs(120),
            "not all have ended"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let all = since.elapsed();
    let twice = twice(&client, load.n).await?;
    Ok(json!({
        "bench": "w3", "store": load.store.word(), "n": load.n, "ended_before": before,
        "answering_ms": ms(up), "all_done_ms": ms(all), "stages_twice": twice,
        "completed_per_s": ((load.n - before) as f64 / all.as_secs_f64()).round(),
        "rss_mb": server.rss_mb()?,
    }))
}

/// How many have ended: looks only at the newest page, as labels are worked oldest first.
async fn ended(client: &Client) -> Result<usize> {
    let mut ended = 0;
    let mut before = None;
    loop {
        let query = BuildQuery {
            limit: Some(200),
            before: before.take(),
            ..BuildQuery::default()
        };
        let page = client.builds(&query).await?;
        ended += page
            .items
            .iter()
            .filter(|build| build.ended_at.is_some())
            .count();
        match page.next {
            Some(next) => before = Some(next),
            None => return Ok(ended),
        }
    }
}

/// Recorded stages that are there twice: there must be none.
async fn twice(client: &Client, n: usize) -> Result<usize> {
    let mut twice = 0;
    for label in 0..n {
        let detail = client.build(&format!("bench-{label}")).await?;
        let done = detail.stages.len();
        twice += done.saturating_sub(8);
    }
    Ok(twice)
}
