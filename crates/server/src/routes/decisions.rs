//! What people do to a build: approve, reject, cancel, retry, deploy.

use crate::app::App;
use crate::auth::{Trail, digest};
use crate::error::ApiError;
use crate::extract::{Body, IdempotencyKey, Named, Who};
use crate::find;
use crate::routes::builds::now;
use crate::submit::{self, Wish};
use agentwright_api::{
    Build, CancelRequest, Decide, DecisionRequest, DeployBuild, Replayed, RetryBuild,
};
use agentwright_domain::ids::ApprovalId;
use agentwright_domain::principal::Role;
use agentwright_domain::run::{Decision, RunKind, Signal};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

pub(crate) async fn decide(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(id): Named,
    Body(request): Body<DecisionRequest>,
) -> Result<Json<Build>, ApiError> {
    who.require(Role::Approver)?;
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    let before = digest(&run.state);
    let decision = Decision {
        id: ApprovalId::new(app.store().new_id()),
        approved: request.decision == Decide::Approve,
        by: who.name.clone(),
        notes: request.notes,
        subject: request.subject,
    };
    let signal = Signal::Decided(decision);
    let run = app.engine().signal(&who.scope, &run.id, signal).await?;
    trail.says(run.id.as_str(), before, digest(&run.state));
    now(&app, &who, &run).await.map(Json)
}

pub(crate) async fn cancel(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(id): Named,
    Body(request): Body<CancelRequest>,
) -> Result<Json<Build>, ApiError> {
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    let before = digest(&run.state);
    let signal = Signal::Cancel {
        by: who.name.clone(),
        reason: request.reason.unwrap_or_else(|| "as asked".to_owned()),
    };
    let run = app.engine().signal(&who.scope, &run.id, signal).await?;
    trail.says(run.id.as_str(), before, digest(&run.state));
    now(&app, &who, &run).await.map(Json)
}

pub(crate) async fn resume(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(id): Named,
) -> Result<Json<Build>, ApiError> {
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    let before = digest(&run.state);
    let by = who.name.clone();
    let signal = Signal::Resume { by };
    let run = app.engine().signal(&who.scope, &run.id, signal).await?;
    trail.says(run.id.as_str(), before, digest(&run.state));
    now(&app, &who, &run).await.map(Json)
}

pub(crate) async fn retry(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(id): Named,
    key: IdempotencyKey,
    Body(request): Body<RetryBuild>,
) -> Result<(StatusCode, Json<Build>), ApiError> {
    let old = find::run(&app, &who, RunKind::Build, &id).await?;
    let wish = Wish::again(&old, request)?;
    let build = submit::build(&app, &who, key, wish).await?;
    trail.says(build.id.as_str(), None, digest(&build));
    Ok((StatusCode::ACCEPTED, Json(build)))
}

pub(crate) async fn replay(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(id): Named,
    key: IdempotencyKey,
) -> Result<(StatusCode, Json<Build>), ApiError> {
    let old = find::run(&app, &who, RunKind::Build, &id).await?;
    let wish = Wish::replaying(&old)?;
    let build = submit::build(&app, &who, key, wish).await?;
    trail.says(build.id.as_str(), None, digest(&build));
    Ok((StatusCode::ACCEPTED, Json(build)))
}

pub(crate) async fn replayed(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
) -> Result<Json<Replayed>, ApiError> {
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    crate::replay::compare(&app, &who, &run).await.map(Json)
}

pub(crate) async fn deploy(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(id): Named,
    key: IdempotencyKey,
    Body(request): Body<DeployBuild>,
) -> Result<(StatusCode, Json<Build>), ApiError> {
    who.require(Role::Approver)?;
    let made = find::run(&app, &who, RunKind::Build, &id).await?;
    let wish = Wish::deploying(&made, request, &who)?;
    let build = submit::build(&app, &who, key, wish).await?;
    trail.says(build.id.as_str(), None, digest(&build));
    Ok((StatusCode::ACCEPTED, Json(build)))
}
