//! Deleting: a whole organization, and what is older than it is kept for.
//!
//! Rows go in one transaction, children first; files go after it, unless a row of anybody still names them. A
//! crash in between leaves files without rows, which the quota takes.

use crate::Store;
use crate::audit::{Actor, Change, append};
use crate::db::{Arg, Conn, Statement, json_rows};
use crate::error::Error;
use crate::scope::OrgScope;
use agentwright_domain::digest::Digest;
use agentwright_domain::evidence::TestResult;
use agentwright_domain::ids::{LOCAL_ORGANIZATION, OrganizationId, RunId};
use std::collections::BTreeSet;

/// The most runs that one [`Store::sweep`] takes away.
pub const SWEEP_MAX: u32 = 100;

crate::db::statements! {
    MARK = "marking an organization as deleted":
        "UPDATE organizations SET deleted_at_ms = $2, name = '' WHERE id = $1 AND deleted_at_ms IS NULL";
    RUNS_OF = "listing an organization's runs":
        "SELECT id FROM runs WHERE organization_id = $1";
    KEPT_OF = "listing an organization's artifacts":
        "SELECT DISTINCT digest FROM artifacts WHERE organization_id = $1";
    RESULTS_OF = "listing an organization's evidence":
        "SELECT result FROM test_results WHERE organization_id = $1";
    DEL_LINKS = "deleting an organization's links that decide": "DELETE FROM decision_tokens WHERE organization_id = $1";
    DEL_ROWS = "deleting what is known of rows of an organization's tables": "DELETE FROM backlog_rows WHERE organization_id = $1";
    DEL_SOURCES = "disconnecting an organization's tables": "DELETE FROM backlog_sources WHERE organization_id = $1";
    DEL_IDEAS = "deleting an organization's backlog": "DELETE FROM automation_ideas WHERE organization_id = $1";
    DEL_QUEUE = "deleting the state of an organization's backlog": "DELETE FROM queue_state WHERE organization_id = $1";
    DEL_RECEIPTS = "deleting an organization's receipts": "DELETE FROM queue_receipts WHERE organization_id = $1";
    DEL_LOOKS = "deleting an organization's heartbeats": "DELETE FROM heartbeats WHERE organization_id = $1";
    DEL_REPORTS = "deleting an organization's reports": "DELETE FROM reports WHERE organization_id = $1";
    DEL_MESSAGES = "deleting what webhooks brought an organization": "DELETE FROM hook_messages WHERE organization_id = $1";
    DEL_CALLS = "deleting an organization's model calls": "DELETE FROM llm_calls WHERE organization_id = $1";
    DEL_BUDGETS = "deleting an organization's budgets": "DELETE FROM budgets WHERE organization_id = $1";
    DEL_OUTBOX = "deleting an organization's notices": "DELETE FROM outbox WHERE organization_id = $1";
    DEL_IDEMPOTENCY = "deleting an organization's idempotency keys": "DELETE FROM idempotency_keys WHERE organization_id = $1";
    DEL_SERVICES = "deleting an organization's services": "DELETE FROM services WHERE organization_id = $1";
    DEL_VERSIONS = "deleting an organization's versions": "DELETE FROM versions WHERE organization_id = $1";
    DEL_DEPLOYMENTS = "deleting an organization's deployments": "DELETE FROM deployments WHERE organization_id = $1";
    DEL_GRANTS = "deleting an organization's grants": "DELETE FROM grants WHERE organization_id = $1";
    DEL_USAGE = "deleting an organization's usage": "DELETE FROM run_usage WHERE organization_id = $1";
    DEL_ARTIFACTS = "deleting an organization's artifacts": "DELETE FROM artifacts WHERE organization_id = $1";
    DEL_APPROVALS = "deleting an organization's approvals": "DELETE FROM approvals WHERE organization_id = $1";
    DEL_RESULTS = "deleting an organization's test results": "DELETE FROM test_results WHERE organization_id = $1";
    DEL_EVENTS = "deleting an organization's events": "DELETE FROM events WHERE organization_id = $1";
    DEL_STAGES = "deleting an organization's stages": "DELETE FROM stages WHERE organization_id = $1";
    DEL_DISPATCH = "deleting an organization's queue": "DELETE FROM dispatch WHERE organization_id = $1";
    DEL_RUNS = "deleting an organization's runs": "DELETE FROM runs WHERE organization_id = $1";
    DEL_SESSIONS = "deleting an organization's sessions": "DELETE FROM sessions WHERE organization_id = $1";
    DEL_CODES = "deleting an organization's login codes": "DELETE FROM login_codes WHERE organization_id = $1";
    DEL_CONNECTIONS = "disconnecting an organization from service keys":
        "DELETE FROM key_organizations WHERE organization_id = $1
         OR key_id IN (SELECT id FROM api_keys WHERE organization_id = $1)";
    DEL_KEYS = "deleting an organization's keys": "DELETE FROM api_keys WHERE organization_id = $1";
    DEL_AUDIT = "deleting an organization's audit trail": "DELETE FROM audit WHERE organization_id = $1";
    DEL_HEAD = "deleting the head of an organization's audit trail": "DELETE FROM audit_heads WHERE organization_id = $1";
    STILL_KEPT = "finding which artifacts are still named":
        "WITH j AS MATERIALIZED (SELECT value ->> 'digest' AS digest FROM json_each(CAST($1 AS TEXT)))
         SELECT DISTINCT a.digest FROM j CROSS JOIN artifacts AS a WHERE a.digest = j.digest";
    OLD = "finding runs that are older than they are kept":
        "SELECT r.organization_id, r.id FROM runs AS r
         WHERE r.ended_at_ms IS NOT NULL AND r.ended_at_ms < $1
         AND NOT EXISTS (SELECT 1 FROM versions AS v WHERE v.organization_id = r.organization_id AND v.build_id = r.id)
         AND NOT EXISTS (SELECT 1 FROM outbox AS o WHERE o.organization_id = r.organization_id AND o.run_id = r.id AND o.status = 'waiting')
         ORDER BY r.ended_at_ms LIMIT $2";
    OLD_KEPT = "listing the artifacts of old runs":
        "WITH j AS MATERIALIZED (SELECT value ->> 'org' AS o, value ->> 'run' AS r FROM json_each(CAST($1 AS TEXT)))
         SELECT DISTINCT a.digest FROM j CROSS JOIN artifacts AS a WHERE a.organization_id = j.o AND a.run_id = j.r";
    OLD_LINKS = "deleting old runs' links that decide":
        "DELETE FROM decision_tokens WHERE (organization_id, run_id) IN (WITH j AS MATERIALIZED (SELECT value ->> 'org' AS o, value ->> 'run' AS r FROM json_each(CAST($1 AS TEXT))) SELECT o, r FROM j)";
    OLD_CALLS = "deleting old runs' model calls":
        "DELETE FROM llm_calls WHERE (organization_id, run_id) IN (WITH j AS MATERIALIZED (SELECT value ->> 'org' AS o, value ->> 'run' AS r FROM json_each(CAST($1 AS TEXT))) SELECT o, r FROM j)";
    OLD_OUTBOX = "deleting old runs' notices":
        "DELETE FROM outbox WHERE (organization_id, run_id) IN (WITH j AS MATERIALIZED (SELECT value ->> 'org' AS o, value ->> 'run' AS r FROM json_each(CAST($1 AS TEXT))) SELECT o, r FROM j)";
    OLD_USAGE = "deleting old runs' usage":
        "DELETE FROM run_usage WHERE (organization_id, run_id) IN (WITH j AS MATERIALIZED (SELECT value ->> 'org' AS o, value ->> 'run' AS r FROM json_each(CAST($1 AS TEXT))) SELECT o, r FROM j)";
    OLD_ARTIFACTS = "deleting old runs' artifacts":
        "DELETE FROM artifacts WHERE (organization_id, run_id) IN (WITH j AS MATERIALIZED (SELECT value ->> 'org' AS o, value ->> 'run' AS r FROM json_each(CAST($1 AS TEXT))) SELECT o, r FROM j)";
    OLD_APPROVALS = "deleting old runs' approvals":
        "DELETE FROM approvals WHERE (organization_id, run_id) IN (WITH j AS MATERIALIZED (SELECT value ->> 'org' AS o, value ->> 'run' AS r FROM json_each(CAST($1 AS TEXT))) SELECT o, r FROM j)";
    OLD_RESULTS = "deleting old runs' test results":
        "DELETE FROM test_results WHERE (organization_id, run_id) IN (WITH j AS MATERIALIZED (SELECT value ->> 'org' AS o, value ->> 'run' AS r FROM json_each(CAST($1 AS TEXT))) SELECT o, r FROM j)";
    OLD_EVENTS = "deleting old runs' events":
        "DELETE FROM events WHERE (organization_id, run_id) IN (WITH j AS MATERIALIZED (SELECT value ->> 'org' AS o, value ->> 'run' AS r FROM json_each(CAST($1 AS TEXT))) SELECT o, r FROM j)";
    OLD_STAGES = "deleting old runs' stages":
        "DELETE FROM stages WHERE (organization_id, run_id) IN (WITH j AS MATERIALIZED (SELECT value ->> 'org' AS o, value ->> 'run' AS r FROM json_each(CAST($1 AS TEXT))) SELECT o, r FROM j)";
    OLD_RUNS = "deleting old runs":
        "DELETE FROM runs WHERE (organization_id, id) IN (WITH j AS MATERIALIZED (SELECT value ->> 'org' AS o, value ->> 'run' AS r FROM json_each(CAST($1 AS TEXT))) SELECT o, r FROM j)";
    OLD_TEXTS = "finding transcripts and logs that are older than they are kept":
        "SELECT a.organization_id, a.run_id, a.name, a.digest FROM artifacts AS a
         JOIN runs AS r ON r.organization_id = a.organization_id AND r.id = a.run_id
         WHERE r.ended_at_ms IS NOT NULL
         AND ((a.name LIKE 'transcript-%' AND a.at_ms < $1) OR (a.name = 'log' AND a.at_ms < $2))
         ORDER BY a.at_ms LIMIT $3";
    FORGET_TEXT = "deleting a transcript or a log":
        "DELETE FROM artifacts WHERE organization_id = $1 AND run_id = $2 AND name = $3";
}

