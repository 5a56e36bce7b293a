//! Real work: the pipeline, the sandbox and the runtime behind the routes.

use crate::support::{raw, text};
use agentwright_api::{
    BuildDetail, BuildStatus, CancelRequest, Client, ClientError, CreateBuild, ExecutionLog,
    ExecutionStatus, LogQuery, PlanRequest, PlanVerdict, RetryBuild, code,
};
use agentwright_domain::ids::Slug;
use agentwright_server::daemon::Served;
use agentwright_server::{Config, Work};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What anything here may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

struct Daemon {
    client: Client,
    served: Served,
}

impl Daemon {
    async fn start(data: &Path) -> Self {
        let mut config = Config::plain(data);
        config.init = PathBuf::from(env!("CARGO_BIN_EXE_server-init"));
        let client = Client::unix(config.socket());
        let served = Served::start(config, Work::Real).await.unwrap();
        Self { client, served }
    }

    /// Plans, says yes to exactly that, and builds to the end.
    async fn build(&self, folder: &Path, intent: &str) -> String {
        let plan = PlanRequest {
            intent: intent.into(),
            base_dir: folder.display().to_string(),
            zone: "UTC".into(),
            ..PlanRequest::default()
        };
        let shown = self.client.plan(&plan).await.unwrap();
        assert_eq!(shown.verdict, PlanVerdict::Ready, "{:?}", shown.reason);
        let mut request = CreateBuild::of(plan);
        request.advance = shown.permissions_digest;
        let build = self.client.create_build(&request, None).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.client.settled_build(build.id.as_str(), 30).await;
            let seen = seen.unwrap().build;
            if seen.status() == BuildStatus::Completed {
                return seen.deployed.unwrap().name.as_str().to_owned();
            }
            let goes_on = !seen.status().ended() && Instant::now() < deadline;
            assert!(goes_on, "{:?}", seen.state);
        }
    }
}

impl Daemon {
    /// Submits a change; the build as it stands when it waits or has ended.
    async fn change(&self, folder: &Path, name: &str, intent: &str) -> BuildDetail {
        let request = changing(folder, name, intent);
        let build = self.client.create_build(&request, None).await.unwrap();
        self.settled(build.id.as_str()).await
    }

    async fn settled(&self, id: &str) -> BuildDetail {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.client.settled_build(id, 30).await.unwrap();
            let status = seen.build.status();
            if status.ended() || status == BuildStatus::Waiting {
                return seen;
            }
            assert!(Instant::now() < deadline, "{:?}", seen.build.state);
        }
    }
}

fn changing(folder: &Path, name: &str, intent: &str) -> CreateBuild {
    CreateBuild::of(PlanRequest {
        intent: intent.into(),
        base_dir: folder.display().to_string(),
        zone: "UTC".into(),
        changes: Some(Slug::parse(name).unwrap()),
        ..PlanRequest::default()
    })
}

fn stale<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> String {
    let error = answer.unwrap_err();
    let problem = error.problem().unwrap_or_else(|| panic!("{error}"));
    let seen = (problem.status, problem.code.as_str());
    assert_eq!(seen, (409, code::STALE), "{problem:?}");
    problem.detail.clone()
}

