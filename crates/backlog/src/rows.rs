//! Rows of the two tables: reading them, and the one way to change one.

use crate::{Backlog, Fault, Tables, limits};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Postgres, Row as _, Transaction};

/// Rows of one look, the next ones first; the others wait until these are built.
pub const READY_MAX: u32 = 100;

/// The kinds of row that are built; rows of other kinds are never touched (requirements A1).
const KINDS: &str = "('claude_agent', 'script')";
/// What is read of a row, as text whatever the column's type is.
const COLUMNS: &str =
    "id::bigint AS id, name::text AS name, task_description::text AS task_description,
    type::text AS type, infrastructure_requirement::text AS infrastructure_requirement,
    status::text AS status, builder_status::text AS builder_status";

/// A row of `automation_ideas`. Its texts are a person's: data, never instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// The whole specification.
    pub task_description: String,
    /// `claude_agent` or `script`.
    pub kind: String,
    /// What it needs access to.
    pub infrastructure_requirement: Option<String>,
    /// `ready_to_build` … `deployed`.
    pub status: String,
    /// As it stands there.
    pub builder_status: String,
}

/// The values of `builder_status` (requirements A1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuilderStatus {
    /// Nobody has it.
    NotStarted,
    /// It is claimed.
    Queued,
    /// It is being built.
    Building,
    /// Its build failed.
    Failed,
    /// A person is asked.
    AwaitingApproval,
    /// A person said yes.
    Approved,
    /// It runs.
    Deployed,
}

impl BuilderStatus {
    /// In the order of a build.
    pub const ALL: [Self; 7] = [
        Self::NotStarted,
        Self::Queued,
        Self::Building,
        Self::Failed,
        Self::AwaitingApproval,
        Self::Approved,
        Self::Deployed,
    ];

    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::Queued => "queued",
            Self::Building => "building",
            Self::Failed => "failed",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Approved => "approved",
            Self::Deployed => "deployed",
        }
    }

    /// The inverse of [`Self::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }
}

/// Whether a level held, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `pass`
    Pass,
    /// `fail`
    Fail,
}

/// A row of `agent_test_results`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// 1 to 4; 0 is a fault.
    pub level: u8,
    /// How it went.
    pub status: Level,
    /// `execution_log`.
    pub log: String,
}

/// One change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which row.
    pub id: i64,
    /// What must stand there; else nothing is written.
    pub from: BuilderStatus,
    /// What is written, one after the other.
    pub to: Vec<BuilderStatus>,
    /// Rows for `agent_test_results`.
    pub lines: Vec<Line>,
}

/// What became of the beginning of a change.
pub enum Writing<'a> {
    /// All is written and nothing is committed.
    Ready(Write<'a>),
    /// The row is locked by somebody else; nothing was written.
    Locked,
    /// Something else stands there, or the row may not be claimed any more; nothing was written.
    Other(Box<Row>),
    /// There is no such row.
    Gone,
}

/// A change that is not committed. What is not committed never happened; [`Write::undo`] says so at once.
pub struct Write<'a> {
    transaction: Transaction<'a, Postgres>,
    ticket: i64,
    row: Row,
}

/// What became of a change whose commit was not heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was done.
    Done,
    /// It was not, and never will be.
    Undone,
    /// It goes on.
    Open,
    /// The database no longer knows: the row itself says it.
    Forgotten,
}

impl Write<'_> {
    /// Under which [`Backlog::settled`] knows it. To be kept before [`Self::commit`].
    pub fn ticket(&self) -> i64 {
        self.ticket
    }

    /// The row as it was found, locked.
    pub fn row(&self) -> &Row {
        &self.row
    }

    /// Takes it back.
    pub async fn undo(self) {
        over(self.transaction).await;
    }

    /// Commits.
    ///
    /// # Errors
    /// [`Fault`]; whether it was done is then asked with [`Backlog::settled`].
    pub async fn commit(self) -> Result<(), Fault> {
        let done = self.transaction.commit().await;
        done.map_err(|error| Fault::of(&error))
    }
}

