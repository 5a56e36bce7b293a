//! To the target, if everything still is what was approved. Every digest is made again from what is
//! there now; the files are put in place, a service is tried, and the rows that make the version the
//! active one go into the same commit as the end of this stage.

use super::preview::kept_environment;
use super::{Done, Stop, Work, kept};
use crate::digests::{TARGET, changed, subject};
use crate::resolve;
use agentwright_domain::approval::{Gate, Grant, Subject};
use agentwright_domain::build::{Facts, FailureClass, MadeFrom, Stage, due, is_of, outdated};
use agentwright_domain::deployment::DeployedVersion;
use agentwright_domain::digest::Digest;
use agentwright_domain::evidence::TestResult;
use agentwright_domain::ids::{GrantId, Slug};
use agentwright_domain::run::{Expected, Record, Replaced};
use agentwright_domain::spec::{Spec, Trigger};
use agentwright_proof::of_json;
use agentwright_runtime::install::{Installed, code_digest};
use agentwright_runtime::{Error as RuntimeError, Status};
use agentwright_runtime::{blocking, install::InstallError};

pub(super) async fn work(work: &Work<'_>) -> Result<Done, Stop> {
    let done = deployed(work).await;
    // What was taken over is the next one's.
    let ours = !work.handle.cancelled().is_cancelled();
    if ours && matches!(done, Err(Stop::Failed(..))) {
        discard(work).await;
    }
    done
}

/// What this build put in place, in this try or in one whose commit was refused, is nobody's now. A kill in between is
/// made good when the stage is done again: it is refused again.
async fn discard(work: &Work<'_>) {
    let Some(name) = &work.state.facts.name else {
        return;
    };
    let (runtime, scope) = (work.builds.runtime(), work.handle.scope());
    if let Err(error) = runtime.discard(scope, name, &work.run.id).await {
        tracing::warn!(automation = %name, %error, "cannot take an unused version away");
    }
}

async fn deployed(work: &Work<'_>) -> Result<Done, Stop> {
    let spec = work.spec().await?;
    let environment = unchanged(work, &spec).await?;
    let approved = !due(Gate::Deploy, &work.state.policy, &work.state.facts).is_empty();
    if approved && work.state.facts.approval.is_none() {
        return Err(Stop::fault("nobody has approved this, and somebody must"));
    }
    let expected = replaces_as_meant(work, &spec.name).await?;
    let ready = spec.clone();
    let programs = work.builds.runtime().programs().clone();
    blocking(move || {
        programs
            .declared(&ready)
            .map_err(|error| failed(error.to_string()))?;
        let problems = resolve::make_folders(&ready);
        problems.map_err(failed)
    })
    .await?;
    let code = work
        .state
        .facts
        .code
        .clone()
        .ok_or_else(|| Stop::fault("there is no code"))?;
    let runtime = work.builds.runtime();
    let installed = runtime
        .install(
            work.handle.scope(),
            &spec.name,
            &work.run.id,
            work.repository(),
            &code,
        )
        .await
        .map_err(not_installed)?;
    if let Err(stop) = trial(work, &spec, &installed).await {
        discard(work).await;
        return Err(stop);
    }
    let mut done = done(work, spec, code, environment, installed.version)?;
    done.records.push(expected);
    Ok(done)
}

fn failed(why: impl Into<String>) -> Stop {
    Stop::Failed(FailureClass::Deploy, why.into())
}

fn not_installed(error: RuntimeError) -> Stop {
    match error {
        RuntimeError::Files(error @ InstallError::Tree(_)) => {
            Stop::Retry(agentwright_runtime::chain(&error))
        }
        RuntimeError::Files(error) => error.into(),
        error => Stop::Retry(agentwright_runtime::chain(&error)),
    }
}

/// Makes every digest again. Answers the host's programs.
async fn unchanged(work: &Work<'_>, spec: &Spec) -> Result<Digest, Stop> {
    let facts = &work.state.facts;
    let (repository, directory) = (work.repository(), work.directory());
    let (programs, this) = (work.builds.runtime().programs().clone(), spec.clone());
    let (code, evidence, environment) = blocking(move || {
        let code = code_digest(&repository)?;
        let bytes = std::fs::read(directory.join(kept::EVIDENCE)).map_err(|error| {
            Stop::fault(format!("what verify saw is gone: {error}; build it again"))
        })?;
        let results: Vec<TestResult> = serde_json::from_slice(&bytes).map_err(|error| {
            Stop::fault(format!(
                "what verify saw was changed: {error}; build it again"
            ))
        })?;
        Ok::<_, Stop>((code, of_json(&results)?, programs.environment(&this)?))
    })
    .await?;
    if environment != kept_environment(work).await? {
        return Err(failed(
            "a program of this machine was changed since the code was verified; build it again",
        ));
    }
    let now = Facts {
        code: Some(code),
        evidence: Some(evidence),
        ..facts.clone()
    };
    let now: Subject = subject(spec, &now, &work.state.policy, Gate::Deploy, &environment)?;
    let Some(approved) = &facts.subject else {
        return Err(Stop::fault("there is nothing that was approved"));
    };
    if *approved == now && facts.code == facts.reviewed && facts.code == facts.verified {
        return Ok(environment);
    }
    let what = changed(approved, &now).join(" and ");
    Err(failed(format!(
        "{what} changed after it was approved; nothing was deployed, build it again"
    )))
}

