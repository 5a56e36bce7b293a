//! From a request to a submitted run: the id, the label, the repetition.

use crate::app::App;
use crate::changes;
use crate::error::ApiError;
use crate::extract::{IdempotencyKey, Who};
use crate::planned;
use crate::queue::around;
use crate::view::{self, Lease};
use agentwright_api::executor::BuildDroplet;
use agentwright_api::{Build, CreateBuild, DeployBuild, PlanRequest, RetryBuild, code};
use agentwright_domain::approval::{AdvanceApproval, Gate};
use agentwright_domain::build::{
    BacklogRow, BuildPolicy, BuildRequest, BuildState, Droplet, Facts, Phase, Stage,
};
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::principal::Role;
use agentwright_domain::run::{NewRun, Run, RunInput, RunState};
use agentwright_store::{Remembered, SubmitError};

/// Words of the intent that make a label, where no name is found in it.
const LABEL_WORDS: usize = 6;
/// The label where the intent has no letters.
const LABEL_FALLBACK: &str = "build";
/// How often a made-up label is counted on while a live build has it: `-2`, `-3`, …
const LABEL_TRIES: usize = 20;

/// A build to be submitted.
pub(crate) struct Wish {
    label: Label,
    priority: i64,
    state: BuildState,
    request: BuildRequest,
    repeats: Option<RunId>,
}

enum Label {
    /// The person chose it: taken means refused.
    Given(Slug),
    /// Made up: taken means another one.
    Made(Slug),
}

impl Wish {
    /// A new build.
    pub(crate) async fn of(app: &App, request: CreateBuild, who: &Who) -> Self {
        let label = match &request.label {
            Some(label) => Label::Given(label.clone()),
            None => Label::Made(made_up(app, who, &request).await),
        };
        let advance = request.advance.map(|permissions| AdvanceApproval {
            by: who.name.clone(),
            permissions,
        });
        Self {
            label,
            priority: request.priority,
            state: BuildState::new(BuildPolicy {
                auto_deploy: request.auto_deploy,
                advance,
                production: request.production,
                // Requirements B9: without auto-deploy there is no repair loop.
                repairs: match (request.repairs, request.auto_deploy) {
                    (_, false) => 0,
                    (given, true) => given.unwrap_or_else(BuildPolicy::repairs_default),
                },
                may_park: request.wait_for_quota,
                ..BuildPolicy::new(request.mode)
            }),
            request: BuildRequest {
                intent: request.intent,
                spec: request.spec,
                inputs: request.inputs,
                base_dir: request.base_dir,
                zone: request.zone,
                changes: request.changes,
                from_version: request.from_version,
                foundations: request.foundations,
                repairs_failing: request.repair_failing,
                ..BuildRequest::default()
            },
            repeats: None,
        }
    }

    /// What a caller of `/executor` asks for. Relative paths are meant from the home directory of the daemon's
    /// user, times in the machine's zone.
    pub(crate) async fn of_droplet(app: &App, asked: BuildDroplet, who: &Who) -> Self {
        let home = crate::config::home().filter(|home| home.is_absolute());
        let base_dir = home.unwrap_or_else(|| app.config().data_dir.clone());
        let zone = jiff::tz::TimeZone::system();
        let request = CreateBuild {
            mode: asked.approval_mode,
            auto_deploy: asked.auto_deploy,
            ..CreateBuild::of(PlanRequest {
                intent: asked.architect_intent,
                base_dir: base_dir.display().to_string(),
                zone: zone.iana_name().unwrap_or("UTC").to_owned(),
                ..PlanRequest::default()
            })
        };
        let mut wish = Self::of(app, request, who).await;
        let name = asked.droplet_name.as_deref();
        if let Some(label) = name.and_then(Slug::from_words) {
            wish.label = Label::Made(label);
        }
        wish.request.droplet = Some(Droplet {
            id: asked.droplet_id,
            name: asked.droplet_name,
        });
        wish
    }

    /// The same again, after it has ended. A yes in advance counts again: it is bounded by permissions.
    pub(crate) fn again(old: &Run, retry: RetryBuild) -> Result<Self, ApiError> {
        let (state, request) = parts(old)?;
        if !old.status.ended() {
            return Err(ApiError::Conflict(
                code::NOT_ENDED,
                format!("{} has not ended; cancel it first", old.label),
            ));
        }
        not_of_a_row(old, request)?;
        let mut request = request.clone();
        request.inputs.extend(retry.inputs);
        if request.deploys.is_none() {
            // It is made again from what is active now.
            request.from_version = None;
        }
        let state = match &request.deploys {
            Some(_) => BuildState::deploying(state.policy.clone(), &state.facts),
            None => BuildState::new(state.policy.clone()),
        };
        Ok(Self {
            label: Label::Made(old.label.clone()),
            priority: old.priority,
            state,
            request,
            repeats: Some(old.id.clone()),
        })
    }

