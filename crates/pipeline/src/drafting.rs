//! A spec by a model: for wishes that no foundation covers.
//!
//! The model only proposes. Its answer is read into the spec's own types, held against the machine, its acceptance
//! sealed (nothing that already holds, nothing that cannot fail), and every effect that it says the wish has must be
//! shown by a probe. What is wrong goes back to it a few times, then the build fails and says what was wrong.

use crate::models::Asking;
use crate::plan::{called, repairs_failing};
use crate::resolve;
use crate::stages::Stop;
use agentwright_domain::acceptance::Holds;
use agentwright_domain::build::{BuildRequest, FailureClass};
use agentwright_domain::ids::Slug;
use agentwright_domain::spec::{SPEC_FORMAT, Spec};
use agentwright_llm::{CallCx, Callers, Message, OutputSchema, Request, Role};
use agentwright_verify::{SealError, seal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

mod asked;

use asked::unasked;

/// What a model is told about specs.
const INSTRUCTIONS: &str = include_str!("prompts/spec.md");
/// Turns after the first in which it may mend its answer.
pub(crate) const MENDS_MAX: usize = 3;
/// All turns together.
const TIME_MAX: Duration = Duration::from_secs(115);
/// The longest answer, in tokens (requirements B3).
const OUTPUT_TOKENS: u32 = 4_096;
/// So many problems of one answer are told.
const PROBLEMS_MAX: usize = 12;

/// A spec that a model proposed and everything here accepted.
#[derive(Serialize, Deserialize)]
pub(crate) struct Drafted {
    pub(crate) spec: Spec,
    /// Things that it asks for and the sentence does not name: a person must say yes to each.
    pub(crate) unasked: Vec<String>,
    /// Who made it.
    pub(crate) by: String,
}

/// What the draft is made from.
pub(crate) struct Wish<'a> {
    pub(crate) request: &'a BuildRequest,
    /// The deployed version that is to be changed.
    pub(crate) existing: Option<&'a Spec>,
    /// Why the spec before this one was wrong.
    pub(crate) amendment: Option<&'a str>,
    /// What every spec here follows.
    pub(crate) conventions: &'a str,
    /// Names that are taken.
    pub(crate) taken: &'a [String],
    /// What `~` is.
    pub(crate) home: Option<&'a str>,
    /// Where our own data lies.
    pub(crate) data: &'a Path,
    /// An empty directory of ours.
    pub(crate) scratch: PathBuf,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    questions: Vec<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    effects: Vec<Effect>,
    #[serde(default)]
    spec: Option<Value>,
}

#[derive(Deserialize)]
struct Effect {
    effect: String,
    #[serde(default)]
    probes: Vec<String>,
}

/// Asks until the draft holds.
pub(crate) async fn draft(
    wish: &Wish<'_>,
    asking: &Asking<'_>,
    cancel: &CancellationToken,
) -> Result<Drafted, Stop> {
    let callers = asking.callers(Role::Spec).await?;
    let until = tokio::time::Instant::now() + TIME_MAX;
    let mut messages = vec![Message::user(question(wish))];
    let mut problems = Vec::new();
    for _ in 0..=MENDS_MAX {
        let cx = CallCx {
            deadline: until.saturating_duration_since(tokio::time::Instant::now()),
            cancel: cancel.clone(),
            ..CallCx::default()
        };
        let (said, answer) = ask(&callers, messages.clone(), cx, asking).await?;
        if asking.leaks(&said) {
            return Err(Stop::Failed(
                FailureClass::Review,
                "the model's answer holds a provider's key; nothing of it is used".to_owned(),
            ));
        }
        match take(wish, answer).await? {
            Taken::Whole(spec) => {
                let unasked = unasked(&spec, wish);
                let by = asking.answered().unwrap_or_default();
                return Ok(Drafted {
                    spec: *spec,
                    unasked,
                    by,
                });
            }
            Taken::Questions(questions) => {
                return Err(Stop::refused(format!(
                    "something is missing: {}; say it in the sentence",
                    questions.join("; ")
                )));
            }
            Taken::Refused(why) => return Err(Stop::refused(why)),
            Taken::Wrong(found) => problems = found,
        }
        problems.truncate(PROBLEMS_MAX);
        messages.push(Message::assistant(said));
        messages.push(Message::user(format!(
            "That answer does not hold:\n- {}\nAnswer again with the whole JSON object.",
            problems.join("\n- ")
        )));
    }
    Err(Stop::Failed(
        FailureClass::Refused,
        format!(
            "the model made no spec that holds in {} turns; the last one: {}",
            MENDS_MAX + 1,
            problems.join("; ")
        ),
    ))
}

