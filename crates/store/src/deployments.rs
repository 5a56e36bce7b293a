//! Deployments: versions, grants, activity, firing, and the service directory.
//!
//! A deployment row is guarded by its `revision`: whoever writes names the one that they saw.

use crate::Store;
use crate::connections::Held;
use crate::db::{Arg, Conn, Row, json_text};
use crate::error::Error;
use crate::group::submit_within;
use crate::rows::DeploymentRow;
use crate::scope::OrgScope;
use agentwright_domain::approval::Grant;
use agentwright_domain::deployment::{Activity, DeployedVersion, ServiceEntry};
use agentwright_domain::ids::{GrantId, OrganizationId, RunId, Slug};
use agentwright_domain::run::NewRun;
use serde_json::Value;

crate::db::statements! {
    ALL = "reading all deployments":
        "SELECT organization_id, name, active_version, activity, failures_in_a_row, next_due_at_ms,
           current_run, endpoint, revision FROM deployments ORDER BY organization_id, name";
    LIST = "reading deployments":
        "SELECT organization_id, name, active_version, activity, failures_in_a_row, next_due_at_ms,
           current_run, endpoint, revision FROM deployments WHERE organization_id = $1 ORDER BY name";
    ONE = "reading a deployment":
        "SELECT organization_id, name, active_version, activity, failures_in_a_row, next_due_at_ms,
           current_run, endpoint, revision FROM deployments WHERE organization_id = $1 AND name = $2";
    VERSIONS = "reading versions":
        "SELECT body FROM versions WHERE organization_id = $1 AND name = $2 ORDER BY version";
    VERSION = "reading a version":
        "SELECT body FROM versions WHERE organization_id = $1 AND name = $2 AND version = $3";
    GRANTS = "reading grants":
        "SELECT body, revoked_at_ms FROM grants WHERE organization_id = $1 AND deployment = $2
         ORDER BY granted_at_ms, id";
    GRANT = "reading a grant":
        "SELECT body, revoked_at_ms FROM grants WHERE organization_id = $1 AND id = $2";
    REVOKE = "revoking a grant":
        "UPDATE grants SET revoked_at_ms = $3
         WHERE organization_id = $1 AND id = $2 AND revoked_at_ms IS NULL";
    SET_ACTIVITY = "writing a deployment's activity":
        "UPDATE deployments SET activity = $4,
           active_version = COALESCE(CAST($5 AS BIGINT), active_version),
           next_due_at_ms = CAST($6 AS BIGINT),
           failures_in_a_row = CASE WHEN activity <> CAST($7 AS TEXT) AND $4 = CAST($7 AS TEXT)
             THEN 0 ELSE failures_in_a_row END,
           revision = revision + 1, changed_at_ms = $8
         WHERE organization_id = $1 AND name = $2 AND revision = $3";
    SET_ENDPOINT = "writing where a deployment answers":
        "UPDATE deployments SET endpoint = CAST($3 AS TEXT), revision = revision + 1, changed_at_ms = $4
         WHERE organization_id = $1 AND name = $2";
    SET_SERVICE_ENDPOINT = "writing where a service answers":
        "UPDATE services SET endpoint = CAST($3 AS TEXT) WHERE organization_id = $1 AND name = $2";
    FIRE = "firing a deployment":
        "UPDATE deployments SET current_run = $4, next_due_at_ms = CAST($5 AS BIGINT),
           revision = revision + 1, changed_at_ms = $6
         WHERE organization_id = $1 AND name = $2 AND revision = $3";
    REMOVE_VERSIONS = "removing versions":
        "DELETE FROM versions WHERE organization_id = $1 AND name = $2";
    REMOVE_SERVICE = "removing a directory entry":
        "DELETE FROM services WHERE organization_id = $1 AND name = $2";
    REVOKE_ALL = "revoking the grants of a deployment":
        "UPDATE grants SET revoked_at_ms = $3
         WHERE organization_id = $1 AND deployment = $2 AND revoked_at_ms IS NULL";
    REMOVE = "removing a deployment":
        "DELETE FROM deployments WHERE organization_id = $1 AND name = $2";
    SERVICES = "reading the service directory":
        "SELECT name, kind, purpose, version, endpoint, registered_at_ms FROM services
         WHERE organization_id = $1 ORDER BY name";
}

