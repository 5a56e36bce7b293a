//! A dry run on the person's real data, everything bound read-only: what stands beside the yes.
//!
//! It comes before a person's yes, so no secret is handed in and no private address is reached. It sees
//! the person's data or the declared public hosts, never both: with a folder to read it has no network,
//! and where hosts are declared its writable folders are shown empty. `/state` is empty, as at the first run.

use crate::beneath::Root;
use crate::judge::{ending_words, sandbox_stop};
use crate::probe::matcher::cut;
use crate::verifier::Verifier;
use agentwright_domain::spec::{Access, FolderPermission, Spec};
use agentwright_sandbox::spec_policy::{self, FolderMissing, Routes};
use agentwright_sandbox::{Command, Ending, Network, Report};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// How long a preview may take, in seconds.
pub(crate) const PREVIEW_LIMIT_S: u64 = 120;
/// The most lines of what would change.
pub(crate) const CHANGES_MAX: usize = 200;
/// The most bytes of output that are shown.
const OUTPUT_MAX: usize = 16 << 10;
/// Lines that say what would change: after a time, a level or a name of a logger, `would …` or `dry run …`.
const WOULD: &str = r"(?i)^(\[?\d{4}-\d\d-\d\d([T ][\d:.,+Z-]+)?\]?\s+)?(\[?\w+\]?:?\s+){0,1}(would\s|\[?dry[- ]run\]?[:\s])";

/// What is previewed.
#[derive(Clone, Debug)]
pub struct PreviewWork<'a> {
    /// What was asked for.
    pub spec: &'a Spec,
    /// The code, best the tested copy.
    pub app: PathBuf,
    /// An empty directory of ours.
    pub scratch: PathBuf,
    /// Declared programs that lie outside `/usr`: name → file.
    pub programs: BTreeMap<String, PathBuf>,
}

/// What a preview showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewReport {
    /// Whether it ran to its end with exit code 0.
    pub succeeded: bool,
    /// How it ended, in words.
    pub ending: String,
    /// What it says it would change, one line each.
    pub changes: Vec<String>,
    /// The end of what it printed.
    pub stdout: String,
    /// The end of what it complained about.
    pub stderr: String,
    /// Hosts it really reached.
    pub reached: Vec<String>,
    /// Wall clock.
    pub duration_ms: u64,
    /// How strong the walls were.
    pub tier: String,
}

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The automation has no dry run.
    #[error("this automation has no dry run")]
    None,
    /// A declared folder is not there. Show it; the person makes it or corrects the path.
    #[error("the folder {0} is not there; make it or correct its path")]
    FolderMissing(String),
    /// Somebody cancelled.
    #[error("the preview was cancelled")]
    Cancelled,
    /// It could not be run.
    #[error("the preview could not be run: {0}")]
    Fault(String),
}

impl Verifier {
    /// Runs the spec's dry run on the real folders, read-only.
    ///
    /// # Errors
    /// When there is none, or it could not be run. A dry run that fails is a report.
    pub async fn preview(
        &self,
        work: &PreviewWork<'_>,
        cancel: &CancellationToken,
    ) -> Result<PreviewReport, PreviewError> {
        let argv = work.spec.preview.clone().ok_or(PreviewError::None)?;
        let state = work.scratch.join("preview-state");
        let fault = |error: std::io::Error| PreviewError::Fault(error.to_string());
        std::fs::create_dir_all(&state).map_err(fault)?;
        let hosts = sees_hosts(work.spec);
        let folders = folders(work.spec, &work.scratch, hosts)?;
        let mut limits = spec_policy::limits(work.spec);
        limits.wall_ms = Some(PREVIEW_LIMIT_S * 1000);
        let mut policy = spec_policy::policy(
            work.spec,
            &work.app,
            &state,
            &folders,
            &Routes::Preview,
            limits,
        )
        .map_err(|FolderMissing(name)| PreviewError::FolderMissing(name))?;
        spec_policy::read_only(&mut policy);
        spec_policy::add_programs(&mut policy, work.spec, &work.programs);
        if !hosts {
            policy.network = Network::Off;
        }
        let command = Command {
            argv,
            stdin: Vec::new(),
        };
        let report = self
            .sandbox
            .run(policy, command, cancel.clone())
            .await
            .map_err(|error| match sandbox_stop(&error) {
                crate::outcome::Stop::Fault(why) => PreviewError::Fault(why),
                stop => PreviewError::Fault(format!("{stop:?}")),
            })?;
        match report.ending {
            Ending::Cancelled => Err(PreviewError::Cancelled),
            _ => Ok(told(&report)),
        }
    }
}

