//! Arguments of the commands about builds that start by themselves.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

pub(super) const QUEUE_HELP: &str = "What is in the queue is built by itself: high at any time, medium in the off-hours, low after your yes. Each look
at the queue leaves an answer for every item: 'agentwright why ITEM'.

Examples:
  agentwright queue add \"Notes zip\" --desc \"every night zip ./notes into ./backups\"
  agentwright queue add \"Spotify\" --desc \"Build a playlist from liked songs over OAuth\" \\
      --criterion \"a playlist of this week is there\" --priority medium --time \"4 hours\"
  agentwright queue import tasks.md
  agentwright queue move spotify --before notes-zip
  agentwright queue approve spotify";

pub(super) const HEARTBEAT_HELP: &str = "Examples:
  agentwright heartbeat             looks at the queue now, and starts what may start
  agentwright heartbeat --check     only says what would start, and why the rest would not
  agentwright heartbeat --monitor   the settings and the last looks
  agentwright heartbeat --fail spotify   ends a build that gets nowhere; it is built again in five minutes";

pub(super) const STATUS_HELP: &str = "Examples:
  agentwright status
  agentwright status --queue
  agentwright status \"how is the spotify build?\"";

/// `queue`.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Add an item
    Add(Box<QueueAdd>),
    /// Add the items of a file in the form of BUILD_QUEUE.md
    Import {
        /// The file
        file: PathBuf,
    },
    /// List all items, in their order
    List,
    /// Move an item to the end, or before another one
    Move {
        /// Its label or name
        item: String,
        /// Before this one
        #[arg(long, value_name = "ITEM")]
        before: Option<String>,
    },
    /// Say what must be out of the way first: another item, or words
    Block {
        /// Its label or name
        item: String,
        /// What is in the way
        by: String,
    },
    /// Say what is out of the way; everything when nothing is named
    Unblock {
        /// Its label or name
        item: String,
        /// What was in the way
        by: Option<String>,
    },
    /// Say how soon
    Priority {
        /// Its label or name
        item: String,
        /// How soon
        #[arg(value_enum)]
        to: Priority,
    },
    /// Say yes to the start of what is low or risky
    Approve {
        /// Its label or name
        item: String,
    },
    /// Build it anew after it failed too often
    Retry {
        /// Its label or name
        item: String,
    },
    /// End a build that gets nowhere; it is built again in five minutes
    Fail {
        /// Its label or name
        item: String,
    },
    /// Remove an item; a build of it goes on
    Remove {
        /// Its label or name
        item: String,
    },
}

/// `queue add`.
#[derive(Debug, Args)]
pub(crate) struct QueueAdd {
    /// What it is called
    pub(crate) name: String,
    /// What is wanted, in a sentence or two
    #[arg(long, value_name = "TEXT")]
    pub(crate) desc: Option<String>,
    /// What must hold when it is done; may be repeated
    #[arg(long = "criterion", value_name = "TEXT")]
    pub(crate) criteria: Vec<String>,
    /// How soon
    #[arg(long, value_enum, default_value_t = Priority::High)]
    pub(crate) priority: Priority,
    /// With what
    #[arg(long, value_name = "TEXT")]
    pub(crate) tech: Option<String>,
    /// How long it may take, for example "4 hours"
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<String>,
    /// What must be out of the way first; may be repeated
    #[arg(long = "blocker", value_name = "TEXT")]
    pub(crate) blockers: Vec<String>,
    /// The service, target or files that it touches; may be repeated
    #[arg(long = "touches", value_name = "NAME")]
    pub(crate) touches: Vec<String>,
    /// Not before this time, for example "2026-02-07 09:00"
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// A label of your own
    #[arg(long)]
    pub(crate) label: Option<String>,
}

/// How soon an item may start by itself.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Priority {
    /// At any time
    High,
    /// In the off-hours
    Medium,
    /// After your yes
    Low,
}

/// `heartbeat`.
#[derive(Debug, Args)]
pub(crate) struct Heartbeat {
    /// Start nothing
    #[arg(long, conflicts_with = "monitor")]
    pub(crate) check: bool,
    /// Show settings and last looks
    #[arg(long)]
    pub(crate) monitor: bool,
    /// End the build of an item that gets nowhere; it is built again in five minutes
    #[arg(long, value_name = "ITEM", conflicts_with_all = ["check", "monitor"])]
    pub(crate) fail: Option<String>,
}

pub(super) const REPORT_HELP: &str = "Examples:
  agentwright report                                 the last 24 hours
  agentwright report --from 2026-02-01 --to 2026-02-06
  agentwright report --night 2026-02-06              as it was written that evening";

/// `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// From this date or time on
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Until this date, all of it, or this time
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// The report of that evening, as it was written
    #[arg(long, value_name = "DATE", conflicts_with_all = ["from", "to"])]
    pub(crate) night: Option<String>,
}

/// `status`.
#[derive(Debug, Args)]
pub(crate) struct QueueStatus {
    /// Only what waits
    #[arg(long)]
    pub(crate) queue: bool,
    /// Only what is being built
    #[arg(long)]
    pub(crate) active: bool,
    /// Only what is done
    #[arg(long)]
    pub(crate) completed: bool,
    /// Words of what you mean
    pub(crate) words: Vec<String>,
}
