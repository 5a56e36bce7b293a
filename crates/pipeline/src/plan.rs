//! From a request to a spec: what `build --plan` shows and what the spec stage builds are made by the
//! same function, so that a yes in advance is a yes to what was shown. Changes nothing.

mod differs;

pub use differs::Difference;
use differs::differences;

use crate::digests::permissions_digest;
use crate::foundations::Foundations;
use crate::{Builds, resolve};
use agentwright_domain::acceptance::Acceptance;
use agentwright_domain::build::{BuildRequest, wrong_version};
use agentwright_domain::deployment::DeployedVersion;
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::Slug;
use agentwright_domain::spec::{AutomationKind, Permissions, Spec, Trigger};
use agentwright_intent::{Context, Foundation, FoundationSource, Possible, Question, Refusal};
use agentwright_llm::Role;
use agentwright_runtime::{Error as RuntimeError, OrgScope, blocking};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a person says to have the same automation verified and deployed once more.
pub const VERIFY_AGAIN: &str = "verify again";

/// Whether it can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it stands.
    Ready,
    /// No foundation covers it; a model is asked for a spec when it is built.
    Model,
    /// When the missing inputs are given.
    Incomplete,
    /// Vague, impossible, or nothing fits.
    Refused,
}

/// What would be built.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Whether it can be built.
    pub verdict: Verdict,
    /// Why not.
    pub reason: Option<String>,
    /// The foundation it starts from.
    pub foundation: Option<String>,
    /// The automation's name.
    pub name: Option<Slug>,
    /// What it is.
    pub kind: Option<AutomationKind>,
    /// What it does, in one sentence.
    pub purpose: Option<String>,
    /// When it runs.
    pub trigger: Option<Trigger>,
    /// The inputs, filled.
    pub inputs: BTreeMap<String, Value>,
    /// What must be answered first.
    pub missing: Vec<Question>,
    /// What it may touch.
    pub permissions: Permissions,
    /// What must hold of it.
    pub acceptance: Option<Acceptance>,
    /// What a yes in advance is bounded by.
    pub permissions_digest: Option<Digest>,
    /// The whole spec, when nothing is missing.
    pub spec: Option<Spec>,
    /// What can be built instead.
    pub possible: Vec<Possible>,
    /// Defaults that were taken, a name that exists, risks.
    pub notes: Vec<String>,
    /// What differs from the deployed version; for a change.
    pub differs: Vec<Difference>,
    /// The deployed version that it is made from; for a change.
    pub from_version: Option<u32>,
}

/// A request that became a spec.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) spec: Spec,
    pub(crate) source: FoundationSource,
    pub(crate) notes: Vec<String>,
    /// The version that is changed.
    pub(crate) existing: Option<DeployedVersion>,
    /// Inputs that the foundation works out of others; nobody sets them.
    pub(crate) derived: Vec<String>,
}

/// A request that did not.
#[derive(Clone, Debug)]
pub(crate) enum NotReady {
    /// Something must be answered.
    Incomplete(Box<agentwright_intent::Plan>),
    /// No foundation can build it; a model perhaps.
    Uncovered {
        reason: String,
        possible: Vec<Possible>,
        /// The deployed version that was to be changed.
        existing: Option<Box<DeployedVersion>>,
    },
    /// It cannot be built.
    Refused {
        reason: String,
        possible: Vec<Possible>,
    },
    /// It could not be told now; trying again may help.
    Fault(String),
}

impl NotReady {
    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused {
            reason: reason.into(),
            possible: Vec::new(),
        }
    }
}

impl NotReady {
    /// The same, of a change to what is deployed.
    fn of_change(self, to: &DeployedVersion) -> Self {
        match self {
            Self::Uncovered {
                reason, possible, ..
            } => Self::Uncovered {
                reason,
                possible,
                existing: Some(Box::new(to.clone())),
            },
            other @ (Self::Incomplete(_) | Self::Refused { .. } | Self::Fault(_)) => other,
        }
    }
}

impl From<Refusal> for NotReady {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.to_string();
        let possible = match refusal {
            Refusal::TooVague { possible, .. } | Refusal::NothingMatches { possible, .. } => {
                possible
            }
            Refusal::Ambiguous { candidates } => candidates,
            Refusal::TooMuch { .. } => Vec::new(),
            Refusal::Empty { .. } | Refusal::TooLong { .. } | Refusal::Hostile { .. } => {
                return Self::refused(reason);
            }
        };
        Self::Uncovered {
            reason,
            possible,
            existing: None,
        }
    }
}

