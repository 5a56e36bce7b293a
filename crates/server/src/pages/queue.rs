//! The queue, what is done to it, and reports.

use super::frame::{Fields, Frame, html, html_as};
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Named, Query};
use crate::queue::{beat, edit, report, shown, tables};
use crate::routes::queue as routes;
use agentwright_api::{BeatMode, QueueAdd, QueueAdds, QueueChange, QueuePriority, ReportQuery};
use agentwright_domain::ids::Slug;
use agentwright_domain::principal::Role;
use agentwright_pages::{Queue, QueueGiven, QueueTyped, ReportPage};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use garde::Validate;
use jiff::Timestamp;
use serde::Deserialize;

/// What the person did a moment ago.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default)]
pub(super) struct Did {
    #[garde(length(max = 20))]
    did: String,
}

pub(super) async fn page(
    State(app): State<App>,
    frame: Frame,
    Query(asked): Query<Did>,
) -> Result<Response, ApiError> {
    let mut given = given(&app, &frame).await?;
    given.said = said(&asked.did);
    html(&Queue::new(frame.shell(&app).await?, given))
}

fn said(did: &str) -> Option<String> {
    let text = match did {
        "add" => "It is in the queue, and starts by itself when it may.",
        "look" => "The queue was looked at; each answer is below.",
        "approve" => "It may start now.",
        "retry" => "It is built again.",
        "fail" => "Its build is ended; it is built again in five minutes.",
        "move" => "It is moved.",
        "block" => "It waits until that is out of the way.",
        "unblock" => "That is out of the way.",
        "priority" => "That is when it starts now.",
        "remove" => "It is removed. A build of it goes on.",
        _ => return None,
    };
    Some(text.to_owned())
}

async fn given(app: &App, frame: &Frame) -> Result<QueueGiven, ApiError> {
    let scope = &frame.who.scope;
    Ok(QueueGiven {
        items: shown::suggested(app, scope).await?,
        tables: tables::list(app, scope).await?,
        heartbeat: shown::heartbeat(app, scope).await?,
        typed: QueueTyped::default(),
        said: None,
        problem: None,
    })
}

/// The page again, with what was typed and what was wrong with it.
async fn refused(
    app: &App,
    frame: &Frame,
    typed: QueueTyped,
    error: ApiError,
) -> Result<Response, ApiError> {
    let (status, problem) = match error {
        ApiError::Invalid(fields) => {
            let lines = fields
                .iter()
                .map(|one| format!("{}: {}", one.at, one.problem));
            let lines: Vec<String> = lines.collect();
            (StatusCode::UNPROCESSABLE_ENTITY, lines.join("; "))
        }
        ApiError::Conflict(_, said) => (StatusCode::CONFLICT, said),
        other => return Err(other),
    };
    let mut given = given(app, frame).await?;
    given.typed = typed;
    given.problem = Some(problem);
    html_as(status, &Queue::new(frame.shell(app).await?, given))
}