fn question(wish: &Wish<'_>) -> String {
    let request = wish.request;
    let mut text = format!(
        "The sentence:\n<sentence>\n{}\n</sentence>\nRelative paths start at {}. The person's time zone is {}.\n",
        request.intent.trim(),
        request.base_dir,
        request.zone
    );
    if !request.inputs.is_empty() {
        text.push_str(&format!("Given beside it: {}\n", json!(request.inputs)));
    }
    if !wish.taken.is_empty() && wish.existing.is_none() {
        text.push_str(&format!(
            "Names that are taken: {}\n",
            wish.taken.join(", ")
        ));
    }
    if let Some(name) = given_name(wish) {
        text.push_str(&format!("Its name must be {name}.\n"));
    }
    if let Some(existing) = wish.existing {
        text.push_str(&format!(
            "It changes an automation that is deployed; keep its name and everything that the sentence does not change. Its spec:\n{}\n",
            json!(existing)
        ));
    }
    if let Some(why) = wish.amendment {
        text.push_str(&format!(
            "An earlier spec for this sentence proved wrong: {why}\nMake one that can hold.\n"
        ));
    }
    if !wish.conventions.trim().is_empty() {
        text.push_str(&format!(
            "Conventions that hold here:\n{}\n",
            wish.conventions.trim()
        ));
    }
    text
}

/// One turn: what was said, and what it reads as.
async fn ask(
    callers: &Callers,
    messages: Vec<Message>,
    cx: CallCx,
    asking: &Asking<'_>,
) -> Result<(String, Result<Answer, String>), Stop> {
    let request = Request {
        system: Some(INSTRUCTIONS.to_owned()),
        messages,
        schema: Some(OutputSchema {
            name: "spec".to_owned(),
            schema: json!({
                "type": "object",
                "properties": {
                    "questions": { "type": "array", "items": { "type": "string" } },
                    "refusal": { "type": ["string", "null"] },
                    "effects": { "type": "array", "items": {
                        "type": "object",
                        "properties": {
                            "effect": { "type": "string" },
                            "probes": { "type": "array", "items": { "type": "string" } }
                        },
                        "required": ["effect", "probes"]
                    } },
                    "spec": { "type": ["object", "null"] }
                },
                "required": ["spec"]
            }),
        }),
        max_output_tokens: OUTPUT_TOKENS,
        ..Request::default()
    };
    match callers.complete(request, cx, |_| ()).await {
        Ok(reply) => {
            let answer = reply.structured.ok_or("the answer is not JSON".to_owned());
            let answer = answer
                .and_then(|value| serde_json::from_value(value).map_err(|error| error.to_string()));
            Ok((reply.text, answer))
        }
        Err(error) if error.kind == agentwright_llm::Kind::BadOutput => {
            let said = error.reply.as_ref().map(|reply| reply.text.clone());
            Ok((said.unwrap_or_default(), Err(error.message.clone())))
        }
        Err(error) => Err(asking.stop(&error)),
    }
}

enum Taken {
    Whole(Box<Spec>),
    Questions(Vec<String>),
    Refused(String),
    Wrong(Vec<String>),
}