/// Every table of tenants, children before what they refer to.
static OF_ORGANIZATION: &[&Statement] = &[
    &DEL_LINKS,
    &DEL_ROWS,
    &DEL_SOURCES,
    &DEL_IDEAS,
    &DEL_QUEUE,
    &DEL_RECEIPTS,
    &DEL_LOOKS,
    &DEL_REPORTS,
    &DEL_MESSAGES,
    &DEL_CALLS,
    &DEL_BUDGETS,
    &DEL_OUTBOX,
    &DEL_IDEMPOTENCY,
    &DEL_SERVICES,
    &DEL_VERSIONS,
    &DEL_DEPLOYMENTS,
    &DEL_GRANTS,
    &DEL_USAGE,
    &DEL_ARTIFACTS,
    &DEL_APPROVALS,
    &DEL_RESULTS,
    &DEL_EVENTS,
    &DEL_STAGES,
    &DEL_DISPATCH,
    &DEL_RUNS,
    &DEL_SESSIONS,
    &DEL_CODES,
    &DEL_CONNECTIONS,
    &DEL_KEYS,
    &DEL_AUDIT,
    &DEL_HEAD,
];

/// Every table of runs, the runs themselves last.
static OF_RUNS: &[&Statement] = &[
    &OLD_LINKS,
    &OLD_CALLS,
    &OLD_OUTBOX,
    &OLD_USAGE,
    &OLD_ARTIFACTS,
    &OLD_APPROVALS,
    &OLD_RESULTS,
    &OLD_EVENTS,
    &OLD_STAGES,
    &OLD_RUNS,
];

