//! Acceptance: fixtures, steps and the probes that must hold. Data only; `verify` carries it out.
//!
//! Every text marked *template* is rendered with minijinja over `inputs` (the spec's inputs),
//! `draw` (values drawn at random after the code was committed), `data.<folder>` (the folder's path
//! inside, `/data/<folder>`), `today` (`YYYY-MM-DD`) and `saved` (values kept by request steps).

use crate::spec::{Permissions, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What must hold of an automation. Its digest is sealed before any code is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Values drawn anew for each verify, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub draw: BTreeMap<String, Draw>,
    /// Level 3: runs to completion on minimal input. Its probes are optional.
    pub smoke: Case,
    /// Level 4: each must have at least one effect.
    pub cases: Vec<Case>,
}

/// How a fixture value is drawn at random.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum Draw {
    /// Lower-case letters.
    Word {
        /// Number of letters.
        length: u32,
    },
    /// A whole number, both ends included.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// One of these.
    Choice {
        /// The candidates.
        of: Vec<Value>,
    },
    /// A list of records; columns are drawn independently for each.
    Rows {
        /// Fewest.
        min: u32,
        /// Most.
        max: u32,
        /// How each column is drawn.
        columns: BTreeMap<String, Draw>,
    },
    /// Words separated by blanks.
    Text {
        /// Number of words.
        words: u32,
    },
}

/// One scenario, in a fresh sandbox with fresh folders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A sentence: what it shows.
    pub name: String,
    /// What is there before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixtures: Vec<Fixture>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What must hold afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
}

/// Something that is there before the automation runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum Fixture {
    /// One file.
    File {
        /// A declared folder's name, or `state`.
        folder: String,
        /// Template: path below the folder.
        path: String,
        /// Template: the content.
        #[serde(default)]
        content: String,
        /// How old it is, for example `30d`, `12h`, `90s`; absent means now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        age: Option<String>,
        /// Permission bits in octal, for example `600`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<String>,
        /// Repeated this many times with `index` (from 0) in the templates; `age` may use it too.
        /// Template yielding a number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repeat: Option<String>,
    },
    /// An empty directory.
    Directory {
        /// A declared folder's name, or `state`.
        folder: String,
        /// Template: path below the folder.
        path: String,
    },
    /// A host that answers; reached through the declared route, like the real one.
    Http {
        /// Template: `host:port` as declared in the permissions.
        host: String,
        /// Canned answers by method and path.
        answers: Vec<CannedAnswer>,
    },
    /// An SQLite database.
    Sqlite {
        /// A declared folder's name, or `state`.
        folder: String,
        /// Template: path below the folder.
        path: String,
        /// Templates: statements that make it.
        sql: Vec<String>,
    },
    /// A PostgreSQL database behind a declared host and port; its private cluster is made for the case.
    Postgres {
        /// Template: `host:port` as declared in the permissions.
        host: String,
        /// Template: the database's name.
        database: String,
        /// Template: the user the automation connects as.
        user: String,
        /// Templates: statements that fill it.
        sql: Vec<String>,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        name: String,
        /// Template: its value.
        value: String,
    },
    /// A program on the automation's `PATH`, in place of a real one (a fake `claude`).
    Program {
        /// Its name.
        name: String,
        /// Template: its text, with a `#!` line.
        script: String,
    },
}

/// Answers for one method and path; served in order, the last one repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CannedAnswer {
    /// Upper-case method; absent means `GET`.
    #[serde(default = "get")]
    pub method: String,
    /// Template: path without query.
    pub path: String,
    /// The answers.
    pub answers: Vec<Answer>,
}

/// One HTTP answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Status code.
    #[serde(default = "ok")]
    pub status: u16,
    /// Template: content type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Template: body.
    #[serde(default)]
    pub body: String,
    /// The connection is cut instead of answered.
    #[serde(default)]
    pub cut: bool,
}

fn get() -> String {
    "GET".to_owned()
}

fn ok() -> u16 {
    200
}

