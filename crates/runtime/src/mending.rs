//! A failing execution starts a repair build, where the spec allows it ([`FailurePolicy::repairs`]).
//!
//! Bounded: one for each failure of a version, never the same failure twice in a row of repair builds, one at a time.
//! Not here: what a repair build does (`pipeline`), and whether its result is deployed (its own gates). What did not
//! run at all (a missing folder, a revoked grant) is no fault of the code and starts nothing.
//!
//! [`FailurePolicy::repairs`]: agentwright_domain::spec::FailurePolicy::repairs

use crate::Runtime;
use crate::error::Error;
use crate::supervise::PRIORITY;
use agentwright_domain::build::{BuildPolicy, BuildRequest, BuildState, Mends};
use agentwright_domain::deployment::{Activity, DeployedVersion};
use agentwright_domain::digest::Digest;
use agentwright_domain::execution::{Phase, STAGE};
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::run::{NewEvent, NewRun, Run, RunInput, RunState};
use agentwright_proof::of_bytes;
use agentwright_store::{DeploymentRow, OrgScope, Report, SubmitError};
use serde_json::json;
use std::path::PathBuf;

/// The name under which an execution's output is kept.
const LOG: &str = "log";

/// What a repair build begins with.
#[derive(Clone, Debug)]
pub struct ToMend {
    /// The version that failed.
    pub version: DeployedVersion,
    /// Its installed code.
    pub app: PathBuf,
    /// What the failed execution printed, without secrets.
    pub log: String,
}

/// A text without what is drawn anew each time: quoted values and numbers. The same failure has the same shape.
pub fn shape(text: &str) -> String {
    let mut to = String::with_capacity(text.len());
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '`') => {
                quote = Some(c);
                to.push('…');
            }
            None if c.is_ascii_digit() => {}
            None => to.push(c),
        }
    }
    to
}

impl Runtime {
    /// What is to be mended. For `pipeline`.
    ///
    /// # Errors
    /// [`Error::NoVersion`] where it is not there any more.
    pub async fn to_mend(
        &self,
        scope: &OrgScope,
        name: &Slug,
        mends: &Mends,
    ) -> Result<ToMend, Error> {
        let version = self.store().version(scope, name, mends.version).await?;
        let version = version.ok_or_else(|| Error::NoVersion {
            name: name.clone(),
            version: mends.version,
        })?;
        let log = match self.log_of(scope, &mends.execution).await? {
            Some(digest) => self.store().artifact(&digest).await?,
            None => None,
        };
        Ok(ToMend {
            app: self.layout().of(scope).app(name, mends.version),
            version,
            log: String::from_utf8_lossy(&log.unwrap_or_default()).into_owned(),
        })
    }

    /// Starts a repair build for the newest execution, where one is due. Doing it twice starts one.
    pub(crate) async fn mend(
        &self,
        scope: &OrgScope,
        row: &DeploymentRow,
        version: &DeployedVersion,
    ) -> Result<(), Error> {
        let most = version.spec.on_failure.repairs;
        let stopped = matches!(row.activity, Activity::Stopped { .. });
        if most == 0 || row.failures_in_a_row == 0 || stopped {
            return Ok(());
        }
        let Some((execution, mends)) = self.failure(scope, version).await? else {
            return Ok(());
        };
        let made = self.store().run(scope, &version.build).await?;
        let (request, policy) = match made.as_ref().map(|run| (&run.input, &run.state)) {
            Some((RunInput::Build(request), RunState::Build(state))) => {
                (request.clone(), state.policy.clone())
            }
            Some(_) | None => return Ok(()),
        };
        let before = request.mends.as_ref().map_or_else(Vec::new, |earlier| {
            let mut row = earlier.before.clone();
            row.push(earlier.failure.clone());
            row
        });
        if before.contains(&mends.failure) || before.len() >= most as usize {
            return Ok(());
        }
        let mends = Mends { before, ..mends };
        let Some(id) = self.free(scope, version, &mends.failure).await? else {
            return Ok(());
        };
        self.submit_repair(
            scope,
            &execution,
            id,
            repair(version, request, mends),
            policy,
        )
        .await
    }

