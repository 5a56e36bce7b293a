//! A sentence with everything that can be read off it without knowing any foundation: tokens, the
//! time, the name it gives, a described record, an SQL statement.

use crate::entity;
use crate::lex::{self, Kind, Token};
use crate::plan::{INTENT_MAX, Refusal};
use crate::schedule::{self, When};
use crate::vocabulary::Vocabulary;
use agentwright_domain::ids::Slug;
use serde_json::Value;
use std::collections::BTreeSet;

/// A value and the tokens that say it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said<V> {
    pub(crate) value: V,
    pub(crate) tokens: Vec<usize>,
}

/// A sentence, read.
#[derive(Clone, Debug)]
pub(crate) struct Sentence {
    pub(crate) tokens: Vec<Token>,
    pub(crate) when: When,
    /// Tokens that speak of time.
    pub(crate) timed: BTreeSet<usize>,
    pub(crate) name: Option<Said<Slug>>,
    pub(crate) entity: Option<Said<Value>>,
    pub(crate) sql: Option<Said<String>>,
    /// Tokens that only give a reason.
    pub(crate) reason: BTreeSet<usize>,
}

/// Refuses what is no sentence at all.
///
/// # Errors
/// Empty, too long or hostile.
pub(crate) fn guard(intent: &str, example: &str) -> Result<(), Refusal> {
    let characters = intent.chars().take(INTENT_MAX * 64).count();
    if characters > INTENT_MAX {
        return Err(Refusal::TooLong { characters });
    }
    let strange = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fffd}')
            || matches!(c, '\u{e0000}'..='\u{e007f}')
    };
    if let Some(c) = intent.chars().find(|c| strange(*c)) {
        let what = format!(
            "it holds the invisible or control character U+{:04X}; write it as plain text",
            u32::from(c)
        );
        return Err(Refusal::Hostile { what });
    }
    if !intent.chars().any(char::is_alphanumeric) {
        return Err(Refusal::Empty {
            example: example.to_owned(),
        });
    }
    Ok(())
}

impl Sentence {
    /// Reads a sentence that passed [`guard`].
    ///
    /// # Errors
    /// A name that is a path.
    pub(crate) fn read(intent: &str, vocabulary: &Vocabulary, zone: &str) -> Result<Self, Refusal> {
        let tokens = lex::tokens(intent, vocabulary);
        let name = name(&tokens)?;
        let (when, timed) = schedule::find(&tokens, zone);
        let sql = sql(intent, &tokens, &timed);
        let mut sentence = Self {
            reason: reason(&tokens),
            entity: None,
            tokens,
            when,
            timed,
            name,
            sql,
        };
        sentence.entity = entity::find(&sentence);
        Ok(sentence)
    }

    /// Whether a token is spoken for already: part of the time or the name.
    pub(crate) fn spoken(&self, at: usize) -> bool {
        self.timed.contains(&at)
            || self
                .name
                .as_ref()
                .is_some_and(|name| name.tokens.contains(&at))
    }

    /// The words of some tokens, for messages.
    pub(crate) fn words(&self, tokens: &[usize]) -> String {
        join(tokens.iter().filter_map(|at| self.tokens.get(*at)))
    }
}

/// Tokens as text again.
pub(crate) fn join<'a>(tokens: impl Iterator<Item = &'a Token>) -> String {
    let mut text = String::new();
    for token in tokens {
        let tight = token.punct(".,;:!?)/-") || text.ends_with(['(', '/', '-']);
        if !text.is_empty() && !tight {
            text.push(' ');
        }
        if token.kind == Kind::Quoted {
            text.push_str(&format!("\"{}\"", token.text));
        } else {
            text.push_str(&token.text);
        }
    }
    text
}

/// What people call the thing that they want.
const THINGS: [&str; 7] = [
    "automation",
    "script",
    "job",
    "service",
    "agent",
    "task",
    "tool",
];

/// How many words lead to a name from here on: `call it …` are two.
fn lead(tokens: &[Token], i: usize) -> Option<usize> {
    let is = |k: usize, words: &[&str]| tokens.get(i + k).is_some_and(|t| t.is(words));
    let thing = |k: usize| is(k, &THINGS);
    if is(0, &["call", "name"]) && is(1, &["the", "this"]) && thing(2) {
        return Some(3);
    }
    let it = is(0, &["call", "name", "title"]) && is(1, &["it", "this", "that"]);
    let called = (thing(0) || is(0, &["api"])) && is(1, &["called", "named"]);
    let labelled = is(0, &["name"])
        && tokens.get(i + 1).is_some_and(|t| t.punct(":="))
        && i + 3 == tokens.len();
    (it || called || labelled).then_some(2)
}

