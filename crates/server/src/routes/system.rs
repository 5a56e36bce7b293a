//! The daemon itself, and the service directory.

use crate::app::App;
use crate::doctor;
use crate::error::ApiError;
use crate::extract::{Query, Who};
use crate::live;
use crate::view;
use agentwright_api::{Doctor, FollowQuery, Health, Page, Service};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

pub(crate) async fn health(State(app): State<App>) -> Json<Health> {
    Json(app.health())
}

pub(crate) async fn doctor(State(app): State<App>, who: Who) -> Result<Json<Doctor>, ApiError> {
    who.require_instance_admin()?;
    Ok(Json(doctor::examine(&app).await))
}

pub(crate) async fn stop(
    State(app): State<App>,
    who: Who,
) -> Result<(StatusCode, Json<Health>), ApiError> {
    who.require_instance_admin()?;
    tracing::info!(by = who.name, "asked to stop");
    app.ask_to_stop();
    Ok((StatusCode::ACCEPTED, Json(app.health())))
}

/// The live stream of everything in the organization.
pub(crate) async fn events(
    State(app): State<App>,
    who: Who,
    Query(query): Query<FollowQuery>,
    headers: HeaderMap,
) -> Response {
    let after = live::resumed(&headers).or(query.after.as_deref());
    live::everything(&app, &who, after)
}

pub(crate) async fn services(
    State(app): State<App>,
    who: Who,
) -> Result<Json<Page<Service>>, ApiError> {
    let entries = app.store().services(&who.scope).await?;
    let items = entries.into_iter().map(view::service).collect();
    Ok(Json(Page { items, next: None }))
}
