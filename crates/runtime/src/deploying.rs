//! What `pipeline` asks while it builds and deploys. The rows themselves are written with the build's
//! own commit; here are the files, and what is deployed already.

use crate::Runtime;
use crate::error::Error;
use crate::install::{self, Installed};
use crate::service::START_MAX;
use crate::tree;
use agentwright_domain::deployment::{Action, DeployedVersion};
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::{RunId, Slug};
use agentwright_store::OrgScope;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Pause between looks at whether a service is up.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

impl Runtime {
    /// The names that are taken, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn names(&self, scope: &OrgScope) -> Result<Vec<Slug>, Error> {
        let rows = self.store().deployments(scope).await?;
        Ok(rows.into_iter().map(|row| row.name).collect())
    }

    /// The active version of a deployment.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub async fn active(&self, scope: &OrgScope, name: &Slug) -> Result<DeployedVersion, Error> {
        Ok(self.status(scope, name).await?.version)
    }

    /// Puts a build's code in place as a version that nothing uses yet. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`Error::Files`], among them that the code is not `code`.
    pub async fn install(
        &self,
        scope: &OrgScope,
        name: &Slug,
        build: &RunId,
        from: PathBuf,
        code: &Digest,
    ) -> Result<Installed, Error> {
        let versions = self.store().versions(scope, name).await?;
        let taken: Vec<(u32, RunId)> = versions
            .into_iter()
            .map(|version| (version.version, version.build))
            .collect();
        let (layout, name) = (self.layout().of(scope), name.clone());
        let (build, code) = (build.clone(), code.clone());
        let work = move || install::install(&layout, &name, &build, &from, &code, &taken);
        Ok(self.writing(work).await?)
    }

    /// Takes away again what a build installed and what was never recorded; with it everything of a deployment that has
    /// no other version, not even one that another build is just putting in place. Repeating it changes nothing.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub async fn discard(&self, scope: &OrgScope, name: &Slug, build: &RunId) -> Result<(), Error> {
        let recorded = self.store().versions(scope, name).await?;
        let (layout, name, build) = (self.layout().of(scope), name.clone(), build.clone());
        let removed = self.writing(move || {
            // Invariant: only this build records what it installed, and it does not while it takes it away.
            let kept: Vec<u32> = recorded.iter().map(|version| version.version).collect();
            install::discard(&layout, &name, &build, &kept)?;
            if recorded.is_empty() && !install::any_version(&layout, &name) {
                install::remove(&layout, &name)?;
            }
            Ok::<(), tree::TreeError>(())
        });
        Ok(removed.await?)
    }

    /// Waits until the service that was just deployed answers: its address. One that does not is
    /// taken back: the version before becomes the active one, or it is stopped.
    ///
    /// # Errors
    /// Why it is not up, and what was done, for people.
    pub async fn await_service(
        &self,
        scope: &OrgScope,
        version: &DeployedVersion,
        cancelled: &CancellationToken,
    ) -> Result<String, String> {
        let name = &version.name;
        self.wake();
        // It was well on trial; the old version may need its grace to leave.
        let up = tokio::time::timeout(START_MAX * 2, async {
            loop {
                let row = self
                    .status(scope, name)
                    .await
                    .map_err(|error| error.to_string())?;
                if let Some(endpoint) = self.answering(scope, &row).await {
                    return Ok::<String, String>(endpoint);
                }
                tokio::select! {
                    () = cancelled.cancelled() => return Err("it was stopped".to_owned()),
                    () = tokio::time::sleep(LOOK_PAUSE) => {}
                }
            }
        })
        .await;
        if let Ok(answer) = up {
            return answer;
        }
        let (ours, now) = (version.version, self.active(scope, name).await);
        if let Some(other) = now.map(|now| now.version).ok().filter(|now| *now != ours) {
            return Err(format!(
                "version {ours} of {name} did not answer after it was deployed; meanwhile version {other} was made the active one"
            ));
        }
        let taken_back = match self.rollback(scope, name, None).await {
            Ok(before) => format!("version {before} is active again"),
            Err(_) => match self.act(scope, name, &Action::Stop).await {
                Ok(_) => "it was stopped".to_owned(),
                Err(error) => format!("it could not be stopped: {error}"),
            },
        };
        Err(format!(
            "version {} of {name} did not answer after it was deployed; {taken_back}; agentwright logs {name} shows why",
            version.version
        ))
    }

    /// The address, if what answers is the active version.
    async fn answering(&self, scope: &OrgScope, status: &crate::Status) -> Option<String> {
        let run = self
            .store()
            .run(scope, status.current.as_ref()?)
            .await
            .ok()??;
        let agentwright_domain::run::RunState::Execution(state) = &run.state else {
            return None;
        };
        let active = state.version == status.row.active_version;
        status.row.endpoint.clone().filter(|_| active)
    }
}
