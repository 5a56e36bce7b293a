//! What stands in front: a list of ten thousand, a thousand followers, a cold start. Each beside a bare axum handler
//! that answers the same bytes, in a process of its own, measured by the same client in the same run.

use crate::Load;
use crate::load::{ms, percentile, round, run};
use crate::served::{Server, resident_mb, spawn_bare};
use agentwright_api::{BuildQuery, Client, CreateBuild};
use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;

/// Builds in one page.
const PAGE: u32 = 100;
/// Pages that are asked for.
const PAGES: usize = 2_000;
/// Events per second that each follower gets.
const PER_S: u32 = 10;
/// Events of one measurement.
const EVENTS: u32 = 100;
/// What a bare server keeps for slow followers.
const KEPT: usize = 1_024;
/// How long all may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause after which an idle process is looked at.
const REST: Duration = Duration::from_secs(2);
const STARTS: usize = 10;

/// The newest hundred of `n` builds.
pub(crate) async fn list(load: &Load) -> Result<Value> {
    let server = Server::start(load.store, load.dir.as_ref(), 0).await?;
    let client = server.client();
    run(&client, load.n, load.clients).await?;
    let ours = pages(&client).await?;
    let query = BuildQuery {
        limit: Some(PAGE),
        ..BuildQuery::default()
    };
    let page = serde_json::to_string(&client.builds(&query).await?)?;
    let bare = Bare::start(&page).await?;
    let theirs = pages(&Client::unix(&bare.socket)).await?;
    let seeds = jobs(&server).await?;
    Ok(json!({
        "bench": "list", "store": load.store.word(), "builds": load.n, "page": PAGE,
        "p50_ms": percentile(&ours, 50), "p99_ms": percentile(&ours, 99),
        "executor_p50_ms": percentile(&seeds, 50), "executor_p99_ms": percentile(&seeds, 99),
        "bare_p50_ms": percentile(&theirs, 50), "bare_p99_ms": percentile(&theirs, 99),
        "ratio": round(percentile(&ours, 50) / percentile(&theirs, 50)),
        "rss_mb": server.rss_mb()?,
    }))
}

async fn pages(client: &Client) -> Result<Vec<Duration>> {
    let query = BuildQuery {
        limit: Some(PAGE),
        ..BuildQuery::default()
    };
    let mut took = Vec::with_capacity(PAGES);
    for _ in 0..PAGES {
        let since = Instant::now();
        let page = client.builds(&query).await?;
        took.push(since.elapsed());
        ensure!(page.items.len() == PAGE as usize, "the page is not full");
    }
    took.sort_unstable();
    Ok(took)
}

/// The same as jobs of the seed's API, which carry all phases.
async fn jobs(server: &Server) -> Result<Vec<Duration>> {
    let request = format!("GET /executor/builds?limit={PAGE} HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut took = Vec::new();
    let mut stream = BufReader::new(UnixStream::connect(server.socket()).await?);
    for _ in 0..PAGES / 10 {
        let since = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body).await?;
        took.push(since.elapsed());
    }
    took.sort_unstable();
    Ok(took)
}

/// So many followers of one build that says something ten times a second.
pub(crate) async fn events(load: &Load) -> Result<Value> {
    more_files();
    let server = Server::start(load.store, load.dir.as_ref(), 0).await?;
    let intent = format!("ticks {EVENTS} {PER_S}");
    let request: CreateBuild = serde_json::from_value(json!({
        "intent": intent, "base_dir": "/", "zone": "UTC", "label": "ticks", "mode": "auto",
    }))?;
    let made = server.client().create_build(&request, None).await?;
    let path = format!("/api/v1/builds/{}/events", made.id);
    let ours = followed(&server.socket(), &path, load.n).await?;
    let rss_mb = server.rss_mb()?;
    let bare = Bare::start("").await?;
    let theirs = followed(&bare.socket, "/events", load.n).await?;
    Ok(json!({
        "bench": "events", "store": load.store.word(), "followers": load.n, "events_per_s": PER_S,
        "received": ours.times.len(), "lost": ours.lost, "p50_ms": percentile(&ours.times, 50),
        "p99_ms": percentile(&ours.times, 99), "bare_p50_ms": percentile(&theirs.times, 50),
        "bare_p99_ms": percentile(&theirs.times, 99), "bare_lost": theirs.lost,
        "ratio": round(percentile(&ours.times, 99) / percentile(&theirs.times, 99)),
        "rss_mb": rss_mb,
    }))
}

