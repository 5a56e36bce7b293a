//! What is said to Vault, and what its answers mean. Shapes as its HTTP API documents them: every field that may be
//! absent is.

use crate::{Config, Fault, Secret};
use agentwright_domain::secret::VaultPath;
use reqwest::{Certificate, Method, Response, StatusCode, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// The largest answer that is read, in bytes.
const BODY_MAX: usize = 1 << 20;

/// A value, and how long Vault leases it.
pub(crate) struct Got {
    pub(crate) value: Secret,
    pub(crate) lease: Option<Duration>,
}

/// One AppRole at one Vault.
pub(crate) struct Client {
    config: Config,
    http: reqwest::Client,
    token: Option<Token>,
}

struct Token {
    value: Secret,
    renewable: bool,
    /// When it was made or renewed, and for how long; for good where there is none.
    lease: Option<(Instant, Duration)>,
}

#[derive(Deserialize)]
struct LoggedIn {
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    client_token: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct Seal {
    #[serde(default)]
    sealed: bool,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    lease_duration: u64,
    data: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    data: Option<Map<String, Value>>,
}

impl Client {
    /// Of authorities that are given no others are believed.
    pub(crate) fn new(
        config: &Config,
        authorities: Option<Vec<Certificate>>,
    ) -> Result<Self, Fault> {
        // Fails only when another part of the process was first: the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .timeout(ANSWER_MAX)
            .redirect(redirect::Policy::none())
            .no_proxy();
        if let Some(authorities) = authorities {
            http = http.tls_certs_only(authorities);
        }
        let http = http.build().map_err(away)?;
        Ok(Self {
            config: config.clone(),
            http,
            token: None,
        })
    }

    /// A field of a secret. A token that does not hold any more is replaced once.
    pub(crate) async fn read(&mut self, path: &VaultPath) -> Result<Got, Fault> {
        let fresh = self.token.is_none();
        self.hold().await?;
        match self.field(path).await {
            Err(Fault::Denied(_)) if !fresh => {
                // Revoked or expired, or not allowed: a new token tells.
                self.token = None;
                self.hold().await?;
                self.field(path).await
            }
            got => got,
        }
    }

    /// Whether it is unsealed and lets us in; answers its version.
    pub(crate) async fn check(&mut self) -> Result<String, Fault> {
        let answer = self.ask(Method::GET, "sys/seal-status", None).await?;
        if answer.status() != StatusCode::OK {
            return Err(meant(answer.status()));
        }
        let seal: Seal = json_of(answer).await?;
        if seal.sealed {
            return Err(Fault::Sealed);
        }
        let fresh = self.token.is_none();
        self.hold().await?;
        if !fresh {
            // It may have been taken back meanwhile.
            let token = self
                .ask(Method::GET, "auth/token/lookup-self", None)
                .await?;
            if token.status() == StatusCode::FORBIDDEN {
                self.token = None;
                self.hold().await?;
            }
        }
        Ok(seal.version)
    }

    async fn field(&self, path: &VaultPath) -> Result<Got, Fault> {
        let VaultPath { mount, path, field } = path;
        let whole = format!("{mount}/{path}");
        let answer = self
            .ask(Method::GET, &format!("{mount}/data/{path}"), None)
            .await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::FORBIDDEN => return Err(Fault::Denied(whole)),
            StatusCode::NOT_FOUND => return Err(Fault::Missing(whole)),
            status => return Err(meant(status)),
        }
        let read: Read = json_of(answer).await?;
        let data = read.data.and_then(|version| version.data);
        let data = data.ok_or_else(|| Fault::Missing(whole.clone()))?;
        let value = data.get(field).and_then(Value::as_str);
        let value = value.ok_or_else(|| Fault::NoField {
            path: whole,
            field: field.clone(),
        })?;
        let lease = (read.lease_duration > 0).then(|| Duration::from_secs(read.lease_duration));
        Ok(Got {
            value: Secret(value.to_owned()),
            lease,
        })
    }

    /// Sees to it that there is a token that holds: renewed in the last third of its time, made anew after it.
    async fn hold(&mut self) -> Result<(), Fault> {
        if let Some(Token {
            renewable, lease, ..
        }) = &self.token
        {
            let Some((since, lasts)) = *lease else {
                return Ok(());
            };
            let age = since.elapsed();
            if age < lasts * 2 / 3 {
                return Ok(());
            }
            if *renewable && age < lasts && self.renew().await.is_ok() {
                return Ok(());
            }
        }
        self.token = None;
        self.log_in().await
    }

    async fn renew(&mut self) -> Result<(), Fault> {
        let answer = self
            .ask(Method::POST, "auth/token/renew-self", Some(json!({})))
            .await?;
        if answer.status() != StatusCode::OK {
            return Err(meant(answer.status()));
        }
        let renewed: LoggedIn = json_of(answer).await?;
        let auth = renewed.auth.ok_or_else(strange)?;
        if let Some(token) = &mut self.token {
            token.lease = lease(auth.lease_duration);
        }
        Ok(())
    }

    async fn log_in(&mut self) -> Result<(), Fault> {
        let (role_id, secret_id) = self.config.ids()?;
        let path = format!("auth/{}/login", self.config.auth_mount);
        let body = json!({ "role_id": role_id, "secret_id": secret_id });
        let answer = self.ask(Method::POST, &path, Some(body)).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                return Err(Fault::Role);
            }
            status => return Err(meant(status)),
        }
        let login: LoggedIn = json_of(answer).await?;
        let auth = login.auth.filter(|auth| !auth.client_token.is_empty());
        let auth = auth.ok_or_else(strange)?;
        self.token = Some(Token {
            value: Secret(auth.client_token),
            renewable: auth.renewable,
            lease: lease(auth.lease_duration),
        });
        Ok(())
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Response, Fault> {
        let url = format!("{}/v1/{path}", self.config.address.trim_end_matches('/'));
        let mut request = self
            .http
            .request(method, url)
            .header("X-Vault-Request", "true");
        if let Some(token) = &self.token {
            let value = reqwest::header::HeaderValue::from_str(token.value.expose());
            let mut value = value.map_err(|_| strange())?;
            value.set_sensitive(true);
            request = request.header("X-Vault-Token", value);
        }
        if let Some(namespace) = &self.config.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await;
        answer.map_err(away)
    }
}

fn lease(seconds: u64) -> Option<(Instant, Duration)> {
    (seconds > 0).then(|| (Instant::now(), Duration::from_secs(seconds)))
}

/// What a status means that is no answer to the question itself.
fn meant(status: StatusCode) -> Fault {
    match status.as_u16() {
        503 => Fault::Sealed,
        300..=399 => Fault::Redirect,
        // A standby, a replica, too many questions, a fault.
        429 | 472 | 473 | 500..=599 => Fault::Away(format!("it answers {status}")),
        _ => Fault::Strange(status.to_string()),
    }
}

/// With what it is caused by (a refused connection, a certificate), without the address. No cause holds what was said.
fn away(error: reqwest::Error) -> Fault {
    let error = error.without_url();
    let mut said = error.to_string();
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        said = format!("{said}: {cause}");
        next = cause.source();
    }
    Fault::Away(said)
}

fn strange() -> Fault {
    Fault::Strange("not in its form".to_owned())
}

async fn json_of<T: DeserializeOwned>(mut answer: Response) -> Result<T, Fault> {
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= BODY_MAX => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Err(Fault::Strange("too large".to_owned())),
            Ok(None) => break,
            Err(error) => return Err(away(error)),
        }
    }
    // The parser's error would repeat parts of the body.
    serde_json::from_slice(&body).map_err(|_| strange())
}
