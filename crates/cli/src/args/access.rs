//! Arguments of the commands about the server that people live with: `up`, keys, organizations, the audit trail.

use clap::{Args, Subcommand, ValueEnum};
use std::net::IpAddr;
use std::path::PathBuf;

pub(super) const UP_HELP: &str =
    "The first start makes the data directory, config.toml, the store and an admin key, shows the key once, and
prints an address that logs a browser in. Ctrl-C or SIGTERM ends it: streams are closed, what is being worked on
is handed back and taken up at the next start.

Examples:
  agentwright up
  agentwright up --check
  agentwright up --host 0.0.0.0 --port 8400";

pub(super) const LOGIN_HELP: &str = "The address holds for one login within ten minutes.

Examples:
  agentwright login
  agentwright login --name Ann --role approver";

pub(super) const KEY_HELP: &str = "Programs and other machines show a key: 'Authorization: Bearer aw_…' or 'X-API-Key: aw_…'. It is shown once. Keys of
agents and services are at most operator: only people approve. A service key acts for the organizations that
it is made for, and names one in each request: 'X-Organization-Id: ID'.

Examples:
  agentwright key create ci --role operator --kind agent
  agentwright key create ann --role approver --expires-in 90
  agentwright key create erp --role operator --kind service --for acme --for globex
  agentwright key list
  agentwright key revoke 4f1c0a9be37d2265";

pub(super) const ORGANIZATION_HELP: &str = "Organizations share a server and see nothing of each other. Without one everything belongs to 'local'. --organization
asks for another one, as the owner of the data directory may.

Examples:
  agentwright organization create acme --name \"Acme Ltd\"
  agentwright key create ann --role admin --organization acme
  agentwright organization list
  agentwright organization delete acme";

pub(super) const AUDIT_HELP: &str = "Every change has a row: who, what, to what, and the digests of before and after. Each row is chained to the one before
it with a key that is not in the database; verify names the first row that was changed, put in or taken out.

Examples:
  agentwright audit list
  agentwright audit list --limit 500 --json
  agentwright audit verify";

/// `up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The address to listen on [default: as configured, else 127.0.0.1]
    #[arg(long, value_name = "ADDRESS", value_parser = host)]
    pub(crate) host: Option<IpAddr>,
    /// The port [default: as configured, else 8400]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Keep everything in this PostgreSQL database instead of a file: postgres://…
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Say what would be done and what is in the way, and change nothing
    #[arg(long)]
    pub(crate) check: bool,
}

fn host(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        text => text
            .parse()
            .map_err(|_| "give an IP address, for example 127.0.0.1 or 0.0.0.0".to_owned()),
    }
}

/// `login`.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The person's name, as approvals will show it
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// What they may do
    #[arg(long, value_enum)]
    pub(crate) role: Option<RoleName>,
}

/// A role.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleName {
    /// Reads
    Viewer,
    /// Submits, cancels, pauses, fires
    Operator,
    /// Decides at gates and deploys
    Approver,
    /// Keys, budgets, the audit trail
    Admin,
}

/// Whose key.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KindName {
    /// A person's
    Person,
    /// A program's that works by itself; never approves
    Agent,
    /// Another server's, for several organizations; never approves
    Service,
}

/// `key`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and show it once
    Create(KeyCreate),
    /// List the keys, without their secrets
    List,
    /// Make a key worthless at once; sessions and streams that it opened end
    Revoke {
        /// The key's id: the 16 digits after aw_
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// `key create`.
#[derive(Debug, Args)]
pub(crate) struct KeyCreate {
    /// What it is for
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What it may do
    #[arg(long, value_enum)]
    pub(crate) role: RoleName,
    /// Whose it is
    #[arg(long, value_enum, default_value_t = KindName::Person)]
    pub(crate) kind: KindName,
    /// Service keys: an organization that it acts for; may be given several times
    #[arg(long = "for", value_name = "ORGANIZATION")]
    pub(crate) organizations: Vec<String>,
    /// After how many days it no longer holds
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3653))]
    pub(crate) expires_in: Option<u32>,
}

/// `organization`.
#[derive(Debug, Subcommand)]
pub(crate) enum OrganizationCommand {
    /// Add an organization
    Create {
        /// Its id, never given twice: a-z, 0-9 and single hyphens
        #[arg(value_name = "ID")]
        id: String,
        /// Its name for people
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// List the organizations
    List,
    /// Delete an organization: stop and remove its deployments, delete its builds, keys and artifacts
    Delete {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List the newest changes
    List {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Only what is older than this row
        #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(1..))]
        before: Option<i64>,
    },
    /// Check that no row was changed, put in or taken out; ends with 1 and names the first that was
    Verify,
}

pub(super) const BACKUP_HELP: &str = "The file holds the database, artifacts, builds, deployments with their state, config.toml and auth.key: keep it as you
keep a password. The daemon goes on meanwhile. With PostgreSQL the tables are in it, too.

Examples:
  agentwright backup agentwright-monday.tar.gz";

pub(super) const RESTORE_HELP: &str = "Writes a backup into a data directory that is new or empty. What comes up there works nothing, fires nothing and tells
nobody anything until it is confirmed, so that two instances do not do the same things twice.

Examples:
  agentwright restore agentwright-monday.tar.gz --data ./restored
  agentwright restore --confirm --data ./restored";

/// `restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    #[arg(value_name = "FILE", required_unless_present = "confirm")]
    pub(crate) file: Option<PathBuf>,
    /// The old instance is gone: this one takes over
    #[arg(long, conflicts_with = "file")]
    pub(crate) confirm: bool,
    /// Where tables go that were in PostgreSQL: an empty database
    #[arg(long, value_name = "URL", conflicts_with = "confirm")]
    pub(crate) store: Option<String>,
}
