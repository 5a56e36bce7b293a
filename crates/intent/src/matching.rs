//! Which foundation a sentence asks for, and whether it can do all of it.
//!
//! A sentence *may* mean a foundation when one of its shapes is complete and nothing rules it out.
//! How sure that is depends on the shape and on the words that stay unexplained. A demand that the
//! foundation does not meet, a place without an input, or an unknown deed refuses the match by name:
//! a confident wrong match is worse than a refusal. Start at [`choose`].

use crate::demands::demands;
use crate::fill::{self, Filled};
use crate::foundation::Foundation;
use crate::lex::{Kind, Token};
use crate::phrase::Phrase;
use crate::plan::{Context, HINT, Possible, Refusal};
use crate::sentence::Sentence;
use crate::vocabulary::Vocabulary;
use std::collections::{BTreeMap, BTreeSet};

/// Below this a match is not taken.
const SURE: f64 = 0.5;
/// The best must be this much better than the second.
const MARGIN: f64 = 0.08;
/// What each further idea adds.
const SUPPORT: f64 = 0.04;
/// What each unexplained word costs: little where the shape is strong, since most such words are
/// adjectives and names; demands and unknown deeds are refused by name, not by weight.
const UNEXPLAINED: f64 = 0.045;
/// The same where the shape is weak and the word may be what it is all about ("back up my phone").
const UNEXPLAINED_WEAK: f64 = 0.11;
/// From here on a shape is strong.
const STRONG: f64 = 0.7;

/// A foundation that a sentence may mean.
pub(crate) struct Candidate<'a> {
    pub(crate) foundation: &'a Foundation,
    pub(crate) filled: Filled,
    pub(crate) confidence: f64,
    /// Tokens that nothing explains.
    unexplained: Vec<usize>,
    /// Tokens of its ideas.
    ideas: BTreeSet<usize>,
}

/// The foundation that the sentence asks for.
///
/// # Errors
/// Why there is none.
pub(crate) fn choose<'a>(
    s: &Sentence,
    context: &Context,
    foundations: &'a [Foundation],
    vocabulary: &Vocabulary,
) -> Result<Candidate<'a>, Refusal> {
    if let Some(token) = s.tokens.iter().find(|t| t.kind == Kind::Windows) {
        let what = format!(
            "{} is a path of Windows; write it as it is on this machine, for example /mnt/c/…",
            token.text
        );
        return Err(Refusal::Hostile { what });
    }
    let mut candidates: Vec<Candidate<'a>> = foundations
        .iter()
        .filter_map(|f| candidate(f, s, context, vocabulary))
        .collect();
    candidates.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let mut candidates = candidates.into_iter();
    let Some(best) = candidates.next() else {
        return Err(no_match(s, foundations, vocabulary));
    };
    let second = candidates
        .next()
        .filter(|c| c.confidence >= SURE && best.confidence - c.confidence < MARGIN);
    if best.confidence < SURE {
        return Err(unsure(&best, s, foundations));
    }
    if let Some(second) = second {
        let best_part = too_much(&best, s, vocabulary);
        let second_part = too_much(&second, s, vocabulary);
        match (best_part, second_part) {
            (Ok(()), Err(_)) => return Ok(best),
            (Err(_), Ok(())) => return Ok(second),
            _ => {
                return Err(Refusal::Ambiguous {
                    candidates: vec![possible(best.foundation), possible(second.foundation)],
                });
            }
        }
    }
    too_much(&best, s, vocabulary)?;
    Ok(best)
}

/// What a foundation is, for a refusal.
pub(crate) fn possible(foundation: &Foundation) -> Possible {
    Possible {
        foundation: foundation.manifest.name.clone(),
        does: foundation.manifest.does.clone(),
        example: foundation
            .manifest
            .examples
            .first()
            .cloned()
            .unwrap_or_default(),
    }
}