impl Backlog {
    /// The rows that may be built, in their order: `priority` ascending with nulls last, then `id`.
    pub async fn ready(&mut self) -> Result<Vec<Row>, Fault> {
        let table = self.tables.ideas.quoted();
        let sql = format!(
            "SELECT {COLUMNS} FROM {table}
             WHERE type::text IN {KINDS} AND status::text = 'ready_to_build'
               AND builder_status::text = 'not_started'
             ORDER BY priority ASC NULLS LAST, id ASC LIMIT {READY_MAX}"
        );
        let mut transaction = self.begin().await?;
        let rows = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(&mut *transaction)
            .await;
        over(transaction).await;
        let rows = rows.map_err(|error| Fault::of(&error))?;
        rows.iter().map(row).collect()
    }

    /// One row as it stands.
    pub async fn row(&mut self, id: i64) -> Result<Option<Row>, Fault> {
        let table = self.tables.ideas.quoted();
        let sql = format!("SELECT {COLUMNS} FROM {table} WHERE id = $1");
        let mut transaction = self.begin().await?;
        let found = sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await;
        over(transaction).await;
        let found = found.map_err(|error| Fault::of(&error))?;
        found.as_ref().map(row).transpose()
    }

    /// Writes a change up to its commit. The row is locked without waiting. From [`BuilderStatus::NotStarted`] the row
    /// must still be one that may be built.
    ///
    /// # Errors
    /// [`Fault`]; nothing was written.
    pub async fn write(&mut self, change: &Change) -> Result<Writing<'_>, Fault> {
        let tables = self.tables.clone();
        let mut transaction = self.begin().await?;
        let found = match written(&mut transaction, &tables, change).await {
            Ok(Found::Ready { ticket, row }) => {
                return Ok(Writing::Ready(Write {
                    transaction,
                    ticket,
                    row,
                }));
            }
            Ok(Found::Other(row)) => Ok(Writing::Other(row)),
            Ok(Found::Gone) => Ok(Writing::Gone),
            Err(Fault::Locked) => Ok(Writing::Locked),
            Err(fault) => Err(fault),
        };
        over(transaction).await;
        found
    }

    /// What became of the change with that ticket.
    pub async fn settled(&mut self, ticket: i64) -> Result<Settled, Fault> {
        let mut transaction = self.begin().await?;
        let status = sqlx::query_scalar::<_, Option<String>>("SELECT txid_status($1)")
            .bind(ticket)
            .fetch_one(&mut *transaction)
            .await;
        over(transaction).await;
        match status {
            Ok(Some(status)) => Ok(match status.as_str() {
                "committed" => Settled::Done,
                "aborted" => Settled::Undone,
                _ => Settled::Open,
            }),
            Ok(None) => Ok(Settled::Forgotten),
            // A number that the database has not come to: it was set back to an older state.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("22023") => {
                Ok(Settled::Undone)
            }
            Err(error) => Err(Fault::of(&error)),
        }
    }

    pub(crate) async fn begin(&mut self) -> Result<Transaction<'_, Postgres>, Fault> {
        let mut transaction = self.conn.begin().await.map_err(|error| Fault::of(&error))?;
        transaction
            .execute(AssertSqlSafe(limits()))
            .await
            .map_err(|error| Fault::of(&error))?;
        Ok(transaction)
    }
}

/// Ends a transaction at once: one that is merely dropped would hold its locks until the connection is used again.
pub(crate) async fn over(transaction: Transaction<'_, Postgres>) {
    // An error means that the connection is gone, and the transaction with it.
    let _ = transaction.rollback().await;
}

enum Found {
    Ready { ticket: i64, row: Row },
    Other(Box<Row>),
    Gone,
}

