//! Arguments of the commands about deployments.

use clap::Args;
use std::path::PathBuf;

pub(super) const LIST_HELP: &str = "Examples:
  agentwright deployments
  agentwright deployments --json | jq -r '.items[].name'";

pub(super) const RUN_NOW_HELP: &str =
    "The schedule stays as it is. The exit code is 0 when the run ended well, else 1.

Examples:
  agentwright run-now folder-backup
  agentwright run-now folder-backup --detach";

pub(super) const PAUSE_HELP: &str = "Examples:
  agentwright pause folder-backup --reason \"disk is being replaced\"";

pub(super) const RESUME_HELP: &str = "A build that waits because a budget is spent goes on; raise the budget first (agentwright budget).

Examples:
  agentwright resume folder-backup";

pub(super) const STOP_HELP: &str = "Examples:
  agentwright stop webhook-inbox";

pub(super) const ROLLBACK_HELP: &str = "Without --to it is the version before the active one. Versions are listed by 'agentwright show NAME'.

Examples:
  agentwright rollback folder-backup
  agentwright rollback folder-backup --to 2";

pub(super) const EXPORT_HELP: &str =
    "The directory must be absent or empty; it is ./NAME where none is given. The deployment stays.

Examples:
  agentwright export folder-backup ./elsewhere";

pub(super) const REMOVE_HELP: &str = "Its versions, its private state and its directory entry go, the files it made in your folders stay.
A terminal is asked first, unless --yes is given.

Examples:
  agentwright remove folder-backup";

/// `run-now`.
#[derive(Debug, Args)]
pub(crate) struct RunNow {
    /// The deployment's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Return at once instead of waiting for the end
    #[arg(long)]
    pub(crate) detach: bool,
}

/// `pause`.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// The deployment's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `rollback`.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The deployment's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The version
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) to: Option<u32>,
}

/// `export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The deployment's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The directory to write
    #[arg(value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
}

/// `remove`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The deployment's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
}