/// A yes to something new replaces nothing, and a yes to a change replaces what it was made from: another build may
/// have taken the name, another version may have become the active one, or a person removed it, while this one was made
/// or waited. Answers what must still hold when the version is written.
async fn replaces_as_meant(work: &Work<'_>, name: &Slug) -> Result<Record, Stop> {
    let there = deployed_now(work, name).await?;
    let active = there.as_ref().map(|status| &status.version);
    if let Some(why) = outdated(work.run, active) {
        return Err(failed(format!("{why}; nothing was deployed")));
    }
    if let (Some(_), Some(active)) = (&work.state.facts.replaces, active) {
        return Ok(Record::Replaces(Replaced {
            name: name.clone(),
            version: MadeFrom::from(active),
        }));
    }
    let versions = there.as_ref().map(|status| status.versions.as_slice());
    if work.request.changes.is_none()
        && versions.is_some_and(|versions| !versions.iter().any(|one| is_of(work.run, &one.build)))
    {
        return Err(failed(format!(
            "an automation named {name} is deployed already, and this was to be a new one; nothing was \
             replaced; change that one (agentwright change {name} …) or build this under another name"
        )));
    }
    Ok(Record::Expects(Expected {
        name: name.clone(),
        deployed: there.is_some(),
    }))
}

/// What is deployed under the name.
pub(super) async fn deployed_now(work: &Work<'_>, name: &Slug) -> Result<Option<Status>, Stop> {
    match work
        .builds
        .runtime()
        .status(work.handle.scope(), name)
        .await
    {
        Ok(status) => Ok(Some(status)),
        Err(RuntimeError::Unknown(_)) => Ok(None),
        Err(error) => Err(Stop::Retry(agentwright_runtime::chain(&error))),
    }
}

/// A service must become well before it replaces anything.
async fn trial(work: &Work<'_>, spec: &Spec, installed: &Installed) -> Result<(), Stop> {
    if !matches!(spec.trigger, Trigger::Service { .. }) {
        return Ok(());
    }
    let _ = work
        .handle
        .progress(50, "deploy: the service is started on trial")
        .await;
    let scratch = work.scratch(Stage::Deploy).await?;
    let cancelled = work.handle.cancelled();
    let tried = work
        .builds
        .runtime()
        .trial(
            work.handle.scope(),
            spec,
            &installed.app,
            &scratch,
            &cancelled,
        )
        .await;
    match tried {
        Ok(_) => Ok(()),
        Err(_) if cancelled.is_cancelled() => Err(Stop::Retry("it was stopped".to_owned())),
        Err(why) => Err(failed(format!("{why}; nothing was replaced"))),
    }
}

fn done(
    work: &Work<'_>,
    spec: Spec,
    code: Digest,
    environment: Digest,
    version: u32,
) -> Result<Done, Stop> {
    let now_ms = work.now_ms();
    let grant = Grant {
        id: GrantId::new(format!("{}-grant", work.run.id)),
        approval: work.state.facts.approval.clone(),
        deployment: spec.name.clone(),
        code: code.clone(),
        spec: of_json(&spec)?,
        permissions: spec.permissions.clone(),
        trigger: spec.trigger.clone(),
        target: TARGET.to_owned(),
        granted_at_ms: now_ms,
        revoked_at_ms: None,
    };
    let deployed = DeployedVersion {
        name: spec.name.clone(),
        version,
        build: work.run.id.clone(),
        grant: grant.id.clone(),
        code,
        spec,
        environment,
        deployed_at_ms: now_ms,
    };
    let mut facts = work.facts();
    facts.version = Some(version);
    let mut done = Done::new(
        format!("{} version {version} deployed", deployed.name),
        facts,
    );
    done.records = vec![
        Record::Grant(Box::new(grant)),
        Record::Version(Box::new(deployed)),
    ];
    Ok(done)
}
