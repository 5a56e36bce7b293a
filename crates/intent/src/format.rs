//! The foundation format: what `foundation.toml` may say, as types. Their JSON Schema is what
//! `agentwright schema foundation` prints; `docs/formats.md` explains them to people.
//!
//! Not here: reading and checking a whole foundation (`foundation`), rendering its templates
//! (`render`), deciding whether a sentence asks for it (`matching`).

use agentwright_domain::spec::{Access, AutomationKind, ExecutionLimits, FailurePolicy, Trigger};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The version of the foundation format read by this program.
pub const FOUNDATION_FORMAT: u32 = 1;

/// `foundation.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`FOUNDATION_FORMAT`].
    pub format: u32,
    /// Its name; the directory has the same.
    pub name: String,
    /// Its own version, for people.
    pub version: String,
    /// What comes out.
    pub kind: AutomationKind,
    /// One line: what it does.
    pub does: String,
    /// Sentences that ask for it; each must be understood as this foundation.
    pub examples: Vec<String>,
    /// Which sentences ask for it.
    #[serde(rename = "match")]
    pub matching: Matching,
    /// What it must know.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// Groups of inputs of which at least one is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<RequireAny>,
    /// Further inputs computed from the others: name → template. Made before anything else is rendered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub derived: BTreeMap<String, String>,
    /// Template: the automation's name where the sentence gives none.
    pub call: String,
    /// Template: one sentence for people; the schedule is appended.
    pub purpose: String,
    /// How it is started.
    pub run: Run,
    /// What it may touch beyond its folder and file inputs.
    #[serde(default)]
    pub permissions: PermissionTemplates,
    /// When it runs if the sentence does not say.
    pub trigger: Trigger,
    /// What one execution may use.
    #[serde(default)]
    pub limits: ExecutionLimits,
    /// What happens when an execution fails.
    #[serde(default)]
    pub on_failure: FailurePolicy,
}

/// Which sentences ask for a foundation.
///
/// A *phrase* is a list of words compared by their stems; `_` stands for up to three words of any kind.
/// `<url>`, `<folder>`, `<file>`, `<file:csv>`, `<path>`, `<entity>`, `<schedule>`, `<sql>`, `<quoted>`
/// `<feed_url>`, `<log_path>`, `<postgres>`, `<glob>`, `<email>`, `<secret>` stand for something of that
/// kind in the sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Matching {
    /// Ideas by name, each with the phrases that express it.
    pub ideas: BTreeMap<String, Vec<String>>,
    /// Sets of ideas; a sentence with all ideas of one set may mean this foundation.
    pub shapes: Vec<Shape>,
    /// Phrases that rule it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
    /// Further words that belong to its subject and need no explanation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// Demands (see `agentwright_intent::demands`) that it meets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub can: Vec<String>,
    /// Demands that it meets when the named input is filled: demand → input.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub can_with: BTreeMap<String, String>,
}

/// One set of ideas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// All of these must be expressed.
    pub all: Vec<String>,
    /// How sure that makes, 0 to 1.
    pub strength: f64,
}

/// At least one of these inputs is needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequireAny {
    /// Expression: only then; absent means always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The inputs.
    pub any: Vec<String>,
    /// What is asked when none is there.
    pub ask: String,
    /// Answers that would do.
    #[serde(default)]
    pub examples: Vec<String>,
}

/// One thing that a foundation must know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Input {
    /// Its name: letters, digits and `_`; folders and files letters and digits only.
    pub name: String,
    /// What it is, for people.
    pub about: String,
    /// Whether a build is refused without it.
    #[serde(default)]
    pub required: bool,
    /// Its value where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The question when it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
    /// Answers that would do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
    /// What it is.
    #[serde(flatten)]
    pub kind: InputKind,
    /// How it is found in a sentence.
    #[serde(default)]
    pub find: Find,
}