/// What went with an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Its runs, whose directories may go.
    pub runs: Vec<RunId>,
    /// Rows of all tables.
    pub rows: u64,
}

/// How long things are kept, as moments: what ended before them goes. None keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Ended runs with everything of them; those of deployed versions stay.
    pub runs_before_ms: Option<i64>,
    /// What coders and models said while they wrote.
    pub transcripts_before_ms: Option<i64>,
    /// What executions printed.
    pub logs_before_ms: Option<i64>,
}

impl Store {
    /// Deletes an organization with everything of it; its id is never given again. The row about it stands in
    /// the trail of `local`, which itself stays. `None` when there is no such organization. Its runs must have
    /// been ended and its deployments removed before.
    pub async fn delete_organization(
        &self,
        id: &OrganizationId,
        by: &Actor,
    ) -> Result<Option<Deleted>, Error> {
        if id.as_str() == LOCAL_ORGANIZATION {
            return Ok(None);
        }
        let now_ms = self.now_ms().await?;
        let org = [Arg::Text(id.as_str())];
        let done = self
            .within(async |conn| {
                let args = [org[0], Arg::Int(now_ms)];
                if conn.execute(&MARK, &args).await? == 0 {
                    return Ok(None);
                }
                let mut runs = Vec::new();
                for row in conn.fetch(&RUNS_OF, &org).await? {
                    runs.push(RunId::new(row.text("id")?));
                }
                let kept = kept_of(conn, id).await?;
                let mut rows = 0;
                for statement in OF_ORGANIZATION {
                    rows += conn.execute(statement, &org).await?;
                }
                let change = Change {
                    action: "organization.delete".to_owned(),
                    target: id.as_str().to_owned(),
                    before: None,
                    after: None,
                };
                let at = (&OrgScope::local(), now_ms);
                append(conn, &self.inner.secret, at, by, &change).await?;
                Ok(Some((Deleted { runs, rows }, kept)))
            })
            .await?;
        let Some((deleted, kept)) = done else {
            return Ok(None);
        };
        self.forget_artifacts(kept).await?;
        Ok(Some(deleted))
    }

