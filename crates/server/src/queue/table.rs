//! Rows of connected tables: seen, claimed, built, written back (requirements A1, A2, A8 to A10).
//!
//! Not here: what a build means for its row (`rows.rs`), and what is said to that database (crate `backlog`). Every write
//! there is kept here first, with its ticket, and struck out when it is known to be done: nothing is written twice, and
//! what could not be written is written when the database is back.

use super::beat;
use super::rows::{Hold, Known, NAME, Pending, Said, change, wanted};
use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use crate::{planned, submit};
use agentwright_api::{CreateBuild, PlanRequest, PlanVerdict, code};
use agentwright_backlog::{
    Address, Backlog, BuilderStatus, Change, Fault, Row, Settled, Tables, Writing,
};
use agentwright_domain::build::{ApprovalMode, BacklogRow};
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::principal::{KeyKind, Principal, Role};
use agentwright_domain::run::{Run, RunInput, Signal};
use agentwright_engine::SignalError;
use agentwright_queue::Item;
use agentwright_queue::start::{
    Assessment, Candidate, Decision, Reason, Running, Standing, Started, World, decide_start,
};
use agentwright_store::{Answer, BacklogSource, KnownRow, Look, OrgScope};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// How often it is seen whether a build of a row went on.
const PEEK: Duration = Duration::from_secs(1);
/// How long one visit may take.
const VISIT_MAX: Duration = Duration::from_secs(40);
/// The pause after a visit that failed; it doubles with each further one.
const AGAIN_MS: i64 = 2_000;
/// The longest pause after a visit that failed.
const AGAIN_MAX_MS: i64 = 5 * 60_000;
/// Who submits: a program, which can approve nothing.
const SUBMITS: &str = "a connected table";

/// Why a visit came to nothing.
enum Stop {
    /// That database.
    Fault(Fault),
    /// Ours.
    Ours(ApiError),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Ours(error)
    }
}

impl From<agentwright_store::Error> for Stop {
    fn from(error: agentwright_store::Error) -> Self {
        Self::Ours(error.into())
    }
}

/// Looks at every connected table until the app stops.
pub(crate) async fn run(app: App) {
    let mut next = Next::default();
    let mut asked = true;
    loop {
        if let Err(error) = round(&app, &mut next, asked).await {
            tracing::warn!(?error, "cannot look at the connected tables");
        }
        asked = tokio::select! {
            () = app.stopping().cancelled() => return,
            () = app.heart().tables_asked() => true,
            () = tokio::time::sleep(PEEK) => false,
        };
    }
}

/// When each table is looked at next, ms.
type Next = HashMap<(String, Slug), i64>;

async fn round(app: &App, next: &mut Next, asked: bool) -> Result<(), ApiError> {
    for scope in app.store().backlog_owners().await? {
        for source in app.store().backlog_sources(&scope).await? {
            let now_ms = app.now_ms();
            if rests_until(&source) > now_ms {
                continue;
            }
            let key = (scope.organization().0.clone(), source.name.clone());
            let look = asked || next.get(&key).is_none_or(|at_ms| now_ms >= *at_ms);
            let rows = rows_of(app, &scope, &source.name).await?;
            if !look && !behind(app, &scope, &rows).await? {
                continue;
            }
            let next_ms = visited(app, &scope, &source, look).await?;
            next.insert(key, next_ms);
        }
    }
    Ok(())
}

/// Until when a table that failed is left alone, ms.
fn rests_until(source: &BacklogSource) -> i64 {
    let Some(looked_at_ms) = source.looked_at_ms.filter(|_| source.failures > 0) else {
        return 0;
    };
    let doubled = AGAIN_MS << (source.failures - 1).min(20);
    looked_at_ms.saturating_add(doubled.min(AGAIN_MAX_MS))
}

async fn rows_of(app: &App, scope: &OrgScope, source: &Slug) -> Result<Vec<KnownRow>, ApiError> {
    let mut rows = app.store().backlog_rows(scope).await?;
    rows.retain(|row| row.source == *source);
    Ok(rows)
}

