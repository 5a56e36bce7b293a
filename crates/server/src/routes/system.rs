//! The daemon itself, and the service directory.

use crate::app::App;
use crate::doctor;
use crate::error::ApiError;
use crate::extract::{Query, Who};
use crate::live;
use crate::view;
use agentwright_api::{
    Cursor, Doctor, FollowQuery, Health, Page, Service, Snapshot, StoreKind, Time,
};
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use std::sync::OnceLock;

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

/// This surface, as OpenAPI; made once.
pub(crate) async fn openapi() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(crate::openapi::text);
    ([(CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}

/// The live stream of everything in the organization; without `Accept: text/event-stream` the place where it is now.
pub(crate) async fn events(
    State(app): State<App>,
    who: Who,
    Query(query): Query<FollowQuery>,
    headers: HeaderMap,
) -> Response {
    if !live::wants_stream(&headers) {
        let cursor = app.everything().cursor(&app, &who.scope);
        return Json(Cursor { cursor }).into_response();
    }
    let after = live::resumed(&headers).or(query.after.as_deref());
    live::everything(&app, &who, after)
}

/// A copy that is not whole yet: taken away when it fails, and when nobody waits for it any more.
struct Part(Option<std::path::PathBuf>);

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A copy of the database for a backup; the rest of the data directory is files.
pub(crate) async fn snapshot(
    State(app): State<App>,
    who: Who,
) -> Result<(StatusCode, Json<Snapshot>), ApiError> {
    who.require_instance_admin()?;
    let name = format!("{}{}", crate::backup::SNAPSHOT, app.store().new_id());
    let path = app.config().data_dir.join(name);
    let made_at = Time::from_ms(app.now_ms());
    let mut part = Part(Some(path.clone()));
    app.store().snapshot(&path).await?;
    part.0 = None;
    let store = match app.store().shared() {
        true => StoreKind::Postgres,
        false => StoreKind::Sqlite,
    };
    let file = path.display().to_string();
    let snapshot = Snapshot {
        file,
        made_at,
        store,
    };
    Ok((StatusCode::CREATED, Json(snapshot)))
}

pub(crate) async fn services(
    State(app): State<App>,
    who: Who,
) -> Result<Json<Page<Service>>, ApiError> {
    let entries = app.store().services(&who.scope).await?;
    let items = entries.into_iter().map(view::service).collect();
    Ok(Json(Page { items, next: None }))
}
