//! Why there is no secret, by what a person does next. No text holds a body, a token or an id.

use std::path::PathBuf;

/// Why there is no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not answer, or is not ready: the same can be asked again later.
    #[error("Vault is away: {0}")]
    Away(String),
    /// It is sealed.
    #[error("Vault is sealed: unseal it")]
    Sealed,
    /// A file of the AppRole cannot be used.
    #[error("{} {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The role is unknown, or its secret id is wrong, used up or expired.
    #[error(
        "Vault does not let this AppRole in: make a new secret id, and check the role id and auth_mount"
    )]
    Role,
    /// The role may not read that path.
    #[error("the AppRole may not read {0}: its policy needs the capability read on that path")]
    Denied(String),
    /// There is no such secret, or its newest version was deleted.
    #[error(
        "there is no secret {0}: check mount and path, and that its newest version is not deleted"
    )]
    Missing(String),
    /// The secret has no such field, or it is no text.
    #[error("the secret {path} has no field {field} that is a text")]
    NoField {
        /// The secret.
        path: String,
        /// The field.
        field: String,
    },
    /// It sends us elsewhere.
    #[error(
        "Vault answers with a redirect, which is not followed: a token is for one address only; set address to the active server's"
    )]
    Redirect,
    /// Its answer is none of Vault's.
    #[error("Vault answers something that is not understood ({0}): check the address")]
    Strange(String),
}
