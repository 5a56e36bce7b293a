//! A record described in a sentence: "books with title, author and year (integer)".

use crate::lex::{Kind, Token};
use crate::sentence::{Said, Sentence};
use serde_json::{Value, json};

/// Most fields of a record.
pub(crate) const FIELDS_MAX: usize = 40;

const OPENERS: [&str; 16] = [
    "with",
    "having",
    "has",
    "have",
    "containing",
    "contain",
    "fields",
    "columns",
    "attributes",
    "properties",
    "consisting",
    "including",
    "include",
    "storing",
    "made",
    "holding",
];
const SKIPPED: [&str; 38] = [
    "new",
    "another",
    "additional",
    "extra",
    "also",
    "too",
    "a",
    "an",
    "the",
    "its",
    "their",
    "some",
    "of",
    "fields",
    "field",
    "columns",
    "column",
    "attributes",
    "attribute",
    "properties",
    "property",
    "following",
    "these",
    "each",
    "one",
    "has",
    "have",
    "and",
    "named",
    "called",
    "up",
    "that",
    "them",
    "just",
    "like",
    "such",
    "are",
    "is",
];
const ENDS: [&str; 33] = [
    "on",
    "in",
    "at",
    "listening",
    "call",
    "store",
    "stored",
    "saved",
    "port",
    "using",
    "running",
    "please",
    "served",
    "backed",
    "which",
    "so",
    "it",
    "i",
    "we",
    "make",
    "expose",
    "via",
    "through",
    "from",
    "to",
    "for",
    "over",
    "by",
    "with",
    "where",
    "then",
    "persist",
    "keep",
];
const NOT_NOUNS: [&str; 62] = [
    "service",
    "api",
    "rest",
    "json",
    "crud",
    "server",
    "endpoint",
    "endpoints",
    "backend",
    "http",
    "web",
    "database",
    "list",
    "records",
    "record",
    "a",
    "an",
    "the",
    "my",
    "our",
    "me",
    "small",
    "simple",
    "little",
    "tiny",
    "with",
    "to",
    "and",
    "manage",
    "managing",
    "store",
    "storing",
    "keep",
    "keeping",
    "track",
    "tracking",
    "of",
    "for",
    "handle",
    "handling",
    "save",
    "serve",
    "serving",
    "collection",
    "entity",
    "entities",
    "called",
    "named",
    "type",
    "microservice",
    "app",
    "data",
    "information",
    "info",
    "all",
    "some",
    "each",
    "that",
    "update",
    "delete",
    "create",
    "interface",
];
const TYPES: [(&str, &[&str]); 5] = [
    ("integer", &["integer", "int", "integers", "whole", "count"]),
    (
        "number",
        &[
            "number", "numeric", "float", "decimal", "double", "real", "money", "currency",
        ],
    ),
    (
        "boolean",
        &[
            "boolean",
            "bool",
            "flag",
            "checkbox",
            "yes/no",
            "true/false",
        ],
    ),
    ("date", &["date", "day", "datetime", "timestamp"]),
    (
        "text",
        &["string", "text", "str", "varchar", "char", "words"],
    ),
];

/// Words that name a type only in brackets or behind a colon: "due date" is a name.
const BOTH: [&str; 14] = [
    "date", "day", "number", "count", "text", "flag", "words", "whole", "money", "currency",
    "real", "double", "numeric", "char",
];

/// The record that the sentence describes; its first token is the noun.
pub(crate) fn find(sentence: &Sentence) -> Option<Said<Value>> {
    let tokens = &sentence.tokens;
    let (noun, opener) = (0..tokens.len()).find_map(|at| {
        let token = tokens.get(at)?;
        let colon = token.punct(":(") && !sentence.spoken(at);
        if !(colon || token.is(&OPENERS)) {
            return None;
        }
        let noun = noun_before(tokens, at)?;
        let (fields, used) = read_fields(sentence, at + 1);
        let next = used.last().and_then(|last| tokens.get(last + 1));
        let first = fields.first()?["name"].as_str()?;
        // "with an http api" says what it is, not what it holds.
        let about_service = first.split('_').all(|word| NOT_NOUNS.contains(&word));
        // In "a library: books have a title" the record is the book.
        let opens_again = first.split('_').any(|word| OPENERS.contains(&word))
            || fields.len() == 1 && next.is_some_and(|t| t.is(&OPENERS));
        (!about_service && !opens_again).then_some((noun, at))
    })?;
    let (fields, mut used) = read_fields(sentence, opener + 1);
    used.insert(0, noun);
    used.push(opener);
    let word = singular(&tokens[noun].lower);
    let plural = plural(&word);
    Some(Said {
        value: json!({"name": identifier(&word)?, "plural": identifier(&plural)?, "fields": fields}),
        tokens: used,
    })
}

