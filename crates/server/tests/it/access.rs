//! Who may: keys, roles, sessions, organizations. Every refusal beside what is let through.

use crate::support::{World, answer, wish, yes};
use agentwright_api::{
    AuditQuery, BuildQuery, BuildStatus, Client, ClientError, CreateKey, CreateLoginCode,
    CreateOrganization, CreatedKey, Decide, DecisionRequest, code,
};
use agentwright_domain::build::ApprovalMode;
use agentwright_domain::ids::Slug;
use agentwright_domain::principal::{KeyKind, Role};
use agentwright_testkit::DEADLINE;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A world with a TCP door, and its address.
async fn open() -> (World, SocketAddr) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let world = World::with(|config| config.settings.listen = Some(any)).await;
    let listen = world.client.health().await.unwrap().listen.unwrap();
    (world, listen.parse().unwrap())
}

fn wanted(name: &str, role: Role) -> CreateKey {
    CreateKey {
        name: name.into(),
        role,
        kind: KeyKind::Person,
        organizations: Vec::new(),
        expires_in_days: None,
    }
}

async fn key(client: &Client, role: Role) -> CreatedKey {
    let request = wanted(role.word(), role);
    client.create_key(&request).await.unwrap()
}

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

async fn organization(world: &World, id: &str) -> Client {
    let request = CreateOrganization {
        id: slug(id),
        name: None,
    };
    world.client.create_organization(&request).await.unwrap();
    world.client.for_organization(id)
}

fn refused(error: &ClientError) -> (u16, &str) {
    let problem = error.problem().unwrap_or_else(|| panic!("{error:?}"));
    (problem.status, &problem.code)
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n")
}

