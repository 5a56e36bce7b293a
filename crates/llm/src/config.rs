//! Configuration: providers, and what each role uses. Keys are references, resolved here and nowhere else.

use crate::http::{Endpoint, HttpProvider};
use crate::wire::{Dialect, Wire};
use crate::{CallCx, Kind, Limits, LlmError, Retry, Secret};
use agentwright_domain::secret::{Reference, VaultPath};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use url::Url;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(10);
/// The largest file with a key.
const KEY_BYTES_MAX: usize = 64 * 1024;
/// The version of Anthropic's interface that is spoken.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// The environment as it was handed in.
pub type Env<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// Turns a reference (`env:NAME`, `file:PATH`, `vault:MOUNT/PATH#FIELD`) into its value, or says why there is none.
pub type Resolve = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// Who resolves references; where nobody does, `env:` and `file:` are read here. Equal when it is the same one.
#[derive(Clone, Default)]
pub struct Keys(Option<Resolve>);

impl Keys {
    /// All by this one.
    pub fn by(resolve: Resolve) -> Self {
        Self(Some(resolve))
    }

    fn read(&self, key: &KeyRef, env: Env<'_>) -> Result<Secret, String> {
        match &self.0 {
            Some(resolve) => resolve(&key.to_string()).map(Secret::new),
            None => key.resolve(env),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// Where a secret stands: `env:NAME`, `file:PATH` or `vault:MOUNT/PATH#FIELD`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeyRef {
    /// In the environment.
    Env(String),
    /// In a file.
    File(PathBuf),
    /// In Vault.
    Vault(VaultPath),
}

impl FromStr for KeyRef {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            // The text may be the key itself: it is not repeated.
            _ => match text.parse() {
                Ok(Reference::Vault(path)) => Ok(Self::Vault(path)),
                Ok(Reference::Env(_) | Reference::File(_)) | Err(_) => {
                    Err("a key is written as a reference: env:NAME, file:PATH or vault:MOUNT/PATH#FIELD".to_owned())
                }
            },
        }
    }
}

impl TryFrom<String> for KeyRef {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<KeyRef> for String {
    fn from(key: KeyRef) -> Self {
        key.to_string()
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Vault(path) => Reference::Vault(path.clone()).fmt(f),
        }
    }
}

impl KeyRef {
    /// The secret, or why there is none.
    pub fn resolve(&self, env: Env<'_>) -> Result<Secret, String> {
        let text = match self {
            Self::Env(name) => env(name).ok_or_else(|| format!("{name} is not set"))?,
            Self::File(path) => {
                let bytes = std::fs::read(path)
                    .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
                if bytes.len() > KEY_BYTES_MAX {
                    return Err(format!("{} is too long for a key", path.display()));
                }
                String::from_utf8(bytes).map_err(|_| format!("{} is not text", path.display()))?
            }
            Self::Vault(_) => return Err("no Vault is asked here".to_owned()),
        };
        let secret = Secret::new(text);
        if secret.is_empty() {
            return Err(format!("{self} is empty"));
        }
        Ok(secret)
    }
}

/// How a key is sent: `x-api-key`, `bearer`, `header:NAME` or `none`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Auth {
    /// `x-api-key: KEY`.
    XApiKey,
    /// `authorization: Bearer KEY`.
    Bearer,
    /// `NAME: KEY`.
    Header(String),
    /// Not at all.
    None,
}

impl TryFrom<String> for Auth {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "x-api-key" => Ok(Self::XApiKey),
            "bearer" => Ok(Self::Bearer),
            "none" => Ok(Self::None),
            other => other
                .strip_prefix("header:")
                .filter(|name| HeaderName::from_str(name).is_ok())
                .map(|name| Self::Header(name.to_owned()))
                .ok_or_else(|| "auth is x-api-key, bearer, header:NAME or none".to_owned()),
        }
    }
}

impl From<Auth> for String {
    fn from(auth: Auth) -> Self {
        match auth {
            Auth::XApiKey => "x-api-key".to_owned(),
            Auth::Bearer => "bearer".to_owned(),
            Auth::Header(name) => format!("header:{name}"),
            Auth::None => "none".to_owned(),
        }
    }
}

