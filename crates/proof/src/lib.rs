//! The one JSON text of a value, and the digests over bytes, values and trees of files.
//!
//! Pure: what is on disk is read elsewhere ([`Tree`] is made of what somebody read). Not here yet:
//! statements, envelopes and signatures. Start at [`of_json`].

mod canonical;
mod tree;

pub use canonical::canonical;
pub use tree::{Tree, TreeEntry};

use agentwright_domain::digest::Digest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// The digest of bytes.
pub fn of_bytes(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

/// The digest of a value's one JSON text ([`canonical`]).
///
/// # Errors
/// When the value cannot be written as JSON (a map with keys that are no texts).
pub fn of_json(value: &impl Serialize) -> Result<Digest, NoJson> {
    Ok(of_bytes(&canonical(value)?))
}

/// The value cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("cannot write a value as JSON: {0}")]
pub struct NoJson(#[from] serde_json::Error);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn a_digest_of_bytes_is_their_sha256() {
        assert_eq!(
            of_bytes(b"abc").as_str(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let one = of_json(&json!({"a": 1, "b": {"x": 1, "y": 2}})).unwrap();
        let two = of_json(&json!({"b": {"y": 2, "x": 1}, "a": 1})).unwrap();
        assert_eq!(one, two);
    }

    #[test]
    fn a_value_that_is_no_json_is_an_error() {
        let keyed = BTreeMap::from([((1, 2), 3)]);
        assert!(of_json(&keyed).is_err());
    }
}