/// Something that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum Step {
    /// The spec's command runs to its end.
    Run {
        /// Templates: arguments after the spec's own.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        args: Vec<String>,
        /// Template: standard input.
        #[serde(default)]
        stdin: String,
        /// The exit code that it must end with.
        #[serde(default)]
        exit: ExpectedExit,
        /// Wall clock limit in seconds.
        #[serde(default = "step_limit")]
        limit_s: u64,
    },
    /// The service starts and must become healthy.
    Start {},
    /// Our own request to the service.
    Request {
        /// Upper-case method.
        #[serde(default = "get")]
        method: String,
        /// Template: path with query.
        path: String,
        /// Templates: headers.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        /// Template: body.
        #[serde(default)]
        body: String,
        /// The status that must come back.
        status: u16,
        /// Values kept from the JSON answer: name → JSON pointer.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        save: BTreeMap<String, String>,
    },
    /// The service is stopped.
    Stop {},
    /// The world changes between two runs.
    Arrange {
        /// What is there from now on.
        fixture: Fixture,
    },
}

/// How a run step must end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedExit {
    /// With 0.
    #[default]
    Success,
    /// With anything but 0, by itself (no signal, no limit).
    Failure,
}

fn step_limit() -> u64 {
    30
}

/// One check of real state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// A sentence: what holds.
    pub name: String,
    /// When it must hold.
    pub holds: Holds,
    /// What is looked at.
    pub check: Check,
}

/// When a probe must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// False before, true after.
    Effect,
    /// True before and after.
    Invariant,
}

/// What a probe looks at. `folder` is a declared folder's name, or `state`; a `path` is a template
/// below it and may be a glob where that is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum Check {
    /// Regular files match the glob.
    FileExists {
        /// Folder.
        folder: String,
        /// Template, glob.
        path: String,
        /// Exactly so many; absent means at least one. Template yielding a number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<String>,
    },
    /// Nothing matches the glob.
    FileAbsent {
        /// Folder.
        folder: String,
        /// Template, glob.
        path: String,
    },
    /// The one file that matches the glob (the newest of several) has this content.
    FileContent {
        /// Folder.
        folder: String,
        /// Template, glob.
        path: String,
        /// What the content must be.
        content: Matcher,
    },
    /// Size of the one file that matches, in bytes.
    FileSize {
        /// Folder.
        folder: String,
        /// Template, glob.
        path: String,
        /// At least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<u64>,
        /// At most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<u64>,
    },
    /// Permission bits of the one file that matches.
    FileMode {
        /// Folder.
        folder: String,
        /// Template, glob.
        path: String,
        /// Octal, for example `600`.
        mode: String,
    },
    /// The folder holds exactly these regular files.
    Tree {
        /// Folder.
        folder: String,
        /// Templates, each a list of lines: relative paths, sorted by us; blank lines are dropped.
        files: String,
    },
    /// An archive (zip, tar, tar.gz) holds files with this content.
    Archive {
        /// Folder.
        folder: String,
        /// Template, glob; the newest of several.
        path: String,
        /// Template → matcher: entry path → content.
        entries: BTreeMap<String, Matcher>,
        /// Exactly so many regular entries. Template yielding a number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<String>,
    },
    /// Rows of an SQLite file.
    SqliteRows {
        /// Folder.
        folder: String,
        /// Template, glob.
        path: String,
        /// Template: a query that yields text, number or null columns.
        query: String,
        /// Template: the rows as JSON, an array of arrays.
        rows: String,
    },
    /// Rows of the PostgreSQL fixture, by our own connection.
    PostgresRows {
        /// Template: `host:port` as declared.
        host: String,
        /// Template: database.
        database: String,
        /// Template: a query.
        query: String,
        /// Template: the rows as JSON, an array of arrays.
        rows: String,
    },
    /// Our own request to the running service.
    Http {
        /// Method.
        #[serde(default = "get")]
        method: String,
        /// Template: path with query.
        path: String,
        /// Template: request body.
        #[serde(default)]
        body: String,
        /// Status that must come back.
        #[serde(default = "ok")]
        status: u16,
        /// What the body must be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Matcher>,
    },
    /// The fixture host received such requests.
    HttpSeen {
        /// Template: `host:port` as declared.
        host: String,
        /// Method.
        #[serde(default = "get")]
        method: String,
        /// Template: path.
        path: String,
        /// Exactly so many; absent means at least one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// What the body of the last one must be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Matcher>,
    },
    /// The service's port accepts connections.
    Tcp {
        /// Port inside.
        port: u16,
    },
    /// A process whose argument list contains this is in the sandbox.
    Process {
        /// Template: part of one argument.
        argument: String,
    },
    /// Every run step ended as it was expected to. Always checked; here for a name of its own.
    ExitCode {},
    /// Nothing in the folder differs from before, except paths that match.
    Unchanged {
        /// Folder.
        folder: String,
        /// Templates, globs.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        except: Vec<String>,
    },
}

