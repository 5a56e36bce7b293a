//! What people do to the queue: add, move, block, approve, remove.

use super::{Entry, From, REMOVED, WRITE_TRIES, shown};
use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use agentwright_api::{
    FieldProblem, QueueAdd, QueueAdds, QueueChange, QueueImport, QueueItem, QueuePriority, code,
};
use agentwright_domain::ids::Slug;
use agentwright_queue::start::Standing;
use agentwright_queue::{Criterion, Item, Priority, file, item, window};
use agentwright_store::{IDEAS_MAX, Idea, OrgScope};

/// Changes a backlog: reads it, lets `change` make of it what it will, writes what came of it. Decided anew when
/// somebody else was first.
pub(crate) async fn write<T>(
    app: &App,
    scope: &OrgScope,
    mut change: impl FnMut(&mut Vec<Entry>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    for _ in 0..WRITE_TRIES {
        let backlog = app.store().backlog(scope).await?;
        let before = backlog.ideas.clone();
        let entries: Result<Vec<Entry>, ApiError> =
            backlog.ideas.into_iter().map(Entry::of).collect();
        let mut entries = entries?;
        let made = change(&mut entries)?;
        if entries.len() > IDEAS_MAX {
            let said = format!("the queue holds at most {IDEAS_MAX} items: remove what is done");
            return Err(ApiError::Conflict(code::CONFLICT, said));
        }
        let (put, removed) = differences(&before, &entries);
        if put.is_empty() && removed.is_empty() {
            return Ok(made);
        }
        if app
            .store()
            .write_backlog(scope, backlog.revision, &put, &removed)
            .await?
        {
            return Ok(made);
        }
    }
    Err(ApiError::Unavailable(
        code::BUSY,
        "the queue keeps changing: try again".into(),
    ))
}

/// What is to be written, and what is no longer there.
fn differences(before: &[Idea], after: &[Entry]) -> (Vec<Idea>, Vec<Slug>) {
    let known: std::collections::HashMap<&Slug, &Idea> =
        before.iter().map(|idea| (&idea.label, idea)).collect();
    let changed = |entry: &&Entry| known.get(entry.label()) != Some(&&entry.idea);
    let put = after
        .iter()
        .filter(changed)
        .map(|entry| entry.idea.clone())
        .collect();
    let there: std::collections::HashSet<&Slug> = after.iter().map(Entry::label).collect();
    let removed = before
        .iter()
        .map(|idea| &idea.label)
        .filter(|label| !there.contains(label));
    (put, removed.cloned().collect())
}

/// Adds items; all or none.
pub(crate) async fn add(app: &App, who: &Who, request: QueueAdds) -> Result<Vec<Slug>, ApiError> {
    let wrong: Vec<FieldProblem> = request
        .items
        .iter()
        .enumerate()
        .filter(|(_, add)| {
            add.start
                .as_deref()
                .is_some_and(|start| window::moment(start).is_none())
        })
        .map(|(at, _)| FieldProblem {
            at: format!("items[{at}].start"),
            problem: "must be a time such as 2026-02-07 09:00".to_owned(),
        })
        .collect();
    if !wrong.is_empty() {
        return Err(ApiError::Invalid(wrong));
    }
    let now_ms = app.now_ms();
    let of = From {
        base_dir: &request.base_dir,
        zone: &request.zone,
        now_ms,
    };
    write(app, &who.scope, |entries| {
        let mut labels = Vec::new();
        for add in &request.items {
            let taken = |label: &str| entries.iter().any(|entry| entry.label().as_str() == label);
            let label = match &add.label {
                Some(label) if taken(label.as_str()) => {
                    let said =
                        format!("the queue has an item {label} already: choose another label");
                    return Err(ApiError::Conflict(code::LABEL_TAKEN, said));
                }
                Some(label) => label.clone(),
                None => item::label(&add.name, taken),
            };
            labels.push(label.clone());
            let item = made(add, label, app.queue_zone(), now_ms);
            append(entries, item, &of);
        }
        Ok(labels)
    })
    .await
}

/// Adds the items of a file that are not done and not there yet.
pub(crate) async fn import(
    app: &App,
    who: &Who,
    request: QueueImport,
) -> Result<(Vec<Slug>, Vec<String>), ApiError> {
    let parsed = file::parse(&request.text);
    let problems = parsed.problems.iter().map(ToString::to_string).collect();
    let of = From {
        base_dir: &request.base_dir,
        zone: &request.zone,
        now_ms: app.now_ms(),
    };
    let labels = write(app, &who.scope, |entries| {
        let mut labels = Vec::new();
        for item in parsed.items.iter().filter(|item| !item.done) {
            if entries.iter().all(|entry| *entry.label() != item.label) {
                labels.push(item.label.clone());
                append(entries, item.clone(), &of);
            }
        }
        Ok(labels)
    })
    .await?;
    Ok((labels, problems))
}

pub(crate) fn append(entries: &mut Vec<Entry>, item: Item, of: &From<'_>) {
    let id = entries.iter().map(|entry| entry.idea.id).max().unwrap_or(0) + 1;
    let position = entries
        .iter()
        .map(|entry| entry.idea.position)
        .max()
        .unwrap_or(0)
        + 1;
    entries.push(Entry::new(item, id, position, of));
}

fn made(add: &QueueAdd, label: Slug, zone: &jiff::tz::TimeZone, now_ms: i64) -> Item {
    let mut item = Item::new(label, add.name.trim());
    item.priority = priority(add.priority);
    item.added = jiff::Timestamp::from_millisecond(now_ms).ok().map(|at| {
        at.to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M")
            .to_string()
    });
    item.start.clone_from(&add.start);
    item.description.clone_from(&add.description);
    let criterion = |text: &String| Criterion {
        text: text.clone(),
        done: false,
    };
    item.criteria = add.criteria.iter().map(criterion).collect();
    item.tech.clone_from(&add.tech);
    item.estimate.clone_from(&add.estimate);
    item.blockers.clone_from(&add.blockers);
    item.touches.clone_from(&add.touches);
    item
}

pub(crate) fn priority(of: QueuePriority) -> Priority {
    match of {
        QueuePriority::High => Priority::High,
        QueuePriority::Medium => Priority::Medium,
        QueuePriority::Low => Priority::Low,
    }
}

/// Finds an item by its label, or by the only name that makes it.
pub(crate) fn find(entries: &[Entry], text: &str) -> Result<usize, ApiError> {
    let there = |entry: &Entry| !entry.is_removed();
    let by_label = entries
        .iter()
        .position(|entry| there(entry) && entry.label().as_str() == text);
    let by_name = || {
        entries
            .iter()
            .position(|entry| there(entry) && entry.item.name.eq_ignore_ascii_case(text.trim()))
    };
    by_label
        .or_else(by_name)
        .ok_or_else(|| ApiError::no("item of the queue", text))
}

/// Changes one item.
pub(crate) async fn change(
    app: &App,
    who: &Who,
    text: &str,
    change: &QueueChange,
) -> Result<Slug, ApiError> {
    write(app, &who.scope, |entries| {
        let at = find(entries, text)?;
        let label = entries[at].label().clone();
        match change {
            QueueChange::Move { before } => {
                let to = before.as_ref().map(|before| find(entries, before.as_str())).transpose()?;
                moved(entries, at, to);
            }
            QueueChange::Block { by } => {
                let blockers = &mut entries[at].item.blockers;
                if !blockers.contains(by) {
                    blockers.push(by.clone());
                }
            }
            QueueChange::Unblock { by } => {
                let blockers = &mut entries[at].item.blockers;
                let count = blockers.len();
                blockers.retain(|known| by.as_ref().is_some_and(|by| !known.eq_ignore_ascii_case(by)));
                if let Some(by) = by
                    && blockers.len() == count
                {
                    let said = format!("{label} does not wait for {by:?}: agentwright why {label} lists what it waits for");
                    return Err(ApiError::Conflict(code::CONFLICT, said));
                }
            }
            QueueChange::Priority { to } => entries[at].item.priority = priority(*to),
            QueueChange::Approve {} => entries[at].idea.approved_by = Some(who.name.clone()),
            QueueChange::Fail {} => match entries[at].standing() {
                // Its build is ended by who calls: what is over then is no news to the next look.
                Standing::Building => {
                    let failures = entries[at].idea.failures + 1;
                    let at_ms = app.now_ms();
                    entries[at].stand(&Standing::Failed { failures, at_ms });
                }
                Standing::Queued | Standing::Failed { .. } | Standing::Done => {
                    let said = format!("{label} is not being built: there is nothing to end");
                    return Err(ApiError::Conflict(code::CONFLICT, said));
                }
            },
            QueueChange::Retry {} => match entries[at].standing() {
                Standing::Failed { .. } => entries[at].stand(&Standing::Queued),
                Standing::Queued | Standing::Building | Standing::Done => {
                    let said = format!("{label} did not fail: there is nothing to repeat");
                    return Err(ApiError::Conflict(code::CONFLICT, said));
                }
            },
        }
        entries.iter_mut().for_each(Entry::kept);
        Ok(label)
    })
    .await
}

/// Before another one, or to the end.
fn moved(entries: &mut [Entry], at: usize, before: Option<usize>) {
    let mut order: Vec<usize> = (0..entries.len()).filter(|one| *one != at).collect();
    let place = before.filter(|before| *before != at);
    let place = place.and_then(|before| order.iter().position(|one| *one == before));
    order.insert(place.unwrap_or(order.len()), at);
    for (position, one) in order.into_iter().enumerate() {
        entries[one].idea.position = i64::try_from(position).unwrap_or(i64::MAX);
    }
    entries.sort_by_key(|entry| entry.idea.position);
}

/// Removes an item. Where the file still has it, its row stays until the file has not.
pub(crate) async fn remove(app: &App, scope: &OrgScope, text: &str) -> Result<QueueItem, ApiError> {
    write(app, scope, |entries| {
        let at = find(entries, text)?;
        let mut item = shown::item(&entries[at], None, app.queue_zone());
        item.position = None;
        if entries[at].idea.agreed.is_some() {
            entries[at].idea.status = REMOVED.to_owned();
        } else {
            entries.remove(at);
        }
        Ok(item)
    })
    .await
}
