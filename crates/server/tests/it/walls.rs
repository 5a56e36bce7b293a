//! Two organizations on one server must not notice each other: not by how long an answer takes, not in a stream
//! among many, and not by anything that one of them does.

use crate::tenants::{CANARY, Tenants, new_key, settled, status};
use agentwright_api::{Build, BuildStatus, CreateBuild};
use agentwright_domain::build::ApprovalMode;
use agentwright_domain::ids::Slug;
use proptest::prelude::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// One connection that is kept, with the key of whoever asks.
struct Kept {
    stream: BufReader<TcpStream>,
    key: String,
}

impl Kept {
    async fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
            key: String::new(),
        }
    }

    /// How long the answer took, in nanoseconds, and its status.
    async fn timed(&mut self, path: &str) -> (u128, u16) {
        let key = &self.key;
        let text = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n");
        let begun = Instant::now();
        self.stream.write_all(text.as_bytes()).await.unwrap();
        let mut first = String::new();
        self.stream.read_line(&mut first).await.unwrap();
        let (mut length, mut line) = (0, String::from("-"));
        while !line.trim().is_empty() {
            line.clear();
            self.stream.read_line(&mut line).await.unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.unwrap();
        (begun.elapsed().as_nanos(), status(&first))
    }
}

/// Samples of each of the two.
const SAMPLES: usize = 1_000;
/// The distance of Kolmogorov and Smirnov that two equal distributions of [`SAMPLES`] go beyond once in a
/// thousand times: `sqrt(-ln(0.0005) / 2) * sqrt(2 / n)`.
const DISTANCE_MAX: f64 = 0.0872;
/// Other work of the machine can fall on one of the two: a true difference is seen each time.
const ROUNDS: usize = 4;

/// The largest distance between the two empirical distributions.
fn distance(mut one: Vec<u128>, mut other: Vec<u128>) -> f64 {
    one.sort_unstable();
    other.sort_unstable();
    let share = |all: &[u128], to: u128| {
        let below = all.partition_point(|taken| *taken <= to);
        f64::from(u32::try_from(below).unwrap()) / f64::from(u32::try_from(all.len()).unwrap())
    };
    let all = one.iter().chain(&other);
    all.map(|at| (share(&one, *at) - share(&other, *at)).abs())
        .fold(0.0, f64::max)
}

/// Samples with one key: not so many that its rate is limited.
const A_KEY: usize = 150;

