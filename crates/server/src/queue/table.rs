//! Rows of connected tables: seen, claimed, built, written back (requirements A1, A2, A8 to A10).
//!
//! Here is when a table is looked at. `visit.rs` is one look, `desk.rs` our side of it, `rows.rs` what a build means for
//! its row, the crate `backlog` what is said to that database. Every write there is kept here first, with its ticket, and
//! struck out when it is known to be done: nothing is written twice, and what could not be written is written when the
//! database is back.

use super::rows::{Hold, Known};
use super::visit::visit;
use crate::app::App;
use crate::error::ApiError;
use agentwright_backlog::{Address, Backlog, Fault, NotAName, Tables};
use agentwright_domain::ids::Slug;
use agentwright_domain::run::Run;
use agentwright_queue::start::{Decision, Reason};
use agentwright_store::{Answer, BacklogSource, KnownRow, Look, OrgScope};
use std::collections::HashMap;
use std::time::Duration;

/// How often it is seen whether a build of a row went on.
const PEEK: Duration = Duration::from_secs(1);
/// How long one visit may take.
pub(super) const VISIT_MAX: Duration = Duration::from_secs(40);
/// The pause after a visit that failed; it doubles with each further one.
const AGAIN_MS: i64 = 2_000;
/// The longest pause after a visit that failed.
const AGAIN_MAX_MS: i64 = 5 * 60_000;

/// Why a visit came to nothing.
pub(super) enum Stop {
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

pub(super) async fn rows_of(
    app: &App,
    scope: &OrgScope,
    source: &Slug,
) -> Result<Vec<KnownRow>, ApiError> {
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

pub(super) fn known(row: &KnownRow) -> Result<Known, ApiError> {
    serde_json::from_value(row.known.clone()).map_err(|error| {
        ApiError::Internal(anyhow::Error::new(error).context(format!("row {}", row.label)))
    })
}

pub(super) async fn run_of(
    app: &App,
    scope: &OrgScope,
    row: &KnownRow,
) -> Result<Option<Run>, ApiError> {
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

pub(super) fn answer(label: &Slug, decision: &Decision) -> Answer {
    Answer {
        label: label.clone(),
        decision: match decision {
            Decision::Start => "start",
            Decision::Hold(reason) => reason.word(),
        },
        detail: serde_json::to_value(decision).unwrap_or_default(),
    }
}

pub(super) async fn told(
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
            .map_err(|error: NotAName| unfit(error.to_string()))
    };
    let tables = Tables {
        ideas: table(&source.ideas_table)?,
        results: table(&source.results_table)?,
    };
    Backlog::open(&address, tables).await
}
