//! Home, the list of builds, the inbox.

use super::asks::waiting;
use super::frame::{Frame, html};
use crate::app::App;
use crate::deployed;
use crate::error::ApiError;
use crate::extract::Query;
use crate::view;
use agentwright_api::{BuildStatus, BuildSummary};
use agentwright_domain::ids::RunId;
use agentwright_domain::run::{RunKind, RunStatus};
use agentwright_domain::spend::BudgetScope;
use agentwright_pages::{Approvals, Builds, BuildsQuery, Home, HomeGiven};
use agentwright_store::{CostsBy, DAY_MS, Order, RunFilter, Search};
use axum::extract::State;
use axum::response::Response;
use garde::Validate;
use serde::Deserialize;

/// Builds of each kind on home.
const HOME_MAX: u32 = 8;
/// Builds that run at once are few; so many are shown.
const RUNNING_MAX: u32 = 50;
/// Builds in one page of the list.
const PAGE: u32 = 50;
/// How many pages a list looks through for a status that is not stored as such.
const PAGES_MAX: u32 = 20;
/// How far back a failure is news.
const FAILED_DAYS: i64 = 7;

pub(super) async fn home(State(app): State<App>, frame: Frame) -> Result<Response, ApiError> {
    let scope = &frame.who.scope;
    let of = async |status: RunStatus, limit: u32| -> Result<Vec<BuildSummary>, ApiError> {
        let filter = RunFilter {
            kind: Some(RunKind::Build),
            status: Some(status),
            limit,
            ..RunFilter::default()
        };
        let rows = app.store().runs(scope, filter).await?;
        Ok(rows.into_iter().map(view::summary).collect())
    };
    let (asks, spent) = waiting(&app, &frame).await?;
    let mut running = of(RunStatus::Leased, RUNNING_MAX).await?;
    running.extend(of(RunStatus::Ready, RUNNING_MAX).await?);
    let mut failed = of(RunStatus::Failed, HOME_MAX).await?;
    let now = app.now_ms();
    let news = |at_ms: i64| at_ms >= now - FAILED_DAYS * DAY_MS;
    failed.retain(|build| build.ended_at.is_none_or(|at| news(at.as_ms())));
    let today = now.div_euclid(DAY_MS) * DAY_MS;
    let costs = app.store().costs(scope, CostsBy::Day, today, None).await?;
    let budgets = app.store().budgets(scope, None).await?;
    let given = HomeGiven {
        waiting: asks,
        spent,
        running,
        failed,
        completed: of(RunStatus::Completed, HOME_MAX).await?,
        deployments: deployed::all(&app, &frame.who).await?.items,
        today_micro_usd: costs.iter().map(|cost| cost.micro_usd).sum(),
        today_limit_micro_usd: budgets.get(BudgetScope::Day).micro_usd,
        today_calls: costs.iter().map(|cost| cost.calls).sum(),
    };
    html(&Home::new(frame.shell(&app).await?, given))
}

pub(super) async fn approvals(State(app): State<App>, frame: Frame) -> Result<Response, ApiError> {
    let (asks, _) = waiting(&app, &frame).await?;
    html(&Approvals::new(frame.shell(&app).await?, asks))
}

/// The query of the list. An empty value is none: forms send all their fields.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default)]
pub(super) struct ListQuery {
    #[garde(length(max = 20))]
    status: String,
    #[garde(length(chars, max = 200))]
    q: String,
    #[garde(length(max = 20))]
    sort: String,
    #[garde(length(max = 64))]
    before: String,
}

pub(super) async fn builds(
    State(app): State<App>,
    frame: Frame,
    Query(asked): Query<ListQuery>,
) -> Result<Response, ApiError> {
    let query = BuildsQuery {
        status: STATUSES
            .into_iter()
            .find(|status| status.word() == asked.status),
        search: asked.q.trim().to_owned(),
        oldest: asked.sort == "oldest",
        later_page: !asked.before.is_empty(),
    };
    let mut search = Search {
        words: query.search.clone(),
        status: query.status.map(view::stored),
        order: if query.oldest {
            Order::Oldest
        } else {
            Order::Newest
        },
        after: query.later_page.then(|| RunId::new(asked.before)),
        limit: PAGE,
    };
    let (mut found, mut next) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let rows = app.store().search_builds(&frame.who.scope, &search).await?;
        let full = u32::try_from(rows.len()) == Ok(PAGE);
        next = rows.last().map(|row| row.id.clone()).filter(|_| full);
        let fitting = rows.into_iter().map(view::summary);
        found.extend(fitting.filter(|row| query.status.is_none_or(|status| status == row.status)));
        if next.is_none() || found.len() * 2 > PAGE as usize {
            break;
        }
        search.after.clone_from(&next);
    }
    let next = next.as_ref().map(RunId::as_str);
    html(&Builds::new(frame.shell(&app).await?, query, found, next))
}

const STATUSES: [BuildStatus; 8] = [
    BuildStatus::Queued,
    BuildStatus::Running,
    BuildStatus::Resuming,
    BuildStatus::Waiting,
    BuildStatus::Completed,
    BuildStatus::Failed,
    BuildStatus::Rejected,
    BuildStatus::Cancelled,
];
