//! References to secrets: where a value stands, never the value.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// How a reference is written, for refusals.
pub const FORMS: &str = "env:NAME, file:/PATH or vault:MOUNT/PATH#FIELD";
/// The longest reference, in bytes.
const REFERENCE_MAX_BYTES: usize = 1_024;

/// Where a secret stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reference {
    /// A variable of the daemon's environment.
    Env(String),
    /// A file, absolute.
    File(PathBuf),
    /// A field of a secret in Vault.
    Vault(VaultPath),
}

/// A field of a secret in a KV store (version 2) of Vault.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VaultPath {
    /// Where the store is mounted: the first part.
    pub mount: String,
    /// The secret's path below it.
    pub path: String,
    /// The field.
    pub field: String,
}

/// A text that is no reference. It may be the secret itself: it is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {FORMS}, never the secret itself")]
pub struct NotAReference;

impl Reference {
    /// Whether the text begins as a reference does.
    pub fn is_meant(text: &str) -> bool {
        ["env:", "file:", "vault:"]
            .iter()
            .any(|start| text.starts_with(start))
    }
}

impl FromStr for Reference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let short = text.len() <= REFERENCE_MAX_BYTES && !text.chars().any(char::is_control);
        match text.split_once(':').filter(|_| short) {
            Some(("env", name)) if is_name(name) => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(path.into())),
            Some(("vault", path)) => vault(path).map(Self::Vault).ok_or(NotAReference),
            Some(_) | None => Err(NotAReference),
        }
    }
}

/// A name of an environment, and nothing that a shell would read more into.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(plain)
}

/// No part may be empty or `..`: the path stands in an address.
fn vault(text: &str) -> Option<VaultPath> {
    let (path, field) = text.split_once('#')?;
    let (mount, path) = path.split_once('/')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    let part =
        |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain);
    let fits = part(mount) && part(field) && path.split('/').all(part);
    fits.then(|| VaultPath {
        mount: mount.to_owned(),
        path: path.to_owned(),
        field: field.to_owned(),
    })
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Vault(VaultPath { mount, path, field }) => {
                write!(f, "vault:{mount}/{path}#{field}")
            }
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = NotAReference;
    fn try_from(text: String) -> Result<Self, NotAReference> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}
