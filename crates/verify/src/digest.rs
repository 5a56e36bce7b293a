//! Digests of bytes and the one JSON text of a value.

use agentwright_domain::digest::Digest;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// SHA-256 of bytes.
pub(crate) fn of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

/// The one JSON text of a value: keys sorted, no blanks.
pub(crate) fn canonical(value: &impl Serialize) -> Vec<u8> {
    let value = serde_json::to_value(value).unwrap_or(Value::Null);
    let mut text = String::new();
    write(&value, &mut text);
    text.into_bytes()
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            // Sorted here: another crate of the build may switch the map to insertion order.
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            text.push('{');
            for (i, name) in names.into_iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                write(&fields[name], text);
            }
            text.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn canonical_json_sorts_keys_and_has_no_blanks() {
        let value = json!({"b": [1, {"d": null, "c": "x\n"}], "a": true});
        assert_eq!(
            canonical(&value),
            br#"{"a":true,"b":[1,{"c":"x\n","d":null}]}"#
        );
    }
}
