//! Intent → spec, held against this machine, acceptance sealed.

use super::{Done, Stop, Work, kept};
use crate::digests::{permissions_digest, subject};
use crate::plan::{NotReady, questions};
use crate::{document, resolve};
use agentwright_domain::approval::Gate;
use agentwright_domain::build::{Facts, Stage, due};
use agentwright_domain::spec::Spec;
use agentwright_intent::FoundationSource;
use agentwright_proof::of_json;
use agentwright_runtime::blocking;
use agentwright_runtime::tree::{self, TreeError};
use agentwright_verify::{SealError, seal};
use std::path::Path;

pub(super) async fn work(work: &Work<'_>) -> Result<Done, Stop> {
    let ready = match work
        .builds
        .understand(work.handle.scope(), work.request)
        .await
    {
        Ok(ready) => ready,
        Err(NotReady::Incomplete(plan)) => return Err(Stop::refused(questions(&plan.missing))),
        Err(NotReady::Refused { reason, .. }) => return Err(Stop::refused(reason)),
        Err(NotReady::Fault(why)) => return Err(Stop::Retry(why)),
    };
    let spec = ready.spec;
    let scratch = work.scratch(Stage::Spec).await?;
    let sealed = seal(&spec, &scratch).await.map_err(|error| match error {
        SealError::Problems(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Stop::refused(format!(
                "the acceptance proves nothing: {}",
                lines.join("; ")
            ))
        }
        SealError::Fault(why) => Stop::Retry(format!("cannot check the acceptance: {why}")),
    })?;
    let mut facts = Facts {
        name: Some(spec.name.clone()),
        spec: Some(of_json(&spec)?),
        acceptance: Some(sealed.digest),
        permissions: Some(permissions_digest(&spec)?),
        risks: resolve::risks(&spec),
        ..Facts::default()
    };
    if !due(Gate::Spec, &work.state.policy, &facts).is_empty() {
        let programs = work.builds.runtime().programs().clone();
        let this = spec.clone();
        let environment = blocking(move || programs.environment(&this)).await?;
        facts.subject = Some(subject(
            &spec,
            &facts,
            &work.state.policy,
            Gate::Spec,
            &environment,
        )?);
    }
    let summary = format!("{}: {}", spec.name, spec.purpose.trim());
    let (repository, directory) = (work.repository(), work.directory());
    let source = ready.source;
    let write = move || {
        write(
            &spec,
            &source,
            &repository,
            &directory.join(kept::FOUNDATION),
        )
    };
    work.builds.runtime().writing(write).await?;
    Ok(Done::new(summary, facts))
}

fn write(
    spec: &Spec,
    source: &FoundationSource,
    repository: &Path,
    foundation: &Path,
) -> Result<(), Stop> {
    // A repository of a killed try would hold other files.
    tree::remove_all(repository)?;
    tree::remove_all(foundation)?;
    let make = |path: &Path| -> Result<(), TreeError> {
        std::fs::create_dir_all(path).map_err(tree::io_error("make the directory", path))
    };
    make(repository)?;
    let json = serde_json::to_vec_pretty(spec).map_err(|error| Stop::fault(error.to_string()))?;
    tree::write_file(&repository.join("spec.json"), &json, false)?;
    tree::write_file(
        &repository.join("spec.md"),
        document::spec_page(spec).as_bytes(),
        false,
    )?;
    for (path, bytes) in &source.files {
        let target = foundation.join(path);
        if let Some(parent) = target.parent() {
            make(parent)?;
        }
        tree::write_file(&target, bytes, false)?;
    }
    Ok(())
}