/// What nobody here can build, and what to do.
pub(crate) fn without_model(reason: &str) -> String {
    format!("{reason}\nno model is configured that could write it: agentwright doctor says how")
}

impl Builds {
    /// What would be built, without building it.
    ///
    /// # Errors
    /// When it could not be told now, in words.
    pub async fn plan(&self, scope: &OrgScope, request: &BuildRequest) -> Result<Plan, String> {
        match self.understand(scope, request).await {
            Ok(ready) => match self.unwritable(request, &ready.spec).await {
                Some(reason) => Ok(Plan {
                    reason: Some(reason),
                    ..Plan::empty(Verdict::Refused)
                }),
                None => ready_plan(ready),
            },
            Err(NotReady::Fault(why)) => Err(why),
            Err(NotReady::Incomplete(plan)) => Ok(incomplete_plan(*plan)),
            Err(NotReady::Uncovered {
                reason,
                possible,
                existing,
            }) => Ok(Plan {
                from_version: existing.map(|existing| existing.version),
                ..self.uncovered_plan(reason, possible).await
            }),
            Err(NotReady::Refused { reason, possible }) => Ok(Plan {
                reason: Some(reason),
                possible,
                ..Plan::empty(Verdict::Refused)
            }),
        }
    }

    /// Why nobody can write the code of a spec: it has no foundation, no code that is there already, and there is no
    /// model.
    pub(crate) async fn unwritable(&self, request: &BuildRequest, spec: &Spec) -> Option<String> {
        let writable =
            spec.foundation.is_some() || verifies_again(request) || self.models().any().await;
        (!writable).then(|| without_model("the spec names no foundation that writes its code"))
    }

    /// What no foundation builds: by a model, where one is configured.
    async fn uncovered_plan(&self, reason: String, possible: Vec<Possible>) -> Plan {
        let found = self.models().found().await;
        let Some(role) = found.roles.get(&Role::Spec) else {
            return Plan {
                reason: Some(without_model(&reason)),
                possible,
                ..Plan::empty(Verdict::Refused)
            };
        };
        let model = role.model.as_deref().unwrap_or("its default model");
        Plan {
            reason: Some(format!(
                "no foundation covers it; {} ({model}) makes the spec, and you see it before anything is deployed",
                role.provider
            )),
            ..Plan::empty(Verdict::Model)
        }
    }

    /// From a request to a spec that this machine can carry out.
    pub(crate) async fn understand(
        &self,
        scope: &OrgScope,
        request: &BuildRequest,
    ) -> Result<Ready, NotReady> {
        if !request.base_dir.starts_with('/') {
            return Err(NotReady::refused(format!(
                "the directory {:?} that relative paths start from is not absolute",
                request.base_dir
            )));
        }
        let existing = self.existing(scope, request).await?;
        let names = self.runtime().names(scope).await;
        let names = names.map_err(|error| NotReady::Fault(error.to_string()))?;
        let foundations = self.foundations_for(request).await?;
        let (builds, request) = (self.clone(), request.clone());
        blocking(move || builds.read(&request, &foundations, existing, &names)).await
    }

    async fn existing(
        &self,
        scope: &OrgScope,
        request: &BuildRequest,
    ) -> Result<Option<DeployedVersion>, NotReady> {
        let Some(name) = &request.changes else {
            return Ok(None);
        };
        match self.runtime().active(scope, name).await {
            Ok(now) => match request.from_version {
                // A replay is told apart by what it makes.
                Some(from) if from != now.version && request.replays.is_none() => {
                    Err(NotReady::refused(wrong_version(name, from, now.version)))
                }
                Some(_) | None => Ok(Some(now)),
            },
            Err(error @ (RuntimeError::Unknown(_) | RuntimeError::NoVersion { .. })) => {
                Err(NotReady::refused(error.to_string()))
            }
            Err(error) => Err(NotReady::Fault(error.to_string())),
        }
    }

    async fn foundations_for(&self, request: &BuildRequest) -> Result<Arc<Foundations>, NotReady> {
        let mut directories = self.foundation_dirs().to_vec();
        directories.extend(request.foundations.iter().map(PathBuf::from));
        let built_in = Arc::clone(self.foundations());
        if directories.is_empty() {
            return Ok(built_in);
        }
        blocking(move || Foundations::clone(&built_in).with(&directories))
            .await
            .map(Arc::new)
            .map_err(|error| NotReady::refused(error.to_string()))
    }

