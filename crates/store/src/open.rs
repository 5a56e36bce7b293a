//! Opening: the lock, the refusals, the migrations.

use crate::Store;
use crate::artifacts::ARTIFACTS_QUOTA_BYTES;
use crate::error::{Error, OpenError};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// Where the tables are.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file; one process at a time.
    Sqlite(PathBuf),
    /// `postgres://…`; any number of processes.
    Postgres(String),
}

/// Which clock leases and timers go by.
#[derive(Clone, Debug, Default)]
pub enum Time {
    /// The database's own.
    #[default]
    Database,
    /// A clock that somebody else moves, ms.
    Given(Arc<AtomicI64>),
}

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where artifacts are kept.
    pub artifacts: PathBuf,
    /// How many bytes of them.
    pub artifacts_quota_bytes: u64,
    /// Which clock.
    pub time: Time,
}

impl Options {
    /// The usual ones for a data directory.
    pub fn new(data_dir: &std::path::Path) -> Self {
        Self {
            artifacts: data_dir.join("artifacts"),
            artifacts_quota_bytes: ARTIFACTS_QUOTA_BYTES,
            time: Time::Database,
        }
    }
}

pub(crate) struct Inner {}

impl Store {
    /// Opens the store, brings its tables up to date and starts its committer.
    ///
    /// Refuses, without touching anything, a database that is newer, damaged or in use.
    pub async fn open(location: Location, options: Options) -> Result<Self, OpenError> {
        let _ = (location, options);
        Err(OpenError::Locked {
            place: String::new(),
        })
    }

    /// Ends the committer after what is waiting, and closes the connections.
    pub async fn close(&self) {}

    /// The clock that leases and timers go by, ms.
    pub async fn now_ms(&self) -> Result<i64, Error> {
        Err(Error::Closed)
    }
}
