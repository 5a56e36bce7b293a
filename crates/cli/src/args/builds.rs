//! Arguments of the commands about builds.

use super::parse_input;
use agentwright_domain::build::ApprovalMode;
use agentwright_domain::ids::Slug;
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::path::PathBuf;

pub(super) const BUILD_HELP: &str = "Examples:
  agentwright build \"every night, keep a zip of the folder ./notes in ./backups and keep the last 7\"
  agentwright build --yes \"every hour, watch https://example.org/news and tell me when it changes\"
  agentwright build --plan --json \"every weekday at 7 write a report of ./sales.csv into ./reports\"
  agentwright build --input folder=./notes \"back up a folder to ./backups every night\"
  agentwright build --spec spec.json            the format: agentwright schema spec

Relative paths are meant from the current directory; times in this machine's time zone.
Without --yes a terminal asks before anything is deployed. Without a terminal the build waits, the
approve command is printed, and the exit code is 3. --yes agrees in advance to the permissions of the
plan that is shown first, and to nothing beyond them. Leaving with Ctrl-C does not stop the build.

Exit codes: 0 done · 1 failed · 2 usage · 3 waits for a person ·
            4 refused (vague, impossible, input missing) · 5 stopped by a limit";

pub(super) const LIST_HELP: &str = "Examples:
  agentwright list
  agentwright list --status waiting
  agentwright list --json | jq -r '.items[].label'";

pub(super) const SHOW_HELP: &str =
    "NAME is a deployment, a build's label, or a build's id or the beginning of one.

Examples:
  agentwright show folder-backup
  agentwright show folder-backup --json";

pub(super) const LOGS_HELP: &str =
    "For a deployment this is the output of its newest run; --build shows what the build said.

Examples:
  agentwright logs folder-backup
  agentwright logs folder-backup --follow
  agentwright logs folder-backup --build";

pub(super) const WATCH_HELP: &str = "Leaving with Ctrl-C stops nothing. With --json each event is one line, and the build comes last.

Examples:
  agentwright watch folder-backup";

pub(super) const APPROVE_HELP: &str =
    "What is approved is a digest over code, tests, permissions and target. With --subject the approval
only counts while exactly that waits; without it, what waits now is shown first.
Then the build is followed to its end, unless --detach is given.

Examples:
  agentwright approve folder-backup
  agentwright approve folder-backup --subject sha256:… --notes \"looked at the preview\"

Exit codes: those of build";

pub(super) const REJECT_HELP: &str = "Examples:
  agentwright reject folder-backup --notes \"wrong folder\"";

pub(super) const CANCEL_HELP: &str = "Examples:
  agentwright cancel folder-backup --reason \"not needed\"";

pub(super) const RETRY_HELP: &str = "Examples:
  agentwright retry folder-backup
  agentwright retry folder-backup --input keep=14";

pub(super) const REPLAY_HELP: &str = "No model is asked and nothing is deployed. The exit code is 0 when the same spec, the same code and the
same verdicts come out, else 1 with the first difference of each.

Examples:
  agentwright replay word-count
  agentwright replay word-count --json | jq .differences";

pub(super) const DEPLOY_HELP: &str = "Examples:
  agentwright build --no-deploy \"every night, zip ./notes into ./backups\"
  agentwright deploy folder-backup";

pub(super) const CHANGE_HELP: &str =
    "The deployed version stays active until the next one is deployed; it can be taken back with rollback.

Examples:
  agentwright change folder-backup \"keep the last 14 instead\"
  agentwright change folder-backup --plan \"also include ./photos\"
  agentwright change folder-backup --input keep=14";

/// When a person is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Never, unless a risk or a production target asks
    Auto,
    /// After the spec and before deploy
    Checkpoints,
    /// Before deploy
    #[default]
    Final,
}

impl From<Mode> for ApprovalMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => Self::Auto,
            Mode::Checkpoints => Self::Checkpoints,
            Mode::Final => Self::Final,
        }
    }
}

/// `build`.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// What you want, in a sentence
    #[arg(value_name = "INTENT", required_unless_present = "spec")]
    pub(crate) intent: Option<String>,
    /// A ready spec (JSON) instead of a sentence; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "intent")]
    pub(crate) spec: Option<PathBuf>,
    /// Name the build; made from the sentence otherwise
    #[arg(long, value_name = "LABEL", value_parser = slug)]
    pub(crate) label: Option<Slug>,
    /// When you are asked
    #[arg(long, value_enum, default_value_t)]
    pub(crate) mode: Mode,
    #[command(flatten)]
    pub(crate) how: How,
}

