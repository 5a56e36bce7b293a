//! One look at the queue: where its builds stand, what starts, and an answer for every item.

use super::around::{self, Around};
use super::covered::{self, sentence};
use super::{Entry, edit, shown, tell};
use crate::app::App;
use crate::auth::Trail;
use crate::error::ApiError;
use crate::extract::Who;
use crate::planned;
use crate::submit;
use agentwright_api::{Beat, BeatMode, CreateBuild, PlanRequest, PlanVerdict, Time};
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::principal::{KeyKind, Principal, Role};
use agentwright_domain::run::{Run, RunKind, RunStatus};
use agentwright_queue::needs::{Understood, estimate_ms};
use agentwright_queue::start::{
    Assessment, Candidate, Decision, RETRIES, Reason, Running, Standing, Started, World, known,
    tick,
};
use agentwright_store::{Answer, Look, OrgScope, RunFilter};
use std::collections::{HashMap, HashSet};

/// Who submits: a program, which can approve nothing.
const NAME: &str = "the queue";

/// Looks at the queue of an organization. With [`BeatMode::Check`] nothing is written and nothing starts.
pub(crate) async fn beat(
    app: &App,
    scope: &OrgScope,
    cause: &str,
    mode: BeatMode,
) -> Result<Beat, ApiError> {
    let who = queue(scope);
    let around = around::look(app, scope).await?;
    let foundations = covered::look(app, &who).await?;
    let runs = under_way(app, scope).await?;
    let ends = ended(app, scope).await?;
    let now_ms = app.now_ms();
    let look = |entries: &mut Vec<Entry>| {
        look(
            app,
            entries,
            &Seen {
                runs: &runs,
                ends: &ends,
                foundations: &foundations,
                around: &around,
            },
            now_ms,
        )
    };
    let (answers, starts) = match mode {
        BeatMode::Check => look(&mut shown::entries(app, scope).await?),
        BeatMode::Start => edit::write(app, scope, |entries| Ok(look(entries))).await?,
    };
    if mode == BeatMode::Start {
        for start in &starts {
            // Kept before it is submitted: a crash in between is made good by the next look, under the same id.
            submit(app, &who, start).await;
        }
        let look = Look {
            at_ms: now_ms,
            cause: cause.to_owned(),
            items: u32::try_from(answers.len()).unwrap_or(u32::MAX),
            started: u32::try_from(starts.len()).unwrap_or(u32::MAX),
        };
        tell::missed(app, scope, &shown::entries(app, scope).await?).await?;
        app.store().write_look(scope, &look, &answers).await?;
    }
    let items = shown::items(app, scope).await?;
    if mode == BeatMode::Start {
        tell::answers(app, scope, &items).await?;
    }
    Ok(Beat {
        at: Time::from_ms(now_ms),
        started: starts.into_iter().map(|start| start.label).collect(),
        items,
    })
}

/// Who asks for what the queue starts.
pub(crate) fn queue(scope: &OrgScope) -> Who {
    Who {
        name: NAME.to_owned(),
        scope: scope.clone(),
        role: Role::Operator,
        principal: Principal::Key {
            id: "queue".to_owned(),
            kind: KeyKind::Agent,
        },
        trail: Trail::named("queue.start"),
    }
}

/// What is known around a look.
struct Seen<'a> {
    /// Builds that have not ended.
    runs: &'a [UnderWay],
    /// How the builds of items stand.
    ends: &'a HashMap<Slug, Stands>,
    /// Items that a foundation covers.
    foundations: &'a HashSet<Slug>,
    /// Calendar, budgets, quotas, room.
    around: &'a Around,
}

/// How the last build of an item stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// It goes on, or waits for a slot or a time.
    GoesOn,
    /// It waits for a person.
    Waits,
    /// It is done.
    Done,
    /// It failed.
    Failed { at_ms: i64 },
    /// A person ended it.
    Ended { at_ms: i64 },
    /// It was kept and never submitted.
    Lost,
}

struct UnderWay {
    run: RunId,
    label: Slug,
    status: RunStatus,
    /// It is of a row of a connected table.
    of_row: bool,
}

/// Something to submit.
#[derive(Clone, Debug)]
struct Start {
    label: Slug,
    id: RunId,
    repeats: Option<RunId>,
    entry: Box<Entry>,
}

