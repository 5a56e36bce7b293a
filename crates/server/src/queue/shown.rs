//! The queue as others see it.

use super::{Entry, edit, progress};
use crate::app::App;
use crate::error::ApiError;
use agentwright_api::{
    Heartbeat, HeartbeatLook, QueueItem, QueuePriority, QueueSuggestion, QueueWhy, Time,
};
use agentwright_domain::ids::Slug;
use agentwright_queue::Priority;
use agentwright_queue::learn::History;
use agentwright_queue::start::{Decision, Standing};
use agentwright_store::{OrgScope, Receipt};
use jiff::tz::TimeZone;
use std::collections::HashMap;

/// A look is late after so many times its interval.
pub(super) const LATE: i64 = 2;

/// Everything that is in the queue, in its order.
pub(crate) async fn entries(app: &App, scope: &OrgScope) -> Result<Vec<Entry>, ApiError> {
    let ideas = app.store().backlog(scope).await?.ideas;
    let entries: Result<Vec<Entry>, ApiError> = ideas.into_iter().map(Entry::of).collect();
    Ok(entries?
        .into_iter()
        .filter(|entry| !entry.is_removed())
        .collect())
}

/// One entry, where it is there.
pub(crate) async fn entry(
    app: &App,
    scope: &OrgScope,
    label: &Slug,
) -> Result<Option<Entry>, ApiError> {
    let mut entries = entries(app, scope).await?;
    let at = entries.iter().position(|entry| entry.label() == label);
    Ok(at.map(|at| entries.swap_remove(at)))
}

/// All items with their newest answers.
pub(crate) async fn items(app: &App, scope: &OrgScope) -> Result<Vec<QueueItem>, ApiError> {
    listed(app, scope, |_| History::default()).await
}

/// The same with the priorities that like items had, for whoever may set them.
pub(crate) async fn suggested(app: &App, scope: &OrgScope) -> Result<Vec<QueueItem>, ApiError> {
    let history = |entries: &[Entry]| History::of(entries.iter().map(|entry| &entry.item));
    listed(app, scope, history).await
}

async fn listed(
    app: &App,
    scope: &OrgScope,
    history: impl FnOnce(&[Entry]) -> History,
) -> Result<Vec<QueueItem>, ApiError> {
    let receipts = app.store().newest_receipts(scope).await?;
    let newest: HashMap<String, Receipt> = receipts
        .into_iter()
        .map(|one| (one.label.clone(), one))
        .collect();
    let entries = entries(app, scope).await?;
    let built = entries
        .iter()
        .filter(|entry| entry.standing() == Standing::Building);
    let built = built.filter_map(|entry| entry.idea.run.clone()).collect();
    let mut stand = progress::of(app, scope, built).await?;
    let history = history(&entries);
    let mut place = 0;
    let shown = entries.into_iter().map(|entry| {
        let mut item = item(&entry, newest.get(entry.label().as_str()), app.queue_zone());
        let stands = item.build.as_ref().and_then(|run| stand.remove(run));
        item.progress = stands.map(|stands| stands.progress);
        if matches!(entry.standing(), Standing::Queued | Standing::Failed { .. }) {
            item.suggestion = history.suggest(&entry.item).map(|it| QueueSuggestion {
                priority: priority(it.priority),
                words: it.words(),
            });
        }
        if entry.standing() != Standing::Done {
            place += 1;
            item.position = Some(place);
        }
        item
    });
    Ok(shown.collect())
}

/// Some of them, in the order of the labels.
pub(crate) async fn some(
    app: &App,
    scope: &OrgScope,
    labels: &[Slug],
) -> Result<Vec<QueueItem>, ApiError> {
    let mut all: HashMap<Slug, QueueItem> = suggested(app, scope)
        .await?
        .into_iter()
        .map(|item| (item.label.clone(), item))
        .collect();
    Ok(labels
        .iter()
        .filter_map(|label| all.remove(label))
        .collect())
}

