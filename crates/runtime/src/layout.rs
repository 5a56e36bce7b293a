//! Where things lie in the data directory. Only here are such paths put together.

use agentwright_domain::ids::{RunId, Slug};
use agentwright_store::OrgScope;
use std::path::{Path, PathBuf};

/// The data directory, as the runtime and the pipeline see it.
#[derive(Clone, Debug)]
pub struct Layout {
    data: PathBuf,
    deployments: PathBuf,
}

impl Layout {
    /// Below this data directory, an absolute path.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let data = data.into();
        Self {
            deployments: data.join("deployments"),
            data,
        }
    }

    /// The same, with an organization's own deployments: names are theirs alone. Those of `local` lie where those
    /// of a single user always lay.
    #[must_use]
    pub fn of(&self, scope: &OrgScope) -> Self {
        let data = self.data.clone();
        if *scope == OrgScope::local() {
            return Self::new(data);
        }
        Self {
            deployments: self.organization(scope).join("deployments"),
            data,
        }
    }

    /// Everything of an organization but its builds; nothing of `local` is here.
    pub fn organization(&self, scope: &OrgScope) -> PathBuf {
        self.data
            .join("organizations")
            .join(scope.organization().as_str())
    }

    /// Every directory that holds deployments.
    pub fn all_deployments(&self) -> Vec<PathBuf> {
        let others = std::fs::read_dir(self.data.join("organizations"));
        let others = others.into_iter().flatten().flatten();
        std::iter::once(self.data.join("deployments"))
            .chain(others.map(|entry| entry.path().join("deployments")))
            .collect()
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Everything of one deployment.
    pub fn deployment(&self, name: &Slug) -> PathBuf {
        self.deployments.join(name.as_str())
    }

    /// Its versions, side by side.
    pub fn versions(&self, name: &Slug) -> PathBuf {
        self.deployment(name).join("versions")
    }

    /// One version.
    pub fn version(&self, name: &Slug, version: u32) -> PathBuf {
        self.versions(name).join(version.to_string())
    }

    /// The code of one version: `/app` inside.
    pub fn app(&self, name: &Slug, version: u32) -> PathBuf {
        self.version(name, version).join("app")
    }

    /// The private directory that survives versions: `/state` inside.
    pub fn state(&self, name: &Slug) -> PathBuf {
        self.deployment(name).join("state")
    }

    /// The live output of a service.
    pub fn service_log(&self, name: &Slug) -> PathBuf {
        self.deployment(name).join("service.log")
    }

    /// Everything of one build. Run ids are made by the store, never by people.
    pub fn build(&self, run: &RunId) -> PathBuf {
        self.data.join("builds").join(run.as_str())
    }
}
