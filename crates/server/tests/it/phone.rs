//! A gate decided from a phone: buttons of a notice, one decision each.

use crate::support::{World, digest, raw, text, wish};
use agentwright_api::{AuditQuery, BuildDetail, BuildStatus};
use agentwright_domain::approval::Gate;
use agentwright_domain::ids::RunId;
use agentwright_server::{Config, NotifyChannel};
use agentwright_store::{DecisionToken, OrgScope};
use agentwright_testkit::{Ntfy, eventually};
use serde_json::Value;

const BROWSER: &str = "text/html";

fn with_phone(ntfy: &Ntfy) -> impl FnOnce(&mut Config) + use<> {
    let url = ntfy.url();
    move |config| {
        config.settings.public_url = Some("https://builds.example.org/".into());
        config.settings.notify = vec![NotifyChannel::Ntfy {
            name: "phone".into(),
            url,
            topic: "builds".into(),
            token: None,
            when: Default::default(),
        }];
    }
}

/// What came for a gate: the paths of its three buttons.
async fn buttons(ntfy: &Ntfy) -> [String; 3] {
    let asked = eventually("the gate's notice came", async || {
        let messages = ntfy.messages();
        messages
            .into_iter()
            .find(|message| message["actions"][2].is_object())
    })
    .await;
    [0, 1, 2].map(|at| {
        let url = asked["actions"][at]["url"].as_str().unwrap();
        url.strip_prefix("https://builds.example.org")
            .unwrap()
            .to_owned()
    })
}

