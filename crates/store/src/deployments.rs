//! Deployments: versions, grants, activity, firing, and the service directory.

use crate::Store;
use crate::error::Error;
use crate::rows::DeploymentRow;
use crate::scope::OrgScope;
use agentwright_domain::approval::Grant;
use agentwright_domain::deployment::{Activity, DeployedVersion, ServiceEntry};
use agentwright_domain::ids::{GrantId, Slug};
use agentwright_domain::run::NewRun;

impl Store {
    /// All deployments of one organization, by name.
    pub async fn deployments(&self, scope: &OrgScope) -> Result<Vec<DeploymentRow>, Error> {
        let _ = scope;
        Err(Error::Closed)
    }

    /// The deployments of every organization, for the supervisor.
    pub async fn all_deployments(&self) -> Result<Vec<(OrgScope, DeploymentRow)>, Error> {
        Err(Error::Closed)
    }

    /// One deployment.
    pub async fn deployment(
        &self,
        scope: &OrgScope,
        name: &Slug,
    ) -> Result<Option<DeploymentRow>, Error> {
        let _ = (scope, name);
        Err(Error::Closed)
    }

    /// Its versions, oldest first.
    pub async fn versions(
        &self,
        scope: &OrgScope,
        name: &Slug,
    ) -> Result<Vec<DeployedVersion>, Error> {
        let _ = (scope, name);
        Err(Error::Closed)
    }

    /// One version.
    pub async fn version(
        &self,
        scope: &OrgScope,
        name: &Slug,
        version: u32,
    ) -> Result<Option<DeployedVersion>, Error> {
        let _ = (scope, name, version);
        Err(Error::Closed)
    }

    /// The grants of a deployment, oldest first, revoked ones included.
    pub async fn grants(&self, scope: &OrgScope, name: &Slug) -> Result<Vec<Grant>, Error> {
        let _ = (scope, name);
        Err(Error::Closed)
    }

    /// One grant; look at `revoked_at_ms` before use.
    pub async fn grant(&self, scope: &OrgScope, id: &GrantId) -> Result<Option<Grant>, Error> {
        let _ = (scope, id);
        Err(Error::Closed)
    }

    /// Takes a grant back. `false` when there is no live one of that id.
    pub async fn revoke_grant(&self, scope: &OrgScope, id: &GrantId) -> Result<bool, Error> {
        let _ = (scope, id);
        Err(Error::Closed)
    }

    /// Writes what an action or the scheduler decided. `active_version` `None` leaves the version;
    /// `next_due_at_ms` is written as given. Becoming active again sets the failures to 0.
    /// `false` when the deployment has changed since `expected_revision`, or is gone.
    pub async fn set_activity(
        &self,
        scope: &OrgScope,
        name: &Slug,
        expected_revision: i64,
        activity: &Activity,
        active_version: Option<u32>,
        next_due_at_ms: Option<i64>,
    ) -> Result<bool, Error> {
        let _ = (
            scope,
            name,
            expected_revision,
            activity,
            active_version,
            next_due_at_ms,
        );
        Err(Error::Closed)
    }

    /// Writes where the deployment answers.
    pub async fn set_endpoint(
        &self,
        scope: &OrgScope,
        name: &Slug,
        endpoint: Option<&str>,
    ) -> Result<bool, Error> {
        let _ = (scope, name, endpoint);
        Err(Error::Closed)
    }

    /// Fires: the execution run is submitted, `current_run` and `next_due_at_ms` are moved, in ONE
    /// transaction. `false`, and nothing written, when somebody else changed or fired it since
    /// `expected_revision`. Tell the engine with `wake` afterwards.
    pub async fn fire(
        &self,
        scope: &OrgScope,
        name: &Slug,
        expected_revision: i64,
        run: NewRun,
        next_due_at_ms: Option<i64>,
    ) -> Result<bool, Error> {
        let _ = (scope, name, expected_revision, run, next_due_at_ms);
        Err(Error::Closed)
    }

    /// Removes a deployment, its versions and its directory entry; revokes its grants. The history
    /// of its runs stays. `false` when there is none.
    pub async fn remove_deployment(&self, scope: &OrgScope, name: &Slug) -> Result<bool, Error> {
        let _ = (scope, name);
        Err(Error::Closed)
    }

    /// The service directory, by name.
    pub async fn services(&self, scope: &OrgScope) -> Result<Vec<ServiceEntry>, Error> {
        let _ = scope;
        Err(Error::Closed)
    }
}
