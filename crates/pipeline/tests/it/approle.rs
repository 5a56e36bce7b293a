//! Code that asks Vault itself, with an AppRole of its own (requirements A12): from a sentence to its first run.

use crate::author::{Asked, asked, proposal, said, settings, writes};
use crate::model_faults::hurried;
use crate::support::{World, auto, phase, scope};
use agentwright_domain::build::Phase;
use agentwright_domain::ids::{ApprovalId, Slug};
use agentwright_domain::run::{Decision, RunStatus, Signal};
use agentwright_llm::Wire;
use agentwright_testkit::FakeVault;
use agentwright_testkit::model_server::{ModelServer, Question, Step};
use serde_json::{Value, json};

const CODE: &str = r#"
import json, os, urllib.request
vault = os.environ["VAULT_ADDR"]

def ask(path, token=None, body=None):
    headers = {"X-Vault-Token": token} if token else {}
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"{vault}/v1/{path}", data, headers)
    return json.load(urllib.request.urlopen(request, timeout=10))

def read(name):
    with open(os.environ[name]) as file:
        return file.read().strip()

login = {"role_id": read("VAULT_ROLE_ID_FILE"), "secret_id": read("VAULT_SECRET_ID_FILE")}
token = ask("auth/approle/login", body=login)["auth"]["client_token"]
team = ask("secret/data/team/name", token)["data"]["data"]["name"]
with open("/data/out/team.txt", "w") as file:
    file.write(f"team {team}\n")
"#;

fn spec(base: &str, vault: &str) -> Value {
    let host = vault.replace("http://", "");
    let answers = |method: &str, path: &str, body: &str| {
        json!({ "method": method, "path": path, "answers": [
            { "status": 200, "content_type": "application/json", "body": body }] })
    };
    let login = answers(
        "POST",
        "/v1/auth/approle/login",
        r#"{"auth": {"client_token": "hvs.{{ draw.token }}"}}"#,
    );
    let secret = answers(
        "GET",
        "/v1/secret/data/team/name",
        r#"{"data": {"data": {"name": "{{ draw.team }}"}}}"#,
    );
    let fixtures = json!([{ "type": "http", "host": host, "answers": [login, secret] }]);
    let run = json!([{ "type": "run" }]);
    let content = json!({ "equals": "team {{ draw.team }}\n" });
    json!({
        "name": "team-name", "purpose": "writes the team's name from Vault into a file", "kind": "script",
        "command": ["python3", "/app/main.py"], "trigger": { "type": "manual" },
        "permissions": {
            "folders": [{ "name": "out", "path": format!("{base}/out"), "access": "write" }],
            "allow_private": [host], "environment": { "VAULT_ADDR": vault },
            "secrets": [
                { "variable": "VAULT_ROLE_ID", "reference": "file:/etc/vault/role-id", "as": "file" },
                { "variable": "VAULT_SECRET_ID", "reference": "file:/etc/vault/secret-id", "as": "file" },
            ],
        },
        "acceptance": {
            "draw": { "team": { "type": "word", "length": 8 }, "token": { "type": "word", "length": 12 } },
            "smoke": { "name": "it runs", "fixtures": fixtures, "steps": run },
            "cases": [{ "name": "the name is written", "fixtures": fixtures, "steps": run, "probes": [
                { "name": "written", "holds": "effect",
                  "check": { "type": "file_content", "folder": "out", "path": "team.txt", "content": content } },
                { "name": "nothing else", "holds": "invariant",
                  "check": { "type": "unchanged", "folder": "out", "except": ["team.txt"] } },
            ] }],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn code_with_an_approle_of_its_own_is_built_reviewed_approved_and_reads_its_secret() {
    let vault = FakeVault::start().await;
    vault.put("secret/team/name", json!({ "name": "blue" }));
    let url = vault.url();
    let script = move |question: &Question| match asked(question) {
        Asked::Spec => proposal(&spec(&crate::author::base(question), &url)),
        Asked::Code | Asked::Repair => writes(question, CODE),
        Asked::Review => Step::text("PASS: it does what it says"),
    };
    let server = ModelServer::start(script).await;
    let world = World::modelled(settings(&server, Wire::Anthropic)).await;
    std::fs::create_dir_all(world.home().join("out")).unwrap();
    let sentence = format!(
        "Write the team's name from Vault at {} into ./out, with the role-id and secret-id files in /etc/vault",
        vault.url()
    );
    let id = world.submit(world.request(&sentence), auto()).await;
    // Secrets are asked for in every mode.
    let run = hurried(&world, &id).await;
    let Phase::Gate { reasons, .. } = phase(&run) else {
        panic!("{}", world.story(&id).await);
    };
    let reasons = format!("{reasons:?}");
    let asked_for = "file:/etc/vault/secret-id as /run/secrets/VAULT_SECRET_ID";
    assert!(reasons.contains(asked_for), "{reasons}");
    let yes = Signal::Decided(Decision {
        id: ApprovalId::new("approval-1"),
        approved: true,
        by: "ann".into(),
        notes: None,
        subject: None,
    });
    world.engine.signal(&scope(), &id, yes, None).await.unwrap();
    let run = hurried(&world, &id).await;
    let story = world.story(&id).await;
    assert_eq!(phase(&run), &Phase::Completed { deployed: true }, "{story}");
    assert_eq!(vault.asked(), [""; 0], "tests ask no real Vault");
    // Whoever wrote it was told how, and saw no secret.
    let all: Vec<Question> = server.requests();
    let of = |kind: Asked| all.iter().find(|question| asked(question) == kind).unwrap();
    assert!(of(Asked::Spec).system.contains("AppRole"));
    assert!(said(of(Asked::Code)).contains("/run/secrets/NAME"));
    assert!(of(Asked::Review).system.contains("Vault"));
    assert!(
        all.iter()
            .all(|question| !said(question).contains(FakeVault::SECRET_ID))
    );

    let name = Slug::parse("team-name").unwrap();
    let run = world.runtime.run_now(&scope(), &name, "ann").await.unwrap();
    assert_eq!(world.settled(&run).await.status, RunStatus::Completed);
    let written = std::fs::read_to_string(world.home().join("out/team.txt")).unwrap();
    assert_eq!(written, "team blue\n");
    assert_eq!(
        vault.asked(),
        ["POST auth/approle/login", "GET secret/data/team/name"]
    );
    world.end().await;
}
