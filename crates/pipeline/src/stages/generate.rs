//! The code: by the foundation, its files rendered with the inputs, or by a coder.

use super::{Done, Stop, Work, kept};
use crate::coding::{Coded, Job, code};
use crate::foundations::read_source;
use crate::plan::verifies_again;
use crate::repository::{Repository, Step};
use agentwright_domain::build::{FailureClass, Stage};
use agentwright_domain::spec::Spec;
use agentwright_intent::Foundation;
use agentwright_runtime::install::{NOT_CODE, code_digest};
use agentwright_runtime::{blocking, tree};
use std::path::Path;

/// Stands before the coder in a commit's first line.
const BY: &str = " by ";
/// So much of a coder's own words is told.
const SAYS_MAX: usize = 200;

pub(super) async fn work(work: &Work<'_>) -> Result<Done, Stop> {
    let spec = work.spec().await?;
    if spec.foundation.is_none() {
        let as_it_is = verifies_again(work.request) && work.state.facts.repair.is_none();
        return if as_it_is {
            as_deployed(work, &spec).await
        } else {
            coded(work, &spec).await
        };
    }
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
            Step {
                stage: Stage::Generate,
                attempt: work.attempt,
            },
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

/// The deployed code as it is, to be verified again. Where a model is there it may mend what no longer holds.
async fn as_deployed(work: &Work<'_>, spec: &Spec) -> Result<Done, Stop> {
    let path = work.repository();
    let repository = Repository::open(&path).await?;
    let step = Step {
        stage: Stage::Generate,
        attempt: work.attempt,
    };
    let subject = format!("keep {} as it is deployed", spec.name);
    repository
        .commit(&work.run.id, step, &subject, work.run.created_at_ms)
        .await?;
    let code = blocking(move || code_digest(&path)).await?;
    work.made("files", &code).await?;
    let short = code.short().to_owned();
    let mut facts = work.facts();
    facts.code = Some(code);
    let by_model = vec![u8::from(work.builds.models().any().await)];
    let by_model = work.recalled("mendable", by_model).await? == [1];
    facts.coder = by_model.then(|| "what is deployed".to_owned());
    Ok(Done::new(format!("{short}, as it is deployed"), facts))
}

/// Lets a coder write, or mend, the code. An attempt that was committed before a crash is not asked for again.
async fn coded(work: &Work<'_>, spec: &Spec) -> Result<Done, Stop> {
    let path = work.repository();
    let repository = Repository::open(&path).await?;
    let step = Step {
        stage: Stage::Generate,
        attempt: work.attempt,
    };
    let mut facts = work.facts();
    let by = if repository.committed(&work.run.id, step).await? {
        // A try before this one did it; its commit says who.
        let subject = repository.subject().await?;
        let by = subject.split_once(BY).map(|(_, by)| by.to_owned());
        by.unwrap_or_else(|| "a model".to_owned())
    } else {
        repository.reset().await?;
        let by = written(work, spec).await?;
        let verb = if facts.repair.is_some() {
            "mend"
        } else {
            "write"
        };
        let subject = format!("{verb} {}{BY}{by}", spec.name);
        repository
            .commit_always(&work.run.id, step, &subject, work.run.created_at_ms)
            .await?;
        by
    };
    let code = blocking(move || code_digest(&path)).await?;
    work.made("files", &code).await?;
    if let Some(mends) = &work.request.mends
        && facts.tried.iter().any(|tried| tried.code == code)
    {
        // The acceptance held for that code already: nothing after this would see that it is the same.
        let reason = format!(
            "{}; the repair changed nothing, or went back to what had failed",
            mends.reason
        );
        return Err(Stop::Failed(FailureClass::Tests, reason));
    }
    let short = code.short().to_owned();
    facts.code = Some(code);
    facts.coder = Some(by.clone());
    Ok(Done::new(format!("{short} written by {by}"), facts))
}

/// The coder works in a copy; what it left is in the repository now. Answers who it was.
async fn written(work: &Work<'_>, spec: &Spec) -> Result<String, Stop> {
    let asking = work.asking(Stage::Generate).await?;
    let models = work.builds.models();
    let failure = work.directory().join(kept::FAILURE);
    let repair = work.state.facts.repair.as_ref();
    let evidence = match repair {
        Some(repair) => Some(
            blocking(move || Ok::<_, Stop>(std::fs::read_to_string(&failure).ok()))
                .await?
                .unwrap_or_else(|| repair.reason.clone()),
        ),
        None => None,
    };
    let left = work.kept_name(&format!("left-{}", work.attempt));
    let repairs = u32::try_from(work.state.facts.tried.len()).unwrap_or(u32::MAX);
    let job = Job {
        left: work.directory().join(kept::REPLAY).join(&left),
        left_then: work.replayed().map(|then| then.join(&left)),
        spec,
        conventions: &models.settings().conventions,
        repair,
        changes: work.request.changes.is_some(),
        evidence,
        attempt: work.attempt,
        tries: work.attempt.saturating_sub(repairs),
        repository: work.repository(),
        scratch: work.scratch(Stage::Generate).await?,
        sandbox: work.builds.runtime().sandbox().named(work.run.id.as_str()),
    };
    let Coded {
        by,
        transcript,
        outcome,
    } = code(models, &asking, &job, work.handle).await?;
    work.keep_tape(Stage::Generate, asking.tape()).await?;
    if !transcript.is_empty() {
        let name = work.kept_name(&format!("transcript-{}.jsonl", work.attempt));
        work.handle.keep(&name, transcript).await?;
    }
    let taken = outcome?;
    let says = taken.says.split_whitespace().collect::<Vec<_>>().join(" ");
    let says: String = says.chars().take(SAYS_MAX).collect();
    let line = format!("{} files taken from {by}; it says: {says}", taken.files);
    work.handle.progress(90, &line).await?;
    Ok(by)
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