/// One provider. Only `name` and `wire` are needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// What roles call it.
    pub name: String,
    /// What it speaks.
    pub wire: Wire,
    /// Where it is; the maker's own address where absent. For the OpenAI forms it ends with `/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyRef>,
    /// How the key is sent; as the maker wants it where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// More headers. A value may be a reference as `key` is; all are kept secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// More fields of the body. They win over ours; an object is merged with ours.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub body: serde_json::Map<String, serde_json::Value>,
    /// Fields of the body that are taken out: what a compatible server does not know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// Name of the field with the limit of output tokens (`openai_chat` only): `max_tokens` for older servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens_field: Option<String>,
    /// Whether answers come in pieces; all but `ollama_generate` do where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// Whose prices hold (`provider` in a price table): the maker's at the maker's own address, Ollama's
    /// for Ollama, its own name elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<String>,
    /// A proxy; `HTTPS_PROXY` and its like are used where absent. Never for this machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
}

/// What a role uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleConfig {
    /// A provider's name.
    pub provider: String,
    /// Its model; the provider's default where absent ([`crate::detect::default_model`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Who is asked next where this one does not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
    /// The longest answer in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// Context to make room for, where the model must be told (Ollama).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
    /// 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Seconds for one call, retries included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u64>,
    /// Seconds of silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_s: Option<u64>,
    /// Attempts on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
}

/// A provider and a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// A provider's name.
    pub provider: String,
    /// Its model; the provider's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl RoleConfig {
    /// A role that uses a model, with defaults for the rest.
    pub fn new(provider: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            model: Some(model.into()),
            fallbacks: Vec::new(),
            max_output_tokens: None,
            context_tokens: None,
            temperature: None,
            deadline_s: None,
            idle_s: None,
            max_attempts: None,
        }
    }

    /// For a [`crate::Caller`].
    pub fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            max_output_tokens: self.max_output_tokens.unwrap_or(usual.max_output_tokens),
            context_tokens: self.context_tokens,
            temperature: self.temperature,
        }
    }

    /// The bounds of one call, ended early by `cancel`.
    pub fn cx(&self, cancel: CancellationToken) -> CallCx {
        let usual = CallCx::default();
        CallCx {
            deadline: self.deadline_s.map_or(usual.deadline, Duration::from_secs),
            idle: self.idle_s.map_or(usual.idle, Duration::from_secs),
            cancel,
        }
    }

    /// For a [`crate::Caller`].
    pub fn retry(&self) -> Retry {
        let usual = Retry::default();
        Retry {
            max_attempts: self.max_attempts.unwrap_or(usual.max_attempts),
            ..usual
        }
    }
}

impl ProviderConfig {
    /// With the maker's defaults.
    pub fn new(name: impl Into<String>, wire: Wire) -> Self {
        Self {
            name: name.into(),
            wire,
            base_url: None,
            key: None,
            auth: None,
            headers: BTreeMap::new(),
            body: serde_json::Map::new(),
            without: Vec::new(),
            max_tokens_field: None,
            stream: None,
            prices: None,
            proxy: None,
        }
    }

    /// Every reference of it that Vault holds.
    pub fn in_vault(&self) -> Vec<String> {
        let headers = self.headers.values().filter_map(|value| value.parse().ok());
        let all = headers.chain(self.key.clone());
        all.filter(|key: &KeyRef| matches!(key, KeyRef::Vault(_)))
            .map(|key| key.to_string())
            .collect()
    }

    /// The provider, with its key read. Fails with [`Kind::NotConfigured`], saying what is missing.
    pub fn provider(&self, env: Env<'_>) -> Result<HttpProvider, LlmError> {
        self.provider_with(env, &Keys::default())
    }

    /// The same, with references resolved by somebody else.
    pub fn provider_with(&self, env: Env<'_>, keys: &Keys) -> Result<HttpProvider, LlmError> {
        let bad = |detail: String| {
            let message = format!("the provider {} cannot be used: {detail}", self.name);
            LlmError::new(Kind::NotConfigured, &self.name, message)
        };
        let base = self.base().map_err(bad)?;
        let (headers, mut secrets) = self.headers(env, keys).map_err(bad)?;
        secrets.extend(base.password().map(Secret::new));
        let client = self.client(&base, env).map_err(bad)?;
        let mut body = self.body.clone();
        for field in &self.without {
            body.insert(field.clone(), serde_json::Value::Null);
        }
        Ok(HttpProvider::new(Endpoint {
            id: self.name.clone(),
            kind: self.price_kind(&base),
            wire: self.wire,
            shown: shown(&base),
            base,
            client,
            headers,
            secrets,
            key: self.key.as_ref().map(KeyRef::to_string),
            dialect: Dialect {
                stream: self.stream,
                max_tokens_field: self.max_tokens_field.clone(),
                body,
            },
        }))
    }

