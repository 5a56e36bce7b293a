//! The list of all routes, and what holds for each of them.

use crate::app::App;
use crate::asking;
use crate::auth::{self, login};
use crate::error::{ApiError, Cause, internal, respond};
use crate::extract::Who;
use crate::pages::{self, dress::RequestId, dress::dressed};
use crate::routes::{
    audit, builds, connect, decisions, deployments, executions, executor, files, hooks, inbound,
    keys, organizations, plans, queue, spending, system,
};
use crate::{metrics, rates};
use agentwright_api::executor::EXECUTOR_PREFIX;
use agentwright_api::{BODY_MAX_BYTES, code};
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use std::time::Duration;
use tokio::time::Instant;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

/// How long one request may take to be answered; a long poll is shorter.
const REQUEST_MAX: Duration = Duration::from_secs(100);
/// How long a copy of the database may take.
const SNAPSHOT_MAX: Duration = Duration::from_secs(3_600);
/// The longest id that a caller may give, in bytes.
const REQUEST_ID_MAX: usize = 64;
/// Carries the id under which the log knows a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Every route of the daemon.
pub(crate) fn router(app: App) -> Router {
    let v1 = builds_routes()
        .merge(life_routes())
        .merge(instance_routes());
    Router::new()
        .nest(agentwright_api::PREFIX, v1)
        .nest(EXECUTOR_PREFIX, executor::routes())
        .merge(executor::contract_routes())
        .merge(pages::router())
        .route("/metrics", get(metrics::show))
        .route(
            "/hooks/decide/{token}",
            get(hooks::show).post(hooks::decide),
        )
        .route("/login", get(login::form).post(login::log_in))
        .route("/logout", post(login::log_out))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(app.clone(), rates::limited))
        .layer(from_fn_with_state(app.clone(), auth::guard))
        .layer(from_fn_with_state(app.clone(), dressed))
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(from_fn_with_state(app.clone(), watched))
        .with_state(app)
}

/// Builds, and what people decide about them.
fn builds_routes() -> Router<App> {
    Router::new()
        .route("/health", get(system::health))
        .route("/openapi.json", get(system::openapi))
        .route("/doctor", get(system::doctor))
        .route("/daemon/stop", post(system::stop))
        .route("/plans", post(plans::plan))
        .route("/builds", get(builds::list).post(builds::create))
        .route("/builds/{id}", get(builds::show))
        .route("/builds/{id}/events", get(builds::events))
        .route("/builds/{id}/logs", get(builds::logs))
        .route("/builds/{id}/artifacts", get(builds::artifacts))
        .route("/builds/{id}/artifacts/{name}", get(builds::artifact))
        .route("/builds/{id}/stages", get(files::stages))
        .route("/builds/{id}/evidence", get(files::evidence))
        .route("/builds/{id}/approvals", get(files::approvals))
        .route("/builds/{id}/transcripts", get(files::transcripts))
        .route("/builds/{id}/commits", get(files::commits))
        .route("/builds/{id}/files", get(files::files))
        .route("/builds/{id}/files/{*path}", get(files::file))
        .route("/builds/{id}/diff", get(files::diff))
        .route("/approvals", get(decisions::waiting))
        .route("/builds/{id}/decisions", post(decisions::decide))
        .route("/builds/{id}/cancel", post(decisions::cancel))
        .route("/builds/{id}/resume", post(decisions::resume))
        .route(
            "/builds/{id}/replay",
            get(decisions::replayed).post(decisions::replay),
        )
        .route("/builds/{id}/retry", post(decisions::retry))
        .route("/builds/{id}/deploy", post(decisions::deploy))
}