/// What a text must be. Exactly one field is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Matcher {
    /// Template: exactly this.
    Equals(String),
    /// Templates: contains each of these.
    Contains(Vec<String>),
    /// Templates: contains none of these. An empty text never matches.
    Lacks(Vec<String>),
    /// Template: a regular expression found in it.
    Matches(String),
    /// JSON: each pointer (a template) has the value that its template renders to, read as JSON.
    Json(BTreeMap<String, String>),
}

/// The most cases, fixtures, steps or probes in one list.
pub const LIST_MAX: usize = 200;

impl Acceptance {
    pub(crate) fn check(&self, permissions: &Permissions, found: &mut Problems) {
        self.smoke.check("/acceptance/smoke", permissions, found);
        if self.cases.is_empty() {
            found.add(
                "/acceptance/cases",
                "at least one case must show that it works".into(),
            );
        }
        if self.cases.len() > LIST_MAX {
            found.add("/acceptance/cases", format!("at most {LIST_MAX}"));
        }
        for (i, case) in self.cases.iter().take(LIST_MAX).enumerate() {
            let at = format!("/acceptance/cases/{i}");
            case.check(&at, permissions, found);
            if !case.probes.iter().any(|probe| probe.holds == Holds::Effect) {
                found.add(
                    &format!("{at}/probes"),
                    "needs an effect: something false before and true after".into(),
                );
            }
        }
    }
}

impl Case {
    fn check(&self, at: &str, permissions: &Permissions, found: &mut Problems) {
        if self.steps.is_empty() {
            found.add(&format!("{at}/steps"), "nothing is run".into());
        }
        for (what, length) in [
            ("fixtures", self.fixtures.len()),
            ("steps", self.steps.len()),
            ("probes", self.probes.len()),
        ] {
            if length > LIST_MAX {
                found.add(&format!("{at}/{what}"), format!("at most {LIST_MAX}"));
            }
        }
        let known = |folder: &str| folder == "state" || permissions.folder(folder).is_some();
        let fixtures = self
            .fixtures
            .iter()
            .enumerate()
            .map(|(i, f)| (format!("{at}/fixtures/{i}"), f.folder()));
        let probes = self
            .probes
            .iter()
            .enumerate()
            .map(|(i, p)| (format!("{at}/probes/{i}"), p.check.folder()));
        for (at, folder) in fixtures.chain(probes) {
            if let Some(folder) = folder.filter(|folder| !known(folder)) {
                found.add(
                    &at,
                    format!("folder {folder:?} is not declared in the permissions"),
                );
            }
        }
    }
}

impl Fixture {
    /// The folder that it lies in, where it lies in one.
    pub fn folder(&self) -> Option<&str> {
        match self {
            Self::File { folder, .. }
            | Self::Directory { folder, .. }
            | Self::Sqlite { folder, .. } => Some(folder),
            Self::Http { .. }
            | Self::Postgres { .. }
            | Self::Environment { .. }
            | Self::Program { .. } => None,
        }
    }
}

impl Check {
    /// The folder that it looks into, where it looks into one.
    pub fn folder(&self) -> Option<&str> {
        match self {
            Self::FileExists { folder, .. }
            | Self::FileAbsent { folder, .. }
            | Self::FileContent { folder, .. }
            | Self::FileSize { folder, .. }
            | Self::FileMode { folder, .. }
            | Self::Tree { folder, .. }
            | Self::Archive { folder, .. }
            | Self::SqliteRows { folder, .. }
            | Self::Unchanged { folder, .. } => Some(folder),
            Self::PostgresRows { .. }
            | Self::Http { .. }
            | Self::HttpSeen { .. }
            | Self::Tcp { .. }
            | Self::Process { .. }
            | Self::ExitCode {} => None,
        }
    }
}