struct Followed {
    times: Vec<Duration>,
    lost: usize,
}

/// All connect, one more says that they are there, and each reads until its last event.
async fn followed(socket: &Path, path: &str, followers: usize) -> Result<Followed> {
    let mut tasks = Vec::with_capacity(followers);
    for _ in 0..followers {
        let mut stream = UnixStream::connect(socket).await?;
        let request =
            format!("GET {path} HTTP/1.0\r\nhost: x\r\naccept: text/event-stream\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while lines.read_line(&mut head).await? > 2 {}
        ensure!(head.contains(" 200 "), "not followed: {head}");
        tasks.push(tokio::spawn(read(lines)));
    }
    let mut stream = UnixStream::connect(socket).await?;
    let go = b"POST /go HTTP/1.0\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(go).await?;
    let mut all = Followed {
        times: Vec::new(),
        lost: 0,
    };
    for task in tasks {
        let times = tokio::time::timeout(PATIENCE, task).await???;
        all.lost += (EVENTS as usize).saturating_sub(times.len());
        all.times.extend(times);
    }
    all.times.sort_unstable();
    Ok(all)
}

/// The time from each event's making to its reading. An event that was there before the follower is not counted.
async fn read(mut lines: BufReader<UnixStream>) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).await? == 0 {
            return Ok(times);
        }
        let Some((_, rest)) = line.split_once("\"message\":\"tick ") else {
            continue;
        };
        let made: u64 = rest.split(['"', ' ']).next().context("a tick")?.parse()?;
        times.push(Duration::from_micros(now_us().saturating_sub(made)));
        if times.len() == EVENTS as usize {
            return Ok(times);
        }
    }
}

/// How long a stage takes where nothing is to happen, ms.
const NOTHING_MS: u64 = 3_600_000;
/// Requests between the idle connections.
const ASKED: usize = 500;

/// So many connections that hear nothing, half of them server-sent events and half WebSockets: what they cost, and
/// what others feel of them.
pub(crate) async fn idle(load: &Load) -> Result<Value> {
    more_files();
    let server = Server::start(load.store, load.dir.as_ref(), NOTHING_MS).await?;
    let request: CreateBuild = serde_json::from_value(json!({
        "intent": "nothing", "base_dir": "/", "zone": "UTC", "label": "idle", "mode": "auto",
    }))?;
    let made = server.client().create_build(&request, None).await?;
    let path = format!("/api/v1/builds/{}/events", made.id);
    let before = answers(&server.client()).await?;
    let empty_mb = server.resident_mb()?;
    let since = Instant::now();
    let mut open = Vec::with_capacity(load.n);
    for at in 0..load.n {
        open.push(opened(&server.socket(), &path, at % 2 == 0).await?);
    }
    let opened_in = since.elapsed();
    tokio::time::sleep(REST).await;
    let full_mb = server.resident_mb()?;
    let during = answers(&server.client()).await?;
    drop(open);
    tokio::time::sleep(REST).await;
    let after = answers(&server.client()).await?;
    Ok(json!({
        "bench": "idle", "store": load.store.word(), "connections": load.n, "opened_ms": ms(opened_in),
        "empty_mb": empty_mb, "full_mb": full_mb,
        "kb_each": round((full_mb - empty_mb) * 1_024.0 / load.n as f64),
        "before_p50_ms": percentile(&before, 50), "p50_ms": percentile(&during, 50),
        "p99_ms": percentile(&during, 99), "after_p50_ms": percentile(&after, 50),
        "ratio": round(percentile(&during, 50) / percentile(&before, 50)),
    }))
}

/// One that follows, after the answer's head.
async fn opened(socket: &Path, path: &str, events: bool) -> Result<BufReader<UnixStream>> {
    let (kind, wanted) = if events {
        ("accept: text/event-stream\r\n", " 200 ")
    } else {
        (
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            " 101 ",
        )
    };
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{kind}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut lines = BufReader::with_capacity(512, stream);
    let mut head = String::new();
    while lines.read_line(&mut head).await? > 2 {}
    ensure!(head.contains(wanted), "not followed: {head}");
    Ok(lines)
}

