//! A fake of Vault, in this process: AppRole and KV version 2, with answers in the shapes that its HTTP API documents
//! (developer.hashicorp.com/vault/api-docs), recorded fields and all. Not Vault: nothing is encrypted, and there are
//! no policies but a list of paths.
//!
//! | rule | else |
//! |---|---|
//! | `POST /v1/auth/approle/login` with the role id and a secret id that is not used up | 400 |
//! | `X-Vault-Token` that was given out, is not revoked and not expired | 403 |
//! | a path that the role may read | 403 |
//! | `GET /v1/MOUNT/data/PATH` of a secret that is there | 404, `errors: []` |
//! | `GET /v1/sys/seal-status`, whoever asks, sealed or not | – |

use crate::model_server::connection::{Asked, header, read};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The server. Listens on a free port of 127.0.0.1 until it is dropped.
pub struct FakeVault {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _stop: DropGuard,
}

struct State {
    secrets: BTreeMap<String, Value>,
    tokens: BTreeSet<String>,
    made: usize,
    lease_s: u64,
    renewable: bool,
    sealed: bool,
    denied: BTreeSet<String>,
    redirects: bool,
    asked: Vec<String>,
}

impl FakeVault {
    /// The role id that it knows.
    pub const ROLE_ID: &str = "db02de05-fa39-4855-059b-67221c5c2f63";
    /// The secret id that it knows.
    pub const SECRET_ID: &str = "6a174c20-f6de-a53c-74d2-6018fcceff64";

    /// Starts one without secrets, whose tokens last an hour.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State {
            secrets: BTreeMap::new(),
            tokens: BTreeSet::new(),
            made: 0,
            lease_s: 3_600,
            renewable: true,
            sealed: false,
            denied: BTreeSet::new(),
            redirects: false,
            asked: Vec::new(),
        }));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (shared, stopped) = (Arc::clone(&state), stop.clone());
        tasks.clone().spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = stopped.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, _)) = accepted else { continue };
                let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        () = serve(stream, shared) => {}
                    }
                });
            }
        });
        Self {
            address,
            state,
            _stop: stop.drop_guard(),
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Keeps a secret: `secret/team/db`, `{"password": "…"}`.
    pub fn put(&self, path: &str, data: Value) {
        self.lock().secrets.insert(path.to_owned(), data);
    }

    /// How long its tokens last from now on, seconds, and whether they can be renewed.
    pub fn tokens_last(&self, lease_s: u64, renewable: bool) {
        let mut state = self.lock();
        (state.lease_s, state.renewable) = (lease_s, renewable);
    }

    /// No token that was given out holds any more.
    pub fn revoke_all(&self) {
        self.lock().tokens.clear();
    }

    /// Is sealed, or not.
    pub fn seal(&self, sealed: bool) {
        self.lock().sealed = sealed;
    }

    /// The role may not read that path.
    pub fn deny(&self, path: &str) {
        self.lock().denied.insert(path.to_owned());
    }

    /// Sends everybody elsewhere.
    pub fn redirect(&self) {
        self.lock().redirects = true;
    }

    /// What was asked so far: `POST auth/approle/login`, …
    pub fn asked(&self) -> Vec<String> {
        self.lock().asked.clone()
    }

    /// Every token that was ever given out.
    pub fn tokens(&self) -> Vec<String> {
        (1..=self.lock().made).map(token).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn token(number: usize) -> String {
    format!("hvs.CAESIFAKE{number:04}")
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    while let Ok(Some(asked)) = read(&mut stream).await {
        let (status, body) = answer(&asked, &mut lock(&state));
        let body = body.to_string();
        let place = if status == 307 {
            "location: http://127.0.0.1:9/v1/elsewhere\r\n"
        } else {
            ""
        };
        let text = format!(
            "HTTP/1.1 {status} .\r\ncontent-type: application/json\r\n{place}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.get_mut().write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(asked: &Asked, state: &mut State) -> (u16, Value) {
    let path = asked.target.trim_start_matches("/v1/").to_owned();
    state.asked.push(format!("{} {path}", asked.method));
    let errors = |status: u16, error: &str| (status, json!({ "errors": [error] }));
    if state.redirects {
        return (307, Value::Null);
    }
    if (asked.method.as_str(), path.as_str()) == ("GET", "sys/seal-status") {
        let status = json!({
            "type": "shamir", "initialized": true, "sealed": state.sealed, "t": 3, "n": 5, "progress": 0, "nonce": "",
            "version": "1.19.0", "build_date": "2026-03-04T12:40:40Z", "migration": false, "recovery_seal": false,
            "storage_type": "raft", "cluster_name": "vault-cluster", "cluster_id": "",
        });
        return (200, status);
    }
    if state.sealed {
        return errors(503, "Vault is sealed");
    }
    if (asked.method.as_str(), path.as_str()) == ("POST", "auth/approle/login") {
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let fits =
            body["role_id"] == FakeVault::ROLE_ID && body["secret_id"] == FakeVault::SECRET_ID;
        if !fits {
            return errors(400, "invalid role or secret ID");
        }
        state.made += 1;
        let token = token(state.made);
        state.tokens.insert(token.clone());
        return (200, logged_in(&token, state));
    }
    let shown = header(&asked.headers, "x-vault-token")
        .unwrap_or_default()
        .to_owned();
    if !state.tokens.contains(&shown) {
        return errors(403, "permission denied");
    }
    match (asked.method.as_str(), path.as_str()) {
        ("POST", "auth/token/renew-self") if state.renewable => (200, logged_in(&shown, state)),
        ("POST", "auth/token/renew-self") => errors(400, "lease is not renewable"),
        ("GET", "auth/token/lookup-self") => (
            200,
            json!({"data": {"policies": ["default"], "ttl": state.lease_s}}),
        ),
        ("GET", path) => secret(&path.replacen("/data/", "/", 1), state),
        _ => errors(405, "unsupported operation"),
    }
}

fn logged_in(token: &str, state: &State) -> Value {
    json!({
        "request_id": "a1b2c3d4-0000-0000-0000-000000000000", "lease_id": "", "renewable": false,
        "lease_duration": 0, "data": null, "wrap_info": null, "warnings": null,
        "auth": {
            "client_token": token, "accessor": "FAKEaccessor", "policies": ["default"],
            "token_policies": ["default"], "metadata": {"role_name": "agentwright"},
            "lease_duration": state.lease_s, "renewable": state.renewable,
            "entity_id": "", "token_type": "service", "orphan": true,
            "mfa_requirement": null, "num_uses": 0,
        },
    })
}

fn secret(path: &str, state: &State) -> (u16, Value) {
    if state.denied.contains(path) {
        return (
            403,
            json!({ "errors": ["1 error occurred:\n\t* permission denied\n\n"] }),
        );
    }
    let Some(data) = state.secrets.get(path) else {
        return (404, json!({ "errors": [] }));
    };
    let metadata = json!({
        "created_time": "2026-11-27T10:00:00Z", "custom_metadata": null, "deletion_time": "",
        "destroyed": false, "version": 3,
    });
    let body = json!({
        "request_id": "a1b2c3d4-0000-0000-0000-000000000001", "lease_id": "", "renewable": false,
        "lease_duration": 0, "data": {"data": data, "metadata": metadata},
        "wrap_info": null, "warnings": null, "auth": null, "mount_type": "kv",
    });
    (200, body)
}