async fn written(
    transaction: &mut Transaction<'_, Postgres>,
    tables: &Tables,
    change: &Change,
) -> Result<Found, Fault> {
    let (ideas, results) = (tables.ideas.quoted(), tables.results.quoted());
    let lock = format!("SELECT {COLUMNS} FROM {ideas} WHERE id = $1 FOR UPDATE NOWAIT");
    let found = sqlx::query(AssertSqlSafe(lock))
        .bind(change.id)
        .fetch_optional(&mut **transaction)
        .await
        .map_err(|error| Fault::of(&error))?;
    let Some(found) = found.as_ref().map(row).transpose()? else {
        return Ok(Found::Gone);
    };
    if found.builder_status != change.from.word() || !may(&found, change.from) {
        return Ok(Found::Other(Box::new(found)));
    }
    let mut from = change.from;
    for to in &change.to {
        if !put(transaction, &ideas, change.id, from, *to).await? {
            return Ok(Found::Other(Box::new(found)));
        }
        from = *to;
    }
    for line in &change.lines {
        add(transaction, &results, change.id, line).await?;
    }
    let ticket = sqlx::query_scalar("SELECT txid_current()")
        .fetch_one(&mut **transaction)
        .await
        .map_err(|error| Fault::of(&error))?;
    Ok(Found::Ready { ticket, row: found })
}

/// Whether it may be built, where nobody has it.
fn may(row: &Row, from: BuilderStatus) -> bool {
    let kind = matches!(row.kind.as_str(), "claude_agent" | "script");
    from != BuilderStatus::NotStarted || (kind && row.status == "ready_to_build")
}

/// Sets `builder_status` by compare-and-set, and `status` where it is deployed; `false` when nothing was changed.
/// The words are ours and stand in the text, so that columns of an enumerated type take them too.
async fn put(
    transaction: &mut Transaction<'_, Postgres>,
    ideas: &str,
    id: i64,
    from: BuilderStatus,
    to: BuilderStatus,
) -> Result<bool, Fault> {
    let status = match to {
        BuilderStatus::Deployed => ", status = 'deployed'",
        BuilderStatus::NotStarted
        | BuilderStatus::Queued
        | BuilderStatus::Building
        | BuilderStatus::Failed
        | BuilderStatus::AwaitingApproval
        | BuilderStatus::Approved => "",
    };
    let sql = format!(
        "UPDATE {ideas} SET builder_status = '{}'{status} WHERE id = $1 AND builder_status = '{}'",
        to.word(),
        from.word()
    );
    let done = sqlx::query(AssertSqlSafe(sql))
        .bind(id)
        .execute(&mut **transaction)
        .await
        .map_err(|error| Fault::of(&error))?;
    Ok(done.rows_affected() == 1)
}

async fn add(
    transaction: &mut Transaction<'_, Postgres>,
    results: &str,
    id: i64,
    line: &Line,
) -> Result<(), Fault> {
    let status = match line.status {
        Level::Pass => "pass",
        Level::Fail => "fail",
    };
    let sql = format!(
        "INSERT INTO {results} (automation_id, test_level, status, execution_log)
         VALUES ($1, $2, '{status}', $3)"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(id)
        .bind(i32::from(line.level))
        // PostgreSQL keeps no U+0000 in a text.
        .bind(line.log.replace('\0', "\u{fffd}"))
        .execute(&mut **transaction)
        .await
        .map(|_| ())
        .map_err(|error| Fault::of(&error))
}

fn row(row: &sqlx::postgres::PgRow) -> Result<Row, Fault> {
    let text = |column: &str| row.try_get::<Option<String>, _>(column);
    let read = || -> Result<Row, sqlx::Error> {
        Ok(Row {
            id: row.try_get("id")?,
            name: text("name")?.unwrap_or_default(),
            task_description: text("task_description")?.unwrap_or_default(),
            kind: text("type")?.unwrap_or_default(),
            infrastructure_requirement: text("infrastructure_requirement")?,
            status: text("status")?.unwrap_or_default(),
            builder_status: text("builder_status")?.unwrap_or_default(),
        })
    };
    read().map_err(|error| Fault::of(&error))
}
