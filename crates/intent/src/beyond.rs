//! What a sentence asks beyond a foundation: a demand that it does not meet, a place, number or deed
//! that nothing uses, an exception that it cannot make, or a wish that is taken back. Each refuses the
//! match by name. Start at [`too_much`].

use crate::demands::PARSED;
use crate::lex::{Kind, Token};
use crate::matching::Candidate;
use crate::phrase::Phrase;
use crate::plan::{HINT, Refusal};
use crate::sentence::Sentence;
use crate::vocabulary::is_vague;
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
        if let Some(words) = demanded(phrases, c, s) {
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
    let left_over = exception(c, s)
        .or_else(|| occasion(c, s))
        .or_else(|| other_object(c, s))
        .or_else(|| unknown_deed(c, s));
    if let Some(words) = left_over {
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

fn demanded(phrases: &[Phrase], c: &Candidate<'_>, s: &Sentence) -> Option<String> {
    let shielded = |at: &usize| {
        let token = &s.tokens[*at];
        let task = c.filled.covered.len() == s.tokens.len();
        (c.filled.covered.contains(at) && !task)
            || c.ideas.contains(at) && c.filled.covered.contains(at)
            || c.deeds.contains(at) && !task
            || matches!(token.kind, Kind::Path | Kind::Url)
            || s.reason.contains(at)
    };
    phrases.iter().find_map(|phrase| {
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
fn unknown_deed(c: &Candidate<'_>, s: &Sentence) -> Option<String> {
    const OBJECTS: [&str; 30] = [
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
        "both",
        "their",
        "its",
        "your",
        "him",
        "anything",
        "one",
    ];
    const JOINTS: [&str; 12] = [
        "of", "in", "on", "at", "by", "for", "from", "as", "and", "or", "than", "per",
    ];
    c.unexplained.iter().find_map(|at| {
        let token = &s.tokens[*at];
        if !token.is_word() || !starts_clause(s, *at) {
            return None;
        }
        let joined = at.checked_sub(1).is_some_and(|k| {
            s.tokens[k].is(&["and", "then", "also", "afterwards", "finally", "plus"])
        });
        let acts = s.tokens.get(at + 1).is_some_and(|t| {
            t.is(&OBJECTS)
                || joined && t.is_word() && !t.is(&JOINTS)
                || matches!(t.kind, Kind::Path | Kind::Url | Kind::Quoted | Kind::Email)
        });
        let end = (*at + 4).min(s.tokens.len());
        // "please improve it" is only vague, "… and fix them" asks for something.
        (acts && (joined || !is_vague(token))).then(|| s.words(&(*at..end).collect::<Vec<_>>()))
    })
}

/// An exception or condition that nothing took: "…, but skip the footer", "… unless it is a holiday".
fn exception(c: &Candidate<'_>, s: &Sentence) -> Option<String> {
    const ONE: [&str; 13] = [
        "except",
        "excepting",
        "excluding",
        "exclude",
        "unless",
        "skip",
        "skipping",
        "ignore",
        "ignoring",
        "omit",
        "omitting",
        "besides",
        "until",
    ];
    const TWO: [[&str; 2]; 9] = [
        ["but", "not"],
        ["apart", "from"],
        ["aside", "from"],
        ["other", "than"],
        ["only", "when"],
        ["only", "if"],
        ["only", "while"],
        ["leave", "out"],
        ["leaving", "out"],
    ];
    let used = |at: &usize| {
        s.spoken(*at)
            || s.reason.contains(at)
            || c.filled.covered.contains(at)
            || c.ideas.contains(at)
    };
    (0..s.tokens.len()).filter(|at| !used(at)).find_map(|at| {
        let next = s.tokens.get(at + 1);
        let two = TWO
            .iter()
            .any(|[a, b]| s.tokens[at].is(&[a]) && next.is_some_and(|t| t.is(&[b])));
        if !(two || s.tokens[at].is(&ONE)) {
            return None;
        }
        let end = (at..s.tokens.len())
            .find(|k| s.tokens[*k].punct(".;!?,"))
            .unwrap_or(s.tokens.len())
            .min(at + 9);
        let left = (at + 1..end).any(|k| c.unexplained.contains(&k));
        left.then(|| s.words(&(at..end).collect::<Vec<_>>()))
    })
}

/// A time that is none: "on my birthday", "during the holidays".
fn occasion(c: &Candidate<'_>, s: &Sentence) -> Option<String> {
    let article = |k: usize| {
        s.tokens
            .get(k)
            .is_some_and(|t| t.is(&["the", "my", "our", "a", "an", "every", "each"]))
    };
    (0..s.tokens.len()).find_map(|at| {
        let opens = s.tokens[at].is(&["on", "before", "after", "during", "until", "till"]);
        let word = if article(at + 1) { at + 2 } else { at + 1 };
        let free = !c.filled.covered.contains(&at) && !c.ideas.contains(&at);
        let unknown = c.unexplained.contains(&word) && s.tokens[word].is_word();
        (opens && free && unknown).then(|| s.words(&(at..=word).collect::<Vec<_>>()))
    })
}

/// A second clause whose verb belongs to the subject, but whose object does not: "… and mine some bitcoin".
fn other_object(c: &Candidate<'_>, s: &Sentence) -> Option<String> {
    let side = |at: usize| {
        s.tokens
            .get(at)
            .is_some_and(|t| t.is_word() && !is_vague(t))
            && !c.ideas.contains(&at)
            && !c.filled.covered.contains(&at)
            && !c.unexplained.contains(&at)
            && !s.spoken(at)
    };
    let article = |at: usize| {
        s.tokens
            .get(at)
            .is_some_and(|t| t.is(&["the", "my", "our", "a", "an", "some", "all", "any", "your"]))
    };
    (0..s.tokens.len()).find_map(|at| {
        let joins = s.tokens[at].is(&["and", "then", "also"]);
        let object = if article(at + 2) { at + 3 } else { at + 2 };
        let other = joins && side(at + 1) && c.unexplained.contains(&object);
        other.then(|| s.words(&(at + 1..=object).collect::<Vec<_>>()))
    })
}

/// A task whose first word would change something beside its answer: "have claude delete …".
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
    first.is(&ACTS).then(|| first.text.clone())
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
