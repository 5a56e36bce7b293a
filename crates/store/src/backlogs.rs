//! Tables of people's own databases that are built from, and what is known of their rows.
//!
//! Not here: those databases (crate `backlog`), and what is decided about a row (`server`): what is known of it is JSON
//! to the store. A write of a row names the revision that it was decided on, so that of two processes one goes on.

use crate::Store;
use crate::db::{Arg, Row};
use crate::error::Error;
use crate::scope::OrgScope;
use agentwright_domain::ids::{OrganizationId, RunId, Slug};
use serde_json::Value;

/// Connected tables of one organization.
pub const SOURCES_MAX: usize = 32;
/// Rows of one table that nothing is to be written of any more and that are still shown; the oldest go first.
const ENDED_KEPT: i64 = 200;

crate::db::statements! {
    ADD = "connecting a table":
        "INSERT INTO backlog_sources (organization_id, name, reference, ideas_table, results_table,
           base_dir, zone, added_by, created_at_ms, failures)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)
         ON CONFLICT (organization_id, name) DO NOTHING";
    SOURCES = "reading connected tables":
        "SELECT name, reference, ideas_table, results_table, base_dir, zone, added_by,
           created_at_ms, looked_at_ms, failures, error
         FROM backlog_sources WHERE organization_id = $1 ORDER BY created_at_ms, name";
    OWNERS = "reading who has connected tables":
        "SELECT DISTINCT organization_id FROM backlog_sources ORDER BY organization_id";
    LOOKED = "noting how a look at a connected table went":
        "UPDATE backlog_sources SET looked_at_ms = $3, error = CAST($4 AS TEXT),
           failures = CASE WHEN CAST($4 AS TEXT) IS NULL THEN 0 ELSE failures + 1 END
         WHERE organization_id = $1 AND name = $2";
    REMOVE = "disconnecting a table":
        "DELETE FROM backlog_sources WHERE organization_id = $1 AND name = $2";
    REMOVE_ROWS = "forgetting the rows of a table":
        "DELETE FROM backlog_rows WHERE organization_id = $1 AND source = $2";
    STILL_OPEN = "counting rows that something is to be written of":
        "SELECT CAST(COUNT(*) AS BIGINT) AS open FROM backlog_rows
         WHERE organization_id = $1 AND source = $2 AND open = 1";
    ROWS = "reading what is known of rows":
        "SELECT source, id, label, run_id, open, known, revision FROM backlog_rows
         WHERE organization_id = $1 ORDER BY source, id";
    NEW_ROW = "noting a row":
        "INSERT INTO backlog_rows (organization_id, source, id, label, run_id, open, known, revision, changed_at_ms)
         VALUES ($1, $2, $3, $4, CAST($5 AS TEXT), $6, $7, 1, $8)
         ON CONFLICT (organization_id, source, id) DO NOTHING";
    PUT_ROW = "writing what is known of a row":
        "UPDATE backlog_rows SET label = $4, run_id = CAST($5 AS TEXT), open = $6, known = $7,
           changed_at_ms = $8, revision = revision + 1
         WHERE organization_id = $1 AND source = $2 AND id = $3 AND revision = $9";
    DROP_ROW = "forgetting a row":
        "DELETE FROM backlog_rows WHERE organization_id = $1 AND source = $2 AND id = $3 AND revision = $4";
    ENDED_OVER = "forgetting rows that ended long ago":
        "DELETE FROM backlog_rows WHERE organization_id = $1 AND source = $2 AND open = 0
         AND run_id IS NOT NULL AND id NOT IN (
           SELECT id FROM backlog_rows WHERE organization_id = $1 AND source = $2 AND open = 0
             AND run_id IS NOT NULL ORDER BY changed_at_ms DESC, id DESC LIMIT CAST($3 AS BIGINT))";
}

/// A connected table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BacklogSource {
    /// Unique in the organization.
    pub name: Slug,
    /// Where the address of its database stands: `env:NAME`, …
    pub reference: String,
    /// `automation_ideas`, or what it is called there.
    pub ideas_table: String,
    /// `agent_test_results`, or what it is called there.
    pub results_table: String,
    /// The directory that relative paths of its rows are meant from; absolute.
    pub base_dir: String,
    /// The person's time zone.
    pub zone: String,
    /// Who connected it.
    pub added_by: String,
    /// When, ms.
    pub created_at_ms: i64,
    /// When it was last looked at, ms.
    pub looked_at_ms: Option<i64>,
    /// Looks that failed in a row.
    pub failures: u32,
    /// Why the last one did.
    pub error: Option<String>,
}

/// What is known of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownRow {
    /// The connected table.
    pub source: Slug,
    /// The row's number there.
    pub id: i64,
    /// How it is called here; also of its receipts.
    pub label: Slug,
    /// Its build.
    pub run: Option<RunId>,
    /// Whether something is still to be written of it.
    pub open: bool,
    /// What is known, as the server has it.
    pub known: Value,
    /// 0 when it is not kept yet; named by the next write.
    pub revision: i64,
}

impl Store {
    /// Keeps a connected table. `false`, and nothing kept, when the name is taken.
    pub async fn add_backlog_source(
        &self,
        scope: &OrgScope,
        source: &BacklogSource,
    ) -> Result<bool, Error> {
        let args = [
            scope.arg(),
            Arg::Text(source.name.as_str()),
            Arg::Text(&source.reference),
            Arg::Text(&source.ideas_table),
            Arg::Text(&source.results_table),
            Arg::Text(&source.base_dir),
            Arg::Text(&source.zone),
            Arg::Text(&source.added_by),
            Arg::Int(source.created_at_ms),
        ];
        let mut held = self.inner.db.writer_of(scope).await?;
        Ok(held.conn().execute(&ADD, &args).await? == 1)
    }

