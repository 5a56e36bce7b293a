//! Filling a foundation's inputs from a sentence: which path is the source and which the target,
//! which number is the count. Every token that is used is remembered, so that `matching` can tell
//! what was left over. Start at [`fill`].

mod places;

use crate::format::{Extent, Input, InputKind};
use crate::foundation::Foundation;
use crate::lex::{Kind, Token};
use crate::patterns::Patterns;
use crate::phrase::Phrase;
use crate::plan::{Context, Question};
use crate::sentence::{Sentence, join};
use crate::values;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What a sentence gives to a foundation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filled {
    pub(crate) inputs: BTreeMap<String, Value>,
    /// Tokens that gave them.
    pub(crate) covered: BTreeSet<usize>,
    /// Paths and addresses that have no place in the foundation.
    pub(crate) left: Vec<usize>,
    /// Values that were found but do not fit.
    pub(crate) wrong: Vec<Question>,
    /// Where the words of a task begin, which are not ours to judge.
    pub(crate) task_from: Option<usize>,
}

/// Fills what can be filled.
pub(crate) fn fill(foundation: &Foundation, s: &Sentence, context: &Context) -> Filled {
    let mut filled = Filled::default();
    for (name, value) in &context.given {
        let Some(input) = foundation.input(name) else {
            continue;
        };
        match values::accept(input, value, context) {
            Ok(value) => {
                filled.inputs.insert(name.clone(), value);
            }
            Err(why) => filled
                .wrong
                .push(question(input, &format!("{value} does not fit: {why}"))),
        }
    }
    // A described record and a statement hold words of every kind: they are taken first.
    for input in &foundation.manifest.inputs {
        match &input.kind {
            InputKind::Entity {} => {
                if let Some(said) = &s.entity {
                    filled.take(input, said.value.clone(), &said.tokens);
                }
            }
            InputKind::Text {
                extent: Extent::Sql,
                ..
            } => {
                if let Some(said) = &s.sql {
                    filled.take(input, json!(said.value), &said.tokens);
                }
            }
            _ => {}
        }
    }
    places::fill(foundation, s, context, &mut filled);
    let mut order: Vec<&Input> = foundation.manifest.inputs.iter().collect();
    order.sort_by_key(|input| turn(input, &foundation.patterns, s, &filled));
    for input in order {
        if filled.inputs.contains_key(&input.name) {
            continue;
        }
        by_kind(input, foundation, s, &mut filled);
    }
    lone_port(foundation, s, &mut filled);
    filled
}

/// Which input is looked for first: sizes and spans before bare numbers, so that "30 days" is not a count; of two
/// numbers the one with more words for it, so that "more than 3 errors" is not "3 errors"; columns and tasks last.
fn turn(input: &Input, patterns: &Patterns, s: &Sentence, filled: &Filled) -> (u8, Reverse<usize>) {
    let class = match input.kind {
        InputKind::Duration {} | InputKind::Size {} => 0,
        InputKind::Text {
            extent: Extent::Task,
            ..
        } => 3,
        InputKind::Columns {} => 2,
        _ => 1,
    };
    let words = match input.kind {
        InputKind::Integer { .. } => {
            let read = |at: usize| free_value(input, s, at, filled);
            let found = patterns.input(input).find.iter();
            found
                .filter(|phrase| phrase.value(s, &read).is_some())
                .map(Phrase::words)
                .max()
        }
        _ => None,
    };
    (class, Reverse(words.unwrap_or(0)))
}

/// "webhook endpoint; 8080": a number that only a port can be.
fn lone_port(foundation: &Foundation, s: &Sentence, filled: &mut Filled) {
    let open = |input: &&Input| {
        matches!(input.kind, InputKind::Port {}) && !filled.inputs.contains_key(&input.name)
    };
    let Some(input) = foundation.manifest.inputs.iter().find(open) else {
        return;
    };
    let lone = |at: &usize| {
        let counts = s.tokens.get(at + 1).is_some_and(Token::is_word);
        let port = matches!(&s.tokens[*at].kind, Kind::Number { value, unit }
            if (1024.0..=65535.0).contains(value) && unit.is_empty());
        port && !counts && filled.free(s, *at)
    };
    if let Some(at) = (0..s.tokens.len()).find(lone)
        && let Some((value, length)) = values::at(input, &s.tokens, at)
    {
        filled.take(input, value, &(at..at + length).collect::<Vec<_>>());
    }
}

impl Filled {
    fn take(&mut self, input: &Input, value: Value, tokens: &[usize]) {
        if self.inputs.contains_key(&input.name) {
            self.covered.extend(tokens);
            return;
        }
        if let Err(why) = values::check(input, &value) {
            self.wrong.push(question(
                input,
                &format!("{} does not fit: it must be {why}", shown(&value)),
            ));
            self.covered.extend(tokens);
            return;
        }
        self.inputs.insert(input.name.clone(), value);
        self.covered.extend(tokens);
    }