/// Whether something is to be written.
async fn behind(app: &App, scope: &OrgScope, rows: &[KnownRow]) -> Result<bool, ApiError> {
    for row in rows.iter().filter(|row| row.open) {
        if known(row)?.behind(run_of(app, scope, row).await?.as_ref()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn known(row: &KnownRow) -> Result<Known, ApiError> {
    serde_json::from_value(row.known.clone()).map_err(|error| {
        ApiError::Internal(anyhow::Error::new(error).context(format!("row {}", row.label)))
    })
}

async fn run_of(app: &App, scope: &OrgScope, row: &KnownRow) -> Result<Option<Run>, ApiError> {
    Ok(match &row.run {
        Some(run) => app.store().run(scope, run).await?,
        None => None,
    })
}

/// Visits a table and notes how that went; answers when it is looked at next, ms.
async fn visited(
    app: &App,
    scope: &OrgScope,
    source: &BacklogSource,
    look: bool,
) -> Result<i64, ApiError> {
    let visit = tokio::time::timeout(VISIT_MAX, visit(app, scope, source, look)).await;
    let late = || Err(Stop::Fault(Fault::Away("it took too long".to_owned())));
    let now_ms = app.now_ms();
    let every_ms = i64::try_from(app.config().settings.queue.heartbeat_s * 1_000);
    let regular_ms = now_ms.saturating_add(every_ms.unwrap_or(i64::MAX));
    let noted = async |error: Option<&str>| {
        let store = app.store();
        store
            .looked_at_backlog(scope, &source.name, now_ms, error)
            .await
    };
    match visit.unwrap_or_else(|_| late()) {
        Ok(next_ms) => {
            noted(None).await?;
            Ok(next_ms.map_or(regular_ms, |next_ms| next_ms.min(regular_ms)))
        }
        Err(Stop::Fault(fault)) => {
            let said = fault.to_string();
            tracing::warn!(source = %source.name, said, "a connected table cannot be used");
            noted(Some(&said)).await?;
            away(app, scope, source, &said).await?;
            Ok(now_ms)
        }
        Err(Stop::Ours(error)) => Err(error),
    }
}

/// The answer for every row that waits while its database cannot be used.
async fn away(
    app: &App,
    scope: &OrgScope,
    source: &BacklogSource,
    said: &str,
) -> Result<(), ApiError> {
    let mut answers = Vec::new();
    for row in rows_of(app, scope, &source.name).await? {
        if known(&row)?.hold == Hold::Seen {
            let said = said.to_owned();
            answers.push(answer(&row.label, &Decision::Hold(Reason::Away { said })));
        }
    }
    told(app, scope, &answers, 0).await
}

fn answer(label: &Slug, decision: &Decision) -> Answer {
    Answer {
        label: label.clone(),
        decision: match decision {
            Decision::Start => "start",
            Decision::Hold(reason) => reason.word(),
        },
        detail: serde_json::to_value(decision).unwrap_or_default(),
    }
}

async fn told(
    app: &App,
    scope: &OrgScope,
    answers: &[Answer],
    started: u32,
) -> Result<(), ApiError> {
    let look = Look {
        at_ms: app.now_ms(),
        cause: "table".to_owned(),
        items: u32::try_from(answers.len()).unwrap_or(u32::MAX),
        started,
    };
    Ok(app.store().write_look(scope, &look, answers).await?)
}

/// Connects to the database of a table.
pub(crate) async fn open(app: &App, source: &BacklogSource) -> Result<Backlog, Fault> {
    let unfit = |why: String| Fault::Unfit(vec![why]);
    let reference = source.reference.clone();
    let text = app.secret(&reference).await;
    let text = text.map_err(|why| Fault::Denied(format!("cannot read {reference}: {why}")))?;
    let address =
        Address::parse(&text).map_err(|why| unfit(format!("what {reference} holds {why}")))?;
    let table = |text: &str| {
        text.parse()
            .map_err(|error: agentwright_backlog::NotAName| unfit(error.to_string()))
    };
    let tables = Tables {
        ideas: table(&source.ideas_table)?,
        results: table(&source.results_table)?,
    };
    Backlog::open(&address, tables).await
}

/// A visit under way.
struct Visit<'a> {
    desk: Desk<'a>,
    backlog: Backlog,
}

/// Our side of it.
struct Desk<'a> {
    app: &'a App,
    scope: &'a OrgScope,
    source: &'a BacklogSource,
}

/// One visit: what is known is made sure of, what is behind is written, and with `look` every row that waits gets its
/// answer. Answers when a row wants the next look, ms.
async fn visit(
    app: &App,
    scope: &OrgScope,
    source: &BacklogSource,
    look: bool,
) -> Result<Option<i64>, Stop> {
    let backlog = open(app, source).await?;
    let desk = Desk { app, scope, source };
    let mut visit = Visit { desk, backlog };
    let mut room = false;
    for mut row in rows_of(app, scope, &source.name).await? {
        if row.open {
            visit.settle(&mut row).await?;
            room |= visit.follow(&mut row, look).await?;
        }
    }
    if room {
        // What waits in the queue may start, too.
        app.heart().look_soon();
    }
    // Whoever waited for room is next.
    let next_ms = if look || room {
        visit.look().await?
    } else {
        None
    };
    visit.backlog.close().await;
    Ok(next_ms)
}

impl Visit<'_> {
    /// Finds out what became of a write whose end was not heard of.
    async fn settle(&mut self, row: &mut KnownRow) -> Result<(), Stop> {
        let mut known = known(row)?;
        let Some(pending) = known.pending.clone() else {
            return Ok(());
        };
        let done = match self.backlog.settled(pending.ticket).await? {
            Settled::Open => return Ok(()),
            Settled::Done => true,
            Settled::Undone => false,
            Settled::Forgotten => {
                let stands = self.backlog.row(row.id).await?;
                stands.is_some_and(|found| found.builder_status == pending.stands.word())
            }
        };
        if done {
            known.done(self.desk.app.now_ms());
        } else {
            known.pending = None;
        }
        if known.hold == Hold::Seen {
            row.run = None;
        }
        self.desk.keep(row, &known).await.map(|_| ())
    }

    /// Brings a row of ours to where its build is; whether another one may have room now: a build that ended, or waits
    /// for a person, holds nobody up.
    async fn follow(&mut self, row: &mut KnownRow, look: bool) -> Result<bool, Stop> {
        let mut known = known(row)?;
        if known.pending.is_some() || known.hold != Hold::Mine {
            return Ok(false);
        }
        if !known.submitted {
            return self.begin(row, &mut known).await.map(|()| false);
        }
        let run = run_of(self.desk.app, self.desk.scope, row).await?;
        let wanted = wanted(run.as_ref(), known.anew);
        let results = match &row.run {
            Some(run) => {
                self.desk
                    .app
                    .store()
                    .test_results(self.desk.scope, run)
                    .await?
            }
            None => Vec::new(),
        };
        let Some(change) = change(row.id, &known, &wanted, &results) else {
            if look {
                let found = self.backlog.row(row.id).await?;
                self.desk
                    .compare(row, &mut known, found.as_ref(), run.as_ref())
                    .await?;
            }
            return Ok(false);
        };
        let then = Pending {
            ticket: 0,
            hold: wanted.hold,
            stands: wanted.status,
            lines: known.lines + change.lines.len(),
        };
        self.write(row, &mut known, &change, then, run.as_ref())
            .await?;
        Ok(known.stands == wanted.status && wanted.status != BuilderStatus::Building)
    }

    /// A claimed row: `building` is written first, then its build is submitted.
    async fn begin(&mut self, row: &mut KnownRow, known: &mut Known) -> Result<(), Stop> {
        if known.stands == BuilderStatus::Queued {
            let change = Change {
                id: row.id,
                from: BuilderStatus::Queued,
                to: vec![BuilderStatus::Building],
                lines: Vec::new(),
            };
            let then = Pending {
                ticket: 0,
                hold: Hold::Mine,
                stands: BuilderStatus::Building,
                lines: 0,
            };
            self.write(row, known, &change, then, None).await?;
        }
        if known.hold != Hold::Mine || known.stands != BuilderStatus::Building {
            return Ok(());
        }
        self.desk.submit(row, &known.said).await?;
        known.submitted = true;
        self.desk.keep(row, known).await.map(|_| ())
    }

    /// Writes a change: kept with its ticket, committed, struck out.
    async fn write(
        &mut self,
        row: &mut KnownRow,
        known: &mut Known,
        change: &Change,
        then: Pending,
        run: Option<&Run>,
    ) -> Result<(), Stop> {
        let write = match self.backlog.write(change).await? {
            Writing::Ready(write) => write,
            // The next visit finds it free.
            Writing::Locked => return Ok(()),
            Writing::Other(found) => return self.desk.compare(row, known, Some(&found), run).await,
            Writing::Gone => return self.desk.compare(row, known, None, run).await,
        };
        let edited = !known.said.edited(write.row()).is_empty();
        if edited && !known.submitted {
            // Nothing was made of it yet.
            known.said = Said::of(write.row());
        } else if edited && then.hold == Hold::Mine && counts(then.stands) {
            let found = write.row().clone();
            write.undo().await;
            return self.desk.compare(row, known, Some(&found), run).await;
        }
        let pending = Pending {
            ticket: write.ticket(),
            ..then
        };
        known.pending = Some(pending);
        row.open = true;
        row.known = serde_json::to_value(&*known).unwrap_or_default();
        if !self
            .desk
            .app
            .store()
            .put_backlog_row(self.desk.scope, row)
            .await?
        {
            write.undo().await;
            // Another process has it in hand; what it kept is read at the next visit.
            known.pending = None;
            return Ok(());
        }
        row.revision += 1;
        write.commit().await?;
        known.done(self.desk.app.now_ms());
        if known.hold == Hold::Seen {
            row.run = None;
        }
        self.desk.keep(row, known).await.map(|_| ())
    }

    /// Gives every row that waits its answer, and starts what may start.
    async fn look(&mut self) -> Result<Option<i64>, Stop> {
        let ready = self.backlog.ready().await?;
        let rows = self.desk.seen(&ready).await?;
        let running = beat::running_now(self.desk.app, self.desk.scope).await?;
        let mut world = beat::world(self.desk.app, running, HashMap::new());
        let (mut answers, mut started) = (Vec::new(), 0);
        for mut row in rows {
            let mut decision = decide(&row.label, &known(&row)?, &world, self.desk.app.now_ms());
            if decision == Decision::Start {
                match self.claim(&mut row).await? {
                    Some(reason) => decision = Decision::Hold(reason),
                    None => {
                        started += 1;
                        world.running.push(Running {
                            label: row.label.clone(),
                            touches: Vec::new(),
                            started: Started::ByItself,
                        });
                    }
                }
            }
            answers.push(answer(&row.label, &decision));
        }
        told(self.desk.app, self.desk.scope, &answers, started).await?;
        Ok(answers.iter().filter_map(next_ms).min())
    }

    /// Claims a row and begins its build; why not, where it does not.
    async fn claim(&mut self, row: &mut KnownRow) -> Result<Option<Reason>, Stop> {
        let mut known = known(row)?;
        let change = Change {
            id: row.id,
            from: BuilderStatus::NotStarted,
            to: vec![BuilderStatus::Queued],
            lines: Vec::new(),
        };
        let write = match self.backlog.write(&change).await? {
            Writing::Ready(write) => write,
            Writing::Locked => return Ok(Some(Reason::Locked)),
            Writing::Other(_) | Writing::Gone => {
                tracing::info!(label = %row.label, "claimed by another builder");
                return Ok(Some(Reason::Taken));
            }
        };
        // As it reads under the lock.
        known.said = Said::of(write.row());
        known.pending = Some(Pending {
            ticket: write.ticket(),
            hold: Hold::Mine,
            stands: BuilderStatus::Queued,
            lines: 0,
        });
        row.run = Some(RunId::new(self.desk.app.store().new_id()));
        row.open = true;
        row.known = serde_json::to_value(&known).unwrap_or_default();
        if !self
            .desk
            .app
            .store()
            .put_backlog_row(self.desk.scope, row)
            .await?
        {
            write.undo().await;
            return Ok(Some(Reason::Taken));
        }
        row.revision += 1;
        write.commit().await?;
        known.done(self.desk.app.now_ms());
        if self.desk.keep(row, &known).await? {
            self.begin(row, &mut known).await?;
        }
        Ok(None)
    }
}

