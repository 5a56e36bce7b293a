//! Values of inputs: read from tokens, taken from explicit `name=value`, checked against the type.

use crate::entity;
use crate::format::{Input, InputKind};
use crate::lex::{Kind, Token};
use crate::paths;
use crate::plan::Context;
use agentwright_domain::secret::Reference;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most elements of a list input.
pub(crate) const LIST_MAX: usize = 50;

const SPANS: [(&str, u64); 5] = [
    ("second seconds sec secs s", 1),
    ("minute minutes min mins m", 60),
    ("hour hours hr hrs h", 3_600),
    ("day days d night nights", 86_400),
    ("week weeks w wk wks", 604_800),
];
const SIZES: [(&str, u64); 5] = [
    ("byte bytes b", 1),
    ("kb kilobyte kilobytes k kib", 1_000),
    ("mb megabyte megabytes meg megs mib", 1_000_000),
    ("gb gigabyte gigabytes gig gigs gib", 1_000_000_000),
    ("tb terabyte terabytes tib", 1_000_000_000_000),
];

/// The phrases that an input brings into the vocabulary.
pub(crate) fn phrases(input: &Input) -> Vec<String> {
    let mut all = input.find.phrases.clone();
    all.extend(input.find.before.keys().cloned());
    all.extend(input.find.after.keys().cloned());
    match &input.kind {
        InputKind::Choice { of } | InputKind::Choices { of } => {
            all.extend(of.values().flatten().cloned());
        }
        InputKind::Flag { yes } => all.extend(yes.iter().cloned()),
        InputKind::Globs { kinds } => all.extend(kinds.keys().cloned()),
        _ => {}
    }
    all
}

/// The unit of time of a word, in seconds.
pub(crate) fn span_unit(word: &str) -> Option<u64> {
    let in_list = |list: &str| list.split(' ').any(|known| known == word);
    let known = SPANS
        .iter()
        .find(|(list, _)| in_list(list))
        .map(|(_, seconds)| *seconds);
    known.or(match word {
        "month" | "months" | "mo" => Some(30 * 86_400),
        "year" | "years" | "yr" | "yrs" | "y" => Some(365 * 86_400),
        "fortnight" => Some(14 * 86_400),
        "quarter" | "quarters" => Some(91 * 86_400),
        _ => None,
    })
}

/// The unit of size of a word, in bytes.
pub(crate) fn size_unit(word: &str) -> Option<u64> {
    SIZES
        .iter()
        .find(|(list, _)| list.split(' ').any(|known| known == word))
        .map(|(_, bytes)| *bytes)
}

/// A number with a unit at a token: the amount and how many tokens it takes.
fn amount(tokens: &[Token], at: usize, unit_of: fn(&str) -> Option<u64>) -> Option<(u64, usize)> {
    let token = tokens.get(at)?;
    let next = tokens.get(at + 1).filter(|t| t.is_word());
    let times = |value: f64, unit: u64| {
        let total = value * unit as f64;
        // Invariant: non-negative and below 2^53, so the conversion is exact enough.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be within 0..2^53"
        )]
        (0.0..9.0e15).contains(&total).then_some(total as u64)
    };
    match &token.kind {
        Kind::Number { value, unit } if !unit.is_empty() => {
            Some((times(*value, unit_of(unit)?)?, 1))
        }
        Kind::Number { value, .. } => {
            let dash = tokens
                .get(at + 1)
                .filter(|t| t.punct("-"))
                .and(tokens.get(at + 2));
            if let Some(unit) = dash.and_then(|t| unit_of(&t.lower)) {
                return Some((times(*value, unit)?, 3));
            }
            Some((times(*value, unit_of(&next?.lower)?)?, 2))
        }
        Kind::Word if token.is(&["a", "an", "one"]) => Some((unit_of(&next?.lower)?, 2)),
        Kind::Word if token.is(&["half"]) => {
            let unit = tokens.get(at + 2).filter(|t| t.is_word())?;
            Some((unit_of(&unit.lower)? / 2, 3))
        }
        Kind::Word if token.is(&["month", "week", "year", "day", "hour", "fortnight"]) => {
            Some((unit_of(&token.lower)?, 1))
        }
        _ => None,
    }
}