    fn base(&self) -> Result<Url, String> {
        let given = self.base_url.as_deref().unwrap_or(self.wire.base_url());
        let mut url = Url::parse(given)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or("base_url needs to be an http:// or https:// address")?;
        // Anthropic's paths bring their own /v1; addresses are often given with it.
        if self.wire == Wire::Anthropic || self.wire.is_ollama() {
            let path = url.path().trim_end_matches('/').to_owned();
            url.set_path(path.strip_suffix("/v1").unwrap_or(&path));
        }
        Ok(url)
    }

    fn headers(&self, env: Env<'_>, keys: &Keys) -> Result<(HeaderMap, Vec<Secret>), String> {
        let mut headers = HeaderMap::new();
        let mut secrets = Vec::new();
        if self.wire == Wire::Anthropic {
            headers.insert(
                "anthropic-version",
                HeaderValue::from_static(ANTHROPIC_VERSION),
            );
        }
        for (name, value) in &self.headers {
            let secret = match value.parse::<KeyRef>() {
                Ok(reference) => keys.read(&reference, env)?,
                Err(_) => Secret::new(value),
            };
            put(&mut headers, name, secret.expose())?;
            secrets.push(secret);
        }
        let Some(key) = &self.key else {
            return Ok((headers, secrets));
        };
        let secret = keys.read(key, env)?;
        let usual = if self.wire == Wire::Anthropic {
            Auth::XApiKey
        } else {
            Auth::Bearer
        };
        match self.auth.as_ref().unwrap_or(&usual) {
            Auth::XApiKey => put(&mut headers, "x-api-key", secret.expose())?,
            Auth::Bearer => put(
                &mut headers,
                "authorization",
                &format!("Bearer {}", secret.expose()),
            )?,
            Auth::Header(name) => put(&mut headers, name, secret.expose())?,
            Auth::None => {}
        }
        secrets.push(secret);
        Ok((headers, secrets))
    }

    fn client(&self, base: &Url, env: Env<'_>) -> Result<reqwest::Client, String> {
        // Fails only when another part of the process was first: the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if base.scheme() == "http" {
            // Nothing here will ever speak TLS: reading the machine's certificates would only take time.
            builder = builder.tls_certs_only([]);
        }
        if !is_loopback(base)
            && let Some(proxy) = self.proxy(base, env)?
        {
            builder = builder.proxy(proxy);
        }
        builder
            .build()
            .map_err(|error| error.without_url().to_string())
    }

    /// The configured proxy, or the environment's.
    fn proxy(&self, base: &Url, env: Env<'_>) -> Result<Option<reqwest::Proxy>, String> {
        let names: [&str; 4] = if base.scheme() == "https" {
            ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        } else {
            ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        };
        let from_env = || names.iter().find_map(|name| env(name));
        let Some(address) = self
            .proxy
            .clone()
            .or_else(from_env)
            .filter(|a| !a.is_empty())
        else {
            return Ok(None);
        };
        let except = env("NO_PROXY").or_else(|| env("no_proxy"));
        let except = except.and_then(|list| reqwest::NoProxy::from_string(&list));
        // The address may hold a password: the error does not repeat it.
        let proxy = reqwest::Proxy::all(&address).map_err(|_| "its proxy is no address")?;
        Ok(Some(proxy.no_proxy(except)))
    }

    fn price_kind(&self, base: &Url) -> String {
        let own = match base.host_str() {
            _ if self.wire.is_ollama() => "ollama",
            Some("api.anthropic.com") => "anthropic",
            Some("api.openai.com") => "openai",
            _ => &self.name,
        };
        self.prices.as_deref().unwrap_or(own).to_owned()
    }
}

fn put(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let name = HeaderName::from_str(name).map_err(|_| format!("{name} is no header's name"))?;
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        format!("the value of the header {name} has letters that headers cannot hold")
    })?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// An address without user, password and query.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
