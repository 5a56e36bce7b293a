//! Services: tried before they replace anything, reached where they say, up again after a restart.

use crate::support::{World, auto, facts, failure, phase, scope};
use agentwright_domain::build::{BuildRequest, FailureClass, Phase};
use agentwright_domain::deployment::Action;
use agentwright_domain::ids::Slug;
use agentwright_domain::spec::{Spec, Trigger};
use agentwright_testkit::eventually;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const INBOX: &str = "a service that receives webhooks and stores them in SQLite";

async fn up(world: &World) -> (Slug, String) {
    let run = world.build(INBOX, auto()).await;
    assert_eq!(
        phase(&run),
        &Phase::Completed { deployed: true },
        "{}",
        world.story(&run.id).await
    );
    (
        facts(&run).name.clone().unwrap(),
        facts(&run).url.clone().unwrap(),
    )
}

fn health(spec: &Spec) -> String {
    match &spec.trigger {
        Trigger::Service { health_path, .. } => health_path.clone(),
        other => panic!("no service: {other:?}"),
    }
}

/// The status of an answer, or nothing when nobody answers.
fn ask(url: &str, path: &str) -> Option<String> {
    let at = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(at).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1).map(str::to_owned)
}

async fn answers(world: &World, name: &Slug, version: u32) -> String {
    eventually("the service answers", async || {
        let status = world.runtime.status(&scope(), name).await.unwrap();
        let url = status.row.endpoint?;
        let right = status.row.active_version == version && status.current.is_some();
        let path = health(&status.version.spec);
        (right && ask(&url, &path).as_deref() == Some("200")).then_some(url)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_answers_survives_a_restart_and_leaves_when_it_is_stopped() {
    let world = World::new().await;
    let (name, url) = up(&world).await;
    let spec = world.runtime.active(&scope(), &name).await.unwrap().spec;
    assert_eq!(ask(&url, &health(&spec)).as_deref(), Some("200"));
    let services = world.store.services(&scope()).await.unwrap();
    assert_eq!(services[0].endpoint.as_ref(), Some(&url));
    let busy = world
        .runtime
        .run_now(&scope(), &name, "ann")
        .await
        .unwrap_err();
    assert!(busy.to_string().contains("running already"), "{busy}");

    let world = world.restarted().await;
    assert_eq!(answers(&world, &name, 1).await, url, "the port is kept");
    world
        .runtime
        .act(&scope(), &name, &Action::Stop)
        .await
        .unwrap();
    eventually("nobody answers", async || {
        ask(&url, &health(&spec)).is_none().then_some(())
    })
    .await;
    world
        .runtime
        .act(&scope(), &name, &Action::Resume)
        .await
        .unwrap();
    assert_eq!(answers(&world, &name, 1).await, url);
    world.runtime.remove(&scope(), &name).await.unwrap();
    assert_eq!(ask(&url, &health(&spec)), None);
    assert!(world.store.services(&scope()).await.unwrap().is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_version_of_a_service_takes_over_and_rollback_gives_back() {
    let world = World::new().await;
    let (name, _) = up(&world).await;
    let request = BuildRequest {
        changes: Some(name.clone()),
        ..world.request("verify again")
    };
    let id = world.submit(request, auto()).await;
    let run = world.settled(&id).await;
    assert_eq!(
        phase(&run),
        &Phase::Completed { deployed: true },
        "{}",
        world.story(&id).await
    );
    answers(&world, &name, 2).await;
    world.runtime.rollback(&scope(), &name, None).await.unwrap();
    answers(&world, &name, 1).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_stops_the_deploy_and_replaces_nothing() {
    let world = World::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let mut spec = world
        .builds
        .plan(&scope(), &world.request(INBOX))
        .await
        .unwrap()
        .spec
        .unwrap();
    if let Trigger::Service { publish, .. } = &mut spec.trigger {
        *publish = at.port();
    }
    let request = BuildRequest {
        spec: Some(Box::new(spec)),
        ..world.request("")
    };
    let id = world.submit(request, auto()).await;
    let (class, reason) = failure(&world.settled(&id).await);
    assert_eq!(class, FailureClass::Deploy, "{reason}");
    assert!(
        reason.contains(&at.to_string()) && reason.contains("stop what listens there"),
        "{reason}"
    );
    let deployments = world.runtime.layout().data().join("deployments");
    assert!(crate::support::names(&deployments).is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_become_well_is_not_deployed() {
    let world = World::new().await;
    let plan = world
        .builds
        .plan(&scope(), &world.request(INBOX))
        .await
        .unwrap();
    let mut spec = plan.spec.unwrap();
    spec.command = vec![
        "sh".into(),
        "-c".into(),
        "echo no database >&2; exit 3".into(),
    ];
    let app = world.home().join("app");
    std::fs::create_dir_all(&app).unwrap();
    let scratch = world.home().join("scratch");
    let cancelled = CancellationToken::new();
    let why = world
        .runtime
        .trial(&scope(), &spec, &app, &scratch, &cancelled)
        .await
        .unwrap_err();
    assert!(why.contains("exit code 3"), "{why}");
    assert!(!scratch.join("trial-state").exists());
    world.end().await;
}
