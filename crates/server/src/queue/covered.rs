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
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sentences that are planned at one look. Where more items wait they take turns, so that each is seen.
const PLANS_MAX: usize = 50;

/// Organizations whose plans are remembered; beyond it all are made anew.
const ORGANIZATIONS_MAX: usize = 256;

/// What earlier looks came to.
#[derive(Default)]
pub(crate) struct Plans {
    kept: Mutex<HashMap<OrganizationId, HashMap<Slug, Kept>>>,
}

impl Plans {
    fn lock(&self) -> MutexGuard<'_, HashMap<OrganizationId, HashMap<Slug, Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    let vague: HashMap<&Slug, PlanRequest> = entries
        .iter()
        .filter(|entry| vague(entry))
        .map(|entry| (entry.label(), request(entry)))
        .collect();
    // Two looks at once plan the same twice, and the later one's plans are kept.
    let plans = &app.surroundings().plans;
    let kept = plans.lock().remove(who.scope.organization());
    let mut kept = kept.unwrap_or_default();
    kept.retain(|label, kept| vague.get(label) == Some(&kept.asked));
    let look = kept.values().map(|kept| kept.look).max().unwrap_or(0) + 1;
    for label in turn(&kept, &vague) {
        let asked = vague[label].clone();
        let covered = match planned::plan(app, who, asked.clone()).await {
            Ok(plan) => plan.verdict == PlanVerdict::Ready,
            Err(error) => {
                tracing::debug!(?error, %label, "cannot be planned");
                false
            }
        };
        let planned = Kept {
            asked,
            covered,
            look,
        };
        kept.insert(label.clone(), planned);
    }
    let covered = kept.iter().filter(|(_, kept)| kept.covered);
    let covered = covered.map(|(label, _)| label.clone()).collect();
    let mut all = plans.lock();
    if all.len() >= ORGANIZATIONS_MAX {
        all.clear();
    }
    if !kept.is_empty() {
        all.insert(who.scope.organization().clone(), kept);
    }
    Ok(covered)
}

/// Whose turn it is: those that were never planned first, then those whose plan is the oldest.
fn turn<'v>(kept: &HashMap<Slug, Kept>, vague: &HashMap<&'v Slug, PlanRequest>) -> Vec<&'v Slug> {
    let mut turn: Vec<&Slug> = vague.keys().copied().collect();
    turn.sort_by_key(|label| (kept.get(*label).map_or(0, |kept| kept.look), *label));
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
