//! Where Vault is and as whom it is asked.

use crate::Fault;
use reqwest::Certificate;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where AppRole files lie when nothing is said (requirements A12).
const APPROLE: &str = "/opt/appdata/docker/docker-compose/vault/approle";
/// The largest file with an id, in bytes.
const ID_MAX: u64 = 4_096;
/// The longest that a value is believed, seconds.
const KEEP_MAX_S: u64 = 300;

/// The table `[vault]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `https://vault.example.org:8200`.
    pub address: String,
    /// The file with the role id.
    #[serde(default = "role_id")]
    pub role_id: PathBuf,
    /// The file with the secret id; only its owner may read it.
    #[serde(default = "secret_id")]
    pub secret_id: PathBuf,
    /// Where AppRole is mounted.
    #[serde(default = "auth_mount")]
    pub auth_mount: String,
    /// The namespace, where Vault has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A file with the authorities, in PEM, that alone are believed about its certificate; the system's where there is
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Whether an `http://` address beyond this machine is meant: everybody on the way reads ids, tokens and secrets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_http: bool,
    /// How long a value is believed, seconds, 0 to 300.
    #[serde(default = "keep_s")]
    pub keep_s: u64,
}

/// What is wrong with the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAVault(String);

fn role_id() -> PathBuf {
    Path::new(APPROLE).join("role-id")
}

fn secret_id() -> PathBuf {
    Path::new(APPROLE).join("secret-id")
}

fn auth_mount() -> String {
    "approle".to_owned()
}

fn keep_s() -> u64 {
    30
}

impl Config {
    /// With everything but the address as it is when nothing is said.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            role_id: role_id(),
            secret_id: secret_id(),
            auth_mount: auth_mount(),
            namespace: None,
            ca: None,
            allow_http: false,
            keep_s: keep_s(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), NotAVault> {
        let wrong = |why: &str| Err(NotAVault(why.to_owned()));
        let url = reqwest::Url::parse(&self.address).ok();
        let url = url.filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
        });
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./".contains(&b);
        let whole = |text: &str| {
            text.bytes().all(plain) && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
        };
        let Some(url) = url else {
            return wrong("has an address that is not like https://vault.example.org:8200");
        };
        if url.scheme() == "http" && !self.allow_http && !is_here(&url) {
            return wrong(
                "has an http:// address beyond this machine, so everybody on the way would read its secrets: \
                 use https://, or say allow_http = true",
            );
        }
        if url.scheme() == "http" && self.ca.is_some() {
            return wrong("has a ca, and an http:// address that has no use for it");
        }
        if !self.role_id.is_absolute() || !self.secret_id.is_absolute() {
            return wrong("has a role_id or secret_id that is not the absolute path of a file");
        }
        if !whole(&self.auth_mount) {
            return wrong("has an auth_mount that is not the name of a mount");
        }
        if !self.namespace.as_deref().is_none_or(whole) {
            return wrong("has a namespace that is not the name of one");
        }
        if self.keep_s > KEEP_MAX_S {
            return wrong("has a keep_s above 300");
        }
        Ok(())
    }

    /// The authorities of one's own.
    pub(crate) fn authorities(&self) -> Result<Option<Vec<Certificate>>, NotAVault> {
        let Some(path) = &self.ca else {
            return Ok(None);
        };
        let wrong = |why: &str| NotAVault(format!("has a ca, {}, that {why}", path.display()));
        if !path.is_absolute() {
            return Err(wrong("is not the absolute path of a file"));
        }
        let text =
            std::fs::read(path).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        let found = Certificate::from_pem_bundle(&text).unwrap_or_default();
        if found.is_empty() {
            return Err(wrong("holds no certificate in PEM"));
        }
        Ok(Some(found))
    }

    /// The role id and the secret id, read anew: a secret id is replaced while we run.
    pub(crate) fn ids(&self) -> Result<(String, String), Fault> {
        // Whoever may write either may say as whom we ask; whoever reads the second is us.
        Ok((id(&self.role_id, 0o022)?, id(&self.secret_id, 0o077)?))
    }
}

/// Whether an address is of this machine.
fn is_here(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = address.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
    loopback || host == "localhost"
}

fn id(path: &Path, forbidden: u32) -> Result<String, Fault> {
    let fault = |why: String| Fault::File {
        path: path.to_owned(),
        why,
    };
    let unreadable = |error: std::io::Error| fault(format!("cannot be read: {error}"));
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > ID_MAX {
        return Err(fault("is not a file with an id".to_owned()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(fault(format!(
            "has the mode {mode:o}, so others may use it: chmod {:o} it",
            mode & !forbidden
        )));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    match text.trim() {
        "" => Err(fault("is empty".to_owned())),
        id => Ok(id.to_owned()),
    }
}
