//! The command line: what can be said, and the help that teaches it. Nothing is carried out here.

mod access;
mod builds;
mod connect;
mod deployments;
mod machine;
mod queue;
mod spending;

pub(crate) use access::{
    AuditCommand, KeyCommand, KeyCreate, KindName, Login, OrganizationCommand, Restore, RoleName,
    Up,
};
pub(crate) use builds::{
    Approve, Build, Cancel, Change, Deploy, How, List, Logs, Mode, Reject, Retry, Show, Status,
    WaitForQuota, Watch,
};
pub(crate) use connect::Connect;
pub(crate) use deployments::{Export, Pause, Remove, Rollback, RunNow};
pub(crate) use machine::{
    DaemonCommand, DaemonSettings, FoundationCommand, SandboxRun, SchemaName, ServiceCommand,
};

pub(crate) use queue::{Heartbeat, Priority, QueueAdd, QueueCommand, QueueStatus, ReportArgs};
pub(crate) use spending::{BudgetCommand, BudgetSet, By, Costs, Scope};

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const TOP_HELP: &str = "Begin with:
  agentwright build --plan \"every night, keep a zip of the folder ./notes in ./backups\"
      says what would be built, and changes nothing
  agentwright build \"every night, keep a zip of the folder ./notes in ./backups\"
      builds it, tests it, asks you, and deploys it
  agentwright foundation list
      what can be built, with example sentences

Exit codes: 0 done · 1 failed · 2 usage · 3 waits for a person ·
            4 refused (vague, impossible, input missing) · 5 stopped by a limit";

/// Say what you want built, leave, and come back to something that works, with the proof that it does.
#[derive(Debug, Parser)]
#[command(name = "agentwright", bin_name = "agentwright", version, after_help = TOP_HELP, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The data directory [default: $XDG_DATA_HOME/agentwright or ~/.local/share/agentwright]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "AGENTWRIGHT_DATA",
        hide_env = true
    )]
    pub(crate) data: Option<PathBuf>,
    /// Ask for this organization instead of 'local'
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) organization: Option<String>,
}