    /// An ended build once more, with its recorded answers in place of the models. Deploys nothing.
    pub(crate) fn replaying(old: &Run) -> Result<Self, ApiError> {
        let (state, request) = parts(old)?;
        if !old.status.ended() {
            return Err(ApiError::Conflict(
                code::NOT_ENDED,
                format!(
                    "{} has not ended; it can be replayed when it has",
                    old.label
                ),
            ));
        }
        if request.deploys.is_some() || state.facts.spec.is_none() {
            return Err(ApiError::Conflict(
                code::NOT_A_REPLAY,
                format!(
                    "{} made no spec and no code that could be made again",
                    old.label
                ),
            ));
        }
        let policy = BuildPolicy {
            auto_deploy: false,
            repairs: state.policy.repairs,
            may_park: false,
            // An amended spec is made anew only where a person would have been asked.
            ..BuildPolicy::new(state.policy.mode)
        };
        let request = BuildRequest {
            replays: Some(request.replays.clone().unwrap_or_else(|| old.id.clone())),
            row: None,
            ..request.clone()
        };
        Ok(Self {
            label: Label::Made(old.label.clone()),
            priority: old.priority,
            state: BuildState {
                facts: Facts {
                    replaces: state.facts.replaces.clone(),
                    ..Facts::default()
                },
                ..BuildState::new(policy)
            },
            request,
            repeats: Some(old.id.clone()),
        })
    }

    /// What a build made is deployed now, through its own gate.
    pub(crate) fn deploying(made: &Run, deploy: DeployBuild, who: &Who) -> Result<Self, ApiError> {
        let (state, request) = parts(made)?;
        deployable(&made.label, state)?;
        not_of_a_row(made, request)?;
        let policy = BuildPolicy {
            advance: deploy.advance.map(|permissions| AdvanceApproval {
                by: who.name.clone(),
                permissions,
            }),
            ..state.policy.clone()
        };
        let request = BuildRequest {
            deploys: Some(request.deploys.clone().unwrap_or_else(|| made.id.clone())),
            ..request.clone()
        };
        Ok(Self {
            label: Label::Made(made.label.clone()),
            priority: made.priority,
            state: BuildState::deploying(policy, &state.facts),
            request,
            repeats: None,
        })
    }
}

/// Submits it, or finds the build that the same key made before.
pub(crate) async fn build(
    app: &App,
    who: &Who,
    key: IdempotencyKey,
    wish: Wish,
) -> Result<Build, ApiError> {
    // A yes in advance is a yes, also one that a repetition takes over.
    if wish.state.policy.advance.is_some() {
        who.require(Role::Approver)?;
    }
    let id = RunId::new(known_or_new(app, who, key, &wish).await?);
    // What was accepted before is answered with what it became, however full the disk is.
    if let Some(full) = around::disk_full(app)
        && app.store().run(&who.scope, &id).await?.is_none()
    {
        return Err(ApiError::Unavailable(
            code::STORE_FULL,
            format!(
                "no room left on the disk of the data directory: {full}; free some and try again"
            ),
        ));
    }
    submitted(app, who, id, wish).await
}

/// A build of the queue, under an id that was kept before: submitting it again changes nothing. It names the build
/// that it repeats, and may work for twice the time that its item estimates (requirements B11).
pub(crate) async fn queued(
    app: &App,
    who: &Who,
    id: RunId,
    request: CreateBuild,
    (repeats, estimated_ms): (Option<RunId>, Option<i64>),
) -> Result<Build, ApiError> {
    let mut wish = Wish::of(app, request, who).await;
    wish.state.policy.work_max_ms = estimated_ms.map(|ms| ms.saturating_mul(2));
    // A live build may have the label: a number is put behind it.
    if let Label::Given(label) = wish.label {
        wish.label = Label::Made(label);
    }
    wish.repeats = repeats;
    submitted(app, who, id, wish).await
}

/// A build of a row of a connected table, under an id that was kept before: submitting it again changes nothing.
pub(crate) async fn of_row(
    app: &App,
    who: &Who,
    id: RunId,
    request: CreateBuild,
    row: BacklogRow,
) -> Result<Build, ApiError> {
    let mut wish = Wish::of(app, request, who).await;
    if let Label::Given(label) = wish.label {
        wish.label = Label::Made(label);
    }
    wish.request.row = Some(row);
    submitted(app, who, id, wish).await
}

