//! From what was understood to a plan, and from a plan to a spec. Deterministic: the same plan and
//! foundation give the same spec.

use crate::fill::{self, Filled};
use crate::format::{Input, InputKind};
use crate::foundation::Foundation;
use crate::lex;
use crate::matching::Candidate;
use crate::paths;
use crate::plan::{Context, Plan, Question, Refusal, free_name};
use crate::render::{self, Scope};
use crate::schedule::{self, When, describe};
use crate::sentence::Sentence;
use crate::values;
use crate::vocabulary::Vocabulary;
use agentwright_domain::ids::Slug;
use agentwright_domain::spec::{
    FolderPermission, FoundationRef, HostPort, Permissions, SPEC_FORMAT, SecretForm,
    SecretPermission, Spec, SpecProblem, Trigger,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// The plan for a sentence whose foundation is chosen.
pub(crate) fn plan(
    candidate: &Candidate<'_>,
    s: &Sentence,
    context: &Context,
) -> Result<Plan, Refusal> {
    let foundation = candidate.foundation;
    let name = s.name.as_ref().map(|said| said.value.clone());
    let draft = Draft {
        foundation,
        filled: &candidate.filled,
        when: s.when.clone(),
        name,
        confidence: candidate.confidence,
    };
    draft.plan(context)
}

/// The plan for a foundation named by the caller.
pub(crate) fn plan_given(foundation: &Foundation, context: &Context) -> Result<Plan, Refusal> {
    let empty = Vocabulary::of([foundation]);
    let s = Sentence::read("", &empty, &context.zone)?;
    let filled = fill::fill(foundation, &s, context);
    Draft {
        foundation,
        filled: &filled,
        when: When::Silent,
        name: None,
        confidence: 1.0,
    }
    .plan(context)
}

/// Everything that a plan is made of.
pub(crate) struct Draft<'a> {
    pub(crate) foundation: &'a Foundation,
    pub(crate) filled: &'a Filled,
    pub(crate) when: When,
    pub(crate) name: Option<Slug>,
    pub(crate) confidence: f64,
}

