//! One firing: what the grant allows is run in the sandbox, once, and what came out is told.
//!
//! Writes no state; what the end means for the deployment `domain::execution` decides. May be called
//! again for the same run after a crash: the sandbox of the first try is gone with its daemon.

use crate::Runtime;
use crate::error::blocking;
use crate::install::code_digest;
use crate::layout::Layout;
use crate::notices;
use crate::secrets::Secrets;
use crate::tree::replace_file;
use agentwright_domain::approval::Grant;
use agentwright_domain::deployment::DeployedVersion;
use agentwright_domain::execution::{ExecutionOutcome, ExecutionState, Firing};
use agentwright_domain::run::{NewEvent, Notice, Run, RunState, Signal, Usage};
use agentwright_domain::spec::{Spec, Trigger};
use agentwright_engine::{Executor, Handle};
use agentwright_proof::of_json;
use agentwright_sandbox::spec_policy::{self, FolderMissing, Routes};
use agentwright_sandbox::{Command, Ending, Limit, Policy, Report};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The longest reason taken from an automation's own last words, in characters.
const LAST_WORDS_MAX: usize = 300;

/// Carries out executions. One per daemon.
#[derive(Clone)]
pub struct Executions {
    runtime: Runtime,
}

/// Why it did not run, or did not end well.
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) retryable: bool,
}

impl Failure {
    pub(crate) fn last(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retryable: false,
        }
    }

    pub(crate) fn again(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retryable: true,
        }
    }
}

impl From<agentwright_store::Error> for Failure {
    fn from(error: agentwright_store::Error) -> Self {
        Self::again(error.to_string())
    }
}

impl From<agentwright_sandbox::Error> for Failure {
    fn from(error: agentwright_sandbox::Error) -> Self {
        use agentwright_sandbox::Error as E;
        let retryable = match &error {
            E::TooWeak { .. } => false,
            // A folder or a port may come back.
            E::Refused { .. } | E::AddressInUse(_) | E::Ended | E::Setup(_) | E::Io { .. } => true,
        };
        Self {
            reason: chain(&error),
            retryable,
        }
    }
}

/// An error with its sources, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

/// Everything that is needed to run one firing.
pub(crate) struct Prepared {
    pub(crate) spec: Spec,
    pub(crate) policy: Policy,
    pub(crate) secrets: Secrets,
    pub(crate) notices: Vec<Notice>,
}

/// What was seen of one firing.
pub(crate) struct Ran {
    pub(crate) report: Report,
    pub(crate) end: Result<String, Failure>,
}

impl Executions {
    /// Runs firings for this runtime.
    pub fn new(runtime: Runtime) -> Self {
        Self { runtime }
    }

    async fn fire(&self, run: &Run, state: &ExecutionState, handle: &Handle) -> ExecutionOutcome {
        let prepared = match self.runtime.prepare(state, handle).await {
            Ok(prepared) => prepared,
            Err(failure) => return failed(failure, Usage::default(), None, Vec::new()),
        };
        let ran = if matches!(state.firing, Firing::Service)
            || matches!(prepared.spec.trigger, Trigger::Service { .. })
        {
            self.runtime.serve(state, &prepared, handle).await
        } else {
            self.run_to_end(&prepared, handle).await
        };
        let mut notices = prepared.notices;
        let layout = self.runtime.layout().of(handle.scope());
        let name = state.deployment.clone();
        let attempt = format!("{}/{}", run.id, state.phase.attempt());
        let said = blocking(move || notices::take(&layout, &name, &attempt)).await;
        notices.extend(said.into_iter().map(|notice| Notice {
            title: prepared.secrets.redact(&notice.title),
            body: prepared.secrets.redact(&notice.body),
            ..notice
        }));
        let ran = match ran {
            Ok(ran) => ran,
            Err(failure) => return failed(failure, Usage::default(), None, notices),
        };
        let usage = usage(&ran.report);
        let log = log_text(&ran.report, &prepared.secrets);
        let log = match handle.keep("log", log.into_bytes()).await {
            Ok(kept) => Some(kept),
            Err(error) => {
                tracing::warn!(run = %run.id, %error, "cannot keep the log of an execution");
                None
            }
        };
        match ran.end {
            Ok(summary) => ExecutionOutcome::Succeeded {
                summary,
                usage,
                log,
                notices,
            },
            Err(mut failure) => {
                failure.reason = prepared.secrets.redact(&failure.reason);
                failed(failure, usage, log, notices)
            }
        }
    }

    async fn run_to_end(&self, prepared: &Prepared, handle: &Handle) -> Result<Ran, Failure> {
        let command = Command {
            argv: prepared.spec.command.clone(),
            stdin: Vec::new(),
        };
        let report = self
            .runtime
            .sandbox()
            .run(prepared.policy.clone(), command, handle.cancelled())
            .await?;
        let end = judge(&report, &prepared.spec, &prepared.secrets);
        Ok(Ran { report, end })
    }
}

