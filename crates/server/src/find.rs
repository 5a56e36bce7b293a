//! From what a person typed to a run: a full id, a unique beginning of one, or a label.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use agentwright_api::code;
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::run::{Run, RunKind};
use agentwright_store::DeploymentRow;

/// The run of that kind.
pub(crate) async fn run(app: &App, who: &Who, kind: RunKind, text: &str) -> Result<Run, ApiError> {
    let id = run_id(app, who, kind, text).await?;
    let run = app.store().run(&who.scope, &id).await?;
    run.ok_or_else(|| ApiError::no(kind.word(), text))
}

/// Its id.
pub(crate) async fn run_id(
    app: &App,
    who: &Who,
    kind: RunKind,
    text: &str,
) -> Result<RunId, ApiError> {
    let store = app.store();
    let found = store.find_runs(&who.scope, kind, text).await?;
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(ApiError::no(kind.word(), text)),
        [_, ..] => Err(ApiError::Conflict(
            code::AMBIGUOUS,
            format!("{text:?} is the beginning of several ids: give more of it, or the label"),
        )),
    }
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
