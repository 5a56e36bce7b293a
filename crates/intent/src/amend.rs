//! Changing what exists: "keep 14 instead", "every hour", "also exclude *.tmp". The foundation is
//! known; only what the sentence says is changed, and what it cannot say is refused.

use crate::beyond::too_much;
use crate::fill::{self, Filled};
use crate::format::InputKind;
use crate::foundation::Foundation;
use crate::lex::Kind;
use crate::matching;
use crate::plan::{Context, Plan, Refusal};
use crate::record;
use crate::schedule::When;
use crate::sentence::{self, Sentence};
use crate::spec::Draft;
use crate::values;
use crate::vocabulary::Vocabulary;
use agentwright_domain::spec::{Spec, Trigger};
use serde_json::{Value, json};

/// The plan for the next version of an automation.
///
/// # Errors
/// When the sentence changes nothing, or more than the foundation can.
pub fn amend(
    existing: &Spec,
    foundation: &Foundation,
    sentence: &str,
    context: &Context,
) -> Result<Plan, Refusal> {
    let example = foundation
        .manifest
        .examples
        .first()
        .cloned()
        .unwrap_or_default();
    sentence::guard(sentence, &example)?;
    let vocabulary = Vocabulary::of([foundation]);
    let mut s = Sentence::read(sentence, &vocabulary, &context.zone)?;
    // A record is changed field by field, never replaced by what looks like another one.
    s.entity = None;
    let known: Vec<(&String, &Value)> = existing
        .inputs
        .iter()
        .filter(|(name, value)| !value.is_null() && foundation.input(name).is_some())
        .collect();
    let mut filled = match replacement(&s, &known, foundation, context)? {
        Some(filled) => filled,
        None => fill::fill(foundation, &s, context),
    };
    records(&s, &known, foundation, &mut filled)?;
    refuse_further_places(&s, &known, foundation, &filled)?;
    let candidate = matching::for_amend(foundation, filled, &s);
    too_much(&candidate, &s)?;
    let changed = !candidate.filled.inputs.is_empty()
        || s.when != When::Silent
        || !candidate.filled.wrong.is_empty();
    if !changed {
        return Err(nothing_said(foundation));
    }
    matching::all_explained(&candidate, &s)?;
    let said: Vec<String> = candidate.filled.inputs.keys().cloned().collect();
    let mut filled = candidate.filled;
    keep_the_rest(&s, &known, foundation, &mut filled);
    let service = matches!(foundation.manifest.trigger, Trigger::Service { .. });
    let when = match s.when {
        When::Silent if service => When::Silent,
        When::Silent => When::Said(existing.trigger.clone()),
        said => said,
    };
    let draft = Draft {
        foundation,
        filled: &filled,
        when,
        name: Some(existing.name.clone()),
        confidence: 1.0,
    };
    let mut plan = draft.plan(context)?;
    plan.said = said;
    plan.notes.clear();
    Ok(plan)
}

fn nothing_said(foundation: &Foundation) -> Refusal {
    let inputs: Vec<&str> = foundation
        .manifest
        .inputs
        .iter()
        .map(|i| i.about.as_str())
        .collect();
    Refusal::TooVague {
        missing: vec![format!(
            "say what is to change: the time, or {}",
            inputs.join(", ")
        )],
        possible: vec![matching::possible(foundation)],
    }
}

/// Fields that are added to, dropped from or changed in a record.
fn records(
    s: &Sentence,
    known: &[(&String, &Value)],
    foundation: &Foundation,
    filled: &mut Filled,
) -> Result<(), Refusal> {
    for (name, value) in known {
        let is_record = foundation
            .input(name)
            .is_some_and(|i| i.kind == InputKind::Entity {});
        if !is_record {
            continue;
        }
        let refuse = |part: String| Refusal::TooMuch {
            foundation: foundation.manifest.name.clone(),
            part,
            hint: "Build a new service for a different record.".to_owned(),
        };
        if let Some(said) = record::changed(s, value).map_err(refuse)? {
            filled.inputs.insert((*name).clone(), said.value);
            filled.covered.extend(said.tokens);
        }
    }
    Ok(())
}

