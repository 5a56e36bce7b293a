//! The pages over the real routes: what they show, what forms do, and what they refuse.

use crate::support::{World, answer, digest, raw, wish};
use agentwright_api::BuildStatus;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// What came back.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&start))
    }

    /// The value of the first hidden field of that name.
    fn field(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let (_, rest) = self
            .body
            .split_once(&start)
            .unwrap_or_else(|| panic!("no field {name} in\n{}", self.body));
        rest.split('"').next().unwrap().to_owned()
    }
}

async fn get(world: &World, path: &str) -> Answer {
    get_with(world, path, "").await
}

async fn get_with(world: &World, path: &str, headers: &str) -> Answer {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\naccept: text/html\r\n{headers}connection: close\r\n\r\n"
    );
    Answer::read(&raw(&world.data().join("daemon.sock"), &request).await)
}

async fn post(world: &World, path: &str, fields: &[(&str, &str)]) -> Answer {
    let body: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\naccept: text/html\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    Answer::read(&raw(&world.data().join("daemon.sock"), &request).await)
}

const ATTACK: &str = "make notes <script>alert(1)</script><img src=x onerror=alert(2)>";

#[tokio::test(flavor = "multi_thread")]
async fn every_page_answers_guarded_and_with_nothing_inline() {
    let world = World::new().await;
    let build = world.settled(&wish(ATTACK)).await.build;
    let of_build = format!("/builds/{}", build.id);
    let of_label = format!("/builds/{}", build.label);
    for path in [
        "/",
        "/builds",
        "/builds?q=notes&status=waiting&sort=oldest",
        "/approvals",
        "/new",
        "/new?intent=zip",
        "/deployments",
        "/services",
        "/costs",
        "/costs?days=7",
        "/insights",
        "/queue",
        "/report",
        "/report?from=2026-02-01&to=2026-02-07",
        "/settings",
        "/audit",
        &of_build,
        &of_label,
    ] {
        let page = get(&world, path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.contains("script-src 'self'") && !policy.contains("unsafe"),
            "{path}"
        );
        assert_eq!(
            page.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert!(
            !page.body.contains("<script>") && !page.body.contains("<img src=x"),
            "{path}"
        );
        assert!(
            !page.body.contains(" style=") && !page.body.contains(" onclick="),
            "{path}"
        );
        assert!(page.body.contains("<base href=\"/\">"), "{path}");
    }
    for path in ["/", "/builds", "/approvals", &of_build] {
        let page = get(&world, path).await;
        assert!(page.body.contains(build.label.as_str()), "{path}");
    }
    assert!(
        get(&world, &of_build)
            .await
            .body
            .contains("&#60;script&#62;")
    );
    assert!(
        !get(&world, "/builds?q=nothing-like-it")
            .await
            .body
            .contains(build.id.as_str())
    );
    assert!(
        get(&world, "/builds?q=MAKE%20notes")
            .await
            .body
            .contains(build.id.as_str())
    );
    assert!(
        get(&world, "/builds?q=100%25")
            .await
            .body
            .contains("No build fits")
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_worked_with_forms_alone() {
    let world = World::new().await;
    let token = async |world: &World| get(world, "/queue").await.field("_csrf");
    let add = async |world: &World, name: &str, more: &[(&str, &str)]| {
        let csrf = token(world).await;
        let mut fields = vec![
            ("_csrf", csrf.as_str()),
            ("name", name),
            (
                "description",
                "Count the words of each note and append them to a table",
            ),
            ("criteria", "one row for each note\n\nno note twice"),
            ("priority", "low"),
        ];
        fields.extend(more);
        post(world, "/queue", &fields).await
    };
    let empty = get(&world, "/queue").await.body;
    assert!(empty.contains("Nothing waits to be built"), "{empty}");
    for name in ["One", "Two <script>alert(1)</script>"] {
        let added = add(&world, name, &[]).await;
        assert_eq!(
            (added.status, added.header("location")),
            (303, Some("/queue?did=add"))
        );
    }
    let wrong = add(&world, "Three", &[("start", "soon")]).await;
    assert_eq!(wrong.status, 422);
    for part in [
        "items[0].start",
        "value=\"Three\"",
        "value=\"soon\"",
        "no note twice",
    ] {
        assert!(wrong.body.contains(part), "{part}: {}", wrong.body);
    }
    let items = world.client.queue().await.unwrap().items;
    let labels: Vec<String> = items.iter().map(|item| item.label.to_string()).collect();
    assert_eq!(labels.len(), 2);
    let change = async |label: &str, fields: &[(&str, &str)]| {
        let csrf = token(&world).await;
        let mut all = vec![("_csrf", csrf.as_str())];
        all.extend(fields);
        post(&world, &format!("/queue/{label}/change"), &all).await
    };
    let page = get(&world, "/queue?did=move").await.body;
    assert!(
        !page.contains("<script>alert") && page.contains("&#60;script&#62;"),
        "{page}"
    );
    assert!(
        page.contains("It is moved.") && page.contains("Move up"),
        "{page}"
    );
    let (one, two) = (labels[0].as_str(), labels[1].as_str());
    assert_eq!(change(two, &[("before-up", one)]).await.status, 303);
    let first = async || {
        world.client.queue().await.unwrap().items[0]
            .label
            .to_string()
    };
    assert_eq!(first().await, two);
    assert_eq!(change(two, &[("before-down", "")]).await.status, 303);
    assert_eq!(first().await, one);
    assert_eq!(
        change(one, &[("do", "block"), ("by", "the key of Ann")])
            .await
            .status,
        303
    );
    assert!(get(&world, "/queue").await.body.contains("the key of Ann"));
    assert_eq!(
        change(one, &[("do", "block"), ("by", "")]).await.status,
        422
    );
    assert_eq!(
        change(one, &[("do", "unblock"), ("by", "nobody")])
            .await
            .status,
        409
    );
    assert_eq!(
        change(one, &[("do", "unblock"), ("by", "the key of Ann")])
            .await
            .status,
        303
    );
    assert_eq!(change(one, &[("do", "fail")]).await.status, 409);
    assert_eq!(change(one, &[("do", "explode")]).await.status, 404);
    assert_eq!(change("nobody", &[("do", "approve")]).await.status, 404);
    assert_eq!(change(two, &[("do", "remove")]).await.status, 303);
    assert_eq!(change(one, &[("do", "approve")]).await.status, 303);
    assert_eq!(world.client.queue().await.unwrap().items.len(), 1);
    let csrf = token(&world).await;
    let looked = post(&world, "/queue/look", &[("_csrf", csrf.as_str())]).await;
    assert_eq!(looked.status, 303);
    let wrong = get(&world, "/report?from=soon").await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("must be a date"), "{}", wrong.body);
    world.end().await;
}

/// What can be built: its folder is there.
fn zip_of_notes(world: &World) -> String {
    let home = world.data().with_file_name("home");
    std::fs::create_dir_all(home.join("notes")).unwrap();
    let home = home.display();
    format!(
        "every night, keep a zip of the folder {home}/notes in {home}/backups and keep the last 7"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_submitted_approved_and_its_deployment_operated_by_forms_alone() {
    let world = World::new().await;
    // No foundation covers these words, and there is no model here: the plan says so before anything is built.
    let refused = post(
        &world,
        "/new",
        &[("intent", "sing a song to me"), ("auto_deploy", "yes")],
    )
    .await;
    assert!(
        refused.status == 422 || refused.status == 303,
        "{}",
        refused.status
    );
    let key = get(&world, "/new").await.field("key");
    let intent = zip_of_notes(&world);
    let fields = [
        ("intent", intent.as_str()),
        ("auto_deploy", "yes"),
        ("zone", "UTC"),
        ("base_dir", "/home/ann"),
        ("key", &key),
    ];
    let sent = post(&world, "/new", &fields).await;
    assert_eq!(sent.status, 303, "{}", sent.body);
    let to = sent.header("location").unwrap().to_owned();
    let again = post(&world, "/new", &fields).await;
    assert_eq!(
        again.header("location"),
        Some(to.as_str()),
        "sent twice is one build"
    );
    let path = to.split('?').next().unwrap();
    let id = path.strip_prefix("/builds/").unwrap();
    world.until_settled(id).await;

    let page = get(&world, path).await;
    assert!(
        page.body.contains("Shall this be deployed?"),
        "{}",
        page.body
    );
    let subject = page.field("subject");
    let yes = post(
        &world,
        &format!("{path}/approve"),
        &[("subject", &subject), ("notes", "go & see")],
    )
    .await;
    assert_eq!(yes.status, 303);
    assert_eq!(
        world.until_settled(id).await.build.status(),
        BuildStatus::Completed
    );
    let page = get(&world, yes.header("location").unwrap()).await;
    assert!(page.body.contains("You approved it") && page.body.contains("go &#38; see"));
    let twice = post(&world, &format!("{path}/approve"), &[("subject", &subject)]).await;
    assert_eq!(twice.status, 409);
    assert!(twice.body.contains("already ended"), "{}", twice.body);

    let page = get(&world, "/deployments/notes-zip").await;
    assert!(page.body.contains("zips the notes") && page.body.contains("Version 1"));
    for (action, says) in [
        ("pause", "Paused"),
        ("resume", "Active"),
        ("stop", "Stopped"),
    ] {
        let done = post(&world, &format!("/deployments/notes-zip/{action}"), &[]).await;
        assert_eq!(done.status, 303, "{action}: {}", done.body);
        assert!(
            get(&world, done.header("location").unwrap())
                .await
                .body
                .contains(says)
        );
    }
    let stopped = post(&world, "/deployments/notes-zip/stop", &[]).await;
    assert_eq!(stopped.status, 409);
    let back = post(
        &world,
        "/deployments/notes-zip/rollback",
        &[("to", "1"), ("from", "7")],
    )
    .await;
    assert_eq!(back.status, 409);
    assert!(back.body.contains("nothing was done"));
    let back = post(&world, "/deployments/notes-zip/rollback", &[("to", "x")]).await;
    assert_eq!(back.status, 422);
    let kept = post(
        &world,
        "/deployments/notes-zip/remove",
        &[("confirm", "other")],
    )
    .await;
    assert_eq!(kept.status, 409);
    assert!(get(&world, "/services").await.body.contains("notes-zip"));
    let gone = post(
        &world,
        "/deployments/notes-zip/remove",
        &[("confirm", "notes-zip")],
    )
    .await;
    assert_eq!(gone.header("location"), Some("/deployments?did=remove"));
    assert_eq!(get(&world, "/deployments/notes-zip").await.status, 404);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_to_something_else_decides_nothing_and_says_what_changed() {
    let world = World::new().await;
    let id = world.settled(&wish("notes")).await.build.id;
    let (other, code) = (digest(99), digest(42));
    let stale = post(
        &world,
        &format!("/builds/{id}/approve"),
        &[("subject", other.as_str()), ("saw.code", code.as_str())],
    )
    .await;
    assert_eq!(stale.status, 409);
    assert!(stale.body.contains("Nothing was decided"), "{}", stale.body);
    let words = format!("the code was {} and is {}", code.short(), digest(2).short());
    assert!(stale.body.contains(&words), "{}", stale.body);
    assert_eq!(
        stale.field("subject"),
        digest(6).as_str(),
        "the page asks for what waits now"
    );
    let none = post(&world, &format!("/builds/{id}/approve"), &[]).await;
    assert_eq!(none.status, 422);
    let seen = get(&world, &format!("/builds/{id}/approve")).await;
    assert_eq!(seen.status, 405, "a GET decides nothing");
    assert_eq!(
        world
            .client
            .build(id.as_str())
            .await
            .unwrap()
            .build
            .status(),
        BuildStatus::Waiting
    );
    let no = post(
        &world,
        &format!("/builds/{id}/reject"),
        &[("subject", digest(6).as_str())],
    )
    .await;
    assert_eq!(no.status, 303);
    assert_eq!(
        world.until_settled(id.as_str()).await.build.status(),
        BuildStatus::Rejected
    );
    let again = post(&world, &format!("/builds/{id}/retry"), &[]).await;
    assert!(again.header("location").unwrap().contains("did=submit"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_a_form_is_shown_at_its_field_and_the_words_stay() {
    let world = World::new().await;
    let wrong = post(
        &world,
        "/new",
        &[
            ("intent", "a zip <b>of notes</b>"),
            ("label", "Not A Name"),
            ("zone", "Mars/Olympus"),
            ("base_dir", "here"),
        ],
    )
    .await;
    assert_eq!(wrong.status, 422);
    for part in [
        "aria-describedby=\"wrong-label\"",
        "aria-describedby=\"wrong-zone\"",
        "aria-describedby=\"wrong-base\"",
        "value=\"Not A Name\"",
        "value=\"Mars/Olympus\"",
        "a zip &#60;b&#62;of notes&#60;/b&#62;</textarea>",
    ] {
        assert!(wrong.body.contains(part), "{part} not in\n{}", wrong.body);
    }
    let empty = post(&world, "/new", &[("intent", "  ")]).await;
    assert_eq!(empty.status, 422);
    assert!(empty.body.contains("wrong-intent"), "{}", empty.body);
    let typed = post(
        &world,
        "/new/match",
        &[("intent", "every night, keep a zip of the folder ./notes")],
    )
    .await;
    assert_eq!(typed.status, 200);
    assert!(
        typed.body.starts_with("<section id=\"matched\""),
        "only the part: {:.80}",
        typed.body
    );
    assert!(
        typed.body.contains("input.target") || typed.body.contains("Please answer"),
        "{}",
        typed.body
    );
    let shown = post(
        &world,
        "/new",
        &[("intent", &zip_of_notes(&world)), ("plan", "yes")],
    )
    .await;
    assert_eq!(shown.status, 200);
    assert!(
        shown.body.contains("Can be built as it stands"),
        "{}",
        shown.body
    );

    let limit = post(&world, "/costs/budgets/day", &[("usd", "five")]).await;
    assert_eq!(limit.status, 422);
    assert!(limit.body.contains("Nothing was saved"));
    let saved = post(
        &world,
        "/costs/budgets/day",
        &[("usd", "12.50"), ("calls", "10")],
    )
    .await;
    assert_eq!(saved.status, 303);
    assert!(
        get(&world, "/costs?did=save")
            .await
            .body
            .contains("value=\"12.50\"")
    );
    assert_eq!(post(&world, "/costs/budgets/week", &[]).await.status, 404);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_page_for_a_person_and_a_problem_for_a_program() {
    let world = World::new().await;
    let page = get(&world, "/builds/nothing").await;
    assert_eq!(page.status, 404);
    assert!(
        page.body.contains("there is no build") && page.body.contains("href=\"./\""),
        "{}",
        page.body
    );
    assert!(
        get(&world, "/nowhere")
            .await
            .body
            .contains("There is nothing here")
    );
    let wrong = get(&world, "/costs?days=0").await;
    assert_eq!((wrong.status, wrong.body.contains("<h1")), (422, true));
    let program = get(&world, "/api/v1/nowhere").await;
    assert_eq!(
        program.header("content-type"),
        Some("application/problem+json")
    );
    let request = "GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let plain = Answer::read(&raw(&world.data().join("daemon.sock"), request).await);
    assert_eq!(
        plain.header("content-type"),
        Some("application/problem+json")
    );
    let body = "POST /new HTTP/1.1\r\nhost: x\r\naccept: text/html\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 1\r\n\r\nx";
    let foreign = Answer::read(&raw(&world.data().join("daemon.sock"), body).await);
    assert_eq!(foreign.status, 415);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_kept_for_good_under_the_name_of_their_content() {
    let world = World::new().await;
    let page = get(&world, "/").await;
    let (_, rest) = page.body.split_once("href=\"assets/").unwrap();
    let path = format!("/assets/{}", rest.split('"').next().unwrap());
    let file = get(&world, &path).await;
    assert_eq!(file.status, 200);
    assert!(file.header("cache-control").unwrap().contains("immutable"));
    assert_eq!(
        get(&world, "/assets/000000000000/app.css").await.status,
        404
    );
    assert_eq!(
        get(&world, "/assets/000000000000/../../config.toml")
            .await
            .status,
        404
    );
    assert_eq!(
        get(&world, "/favicon.ico").await.header("content-type"),
        Some("image/svg+xml")
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_every_link_is_under_its_path() {
    let world = World::with(|config| {
        config.settings.public_url = Some("https://example.org/tools/aw".into());
    })
    .await;
    let page = get_with(&world, "/", "x-forwarded-prefix: /evil\r\n").await;
    assert!(page.body.contains("<base href=\"/tools/aw/\">"));
    let id = world.settled(&wish("notes")).await.build.id;
    let sent = post(&world, &format!("/builds/{id}/cancel"), &[]).await;
    let to = sent.header("location").unwrap();
    assert!(to.starts_with("/tools/aw/builds/"), "{to}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_shown_once_and_revoked_by_forms() {
    let world = World::new().await;
    let none = post(
        &world,
        "/settings/keys",
        &[("name", ""), ("role", "viewer")],
    )
    .await;
    assert_eq!(none.status, 422, "{}", none.body);
    let made = post(
        &world,
        "/settings/keys",
        &[("name", "ci <b>"), ("role", "operator")],
    )
    .await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert!(made.body.contains(">aw_") && made.body.contains("ci &#60;b&#62;"));
    let page = get(&world, "/settings").await;
    assert!(!page.body.contains("id=\"shown-once\""), "shown once");
    let (_, rest) = page.body.split_once("action=\"settings/keys/").unwrap();
    let path = format!("/settings/keys/{}", rest.split('"').next().unwrap());
    assert_eq!(post(&world, &path, &[]).await.status, 303);
    assert!(get(&world, "/settings").await.body.contains("Revoked"));
    let agent = [("name", "ci"), ("kind", "agent"), ("days", "30")];
    for (role, days, status, says) in [
        ("operator", "30", 200, "agent, operator"),
        ("admin", "30", 422, "Nothing was made"),
        ("god", "30", 422, "Nothing was made"),
        ("operator", "soon", 422, "must be a number of days"),
        ("operator", "0", 422, "Nothing was made"),
    ] {
        let mut fields = agent.to_vec();
        fields[2].1 = days;
        fields.push(("role", role));
        let made = post(&world, "/settings/keys", &fields).await;
        assert_eq!(made.status, status, "{role} {days}: {}", made.body);
        assert!(made.body.contains(says), "{role} {days}: {}", made.body);
    }
    let keys = world.client.keys().await.unwrap().items;
    assert!(keys.iter().any(|key| key.expires_at.is_some()));
    let trail = get(&world, "/audit").await;
    assert!(trail.body.contains("key"), "{}", trail.body);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_invited_and_logged_out_and_organizations_made_by_forms() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let world = World::with(|config| config.settings.listen = Some(any)).await;
    let listen = world.client.health().await.unwrap().listen.unwrap();
    let address: SocketAddr = listen.parse().unwrap();
    let code = |page: &Answer| {
        let (_, rest) = page.body.split_once("/login?code=").unwrap();
        let end = rest.find(['<', '"']).unwrap();
        rest[..end].to_owned()
    };
    let logged_in = async |code: &str| {
        let body = format!("code={code}");
        let login = format!(
            "POST /login HTTP/1.1\r\nhost: {listen}\r\norigin: http://{listen}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let said = answer(address, &login).await;
        let cookie = said.lines().find(|line| line.starts_with("set-cookie: "))?;
        let cookie = cookie.trim_start_matches("set-cookie: ").split(';').next();
        Some(cookie.unwrap().to_owned())
    };
    let seen = async |cookie: &str, path: &str| {
        let ask = format!(
            "GET {path} HTTP/1.1\r\nhost: {listen}\r\nconnection: close\r\ncookie: {cookie}\r\n\r\n"
        );
        answer(address, &ask).await
    };

    let ann = [("name", "Ann <i>"), ("role", "viewer")];
    let invited = post(&world, "/settings/invitations", &ann).await;
    assert_eq!(invited.status, 200, "{}", invited.body);
    let cookie = logged_in(&code(&invited)).await.unwrap();
    assert!(logged_in(&code(&invited)).await.is_none(), "only once");
    let page = get(&world, "/settings").await;
    assert!(page.body.contains("Ann &#60;i&#62;"), "{}", page.body);
    // Who looks only sees neither keys nor people.
    let theirs = seen(&cookie, "/settings").await;
    assert!(theirs.contains(" 200 ") && !theirs.contains("settings/sessions/"));
    let (_, rest) = page.body.split_once("action=\"settings/sessions/").unwrap();
    let end = format!("/settings/sessions/{}", rest.split('"').next().unwrap());
    assert_eq!(post(&world, &end, &[]).await.status, 303);
    assert!(!seen(&cookie, "/settings").await.contains(" 200 "));
    assert_eq!(post(&world, &end, &[]).await.status, 404);

    let made = [("id", "acme"), ("name", "Acme Ltd")];
    let made_it = post(&world, "/settings/organizations", &made).await;
    assert_eq!(made_it.status, 200, "{}", made_it.body);
    let cookie = logged_in(&code(&made_it)).await.unwrap();
    let me = seen(&cookie, "/api/v1/me").await;
    assert!(
        me.contains("\"organization\":\"acme\"") && me.contains("admin"),
        "{me}"
    );
    // The admin of a tenant sees its own people, and no other organization.
    let theirs = seen(&cookie, "/settings").await;
    assert!(theirs.contains("settings/sessions/") && !theirs.contains("h-orgs"));
    // A link that ran out, or was used, is made anew from the same page, and counts once.
    let page = get(&world, "/settings").await;
    let form = "action=\"settings/organizations/acme/invitation\"";
    assert!(page.body.contains(form), "{}", page.body);
    assert!(!page.body.contains("settings/organizations/local/"));
    let again = post(&world, "/settings/organizations/acme/invitation", &[]).await;
    assert_eq!(again.status, 200, "{}", again.body);
    assert!(again.body.contains("A login for the admin of acme"));
    let cookie = logged_in(&code(&again)).await.unwrap();
    assert!(logged_in(&code(&again)).await.is_none(), "only once");
    let me = seen(&cookie, "/api/v1/me").await;
    assert!(me.contains("\"organization\":\"acme\""), "{me}");
    let trail = seen(&cookie, "/audit").await;
    assert!(trail.contains("login_code"), "{trail}");
    let unknown = post(&world, "/settings/organizations/nobody/invitation", &[]).await;
    assert_eq!(unknown.status, 404, "{}", unknown.body);
    for (id, says) in [
        ("acme", "choose another id"),
        ("Not A Slug!", "Nothing was made"),
    ] {
        let refused = post(&world, "/settings/organizations", &[("id", id)]).await;
        assert_eq!(refused.status, 422, "{}", refused.body);
        assert!(refused.body.contains(says), "{}", refused.body);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_told_that_its_build_goes_on_and_what_is_written_for_it() {
    let world = World::new().await;
    let build = world.create("hold").await;
    world.script.holding().await;
    let seq = world.client.build(build.id.as_str()).await.unwrap().seq;
    let socket = world.data().join("daemon.sock");
    let request = format!(
        "GET /live?run={}&after={seq} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        build.id
    );
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut heard = String::new();
    while !heard.contains("held") {
        let mut some = [0; 1024];
        let count = stream.read(&mut some).await.unwrap();
        assert!(count > 0, "{heard}");
        heard.push_str(std::str::from_utf8(&some[..count]).unwrap());
    }
    let written = r#"data: {"first":true,"text":"print('<b>held</b>')"}"#;
    assert!(
        heard.contains("event: text") && heard.contains(written),
        "{heard}"
    );
    world.script.release();
    world.until_settled(build.id.as_str()).await;
    // The stream ends with the app.
    world.end().await;
    stream.read_to_string(&mut heard).await.unwrap();
    for part in ["event: hello", "event: change"] {
        assert!(heard.contains(part), "{part}: {heard}");
    }
}