/// A value of the input's type at a token, and how many tokens it takes.
pub(crate) fn at(input: &Input, tokens: &[Token], at: usize) -> Option<(Value, usize)> {
    let token = tokens.get(at)?;
    match &input.kind {
        InputKind::Integer { .. } | InputKind::Port {} => {
            let Kind::Number { value, unit } = &token.kind else {
                return None;
            };
            let next = tokens
                .get(at + 1)
                .filter(|t| t.is_word())
                .map_or("", |t| t.lower.as_str());
            let measured = !unit.is_empty() && unit != "x"
                || span_unit(next).is_some()
                || size_unit(next).is_some();
            // Invariant: whole and below 2^53.
            #[expect(clippy::cast_possible_truncation, reason = "whole and within 0..2^53")]
            (!measured && value.fract() == 0.0 && *value < 9.0e15)
                .then(|| (json!(*value as i64), 1))
        }
        InputKind::Duration {} => amount(tokens, at, span_unit).map(|(n, len)| (json!(n), len)),
        InputKind::Size {} => amount(tokens, at, size_unit).map(|(n, len)| (json!(n), len)),
        InputKind::Text { .. } => match token.kind {
            Kind::Quoted => Some((json!(token.text), 1)),
            Kind::Word if !stops(token) => Some((json!(token.text), 1)),
            _ => None,
        },
        InputKind::Columns {} | InputKind::Words {} => words(tokens, at),
        InputKind::Globs { kinds } => globs(tokens, at, kinds),
        _ => None,
    }
}

/// Words that end a list of columns or words.
const STOPS: &str = "according depending based sorted by per for in from of to grouped group every each as into with then  \
 over across within using and or the a an it on at is are that which all my our them this these those  \
 out up column columns field fields file files so when where if but please inside than their its i me  \
 you not has have had saved under written stored unless except excluding only skip";

fn stops(token: &Token) -> bool {
    STOPS.split_whitespace().any(|word| word == token.lower)
}

/// A list of columns or words: "region, product and unit price".
fn words(tokens: &[Token], start: usize) -> Option<(Value, usize)> {
    let mut list: Vec<String> = Vec::new();
    let mut at = start;
    let mut end = start;
    while list.len() < LIST_MAX {
        while tokens.get(at).is_some_and(|t| {
            t.is(&[
                "the", "column", "columns", "field", "fields", "each", "my", "all",
            ])
        }) {
            at += 1;
        }
        let mut item: Vec<String> = Vec::new();
        while let Some(token) = tokens.get(at) {
            let one = token.kind == Kind::Quoted;
            let word = token.is_word() && !stops(token);
            if !(one || word) || item.len() >= 3 || (one && !item.is_empty()) {
                break;
            }
            item.push(joined(tokens, &mut at));
            if one {
                break;
            }
        }
        if item.is_empty() {
            break;
        }
        list.push(item.join(" "));
        while tokens
            .get(at)
            .is_some_and(|t| t.is(&["column", "columns", "field", "fields"]))
        {
            at += 1;
        }
        end = at;
        let separator = |t: &Token| t.punct(",&/+") || t.is(&["and", "or", "plus"]);
        let before = at;
        while tokens.get(at).is_some_and(separator) {
            at += 1;
        }
        // ", by region" and "and by product" go on with the same list; other words end it.
        let column = tokens
            .get(at + 1)
            .is_some_and(|t| t.is(&["by", "per", "for", "from", "of", "in"]));
        if at == before
            || !column
                && tokens.get(at).is_some_and(|t| {
                    t.is(&[
                        "then", "save", "write", "put", "send", "make", "output", "keep", "create",
                        "run", "count", "store", "sum", "average", "total",
                    ])
                })
        {
            break;
        }
    }
    (!list.is_empty()).then(|| (json!(list), end - start))
}

/// A word with the parts that hyphens tie to it: `sensor-a`.
fn joined(tokens: &[Token], at: &mut usize) -> String {
    let mut text = tokens[*at].text.clone();
    *at += 1;
    while let (Some(hyphen), Some(part)) = (tokens.get(*at), tokens.get(*at + 1)) {
        let tied = hyphen.punct("-") && tokens[*at - 1].to == hyphen.from && hyphen.to == part.from;
        if !tied || !matches!(part.kind, Kind::Word | Kind::Number { .. }) {
            break;
        }
        text = format!("{text}-{}", part.text);
        *at += 2;
    }
    text
}