impl Store {
    /// All deployments of one organization, by name.
    pub async fn deployments(&self, scope: &OrgScope) -> Result<Vec<DeploymentRow>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&LIST, &[scope.arg()]).await?;
        rows.iter().map(deployment).collect()
    }

    /// The deployments of every organization, for the supervisor; the scopes are minted here.
    pub async fn all_deployments(&self) -> Result<Vec<(OrgScope, DeploymentRow)>, Error> {
        let mut held = self.inner.db.reader().await?;
        let rows = held.conn().fetch(&ALL, &[]).await?;
        rows.iter()
            .map(|row| {
                let organization = OrganizationId::new(row.text("organization_id")?);
                Ok((OrgScope::authenticated(organization), deployment(row)?))
            })
            .collect()
    }

    /// One deployment.
    pub async fn deployment(
        &self,
        scope: &OrgScope,
        name: &Slug,
    ) -> Result<Option<DeploymentRow>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(name.as_str())];
        let rows = held.conn().fetch(&ONE, &args).await?;
        rows.first().map(deployment).transpose()
    }

    /// Its versions, oldest first.
    pub async fn versions(
        &self,
        scope: &OrgScope,
        name: &Slug,
    ) -> Result<Vec<DeployedVersion>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(name.as_str())];
        let rows = held.conn().fetch(&VERSIONS, &args).await?;
        rows.iter().map(|row| row.json("body")).collect()
    }

    /// One version.
    pub async fn version(
        &self,
        scope: &OrgScope,
        name: &Slug,
        version: u32,
    ) -> Result<Option<DeployedVersion>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let number = Arg::Int(i64::from(version));
        let args = [scope.arg(), Arg::Text(name.as_str()), number];
        let rows = held.conn().fetch(&VERSION, &args).await?;
        rows.first().map(|row| row.json("body")).transpose()
    }

    /// The grants of a deployment, oldest first, revoked ones included.
    pub async fn grants(&self, scope: &OrgScope, name: &Slug) -> Result<Vec<Grant>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(name.as_str())];
        let rows = held.conn().fetch(&GRANTS, &args).await?;
        rows.iter().map(grant).collect()
    }

    /// One grant; look at `revoked_at_ms` before use.
    pub async fn grant(&self, scope: &OrgScope, id: &GrantId) -> Result<Option<Grant>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(id.as_str())];
        let rows = held.conn().fetch(&GRANT, &args).await?;
        rows.first().map(grant).transpose()
    }

    /// Takes a grant back. `false` when there is no live one of that id.
    pub async fn revoke_grant(&self, scope: &OrgScope, id: &GrantId) -> Result<bool, Error> {
        let now = Arg::Int(self.now_ms().await?);
        let mut held = self.inner.db.writer_of(scope).await?;
        let args = [scope.arg(), Arg::Text(id.as_str()), now];
        let changed = held.conn().execute(&REVOKE, &args).await?;
        Ok(changed == 1)
    }

    /// Writes what an action or the scheduler decided. `active_version` `None` leaves the version;
    /// `next_due_at_ms` is written as given. Becoming active again sets the failures to 0.
    /// `false` when the deployment has changed since `expected_revision`, or is gone.
    #[expect(
        clippy::too_many_arguments,
        reason = "three of them are the guard, three are what one row becomes"
    )]
    pub async fn set_activity(
        &self,
        scope: &OrgScope,
        name: &Slug,
        expected_revision: i64,
        activity: &Activity,
        active_version: Option<u32>,
        next_due_at_ms: Option<i64>,
    ) -> Result<bool, Error> {
        let now = Arg::Int(self.now_ms().await?);
        let active = json_text(&Activity::Active)?;
        let args = [
            scope.arg(),
            Arg::Text(name.as_str()),
            Arg::Int(expected_revision),
            Arg::Text(&json_text(activity)?),
            Arg::OptInt(active_version.map(i64::from)),
            Arg::OptInt(next_due_at_ms),
            Arg::Text(&active),
            now,
        ];
        let mut held = self.inner.db.writer_of(scope).await?;
        let changed = held.conn().execute(&SET_ACTIVITY, &args).await?;
        Ok(changed == 1)
    }

    /// Writes where the deployment answers, in its directory entry too.
    pub async fn set_endpoint(
        &self,
        scope: &OrgScope,
        name: &Slug,
        endpoint: Option<&str>,
    ) -> Result<bool, Error> {
        let now = Arg::Int(self.now_ms().await?);
        let (name, endpoint) = (Arg::Text(name.as_str()), Arg::OptText(endpoint));
        self.within_of(scope, async |conn| {
            let args = [scope.arg(), name, endpoint, now];
            let changed = conn.execute(&SET_ENDPOINT, &args).await?;
            let args = [scope.arg(), name, endpoint];
            conn.execute(&SET_SERVICE_ENDPOINT, &args).await?;
            Ok(changed == 1)
        })
        .await
    }

    /// Fires: the execution run is submitted, `current_run` and `next_due_at_ms` are moved, in ONE
    /// transaction. `false`, and nothing written, when somebody else changed or fired it since
    /// `expected_revision`, or when an execution of it still goes on. Tell the engine with `wake`
    /// afterwards.
    pub async fn fire(
        &self,
        scope: &OrgScope,
        name: &Slug,
        expected_revision: i64,
        run: NewRun,
        next_due_at_ms: Option<i64>,
    ) -> Result<bool, Error> {
        let mut held = self.inner.db.writer_of(scope).await?;
        held.begin().await?;
        let fired = async {
            let mut conn = held.conn();
            let now_ms = crate::open::now_ms(&mut conn, &self.inner.time).await?;
            let args = [
                scope.arg(),
                Arg::Text(name.as_str()),
                Arg::Int(expected_revision),
                Arg::Text(run.id.as_str()),
                Arg::OptInt(next_due_at_ms),
                Arg::Int(now_ms),
            ];
            let fired = conn.execute(&FIRE, &args).await? == 1
                && submit_within(&mut conn, &self.inner.secret, now_ms, run.clone())
                    .await?
                    .is_ok_and(|made| !made.repeated());
            Ok(fired)
        }
        .await;
        if matches!(fired, Ok(false)) {
            held.undo().await;
            return fired;
        }
        held.end(fired).await
    }

    /// Removes a deployment, its versions and its directory entry; revokes its grants. The history
    /// of its runs stays. `false` when there is none.
    pub async fn remove_deployment(&self, scope: &OrgScope, name: &Slug) -> Result<bool, Error> {
        let now = Arg::Int(self.now_ms().await?);
        let name = Arg::Text(name.as_str());
        self.within_of(scope, async |conn| {
            conn.execute(&REMOVE_VERSIONS, &[scope.arg(), name]).await?;
            conn.execute(&REMOVE_SERVICE, &[scope.arg(), name]).await?;
            conn.execute(&REVOKE_ALL, &[scope.arg(), name, now]).await?;
            let removed = conn.execute(&REMOVE, &[scope.arg(), name]).await?;
            Ok(removed == 1)
        })
        .await
    }

    /// The service directory, by name.
    pub async fn services(&self, scope: &OrgScope) -> Result<Vec<ServiceEntry>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&SERVICES, &[scope.arg()]).await?;
        rows.iter()
            .map(|row| {
                let kind = Value::String(row.text("kind")?);
                Ok(ServiceEntry {
                    name: row.parse("name", |text| Slug::parse(text).ok())?,
                    kind: serde_json::from_value(kind)
                        .map_err(|error| Error::corrupt("kind", &error))?,
                    purpose: row.text("purpose")?,
                    version: row.count("version")?,
                    endpoint: row.opt_text("endpoint")?,
                    registered_at_ms: row.int("registered_at_ms")?,
                })
            })
            .collect()
    }

    /// Runs a few statements in one transaction.
    pub(crate) async fn within_of<T>(
        &self,
        scope: &OrgScope,
        work: impl AsyncFnOnce(&mut Conn<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let held = self.inner.db.writer_of(scope).await?;
        in_transaction(held, work).await
    }

    /// The same for what concerns more than one organization.
    pub(crate) async fn within<T>(
        &self,
        work: impl AsyncFnOnce(&mut Conn<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        in_transaction(self.inner.db.writer().await?, work).await
    }
}

async fn in_transaction<T>(
    mut held: Held,
    work: impl AsyncFnOnce(&mut Conn<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    held.begin().await?;
    let done = work(&mut held.conn()).await;
    held.end(done).await
}

fn deployment(row: &Row) -> Result<DeploymentRow, Error> {
    Ok(DeploymentRow {
        name: row.parse("name", |text| Slug::parse(text).ok())?,
        active_version: row.count("active_version")?,
        activity: row.json("activity")?,
        failures_in_a_row: row.count("failures_in_a_row")?,
        next_due_at_ms: row.opt_int("next_due_at_ms")?,
        current_run: row.opt_text("current_run")?.map(RunId::new),
        endpoint: row.opt_text("endpoint")?,
        revision: row.int("revision")?,
    })
}

fn grant(row: &Row) -> Result<Grant, Error> {
    let mut grant: Grant = row.json("body")?;
    grant.revoked_at_ms = row.opt_int("revoked_at_ms")?;
    Ok(grant)
}