fn post(path: &str, headers: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// The status of an answer.
fn status(answer: &str) -> u16 {
    let line = answer.lines().next().unwrap_or_default();
    line.split(' ').nth(1).unwrap_or_default().parse().unwrap()
}

#[tokio::test]
async fn over_tcp_only_a_key_that_holds_opens_the_door() {
    let (world, address) = open().await;
    let made = key(&world.client, Role::Viewer).await;
    let secret = &made.secret;
    assert!(secret.starts_with("aw_") && secret.contains(&made.key.id));

    let mut wrong = vec![String::new(), "wrong".into(), secret.to_uppercase()];
    // A wrong checksum, and a right one over another secret: other keys of the same server.
    let flipped = if secret.ends_with('0') { "1" } else { "0" };
    wrong.push(format!("{}{flipped}", &secret[..secret.len() - 1]));
    let (other, _) = open().await;
    wrong.push(key(&other.client, Role::Viewer).await.secret);
    other.end().await;
    for text in &wrong {
        let error = Client::tcp(address, text).me().await.unwrap_err();
        assert_eq!(refused(&error), (401, code::UNAUTHORIZED), "{text}");
    }
    let none = answer(address, &get("/api/v1/builds", "")).await;
    assert_eq!(status(&none), 401, "{none}");
    assert!(none.contains("www-authenticate: Bearer"), "{none}");
    // What does not exist is not told to strangers either.
    assert_eq!(
        status(&answer(address, &get("/api/v1/nowhere", "")).await),
        401
    );

    let me = Client::tcp(address, secret).me().await.unwrap();
    assert_eq!((me.name.as_str(), me.role), ("viewer", Role::Viewer));
    assert_eq!(me.principal, format!("person_key:{}", made.key.id));
    let other = format!("x-api-key: {secret}\r\n");
    assert_eq!(
        status(&answer(address, &get("/api/v1/me", &other)).await),
        200
    );
    let two = format!("{other}authorization: Bearer {}\r\n", wrong[4]);
    assert_eq!(
        status(&answer(address, &get("/api/v1/me", &two)).await),
        400
    );
    world.end().await;
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_and_is_told_so_only_with_its_secret() {
    let (world, address) = open().await;
    let made = key(&world.client, Role::Operator).await;
    let client = Client::tcp(address, &*made.secret);
    client.me().await.unwrap();
    let revoked = world.client.revoke_key(&made.key.id).await.unwrap();
    assert!(revoked.revoked_at.is_some());
    let again = world.client.revoke_key(&made.key.id).await.unwrap();
    assert_eq!(again.revoked_at, revoked.revoked_at);
    let error = client.me().await.unwrap_err();
    assert_eq!(refused(&error), (401, code::UNAUTHORIZED));
    assert!(error.to_string().contains("revoked"), "{error}");
    let error = world
        .client
        .revoke_key("0123456789abcdef")
        .await
        .unwrap_err();
    assert_eq!(refused(&error), (404, code::NOT_FOUND));
    let keys = world.client.keys().await.unwrap().items;
    assert_eq!(keys, [again]);
    world.end().await;
}

#[tokio::test]
async fn each_role_may_what_it_may_and_no_more() {
    let (world, address) = open().await;
    let mut asks = wish("make me a zip");
    asks.mode = ApprovalMode::Final;
    let waiting = world.settled(&asks).await;
    assert_eq!(waiting.build.status(), BuildStatus::Waiting);
    let id = waiting.build.id.as_str();
    for role in Role::ALL {
        let client = Client::tcp(address, key(&world.client, role).await.secret);
        client.builds(&BuildQuery::default()).await.unwrap();
        let allowed = |least: Role| if role >= least { 200 } else { 403 };
        let status = |done: Result<(), ClientError>| match done {
            Ok(()) => 200,
            Err(error) => match refused(&error) {
                (403, code) => {
                    assert_eq!(code, code::FORBIDDEN);
                    403
                }
                // Let through, and then not possible: that is no matter of roles.
                (404 | 409 | 422, _) => 200,
                other => panic!("{other:?}"),
            },
        };
        let operates = client.cancel("nothing", &Default::default()).await;
        assert_eq!(status(operates.map(drop)), allowed(Role::Operator));
        let stale = DecisionRequest {
            decision: Decide::Approve,
            subject: Some(crate::support::digest(99)),
            notes: None,
        };
        let decides = client.decide(id, &stale).await;
        assert_eq!(status(decides.map(drop)), allowed(Role::Approver), "{role}");
        let deploys = client.deploy(id, &Default::default(), None).await;
        assert_eq!(status(deploys.map(drop)), allowed(Role::Approver));
        let lists = client.keys().await;
        assert_eq!(status(lists.map(drop)), allowed(Role::Admin));
        let audit = client.audit(&Default::default()).await;
        assert_eq!(status(audit.map(drop)), allowed(Role::Admin));
        let budget = agentwright_domain::spend::BudgetScope::Stage;
        let sets = client.set_budget(budget, &Default::default()).await;
        assert_eq!(status(sets.map(drop)), allowed(Role::Admin));
        let doctor = client.doctor().await;
        assert_eq!(status(doctor.map(drop)), allowed(Role::Admin));
    }
    // Still there for somebody who may.
    let approver = Client::tcp(address, key(&world.client, Role::Approver).await.secret);
    approver.decide(id, &yes(&waiting)).await.unwrap();
    let done = world.until_settled(id).await;
    assert_eq!(done.approvals[0].by, "approver");
    world.end().await;
}

#[tokio::test]
async fn a_yes_in_advance_needs_the_role_to_say_it() {
    let (world, address) = open().await;
    let mut wish = wish("make me a zip");
    wish.advance = Some(crate::support::digest(7));
    let operator = Client::tcp(address, key(&world.client, Role::Operator).await.secret);
    let error = operator.create_build(&wish, None).await.unwrap_err();
    assert_eq!(refused(&error), (403, code::FORBIDDEN));
    let approver = Client::tcp(address, key(&world.client, Role::Approver).await.secret);
    let build = approver.create_build(&wish, None).await.unwrap();
    let done = world.until_settled(build.id.as_str()).await;
    assert_eq!(done.build.status(), BuildStatus::Completed);
    // A repetition takes the yes over, so it is one, too.
    let again = operator
        .retry(build.id.as_str(), &Default::default(), None)
        .await
        .unwrap_err();
    assert_eq!(refused(&again), (403, code::FORBIDDEN));
    world.end().await;
}

#[tokio::test]
async fn no_agent_and_no_service_approves_whatever_it_is_called() {
    let (world, address) = open().await;
    for kind in [KeyKind::Agent, KeyKind::Service] {
        for role in [Role::Approver, Role::Admin] {
            let request = CreateKey {
                kind,
                ..wanted("robot", role)
            };
            let error = world.client.create_key(&request).await.unwrap_err();
            assert_eq!(refused(&error), (422, code::INVALID));
        }
    }
    let request = CreateKey {
        kind: KeyKind::Agent,
        ..wanted("robot", Role::Operator)
    };
    let made = world.client.create_key(&request).await.unwrap();
    let robot = Client::tcp(address, made.secret);
    let build = robot.create_build(&wish("a zip"), None).await.unwrap();
    let waiting = world.until_settled(build.id.as_str()).await;
    let error = robot
        .decide(build.id.as_str(), &yes(&waiting))
        .await
        .unwrap_err();
    assert_eq!(refused(&error), (403, code::FORBIDDEN));
    world.end().await;
}

#[tokio::test]
async fn a_service_key_acts_for_its_organizations_and_says_which() {
    let (world, address) = open().await;
    let (a, b) = (
        organization(&world, "a").await,
        organization(&world, "b").await,
    );
    let service = |organizations: &[&str]| CreateKey {
        kind: KeyKind::Service,
        organizations: organizations.iter().map(|id| slug(id)).collect(),
        ..wanted("erp", Role::Operator)
    };
    // Only an admin of the instance makes them, and only for what exists.
    let admin_of_a = Client::tcp(address, key(&a, Role::Admin).await.secret);
    let error = admin_of_a.create_key(&service(&["b"])).await.unwrap_err();
    assert_eq!(refused(&error), (403, code::FORBIDDEN));
    let error = world.client.create_key(&service(&["c"])).await.unwrap_err();
    assert_eq!(refused(&error), (422, code::INVALID));
    let person = CreateKey {
        organizations: vec![slug("a")],
        ..wanted("ann", Role::Viewer)
    };
    let error = world.client.create_key(&person).await.unwrap_err();
    assert_eq!(refused(&error), (422, code::INVALID));

    let made = world.client.create_key(&service(&["a"])).await.unwrap();
    let erp = Client::tcp(address, &*made.secret);
    let error = erp.me().await.unwrap_err();
    assert_eq!(refused(&error), (400, code::ORGANIZATION));
    for unconnected in ["b", "nowhere", "local"] {
        let error = erp.for_organization(unconnected).me().await.unwrap_err();
        assert_eq!(refused(&error), (403, code::ORG_MISMATCH), "{unconnected}");
    }
    let me = erp.for_organization("a").me().await.unwrap();
    assert_eq!(me.organization.as_str(), "a");
    let build = erp
        .for_organization("a")
        .create_build(&wish("a zip"), None)
        .await
        .unwrap();
    a.build(build.id.as_str()).await.unwrap();
    assert_eq!(b.builds(&BuildQuery::default()).await.unwrap().items, []);
    // The header and the query agree, contradict, or come twice.
    let bearer = format!("authorization: Bearer {}\r\n", made.secret);
    for (path, headers, expected) in [
        ("/api/v1/builds?organizationId=a", "", 200),
        (
            "/api/v1/builds?organizationId=a&limit=1",
            "x-organization-id: a\r\n",
            200,
        ),
        (
            "/api/v1/builds?organizationId=b",
            "x-organization-id: a\r\n",
            400,
        ),
        ("/api/v1/builds?organizationId=a&organizationId=b", "", 400),
        ("/api/v1/builds?organizationId=b", "", 403),
        (
            "/api/v1/builds",
            "x-organization-id: a\r\nx-organization-id: b\r\n",
            400,
        ),
        ("/api/v1/builds", "x-organization-id: A\r\n", 400),
        ("/api/v1/builds", "x-organization-id: a,b\r\n", 400),
        ("/api/v1/builds", "x-organization-id: *\r\n", 400),
    ] {
        let said = answer(address, &get(path, &format!("{bearer}{headers}"))).await;
        assert_eq!(status(&said), expected, "{path} {headers} {said}");
    }
    // A body may say it, too: what contradicts is refused, and nothing is done.
    for (named, expected) in [("a", 202), ("b", 403)] {
        let mut body = serde_json::to_value(wish("a zip")).unwrap();
        body["organizationId"] = named.into();
        let headers = format!("{bearer}x-organization-id: a\r\n");
        let request = post("/api/v1/builds", &headers, JSON, &body.to_string());
        let said = answer(address, &request).await;
        assert_eq!(status(&said), expected, "{said}");
    }
    assert_eq!(
        a.builds(&BuildQuery::default()).await.unwrap().items.len(),
        2
    );
    world.end().await;
}

#[tokio::test]
async fn the_owner_may_look_into_any_organization_that_there_is() {
    let (world, address) = open().await;
    let a = organization(&world, "a").await;
    assert_eq!(a.me().await.unwrap().organization.as_str(), "a");
    let nowhere = world.client.for_organization("b").me().await.unwrap_err();
    assert_eq!(refused(&nowhere), (404, code::NOT_FOUND));
    let taken = CreateOrganization {
        id: slug("a"),
        name: Some("Another".into()),
    };
    let error = world.client.create_organization(&taken).await.unwrap_err();
    assert_eq!(refused(&error), (409, code::ORGANIZATION_TAKEN));
    let all = world.client.organizations().await.unwrap().items;
    let ids: Vec<_> = all.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["a", "local"]);

    // Its admin's link can be made anew, by whoever may make organizations.
    let link = world.client.create_admin_login_code("a").await.unwrap();
    assert!(link.url.unwrap().ends_with(&link.code));
    let trail = a.audit(&AuditQuery::default()).await.unwrap().items;
    assert_eq!(trail[0].action, "login_code.create");
    let nobody = world.client.create_admin_login_code("nobody").await;
    assert_eq!(refused(&nobody.unwrap_err()), (404, code::NOT_FOUND));
    let operator = Client::tcp(address, key(&world.client, Role::Operator).await.secret);

    // An admin of one organization is none of the machine or of the others.
    let admin = Client::tcp(address, key(&a, Role::Admin).await.secret);
    for one in [&admin, &operator] {
        let mut said = Vec::new();
        for id in ["a", "local", "nobody"] {
            let error = one.create_admin_login_code(id).await.unwrap_err();
            assert_eq!(refused(&error), (403, code::FORBIDDEN), "{id}");
            said.push(error.to_string());
        }
        said.dedup();
        assert_eq!(said.len(), 1, "{said:?}");
    }
    let error = admin.organizations().await.unwrap_err();
    assert_eq!(refused(&error), (403, code::FORBIDDEN));
    let error = admin.stop_daemon().await.unwrap_err();
    assert_eq!(refused(&error), (403, code::FORBIDDEN));
    let error = admin.doctor().await.unwrap_err();
    assert_eq!(refused(&error), (403, code::FORBIDDEN));
    let error = admin.for_organization("local").me().await.unwrap_err();
    assert_eq!(refused(&error), (403, code::ORG_MISMATCH));
    let own = admin.keys().await.unwrap().items;
    assert_eq!(own.len(), 1, "its own key only");
    world.end().await;
}

/// The cookie that an answer sets.
fn cookie(answer: &str) -> String {
    let line = answer
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap_or_else(|| panic!("{answer}"));
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(line.contains(attribute), "{line}");
    }
    line.split(';').next().unwrap().to_owned()
}

