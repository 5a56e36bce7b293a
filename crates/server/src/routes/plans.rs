//! What would be built, without building it.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Body, Who, well_formed};
use agentwright_api::{Plan, PlanRequest};
use axum::Json;
use axum::extract::State;

pub(crate) async fn plan(
    State(app): State<App>,
    who: Who,
    Body(request): Body<PlanRequest>,
) -> Result<Json<Plan>, ApiError> {
    well_formed(request.spec.as_deref())?;
    crate::planned::plan(&app, &who, request).await.map(Json)
}
