//! Tables of people's own databases that are built from.

use crate::Time;
use crate::queue::Receipt;
use agentwright_domain::ids::{RunId, Slug};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of `POST /backlogs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectTable {
    /// Where the address of the database stands: `env:NAME`, `file:/PATH` or `vault:MOUNT/PATH#FIELD`. Never the
    /// address itself: it holds a password.
    #[garde(length(chars, min = 1, max = 1_000))]
    pub reference: String,
    /// The table of automations, with its schema where that is not searched.
    #[garde(length(chars, min = 1, max = 200))]
    pub table: String,
    /// The table of test results.
    #[garde(length(chars, min = 1, max = 200))]
    pub results_table: String,
    /// How it is called here; made from the table's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub name: Option<Slug>,
    /// The directory that relative paths of its rows are meant from; absolute.
    #[garde(custom(crate::build::absolute))]
    #[schemars(regex(pattern = "^/"), length(max = crate::build::PATH_MAX_BYTES))]
    pub base_dir: String,
    /// The person's time zone, IANA.
    #[garde(custom(crate::build::short_zone))]
    pub zone: String,
}

/// A connected table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectedTable {
    /// How it is called here.
    pub name: Slug,
    /// Where the address of its database stands.
    pub reference: String,
    /// The table of automations.
    pub table: String,
    /// The table of test results.
    pub results_table: String,
    /// Who connected it.
    pub connected_by: String,
    /// When.
    pub connected_at: Time,
    /// When it was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<Time>,
    /// Looks that failed in a row.
    pub failures: u32,
    /// Why the last one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Rows that wait, are built or were.
    pub rows: Vec<TableRow>,
}

/// A row of a connected table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TableRow {
    /// Its number there.
    pub id: i64,
    /// How it is called here.
    pub label: Slug,
    /// How it is called there.
    pub name: String,
    /// `claude_agent` or `script`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its `builder_status` as it was last seen or written.
    pub builder_status: String,
    /// What could not be written there yet, where something could not.
    pub to_write: bool,
    /// Its build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<RunId>,
    /// What the last look came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Receipt>,
}
