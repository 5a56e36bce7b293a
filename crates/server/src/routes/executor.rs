//! `/executor`: the seed's own API, to the letter. Every fault of a body or parameter is a 400 here.

mod contract;
mod plain;
mod stream;

pub(crate) use contract::routes as contract_routes;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{IdempotencyKey, Named, Query, Who};
use crate::jobs;
use crate::submit::{self, Wish};
use agentwright_api::code;
use agentwright_api::executor::{
    Accepted, Approve, Approved, BuildDroplet, CancelJob, Cancelled, ClaudeApi,
    ExecutorCapabilities, ExecutorHealth, HealthStatus, Job, JobQuery, JobStatus, RetryJob,
    job_status,
};
use agentwright_api::{LIST_DEFAULT, RetryBuild, Time};
use agentwright_domain::approval::Gate;
use agentwright_domain::build::{ApprovalMode, Phase};
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::{ApprovalId, RunId};
use agentwright_domain::principal::Role;
use agentwright_domain::run::{Decision, Run, RunState, Signal};
use agentwright_llm::Wire;
use agentwright_sandbox::Tier;
use agentwright_store::{BuildFilter, Standing};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use plain::{Place, Plain, Told};

/// A call of Claude that is older than this says nothing about now.
const CALL_GOOD_FOR_MS: i64 = 3_600_000;
/// The targets that can be deployed to.
const TARGETS: [&str; 1] = ["local"];

/// All of them, under the prefix.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/build-droplet", post(build_droplet))
        .route("/builds", get(list))
        .route("/builds/{build_id}", delete(cancel))
        .route("/builds/{build_id}/status", get(status))
        .route("/builds/{build_id}/stream", get(stream::stream))
        .route("/builds/{build_id}/approve", post(approve))
        .route("/builds/{build_id}/cancel", post(cancel))
        .route("/builds/{build_id}/retry", post(retry))
        .route("/health", get(health))
        .route("/capabilities", get(capabilities))
}

async fn build_droplet(
    State(app): State<App>,
    who: Who,
    Plain(key): Plain<IdempotencyKey>,
    headers: HeaderMap,
    Told(asked): Told<BuildDroplet>,
) -> Result<(StatusCode, Json<Accepted>), ApiError> {
    let wish = Wish::of_droplet(&app, asked, &who).await;
    accepted(&app, &who, key, &headers, wish).await
}

async fn retry(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    Plain(Query(_)): Plain<Query<RetryJob>>,
    Plain(key): Plain<IdempotencyKey>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Accepted>), ApiError> {
    let old = jobs::row(&app, &who, &id).await?;
    let wish = Wish::again(&old.run, RetryBuild::default())?;
    accepted(&app, &who, key, &headers, wish).await
}

