//! How tables of people's own databases are connected, disconnected and shown.

use super::rows::{Hold, Known};
use super::{progress, shown, table};
use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use agentwright_api::{
    ConnectTable, ConnectedTable, QueueItem, QueuePriority, QueueWhy, TableRow, Time, code,
};
use agentwright_backlog::{BuilderStatus, Fault, TableName};
use agentwright_domain::ids::Slug;
use agentwright_domain::secret::Reference;
use agentwright_store::{BacklogSource, OrgScope, SOURCES_MAX};
use std::collections::HashMap;

/// Names that are tried for a table when the first is taken.
const NAMES_MAX: usize = SOURCES_MAX + 1;

/// Connects a table, once everything is there that must be.
pub(crate) async fn connect(
    app: &App,
    who: &Who,
    request: ConnectTable,
) -> Result<ConnectedTable, ApiError> {
    let reference: Reference = request.reference.parse().map_err(|_| {
        let said = "must be env:NAME, file:/PATH or vault:MOUNT/PATH#FIELD: the address holds a password and is never given itself";
        ApiError::invalid("reference", said)
    })?;
    let table = |at: &'static str, text: &str| {
        text.parse::<TableName>()
            .map_err(|error| ApiError::invalid(at, &error.to_string()))
    };
    let ideas = table("table", &request.table)?;
    table("results_table", &request.results_table)?;
    let known = app.store().backlog_sources(&who.scope).await?;
    if known.len() >= SOURCES_MAX {
        let said = format!("at most {SOURCES_MAX} tables are connected: remove one first");
        return Err(ApiError::Conflict(code::CONFLICT, said));
    }
    let mut source = BacklogSource {
        name: name(&request, &ideas, &known)?,
        reference: reference.to_string(),
        ideas_table: request.table,
        results_table: request.results_table,
        base_dir: request.base_dir,
        zone: request.zone,
        added_by: who.name.clone(),
        created_at_ms: app.now_ms(),
        looked_at_ms: None,
        failures: 0,
        error: None,
    };
    if let Some(same) = known.iter().find(|one| same(one, &source)) {
        let said = format!("{} is that table already", same.name);
        return Err(ApiError::Conflict(code::CONFLICT, said));
    }
    fits(app, &source).await?;
    while !app.store().add_backlog_source(&who.scope, &source).await? {
        // Somebody connected one of that name at the same moment.
        let known = app.store().backlog_sources(&who.scope).await?;
        source.name = name_of(&ideas, &known);
    }
    app.heart().look_soon();
    shown_one(app, &who.scope, &source.name).await
}

fn same(one: &BacklogSource, other: &BacklogSource) -> bool {
    one.reference == other.reference && one.ideas_table == other.ideas_table
}

fn name(
    request: &ConnectTable,
    ideas: &TableName,
    known: &[BacklogSource],
) -> Result<Slug, ApiError> {
    match &request.name {
        Some(name) if known.iter().any(|one| one.name == *name) => {
            let said = format!("a table is connected as {name} already: choose another name");
            Err(ApiError::Conflict(code::LABEL_TAKEN, said))
        }
        Some(name) => Ok(name.clone()),
        None => Ok(name_of(ideas, known)),
    }
}

fn name_of(ideas: &TableName, known: &[BacklogSource]) -> Slug {
    let free = |name: &Slug| known.iter().all(|one| one.name != *name);
    let words = |number: usize| match number {
        1 => ideas.name().to_owned(),
        _ => format!("{} {number}", ideas.name()),
    };
    (1..=NAMES_MAX)
        .filter_map(|number| {
            Slug::from_words(&words(number))
                .or_else(|| Slug::from_words(&format!("table {number}")))
        })
        .find(free)
        // Invariant: there are more names than tables.
        .unwrap_or_else(|| unreachable!("a free name"))
}

/// Refuses by naming what is missing.
async fn fits(app: &App, source: &BacklogSource) -> Result<(), ApiError> {
    let check = async {
        let mut backlog = table::open(app, source).await?;
        let checked = backlog.check().await;
        backlog.close().await;
        checked
    };
    match check.await {
        Ok(_) => Ok(()),
        Err(fault @ (Fault::Away(_) | Fault::Locked)) => {
            let said = format!("{} cannot be connected now: {fault}", source.ideas_table);
            Err(ApiError::Unavailable(code::TABLE_AWAY, said))
        }
        Err(fault @ (Fault::Denied(_) | Fault::Unfit(_) | Fault::Refused(_))) => {
            let said = format!("{} cannot be connected: {fault}", source.ideas_table);
            Err(ApiError::Conflict(code::CONFLICT, said))
        }
    }
}

