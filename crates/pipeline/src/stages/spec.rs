//! Intent → spec, held against this machine, acceptance sealed.

use super::{Done, Stop, Work, kept};
use crate::digests::{permissions_digest, subject};
use crate::drafting::{Drafted, Wish, draft};
use crate::mending::{Mended, begin, changed};
use crate::plan::{NotReady, questions, verifies_again, without_model};
use crate::{document, resolve};
use agentwright_domain::approval::Gate;
use agentwright_domain::build::{Facts, MadeFrom, Stage, due};
use agentwright_domain::digest::Digest;
use agentwright_domain::spec::Spec;
use agentwright_intent::FoundationSource;
use agentwright_proof::of_json;
use agentwright_runtime::blocking;
use agentwright_runtime::install::NOT_CODE;
use agentwright_runtime::tree::{self, TreeError};
use agentwright_verify::{SealError, seal};
use std::path::{Path, PathBuf};

pub(super) async fn work(work: &Work<'_>) -> Result<Done, Stop> {
    let Made {
        spec,
        source,
        unasked,
        begun,
        replaces,
    } = made(work).await?;
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
    let mut facts = known(work, &spec, sealed.digest, (unasked, replaces))?;
    let begun = match begun {
        Begun::Empty => None,
        Begun::With(code) => Some(code),
        Begun::Failed(mended) => {
            facts.tried = vec![mended.tried];
            facts.repair = Some(mended.repair);
            Some(mended.code)
        }
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
    let write = move || {
        write(
            &spec,
            &source,
            &repository,
            &directory.join(kept::FOUNDATION),
        )?;
        match begun {
            Some(code) => Ok(tree::copy(&code, &NOT_CODE, &repository)?),
            None => Ok::<(), Stop>(()),
        }
    };
    work.builds.runtime().writing(write).await?;
    Ok(Done::new(summary, facts))
}

/// What is known of the build as soon as its spec is sealed.
fn known(
    work: &Work<'_>,
    spec: &Spec,
    acceptance: Digest,
    (unasked, replaces): (Vec<String>, Option<MadeFrom>),
) -> Result<Facts, Stop> {
    Ok(Facts {
        name: Some(spec.name.clone()),
        // A replay is a change of what its build was one of.
        replaces: match work.request.replays {
            Some(_) => work.state.facts.replaces.clone(),
            None => replaces,
        },
        foundation: spec.foundation.as_ref().map(|of| of.name.clone()),
        spec: Some(of_json(spec)?),
        acceptance: Some(acceptance),
        permissions: Some(permissions_digest(spec)?),
        risks: resolve::risks(spec).into_iter().chain(unasked).collect(),
        amendment: work.state.facts.amendment.clone(),
        reviews: work.state.facts.reviews,
        parks: work.state.facts.parks,
        ..Facts::default()
    })
}

/// A spec, and what belongs to it.
struct Made {
    spec: Spec,
    source: FoundationSource,
    /// What a model's spec asks for beyond the sentence.
    unasked: Vec<String>,
    begun: Begun,
    /// The version that a change is made from.
    replaces: Option<MadeFrom>,
}

/// What the repository begins with, besides the spec.
enum Begun {
    /// Nothing.
    Empty,
    /// The deployed code, to be changed.
    With(PathBuf),
    /// The deployed code, which failed.
    Failed(Box<Mended>),
}

/// By a foundation where one covers the wish, else by a model.
async fn made(work: &Work<'_>) -> Result<Made, Stop> {
    if let Some(mends) = &work.request.mends {
        let begun = begin(work, mends).await?;
        // A spec that proves wrong on the way is the model's to make anew, as in any change.
        return match work.state.facts.amendment {
            Some(_) => drafted(work, Some(&begun.spec), begun.replaces).await,
            None => Ok(Made {
                replaces: begun.replaces.clone(),
                spec: begun.spec.clone(),
                source: FoundationSource::default(),
                unasked: Vec::new(),
                begun: Begun::Failed(Box::new(begun)),
            }),
        };
    }
    let understood = work
        .builds
        .understand(work.handle.scope(), work.request)
        .await;
    let (reason, existing) = match understood {
        // An amendment is the model's: a foundation's acceptance does not change by itself.
        Ok(ready) if ready.spec.foundation.is_some() || work.state.facts.amendment.is_none() => {
            if work.request.replays.is_none()
                && let Some(why) = work.builds.unwritable(work.request, &ready.spec).await
            {
                return Err(Stop::refused(why));
            }
            let replaces = ready.existing.as_ref().map(MadeFrom::from);
            let begun = match &work.request.changes {
                Some(name) if ready.spec.foundation.is_none() && verifies_again(work.request) => {
                    Begun::With(changed(work, name, replaces.as_ref()).await?)
                }
                Some(_) | None => Begun::Empty,
            };
            return Ok(Made {
                spec: ready.spec,
                source: ready.source,
                unasked: Vec::new(),
                begun,
                replaces,
            });
        }
        Ok(ready) => (
            "the given spec proved wrong".to_owned(),
            ready.existing.map(Box::new),
        ),
        Err(NotReady::Uncovered {
            reason, existing, ..
        }) => (reason, existing),
        Err(NotReady::Incomplete(plan)) => return Err(Stop::refused(questions(&plan.missing))),
        Err(NotReady::Refused { reason, .. }) => return Err(Stop::refused(reason)),
        Err(NotReady::Fault(why)) => return Err(Stop::Retry(why)),
    };
    if work.request.replays.is_none() && !work.builds.models().any().await {
        return Err(Stop::refused(without_model(&reason)));
    }
    let replaces = existing.as_deref().map(MadeFrom::from);
    drafted(work, existing.as_ref().map(|it| &it.spec), replaces).await
}

async fn drafted(
    work: &Work<'_>,
    existing: Option<&Spec>,
    replaces: Option<MadeFrom>,
) -> Result<Made, Stop> {
    let drafted = match again(work).await? {
        Some(drafted) => drafted,
        None => asked(work, existing).await?,
    };
    let by_model = existing.is_some_and(|existing| existing.foundation.is_none());
    let begun = match work.request.changes.as_ref().filter(|_| by_model) {
        Some(name) => Begun::With(changed(work, name, replaces.as_ref()).await?),
        None => Begun::Empty,
    };
    work.made("spec", &of_json(&drafted.spec)?).await?;
    work.handle
        .progress(80, &format!("the spec is made by {}", drafted.by))
        .await?;
    Ok(Made {
        spec: drafted.spec,
        source: FoundationSource::default(),
        unasked: drafted.unasked,
        begun,
        replaces,
    })
}

/// The name of what a model made of the wish in one try.
fn draft_name(work: &Work<'_>) -> String {
    format!("draft-{}.json", work.attempt)
}

/// What the model made of it before this very try was killed: it is not asked a second time.
async fn again(work: &Work<'_>) -> Result<Option<Drafted>, Stop> {
    let kept = work.kept_before(&draft_name(work)).await?;
    let drafted: Option<Drafted> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let data = work.builds.runtime().layout().data();
    // The machine may have changed in between.
    Ok(drafted.filter(|drafted| resolve::problems(&drafted.spec, data).is_empty()))
}

async fn asked(work: &Work<'_>, existing: Option<&Spec>) -> Result<Drafted, Stop> {
    let runtime = work.builds.runtime();
    let names = runtime.names(work.handle.scope()).await;
    let taken: Vec<String> = names
        .map_err(|error| Stop::Retry(error.to_string()))?
        .iter()
        .map(ToString::to_string)
        .collect();
    let (taken, existing) = surroundings(work, taken, existing).await?;
    let asking = work.asking(Stage::Spec).await?;
    let wish = Wish {
        request: work.request,
        existing: existing.as_ref(),
        amendment: work.state.facts.amendment.as_deref(),
        conventions: &work.builds.models().settings().conventions,
        taken: &taken,
        home: work.builds.home(),
        data: runtime.layout().data(),
        scratch: work.scratch(Stage::Spec).await?.join("draft"),
    };
    work.handle
        .progress(10, "asks a model for the spec")
        .await?;
    let drafted = draft(&wish, &asking, &work.handle.cancelled()).await;
    work.keep_tape(Stage::Spec, asking.tape()).await?;
    let drafted = drafted?;
    let bytes = agentwright_proof::canonical(&drafted)?;
    work.keep_for_replay(&draft_name(work), bytes).await?;
    Ok(drafted)
}

/// The names that are taken and the version that is changed: in a replay as they were, for they have changed since.
async fn surroundings(
    work: &Work<'_>,
    taken: Vec<String>,
    existing: Option<&Spec>,
) -> Result<(Vec<String>, Option<Spec>), Stop> {
    let now = agentwright_proof::canonical(&(taken, existing))?;
    let name = format!("surroundings-{}.json", work.attempt);
    let then = work.recalled(&name, now).await?;
    serde_json::from_slice(&then)
        .map_err(|error| Stop::fault(format!("the recorded {name}: {error}")))
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
