//! How far builds of items are, and whether they get on.

use super::beat;
use crate::app::App;
use crate::error::ApiError;
use crate::jobs;
use agentwright_api::executor::{Job, PhaseStatus};
use agentwright_api::{QueueProgress, Time};
use agentwright_domain::ids::RunId;
use agentwright_store::{BuildRow, OrgScope};
use std::collections::HashMap;

/// A build as it stands.
pub(crate) struct Stands {
    pub(crate) job: Job,
    pub(crate) progress: QueueProgress,
}

/// How builds stand; those that were never submitted are left out.
pub(crate) async fn of(
    app: &App,
    scope: &OrgScope,
    ids: Vec<RunId>,
) -> Result<HashMap<RunId, Stands>, ApiError> {
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        rows.extend(app.store().build(scope, &id).await?);
    }
    let last: Vec<i64> = rows.iter().map(|row| row.run.progress_at_ms).collect();
    let jobs = jobs_of(app, scope, rows).await?;
    let stand = jobs.into_iter().zip(last).map(|(job, last_ms)| {
        let progress = progress(app, &job, last_ms);
        (job.build_id.clone(), Stands { job, progress })
    });
    Ok(stand.collect())
}

/// The jobs of builds, in their order.
pub(crate) async fn jobs_of(
    app: &App,
    scope: &OrgScope,
    rows: Vec<BuildRow>,
) -> Result<Vec<Job>, ApiError> {
    jobs::many(app, &beat::queue(scope), rows).await
}

fn progress(app: &App, job: &Job, last_ms: i64) -> QueueProgress {
    let watched = app.watching().of(&job.build_id);
    QueueProgress {
        phase: phase(job),
        percent: job.progress_percent,
        expected: job.estimated_completion,
        verdict: watched.verdict.to_owned(),
        because: watched.because.or_else(|| waits_for(job)),
        last: Time::from_ms(last_ms),
    }
}

/// The name of the phase that it is in.
pub(crate) fn phase(job: &Job) -> String {
    let name = serde_json::to_value(job.current_phase);
    name.ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// What it waits for, in words.
fn waits_for(job: &Job) -> Option<String> {
    let current = job
        .phases
        .iter()
        .find(|phase| phase.phase_name == job.current_phase)?;
    let text = |name: &str| current.details.get(name).and_then(|value| value.as_str());
    let what = text("waits_for")?;
    Some(match text("reason") {
        Some(reason) => format!("waits for {what}: {reason}"),
        None => format!("waits for {what}"),
    })
}

/// The phases as lines of a list, in words: what is done, what is being done, what comes.
pub(crate) fn breakdown(job: &Job) -> Vec<String> {
    let line = |phase: &agentwright_api::executor::JobPhase| {
        let name = serde_json::to_value(phase.phase_name).unwrap_or_default();
        let name = name.as_str().unwrap_or_default().to_owned();
        match phase.status {
            PhaseStatus::Completed => format!("done: {name}"),
            PhaseStatus::Running => format!("at work: {name}, {} %", phase.progress_percent),
            PhaseStatus::Failed => match &phase.error {
                Some(error) => format!("failed: {name}: {error}"),
                None => format!("failed: {name}"),
            },
            PhaseStatus::Pending => format!("to come: {name}"),
            PhaseStatus::Skipped => format!("left out: {name}"),
        }
    };
    job.phases.iter().map(line).collect()
}
