//! What people do to a build: approve, reject, cancel, retry, deploy.

use crate::app::App;
use crate::conditions::IfMatch;
use crate::error::ApiError;
use crate::extract::{Body, IdempotencyKey, Named, Query, Who};
use crate::find;
use crate::routes::builds::now;
use crate::submit::{self, Wish};
use crate::view::{self, Lease};
use agentwright_api::{
    Build, CancelRequest, Decide, DecisionRequest, DeployBuild, LIST_DEFAULT, Page, Replayed,
    RetryBuild, WaitingQuery,
};
use agentwright_domain::ids::ApprovalId;
use agentwright_domain::principal::Role;
use agentwright_domain::run::{Decision, Run, RunKind, Signal};
use agentwright_store::{BuildFilter, Standing};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

pub(crate) async fn decide(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    seen: IfMatch,
    Body(request): Body<DecisionRequest>,
) -> Result<Json<Build>, ApiError> {
    who.require(Role::Approver)?;
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    unchanged(&app, &who, &run, &seen).await?;
    let decision = Decision {
        id: ApprovalId::new(app.store().new_id()),
        approved: request.decision == Decide::Approve,
        by: who.name.clone(),
        notes: request.notes,
        subject: request.subject,
    };
    let run = app.decide(&who.scope, &run, decision, who.audit()).await?;
    now(&app, &who, &run).await.map(Json)
}

/// Builds that wait for a yes.
pub(crate) async fn waiting(
    State(app): State<App>,
    who: Who,
    Query(query): Query<WaitingQuery>,
) -> Result<Json<Page<Build>>, ApiError> {
    let filter = BuildFilter {
        standing: Some(Standing::Gate),
        limit: query.limit.unwrap_or(LIST_DEFAULT),
        ..BuildFilter::default()
    };
    let rows = app.store().builds(&who.scope, filter).await?;
    let items = rows
        .iter()
        .filter_map(|row| view::build(&row.run, Lease::Live));
    let items = items.collect();
    Ok(Json(Page { items, next: None }))
}

pub(crate) async fn cancel(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    seen: IfMatch,
    Body(request): Body<CancelRequest>,
) -> Result<Json<Build>, ApiError> {
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    unchanged(&app, &who, &run, &seen).await?;
    let signal = Signal::Cancel {
        by: who.name.clone(),
        reason: request.reason.unwrap_or_else(|| "as asked".to_owned()),
    };
    let run = app
        .engine()
        .signal(&who.scope, &run.id, signal, who.audit())
        .await?;
    now(&app, &who, &run).await.map(Json)
}

/// Whether the build is where the caller saw it; its tag is its newest event's number.
async fn unchanged(app: &App, who: &Who, run: &Run, seen: &IfMatch) -> Result<(), ApiError> {
    let seq = app.store().event_seq(&who.scope, &run.id).await?;
    seen.holds(seq)
}

pub(crate) async fn resume(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    seen: IfMatch,
) -> Result<Json<Build>, ApiError> {
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    unchanged(&app, &who, &run, &seen).await?;
    let by = who.name.clone();
    let signal = Signal::Resume { by };
    let run = app
        .engine()
        .signal(&who.scope, &run.id, signal, who.audit())
        .await?;
    now(&app, &who, &run).await.map(Json)
}

pub(crate) async fn retry(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    key: IdempotencyKey,
    Body(request): Body<RetryBuild>,
) -> Result<(StatusCode, Json<Build>), ApiError> {
    let old = find::run(&app, &who, RunKind::Build, &id).await?;
    let wish = Wish::again(&old, request)?;
    let build = submit::build(&app, &who, key, wish).await?;
    Ok((StatusCode::ACCEPTED, Json(build)))
}

pub(crate) async fn replay(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    key: IdempotencyKey,
) -> Result<(StatusCode, Json<Build>), ApiError> {
    let old = find::run(&app, &who, RunKind::Build, &id).await?;
    let wish = Wish::replaying(&old)?;
    let build = submit::build(&app, &who, key, wish).await?;
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
    Named(id): Named,
    key: IdempotencyKey,
    Body(request): Body<DeployBuild>,
) -> Result<(StatusCode, Json<Build>), ApiError> {
    who.require(Role::Approver)?;
    let made = find::run(&app, &who, RunKind::Build, &id).await?;
    let wish = Wish::deploying(&made, request, &who)?;
    let build = submit::build(&app, &who, key, wish).await?;
    Ok((StatusCode::ACCEPTED, Json(build)))
}
