//! The data directory and the doors: two daemons, dead sockets, broken and unwritable places, TCP.

use crate::support::World;
use agentwright_api::{Client, ClientError, Health};
use agentwright_server::daemon::{DaemonError, EXIT_RUNNING, PlaceError, Served};
use agentwright_server::{Config, NotifyChannel, StartError, Work};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

async fn start(dir: &Path) -> Result<Served, DaemonError> {
    Served::start(Config::plain(dir), Work::Given(Vec::new())).await
}

async fn start_error(dir: &Path) -> DaemonError {
    match start(dir).await {
        Ok(served) => {
            served.stop(Duration::ZERO).await;
            panic!("it started");
        }
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_second_daemon_is_refused_and_told_who_has_it() {
    let world = World::new().await;
    let error = start_error(&world.data()).await;
    let us = std::process::id();
    assert!(
        matches!(&error, DaemonError::Place(PlaceError::Running { pid: Some(pid), .. }) if *pid == us)
    );
    assert_eq!(error.exit_code(), EXIT_RUNNING);
    assert!(
        error.to_string().contains(&format!("process {us}")),
        "{error}"
    );
    assert_eq!(world.client.health().await.unwrap().status, "healthy");
    world.end().await;
}

#[tokio::test]
async fn a_dead_daemons_socket_is_taken_over_and_ours_goes_with_us() {
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("daemon.sock");
    std::fs::write(dir.path().join("daemon.lock"), "1\n").unwrap();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let served = start(dir.path()).await.unwrap();
    let client = Client::unix(&socket);
    assert_eq!(client.health().await.unwrap().pid, std::process::id());
    served.stop(Duration::ZERO).await;
    assert!(!socket.exists());
    let gone = client.health().await.unwrap_err();
    assert!(
        matches!(
            gone,
            ClientError::Unreachable { .. } | ClientError::Broken { .. }
        ),
        "{gone:?}"
    );
}

#[tokio::test]
async fn only_the_owner_gets_at_the_directory_and_the_socket() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("a/b");
    let served = start(&data).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("daemon.sock")), 0o600);
    assert_eq!(mode(&data.join("daemon.lock")), 0o600);
    served.stop(Duration::ZERO).await;

    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let served = start(&data).await.unwrap();
    assert_eq!(mode(&data), 0o700, "a data directory is closed again");
    served.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_directory_with_other_peoples_files_is_left_alone() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
    let error = start_error(dir.path()).await;
    assert!(matches!(error, DaemonError::Place(PlaceError::NotOurs(_))));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for place in [file.join("data"), "/proc/agentwright".into(), file.clone()] {
        let error = start_error(&place).await;
        assert!(
            matches!(error, DaemonError::Place(PlaceError::Unwritable { .. })),
            "{error:?}"
        );
        let said = error.to_string();
        assert!(said.contains(&place.display().to_string()), "{said}");
    }
}

#[tokio::test]
async fn a_damaged_database_is_refused_and_not_touched() {
    let dir = TempDir::new().unwrap();
    let database = dir.path().join("agentwright.db");
    let damage = b"this is not a database, whatever its name says".repeat(100);
    std::fs::write(&database, &damage).unwrap();
    let error = start_error(dir.path()).await;
    assert!(
        matches!(error, DaemonError::Start(StartError::Store(_))),
        "{error:?}"
    );
    assert!(error.to_string().contains("agentwright.db"), "{error}");
    assert_eq!(std::fs::read(&database).unwrap(), damage);
    assert!(!dir.path().join("daemon.sock").exists());
}

#[tokio::test]
async fn a_long_data_path_works_for_both_sides() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("x".repeat(100)).join("y".repeat(100));
    let served = start(&data).await.unwrap();
    let client = Client::unix(data.join("daemon.sock"));
    let health: Health = client.health().await.unwrap();
    assert_eq!(health.data_dir, data.display().to_string());
    served.stop(Duration::ZERO).await;
    assert!(!data.join("daemon.sock").exists());
}

