//! Builds as lists of whole runs, how long ended ones took, and how the models answered last: reading only.

use crate::Store;
use crate::db::{Arg, json_text};
use crate::error::Error;
use crate::group::run_of;
use crate::scope::OrgScope;
use agentwright_domain::ids::RunId;
use agentwright_domain::run::{Run, StageRow};
use serde_json::Value;
use std::collections::HashMap;

/// The most builds of one answer of [`Store::builds`].
pub const BUILDS_MAX: u32 = 1_000;

crate::db::statements! {
    BUILDS = "listing builds":
        "SELECT r.organization_id, r.id, r.kind, r.label, r.priority, r.status, r.epoch, r.definition, r.claims,
           r.worked_ms, r.attempt_started_at_ms, r.repeats, r.created_at_ms, r.started_at_ms, r.progress_at_ms,
           r.ended_at_ms, r.state, r.input, d.not_before_ms, d.lease_until_ms
         FROM runs AS r LEFT JOIN dispatch AS d ON d.run_id = r.id
         WHERE r.organization_id = $1 AND r.kind = 'build'
           AND (CAST($2 AS TEXT) IS NULL OR CAST($2 AS TEXT) = CASE
             WHEN r.status = 'ready' AND r.started_at_ms IS NULL THEN 'new'
             WHEN r.status = 'waiting' AND r.stage IN ('spec gate', 'deploy gate') THEN 'gate'
             WHEN r.status IN ('completed', 'failed', 'cancelled') THEN r.status
             ELSE 'begun' END)
           AND (CAST($3 AS BIGINT) IS NULL OR r.created_at_ms >= CAST($3 AS BIGINT))
           AND (CAST($4 AS BIGINT) IS NULL OR r.created_at_ms <= CAST($4 AS BIGINT))
         ORDER BY r.id DESC LIMIT CAST($5 AS BIGINT) OFFSET CAST($6 AS BIGINT)";
    BUILD = "reading a build with its lease":
        "SELECT r.organization_id, r.id, r.kind, r.label, r.priority, r.status, r.epoch, r.definition, r.claims,
           r.worked_ms, r.attempt_started_at_ms, r.repeats, r.created_at_ms, r.started_at_ms, r.progress_at_ms,
           r.ended_at_ms, r.state, r.input, d.not_before_ms, d.lease_until_ms
         FROM runs AS r LEFT JOIN dispatch AS d ON d.run_id = r.id
         WHERE r.organization_id = $1 AND r.id = $2 AND r.kind = 'build'";
    STAGES_OF = "reading stages of several runs":
        "WITH j AS MATERIALIZED (SELECT value ->> 'id' AS r FROM json_each(CAST($2 AS TEXT)))
         SELECT s.run_id, s.stage, s.attempt, s.status, s.started_at_ms, s.ended_at_ms, s.summary
         FROM j CROSS JOIN stages AS s WHERE s.organization_id = $1 AND s.run_id = j.r
         ORDER BY s.run_id, s.epoch";
    PROGRESS = "reading how far a run is":
        "SELECT data FROM events WHERE organization_id = $1 AND run_id = $2 AND event = 'progress'
           AND stage = $3 AND at_ms >= $4 ORDER BY seq DESC LIMIT 1";
    ENDED = "reading how long builds took":
        "SELECT id, label, worked_ms, state, input FROM runs
         WHERE organization_id = $1 AND kind = 'build' AND status = 'completed'
         ORDER BY id DESC LIMIT CAST($2 AS BIGINT)";
    AT_WORK = "counting builds that are worked on":
        "SELECT count(*) AS n FROM dispatch
         WHERE kind = 'build' AND owner IS NOT NULL AND lease_until_ms > $2
           AND (CAST($1 AS TEXT) IS NULL OR organization_id = $1)";
    WAITING = "counting builds that wait for a worker":
        "SELECT count(*) AS n FROM dispatch WHERE kind = 'build' AND owner IS NULL
           AND (CAST($1 AS TEXT) IS NULL OR organization_id = $1)";
    LAST_CALL = "reading how the last call of a model ended":
        "SELECT ended FROM llm_calls WHERE provider = $1 AND settled_at_ms IS NOT NULL AND reserved_at_ms >= $2
         ORDER BY reserved_at_ms DESC LIMIT 1";
    OPEN_RUNS = "reading the newest events of open runs":
        "SELECT id, event_seq FROM runs WHERE organization_id = $1 AND ended_at_ms IS NULL";
    OF_ORGANIZATION = "finding runs of an organization":
        "WITH j AS MATERIALIZED (SELECT value ->> 'id' AS r FROM json_each(CAST($2 AS TEXT)))
         SELECT r.id, r.kind, r.label FROM j CROSS JOIN runs AS r WHERE r.organization_id = $1 AND r.id = j.r";
}