/// How an input is found in a sentence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Find {
    /// Phrases with `#` in the place of the value, best first. For texts, numbers, sizes, ages, ports, columns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phrases: Vec<String>,
    /// Words before a folder, file or URL that speak for (or, negative, against) its being this input.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub before: BTreeMap<String, f64>,
    /// The same for the words after it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub after: BTreeMap<String, f64>,
    /// Added when it is the first (or only) one in the sentence.
    #[serde(skip_serializing_if = "is_zero")]
    pub first: f64,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// What an input is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum InputKind {
    /// A folder of the host; inside it is `/data/<name>`. Value: absolute path.
    Folder {
        /// Read or write.
        access: Access,
        /// Whether it is made at deploy.
        #[serde(default)]
        create: bool,
    },
    /// A file of the host; its folder is `/data/<name>` inside. Value: absolute path.
    File {
        /// Read or write.
        access: Access,
        /// Whether its folder is made at deploy.
        #[serde(default)]
        create: bool,
        /// Extensions that speak for it; any other speaks against it. Empty: any.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        extensions: Vec<String>,
        /// The file name (may be a glob) that is meant when a folder is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within: Option<String>,
    },
    /// An http or https address. Value: text.
    Url {},
    /// Several of them. Value: list of texts.
    Urls {},
    /// `postgresql://user@host:port/database`. Value: text.
    PostgresUrl {},
    /// A text. Value: text.
    Text {
        /// Longest, in characters.
        #[serde(default = "text_max")]
        max: usize,
        /// How much of the sentence it takes where no quotes are used.
        #[serde(default)]
        extent: Extent,
    },
    /// A whole number. Value: number.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A span of time. Value: seconds.
    Duration {},
    /// An amount of bytes. Value: bytes.
    Size {},
    /// One of several. Value: text.
    Choice {
        /// Value → phrases that mean it. Values are tried in alphabetical order, longest phrase first.
        of: BTreeMap<String, Vec<String>>,
    },
    /// Some of several. Value: list of texts.
    Choices {
        /// Value → phrases that mean it.
        of: BTreeMap<String, Vec<String>>,
    },
    /// Yes or no. Value: boolean.
    Flag {
        /// Phrases that mean yes.
        yes: Vec<String>,
    },
    /// A TCP port. Value: number.
    Port {},
    /// Column names. Value: list of texts.
    Columns {},
    /// Single words or quoted texts. Value: list of texts.
    Words {},
    /// File name patterns (`*.tmp`, `node_modules`, `.jpg`). Value: list of texts.
    Globs {
        /// Kinds of files by the word people use: `pictures` → `["*.jpg", …]`.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        kinds: BTreeMap<String, Vec<String>>,
    },
    /// A record that a service keeps. Value: `{name, plural, fields: [{name, type, required}]}`.
    Entity {},
    /// A reference to a secret: `env:NAME`, `file:/PATH` or `vault:MOUNT/PATH#FIELD`. Value: text.
    Secret {},
}

fn text_max() -> usize {
    500
}

/// How much of a sentence a text takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// What stands in quotes, else one word.
    #[default]
    Word,
    /// What stands in quotes only.
    Quoted,
    /// An SQL statement: from `SELECT` or `WITH` to a file name or the end.
    Sql,
    /// The whole sentence without schedule and name: the task of an agent.
    Task,
}

/// How it is started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The command.
    pub command: Vec<Argument>,
    /// The command of a dry run that changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Vec<Argument>>,
}

/// One or more arguments of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Argument {
    /// Template: one argument.
    Plain(String),
    /// Arguments under a condition.
    When(WhenArguments),
    /// Arguments for each element of a list, named `item`.
    Each(EachArguments),
}

/// Arguments under a condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhenArguments {
    /// Expression.
    pub when: String,
    /// Templates.
    pub args: Vec<String>,
}

/// Arguments for each element of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EachArguments {
    /// Expression that yields a list.
    pub each: String,
    /// Templates that may use `item`.
    pub args: Vec<String>,
}

/// What an automation may touch, as templates; those that render to nothing are left out. Folders come from the inputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PermissionTemplates {
    /// Each a template of URLs or `host:port`, separated by blanks. A private or loopback address goes to `allow_private`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<String>,
    /// Templates: programs beyond the standard set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// Variable → template of the reference.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// The same of those that come as a file: its name below `/run/secrets` → template of the reference.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_files: BTreeMap<String, String>,
    /// Variable → template of the value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}
