//! One match on the stage, one file for each.
//!
//! Every stage may be run twice, and may be killed at any point before its commit: it looks at what
//! is there before it acts, and leaves the same state. Nothing here writes rows; what is to be written
//! goes back in the outcome.

mod deploy;
mod generate;
mod package;
mod preview;
mod register;
mod review;
mod spec;
mod verify;

use crate::Builds;
use crate::models::{Asking, tape_name};
use crate::repository::GitError;
use agentwright_domain::build::{
    BuildRequest, BuildState, Facts, FailureClass, Repair, Stage, StageOutcome,
};
use agentwright_domain::digest::Digest;
use agentwright_domain::run::{Record, Run};
use agentwright_domain::spec::Spec;
use agentwright_engine::{Handle, ReportError};
use agentwright_proof::{NoJson, of_json};
use agentwright_runtime::install::InstallError;
use agentwright_runtime::tree::{self, TreeError};
use agentwright_runtime::{blocking, chain};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One stage of one build, at work.
pub(crate) struct Work<'a> {
    pub(crate) builds: &'a Builds,
    pub(crate) run: &'a Run,
    pub(crate) state: &'a BuildState,
    pub(crate) request: &'a BuildRequest,
    pub(crate) handle: &'a Handle,
    pub(crate) attempt: u32,
    /// Later works of this process have higher ones.
    pub(crate) serial: u64,
}

/// It held.
pub(crate) struct Done {
    pub(crate) summary: String,
    pub(crate) facts: Facts,
    pub(crate) records: Vec<Record>,
}

impl Done {
    pub(crate) fn new(summary: impl Into<String>, facts: Facts) -> Self {
        Self {
            summary: summary.into(),
            facts,
            records: Vec::new(),
        }
    }
}

/// It did not.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Trying again cannot help.
    Failed(FailureClass, String),
    /// Something outside failed; trying again may help.
    Retry(String),
    /// A model's quota is used up, or its service is out, until a known time.
    Park { reason: String, until_ms: i64 },
    /// A budget is spent.
    Spent(String),
    /// The code does not hold; whoever wrote it may mend it.
    Repair { repair: Repair, failure: Digest },
    /// No code can hold the spec.
    Amend(String),
}

impl Stop {
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Failed(FailureClass::Refused, why.into())
    }

    pub(crate) fn fault(why: impl Into<String>) -> Self {
        Self::Failed(FailureClass::Fault, why.into())
    }
}

impl From<NoJson> for Stop {
    fn from(error: NoJson) -> Self {
        Self::fault(error.to_string())
    }
}

impl From<GitError> for Stop {
    fn from(error: GitError) -> Self {
        Self::Retry(error.to_string())
    }
}

impl From<TreeError> for Stop {
    fn from(error: TreeError) -> Self {
        match &error {
            TreeError::Refused { .. } => Self::Failed(FailureClass::Review, chain(&error)),
            TreeError::Io { .. } => Self::Retry(chain(&error)),
        }
    }
}

impl From<InstallError> for Stop {
    fn from(error: InstallError) -> Self {
        match error {
            InstallError::Tree(error) => error.into(),
            InstallError::NoJson(error) => error.into(),
            error @ (InstallError::Changed { .. } | InstallError::Occupied(_)) => {
                Self::Failed(FailureClass::Deploy, chain(&error))
            }
        }
    }
}

impl From<ReportError> for Stop {
    fn from(error: ReportError) -> Self {
        // A stale attempt's outcome is dropped by the engine, whatever it says.
        Self::Retry(error.to_string())
    }
}

/// What a build keeps beside its repository.
pub(crate) mod kept {
    /// The foundation as it was when the spec was made.
    pub(crate) const FOUNDATION: &str = "foundation";
    /// Everything that verify saw, as one JSON text.
    pub(crate) const EVIDENCE: &str = "evidence.json";
    /// Digest over the host's programs at verify.
    pub(crate) const ENVIRONMENT: &str = "environment";
    /// What a repair is told: what the failing attempt saw.
    pub(crate) const FAILURE: &str = "failure.txt";
    /// In [`REPLAY`]: the deployed code that a repair or a change by a model begins with.
    pub(crate) const BEFORE: &str = "before";
    /// The directory with what a replay needs: model answers, seeds, what agents left; by attempt.
    pub(crate) const REPLAY: &str = "replay";
}

