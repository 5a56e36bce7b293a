//! The repository: the spec, a README, the rules for whoever works on it; first commit.

use super::{Done, Stop, Work};
use crate::document;
use crate::repository::{Repository, Step};
use agentwright_domain::build::Stage;
use agentwright_runtime::tree;

pub(super) async fn work(work: &Work<'_>) -> Result<Done, Stop> {
    let spec = work.spec().await?;
    let path = work.repository();
    let repository = Repository::open(&path).await?;
    let pages = [
        ("README.md", document::readme(&spec)),
        ("AGENTS.md", document::agents(&spec)),
    ];
    let runtime = work.builds.runtime();
    let write = move || {
        pages
            .iter()
            .try_for_each(|(name, page)| tree::write_file(&path.join(name), page.as_bytes(), false))
    };
    runtime.writing(write).await?;
    let commit = repository
        .commit(
            &work.run.id,
            Step {
                stage: Stage::Package,
                attempt: work.attempt,
            },
            &format!("lay out {}", spec.name),
            work.run.created_at_ms,
        )
        .await?;
    let short: String = commit.chars().take(12).collect();
    Ok(Done::new(
        format!("repository laid out at {short}"),
        work.facts(),
    ))
}
