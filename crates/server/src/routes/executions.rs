//! Executions: listing, showing, what they wrote.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Named, Query, Who};
use crate::live::{Asked, Of};
use crate::{find, firing, live};
use agentwright_api::{
    EventQuery, Execution, ExecutionLog, ExecutionQuery, LogQuery, Page, WaitQuery,
};
use agentwright_domain::run::RunKind;
use axum::Json;
use axum::extract::State;
use axum::response::Response;

pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
    Named(name): Named,
    Query(query): Query<ExecutionQuery>,
) -> Result<Json<Page<Execution>>, ApiError> {
    let row = find::deployment(&app, &who, &name).await?;
    firing::page(&app, &who, &row.name, query).await.map(Json)
}

pub(crate) async fn log(
    State(app): State<App>,
    who: Who,
    Named(name): Named,
    Query(query): Query<LogQuery>,
) -> Result<Json<ExecutionLog>, ApiError> {
    let row = find::deployment(&app, &who, &name).await?;
    firing::log(&app, &who, &row.name, query.execution.as_deref())
        .await
        .map(Json)
}

pub(crate) async fn show(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    Query(query): Query<WaitQuery>,
) -> Result<Json<Execution>, ApiError> {
    firing::show(&app, &who, &id, &query).await.map(Json)
}

pub(crate) async fn events(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    Query(query): Query<EventQuery>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let run = find::run(&app, &who, RunKind::Execution, &id).await?;
    live::events(app, who, Of::run(run), query, asked).await
}
