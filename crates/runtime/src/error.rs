//! Why an action on a deployment did not happen.

use crate::install::InstallError;
use crate::tree::TreeError;
use agentwright_domain::deployment::ActionRefused;
use agentwright_domain::ids::Slug;

/// Why an action on a deployment did not happen, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such deployment.
    #[error("there is no deployment named {0}; agentwright deployments lists them")]
    Unknown(Slug),
    /// There is no such version.
    #[error("{name} has no version {version}")]
    NoVersion {
        /// Which deployment.
        name: Slug,
        /// Which version.
        version: u32,
    },
    /// There is nothing to go back to.
    #[error("{0} has no earlier version that may still run")]
    NothingBefore(Slug),
    /// The version may not run any more.
    #[error("the grant of {name} version {version} was taken back; build and approve it again")]
    Revoked {
        /// Which deployment.
        name: Slug,
        /// Which version.
        version: u32,
    },
    /// An execution goes on.
    #[error("{0} is running already; agentwright logs {0} shows it")]
    Running(Slug),
    /// A person stopped it.
    #[error("{0} is stopped; agentwright resume {0} lets it run again")]
    Stopped(Slug),
    /// It is already so.
    #[error(transparent)]
    Refused(#[from] ActionRefused),
    /// It is another revision than the one that was seen.
    #[error("{name} is at \"{now}\" now, not at \"{seen}\": look again")]
    Moved {
        /// Which deployment.
        name: Slug,
        /// Its revision.
        now: i64,
        /// The one that was seen.
        seen: i64,
    },
    /// Somebody else changed it at the same moment, again and again.
    #[error("{0} keeps changing; try again")]
    Busy(Slug),
    /// What runs did not end in time; nothing was removed.
    #[error("{0} did not stop in time; nothing was removed, try again")]
    StillRunning(Slug),
    /// The daemon is starting or stopping.
    #[error("the daemon is just starting or stopping; try again")]
    Starting,
    /// Files could not be read or written.
    #[error(transparent)]
    Files(#[from] InstallError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] agentwright_store::Error),
}

impl From<TreeError> for Error {
    fn from(error: TreeError) -> Self {
        Self::Files(InstallError::Tree(error))
    }
}

/// Runs blocking work on files away from the async threads.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // Invariant: blocking tasks are never aborted, so this is a panic of the work itself.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