async fn submitted(app: &App, who: &Who, id: RunId, mut wish: Wish) -> Result<Build, ApiError> {
    changes::settle(app, who, &id, &mut wish.request).await?;
    let (Label::Given(first) | Label::Made(first)) = &wish.label;
    let mut label = first.clone();
    let mut tries = 0;
    let run = loop {
        let new = NewRun {
            organization: who.scope.organization().clone(),
            id: id.clone(),
            label,
            priority: wish.priority,
            state: RunState::Build(Box::new(wish.state.clone())),
            input: RunInput::Build(wish.request.clone()),
            not_before_ms: None,
            repeats: wish.repeats.clone(),
        };
        match (
            app.engine().submit(new.clone(), who.audit()).await,
            &wish.label,
        ) {
            (Ok(submitted), _) => match submitted.at_ms {
                Some(at_ms) => break Some(new.submitted(at_ms)),
                None => break app.store().run(&who.scope, &id).await?,
            },
            (Err(SubmitError::LabelTaken { .. }), Label::Made(base)) if tries < LABEL_TRIES => {
                tries += 1;
                label = base.numbered(tries + 1);
            }
            (Err(error), _) => return Err(error.into()),
        }
    };
    run.as_ref()
        .and_then(|run| view::build(run, Lease::Live))
        .ok_or_else(|| {
            ApiError::Internal(anyhow::anyhow!("build {id} is gone after its submission"))
        })
}

async fn known_or_new(
    app: &App,
    who: &Who,
    key: IdempotencyKey,
    wish: &Wish,
) -> Result<String, ApiError> {
    let new = app.store().new_id();
    let IdempotencyKey(Some(key)) = key else {
        return Ok(new);
    };
    // A made-up label depends on what exists, so it is no part of what was asked.
    let label = match &wish.label {
        Label::Given(label) => Some(label),
        Label::Made(_) => None,
    };
    let request = agentwright_proof::of_json(&serde_json::json!({
        "label": label,
        "priority": wish.priority,
        "state": wish.state,
        "request": wish.request,
        "repeats": wish.repeats,
    }))
    .map_err(|error| ApiError::Internal(error.into()))?;
    let remembered = app
        .store()
        .remember(&who.scope, &key, request.as_str(), &new)
        .await?;
    match remembered {
        Remembered::New => Ok(new),
        Remembered::Same(id) => Ok(id),
        Remembered::Different => Err(ApiError::Conflict(
            code::IDEMPOTENCY,
            "this idempotency key was used for another request: take a new one".into(),
        )),
    }
}

fn parts(run: &Run) -> Result<(&BuildState, &BuildRequest), ApiError> {
    view::build_parts(run).ok_or_else(|| ApiError::no("build", run.id.as_str()))
}

/// Whether its row says when it is built: another build beside it would not be written back.
fn not_of_a_row(run: &Run, request: &BuildRequest) -> Result<(), ApiError> {
    let Some(row) = &request.row else {
        return Ok(());
    };
    let said = format!(
        "{} is of row {} of the connected table {}: set the row's builder_status to not_started (and its status to ready_to_build), and it is built again",
        run.label, row.id, row.source
    );
    Err(ApiError::Conflict(code::CONFLICT, said))
}

/// Whether the build has reviewed and verified code that is not deployed.
fn deployable(label: &Slug, state: &BuildState) -> Result<(), ApiError> {
    let no = |why: &str| {
        Err(ApiError::Conflict(
            code::NOT_DEPLOYABLE,
            format!("{label} cannot be deployed: {why}"),
        ))
    };
    match &state.phase {
        Phase::Stage { .. } | Phase::Gate { .. } | Phase::Spent { .. } => {
            return no("it has not ended; it deploys by itself, or waits for a decision");
        }
        Phase::Completed { deployed: true } => {
            return no("it is deployed already; roll back to a version with agentwright rollback");
        }
        Phase::Rejected {
            gate: Gate::Spec, ..
        } => return no("its spec was rejected"),
        Phase::Completed { deployed: false }
        | Phase::Failed {
            stage: Stage::Preview | Stage::Deploy | Stage::Register,
            ..
        }
        | Phase::Rejected {
            gate: Gate::Deploy, ..
        }
        | Phase::Cancelled { .. } => {}
        Phase::Failed { .. } => return no("it failed before its code was verified"),
    }
    if whole(&state.facts) {
        Ok(())
    } else {
        no("it has no code that was reviewed and verified")
    }
}

fn whole(facts: &Facts) -> bool {
    facts.code.is_some() && facts.code == facts.reviewed && facts.code == facts.verified
}

/// The automation's name, where the request has one; else the first words of the intent.
async fn made_up(app: &App, who: &Who, request: &CreateBuild) -> Slug {
    let name = match (&request.changes, &request.spec) {
        (Some(name), _) => Some(name.clone()),
        (None, Some(spec)) => Some(spec.name.clone()),
        (None, None) => planned::name(app, who, request).await,
    };
    let words = || {
        let words: Vec<&str> = request
            .intent
            .split_whitespace()
            .take(LABEL_WORDS)
            .collect();
        Slug::from_words(&words.join(" "))
    };
    name.or_else(words)
        .or_else(|| Slug::from_words(LABEL_FALLBACK))
        .unwrap_or_else(|| unreachable!("the fallback is a slug"))
}