fn csrf(me: &str) -> String {
    let body = me.split("\r\n\r\n").nth(1).unwrap();
    let me: agentwright_api::Me = serde_json::from_str(body).unwrap();
    me.csrf.unwrap()
}

#[tokio::test]
async fn a_login_code_opens_one_session_and_only_when_it_is_sent() {
    let (world, address) = open().await;
    let code = world
        .client
        .create_login_code(&CreateLoginCode {
            name: Some("Ann".into()),
            role: Some(Role::Approver),
        })
        .await
        .unwrap();
    let url = code.url.unwrap();
    assert_eq!(url, format!("http://{address}/login?code={}", code.code));
    let path = url.strip_prefix(&format!("http://{address}")).unwrap();
    for _ in 0..2 {
        // Link previews open links.
        let page = answer(address, &get(path, "")).await;
        assert_eq!(status(&page), 200);
        assert!(page.contains(&format!("value=\"{}\"", code.code)), "{page}");
        assert!(page.contains("content-security-policy: default-src 'none'"));
    }
    let form = format!("code={}&next=%2Fbuilds%3Fa%3D1", code.code);
    let foreign = post("/login", "origin: http://evil.example\r\n", FORM, &form);
    assert_eq!(status(&answer(address, &foreign).await), 403);
    let login = answer(address, &post("/login", "", FORM, &form)).await;
    assert_eq!(status(&login), 303, "{login}");
    assert!(login.contains("location: /builds?a=1\r\n"), "{login}");
    let cookie = format!("cookie: {}\r\n", cookie(&login));
    let me = answer(address, &get("/api/v1/me", &cookie)).await;
    assert!(
        me.contains(r#""name":"Ann""#) && me.contains(r#""role":"approver""#),
        "{me}"
    );

    let again = answer(address, &post("/login", "", FORM, &form)).await;
    assert_eq!(status(&again), 401);
    assert!(!again.contains("set-cookie"), "{again}");
    for wrong in [
        "",
        "code=abc",
        "code=%3Cscript%3E",
        &format!("code={}", "a".repeat(300)),
    ] {
        let said = answer(address, &post("/login", "", FORM, wrong)).await;
        assert_eq!(status(&said), 401, "{said}");
        assert!(!said.contains("<script>"));
    }
    let away = format!("next=%2F%2Fevil.example&code={}", "0".repeat(32));
    let said = answer(address, &post("/login", "", FORM, &away)).await;
    assert_eq!(status(&said), 401);
    world.end().await;
}

#[tokio::test]
async fn a_session_changes_nothing_without_its_csrf_token() {
    let (world, address) = open().await;
    let made = key(&world.client, Role::Operator).await;
    let login = post("/login", "", FORM, &format!("key={}", made.secret));
    let login = answer(address, &login).await;
    assert_eq!(status(&login), 303, "{login}");
    let cookie = format!("cookie: {}\r\n", cookie(&login));
    let me = answer(address, &get("/api/v1/me", &cookie)).await;
    let token = csrf(&me);

    let body = serde_json::to_string(&wish("a zip")).unwrap();
    let build = |headers: &str| post("/api/v1/builds", headers, JSON, &body);
    let wrong = "0".repeat(64);
    let csrf = format!("x-csrf-token: {token}\r\n");
    for (headers, expected) in [
        (cookie.clone(), 403),
        (format!("{cookie}x-csrf-token: {wrong}\r\n"), 403),
        (
            format!("{cookie}{csrf}origin: http://evil.example\r\n"),
            403,
        ),
        (format!("{cookie}{csrf}origin: null\r\n"), 403),
        (format!("{cookie}{csrf}origin: http://x\r\n"), 202),
        (format!("{cookie}{csrf}"), 202),
    ] {
        let said = answer(address, &build(&headers)).await;
        assert_eq!(status(&said), expected, "{headers} {said}");
        assert!(expected != 403 || said.contains(code::CSRF), "{said}");
    }
    // Another site's page may not even read over a socket or a stream.
    let foreign = format!("{cookie}origin: http://evil.example\r\n");
    assert_eq!(
        status(&answer(address, &get("/api/v1/me", &foreign)).await),
        403
    );
    // A form has it in a field; an unknown session has nothing to show.
    let form = post("/logout", &cookie, FORM, "");
    assert_eq!(status(&answer(address, &form).await), 403);
    let form = post("/logout", &cookie, FORM, &format!("_csrf={token}"));
    let out = answer(address, &form).await;
    assert_eq!(status(&out), 303, "{out}");
    assert!(
        out.contains("aw_session=;") && out.contains("Max-Age=0"),
        "{out}"
    );
    let gone = answer(address, &get("/api/v1/me", &cookie)).await;
    assert_eq!(status(&gone), 401, "{gone}");
    let page = get("/builds", &format!("{cookie}accept: text/html\r\n"));
    let page = answer(address, &page).await;
    assert_eq!(status(&page), 303);
    assert!(page.contains("location: /login?next=%2Fbuilds"), "{page}");
    world.end().await;
}

#[tokio::test]
async fn a_session_ends_with_its_key_and_robots_have_none() {
    let (world, address) = open().await;
    let made = key(&world.client, Role::Viewer).await;
    let login = post("/login", "", FORM, &format!("key={}", made.secret));
    let cookie = format!("cookie: {}\r\n", cookie(&answer(address, &login).await));
    assert_eq!(
        status(&answer(address, &get("/api/v1/me", &cookie)).await),
        200
    );
    assert_eq!(world.client.sessions().await.unwrap().items.len(), 1);
    world.client.revoke_key(&made.key.id).await.unwrap();
    assert_eq!(
        status(&answer(address, &get("/api/v1/me", &cookie)).await),
        401
    );
    assert_eq!(status(&answer(address, &login).await), 401);

    let request = CreateKey {
        kind: KeyKind::Agent,
        ..wanted("robot", Role::Operator)
    };
    let robot = world.client.create_key(&request).await.unwrap();
    let login = post("/login", "", FORM, &format!("key={}", robot.secret));
    assert_eq!(status(&answer(address, &login).await), 401);
    world.end().await;
}

#[tokio::test]
async fn a_live_stream_ends_with_the_key_that_opened_it() {
    let (world, address) = open().await;
    let build = world.create("hold it").await;
    world.script.holding().await;
    let made = key(&world.client, Role::Viewer).await;
    let path = format!("/api/v1/builds/{}/events", build.id);
    let headers = format!(
        "authorization: Bearer {}\r\naccept: text/event-stream\r\n",
        made.secret
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = get(&path, &headers);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    let mut buffer = [0; 4_096];
    while !said.contains("id: 1") {
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "it ended early: {said}");
        said.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    world.client.revoke_key(&made.key.id).await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest));
    ended.await.expect("the stream goes on").unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("event: revoked"), "{said}{rest}");
    assert!(!rest.contains("event: end"), "{rest}");
    world.script.release();
    world.end().await;
}