/// What starts by itself, and what was built: the queue, money, deployments.
fn life_routes() -> Router<App> {
    Router::new()
        .route("/queue", get(queue::list).post(queue::add))
        .route("/queue/import", post(queue::import))
        .route("/queue/{label}", get(queue::why).post(queue::change))
        .route("/queue/{label}/remove", post(queue::remove))
        .route("/report", get(queue::report))
        .route("/hooks/{id}", post(inbound::take))
        .route("/heartbeat", get(queue::heartbeat).post(queue::beat))
        .route("/backlogs", get(connect::list).post(connect::connect))
        .route("/backlogs/{name}/remove", post(connect::remove))
        .route("/costs", get(spending::costs))
        .route("/budgets", get(spending::budgets))
        .route("/budgets/{scope}", post(spending::set))
        .route("/deployments", get(deployments::list))
        .route(
            "/deployments/{name}",
            get(deployments::show).delete(deployments::remove),
        )
        .route("/deployments/{name}/executions", get(executions::list))
        .route("/deployments/{name}/logs", get(executions::log))
        .route("/deployments/{name}/run-now", post(deployments::run_now))
        .route("/deployments/{name}/pause", post(deployments::pause))
        .route("/deployments/{name}/resume", post(deployments::resume))
        .route("/deployments/{name}/stop", post(deployments::stop))
        .route("/deployments/{name}/rollback", post(deployments::rollback))
        .route("/deployments/{name}/export", post(deployments::export))
        .route("/executions/{id}", get(executions::show))
        .route("/executions/{id}/events", get(executions::events))
        .route("/events", get(system::events))
}

/// The server itself: who may, organizations, the trail.
fn instance_routes() -> Router<App> {
    Router::new()
        .route("/services", get(system::services))
        .route("/snapshots", post(system::snapshot))
        .route("/me", get(keys::me))
        .route("/keys", get(keys::list).post(keys::create))
        .route("/keys/{id}", delete(keys::revoke))
        .route("/login-codes", post(keys::login_code))
        .route("/sessions", get(keys::sessions))
        .route("/sessions/{id}", delete(keys::end_session))
        .route(
            "/organizations",
            get(organizations::list).post(organizations::create),
        )
        .route("/organizations/{id}", delete(organizations::remove))
        .route(
            "/organizations/{id}/login-codes",
            post(organizations::login_code),
        )
        .route("/audit", get(audit::list))
        .route("/audit/verify", get(audit::verify))
}

async fn no_route() -> ApiError {
    ApiError::NoRoute
}

async fn no_method() -> ApiError {
    ApiError::Method
}

/// A path without what is secret in it.
fn loggable(path: &str) -> String {
    if path.starts_with(asking::PATH) {
        return format!("{}…", asking::PATH);
    }
    path.to_owned()
}

/// Gives each request an id and a time limit, counts and logs it, and logs the cause of each 500 under that id.
async fn watched(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = given_id(request.headers()).unwrap_or_else(|| app.request_id());
    request.extensions_mut().insert(RequestId(id.clone()));
    let (method, path) = (request.method().clone(), loggable(request.uri().path()));
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("none", MatchedPath::as_str).to_owned();
    let most = if route.ends_with("/snapshots") {
        SNAPSHOT_MAX
    } else {
        REQUEST_MAX
    };
    let answered = tokio::time::timeout(most, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| {
        tracing::error!(request = id, %method, path, "no answer within the time limit");
        ApiError::Unavailable(code::BUSY, "this took too long: try again".into()).into_response()
    });
    if let Some(Cause(cause)) = response.extensions().get::<Cause>() {
        tracing::error!(request = id, %method, path, cause = format!("{cause:#}"), "request failed");
        // A page says so itself, with the same id.
        if !pages::dress::is(&response, "text/html") {
            let mut problem = internal();
            problem.request_id = Some(id.clone());
            response = respond(&problem);
        }
    }
    let (status, took) = (response.status(), began.elapsed());
    let who = response.extensions().get::<Who>();
    let who = who.map_or_else(String::new, |who| who.principal.label());
    app.metrics()
        .answered(&method, &route, status.as_u16(), took);
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let status = status.as_u16();
    // The path alone: a query may carry what is nobody's business.
    if method.is_safe() && status < 400 {
        tracing::debug!(target: "access", request = id, %method, path, status, ms, who);
    } else {
        tracing::info!(target: "access", request = id, %method, path, status, ms, who);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The id that the caller gave its request, where it is one.
fn given_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(&REQUEST_ID)?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = !id.is_empty() && id.len() <= REQUEST_ID_MAX && id.bytes().all(plain);
    fits.then(|| id.to_owned())
}
