//! Which items that say too little by themselves a foundation covers all the same.

use super::{Entry, shown};
use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use crate::planned;
use agentwright_api::{PlanRequest, PlanVerdict};
use agentwright_domain::ids::{OrganizationId, Slug};
use agentwright_queue::needs::{Understood, missing};
use agentwright_queue::start::Standing;
use std::collections::{HashMap, HashSet};
use tokio::sync::Mutex;

/// Sentences that are planned at one look. Where more items wait they take turns, so that each is seen.
const PLANS_MAX: usize = 50;

/// What earlier looks came to.
#[derive(Default)]
pub(crate) struct Plans {
    kept: Mutex<HashMap<OrganizationId, HashMap<Slug, Kept>>>,
}

struct Kept {
    asked: PlanRequest,
    covered: bool,
    /// The look that planned it, counted.
    look: u64,
}

/// The items that lack something and whose sentence a foundation covers.
pub(super) async fn look(app: &App, who: &Who) -> Result<HashSet<Slug>, ApiError> {
    let entries = shown::entries(app, &who.scope).await?;
    let vague: Vec<(&Slug, PlanRequest)> = entries
        .iter()
        .filter(|entry| vague(entry))
        .map(|entry| (entry.label(), request(entry)))
        .collect();
    let mut kept = app.surroundings().plans.kept.lock().await;
    let kept = kept.entry(who.scope.organization().clone()).or_default();
    let asked: HashMap<&Slug, &PlanRequest> =
        vague.iter().map(|(label, it)| (*label, it)).collect();
    kept.retain(|label, kept| asked.get(label).is_some_and(|asked| **asked == kept.asked));
    let now = kept.values().map(|kept| kept.look).max().unwrap_or(0) + 1;
    for (label, request) in turn(kept, &vague) {
        let planned = planned::plan(app, who, request.clone()).await;
        let covered = match planned {
            Ok(plan) => plan.verdict == PlanVerdict::Ready,
            Err(error) => {
                tracing::debug!(?error, %label, "cannot be planned");
                false
            }
        };
        let asked = request.clone();
        let look = now;
        kept.insert(
            (*label).clone(),
            Kept {
                asked,
                covered,
                look,
            },
        );
    }
    let covered = kept.iter().filter(|(_, kept)| kept.covered);
    Ok(covered.map(|(label, _)| label.clone()).collect())
}

/// Whose turn it is: those that were never planned first, then those whose plan is the oldest.
fn turn<'a, 'v>(
    kept: &HashMap<Slug, Kept>,
    vague: &'v [(&'a Slug, PlanRequest)],
) -> Vec<&'v (&'a Slug, PlanRequest)> {
    let mut turn: Vec<&(&Slug, PlanRequest)> = vague.iter().collect();
    turn.sort_by_key(|(label, _)| kept.get(*label).map_or(0, |kept| kept.look));
    turn.truncate(PLANS_MAX);
    turn
}

/// Whether only its words keep it from starting.
fn vague(entry: &Entry) -> bool {
    let waits = match entry.standing() {
        Standing::Queued | Standing::Failed { .. } => !entry.item.done,
        Standing::Building | Standing::Done => false,
    };
    waits && !entry.is_removed() && !missing(&entry.item, Understood::No).is_empty()
}

fn request(entry: &Entry) -> PlanRequest {
    PlanRequest {
        intent: sentence(entry),
        base_dir: entry.idea.base_dir.clone(),
        zone: entry.idea.zone.clone(),
        ..PlanRequest::default()
    }
}

/// What a build of it is asked for, in the words that a foundation may cover.
pub(super) fn sentence(entry: &Entry) -> String {
    entry
        .item
        .description
        .clone()
        .unwrap_or_else(|| entry.item.name.clone())
}