    fn free(&self, s: &Sentence, at: usize) -> bool {
        !self.covered.contains(&at) && !s.spoken(at)
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 80 {
        format!("{}…", text.chars().take(80).collect::<String>())
    } else {
        text
    }
}

pub(crate) fn question(input: &Input, problem: &str) -> Question {
    let ask = input
        .ask
        .clone()
        .unwrap_or_else(|| format!("What is {}?", input.about));
    Question {
        input: input.name.clone(),
        question: if problem.is_empty() {
            ask
        } else {
            format!("{problem}. {ask}")
        },
        examples: input.examples.clone(),
    }
}

fn by_kind(input: &Input, foundation: &Foundation, s: &Sentence, filled: &mut Filled) {
    let patterns = foundation.patterns.input(input);
    match &input.kind {
        InputKind::Choice { .. } => {
            if let Some((value, tokens)) = chosen(&patterns.of, s, filled).into_iter().next() {
                filled.take(input, json!(value), &tokens);
            }
        }
        InputKind::Choices { .. } => {
            let all = chosen(&patterns.of, s, filled);
            if !all.is_empty() {
                let tokens: Vec<usize> =
                    all.iter().flat_map(|(_, tokens)| tokens.clone()).collect();
                let names: BTreeSet<&str> = all.iter().map(|(value, _)| value.as_str()).collect();
                filled.take(input, json!(names), &tokens);
            }
        }
        InputKind::Flag { .. } => {
            let place = patterns
                .yes
                .iter()
                .find_map(|phrase| phrase.places(s).into_iter().next());
            if let Some(place) = place {
                filled.take(input, json!(true), &place.tokens);
            }
        }
        InputKind::Secret {} => {
            let at = (0..s.tokens.len())
                .find(|at| s.tokens[*at].kind == Kind::Secret && filled.free(s, *at));
            if let Some(at) = at {
                filled.take(input, json!(s.tokens[at].text), &[at]);
            }
        }
        InputKind::Text {
            extent: Extent::Task,
            max,
        } => task(input, &foundation.patterns, *max, s, filled),
        InputKind::Text {
            extent: Extent::Sql,
            ..
        }
        | InputKind::Entity {} => {}
        InputKind::Folder { .. }
        | InputKind::File { .. }
        | InputKind::Url {}
        | InputKind::Urls {}
        | InputKind::PostgresUrl {} => {}
        InputKind::Text { .. }
        | InputKind::Integer { .. }
        | InputKind::Duration {}
        | InputKind::Size {}
        | InputKind::Port {}
        | InputKind::Columns {}
        | InputKind::Words {}
        | InputKind::Globs { .. } => by_phrase(input, &foundation.patterns, s, filled),
    }
}

fn by_phrase(input: &Input, patterns: &Patterns, s: &Sentence, filled: &mut Filled) {
    let bare = matches!(
        input.kind,
        InputKind::Text {
            extent: Extent::Quoted,
            ..
        }
    );
    // "the sqlite table recipes": a word of the request is a name only where no other word is.
    let text = matches!(input.kind, InputKind::Text { .. });
    // "hours per project"
    let columns = matches!(input.kind, InputKind::Columns {});
    let rounds: &[bool] = if text { &[true, false] } else { &[false] };
    for strict in rounds {
        for phrase in &patterns.input(input).find {
            let leading = phrase.begins_with_value();
            let strict = *strict || leading;
            let fits = |at: usize| {
                let token = &s.tokens[at];
                let named = token.kind == Kind::Quoted
                    || !(token.is_word() && patterns.speaks_of_request(token))
                    || columns && values::span_unit(&token.lower).is_some();
                let number = matches!(token.kind, Kind::Number { .. });
                let alone = phrase.words() == 0 && matches!(input.kind, InputKind::Duration {});
                (!bare || token.kind == Kind::Quoted)
                    && (!alone || number)
                    && (!strict || named)
                    && (!leading || stands_for_itself(input, s, at, filled))
            };
            let read = |at: usize| {
                let found = free_value(input, s, at, filled)?;
                fits(at).then_some(found)
            };
            if let Some(place) = phrase.value(s, &read)
                && let Some(value) = place.value
            {
                filled.take(input, value, &place.tokens);
                return;
            }
        }
    }
}

/// Whether a value that leads its phrase ("hours per project") is not what stands before it ("how many orders per
/// country") and not what a file is about ("donations by donor" of ./donations.csv).
fn stands_for_itself(input: &Input, s: &Sentence, at: usize, filled: &Filled) -> bool {
    let article = |k: &usize| s.tokens[*k].is(&["the", "all", "my", "our", "of", "a", "an"]);
    let before = (0..at).rev().find(|k| !article(k));
    let told = before.is_some_and(|k| filled.covered.contains(&k) && s.tokens[k].is_word());
    let columns = matches!(input.kind, InputKind::Columns {});
    let subject = s
        .tokens
        .iter()
        .filter(|token| token.kind == Kind::Path)
        .any(|token| token.lower.contains(&s.tokens[at].stem));
    !(told || columns && subject)
}

/// A value of the input at a token, of tokens that nothing has taken yet.
fn free_value(input: &Input, s: &Sentence, at: usize, filled: &Filled) -> Option<(Value, usize)> {
    let (_, length) = values::at(input, &s.tokens, at)?;
    let free = (0..length).take_while(|k| filled.free(s, at + k)).count();
    if free == 0 {
        return None;
    }
    values::at(input, &s.tokens[..at + free], at).filter(|(_, n)| *n > 0)
}

/// The choices that are expressed, longest phrase first, with their tokens.
fn chosen(
    of: &BTreeMap<String, Vec<Phrase>>,
    s: &Sentence,
    filled: &Filled,
) -> Vec<(String, Vec<usize>)> {
    let mut all: Vec<(usize, String, Vec<usize>)> = Vec::new();
    for (value, phrases) in of {
        for phrase in phrases {
            for place in phrase.places(s) {
                let free = place
                    .tokens
                    .iter()
                    .all(|at| !filled.covered.contains(at) || s.tokens[*at].kind == Kind::Path);
                if free {
                    all.push((phrase.words(), value.clone(), place.tokens));
                }
            }
        }
    }
    all.sort_by(|a, b| b.0.cmp(&a.0).then(a.2.cmp(&b.2)));
    let mut used: BTreeSet<usize> = BTreeSet::new();
    all.into_iter()
        .filter(|(_, _, tokens)| {
            let fresh = tokens.iter().all(|at| !used.contains(at));
            used.extend(tokens);
            fresh
        })
        .map(|(_, value, tokens)| (value, tokens))
        .collect()
}

/// The task of an agent: the sentence after the agent's name, without time, name and taken paths.
fn task(input: &Input, patterns: &Patterns, max: usize, s: &Sentence, filled: &mut Filled) {
    let all: Vec<usize> = (0..s.tokens.len()).collect();
    let quoted = (0..s.tokens.len()).find(|at| {
        s.tokens[*at].kind == Kind::Quoted && s.tokens[*at].text.split_whitespace().count() >= 3
    });
    if let Some(at) = quoted {
        filled.task_from = Some(at);
        return filled.take(input, json!(s.tokens[at].text), &all);
    }
    let lead = patterns
        .input(input)
        .leads
        .iter()
        .find_map(|phrase| phrase.places(s).into_iter().next())
        .map(|place| place.tokens);
    let own = |at: &usize| {
        let named = lead.as_ref().is_some_and(|lead| lead.contains(at));
        !s.spoken(*at) && !s.reason.contains(at) && !named
    };
    let start = lead
        .as_ref()
        .and_then(|lead| lead.last())
        .map(|end| end + 1);
    filled.task_from = start;
    let behind: Vec<usize> = (start.unwrap_or(0)..s.tokens.len()).filter(own).collect();
    let kept = if words_in(s, &behind) >= 2 {
        behind
    } else {
        (0..s.tokens.len()).filter(own).collect()
    };
    let kept = trimmed(s, kept);
    let text = join(kept.iter().filter_map(|at| s.tokens.get(*at)));
    let words = words_in(s, &kept);
    let telling = words >= 6
        || kept
            .iter()
            .any(|at| s.tokens[*at].is_word() && patterns.tells_more(&s.tokens[*at]));
    if text.split_whitespace().count() >= 2 && telling && text.chars().count() <= max {
        filled.take(input, json!(text), &all);
    }
}

fn words_in(s: &Sentence, tokens: &[usize]) -> usize {
    tokens.iter().filter(|at| s.tokens[**at].is_word()).count()
}

/// Without the joints at both ends.
fn trimmed(s: &Sentence, mut kept: Vec<usize>) -> Vec<usize> {
    while kept.first().is_some_and(|at| {
        s.tokens[*at].is(&["to", "and", "that", "which", "please", "code"])
            || s.tokens[*at].punct(",.:;-")
    }) {
        kept.remove(0);
    }
    while kept.last().is_some_and(|at| {
        s.tokens[*at].punct(",:;-") || s.tokens[*at].is(&["and", "please", "at", "on"])
    }) {
        kept.pop();
    }
    kept
}
