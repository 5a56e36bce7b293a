//! Deleting: a whole organization, and what is older than it is kept for.
//!
//! Rows are the store's; here what runs is ended first, and directories go last: as long as a row is left there
//! is something to repeat this on.

use crate::app::App;
use crate::auth::actor;
use crate::config::Settings;
use crate::error::ApiError;
use crate::extract::Who;
use agentwright_api::{DeletedOrganization, code};
use agentwright_domain::ids::{LOCAL_ORGANIZATION, OrganizationId, RunId};
use agentwright_domain::run::Signal;
use agentwright_engine::SignalError;
use agentwright_runtime::{blocking, tree};
use agentwright_store::{DAY_MS, OrgScope, Retention, RunFilter, SWEEP_MAX};
use std::path::PathBuf;
use std::time::Duration;

/// How long what runs may take to end.
const END_MAX: Duration = Duration::from_secs(30);
/// Between two looks whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Open runs that are looked at, at most this many pages of [`RunFilter::LIMIT_MAX`].
const PAGES_MAX: u32 = 100;
/// How often old things are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// How many sweeps one look makes, at most.
const SWEEPS_MAX: u32 = 20;

/// Ends and deletes everything of an organization.
pub(crate) async fn organization(
    app: &App,
    who: &Who,
    id: &str,
) -> Result<DeletedOrganization, ApiError> {
    let missing = || ApiError::no("organization", id);
    if id == LOCAL_ORGANIZATION {
        return Err(ApiError::Conflict(
            code::CONFLICT,
            "the organization local is the server's own and cannot be deleted".into(),
        ));
    }
    let id = OrganizationId::new(id);
    app.store().organization(&id).await?.ok_or_else(missing)?;
    let scope = OrgScope::authenticated(id.clone());
    end_runs(app, who, &scope).await?;
    let deployments = app.store().deployments(&scope).await?;
    for row in &deployments {
        app.runtime().remove(&scope, &row.name).await?;
    }
    let gone = app.store().delete_organization(&id, &actor(who)).await?;
    let gone = gone.ok_or_else(missing)?;
    let mut dirs = directories(app, &gone.runs);
    dirs.push(app.layout().organization(&scope));
    remove(dirs).await;
    app.access_changed();
    tracing::info!(organization = %id, by = who.name, rows = gone.rows, "organization deleted");
    Ok(DeletedOrganization {
        id,
        deployments: u32::try_from(deployments.len()).unwrap_or(u32::MAX),
        rows: gone.rows,
    })
}

async fn end_runs(app: &App, who: &Who, scope: &OrgScope) -> Result<(), ApiError> {
    for _ in 0..PAGES_MAX {
        let open = RunFilter {
            open: Some(true),
            limit: RunFilter::LIMIT_MAX,
            ..RunFilter::default()
        };
        let rows = app.store().runs(scope, open).await?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in &rows {
            let signal = Signal::Cancel {
                by: who.name.clone(),
                reason: "the organization is deleted".to_owned(),
            };
            match app.engine().signal(scope, &row.id, signal, None).await {
                // It ended by itself meanwhile.
                Ok(_) | Err(SignalError::Refused(_) | SignalError::Unknown) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let ids: Vec<_> = rows.into_iter().map(|row| row.id).collect();
        quiet(app, &ids).await?;
    }
    let detail = "its runs do not end: no new ones may be submitted meanwhile; try again";
    Err(ApiError::Conflict(code::CONFLICT, detail.into()))
}

/// Waits until this process no longer works on any of them.
async fn quiet(app: &App, ids: &[RunId]) -> Result<(), ApiError> {
    let gone = async {
        while app.engine().active().iter().any(|run| ids.contains(run)) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(END_MAX, gone).await.map_err(|_| {
        let detail = "what runs did not end in time; nothing was deleted, try again";
        ApiError::Conflict(code::CONFLICT, detail.into())
    })
}

fn directories(app: &App, runs: &[RunId]) -> Vec<PathBuf> {
    runs.iter().map(|run| app.layout().build(run)).collect()
}

async fn remove(dirs: Vec<PathBuf>) {
    blocking(move || {
        for dir in dirs {
            if let Err(error) = tree::remove_all(&dir) {
                tracing::warn!(dir = %dir.display(), %error, "a directory of what was deleted stays");
            }
        }
    })
    .await;
}

/// Takes away what is older than the settings keep it, now and then, until the app stops.
pub(crate) async fn sweep(app: App) {
    loop {
        if let Err(error) = sweep_once(&app).await {
            tracing::warn!(%error, "cannot take old things away");
        }
        tokio::select! {
            () = app.stopping().cancelled() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}

async fn sweep_once(app: &App) -> Result<(), agentwright_store::Error> {
    let now_ms = app.store().now_ms().await?;
    let kept_for = retention(&app.config().settings, now_ms);
    if kept_for == Retention::default() {
        return Ok(());
    }
    for _ in 0..SWEEPS_MAX {
        let runs = app.store().sweep(kept_for).await?;
        let count = runs.len();
        remove(directories(app, &runs)).await;
        if count > 0 {
            tracing::info!(runs = count, "old runs were taken away");
        }
        if u32::try_from(count) != Ok(SWEEP_MAX) || app.stopping().is_cancelled() {
            break;
        }
    }
    Ok(())
}

fn retention(settings: &Settings, now_ms: i64) -> Retention {
    let before = |days: Option<u32>| days.map(|days| now_ms - i64::from(days) * DAY_MS);
    Retention {
        runs_before_ms: before(settings.keep_runs_days),
        transcripts_before_ms: before(settings.keep_transcripts_days),
        logs_before_ms: before(settings.keep_logs_days),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_setting_names_is_kept() {
        let kept = retention(&Settings::default(), DAY_MS * 100);
        assert_eq!(kept, Retention::default());
        let settings = Settings {
            keep_logs_days: Some(7),
            ..Settings::default()
        };
        let kept = retention(&settings, DAY_MS * 100);
        assert_eq!(kept.logs_before_ms, Some(DAY_MS * 93));
        assert_eq!(
            (kept.runs_before_ms, kept.transcripts_before_ms),
            (None, None)
        );
    }
}
