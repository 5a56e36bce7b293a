//! Arguments of the commands about the machine: walls, foundations, formats, the daemon.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

pub(super) const DOCTOR_HELP: &str = "Examples:
  agentwright doctor
  agentwright doctor --json

Exit codes: 0 everything needed works · 1 something needed does not";

pub(super) const SCHEMA_HELP: &str = "Examples:
  agentwright schema spec > spec.schema.json
  agentwright schema foundation";

pub(super) const FOUNDATION_HELP: &str =
    "A foundation is a directory: foundation.toml (words, inputs), files/ (templates), acceptance.toml.
Give your own to a build with --foundations DIR.

Examples:
  agentwright foundation list
  agentwright foundation check ./my-foundations/invoice-mailer";

pub(super) const SANDBOX_HELP: &str = "The command sees an empty directory (or DIR, writable) as its working directory, the system's programs
read-only, and nothing else: no network, no other files, no other processes.

Examples:
  agentwright sandbox -- sh -c 'id; ls /; cat /etc/shadow'
  agentwright sandbox --timeout 2 -- sleep 60
  agentwright sandbox --memory 64 --json -- python3 -c 'x = \"a\" * 10**9'

Exit codes: 0 the command ended with 0 · 1 it ended otherwise · 4 this machine has no walls ·
            5 a limit stopped it";

pub(super) const DAEMON_HELP: &str = "The first command that needs the daemon starts it. Stopping it stops schedules and services, not what
they made; builds go on where they were when it starts again.

Examples:
  agentwright daemon status
  agentwright daemon stop
  agentwright daemon run        in the foreground, for a service manager";

pub(super) const SERVICE_HELP: &str = "Writes a systemd unit where there is systemd, else an @reboot line into your crontab, and says what it
wrote. Nothing else is touched.

Examples:
  agentwright service install
  agentwright service status";

pub(super) const COMPLETIONS_HELP: &str = "Examples:
  agentwright completions bash > ~/.local/share/bash-completion/completions/agentwright
  agentwright completions zsh  > ~/.zfunc/_agentwright";

/// The formats that people write by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaName {
    /// spec.json, for build --spec
    Spec,
    /// The acceptance of a spec
    Acceptance,
    /// foundation.toml and acceptance.toml of a foundation
    Foundation,
}

/// `foundation`.
#[derive(Debug, Subcommand)]
pub(crate) enum FoundationCommand {
    /// List what can be built, with an example sentence each
    List {
        /// A directory with foundations of your own; may be given several times
        #[arg(long, value_name = "DIR")]
        foundations: Vec<PathBuf>,
    },
    /// Check a foundation, or every foundation in a directory
    Check {
        /// The directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// `sandbox`.
#[derive(Debug, Args)]
pub(crate) struct SandboxRun {
    /// Stop it after so many seconds
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
    /// Memory of all its processes together, in MiB
    #[arg(long, value_name = "MB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(16..=1_048_576))]
    pub(crate) memory: u64,
    /// Show it this directory, writable, instead of an empty one
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub(crate) command: Vec<String>,
}

/// `daemon`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DaemonCommand {
    /// Start it, if it does not run
    Start(DaemonSettings),
    /// Stop it; what runs is given time to finish
    Stop,
    /// Say whether it runs, and since when
    Status,
    /// Be the daemon, in the foreground
    Run {
        #[command(flatten)]
        settings: DaemonSettings,
        /// Leave the terminal and say "ready"; what other commands start
        #[arg(long, hide = true)]
        detached: bool,
    },
}

/// Settings that win over config.toml and the environment.
#[derive(Clone, Debug, Args)]
pub(crate) struct DaemonSettings {
    /// Listen on this loopback address too, for example 127.0.0.1:8400
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// Keep everything in this PostgreSQL database instead of a file: postgres://…
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
}

/// `service`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Start the daemon whenever the machine starts
    Install,
    /// Take that back
    Uninstall,
    /// Say what starts the daemon
    Status,
}