async fn get(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn answers(address: &str) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if get(address)
            .await
            .is_ok_and(|answer| answer.contains(" 200 "))
        {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_up_again_after_the_daemon_was_stopped_and_started() {
    let (data, folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let daemon = Daemon::start(data.path()).await;
    let intent = format!(
        "a service that receives webhooks on port {} and stores them",
        address.port()
    );
    let name = daemon.build(folder.path(), &intent).await;
    assert!(answers(&address.to_string()).await);
    let shown = daemon.client.deployment(&name).await.unwrap().deployment;
    assert!(
        shown
            .endpoint
            .unwrap()
            .ends_with(&address.port().to_string())
    );
    assert!(shown.current_execution.is_some());

    let before = Instant::now();
    daemon.served.stop(Duration::from_secs(2)).await;
    assert!(before.elapsed() < Duration::from_secs(9));
    assert!(
        get(&address.to_string()).await.is_err(),
        "nothing of it is left"
    );

    let daemon = Daemon::start(data.path()).await;
    assert!(answers(&address.to_string()).await);
    daemon.client.stop(&name).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while get(&address.to_string()).await.is_ok() {
        assert!(Instant::now() < deadline, "a stopped service goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    daemon.client.remove(&name).await.unwrap();
    daemon.served.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_another_one_overtook_cannot_be_approved_and_is_made_again() {
    let (data, folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    std::fs::create_dir(folder.path().join("notes")).unwrap();
    std::fs::write(folder.path().join("notes/a.txt"), "a").unwrap();
    let daemon = Daemon::start(data.path()).await;
    let intent = "every night, keep a zip of the folder ./notes in ./backups and keep the last 7";
    let name = daemon.build(folder.path(), intent).await;
    let first = daemon.change(folder.path(), &name, "keep 3 instead").await;
    let second = daemon.change(folder.path(), &name, "keep 5 instead").await;
    let version = |of: &BuildDetail| of.build.from_version;
    assert_eq!((version(&first), version(&second)), (Some(1), Some(1)));
    let decide = async |of: &BuildDetail| {
        daemon
            .client
            .decide(of.build.id.as_str(), &crate::support::yes(of))
            .await
    };
    let yes = crate::support::yes(&first);
    decide(&first).await.unwrap();
    let first = daemon.settled(first.build.id.as_str()).await;
    assert_eq!(first.build.deployed.as_ref().unwrap().version, 2);
    let said = stale(decide(&second).await);
    assert!(said.starts_with("nothing was approved"), "{said}");
    assert!(
        said.contains("made from version 1") && said.contains("version 2 is active now"),
        "{said}"
    );
    let still = daemon.settled(second.build.id.as_str()).await;
    assert_eq!(still.build.status(), BuildStatus::Waiting);

    // A yes to what has ended is answered with that, whatever was deployed since.
    let daily = daemon.change(folder.path(), &name, "keep 4 instead").await;
    decide(&daily).await.unwrap();
    let daily = daemon.settled(daily.build.id.as_str()).await;
    assert_eq!(daily.build.deployed.unwrap().version, 3);
    let ended = daemon.client.decide(first.build.id.as_str(), &yes).await;
    let ended = ended.unwrap_err();
    assert_eq!(ended.problem().unwrap().code, code::ENDED, "{ended}");

    // A plan names the version that it was made from, and a build of an old plan is not taken.
    let mut request = changing(folder.path(), &name, "keep 5 instead");
    request.from_version = Some(1);
    let key = Some("the same wish");
    stale(daemon.client.create_build(&request, key).await);
    let plan = PlanRequest {
        intent: request.intent.clone(),
        base_dir: request.base_dir.clone(),
        zone: request.zone.clone(),
        changes: request.changes.clone(),
        ..PlanRequest::default()
    };
    let planned = daemon.client.plan(&plan).await.unwrap();
    assert_eq!(planned.from_version, Some(3));

    // The same asked for again is made from what is active.
    let reason = CancelRequest::default();
    daemon
        .client
        .cancel(second.build.id.as_str(), &reason)
        .await
        .unwrap();
    let again = RetryBuild::default();
    let again = daemon
        .client
        .retry(second.build.id.as_str(), &again, None)
        .await
        .unwrap();
    let again = daemon.settled(again.id.as_str()).await;
    assert_eq!(version(&again), Some(3));
    decide(&again).await.unwrap();
    let again = daemon.settled(again.build.id.as_str()).await;
    assert_eq!(again.build.deployed.unwrap().version, 4);
    daemon.served.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_by_hand_does_its_work_and_leaves_its_log() {
    let (data, folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    std::fs::create_dir(folder.path().join("notes")).unwrap();
    std::fs::write(folder.path().join("notes/a.txt"), "a").unwrap();
    let daemon = Daemon::start(data.path()).await;
    let intent = "every night, keep a zip of the folder ./notes in ./backups and keep the last 7";
    let name = daemon.build(folder.path(), intent).await;
    let fired = daemon.client.run_now(&name).await.unwrap();
    let id = fired.id.as_str();
    let mut events = daemon.client.execution_events(id, 0);
    let mut last = 0;
    while let Some(event) = events.next().await {
        last = event.unwrap().seq;
    }
    let done = daemon.client.wait_execution(id, last, 1).await.unwrap();
    assert_eq!(done.status, ExecutionStatus::Completed, "{:?}", done.reason);
    assert!(done.usage.unwrap().wall_ms > 0);
    let zips = std::fs::read_dir(folder.path().join("backups")).unwrap();
    assert_eq!(zips.count(), 1);
    let newest = LogQuery::default();
    let log: ExecutionLog = daemon.client.execution_log(&name, &newest).await.unwrap();
    assert!(log.text.contains(".zip"), "{}", log.text);
    let other = LogQuery {
        execution: Some("00000000".into()),
    };
    let unknown = daemon
        .client
        .execution_log(&name, &other)
        .await
        .unwrap_err();
    assert_eq!(unknown.problem().unwrap().status, 404);
    daemon.served.stop(Duration::ZERO).await;
}

/// Requirements B16: an intent goes in over the seed's API, nobody lifts a hand, and a service answers.
#[tokio::test(flavor = "multi_thread")]
async fn an_intent_becomes_a_deployed_registered_service_with_no_hand_in_between() {
    let data = TempDir::new().unwrap();
    let daemon = Daemon::start(data.path()).await;
    let socket = data.path().join("daemon.sock");
    let intent = "a service that receives webhooks and stores them";
    let body = serde_json::json!({
        "architect_intent": intent, "droplet_id": 20, "droplet_name": "Mail Inbox", "approval_mode": "auto",
    });
    let asked = text(
        "POST",
        "/executor/build-droplet",
        "application/json",
        &body.to_string(),
    );
    let accepted = answered(&raw(&socket, &asked).await);
    let id = accepted["build_id"].as_str().unwrap().to_owned();
    let status = text("GET", &format!("/executor/builds/{id}/status"), "", "");
    let deadline = Instant::now() + PATIENCE;
    let done = loop {
        daemon.client.settled_build(&id, 30).await.unwrap();
        let job = answered(&raw(&socket, &status).await);
        match job["status"].as_str().unwrap() {
            "queued" | "running" => assert!(Instant::now() < deadline, "{job}"),
            _ => break job,
        }
    };
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(done["progress_percent"], 100);
    assert!(
        done["phases"]
            .as_array()
            .unwrap()
            .iter()
            .all(|phase| phase["status"] == "completed"),
        "{done}"
    );
    let url = done["deployment_url"].as_str().unwrap();
    assert!(answers(url.trim_start_matches("http://")).await, "{url}");
    let directory = daemon.client.services().await.unwrap();
    let entry = directory
        .items
        .iter()
        .find(|entry| entry.endpoint.is_some());
    assert_eq!(entry.unwrap().name.as_str(), "mail-inbox");
    assert_eq!(
        done["final_decision"],
        serde_json::Value::Null,
        "nobody decided"
    );
    daemon.served.stop(Duration::from_secs(2)).await;
}

/// The body of an answer.
fn answered(answer: &str) -> serde_json::Value {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 20"), "{answer}");
    serde_json::from_str(body).unwrap()
}