#[async_trait::async_trait]
impl Executor for Executions {
    async fn execute(&self, run: &Run, handle: &Handle) -> Signal {
        let RunState::Execution(state) = &run.state else {
            return Signal::Fault {
                message: "not an execution".to_owned(),
                retryable: false,
            };
        };
        let outcome = Box::pin(self.fire(run, state, handle)).await;
        self.runtime.wake();
        Signal::Executed {
            outcome: Box::new(outcome),
        }
    }
}

impl Runtime {
    /// Checks that exactly this may run, and gathers what it needs.
    pub(crate) async fn prepare(
        &self,
        state: &ExecutionState,
        handle: &Handle,
    ) -> Result<Prepared, Failure> {
        let (name, number) = (&state.deployment, state.version);
        let version = self
            .store()
            .version(handle.scope(), name, number)
            .await?
            .ok_or_else(|| Failure::last(format!("{name} has no version {number} any more")))?;
        let grant = self.store().grant(handle.scope(), &version.grant).await?;
        let spec = allowed(&version, grant.as_ref())?;
        let (runtime, this, granted) = (self.clone(), version.clone(), spec.clone());
        let layout = self.layout().of(handle.scope());
        let (policy, secrets, drift) =
            blocking(move || runtime.gather(&layout, &this, &granted)).await?;
        let notices: Vec<Notice> = drift.into_iter().collect();
        for notice in &notices {
            let event = NewEvent::new("environment.drift", "execute", notice.title.clone());
            let _ = handle.event(event).await;
        }
        Ok(Prepared {
            spec,
            policy,
            secrets,
            notices,
        })
    }

    /// The blocking part: files on disk, programs, secrets.
    fn gather(
        &self,
        layout: &Layout,
        version: &DeployedVersion,
        spec: &Spec,
    ) -> Result<(Policy, Secrets, Option<Notice>), Failure> {
        let app = layout.app(&version.name, version.version);
        let found = code_digest(&app).map_err(|error| Failure::last(chain(&error)))?;
        if found != version.code {
            return Err(Failure::last(format!(
                "the installed code of {} version {} was changed after it was approved; build it again",
                version.name, version.version
            )));
        }
        let (policy, secrets) = self.policy(spec, &app, &layout.state(&spec.name))?;
        Ok((policy, secrets, self.drift(layout, version, spec)))
    }

    /// The policy of production, with the real folders, programs and secrets. Blocking.
    pub(crate) fn policy(
        &self,
        spec: &Spec,
        app: &Path,
        state: &Path,
    ) -> Result<(Policy, Secrets), Failure> {
        let again = |error: &dyn std::error::Error| Failure::again(chain(error));
        let secrets = Secrets::resolve(&spec.permissions, self.secrets()).map_err(|e| again(&e))?;
        let programs = self.programs().declared(spec).map_err(|e| again(&e))?;
        let mut policy = real_policy(spec, app, state, &Routes::Production)
            .map_err(|error| Failure::last(error.to_string()))?;
        spec_policy::add_programs(&mut policy, spec, &programs);
        secrets.hand_in(&mut policy);
        Ok((policy, secrets))
    }

    /// A notice when the host's programs are no longer those of verify; once for each change.
    fn drift(&self, layout: &Layout, version: &DeployedVersion, spec: &Spec) -> Option<Notice> {
        let now = self.programs().environment(spec).ok()?;
        if now == version.environment {
            return None;
        }
        let seen = layout.deployment(&version.name).join("drift");
        let this = format!("{} {now}", version.version);
        if std::fs::read_to_string(&seen).is_ok_and(|text| text == this) {
            return None;
        }
        if let Err(error) = replace_file(&seen, this.as_bytes()) {
            tracing::warn!(%error, "cannot remember a changed environment");
        }
        Some(Notice {
            topic: "automation.drift".to_owned(),
            title: format!(
                "{} runs with other programs than it was verified with",
                version.name
            ),
            body: format!(
                "An interpreter or program that it uses was changed since version {} was verified.\n\
                 To verify it again: agentwright change {} \"verify again\"",
                version.version, version.name
            ),
        })
    }
}

/// The policy on the folders that the spec names. Blocking.
///
/// # Errors
/// Never: every declared folder is given.
pub fn real_policy(
    spec: &Spec,
    app: &Path,
    state: &Path,
    routes: &Routes,
) -> Result<Policy, FolderMissing> {
    let folders: BTreeMap<String, PathBuf> = spec
        .permissions
        .folders
        .iter()
        .map(|folder| (folder.name.to_string(), PathBuf::from(&folder.path)))
        .collect();
    let limits = spec_policy::limits(spec);
    spec_policy::policy(spec, app, state, &folders, routes, limits)
}

