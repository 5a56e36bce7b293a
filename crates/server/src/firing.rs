//! Executions as read from the store, with their logs.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use crate::find;
use crate::view;
use agentwright_api::{Execution, ExecutionLog, ExecutionQuery, Page, WAIT_DEFAULT_S, WaitQuery};
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::run::{Run, RunKind};
use agentwright_store::RunFilter;
use std::time::Duration;

/// Executions in one page where no number is asked for.
const PAGE: u32 = 20;
/// The longest log in one answer, in bytes; its end is what counts.
const LOG_MAX_BYTES: usize = 1 << 20;
/// The name under which an execution's output is kept.
const LOG_NAME: &str = "log";

/// A deployment's executions, newest first.
pub(crate) async fn page(
    app: &App,
    who: &Who,
    name: &Slug,
    query: ExecutionQuery,
) -> Result<Page<Execution>, ApiError> {
    let limit = query.limit.unwrap_or(PAGE);
    let filter = RunFilter {
        kind: Some(RunKind::Execution),
        label: Some(name.clone()),
        limit,
        before: query.before.map(RunId::new),
        ..RunFilter::default()
    };
    let rows = app.store().runs(&who.scope, filter).await?;
    let full = u32::try_from(rows.len()) == Ok(limit);
    let last = rows.last().map(|row| row.id.as_str().to_owned());
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(run) = app.store().run(&who.scope, &row.id).await? {
            let usage = app.store().usage(&who.scope, &row.id).await?;
            items.extend(view::execution(&run, Some(&row), usage));
        }
    }
    let next = last.filter(|_| full);
    Ok(Page { items, next })
}

/// One execution, now or when there is something new.
pub(crate) async fn show(
    app: &App,
    who: &Who,
    id: &str,
    query: &WaitQuery,
) -> Result<Execution, ApiError> {
    let run = find::run(app, who, RunKind::Execution, id).await?;
    let Some(after) = query.wait_after.filter(|_| !run.status.ended()) else {
        return one(app, who, &run).await;
    };
    let seconds = query.timeout_s.unwrap_or(WAIT_DEFAULT_S);
    let wait = Duration::from_secs(u64::from(seconds));
    tokio::select! {
        newest = app.engine().changed(&who.scope, &run.id, after, wait) => { newest?; }
        () = app.stopping().cancelled() => {}
    }
    let run = app.store().run(&who.scope, &run.id).await?;
    let run = run.ok_or_else(|| ApiError::no("execution", id))?;
    one(app, who, &run).await
}

/// An execution as it is now.
pub(crate) async fn one(app: &App, who: &Who, run: &Run) -> Result<Execution, ApiError> {
    let row = app.store().run_row(&who.scope, &run.id).await?;
    let usage = app.store().usage(&who.scope, &run.id).await?;
    view::execution(run, row.as_ref(), usage)
        .ok_or_else(|| ApiError::no("execution", run.id.as_str()))
}

/// What an execution wrote; the newest one's where none is named.
pub(crate) async fn log(
    app: &App,
    who: &Who,
    name: &Slug,
    id: Option<&str>,
) -> Result<ExecutionLog, ApiError> {
    let id = id.unwrap_or(name.as_str());
    let run = find::run(app, who, RunKind::Execution, id).await?;
    let execution = one(app, who, &run).await?;
    if execution.deployment != *name {
        return Err(ApiError::no("execution", id));
    }
    let kept = app.store().artifacts(&who.scope, &run.id).await?;
    let kept = kept.into_iter().rev().find(|kept| kept.name == LOG_NAME);
    let bytes = match kept {
        Some(kept) => app
            .store()
            .artifact(&kept.digest)
            .await?
            .unwrap_or_default(),
        None => app.runtime().live_log(&who.scope, name).await.into_bytes(),
    };
    let from = bytes.len().saturating_sub(LOG_MAX_BYTES);
    Ok(ExecutionLog {
        execution,
        text: String::from_utf8_lossy(&bytes[from..]).into_owned(),
        omitted_bytes: from as u64,
    })
}
