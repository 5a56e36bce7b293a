//! Attacks across organizations, each with a control: what is refused to A is there for B.
//!
//! Attacks with a contradicting organization in header, query or body, and of service keys, are in `access`.

use crate::support::{World, answer, wish};
use agentwright_api::{
    AuditQuery, Build, BuildQuery, BuildStatus, Client, CreateBuild, CreateKey, CreateOrganization,
};
use agentwright_domain::build::ApprovalMode;
use agentwright_domain::ids::Slug;
use agentwright_domain::principal::{KeyKind, Role};
use std::net::SocketAddr;

/// In every text of B; in no answer to A.
pub(crate) const CANARY: &str = "canary-b-7f3";

pub(crate) struct Tenants {
    pub(crate) world: World,
    pub(crate) address: SocketAddr,
    pub(crate) a: Party,
    pub(crate) b: Party,
}

/// One organization's admin.
pub(crate) struct Party {
    pub(crate) client: Client,
    pub(crate) key: String,
}

async fn party(world: &World, address: SocketAddr, id: &str) -> Party {
    let request = CreateOrganization {
        id: Slug::parse(id).unwrap(),
        name: Some(format!("{id} {CANARY}")),
    };
    world.client.create_organization(&request).await.unwrap();
    let key = new_key(world, id).await;
    Party {
        client: Client::tcp(address, &*key),
        key,
    }
}

/// A key of an organization's admin.
pub(crate) async fn new_key(world: &World, organization: &str) -> String {
    let request = CreateKey {
        name: format!("admin of {organization}"),
        role: Role::Admin,
        kind: KeyKind::Person,
        organizations: Vec::new(),
        expires_in_days: None,
    };
    let owner = world.client.for_organization(organization);
    owner.create_key(&request).await.unwrap().secret
}

impl Tenants {
    pub(crate) async fn new() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let world = World::with(|config| config.settings.listen = Some(any)).await;
        let listen = world.client.health().await.unwrap().listen.unwrap();
        let address = listen.parse().unwrap();
        Self {
            a: party(&world, address, "a").await,
            b: party(&world, address, "b").await,
            world,
            address,
        }
    }

    /// A build of B that waits for a yes, and everything of it named after the canary.
    pub(crate) async fn waiting_of_b(&self) -> Build {
        let build = self.b.client.create_build(&labelled(CANARY), None).await;
        settled(&self.b.client, build.unwrap().id.as_str()).await
    }

    /// What A gets, in full; B's words are not in it.
    async fn as_a(&self, request: &str) -> String {
        let said = self.raw(&self.a.key, request, "").await;
        assert!(!said.contains(CANARY), "{request}: {said}");
        said
    }

    pub(crate) async fn raw(&self, key: &str, request: &str, headers: &str) -> String {
        let (line, body) = request.split_once('|').unwrap_or((request, ""));
        let length = body.len();
        let text = format!(
            "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        answer(self.address, &text).await
    }
}

fn labelled(label: &str) -> CreateBuild {
    CreateBuild {
        label: Some(Slug::parse(label).unwrap()),
        mode: ApprovalMode::Final,
        ..wish(&format!("zip the {label} notes"))
    }
}

pub(crate) async fn settled(client: &Client, id: &str) -> Build {
    client.settled_build(id, 20).await.unwrap().build
}

pub(crate) fn status(said: &str) -> u16 {
    let line = said.lines().next().unwrap_or_default();
    line.split(' ').nth(1).unwrap_or_default().parse().unwrap()
}

