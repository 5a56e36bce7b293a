//! A plan: what the pipeline would build, on the wire.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use agentwright_api::{Plan, PlanRequest, code};

/// What would be built.
pub(crate) async fn plan(app: &App, who: &Who, request: PlanRequest) -> Result<Plan, ApiError> {
    let _ = (app, who, request);
    Err(ApiError::Unavailable(
        code::UNAVAILABLE,
        "planning is not wired yet".into(),
    ))
}
