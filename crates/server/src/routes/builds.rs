//! Builds: creating, listing, showing, and what they left.

use crate::app::App;
use crate::conditions::tagged;
use crate::error::ApiError;
use crate::extract::{Body, IdempotencyKey, Named, Query, Who, well_formed};
use crate::live::{Asked, Of};
use crate::submit::{self, Wish};
use crate::view::{self, Lease};
use crate::{find, live, show};
use agentwright_api::{
    Artifact, Build, BuildDetail, BuildQuery, BuildSummary, CreateBuild, EventQuery, LIST_DEFAULT,
    Log, Page, ShowQuery,
};
use agentwright_domain::run::RunKind;
use agentwright_store::RunFilter;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// How many pages a list looks through for a status that is not stored as such.
const PAGES_MAX: u32 = 20;

pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    key: IdempotencyKey,
    Body(request): Body<CreateBuild>,
) -> Result<(StatusCode, Json<Build>), ApiError> {
    well_formed(request.spec.as_deref())?;
    if !request.foundations.is_empty() {
        // They are directories on this machine.
        who.require_instance_admin()?;
    }
    let wish = Wish::of(&app, request, &who).await;
    let build = submit::build(&app, &who, key, wish).await?;
    Ok((StatusCode::ACCEPTED, Json(build)))
}

pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
    Query(query): Query<BuildQuery>,
) -> Result<Json<Page<BuildSummary>>, ApiError> {
    let limit = query.limit.unwrap_or(LIST_DEFAULT);
    let mut filter = RunFilter {
        kind: Some(RunKind::Build),
        status: query.status.map(view::stored),
        label: query.label,
        limit,
        before: query.before.map(agentwright_domain::ids::RunId::new),
        ..RunFilter::default()
    };
    let (mut items, mut next) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let rows = app.store().runs(&who.scope, filter.clone()).await?;
        let full = u32::try_from(rows.len()) == Ok(limit);
        next = rows.last().map(|row| row.id.clone()).filter(|_| full);
        let fitting = rows.into_iter().map(view::summary);
        items.extend(fitting.filter(|row| query.status.is_none_or(|status| status == row.status)));
        if next.is_none() || items.len() * 2 > limit as usize {
            break;
        }
        filter.before.clone_from(&next);
    }
    let next = next.map(|id| id.as_str().to_owned());
    Ok(Json(Page { items, next }))
}

pub(crate) async fn show(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    Query(query): Query<ShowQuery>,
) -> Result<Response, ApiError> {
    let detail: BuildDetail = show::build(&app, &who, &id, &query).await?;
    Ok(tagged(detail.seq, Json(detail)))
}

pub(crate) async fn events(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    Query(query): Query<EventQuery>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    live::events(app, who, Of::run(run), query, asked).await
}

pub(crate) async fn logs(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
) -> Result<Json<Log>, ApiError> {
    show::log(&app, &who, &id).await.map(Json)
}

pub(crate) async fn artifacts(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
) -> Result<Json<Page<Artifact>>, ApiError> {
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    let items = show::artifacts(&app, &who, &run.id).await?;
    Ok(Json(Page { items, next: None }))
}

pub(crate) async fn artifact(
    State(app): State<App>,
    who: Who,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    let (kept, bytes) = show::artifact(&app, &who, &run.id, &name).await?;
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, octets);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", kept.digest)) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

/// A build as it is right now, after something was done to it.
pub(crate) async fn now(
    app: &App,
    who: &Who,
    run: &agentwright_domain::run::Run,
) -> Result<Build, ApiError> {
    let row = app.store().run_row(&who.scope, &run.id).await?;
    view::build(run, Lease::of(row.as_ref())).ok_or_else(|| ApiError::no("build", run.id.as_str()))
}
