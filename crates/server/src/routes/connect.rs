//! Tables of people's own databases that are built from.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Body, Named, Who};
use crate::queue::tables;
use agentwright_api::{ConnectTable, ConnectedTable, Page};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
) -> Result<Json<Page<ConnectedTable>>, ApiError> {
    let items = tables::list(&app, &who.scope).await?;
    Ok(Json(Page { items, next: None }))
}

/// References are read with the rights of the daemon's user.
pub(crate) async fn connect(
    State(app): State<App>,
    who: Who,
    Body(request): Body<ConnectTable>,
) -> Result<(StatusCode, Json<ConnectedTable>), ApiError> {
    who.require_instance_admin()?;
    let table = tables::connect(&app, &who, request).await?;
    Ok((StatusCode::CREATED, Json(table)))
}

pub(crate) async fn remove(
    State(app): State<App>,
    who: Who,
    Named(name): Named,
) -> Result<Json<ConnectedTable>, ApiError> {
    who.require_instance_admin()?;
    tables::disconnect(&app, &who, &name).await.map(Json)
}
