//! Rows beside a run. Few per run, so one plain statement each; every one may be written twice.

use super::Key;
use crate::db::{Arg, Conn, json_text};
use crate::error::Error;
use agentwright_domain::approval::{Approval, Grant};
use agentwright_domain::deployment::{Activity, DeployedVersion, Health, ServiceEntry};
use agentwright_domain::evidence::{EvidenceRef, TestResult, Verdict};
use agentwright_domain::ids::OrganizationId;
use agentwright_domain::run::{Expected, Record, Replaced, Usage};

crate::db::statements! {
    TEST_RESULT = "writing a test result":
        "INSERT INTO test_results (organization_id, run_id, attempt, level, verdict, at_ms, result)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (organization_id, run_id, attempt, level) DO UPDATE SET
           verdict = excluded.verdict, at_ms = excluded.at_ms, result = excluded.result";
    APPROVAL = "writing an approval":
        "INSERT INTO approvals (organization_id, run_id, id, gate, subject, decision, at_ms, approval)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (organization_id, id) DO NOTHING";
    GRANT = "writing a grant":
        "INSERT INTO grants (organization_id, id, deployment, approval_id, granted_at_ms, revoked_at_ms, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (organization_id, id) DO NOTHING";
    DEPLOYMENT = "switching a deployment to a new version":
        "INSERT INTO deployments (organization_id, name, active_version, activity, failures_in_a_row,
           revision, created_at_ms, changed_at_ms)
         VALUES ($1, $2, $3, $4, 0, 1, $5, $5)
         ON CONFLICT (organization_id, name) DO UPDATE SET active_version = excluded.active_version,
           activity = excluded.activity, failures_in_a_row = 0, next_due_at_ms = NULL,
           revision = deployments.revision + 1, changed_at_ms = excluded.changed_at_ms";
    RESERVE = "taking the name of a new deployment":
        "INSERT INTO deployments (organization_id, name, active_version, activity, failures_in_a_row,
           revision, created_at_ms, changed_at_ms)
         VALUES ($1, $2, 0, $3, 0, 0, $4, $4)
         ON CONFLICT (organization_id, name) DO NOTHING";
    DEPLOYED = "looking whether a deployment is still there":
        "SELECT name FROM deployments WHERE organization_id = $1 AND name = $2" lock " FOR UPDATE";
    TAKE = "taking the place of the active version":
        "UPDATE deployments SET active_version = 0
         WHERE organization_id = $1 AND name = $2 AND active_version = $3
           AND EXISTS (SELECT 1 FROM versions AS v
             WHERE v.organization_id = $1 AND v.name = $2 AND v.version = $3 AND v.build_id = $4)";
    VERSION = "writing a version":
        "INSERT INTO versions (organization_id, name, version, build_id, grant_id, deployed_at_ms, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (organization_id, name, version) DO NOTHING";
    HEALTH = "writing how an execution left its deployment":
        "UPDATE deployments SET failures_in_a_row = $3,
           activity = CASE WHEN activity = CAST($4 AS TEXT)
             THEN COALESCE(CAST($5 AS TEXT), activity) ELSE activity END,
           revision = revision + 1, changed_at_ms = $6
         WHERE organization_id = $1 AND name = $2";
    SERVICE = "writing a directory entry":
        "INSERT INTO services (organization_id, name, kind, purpose, version, endpoint, registered_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (organization_id, name) DO UPDATE SET kind = excluded.kind,
           purpose = excluded.purpose, version = excluded.version, endpoint = excluded.endpoint,
           registered_at_ms = excluded.registered_at_ms";
    ENDPOINT = "writing where a deployment answers":
        "UPDATE deployments SET endpoint = $3, revision = revision + 1
         WHERE organization_id = $1 AND name = $2";
    USAGE = "writing what was used":
        "INSERT INTO run_usage (organization_id, run_id, wall_ms, cpu_ms, max_rss_bytes)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (organization_id, run_id) DO UPDATE SET
           wall_ms = run_usage.wall_ms + excluded.wall_ms, cpu_ms = run_usage.cpu_ms + excluded.cpu_ms,
           max_rss_bytes = CASE WHEN run_usage.max_rss_bytes > excluded.max_rss_bytes
             THEN run_usage.max_rss_bytes ELSE excluded.max_rss_bytes END";
    ARTIFACT = "naming an artifact":
        "INSERT INTO artifacts (organization_id, run_id, name, digest, bytes, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (organization_id, run_id, name) DO UPDATE SET digest = excluded.digest,
           bytes = excluded.bytes, at_ms = excluded.at_ms";
}