/// Status and body.
async fn ask(world: &World, method: &str, path: &str, accept: &str) -> (u16, String) {
    let request = text(method, path, "text/plain", "")
        .replace("host: x", &format!("host: x\r\naccept: {accept}"));
    let answer = raw(&world.data().join("daemon.sock"), &request).await;
    let status = answer[9..12].parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

async fn waiting(world: &World) -> BuildDetail {
    let waiting = world.settled(&wish("zip the notes")).await;
    assert_eq!(waiting.build.status(), BuildStatus::Waiting);
    waiting
}

fn code(body: &str) -> String {
    let problem: Value = serde_json::from_str(body).unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_gate_is_approved_by_a_button_once_and_a_get_decides_nothing() {
    let ntfy = Ntfy::start().await;
    let world = World::with(with_phone(&ntfy)).await;
    let waiting = waiting(&world).await;
    let (build, label) = (waiting.build.id, waiting.build.label);
    let [yes, no, open] = buttons(&ntfy).await;
    assert_eq!(open, format!("/builds/{build}"));
    for _ in 0..3 {
        let (status, page) = ask(&world, "GET", &yes, BROWSER).await;
        assert_eq!(status, 200);
        assert!(
            page.contains(&format!("Approve {label}?")) && page.contains("method=\"post\""),
            "{page}"
        );
        assert!(page.contains("would create 1 zip"), "{page}");
        assert_eq!(ask(&world, "HEAD", &no, BROWSER).await.0, 200);
    }
    let still = world.client.build(build.as_str()).await.unwrap();
    assert_eq!(still.build.status(), BuildStatus::Waiting);

    let (status, body) = ask(&world, "POST", &yes, "*/*").await;
    assert_eq!(
        (status, body.contains("\"approved\"")),
        (200, true),
        "{body}"
    );
    let done = world.until_settled(build.as_str()).await;
    assert_eq!(done.build.status(), BuildStatus::Completed);
    assert_eq!(done.approvals.len(), 1);
    assert_eq!(done.approvals[0].by, "a link sent to phone");
    assert_eq!(done.approvals[0].subject, digest(6));
    for link in [&yes, &no] {
        let (status, body) = ask(&world, "POST", link, "*/*").await;
        assert_eq!((status, code(&body).as_str()), (410, "decision.link_used"));
        let (status, page) = ask(&world, "GET", link, BROWSER).await;
        assert!(status == 410 && page.contains("already decided"), "{page}");
    }
    let unknown = format!("{yes}x");
    assert_eq!(ask(&world, "POST", &unknown, "*/*").await.0, 404);
    assert_eq!(ntfy.refused(), [""; 0]);
    let trail = world.client.audit(&AuditQuery::default()).await.unwrap();
    let of_links = trail.items.iter().filter(|row| row.principal == "link");
    let told: Vec<_> = of_links.map(|row| row.target.as_str()).collect();
    assert_eq!(told, [build.as_str()], "one row for the one decision");
    world.end().await;
}

#[tokio::test]
async fn of_many_touches_at_once_exactly_one_decides() {
    let ntfy = Ntfy::start().await;
    let world = World::with(with_phone(&ntfy)).await;
    let build = waiting(&world).await.build.id;
    let [yes, no, _] = buttons(&ntfy).await;
    let links = [&yes, &no, &yes, &no, &yes, &no, &yes, &no];
    let touches = links.map(|link| ask(&world, "POST", link, BROWSER));
    let answers = futures::future::join_all(touches).await;
    let decided = answers.iter().filter(|(status, _)| *status == 200).count();
    let refused = answers
        .iter()
        .filter(|(status, _)| [409, 410].contains(status))
        .count();
    assert_eq!((decided, refused), (1, 7), "{answers:?}");
    let detail = world.until_settled(build.as_str()).await;
    assert_eq!(detail.approvals.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_link_for_something_else_decides_nothing_and_says_why() {
    let world = World::new().await;
    let build = waiting(&world).await.build.id;
    let other = waiting(&world).await.build.id;
    let held = world.create("hold it").await.id;
    world.script.holding().await;
    let store = world.store();
    let now_ms = store.now_ms().await.unwrap();
    let of = |run: &RunId| DecisionToken {
        scope: OrgScope::local(),
        run: run.clone(),
        gate: Gate::Deploy,
        subject: digest(6),
        approves: true,
        sent_to: "phone".into(),
        expires_at_ms: now_ms + 60_000,
        used_at_ms: None,
    };
    let stale = DecisionToken {
        subject: digest(9),
        ..of(&build)
    };
    let gate = DecisionToken {
        gate: Gate::Spec,
        ..of(&build)
    };
    let expired = DecisionToken {
        expires_at_ms: now_ms,
        ..of(&build)
    };
    for (token, of, status, says) in [
        ("stale", stale, 409, "decision.stale"),
        ("gate", gate, 409, "decision.stale"),
        ("expired", expired, 410, "decision.link_expired"),
        ("early", of(&held), 409, "decision.not_waiting"),
    ] {
        store.keep_decision_token(token, &of).await.unwrap();
        let path = format!("/hooks/decide/{token}");
        let (got, body) = ask(&world, "POST", &path, "*/*").await;
        assert_eq!((got, code(&body).as_str()), (status, says), "{token}");
        assert_eq!(
            ask(&world, "GET", &path, BROWSER).await.0,
            status,
            "{token}"
        );
    }
    // One build's link leaves another one's gate alone.
    store
        .keep_decision_token("other", &of(&other))
        .await
        .unwrap();
    let (status, page) = ask(&world, "POST", "/hooks/decide/other", BROWSER).await;
    assert!(status == 200 && page.contains("is approved"), "{page}");
    let still = world.client.build(build.as_str()).await.unwrap();
    assert_eq!(still.build.status(), BuildStatus::Waiting);
    // Nobody keeps a token for a run of another organization.
    let foreign = DecisionToken {
        scope: OrgScope::authenticated(agentwright_domain::ids::OrganizationId::new("other")),
        ..of(&build)
    };
    assert!(
        store
            .keep_decision_token("foreign", &foreign)
            .await
            .is_err()
    );
    world.script.release();
    world.end().await;
}

#[tokio::test]
async fn a_notice_that_comes_after_the_decision_asks_nothing() {
    let ntfy = Ntfy::start().await;
    ntfy.take_down();
    let world = World::with(with_phone(&ntfy)).await;
    let asked = waiting(&world).await;
    eventually("ntfy was tried", async || (ntfy.tried() > 0).then_some(())).await;
    world.approve(&asked).await;
    ntfy.bring_up();
    // The one of its completion comes, too.
    let late = eventually("the late notice came", async || {
        let mut messages = ntfy.messages().into_iter();
        messages.find(|message| {
            message["title"]
                .as_str()
                .is_some_and(|title| title.contains("waits"))
        })
    })
    .await;
    assert!(
        late["message"]
            .as_str()
            .unwrap()
            .contains("Decided meanwhile"),
        "{late}"
    );
    assert_eq!(late["actions"].as_array().unwrap().len(), 1);
    world.end().await;
}