impl Desk<'_> {
    /// Keeps what is known of a row; `false` when somebody else was first.
    async fn keep(&self, row: &mut KnownRow, known: &Known) -> Result<bool, Stop> {
        row.open = known.open();
        row.known = serde_json::to_value(known).unwrap_or_default();
        let kept = self.app.store().put_backlog_row(self.scope, row).await?;
        row.revision += 1;
        Ok(kept)
    }

    /// A row of ours that may say something else than it did. Edited, its build ends and it is built anew; changed by
    /// somebody else in what is ours to write, or gone, it is left to them.
    async fn compare(
        &self,
        row: &mut KnownRow,
        known: &mut Known,
        found: Option<&Row>,
        run: Option<&Run>,
    ) -> Result<(), Stop> {
        let table = &self.source.ideas_table;
        let why = match found {
            None => {
                known.hold = Hold::Left;
                format!("its row {} of {table} is gone", row.id)
            }
            Some(found) if found.builder_status != known.stands.word() => {
                known.hold = Hold::Left;
                format!(
                    "somebody else set builder_status of its row {} of {table} to {:?}",
                    row.id, found.builder_status
                )
            }
            Some(found) => {
                let edited = known.said.edited(found);
                if edited.is_empty() || !counts(known.stands) {
                    return Ok(());
                }
                known.anew = true;
                format!(
                    "its row {} of {table} was edited while it was built ({}): it is built anew as it reads now",
                    row.id,
                    edited.join(", ")
                )
            }
        };
        // What is built anew is kept before its build ends, what is left after it: a crash in between is made good by
        // the next look.
        if known.anew && !self.keep(row, known).await? {
            return Ok(());
        }
        if let Some(run) = run.filter(|run| !run.status.ended()) {
            let signal = Signal::Cancel {
                by: NAME.to_owned(),
                reason: why,
            };
            match self.app.engine().signal(self.scope, &run.id, signal).await {
                Ok(_) | Err(SignalError::Refused(_) | SignalError::Unknown) => {}
                Err(error @ (SignalError::Busy | SignalError::Store(_))) => {
                    return Err(Stop::Ours(error.into()));
                }
            }
        }
        if known.hold == Hold::Left {
            self.keep(row, known).await?;
        }
        Ok(())
    }

    /// Keeps the rows that wait, in their order, and forgets those that no longer do.
    async fn seen(&self, ready: &[Row]) -> Result<Vec<KnownRow>, Stop> {
        let all = self.app.store().backlog_rows(self.scope).await?;
        let mut labels: HashSet<Slug> = all.iter().map(|row| row.label.clone()).collect();
        let mut before: HashMap<i64, KnownRow> = all
            .into_iter()
            .filter(|row| row.source == self.source.name)
            .map(|row| (row.id, row))
            .collect();
        let mut rows = Vec::new();
        for found in ready {
            let row = match before.remove(&found.id) {
                // Written and not yet heard of, or begun by another process.
                Some(row) if row.open => continue,
                Some(mut row) => {
                    let old = known(&row)?;
                    let mut new = Known::seen(found);
                    if old.hold == Hold::Seen {
                        (new.releases, new.not_before_ms) = (old.releases, old.not_before_ms);
                    }
                    if old.said != new.said {
                        // Edited: the faults of the old one are none of the new one.
                        (new.releases, new.not_before_ms) = (0, 0);
                    }
                    row.run = None;
                    if new != old && !self.keep(&mut row, &new).await? {
                        continue;
                    }
                    row
                }
                None => {
                    let mut row = KnownRow {
                        source: self.source.name.clone(),
                        id: found.id,
                        label: label(&self.source.name, found, &labels),
                        run: None,
                        open: false,
                        known: serde_json::Value::Null,
                        revision: 0,
                    };
                    if !self.keep(&mut row, &Known::seen(found)).await? {
                        continue;
                    }
                    row
                }
            };
            labels.insert(row.label.clone());
            rows.push(row);
        }
        for row in before.values() {
            if known(row)?.hold == Hold::Seen && !row.open {
                self.app.store().drop_backlog_row(self.scope, row).await?;
            }
        }
        Ok(rows)
    }

    /// Submits the build of a row, under the id that was kept when it was claimed: doing it again changes nothing.
    async fn submit(&self, row: &KnownRow, said: &Said) -> Result<(), Stop> {
        let who = Who {
            name: SUBMITS.to_owned(),
            scope: self.scope.clone(),
            role: Role::Operator,
            principal: Principal::Key {
                id: "table".to_owned(),
                kind: KeyKind::Agent,
            },
        };
        let Some(id) = row.run.clone() else {
            return Ok(());
        };
        let plan = |intent| PlanRequest {
            intent,
            base_dir: self.source.base_dir.clone(),
            zone: self.source.zone.clone(),
            ..PlanRequest::default()
        };
        // What a foundation covers is said in its own words.
        let covered = planned::plan(self.app, &who, plan(said.sentence())).await;
        let covered = covered.is_ok_and(|plan| plan.verdict == PlanVerdict::Ready);
        let intent = if covered {
            said.sentence()
        } else {
            said.intent()
        };
        let request = CreateBuild {
            label: Some(row.label.clone()),
            mode: match self.app.config().settings.queue.mode {
                ApprovalMode::Checkpoints => ApprovalMode::Checkpoints,
                // Nothing of a row is deployed without a yes (requirements A8).
                ApprovalMode::Auto | ApprovalMode::Final => ApprovalMode::Final,
            },
            repairs: Some(0),
            ..CreateBuild::of(plan(intent))
        };
        let of = said.of_build(&self.source.name, row.id);
        submit::of_row(self.app, &who, id, request, of).await?;
        tracing::info!(label = %row.label, row = row.id, source = %self.source.name, "a row is built");
        Ok(())
    }
}

