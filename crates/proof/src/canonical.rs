//! Canonical JSON: keys sorted by their bytes, no blanks, numbers as `serde_json` writes them.

use crate::NoJson;
use serde::Serialize;
use serde_json::Value;

/// The one JSON text of a value.
///
/// # Errors
/// When the value cannot be written as JSON.
pub fn canonical(value: &impl Serialize) -> Result<Vec<u8>, NoJson> {
    let value = serde_json::to_value(value)?;
    let mut text = String::new();
    write(&value, &mut text);
    Ok(text.into_bytes())
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
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| name.as_str());
            text.push('{');
            for (i, (name, value)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                write(value, text);
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
    fn keys_are_sorted_and_there_are_no_blanks() {
        let value = json!({"b": [1, {"d": null, "c": "x\n"}], "a": true, "é": 1.5});
        let text = String::from_utf8(canonical(&value).unwrap()).unwrap();
        assert_eq!(text, r#"{"a":true,"b":[1,{"c":"x\n","d":null}],"é":1.5}"#);
    }
}
