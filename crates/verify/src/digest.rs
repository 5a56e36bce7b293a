//! Digests and the one JSON text of a value, as `proof` makes them, for values that always can be written.

use agentwright_domain::digest::Digest;
use serde::Serialize;

/// SHA-256 of bytes.
pub(crate) fn of(bytes: &[u8]) -> Digest {
    agentwright_proof::of_bytes(bytes)
}

/// The one JSON text of a value whose keys are all texts.
///
/// Invariant: only such values are given; every other one would be written as nothing.
pub(crate) fn canonical(value: &impl Serialize) -> Vec<u8> {
    agentwright_proof::canonical(value).unwrap_or_default()
}
