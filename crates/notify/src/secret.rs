//! A value that must not be seen: named in the configuration by a reference, read when it is needed.

use crate::SendError;
use agentwright_domain::secret::Reference;
use std::fmt;
use std::sync::Arc;

/// Turns a reference (`env:NAME`, `file:/PATH`, `vault:MOUNT/PATH#FIELD`) into its value, or says why there is none.
/// Handed in by whoever may read them; may block.
pub type Resolve = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

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
    Reference::is_meant(text)
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
            Err("must be env:NAME, file:/PATH or vault:MOUNT/PATH#FIELD, never the secret itself")
        }
    }

    /// Reads it. It may come later (a mounted file, a variable after a restart): worth another try.
    pub(crate) async fn read(&self) -> Result<String, SendError> {
        let (resolve, of) = (Arc::clone(&self.resolve), self.reference.clone());
        let read = tokio::task::spawn_blocking(move || resolve(&of)).await;
        let read = read.unwrap_or_else(|error| Err(error.to_string()));
        read.map_err(|why| {
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

    pub(crate) async fn read(&self) -> Result<reqwest::Url, SendError> {
        match self {
            Self::Plain(url) => Ok(url.clone()),
            Self::Secret(secret) => {
                let text = secret.read().await?;
                let reference = &secret.reference;
                crate::http::address(text.trim())
                    .map_err(|why| SendError::later(format!("what {reference} holds {why}")))
            }
        }
    }
}