    /// Takes away what is older than it is kept for: at most [`SWEEP_MAX`] runs, and as many transcripts and
    /// logs. Answers the runs, whose directories may go; call again while there are [`SWEEP_MAX`].
    pub async fn sweep(&self, kept_for: Retention) -> Result<Vec<RunId>, Error> {
        let limit = Arg::Int(i64::from(SWEEP_MAX));
        let (runs, mut gone) = match kept_for.runs_before_ms {
            None => (Vec::new(), BTreeSet::new()),
            Some(before) => {
                self.within(async |conn| {
                    let old = conn.fetch(&OLD, &[Arg::Int(before), limit]).await?;
                    let mut named = Vec::with_capacity(old.len());
                    for row in &old {
                        named.push((row.text("organization_id")?, row.text("id")?));
                    }
                    delete_runs(conn, named).await
                })
                .await?
            }
        };
        let never = i64::MIN;
        let args = [
            Arg::Int(kept_for.transcripts_before_ms.unwrap_or(never)),
            Arg::Int(kept_for.logs_before_ms.unwrap_or(never)),
            limit,
        ];
        let texts = self
            .within(async |conn| {
                let mut digests = BTreeSet::new();
                for row in conn.fetch(&OLD_TEXTS, &args).await? {
                    let (org, run, name) = (
                        row.text("organization_id")?,
                        row.text("run_id")?,
                        row.text("name")?,
                    );
                    let key = [Arg::Text(&org), Arg::Text(&run), Arg::Text(&name)];
                    conn.execute(&FORGET_TEXT, &key).await?;
                    digests.insert(row.parse("digest", |text| Digest::parse(text).ok())?);
                }
                Ok(digests)
            })
            .await?;
        gone.extend(texts);
        self.forget_artifacts(gone).await?;
        Ok(runs)
    }

    /// Removes the files that no row names any more.
    async fn forget_artifacts(&self, mut digests: BTreeSet<Digest>) -> Result<(), Error> {
        if digests.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = digests
            .iter()
            .map(|digest| serde_json::json!({ "digest": digest.to_string() }))
            .collect();
        let list = json_rows(&rows)?;
        let mut held = self.inner.db.reader().await?;
        for row in held.conn().fetch(&STILL_KEPT, &[Arg::Text(&list)]).await? {
            digests.remove(&row.parse("digest", |text| Digest::parse(text).ok())?);
        }
        drop(held);
        for digest in digests {
            match tokio::fs::remove_file(self.artifact_path(&digest)).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%digest, %error, "an artifact that nobody names stays");
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

async fn kept_of(conn: &mut Conn<'_>, id: &OrganizationId) -> Result<BTreeSet<Digest>, Error> {
    let org = [Arg::Text(id.as_str())];
    let mut kept = BTreeSet::new();
    for row in conn.fetch(&KEPT_OF, &org).await? {
        kept.insert(row.parse("digest", |text| Digest::parse(text).ok())?);
    }
    for row in conn.fetch(&RESULTS_OF, &org).await? {
        let result: TestResult = row.json("result")?;
        kept.extend(result.evidence.into_iter().map(|kept| kept.digest));
    }
    Ok(kept)
}

async fn delete_runs(
    conn: &mut Conn<'_>,
    named: Vec<(String, String)>,
) -> Result<(Vec<RunId>, BTreeSet<Digest>), Error> {
    let rows: Vec<_> = named
        .iter()
        .map(|(org, run)| serde_json::json!({ "org": org, "run": run }))
        .collect();
    let list = json_rows(&rows)?;
    let list = [Arg::Text(&list)];
    let mut kept = BTreeSet::new();
    for row in conn.fetch(&OLD_KEPT, &list).await? {
        kept.insert(row.parse("digest", |text| Digest::parse(text).ok())?);
    }
    for statement in OF_RUNS {
        conn.execute(statement, &list).await?;
    }
    let runs = named.into_iter().map(|(_, run)| RunId::new(run)).collect();
    Ok((runs, kept))
}