/// One of them.
pub(crate) async fn one(app: &App, scope: &OrgScope, label: &Slug) -> Result<QueueItem, ApiError> {
    let mut found = some(app, scope, std::slice::from_ref(label)).await?;
    found
        .pop()
        .ok_or_else(|| ApiError::no("item of the queue", label.as_str()))
}

/// One with all its answers.
pub(crate) async fn why(app: &App, scope: &OrgScope, text: &str) -> Result<QueueWhy, ApiError> {
    let entries = entries(app, scope).await?;
    let label = entries[edit::find(&entries, text)?].label().clone();
    let receipts = app.store().receipts(scope, &label).await?;
    Ok(QueueWhy {
        item: one(app, scope, &label).await?,
        receipts: receipts
            .iter()
            .map(|one| receipt(one, app.queue_zone()))
            .collect(),
    })
}

/// An item on the wire.
pub(crate) fn item(entry: &Entry, newest: Option<&Receipt>, zone: &TimeZone) -> QueueItem {
    let (idea, item) = (&entry.idea, &entry.item);
    QueueItem {
        label: idea.label.clone(),
        name: item.name.clone(),
        description: item.description.clone(),
        priority: priority(item.priority),
        status: match entry.standing() {
            Standing::Queued => "queued",
            Standing::Building if idea.builder_status == "awaiting_approval" => "awaiting_approval",
            Standing::Building => "building",
            Standing::Failed { .. } => "failed",
            Standing::Done => "done",
        }
        .to_owned(),
        position: None,
        blockers: item.blockers.clone(),
        start: item.start.clone(),
        approved_by: idea.approved_by.clone(),
        build: idea.run.clone(),
        failures: idea.failures,
        why: newest.map(|one| receipt(one, zone)),
        progress: None,
        suggestion: None,
    }
}

fn priority(of: Priority) -> QueuePriority {
    match of {
        Priority::High => QueuePriority::High,
        Priority::Medium => QueuePriority::Medium,
        Priority::Low => QueuePriority::Low,
    }
}

pub(super) fn receipt(one: &Receipt, zone: &TimeZone) -> agentwright_api::Receipt {
    agentwright_api::Receipt {
        decision: one.decision.clone(),
        words: words(&one.detail, zone),
        detail: one.detail.clone(),
        since: Time::from_ms(one.first_at_ms),
        last: Time::from_ms(one.last_at_ms),
        looks: one.looks,
    }
}

/// A kept decision in a sentence.
fn words(detail: &serde_json::Value, zone: &TimeZone) -> String {
    match serde_json::from_value::<Decision>(detail.clone()) {
        Ok(Decision::Start) => "it started".to_owned(),
        Ok(Decision::Hold(reason)) => reason.words(zone),
        // Of another version.
        Err(_) => detail.to_string(),
    }
}

/// The heartbeat's settings and last looks.
pub(crate) async fn heartbeat(app: &App, scope: &OrgScope) -> Result<Heartbeat, ApiError> {
    let settings = &app.config().settings.queue;
    let looks = app.store().looks(scope).await?;
    let every_ms = i64::try_from(settings.heartbeat_s * 1_000).unwrap_or(i64::MAX);
    let late = looks
        .first()
        .is_some_and(|look| app.now_ms() - look.at_ms > every_ms.saturating_mul(LATE));
    let zone = app.queue_zone().iana_name().unwrap_or("UTC").to_owned();
    Ok(Heartbeat {
        every_s: settings.heartbeat_s,
        off_hours: [
            settings.off_hours_from.clone(),
            settings.off_hours_to.clone(),
            zone,
        ],
        limit: settings.limit,
        late,
        looks: looks
            .into_iter()
            .map(|look| HeartbeatLook {
                at: Time::from_ms(look.at_ms),
                cause: look.cause,
                items: look.items,
                started: look.started,
            })
            .collect(),
    })
}
