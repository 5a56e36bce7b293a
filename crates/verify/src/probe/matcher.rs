//! What a text must be: [`Matcher`] rendered, compiled and asked.

use crate::template::Scope;
use agentwright_domain::acceptance::Matcher;
use regex::Regex;
use serde_json::Value;

/// How much of a text is shown to people.
const SHOWN_MAX: usize = 200;
/// The largest compiled regular expression, in bytes.
const REGEX_MAX: usize = 1 << 20;

/// A matcher without templates.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    Equals(String),
    Contains(Vec<String>),
    Lacks(Vec<String>),
    Matches(Regex),
    Json(Vec<(String, Value)>),
}

impl Wanted {
    pub(crate) fn render(matcher: &Matcher, scope: &Scope) -> Result<Self, String> {
        let all = |texts: &[String]| -> Result<Vec<String>, String> {
            if texts.is_empty() {
                return Err("the list of texts is empty, so it would match anything".into());
            }
            let texts: Vec<String> = texts
                .iter()
                .map(|text| scope.text(text))
                .collect::<Result<_, _>>()?;
            if texts.iter().any(String::is_empty) {
                return Err("an empty text is contained in everything".into());
            }
            Ok(texts)
        };
        match matcher {
            Matcher::Equals(text) => Ok(Self::Equals(scope.text(text)?)),
            Matcher::Contains(texts) => Ok(Self::Contains(all(texts)?)),
            Matcher::Lacks(texts) => Ok(Self::Lacks(all(texts)?)),
            Matcher::Matches(pattern) => {
                let pattern = scope.text(pattern)?;
                regex::RegexBuilder::new(&pattern)
                    .size_limit(REGEX_MAX)
                    .build()
                    .map(Self::Matches)
                    .map_err(|error| format!("regular expression {pattern:?}: {error}"))
            }
            Matcher::Json(pointers) => {
                if pointers.is_empty() {
                    return Err("no JSON pointer is given, so it would match anything".into());
                }
                let mut wanted = Vec::new();
                for (pointer, value) in pointers {
                    let pointer = scope.text(pointer)?;
                    check_pointer(&pointer)?;
                    wanted.push((pointer, scope.json(value)?));
                }
                Ok(Self::Json(wanted))
            }
        }
    }

    /// For people: what it must be.
    pub(crate) fn expected(&self) -> String {
        match self {
            Self::Equals(text) => format!("exactly {}", shown(text)),
            Self::Contains(texts) => format!("text containing {}", list(texts)),
            Self::Lacks(texts) => format!("text without {}", list(texts)),
            Self::Matches(regex) => format!("text matching {}", shown(regex.as_str())),
            Self::Json(wanted) => {
                let wanted: Vec<String> = wanted
                    .iter()
                    .map(|(pointer, value)| format!("{pointer} = {}", cut(&value.to_string())))
                    .collect();
                format!("JSON with {}", wanted.join(", "))
            }
        }
    }

    /// Whether it is; the error says what was found instead.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), String> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(format!("{} bytes that are not UTF-8 text", bytes.len()));
        };
        match self {
            Self::Equals(wanted) if text == wanted => Ok(()),
            Self::Contains(wanted) => match wanted.iter().find(|part| !text.contains(*part)) {
                None => Ok(()),
                Some(missing) => Err(format!("no {} in {}", shown(missing), shown(text))),
            },
            Self::Lacks(_) if text.is_empty() => Err("an empty text".into()),
            Self::Lacks(wanted) => match wanted.iter().find(|part| text.contains(*part)) {
                None => Ok(()),
                Some(there) => Err(format!("{} is there", shown(there))),
            },
            Self::Matches(regex) if regex.is_match(text) => Ok(()),
            Self::Equals(_) | Self::Matches(_) => Err(shown(text)),
            Self::Json(wanted) => check_json(wanted, text),
        }
    }
}

fn check_json(wanted: &[(String, Value)], text: &str) -> Result<(), String> {
    let found: Value = serde_json::from_str(text)
        .map_err(|error| format!("no JSON ({error}): {}", shown(text)))?;
    for (pointer, value) in wanted {
        match found.pointer(pointer) {
            None => return Err(format!("nothing at {pointer:?} in {}", shown(text))),
            Some(there) if same(there, value) => {}
            Some(there) => return Err(format!("{pointer} = {}", cut(&there.to_string()))),
        }
    }
    Ok(())
}

