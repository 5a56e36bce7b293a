//! Where things lie in the data directory. Only here are such paths put together.

use agentwright_domain::ids::{RunId, Slug};
use std::path::{Path, PathBuf};

/// The data directory, as the runtime and the pipeline see it.
#[derive(Clone, Debug)]
pub struct Layout {
    data: PathBuf,
}

impl Layout {
    /// Below this data directory, an absolute path.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into() }
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Everything of one deployment.
    pub fn deployment(&self, name: &Slug) -> PathBuf {
        self.data.join("deployments").join(name.as_str())
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
