//! Reading runs and what belongs to them.

use crate::Store;
use crate::db::{Arg, Row};
use crate::error::Error;
use crate::group::run_of;
use crate::rows::{Event, RunFilter, RunRow, TestResultRow, UsageTotals};
use crate::scope::OrgScope;
use agentwright_domain::approval::Approval;
use agentwright_domain::digest::Digest;
use agentwright_domain::evidence::EvidenceRef;
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::run::{Run, RunKind, RunStatus, StageRow, Usage};
use serde_json::Value;

/// The most rows of one answer of [`Store::events`].
pub const EVENTS_MAX: u32 = 1_000;
/// Digits of an id that name a run.
const PREFIX_MIN: usize = 8;
/// The length of a UUID's text.
const ID_LENGTH: usize = 36;

crate::db::statements! {
    RUN = "reading a run":
        "SELECT organization_id, id, kind, label, priority, status, epoch, definition, claims,
           worked_ms, attempt_started_at_ms, repeats, created_at_ms, started_at_ms, progress_at_ms,
           ended_at_ms, state, input
         FROM runs WHERE organization_id = $1 AND id = $2";
    WHOLE = "reading a run and its line":
        "SELECT r.organization_id, r.id, r.kind, r.label, r.priority, r.status, r.stage, r.attempt, r.epoch,
           r.event_seq, r.definition, r.claims, r.worked_ms, r.attempt_started_at_ms, r.repeats,
           r.created_at_ms, r.started_at_ms, r.progress_at_ms, r.ended_at_ms, r.state, r.input,
           d.not_before_ms, d.lease_until_ms
         FROM runs AS r LEFT JOIN dispatch AS d ON d.run_id = r.id
         WHERE r.organization_id = $1 AND r.id = $2";
    BY_ID = "finding a run by its id":
        "SELECT id FROM runs WHERE organization_id = $1 AND id = $2 AND kind = $3";
    BY_LABEL = "finding a run by its label":
        "SELECT id FROM runs WHERE organization_id = $1 AND label = $2 AND kind = $3
         ORDER BY id DESC LIMIT 1";
    BY_PREFIX = "finding a run by the beginning of its id":
        "SELECT id FROM runs WHERE organization_id = $1 AND id LIKE CAST($2 AS TEXT) AND kind = $3
         ORDER BY id DESC LIMIT 2";
    ROW = "reading a line of a run":
        "SELECT r.id, r.kind, r.label, r.priority, r.status, r.stage, r.attempt, r.event_seq, r.repeats,
           r.worked_ms, r.created_at_ms, r.started_at_ms, r.progress_at_ms, r.ended_at_ms,
           d.not_before_ms, d.lease_until_ms
         FROM runs AS r LEFT JOIN dispatch AS d ON d.run_id = r.id
         WHERE r.organization_id = $1 AND r.id = $2";
    LIST = "listing runs":
        "SELECT r.id, r.kind, r.label, r.priority, r.status, r.stage, r.attempt, r.event_seq, r.repeats,
           r.worked_ms, r.created_at_ms, r.started_at_ms, r.progress_at_ms, r.ended_at_ms,
           d.not_before_ms, d.lease_until_ms
         FROM runs AS r LEFT JOIN dispatch AS d ON d.run_id = r.id
         WHERE r.organization_id = $1
           AND (CAST($2 AS TEXT) IS NULL OR r.kind = CAST($2 AS TEXT))
           AND (CAST($3 AS TEXT) IS NULL OR r.status = CAST($3 AS TEXT))
           AND (CAST($4 AS TEXT) IS NULL OR r.label = CAST($4 AS TEXT))
           AND (CAST($5 AS TEXT) IS NULL OR r.id < CAST($5 AS TEXT))
           AND (CAST($6 AS TEXT) IS NULL OR (CAST($6 AS TEXT) = 'open') = (r.ended_at_ms IS NULL))
         ORDER BY r.id DESC LIMIT CAST($7 AS BIGINT)";
    LIST_KIND = "listing runs of a kind":
        "SELECT r.id, r.kind, r.label, r.priority, r.status, r.stage, r.attempt, r.event_seq, r.repeats,
           r.worked_ms, r.created_at_ms, r.started_at_ms, r.progress_at_ms, r.ended_at_ms,
           d.not_before_ms, d.lease_until_ms
         FROM runs AS r LEFT JOIN dispatch AS d ON d.run_id = r.id
         WHERE r.organization_id = $1 AND r.kind = $2
           AND (CAST($3 AS TEXT) IS NULL OR r.status = CAST($3 AS TEXT))
           AND (CAST($4 AS TEXT) IS NULL OR r.label = CAST($4 AS TEXT))
           AND (CAST($5 AS TEXT) IS NULL OR r.id < CAST($5 AS TEXT))
           AND (CAST($6 AS TEXT) IS NULL OR (CAST($6 AS TEXT) = 'open') = (r.ended_at_ms IS NULL))
         ORDER BY r.id DESC LIMIT CAST($7 AS BIGINT)";
    EVENT_SEQ = "reading a run's newest event's number":
        "SELECT event_seq FROM runs WHERE organization_id = $1 AND id = $2";
    EVENTS = "reading events":
        "SELECT seq, at_ms, event, stage, message, data FROM events
         WHERE organization_id = $1 AND run_id = $2 AND seq > $3 ORDER BY seq LIMIT $4";
    STAGES = "reading stages":
        "SELECT stage, attempt, status, started_at_ms, ended_at_ms, summary FROM stages
         WHERE organization_id = $1 AND run_id = $2 ORDER BY epoch";
    TEST_RESULTS = "reading test results":
        "SELECT attempt, at_ms, result FROM test_results
         WHERE organization_id = $1 AND run_id = $2 ORDER BY attempt, level";
    APPROVALS = "reading approvals":
        "SELECT approval FROM approvals WHERE organization_id = $1 AND run_id = $2 ORDER BY at_ms, id";
    ARTIFACTS = "reading the names of artifacts":
        "SELECT name, digest, bytes FROM artifacts
         WHERE organization_id = $1 AND run_id = $2 ORDER BY name";
    USAGE = "reading what a run used":
        "SELECT wall_ms, cpu_ms, max_rss_bytes FROM run_usage WHERE organization_id = $1 AND run_id = $2";
    USAGE_TOTALS = "adding up what executions used":
        "SELECT count(*) AS runs, CAST(COALESCE(sum(u.wall_ms), 0) AS BIGINT) AS wall_ms,
           CAST(COALESCE(sum(u.cpu_ms), 0) AS BIGINT) AS cpu_ms,
           CAST(COALESCE(max(u.max_rss_bytes), 0) AS BIGINT) AS max_rss_bytes
         FROM runs AS r JOIN run_usage AS u ON u.organization_id = r.organization_id AND u.run_id = r.id
         WHERE r.organization_id = $1 AND r.label = $2 AND r.kind = 'execution'";
}

