//! What a build made: commits, files, differences, and what was kept beside them.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Named, Query, Who};
use crate::repository::Repository;
use crate::{find, show, view};
use agentwright_api::{
    Approval, Artifact, Commit, Diff, DiffQuery, FileEntry, FilesQuery, LevelResult, Page,
    StageResult,
};
use agentwright_domain::run::{Run, RunInput, RunKind};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// What a coder said and did is kept under names that begin so.
const TRANSCRIPT: &str = "transcript";

pub(crate) async fn commits(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
) -> Result<Json<Page<Commit>>, ApiError> {
    let (_, repository) = of(&app, &who, &id).await?;
    all(repository.commits().await?)
}

pub(crate) async fn files(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    Query(query): Query<FilesQuery>,
) -> Result<Json<Page<FileEntry>>, ApiError> {
    let (_, repository) = of(&app, &who, &id).await?;
    all(repository.files(query.commit.as_deref()).await?)
}

pub(crate) async fn file(
    State(app): State<App>,
    who: Who,
    Path((id, path)): Path<(String, String)>,
    Query(query): Query<FilesQuery>,
) -> Result<Response, ApiError> {
    let (_, repository) = of(&app, &who, &id).await?;
    let bytes = repository.file(query.commit.as_deref(), &path).await?;
    Ok(octets(bytes))
}

pub(crate) async fn diff(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    Query(query): Query<DiffQuery>,
) -> Result<Json<Diff>, ApiError> {
    let (_, repository) = of(&app, &who, &id).await?;
    let DiffQuery { from, to, path } = query;
    repository
        .diff(from.as_deref(), to.as_deref(), path.as_deref())
        .await
        .map(Json)
}

pub(crate) async fn stages(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
) -> Result<Json<Page<StageResult>>, ApiError> {
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    let rows = app.store().stages(&who.scope, &run.id).await?;
    all(rows.into_iter().map(view::stage).collect())
}

pub(crate) async fn evidence(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
) -> Result<Json<Page<LevelResult>>, ApiError> {
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    let rows = app.store().test_results(&who.scope, &run.id).await?;
    all(rows.into_iter().map(view::level).collect())
}

pub(crate) async fn approvals(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
) -> Result<Json<Page<Approval>>, ApiError> {
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    let rows = app.store().approvals(&who.scope, &run.id).await?;
    all(rows.into_iter().map(view::approval).collect())
}

/// What coders said and did, as artifacts.
pub(crate) async fn transcripts(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
) -> Result<Json<Page<Artifact>>, ApiError> {
    let run = find::run(&app, &who, RunKind::Build, &id).await?;
    let mut kept = show::artifacts(&app, &who, &run.id).await?;
    kept.retain(|artifact| artifact.name.starts_with(TRANSCRIPT));
    all(kept)
}

/// The build, and the repository that its code is in: its own, or that of the build whose code it deploys.
async fn of(app: &App, who: &Who, id: &str) -> Result<(Run, Repository), ApiError> {
    let run = find::run(app, who, RunKind::Build, id).await?;
    let made_by = match &run.input {
        RunInput::Build(request) => request.deploys.as_ref().unwrap_or(&run.id),
        RunInput::Execution => &run.id,
    };
    let repository = Repository::of(app, made_by)?;
    Ok((run, repository))
}

fn all<T>(items: Vec<T>) -> Result<Json<Page<T>>, ApiError> {
    Ok(Json(Page { items, next: None }))
}

/// Bytes that somebody else wrote: never shown by a browser as what they claim to be.
fn octets(bytes: Vec<u8>) -> Response {
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_DISPOSITION, "attachment"),
        (
            HeaderName::from_static("content-security-policy"),
            "sandbox; default-src 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
