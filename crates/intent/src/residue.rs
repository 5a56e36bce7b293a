//! Words that are left over when a foundation has taken what it understands. Many are harmless (names, small
//! talk, adjectives); those that stand where they change the wish refuse the match: a further deed, an
//! exception, a condition, a means. Start at [`left_over`].

use crate::lex::{Kind, Token};
use crate::matching::Candidate;
use crate::sentence::Sentence;
use crate::vocabulary::is_vague;
use agentwright_domain::spec::AutomationKind;

const ARTICLES: [&str; 16] = [
    "the", "my", "our", "a", "an", "some", "all", "any", "your", "every", "each", "this", "that",
    "these", "those", "its",
];

/// What stands before something that is ruled out, which is no demand.
const NEGATIONS: [&str; 7] = ["not", "don't", "dont", "never", "no", "without", "nothing"];
/// Verbs so plain that they need no explanation, unless they begin a clause of their own.
const DEEDS: [&str; 12] = [
    "tell", "ask", "say", "start", "run", "make", "build", "show", "send", "call", "put", "let",
];

/// The first words that change the wish and that nothing explains.
pub(crate) fn left_over(c: &Candidate<'_>, s: &Sentence) -> Option<String> {
    exception(c, s)
        .or_else(|| occasion(c, s))
        .or_else(|| condition(c, s))
        .or_else(|| governed(c, s))
        .or_else(|| reservation(c, s))
        .or_else(|| further_clause(c, s))
        .or_else(|| unknown_deed(c, s))
}

/// Whether a token is taken: by the time, the name, an input or an idea.
fn used(c: &Candidate<'_>, s: &Sentence, at: usize) -> bool {
    s.spoken(at)
        || s.reason.contains(&at)
        || c.filled.covered.contains(&at)
        || c.ideas.contains(&at)
}

/// Whether a token means something here: it is taken, or belongs to the foundation's subject.
fn understood(c: &Candidate<'_>, s: &Sentence, at: usize) -> bool {
    let token = &s.tokens[at];
    used(c, s, at) || token.is_word() && !c.unexplained.contains(&at) && !is_vague(token)
}

/// A left-over word that does not just name what a path or a record names already.
fn strange(c: &Candidate<'_>, s: &Sentence, at: usize) -> bool {
    let Some(token) = s.tokens.get(at) else {
        return false;
    };
    let place = |t: &Token| matches!(t.kind, Kind::Path | Kind::Url);
    let named = token.stem.len() > 2
        && s.tokens
            .iter()
            .any(|t| place(t) && t.lower.contains(&token.stem));
    let record = s.entity.as_ref().is_some_and(|entity| {
        let noun = entity.tokens.first().map(|k| &s.tokens[*k].stem);
        noun == Some(&token.stem)
    });
    // What an input took elsewhere in the sentence is known here, too.
    let known = c
        .filled
        .covered
        .iter()
        .any(|k| s.tokens[*k].stem == token.stem);
    c.unexplained.contains(&at) && token.is_word() && !named && !record && !known
}

/// "if it rains", "when the disk is full": a condition with a word that nothing explains, or with none that means
/// anything here.
fn condition(c: &Candidate<'_>, s: &Sentence) -> Option<String> {
    const POLITE: [&str; 14] = [
        "possible",
        "needed",
        "necessary",
        "can",
        "like",
        "want",
        "could",
        "would",
        "may",
        "ready",
        "done",
        "please",
        "mind",
        "allowed",
    ];
    (0..s.tokens.len()).find_map(|at| {
        let opens = s.tokens[at].is(&["if", "when", "whenever", "while", "unless"]);
        if !opens || used(c, s, at) {
            return None;
        }
        let end = clause_end(s, at).min(at + 8);
        let mut clause = at + 1..end;
        let polite = clause.clone().any(|k| s.tokens[k].is(&POLITE));
        let exists = clause.clone().all(|k| {
            s.tokens[k].is(&[
                "there", "are", "is", "any", "some", "were", "was", "not", "so",
            ])
        });
        let empty = !polite && !exists && end > at + 2 && !clause.clone().any(|k| used(c, s, k));
        // "if the certificate page is edited": what is said of a strange thing is understood.
        let meant = clause
            .clone()
            .any(|k| c.ideas.contains(&k) && s.tokens[k].is_word());
        let strange = !meant && clause.any(|k| strange(c, s, k));
        (strange || empty).then(|| s.words(&(at..end).collect::<Vec<_>>()))
    })
}