impl Store {
    /// One run, whole.
    pub async fn run(&self, scope: &OrgScope, id: &RunId) -> Result<Option<Run>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(id.as_str())];
        let rows = held.conn().fetch(&RUN, &args).await?;
        rows.first().map(run_of).transpose()
    }

    /// One run, whole, and its line of a list, read at the same moment.
    pub async fn run_and_row(
        &self,
        scope: &OrgScope,
        id: &RunId,
    ) -> Result<Option<(Run, RunRow)>, Error> {
        let now_ms = self.now_ms().await?;
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(id.as_str())];
        let rows = held.conn().fetch(&WHOLE, &args).await?;
        rows.first()
            .map(|row| Ok((run_of(row)?, run_row(row, now_ms)?)))
            .transpose()
    }

    /// One run as a line of a list.
    pub async fn run_row(&self, scope: &OrgScope, id: &RunId) -> Result<Option<RunRow>, Error> {
        let now_ms = self.now_ms().await?;
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(id.as_str())];
        let rows = held.conn().fetch(&ROW, &args).await?;
        rows.first().map(|row| run_row(row, now_ms)).transpose()
    }

    /// The runs of a kind that a person's words name: by a full id, else by the newest that has this label,
    /// else by the beginning of an id (at least 8 characters; more than two are not told apart from two).
    pub async fn find_runs(
        &self,
        scope: &OrgScope,
        kind: RunKind,
        text: &str,
    ) -> Result<Vec<RunId>, Error> {
        let kind = Arg::Text(kind.word());
        let mut held = self.inner.db.reader_of(scope).await?;
        let mut found = Vec::new();
        if text.len() == ID_LENGTH {
            let args = [scope.arg(), Arg::Text(text), kind];
            found = held.conn().fetch(&BY_ID, &args).await?;
        }
        if found.is_empty() {
            let args = [scope.arg(), Arg::Text(text), kind];
            found = held.conn().fetch(&BY_LABEL, &args).await?;
        }
        let id_like =
            text.len() >= PREFIX_MIN && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if found.is_empty() && id_like {
            let prefix = format!("{}%", text.to_ascii_lowercase());
            let args = [scope.arg(), Arg::Text(&prefix), kind];
            found = held.conn().fetch(&BY_PREFIX, &args).await?;
        }
        found
            .iter()
            .map(|row| row.text("id").map(RunId::new))
            .collect()
    }

    /// A page of runs, newest first.
    pub async fn runs(&self, scope: &OrgScope, filter: RunFilter) -> Result<Vec<RunRow>, Error> {
        let limit = match filter.limit {
            0 => RunFilter::LIMIT_DEFAULT,
            limit => limit.min(RunFilter::LIMIT_MAX),
        };
        let open = filter.open.map(|open| if open { "open" } else { "ended" });
        let args = [
            scope.arg(),
            Arg::OptText(filter.kind.map(RunKind::word)),
            Arg::OptText(filter.status.map(RunStatus::word)),
            Arg::OptText(filter.label.as_ref().map(Slug::as_str)),
            Arg::OptText(filter.before.as_ref().map(RunId::as_str)),
            Arg::OptText(open),
            Arg::Int(i64::from(limit)),
        ];
        let now_ms = self.now_ms().await?;
        let statement = if filter.kind.is_some() {
            &LIST_KIND
        } else {
            &LIST
        };
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(statement, &args).await?;
        rows.iter().map(|row| run_row(row, now_ms)).collect()
    }

    /// The number of a run's newest event; 0 for an unknown run.
    pub async fn event_seq(&self, scope: &OrgScope, id: &RunId) -> Result<i64, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(id.as_str())];
        let rows = held.conn().fetch(&EVENT_SEQ, &args).await?;
        rows.first().map_or(Ok(0), |row| row.int("event_seq"))
    }

    /// A run's events after a number, in order, at most `limit` ([`EVENTS_MAX`] when more).
    pub async fn events(
        &self,
        scope: &OrgScope,
        id: &RunId,
        after_seq: i64,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let limit = Arg::Int(i64::from(limit.min(EVENTS_MAX)));
        let args = [
            scope.arg(),
            Arg::Text(id.as_str()),
            Arg::Int(after_seq),
            limit,
        ];
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&EVENTS, &args).await?;
        rows.iter()
            .map(|row| {
                let data = row.opt_text("data")?;
                let data = data.map(|text| serde_json::from_str(&text)).transpose();
                Ok(Event {
                    seq: row.int("seq")?,
                    at_ms: row.int("at_ms")?,
                    event: row.text("event")?,
                    stage: row.text("stage")?,
                    message: row.text("message")?,
                    data: data
                        .map_err(|error| Error::corrupt("data", &error))?
                        .unwrap_or(Value::Null),
                })
            })
            .collect()
    }

    /// A run's ended stages, in order.
    pub async fn stages(&self, scope: &OrgScope, id: &RunId) -> Result<Vec<StageRow>, Error> {
        self.of_run(&STAGES, scope, id, |row| {
            Ok(StageRow {
                stage: row.text("stage")?,
                attempt: row.count("attempt")?,
                status: row.text("status")?,
                started_at_ms: row.int("started_at_ms")?,
                ended_at_ms: row.int("ended_at_ms")?,
                summary: row.text("summary")?,
            })
        })
        .await
    }

    /// A build's test results, by attempt and level.
    pub async fn test_results(
        &self,
        scope: &OrgScope,
        id: &RunId,
    ) -> Result<Vec<TestResultRow>, Error> {
        self.of_run(&TEST_RESULTS, scope, id, |row| {
            Ok(TestResultRow {
                attempt: row.count("attempt")?,
                at_ms: row.int("at_ms")?,
                result: row.json("result")?,
            })
        })
        .await
    }

    /// A build's decisions, in order.
    pub async fn approvals(&self, scope: &OrgScope, id: &RunId) -> Result<Vec<Approval>, Error> {
        self.of_run(&APPROVALS, scope, id, |row| row.json("approval"))
            .await
    }

    /// A run's named artifacts, by name.
    pub async fn artifacts(&self, scope: &OrgScope, id: &RunId) -> Result<Vec<EvidenceRef>, Error> {
        self.of_run(&ARTIFACTS, scope, id, |row| {
            Ok(EvidenceRef {
                name: row.text("name")?,
                digest: row.parse("digest", |text| Digest::parse(text).ok())?,
                bytes: unsigned(row, "bytes")?,
            })
        })
        .await
    }

    /// What a run used.
    pub async fn usage(&self, scope: &OrgScope, id: &RunId) -> Result<Option<Usage>, Error> {
        let rows = self
            .of_run(&USAGE, scope, id, |row| {
                Ok(Usage {
                    wall_ms: unsigned(row, "wall_ms")?,
                    cpu_ms: unsigned(row, "cpu_ms")?,
                    max_rss_bytes: unsigned(row, "max_rss_bytes")?,
                })
            })
            .await?;
        Ok(rows.first().copied())
    }

    /// What all executions of a deployment used.
    pub async fn usage_totals(&self, scope: &OrgScope, name: &Slug) -> Result<UsageTotals, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(name.as_str())];
        let rows = held.conn().fetch(&USAGE_TOTALS, &args).await?;
        let Some(row) = rows.first() else {
            return Ok(UsageTotals::default());
        };
        Ok(UsageTotals {
            runs: unsigned(row, "runs")?,
            wall_ms: unsigned(row, "wall_ms")?,
            cpu_ms: unsigned(row, "cpu_ms")?,
            max_rss_bytes: unsigned(row, "max_rss_bytes")?,
        })
    }

    async fn of_run<T>(
        &self,
        statement: &'static crate::db::Statement,
        scope: &OrgScope,
        id: &RunId,
        read: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(id.as_str())];
        let rows = held.conn().fetch(statement, &args).await?;
        rows.iter().map(read).collect()
    }
}

