//! Big bytes, named by their digest, in a directory beside the tables.

use crate::Store;
use crate::error::Error;
use agentwright_domain::digest::Digest;
use std::path::PathBuf;

/// How many bytes of artifacts are kept, unless configured: 5 GB.
pub const ARTIFACTS_QUOTA_BYTES: u64 = 5_000_000_000;

impl Store {
    /// Keeps bytes; durable when it returns. Keeping the same bytes again costs nothing.
    pub async fn put_artifact(&self, bytes: Vec<u8>) -> Result<(Digest, u64), Error> {
        let _ = bytes;
        Err(Error::Closed)
    }

    /// The bytes, unless they were evicted. Damaged bytes are an error, never returned.
    pub async fn artifact(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let _ = digest;
        Err(Error::Closed)
    }

    /// Where the bytes are, or would be.
    pub fn artifact_path(&self, digest: &Digest) -> PathBuf {
        PathBuf::from(digest.hex())
    }
}
