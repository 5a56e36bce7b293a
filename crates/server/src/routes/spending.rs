//! Costs and budgets.

use crate::app::App;
use crate::auth::{Trail, digest};
use crate::error::ApiError;
use crate::extract::{Body, Named, Query, Who};
use crate::find;
use agentwright_api::{BudgetNow, BudgetQuery, Cost, CostQuery, CostsBy, Page, SetBudget, Time};
use agentwright_domain::principal::Role;
use agentwright_domain::run::{Run, RunKind};
use agentwright_domain::spend::BudgetScope;
use agentwright_store::{CostRow, DAY_MS};
use axum::Json;
use axum::extract::State;

pub(crate) async fn costs(
    State(app): State<App>,
    who: Who,
    Query(query): Query<CostQuery>,
) -> Result<Json<Page<Cost>>, ApiError> {
    let run = named(&app, &who, query.build.as_deref()).await?;
    let from_ms = match query.days {
        Some(days) => app.store().now_ms().await? - i64::from(days) * DAY_MS,
        None => 0,
    };
    let by = match query.by {
        CostsBy::Build => agentwright_store::CostsBy::Build,
        CostsBy::Day => agentwright_store::CostsBy::Day,
        CostsBy::Role => agentwright_store::CostsBy::Role,
        CostsBy::Model => agentwright_store::CostsBy::Model,
    };
    let id = run.as_ref().map(|run| &run.id);
    let rows = app.store().costs(&who.scope, by, from_ms, id).await?;
    let items = rows.into_iter().map(|row| cost(row, query.by)).collect();
    Ok(Json(Page { items, next: None }))
}

fn cost(row: CostRow, by: CostsBy) -> Cost {
    let key = match by {
        CostsBy::Day => date(&row.key),
        CostsBy::Build | CostsBy::Role | CostsBy::Model => row.key,
    };
    Cost {
        key,
        calls: row.calls,
        input_tokens: row.input_tokens,
        output_tokens: row.output_tokens,
        cache_read_tokens: row.cache_read_tokens,
        cache_write_tokens: row.cache_write_tokens,
        micro_usd: row.micro_usd,
        unpriced: row.unpriced,
        reserved_micro_usd: row.reserved_micro_usd,
    }
}

/// The date of a number of days since 1970.
pub(crate) fn date(days: &str) -> String {
    let ms = days.parse::<i64>().unwrap_or(0).saturating_mul(DAY_MS);
    Time::from_ms(ms).to_string().chars().take(10).collect()
}

pub(crate) async fn budgets(
    State(app): State<App>,
    who: Who,
    Query(query): Query<BudgetQuery>,
) -> Result<Json<Page<BudgetNow>>, ApiError> {
    let run = named(&app, &who, query.build.as_deref()).await?;
    now(&app, &who, run.as_ref()).await.map(Json)
}

pub(crate) async fn set(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(scope): Named,
    Body(request): Body<SetBudget>,
) -> Result<Json<Page<BudgetNow>>, ApiError> {
    who.require(Role::Admin)?;
    let scope = BudgetScope::from_word(&scope).ok_or_else(|| {
        ApiError::NotFound(format!(
            "there is no budget {scope:?}; it is organization, day, build or stage"
        ))
    })?;
    let run = named(&app, &who, request.build.as_deref()).await?;
    let id = run.as_ref().map(|run| &run.id);
    tracing::info!(by = who.name, scope = scope.word(), budget = ?request.budget, build = ?id, "budget set");
    let before = *app.store().budgets(&who.scope, id).await?.get(scope);
    app.store()
        .set_budget(&who.scope, scope, id, &request.budget, &who.name)
        .await?;
    let target = id.map_or_else(
        || scope.word().to_owned(),
        |id| format!("{} of {id}", scope.word()),
    );
    trail.says(&target, digest(&before), digest(&request.budget));
    now(&app, &who, run.as_ref()).await.map(Json)
}

async fn named(app: &App, who: &Who, build: Option<&str>) -> Result<Option<Run>, ApiError> {
    Ok(match build {
        Some(id) => Some(find::run(app, who, RunKind::Build, id).await?),
        None => None,
    })
}

/// The budgets as they are, with what is used of them.
pub(crate) async fn now(
    app: &App,
    who: &Who,
    run: Option<&Run>,
) -> Result<Page<BudgetNow>, ApiError> {
    let budgets = app
        .store()
        .budgets(&who.scope, run.map(|run| &run.id))
        .await?;
    let mut items = Vec::new();
    for scope in BudgetScope::ALL {
        let of_all = matches!(scope, BudgetScope::Organization | BudgetScope::Day);
        let spent = match run {
            Some(run) => {
                let stage = run.state.stage();
                let spent = app.store().spent(&who.scope, scope, Some(&run.id), stage);
                Some(spent.await?)
            }
            None if of_all => Some(app.store().spent(&who.scope, scope, None, "").await?),
            None => None,
        };
        items.push(BudgetNow {
            scope,
            budget: *budgets.get(scope),
            spent,
        });
    }
    Ok(Page { items, next: None })
}