impl Draft<'_> {
    /// Puts the plan together: defaults, questions, trigger, name, purpose, permissions.
    pub(crate) fn plan(&self, context: &Context) -> Result<Plan, Refusal> {
        let m = &self.foundation.manifest;
        let mut inputs = self.filled.inputs.clone();
        let said: Vec<String> = inputs.keys().cloned().collect();
        let mut missing = self.filled.wrong.clone();
        let mut notes = Vec::new();
        self.check_given(context, &mut missing);
        for input in &m.inputs {
            self.complete(input, context, &mut inputs, &mut missing, &mut notes);
        }
        for require in &m.require {
            let scope = Scope::of(self.foundation, &inputs, "");
            let due = require
                .when
                .as_ref()
                .is_none_or(|when| render::holds(when, &scope).unwrap_or(true));
            if !due {
                continue;
            }
            let none = require
                .any
                .iter()
                .all(|name| inputs.get(name).is_none_or(unset));
            if none && !missing.iter().any(|q| require.any.contains(&q.input)) {
                missing.push(Question {
                    input: require.any[0].clone(),
                    question: require.ask.clone(),
                    examples: require.examples.clone(),
                });
            }
        }
        same_folder(m.inputs.as_slice(), &inputs, &mut missing);
        let trigger = self.trigger(context, &inputs, &mut missing)?;
        let name = self.name(context, &inputs, &mut notes, missing.is_empty())?;
        let scope = if missing.is_empty() {
            scope(self.foundation, &inputs, name.as_str()).map_err(broken)?
        } else {
            Scope::default()
        };
        let (purpose, permissions) = if missing.is_empty() {
            let purpose = render::text(&m.purpose, &scope).map_err(broken)?;
            (
                format!(
                    "{} {}.",
                    purpose.trim().trim_end_matches('.'),
                    describe(&trigger)
                ),
                permissions(self.foundation, &scope).map_err(broken)?,
            )
        } else {
            (m.does.clone(), Permissions::default())
        };
        Ok(Plan {
            foundation: m.name.clone(),
            inputs,
            said,
            missing,
            trigger,
            name,
            purpose,
            confidence: self.confidence,
            permissions,
            notes,
        })
    }

    fn check_given(&self, context: &Context, missing: &mut Vec<Question>) {
        for name in context.given.keys() {
            if self.foundation.input(name).is_none() && name != "schedule" && name != "name" {
                let known: Vec<&str> = self
                    .foundation
                    .manifest
                    .inputs
                    .iter()
                    .map(|i| i.name.as_str())
                    .collect();
                missing.push(Question {
                    input: name.clone(),
                    question: format!(
                        "{} has no input {name:?}; its inputs are {}",
                        self.foundation.name(),
                        known.join(", ")
                    ),
                    examples: Vec::new(),
                });
            }
        }
    }

    /// Takes the default, or asks.
    fn complete(
        &self,
        input: &Input,
        context: &Context,
        inputs: &mut BTreeMap<String, Value>,
        missing: &mut Vec<Question>,
        notes: &mut Vec<String>,
    ) {
        if inputs.contains_key(&input.name) {
            return;
        }
        if let Some(default) = &input.default {
            match values::accept(input, default, context) {
                Ok(value) => {
                    notes.push(format!(
                        "{} is {} unless you say otherwise: {}",
                        input.name,
                        plain(&value),
                        input.about
                    ));
                    inputs.insert(input.name.clone(), value);
                    return;
                }
                Err(why) => missing.push(fill::question(input, &why)),
            }
        }
        inputs.insert(input.name.clone(), Value::Null);
        if input.required && !missing.iter().any(|question| question.input == input.name) {
            missing.push(fill::question(input, ""));
        }
    }

    fn trigger(
        &self,
        context: &Context,
        inputs: &BTreeMap<String, Value>,
        missing: &mut Vec<Question>,
    ) -> Result<Trigger, Refusal> {
        let m = &self.foundation.manifest;
        let when = match context.given.get("schedule").and_then(Value::as_str) {
            Some(text) => {
                let vocabulary = Vocabulary::of([self.foundation]);
                match schedule::find(&lex::tokens(text, &vocabulary), &context.zone).0 {
                    When::Silent => When::Ask(schedule::question(format!(
                        "{text:?} is not a time. When is it to run?"
                    ))),
                    found => found,
                }
            }
            None => self.when.clone(),
        };
        if let Trigger::Service {
            port, health_path, ..
        } = &m.trigger
        {
            if matches!(when, When::Said(Trigger::Schedule { .. }) | When::Ask(_)) {
                return Err(Refusal::TooMuch {
                    foundation: m.name.clone(),
                    part: "a schedule (a service runs all the time)".to_owned(),
                    hint: "Leave the time out.".to_owned(),
                });
            }
            let publish = m
                .inputs
                .iter()
                .find(|i| matches!(i.kind, InputKind::Port {}))
                .and_then(|i| inputs.get(&i.name))
                .and_then(Value::as_u64);
            let publish = publish
                .and_then(|port| u16::try_from(port).ok())
                .unwrap_or(0);
            return Ok(Trigger::Service {
                port: *port,
                publish,
                health_path: health_path.clone(),
            });
        }
        Ok(match when {
            When::Said(trigger) => trigger,
            When::Ask(question) => {
                missing.push(question);
                m.trigger.clone()
            }
            When::Silent => match &m.trigger {
                Trigger::Schedule { cron, missed, .. } => Trigger::Schedule {
                    cron: cron.clone(),
                    zone: context.zone.clone(),
                    missed: *missed,
                },
                other => other.clone(),
            },
        })
    }

    fn name(
        &self,
        context: &Context,
        inputs: &BTreeMap<String, Value>,
        notes: &mut Vec<String>,
        complete: bool,
    ) -> Result<Slug, Refusal> {
        if let Some(text) = context.given.get("name").and_then(Value::as_str) {
            return Slug::parse(text).map_err(|why| Refusal::Hostile {
                what: why.to_string(),
            });
        }
        if let Some(name) = &self.name {
            if context.existing.iter().any(|taken| taken == name.as_str()) {
                notes.push(format!("{name} exists: this becomes its next version"));
            }
            return Ok(name.clone());
        }
        let base = match &context.called {
            Some(called) => called.clone(),
            None => self.made_name(inputs, complete)?,
        };
        free_name(&base, &context.existing)
            .ok_or_else(|| broken(format!("every name like {base} is taken")))
    }

    fn made_name(&self, inputs: &BTreeMap<String, Value>, complete: bool) -> Result<Slug, Refusal> {
        let m = &self.foundation.manifest;
        let made = if complete {
            render::text(&m.call, &Scope::of(self.foundation, inputs, "")).map_err(broken)?
        } else {
            m.name.clone()
        };
        render::name_from(&made)
            .or_else(|| render::name_from(&m.name))
            .ok_or_else(|| broken(format!("{made:?} is not a name")))
    }
}

