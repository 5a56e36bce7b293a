//! What a person asks of a deployment: pause, resume, stop, switch, roll back, run now, export, remove.
//!
//! Each is one guarded write, repeated when somebody else was faster, and then the supervisor looks.

use crate::Runtime;
use crate::error::{Error, blocking};
use crate::install;
use crate::supervise::{execution, until_ended};
use crate::tree;
use agentwright_domain::deployment::{self, Action, Activity, DeployedVersion};
use agentwright_domain::execution::Firing;
use agentwright_domain::ids::{RunId, Slug};
use agentwright_store::{DeploymentRow, OrgScope};
use std::path::Path;
use std::time::Duration;

/// How often a guarded write is tried.
const TRIES_MAX: u32 = 10;
/// How long a removal waits for what runs to end.
const END_MAX: Duration = Duration::from_secs(30);

/// A deployment as people see it.
#[derive(Clone, Debug)]
pub struct Status {
    /// The row.
    pub row: DeploymentRow,
    /// The active version.
    pub version: DeployedVersion,
    /// All versions, oldest first.
    pub versions: Vec<DeployedVersion>,
    /// Whether the active version may run.
    pub granted: bool,
    /// Whether an execution goes on.
    pub current: Option<RunId>,
    /// Whether the host's programs are no longer those of verify.
    pub drifted: bool,
}

/// Whether the row is the one that was seen, where one was. The write names its revision, so it holds until then.
fn still(row: &DeploymentRow, seen: Option<i64>) -> Result<(), Error> {
    match seen {
        Some(seen) if seen != row.revision => Err(Error::Moved {
            name: row.name.clone(),
            now: row.revision,
            seen,
        }),
        Some(_) | None => Ok(()),
    }
}

