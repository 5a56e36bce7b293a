//! From what a person typed to a run: a full id, a unique beginning of one, or a label.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use agentwright_api::code;
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::run::{Run, RunKind};
use agentwright_store::DeploymentRow;

/// The length of a UUID's text.
const ID_LENGTH: usize = 36;

/// The run of that kind.
pub(crate) async fn run(app: &App, who: &Who, kind: RunKind, text: &str) -> Result<Run, ApiError> {
    let store = app.store();
    if text.len() == ID_LENGTH
        && let Some(run) = store.run(&who.scope, &RunId::new(text)).await?
        && run.kind == kind
    {
        return Ok(run);
    }
    if let Some(run) = store.run_by_label(&who.scope, Some(kind), text).await? {
        return Ok(run);
    }
    let candidates = store.runs_by_prefix(&who.scope, Some(kind), text).await?;
    if candidates.len() > 1 {
        return Err(ApiError::Conflict(
            code::AMBIGUOUS,
            format!("{text:?} is the beginning of several ids: give more of it, or the label"),
        ));
    }
    Err(ApiError::no(kind.word(), text))
}

/// The deployment of that name.
pub(crate) async fn deployment(
    app: &App,
    who: &Who,
    text: &str,
) -> Result<DeploymentRow, ApiError> {
    let missing = || ApiError::no("deployment", text);
    let name = Slug::parse(text).map_err(|_| missing())?;
    let row = app.store().deployment(&who.scope, &name).await?;
    row.ok_or_else(missing)
}