    /// The newest execution, where it ran the active version and failed by itself.
    async fn failure(
        &self,
        scope: &OrgScope,
        version: &DeployedVersion,
    ) -> Result<Option<(Run, Mends)>, Error> {
        let Some(row) = self.newest(scope, &version.name).await? else {
            return Ok(None);
        };
        let Some(run) = self.store().run(scope, &row.id).await? else {
            return Ok(None);
        };
        let RunState::Execution(state) = &run.state else {
            return Ok(None);
        };
        let Phase::Failed { reason } = &state.phase else {
            return Ok(None);
        };
        if state.version != version.version || self.log_of(scope, &run.id).await?.is_none() {
            return Ok(None);
        }
        let mends = Mends {
            execution: run.id.clone(),
            version: version.version,
            reason: reason.clone(),
            failure: of_bytes(shape(reason).as_bytes()),
            before: Vec::new(),
        };
        Ok(Some((run, mends)))
    }

    /// The id of the next repair build of a version. None while one is under way, after one for the same failure, and
    /// when all that are allowed were made.
    async fn free(
        &self,
        scope: &OrgScope,
        version: &DeployedVersion,
        failure: &Digest,
    ) -> Result<Option<RunId>, Error> {
        for number in 1..=version.spec.on_failure.repairs {
            let id = RunId::new(format!("{}-repair-{number}", version.build));
            let Some(run) = self.store().run(scope, &id).await? else {
                return Ok(Some(id));
            };
            let same = match &run.input {
                RunInput::Build(request) => {
                    let mended = request.mends.as_ref();
                    mended.is_some_and(|mends| mends.failure == *failure)
                }
                RunInput::Execution => false,
            };
            if same || !run.status.ended() {
                return Ok(None);
            }
        }
        Ok(None)
    }

    async fn submit_repair(
        &self,
        scope: &OrgScope,
        execution: &Run,
        id: RunId,
        request: BuildRequest,
        policy: BuildPolicy,
    ) -> Result<(), Error> {
        let label = Slug::from_words(&format!("repair {}", execution.label));
        let label = label.unwrap_or_else(|| execution.label.clone());
        // A yes in advance was to another code; how often people are asked stays as they said.
        let policy = BuildPolicy {
            advance: None,
            auto_deploy: true,
            ..policy
        };
        let new = NewRun {
            organization: scope.organization().clone(),
            id: id.clone(),
            label: label.clone(),
            priority: PRIORITY,
            state: RunState::Build(Box::new(BuildState::new(policy))),
            input: RunInput::Build(request),
            not_before_ms: None,
            repeats: None,
        };
        match self.engine()?.submit(new, None).await {
            Ok(made) if made.repeated() => return Ok(()),
            Ok(_) => {}
            // Another repair of it is under way: what still fails after it is looked at then.
            Err(SubmitError::LabelTaken { .. }) => return Ok(()),
            Err(SubmitError::Store(error)) => return Err(error.into()),
        }
        let mut event = NewEvent::new(
            "repair.started",
            STAGE,
            format!("the build {label} is to mend it"),
        );
        event.data = json!({ "build": id });
        let report = Report {
            records: Vec::new(),
            events: vec![event],
        };
        // The build names the execution; this is the way back, and only that.
        if let Err(error) = self.store().report(execution, report).await {
            tracing::warn!(run = %execution.id, %error, "a failed execution does not name its repair build");
        }
        Ok(())
    }

    async fn log_of(&self, scope: &OrgScope, run: &RunId) -> Result<Option<Digest>, Error> {
        let kept = self.store().artifacts(scope, run).await?;
        let log = kept.into_iter().rev().find(|kept| kept.name == LOG);
        Ok(log.map(|log| log.digest))
    }
}

/// What the repair build is asked for: a change of what is deployed, with the failure.
fn repair(version: &DeployedVersion, made_by: BuildRequest, mends: Mends) -> BuildRequest {
    BuildRequest {
        intent: format!(
            "repair {}: version {} failed: {}",
            version.name, version.version, mends.reason
        ),
        base_dir: made_by.base_dir,
        zone: made_by.zone,
        foundations: made_by.foundations,
        changes: Some(version.name.clone()),
        from_version: Some(version.version),
        mends: Some(mends),
        ..BuildRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_failure_with_other_numbers_and_values_has_the_same_shape() {
        let one = shape("it ended with exit code 1: KeyError: \"a17\" in line 9");
        assert_eq!(
            one,
            shape("it ended with exit code 1: KeyError: \"b\" in line 12")
        );
        assert_ne!(one, shape("it ended with exit code 1: no such file"));
    }
}
