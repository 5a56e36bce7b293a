//! Static checks of the code, and the overseer's one look where a coder wrote it. The verdict names the tree that it
//! saw: what deploys is what was reviewed.

use super::{Done, Stop, Work};
use crate::failure;
use crate::review::overseer::{self, NoVerdict, Verdict};
use crate::review::{self, File, Finding};
use agentwright_domain::build::{Facts, FailureClass, Oversight, Stage};
use agentwright_domain::digest::Digest;
use agentwright_domain::spec::Spec;
use agentwright_llm::{Kind, Retry, Role};
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
    let (saw, files, found) = {
        let spec = spec.clone();
        blocking(move || look(&path, &spec)).await?
    };
    if work.state.facts.code.as_ref() != Some(&saw) {
        return Err(Stop::fault(
            "the code was changed after it was written; build it again",
        ));
    }
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    let count = files.len();
    let verdict =
        json!({ "tree": saw, "files": count, "pass": lines.is_empty(), "findings": lines });
    let bytes = agentwright_proof::canonical(&verdict)?;
    work.handle.keep("review.json", bytes).await?;
    if !lines.is_empty() {
        let shown: Vec<&str> = lines.iter().take(SHOWN_MAX).map(String::as_str).collect();
        let shown = shown.join("; ");
        if work.state.facts.coder.is_none() {
            return Err(Stop::Failed(FailureClass::Review, shown));
        }
        let (told, failure) = failure::findings(&lines);
        return Err(work.repair(shown, told, failure).await?);
    }
    let mut facts = work.facts();
    let short = saw.short().to_owned();
    facts.reviewed = Some(saw.clone());
    let mut summary = format!("nothing to object in {count} files of {short}");
    if facts.coder.is_some() {
        let said = oversee(work, &spec, &files, saw, &mut facts).await?;
        summary = format!("{summary}; {said}");
    }
    Ok(Done::new(summary, facts))
}

/// The overseer's part. Repaired code is looked at when its tests hold, not before.
async fn oversee(
    work: &Work<'_>,
    spec: &Spec,
    files: &[File],
    saw: Digest,
    facts: &mut Facts,
) -> Result<String, Stop> {
    let settings = &work.builds.models().settings().overseer;
    let repaired = !facts.tried.is_empty();
    if repaired && facts.verified.is_none() {
        facts.oversight = Oversight::Due;
        return Ok("the overseer looks when the tests hold".to_owned());
    }
    if facts.reviews >= settings.reviews_max {
        let reason = format!(
            "repaired since, and the overseer was asked {} times",
            facts.reviews
        );
        facts.oversight = Oversight::Missing {
            reason: reason.clone(),
        };
        return Ok(reason);
    }
    facts.reviews += 1;
    // The verdict of a try that was killed before its commit holds, for exactly the code that it was on.
    let name = format!("verdict-{}.json", work.attempt);
    let kept = work.kept_before(&name).await?;
    let kept: Option<(Digest, Verdict)> =
        kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if let Some((_, verdict)) = kept.filter(|(code, _)| *code == saw) {
        return passed(verdict, saw, facts);
    }
    let asking = work.asking(Stage::Review).await?;
    let mut callers = asking.callers(Role::Review).await?;
    // Exactly one call: an answer that does not come is no verdict, not a second question.
    callers.0.truncate(1);
    for caller in &mut callers.0 {
        caller.retry = Retry::NEVER;
    }
    work.handle.progress(40, "asks the overseer").await?;
    let cancel = work.handle.cancelled();
    let answer = overseer::ask(&callers, spec, files, settings.code_max_bytes, &cancel).await;
    work.keep_tape(Stage::Review, asking.tape()).await?;
    let reason = match answer {
        Ok(verdict) => {
            let bytes = agentwright_proof::canonical(&(&saw, &verdict))?;
            work.keep_for_replay(&name, bytes).await?;
            return passed(verdict, saw, facts);
        }
        Err(NoVerdict::TooLarge { bytes, max }) => {
            facts.reviews -= 1;
            format!("too large to review: {bytes} bytes, the overseer is shown {max}")
        }
        Err(NoVerdict::Model(error))
            if matches!(error.kind, Kind::Refused | Kind::Cancelled | Kind::Replay) =>
        {
            return Err(asking.stop(&error));
        }
        Err(NoVerdict::Model(error)) => format!("the overseer is unavailable: {error}"),
    };
    facts.oversight = Oversight::Missing {
        reason: reason.clone(),
    };
    Ok(reason)
}

/// What a verdict means.
fn passed(verdict: Verdict, saw: Digest, facts: &mut Facts) -> Result<String, Stop> {
    match verdict {
        Verdict::Pass(why) => {
            facts.oversight = Oversight::Passed { code: saw };
            Ok(format!("the overseer passes it: {why}"))
        }
        Verdict::Fail(why) => {
            let reason = format!("the overseer rejected it: {why}");
            Err(Stop::Failed(FailureClass::Review, reason))
        }
    }
}

fn look(repository: &Path, spec: &Spec) -> Result<(Digest, Vec<File>, Vec<Finding>), Stop> {
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
    Ok((saw, files, found))
}
