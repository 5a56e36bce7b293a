//! What a sentence asks beyond a foundation: a demand that it does not meet, a place, number or deed
//! that nothing uses, words that are left over (`residue`), or a wish that is taken back. Each refuses
//! the match by name. Start at [`too_much`].

use crate::demands::{Demand, PARSED};
use crate::lex::Kind;
use crate::matching::Candidate;
use crate::phrase::Phrase;
use crate::plan::{HINT, Refusal};
use crate::residue::left_over;
use crate::sentence::Sentence;
use crate::withdrawn::withdrawn;
use std::collections::BTreeSet;

/// Refuses a sentence that forbids, ends or only asks about what the candidate does.
///
/// # Errors
/// The words that do.
pub(crate) fn wish_withdrawn(c: &Candidate<'_>, s: &Sentence) -> Result<(), Refusal> {
    let until = c.filled.task_from.unwrap_or(s.tokens.len());
    let said: BTreeSet<usize> = if c.filled.task_from.is_some() {
        BTreeSet::new()
    } else {
        c.filled.covered.union(&c.ideas).copied().collect()
    };
    match withdrawn(s, &c.deeds, &said, until) {
        None => Ok(()),
        Some(words) => Err(Refusal::TooMuch {
            foundation: c.foundation.manifest.name.clone(),
            part: format!("\"{}\" asks for nothing to be built", s.words(&words)),
            hint: "Say what is wanted, as a wish; what exists is ended with `agentwright remove`."
                .to_owned(),
        }),
    }
}

/// Refuses when a part of the sentence is beyond the foundation.
///
/// # Errors
/// The part, by name.
pub(crate) fn too_much(c: &Candidate<'_>, s: &Sentence) -> Result<(), Refusal> {
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
    for (demand, phrases) in PARSED.iter() {
        let met = matching.can.iter().any(|can| can == demand.id)
            || matching
                .can_with
                .get(demand.id)
                .is_some_and(|input| c.filled.inputs.get(input).is_some_and(|v| !v.is_null()));
        if met {
            continue;
        }
        if let Some(words) = demanded(demand, phrases, c, s) {
            return refuse(format!("\"{words}\" ({})", demand.says));
        }
    }
    if let Some(at) = number_left(c, s) {
        return refuse(format!(
            "the number {} has no place in it",
            s.tokens[at].text
        ));
    }
    if let Some(word) = acting_task(c, s) {
        return refuse(format!(
            "\"{word}\": a task is answered with a text, nothing else is changed by it"
        ));
    }
    if let Some(words) = left_over(c, s) {
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

fn demanded(
    demand: &Demand,
    phrases: &[Phrase],
    c: &Candidate<'_>,
    s: &Sentence,
) -> Option<String> {
    let shielded = |at: &usize| {
        let token = &s.tokens[*at];
        let task = c.filled.covered.len() == s.tokens.len();
        (c.filled.covered.contains(at) && !task)
            || c.ideas.contains(at) && c.filled.covered.contains(at)
            || c.deeds.contains(at) && !task
            || matches!(token.kind, Kind::Path | Kind::Url)
            || s.reason.contains(at)
    };
    // "title, author and an admin panel" reads like a list of fields to its end.
    let field = |at: &usize| {
        let entity = s.entity.as_ref();
        entity.is_some_and(|entity| entity.tokens.contains(at))
    };
    phrases.iter().find_map(|phrase| {
        let places = phrase.places(s);
        let whole = phrase.words() > 1;
        // Nothing hides a demand for more rights.
        let rights = demand.id == "override";
        let article = |at: &usize| s.tokens[*at].is(&["a", "an", "the"]);
        let shielded =
            |at: &usize| shielded(at) && !(whole && (field(at) || rights) && !article(at));
        let place = places.into_iter().find(|place| {
            !place.tokens.iter().all(&shielded)
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

/// A task that would change something beside its answer: "have claude delete …", "… and deploy it".
fn acting_task(c: &Candidate<'_>, s: &Sentence) -> Option<String> {
    const ACTS: [&str; 29] = [
        "delete",
        "remove",
        "move",
        "rename",
        "send",
        "email",
        "mail",
        "deploy",
        "install",
        "uninstall",
        "upload",
        "download",
        "restart",
        "reboot",
        "post",
        "publish",
        "buy",
        "order",
        "commit",
        "push",
        "chat",
        "talk",
        "monitor",
        "watch",
        "control",
        "run",
        "execute",
        "operate",
        "call",
    ];
    let start = c.filled.task_from?;
    let mut words = s.tokens[start..].iter().filter(|t| t.is_word());
    let first = words.find(|t| {
        !t.is(&[
            "to", "and", "that", "which", "should", "shall", "must", "please", "code", "can",
        ])
    })?;
    let word = |at: usize, words: &[&str]| s.tokens.get(at).is_some_and(|t| t.is(words));
    let later = (start..s.tokens.len()).find(|at| {
        let object = word(
            at + 2,
            &["it", "them", "the", "this", "that", "everything", "all"],
        );
        word(*at, &["and", "then", "also"]) && word(at + 1, &ACTS) && object
    });
    match later {
        _ if first.is(&ACTS) => Some(first.text.clone()),
        Some(at) => Some(s.words(&[at + 1, at + 2])),
        None => None,
    }
}