/// The spec with exactly the granted permissions, if the grant is live and is for this version.
pub(crate) fn allowed(version: &DeployedVersion, grant: Option<&Grant>) -> Result<Spec, Failure> {
    let (name, number) = (&version.name, version.version);
    let Some(grant) = grant.filter(|grant| grant.revoked_at_ms.is_none()) else {
        return Err(Failure::last(format!(
            "the grant of {name} version {number} was taken back; build and approve it again"
        )));
    };
    let spec_digest = of_json(&version.spec).map_err(|error| Failure::last(error.to_string()))?;
    let same = grant.deployment == *name
        && grant.code == version.code
        && grant.spec == spec_digest
        && grant.trigger == version.spec.trigger
        && grant.permissions == version.spec.permissions;
    if !same {
        return Err(Failure::last(format!(
            "the grant of {name} version {number} is for something else; build and approve it again"
        )));
    }
    Ok(Spec {
        permissions: grant.permissions.clone(),
        ..version.spec.clone()
    })
}

/// What the end of a script means, in one sentence without secrets.
fn judge(report: &Report, spec: &Spec, secrets: &Secrets) -> Result<String, Failure> {
    let words = last_words(report, secrets);
    match report.ending {
        Ending::Exited(0) => Ok(summary(report, secrets)),
        Ending::Exited(code) => Err(Failure::again(format!(
            "it ended with exit code {code}{words}"
        ))),
        Ending::Signalled(signal) => Err(Failure::again(format!(
            "it was ended by signal {signal}{words}"
        ))),
        Ending::Stopped(limit) => Err(Failure::again(format!(
            "it was stopped: {}{words}",
            over(limit, spec)
        ))),
        Ending::Cancelled => Err(Failure::again("it was stopped with the daemon")),
    }
}

fn summary(report: &Report, secrets: &Secrets) -> String {
    let last = report.stdout.text();
    let last = last.lines().rev().find(|line| !line.trim().is_empty());
    match last {
        Some(line) => cut(line, secrets),
        None => "ended with exit code 0".to_owned(),
    }
}

/// One line as it may be kept. What is cut first could leave half a secret.
fn cut(line: &str, secrets: &Secrets) -> String {
    let line = secrets.redact(line.trim());
    line.chars().take(LAST_WORDS_MAX).collect()
}

fn last_words(report: &Report, secrets: &Secrets) -> String {
    let (stderr, stdout) = (report.stderr.text(), report.stdout.text());
    let mut lines = stderr.lines().rev().chain(stdout.lines().rev());
    let line = lines.find(|line| !line.trim().is_empty());
    line.map_or_else(String::new, |line| format!(": {}", cut(line, secrets)))
}

/// A limit in words.
pub(crate) fn over(limit: Limit, spec: &Spec) -> String {
    let limits = &spec.limits;
    match limit {
        Limit::Wall => format!("it took longer than {} s", limits.wall_s),
        Limit::Cpu => "it used too much processor time".to_owned(),
        Limit::Memory => format!("it used more than {} MiB of memory", limits.memory_mib),
        Limit::Disk => format!("it wrote more than {} MiB", limits.disk_mib),
        Limit::Inodes => "it made too many files".to_owned(),
        Limit::Output => "it printed too much".to_owned(),
    }
}

fn usage(report: &Report) -> Usage {
    Usage {
        wall_ms: report.usage.wall_ms,
        cpu_ms: report.usage.cpu_ms,
        max_rss_bytes: report.usage.max_rss_bytes,
    }
}

/// Both streams, bounded by the sandbox, without secrets.
pub(crate) fn log_text(report: &Report, secrets: &Secrets) -> String {
    let mut text = String::new();
    for (title, captured) in [("stdout", &report.stdout), ("stderr", &report.stderr)] {
        if captured.bytes.is_empty() {
            continue;
        }
        text.push_str(&format!("--- {title}\n{}", captured.text()));
        if !text.ends_with('\n') {
            text.push('\n');
        }
        if captured.truncated_bytes > 0 {
            text.push_str(&format!(
                "--- {} bytes of it left out\n",
                captured.truncated_bytes
            ));
        }
    }
    for asked in report.network.iter().filter(|asked| !asked.allowed) {
        text.push_str(&format!(
            "--- network: {}:{} refused: {}\n",
            asked.host, asked.port, asked.reason
        ));
    }
    secrets.redact(&text)
}

fn failed(
    failure: Failure,
    usage: Usage,
    log: Option<agentwright_domain::evidence::EvidenceRef>,
    notices: Vec<Notice>,
) -> ExecutionOutcome {
    ExecutionOutcome::Failed {
        reason: failure.reason,
        retryable: failure.retryable,
        usage,
        log,
        notices,
    }
}

#[cfg(test)]
mod tests;