/// Holds an answer against everything that a spec must be.
async fn take(wish: &Wish<'_>, answer: Result<Answer, String>) -> Result<Taken, Stop> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => return Ok(Taken::Wrong(vec![why])),
    };
    let Some(draft) = answer.spec else {
        let questions: Vec<String> = answer
            .questions
            .into_iter()
            .filter(|question| !question.trim().is_empty())
            .collect();
        if !questions.is_empty() {
            return Ok(Taken::Questions(questions));
        }
        return Ok(match answer.refusal {
            Some(why) if !why.trim().is_empty() => Taken::Refused(why),
            Some(_) | None => Taken::Wrong(vec![
                "give a spec, questions or a refusal; all three are empty".to_owned(),
            ]),
        });
    };
    let mut spec = match read(draft) {
        Ok(spec) => spec,
        Err(why) => return Ok(Taken::Wrong(vec![why])),
    };
    // Whether its failures start builds is for a person to say.
    spec.on_failure.repairs = 0;
    spec.on_failure.repairs = repairs_failing(&spec, wish.request, wish.existing);
    let mut problems: Vec<String> = spec.problems().iter().map(ToString::to_string).collect();
    problems.extend(named(&spec, wish));
    problems.extend(shown(&spec, &answer.effects));
    if problems.is_empty() {
        problems.extend(resolve::problems(&spec, wish.data));
    }
    if !problems.is_empty() {
        return Ok(Taken::Wrong(problems));
    }
    agentwright_runtime::tree::remove_all(&wish.scratch)?;
    std::fs::create_dir_all(&wish.scratch).map_err(agentwright_runtime::tree::io_error(
        "make the directory",
        &wish.scratch,
    ))?;
    match seal(&spec, &wish.scratch).await {
        Ok(_) => Ok(Taken::Whole(Box::new(spec))),
        Err(SealError::Problems(found)) => Ok(Taken::Wrong(
            found.iter().map(ToString::to_string).collect(),
        )),
        Err(SealError::Fault(why)) => {
            Err(Stop::Retry(format!("cannot check the acceptance: {why}")))
        }
    }
}

/// The draft as a spec. What only we set is set by us.
fn read(mut draft: Value) -> Result<Spec, String> {
    if let Some(fields) = draft.as_object_mut() {
        fields.insert("format".to_owned(), json!(SPEC_FORMAT));
        fields.remove("foundation");
        fields.remove("inputs");
        fields.retain(|_, value| !value.is_null());
        if let Some(permissions) = fields.get_mut("permissions").and_then(Value::as_object_mut) {
            permissions.retain(|_, value| !value.is_null());
        }
    }
    serde_json::from_value(draft).map_err(|error| format!("the spec cannot be read: {error}"))
}

/// What the caller calls it; with a number where that is taken.
fn given_name(wish: &Wish<'_>) -> Option<Slug> {
    let name = called(wish.request).filter(|_| wish.existing.is_none())?;
    agentwright_intent::free_name(&name, wish.taken)
}

fn named(spec: &Spec, wish: &Wish<'_>) -> Option<String> {
    if let Some(name) = given_name(wish).filter(|name| *name != spec.name) {
        return Some(format!("the name must be {name}"));
    }
    match (&wish.request.changes, wish.existing) {
        (Some(name), _) if *name != spec.name => Some(format!("the name must stay {name}")),
        (None, None) if wish.taken.iter().any(|taken| taken == spec.name.as_str()) => {
            Some(format!("the name {} is taken; choose another", spec.name))
        }
        (Some(_) | None, Some(_) | None) => None,
    }
}

/// Every effect of the wish is shown by a probe that is false before and true after.
fn shown(spec: &Spec, effects: &[Effect]) -> Vec<String> {
    let probes: BTreeSet<&str> = spec
        .acceptance
        .cases
        .iter()
        .flat_map(|case| &case.probes)
        .filter(|probe| probe.holds == Holds::Effect)
        .map(|probe| probe.name.as_str())
        .collect();
    if effects.is_empty() {
        return vec!["effects is empty: name every effect that the sentence asks for".to_owned()];
    }
    effects
        .iter()
        .filter(|effect| {
            !effect
                .probes
                .iter()
                .any(|name| probes.contains(name.as_str()))
        })
        .map(|effect| {
            format!(
                "the effect {:?} is shown by no effect probe of the cases",
                effect.effect
            )
        })
        .collect()
}

#[cfg(test)]
mod tests;
