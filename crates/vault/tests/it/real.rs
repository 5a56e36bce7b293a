//! Against a server that is not ours: rusty_vault. AppRole for real; its KV store is of version 1, so what is kept
//! there has the shape of version 2. Where it is not installed the test says so.

use super::{checked, file, read};
use agentwright_testkit::eventually;
use agentwright_vault::{Config, Fault, Vault};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A server that is unsealed, with AppRole and a role.
struct Real {
    dir: TempDir,
    url: String,
    root: String,
    key: String,
    process: Child,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[expect(clippy::print_stdout, reason = "what is missing is said")]
fn program() -> Option<PathBuf> {
    let tools = std::env::var_os("AGENTWRIGHT_TOOLS").map_or_else(
        || {
            let beside = std::env::current_exe().unwrap();
            beside.ancestors().nth(3).unwrap().join("tools")
        },
        PathBuf::from,
    );
    let program = tools.join("rvault");
    if program.is_file() {
        return Some(program);
    }
    println!(
        "SKIPPED: rusty_vault is not installed, no real server was asked; scripts/rvault.sh builds it"
    );
    None
}

impl Real {
    async fn start() -> Option<Self> {
        let program = program()?;
        let dir = TempDir::new().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let config = dir.path().join("rvault.hcl");
        let text = format!(
            "storage \"file\" {{\n  path = \"{}\"\n}}\n\nlistener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = \"true\"\n}}\n\
             work_dir = \"{}\"\ndaemon = false\n",
            dir.path().join("data").display(),
            dir.path().display()
        );
        std::fs::write(&config, text).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test starts its peer itself")]
        let process = Command::new(program)
            .arg("server")
            .arg(format!("--config={}", config.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut real = Self {
            dir,
            url: format!("http://127.0.0.1:{port}"),
            root: String::new(),
            key: String::new(),
            process,
        };
        let init = json!({"secret_shares": 1, "secret_threshold": 1});
        let made = eventually("it can be initialized", async || {
            let (status, made) = real.ask("PUT", "sys/init", Some(&init)).await?;
            (status == 200).then_some(made)
        })
        .await;
        real.root = made["root_token"].as_str().unwrap().to_owned();
        real.key = made["keys"][0].as_str().unwrap().to_owned();
        Some(real)
    }

    /// As root; `None` where nobody answers.
    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client
            .request(method.parse().unwrap(), format!("{}/v1/{path}", self.url))
            .header("X-Vault-Token", &self.root);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or_default()))
    }

    /// The same, which must be well.
    async fn must(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method, path, body.as_ref()).await.unwrap();
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {answer}"
        );
        answer
    }

    async fn unseal(&self) {
        let key = json!({"key": self.key});
        self.must("PUT", "sys/unseal", Some(key)).await;
    }

    async fn secret_id(&self) -> String {
        let made = self
            .must("PUT", "auth/approle/role/ours/secret-id", Some(json!({})))
            .await;
        made["data"]["secret_id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_real_server_lets_the_approle_in_and_hands_out_the_secret() {
    let Some(real) = Real::start().await else {
        return;
    };
    let config = |secret_id: &str| Config {
        role_id: real.dir.path().join("role-id"),
        secret_id: file(real.dir.path(), "secret-id", secret_id),
        keep_s: 0,
        ..Config::new(real.url.clone())
    };
    file(real.dir.path(), "role-id", "not yet");
    let sealed = checked(&Vault::new(config("not yet")).unwrap()).await;
    assert_eq!(sealed.unwrap_err(), Fault::Sealed);

    real.unseal().await;
    real.must("POST", "sys/auth/approle", Some(json!({"type": "approle"})))
        .await;
    let role = json!({"token_ttl": "1h", "secret_id_num_uses": 2});
    real.must("POST", "auth/approle/role/ours", Some(role))
        .await;
    let role_id = real
        .must("GET", "auth/approle/role/ours/role-id", None)
        .await;
    let role_id = role_id["data"]["role_id"].as_str().unwrap();
    file(real.dir.path(), "role-id", role_id);
    let kept = json!({"data": {"password": "s3cret-of-the-database"}, "metadata": {"version": 1}});
    real.must("POST", "secret/data/team/db", Some(kept)).await;

    let wrong = checked(&Vault::new(config("6a174c20-0000-0000-0000-000000000000")).unwrap()).await;
    assert_eq!(wrong.unwrap_err(), Fault::Role);
    let secret_id = real.secret_id().await;
    let vault = Vault::new(config(&secret_id)).unwrap();
    checked(&vault).await.unwrap();
    let secret = read(&vault, "vault:secret/team/db#password").await.unwrap();
    assert_eq!(secret.expose(), "s3cret-of-the-database");
    let missing = read(&vault, "vault:secret/team/none#password").await;
    assert_eq!(
        missing.unwrap_err(),
        Fault::Missing("secret/team/none".to_owned())
    );
    // One login served all of it; the second use is the last one.
    checked(&Vault::new(config(&secret_id)).unwrap())
        .await
        .unwrap();
    let used_up = checked(&Vault::new(config(&secret_id)).unwrap()).await;
    assert_eq!(used_up.unwrap_err(), Fault::Role);
}
