//! What a first start makes and tells, what `--check` finds, and what a restored directory does not do.

use crate::support::{World, answer, wish};
use agentwright_api::{BuildQuery, BuildStatus, Check, CheckStatus, Client, Health};
use agentwright_domain::principal::Role;
use agentwright_domain::run::Notice;
use agentwright_server::daemon::{DaemonError, Served, Welcome, check};
use agentwright_server::{Config, Flags, Work, backup};
use agentwright_store::{Delivery, OrgScope, Told};
use agentwright_testkit::{Cluster, eventually};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

fn config(data: &Path) -> Config {
    let mut config = Config::plain(data);
    config.settings.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    config
}

async fn up(data: &Path) -> Result<(Served, Welcome), DaemonError> {
    Served::up(config(data), Work::Given(Vec::new())).await
}

/// The status of an answer to one request.
async fn status(address: SocketAddr, request: &str) -> u16 {
    let said = answer(address, request).await;
    let line = said.lines().next().unwrap_or_default().to_owned();
    line.split(' ').nth(1).unwrap_or_default().parse().unwrap()
}

#[tokio::test]
async fn a_first_start_makes_a_key_once_and_a_login_each_time() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let (served, welcome) = up(&data).await.unwrap();
    let address: SocketAddr = welcome
        .url
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let key = welcome.first_key.unwrap();
    let me = Client::tcp(address, key).me().await.unwrap();
    assert_eq!((me.role, me.organization.as_str()), (Role::Admin, "local"));
    let written = data.join("config.toml");
    let text = std::fs::read_to_string(&written).unwrap();
    assert!(text.contains("listen = \"127.0.0.1:0\""), "{text}");
    Config::load(&data, Flags::default()).unwrap();
    for secret in ["auth.key", "config.toml"] {
        let mode = data.join(secret).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let code = welcome
        .login_url
        .split_once("/login?code=")
        .unwrap()
        .1
        .to_owned();
    let post = |code: &str| {
        let body = format!("code={code}");
        format!(
            "POST /login HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    assert_eq!(status(address, &post(&code)).await, 303);
    assert_eq!(status(address, &post(&code)).await, 401);
    served.stop(Duration::ZERO).await;

    std::fs::write(&written, "# mine\n").unwrap();
    let (served, again) = up(&data).await.unwrap();
    assert_eq!(again.first_key, None);
    assert_ne!(again.login_url, welcome.login_url);
    assert_eq!(std::fs::read_to_string(&written).unwrap(), "# mine\n");
    served.stop(Duration::ZERO).await;
}

fn found<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks
        .iter()
        .find(|check| check.name == name)
        .unwrap_or_else(|| panic!("{checks:?}"))
}

#[tokio::test]
async fn a_check_says_what_is_in_the_way_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut wanted = config(&data);
    let fine = check(&wanted);
    assert!(
        fine.iter().all(|check| check.status != CheckStatus::Failed),
        "{fine:?}"
    );
    assert!(found(&fine, "data").detail.contains("would be made"));
    assert!(!data.exists());

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    wanted.settings.listen = Some(taken.local_addr().unwrap());
    wanted.settings.bwrap = "/nowhere/bwrap".into();
    let failed = check(&wanted);
    assert_eq!(found(&failed, "address").status, CheckStatus::Failed);
    assert_eq!(found(&failed, "sandbox").status, CheckStatus::Warning);

    let (served, _) = up(&data).await.unwrap();
    let running = check(&config(&data));
    let place = found(&running, "data");
    assert_eq!(place.status, CheckStatus::Failed);
    assert!(place.detail.contains("already running"), "{place:?}");
    served.stop(Duration::ZERO).await;
    assert_eq!(
        found(&check(&config(&data)), "data").status,
        CheckStatus::Ok
    );

    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("thesis.tex"), "x").unwrap();
    assert_eq!(
        found(&check(&config(&other)), "data").status,
        CheckStatus::Failed
    );
    // Beyond loopback and without TLS it says so; nothing is bound but for a moment.
    wanted.settings.listen = Some("192.0.2.1:8400".parse().unwrap());
    let reach = check(&wanted);
    assert!(found(&reach, "reach").detail.contains("plain HTTP"));
    wanted.settings.public_url = Some("https://build.example.org".into());
    assert!(check(&wanted).iter().all(|check| check.name != "reach"));
}