/// Asks for both in turn, each first as often as the other one.
async fn compared(
    tenants: &Tenants,
    asker: &str,
    (one, expected): (&str, u16),
    other: &str,
) -> f64 {
    let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
    let mut line = Kept::new(tenants.address).await;
    for sample in 0..SAMPLES {
        if sample % A_KEY == 0 {
            line.key = new_key(&tenants.world, asker).await;
        }
        let mut pair = [(one, expected, &mut of_one), (other, 404, &mut of_other)];
        if sample % 2 == 1 {
            pair.reverse();
        }
        for (path, expected, taken) in pair {
            let (time, status) = line.timed(path).await;
            assert_eq!(status, expected, "{path}");
            taken.push(time);
        }
    }
    distance(of_one, of_other)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_id_takes_no_other_time_than_an_unknown_one() {
    let tenants = Tenants::new().await;
    let theirs = tenants.waiting_of_b().await;
    let path = |id: &str| format!("/api/v1/builds/{id}");
    let foreign = path(theirs.id.as_str());
    let unknown = path("019aa000-0000-7000-8000-0000000000aa");
    let mut distances = Vec::new();
    while distances.len() < ROUNDS && distances.last().is_none_or(|last| *last > DISTANCE_MAX) {
        distances.push(compared(&tenants, "a", (&foreign, 404), &unknown).await);
    }
    let least = distances.iter().copied().fold(f64::MAX, f64::min);
    assert!(least <= DISTANCE_MAX, "told apart by time: {distances:?}");
    // The control: who may read it is answered in another time, and the measure sees that.
    let seen = compared(&tenants, "b", (&foreign, 200), &unknown).await;
    assert!(seen > DISTANCE_MAX, "the measure sees nothing: {seen}");
    tenants.world.end().await;
}

/// Streams of each organization.
const STREAMS: usize = 500;
/// Builds of each.
const BUILDS: usize = 6;

/// Follows an organization until all of its builds have completed; gives back the builds that it heard of.
async fn followed(address: SocketAddr, key: String, ready: tokio::sync::mpsc::Sender<()>) -> Heard {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let text = format!(
        "GET /api/v1/events HTTP/1.0\r\nhost: x\r\nauthorization: Bearer {key}\r\naccept: text/event-stream\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let (mut heard, mut line) = (Heard::default(), String::new());
    stream.read_line(&mut line).await.unwrap();
    assert_eq!(status(&line), 200);
    loop {
        line.clear();
        let read = stream.read_line(&mut line).await.unwrap();
        assert_ne!(read, 0, "cut off after {heard:?}");
        if line.starts_with("event: ready") {
            ready.send(()).await.unwrap();
        }
        heard.canary |= line.contains(CANARY);
        let Some(event) = line.strip_prefix("data: ") else {
            continue;
        };
        let event: Value = serde_json::from_str(event).unwrap();
        let Some(build) = event["subject"].as_str() else {
            continue;
        };
        heard.builds.insert(build.to_owned());
        if event["data"]["event"] == "run.ended" {
            heard.ended += 1;
            if heard.ended == BUILDS {
                return heard;
            }
        }
    }
}

#[derive(Debug, Default)]
struct Heard {
    builds: BTreeSet<String>,
    ended: usize,
    canary: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_of_two_organizations_hear_their_own_only() {
    // Both ends of each are files of this process.
    let files = getrlimit(Resource::Nofile);
    let current = files.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..files }).unwrap();
    let tenants = Tenants::new().await;
    let (ready, mut opened) = tokio::sync::mpsc::channel(2 * STREAMS);
    let (mut streams, mut keys) = (JoinSet::new(), Vec::new());
    for number in 0..2 * STREAMS {
        let of_b = number % 2 == 1;
        if number % (2 * A_KEY) == 0 {
            keys = vec![
                new_key(&tenants.world, "a").await,
                new_key(&tenants.world, "b").await,
            ];
        }
        let following = followed(
            tenants.address,
            keys[usize::from(of_b)].clone(),
            ready.clone(),
        );
        streams.spawn(async move { (of_b, following.await) });
    }
    drop(ready);
    for _ in 0..2 * STREAMS {
        let one = opened.recv().await;
        assert!(one.is_some(), "not every stream was opened");
    }
    for number in 0..BUILDS {
        for (party, label) in [(&tenants.a, "own".to_owned()), (&tenants.b, CANARY.into())] {
            let build = labelled(&format!("{label}-{number}"), "fail");
            party.client.create_build(&build, None).await.unwrap();
        }
    }
    while let Some(heard) = streams.join_next().await {
        let (of_b, heard) = heard.unwrap();
        assert_eq!(
            (heard.canary, heard.builds.len()),
            (of_b, BUILDS),
            "{heard:?}"
        );
        let theirs = heard.builds.iter().filter(|label| label.contains(CANARY));
        assert_eq!(theirs.count(), if of_b { BUILDS } else { 0 }, "{heard:?}");
    }
    tenants.world.end().await;
}

fn labelled(label: &str, intent: &str) -> CreateBuild {
    CreateBuild {
        label: Some(Slug::parse(label).unwrap()),
        mode: ApprovalMode::Final,
        ..crate::support::wish(intent)
    }
}

/// What an organization does. The numbers pick from a few names, so that both organizations hit the same ones.
#[derive(Clone, Debug)]
enum Deed {
    Build {
        label: u8,
        intent: u8,
        key: Option<u8>,
    },
    Decide {
        label: u8,
        approve: bool,
    },
    Cancel {
        label: u8,
    },
    Retry {
        label: u8,
    },
    Add {
        name: u8,
    },
    Block {
        name: u8,
    },
    Remove {
        name: u8,
    },
    Key {
        name: u8,
    },
    Budget {
        calls: u8,
    },
    Undeploy,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..3_u8, 0..4_u8, prop::option::of(0..2_u8))
            .prop_map(|(label, intent, key)| Deed::Build { label, intent, key }),
        3 => (0..3_u8, any::<bool>()).prop_map(|(label, approve)| Deed::Decide { label, approve }),
        1 => (0..3_u8).prop_map(|label| Deed::Cancel { label }),
        1 => (0..3_u8).prop_map(|label| Deed::Retry { label }),
        2 => (0..2_u8).prop_map(|name| Deed::Add { name }),
        1 => (0..2_u8).prop_map(|name| Deed::Block { name }),
        1 => (0..2_u8).prop_map(|name| Deed::Remove { name }),
        1 => (0..2_u8).prop_map(|name| Deed::Key { name }),
        1 => (1..3_u8).prop_map(|calls| Deed::Budget { calls }),
        1 => Just(Deed::Undeploy),
    ]
}

