//! What reports are made of, and the nightly ones that were written: reading, and one row per night.

use crate::Store;
use crate::db::{Arg, Row};
use crate::error::Error;
use crate::history::id_set;
use crate::scope::OrgScope;
use agentwright_domain::evidence::TestResult;
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::run::{RunInput, RunState, RunStatus};
use serde_json::Value;

/// The most builds of one report; the newest count.
const ENDED_MAX: i64 = 2_000;

crate::db::statements! {
    ENDED_BETWEEN = "reading builds that ended in a time":
        "SELECT r.id, r.label, r.status, r.state, r.input, r.created_at_ms, r.started_at_ms, r.ended_at_ms, r.worked_ms,
           (SELECT CAST(COALESCE(sum(a.bytes), 0) AS BIGINT) FROM artifacts AS a
             WHERE a.organization_id = r.organization_id AND a.run_id = r.id) AS disk_bytes,
           (SELECT CAST(COALESCE(sum(c.cost_micro_usd), 0) AS BIGINT) FROM llm_calls AS c
             WHERE c.organization_id = r.organization_id AND c.run_id = r.id) AS micro_usd
         FROM runs AS r
         WHERE r.organization_id = $1 AND r.kind = 'build' AND r.ended_at_ms >= $2 AND r.ended_at_ms < $3
         ORDER BY r.ended_at_ms DESC, r.id DESC LIMIT CAST($4 AS BIGINT)";
    RESULTS_OF = "reading what tests of several builds took":
        "SELECT t.run_id, t.result FROM json_each(CAST($2 AS TEXT)) AS j
         JOIN test_results AS t ON t.organization_id = $1 AND t.run_id = j.value ->> 'id'";
    KEEP = "keeping a nightly report":
        "INSERT INTO reports (organization_id, night, written_at_ms, report) VALUES ($1, $2, $3, $4)
         ON CONFLICT (organization_id, night) DO NOTHING";
    KEPT = "reading a nightly report":
        "SELECT night, written_at_ms, report FROM reports WHERE organization_id = $1 AND night = $2";
    NEWEST = "reading the newest nightly report":
        "SELECT night, written_at_ms, report FROM reports WHERE organization_id = $1 ORDER BY night DESC LIMIT 1";
    SPENT_BETWEEN = "adding up what was spent in a time":
        "SELECT count(*) AS calls, CAST(COALESCE(sum(cost_micro_usd), 0) AS BIGINT) AS micro_usd
         FROM llm_calls WHERE organization_id = $1 AND reserved_at_ms >= $2 AND reserved_at_ms < $3";
}

/// A build that ended, with what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedOf {
    /// Which.
    pub id: RunId,
    /// Its label.
    pub label: Slug,
    /// How it ended.
    pub status: RunStatus,
    /// With what.
    pub state: RunState,
    /// What was asked for.
    pub input: RunInput,
    /// When it was submitted, ms.
    pub created_at_ms: i64,
    /// When it was first worked on, ms.
    pub started_at_ms: Option<i64>,
    /// When it ended, ms.
    pub ended_at_ms: i64,
    /// Time spent working, ms.
    pub worked_ms: i64,
    /// Processor time of its tests, ms.
    pub cpu_ms: i64,
    /// The most memory that a test of it held, bytes.
    pub memory_bytes: i64,
    /// What it keeps, bytes.
    pub disk_bytes: i64,
    /// What its models cost, as far as it is known.
    pub micro_usd: i64,
}

/// A nightly report as it was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptReport {
    /// The local date of its evening, `2026-02-06`.
    pub night: String,
    /// When it was made, ms.
    pub written_at_ms: i64,
    /// What it says, as the server has it.
    pub report: Value,
}

impl Store {
    /// Builds that ended from one time (inclusive) to another, the newest first, at most 2,000.
    pub async fn ended_between(
        &self,
        scope: &OrgScope,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<EndedOf>, Error> {
        let args = [
            scope.arg(),
            Arg::Int(from_ms),
            Arg::Int(to_ms),
            Arg::Int(ENDED_MAX),
        ];
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&ENDED_BETWEEN, &args).await?;
        let builds: Result<Vec<EndedOf>, Error> = rows.iter().map(ended).collect();
        let mut builds = builds?;
        let ids: Vec<RunId> = builds.iter().map(|one| one.id.clone()).collect();
        let args = [scope.arg(), Arg::Text(&id_set(&ids)?)];
        for row in held.conn().fetch(&RESULTS_OF, &args).await? {
            let (run, result) = (row.text("run_id")?, row.json::<TestResult>("result")?);
            let of = builds.iter_mut().find(|one| one.id.as_str() == run);
            if let Some(one) = of {
                let cpu_ms = i64::try_from(result.cpu_ms).unwrap_or(i64::MAX);
                let memory = i64::try_from(result.max_rss_bytes).unwrap_or(i64::MAX);
                one.cpu_ms = one.cpu_ms.saturating_add(cpu_ms);
                one.memory_bytes = one.memory_bytes.max(memory);
            }
        }
        Ok(builds)
    }

    /// Calls of models and what they cost from one time (inclusive) to another.
    pub async fn spent_between(
        &self,
        scope: &OrgScope,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<(i64, i64), Error> {
        let args = [scope.arg(), Arg::Int(from_ms), Arg::Int(to_ms)];
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&SPENT_BETWEEN, &args).await?;
        rows.first().map_or(Ok((0, 0)), |row| {
            Ok((row.int("calls")?, row.int("micro_usd")?))
        })
    }

    /// Keeps the report of a night; `false`, and nothing changed, when that night has one.
    pub async fn keep_report(
        &self,
        scope: &OrgScope,
        night: &str,
        report: &Value,
    ) -> Result<bool, Error> {
        let now_ms = self.now_ms().await?;
        let text = report.to_string();
        self.within_of(scope, async |conn| {
            let args = [
                scope.arg(),
                Arg::Text(night),
                Arg::Int(now_ms),
                Arg::Text(&text),
            ];
            Ok(conn.execute(&KEEP, &args).await? == 1)
        })
        .await
    }

    /// The report of a night; the newest one where none is named.
    pub async fn kept_report(
        &self,
        scope: &OrgScope,
        night: Option<&str>,
    ) -> Result<Option<KeptReport>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = match night {
            Some(night) => {
                let args = [scope.arg(), Arg::Text(night)];
                held.conn().fetch(&KEPT, &args).await?
            }
            None => held.conn().fetch(&NEWEST, &[scope.arg()]).await?,
        };
        let kept = |row: &Row| {
            Ok(KeptReport {
                night: row.text("night")?,
                written_at_ms: row.int("written_at_ms")?,
                report: row.json("report")?,
            })
        };
        rows.first().map(kept).transpose()
    }
}

fn ended(row: &Row) -> Result<EndedOf, Error> {
    Ok(EndedOf {
        id: RunId::new(row.text("id")?),
        label: row.parse("label", |text| Slug::parse(text).ok())?,
        status: row.parse("status", RunStatus::from_word)?,
        state: row.json("state")?,
        input: row.json("input")?,
        created_at_ms: row.int("created_at_ms")?,
        started_at_ms: row.opt_int("started_at_ms")?,
        ended_at_ms: row.int("ended_at_ms")?,
        worked_ms: row.int("worked_ms")?,
        cpu_ms: 0,
        memory_bytes: 0,
        disk_bytes: row.int("disk_bytes")?,
        micro_usd: row.int("micro_usd")?,
    })
}
