//! Why nothing useful was written, shaped by what the caller does next.

use std::io;

use std::path::Path;

use agentwright_llm::LlmError;

/// What a coder ended with instead of files.
#[derive(Debug, thiserror::Error)]
pub enum CoderError {
    /// The model did not answer, or the budget is spent: retry, park or fail as its advice says.
    #[error(transparent)]
    Model(#[from] LlmError),
    /// The program is not where the configuration says. Show it.
    #[error(
        "the coder {program} is not installed: {why}; install it or name its path in the configuration"
    )]
    NotInstalled {
        /// Which program, as it was configured.
        program: String,
        /// What was found instead.
        why: String,
    },
    /// The program has no account that it could use. Show it.
    #[error(
        "the coder {program} is not logged in; give its provider a key, the relay then answers for it"
    )]
    NotLoggedIn {
        /// Which program.
        program: String,
    },
    /// Its calls cannot be metered, and the operator has not accepted that. Show it.
    #[error(
        "the coder {program} cannot be pointed at the relay, so its calls cannot be metered; accept it as unmetered \
         in the configuration, or choose another coder"
    )]
    Unmetered {
        /// Which program.
        program: String,
    },
    /// It ended well and wrote no file. Ask again or give up.
    #[error("the coder wrote no file: {0}")]
    NothingWritten(String),
    /// What it said cannot be used. Ask again with the reason.
    #[error("the coder's answer cannot be used: {0}")]
    BadOutput(String),
    /// It ran into one of its own limits. Raise it or make the task smaller.
    #[error("the coder was stopped: {0}")]
    Limit(CoderLimit),
    /// The program failed by itself. May be tried again.
    #[error("the coder {program} failed: {said}")]
    Failed {
        /// Which program.
        program: String,
        /// Its own words, shortened and redacted.
        said: String,
    },
    /// The walls do not stand. As [`agentwright_sandbox::Error`] says.
    #[error("the coder's sandbox: {0}")]
    Sandbox(#[from] agentwright_sandbox::Error),
    /// The workspace cannot be read or written.
    #[error("cannot {attempted}")]
    Workspace {
        /// What was tried, on what.
        attempted: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// Which limit stopped a coder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CoderLimit {
    /// Model calls.
    Turns,
    /// Wall time.
    Wall,
    /// Tokens written by the model.
    Tokens,
    /// Bytes said by the program.
    Output,
    /// Memory, processes or disk of its sandbox.
    Resources,
    /// The same step again and again without anything new.
    NoProgress,
}

impl std::fmt::Display for CoderLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Turns => "it used all its turns; raise `turns` or make the task smaller",
            Self::Wall => "it used all its time; raise `wall` or make the task smaller",
            Self::Tokens => {
                "it wrote too many tokens; raise `max_output_tokens` or make the task smaller"
            }
            Self::Output => "it said more than is read",
            Self::Resources => "it used more memory, processes or disk than its sandbox gives",
            Self::NoProgress => "it repeated the same step without anything new",
        })
    }
}

impl CoderError {
    pub(crate) fn workspace(attempted: &str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Workspace {
            attempted: format!("{attempted} {}", path.display()),
            source: source.into(),
        }
    }
}