/// Decides. Pure but for new ids: may be called again when the write was refused.
fn look(
    app: &App,
    entries: &mut [Entry],
    seen: &Seen<'_>,
    now_ms: i64,
) -> (Vec<Answer>, Vec<Start>) {
    let mut starts = Vec::new();
    for entry in entries
        .iter_mut()
        .filter(|entry| entry.standing() == Standing::Building)
    {
        if let Some(start) = settle(entry, seen.ends.get(entry.label()).copied()) {
            starts.push(start);
        }
    }
    let standings: Vec<Standing> = entries.iter().map(Entry::standing).collect();
    let of: Vec<&Entry> = entries.iter().filter(|entry| !entry.is_removed()).collect();
    let understood = |entry: &Entry| match seen.foundations.contains(entry.label()) {
        true => Understood::Foundation,
        false => Understood::No,
    };
    let assess = |entry: &&Entry| Assessment::of(&entry.item, understood(entry));
    let assessments: Vec<Assessment> = of.iter().map(assess).collect();
    let candidates: Vec<Candidate<'_>> = of
        .iter()
        .zip(&assessments)
        .map(|(entry, assessment)| Candidate {
            item: &entry.item,
            standing: entry.standing(),
            approved_by: entry.idea.approved_by.as_deref(),
            assessment,
        })
        .collect();
    let known = known(entries.iter().map(|entry| &entry.item).zip(&standings));
    let world = world(
        app,
        seen.around,
        running(entries, seen.runs, &starts),
        known,
    );
    let decisions = tick(&candidates, &world, now_ms);
    let labels: Vec<Slug> = of.iter().map(|entry| entry.label().clone()).collect();
    let mut answers = Vec::with_capacity(labels.len());
    for (label, decision) in labels.into_iter().zip(decisions) {
        let detail = serde_json::to_value(&decision).unwrap_or_default();
        let word = match &decision {
            Decision::Start => "start",
            Decision::Hold(reason) => reason.word(),
        };
        if decision == Decision::Start
            && let Some(entry) = entries.iter_mut().find(|entry| *entry.label() == label)
        {
            let repeats = entry.idea.run.replace(RunId::new(app.store().new_id()));
            entry.stand(&Standing::Building);
            starts.extend(start(entry, repeats));
        }
        answers.push(Answer {
            label,
            decision: word,
            detail,
        });
    }
    (answers, starts)
}

/// Everything around what may start.
pub(super) fn world<'a>(
    app: &'a App,
    around: &Around,
    running: Vec<Running>,
    known: HashMap<Slug, bool>,
) -> World<'a> {
    World {
        window: app.queue_window(),
        running,
        limit: app.config().settings.queue.limit as usize,
        busy_until_ms: around.busy_until_ms,
        calendar_unread: around.calendar_unread.clone(),
        quota_until_ms: around.quota_until_ms,
        budget_spent: around.budget_spent.clone(),
        no_room: around.no_room.clone(),
        known,
    }
}

/// Writes how the build of an item stands; answers what is to be submitted again.
fn settle(entry: &mut Entry, stands: Option<Stands>) -> Option<Start> {
    match stands {
        Some(Stands::GoesOn) => entry.idea.builder_status = "building".to_owned(),
        Some(Stands::Waits) => entry.idea.builder_status = "awaiting_approval".to_owned(),
        Some(Stands::Done) => entry.stand(&Standing::Done),
        Some(Stands::Failed { at_ms }) => {
            let failures = entry.idea.failures + 1;
            entry.stand(&Standing::Failed { failures, at_ms });
        }
        // Nobody repeats what a person ended: it waits for them.
        Some(Stands::Ended { at_ms }) => {
            let failures = entry.idea.failures.max(RETRIES) + 1;
            entry.stand(&Standing::Failed { failures, at_ms });
        }
        Some(Stands::Lost) => return start(entry, None),
        // Started since the runs were read.
        None => {}
    }
    None
}

fn start(entry: &Entry, repeats: Option<RunId>) -> Option<Start> {
    Some(Start {
        label: entry.label().clone(),
        id: entry.idea.run.clone()?,
        repeats,
        entry: Box::new(entry.clone()),
    })
}

/// What is being built, as conflicts and limits see it. A build that waits for a person holds nobody up.
fn running(entries: &[Entry], runs: &[UnderWay], starts: &[Start]) -> Vec<Running> {
    let of = |run: &RunId| {
        entries
            .iter()
            .find(|entry| entry.idea.run.as_ref() == Some(run))
    };
    let mut running: Vec<Running> = runs
        .iter()
        .map(|run| {
            let entry = of(&run.run);
            let by_itself = (entry.is_some() || run.of_row) && run.status != RunStatus::Waiting;
            Running {
                label: entry.map_or(&run.label, |entry| entry.label()).clone(),
                touches: entry
                    .map(|entry| entry.item.touches.clone())
                    .unwrap_or_default(),
                started: if by_itself {
                    Started::ByItself
                } else {
                    Started::ByHand
                },
            }
        })
        .collect();
    running.extend(starts.iter().map(|start| Running {
        label: start.label.clone(),
        touches: start.entry.item.touches.clone(),
        started: Started::ByItself,
    }));
    running
}

