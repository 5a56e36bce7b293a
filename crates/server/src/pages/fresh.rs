//! New build: the form, the plan as it is typed, the submission.

use super::frame::{Fields, Frame, html, html_as};
use crate::app::App;
use crate::auth::Trail;
use crate::error::ApiError;
use crate::estimates::Wanted;
use crate::extract::{IdempotencyKey, Query, checked_value};
use crate::planned;
use crate::submit::{self, Wish};
use agentwright_api::{CreateBuild, FieldProblem, Plan, PlanRequest, PlanVerdict};
use agentwright_domain::build::ApprovalMode;
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::Slug;
use agentwright_pages::{Asked, Forecast, Fresh, Matched, forecast};
use agentwright_store::{CostsBy, DAY_MS};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use garde::Validate;
use serde::Deserialize;
use serde_json::Value;

/// What like builds cost is looked at so far back, days.
const COSTS_DAYS: i64 = 30;

/// What a link may put into the form.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default)]
pub(super) struct Filled {
    #[garde(length(chars, max = 20_000))]
    intent: String,
    #[garde(length(max = 63))]
    changes: String,
}

pub(super) async fn page(
    State(app): State<App>,
    frame: Frame,
    Query(filled): Query<Filled>,
) -> Result<Response, ApiError> {
    let asked = Asked {
        intent: filled.intent,
        changes: filled.changes,
        base_dir: base_dir(),
        zone: "UTC".to_owned(),
        mode: "final".to_owned(),
        auto_deploy: true,
        key: app.store().new_id(),
        ..Asked::default()
    };
    let matched = plan_of(&app, &frame, &asked).await.ok().flatten();
    let shown = form(&app, &frame, asked, matched).await?;
    html(&shown)
}

/// What the form becomes as it is typed; only that part of the page.
pub(super) async fn matched(
    State(app): State<App>,
    frame: Frame,
    trail: Trail,
    fields: Fields,
) -> Result<Response, ApiError> {
    // It is a POST because a sentence may be long; it changes nothing.
    trail.written();
    let asked = asked(&fields);
    match plan_of(&app, &frame, &asked).await {
        Ok(Some((plan, forecast))) => html(&Matched::new(plan.0, plan.1, &asked, forecast)),
        Ok(None) => html(&Matched::empty()),
        Err(error) => html(&Matched::refused(&error.to_string())),
    }
}

pub(super) async fn create(
    State(app): State<App>,
    frame: Frame,
    trail: Trail,
    fields: Fields,
) -> Result<Response, ApiError> {
    let asked = asked(&fields);
    if fields.ticked("plan") {
        trail.written();
        return planned(&app, &frame, asked, StatusCode::OK, None, Vec::new()).await;
    }
    let (request, mut problems) = request(&asked, &fields);
    if let Err(ApiError::Invalid(errors)) = checked_value(&request) {
        problems.extend(errors);
    }
    if !problems.is_empty() {
        let text = "Nothing was built: something in the form is not right.".to_owned();
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return planned(&app, &frame, asked, status, Some(text), problems).await;
    }
    let plan = planned::plan(&app, &frame.who, plan_request(&asked)).await?;
    let why = match plan.verdict {
        PlanVerdict::Ready | PlanVerdict::Model => None,
        PlanVerdict::Incomplete => {
            Some("Something is missing before it can be built; it is asked below.")
        }
        PlanVerdict::Refused => {
            Some("It cannot be built like this; the reason is below, and what can be built.")
        }
    };
    if let Some(why) = why {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return planned(
            &app,
            &frame,
            asked,
            status,
            Some(why.to_owned()),
            Vec::new(),
        )
        .await;
    }
    let key = IdempotencyKey(fields.given("key").filter(|key| key.len() <= 64));
    let wish = Wish::of(&app, request, &frame.who).await;
    match submit::build(&app, &frame.who, key, wish).await {
        Ok(build) => Ok(frame.onward(&format!("builds/{}?did=submit", build.id))),
        Err(ApiError::Conflict(_, why)) => {
            planned(
                &app,
                &frame,
                asked,
                StatusCode::CONFLICT,
                Some(why),
                Vec::new(),
            )
            .await
        }
        Err(error) => Err(error),
    }
}

type Planned = ((Plan, Option<String>), Option<Forecast>);

/// The form again with its plan, what is wrong, and everything that was typed.
async fn planned(
    app: &App,
    frame: &Frame,
    mut asked: Asked,
    status: StatusCode,
    problem: Option<String>,
    problems: Vec<FieldProblem>,
) -> Result<Response, ApiError> {
    // What follows is another attempt.
    asked.key = app.store().new_id();
    let matched = plan_of(app, frame, &asked).await.ok().flatten();
    let mut page = form(app, frame, asked, matched).await?;
    if let Some(problem) = problem {
        let problems = problems
            .into_iter()
            .map(|one| (one.at, one.problem))
            .collect();
        page = page.refused(problem, problems);
    }
    html_as(status, &page)
}

