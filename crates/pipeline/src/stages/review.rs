//! Static checks of the code. The verdict names the tree that it saw: what deploys is what was reviewed.

use super::{Done, Stop, Work};
use crate::review::{self, File, Finding};
use agentwright_domain::build::FailureClass;
use agentwright_domain::digest::Digest;
use agentwright_domain::spec::Spec;
use agentwright_runtime::blocking;
use agentwright_runtime::install::{NOT_CODE, code_digest};
use agentwright_runtime::tree;
use serde_json::json;
use std::path::Path;

/// The most findings that stand in a reason; all of them are in the artifact.
const SHOWN_MAX: usize = 10;

pub(super) async fn work(work: &Work<'_>) -> Result<Done, Stop> {
    let spec = work.spec().await?;
    let path = work.repository();
    let (saw, files, found) = blocking(move || look(&path, &spec)).await?;
    if work.state.facts.code.as_ref() != Some(&saw) {
        return Err(Stop::fault(
            "the code was changed after it was written; build it again",
        ));
    }
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    let verdict =
        json!({ "tree": saw, "files": files, "pass": lines.is_empty(), "findings": lines });
    let bytes = agentwright_proof::canonical(&verdict)?;
    work.handle.keep("review.json", bytes).await?;
    if !lines.is_empty() {
        let shown: Vec<&str> = lines.iter().take(SHOWN_MAX).map(String::as_str).collect();
        return Err(Stop::Failed(FailureClass::Review, shown.join("; ")));
    }
    let mut facts = work.facts();
    let short = saw.short().to_owned();
    facts.reviewed = Some(saw);
    Ok(Done::new(
        format!("nothing to object in {files} files of {short}"),
        facts,
    ))
}

fn look(repository: &Path, spec: &Spec) -> Result<(Digest, usize, Vec<Finding>), Stop> {
    let saw = code_digest(repository)?;
    let files: Vec<File> = tree::files(repository, &NOT_CODE)?
        .into_iter()
        .map(|file| File {
            path: file.path,
            mode: file.mode,
            bytes: file.bytes,
        })
        .collect();
    let found = review::review(&files, spec);
    Ok((saw, files.len(), found))
}