/// What `build` and `change` share.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Agree in advance to the permissions of the plan
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// Say what would be built, and change nothing
    #[arg(long, conflicts_with_all = ["yes", "detach"])]
    pub(crate) plan: bool,
    /// Stop after verify; deploy later with 'agentwright deploy'
    #[arg(long)]
    pub(crate) no_deploy: bool,
    /// A directory with foundations of your own; may be given several times
    #[arg(long, value_name = "DIR")]
    pub(crate) foundations: Vec<PathBuf>,
    /// An input beside the sentence; NAME:=JSON for what is no text; may be given several times
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = parse_input)]
    pub(crate) inputs: Vec<(String, Value)>,
    /// Repairs of code that does not hold, at most; 9 where nothing is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=9))]
    pub(crate) repairs: Option<u32>,
    /// Whether it waits when a model's quota is used up, or fails
    #[arg(long, value_name = "yes|no", value_enum, default_value_t = WaitForQuota::Yes, hide_possible_values = true)]
    pub(crate) wait_for_quota: WaitForQuota,
    /// Repair builds that its failures may start once it is deployed, each with its own yes; none where nothing is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=3))]
    pub(crate) repair_failing: Option<u32>,
    /// Submit it and return at once
    #[arg(long)]
    pub(crate) detach: bool,
}

/// What happens when a model's quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitForQuota {
    Yes,
    No,
}

/// `change`.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// The deployment
    #[arg(value_name = "NAME", value_parser = slug)]
    pub(crate) name: Slug,
    /// What is to be different
    #[arg(value_name = "INTENT", required_unless_present = "inputs")]
    pub(crate) intent: Option<String>,
    #[command(flatten)]
    pub(crate) how: How,
}

/// `list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only builds of this status
    #[arg(long, value_enum)]
    pub(crate) status: Option<Status>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) limit: u32,
    /// Continue where the list before ended: its `next`
    #[arg(long, value_name = "CURSOR")]
    pub(crate) before: Option<String>,
}

/// The statuses that `list` can be asked for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Status {
    Queued,
    Running,
    Resuming,
    Waiting,
    Completed,
    Failed,
    Rejected,
    Cancelled,
}

/// `show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A deployment or a build
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// `logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// A deployment or a build
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The build's log, where there is a deployment of that name too
    #[arg(long)]
    pub(crate) build: bool,
    /// One run of a deployment, by its id
    #[arg(long, value_name = "ID", conflicts_with = "build")]
    pub(crate) execution: Option<String>,
    /// Go on as more is said, until the run ends
    #[arg(long, short)]
    pub(crate) follow: bool,
}

/// `watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// A build's label or id
    #[arg(value_name = "BUILD")]
    pub(crate) build: String,
}

/// `approve`.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// A build's label or id
    #[arg(value_name = "BUILD")]
    pub(crate) build: String,
    /// What you saw; anything else is not approved
    #[arg(long, value_name = "DIGEST")]
    pub(crate) subject: Option<String>,
    /// What you have to say about it
    #[arg(long, value_name = "TEXT")]
    pub(crate) notes: Option<String>,
    /// Return at once instead of following the build
    #[arg(long)]
    pub(crate) detach: bool,
}

/// `reject`.
#[derive(Debug, Args)]
pub(crate) struct Reject {
    /// A build's label or id
    #[arg(value_name = "BUILD")]
    pub(crate) build: String,
    /// What you saw; anything else is not rejected
    #[arg(long, value_name = "DIGEST")]
    pub(crate) subject: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) notes: Option<String>,
}

/// `cancel`.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// A build's label or id
    #[arg(value_name = "BUILD")]
    pub(crate) build: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `retry`.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// A build's label or id
    #[arg(value_name = "BUILD")]
    pub(crate) build: String,
    /// An input that replaces or completes the old ones; NAME:=JSON for what is no text
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = parse_input)]
    pub(crate) inputs: Vec<(String, Value)>,
    /// Return at once instead of following the build
    #[arg(long)]
    pub(crate) detach: bool,
}

/// `deploy`.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// A completed build's label or id
    #[arg(value_name = "BUILD")]
    pub(crate) build: String,
    /// Agree in advance to the permissions that the build shows
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// Return at once instead of following the build
    #[arg(long)]
    pub(crate) detach: bool,
}

fn slug(text: &str) -> Result<Slug, String> {
    Slug::parse(text).map_err(|error| error.to_string())
}
