//! How a build begins that works on deployed code of a model: a change with that code, a repair with the spec and what
//! the failed execution left besides.
//!
//! From then on it is a build like any other; a repair's code counts as tried once.

use crate::plan::without_model;
use crate::stages::{Stop, Work, kept};
use agentwright_domain::build::{MadeFrom, Mends, Repair, Tried};
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::Slug;
use agentwright_domain::spec::Spec;
use agentwright_proof::canonical;
use agentwright_runtime::install::{NOT_CODE, code_digest};
use agentwright_runtime::{Error as RuntimeError, ToMend, blocking, tree};
use std::path::{Path, PathBuf};

/// Under these names a replay finds what a repair began with.
const SPEC: &str = "mended-spec.json";
const FAILURE: &str = "mended-failure.txt";
/// The most of an execution's log that is told, in bytes; its end is what counts.
const LOG_MAX: usize = 12_000;

/// What a repair build begins with.
pub(crate) struct Mended {
    /// The deployed spec; it stays as it is.
    pub(crate) spec: Spec,
    /// A directory with the code that failed.
    pub(crate) code: PathBuf,
    /// That code, as tried once.
    pub(crate) tried: Tried,
    /// What the coder is told.
    pub(crate) repair: Repair,
    /// The version that failed; a replay does not look for it.
    pub(crate) replaces: Option<MadeFrom>,
}

/// Gathers it. The same again when the stage is done twice; in a replay as it was then.
pub(crate) async fn begin(work: &Work<'_>, mends: &Mends) -> Result<Mended, Stop> {
    let mut replaces = None;
    let (spec, told, app) = match work.replayed() {
        Some(_) => (Vec::new(), Vec::new(), PathBuf::new()),
        None => {
            let found = found(work, mends).await?;
            let told = told(mends, &found.log);
            replaces = Some(MadeFrom::from(&found.version));
            (
                canonical(&found.version.spec)?,
                told.into_bytes(),
                found.app,
            )
        }
    };
    let spec = work.recalled(SPEC, spec).await?;
    let spec: Spec = serde_json::from_slice(&spec)
        .map_err(|error| Stop::fault(format!("the recorded {SPEC}: {error}")))?;
    let told = work.recalled(FAILURE, told).await?;
    let (code, digest) = before(work, app).await?;
    let (failure, text) = (work.directory().join(kept::FAILURE), told.clone());
    let keep = move || Ok::<(), Stop>(tree::replace_file(&failure, &text)?);
    work.builds.runtime().writing(keep).await?;
    let tried = Tried {
        code: digest,
        failure: mends.failure.clone(),
    };
    let evidence = "failure-0.txt".to_owned();
    work.handle.keep(&evidence, told).await?;
    Ok(Mended {
        spec,
        code,
        tried,
        repair: Repair {
            reason: mends.reason.clone(),
            evidence,
        },
        replaces,
    })
}

/// The version, if a model can mend it and it still is the one that runs.
async fn found(work: &Work<'_>, mends: &Mends) -> Result<ToMend, Stop> {
    let runtime = work.builds.runtime();
    let scope = work.handle.scope();
    let Some(name) = &work.request.changes else {
        return Err(Stop::fault("a repair names no deployment"));
    };
    let gone = |error: RuntimeError| match error {
        error @ (RuntimeError::Unknown(_) | RuntimeError::NoVersion { .. }) => {
            Stop::refused(format!("there is nothing to repair any more: {error}"))
        }
        error => Stop::Retry(agentwright_runtime::chain(&error)),
    };
    let active = runtime.active(scope, name).await.map_err(gone)?;
    if active.version != mends.version {
        return Err(Stop::refused(format!(
            "version {} of {name} failed, and version {} is active now: there is nothing to repair",
            mends.version, active.version
        )));
    }
    let found = runtime.to_mend(scope, name, mends).await.map_err(gone)?;
    if let Some(foundation) = &found.version.spec.foundation {
        return Err(Stop::refused(format!(
            "no model, cannot repair: {name} was made from the foundation {}, which writes the same code again; \
             change what it is given: agentwright change {name} \"…\"",
            foundation.name
        )));
    }
    if !work.builds.models().any().await {
        let why = format!("no model, cannot repair: {name} was written by one");
        return Err(Stop::refused(without_model(&why)));
    }
    let (app, code) = (found.app.clone(), found.version.code.clone());
    let there = blocking(move || code_digest(&app)).await?;
    if there != code {
        return Err(Stop::refused(format!(
            "the installed code of {name} version {} was changed after it was approved; build it again",
            mends.version
        )));
    }
    Ok(found)
}

/// The code that a change by a model begins with: that of the version that it is made from. A replay has it from the
/// build that it replays.
pub(crate) async fn changed(
    work: &Work<'_>,
    name: &Slug,
    from: Option<&MadeFrom>,
) -> Result<PathBuf, Stop> {
    let layout = work.builds.runtime().layout().of(work.handle.scope());
    let app = from.map(|from| layout.app(name, from.version));
    Ok(before(work, app.unwrap_or_default()).await?.0)
}

/// Keeps the deployed code that this build begins with, in a replay the code of then: where it lies, and its digest.
async fn before(work: &Work<'_>, app: PathBuf) -> Result<(PathBuf, Digest), Stop> {
    let from = work.replayed().map_or(app, |then| then.join(kept::BEFORE));
    let to = work.directory().join(kept::REPLAY).join(kept::BEFORE);
    let code = to.clone();
    let copy = move || copied(&from, &to);
    Ok((code, work.builds.runtime().writing(copy).await?))
}

/// A fresh copy of the code, and its digest.
fn copied(from: &Path, to: &Path) -> Result<Digest, Stop> {
    tree::remove_all(to)?;
    tree::copy(from, &NOT_CODE, to)?;
    Ok(code_digest(to)?)
}

/// The failure, for whoever mends it.
fn told(mends: &Mends, log: &str) -> String {
    let mut from = log.len().saturating_sub(LOG_MAX);
    while !log.is_char_boundary(from) {
        from += 1;
    }
    format!(
        "Its tests held, but version {} failed when it ran for real: {}\n\nWhat it printed:\n{}\n",
        mends.version,
        mends.reason,
        log[from..].trim_end()
    )
}
