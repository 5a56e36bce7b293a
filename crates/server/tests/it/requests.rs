//! Every bad request is answered as a problem with its own code, and changes nothing.

use crate::support::{World, raw, spec, text, wish};
use agentwright_api::{
    BODY_MAX_BYTES, BuildQuery, CheckStatus, ClientError, PlanRequest, PlanVerdict, code,
};
use agentwright_server::VaultConfig;
use serde_json::Value;

const JSON: &str = "application/json";

/// Status, code and the whole problem.
fn problem(answer: &str) -> (u16, String, Value) {
    let status = answer[9..12].parse().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("application/problem+json"), "{head}");
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{body}"));
    assert_eq!(problem["status"], status);
    let code = problem["code"].as_str().unwrap().to_owned();
    assert_eq!(problem["type"], format!("urn:agentwright:problem:{code}"));
    (status, code, problem)
}

#[tokio::test]
async fn a_bad_body_is_refused_for_what_is_wrong_with_it() {
    let world = World::new().await;
    let socket = world.data().join("daemon.sock");
    let good = r#""base_dir": "/h", "zone": "UTC""#;
    let large = format!(r#"{{"intent": "{}", {good}}}"#, "x".repeat(BODY_MAX_BYTES));
    let deep = format!(r#"{{"inputs": {{"a": {}"#, "[".repeat(100_000));
    for (content_type, body, status, code) in [
        (JSON, "{nonsense", 400, code::BAD_JSON),
        (JSON, "", 422, code::INVALID),
        (JSON, "[1, 2]", 422, code::INVALID),
        (JSON, &deep, 400, code::BAD_JSON),
        (
            JSON,
            r#"{"intent": "x", "base_dir": "/h"}"#,
            422,
            code::INVALID,
        ),
        (
            JSON,
            &format!(r#"{{"intent": "x", {good}, "colour": 1}}"#),
            422,
            code::INVALID,
        ),
        (
            JSON,
            &format!(r#"{{"intent": "", {good}}}"#),
            422,
            code::INVALID,
        ),
        (
            JSON,
            &format!(r#"{{"intent": 5, {good}}}"#),
            422,
            code::INVALID,
        ),
        (JSON, &large, 413, code::TOO_LARGE),
        (
            "text/plain",
            &format!(r#"{{"intent": "x", {good}}}"#),
            415,
            code::MEDIA_TYPE,
        ),
    ] {
        let request = text("POST", "/api/v1/builds", content_type, body);
        let answer = raw(&socket, &request).await;
        let (seen, seen_code, _) = problem(&answer);
        let start: String = body.chars().take(60).collect();
        assert_eq!((seen, seen_code.as_str()), (status, code), "{start}");
    }
    let all = agentwright_api::BuildQuery::default();
    assert_eq!(world.client.builds(&all).await.unwrap().items, []);
    world.end().await;
}

#[tokio::test]
async fn the_wrong_fields_are_named() {
    let world = World::new().await;
    let body = r#"{"intent": "", "base_dir": "h", "zone": "Nowhere"}"#;
    let request = text("POST", "/api/v1/builds", JSON, body);
    let answer = raw(&world.data().join("daemon.sock"), &request).await;
    let (_, _, problem) = problem(&answer);
    let errors = problem["errors"].as_array().unwrap().iter();
    let named: Vec<_> = errors.map(|error| error["at"].as_str().unwrap()).collect();
    assert_eq!(named, ["base_dir", "intent", "zone"]);
    world.end().await;
}

#[tokio::test]
async fn a_spec_with_problems_is_refused_with_the_place_of_each() {
    let world = World::new().await;
    let mut spec = serde_json::to_value(spec()).unwrap();
    spec["command"] = serde_json::json!([]);
    spec["purpose"] = serde_json::json!(" ");
    let body = serde_json::json!({ "spec": spec, "base_dir": "/h", "zone": "UTC" });
    for path in ["/api/v1/builds", "/api/v1/plans"] {
        let request = text("POST", path, JSON, &body.to_string());
        let answer = raw(&world.data().join("daemon.sock"), &request).await;
        let (status, code, problem) = problem(&answer);
        assert_eq!((status, code.as_str()), (422, code::INVALID));
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("spec/command") && detail.contains("spec/purpose"),
            "{detail}"
        );
    }
    world.end().await;
}

#[tokio::test]
async fn an_unknown_path_method_query_or_thing_is_a_problem() {
    let world = World::new().await;
    let socket = world.data().join("daemon.sock");
    let cancel = "/api/v1/builds/nobody/cancel";
    for (method, path, status, code) in [
        ("GET", "/nowhere", 404, code::NO_ROUTE),
        ("GET", "/api/v2/builds", 404, code::NO_ROUTE),
        ("PUT", "/api/v1/builds", 405, code::METHOD),
        ("DELETE", "/api/v1/health", 405, code::METHOD),
        ("GET", "/api/v1/builds?colour=red", 422, code::INVALID),
        ("GET", "/api/v1/builds?status=sleeping", 422, code::INVALID),
        ("GET", "/api/v1/builds?limit=0", 422, code::INVALID),
        ("GET", "/api/v1/builds/x?timeout_s=61", 422, code::INVALID),
        ("GET", "/api/v1/builds/nobody", 404, code::NOT_FOUND),
        ("GET", "/api/v1/builds/%ff", 404, code::NO_ROUTE),
        ("POST", cancel, 404, code::NOT_FOUND),
        ("GET", "/api/v1/deployments/nobody", 404, code::NOT_FOUND),
        ("GET", "/api/v1/deployments/No%20body", 404, code::NOT_FOUND),
        ("GET", "/api/v1/executions/nobody", 404, code::NOT_FOUND),
    ] {
        let answer = raw(&socket, &text(method, path, "", "")).await;
        let (seen, seen_code, _) = problem(&answer);
        assert_eq!(
            (seen, seen_code.as_str()),
            (status, code),
            "{method} {path}"
        );
    }
    let answer = raw(&socket, &text("PUT", "/api/v1/builds", "", "")).await;
    assert!(
        answer.to_lowercase().contains("\r\nallow: get,head,post"),
        "{answer}"
    );
    world.end().await;
}

#[tokio::test]
async fn what_is_no_http_is_cut_off() {
    let world = World::new().await;
    let socket = world.data().join("daemon.sock");
    let answer = raw(&socket, "hello\r\n\r\n").await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    let head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1_000_000));
    let answer = raw(&socket, &head).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    assert_eq!(world.client.health().await.unwrap().status, "healthy");
    world.end().await;
}

#[tokio::test]
async fn every_answer_carries_the_id_of_its_request() {
    let world = World::new().await;
    let socket = world.data().join("daemon.sock");
    let one = raw(&socket, &text("GET", "/api/v1/health", "", "")).await;
    let two = raw(&socket, &text("GET", "/api/v1/health", "", "")).await;
    let id = |answer: &str| {
        let line = answer
            .lines()
            .find(|line| line.starts_with("x-request-id: "));
        line.unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    assert_ne!(id(&one), id(&two));
    world.end().await;
}

#[tokio::test]
async fn the_doctor_looks_at_everything_and_says_what_to_do() {
    let world = World::new().await;
    let doctor = world.client.doctor().await.unwrap();
    let names: Vec<_> = doctor
        .checks
        .iter()
        .map(|check| check.name.as_str())
        .collect();
    let all = [
        "sandbox",
        "git",
        "python3",
        "psql",
        "claude",
        "models",
        "clock",
        "disk",
        "data directory",
        "daemon",
        "store",
        "boot",
    ];
    assert_eq!(names, all);
    let worst = doctor.checks.iter().map(|check| check.status).max();
    assert_eq!(Some(doctor.status), worst);
    let missing = doctor
        .checks
        .iter()
        .filter(|check| check.detail.starts_with("not found"));
    assert!(missing.into_iter().all(|check| check.fix.is_some()));
    world.end().await;
}

#[tokio::test]
async fn the_doctor_asks_the_vault_that_is_configured() {
    let vault = agentwright_testkit::FakeVault::start().await;
    let dir = tempfile::TempDir::new().unwrap();
    let id = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        path
    };
    let mut of = VaultConfig::new(vault.url());
    of.role_id = id("role-id", agentwright_testkit::FakeVault::ROLE_ID);
    of.secret_id = id("secret-id", agentwright_testkit::FakeVault::SECRET_ID);
    let world = World::with(|config| config.settings.vault = Some(of)).await;
    let said = async || {
        let doctor = world.client.doctor().await.unwrap();
        let mut checks = doctor.checks.into_iter();
        checks.find(|check| check.name == "vault").unwrap()
    };
    let fine = said().await;
    assert_eq!(fine.status, CheckStatus::Ok, "{fine:?}");
    assert!(
        fine.detail.contains("lets the AppRole in (1.19.0)"),
        "{fine:?}"
    );
    vault.seal(true);
    let sealed = said().await;
    assert_eq!(sealed.status, CheckStatus::Failed);
    assert!(sealed.detail.contains("unseal it"), "{sealed:?}");
    world.end().await;
}

#[tokio::test]
async fn a_plan_says_what_would_be_built_what_is_missing_or_why_not() {
    let world = World::new().await;
    let folder = tempfile::TempDir::new().unwrap();
    let plan = |intent: &str| PlanRequest {
        intent: intent.into(),
        base_dir: folder.path().display().to_string(),
        zone: "Europe/Berlin".into(),
        ..PlanRequest::default()
    };
    std::fs::create_dir(folder.path().join("notes")).unwrap();
    let zip =
        plan("every night, keep a zip of the folder ./notes in ./backups and keep the last 7");
    let ready = world.client.plan(&zip).await.unwrap();
    assert_eq!(
        ready.foundation.as_deref(),
        Some("folder-backup"),
        "{ready:?}"
    );
    let vague = world.client.plan(&plan("make it better")).await.unwrap();
    assert_eq!(vague.verdict, PlanVerdict::Refused);
    assert!(vague.reason.is_some() && !vague.possible.is_empty());
    let missing = world
        .client
        .plan(&plan("back up a folder every night"))
        .await
        .unwrap();
    assert_ne!(missing.verdict, PlanVerdict::Ready, "{missing:?}");
    let list = world.client.builds(&BuildQuery::default()).await.unwrap();
    assert_eq!(list.items, [], "a plan leaves no build");
    world.end().await;
}

#[tokio::test]
async fn money_and_replays_are_refused_by_name_where_they_do_not_fit() {
    use agentwright_api::{BudgetQuery, CostQuery, SetBudget};
    use agentwright_domain::spend::{Budget, BudgetScope};
    let world = World::new().await;
    let build = world.settled(&wish("zip the notes")).await;
    let label = build.build.label.as_str();
    let code_of = |error: ClientError| {
        let problem = error.problem().unwrap_or_else(|| panic!("{error}"));
        (problem.status, problem.code.clone())
    };
    let client = &world.client;
    let resumed = client.resume_build(label).await.unwrap_err();
    assert_eq!(code_of(resumed), (409, code::NOT_SPENT.to_owned()));
    let replayed = client.replayed(label).await.unwrap_err();
    assert_eq!(code_of(replayed), (409, code::NOT_A_REPLAY.to_owned()));
    let early = client.replay(label, None).await.unwrap_err();
    assert_eq!(code_of(early), (409, code::NOT_ENDED.to_owned()));
    let negative = SetBudget {
        build: None,
        budget: Budget {
            calls: Some(-1),
            ..Budget::default()
        },
    };
    let refused = client.set_budget(BudgetScope::Day, &negative).await;
    assert_eq!(code_of(refused.unwrap_err()).0, 422);
    let budgets = client.budgets(&BudgetQuery::default()).await.unwrap();
    assert_eq!(budgets.items.len(), 4);
    let costs = client.costs(&CostQuery::default()).await.unwrap();
    assert_eq!(costs.items, []);
    world.end().await;
}