/// "with a password", "to kafka", "from three countries", "every blue moon": a means or a place that nothing explains.
fn governed(c: &Candidate<'_>, s: &Sentence) -> Option<String> {
    const LEADS: [&str; 14] = [
        "with", "to", "into", "by", "via", "through", "using", "as", "in", "every", "each",
        "against", "like", "from",
    ];
    let begun = c.deeds.iter().next()?;
    let service = c.foundation.manifest.kind == AutomationKind::Service;
    (*begun..s.tokens.len()).find_map(|at| {
        // Whoever posts to a service may have any name.
        let open = s.tokens[at].is(&LEADS) && !(service && s.tokens[at].is(&["from"]));
        if !open || s.spoken(at) || s.reason.contains(&at) {
            return None;
        }
        let skipped = |k: &usize| {
            let token = &s.tokens[*k];
            token.is(&ARTICLES) || matches!(token.kind, Kind::Number { .. })
        };
        let word = (at + 1..s.tokens.len()).find(|k| !skipped(k))?;
        // "against a json schema": the last word of the group counts, too.
        let head = Some(word + 1)
            .filter(|k| c.ideas.contains(&word) && strange(c, s, *k))
            .unwrap_or(word);
        // "to annoy them" says what for.
        let purpose = s.tokens[at].is(&["to"])
            && s.tokens
                .get(word + 1)
                .is_some_and(|t| t.is(&["them", "it", "that", "this", "the", "my", "at"]));
        (strange(c, s, head) && !purpose).then(|| s.words(&(at..=head).collect::<Vec<_>>()))
    })
}

/// "… but keep the important ones": a reservation of which nothing was understood.
fn reservation(c: &Candidate<'_>, s: &Sentence) -> Option<String> {
    let at = (1..s.tokens.len()).find(|at| s.tokens[*at].is(&["but"]) && !used(c, s, *at))?;
    let end = clause_end(s, at);
    let understood = (at + 1..end).any(|k| used(c, s, k));
    let ruled_out = (at + 1..end)
        .any(|k| s.tokens[k].is(&["not", "don't", "dont", "never", "no", "without", "nothing"]));
    (!understood && !ruled_out && end > at + 1).then(|| s.words(&(at..end).collect::<Vec<_>>()))
}

fn clause_end(s: &Sentence, at: usize) -> usize {
    (at..s.tokens.len())
        .find(|k| s.tokens[*k].punct(".;!?,"))
        .unwrap_or(s.tokens.len())
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
    (0..s.tokens.len())
        .filter(|at| !used(c, s, *at))
        .find_map(|at| {
            let next = s.tokens.get(at + 1);
            let two = TWO
                .iter()
                .any(|[a, b]| s.tokens[at].is(&[a]) && next.is_some_and(|t| t.is(&[b])));
            if !(two || s.tokens[at].is(&ONE)) {
                return None;
            }
            let end = clause_end(s, at).min(at + 9);
            let left = (at + 1..end).any(|k| c.unexplained.contains(&k));
            left.then(|| s.words(&(at..end).collect::<Vec<_>>()))
        })
}

/// A time that is none: "on my birthday", "during the holidays".
fn occasion(c: &Candidate<'_>, s: &Sentence) -> Option<String> {
    let article = |k: usize| s.tokens.get(k).is_some_and(|t| t.is(&ARTICLES));
    (0..s.tokens.len()).find_map(|at| {
        let opens = s.tokens[at].is(&["on", "before", "after", "during", "until", "till"]);
        let word = if article(at + 1) { at + 2 } else { at + 1 };
        let free = !c.filled.covered.contains(&at) && !c.ideas.contains(&at);
        let unknown = c.unexplained.contains(&word) && s.tokens[word].is_word();
        (opens && free && unknown).then(|| s.words(&(at..=word).collect::<Vec<_>>()))
    })
}

/// A second clause of which nothing was understood ("… and tell my wife"), or not all ("… and mine some bitcoin").
fn further_clause(c: &Candidate<'_>, s: &Sentence) -> Option<String> {
    let begun = *c.deeds.iter().next()?;
    let joint = |at: &usize| {
        let comma = s.tokens[*at].punct(",") && s.tokens.get(at + 1).is_some_and(|t| t.is(&DEEDS));
        s.tokens[*at].is(&["and", "then", "also", "plus"]) || comma
    };
    (begun + 1..s.tokens.len()).filter(joint).find_map(|at| {
        let end = (at + 1..s.tokens.len())
            .find(|k| s.tokens[*k].punct(".;!?,") || s.tokens[*k].is(&["and", "then"]))
            .unwrap_or(s.tokens.len());
        let clause = at + 1..end;
        if s.reason.contains(&at) || s.spoken(at) || c.filled.covered.contains(&at) {
            return None;
        }
        let words = clause.clone().filter(|k| s.tokens[*k].is_word()).count();
        let polite = clause
            .clone()
            .any(|k| s.tokens[k].is(&["thank", "thanks", "please", "that's", "cheers", "done"]));
        let empty = words >= 2 && !polite && !clause.clone().any(|k| understood(c, s, k));
        // "new incidents": what an idea leads to is its kind.
        let led = |k: usize| c.ideas.contains(&(k - 1)) && k > at + 1;
        let strange = clause.clone().any(|k| strange(c, s, k) && !led(k));
        let harmless = clause.clone().any(|k| s.tokens[k].is(&NEGATIONS));
        ((empty || strange) && !harmless).then(|| s.words(&clause.collect::<Vec<_>>()))
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