#[tokio::test]
async fn every_change_is_in_the_trail_with_who_did_it() {
    let (world, address) = open().await;
    let made = key(&world.client, Role::Operator).await;
    let client = Client::tcp(address, &*made.secret);
    let build = client.create_build(&wish("hold it"), None).await.unwrap();
    world.script.holding().await;
    client
        .cancel(build.id.as_str(), &Default::default())
        .await
        .unwrap();
    // What was refused changed nothing.
    client.keys().await.unwrap_err();
    client
        .cancel("nothing", &Default::default())
        .await
        .unwrap_err();
    let trail = world.client.audit(&Default::default()).await.unwrap().items;
    let said: Vec<_> = trail
        .iter()
        .rev()
        .map(|row| (row.seq, row.action.as_str(), row.target.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            (1, "key.create", made.key.id.as_str()),
            (2, "POST /api/v1/builds", build.id.as_str()),
            (3, "POST /api/v1/builds/{id}/cancel", build.id.as_str()),
        ]
    );
    let cancel = &trail[0];
    assert_eq!(cancel.by, "operator");
    assert_eq!(cancel.principal, format!("person_key:{}", made.key.id));
    assert!(cancel.before.is_some() && cancel.before != cancel.after);
    assert_eq!(trail[2].principal, "owner");
    let report = world.client.verify_audit().await.unwrap();
    assert_eq!((report.intact, report.broken), (3, None));
    world.end().await;
}