fn unsigned(row: &Row, column: &str) -> Result<u64, Error> {
    let int = row.int(column)?;
    u64::try_from(int).map_err(|_| Error::corrupt(column, &int))
}

pub(crate) fn run_row(row: &Row, now_ms: i64) -> Result<RunRow, Error> {
    let kind = row.parse("kind", |text| {
        [RunKind::Build, RunKind::Execution]
            .into_iter()
            .find(|kind| kind.word() == text)
    })?;
    let status = row.parse("status", RunStatus::from_word)?;
    let lease = row.opt_int("lease_until_ms")?;
    Ok(RunRow {
        id: RunId::new(row.text("id")?),
        kind,
        label: row.parse("label", |text| Slug::parse(text).ok())?,
        priority: row.int("priority")?,
        status,
        stage: row.text("stage")?,
        attempt: row.count("attempt")?,
        live: status == RunStatus::Leased && lease.is_some_and(|until_ms| until_ms > now_ms),
        event_seq: row.int("event_seq")?,
        not_before_ms: row.opt_int("not_before_ms")?,
        repeats: row.opt_text("repeats")?.map(RunId::new),
        worked_ms: row.int("worked_ms")?,
        created_at_ms: row.int("created_at_ms")?,
        started_at_ms: row.opt_int("started_at_ms")?,
        progress_at_ms: row.int("progress_at_ms")?,
        ended_at_ms: row.opt_int("ended_at_ms")?,
    })
}