impl Deed {
    fn request(&self) -> (String, String, Value) {
        let label = |label: &u8| format!("notes-{label}");
        let to = |path: String| format!("POST /api/v1{path}");
        let (line, headers, body) = match self {
            Self::Build {
                label: number,
                intent,
                key,
            } => {
                let intent = ["zip the notes", "fail", "mend it", "break review review"]
                    [usize::from(*intent)];
                let build = labelled(&label(number), intent);
                let key = key.map(|key| format!("idempotency-key: the-same-{key}\r\n"));
                (to("/builds".into()), key.unwrap_or_default(), json!(build))
            }
            Self::Decide {
                label: number,
                approve,
            } => {
                let decision = if *approve { "approve" } else { "reject" };
                let path = format!("/builds/{}/decisions", label(number));
                (to(path), String::new(), json!({ "decision": decision }))
            }
            Self::Cancel { label: number } => (
                to(format!("/builds/{}/cancel", label(number))),
                String::new(),
                json!({}),
            ),
            Self::Retry { label: number } => (
                to(format!("/builds/{}/retry", label(number))),
                String::new(),
                json!({}),
            ),
            Self::Add { name } => {
                let item = json!({ "name": format!("Item {name}"), "priority": "low", "description": "zip the notes each day" });
                let body = json!({ "items": [item], "base_dir": "/home/ann", "zone": "UTC" });
                (to("/queue".into()), String::new(), body)
            }
            Self::Block { name } => (
                to(format!("/queue/item-{name}")),
                String::new(),
                json!({ "do": "block", "by": "the weather" }),
            ),
            Self::Remove { name } => (
                to(format!("/queue/item-{name}/remove")),
                String::new(),
                json!({}),
            ),
            Self::Key { name } => {
                let body =
                    json!({ "name": format!("key {name}"), "role": "viewer", "kind": "agent" });
                (to("/keys".into()), String::new(), body)
            }
            Self::Budget { calls } => (
                to("/budgets/organization".into()),
                String::new(),
                json!({ "budget": { "calls": calls } }),
            ),
            Self::Undeploy => (
                "DELETE /api/v1/deployments/notes-zip".into(),
                String::new(),
                Value::Null,
            ),
        };
        (line, headers, body)
    }
}

/// What an organization reads of itself.
const OBSERVED: &[&str] = &[
    "/api/v1/builds",
    "/api/v1/approvals",
    "/api/v1/queue",
    "/api/v1/deployments",
    "/api/v1/services",
    "/api/v1/keys",
    "/api/v1/sessions",
    "/api/v1/budgets",
    "/api/v1/costs",
    "/api/v1/audit",
    "/api/v1/audit/verify",
    "/api/v1/me",
    "/executor/builds",
];

/// Without what is another one each time: ids, digests, times and durations become words, in each place the same.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().map(|(key, value)| {
                let measured = key.ends_with("_ms")
                    || key.ends_with("_s")
                    || key.contains("time")
                    || key == "looks";
                let value = if measured && value.is_number() {
                    json!("MEASURED")
                } else {
                    plain(value)
                };
                (key, value)
            });
            Value::Object(kept.collect())
        }
        Value::Array(all) => Value::Array(all.into_iter().map(plain).collect()),
        Value::String(text) => Value::String(worded(&text)),
        other => other,
    }
}

/// Long runs of digits and letters of numbers are ids, digests and times.
fn worded(text: &str) -> String {
    let part = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        let id = part.len() >= 12 && digits >= 3;
        if id { "ID".to_owned() } else { part.to_owned() }
    };
    let parts = text.split_inclusive(|c: char| c.is_whitespace() || ",;/()".contains(c));
    parts.map(part).collect()
}

/// Without what the look before it said of an item: that comes by itself, a moment sooner or later.
fn unlooked(mut answered: Value) -> Value {
    if let Some(item) = answered.as_object_mut() {
        item.remove("why");
        let items = item.get_mut("items").and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            *item = unlooked(item.take());
        }
    }
    answered
}

fn body(said: &str) -> Value {
    let (_, body) = said.split_once("\r\n\r\n").unwrap();
    if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(body).unwrap()
    }
}

/// Does all of it, one after another, and gives back what B was answered and reads in the end.
async fn lived(deeds: &[(bool, Deed)]) -> Vec<Value> {
    let tenants = Tenants::new().await;
    let mut seen = Vec::new();
    for (of_b, deed) in deeds {
        let party = if *of_b { &tenants.b } else { &tenants.a };
        let (line, headers, sent) = deed.request();
        let text = if sent.is_null() {
            String::new()
        } else {
            sent.to_string()
        };
        let said = tenants
            .raw(&party.key, &format!("{line}|{text}"), &headers)
            .await;
        let answered = body(&said);
        if let (Some(id), true) = (answered["id"].as_str(), answered["intent"].is_string()) {
            let build: Build = settled(&party.client, id).await;
            assert!(build.status().ended() || build.status() == BuildStatus::Waiting);
        }
        if *of_b {
            seen.push(json!([status(&said), plain(unlooked(answered))]));
        }
    }
    // The queue is looked at whenever a build ends, anybody's: what counts is what a look says.
    let look = "POST /api/v1/heartbeat|{}";
    assert_eq!(status(&tenants.raw(&tenants.b.key, look, "").await), 200);
    for path in OBSERVED {
        let said = tenants
            .raw(&tenants.b.key, &format!("GET {path}"), "")
            .await;
        seen.push(json!([path, status(&said), plain(body(&said))]));
    }
    tenants.world.end().await;
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 40, ..ProptestConfig::default() })]
    #[test]
    fn what_one_organization_sees_depends_on_its_own_deeds_only(
        deeds in prop::collection::vec((any::<bool>(), deed()), 4..24),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (both, alone) = runtime.block_on(async {
            let own: Vec<_> = deeds.iter().filter(|(of_b, _)| *of_b).cloned().collect();
            (lived(&deeds).await, lived(&own).await)
        });
        for (among, alone) in both.iter().zip(&alone) {
            prop_assert_eq!(among, alone);
        }
        prop_assert_eq!(both.len(), alone.len());
    }
}
