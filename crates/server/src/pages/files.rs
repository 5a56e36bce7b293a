//! What each commit of a build changed, kept while the repository stands still.

use crate::app::App;
use agentwright_domain::ids::RunId;
use agentwright_pages::{Change, Step};
use agentwright_pipeline::{ChangedFile, Commit, commits};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Builds whose commits are kept; beyond it all are read anew.
const BUILDS_MAX: usize = 16;

/// The commits of builds that were looked at lately.
#[derive(Default)]
pub(crate) struct Kept {
    read: Mutex<HashMap<RunId, (String, Vec<Step>)>>,
}

/// What each commit of the build changed, oldest first; nothing where git does not answer.
pub(super) async fn steps(app: &App, build: &RunId) -> Vec<Step> {
    let repository = app.layout().build(build).join("repo");
    let head = head(&repository);
    {
        let kept = app
            .kept_steps()
            .read
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((at, steps)) = kept.get(build).filter(|_| !head.is_empty())
            && *at == head
        {
            return steps.clone();
        }
    }
    let steps: Vec<Step> = match commits(&repository).await {
        Ok(commits) => commits.into_iter().map(step).collect(),
        Err(error) => {
            tracing::warn!(%build, error, "the commits of a build cannot be shown");
            return Vec::new();
        }
    };
    let mut kept = app
        .kept_steps()
        .read
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= BUILDS_MAX {
        kept.clear();
    }
    kept.insert(build.clone(), (head, steps.clone()));
    steps
}

/// The newest commit; empty where there is none.
fn head(repository: &Path) -> String {
    std::fs::read_to_string(repository.join(".git/refs/heads/main")).unwrap_or_default()
}

fn step(commit: Commit) -> Step {
    Step {
        title: commit.subject,
        commit: commit.name,
        changes: commit.files.into_iter().map(change).collect(),
    }
}

fn change(file: ChangedFile) -> Change {
    Change {
        path: file.path,
        before: file.before,
        after: file.after,
        binary: file.binary,
    }
}
