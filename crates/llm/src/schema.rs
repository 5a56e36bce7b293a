//! Holding an answer against its schema, whatever the provider promised.

use jsonschema::Validator;
use serde_json::Value;

/// The most places in one answer where JSON is looked for.
const PLACES_MAX: usize = 64;
/// The most complaints that are told.
const COMPLAINTS_MAX: usize = 5;
/// The longest complaint, in characters.
const COMPLAINT_MAX: usize = 200;

/// Why an answer is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// No JSON in it.
    NoJson,
    /// Several values that hold: which one is meant is not for us to guess.
    Ambiguous,
    /// JSON that does not hold; what is wrong with it, without its values.
    Invalid(Vec<String>),
}

/// A schema that can be held against.
pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::validator_for(schema).map_err(|error| tidy(&error.masked().to_string()))
}

/// The value in an answer: all of it, or what stands in its only fence, or in the words around it,
/// where exactly one value holds against the schema.
pub(crate) fn extract(text: &str, validator: &Validator) -> Result<Value, Unfit> {
    let text = text.trim();
    if let Ok(whole) = serde_json::from_str::<Value>(text) {
        let complaints = complaints(&whole, validator);
        return if complaints.is_empty() {
            Ok(whole)
        } else {
            Err(Unfit::Invalid(complaints))
        };
    }
    let found = candidates(text);
    let mut holding = found.iter().filter(|value| validator.is_valid(value));
    if let Some(value) = holding.next() {
        return if holding.all(|other| other == value) {
            Ok(value.clone())
        } else {
            Err(Unfit::Ambiguous)
        };
    }
    match found.iter().max_by_key(|value| value.to_string().len()) {
        Some(longest) => Err(Unfit::Invalid(complaints(longest, validator))),
        None => Err(Unfit::NoJson),
    }
}

/// Objects and arrays that stand in the text, the outermost only.
fn candidates(text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut at = 0;
    for _ in 0..PLACES_MAX {
        let Some(next) = text[at..].find(['{', '[']) else {
            break;
        };
        let start = at + next;
        let mut stream = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        if let Some(Ok(value)) = stream.next() {
            at = start + stream.byte_offset();
            found.push(value);
        } else {
            at = start + 1;
        }
    }
    found
}

fn complaints(value: &Value, validator: &Validator) -> Vec<String> {
    validator
        .iter_errors(value)
        .take(COMPLAINTS_MAX)
        .map(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "/" } else { &place };
            tidy(&format!("{place}: {}", error.masked()))
        })
        .collect()
}

/// Short, on one line, without anything that moves a cursor.
fn tidy(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(COMPLAINT_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn verdict() -> Validator {
        compile(&json!({
            "type": "object", "required": ["verdict"],
            "properties": {"verdict": {"enum": ["PASS", "FAIL"]}},
            "additionalProperties": false
        }))
        .unwrap()
    }

    #[test]
    fn json_is_found_alone_in_fences_and_between_words() {
        let pass = json!({"verdict": "PASS"});
        for text in [
            "{\"verdict\":\"PASS\"}",
            "  {\"verdict\": \"PASS\"}\n",
            "```json\n{\"verdict\":\"PASS\"}\n```",
            "```\n{\"verdict\":\"PASS\"}\n```",
            "Here it is:\n```json\n{\"verdict\":\"PASS\"}\n```\nAnything else [1]?",
            "My answer is {\"verdict\":\"PASS\"}, as {asked}.",
            "{\"verdict\":\"PASS\"} and again {\"verdict\":\"PASS\"}",
        ] {
            assert_eq!(extract(text, &verdict()), Ok(pass.clone()), "{text}");
        }
    }

    #[test]
    fn what_is_missing_ambiguous_or_wrong_is_not_taken() {
        let v = verdict();
        for text in ["", "PASS", "I pass it", "{\"verdict\":\"PASS\"", "{{{{"] {
            assert_eq!(extract(text, &v), Err(Unfit::NoJson), "{text}");
        }
        let two = "either {\"verdict\":\"PASS\"} or {\"verdict\":\"FAIL\"}";
        assert_eq!(extract(two, &v), Err(Unfit::Ambiguous));
        for text in ["{}", "[]", "null", "see {\"verdict\": \"MAYBE\"}"] {
            assert!(
                matches!(extract(text, &v), Err(Unfit::Invalid(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn complaints_name_the_place_and_not_the_value() {
        let Err(Unfit::Invalid(said)) = extract("{\"verdict\": \"sk-secret\"}", &verdict()) else {
            panic!("it is wrong");
        };
        assert!(said[0].starts_with("/verdict: "), "{said:?}");
        assert!(!said[0].contains("sk-secret"), "{said:?}");
    }

    #[test]
    fn a_long_row_of_brackets_ends() {
        assert_eq!(
            extract(&"[".repeat(1_000_000), &verdict()),
            Err(Unfit::NoJson)
        );
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        assert!(compile(&json!({"type": "nonsense"})).is_err());
    }
}