/// Writes one row of a run.
pub(super) async fn write_record(
    conn: &mut Conn<'_>,
    now_ms: i64,
    key: &Key,
    attempt: u32,
    record: &Record,
) -> Result<(), Error> {
    let of = Of {
        organization: Arg::Text(key.0.as_str()),
        run: Arg::Text(key.1.as_str()),
        now: Arg::Int(now_ms),
    };
    match record {
        Record::TestResult(result) => of.test_result(conn, attempt, result).await,
        Record::Approval(approval) => of.approval(conn, approval).await,
        Record::Grant(grant) => of.grant(conn, grant).await,
        Record::Version(version) => of.version(conn, version).await,
        Record::Health(health) => of.health(conn, now_ms, health).await,
        Record::Service(entry) => of.service(conn, entry).await,
        Record::Usage(usage) => of.usage(conn, usage).await,
        Record::Artifact(artifact) => of.artifact(conn, artifact).await,
        // It was looked at before anything was written.
        Record::Expects(_) | Record::Replaces(_) => Ok(()),
    }
}

/// Whether a deployment is as a commit expects it, until the end of the transaction. Where there is to be none its
/// row is made, so that nobody else makes it meanwhile: the version of the same commit fills it.
pub(super) async fn holds(
    conn: &mut Conn<'_>,
    now_ms: i64,
    organization: &OrganizationId,
    expected: &Expected,
) -> Result<bool, Error> {
    let (organization, name) = (
        Arg::Text(organization.as_str()),
        Arg::Text(expected.name.as_str()),
    );
    if expected.deployed {
        let rows = conn.fetch(&DEPLOYED, &[organization, name]).await?;
        return Ok(!rows.is_empty());
    }
    let active = json_text(&Activity::Active)?;
    let args = [organization, name, Arg::Text(&active), Arg::Int(now_ms)];
    Ok(conn.execute(&RESERVE, &args).await? == 1)
}

/// Whether the version that a commit replaces is the active one. Its place is taken at once, so that no other commit of
/// the same group finds it still there: the version of the same commit fills it.
pub(super) async fn replaces(
    conn: &mut Conn<'_>,
    organization: &OrganizationId,
    replaced: &Replaced,
) -> Result<bool, Error> {
    let args = [
        Arg::Text(organization.as_str()),
        Arg::Text(replaced.name.as_str()),
        Arg::Int(i64::from(replaced.version.version)),
        Arg::Text(replaced.version.build.as_str()),
    ];
    Ok(conn.execute(&TAKE, &args).await? == 1)
}

/// Whose row, of which run, when.
struct Of<'a> {
    organization: Arg<'a>,
    run: Arg<'a>,
    now: Arg<'a>,
}