/// How long small requests take, one after the other.
async fn answers(client: &Client) -> Result<Vec<Duration>> {
    let mut took = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let since = Instant::now();
        client.health().await?;
        took.push(since.elapsed());
    }
    took.sort_unstable();
    Ok(took)
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(0))
}

/// From the start of the process to its first answer, and what it holds when it rests.
pub(crate) async fn start(load: &Load) -> Result<Value> {
    let mut fresh = Vec::new();
    let mut existing = Vec::new();
    let mut bare = Vec::new();
    for _ in 0..STARTS {
        let since = Instant::now();
        let mut server = Server::start(load.store, load.dir.as_ref(), 0).await?;
        fresh.push(since.elapsed());
        existing.push(server.kill_and_restart(0).await?);
        let since = Instant::now();
        let _bare = Bare::start("{}").await?;
        bare.push(since.elapsed());
    }
    for times in [&mut fresh, &mut existing, &mut bare] {
        times.sort_unstable();
    }
    let server = Server::start(load.store, load.dir.as_ref(), 0).await?;
    tokio::time::sleep(REST).await;
    let (idle_mb, own_mb) = (server.resident_mb()?, server.own_mb()?);
    run(&server.client(), load.n, load.clients).await?;
    tokio::time::sleep(REST).await;
    let nothing = Bare::start("{}").await?;
    tokio::time::sleep(REST).await;
    let bare_mb = resident_mb(nothing.process.id())?;
    Ok(json!({
        "bench": "start", "store": load.store.word(),
        "fresh_p50_ms": percentile(&fresh, 50), "existing_p50_ms": percentile(&existing, 50),
        "bare_p50_ms": percentile(&bare, 50), "idle_mb": idle_mb, "idle_own_mb": own_mb, "builds": load.n,
        "with_builds_mb": server.resident_mb()?, "bare_mb": bare_mb,
        "ratio": round(percentile(&existing, 50) / percentile(&bare, 50)),
        "slowest_ms": existing.last().copied().map(ms),
    }))
}

/// A bare axum server as a process.
struct Bare {
    _dir: tempfile::TempDir,
    socket: PathBuf,
    process: std::process::Child,
}

impl Bare {
    async fn start(page: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("bare.sock");
        let kept = dir.path().join("page.json");
        std::fs::write(&kept, page)?;
        let process = spawn_bare(&socket, &kept)?;
        let bare = Self {
            _dir: dir,
            socket,
            process,
        };
        let since = Instant::now();
        while UnixStream::connect(&bare.socket).await.is_err() {
            ensure!(
                since.elapsed() < PATIENCE,
                "the bare server does not answer"
            );
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        Ok(bare)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Answers one page, and says the same ticks to all who listen; until it is killed.
pub(crate) async fn bare(socket: &Path, page: &Path) -> Result<()> {
    more_files();
    let page = Bytes::from(std::fs::read(page)?);
    let ticks = broadcast::channel::<Bytes>(KEPT).0;
    let router = Router::new()
        .route(
            "/api/v1/builds",
            get(async || ([(CONTENT_TYPE, "application/json")], page)),
        )
        .route("/events", get(listen))
        .route("/go", post(go))
        .with_state(Arc::new(ticks));
    axum::serve(UnixListener::bind(socket)?, router).await?;
    Ok(())
}

async fn listen(State(ticks): State<Arc<broadcast::Sender<Bytes>>>) -> Response {
    let heard = ticks.subscribe();
    let lines = futures::stream::unfold(heard, |mut heard| async move {
        let line = heard.recv().await.ok()?;
        Some((Ok::<_, std::convert::Infallible>(line), heard))
    });
    (
        [(CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(lines),
    )
        .into_response()
}

async fn go(State(ticks): State<Arc<broadcast::Sender<Bytes>>>) -> impl IntoResponse {
    tokio::spawn(async move {
        for seq in 0..EVENTS {
            let made = now_us();
            let line =
                format!("id: {seq}\nevent: progress\ndata: {{\"message\":\"tick {made}\"}}\n\n");
            let _ = ticks.send(line.into());
            tokio::time::sleep(Duration::from_secs(1) / PER_S).await;
        }
    });
}

/// As many open files as the system lets us have.
pub(crate) fn more_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}
