//! Deployments: listing, showing, and what people do to them.

use crate::app::App;
use crate::auth::{Trail, digest};
use crate::conditions::{IfMatch, tagged};
use crate::error::ApiError;
use crate::extract::{Body, Named, Who};
use crate::{deployed, find, firing};
use agentwright_api::{
    Deployment, DeploymentDetail, Execution, Export, ExportRequest, Page, PauseRequest, Removed,
    RollbackRequest,
};
use agentwright_domain::deployment::Action;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
) -> Result<Json<Page<Deployment>>, ApiError> {
    deployed::all(&app, &who).await.map(Json)
}

pub(crate) async fn show(
    State(app): State<App>,
    who: Who,
    Named(name): Named,
) -> Result<Response, ApiError> {
    let row = find::deployment(&app, &who, &name).await?;
    let revision = row.revision;
    let detail: DeploymentDetail = deployed::detail(&app, &who, row).await?;
    Ok(tagged(revision, Json(detail)))
}

/// The revision that the caller saw, where it names one; refuses when it is another by now. The change looks again.
async fn pinned(app: &App, who: &Who, name: &str, seen: &IfMatch) -> Result<Option<i64>, ApiError> {
    let row = find::deployment(app, who, name).await?;
    seen.pinned(row.revision)
}

pub(crate) async fn run_now(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(name): Named,
) -> Result<(StatusCode, Json<Execution>), ApiError> {
    let row = find::deployment(&app, &who, &name).await?;
    let run = deployed::run_now(&app, &who, &row.name).await?;
    let execution = firing::one(&app, &who, &run).await?;
    trail.says(row.name.as_str(), None, digest(&execution));
    Ok((StatusCode::ACCEPTED, Json(execution)))
}

pub(crate) async fn pause(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(name): Named,
    seen: IfMatch,
    Body(request): Body<PauseRequest>,
) -> Result<Json<Deployment>, ApiError> {
    let seen = pinned(&app, &who, &name, &seen).await?;
    let reason = request
        .reason
        .unwrap_or_else(|| format!("paused by {}", who.name));
    act(&app, &who, &trail, (&name, seen), &Action::Pause { reason }).await
}

pub(crate) async fn resume(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(name): Named,
    seen: IfMatch,
) -> Result<Json<Deployment>, ApiError> {
    let seen = pinned(&app, &who, &name, &seen).await?;
    act(&app, &who, &trail, (&name, seen), &Action::Resume).await
}

pub(crate) async fn stop(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(name): Named,
    seen: IfMatch,
) -> Result<Json<Deployment>, ApiError> {
    let seen = pinned(&app, &who, &name, &seen).await?;
    act(&app, &who, &trail, (&name, seen), &Action::Stop).await
}

pub(crate) async fn rollback(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(name): Named,
    seen: IfMatch,
    Body(request): Body<RollbackRequest>,
) -> Result<Json<Deployment>, ApiError> {
    let seen = pinned(&app, &who, &name, &seen).await?;
    let before = now(&app, &who, &name).await?;
    app.runtime()
        .rollback_on(&who.scope, &before.name, request.to, seen)
        .await?;
    let after = now(&app, &who, &name).await?;
    trail.says(&name, digest(&before), digest(&after));
    Ok(Json(after))
}

pub(crate) async fn export(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(name): Named,
    Body(request): Body<ExportRequest>,
) -> Result<Json<Export>, ApiError> {
    // It writes anywhere on this machine.
    who.require_instance_admin()?;
    let row = find::deployment(&app, &who, &name).await?;
    let export = deployed::export(&app, &who, &row, &request).await?;
    trail.says(row.name.as_str(), None, digest(&export));
    Ok(Json(export))
}

pub(crate) async fn remove(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(name): Named,
    seen: IfMatch,
) -> Result<Json<Removed>, ApiError> {
    let before = now(&app, &who, &name).await?;
    let row = find::deployment(&app, &who, &name).await?;
    seen.holds(row.revision)?;
    let removed = deployed::remove(&app, &who, row).await?;
    trail.says(&name, digest(&before), None);
    Ok(Json(removed))
}

async fn now(app: &App, who: &Who, name: &str) -> Result<Deployment, ApiError> {
    let row = find::deployment(app, who, name).await?;
    deployed::one(app, who, row).await
}

async fn act(
    app: &App,
    who: &Who,
    trail: &Trail,
    (name, seen): (&str, Option<i64>),
    action: &Action,
) -> Result<Json<Deployment>, ApiError> {
    let before = now(app, who, name).await?;
    let after = deployed::act(app, who, name, action, seen).await?;
    trail.says(name, digest(&before), digest(&after));
    Ok(Json(after))
}