impl Of<'_> {
    async fn test_result(
        &self,
        conn: &mut Conn<'_>,
        attempt: u32,
        result: &TestResult,
    ) -> Result<(), Error> {
        let verdict = match result.verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
        };
        let args = [
            self.organization,
            self.run,
            Arg::Int(i64::from(attempt)),
            Arg::Int(i64::from(result.level.number())),
            Arg::Text(verdict),
            self.now,
            Arg::Text(&json_text(result)?),
        ];
        conn.execute(&TEST_RESULT, &args).await.map(|_| ())
    }

    async fn approval(&self, conn: &mut Conn<'_>, approval: &Approval) -> Result<(), Error> {
        let decision = if approval.approved {
            "approved"
        } else {
            "rejected"
        };
        let args = [
            self.organization,
            self.run,
            Arg::Text(approval.id.as_str()),
            Arg::Text(approval.gate.word()),
            Arg::Text(approval.subject.as_str()),
            Arg::Text(decision),
            Arg::Int(approval.at_ms),
            Arg::Text(&json_text(approval)?),
        ];
        conn.execute(&APPROVAL, &args).await.map(|_| ())
    }

    async fn grant(&self, conn: &mut Conn<'_>, grant: &Grant) -> Result<(), Error> {
        let args = [
            self.organization,
            Arg::Text(grant.id.as_str()),
            Arg::Text(grant.deployment.as_str()),
            Arg::OptText(grant.approval.as_ref().map(|id| id.as_str())),
            Arg::Int(grant.granted_at_ms),
            Arg::OptInt(grant.revoked_at_ms),
            Arg::Text(&json_text(grant)?),
        ];
        conn.execute(&GRANT, &args).await.map(|_| ())
    }

    /// A new version becomes the active one, and the deployment fires again: it was approved just now.
    async fn version(&self, conn: &mut Conn<'_>, version: &DeployedVersion) -> Result<(), Error> {
        let number = Arg::Int(i64::from(version.version));
        let name = Arg::Text(version.name.as_str());
        let active = json_text(&Activity::Active)?;
        let args = [
            self.organization,
            name,
            number,
            Arg::Text(&active),
            self.now,
        ];
        conn.execute(&DEPLOYMENT, &args).await?;
        let args = [
            self.organization,
            name,
            number,
            Arg::Text(version.build.as_str()),
            Arg::Text(version.grant.as_str()),
            Arg::Int(version.deployed_at_ms),
            Arg::Text(&json_text(version)?),
        ];
        conn.execute(&VERSION, &args).await.map(|_| ())
    }

    /// A failure pauses only what is active: what a person stopped stays stopped.
    async fn health(&self, conn: &mut Conn<'_>, now_ms: i64, health: &Health) -> Result<(), Error> {
        let paused = health
            .paused
            .as_ref()
            .map(|reason| {
                json_text(&Activity::Paused {
                    reason: reason.clone(),
                    since_ms: now_ms,
                })
            })
            .transpose()?;
        let args = [
            self.organization,
            Arg::Text(health.name.as_str()),
            Arg::Int(i64::from(health.failures_in_a_row)),
            Arg::Text(&json_text(&Activity::Active)?),
            Arg::OptText(paused.as_deref()),
            self.now,
        ];
        conn.execute(&HEALTH, &args).await.map(|_| ())
    }

    async fn service(&self, conn: &mut Conn<'_>, entry: &ServiceEntry) -> Result<(), Error> {
        let kind = serde_json::to_value(entry.kind).map_err(|error| Error::argument(&error))?;
        let name = Arg::Text(entry.name.as_str());
        let endpoint = Arg::OptText(entry.endpoint.as_deref());
        let args = [
            self.organization,
            name,
            Arg::Text(kind.as_str().unwrap_or_default()),
            Arg::Text(&entry.purpose),
            Arg::Int(i64::from(entry.version)),
            endpoint,
            Arg::Int(entry.registered_at_ms),
        ];
        conn.execute(&SERVICE, &args).await?;
        let args = [self.organization, name, endpoint];
        conn.execute(&ENDPOINT, &args).await.map(|_| ())
    }

    async fn usage(&self, conn: &mut Conn<'_>, usage: &Usage) -> Result<(), Error> {
        let int = |value: u64| Arg::Int(i64::try_from(value).unwrap_or(i64::MAX));
        let args = [
            self.organization,
            self.run,
            int(usage.wall_ms),
            int(usage.cpu_ms),
            int(usage.max_rss_bytes),
        ];
        conn.execute(&USAGE, &args).await.map(|_| ())
    }

    async fn artifact(&self, conn: &mut Conn<'_>, artifact: &EvidenceRef) -> Result<(), Error> {
        let args = [
            self.organization,
            self.run,
            Arg::Text(&artifact.name),
            Arg::Text(artifact.digest.as_str()),
            Arg::Int(i64::try_from(artifact.bytes).unwrap_or(i64::MAX)),
            self.now,
        ];
        conn.execute(&ARTIFACT, &args).await.map(|_| ())
    }
}