fn candidate<'a>(
    foundation: &'a Foundation,
    s: &Sentence,
    context: &Context,
    vocabulary: &Vocabulary,
) -> Option<Candidate<'a>> {
    let matching = &foundation.manifest.matching;
    let places = |text: &String| {
        Phrase::parse(text)
            .map(|phrase| phrase.places(s))
            .unwrap_or_default()
    };
    if matching.never.iter().any(|text| !places(text).is_empty()) {
        return None;
    }
    let mut found: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (idea, phrases) in &matching.ideas {
        let tokens: BTreeSet<usize> = phrases
            .iter()
            .flat_map(places)
            .flat_map(|place| place.tokens)
            .collect();
        if !tokens.is_empty() {
            found.insert(idea, tokens);
        }
    }
    // Two ideas must not rest on the very same word.
    let complete = |all: &[String]| {
        let sets: Vec<&BTreeSet<usize>> = all
            .iter()
            .filter_map(|idea| found.get(idea.as_str()))
            .collect();
        let union: BTreeSet<usize> = sets.iter().flat_map(|set| set.iter().copied()).collect();
        sets.len() == all.len() && union.len() >= all.len()
    };
    let shape = matching
        .shapes
        .iter()
        .filter(|shape| complete(&shape.all))
        .max_by(|a, b| a.strength.total_cmp(&b.strength))?;
    let filled = fill::fill(foundation, s, context);
    let ideas: BTreeSet<usize> = found.values().flatten().copied().collect();
    let unexplained = unexplained(foundation, s, &filled, &ideas, vocabulary);
    let extra = found.len().saturating_sub(shape.all.len());
    let required = foundation.manifest.inputs.iter().filter(|i| i.required);
    let got = required
        .clone()
        .filter(|i| filled.inputs.contains_key(&i.name))
        .count();
    let share = if required.clone().count() == 0 {
        0.0
    } else {
        got as f64 / required.count() as f64
    };
    let cost = if shape.strength >= STRONG {
        UNEXPLAINED
    } else {
        UNEXPLAINED_WEAK
    };
    let confidence = shape.strength + 0.1 * share + (SUPPORT * extra as f64).min(0.12)
        - cost * unexplained.len() as f64
        - 0.1 * filled.left.len() as f64;
    Some(Candidate {
        foundation,
        filled,
        confidence: confidence.clamp(0.0, 1.0),
        unexplained,
        ideas,
    })
}

fn unexplained(
    foundation: &Foundation,
    s: &Sentence,
    filled: &Filled,
    ideas: &BTreeSet<usize>,
    vocabulary: &Vocabulary,
) -> Vec<usize> {
    let own: BTreeSet<usize> = foundation
        .manifest
        .matching
        .words
        .iter()
        .filter_map(|text| Phrase::parse(text))
        .flat_map(|phrase| phrase.places(s))
        .flat_map(|place| place.tokens)
        .collect();
    let about: BTreeSet<String> = foundation
        .manifest
        .inputs
        .iter()
        .flat_map(values_words)
        .collect();
    (0..s.tokens.len())
        .filter(|at| {
            let token = &s.tokens[*at];
            let content = matches!(
                token.kind,
                Kind::Word | Kind::Quoted | Kind::Glob | Kind::Email | Kind::Secret
            );
            content
                && !(s.spoken(*at)
                    || s.reason.contains(at)
                    || filled.covered.contains(at)
                    || ideas.contains(at)
                    || own.contains(at))
                && !vocabulary.plain(token)
                && !about.contains(&token.stem)
        })
        .collect()
}

