//! Which path or address of a sentence is which input. Start at [`fill`].

use super::{Filled, question};
use crate::format::{Input, InputKind};
use crate::foundation::Foundation;
use crate::lex::{Kind, Token};
use crate::paths;
use crate::plan::Context;
use crate::sentence::Sentence;
use crate::values;
use crate::vocabulary::stem;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Most paths or addresses that are told apart in one sentence.
const PLACES_MAX: usize = 6;

/// Paths and addresses that nothing has taken yet, each once. `*.csv` counts where no input takes globs.
fn free_places(foundation: &Foundation, s: &Sentence, filled: &Filled) -> Vec<usize> {
    let globbed = foundation
        .manifest
        .inputs
        .iter()
        .any(|i| matches!(i.kind, InputKind::Globs { .. }));
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    (0..s.tokens.len())
        .filter(|at| filled.free(s, *at))
        .filter(|at| {
            let token = &s.tokens[*at];
            matches!(token.kind, Kind::Path | Kind::Url)
                || (token.kind == Kind::Glob && !globbed && paths::extension(&token.text).is_some())
        })
        .filter(|at| seen.insert(s.tokens[*at].text.as_str()))
        .collect()
}

/// Gives each path and address to the input that it fits best; all of them together, best sum first.
pub(super) fn fill(foundation: &Foundation, s: &Sentence, context: &Context, filled: &mut Filled) {
    let places = free_places(foundation, s, filled);
    let inputs: Vec<&Input> = foundation
        .manifest
        .inputs
        .iter()
        .filter(|input| !filled.inputs.contains_key(&input.name))
        .filter(|input| {
            matches!(
                input.kind,
                InputKind::Folder { .. }
                    | InputKind::File { .. }
                    | InputKind::Url {}
                    | InputKind::PostgresUrl {}
            )
        })
        .collect();
    let few = &places[..places.len().min(PLACES_MAX)];
    let scores: Vec<Vec<f64>> = few
        .iter()
        .enumerate()
        .map(|(n, at)| {
            inputs
                .iter()
                .map(|input| affinity(input, s, *at, n == 0 || first_of_kind(s, few, *at)))
                .collect()
        })
        .collect();
    let best = assign(&scores, 0, &mut vec![false; inputs.len()]);
    let mut rest: Vec<usize> = places[few.len()..].to_vec();
    for (n, choice) in best.1.iter().enumerate() {
        match choice {
            Some(input) => put(inputs[*input], few[n], s, context, filled),
            None => rest.push(few[n]),
        }
    }
    // What is left: addresses for a list of addresses, a repeated mention of a known place, or too much.
    let list = foundation
        .manifest
        .inputs
        .iter()
        .find(|input| matches!(input.kind, InputKind::Urls {}));
    if let Some(input) = list.filter(|input| !filled.inputs.contains_key(&input.name)) {
        let urls: Vec<usize> = rest
            .iter()
            .copied()
            .filter(|at| s.tokens[*at].kind == Kind::Url)
            .collect();
        if !urls.is_empty() {
            let texts: Vec<&str> = urls.iter().map(|at| s.tokens[*at].text.as_str()).collect();
            filled.take(input, json!(texts), &urls);
            rest.retain(|at| !urls.contains(at));
        }
    }
    mentions(rest, s, context, filled);
}

/// A repeated mention of a known place is understood; any other is too much.
fn mentions(rest: Vec<usize>, s: &Sentence, context: &Context, filled: &mut Filled) {
    for at in rest {
        let text = &s.tokens[at].text;
        let full = paths::absolute(text, context)
            .map(|full| json!(full))
            .unwrap_or(json!(text));
        let known = filled
            .inputs
            .values()
            .any(|value| *value == full || *value == json!(text));
        if known {
            filled.covered.insert(at);
        } else {
            filled.left.push(at);
        }
    }
}

fn first_of_kind(s: &Sentence, places: &[usize], at: usize) -> bool {
    places
        .iter()
        .find(|other| s.tokens[**other].kind == s.tokens[at].kind)
        == Some(&at)
}

