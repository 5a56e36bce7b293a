//! Which foundation a sentence asks for, and whether it can do all of it.
//!
//! A sentence *may* mean a foundation when one of its shapes is complete and nothing rules it out.
//! How sure that is depends on the shape and on the words that stay unexplained. A demand that the
//! foundation does not meet, a place without an input, or an unknown deed refuses the match by name:
//! a confident wrong match is worse than a refusal. Start at [`choose`].

use crate::beyond::{too_much, wish_withdrawn};
use crate::fill::{self, Filled};
use crate::foundation::Foundation;
use crate::lex::Kind;
use crate::phrase::Phrase;
use crate::plan::{Context, HINT, Possible, Refusal};
use crate::sentence::Sentence;
use crate::vocabulary::{is_plain, is_vague};
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
    pub(crate) unexplained: Vec<usize>,
    /// Tokens of its ideas.
    pub(crate) ideas: BTreeSet<usize>,
    /// Words of the ideas that made it a match.
    pub(crate) deeds: BTreeSet<usize>,
}

/// The foundation that the sentence asks for.
///
/// # Errors
/// Why there is none.
pub(crate) fn choose<'a>(
    s: &Sentence,
    context: &Context,
    foundations: &'a [Foundation],
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
        .filter_map(|f| candidate(f, s, context))
        .collect();
    candidates.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let mut candidates = candidates.into_iter();
    let Some(best) = candidates.next() else {
        return Err(no_match(s, foundations));
    };
    let second = candidates
        .next()
        .filter(|c| c.confidence >= SURE && best.confidence - c.confidence < MARGIN);
    if best.confidence < SURE {
        return Err(unsure(&best, s, foundations));
    }
    wish_withdrawn(&best, s)?;
    if let Some(second) = second {
        let best_part = too_much(&best, s);
        let second_part = too_much(&second, s);
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
    too_much(&best, s)?;
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
) -> Option<Candidate<'a>> {
    let matching = &foundation.manifest.matching;
    let patterns = &foundation.patterns;
    if patterns.never.iter().any(|phrase| phrase.stands(s)) {
        return None;
    }
    let mut found: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (idea, phrases) in &patterns.ideas {
        let tokens = tokens_of(phrases, s);
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
    let in_shape = shape.all.iter().filter_map(|idea| found.get(idea.as_str()));
    let deeds: BTreeSet<usize> = in_shape.flatten().copied().collect();
    let unexplained = unexplained(foundation, s, &filled, &ideas);
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
        deeds,
    })
}

fn unexplained(
    foundation: &Foundation,
    s: &Sentence,
    filled: &Filled,
    ideas: &BTreeSet<usize>,
) -> Vec<usize> {
    let own = tokens_of(&foundation.patterns.words, s);
    let about = &foundation.patterns.about;
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
                && !is_plain(token)
                && !about.contains(&token.stem)
        })
        .collect()
}

/// The tokens of all places of some phrases.
fn tokens_of(phrases: &[Phrase], s: &Sentence) -> BTreeSet<usize> {
    phrases
        .iter()
        .flat_map(|phrase| phrase.places(s))
        .flat_map(|place| place.tokens)
        .collect()
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
fn no_match(s: &Sentence, foundations: &[Foundation]) -> Refusal {
    let content = s
        .tokens
        .iter()
        .enumerate()
        .filter(|(at, t)| t.is_word() && !s.timed.contains(at) && !is_vague(t))
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
) -> Candidate<'a> {
    let phrases = foundation.patterns.ideas.values();
    let ideas: BTreeSet<usize> = phrases.flat_map(|all| tokens_of(all, s)).collect();
    let unexplained = unexplained(foundation, s, &filled, &ideas);
    Candidate {
        foundation,
        filled,
        confidence: 1.0,
        unexplained,
        ideas,
        deeds: BTreeSet::new(),
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
