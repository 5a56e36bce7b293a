//! Costs with their limits, and insights.

use super::build::cost;
use super::frame::{Fields, Frame, html, html_as};
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Named, Query};
use crate::routes::spending;
use agentwright_api::{BuildStatus, Cost};
use agentwright_domain::principal::Role;
use agentwright_domain::run::RunStatus;
use agentwright_domain::spend::{Budget, BudgetScope};
use agentwright_pages::{Costs, CostsGiven, Finished, Insights, InsightsGiven};
use agentwright_store::{CostsBy, DAY_MS};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use garde::Validate;
use serde::Deserialize;

/// How far back a page looks when nothing is said, days.
const DAYS: u32 = 30;

#[derive(Clone, Debug, Deserialize, Validate)]
#[serde(default)]
pub(super) struct Back {
    #[garde(range(min = 1, max = 366))]
    days: u32,
    #[garde(length(max = 20))]
    did: String,
}

impl Default for Back {
    fn default() -> Self {
        Self {
            days: DAYS,
            did: String::new(),
        }
    }
}

pub(super) async fn costs(
    State(app): State<App>,
    frame: Frame,
    Query(back): Query<Back>,
) -> Result<Response, ApiError> {
    let mut given = given(&app, &frame, back.days).await?;
    given.said = (back.did == "save").then(|| "The limit is saved.".to_owned());
    html(&Costs::new(frame.shell(&app).await?, given))
}

async fn given(app: &App, frame: &Frame, days: u32) -> Result<CostsGiven, ApiError> {
    let from = first_day(app, days);
    let by = async |by| -> Result<Vec<Cost>, ApiError> {
        let rows = app.store().costs(&frame.who.scope, by, from, None).await?;
        Ok(rows.into_iter().map(cost).collect())
    };
    Ok(CostsGiven {
        days,
        by_day: dated(by(CostsBy::Day).await?),
        by_build: by(CostsBy::Build).await?,
        by_role: by(CostsBy::Role).await?,
        by_model: by(CostsBy::Model).await?,
        budgets: spending::now(app, &frame.who, None).await?.items,
        said: None,
        problem: None,
    })
}

/// Midnight, UTC, of the first of the last so many days.
fn first_day(app: &App, days: u32) -> i64 {
    (app.now_ms().div_euclid(DAY_MS) - i64::from(days) + 1) * DAY_MS
}

fn dated(mut costs: Vec<Cost>) -> Vec<Cost> {
    for cost in &mut costs {
        cost.key = spending::date(&cost.key);
    }
    costs
}

/// Sets all limits of one scope to what the form says.
pub(super) async fn set(
    State(app): State<App>,
    frame: Frame,
    Named(scope): Named,
    fields: Fields,
) -> Result<Response, ApiError> {
    frame.who.require(Role::Admin)?;
    let scope = BudgetScope::from_word(&scope).ok_or(ApiError::NoRoute)?;
    let before = app.store().budgets(&frame.who.scope, None).await?;
    let budget = match budget(&fields, before.get(scope)) {
        Ok(budget) => budget,
        Err(why) => {
            let mut given = given(&app, &frame, DAYS).await?;
            given.problem = Some(why);
            let page = Costs::new(frame.shell(&app).await?, given);
            return html_as(StatusCode::UNPROCESSABLE_ENTITY, &page);
        }
    };
    tracing::info!(
        by = frame.who.name,
        scope = scope.word(),
        ?budget,
        "budget set"
    );
    app.store()
        .set_budget(&frame.who.scope, scope, None, &budget, &frame.who.name)
        .await?;
    Ok(frame.onward("costs?did=save"))
}

/// The limits of a form; what the form does not have stays as it was.
fn budget(fields: &Fields, before: &Budget) -> Result<Budget, String> {
    let whole = |name: &str| -> Result<Option<i64>, String> {
        let Some(text) = fields.given(name) else {
            return Ok(None);
        };
        let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let number = plain.parse::<i64>().ok().filter(|number| *number >= 0);
        number.map(Some).ok_or_else(|| {
            format!("Nothing was saved: {name} must be a whole number, or empty; it was {text:?}.")
        })
    };
    let usd = match fields.given("usd") {
        None => None,
        Some(text) => Some(micro(&text).ok_or_else(|| {
            format!("Nothing was saved: US dollars must be an amount such as 5 or 2.50, or empty; it was {text:?}.")
        })?),
    };
    Ok(Budget {
        calls: whole("calls")?,
        tokens: whole("tokens")?,
        micro_usd: usd,
        wire_ms: before.wire_ms,
    })
}

/// Dollars as typed, in millionths.
fn micro(text: &str) -> Option<i64> {
    let text = text.trim().trim_start_matches('$').trim();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    let part = format!("{part:0<6}").parse::<i64>().ok()?;
    whole
        .parse::<i64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(part)
}

pub(super) async fn insights(
    State(app): State<App>,
    frame: Frame,
    Query(back): Query<Back>,
) -> Result<Response, ApiError> {
    let (store, scope) = (app.store(), &frame.who.scope);
    let from = first_day(&app, back.days);
    let ended = store.ended_since(scope, from).await?;
    let by_day = store.costs(scope, CostsBy::Day, from, None).await?;
    let given = InsightsGiven {
        days: back.days,
        finished: ended.into_iter().map(finished).collect(),
        by_day: dated(by_day.into_iter().map(cost).collect()),
    };
    html(&Insights::new(frame.shell(&app).await?, &given))
}

fn finished(row: agentwright_store::EndedRow) -> Finished {
    Finished {
        status: match row.status {
            RunStatus::Completed => BuildStatus::Completed,
            RunStatus::Failed => BuildStatus::Failed,
            RunStatus::Ready | RunStatus::Leased | RunStatus::Waiting | RunStatus::Cancelled => {
                BuildStatus::Cancelled
            }
        },
        stage: row.stage,
        ended_at_ms: row.ended_at_ms,
        worked_ms: row.worked_ms,
        repairs: u32::try_from(row.generated.saturating_sub(1).max(0)).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::micro;

    #[test]
    fn dollars_are_read_as_people_type_them() {
        for (text, value) in [
            ("5", Some(5_000_000)),
            ("$2.50", Some(2_500_000)),
            ("0.000001", Some(1)),
            ("", None),
            ("-1", None),
            ("1.0000001", None),
            ("five", None),
            ("99999999999999", None),
        ] {
            assert_eq!(micro(text), value, "{text}");
        }
    }
}