/// How a build stands, for whoever looks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In the queue, never worked on.
    New,
    /// Worked on, or waiting for something that is no person's yes.
    Begun,
    /// At a gate.
    Gate,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Ended by a person.
    Cancelled,
}

impl Standing {
    fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Begun => "begun",
            Self::Gate => "gate",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Which builds a list holds; newest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuildFilter {
    /// Only those that stand so.
    pub standing: Option<Standing>,
    /// Submitted then or later, ms.
    pub from_ms: Option<i64>,
    /// Submitted then or earlier, ms.
    pub to_ms: Option<i64>,
    /// At most so many, [`BUILDS_MAX`] when more.
    pub limit: u32,
    /// After so many.
    pub offset: u32,
}

/// A build, and what its worker is about.
#[derive(Clone, Debug)]
pub struct BuildRow {
    /// The run.
    pub run: Run,
    /// Whether a worker's lease on it is live now.
    pub live: bool,
    /// When it may be claimed, ms, while it is in the queue.
    pub not_before_ms: Option<i64>,
}

/// A build that ended well.
#[derive(Clone, Debug)]
pub struct EndedBuild {
    /// Which.
    pub id: RunId,
    /// Its label.
    pub label: String,
    /// Time spent working, ms.
    pub worked_ms: i64,
    /// Its state, as stored.
    pub state: agentwright_domain::run::RunState,
    /// What it was asked to do.
    pub input: agentwright_domain::run::RunInput,
}

impl Store {
    /// Builds with their states, newest first.
    pub async fn builds(
        &self,
        scope: &OrgScope,
        filter: BuildFilter,
    ) -> Result<Vec<BuildRow>, Error> {
        let args = [
            scope.arg(),
            Arg::OptText(filter.standing.map(Standing::word)),
            Arg::OptInt(filter.from_ms),
            Arg::OptInt(filter.to_ms),
            Arg::Int(i64::from(filter.limit.min(BUILDS_MAX))),
            Arg::Int(i64::from(filter.offset)),
        ];
        let now_ms = self.now_ms().await?;
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&BUILDS, &args).await?;
        rows.iter().map(|row| build_row(row, now_ms)).collect()
    }