/// Whether an edit of the row still counts: what a person said yes to is deployed as it was shown.
fn counts(stands: BuilderStatus) -> bool {
    match stands {
        BuilderStatus::NotStarted
        | BuilderStatus::Queued
        | BuilderStatus::Building
        | BuilderStatus::AwaitingApproval => true,
        BuilderStatus::Failed | BuilderStatus::Approved | BuilderStatus::Deployed => false,
    }
}

/// A row starts by the table's own order alone: neither window nor priority nor vague words hold it (requirements E1).
fn decide(label: &Slug, known: &Known, world: &World<'_>, now_ms: i64) -> Decision {
    if known.not_before_ms > now_ms {
        return Decision::Hold(Reason::Retry {
            at_ms: known.not_before_ms,
            failures: known.releases,
        });
    }
    let item = Item::new(label.clone(), known.said.name.clone());
    let candidate = Candidate {
        item: &item,
        standing: Standing::Queued,
        approved_by: None,
        assessment: &Assessment::default(),
    };
    decide_start(&candidate, world, now_ms)
}

fn next_ms(answer: &Answer) -> Option<i64> {
    match serde_json::from_value(answer.detail.clone()).ok()? {
        Decision::Hold(
            Reason::Retry { at_ms, .. }
            | Reason::NotBefore { at_ms }
            | Reason::Calendar { until_ms: at_ms }
            | Reason::Quota { until_ms: at_ms },
        ) => Some(at_ms),
        Decision::Start | Decision::Hold(_) => None,
    }
}

