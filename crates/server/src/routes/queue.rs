//! The queue of builds that start by themselves.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Body, Named, Query, Who};
use crate::queue::{beat, edit, report, shown, tables};
use agentwright_api::{
    Beat, BeatMode, BeatRequest, Heartbeat, Page, QueueAdds, QueueChange, QueueImport,
    QueueImported, QueueItem, QueueWhy, Report, ReportQuery,
};
use agentwright_domain::ids::Slug;
use agentwright_domain::principal::Role;
use agentwright_domain::run::Signal;
use agentwright_engine::SignalError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
) -> Result<Json<Page<QueueItem>>, ApiError> {
    let mut items = shown::suggested(&app, &who.scope).await?;
    items.extend(tables::items(&app, &who.scope).await?);
    Ok(Json(Page { items, next: None }))
}

pub(crate) async fn add(
    State(app): State<App>,
    who: Who,
    Body(request): Body<QueueAdds>,
) -> Result<(StatusCode, Json<Page<QueueItem>>), ApiError> {
    who.require(Role::Operator)?;
    let labels = edit::add(&app, &who, request).await?;
    app.heart().look_soon();
    let items = shown::some(&app, &who.scope, &labels).await?;
    Ok((StatusCode::CREATED, Json(Page { items, next: None })))
}

pub(crate) async fn import(
    State(app): State<App>,
    who: Who,
    Body(request): Body<QueueImport>,
) -> Result<(StatusCode, Json<QueueImported>), ApiError> {
    who.require(Role::Operator)?;
    let (labels, problems) = edit::import(&app, &who, request).await?;
    app.heart().look_soon();
    let items = shown::some(&app, &who.scope, &labels).await?;
    Ok((StatusCode::CREATED, Json(QueueImported { items, problems })))
}

pub(crate) async fn why(
    State(app): State<App>,
    who: Who,
    Named(label): Named,
) -> Result<Json<QueueWhy>, ApiError> {
    match shown::why(&app, &who.scope, &label).await {
        // A row of a connected table has its answers too.
        Err(error @ ApiError::NotFound(_)) => {
            let of_row = tables::why(&app, &who.scope, &label).await?;
            of_row.map(Json).ok_or(error)
        }
        why => why.map(Json),
    }
}

pub(crate) async fn change(
    State(app): State<App>,
    who: Who,
    Named(label): Named,
    Body(request): Body<QueueChange>,
) -> Result<Json<QueueItem>, ApiError> {
    let label = allowed_change(&app, &who, &label, &request).await?;
    app.heart().look_soon();
    shown::one(&app, &who.scope, &label).await.map(Json)
}

/// Changes an item for whoever may.
pub(crate) async fn allowed_change(
    app: &App,
    who: &Who,
    label: &str,
    change: &QueueChange,
) -> Result<Slug, ApiError> {
    // A yes to a start is a yes.
    who.require(match change {
        QueueChange::Approve {} => Role::Approver,
        QueueChange::Move { .. }
        | QueueChange::Block { .. }
        | QueueChange::Unblock { .. }
        | QueueChange::Priority { .. }
        | QueueChange::Retry {}
        | QueueChange::Fail {} => Role::Operator,
    })?;
    changed(app, who, label, change).await
}

/// Changes an item, and ends its build where it is to fail.
async fn changed(
    app: &App,
    who: &Who,
    label: &str,
    change: &QueueChange,
) -> Result<Slug, ApiError> {
    let label = edit::change(app, who, label, change).await?;
    if *change == (QueueChange::Fail {})
        && let Some(run) = shown::one(app, &who.scope, &label).await?.build
    {
        let signal = Signal::Cancel {
            by: who.name.clone(),
            reason: "it got nowhere: it is built again".to_owned(),
        };
        // The row of the audit trail is that of the item, whatever became of its build meanwhile.
        match app.engine().signal(&who.scope, &run, signal, None).await {
            // It ended by itself meanwhile, or was never submitted.
            Ok(_) | Err(SignalError::Refused(_) | SignalError::Unknown) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(label)
}

/// A report of a time, or of a night.
pub(crate) async fn report(
    State(app): State<App>,
    who: Who,
    Query(query): Query<ReportQuery>,
) -> Result<Json<Report>, ApiError> {
    report::asked(&app, &who.scope, &query).await.map(Json)
}

pub(crate) async fn remove(
    State(app): State<App>,
    who: Who,
    Named(label): Named,
) -> Result<Json<QueueItem>, ApiError> {
    who.require(Role::Operator)?;
    let item = edit::remove(&app, &who.scope, &label).await?;
    app.heart().look_soon();
    Ok(Json(item))
}

pub(crate) async fn beat(
    State(app): State<App>,
    who: Who,
    Body(request): Body<BeatRequest>,
) -> Result<Json<Beat>, ApiError> {
    if request.mode == BeatMode::Start {
        who.require(Role::Operator)?;
        app.heart().tables_soon();
    }
    let beat = beat::beat(&app, &who.scope, "by hand", request.mode).await?;
    app.heart().watch_soon();
    Ok(Json(beat))
}

pub(crate) async fn heartbeat(
    State(app): State<App>,
    who: Who,
) -> Result<Json<Heartbeat>, ApiError> {
    shown::heartbeat(&app, &who.scope).await.map(Json)
}