pub(super) async fn add(
    State(app): State<App>,
    frame: Frame,
    fields: Fields,
) -> Result<Response, ApiError> {
    frame.who.require(Role::Operator)?;
    let lines = |name: &str| -> Vec<String> {
        let lines = fields.text(name).lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let typed = QueueTyped {
        name: fields.text("name").to_owned(),
        description: fields.text("description").to_owned(),
        criteria: fields.text("criteria").to_owned(),
        priority: fields.text("priority").to_owned(),
        estimate: fields.text("estimate").to_owned(),
        blockers: fields.text("blockers").to_owned(),
        start: fields.text("start").to_owned(),
    };
    let adds = QueueAdds {
        items: vec![QueueAdd {
            name: fields.text("name").trim().to_owned(),
            description: fields.given("description"),
            criteria: lines("criteria"),
            priority: priority(fields.text("priority")),
            estimate: fields.given("estimate"),
            blockers: lines("blockers"),
            start: fields.given("start"),
            ..QueueAdd::default()
        }],
        base_dir: crate::config::home()
            .map_or_else(|| "/".to_owned(), |home| home.display().to_string()),
        zone: app.queue_zone().iana_name().unwrap_or("UTC").to_owned(),
    };
    let added = match adds.validate() {
        Ok(()) => edit::add(&app, &frame.who, adds).await,
        Err(report) => Err(crate::extract::of_report(&report)),
    };
    if let Err(error) = added {
        return refused(&app, &frame, typed, error).await;
    }
    app.heart().look_soon();
    Ok(frame.onward("queue?did=add"))
}

fn priority(text: &str) -> QueuePriority {
    match text {
        "medium" => QueuePriority::Medium,
        "low" => QueuePriority::Low,
        _ => QueuePriority::High,
    }
}

pub(super) async fn change(
    State(app): State<App>,
    frame: Frame,
    Named(label): Named,
    fields: Fields,
) -> Result<Response, ApiError> {
    let before = ["before-up", "before-down"];
    let moved = before.into_iter().find(|name| fields.has(name));
    let before = moved.and_then(|name| fields.given(name));
    let by = fields.given("by").unwrap_or_default();
    let (did, change) = match fields.text("do") {
        _ if moved.is_some() => {
            let before = before.map(|text| Slug::parse(&text)).transpose();
            let before = before.map_err(|_| ApiError::no("item of the queue", "before"))?;
            ("move", QueueChange::Move { before })
        }
        "approve" => ("approve", QueueChange::Approve {}),
        "retry" => ("retry", QueueChange::Retry {}),
        "fail" => ("fail", QueueChange::Fail {}),
        "block" => ("block", QueueChange::Block { by }),
        "unblock" => ("unblock", QueueChange::Unblock { by: Some(by) }),
        "priority" => {
            let to = priority(fields.text("to"));
            ("priority", QueueChange::Priority { to })
        }
        "remove" => {
            frame.who.require(Role::Operator)?;
            edit::remove(&app, &frame.who.scope, &label).await?;
            app.heart().look_soon();
            return Ok(frame.onward("queue?did=remove"));
        }
        _ => return Err(ApiError::NoRoute),
    };
    let changed = match change.validate() {
        Ok(()) => routes::allowed_change(&app, &frame.who, &label, &change).await,
        Err(report) => Err(crate::extract::of_report(&report)),
    };
    if let Err(error) = changed {
        return refused(&app, &frame, QueueTyped::default(), error).await;
    }
    app.heart().look_soon();
    Ok(frame.onward(&format!("queue?did={did}")))
}

pub(super) async fn look(State(app): State<App>, frame: Frame) -> Result<Response, ApiError> {
    frame.who.require(Role::Operator)?;
    beat::beat(&app, &frame.who.scope, "by hand", BeatMode::Start).await?;
    app.heart().watch_soon();
    Ok(frame.onward("queue?did=look"))
}

/// What the form of reports sends: an empty field is none.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default)]
pub(super) struct ReportForm {
    #[garde(length(chars, max = 40))]
    from: String,
    #[garde(length(chars, max = 40))]
    to: String,
    #[garde(length(chars, max = 10))]
    night: String,
}

pub(super) async fn reports(
    State(app): State<App>,
    frame: Frame,
    Query(asked): Query<ReportForm>,
) -> Result<Response, ApiError> {
    let given = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    let today = Timestamp::from_millisecond(app.now_ms())
        .map(|at| at.to_zoned(app.queue_zone().clone()).date())
        .unwrap_or_default();
    let week = today.saturating_sub(jiff::Span::new().days(6));
    let usual = ReportQuery {
        from: Some(week.to_string()),
        to: Some(today.to_string()),
        night: None,
    };
    let query = match given(&asked.night) {
        Some(night) => ReportQuery {
            night: Some(night),
            ..ReportQuery::default()
        },
        None => ReportQuery {
            from: given(&asked.from).or(usual.from.clone()),
            to: given(&asked.to).or(usual.to.clone()),
            night: None,
        },
    };
    let (status, made, problem) = match report::asked(&app, &frame.who.scope, &query).await {
        Ok(made) => (StatusCode::OK, made, None),
        Err(ApiError::Invalid(fields)) => {
            let lines = fields
                .iter()
                .map(|one| format!("{} {}", one.at, one.problem));
            let lines: Vec<String> = lines.collect();
            let made = report::asked(&app, &frame.who.scope, &usual).await?;
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                made,
                Some(lines.join("; ")),
            )
        }
        Err(error) => return Err(error),
    };
    let asked = (query.from.unwrap_or_default(), query.to.unwrap_or_default());
    let page = ReportPage::new(frame.shell(&app).await?, made, asked, problem);
    html_as(status, &page)
}