/// `agent-{id}-{slug}` (requirements A6), with the table's name where that is taken.
fn label(source: &Slug, row: &Row, taken: &HashSet<Slug>) -> Slug {
    let first = Slug::from_words(&format!("agent {} {}", row.id, row.name));
    let second = || Slug::from_words(&format!("{source} {} {}", row.id, row.name));
    first
        .filter(|slug| !taken.contains(slug))
        .or_else(second)
        .unwrap_or_else(|| source.clone())
}

/// Refuses a yes to a build of a row that says something else by now, or of which nobody can say so.
///
/// # Errors
/// 409 when it was edited, 503 when its database is away.
pub(crate) async fn unedited(app: &App, scope: &OrgScope, run: &Run) -> Result<(), ApiError> {
    let RunInput::Build(request) = &run.input else {
        return Ok(());
    };
    let Some(BacklogRow { source, id, .. }) = &request.row else {
        return Ok(());
    };
    let sources = app.store().backlog_sources(scope).await?;
    let rows = rows_of(app, scope, source).await?;
    let of = rows
        .iter()
        .find(|row| row.id == *id && row.run.as_ref() == Some(&run.id));
    let (Some(source), Some(row)) = (sources.iter().find(|one| one.name == *source), of) else {
        let said = format!("{}: its table is no longer connected: reject it", run.label);
        return Err(ApiError::Conflict(code::STALE, said));
    };
    let known = known(row)?;
    let read = async {
        let mut backlog = open(app, source).await?;
        let found = backlog.row(*id).await;
        backlog.close().await;
        found
    };
    let late = || Err(Fault::Away("it took too long".to_owned()));
    let found = tokio::time::timeout(VISIT_MAX, read).await;
    let found = found.unwrap_or_else(|_| late()).map_err(|fault| {
        let said = format!(
            "{}: whether its row {id} of {} was edited cannot be seen ({fault}): say yes when the database is back",
            run.label, source.ideas_table
        );
        ApiError::Unavailable(code::UNAVAILABLE, said)
    })?;
    let why = match found {
        None => "is gone".to_owned(),
        Some(found) if !ours(&found) => {
            format!(
                "has the builder_status {:?}, which somebody else set",
                found.builder_status
            )
        }
        Some(found) => match known.said.edited(&found) {
            edited if edited.is_empty() => return Ok(()),
            edited => format!("was edited since ({})", edited.join(", ")),
        },
    };
    // The next visit ends the build.
    app.heart().look_soon();
    let said = format!(
        "{}: its row {id} of {} {why}: what was built is no longer what is asked for",
        run.label, source.ideas_table
    );
    Err(ApiError::Conflict(code::STALE, said))
}

/// Whether what stands there may be what we wrote before a gate.
fn ours(row: &Row) -> bool {
    use BuilderStatus::{AwaitingApproval, Building, Queued};
    [Queued, Building, AwaitingApproval]
        .iter()
        .any(|one| one.word() == row.builder_status)
}
