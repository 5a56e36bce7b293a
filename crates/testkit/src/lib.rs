//! What tests share: a clock that they move, directories and stores that vanish, waiting with a
//! deadline, a private PostgreSQL, a scripted model server, strict fakes of ntfy and
//! Vault. A dev-dependency only; never
//! part of the product.

#![expect(clippy::expect_used, reason = "a helper of tests fails by panicking")]

mod clock;
pub mod model_server;
mod ntfy;
mod postgres;
mod runs;
mod vault;
mod wait;

pub use clock::TestClock;
pub use model_server::ModelServer;
pub use ntfy::Ntfy;
pub use postgres::Cluster;
pub use runs::{Empty, build_run, execution_run, slug, spec};
pub use vault::FakeVault;
pub use wait::{DEADLINE, eventually};

use agentwright_store::{Location, Options, Store};
use std::path::Path;

/// A directory that vanishes with the value; in memory where the machine offers that.
///
/// # Panics
/// When there is no room for one.
pub fn temp_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::Builder::new()
            .prefix("agentwright-")
            .tempdir_in(memory)
    } else {
        tempfile::Builder::new().prefix("agentwright-").tempdir()
    };
    made.expect("a temporary directory")
}

/// A SQLite store in a directory.
///
/// # Panics
/// When it does not open.
pub async fn sqlite(dir: &Path) -> Store {
    Store::open(
        Location::Sqlite(dir.join("agentwright.db")),
        Options::new(dir),
    )
    .await
    .expect("the store opens")
}