    /// The connected tables of an organization, in the order in which they came.
    pub async fn backlog_sources(&self, scope: &OrgScope) -> Result<Vec<BacklogSource>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&SOURCES, &[scope.arg()]).await?;
        rows.iter().map(source).collect()
    }

    /// Everybody who has a connected table, for the heartbeat: like a lease, it mints the scopes.
    pub async fn backlog_owners(&self) -> Result<Vec<OrgScope>, Error> {
        let mut held = self.inner.db.reader().await?;
        let rows = held.conn().fetch(&OWNERS, &[]).await?;
        let scope = |row: &Row| {
            let organization = OrganizationId::new(row.text("organization_id")?);
            Ok(OrgScope::authenticated(organization))
        };
        rows.iter().map(scope).collect()
    }

    /// Notes a look at a connected table: with what it failed, where it did.
    pub async fn looked_at_backlog(
        &self,
        scope: &OrgScope,
        name: &Slug,
        at_ms: i64,
        error: Option<&str>,
    ) -> Result<(), Error> {
        let args = [
            scope.arg(),
            Arg::Text(name.as_str()),
            Arg::Int(at_ms),
            Arg::OptText(error),
        ];
        let ended = [scope.arg(), Arg::Text(name.as_str()), Arg::Int(ENDED_KEPT)];
        self.within(async |conn| {
            conn.execute(&LOOKED, &args).await?;
            conn.execute(&ENDED_OVER, &ended).await.map(|_| ())
        })
        .await
    }

    /// Disconnects a table and forgets its rows. Answers how many rows still have something to be written; then nothing
    /// is done. `None` when there is no such table.
    pub async fn remove_backlog_source(
        &self,
        scope: &OrgScope,
        name: &Slug,
    ) -> Result<Option<u32>, Error> {
        let args = [scope.arg(), Arg::Text(name.as_str())];
        self.within(async |conn| {
            let rows = conn.fetch(&STILL_OPEN, &args).await?;
            let open = rows.first().map(|row| row.count("open")).transpose()?;
            if let Some(open) = open.filter(|open| *open > 0) {
                return Ok(Some(open));
            }
            conn.execute(&REMOVE_ROWS, &args).await?;
            let removed = conn.execute(&REMOVE, &args).await?;
            Ok((removed == 1).then_some(0))
        })
        .await
    }

    /// What is known of the rows of all connected tables.
    pub async fn backlog_rows(&self, scope: &OrgScope) -> Result<Vec<KnownRow>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&ROWS, &[scope.arg()]).await?;
        rows.iter().map(known).collect()
    }

    /// Writes what is known of a row, durably; its revision is then one more. `false`, and nothing written, when it is
    /// no longer at that revision.
    pub async fn put_backlog_row(&self, scope: &OrgScope, row: &KnownRow) -> Result<bool, Error> {
        let known = row.known.to_string();
        let mut args = vec![
            scope.arg(),
            Arg::Text(row.source.as_str()),
            Arg::Int(row.id),
            Arg::Text(row.label.as_str()),
            Arg::OptText(row.run.as_ref().map(RunId::as_str)),
            Arg::Int(i64::from(row.open)),
            Arg::Text(&known),
            Arg::Int(self.now_ms().await?),
        ];
        let statement = if row.revision == 0 {
            &NEW_ROW
        } else {
            args.push(Arg::Int(row.revision));
            &PUT_ROW
        };
        let mut held = self.inner.db.writer_of(scope).await?;
        Ok(held.conn().execute(statement, &args).await? == 1)
    }

    /// Forgets a row; `false` when it is no longer at that revision.
    pub async fn drop_backlog_row(&self, scope: &OrgScope, row: &KnownRow) -> Result<bool, Error> {
        let args = [
            scope.arg(),
            Arg::Text(row.source.as_str()),
            Arg::Int(row.id),
            Arg::Int(row.revision),
        ];
        let mut held = self.inner.db.writer_of(scope).await?;
        Ok(held.conn().execute(&DROP_ROW, &args).await? == 1)
    }
}

fn source(row: &Row) -> Result<BacklogSource, Error> {
    Ok(BacklogSource {
        name: row.parse("name", |text| Slug::parse(text).ok())?,
        reference: row.text("reference")?,
        ideas_table: row.text("ideas_table")?,
        results_table: row.text("results_table")?,
        base_dir: row.text("base_dir")?,
        zone: row.text("zone")?,
        added_by: row.text("added_by")?,
        created_at_ms: row.int("created_at_ms")?,
        looked_at_ms: row.opt_int("looked_at_ms")?,
        failures: row.count("failures")?,
        error: row.opt_text("error")?,
    })
}

fn known(row: &Row) -> Result<KnownRow, Error> {
    Ok(KnownRow {
        source: row.parse("source", |text| Slug::parse(text).ok())?,
        id: row.int("id")?,
        label: row.parse("label", |text| Slug::parse(text).ok())?,
        run: row.opt_text("run_id")?.map(RunId::new),
        open: row.int("open")? == 1,
        known: row.json("known")?,
        revision: row.int("revision")?,
    })
}