async fn form(
    app: &App,
    frame: &Frame,
    asked: Asked,
    planned: Option<Planned>,
) -> Result<Fresh, ApiError> {
    let matched =
        planned.map(|((plan, runs), forecast)| Matched::new(plan, runs, &asked, forecast));
    let unable = |why| ApiError::Unavailable(agentwright_api::code::UNAVAILABLE, why);
    let builds = app.builds().builds().await.map_err(unable)?;
    let examples = builds.foundations().list().iter().filter_map(|foundation| {
        let manifest = &foundation.manifest;
        Some((manifest.does.clone(), manifest.examples.first()?.clone()))
    });
    Ok(Fresh::new(
        frame.shell(app).await?,
        asked,
        matched,
        examples.collect(),
    ))
}

/// What would be built; `None` while nothing is typed.
async fn plan_of(app: &App, frame: &Frame, asked: &Asked) -> Result<Option<Planned>, PlanError> {
    if asked.intent.trim().is_empty() {
        return Ok(None);
    }
    let request = plan_request(asked);
    if let Err(ApiError::Invalid(errors)) = checked_value(&request) {
        let words = errors
            .into_iter()
            .map(|error| format!("{} {}", error.at, error.problem));
        return Err(PlanError(words.collect::<Vec<_>>().join("; ")));
    }
    let plan = planned::plan(app, &frame.who, request).await;
    let plan = plan.map_err(|_| PlanError("the plan cannot be made now: try again".to_owned()))?;
    let runs = plan.trigger.as_ref().map(agentwright_intent::describe);
    let forecast = history(app, frame, asked, &plan).await.ok();
    Ok(Some(((plan, runs), forecast)))
}

/// Why there is no plan, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct PlanError(String);

/// How builds like this one went.
async fn history(
    app: &App,
    frame: &Frame,
    asked: &Asked,
    plan: &Plan,
) -> Result<Forecast, ApiError> {
    let (store, scope) = (app.store(), &frame.who.scope);
    let wanted = Wanted {
        changes: Slug::parse(&asked.changes).ok(),
        foundation: plan.foundation.clone(),
        deploys: asked.auto_deploy,
    };
    let drawn = app.history().like_wanted(app, scope, &wanted).await?;
    let from = app.now_ms() - COSTS_DAYS * DAY_MS;
    let costs = store.costs(scope, CostsBy::Build, from, None).await?;
    let paid = costs
        .into_iter()
        .filter(|cost| drawn.labels.contains(&cost.key));
    let paid = paid.map(|cost| cost.micro_usd).collect();
    Ok(forecast(drawn.alike, drawn.worked_ms, paid))
}

fn asked(fields: &Fields) -> Asked {
    Asked {
        intent: fields.text("intent").to_owned(),
        inputs: fields.under("input."),
        base_dir: fields.given("base_dir").unwrap_or_else(base_dir),
        zone: fields.given("zone").unwrap_or_else(|| "UTC".to_owned()),
        mode: fields.text("mode").to_owned(),
        auto_deploy: fields.ticked("auto_deploy"),
        production: fields.ticked("production"),
        changes: fields.text("changes").trim().to_owned(),
        label: fields.text("label").trim().to_owned(),
        key: fields.text("key").to_owned(),
    }
}

fn plan_request(asked: &Asked) -> PlanRequest {
    let inputs = asked
        .inputs
        .iter()
        .filter(|(_, value)| !value.trim().is_empty());
    PlanRequest {
        intent: asked.intent.clone(),
        inputs: inputs
            .map(|(name, value)| (name.clone(), Value::String(value.trim().to_owned())))
            .collect(),
        base_dir: asked.base_dir.clone(),
        zone: asked.zone.clone(),
        changes: Slug::parse(&asked.changes).ok(),
        ..PlanRequest::default()
    }
}

/// The build that the form asks for, and what in it is no name.
fn request(asked: &Asked, fields: &Fields) -> (CreateBuild, Vec<FieldProblem>) {
    let mut problems = Vec::new();
    let mut slug = |at: &str, text: &str| -> Option<Slug> {
        if text.is_empty() {
            return None;
        }
        Slug::parse(text)
            .map_err(|error| {
                problems.push(FieldProblem {
                    at: at.to_owned(),
                    problem: error.to_string(),
                });
            })
            .ok()
    };
    let label = slug("label", &asked.label);
    slug("changes", &asked.changes);
    let mut request = CreateBuild::of(plan_request(asked));
    request.label = label;
    request.mode = match asked.mode.as_str() {
        "auto" => ApprovalMode::Auto,
        "checkpoints" => ApprovalMode::Checkpoints,
        _ => ApprovalMode::Final,
    };
    request.auto_deploy = asked.auto_deploy;
    request.production = asked.production;
    request.advance = Digest::parse(fields.text("advance")).ok();
    // What was shown is what it was planned from.
    request.from_version = fields.text("from_version").parse().ok();
    (request, problems)
}

/// Where relative paths are meant from when nobody says: the home of the daemon's user.
fn base_dir() -> String {
    crate::config::home().map_or_else(|| "/".to_owned(), |home| home.display().to_string())
}
