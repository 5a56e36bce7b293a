//! Sentences that forbid a wish, take it back or only ask about it: "stop backing up ./notes",
//! "… but not any longer", "how do I back up ./notes?". Not here: what is ruled out beside a wish
//! ("but don't upload it"), which asks for nothing. Start at [`withdrawn`].

use crate::lex::Token;
use crate::sentence::Sentence;
use std::collections::BTreeSet;

/// Words that forbid or end what follows them.
const NEGATORS: [&str; 23] = [
    "not",
    "don't",
    "dont",
    "never",
    "nobody",
    "nothing",
    "stop",
    "stops",
    "cancel",
    "quit",
    "disable",
    "abort",
    "cease",
    "doesn't",
    "didn't",
    "won't",
    "shouldn't",
    "needn't",
    "mustn't",
    "undo",
    "against",
    "refrain",
    "avoid",
];
/// The same, only where a clause begins: elsewhere they mean something else ("at the end").
const ENDERS: [&str; 4] = ["end", "skip", "pause", "forget"];
/// Words that may stand between a negation and the deed: "I don't want you to ever …".
const LINKS: [&str; 56] = [
    "to",
    "ever",
    "want",
    "wants",
    "wanted",
    "need",
    "needs",
    "needed",
    "the",
    "a",
    "an",
    "any",
    "more",
    "longer",
    "make",
    "making",
    "create",
    "creating",
    "do",
    "doing",
    "send",
    "sending",
    "have",
    "having",
    "be",
    "like",
    "please",
    "my",
    "our",
    "this",
    "that",
    "these",
    "those",
    "you",
    "bother",
    "interested",
    "in",
    "from",
    "about",
    "it",
    "me",
    "us",
    "him",
    "her",
    "them",
    "run",
    "running",
    "get",
    "getting",
    "require",
    "all",
    "one",
    "should",
    "must",
    "of",
    "with",
];
/// How far a deed may stand from its negation.
const REACH: usize = 7;

/// The words by which the wish is taken back, if it is. `deeds` are the words of the wish, `explained` those that
/// say something else ("not touched for 30 days"), `until` is where text begins that is not ours to judge.
pub(crate) fn withdrawn(
    s: &Sentence,
    deeds: &BTreeSet<usize>,
    explained: &BTreeSet<usize>,
    until: usize,
) -> Option<Vec<usize>> {
    asked_only(s, until).or_else(|| {
        (0..until)
            .find_map(|at| forbidden(s, at, deeds, explained).or_else(|| ended(s, at, explained)))
    })
}

/// "How do I …?", "what would happen if …?", and "never mind".
fn asked_only(s: &Sentence, until: usize) -> Option<Vec<usize>> {
    const ANYWHERE: [&[&str]; 12] = [
        &["never", "mind"],
        &["nevermind"],
        &["scrap", "that"],
        &["second", "thought"],
        &["how", "to"],
        &["how", "do", "i"],
        &["how", "do", "you"],
        &["how", "can", "i"],
        &["how", "would", "i"],
        &["how", "should", "i"],
        &["what", "would", "happen"],
        &["what", "happens", "if"],
    ];
    const FIRST: [&[&str]; 16] = [
        &["what", "does"],
        &["what", "do"],
        &["what", "if"],
        &["how", "can"],
        &["how", "does"],
        &["how", "could"],
        &["how", "would"],
        &["is", "it", "a"],
        &["would", "it", "be", "wise"],
        &["should", "i"],
        &["why"],
        &["what", "is", "a"],
        &["is", "it", "safe"],
        &["is", "it", "wise"],
        &["did", "you"],
        &["have", "you"],
    ];
    let at = |start: usize, words: &[&str]| {
        words
            .iter()
            .enumerate()
            .all(|(k, word)| s.tokens.get(start + k).is_some_and(|t| t.is(&[word])))
    };
    let span = |start: usize, words: &[&str]| (start..start + words.len()).collect();
    let anywhere = (0..until).find_map(|start| {
        let words = ANYWHERE.iter().find(|words| at(start, words))?;
        Some(span(start, words))
    });
    let first = FIRST.iter().find(|words| at(0, words));
    anywhere.or_else(|| first.map(|words| span(0, words)))
}

/// A negation that reaches a word of the wish.
fn forbidden(
    s: &Sentence,
    at: usize,
    deeds: &BTreeSet<usize>,
    explained: &BTreeSet<usize>,
) -> Option<Vec<usize>> {
    if explained.contains(&at) || s.spoken(at) {
        return None;
    }
    let after = negation(s, at)?;
    for k in after..s.tokens.len().min(after + REACH) {
        let token = &s.tokens[k];
        if deeds.contains(&k) && token.is_word() {
            return Some((at..=k).collect());
        }
        if !(token.is(&LINKS) || s.timed.contains(&k)) {
            return None;
        }
    }
    None
}

/// Where the words after a negation begin, if there is one here.
fn negation(s: &Sentence, at: usize) -> Option<usize> {
    let token = &s.tokens[at];
    let next = |words: &[&str]| s.tokens.get(at + 1).is_some_and(|t| t.is(words));
    let before = at.checked_sub(1).map(|k| &s.tokens[k]);
    if token.is(&["no"]) && next(&["longer", "more", "need", "one"])
        || token.is(&["turn", "switch", "call"]) && next(&["off"])
    {
        return Some(at + 2);
    }
    let wanted = |t: &Token| t.is(&["want", "need", "needs", "wants", "create", "make", "please"]);
    let none = token.is(&["no"]) && before.is_none_or(wanted);
    let ends = token.is(&ENDERS) && starts(s, at);
    (token.is(&NEGATORS) || none || ends).then_some(at + 1)
}

fn starts(s: &Sentence, at: usize) -> bool {
    at.checked_sub(1).map(|k| &s.tokens[k]).is_none_or(|t| {
        t.punct(",;.:!?") || t.is(&["please", "and", "then", "but", "now", "to", "you", "kindly"])
    })
}

/// "… not any longer", "… not anymore".
fn ended(s: &Sentence, at: usize, explained: &BTreeSet<usize>) -> Option<Vec<usize>> {
    let token = &s.tokens[at];
    let two = token.is(&["any"])
        && s.tokens
            .get(at + 1)
            .is_some_and(|t| t.is(&["longer", "more"]));
    if !(two || token.is(&["anymore"])) {
        return None;
    }
    let from = (at.saturating_sub(8)..at)
        .rev()
        .find(|k| s.tokens[*k].is(&NEGATORS) || s.tokens[*k].is(&["no", "nobody"]))?;
    let end = if two { at + 1 } else { at };
    let known = |k: usize| explained.contains(&k);
    (!known(from) && !known(at)).then(|| (from..=end).collect())
}
