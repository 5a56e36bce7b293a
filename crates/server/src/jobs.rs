//! Builds as jobs: what `/executor` tells, read in one place.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use agentwright_api::executor::{Job, JobParts, job};
use agentwright_domain::ids::RunId;
use agentwright_domain::run::RunStatus;
use agentwright_store::BuildRow;

/// The length of a build's id. Labels and beginnings of ids are for people, not for this wire.
const ID_LENGTH: usize = 36;

/// The build of exactly that id.
pub(crate) async fn row(app: &App, who: &Who, id: &str) -> Result<BuildRow, ApiError> {
    let missing = || ApiError::no("build", id);
    if id.len() != ID_LENGTH {
        return Err(missing());
    }
    let row = app.store().build(&who.scope, &RunId::new(id)).await?;
    row.ok_or_else(missing)
}

/// Its job.
pub(crate) async fn one(app: &App, who: &Who, row: BuildRow) -> Result<Job, ApiError> {
    let mut jobs = many(app, who, vec![row]).await?;
    jobs.pop()
        .ok_or_else(|| ApiError::Internal(anyhow::anyhow!("a build that is no build")))
}

/// The jobs of several builds, in their order.
pub(crate) async fn many(app: &App, who: &Who, rows: Vec<BuildRow>) -> Result<Vec<Job>, ApiError> {
    let (store, scope) = (app.store(), &who.scope);
    let ids: Vec<RunId> = rows.iter().map(|row| row.run.id.clone()).collect();
    let stages = store.stages_of(scope, &ids).await?;
    let now_ms = store.now_ms().await?;
    let mut jobs = Vec::with_capacity(rows.len());
    for row in rows {
        let progress = match row.run.status {
            RunStatus::Leased => store.progress(scope, &row.run).await?,
            RunStatus::Ready
            | RunStatus::Waiting
            | RunStatus::Completed
            | RunStatus::Failed
            | RunStatus::Cancelled => 0,
        };
        let estimates = app.history().of(app, scope, &row.run).await?;
        let parts = JobParts {
            run: &row.run,
            stages: stages.get(&row.run.id).map_or(&[], Vec::as_slice),
            progress,
            live: row.live,
            not_before_ms: row.not_before_ms,
            estimates,
            now_ms,
        };
        jobs.extend(job(parts));
    }
    Ok(jobs)
}
