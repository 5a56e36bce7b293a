//! The seam: what a coder is given and what it gives back. Start at [`Coder`].

use std::path::PathBuf;
use std::time::Duration;

use agentwright_llm::{Secret, Usage};
use agentwright_sandbox::{Mount, Sandbox};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::error::CoderError;
use crate::protected::Protected;

/// Who writes code: a model through a provider, or a command-line agent.
#[async_trait]
pub trait Coder: Send + Sync {
    /// Its name in the configuration, in progress and in reports.
    fn name(&self) -> &str;

    /// Works in the workspace until it says that it is done, or a limit is reached.
    ///
    /// What it says about its work counts for nothing: the caller looks at the directory with [`crate::inspect`]
    /// and takes the difference. Called again with evidence for a repair. Leaves no process behind, also when the
    /// future is dropped.
    ///
    /// # Errors
    /// See [`CoderError`]. The workspace may have been changed all the same.
    async fn write(
        &self,
        task: &Task,
        work: &Workspace,
        report: &dyn Progress,
        cancel: &CancellationToken,
    ) -> Result<Written, CoderError>;
}

/// What shall be written.
#[derive(Clone, Debug)]
pub struct Task {
    /// What to build, in the caller's words: spec, acceptance, rules.
    pub brief: String,
    /// In a repair: what the failing level saw.
    pub evidence: Option<String>,
    /// First is 1.
    pub attempt: u32,
    /// The file that a coder means who answers with code alone, without naming a file.
    pub main_file: Option<String>,
    /// How far it may go.
    pub limits: CoderLimits,
}

/// The limits of one call of [`Coder::write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoderLimits {
    /// Model calls.
    pub turns: u32,
    /// From begin to end, whatever the coder says.
    pub wall: Duration,
    /// Tokens that the model may write, all turns together.
    pub max_output_tokens: u64,
    /// Files in the workspace, protected ones not counted.
    pub files: usize,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
}

impl Default for CoderLimits {
    fn default() -> Self {
        Self {
            turns: 40,
            wall: Duration::from_secs(900),
            max_output_tokens: 64_000,
            files: 200,
            file_bytes: 512 * 1024,
            total_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Where a coder works: a scratch copy of the code that the caller throws away or takes from.
#[derive(Clone)]
pub struct Workspace {
    /// The scratch copy. Absolute, without symbolic links; `/app` inside the sandbox.
    pub dir: PathBuf,
    /// What no coder may change: shown read-only where it exists, never taken where it does not.
    pub protected: Protected,
    /// Where commands and command-line agents run.
    pub sandbox: Sandbox,
    /// Shown read-only beside the workspace: programs, notes.
    pub beside: Vec<Mount>,
    /// Values that must not appear in a transcript, whoever prints them.
    pub secrets: Vec<Secret>,
}

/// Where a coder says what it is doing.
pub trait Progress: Send + Sync {
    /// One short line for people; redacted.
    fn step(&self, line: &str);

    /// One line of the transcript as it comes, redacted, so that it is there when the coder fails, too.
    fn transcript(&self, _line: &str) {}
}

/// For callers that do not listen.
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _line: &str) {}
}

/// What a coder ends with.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// What was said and done, one JSON object a line; bounded and redacted.
    pub transcript: Vec<u8>,
    /// Its last words. For people, never for decisions.
    pub says: String,
    /// Model calls.
    pub turns: u32,
    /// What they took together, as far as known. The ledger has it call by call.
    pub usage: Usage,
}
