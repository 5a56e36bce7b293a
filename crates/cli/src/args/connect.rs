//! Arguments of `connect`.

use clap::Args;

pub(super) const CONNECT_HELP: &str =
    "Rows with status 'ready_to_build' and builder_status 'not_started' are claimed, built and
written back in place: their builder_status and status, and a row of results for each level.
Nothing else is touched, and nothing is deployed without your yes. The address of the database
(postgres://USER:PASSWORD@HOST/DATABASE) is never given here: say where it stands.

Examples:
  agentwright connect file:/home/ann/business.url
  agentwright connect vault:secret/business#url --table public.ideas --results-table public.results
  agentwright connect --list
  agentwright connect --remove automation-ideas";

/// `connect`.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Where the address of the database stands: env:NAME (of the daemon's environment), file:PATH or
    /// vault:MOUNT/PATH#FIELD
    #[arg(
        value_name = "REFERENCE",
        required_unless_present_any = ["list", "remove"],
        conflicts_with_all = ["list", "remove"]
    )]
    pub(crate) reference: Option<String>,
    /// The table of automations, with its schema where that is not searched
    #[arg(long, value_name = "TABLE", default_value = "automation_ideas")]
    pub(crate) table: String,
    /// The table of test results
    #[arg(long, value_name = "TABLE", default_value = "agent_test_results")]
    pub(crate) results_table: String,
    /// What to call it here; made from the table's name when absent
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// List the connected tables with their rows
    #[arg(long, conflicts_with = "remove")]
    pub(crate) list: bool,
    /// Disconnect this one; its database is left as it is
    #[arg(long, value_name = "NAME")]
    pub(crate) remove: Option<String>,
}
