//! One build's page.

use super::frame::{Frame, html};
use super::{asks, files};
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Named, Query};
use crate::queue::watch::Watched;
use crate::view;
use crate::{find, show};
use agentwright_api::{BuildStatus, Cost, ShowQuery, Time, View};
use agentwright_domain::run::{Run, RunKind};
use agentwright_pages::{BuildGiven, BuildPage};
use agentwright_store::CostsBy;
use axum::extract::State;
use axum::response::Response;
use garde::Validate;
use serde::Deserialize;

/// Events in the log of the page, the newest; all of them are in the API.
const EVENTS_MAX: i64 = 400;

/// What the person did a moment ago.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default)]
pub(super) struct Did {
    #[garde(length(max = 20))]
    did: String,
}

impl Did {
    fn said(&self) -> Option<String> {
        let text = match self.did.as_str() {
            "approve" => "You approved it. It goes on.",
            "reject" => "You rejected it. It has ended, and nothing was deployed.",
            "cancel" => "It is cancelled.",
            "resume" => "It goes on.",
            "submit" => "It is submitted. This page follows it; you can leave and come back.",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

pub(super) async fn page(
    State(app): State<App>,
    frame: Frame,
    Named(id): Named,
    Query(did): Query<Did>,
) -> Result<Response, ApiError> {
    let run = find::run(&app, &frame.who, RunKind::Build, &id).await?;
    let mut given = given(&app, &frame, &run).await?;
    given.said = did.said();
    html(&BuildPage::new(frame.shell(&app).await?, given))
}

/// Everything that the page shows.
pub(super) async fn given(app: &App, frame: &Frame, run: &Run) -> Result<BuildGiven, ApiError> {
    let (store, scope) = (app.store(), &frame.who.scope);
    let query = ShowQuery {
        view: View::Full,
        ..ShowQuery::default()
    };
    let detail = show::build(app, &frame.who, run.id.as_str(), &query).await?;
    let after = (detail.seq - EVENTS_MAX).max(0);
    let limit = u32::try_from(EVENTS_MAX).unwrap_or(u32::MAX);
    let events = store.events(scope, &run.id, after, limit).await?;
    let row = store.run_row(scope, &run.id).await?;
    let queued = detail.build.status() == BuildStatus::Queued;
    let not_before = row.and_then(|row| row.not_before_ms);
    let costs = store.costs(scope, CostsBy::Role, 0, Some(&run.id)).await?;
    let made_by = detail.build.deploys.as_ref().unwrap_or(&run.id);
    let steps = files::steps(app, made_by).await;
    let facts = view::build_parts(run).map(|(state, _)| &state.facts);
    let whole = facts.is_some_and(|facts| {
        facts.code.is_some() && facts.code == facts.reviewed && facts.code == facts.verified
    });
    let done = detail.build.status() == BuildStatus::Completed;
    Ok(BuildGiven {
        ask: asks::ask(app, frame, run).await?,
        events: events.into_iter().map(view::event).collect(),
        costs: costs.into_iter().map(cost).collect(),
        steps,
        not_before: not_before
            .filter(|at| queued && *at > app.now_ms())
            .map(Time::from_ms),
        stalled: match app.watching().of(&run.id) {
            Watched { verdict, because } if ["hung", "looping"].contains(&verdict) => because,
            Watched { .. } => None,
        },
        coder: facts.and_then(|facts| facts.coder.clone()),
        said: None,
        problem: None,
        deployable: done && whole && detail.build.deployed.is_none(),
        detail,
    })
}

pub(super) fn cost(row: agentwright_store::CostRow) -> Cost {
    Cost {
        key: row.key,
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