/// The noun of the record: the last word before the opener that can be one.
fn noun_before(tokens: &[Token], opener: usize) -> Option<usize> {
    let start = opener.saturating_sub(8);
    let mut at = opener;
    while at > start {
        at -= 1;
        let token = &tokens[at];
        if token.kind == Kind::Punct && !token.punct(".,;:-(") {
            return None;
        }
        if token.is_word()
            && !NOT_NOUNS.contains(&token.lower.as_str())
            && !OPENERS.contains(&token.lower.as_str())
            && !SKIPPED.contains(&token.lower.as_str())
        {
            return Some(at);
        }
    }
    None
}

pub(crate) fn read_fields(sentence: &Sentence, start: usize) -> (Vec<Value>, Vec<usize>) {
    let tokens = &sentence.tokens;
    let mut fields: Vec<Value> = Vec::new();
    let mut used = Vec::new();
    let mut at = start;
    while fields.len() < FIELDS_MAX {
        let mut optional = false;
        while let Some(token) = tokens.get(at) {
            let separator = token.punct(",&;:(-+*") || token.is(&SKIPPED);
            if token.is(&["optional", "optionally"]) {
                optional = true;
            } else if !(separator || token.is(&["required", "mandatory", "unique", "plus"]))
                || sentence.spoken(at)
            {
                break;
            }
            used.push(at);
            at += 1;
        }
        let Some((field, next)) = read_field(sentence, at, optional) else {
            break;
        };
        used.extend(at..next);
        at = next;
        if !fields.iter().any(|known| known["name"] == field["name"]) {
            fields.push(field);
        }
        let more = tokens
            .get(at)
            .is_some_and(|t| t.punct(",&;+*-") || t.is(&["and", "plus"]));
        if !more {
            break;
        }
    }
    (fields, used)
}

/// One field: up to three words, a type before or after it, in brackets or behind a colon.
fn read_field(sentence: &Sentence, start: usize, optional: bool) -> Option<(Value, usize)> {
    let tokens = &sentence.tokens;
    let (mut words, mut kind, mut at) = field_words(sentence, start);
    if let Some(end) = yes_or_no(tokens, at, &words) {
        words.pop();
        kind = Some("boolean");
        at = end;
    } else if kind.is_none()
        && let Some(found) = type_behind(&words)
    {
        words.pop();
        kind = Some(found);
    }
    if words.is_empty() {
        return None;
    }
    let mark = Mark::read(tokens, at, kind);
    let name = identifier(&words.join("_"))?;
    let kind = mark.kind.unwrap_or_else(|| guess(&name));
    let required = !(optional || mark.optional);
    Some((
        json!({"name": name, "type": kind, "required": required}),
        mark.end,
    ))
}

/// The words of a field's name, the type among them, and where they end.
fn field_words(sentence: &Sentence, start: usize) -> (Vec<&str>, Option<&'static str>, usize) {
    let tokens = &sentence.tokens;
    let mut words: Vec<&str> = Vec::new();
    let mut kind = None;
    let mut at = start;
    while let Some(token) = tokens.get(at) {
        let stop = !(token.is_word() || token.kind == Kind::Quoted)
            || sentence.spoken(at)
            || token.is(&ENDS)
            || token.is(&["and", "as", "plus", "or", "should", "must"]);
        if stop || words.len() >= 3 || token.text.len() > 40 {
            break;
        }
        match type_of(&token.lower).filter(|_| !BOTH.contains(&token.lower.as_str())) {
            // "number of pages" and "date" are names, "year integer" and "integer year" hold a type.
            Some(found)
                if !words.is_empty()
                    || tokens.get(at + 1).is_some_and(|next| {
                        next.is_word() && !next.is(&["and", "of", "as"]) && !next.is(&ENDS)
                    }) =>
            {
                kind = Some(found);
            }
            _ => words.push(&token.text),
        }
        at += 1;
    }
    (words, kind, at)
}

/// What stands behind a field's name: in brackets, behind a colon or behind "as".
struct Mark {
    kind: Option<&'static str>,
    optional: bool,
    end: usize,
}