/// `call it X`, `name it X`, `under the name X`, `(name: X)`.
fn name(tokens: &[Token]) -> Result<Option<Said<Slug>>, Refusal> {
    for i in 0..tokens.len() {
        let Some(lead) = lead(tokens, i) else {
            continue;
        };
        let Some(said) = tokens.get(i + lead) else {
            continue;
        };
        let mut end = i + lead + 1;
        let hostile = matches!(
            said.kind,
            Kind::Path | Kind::Url | Kind::Windows | Kind::Glob
        ) || said.text.contains("..")
            || said.punct(".");
        if hostile {
            let what = format!(
                "{:?} cannot be a name: use letters, digits and hyphens",
                said.text
            );
            return Err(Refusal::Hostile { what });
        }
        let mut text = said.text.clone();
        // my-backup was cut at its hyphens.
        while tokens.get(end).is_some_and(|t| t.punct("-_"))
            && tokens
                .get(end + 1)
                .is_some_and(|t| matches!(t.kind, Kind::Word | Kind::Number { .. }))
        {
            text.push('-');
            text.push_str(&tokens[end + 1].text);
            end += 2;
        }
        if let Some(value) = Slug::from_words(&text) {
            return Ok(Some(Said {
                value,
                tokens: (i..end).collect(),
            }));
        }
    }
    Ok(None)
}

/// Reasons need no explanation: "because my boss wants it", "so that I can sleep".
fn reason(tokens: &[Token]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for i in 0..tokens.len() {
        let next = |words: &[&str]| tokens.get(i + 1).is_some_and(|t| t.is(words));
        let starts = tokens[i].is(&["because", "cause", "since"])
            && next(&[
                "i", "we", "my", "our", "the", "it", "they", "that", "he", "she", "of", "there",
                "people",
            ])
            || tokens[i].is(&["so"]) && next(&["that", "i", "we", "nothing", "my", "they"])
            || tokens[i].is(&["in"]) && next(&["case"]);
        if starts {
            let end = (i..tokens.len())
                .find(|k| tokens[*k].punct(".;!?,") && *k > i)
                .unwrap_or(tokens.len());
            let end = (i..end)
                .find(|k| tokens[*k].is(&["and", "then"]) && *k > i + 1)
                .unwrap_or(end);
            found.extend(
                (i..end)
                    .filter(|k| tokens[*k].kind == Kind::Word || tokens[*k].kind == Kind::Punct),
            );
        }
    }
    found
}

/// A statement in quotes or backquotes, or the bare words from SELECT to a file name or the end.
fn sql(intent: &str, tokens: &[Token], timed: &BTreeSet<usize>) -> Option<Said<String>> {
    let starts = |text: &str| {
        let lower = text.trim_start().to_ascii_lowercase();
        lower.starts_with("select ") || lower.starts_with("with ")
    };
    let quoted = tokens
        .iter()
        .position(|t| t.kind == Kind::Quoted && starts(&t.text));
    if let Some(at) = quoted {
        return Some(Said {
            value: tokens[at].text.trim().to_owned(),
            tokens: vec![at],
        });
    }
    let start = tokens.iter().position(|t| t.is(&["select"]))?;
    let from = (start..tokens.len()).find(|k| tokens[*k].is(&["from"]))?;
    let ends = |k: usize| {
        let token = &tokens[k];
        timed.contains(&k)
            || matches!(token.kind, Kind::Path | Kind::Url)
            || token.punct(";?!")
            || (token.punct(".") && k + 1 == tokens.len())
            || token.is(&[
                "to", "into", "every", "each", "as", "then", "save", "write", "export", "on",
                "against", "daily",
            ]) && k > from + 1
    };
    let mut end = (from + 1..tokens.len())
        .find(|k| ends(*k))
        .unwrap_or(tokens.len());
    while end > from + 2
        && (tokens[end - 1].is(&["in", "from", "of", "and", "the"]) || tokens[end - 1].punct(","))
    {
        end -= 1;
    }
    (end > from + 1).then(|| Said {
        value: intent[tokens[start].from..tokens[end - 1].to]
            .trim()
            .to_owned(),
        tokens: (start..end).collect(),
    })
}
