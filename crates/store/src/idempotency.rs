//! `Idempotency-Key`: the answer of a creating request, kept for its repetition.

use crate::Store;
use crate::error::Error;
use crate::scope::OrgScope;

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// Never seen: this caller goes on, and the id that it proposed is kept for repetitions.
    New,
    /// Seen with the same request: this is the id that the first one made.
    Same(String),
    /// Seen with another request: refuse.
    Different,
}

impl Store {
    /// Keeps `id` for `key` and the digest of its request; or tells what was kept before.
    pub async fn remember(
        &self,
        scope: &OrgScope,
        key: &str,
        request: &str,
        id: &str,
    ) -> Result<Remembered, Error> {
        let _ = (scope, key, request, id);
        Err(Error::Closed)
    }
}
