//! A value that must not be seen: named in the configuration by a reference, read when it is needed.

use crate::SendError;
use std::fmt;
use std::sync::Arc;

/// Turns a reference (`env:NAME`, `file:/PATH`) into its value, or says why there is none. Handed in by whoever
/// may read the environment; blocks at most for a file.
pub type Resolve = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// The beginnings of references.
const REFERENCES: [&str; 3] = ["env:", "file:", "vault:"];

/// A reference with its reader. Its `Debug` shows the reference only.
#[derive(Clone)]
pub(crate) struct Secret {
    reference: String,
    resolve: Resolve,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secret").field(&self.reference).finish()
    }
}

/// Whether the text names a secret and is none.
pub(crate) fn is_reference(text: &str) -> bool {
    REFERENCES.iter().any(|start| text.starts_with(start))
}

impl Secret {
    /// Refuses a text that is the secret itself.
    pub(crate) fn new(reference: &str, resolve: &Resolve) -> Result<Self, &'static str> {
        if is_reference(reference) {
            Ok(Self {
                reference: reference.to_owned(),
                resolve: Arc::clone(resolve),
            })
        } else {
            Err("must be env:NAME or file:/PATH, never the secret itself")
        }
    }

    /// Reads it. It may come later (a mounted file, a variable after a restart): worth another try.
    pub(crate) fn read(&self) -> Result<String, SendError> {
        (self.resolve)(&self.reference).map_err(|why| {
            let reference = &self.reference;
            SendError::later(format!("cannot read {reference}: {why}"))
        })
    }
}

/// An address that is secret itself (its path holds the token), or one that is not.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// Said in the configuration.
    Plain(reqwest::Url),
    /// Named there.
    Secret(Secret),
}

impl Address {
    pub(crate) fn new(text: &str, resolve: &Resolve) -> Result<Self, &'static str> {
        if is_reference(text) {
            Secret::new(text, resolve).map(Self::Secret)
        } else {
            crate::http::address(text).map(Self::Plain)
        }
    }

    pub(crate) fn read(&self) -> Result<reqwest::Url, SendError> {
        match self {
            Self::Plain(url) => Ok(url.clone()),
            Self::Secret(secret) => {
                let text = secret.read()?;
                let reference = &secret.reference;
                crate::http::address(text.trim())
                    .map_err(|why| SendError::later(format!("what {reference} holds {why}")))
            }
        }
    }
}