#[tokio::test]
async fn behind_a_proxy_addresses_and_cookies_are_the_proxys() {
    let dir = TempDir::new().unwrap();
    let mut behind = config(&dir.path().join("data"));
    behind.settings.public_url = Some("https://example.org/build/".into());
    let (served, welcome) = Served::up(behind, Work::Given(Vec::new())).await.unwrap();
    assert_eq!(welcome.url, "https://example.org/build");
    let health: Health = served.app().health();
    let address: SocketAddr = health.listen.unwrap().parse().unwrap();
    let body = format!("key={}", welcome.first_key.unwrap());
    let login = format!(
        "POST /login HTTP/1.1\r\nhost: example.org\r\norigin: https://example.org\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let said = answer(address, &login).await;
    assert!(said.contains("location: /build/\r\n"), "{said}");
    let cookie = said
        .lines()
        .find(|line| line.starts_with("set-cookie"))
        .unwrap();
    assert!(
        cookie.contains("Path=/build/;") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
    served.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn what_was_restored_works_nothing_until_it_is_confirmed() {
    restored("sqlite", "sqlite").await;
}

#[tokio::test]
async fn what_was_restored_into_another_postgres_database_works_nothing_until_it_is_confirmed() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let (old, new) = (cluster.database().await, cluster.database().await);
    restored(&old, &new).await;
}

/// Backs up an instance whose tables are in one store, and restores it into another one.
async fn restored(store: &str, into: &str) {
    let on = |store: &str| {
        let store = store.to_owned();
        move |config: &mut Config| config.settings.store = store
    };
    let world = World::with(on(store)).await;
    let done = world.settled(&wish("a zip")).await;
    let held = world.create("hold it").await;
    world.script.holding().await;
    let snapshot = world.client.create_snapshot().await.unwrap();
    let (data, elsewhere) = (world.data(), TempDir::new().unwrap());
    let file = elsewhere.path().join("b.tar.gz");
    backup::write(&data, &snapshot, &file).unwrap();
    let whole = world.client.builds(&BuildQuery::default()).await.unwrap();
    world.end().await;

    let to = elsewhere.path().join("restored");
    if store != "sqlite" {
        for (wrong, says) in [("sqlite", "--store postgres"), (store, "already")] {
            let refused = backup::restore(&file, &to, wrong).await.unwrap_err();
            assert!(refused.to_string().contains(says), "{refused}");
            assert!(!to.exists(), "{refused}");
        }
    }
    backup::restore(&file, &to, into).await.unwrap();
    // The backup's own database is another instance's to work on.
    if store != into {
        let elsewhere = backup::restored_there(&to, store).unwrap_err();
        assert!(elsewhere.to_string().contains("config.toml"), "{elsewhere}");
    }
    backup::restored_there(&to, into).unwrap();
    let there = |config: &mut Config| {
        on(into)(config);
        config.data_dir.clone_from(&to);
    };
    let fenced = World::with(there).await;
    let health = fenced.client.health().await.unwrap();
    assert_eq!(health.status, "fenced");
    let all = fenced.client.builds(&BuildQuery::default()).await.unwrap();
    assert_eq!(all.items.len(), whole.items.len());
    let id = held.id.as_str();
    assert_eq!(
        fenced.client.build(id).await.unwrap().build.status(),
        BuildStatus::Queued
    );
    let kept = fenced.client.build(done.build.id.as_str()).await.unwrap();
    assert_eq!(kept.build.status(), done.build.status());
    assert_eq!(fenced.client.verify_audit().await.unwrap().broken, None);
    // What waits to be told is settled behind the fence, and not told when it is taken away.
    let waits = Told {
        id: "waits".to_owned(),
        run: None,
        notice: Notice {
            topic: "build.failed".to_owned(),
            title: "a notice".to_owned(),
            body: "of the instance before".to_owned(),
        },
    };
    let (store, scope) = (fenced.store(), OrgScope::local());
    store.tell(&scope, &waits).await.unwrap();
    let settled = async || {
        let all = store.notices(&scope, 100).await.unwrap();
        let one = all.into_iter().find(|row| row.notice.title == "a notice");
        (one?.delivery == Delivery::Nobody).then_some(())
    };
    eventually("it is settled", settled).await;
    let new = fenced.create("another").await;
    let still = fenced
        .client
        .settled_build(new.id.as_str(), 1)
        .await
        .unwrap();
    assert_eq!(still.build.status(), BuildStatus::Queued);
    fenced.end().await;

    assert!(backup::confirm(&to).unwrap());
    let world = World::with(there).await;
    world.script.release();
    assert_ne!(
        world.until_settled(id).await.build.status(),
        BuildStatus::Queued
    );
    world.end().await;
}