impl Mark {
    fn read(tokens: &[Token], at: usize, kind: Option<&'static str>) -> Self {
        let mut mark = Self {
            kind,
            optional: false,
            end: at,
        };
        let token = |k: usize| tokens.get(k);
        let bracket = token(at).is_some_and(|t| t.punct("("));
        if !(bracket || token(at).is_some_and(|t| t.punct(":") || t.is(&["as"]))) {
            return mark;
        }
        mark.end = at + 1;
        while let Some(token) = token(mark.end).filter(|_| mark.end < at + 8) {
            if bracket && token.punct(")") {
                mark.end += 1;
                break;
            }
            if token.is(&["optional"]) {
                mark.optional = true;
            } else if let Some(found) = type_of(&token.lower) {
                mark.kind = mark.kind.or(Some(found));
            } else if !bracket && !token.is(&["a", "an", "required"]) {
                break;
            }
            mark.end += 1;
            let goes_on = tokens
                .get(mark.end)
                .is_some_and(|t| t.is(&["optional", "required"]) || t.punct("("));
            if !bracket && mark.kind.is_some() && !goes_on {
                break;
            }
        }
        mark
    }
}

/// Where "paid yes/no" ends.
fn yes_or_no(tokens: &[Token], at: usize, words: &[&str]) -> Option<usize> {
    let asked = words.len() > 1 && matches!(words.last(), Some(&"yes" | &"true"));
    let slash = tokens.get(at).is_some_and(|t| t.punct("/"));
    let other = tokens.get(at + 1).is_some_and(|t| t.is(&["no", "false"]));
    (asked && slash && other).then_some(at + 2)
}

/// The type that the last word of a name says: "email text" and "active flag", but not "phone number" or "due date".
fn type_behind(words: &[&str]) -> Option<&'static str> {
    const AMOUNTS: [&str; 12] = [
        "value", "price", "cost", "salary", "score", "rating", "amount", "total", "weight",
        "height", "width", "length",
    ];
    let [.., before, last] = words else {
        return None;
    };
    let before = before.to_lowercase();
    match last.to_lowercase().as_str() {
        "text" => Some("text"),
        "flag" => Some("boolean"),
        "number" | "numeric" | "money" | "currency" | "double" | "real"
            if AMOUNTS.contains(&before.as_str()) =>
        {
            Some("number")
        }
        "date"
            if ["_on", "_at", "_until", "_from", "_since", "_by"]
                .iter()
                .any(|end| before.ends_with(end)) =>
        {
            Some("date")
        }
        _ => None,
    }
}

fn type_of(word: &str) -> Option<&'static str> {
    TYPES
        .iter()
        .find(|(_, names)| names.contains(&word))
        .map(|(kind, _)| *kind)
}

/// The type that a field of this name nearly always has.
fn guess(name: &str) -> &'static str {
    let last = name.rsplit('_').next().unwrap_or(name);
    match last {
        "year" | "age" | "quantity" | "qty" | "pages" | "stock" | "count" | "minutes"
        | "servings" | "amount_of" => "integer",
        "price" | "cost" | "weight" | "amount" | "height" | "latitude" | "longitude" | "salary" => {
            "number"
        }
        "done" | "completed" | "active" | "enabled" | "archived" | "finished" | "paid" | "read" => {
            "boolean"
        }
        "date" | "birthday" | "deadline" => "date",
        _ if name.starts_with("is_") || name.starts_with("has_") => "boolean",
        _ => "text",
    }
}

/// A name safe in SQL, JSON and URLs: letters, digits and `_`, beginning with a letter.
pub(crate) fn identifier(text: &str) -> Option<String> {
    let mut name = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_end_matches('_');
    let usable =
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= 40 && name != "id";
    usable.then(|| name.to_owned())
}

fn singular(word: &str) -> String {
    if let Some(cut) = word
        .strip_suffix("ies")
        .filter(|cut| cut.len() > 1 && *cut != "mov")
    {
        return format!("{cut}y");
    }
    for ending in ["ches", "shes", "xes", "sses"] {
        if let Some(cut) = word.strip_suffix(ending) {
            return format!("{cut}{}", &ending[..ending.len() - 2]);
        }
    }
    match word {
        "people" => "person".to_owned(),
        "children" => "child".to_owned(),
        _ if word.ends_with("ss") || word.ends_with("us") || word.len() < 4 => word.to_owned(),
        _ => word.strip_suffix('s').unwrap_or(word).to_owned(),
    }
}

fn plural(word: &str) -> String {
    match word {
        "person" => return "people".to_owned(),
        "child" => return "children".to_owned(),
        _ => {}
    }
    let consonant_y = word.ends_with('y')
        && !word.ends_with("ay")
        && !word.ends_with("ey")
        && !word.ends_with("oy");
    if consonant_y {
        format!("{}ies", &word[..word.len() - 1])
    } else if ["ch", "sh", "x", "ss", "z"]
        .iter()
        .any(|end| word.ends_with(end))
    {
        format!("{word}es")
    } else {
        format!("{word}s")
    }
}
