//! Deployments as read from the store, and the runtime's actions with their refusals as problems.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use crate::{find, firing, view};
use agentwright_api::{
    ActivityNow, Deployment, DeploymentDetail, ExecutionQuery, Export, ExportRequest, Page,
    Removed, Time, code,
};
use agentwright_domain::deployment::{Action, Activity, DeployedVersion};
use agentwright_domain::ids::Slug;
use agentwright_domain::run::Run;
use agentwright_runtime::install::{InstallError, crontab_line};
use agentwright_store::DeploymentRow;
use std::path::Path;

/// Executions shown with a deployment.
const NEWEST: u32 = 10;

/// All of them, by name.
pub(crate) async fn all(app: &App, who: &Who) -> Result<Page<Deployment>, ApiError> {
    let mut items = Vec::new();
    for row in app.store().deployments(&who.scope).await? {
        items.push(one(app, who, row).await?);
    }
    Ok(Page { items, next: None })
}

/// One of them.
pub(crate) async fn one(app: &App, who: &Who, row: DeploymentRow) -> Result<Deployment, ApiError> {
    let active = active(app, who, &row).await?;
    Ok(worded(row, active))
}

async fn active(app: &App, who: &Who, row: &DeploymentRow) -> Result<DeployedVersion, ApiError> {
    let version = app
        .store()
        .version(&who.scope, &row.name, row.active_version)
        .await?;
    // Removed meanwhile: its versions go with it.
    version.ok_or_else(|| ApiError::no("deployment", row.name.as_str()))
}

fn worded(row: DeploymentRow, active: DeployedVersion) -> Deployment {
    let activity = match row.activity {
        Activity::Active => ActivityNow::Active,
        Activity::Paused { reason, since_ms } => ActivityNow::Paused {
            reason,
            since: Time::from_ms(since_ms),
        },
        Activity::Stopped { since_ms } => ActivityNow::Stopped {
            since: Time::from_ms(since_ms),
        },
    };
    Deployment {
        name: row.name,
        kind: active.spec.kind,
        purpose: active.spec.purpose,
        version: row.active_version,
        activity,
        trigger: active.spec.trigger,
        next_due_at: row.next_due_at_ms.map(Time::from_ms),
        current_execution: row.current_run,
        endpoint: row.endpoint,
        failures_in_a_row: row.failures_in_a_row,
        deployed_at: Time::from_ms(active.deployed_at_ms),
    }
}

/// One with its versions and newest executions.
pub(crate) async fn detail(
    app: &App,
    who: &Who,
    row: DeploymentRow,
) -> Result<DeploymentDetail, ApiError> {
    let active = active(app, who, &row).await?;
    let permissions = active.spec.permissions.clone();
    let grants = app.store().grants(&who.scope, &row.name).await?;
    let versions = app.store().versions(&who.scope, &row.name).await?;
    let newest = ExecutionQuery {
        limit: Some(NEWEST),
        before: None,
    };
    let executions = firing::page(app, who, &row.name, newest).await?.items;
    let state_dir = app
        .layout()
        .of(&who.scope)
        .state(&row.name)
        .display()
        .to_string();
    let number = row.active_version;
    Ok(DeploymentDetail {
        deployment: worded(row, active),
        permissions,
        versions: versions
            .iter()
            .rev()
            .map(|version| view::version(version, number, &grants))
            .collect(),
        executions,
        state_dir,
    })
}

/// Does what is asked and shows what came of it.
pub(crate) async fn act(
    app: &App,
    who: &Who,
    name: &str,
    action: &Action,
    seen: Option<i64>,
) -> Result<Deployment, ApiError> {
    let row = find::deployment(app, who, name).await?;
    let acted = app
        .runtime()
        .act_on(&who.scope, &row.name, action, seen)
        .await;
    let row = acted?;
    tracing::info!(deployment = %row.name, by = who.name, ?action, "acted on");
    one(app, who, row).await
}

/// Fires now.
pub(crate) async fn run_now(app: &App, who: &Who, name: &Slug) -> Result<Run, ApiError> {
    let id = app.runtime().run_now(&who.scope, name, &who.name).await?;
    let run = app.store().run(&who.scope, &id).await?;
    run.ok_or_else(|| ApiError::no("execution", id.as_str()))
}

/// Removes everything of it.
pub(crate) async fn remove(app: &App, who: &Who, row: DeploymentRow) -> Result<Removed, ApiError> {
    let versions = app.store().versions(&who.scope, &row.name).await?;
    app.runtime().remove(&who.scope, &row.name).await?;
    tracing::info!(deployment = %row.name, by = who.name, "removed");
    Ok(Removed {
        name: row.name,
        versions: u32::try_from(versions.len()).unwrap_or(u32::MAX),
    })
}

/// Writes the standalone directory.
pub(crate) async fn export(
    app: &App,
    who: &Who,
    row: &DeploymentRow,
    request: &ExportRequest,
) -> Result<Export, ApiError> {
    let to = Path::new(&request.to);
    let active = active(app, who, row).await?;
    let written = app.runtime().export(&who.scope, &row.name, to).await;
    written.map_err(|error| match error {
        // Where to is the person's choice: what is wrong with it is theirs to know.
        agentwright_runtime::Error::Files(error) => {
            ApiError::Conflict(code::CONFLICT, agentwright_runtime::chain(&error))
        }
        error => error.into(),
    })?;
    Ok(Export {
        dir: request.to.clone(),
        version: row.active_version,
        crontab: crontab_line(&active.spec, to),
        command: to.join("run").display().to_string(),
    })
}

impl From<agentwright_runtime::Error> for ApiError {
    fn from(error: agentwright_runtime::Error) -> Self {
        use agentwright_runtime::Error;
        let text = error.to_string();
        match error {
            Error::Unknown(_) | Error::NoVersion { .. } => Self::NotFound(text),
            Error::NothingBefore(_)
            | Error::Revoked { .. }
            | Error::Running(_)
            | Error::Stopped(_)
            | Error::Refused(_)
            | Error::StillRunning(_) => Self::Conflict(code::CONFLICT, text),
            Error::Moved { .. } => Self::Changed(text),
            Error::Busy(_) | Error::Starting => Self::Unavailable(code::BUSY, text),
            Error::Files(InstallError::Occupied(_) | InstallError::Changed { .. }) => {
                Self::Conflict(code::CONFLICT, text)
            }
            Error::Files(error) => Self::Internal(error.into()),
            Error::Store(error) => error.into(),
        }
    }
}
