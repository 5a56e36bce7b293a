//! Builds found by words, and what insights count: reading only.

use crate::Store;
use crate::db::Arg;
use crate::error::Error;
use crate::rows::RunRow;
use crate::runs::run_row;
use crate::scope::OrgScope;
use agentwright_domain::ids::RunId;
use agentwright_domain::run::RunStatus;

/// The most rows of one answer.
const ROWS_MAX: u32 = 2_000;

/// In which order builds are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// Which builds a search answers.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// In label, id or request (the sentence, inputs, folders), letters of ASCII in either case; everything
    /// when empty.
    pub words: String,
    /// Only in this status.
    pub status: Option<RunStatus>,
    /// In which order.
    pub order: Order,
    /// Only what comes after this one in the order: the cursor of the page before.
    pub after: Option<RunId>,
    /// At most so many.
    pub limit: u32,
}

/// One ended build, as insights count it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRow {
    /// How it ended.
    pub status: RunStatus,
    /// At which stage or gate.
    pub stage: String,
    /// When, ms.
    pub ended_at_ms: i64,
    /// Time spent working, ms.
    pub worked_ms: i64,
    /// How often code was written.
    pub generated: i64,
}

crate::db::statements! {
    NEWEST = "searching builds, newest first":
        "SELECT r.id, r.kind, r.label, r.priority, r.status, r.stage, r.attempt, r.event_seq, r.repeats,
           r.worked_ms, r.created_at_ms, r.started_at_ms, r.progress_at_ms, r.ended_at_ms,
           d.not_before_ms, d.lease_until_ms
         FROM runs AS r LEFT JOIN dispatch AS d ON d.run_id = r.id
         WHERE r.organization_id = $1 AND r.kind = 'build'
           AND (CAST($2 AS TEXT) IS NULL OR r.status = CAST($2 AS TEXT))
           AND (CAST($3 AS TEXT) IS NULL OR r.label LIKE CAST($3 AS TEXT) ESCAPE '~'
             OR r.id LIKE CAST($3 AS TEXT) ESCAPE '~' OR lower(r.input) LIKE CAST($6 AS TEXT) ESCAPE '~')
           AND (CAST($4 AS TEXT) IS NULL OR r.id < CAST($4 AS TEXT))
         ORDER BY r.id DESC LIMIT CAST($5 AS BIGINT)";
    OLDEST = "searching builds, oldest first":
        "SELECT r.id, r.kind, r.label, r.priority, r.status, r.stage, r.attempt, r.event_seq, r.repeats,
           r.worked_ms, r.created_at_ms, r.started_at_ms, r.progress_at_ms, r.ended_at_ms,
           d.not_before_ms, d.lease_until_ms
         FROM runs AS r LEFT JOIN dispatch AS d ON d.run_id = r.id
         WHERE r.organization_id = $1 AND r.kind = 'build'
           AND (CAST($2 AS TEXT) IS NULL OR r.status = CAST($2 AS TEXT))
           AND (CAST($3 AS TEXT) IS NULL OR r.label LIKE CAST($3 AS TEXT) ESCAPE '~'
             OR r.id LIKE CAST($3 AS TEXT) ESCAPE '~' OR lower(r.input) LIKE CAST($6 AS TEXT) ESCAPE '~')
           AND (CAST($4 AS TEXT) IS NULL OR r.id > CAST($4 AS TEXT))
         ORDER BY r.id LIMIT CAST($5 AS BIGINT)";
    ENDED_BUILDS = "reading ended builds for insights":
        "SELECT r.status, r.stage, r.ended_at_ms, r.worked_ms,
           (SELECT count(*) FROM stages AS s WHERE s.organization_id = r.organization_id AND s.run_id = r.id
             AND s.stage = 'generate' AND s.status <> 'parked') AS generated
         FROM runs AS r
         WHERE r.organization_id = $1 AND r.kind = 'build' AND r.ended_at_ms >= $2
         ORDER BY r.id DESC LIMIT CAST($3 AS BIGINT)";
}

impl Store {
    /// A page of the builds that fit.
    pub async fn search_builds(
        &self,
        scope: &OrgScope,
        search: &Search,
    ) -> Result<Vec<RunRow>, Error> {
        let words = search.words.trim();
        let pattern = (!words.is_empty()).then(|| like(words));
        // The request is kept as JSON, so the words are looked for as JSON writes them.
        let written = crate::db::json_text(&words)?;
        let in_request = like(written.trim_matches('"'));
        let args = [
            scope.arg(),
            Arg::OptText(search.status.map(RunStatus::word)),
            Arg::OptText(pattern.as_deref()),
            Arg::OptText(search.after.as_ref().map(RunId::as_str)),
            Arg::Int(i64::from(search.limit.clamp(1, ROWS_MAX))),
            Arg::Text(&in_request),
        ];
        let now_ms = self.now_ms().await?;
        let statement = match search.order {
            Order::Newest => &NEWEST,
            Order::Oldest => &OLDEST,
        };
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(statement, &args).await?;
        rows.iter().map(|row| run_row(row, now_ms)).collect()
    }

    /// Builds that ended at or after that time, the newest first, at most 2,000.
    pub async fn ended_since(
        &self,
        scope: &OrgScope,
        from_ms: i64,
    ) -> Result<Vec<EndedRow>, Error> {
        let args = [
            scope.arg(),
            Arg::Int(from_ms),
            Arg::Int(i64::from(ROWS_MAX)),
        ];
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&ENDED_BUILDS, &args).await?;
        let read = |row: &crate::db::Row| {
            Ok(EndedRow {
                status: row.parse("status", RunStatus::from_word)?,
                stage: row.text("stage")?,
                ended_at_ms: row.int("ended_at_ms")?,
                worked_ms: row.int("worked_ms")?,
                generated: row.int("generated")?,
            })
        };
        rows.iter().map(read).collect()
    }
}

/// A pattern that finds exactly these words.
fn like(words: &str) -> String {
    let mut pattern = String::from("%");
    for c in words.chars() {
        if matches!(c, '%' | '_' | '~') {
            pattern.push('~');
        }
        pattern.push(c.to_ascii_lowercase());
    }
    pattern.push('%');
    pattern
}