#[tokio::test]
async fn beyond_loopback_it_listens_only_when_there_is_a_key() {
    let dir = TempDir::new().unwrap();
    let mut config = Config::plain(&dir.path().join("data"));
    config.settings.listen = Some("0.0.0.0:0".parse().unwrap());
    let start = || Served::start(config.clone(), Work::Given(Vec::new()));
    let Err(error) = start().await else {
        panic!("it started");
    };
    assert!(matches!(error, DaemonError::Open(_)), "{error:?}");
    assert!(
        error.to_string().contains("agentwright key create"),
        "{error}"
    );
}

#[tokio::test]
async fn a_port_in_use_is_refused_by_its_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = TempDir::new().unwrap();
    let mut config = Config::plain(&dir.path().join("data"));
    config.settings.listen = Some(address);
    let Err(error) = Served::start(config, Work::Given(Vec::new())).await else {
        panic!("it started");
    };
    assert!(matches!(error, DaemonError::PortTaken(_)), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn asked_over_the_socket_it_says_that_it_stops() {
    let world = World::new().await;
    let health = world.client.stop_daemon().await.unwrap();
    assert_eq!(health.status, "stopping");
    world.end().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_readers_of_streams_and_long_polls() {
    let world = World::new().await;
    let build = world.create("hold it").await;
    world.script.holding().await;
    let client = world.client.clone();
    let seq = client.build(build.id.as_str()).await.unwrap().seq;
    let mut stream = client.events(build.id.as_str(), 0);
    stream.next().await.unwrap().unwrap();
    let poll = client.wait_build(build.id.as_str(), seq, 60, agentwright_api::View::Brief);
    let mut idle = UnixStream::connect(world.data().join("daemon.sock"))
        .await
        .unwrap();
    idle.write_all(b"GET /api/v1/health HTTP/1.1\r\n")
        .await
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(9), async {
        let (_, ()) = tokio::join!(poll, world.end());
    });
    assert!(ended.await.is_ok(), "the stop took too long");
}

#[tokio::test]
async fn a_daemon_ends_when_its_directory_was_replaced_and_leaves_the_new_one_alone() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let old = start(&data).await.unwrap();
    std::fs::rename(&data, dir.path().join("away")).unwrap();
    let new = start(&data).await.unwrap();
    let seen = tokio::time::timeout(Duration::from_secs(20), old.watch_place());
    assert!(seen.await.is_ok(), "the old one did not notice");
    old.stop(Duration::ZERO).await;
    let client = Client::unix(data.join("daemon.sock"));
    assert_eq!(client.health().await.unwrap().status, "healthy");
    assert!(data.join("daemon.json").exists());
    new.stop(Duration::ZERO).await;
    assert!(!data.join("daemon.sock").exists() && !data.join("daemon.json").exists());
}

#[tokio::test]
async fn a_socket_that_somebody_removed_is_made_again() {
    let dir = TempDir::new().unwrap();
    let served = start(dir.path()).await.unwrap();
    let socket = dir.path().join("daemon.sock");
    std::fs::remove_file(&socket).unwrap();
    let again = async {
        while Client::unix(&socket).health().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = served.watch_place() => panic!("the directory is still ours"),
        answered = tokio::time::timeout(Duration::from_secs(20), again) => answered.unwrap(),
    }
    served.stop(Duration::ZERO).await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn channels_for_notices_that_cannot_work_are_refused_by_name() {
    let command = |name: &str, words: &[&str]| NotifyChannel::Command {
        name: name.into(),
        command: words.iter().map(|&word| word.to_owned()).collect(),
        when: Default::default(),
    };
    for (channels, says) in [
        (
            vec![command("a", &["true"]), command("a", &["true"])],
            "is there twice",
        ),
        (vec![command("b", &[])], "no program"),
    ] {
        let dir = TempDir::new().unwrap();
        let mut config = Config::plain(&dir.path().join("data"));
        config.settings.notify = channels;
        let Err(error) = Served::start(config, Work::Given(Vec::new())).await else {
            panic!("it started");
        };
        assert!(error.to_string().contains(says), "{error}");
    }
}
