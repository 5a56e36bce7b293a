//! The list of all routes, and what holds for each of them.

use crate::app::App;
use crate::error::{ApiError, Cause, internal, respond};
use crate::pages::{self, dress::RequestId, dress::dressed};
use crate::routes::{builds, decisions, deployments, executions, plans, spending, system};
use agentwright_api::{BODY_MAX_BYTES, code};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::time::Duration;

/// How long one request may take to be answered; a long poll is shorter.
const REQUEST_MAX: Duration = Duration::from_secs(100);
/// Carries the id under which the log knows a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Every route of the daemon.
pub(crate) fn router(app: App) -> Router {
    let v1 = Router::new()
        .route("/health", get(system::health))
        .route("/doctor", get(system::doctor))
        .route("/daemon/stop", post(system::stop))
        .route("/plans", post(plans::plan))
        .route("/builds", get(builds::list).post(builds::create))
        .route("/builds/{id}", get(builds::show))
        .route("/builds/{id}/events", get(builds::events))
        .route("/builds/{id}/logs", get(builds::logs))
        .route("/builds/{id}/artifacts", get(builds::artifacts))
        .route("/builds/{id}/artifacts/{name}", get(builds::artifact))
        .route("/builds/{id}/decisions", post(decisions::decide))
        .route("/builds/{id}/cancel", post(decisions::cancel))
        .route("/builds/{id}/resume", post(decisions::resume))
        .route(
            "/builds/{id}/replay",
            get(decisions::replayed).post(decisions::replay),
        )
        .route("/builds/{id}/retry", post(decisions::retry))
        .route("/builds/{id}/deploy", post(decisions::deploy))
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
        .route("/services", get(system::services));
    Router::new()
        .nest(agentwright_api::PREFIX, v1)
        .merge(pages::router())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(from_fn_with_state(app.clone(), dressed))
        .layer(from_fn_with_state(app.clone(), watched))
        .with_state(app)
}

async fn no_route() -> ApiError {
    ApiError::NoRoute
}

async fn no_method() -> ApiError {
    ApiError::Method
}

/// Gives each request an id and a time limit, and logs the cause of each 500 once, under that id.
async fn watched(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = app.request_id();
    request.extensions_mut().insert(RequestId(id.clone()));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answered = tokio::time::timeout(REQUEST_MAX, next.run(request)).await;
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
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}
