//! A change and the version that it is made from: settled when it is submitted, looked at again before a yes.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use crate::view;
use agentwright_api::code;
use agentwright_domain::build::{BuildRequest, Phase, outdated, wrong_version};
use agentwright_domain::ids::RunId;
use agentwright_domain::run::Run;
use agentwright_store::OrgScope;

/// Says which version a new change is made from: the one that is active now. What deploys or replays another build is
/// made from that one's.
///
/// # Errors
/// 409 where the caller saw another version, unless this very build was submitted before.
pub(crate) async fn settle(
    app: &App,
    who: &Who,
    id: &RunId,
    request: &mut BuildRequest,
) -> Result<(), ApiError> {
    let Some(name) = &request.changes else {
        return Ok(());
    };
    if request.deploys.is_some() || request.replays.is_some() {
        return Ok(());
    }
    let Some(row) = app.store().deployment(&who.scope, name).await? else {
        // The build says so.
        return Ok(());
    };
    let seen = *request.from_version.get_or_insert(row.active_version);
    if seen == row.active_version || app.store().run(&who.scope, id).await?.is_some() {
        return Ok(());
    }
    let why = wrong_version(name, seen, row.active_version);
    Err(ApiError::Conflict(code::STALE, why))
}

/// Refuses a yes to a change that would replace another version than the one that it was made from. The commit that
/// deploys it is what counts; this tells the person in time.
///
/// # Errors
/// 409, with what is active now.
pub(crate) async fn current(app: &App, scope: &OrgScope, run: &Run) -> Result<(), ApiError> {
    let Some((state, request)) = view::build_parts(run) else {
        return Ok(());
    };
    // Of what does not wait for a yes the engine says so.
    let waits = matches!(state.phase, Phase::Gate { .. });
    let Some(name) = request.changes.as_ref().filter(|_| waits) else {
        return Ok(());
    };
    let active = match app.store().deployment(scope, name).await? {
        Some(row) => app.store().version(scope, name, row.active_version).await?,
        None => None,
    };
    match outdated(run, active.as_ref()) {
        None => Ok(()),
        Some(why) => {
            let said = format!("nothing was approved: {why}; reject {}", run.label);
            Err(ApiError::Conflict(code::STALE, said))
        }
    }
}
