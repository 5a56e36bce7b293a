//! The code. Without a model the foundation is the generator: its files, rendered with the inputs.

use super::{Done, Stop, Work, kept};
use crate::foundations::read_source;
use crate::repository::Repository;
use agentwright_domain::build::{FailureClass, Stage};
use agentwright_domain::spec::Spec;
use agentwright_intent::Foundation;
use agentwright_runtime::install::{NOT_CODE, code_digest};
use agentwright_runtime::tree;
use std::path::Path;

pub(super) async fn work(work: &Work<'_>) -> Result<Done, Stop> {
    let spec = work.spec().await?;
    let (path, foundation) = (work.repository(), work.directory().join(kept::FOUNDATION));
    let repository = Repository::open(&path).await?;
    let this = spec.clone();
    let (count, code) = work
        .builds
        .runtime()
        .writing(move || write(&this, &foundation, &path))
        .await?;
    let subject = format!("write {} from its foundation", spec.name);
    let commit = repository
        .commit(
            &work.run.id,
            Stage::Generate,
            &subject,
            work.run.created_at_ms,
        )
        .await?;
    let mut facts = work.facts();
    facts.code = Some(code);
    let short: String = commit.chars().take(12).collect();
    let files = if count == 1 { "1 file" } else { "files" };
    let number = if count == 1 {
        String::new()
    } else {
        format!("{count} ")
    };
    Ok(Done::new(
        format!("{number}{files} written at {short}"),
        facts,
    ))
}

/// Writes the code and takes its digest. The same inputs give the same files.
fn write(
    spec: &Spec,
    foundation: &Path,
    repository: &Path,
) -> Result<(usize, agentwright_domain::digest::Digest), Stop> {
    let fault = |why: String| Stop::Failed(FailureClass::Fault, why);
    let source = read_source(foundation).map_err(|error| fault(error.to_string()))?;
    let foundation = Foundation::parse(&source).map_err(|problems| {
        fault(format!(
            "the kept foundation has {} problems; build it again",
            problems.len()
        ))
    })?;
    let expected = spec
        .foundation
        .as_ref()
        .map(|foundation| &foundation.digest);
    if expected != Some(&foundation.digest) {
        return Err(fault(
            "the kept foundation was changed; build it again".to_owned(),
        ));
    }
    let files = foundation
        .files(&spec.inputs, spec.name.as_str())
        .map_err(|why| {
            fault(format!(
                "the foundation {} cannot be rendered: {why}",
                foundation.name()
            ))
        })?;
    for (path, bytes) in &files {
        let first = path.split('/').next().unwrap_or_default();
        let outside = path
            .split('/')
            .any(|part| part.is_empty() || part == "." || part == "..");
        if outside || NOT_CODE.contains(&first) {
            return Err(Stop::Failed(
                FailureClass::Review,
                format!("the foundation wants to write {path}, which is not code"),
            ));
        }
        let target = repository.join(path);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)
                .map_err(tree::io_error("make the directory", parent))?;
        }
        tree::write_file(&target, bytes, bytes.starts_with(b"#!"))?;
    }
    Ok((files.len(), code_digest(repository)?))
}
