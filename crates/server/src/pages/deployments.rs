//! Deployments: the list, one of them, what is done to it, and the directory of services.

use super::frame::{Fields, Frame, html, html_as};
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Named, Query};
use crate::{deployed, find, firing, view};
use agentwright_domain::deployment::Action;
use agentwright_pages::{DeploymentGiven, DeploymentPage, Deployments, Services};
use agentwright_store::DeploymentRow;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use garde::Validate;
use serde::Deserialize;

/// The end of a log that is shown, in bytes.
const LOG_SHOWN: usize = 64 << 10;

pub(super) async fn services(State(app): State<App>, frame: Frame) -> Result<Response, ApiError> {
    let entries = app.store().services(&frame.who.scope).await?;
    let entries = entries.into_iter().map(view::service).collect();
    html(&Services::new(frame.shell(&app).await?, entries))
}

pub(super) async fn all(
    State(app): State<App>,
    frame: Frame,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let all = deployed::all(&app, &frame.who).await?.items;
    let lines = all.into_iter().map(|deployment| {
        let runs = agentwright_intent::describe(&deployment.trigger);
        (deployment, runs)
    });
    let said = (asked.did == "remove").then(|| "It is removed, with all its versions.".to_owned());
    html(&Deployments::new(
        frame.shell(&app).await?,
        lines.collect(),
        said,
    ))
}

/// Which run's log is shown, and what the person did a moment ago.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default)]
pub(super) struct Asked {
    #[garde(length(max = 64))]
    log: String,
    #[garde(length(max = 20))]
    did: String,
}

pub(super) async fn one(
    State(app): State<App>,
    frame: Frame,
    Named(name): Named,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let row = find::deployment(&app, &frame.who, &name).await?;
    let mut given = given(&app, &frame, row, &asked.log).await?;
    given.said = said(&asked.did, given.detail.deployment.version);
    html(&DeploymentPage::new(frame.shell(&app).await?, given))
}

fn said(did: &str, version: u32) -> Option<String> {
    let text = match did {
        "run" => "It runs now. Its log appears below when it has ended.",
        "pause" => "It is paused: it does not run until it is resumed.",
        "resume" => "It runs again when it is due.",
        "stop" => "It is stopped: nothing of it runs until it is resumed.",
        "rollback" => return Some(format!("Version {version} is the active one now.")),
        _ => return None,
    };
    Some(text.to_owned())
}

async fn given(
    app: &App,
    frame: &Frame,
    row: DeploymentRow,
    log: &str,
) -> Result<DeploymentGiven, ApiError> {
    let name = row.name.clone();
    let detail = deployed::detail(app, &frame.who, row).await?;
    let wanted = (!log.is_empty()).then_some(log);
    let log = match (wanted, detail.executions.is_empty()) {
        (None, true) => None,
        (wanted, _) => {
            let read = firing::log(app, &frame.who, &name, wanted).await?;
            let text = read.text;
            let mut from = text.len().saturating_sub(LOG_SHOWN);
            while !text.is_char_boundary(from) {
                from += 1;
            }
            Some((
                read.execution.id.as_str().to_owned(),
                text[from..].to_owned(),
            ))
        }
    };
    Ok(DeploymentGiven {
        runs: agentwright_intent::describe(&detail.deployment.trigger),
        detail,
        log,
        said: None,
        problem: None,
    })
}

pub(super) async fn run(
    State(app): State<App>,
    frame: Frame,
    Named(name): Named,
) -> Result<Response, ApiError> {
    let row = find::deployment(&app, &frame.who, &name).await?;
    let done = deployed::run_now(&app, &frame.who, &row.name)
        .await
        .map(|_| ());
    answered(&app, &frame, &name, "run", done).await
}

pub(super) async fn pause(
    State(app): State<App>,
    frame: Frame,
    Named(name): Named,
) -> Result<Response, ApiError> {
    let reason = format!("paused by {}", frame.who.name);
    acted(&app, &frame, &name, "pause", &Action::Pause { reason }).await
}

pub(super) async fn resume(
    State(app): State<App>,
    frame: Frame,
    Named(name): Named,
) -> Result<Response, ApiError> {
    acted(&app, &frame, &name, "resume", &Action::Resume).await
}

pub(super) async fn stop(
    State(app): State<App>,
    frame: Frame,
    Named(name): Named,
) -> Result<Response, ApiError> {
    acted(&app, &frame, &name, "stop", &Action::Stop).await
}

/// Makes an earlier version the active one; nothing is done where another one than the form was made of is active.
pub(super) async fn rollback(
    State(app): State<App>,
    frame: Frame,
    Named(name): Named,
    fields: Fields,
) -> Result<Response, ApiError> {
    let row = find::deployment(&app, &frame.who, &name).await?;
    let (to, from) = (
        fields.text("to").parse::<u32>(),
        fields.text("from").parse::<u32>(),
    );
    let done = match (to, from) {
        (Ok(to), Ok(from)) if from == row.active_version => app
            .runtime()
            .rollback(&frame.who.scope, &row.name, Some(to))
            .await
            .map_err(ApiError::from)
            .map(|_| ()),
        (Ok(_), Ok(from)) => Err(ApiError::Conflict(
            agentwright_api::code::CONFLICT,
            format!(
                "nothing was done: version {} is active by now, no longer version {from}",
                row.active_version
            ),
        )),
        (Err(_), _) | (_, Err(_)) => Err(ApiError::Invalid(vec![agentwright_api::FieldProblem {
            at: "to".into(),
            problem: "is no version: load the page again".into(),
        }])),
    };
    answered(&app, &frame, &name, "rollback", done).await
}

/// Removes it, when its name was typed.
pub(super) async fn remove(
    State(app): State<App>,
    frame: Frame,
    Named(name): Named,
    fields: Fields,
) -> Result<Response, ApiError> {
    let row = find::deployment(&app, &frame.who, &name).await?;
    if fields.text("confirm").trim() != row.name.as_str() {
        let wrong = ApiError::Conflict(
            agentwright_api::code::CONFLICT,
            format!("nothing was removed: type {} to confirm", row.name),
        );
        return answered(&app, &frame, &name, "remove", Err(wrong)).await;
    }
    match deployed::remove(&app, &frame.who, row).await {
        Ok(_) => Ok(frame.onward("deployments?did=remove")),
        Err(error) => answered(&app, &frame, &name, "remove", Err(error)).await,
    }
}

async fn acted(
    app: &App,
    frame: &Frame,
    name: &str,
    did: &str,
    action: &Action,
) -> Result<Response, ApiError> {
    let done = deployed::act(app, &frame.who, name, action, None)
        .await
        .map(|_| ());
    answered(app, frame, name, did, done).await
}

/// Onward to the page; where it does not go with how things are, the page as it is, saying why: 409.
async fn answered(
    app: &App,
    frame: &Frame,
    name: &str,
    did: &str,
    done: Result<(), ApiError>,
) -> Result<Response, ApiError> {
    let why = match done {
        Ok(()) => return Ok(frame.onward(&format!("deployments/{name}?did={did}"))),
        Err(ApiError::Conflict(_, why)) => why,
        Err(other) => return Err(other),
    };
    let row = find::deployment(app, &frame.who, name).await?;
    let mut given = given(app, frame, row, "").await?;
    given.problem = Some(why);
    let page = DeploymentPage::new(frame.shell(app).await?, given);
    html_as(StatusCode::CONFLICT, &page)
}