impl Runtime {
    /// Everything about one deployment.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub async fn status(&self, scope: &OrgScope, name: &Slug) -> Result<Status, Error> {
        let row = self.row(scope, name).await?;
        let versions = self.store().versions(scope, name).await?;
        let version = self.version_of(scope, name, row.active_version).await?;
        let granted = self.granted(scope, &version).await?;
        let current = self.current(scope, &row).await?.map(|run| run.id);
        let (programs, this) = (self.programs().clone(), version.clone());
        let drifted = blocking(move || {
            programs
                .environment(&this.spec)
                .is_ok_and(|now| now != this.environment)
        })
        .await;
        Ok(Status {
            row,
            version,
            versions,
            granted,
            current,
            drifted,
        })
    }

    /// Does what is asked.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is already so; [`Error::NoVersion`], [`Error::Revoked`] for a switch.
    pub async fn act(
        &self,
        scope: &OrgScope,
        name: &Slug,
        action: &Action,
    ) -> Result<DeploymentRow, Error> {
        self.act_on(scope, name, action, None).await
    }

    /// The same, where a revision was seen: only on that one.
    ///
    /// # Errors
    /// [`Error::Moved`] besides.
    pub async fn act_on(
        &self,
        scope: &OrgScope,
        name: &Slug,
        action: &Action,
        seen: Option<i64>,
    ) -> Result<DeploymentRow, Error> {
        for _ in 0..TRIES_MAX {
            let row = self.row(scope, name).await?;
            still(&row, seen)?;
            let activity = deployment::decide(name, &row.activity, action, self.now_ms())?;
            let switched = match action {
                Action::Switch { version } => Some(self.runnable(scope, name, *version).await?),
                Action::Pause { .. } | Action::Resume | Action::Stop => None,
            };
            // The supervisor works out anew when it fires next.
            let written = self
                .store()
                .set_activity(scope, name, row.revision, &activity, switched, None)
                .await?;
            if written {
                self.wake();
                return self.row(scope, name).await;
            }
        }
        Err(Error::Busy(name.clone()))
    }

    /// Makes an earlier version the active one: `to`, or the newest before the active one whose
    /// grant is live. Answers which.
    ///
    /// # Errors
    /// [`Error::NothingBefore`], [`Error::NoVersion`], [`Error::Revoked`].
    pub async fn rollback(
        &self,
        scope: &OrgScope,
        name: &Slug,
        to: Option<u32>,
    ) -> Result<u32, Error> {
        self.rollback_on(scope, name, to, None).await
    }

    /// The same, where a revision was seen: only on that one.
    ///
    /// # Errors
    /// [`Error::Moved`] besides.
    pub async fn rollback_on(
        &self,
        scope: &OrgScope,
        name: &Slug,
        to: Option<u32>,
        seen: Option<i64>,
    ) -> Result<u32, Error> {
        let row = self.row(scope, name).await?;
        still(&row, seen)?;
        let version = match to {
            Some(version) => version,
            None => self.before(scope, name, row.active_version).await?,
        };
        self.act_on(scope, name, &Action::Switch { version }, seen)
            .await?;
        Ok(version)
    }

    async fn before(&self, scope: &OrgScope, name: &Slug, active: u32) -> Result<u32, Error> {
        let versions = self.store().versions(scope, name).await?;
        for version in versions.iter().rev().filter(|v| v.version < active) {
            if self.granted(scope, version).await? {
                return Ok(version.version);
            }
        }
        Err(Error::NothingBefore(name.clone()))
    }

    /// Fires now, whatever the schedule says, also while it is paused. Answers the execution.
    ///
    /// # Errors
    /// [`Error::Stopped`]; [`Error::Running`] when an execution goes on; [`Error::Revoked`].
    pub async fn run_now(&self, scope: &OrgScope, name: &Slug, by: &str) -> Result<RunId, Error> {
        for _ in 0..TRIES_MAX {
            let row = self.row(scope, name).await?;
            if matches!(row.activity, Activity::Stopped { .. }) {
                return Err(Error::Stopped(name.clone()));
            }
            if self.current(scope, &row).await?.is_some() {
                return Err(Error::Running(name.clone()));
            }
            let number = self.runnable(scope, name, row.active_version).await?;
            let version = self.version_of(scope, name, number).await?;
            let id = RunId::new(self.store().new_id());
            let firing = Firing::Manual { by: by.to_owned() };
            let run = execution(scope, &row, &version, id.clone(), firing);
            if self.fire(scope, &row, run, row.next_due_at_ms).await? {
                return Ok(id);
            }
        }
        Err(Error::Busy(name.clone()))
    }

    /// Writes the active version as a standalone directory.
    ///
    /// # Errors
    /// [`Error::Files`] when `to` is not empty or cannot be written, or the code is not the approved one.
    pub async fn export(&self, scope: &OrgScope, name: &Slug, to: &Path) -> Result<u32, Error> {
        let row = self.row(scope, name).await?;
        let version = self.version_of(scope, name, row.active_version).await?;
        let app = self.layout().of(scope).app(name, version.version);
        let to = to.to_owned();
        let number = version.version;
        blocking(move || {
            install::expect_code(&app, &version.code)?;
            install::export(&app, &version.spec, &to)
        })
        .await?;
        Ok(number)
    }

    /// Ends it and removes everything of it: processes, rows, code, state, build directories. The
    /// history of its runs stays; declared folders are the person's and stay. May be repeated.
    ///
    /// # Errors
    /// [`Error::StillRunning`] when it does not end in time.
    pub async fn remove(&self, scope: &OrgScope, name: &Slug) -> Result<(), Error> {
        let row = self.row(scope, name).await?;
        if !matches!(row.activity, Activity::Stopped { .. }) {
            self.act(scope, name, &Action::Stop).await?;
        }
        let row = self.row(scope, name).await?;
        if let Some(run) = self.current(scope, &row).await? {
            self.end(scope, &run, "the automation is removed").await?;
            let engine = self.engine()?;
            let ended = tokio::time::timeout(END_MAX, until_ended(self, &engine, scope, &run.id));
            ended.await.map_err(|_| Error::StillRunning(name.clone()))?;
            // The run's end is recorded at once, its processes may take a moment longer.
            self.quiet(&engine, &run.id)
                .await
                .ok_or(Error::StillRunning(name.clone()))?;
        }
        let versions = self.store().versions(scope, name).await?;
        let (layout, this) = (self.layout().of(scope), name.clone());
        let removed = self.writing(move || {
            for version in &versions {
                tree::remove_all(&layout.build(&version.build))?;
            }
            install::remove(&layout, &this)
        });
        // The rows go last: as long as a file may be left, there is something to repeat this on.
        removed.await?;
        self.store().remove_deployment(scope, name).await?;
        Ok(())
    }

    /// Waits until this process no longer works on a run.
    async fn quiet(&self, engine: &agentwright_engine::Engine, run: &RunId) -> Option<()> {
        let gone = async {
            while engine.active().contains(run) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(END_MAX, gone).await.ok()
    }

    async fn row(&self, scope: &OrgScope, name: &Slug) -> Result<DeploymentRow, Error> {
        let row = self.store().deployment(scope, name).await?;
        row.ok_or_else(|| Error::Unknown(name.clone()))
    }

    async fn version_of(
        &self,
        scope: &OrgScope,
        name: &Slug,
        version: u32,
    ) -> Result<DeployedVersion, Error> {
        let found = self.store().version(scope, name, version).await?;
        found.ok_or_else(|| Error::NoVersion {
            name: name.clone(),
            version,
        })
    }

    async fn granted(&self, scope: &OrgScope, version: &DeployedVersion) -> Result<bool, Error> {
        let grant = self.store().grant(scope, &version.grant).await?;
        Ok(grant.is_some_and(|grant| grant.revoked_at_ms.is_none()))
    }

    /// The version's number, if it exists and may run.
    async fn runnable(&self, scope: &OrgScope, name: &Slug, version: u32) -> Result<u32, Error> {
        let found = self.version_of(scope, name, version).await?;
        if self.granted(scope, &found).await? {
            Ok(version)
        } else {
            Err(Error::Revoked {
                name: name.clone(),
                version,
            })
        }
    }
}