/// What the sentence does not name stays; lists grow with "also".
fn keep_the_rest(
    s: &Sentence,
    known: &[(&String, &Value)],
    foundation: &Foundation,
    filled: &mut Filled,
) {
    let more = s
        .tokens
        .iter()
        .any(|t| t.is(&["also", "too", "additionally", "add", "plus"]));
    for (name, value) in known {
        let Some(input) = foundation.input(name) else {
            continue;
        };
        let list = matches!(
            input.kind,
            InputKind::Globs { .. }
                | InputKind::Words {}
                | InputKind::Columns {}
                | InputKind::Urls {}
                | InputKind::Choices { .. }
        );
        match filled.inputs.get_mut(*name) {
            Some(new) if list && more => *new = joined(value, new),
            Some(_) => {}
            None => {
                filled.inputs.insert((*name).clone(), (*value).clone());
            }
        }
    }
}

fn joined(old: &Value, new: &Value) -> Value {
    let mut all: Vec<Value> = old.as_array().cloned().unwrap_or_default();
    for value in new.as_array().into_iter().flatten() {
        if !all.contains(value) {
            all.push(value.clone());
        }
    }
    json!(all)
}

/// "use ./b2 instead of ./backups": the place that is there names the input.
fn replacement(
    s: &Sentence,
    known: &[(&String, &Value)],
    foundation: &Foundation,
    context: &Context,
) -> Result<Option<Filled>, Refusal> {
    let places: Vec<usize> = (0..s.tokens.len())
        .filter(|at| matches!(s.tokens[*at].kind, Kind::Path | Kind::Url))
        .collect();
    let [a, b] = places[..] else { return Ok(None) };
    let input_of = |at: usize| {
        let text = &s.tokens[at].text;
        known.iter().find_map(|(name, value)| {
            let input = foundation.input(name)?;
            let same = **value == json!(text)
                || values::path(input, text, context).is_ok_and(|full| full == **value);
            same.then_some(input)
        })
    };
    let (old, new) = match (input_of(a), input_of(b)) {
        (Some(input), None) => (input, b),
        (None, Some(input)) => (input, a),
        _ => return Ok(None),
    };
    let text = &s.tokens[new].text;
    let value = match s.tokens[new].kind {
        Kind::Url => json!(text),
        _ => values::path(old, text, context).map_err(|what| Refusal::Hostile { what })?,
    };
    let mut context = context.clone();
    context.given.insert(old.name.clone(), value);
    let mut filled = fill::fill(foundation, s, &context);
    filled.left.clear();
    // Both places are spoken for: neither is anything else.
    filled.inputs.retain(|name, _| {
        let place = foundation.input(name).is_some_and(|input| {
            matches!(
                input.kind,
                InputKind::Folder { .. }
                    | InputKind::File { .. }
                    | InputKind::Url {}
                    | InputKind::Urls {}
            )
        });
        !place || *name == old.name
    });
    filled.covered.extend([a, b]);
    Ok(Some(filled))
}

/// "also the folder ./pics": where there is room for one place, a second one is refused, not swapped in.
fn refuse_further_places(
    s: &Sentence,
    known: &[(&String, &Value)],
    foundation: &Foundation,
    filled: &Filled,
) -> Result<(), Refusal> {
    let more = s
        .tokens
        .iter()
        .any(|t| t.is(&["also", "too", "additionally", "add", "plus", "both"]));
    for (name, value) in known {
        let Some(input) = foundation.input(name) else {
            continue;
        };
        let single = matches!(
            input.kind,
            InputKind::Folder { .. } | InputKind::File { .. } | InputKind::Url {}
        );
        let other = filled.inputs.get(*name).filter(|new| new != value);
        if let Some(new) = other.filter(|_| single && more) {
            return Err(Refusal::TooMuch {
                foundation: foundation.manifest.name.clone(),
                part: format!(
                    "{} beside {} ({}: only one)",
                    new.as_str().unwrap_or_default(),
                    value.as_str().unwrap_or_default(),
                    input.about
                ),
                hint: format!(
                    "Build a second automation for it, or say \"{} instead of …\".",
                    new.as_str().unwrap_or_default()
                ),
            });
        }
    }
    Ok(())
}