/// Without what differs between any two answers, and with the id as a word.
fn shape(said: &str, id: &str) -> String {
    said.lines()
        .filter(|line| !line.starts_with("x-request-id") && !line.starts_with("date"))
        .map(|line| line.replace(id, "ID"))
        .filter(|line| !line.starts_with("content-length"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every operation on one build or execution, as A would try it.
const ON_ONE: &[&str] = &[
    "GET /api/v1/builds/ID",
    "GET /api/v1/builds/ID?wait_until=settled&timeout_s=1",
    "GET /api/v1/builds/ID/events",
    "GET /api/v1/builds/ID/logs",
    "GET /api/v1/builds/ID/artifacts",
    "GET /api/v1/builds/ID/artifacts/main.py",
    "GET /api/v1/builds/ID/replay",
    "GET /api/v1/builds/ID/files",
    "GET /api/v1/builds/ID/diff",
    "GET /api/v1/builds/ID/evidence",
    "GET /api/v1/builds/ID/transcripts",
    "GET /executor/builds/ID/status",
    "POST /executor/builds/ID/approve|{\"approved\":true}",
    "POST /executor/builds/ID/cancel",
    "GET /builds/ID",
    "GET /live?run=ID&after=0",
    "GET /api/v1/costs?build=ID",
    "GET /api/v1/budgets?build=ID",
    "GET /api/v1/executions/ID",
    "GET /api/v1/executions/ID/events",
    "HEAD /api/v1/builds/ID",
    "OPTIONS /api/v1/builds/ID",
    "PUT /api/v1/builds/ID",
    "POST /api/v1/builds/ID/decisions|{\"decision\":\"approve\"}",
    "POST /api/v1/builds/ID/decisions|{\"decision\":\"reject\"}",
    "POST /api/v1/builds/ID/cancel",
    "POST /api/v1/builds/ID/resume",
    "POST /api/v1/builds/ID/retry",
    "POST /api/v1/builds/ID/replay",
    "POST /api/v1/builds/ID/deploy",
    "POST /api/v1/budgets/build|{\"build\":\"ID\",\"budget\":{\"calls\":1}}",
    "DELETE /api/v1/keys/ID",
    "DELETE /api/v1/sessions/ID",
];

#[tokio::test]
async fn a_foreign_id_answers_exactly_as_an_unknown_one() {
    let tenants = Tenants::new().await;
    let build = tenants.waiting_of_b().await;
    assert_eq!(build.status(), BuildStatus::Waiting);
    let (foreign, unknown) = (build.id.as_str(), "019aa000-0000-7000-8000-0000000000aa");
    for operation in ON_ONE {
        let mut said = Vec::new();
        for id in [foreign, unknown] {
            let answer = tenants.as_a(&operation.replace("ID", id)).await;
            assert!(status(&answer) >= 400, "{operation}: {answer}");
            said.push(shape(&answer, id));
        }
        assert_eq!(said[0], said[1], "{operation}");
    }
    // By label and by the beginning of the id as well.
    for text in [CANARY, &foreign[..20]] {
        let answer = tenants
            .raw(&tenants.a.key, &format!("GET /api/v1/builds/{text}"), "")
            .await;
        assert_eq!(status(&answer), 404, "{answer}");
    }
    // What counts everybody's is for who runs the server.
    let counted = tenants.as_a("GET /metrics").await;
    assert_eq!(status(&counted), 403, "{counted}");
    // The control: B's own, untouched.
    for operation in [
        "GET /api/v1/builds/ID",
        "GET /api/v1/builds/ID/artifacts/main.py",
    ] {
        let own = tenants
            .raw(&tenants.b.key, &operation.replace("ID", foreign), "")
            .await;
        assert_eq!(status(&own), 200, "{own}");
    }
    assert_eq!(
        settled(&tenants.b.client, foreign).await.status(),
        BuildStatus::Waiting
    );
    tenants.world.end().await;
}

#[tokio::test]
async fn lists_counts_and_cursors_show_ones_own_only() {
    let tenants = Tenants::new().await;
    let theirs = tenants.waiting_of_b().await;
    let (client, b) = (&tenants.a.client, &tenants.b.client);
    let mut own = Vec::new();
    for label in ["one", "two", "three"] {
        let build = client.create_build(&labelled(label), None).await.unwrap();
        own.push(settled(client, build.id.as_str()).await.id);
    }
    let page = client.builds(&BuildQuery::default()).await.unwrap();
    assert_eq!((page.items.len(), &page.next), (3, &None));
    // A cursor minted for B is a moment, and no way in.
    let later = b
        .create_build(&labelled("canary-b-7f3-2"), None)
        .await
        .unwrap();
    let query = |before: &str| BuildQuery {
        before: Some(before.to_owned()),
        ..BuildQuery::default()
    };
    let before = async |id: &str| client.builds(&query(id)).await;
    let older = before(theirs.id.as_str()).await;
    assert_eq!(older.unwrap().items, []);
    let all = before(later.id.as_str()).await.unwrap().items;
    assert_eq!(all.len(), 3);
    for tampered in [
        "",
        "x",
        "'; DROP TABLE runs; --",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
    ] {
        if let Ok(page) = before(tampered).await {
            assert!(
                page.items.iter().all(|row| own.contains(&row.id)),
                "{tampered}"
            );
        }
    }
    for injected in [
        "GET /api/v1/builds?label=x'%20OR%20'1'='1",
        "GET /api/v1/builds?label=%25",
        "GET /api/v1/builds/%25",
        "GET /api/v1/builds/_",
        "GET /api/v1/builds?status=waiting'%20OR%201=1",
        "GET /api/v1/builds?limit=1;DROP%20TABLE%20runs",
        "GET /api/v1/deployments",
        "GET /api/v1/deployments/notes-zip",
        "GET /api/v1/deployments/..%2F..%2Forganizations%2Fb",
        "GET /api/v1/deployments/%252e%252e%252fb",
        "GET /api/v1/deployments/notes-zip%00",
        "GET /api/v1/services",
        "GET /api/v1/costs",
        "GET /api/v1/costs?by=model",
        "GET /api/v1/budgets",
        "GET /api/v1/audit",
        "GET /api/v1/audit?before=9999",
        "GET /api/v1/keys",
        "GET /api/v1/sessions",
        "GET /api/v1/organizations",
        "GET //api/v1/builds",
        "GET /api/v1/builds;organization=b",
        "GET /api/v1/./builds/../../v1/organizations",
        "GET /api/v1/builds?organizationId=b",
    ] {
        tenants.as_a(injected).await;
    }
    let trail = b.audit(&AuditQuery::default()).await.unwrap().items;
    assert!(
        trail
            .iter()
            .all(|row| row.by == "admin of b" || row.principal == "owner")
    );
    assert_eq!(client.verify_audit().await.unwrap().broken, None);
    tenants.world.end().await;
}

#[tokio::test]
async fn labels_and_idempotency_keys_of_one_organization_say_nothing_in_another() {
    let tenants = Tenants::new().await;
    let (a, b) = (&tenants.a.client, &tenants.b.client);
    let request = labelled("nightly");
    let theirs = b.create_build(&request, Some("key-1")).await.unwrap();
    // The same label, the same key, the same and another request: all new to A.
    let own = a.create_build(&request, Some("key-1")).await.unwrap();
    assert_ne!(own.id, theirs.id);
    let again = a.create_build(&request, Some("key-1")).await.unwrap();
    assert_eq!(again.id, own.id);
    let other = labelled("weekly");
    b.create_build(&other, Some("key-2")).await.unwrap();
    let fresh = a
        .create_build(&labelled("monthly"), Some("key-2"))
        .await
        .unwrap();
    assert_eq!(
        a.build(fresh.id.as_str())
            .await
            .unwrap()
            .build
            .label
            .as_str(),
        "monthly"
    );
    // The control: taken within one's own.
    let taken = a
        .create_build(&labelled("monthly"), None)
        .await
        .unwrap_err();
    assert_eq!(taken.problem().unwrap().status, 409);
    tenants.world.end().await;
}

#[tokio::test]
async fn one_name_is_two_deployments_in_two_organizations() {
    let tenants = Tenants::new().await;
    let (a, b) = (&tenants.a.client, &tenants.b.client);
    for client in [b, a] {
        let mut request = labelled("deployed");
        request.mode = ApprovalMode::Auto;
        let build = client.create_build(&request, None).await.unwrap();
        assert_eq!(
            settled(client, build.id.as_str()).await.status(),
            BuildStatus::Completed
        );
    }
    let name = crate::support::name();
    let dir = async |client: &Client| client.deployment(name.as_str()).await.unwrap().state_dir;
    let (of_a, of_b) = (dir(a).await, dir(b).await);
    assert!(
        of_a.contains("/organizations/a/") && of_b.contains("/organizations/b/"),
        "{of_a}"
    );
    a.pause(name.as_str(), &Default::default()).await.unwrap();
    let theirs = b
        .deployment(name.as_str())
        .await
        .unwrap()
        .deployment
        .activity;
    assert_eq!(theirs, agentwright_api::ActivityNow::Active);

    // What concerns the machine is not for an admin of one organization.
    let out = format!("{{\"to\":\"{}/out\"}}", tenants.world.data().display());
    let export = format!("POST /api/v1/deployments/notes-zip/export|{out}");
    assert_eq!(status(&tenants.as_a(&export).await), 403);
    let mut own = labelled("own");
    own.foundations = vec!["/etc".into()];
    assert_eq!(
        a.create_build(&own, None)
            .await
            .unwrap_err()
            .problem()
            .unwrap()
            .status,
        403
    );
    for machine in [
        "GET /api/v1/doctor",
        "POST /api/v1/daemon/stop",
        "POST /api/v1/snapshots",
        "DELETE /api/v1/organizations/b",
        "POST /api/v1/organizations/b/login-codes",
        "POST /settings/organizations/b/invitation",
        "POST /api/v1/organizations|{\"id\":\"c\"}",
    ] {
        assert_eq!(status(&tenants.as_a(machine).await), 403, "{machine}");
    }
    tenants.world.end().await;
}

#[tokio::test]
async fn nobody_subscribes_to_another_organization_and_a_key_in_the_address_is_none() {
    let tenants = Tenants::new().await;
    let build = tenants.waiting_of_b().await;
    let stream = format!("GET /api/v1/builds/{}/events", build.id);
    for headers in [
        "accept: text/event-stream\r\n",
        "accept: text/event-stream\r\nlast-event-id: 0\r\n",
        "accept: text/event-stream\r\nx-organization-id: b\r\n",
        "x-http-method-override: GET\r\naccept: text/event-stream\r\n",
    ] {
        let said = tenants.raw(&tenants.a.key, &stream, headers).await;
        assert!([403, 404].contains(&status(&said)), "{said}");
        assert!(!said.contains(CANARY), "{said}");
    }
    for query in ["key", "api_key", "access_token", "token"] {
        let request = format!(
            "GET /api/v1/me?{query}={} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            tenants.b.key
        );
        assert_eq!(status(&answer(tenants.address, &request).await), 401);
    }
    // A cookie is no key and a key no cookie.
    let request = format!(
        "GET /api/v1/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncookie: aw_session={}\r\n\r\n",
        tenants.b.key
    );
    assert_eq!(status(&answer(tenants.address, &request).await), 401);
    // The control: B's own stream.
    let own = tenants.raw(&tenants.b.key, &stream, "").await;
    assert!(status(&own) == 200 && own.contains("items"), "{own}");
    tenants.world.end().await;
}

#[tokio::test]
async fn a_deleted_organization_is_gone_and_the_other_one_is_not() {
    let tenants = Tenants::new().await;
    let theirs = tenants.waiting_of_b().await;
    let own = tenants
        .a
        .client
        .create_build(&labelled("hold"), None)
        .await
        .unwrap();
    let mut held = labelled("held");
    held.intent = "hold it".into();
    tenants.b.client.create_build(&held, None).await.unwrap();
    tenants.world.script.holding().await;

    let owner = &tenants.world.client;
    let gone = owner.delete_organization("b").await.unwrap();
    assert!(gone.rows > 10, "{gone:?}");
    let refused = tenants.b.client.me().await.unwrap_err();
    assert_eq!(refused.problem().unwrap().status, 401);
    let theirs = owner
        .for_organization("b")
        .build(theirs.id.as_str())
        .await
        .unwrap_err();
    assert_eq!(theirs.problem().unwrap().status, 404);
    tenants.a.client.build(own.id.as_str()).await.unwrap();
    for missing in ["b", "nowhere"] {
        let error = owner.delete_organization(missing).await.unwrap_err();
        assert_eq!(error.problem().unwrap().status, 404, "{missing}");
    }
    let local = owner.delete_organization("local").await.unwrap_err();
    assert_eq!(local.problem().unwrap().status, 409);
    assert_eq!(owner.verify_audit().await.unwrap().broken, None);
    tenants.world.end().await;
}