    fn read(
        &self,
        request: &BuildRequest,
        foundations: &Foundations,
        existing: Option<DeployedVersion>,
        names: &[Slug],
    ) -> Result<Ready, NotReady> {
        let context = Context {
            base_dir: request.base_dir.clone(),
            home: self.home().map(str::to_owned),
            zone: request.zone.clone(),
            given: request.inputs.clone(),
            existing: names.iter().map(ToString::to_string).collect(),
            called: called(request),
        };
        let (mut spec, notes) = match (&request.spec, &existing) {
            (Some(spec), _) => (given(spec, request)?, Vec::new()),
            (None, Some(existing)) => changed(&existing.spec, request, &context, foundations)
                .map_err(|error| error.of_change(existing))?,
            (None, None) => {
                let plan =
                    agentwright_intent::understand(&request.intent, &context, foundations.list())?;
                let foundation = named(foundations, &plan.foundation)?;
                planned(plan, foundation)?
            }
        };
        if existing.is_none() && names.contains(&spec.name) {
            let name = &spec.name;
            return Err(NotReady::refused(format!(
                "an automation named {name} is deployed already; change that one (agentwright change {name} …), \
                 or give this spec another name"
            )));
        }
        spec.on_failure.repairs = repairs_failing(
            &spec,
            request,
            existing.as_ref().map(|existing| &existing.spec),
        );
        let foundation = generator(&spec, foundations)?;
        let problems = resolve::problems(&spec, self.runtime().layout().data());
        if !problems.is_empty() {
            return Err(NotReady::refused(problems.join("; ")));
        }
        let source = foundation.and_then(|it| foundations.source(it.name()));
        let source = source.cloned().unwrap_or_default();
        Ok(Ready {
            notes: notes.into_iter().chain(resolve::risks(&spec)).collect(),
            spec,
            source,
            existing,
            derived: foundation
                .map_or_else(Vec::new, |it| it.manifest.derived.keys().cloned().collect()),
        })
    }
}

/// What a caller of `/executor` calls what is built new.
pub(crate) fn called(request: &BuildRequest) -> Option<Slug> {
    let droplet = request.droplet.as_ref()?;
    droplet.name.as_deref().and_then(Slug::from_words)
}

/// Whether what is deployed is to be verified once more, as it is.
pub(crate) fn verifies_again(request: &BuildRequest) -> bool {
    request.changes.is_some() && request.intent.trim().eq_ignore_ascii_case(VERIFY_AGAIN)
}

/// How many repair builds its failures may start: as it is said now, else as it is deployed, else as the spec has it.
pub(crate) fn repairs_failing(spec: &Spec, request: &BuildRequest, existing: Option<&Spec>) -> u32 {
    let own = spec.on_failure.repairs;
    let before = existing.map(|existing| existing.on_failure.repairs);
    let before = before.filter(|_| request.spec.is_none());
    request.repairs_failing.or(before).unwrap_or(own)
}

/// The foundation that writes the code of a spec; a coder does where it names none.
fn generator<'a>(
    spec: &Spec,
    foundations: &'a Foundations,
) -> Result<Option<&'a Foundation>, NotReady> {
    let Some(wanted) = &spec.foundation else {
        return Ok(None);
    };
    let known = named(foundations, &wanted.name)?;
    let exactly = foundations.exactly(&wanted.name, &wanted.digest);
    exactly.map(Some).ok_or_else(|| {
        NotReady::refused(format!(
            "the spec is made for another version of the foundation {}: it names {}, here is {}; make a new plan",
            wanted.name,
            wanted.digest.short(),
            known.digest.short()
        ))
    })
}

fn named<'a>(foundations: &'a Foundations, name: &str) -> Result<&'a Foundation, NotReady> {
    foundations.named(name).ok_or_else(|| {
        let names: Vec<&str> = foundations.list().iter().map(Foundation::name).collect();
        NotReady::refused(format!(
            "the foundation {name:?} is not installed; there are {}",
            names.join(", ")
        ))
    })
}

/// A ready spec, with relative folders meant from the request's directory.
fn given(spec: &Spec, request: &BuildRequest) -> Result<Spec, NotReady> {
    let mut spec = spec.clone();
    for folder in &mut spec.permissions.folders {
        if !folder.path.starts_with('/') {
            folder.path = plain(&Path::new(&request.base_dir).join(&folder.path));
        }
    }
    if let Some(name) = request.changes.as_ref().filter(|name| **name != spec.name) {
        return Err(NotReady::refused(format!(
            "the spec is named {}, but the change is to {name}",
            spec.name
        )));
    }
    sound(spec)
}

/// A path without `.` and doubled slashes. `..` stays and is refused later.
fn plain(path: &Path) -> String {
    path.components()
        .collect::<PathBuf>()
        .to_string_lossy()
        .into_owned()
}