fn globs(
    tokens: &[Token],
    start: usize,
    kinds: &std::collections::BTreeMap<String, Vec<String>>,
) -> Option<(Value, usize)> {
    let mut list: Vec<String> = Vec::new();
    let mut at = start;
    let mut end = start;
    while let Some(token) = tokens.get(at).filter(|_| list.len() < LIST_MAX) {
        let known = kinds.iter().find(|(name, _)| {
            **name == token.lower || token.is_word() && crate::vocabulary::stem(name) == token.stem
        });
        if let Some((_, patterns)) = known {
            list.extend(patterns.iter().cloned());
        } else if token.kind == Kind::Glob || token.kind == Kind::Quoted {
            list.push(
                if token.text.starts_with('.') && !token.text.contains('*') {
                    format!("*{}", token.text)
                } else {
                    token.text.clone()
                },
            );
        } else if token.is_word() && token.text.contains('_') {
            list.push(token.text.clone());
        } else if token.punct(",&/")
            || token.is(&[
                "and",
                "or",
                "files",
                "the",
                "all",
                "folder",
                "folders",
                "any",
                "directories",
                "file",
                "directory",
            ])
        {
            at += 1;
            continue;
        } else if token.kind == Kind::Path && !token.text.starts_with(['/', '~', '.']) {
            list.push(token.text.trim_end_matches('/').to_owned());
        } else {
            break;
        }
        at += 1;
        end = at;
    }
    list.dedup();
    (!list.is_empty()).then(|| (json!(list), end - start))
}

/// Checks a value that already has its final form.
///
/// # Errors
/// What would fit instead.
pub(crate) fn check(input: &Input, value: &Value) -> Result<(), String> {
    let text = value
        .as_str()
        .filter(|t| !t.trim().is_empty() && !t.contains('\0'));
    let fits = match &input.kind {
        InputKind::Folder { .. } | InputKind::File { .. } => {
            text.is_some_and(|t| t.starts_with('/'))
        }
        InputKind::Url {} => {
            return text
                .ok_or("an http or https address".to_owned())
                .and_then(http);
        }
        InputKind::Urls {} => {
            let list = value
                .as_array()
                .filter(|list| !list.is_empty() && list.len() <= LIST_MAX)
                .ok_or("a list of addresses")?;
            return list.iter().try_for_each(|v| {
                v.as_str()
                    .ok_or("a list of addresses".to_owned())
                    .and_then(http)
            });
        }
        InputKind::PostgresUrl {} => {
            return text
                .ok_or("an address postgresql://user@host/database".to_owned())
                .and_then(postgres);
        }
        InputKind::Text { max, .. } => text.is_some_and(|t| t.chars().count() <= *max),
        InputKind::Integer { min, max } => {
            return value
                .as_i64()
                .is_some_and(|n| n >= *min && n <= *max)
                .then_some(())
                .ok_or_else(|| format!("a whole number from {min} to {max}"));
        }
        InputKind::Duration {} | InputKind::Size {} => value.as_u64().is_some_and(|n| n > 0),
        InputKind::Choice { of } => {
            return text
                .is_some_and(|t| of.contains_key(t))
                .then_some(())
                .ok_or_else(|| format!("one of {}", names(of)));
        }
        InputKind::Choices { of } => {
            let known = |v: &Value| v.as_str().is_some_and(|t| of.contains_key(t));
            return value
                .as_array()
                .is_some_and(|l| !l.is_empty() && l.len() <= LIST_MAX && l.iter().all(known))
                .then_some(())
                .ok_or_else(|| format!("some of {}", names(of)));
        }
        InputKind::Flag { .. } => value.is_boolean(),
        InputKind::Port {} => value.as_u64().is_some_and(|n| n <= 65_535),
        InputKind::Columns {} | InputKind::Words {} | InputKind::Globs { .. } => is_texts(value),
        InputKind::Entity {} => return check_entity(value),
        InputKind::Secret {} => text.is_some_and(|t| t.parse::<Reference>().is_ok()),
    };
    if fits {
        Ok(())
    } else {
        Err(expected(&input.kind).to_owned())
    }
}

fn is_texts(value: &Value) -> bool {
    let fits = |v: &Value| v.as_str().is_some_and(|t| !t.is_empty() && t.len() <= 1000);
    value
        .as_array()
        .is_some_and(|list| list.len() <= LIST_MAX && list.iter().all(fits))
}

fn names(of: &BTreeMap<String, Vec<String>>) -> String {
    of.keys().cloned().collect::<Vec<_>>().join(", ")
}

fn http(text: &str) -> Result<(), String> {
    let url = paths::address(text)?;
    if url.scheme().starts_with("http") {
        Ok(())
    } else {
        Err(format!("{text}: an http or https address is needed"))
    }
}

fn postgres(text: &str) -> Result<(), String> {
    let url = paths::address(text)?;
    if !url.scheme().starts_with("postgres") || url.path().len() < 2 || url.username().is_empty() {
        return Err(format!(
            "{text}: expected postgresql://user@host:port/database"
        ));
    }
    Ok(())
}