/// Equal as JSON, where `1` and `1.0` are the same number and decimals may differ in the last digits.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || ((x.is_f64() || y.is_f64()) && close(x.as_f64(), y.as_f64()))
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len()
                && x.iter()
                    .all(|(name, x)| y.get(name).is_some_and(|y| same(x, y)))
        }
        (a, b) => a == b,
    }
}

fn close(x: Option<f64>, y: Option<f64>) -> bool {
    /// Whole numbers below are exact as floats.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match (x, y) {
        (Some(x), Some(y)) if x.fract() == 0.0 && y.fract() == 0.0 => x == y && x.abs() < EXACT,
        (Some(x), Some(y)) => (x - y).abs() <= 1e-9 * x.abs().max(y.abs()),
        _ => false,
    }
}

/// Whether it is one.
pub(crate) fn check_pointer(pointer: &str) -> Result<(), String> {
    let shaped = pointer.is_empty() || pointer.starts_with('/');
    let escaped = pointer
        .split('~')
        .skip(1)
        .all(|rest| rest.starts_with(['0', '1']));
    if shaped && escaped {
        Ok(())
    } else {
        Err(format!(
            "{pointer:?} is no JSON pointer: write /name/0, with ~0 for ~ and ~1 for /"
        ))
    }
}

/// A text for people, quoted and cut.
pub(crate) fn shown(text: &str) -> String {
    if text.is_empty() {
        return "an empty text".into();
    }
    format!("{:?}", cut(text))
}

/// A text cut to what people read.
pub(crate) fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn list(texts: &[String]) -> String {
    texts
        .iter()
        .map(|text| shown(text))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::tests::scope;
    use serde_json::json;

    fn wanted(matcher: Value) -> Result<Wanted, String> {
        Wanted::render(&serde_json::from_value(matcher).unwrap(), &scope())
    }

    #[test]
    fn each_matcher_takes_what_it_should_and_refuses_the_rest() {
        for (matcher, good, bad) in [
            (json!({"equals": "{{ draw.word }}"}), "abc", "abc\n"),
            (json!({"contains": ["a", "c"]}), "abc", "ab"),
            (json!({"lacks": ["x"]}), "abc", "axc"),
            (json!({"lacks": ["x"]}), "abc", ""),
            (json!({"matches": "^a.c$"}), "abc", "abcd"),
            (
                json!({"json": {"/n": "{{ inputs.keep }}"}}),
                r#"{"n": 7.0}"#,
                r#"{"n": "7"}"#,
            ),
            (
                json!({"json": {"/{{ draw.word }}": "1"}}),
                r#"{"abc": 1}"#,
                r#"{"draw": 1}"#,
            ),
            (
                json!({"json": {"/n/0": "null"}}),
                r#"{"n": [null]}"#,
                r#"{"n": []}"#,
            ),
            (json!({"json": {"": "[]"}}), "[]", "not json"),
        ] {
            let wanted = wanted(matcher.clone()).unwrap();
            assert_eq!(wanted.check(good.as_bytes()), Ok(()), "{matcher}");
            assert!(wanted.check(bad.as_bytes()).is_err(), "{matcher}");
            assert!(!wanted.expected().is_empty());
        }
    }

    #[test]
    fn bytes_that_are_no_text_never_match() {
        let error = wanted(json!({"lacks": ["x"]}))
            .unwrap()
            .check(&[0xff])
            .unwrap_err();
        assert!(error.contains("not UTF-8"));
    }

    #[test]
    fn matchers_that_match_anything_are_refused() {
        for matcher in [
            json!({"contains": []}),
            json!({"contains": [""]}),
            json!({"lacks": []}),
            json!({"json": {}}),
            json!({"json": {"n": "1"}}),
            json!({"json": {"/~2": "1"}}),
            json!({"matches": "("}),
        ] {
            assert!(wanted(matcher.clone()).is_err(), "{matcher}");
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert!(same(&json!(1), &json!(1.0)));
        assert!(same(&json!(0.1 + 0.2), &json!(0.3)));
        assert!(!same(
            &json!(9_007_199_254_740_993_i64),
            &json!(9_007_199_254_740_992.0)
        ));
        assert!(!same(&json!(1), &json!("1")));
        assert!(same(&json!({"a": [1]}), &json!({"a": [1.0]})));
        assert!(!same(&json!({"a": 1}), &json!({"b": 1})));
    }

    #[test]
    fn long_texts_are_cut_for_people() {
        let error = wanted(json!({"equals": "a"}))
            .unwrap()
            .check("b".repeat(5000).as_bytes())
            .unwrap_err();
        assert!(error.len() < 300);
    }
}