fn put(input: &Input, at: usize, s: &Sentence, context: &Context, filled: &mut Filled) {
    let text = &s.tokens[at].text;
    if s.tokens[at].kind == Kind::Url {
        return filled.take(input, json!(text), &[at]);
    }
    match values::path(input, text, context) {
        Ok(value) => filled.take(input, value, &[at]),
        Err(why) => {
            filled.wrong.push(question(input, &why));
            filled.covered.insert(at);
        }
    }
}

/// How well a place fits an input; at most 0 means not at all.
fn affinity(input: &Input, s: &Sentence, at: usize, first: bool) -> f64 {
    let token = &s.tokens[at];
    let postgres = token.lower.starts_with("postgres");
    let score = match (&input.kind, &token.kind) {
        (InputKind::Folder { .. }, Kind::Path) => match paths::extension(&token.text) {
            Some(_) => -4.0,
            None => 0.2,
        },
        (InputKind::File { extensions, .. }, Kind::Path | Kind::Glob) => {
            match paths::extension(&token.text) {
                Some(found) if extensions.is_empty() || extensions.contains(&found) => 1.5,
                Some(_) => -4.0,
                None => 0.1,
            }
        }
        (InputKind::Url {}, Kind::Url) if !postgres => 0.2,
        (InputKind::PostgresUrl {}, Kind::Url) if postgres => 3.0,
        _ => return f64::NEG_INFINITY,
    };
    let mut said =
        markers(&input.find.before, lead(s, at)) + markers(&input.find.after, trail(s, at));
    if first {
        said += input.find.first;
    }
    // What need not be there is not taken without a word for it.
    if !input.required && score < 1.0 && said <= 0.0 {
        return f64::NEG_INFINITY;
    }
    score + said
}

fn markers<'a>(known: &BTreeMap<String, f64>, words: impl Iterator<Item = &'a Token>) -> f64 {
    const FADE: [f64; 5] = [1.0, 0.6, 0.4, 0.25, 0.15];
    words
        .zip(FADE)
        // "to" far from a path belongs to a verb: "to find faults in ./specs".
        .filter(|(word, fade)| *fade > 0.9 || !word.is(&["to"]))
        .filter_map(|(word, fade)| {
            let weight = known
                .iter()
                .find(|(marker, _)| stem(marker) == word.stem)?
                .1;
            Some(weight * fade)
        })
        .sum()
}

fn filler(token: &Token) -> bool {
    const FILLERS: [&str; 26] = [
        "the",
        "a",
        "an",
        "my",
        "our",
        "folder",
        "directory",
        "dir",
        "file",
        "called",
        "named",
        "this",
        "that",
        "existing",
        "new",
        "local",
        "whole",
        "entire",
        "of",
        "page",
        "url",
        "address",
        "website",
        "site",
        "at",
        "path",
    ];
    // "of" right before a path is a marker; it only fills in "the contents of".
    token.is(&FILLERS) && !token.is(&["of", "at"])
}

fn lead(s: &Sentence, at: usize) -> impl Iterator<Item = &Token> {
    (0..at)
        .rev()
        .take(9)
        .map(|k| &s.tokens[k])
        .take_while(|t| !matches!(t.kind, Kind::Path | Kind::Url) && !t.punct(".;!?"))
        .filter(|t| t.is_word() && !filler(t))
}

fn trail(s: &Sentence, at: usize) -> impl Iterator<Item = &Token> {
    s.tokens[at + 1..]
        .iter()
        .take(4)
        .take_while(|t| !matches!(t.kind, Kind::Path | Kind::Url) && !t.punct(".;!?,"))
        .filter(|t| t.is_word() && !filler(t))
}

/// The assignment with the greatest sum: for each place its input, or none.
fn assign(scores: &[Vec<f64>], from: usize, used: &mut Vec<bool>) -> (f64, Vec<Option<usize>>) {
    let Some(row) = scores.get(from) else {
        return (0.0, Vec::new());
    };
    let mut best = assign(scores, from + 1, used);
    best.1.insert(0, None);
    for (input, score) in row.iter().enumerate() {
        if used[input] || *score <= 0.0 {
            continue;
        }
        used[input] = true;
        let mut tried = assign(scores, from + 1, used);
        used[input] = false;
        tried.0 += score;
        if tried.0 > best.0 + 1e-9 {
            tried.1.insert(0, Some(input));
            best = tried;
        }
    }
    best
}