/// The commands, in the order in which a person meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build what a sentence asks for: plan, code, review, tests, preview, your yes, deploy
    #[command(after_help = builds::BUILD_HELP)]
    Build(Box<Build>),
    /// List the builds
    #[command(after_help = builds::LIST_HELP)]
    List(List),
    /// Show a deployment or a build with all its evidence
    #[command(after_help = builds::SHOW_HELP)]
    Show(Show),
    /// Print what a deployment's last run, or a build, said
    #[command(after_help = builds::LOGS_HELP)]
    Logs(Logs),
    /// Follow a build to its end; can be left and joined again
    #[command(after_help = builds::WATCH_HELP)]
    Watch(Watch),
    /// Say yes to exactly what waits
    #[command(after_help = builds::APPROVE_HELP)]
    Approve(Approve),
    /// Say no to what waits; the build ends
    #[command(after_help = builds::REJECT_HELP)]
    Reject(Reject),
    /// End a build that is under way
    #[command(after_help = builds::CANCEL_HELP)]
    Cancel(Cancel),
    /// Build the same again, as a new build that names the old
    #[command(after_help = builds::RETRY_HELP)]
    Retry(Retry),
    /// Make a build's spec and code again from the recorded answers, offline, and compare
    #[command(after_help = builds::REPLAY_HELP)]
    Replay {
        /// An ended build's label or id
        #[arg(value_name = "BUILD")]
        build: String,
    },
    /// Deploy what a build with --no-deploy made
    #[command(after_help = builds::DEPLOY_HELP)]
    Deploy(Deploy),
    /// List what is deployed, and when it runs next
    #[command(after_help = deployments::LIST_HELP)]
    Deployments,
    /// Run a deployment now and wait for its end
    #[command(after_help = deployments::RUN_NOW_HELP)]
    RunNow(RunNow),
    /// No further runs until it is resumed; what runs now is let finish
    #[command(after_help = deployments::PAUSE_HELP)]
    Pause(Pause),
    /// Run a deployment again after a pause or a stop, or a build after its budget was raised
    #[command(after_help = deployments::RESUME_HELP)]
    Resume(Named),
    /// End what runs, and run no more until it is resumed
    #[command(after_help = deployments::STOP_HELP)]
    Stop(Named),
    /// Build the next version of a deployment and show what differs
    #[command(after_help = builds::CHANGE_HELP)]
    Change(Box<Change>),
    /// Make an earlier version the active one
    #[command(after_help = deployments::ROLLBACK_HELP)]
    Rollback(Rollback),
    /// Write a standalone directory that runs without agentwright
    #[command(after_help = deployments::EXPORT_HELP)]
    Export(Export),
    /// Remove a deployment and everything of it
    #[command(after_help = deployments::REMOVE_HELP)]
    Remove(Remove),
    /// What models cost, by build, day, role or model
    #[command(after_help = spending::COSTS_HELP)]
    Costs(Costs),
    /// Show and set what models may cost
    #[command(subcommand, after_help = spending::BUDGET_HELP)]
    Budget(BudgetCommand),
    /// The queue of builds that start by themselves
    #[command(subcommand, after_help = queue::QUEUE_HELP)]
    Queue(QueueCommand),
    /// Look at the queue now, and start what may start
    #[command(after_help = queue::HEARTBEAT_HELP)]
    Heartbeat(Heartbeat),
    /// Say why an item of the queue started or did not
    #[command(after_help = "Examples:\n  agentwright why spotify")]
    Why {
        /// Its label or name
        #[arg(value_name = "ITEM")]
        item: String,
    },
    /// Build the rows of a table in a PostgreSQL database of your own, in place
    #[command(after_help = connect::CONNECT_HELP)]
    Connect(Connect),
    /// What is being built, what waits, what is done
    #[command(after_help = queue::STATUS_HELP)]
    Status(QueueStatus),
    /// Say what was built, what is being built, what waits, and what it cost
    #[command(after_help = queue::REPORT_HELP)]
    Report(ReportArgs),
    /// Be the server with its pages, in the foreground
    #[command(after_help = access::UP_HELP)]
    Up(Up),
    /// Print an address that logs a browser in
    #[command(after_help = access::LOGIN_HELP)]
    Login(Login),
    /// Make, list and revoke the keys that programs and other machines show
    #[command(subcommand, after_help = access::KEY_HELP)]
    Key(KeyCommand),
    /// Add, list and delete the organizations that share this server
    #[command(subcommand, after_help = access::ORGANIZATION_HELP)]
    Organization(OrganizationCommand),
    /// Read and check the trail of all changes
    #[command(subcommand, after_help = access::AUDIT_HELP)]
    Audit(AuditCommand),
    /// Write everything of the data directory into one file
    #[command(after_help = access::BACKUP_HELP)]
    Backup {
        /// The file to write; must not be there
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Bring a backup up in another data directory
    #[command(after_help = access::RESTORE_HELP)]
    Restore(Restore),
    /// Check the machine and say what to do where something is missing
    #[command(after_help = machine::DOCTOR_HELP)]
    Doctor,
    /// Print the JSON Schema of a documented format
    #[command(after_help = machine::SCHEMA_HELP)]
    Schema {
        /// Which format
        format: SchemaName,
    },
    /// Look at the foundations that builds start from, and check your own
    #[command(subcommand, after_help = machine::FOUNDATION_HELP)]
    Foundation(FoundationCommand),
    /// Run one command behind the walls that builds get
    #[command(after_help = machine::SANDBOX_HELP)]
    Sandbox(SandboxRun),
    /// Start, stop or look at the daemon of the data directory
    #[command(subcommand, after_help = machine::DAEMON_HELP)]
    Daemon(DaemonCommand),
    /// Let the machine start the daemon when it starts
    #[command(subcommand, after_help = machine::SERVICE_HELP)]
    Service(ServiceCommand),
    /// Print a completion script for a shell
    #[command(after_help = machine::COMPLETIONS_HELP)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// One deployment.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The deployment's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// An input given beside the sentence: `name=value`, or `name:=JSON` for what is no text.
pub(crate) fn parse_input(text: &str) -> Result<(String, serde_json::Value), String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err("expected NAME=VALUE".to_owned());
    };
    let (name, value) = match name.strip_suffix(':') {
        Some(name) => match serde_json::from_str(value) {
            Ok(value) => (name, value),
            Err(error) => return Err(format!("what follows := is not JSON: {error}")),
        },
        None => (name, serde_json::Value::String(value.to_owned())),
    };
    if name.trim().is_empty() {
        return Err("the name before = is empty".to_owned());
    }
    Ok((name.trim().to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use serde_json::json;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_with_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string);
            let name = command.get_name();
            assert!(
                help.is_some_and(|text| text.contains(&format!("agentwright {name}"))),
                "{name} has no example"
            );
        }
    }

    #[test]
    fn how_models_are_used_is_said_within_bounds() {
        let said = |more: &[&str]| {
            let words = ["agentwright", "build", "a wish"];
            Cli::try_parse_from(words.iter().chain(more))
        };
        let how = |more: &[&str]| match said(more).unwrap().command {
            Command::Build(build) => {
                let how = build.how;
                (how.repairs, how.wait_for_quota, how.repair_failing)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(how(&[]), (None, WaitForQuota::Yes, None));
        let all = how(&["--repairs=2", "--wait-for-quota=no", "--repair-failing=1"]);
        assert_eq!(all, (Some(2), WaitForQuota::No, Some(1)));
        for beyond in [
            "--repairs=10",
            "--wait-for-quota=maybe",
            "--repair-failing=4",
        ] {
            assert!(said(&[beyond]).is_err(), "{beyond}");
        }
    }

    #[test]
    fn an_input_is_text_unless_it_is_marked_as_json() {
        assert_eq!(parse_input("keep=7"), Ok(("keep".into(), json!("7"))));
        assert_eq!(parse_input("keep:=7"), Ok(("keep".into(), json!(7))));
        assert_eq!(parse_input("a=b=c"), Ok(("a".into(), json!("b=c"))));
        assert!(parse_input("keep").is_err());
        assert!(parse_input("=7").is_err());
        assert!(parse_input("keep:=nonsense").is_err());
    }
}
