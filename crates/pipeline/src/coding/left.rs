//! What a command-line agent left, kept for a replay; and the coder that leaves exactly that again.
//!
//! An agent asks its model by itself, in words of its own that differ from time to time: its answers cannot be put in
//! their places again. What counts of it is what it left.

use super::PROTECTED;
use agentwright_agent::{Coder, CoderError, Progress, Task, Workspace, Written};
use agentwright_runtime::tree::{self, TreeError};
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// Keeps what an agent left in the repository.
pub(super) fn keep(repository: &Path, record: &Path) -> Result<(), TreeError> {
    tree::remove_all(record)?;
    tree::copy(repository, &PROTECTED, record)
}

/// Leaves what a record holds.
pub(super) struct Left(pub(super) PathBuf);

#[async_trait::async_trait]
impl Coder for Left {
    fn name(&self) -> &str {
        "recorded"
    }

    async fn write(
        &self,
        _: &Task,
        work: &Workspace,
        _: &dyn Progress,
        _: &CancellationToken,
    ) -> Result<Written, CoderError> {
        if !self.0.is_dir() {
            let why = "the recorded try left nothing that could be taken".to_owned();
            return Err(CoderError::NothingWritten(why));
        }
        let failed = |error: TreeError| CoderError::Workspace {
            attempted: format!("lay out what was recorded: {error}"),
            source: std::io::Error::other(error),
        };
        for file in tree::files(&work.dir, &PROTECTED).map_err(failed)? {
            let path = work.dir.join(&file.path);
            std::fs::remove_file(&path)
                .map_err(tree::io_error("remove", &path))
                .map_err(failed)?;
        }
        tree::copy(&self.0, &[], &work.dir).map_err(failed)?;
        Ok(Written {
            says: "as it was recorded".to_owned(),
            ..Written::default()
        })
    }
}