/// Null, `false` and the empty list say nothing.
fn unset(value: &Value) -> bool {
    value.is_null() || *value == Value::Bool(false) || value.as_array().is_some_and(Vec::is_empty)
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A foundation whose templates fail is a fault of the foundation, not of the sentence.
fn broken(why: impl std::fmt::Display) -> Refusal {
    Refusal::Hostile {
        what: format!("the foundation cannot be filled with these inputs: {why}"),
    }
}

/// A folder that is read and written under two names would feed on itself.
fn same_folder(declared: &[Input], inputs: &BTreeMap<String, Value>, missing: &mut Vec<Question>) {
    let folders: Vec<&Input> = declared
        .iter()
        .filter(|i| matches!(i.kind, InputKind::Folder { .. }))
        .collect();
    for (n, input) in folders.iter().enumerate() {
        let value = inputs.get(&input.name).filter(|v| !v.is_null());
        let twin = folders[..n]
            .iter()
            .find(|other| value.is_some() && inputs.get(&other.name) == value);
        if let Some(other) = twin {
            missing.push(fill::question(
                input,
                &format!("{} and {} are the same folder", other.name, input.name),
            ));
        }
    }
}

fn scope(
    foundation: &Foundation,
    inputs: &BTreeMap<String, Value>,
    name: &str,
) -> Result<Scope, String> {
    let mut scope = Scope::of(foundation, inputs, name);
    render::derived(foundation, &mut scope)?;
    Ok(scope)
}

fn permissions(foundation: &Foundation, scope: &Scope) -> Result<Permissions, String> {
    let templates = &foundation.manifest.permissions;
    let mut permissions = Permissions {
        folders: folders(foundation, scope)?,
        ..Permissions::default()
    };
    for template in &templates.network {
        for place in render::text(template, scope)?.split_whitespace() {
            let text = if place.contains("://") {
                paths::host_port(&paths::address(place)?).unwrap_or_default()
            } else {
                place.to_owned()
            };
            let host = HostPort::try_from(text).map_err(|why| why.to_string())?;
            let list = if paths::private(&host.host) {
                &mut permissions.allow_private
            } else {
                &mut permissions.network
            };
            if !list.contains(&host) {
                list.push(host);
            }
        }
    }
    for template in &templates.programs {
        permissions.programs.extend(
            render::text(template, scope)?
                .split_whitespace()
                .map(str::to_owned),
        );
    }
    for (form, of) in [
        (SecretForm::Variable, &templates.secrets),
        (SecretForm::File, &templates.secret_files),
    ] {
        for (variable, template) in of {
            let reference = render::text(template, scope)?;
            if !reference.is_empty() {
                permissions.secrets.push(SecretPermission {
                    variable: variable.clone(),
                    reference,
                    form,
                });
            }
        }
    }
    for (variable, template) in &templates.environment {
        let value = render::text(template, scope)?;
        if !value.is_empty() {
            permissions.environment.insert(variable.clone(), value);
        }
    }
    Ok(permissions)
}

fn folders(foundation: &Foundation, scope: &Scope) -> Result<Vec<FolderPermission>, String> {
    let mut folders = Vec::new();
    for input in &foundation.manifest.inputs {
        let Some(host) = scope.inputs.get(&input.name).and_then(Value::as_str) else {
            continue;
        };
        let (path, access, create) =
            match &input.kind {
                InputKind::Folder { access, create } => (host.to_owned(), *access, *create),
                InputKind::File { access, create, .. } => {
                    let folder = host.rsplit_once('/').map_or("/", |(folder, _)| {
                        if folder.is_empty() { "/" } else { folder }
                    });
                    (folder.to_owned(), *access, *create)
                }
                _ => continue,
            };
        let name = Slug::parse(&input.name).map_err(|why| why.to_string())?;
        folders.push(FolderPermission {
            name,
            path,
            access,
            create,
        });
    }
    Ok(folders)
}

/// The spec of a complete plan.
///
/// # Errors
/// Its open questions, or what a foundation of one's own renders wrongly.
pub fn spec(plan: &Plan, foundation: &Foundation) -> Result<Spec, Vec<SpecProblem>> {
    let problem = |at: &str, problem: String| SpecProblem {
        at: at.to_owned(),
        problem,
    };
    if !plan.missing.is_empty() {
        return Err(plan
            .missing
            .iter()
            .map(|q| problem(&format!("/inputs/{}", q.input), q.question.clone()))
            .collect());
    }
    let m = &foundation.manifest;
    let build = || -> Result<Spec, String> {
        let scope = scope(foundation, &plan.inputs, plan.name.as_str())?;
        Ok(Spec {
            format: SPEC_FORMAT,
            name: plan.name.clone(),
            purpose: plan.purpose.clone(),
            kind: m.kind,
            foundation: Some(FoundationRef {
                name: m.name.clone(),
                digest: foundation.digest.clone(),
            }),
            command: render::command(&m.run.command, &scope)?,
            preview: m
                .run
                .preview
                .as_ref()
                .map(|list| render::command(list, &scope))
                .transpose()?,
            permissions: permissions(foundation, &scope)?,
            trigger: plan.trigger.clone(),
            limits: m.limits.clone(),
            on_failure: m.on_failure.clone(),
            acceptance: render::acceptance(&foundation.acceptance, &scope)?,
            inputs: scope.inputs,
        })
    };
    let spec = build().map_err(|why| {
        vec![problem(
            "",
            format!("the foundation {} cannot be rendered: {why}", m.name),
        )]
    })?;
    let problems = spec.problems();
    if problems.is_empty() {
        Ok(spec)
    } else {
        Err(problems)
    }
}