/// Whether the dry run gets the declared hosts; then it gets none of the person's data.
fn sees_hosts(spec: &Spec) -> bool {
    let reads = |folder: &FolderPermission| folder.access == Access::Read;
    !spec.permissions.network.is_empty() && !spec.permissions.folders.iter().any(reads)
}

/// The real folders; one that is made at deploy is shown empty, and all of them are where `hidden`.
fn folders(
    spec: &Spec,
    scratch: &Path,
    hidden: bool,
) -> Result<BTreeMap<String, PathBuf>, PreviewError> {
    let mut folders = BTreeMap::new();
    for folder in &spec.permissions.folders {
        let name = folder.name.as_str().to_owned();
        let path = PathBuf::from(&folder.path);
        let there = Root::open(&path, &folder.path).is_ok();
        let new = folder.create && !path.exists();
        let host = if there && !hidden {
            path
        } else if there || new {
            let empty = scratch.join("preview-new").join(&name);
            std::fs::create_dir_all(&empty)
                .map_err(|error| PreviewError::Fault(error.to_string()))?;
            empty
        } else {
            return Err(PreviewError::FolderMissing(folder.path.clone()));
        };
        folders.insert(name, host);
    }
    Ok(folders)
}

fn told(report: &Report) -> PreviewReport {
    let stdout = report.stdout.text();
    PreviewReport {
        succeeded: report.succeeded(),
        ending: ending_words(report.ending),
        changes: changes(&stdout),
        stdout: end_of(&stdout),
        stderr: end_of(&report.stderr.text()),
        reached: report
            .network
            .iter()
            .filter(|decision| decision.allowed)
            .map(|decision| format!("{}:{}", decision.host, decision.port))
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect(),
        duration_ms: report.usage.wall_ms,
        tier: report.tier.to_string(),
    }
}

fn changes(stdout: &str) -> Vec<String> {
    // Invariant: a fixed expression that a test uses.
    let Ok(would) = regex::Regex::new(WOULD) else {
        return Vec::new();
    };
    let lines = stdout.lines().map(str::trim);
    lines
        .filter(|line| would.is_match(line))
        .take(CHANGES_MAX)
        .map(cut)
        .collect()
}

fn end_of(text: &str) -> String {
    let from = text.ceil_char_boundary(text.len().saturating_sub(OUTPUT_MAX));
    text[from..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_say_what_would_change_are_changes() {
        let text = "reading\n  Would create a.zip\n2026-11-21T03:00:00 would delete 2\nINFO: would move x\n\
                    if it were so it would\nI had hoped it would work\n[dry-run] send\ndry run: ask\n";
        assert_eq!(
            changes(text),
            [
                "Would create a.zip",
                "2026-11-21T03:00:00 would delete 2",
                "INFO: would move x",
                "[dry-run] send",
                "dry run: ask"
            ]
        );
        assert_eq!(
            changes(&"would x\n".repeat(CHANGES_MAX + 1)).len(),
            CHANGES_MAX
        );
    }

    #[test]
    fn long_output_is_cut_at_a_character() {
        assert!(end_of(&"é".repeat(OUTPUT_MAX)).len() <= OUTPUT_MAX);
    }
}