    /// One build with its lease.
    pub async fn build(&self, scope: &OrgScope, id: &RunId) -> Result<Option<BuildRow>, Error> {
        let now_ms = self.now_ms().await?;
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(id.as_str())];
        let rows = held.conn().fetch(&BUILD, &args).await?;
        rows.first().map(|row| build_row(row, now_ms)).transpose()
    }

    /// The ended stages of several runs, each in order.
    pub async fn stages_of(
        &self,
        scope: &OrgScope,
        ids: &[RunId],
    ) -> Result<HashMap<RunId, Vec<StageRow>>, Error> {
        let set = id_set(ids)?;
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(&set)];
        let rows = held.conn().fetch(&STAGES_OF, &args).await?;
        let mut of: HashMap<RunId, Vec<StageRow>> = HashMap::new();
        for row in rows {
            let stage = StageRow {
                stage: row.text("stage")?,
                attempt: row.count("attempt")?,
                status: row.text("status")?,
                started_at_ms: row.int("started_at_ms")?,
                ended_at_ms: row.int("ended_at_ms")?,
                summary: row.text("summary")?,
            };
            of.entry(RunId::new(row.text("run_id")?))
                .or_default()
                .push(stage);
        }
        Ok(of)
    }

    /// How far the stage is that a run works on now, 0 to 100; 0 when it has said nothing.
    pub async fn progress(&self, scope: &OrgScope, run: &Run) -> Result<u8, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [
            scope.arg(),
            Arg::Text(run.id.as_str()),
            Arg::Text(run.state.stage()),
            Arg::Int(run.attempt_started_at_ms),
        ];
        let rows = held.conn().fetch(&PROGRESS, &args).await?;
        let Some(row) = rows.first() else {
            return Ok(0);
        };
        let data: Value = row.json("data")?;
        let percent = data.get("percent").and_then(Value::as_u64).unwrap_or(0);
        Ok(u8::try_from(percent).unwrap_or(100).min(100))
    }

    /// The newest builds that ended well, at most `limit`.
    pub async fn ended_builds(
        &self,
        scope: &OrgScope,
        limit: u32,
    ) -> Result<Vec<EndedBuild>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Int(i64::from(limit.min(BUILDS_MAX)))];
        let rows = held.conn().fetch(&ENDED, &args).await?;
        rows.iter()
            .map(|row| {
                Ok(EndedBuild {
                    id: RunId::new(row.text("id")?),
                    label: row.text("label")?,
                    worked_ms: row.int("worked_ms")?,
                    state: row.json("state")?,
                    input: row.json("input")?,
                })
            })
            .collect()
    }

    /// How many builds are worked on now, and how many wait for a worker: of one organization, or of all of them
    /// (for health and metrics only).
    pub async fn builds_at_work(&self, of: Option<&OrgScope>) -> Result<(u64, u64), Error> {
        let now_ms = self.now_ms().await?;
        let mut held = match of {
            Some(scope) => self.inner.db.reader_of(scope).await?,
            None => self.inner.db.reader().await?,
        };
        let of = Arg::OptText(of.map(|scope| scope.organization().as_str()));
        let mut conn = held.conn();
        let mut counts = [0, 0];
        for (to, (statement, args)) in counts.iter_mut().zip([
            (&AT_WORK, &[of, Arg::Int(now_ms)][..]),
            (&WAITING, &[of][..]),
        ]) {
            let rows = conn.fetch(statement, args).await?;
            let n = rows.first().map_or(Ok(0), |row| row.int("n"))?;
            *to = u64::try_from(n).unwrap_or(0);
        }
        Ok((counts[0], counts[1]))
    }

    /// How the newest call of a provider since then ended, in the ledger's word; `None` when there was none. Of
    /// all organizations: for health only.
    pub async fn last_call(
        &self,
        provider: &str,
        since_ms: i64,
    ) -> Result<Option<Option<String>>, Error> {
        let mut held = self.inner.db.reader().await?;
        let args = [Arg::Text(provider), Arg::Int(since_ms)];
        let rows = held.conn().fetch(&LAST_CALL, &args).await?;
        rows.first().map(|row| row.opt_text("ended")).transpose()
    }

    /// The runs of an organization that have not ended, with their newest events' numbers.
    pub async fn open_runs(&self, scope: &OrgScope) -> Result<Vec<(RunId, i64)>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&OPEN_RUNS, &[scope.arg()]).await?;
        rows.iter()
            .map(|row| Ok((RunId::new(row.text("id")?), row.int("event_seq")?)))
            .collect()
    }

    /// Those of the runs that are the organization's, with kind and label.
    pub async fn runs_of(
        &self,
        scope: &OrgScope,
        ids: &[RunId],
    ) -> Result<Vec<(RunId, String, String)>, Error> {
        let set = id_set(ids)?;
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(&set)];
        let rows = held.conn().fetch(&OF_ORGANIZATION, &args).await?;
        rows.iter()
            .map(|row| {
                Ok((
                    RunId::new(row.text("id")?),
                    row.text("kind")?,
                    row.text("label")?,
                ))
            })
            .collect()
    }

    /// Runs of this process that have new events, of all organizations, from now on: `(run, newest number)`.
    /// Whoever lags behind is told so and looks at the tables. Commits of other processes are not in it.
    pub fn commits(&self) -> tokio::sync::broadcast::Receiver<(RunId, i64)> {
        self.inner.watches.commits()
    }
}

pub(crate) fn id_set(ids: &[RunId]) -> Result<String, Error> {
    let ids: Vec<Value> = ids
        .iter()
        .map(|id| serde_json::json!({ "id": id }))
        .collect();
    json_text(&ids)
}

fn build_row(row: &crate::db::Row, now_ms: i64) -> Result<BuildRow, Error> {
    let run = run_of(row)?;
    let lease = row.opt_int("lease_until_ms")?;
    Ok(BuildRow {
        live: lease.is_some_and(|until_ms| until_ms > now_ms),
        not_before_ms: row.opt_int("not_before_ms")?,
        run,
    })
}