async fn under_way(app: &App, scope: &OrgScope) -> Result<Vec<UnderWay>, ApiError> {
    let open = RunFilter {
        kind: Some(RunKind::Build),
        open: Some(true),
        limit: RunFilter::LIMIT_MAX,
        ..RunFilter::default()
    };
    let rows = app.store().runs(scope, open).await?;
    let of_rows = app.store().backlog_rows(scope).await?;
    let of_rows: HashSet<RunId> = of_rows.into_iter().filter_map(|row| row.run).collect();
    let under_way = |row: agentwright_store::RunRow| UnderWay {
        of_row: of_rows.contains(&row.id),
        run: row.id,
        label: row.label,
        status: row.status,
    };
    Ok(rows.into_iter().map(under_way).collect())
}

/// What is being built, for whoever starts something beside the queue.
pub(super) async fn running_now(app: &App, scope: &OrgScope) -> Result<Vec<Running>, ApiError> {
    let entries = shown::entries(app, scope).await?;
    Ok(running(&entries, &under_way(app, scope).await?, &[]))
}

/// How the builds of items that are being built stand.
async fn ended(app: &App, scope: &OrgScope) -> Result<HashMap<Slug, Stands>, ApiError> {
    let mut ends = HashMap::new();
    for one in app.store().being_built(scope).await? {
        if let Some(run) = &one.run {
            let run = app.store().run(scope, run).await?;
            ends.insert(one.label, stands(run.as_ref()));
        }
    }
    Ok(ends)
}

fn stands(run: Option<&Run>) -> Stands {
    let Some(run) = run else { return Stands::Lost };
    let at_ms = run.ended_at_ms.unwrap_or(run.progress_at_ms);
    match run.status {
        RunStatus::Ready | RunStatus::Leased => Stands::GoesOn,
        RunStatus::Waiting => Stands::Waits,
        RunStatus::Completed => Stands::Done,
        RunStatus::Failed => Stands::Failed { at_ms },
        RunStatus::Cancelled => Stands::Ended { at_ms },
    }
}

/// Whether a build of the queue stands otherwise than the queue knows: something is to be looked at.
pub(crate) async fn moved(app: &App, scope: &OrgScope) -> Result<bool, ApiError> {
    let built = app.store().being_built(scope).await?;
    Ok(built.iter().any(|one| match one.status {
        Some(RunStatus::Ready | RunStatus::Leased) => one.builder_status == "awaiting_approval",
        Some(RunStatus::Waiting) => one.builder_status != "awaiting_approval",
        Some(RunStatus::Completed | RunStatus::Failed | RunStatus::Cancelled) | None => true,
    }))
}

/// The soonest time that an answer names, ms.
pub(crate) fn next_ms(items: &[agentwright_api::QueueItem]) -> Option<i64> {
    let details = items
        .iter()
        .filter_map(|item| item.why.as_ref())
        .map(|why| why.detail.clone());
    let times = details.filter_map(|detail| match serde_json::from_value(detail).ok()? {
        Decision::Hold(Reason::NotBefore { at_ms } | Reason::Retry { at_ms, .. }) => Some(at_ms),
        Decision::Hold(Reason::Window { opens_ms }) => opens_ms,
        Decision::Hold(Reason::Calendar { until_ms } | Reason::Quota { until_ms }) => {
            Some(until_ms)
        }
        Decision::Hold(_) | Decision::Start => None,
    });
    times.min()
}

/// The sentence, and what a model needs besides it.
fn intent(entry: &Entry) -> String {
    let mut intent = sentence(entry);
    let item = &entry.item;
    if !item.criteria.is_empty() {
        intent.push_str("\n\nIt is done when:");
        for criterion in &item.criteria {
            intent.push_str(&format!("\n- {}", criterion.text));
        }
    }
    if let Some(tech) = &item.tech {
        intent.push_str(&format!("\n\nBuilt with: {tech}"));
    }
    intent
        .chars()
        .take(agentwright_domain::build::INTENT_MAX_CHARS)
        .collect()
}

async fn submit(app: &App, who: &Who, start: &Start) {
    let entry = &start.entry;
    let plan = |intent| PlanRequest {
        intent,
        base_dir: entry.idea.base_dir.clone(),
        zone: entry.idea.zone.clone(),
        ..PlanRequest::default()
    };
    // What a foundation covers is said in its own words: criteria would be asking for more.
    let covered = planned::plan(app, who, plan(sentence(entry))).await;
    let covered = covered.is_ok_and(|plan| plan.verdict == PlanVerdict::Ready);
    let said = if covered {
        sentence(entry)
    } else {
        intent(entry)
    };
    let mut request = CreateBuild::of(plan(said));
    request.label = Some(start.label.clone());
    request.mode = app.config().settings.queue.mode;
    let estimated_ms = entry.item.estimate.as_deref().and_then(estimate_ms);
    let of = (start.repeats.clone(), estimated_ms);
    let submitted = submit::queued(app, who, start.id.clone(), request, of).await;
    match submitted {
        Ok(build) => tracing::info!(label = %start.label, build = %build.id, "started by itself"),
        // The next look finds that it is missing and submits it again.
        Err(error) => {
            tracing::error!(?error, label = %start.label, "cannot start what the queue holds");
        }
    }
}
