//! The four levels, on a copy of the code, with values drawn now: after the code was committed.

use super::{Done, Stop, Work, kept};
use crate::failure;
use agentwright_domain::build::{FailureClass, Stage};
use agentwright_domain::evidence::EvidenceRef;
use agentwright_domain::run::Record;
use agentwright_engine::Handle;
use agentwright_proof::of_json;
use agentwright_runtime::blocking;
use agentwright_runtime::install::{NOT_CODE, code_digest};
use agentwright_runtime::tree;
use agentwright_sandbox::Tier;
use agentwright_verify::{Ended, NotKept, Reporter, Verification};

/// So many tries where a fault of this machine stopped verify.
const FAULTS_MAX: u32 = 3;

pub(super) async fn work(work: &Work<'_>) -> Result<Done, Stop> {
    let spec = work.spec().await?;
    let scratch = work.scratch(Stage::Verify).await?;
    let (repository, clean) = (work.repository(), scratch.join("code"));
    let copy = clean.clone();
    let code = blocking(move || {
        tree::copy(&repository, &NOT_CODE, &copy)?;
        code_digest(&copy)
    })
    .await?;
    if Some(&code) != work.state.facts.reviewed.as_ref() {
        return Err(Stop::fault(
            "the code was changed after it was reviewed; build it again",
        ));
    }
    let work_dir = scratch.join("work");
    std::fs::create_dir_all(&work_dir).map_err(tree::io_error("make the directory", &work_dir))?;
    let seed = seed(work).await?;
    let (programs, this) = (work.builds.runtime().programs().clone(), spec.clone());
    let environment = blocking(move || programs.environment(&this)).await?;
    let job = agentwright_verify::Work {
        spec: &spec,
        app: clean,
        scratch: work_dir,
        seed,
        programs: work.present_programs(&spec).await,
    };
    let reporter = Reports {
        handle: work.handle,
    };
    let (verifier, cancel) = (work.builds.verifier(work.run), work.handle.cancelled());
    let verified = Box::pin(verifier.verify(&job, &reporter, &cancel)).await;
    for result in &verified.results {
        work.handle
            .record(Record::TestResult(result.clone()))
            .await?;
    }
    compare(work, &verified).await?;
    judge(work, &verified).await?;
    let directory = work.directory();
    let results = verified.results.clone();
    let evidence = of_json(&results)?;
    let kept_environment = environment.clone();
    blocking(move || {
        let bytes = agentwright_proof::canonical(&results)?;
        tree::replace_file(&directory.join(kept::EVIDENCE), &bytes)?;
        let text = kept_environment.to_string();
        tree::replace_file(&directory.join(kept::ENVIRONMENT), text.as_bytes())?;
        Ok::<(), Stop>(())
    })
    .await?;
    let mut facts = work.facts();
    facts.verified = Some(code);
    facts.evidence = Some(evidence);
    let tier = verified
        .results
        .last()
        .map_or("", |result| result.tier.as_str());
    let summary = format!(
        "all {} levels hold (sandbox tier {tier})",
        verified.results.len()
    );
    Ok(Done::new(summary, facts))
}

/// Drawn now, after the code was committed; a replay draws what was drawn then.
async fn seed(work: &Work<'_>) -> Result<[u8; 32], Stop> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Stop::Retry(format!("cannot draw a seed: {error}")))?;
    let name = format!("seed-{}", work.attempt);
    let seed = work.recalled(&name, seed.to_vec()).await?;
    seed.try_into()
        .map_err(|_| Stop::fault(format!("the recorded {name} is no seed: it was changed")))
}

/// A replay comes to the same verdicts. A fault of the machine is none.
async fn compare(work: &Work<'_>, verified: &Verification) -> Result<(), Stop> {
    match verified.ended {
        Ended::Passed | Ended::CodeFailed | Ended::SpecWrong => {
            let results = verified.results.iter();
            let verdicts: Vec<_> = results.map(|it| (it.level, it.verdict)).collect();
            work.made("verdicts", &of_json(&verdicts)?).await
        }
        Ended::Fault | Ended::Cancelled => Ok(()),
    }
}

/// What the end of verify means for the build. A foundation's code nobody mends.
async fn judge(work: &Work<'_>, verified: &Verification) -> Result<(), Stop> {
    let last = || {
        let result = verified.results.last();
        result.map_or_else(String::new, |result| {
            format!("{}: {}", result.level.word(), result.summary)
        })
    };
    match verified.ended {
        Ended::Passed => Ok(()),
        Ended::CodeFailed | Ended::SpecWrong if work.state.facts.coder.is_none() => {
            Err(Stop::Failed(FailureClass::Tests, last()))
        }
        Ended::CodeFailed => {
            let (told, failure) = failure::told(&verified.results);
            Err(work.repair(last(), told, failure).await?)
        }
        Ended::SpecWrong => Err(Stop::Amend(last())),
        Ended::Cancelled => Err(Stop::Retry("it was stopped".to_owned())),
        Ended::Fault => {
            let walls = work.builds.runtime().sandbox().probe().await.tier >= Tier::Full;
            if walls && work.attempt < FAULTS_MAX {
                Err(Stop::Retry(last()))
            } else {
                Err(Stop::fault(last()))
            }
        }
    }
}

struct Reports<'a> {
    handle: &'a Handle,
}

#[async_trait::async_trait]
impl Reporter for Reports<'_> {
    async fn progress(&self, percent: u8, message: &str) {
        if let Err(error) = self.handle.progress(percent, message).await {
            tracing::debug!(%error, "progress was not recorded");
        }
    }

    async fn keep(&self, name: &str, bytes: Vec<u8>) -> Result<EvidenceRef, NotKept> {
        self.handle
            .keep(name, bytes)
            .await
            .map_err(|error| NotKept {
                name: name.to_owned(),
                why: error.to_string(),
            })
    }
}