fn changed(
    existing: &Spec,
    request: &BuildRequest,
    context: &Context,
    foundations: &Foundations,
) -> Result<(Spec, Vec<String>), NotReady> {
    let again = verifies_again(request);
    let Some(of) = &existing.foundation else {
        if again {
            let note = "the same spec, verified again".to_owned();
            return Ok((existing.clone(), vec![note]));
        }
        return Err(NotReady::Uncovered {
            reason: "a model wrote what is deployed, and only a model can change it".to_owned(),
            possible: Vec::new(),
            existing: None,
        });
    };
    let foundation = named(foundations, &of.name)?;
    if again && foundation.digest == of.digest {
        return Ok((
            existing.clone(),
            vec!["the same spec, verified again".to_owned()],
        ));
    }
    let plan = if again {
        let mut context = context.clone();
        context.given = existing.inputs.clone();
        let mut plan = agentwright_intent::plan_for(foundation, &context)?;
        (plan.name, plan.trigger) = (existing.name.clone(), existing.trigger.clone());
        plan
    } else {
        agentwright_intent::amend(existing, foundation, &request.intent, context)?
    };
    let (spec, mut notes) = planned(plan, foundation)?;
    if foundation.digest != of.digest {
        notes.push(format!(
            "the foundation {} is newer than the deployed version",
            of.name
        ));
    }
    Ok((spec, notes))
}

fn planned(
    plan: agentwright_intent::Plan,
    foundation: &Foundation,
) -> Result<(Spec, Vec<String>), NotReady> {
    if !plan.missing.is_empty() {
        return Err(NotReady::Incomplete(Box::new(plan)));
    }
    let spec = agentwright_intent::spec(&plan, foundation).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        NotReady::refused(lines.join("; "))
    })?;
    Ok((sound(spec)?, plan.notes))
}

fn sound(spec: Spec) -> Result<Spec, NotReady> {
    let problems = spec.problems();
    if problems.is_empty() {
        return Ok(spec);
    }
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(NotReady::refused(format!(
        "the spec is not well formed: {}",
        lines.join("; ")
    )))
}

impl Plan {
    fn empty(verdict: Verdict) -> Self {
        Self {
            verdict,
            reason: None,
            foundation: None,
            name: None,
            kind: None,
            purpose: None,
            trigger: None,
            inputs: BTreeMap::new(),
            missing: Vec::new(),
            permissions: Permissions::default(),
            acceptance: None,
            permissions_digest: None,
            spec: None,
            possible: Vec::new(),
            notes: Vec::new(),
            differs: Vec::new(),
            from_version: None,
        }
    }
}

fn ready_plan(ready: Ready) -> Result<Plan, String> {
    let spec = ready.spec;
    let mut settable = spec.inputs.clone();
    settable.retain(|name, _| !ready.derived.contains(name));
    let digest = permissions_digest(&spec).map_err(|error| error.to_string())?;
    let differs = ready
        .existing
        .as_ref()
        .map_or_else(Vec::new, |existing| differences(&existing.spec, &spec));
    Ok(Plan {
        foundation: spec
            .foundation
            .as_ref()
            .map(|foundation| foundation.name.clone()),
        name: Some(spec.name.clone()),
        kind: Some(spec.kind),
        purpose: Some(spec.purpose.clone()),
        trigger: Some(spec.trigger.clone()),
        inputs: settable,
        permissions: spec.permissions.clone(),
        acceptance: Some(spec.acceptance.clone()),
        permissions_digest: Some(digest),
        notes: ready.notes,
        differs,
        from_version: ready.existing.map(|existing| existing.version),
        spec: Some(spec),
        ..Plan::empty(Verdict::Ready)
    })
}

fn incomplete_plan(plan: agentwright_intent::Plan) -> Plan {
    Plan {
        reason: Some(questions(&plan.missing)),
        foundation: Some(plan.foundation),
        name: Some(plan.name),
        purpose: Some(plan.purpose),
        trigger: Some(plan.trigger),
        inputs: plan.inputs,
        missing: plan.missing,
        permissions: plan.permissions,
        notes: plan.notes,
        ..Plan::empty(Verdict::Incomplete)
    }
}

/// What is missing, and how to say it.
pub(crate) fn questions(missing: &[Question]) -> String {
    let lines: Vec<String> = missing
        .iter()
        .map(|question| {
            let example = question
                .examples
                .first()
                .map(|e| format!(", for example {e}"))
                .unwrap_or_default();
            format!(
                "{} (--input {}=…{example})",
                question.question, question.input
            )
        })
        .collect();
    format!("something is missing: {}", lines.join(" "))
}
