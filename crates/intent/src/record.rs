//! Changing a described record: fields are added, dropped, made optional or required; everything
//! that the sentence does not name stays. What cannot be done to kept data is refused.

use crate::entity;
use crate::lex::Kind;
use crate::sentence::{Said, Sentence};
use serde_json::{Value, json};

const MARKERS: [&str; 9] = [
    "field",
    "fields",
    "column",
    "columns",
    "attribute",
    "attributes",
    "property",
    "properties",
    "has",
];

/// The changed record and the tokens that say so; `None` when the sentence does not speak of fields.
///
/// # Errors
/// The part that cannot be done, and why.
pub(crate) fn changed(s: &Sentence, old: &Value) -> Result<Option<Said<Value>>, String> {
    let mut record = old.clone();
    let mut tokens: Vec<usize> = Vec::new();
    for at in 0..s.tokens.len() {
        let token = &s.tokens[at];
        if s.spoken(at) || tokens.contains(&at) {
            continue;
        }
        if token.is(&["rename", "renamed", "call"]) && names(s, at, &record).is_some() {
            return Err(format!(
                "\"{}\": a field cannot be renamed, its data would be lost",
                token.text
            ));
        }
        if token.is(&["drop", "remove", "delete", "without", "omit"]) {
            drop_fields(s, at, &mut record, &mut tokens)?;
        } else if token.is(&["optional", "required", "mandatory"]) {
            need(s, at, &mut record, &mut tokens);
        } else if token.is(&[
            "add",
            "also",
            "plus",
            "include",
            "including",
            "additional",
            "another",
            "extra",
            "has",
            "have",
            "needs",
            "need",
            "with",
        ]) {
            add_fields(s, at, &mut record, &mut tokens)?;
        }
    }
    if record["fields"].as_array().is_some_and(Vec::is_empty) {
        return Err("a record needs at least one field".to_owned());
    }
    Ok((!tokens.is_empty()).then_some(Said {
        value: record,
        tokens,
    }))
}

/// The known field that is named within four words after a token: its place among the fields and the token.
fn names(s: &Sentence, at: usize, record: &Value) -> Option<(usize, usize)> {
    (at + 1..(at + 5).min(s.tokens.len()))
        .find_map(|k| Some((position(record, &s.tokens[k].lower)?, k)))
}

fn position(record: &Value, name: &str) -> Option<usize> {
    record["fields"]
        .as_array()?
        .iter()
        .position(|field| field["name"] == *name)
}

fn drop_fields(
    s: &Sentence,
    at: usize,
    record: &mut Value,
    tokens: &mut Vec<usize>,
) -> Result<(), String> {
    let mut found = false;
    for k in at + 1..s.tokens.len() {
        let token = &s.tokens[k];
        if let Some(place) = position(record, &token.lower) {
            if let Some(fields) = record["fields"].as_array_mut() {
                fields.remove(place);
            }
            tokens.extend([at, k]);
            found = true;
        } else if !(token.is(&MARKERS)
            || token.is(&["the", "a", "and", "of", "its", "their", "any"])
            || token.punct(","))
        {
            break;
        }
    }
    let speaks = s.tokens.iter().any(|t| t.is(&MARKERS[..8]));
    if !found && speaks && s.tokens[at].is(&["drop", "remove", "delete"]) {
        return Err(format!(
            "\"{}\": there is no such field",
            s.words(&(at..(at + 4).min(s.tokens.len())).collect::<Vec<_>>())
        ));
    }
    Ok(())
}

/// "make year optional", "the title is required".
fn need(s: &Sentence, at: usize, record: &mut Value, tokens: &mut Vec<usize>) {
    let from = at.saturating_sub(5);
    let named = (from..at)
        .rev()
        .find_map(|k| Some((position(record, &s.tokens[k].lower)?, k)));
    let verb = (from..at).any(|k| s.tokens[k].is(&["make", "be", "is", "becomes", "mark", "as"]));
    if let Some((place, k)) = named.filter(|_| verb) {
        record["fields"][place]["required"] = json!(!s.tokens[at].is(&["optional"]));
        tokens.extend([at, k]);
    }
}

fn add_fields(
    s: &Sentence,
    at: usize,
    record: &mut Value,
    tokens: &mut Vec<usize>,
) -> Result<(), String> {
    let (fields, used) = entity::read_fields(s, at + 1);
    if fields.is_empty() {
        return Ok(());
    }
    // "also email me" is no field: one must be called so, have a type, or be given to the record.
    let marked = used.iter().any(|k| s.tokens[*k].is(&MARKERS[..8]))
        || (at > 0 && s.tokens[at - 1].is(&MARKERS[..8]));
    let typed = used
        .iter()
        .any(|k| s.tokens[*k].punct("(:") || s.tokens[*k].is(&["as"]));
    let called = [record["name"].clone(), record["plural"].clone()];
    let noun = |k: usize| {
        s.tokens
            .get(k)
            .is_some_and(|t| called.iter().any(|c| *c == *t.lower))
    };
    let end = used.iter().max().map_or(at, |k| k + 1);
    let given = (at.saturating_sub(3)..at).any(noun)
        && s.tokens[at].is(&["has", "have", "also", "needs", "need", "with"])
        || s.tokens.get(end).is_some_and(|t| t.is(&["to", "for"])) && (end..end + 4).any(noun);
    if !(marked || typed || given) {
        return Ok(());
    }
    for field in fields {
        match position(record, field["name"].as_str().unwrap_or("")) {
            Some(place) if record["fields"][place]["type"] == field["type"] => {}
            Some(_) => {
                return Err(format!(
                    "{}: the type of a field that has data cannot be changed",
                    field["name"]
                ));
            }
            None => {
                let mut new = field.clone();
                // What exists already has no such value.
                new["required"] = json!(false);
                if let Some(all) = record["fields"].as_array_mut() {
                    all.push(new);
                }
            }
        }
    }
    tokens.push(at);
    tokens.extend(
        used.into_iter()
            .filter(|k| s.tokens[*k].kind != Kind::Punct),
    );
    if given {
        tokens.extend((at.saturating_sub(3)..at).filter(|k| noun(*k)));
        tokens.extend(
            (end..(end + 4).min(s.tokens.len()))
                .filter(|k| noun(*k) || s.tokens[*k].is(&["to", "for", "each", "every", "the"])),
        );
    }
    Ok(())
}