async fn accepted(
    app: &App,
    who: &Who,
    key: IdempotencyKey,
    headers: &HeaderMap,
    wish: Wish,
) -> Result<(StatusCode, Json<Accepted>), ApiError> {
    let build = submit::build(app, who, key, wish).await?;
    let row = jobs::row(app, who, build.id.as_str()).await?;
    let job = jobs::one(app, who, row).await?;
    let place = Place::of(app, headers);
    let base = format!("/executor/builds/{}", job.build_id);
    let accepted = Accepted {
        status: job.status,
        estimated_completion: job.estimated_completion,
        stream_url: place.ws(&format!("{base}/stream")),
        status_url: place.http(&format!("{base}/status")),
        build_id: job.build_id,
    };
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

async fn status(State(app): State<App>, who: Who, Named(id): Named) -> Result<Json<Job>, ApiError> {
    let row = jobs::row(&app, &who, &id).await?;
    jobs::one(&app, &who, row).await.map(Json)
}

async fn list(
    State(app): State<App>,
    who: Who,
    Plain(Query(query)): Plain<Query<JobQuery>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let bounds = query.bounds();
    let (from_ms, to_ms) = bounds.map_err(|(at, why)| ApiError::malformed(at, why))?;
    let limit = query.limit.unwrap_or(LIST_DEFAULT);
    let offset = query.offset.unwrap_or(0);
    let filter = BuildFilter {
        standing: query.status.map(standing),
        from_ms,
        to_ms,
        // One more tells whether there is a next page.
        limit: limit + 1,
        offset,
    };
    let mut rows = app.store().builds(&who.scope, filter).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let jobs = jobs::many(&app, &who, rows).await?;
    let mut response = Json(jobs).into_response();
    if more {
        let next = Place::of(&app, &headers).next(&query, limit, offset + limit);
        if let Ok(link) = HeaderValue::from_str(&format!("<{next}>; rel=\"next\"")) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(response)
}

fn standing(status: JobStatus) -> Standing {
    match status {
        JobStatus::Queued => Standing::New,
        JobStatus::Running => Standing::Begun,
        JobStatus::AwaitingApproval => Standing::Gate,
        JobStatus::Completed => Standing::Completed,
        JobStatus::Failed => Standing::Failed,
        JobStatus::Cancelled => Standing::Cancelled,
    }
}

async fn approve(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    Told(asked): Told<Approve>,
) -> Result<Json<Approved>, ApiError> {
    who.require(Role::Approver)?;
    let row = jobs::row(&app, &who, &id).await?;
    let waits = waiting(&row.run);
    // What was looked up is what is decided on: when it changes in between the answer is a 409.
    let subject = asked
        .subject_digest
        .or_else(|| waits.as_ref().map(|(_, digest)| digest.clone()));
    let decision = Decision {
        id: ApprovalId::new(app.store().new_id()),
        approved: asked.approved,
        by: who.name.clone(),
        notes: asked.notes,
        subject: subject.clone(),
    };
    let run = app
        .decide(&who.scope, &row.run, decision, who.audit())
        .await?;
    let (Some((gate, _)), Some(subject_digest), Some(status)) = (waits, subject, job_status(&run))
    else {
        let odd = anyhow::anyhow!("a decision was taken where none was waited for");
        return Err(ApiError::Internal(odd));
    };
    Ok(Json(Approved {
        next_steps: next_steps(&run.id, gate, asked.approved),
        build_id: run.id,
        approved: asked.approved,
        status,
        subject_digest,
    }))
}

fn waiting(run: &Run) -> Option<(Gate, Digest)> {
    let RunState::Build(state) = &run.state else {
        return None;
    };
    let Phase::Gate { gate, .. } = &state.phase else {
        return None;
    };
    let subject = state.facts.subject.as_ref()?;
    Some((*gate, subject.digest.clone()))
}

fn next_steps(id: &RunId, gate: Gate, approved: bool) -> Vec<String> {
    let follow = format!("GET /executor/builds/{id}/status tells how it goes");
    let now = match (gate, approved) {
        (Gate::Spec, true) => "Package, Build and Verify follow; then it waits for a yes to deploy",
        (Gate::Deploy, true) => "Deploy and Register follow",
        (Gate::Spec | Gate::Deploy, false) => "the build has ended and deploys nothing",
    };
    let then = match approved {
        true => follow,
        false => format!("POST /executor/builds/{id}/retry builds it again"),
    };
    vec![now.to_owned(), then]
}

async fn cancel(
    State(app): State<App>,
    who: Who,
    Named(id): Named,
    Told(asked): Told<CancelJob>,
) -> Result<Json<Cancelled>, ApiError> {
    cancelled(&app, &who, &id, asked.reason).await.map(Json)
}

/// Ends a build.
async fn cancelled(
    app: &App,
    who: &Who,
    id: &str,
    reason: Option<String>,
) -> Result<Cancelled, ApiError> {
    let row = jobs::row(app, who, id).await?;
    let signal = Signal::Cancel {
        by: who.name.clone(),
        reason: reason.unwrap_or_else(|| "as asked".to_owned()),
    };
    let run = app
        .engine()
        .signal(&who.scope, &row.run.id, signal, who.audit())
        .await?;
    let at_ms = run.ended_at_ms.unwrap_or_else(|| app.now_ms());
    Ok(Cancelled {
        build_id: run.id,
        status: JobStatus::Cancelled,
        cancelled_at: Time::from_ms(at_ms),
    })
}

async fn health(State(app): State<App>) -> (StatusCode, Json<ExecutorHealth>) {
    let at_work = app.store().builds_at_work(None).await;
    let status = match (&at_work, app.sandbox().probe().await.tier) {
        (Err(_), _) => HealthStatus::Unhealthy,
        (Ok(_), Tier::None | Tier::Engine | Tier::Process) => HealthStatus::Degraded,
        (Ok(_), Tier::Full | Tier::Strong) if app.stops() => HealthStatus::Degraded,
        (Ok(_), Tier::Full | Tier::Strong) => HealthStatus::Healthy,
    };
    let code = match status {
        HealthStatus::Unhealthy => StatusCode::INTERNAL_SERVER_ERROR,
        HealthStatus::Healthy | HealthStatus::Degraded => StatusCode::OK,
    };
    let health = ExecutorHealth {
        status,
        active_builds: at_work.map_or(0, |(at_work, _)| at_work),
        claude_api: claude(&app).await,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: app.uptime_s(),
    };
    (code, Json(health))
}

/// Asks nobody: by configuration, and by how the last call went.
async fn claude(app: &App) -> ClaudeApi {
    let found = app.builds().models().found().await;
    let anthropic = |provider: &&agentwright_llm::ProviderConfig| provider.wire == Wire::Anthropic;
    let Some(provider) = found.providers.iter().find(anthropic) else {
        return ClaudeApi::NotConfigured;
    };
    let since_ms = app.now_ms() - CALL_GOOD_FOR_MS;
    let last = app.store().last_call(&provider.name, since_ms).await;
    let lost = [
        "overloaded",
        "server",
        "auth",
        "billing",
        "connect",
        "timeout_idle",
        "timeout_total",
    ];
    match last {
        Ok(Some(Some(ended))) if lost.contains(&ended.as_str()) => ClaudeApi::Unavailable,
        Ok(_) | Err(_) => ClaudeApi::Connected,
    }
}

async fn capabilities(
    State(app): State<App>,
    _who: Who,
) -> Result<Json<ExecutorCapabilities>, ApiError> {
    let found = app.builds().models().found().await;
    let code = found.roles.get(&agentwright_llm::Role::Code);
    let claude_model = code.and_then(|role| {
        let by = found
            .providers
            .iter()
            .find(|provider| provider.name == role.provider)?;
        let model = role.model.as_deref();
        let default = agentwright_llm::detect::default_model(by.wire);
        (by.wire == Wire::Anthropic).then(|| model.unwrap_or(default).to_owned())
    });
    Ok(Json(ExecutorCapabilities {
        supported_approval_modes: vec![
            ApprovalMode::Auto,
            ApprovalMode::Checkpoints,
            ApprovalMode::Final,
        ],
        max_concurrent_builds: app.config().settings.builds,
        claude_model,
        providers: found.providers.iter().map(|one| one.name.clone()).collect(),
        can_deploy: !app.fenced(),
        targets: TARGETS.map(str::to_owned).into(),
    }))
}

/// A refusal of this surface with a code of its own.
fn refused(status: StatusCode, what: &'static str, detail: &str) -> ApiError {
    match status {
        StatusCode::FORBIDDEN => ApiError::Forbidden(what, detail.to_owned()),
        status => ApiError::Unreadable(status, what, detail.to_owned()),
    }
}

/// A WebSocket is wanted where none is asked for.
fn upgrade_needed() -> ApiError {
    refused(
        StatusCode::BAD_REQUEST,
        code::UPGRADE,
        "this is a WebSocket: send Upgrade: websocket",
    )
}