/// The words that speak of an input: its markers and phrases.
fn values_words(input: &crate::format::Input) -> Vec<String> {
    crate::values::phrases(input)
        .iter()
        .flat_map(|text| {
            text.split([' ', '-'])
                .map(crate::vocabulary::stem)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Refuses when a part of the sentence is beyond the foundation.
///
/// # Errors
/// The part, by name.
pub(crate) fn too_much(
    c: &Candidate<'_>,
    s: &Sentence,
    vocabulary: &Vocabulary,
) -> Result<(), Refusal> {
    let refuse = |part: String| {
        Err(Refusal::TooMuch {
            foundation: c.foundation.manifest.name.clone(),
            part,
            hint: format!("Leave that part out, or build it another way. {HINT}"),
        })
    };
    if let Some(at) = c.filled.left.first() {
        return refuse(format!(
            "\"{}\" has no place in it ({})",
            s.tokens[*at].text, c.foundation.manifest.does
        ));
    }
    let matching = &c.foundation.manifest.matching;
    for demand in demands() {
        let met = matching.can.iter().any(|can| can == demand.id)
            || matching
                .can_with
                .get(demand.id)
                .is_some_and(|input| c.filled.inputs.get(input).is_some_and(|v| !v.is_null()));
        if met {
            continue;
        }
        if let Some(words) = demanded(demand.phrases, c, s) {
            return refuse(format!("\"{words}\" ({})", demand.says));
        }
    }
    if let Some(at) = number_left(c, s) {
        return refuse(format!(
            "the number {} has no place in it",
            s.tokens[at].text
        ));
    }
    if let Some(words) = unknown_deed(c, s, vocabulary) {
        return refuse(format!("\"{words}\""));
    }
    Ok(())
}

/// A number that nothing uses is never dropped silently. The old value in "14 instead of 7" may be.
fn number_left(c: &Candidate<'_>, s: &Sentence) -> Option<usize> {
    (0..s.tokens.len()).find(|at| {
        let number = matches!(s.tokens[*at].kind, Kind::Number { .. } | Kind::Time { .. });
        let back = |step: usize, words: &[&str]| {
            at.checked_sub(step).is_some_and(|k| s.tokens[k].is(words))
        };
        let old = back(1, &["of", "than", "not", "from"])
            && (back(2, &["instead", "rather", "keep", "change", "go"])
                || back(1, &["not", "from"]));
        let used = s.spoken(*at)
            || s.reason.contains(at)
            || c.filled.covered.contains(at)
            || c.ideas.contains(at);
        number && !used && !old && !c.filled.wrong.iter().any(|q| q.input == "schedule")
    })
}

fn demanded(phrases: &[&str], c: &Candidate<'_>, s: &Sentence) -> Option<String> {
    let shielded = |at: &usize| {
        let token = &s.tokens[*at];
        let task = c.filled.covered.len() == s.tokens.len();
        (c.filled.covered.contains(at) && !task)
            || c.ideas.contains(at) && c.filled.covered.contains(at)
            || matches!(token.kind, Kind::Path | Kind::Url)
            || s.reason.contains(at)
    };
    phrases
        .iter()
        .filter_map(|text| Phrase::parse(text))
        .find_map(|phrase| {
            let places = phrase.places(s);
            let place = places.into_iter().find(|place| {
                !place.tokens.iter().all(shielded)
                    && !place
                        .tokens
                        .iter()
                        .any(|at| c.filled.covered.contains(at) && shielded(at))
            })?;
            if negated(s, &place.tokens) {
                None
            } else {
                Some(s.words(&place.tokens))
            }
        })
}

/// "don't upload anything", "without uploading", "no email".
fn negated(s: &Sentence, tokens: &[usize]) -> bool {
    let Some(first) = tokens.first() else {
        return false;
    };
    (first.saturating_sub(3)..*first)
        .any(|k| s.tokens[k].is(&["don't", "dont", "not", "without", "never", "no"]))
}

/// A clause that begins with a deed which nothing explains: "… and play a song".
fn unknown_deed(c: &Candidate<'_>, s: &Sentence, vocabulary: &Vocabulary) -> Option<String> {
    c.unexplained.iter().find_map(|at| {
        let token = &s.tokens[*at];
        if !token.is_word() || !starts_clause(s, *at) {
            return None;
        }
        let object = s.tokens.get(at + 1);
        let acts = object.is_some_and(|t| {
            t.is(&[
                "the",
                "a",
                "an",
                "it",
                "them",
                "my",
                "our",
                "this",
                "that",
                "these",
                "those",
                "all",
                "me",
                "us",
                "him",
                "her",
                "every",
                "each",
                "any",
                "to",
                "everyone",
                "everything",
                "some",
            ]) || matches!(t.kind, Kind::Path | Kind::Url | Kind::Quoted | Kind::Email)
        });
        let end = (*at + 4).min(s.tokens.len());
        (acts && !vocabulary.vague(token)).then(|| s.words(&(*at..end).collect::<Vec<_>>()))
    })
}

fn starts_clause(s: &Sentence, at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|k| &s.tokens[k]) else {
        return true;
    };
    let joins = |t: &Token| {
        t.is(&[
            "and",
            "then",
            "also",
            "plus",
            "to",
            "please",
            "but",
            "finally",
            "afterwards",
            "next",
            "or",
        ]) || t.punct(",;.:&+!?")
    };
    joins(before) || s.timed.contains(&(at - 1))
}

fn unsure(best: &Candidate<'_>, s: &Sentence, foundations: &[Foundation]) -> Refusal {
    if best.unexplained.is_empty() {
        let missing = missing(best.foundation, &best.filled);
        return Refusal::TooVague {
            missing,
            possible: vec![possible(best.foundation)],
        };
    }
    let _ = s;
    Refusal::NothingMatches {
        possible: foundations.iter().map(possible).collect(),
        hint: HINT.to_owned(),
    }
}

fn missing(foundation: &Foundation, filled: &Filled) -> Vec<String> {
    foundation
        .manifest
        .inputs
        .iter()
        .filter(|input| input.required && !filled.inputs.contains_key(&input.name))
        .map(|input| input.ask.clone().unwrap_or_else(|| input.about.clone()))
        .collect()
}

/// Nothing fits: either nothing was said, or something that no foundation does.
fn no_match(s: &Sentence, foundations: &[Foundation], vocabulary: &Vocabulary) -> Refusal {
    let content = s
        .tokens
        .iter()
        .enumerate()
        .filter(|(at, t)| t.is_word() && !s.timed.contains(at) && !vocabulary.vague(t))
        .count();
    let possible: Vec<Possible> = foundations.iter().map(possible).collect();
    if content == 0 {
        let missing = vec![
            "say what is to be done, with what (a folder, a file, an address), and when".to_owned(),
        ];
        return Refusal::TooVague { missing, possible };
    }
    Refusal::NothingMatches {
        possible,
        hint: HINT.to_owned(),
    }
}

/// The candidate for a change: the foundation is known, only the left-over parts matter.
pub(crate) fn for_amend<'a>(
    foundation: &'a Foundation,
    filled: Filled,
    s: &Sentence,
    vocabulary: &Vocabulary,
) -> Candidate<'a> {
    let ideas: BTreeSet<usize> = foundation
        .manifest
        .matching
        .ideas
        .values()
        .flatten()
        .filter_map(|text| Phrase::parse(text))
        .flat_map(|phrase| phrase.places(s))
        .flat_map(|place| place.tokens)
        .collect();
    let unexplained = unexplained(foundation, s, &filled, &ideas, vocabulary);
    Candidate {
        foundation,
        filled,
        confidence: 1.0,
        unexplained,
        ideas,
    }
}

/// In a change every word counts: what nothing explains is refused by name.
///
/// # Errors
/// The words.
pub(crate) fn all_explained(c: &Candidate<'_>, s: &Sentence) -> Result<(), Refusal> {
    if c.unexplained.is_empty() {
        return Ok(());
    }
    Err(Refusal::TooMuch {
        foundation: c.foundation.manifest.name.clone(),
        part: format!("\"{}\" is not understood", s.words(&c.unexplained)),
        hint: "Say only what is to change, for example \"keep 14 instead\" or \"every hour\"."
            .to_owned(),
    })
}
