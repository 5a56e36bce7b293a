//! What people are told about the queue besides its builds' own notices: an answer that asks for them, a look that was
//! missed. Each has an id made from what it tells of, so that it is told once, over restarts too.

use super::Entry;
use crate::app::App;
use crate::error::ApiError;
use agentwright_api::{QueueItem, Time};
use agentwright_domain::build::Phase;
use agentwright_domain::run::{Notice, RunState};
use agentwright_queue::start::{Decision, Reason};
use agentwright_store::{OrgScope, Told};

/// Looks within which an answer is told.
const TOLD_IN: i64 = 3;
/// Failed builds of an item that are told with why they failed.
const TRIED_MAX: usize = 6;

/// Tells of every item whose newest answer asks for a person.
pub(crate) async fn answers(
    app: &App,
    scope: &OrgScope,
    items: &[QueueItem],
) -> Result<(), ApiError> {
    for item in items {
        let Some(why) = &item.why else { continue };
        let Ok(Decision::Hold(reason)) = serde_json::from_value(why.detail.clone()) else {
            continue;
        };
        // An answer that stays the same was told: it is tried a few times, for a crash may lie between.
        if !reason.asks_a_person() || why.looks > TOLD_IN {
            continue;
        }
        let told = Told {
            id: format!("queue-{}-{}", item.label, why.since.as_ms()),
            run: item.build.clone().filter(|_| is_of_its_build(&reason)),
            notice: Notice {
                topic: format!("queue.{}", reason.word()),
                title: format!("{} does not start: {}", item.label, reason.word()),
                body: body(app, scope, item, &reason).await?,
            },
        };
        app.store().tell(scope, &told).await?;
    }
    Ok(())
}

fn is_of_its_build(reason: &Reason) -> bool {
    matches!(reason, Reason::Escalated { .. })
}

async fn body(
    app: &App,
    scope: &OrgScope,
    item: &QueueItem,
    reason: &Reason,
) -> Result<String, ApiError> {
    let label = &item.label;
    let mut lines = vec![reason.words(app.queue_zone())];
    match reason {
        Reason::Risk { .. } => lines.push(format!(
            "Say yes to its start: agentwright queue approve {label}"
        )),
        Reason::Escalated { .. } => {
            lines.extend(tried(app, scope, item).await?);
            lines.push(format!("Build it again: agentwright queue retry {label}"));
        }
        Reason::Vague { .. } | Reason::Unreadable { .. } => {
            lines.push(format!(
                "Say more, in the queue's file or anew. See it: agentwright why {label}"
            ));
        }
        _ => lines.push(format!("See it: agentwright why {label}")),
    }
    Ok(lines.join("\n"))
}

/// Why each build of it failed, the newest first.
async fn tried(app: &App, scope: &OrgScope, item: &QueueItem) -> Result<Vec<String>, ApiError> {
    let mut lines = Vec::new();
    let mut next = item.build.clone();
    while let Some(id) = next.take() {
        let Some(run) = app.store().run(scope, &id).await? else {
            break;
        };
        if let RunState::Build(state) = &run.state {
            match &state.phase {
                Phase::Failed { stage, reason, .. } => {
                    lines.push(format!("- failed at {}: {reason}", stage.word()));
                }
                Phase::Cancelled { by, reason } => {
                    lines.push(format!("- ended by {by}: {reason}"));
                }
                Phase::Rejected { by, .. } => lines.push(format!("- rejected by {by}")),
                Phase::Stage { .. }
                | Phase::Gate { .. }
                | Phase::Spent { .. }
                | Phase::Completed { .. } => {}
            }
        }
        if lines.len() < TRIED_MAX {
            next = run.repeats;
        }
    }
    Ok(lines)
}

/// Tells when the queue was not looked at for long: the daemon was away, or the machine slept.
pub(crate) async fn missed(app: &App, scope: &OrgScope, entries: &[Entry]) -> Result<(), ApiError> {
    let every_ms = every_ms(app);
    let Some(last) = app.store().looks(scope).await?.into_iter().next() else {
        return Ok(());
    };
    let silent_ms = app.now_ms() - last.at_ms;
    let waits = entries.iter().any(|entry| !entry.item.done);
    if silent_ms <= every_ms.saturating_mul(super::shown::LATE) || !waits {
        return Ok(());
    }
    let told = Told {
        id: format!("missed-{}", last.at_ms),
        run: None,
        notice: Notice {
            topic: "queue.missed".to_owned(),
            title: format!(
                "The queue was not looked at for {} minutes",
                silent_ms / 60_000
            ),
            body: format!(
                "The last look was at {}. The daemon was away, or the machine slept; everything that was due is looked at now.",
                Time::from_ms(last.at_ms)
            ),
        },
    };
    app.store().tell(scope, &told).await?;
    Ok(())
}

/// Between two looks, ms.
pub(crate) fn every_ms(app: &App) -> i64 {
    i64::try_from(
        app.config()
            .settings
            .queue
            .heartbeat_s
            .saturating_mul(1_000),
    )
    .unwrap_or(i64::MAX)
}