fn check_entity(value: &Value) -> Result<(), String> {
    let shape = "a record {name, plural, fields: [{name, type, required}]} with types text, integer, number, boolean or date";
    let named = |v: &Value, key: &str| {
        v[key]
            .as_str()
            .is_some_and(|t| entity::identifier(t).as_deref() == Some(t))
    };
    let fields = value["fields"].as_array().ok_or(shape)?;
    let typed = |f: &Value| {
        f["type"]
            .as_str()
            .is_some_and(|t| ["text", "integer", "number", "boolean", "date"].contains(&t))
            && f["required"].is_boolean()
    };
    let mut names: Vec<&str> = fields.iter().filter_map(|f| f["name"].as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let fits = named(value, "name")
        && named(value, "plural")
        && !fields.is_empty()
        && fields.len() <= entity::FIELDS_MAX
        && names.len() == fields.len()
        && fields.iter().all(|f| named(f, "name") && typed(f));
    if fits { Ok(()) } else { Err(shape.to_owned()) }
}

fn expected(kind: &InputKind) -> &'static str {
    match kind {
        InputKind::Folder { .. } => "a folder",
        InputKind::File { .. } => "a file",
        InputKind::Duration {} => "a span of time such as 30d, 12h or 90m",
        InputKind::Size {} => "an amount such as 500MB",
        InputKind::Flag { .. } => "true or false",
        InputKind::Port {} => "a port from 1 to 65535",
        InputKind::Secret {} => {
            "a reference env:NAME, file:/PATH or vault:MOUNT/PATH#FIELD, never the secret itself"
        }
        InputKind::Text { .. } => "a text",
        _ => "a list of texts",
    }
}

/// Takes an explicitly given value: texts are read as people write them, paths made absolute.
///
/// # Errors
/// What would fit instead.
pub(crate) fn accept(input: &Input, value: &Value, context: &Context) -> Result<Value, String> {
    let text = value.as_str().map(str::trim);
    let list = |text: &str| {
        json!(
            text.split(',')
                .map(str::trim)
                .filter(|t| !t.is_empty())
                .collect::<Vec<_>>()
        )
    };
    let value = match (&input.kind, text) {
        (InputKind::Folder { .. } | InputKind::File { .. }, Some(text)) => {
            return path(input, text, context);
        }
        (InputKind::Integer { .. } | InputKind::Port {}, Some(text)) => {
            text.parse::<i64>().map_or(json!(text), |n| json!(n))
        }
        (InputKind::Flag { .. }, Some(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" | "on" => json!(true),
            "false" | "no" | "0" | "off" => json!(false),
            _ => json!(text),
        },
        (InputKind::Duration {} | InputKind::Size {}, Some(text)) => {
            let empty = crate::vocabulary::Vocabulary::of([]);
            let tokens = crate::lex::tokens(text, &empty);
            let read = at(input, &tokens, 0).filter(|(_, length)| *length == tokens.len());
            read.map_or(json!(text), |(value, _)| value)
        }
        (
            InputKind::Columns {}
            | InputKind::Words {}
            | InputKind::Globs { .. }
            | InputKind::Urls {}
            | InputKind::Choices { .. },
            Some(text),
        ) => list(text),
        (InputKind::Entity {}, Some(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| json!(text))
        }
        _ => value.clone(),
    };
    check(input, &value)?;
    Ok(value)
}

/// A path for a folder or file input, absolute; a folder given for a file gets the usual file name.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn path(input: &Input, text: &str, context: &Context) -> Result<Value, String> {
    use agentwright_domain::spec::Access;
    let full = paths::absolute(text, context)?;
    match &input.kind {
        InputKind::Folder { access, .. } => {
            if *access == Access::Write {
                paths::writable(&full)?;
            }
            Ok(json!(full))
        }
        InputKind::File { access, within, .. } => {
            let bare = !paths::names_file(text) && !text.contains('*');
            let full = match within.as_ref().filter(|_| bare || text.ends_with('/')) {
                Some(within) => format!("{}/{within}", full.trim_end_matches('/')),
                None => full,
            };
            let folder =
                full.rsplit_once('/').map_or(
                    "/",
                    |(folder, _)| if folder.is_empty() { "/" } else { folder },
                );
            if *access == Access::Write {
                paths::writable(folder)?;
            }
            if folder.contains('*') {
                return Err(format!("{text}: only the last part of a path may hold *"));
            }
            Ok(json!(full))
        }
        _ => Ok(json!(full)),
    }
}