/// Disconnects a table; nothing is written to it any more.
pub(crate) async fn disconnect(
    app: &App,
    who: &Who,
    text: &str,
) -> Result<ConnectedTable, ApiError> {
    let missing = || ApiError::no("connected table", text);
    let name = Slug::parse(text).map_err(|_| missing())?;
    let shown = shown_one(app, &who.scope, &name).await?;
    match app.store().remove_backlog_source(&who.scope, &name).await? {
        None => Err(missing()),
        Some(0) => Ok(shown),
        Some(open) => {
            let said = format!(
                "{open} rows of {name} are being built, or are still to be written: cancel their builds, or wait until the database is back"
            );
            Err(ApiError::Conflict(code::CONFLICT, said))
        }
    }
}

/// All connected tables with their rows.
pub(crate) async fn list(app: &App, scope: &OrgScope) -> Result<Vec<ConnectedTable>, ApiError> {
    let rows = app.store().backlog_rows(scope).await?;
    let items: HashMap<Slug, QueueItem> = items(app, scope)
        .await?
        .into_iter()
        .map(|item| (item.label.clone(), item))
        .collect();
    let sources = app.store().backlog_sources(scope).await?;
    let mut tables = Vec::with_capacity(sources.len());
    for source in sources {
        let mut of = Vec::new();
        for row in rows.iter().filter(|row| row.source == source.name) {
            let known = table::known(row)?;
            of.push(TableRow {
                id: row.id,
                label: row.label.clone(),
                kind: known.said.kind.clone(),
                builder_status: known.stands.word().to_owned(),
                to_write: known.pending.is_some() || (source.failures > 0 && row.open),
                build: row.run.clone().filter(|_| known.submitted),
                why: items.get(&row.label).and_then(|item| item.why.clone()),
                name: known.said.name,
            });
        }
        tables.push(ConnectedTable {
            name: source.name,
            reference: source.reference,
            table: source.ideas_table,
            results_table: source.results_table,
            connected_by: source.added_by,
            connected_at: Time::from_ms(source.created_at_ms),
            looked_at: source.looked_at_ms.map(Time::from_ms),
            failures: source.failures,
            error: source.error,
            rows: of,
        });
    }
    Ok(tables)
}

async fn shown_one(app: &App, scope: &OrgScope, name: &Slug) -> Result<ConnectedTable, ApiError> {
    let all = list(app, scope).await?;
    let one = all.into_iter().find(|one| one.name == *name);
    one.ok_or_else(|| ApiError::no("connected table", name.as_str()))
}

/// The rows as items of the queue, behind those of the queue itself.
pub(crate) async fn items(app: &App, scope: &OrgScope) -> Result<Vec<QueueItem>, ApiError> {
    let rows = app.store().backlog_rows(scope).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let receipts = app.store().newest_receipts(scope).await?;
    let newest: HashMap<&str, _> = receipts
        .iter()
        .map(|one| (one.label.as_str(), one))
        .collect();
    let built = rows.iter().filter(|row| row.open);
    let built = built.filter_map(|row| row.run.clone()).collect();
    let mut stand = progress::of(app, scope, built).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        let known = table::known(row)?;
        let why = newest.get(row.label.as_str());
        items.push(QueueItem {
            label: row.label.clone(),
            name: known.said.name.clone(),
            description: Some(known.said.sentence()),
            // Rows start by their table's own order.
            priority: QueuePriority::High,
            status: status(&known).to_owned(),
            position: None,
            blockers: Vec::new(),
            start: None,
            approved_by: None,
            // Named once it is there.
            build: row.run.clone().filter(|_| known.submitted),
            failures: known.releases,
            progress: row
                .run
                .as_ref()
                .and_then(|run| stand.remove(run))
                .map(|stands| stands.progress),
            why: why.map(|one| shown::receipt(one, app.queue_zone())),
            suggestion: None,
        });
    }
    Ok(items)
}

fn status(known: &Known) -> &'static str {
    match (known.hold, known.stands) {
        (Hold::Seen, _) => "queued",
        (_, BuilderStatus::AwaitingApproval) => "awaiting_approval",
        (_, BuilderStatus::Failed) | (Hold::Left, _) => "failed",
        (_, BuilderStatus::Deployed) => "done",
        (
            Hold::Mine | Hold::Ended,
            BuilderStatus::NotStarted
            | BuilderStatus::Queued
            | BuilderStatus::Building
            | BuilderStatus::Approved,
        ) => "building",
    }
}

/// A row with all its answers; `None` where no row has that label or name.
pub(crate) async fn why(
    app: &App,
    scope: &OrgScope,
    text: &str,
) -> Result<Option<QueueWhy>, ApiError> {
    let all = items(app, scope).await?;
    let fits = |item: &&QueueItem| {
        item.label.as_str() == text || item.name.eq_ignore_ascii_case(text.trim())
    };
    let Some(item) = all.iter().find(fits).cloned() else {
        return Ok(None);
    };
    let receipts = app.store().receipts(scope, &item.label).await?;
    let receipts = receipts
        .iter()
        .map(|one| shown::receipt(one, app.queue_zone()))
        .collect();
    Ok(Some(QueueWhy { item, receipts }))
}