impl Work<'_> {
    /// Works the stage once.
    pub(crate) async fn stage(&self, stage: Stage) -> StageOutcome {
        let worked = match self.failed_then(stage).await {
            // Nothing is waited for again that was waited for then.
            Ok(Some(reason)) => {
                return StageOutcome::Retry {
                    reason,
                    not_before_ms: Some(0),
                };
            }
            Ok(None) => self.worked(stage).await,
            Err(stop) => Err(stop),
        };
        if let Err(Stop::Retry(reason)) = &worked {
            self.keep_failure(stage, reason).await;
        }
        self.clean(stage).await;
        match worked {
            Ok(Done {
                summary,
                facts,
                records,
            }) => StageOutcome::Done {
                summary,
                facts: Box::new(facts),
                records,
            },
            Err(Stop::Failed(class, reason)) => StageOutcome::Failed {
                class,
                reason,
                records: Vec::new(),
            },
            Err(Stop::Retry(reason)) => StageOutcome::Retry {
                reason,
                not_before_ms: None,
            },
            Err(Stop::Park { reason, until_ms }) => StageOutcome::Park { reason, until_ms },
            Err(Stop::Spent(limit)) => StageOutcome::Spent { limit },
            Err(Stop::Repair { repair, failure }) => StageOutcome::Repair {
                repair,
                failure,
                records: Vec::new(),
            },
            Err(Stop::Amend(reason)) => StageOutcome::Amend {
                reason,
                records: Vec::new(),
            },
        }
    }

    async fn worked(&self, stage: Stage) -> Result<Done, Stop> {
        match stage {
            Stage::Spec => spec::work(self).await,
            Stage::Package => package::work(self).await,
            Stage::Generate => generate::work(self).await,
            Stage::Review => review::work(self).await,
            Stage::Verify => verify::work(self).await,
            Stage::Preview => preview::work(self).await,
            Stage::Deploy => deploy::work(self).await,
            Stage::Register => register::work(self).await,
        }
    }

    /// In a replay: why this very try failed then, where something outside failed it. It is no part of what is
    /// replayed, but the tries after it count on from it.
    async fn failed_then(&self, stage: Stage) -> Result<Option<String>, Stop> {
        let Some(record) = self.replayed() else {
            return Ok(None);
        };
        let path = record.join(self.kept_name(&self.failure_name(stage)));
        blocking(move || match std::fs::read_to_string(&path) {
            Ok(reason) => Ok(Some(reason)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Stop::Retry(format!(
                "cannot read {}: {error}",
                path.display()
            ))),
        })
        .await
    }

    fn failure_name(&self, stage: Stage) -> String {
        format!("failed-{}-{}.txt", stage.word(), self.attempt)
    }

    /// Keeps that something outside failed this try. A try that was taken away did not
    /// fail; one that only deploys is never replayed.
    async fn keep_failure(&self, stage: Stage, reason: &str) {
        if self.handle.cancelled().is_cancelled() || self.request.deploys.is_some() {
            return;
        }
        let (name, reason) = (self.failure_name(stage), reason.as_bytes().to_vec());
        if let Err(error) = self.keep_for_replay(&name, reason).await {
            tracing::warn!(run = %self.run.id, ?error, "a replay will not know why this try failed");
        }
    }

    /// The facts so far, to be added to.
    pub(crate) fn facts(&self) -> Facts {
        self.state.facts.clone()
    }

    /// The build's directory: its own, or that of the build whose result it deploys.
    pub(crate) fn directory(&self) -> PathBuf {
        let of = self.request.deploys.as_ref().unwrap_or(&self.run.id);
        self.builds.runtime().layout().build(of)
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.directory().join("repo")
    }

    /// A directory of this work alone; gone when the stage ends. An earlier work of the same stage that
    /// was dropped may still be writing into its own; what such ones left is taken away.
    pub(crate) async fn scratch(&self, stage: Stage) -> Result<PathBuf, Stop> {
        let (path, serial) = (self.scratch_path(stage), self.serial);
        blocking(move || {
            tree::remove_all(&path)?;
            let earlier = |name: &str| {
                let number = name
                    .rsplit_once('-')
                    .and_then(|(_, n)| n.parse::<u64>().ok());
                number.is_none_or(|number| number < serial)
            };
            let left = path.parent().map(std::fs::read_dir);
            for entry in left.into_iter().flatten().flatten().flatten() {
                if entry.file_name().to_str().is_some_and(earlier) {
                    // Somebody may still be writing there: the next one takes it away.
                    let _ = tree::remove_all(&entry.path());
                }
            }
            std::fs::create_dir_all(&path).map_err(tree::io_error("make the directory", &path))?;
            Ok(path)
        })
        .await
    }

    fn scratch_path(&self, stage: Stage) -> PathBuf {
        let own = self.builds.runtime().layout().build(&self.run.id);
        own.join("scratch")
            .join(format!("{}-{}", stage.word(), self.serial))
    }

    async fn clean(&self, stage: Stage) {
        let mut path = self.scratch_path(stage);
        if stage == Stage::Register {
            // The last one: nobody else has a directory there any more.
            path.pop();
        }
        if let Err(error) = blocking(move || tree::remove_all(&path)).await {
            tracing::warn!(run = %self.run.id, error = chain(&error), "cannot remove a scratch directory");
        }
    }

    /// The spec on disk, if it still is the sealed one.
    pub(crate) async fn spec(&self) -> Result<Spec, Stop> {
        let (path, sealed) = (
            self.repository().join("spec.json"),
            self.state.facts.spec.clone(),
        );
        blocking(move || read_spec(&path, sealed.as_ref())).await
    }

    /// Declared programs that are here and lie outside `/usr`.
    pub(crate) async fn present_programs(&self, spec: &Spec) -> BTreeMap<String, PathBuf> {
        let (programs, spec) = (self.builds.runtime().programs().clone(), spec.clone());
        blocking(move || programs.present(&spec)).await
    }

    /// The models, as this attempt asks them.
    pub(crate) async fn asking(&self, stage: Stage) -> Result<Asking<'_>, Stop> {
        let runtime = self.builds.runtime().clone();
        let now = Arc::new(move || runtime.now_ms());
        let replays = self
            .replayed()
            .map(|of| of.join(self.kept_name(&tape_name(stage, self.attempt))));
        let models = self.builds.models();
        Asking::new(models, self.handle, now, replays.as_deref()).await
    }

    /// Where the build that is replayed kept what it was answered.
    pub(crate) fn replayed(&self) -> Option<PathBuf> {
        let of = self.request.replays.as_ref()?;
        let layout = self.builds.runtime().layout();
        Some(layout.build(of).join(kept::REPLAY))
    }

    /// The name that something of this attempt is kept under. Tries are counted anew when the spec was amended: what was
    /// kept of the first one stays.
    pub(crate) fn kept_name(&self, name: &str) -> String {
        match self.state.facts.amendment {
            None => name.to_owned(),
            Some(_) => format!("amended-{name}"),
        }
    }

    /// What this very attempt kept before it was killed; none where it is worked for the first time.
    pub(crate) async fn kept_before(&self, name: &str) -> Result<Option<Vec<u8>>, Stop> {
        let directory = self.directory().join(kept::REPLAY);
        let path = directory.join(self.kept_name(name));
        blocking(move || match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Stop::Retry(format!(
                "cannot read {}: {error}",
                path.display()
            ))),
        })
        .await
    }

    /// What an attempt draws or finds, and its outcome hangs on: as it is now, kept for a replay; in a replay as it was.
    pub(crate) async fn recalled(&self, name: &str, now: Vec<u8>) -> Result<Vec<u8>, Stop> {
        let bytes = match self.replayed() {
            None => now,
            Some(record) => {
                let path = record.join(self.kept_name(name));
                let read = blocking(move || Ok::<_, Stop>(std::fs::read(path).ok())).await?;
                read.ok_or_else(|| {
                    let why = format!(
                        "it differs: the build that is replayed kept no {name}, it never came this far"
                    );
                    Stop::Failed(FailureClass::Tests, why)
                })?
            }
        };
        self.keep_for_replay(name, bytes.clone()).await?;
        Ok(bytes)
    }

    /// Something that an attempt made: kept for a replay, and in a replay the same as then.
    pub(crate) async fn made(&self, what: &str, digest: &Digest) -> Result<(), Stop> {
        let name = format!("{what}-{}", self.attempt);
        let now = digest.to_string().into_bytes();
        if self.recalled(&name, now.clone()).await? == now {
            return Ok(());
        }
        let why = format!(
            "it differs: try {} of this replay made other {what} than the build that is replayed",
            self.attempt
        );
        Err(Stop::Failed(FailureClass::Tests, why))
    }

    /// Keeps what models were asked and answered in this attempt: for people, and for a replay.
    pub(crate) async fn keep_tape(&self, stage: Stage, tape: Vec<u8>) -> Result<(), Stop> {
        if tape.is_empty() {
            return Ok(());
        }
        let name = tape_name(stage, self.attempt);
        self.keep_for_replay(&name, tape.clone()).await?;
        self.handle.keep(&self.kept_name(&name), tape).await?;
        Ok(())
    }

    /// Back to the coder with what was seen; kept for people under this try's name.
    pub(crate) async fn repair(
        &self,
        reason: String,
        told: String,
        failure: Digest,
    ) -> Result<Stop, Stop> {
        let path = self.directory().join(kept::FAILURE);
        let bytes = told.clone().into_bytes();
        blocking(move || Ok::<(), Stop>(tree::replace_file(&path, &bytes)?)).await?;
        let evidence = self.kept_name(&format!("failure-{}.txt", self.attempt));
        self.handle.keep(&evidence, told.into_bytes()).await?;
        let repair = Repair { reason, evidence };
        Ok(Stop::Repair { repair, failure })
    }

    /// Keeps a file that a replay of this build reads.
    pub(crate) async fn keep_for_replay(&self, name: &str, bytes: Vec<u8>) -> Result<(), Stop> {
        let directory = self.directory().join(kept::REPLAY);
        let path = directory.join(self.kept_name(name));
        blocking(move || {
            std::fs::create_dir_all(&directory)
                .map_err(tree::io_error("make the directory", &directory))?;
            Ok::<(), Stop>(tree::replace_file(&path, &bytes)?)
        })
        .await
    }

    /// The time, ms.
    pub(crate) fn now_ms(&self) -> i64 {
        self.builds.runtime().now_ms()
    }
}

fn read_spec(path: &Path, sealed: Option<&Digest>) -> Result<Spec, Stop> {
    let bytes = std::fs::read(path).map_err(|error| {
        let what = format!("cannot read {}: {error}", path.display());
        match error.kind() {
            std::io::ErrorKind::NotFound => Stop::fault(format!(
                "{what}; the build's directory was removed, build it again"
            )),
            _ => Stop::Retry(what),
        }
    })?;
    let spec: Spec = serde_json::from_slice(&bytes).map_err(|error| {
        Stop::fault(format!(
            "{} was changed: {error}; build it again",
            path.display()
        ))
    })?;
    if sealed == Some(&of_json(&spec)?) {
        Ok(spec)
    } else {
        Err(Stop::fault(format!(
            "{} is not the spec that was sealed: somebody changed it; build it again",
            path.display()
        )))
    }
}
