//! What will be built, as data. `spec.json` in a build's repository is exactly this.
//!
//! Paths inside a sandbox are fixed: `/app` is the code (read-only), `/state` the automation's
//! private directory, `/data/<name>` a declared folder, `/tmp` scratch. A spec never names other
//! places, so a test and a production sandbox look the same from inside.

use crate::acceptance::Acceptance;
use crate::digest::Digest;
use crate::ids::Slug;
use crate::secret::{NotAReference, Reference};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The version of the spec format written by this program.
pub const SPEC_FORMAT: u32 = 1;
/// The largest spec accepted, in bytes of JSON.
pub const SPEC_MAX_BYTES: usize = 1 << 20;
/// The most repair builds that failures may start in a row.
pub const REPAIR_BUILDS_MAX: u32 = 3;

/// One automation, completely described.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Always [`SPEC_FORMAT`].
    pub format: u32,
    /// The automation's name; a deployment of that name is replaced by a new version.
    pub name: Slug,
    /// One sentence for people: what it does, on what, when.
    pub purpose: String,
    /// What it is.
    pub kind: AutomationKind,
    /// The foundation that it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foundation: Option<FoundationRef>,
    /// The foundation's inputs, filled. Folder inputs hold the host path.
    #[serde(default)]
    pub inputs: BTreeMap<String, Value>,
    /// The command, inside the sandbox, working directory `/state`.
    pub command: Vec<String>,
    /// The same as a dry run that changes nothing, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Vec<String>>,
    /// What it may touch. Everything else is denied.
    #[serde(default)]
    pub permissions: Permissions,
    /// When it runs.
    pub trigger: Trigger,
    /// How much it may use in one execution.
    #[serde(default)]
    pub limits: ExecutionLimits,
    /// What happens when an execution fails.
    #[serde(default)]
    pub on_failure: FailurePolicy,
    /// What must hold; sealed before any code is written.
    pub acceptance: Acceptance,
}

/// What an automation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AutomationKind {
    /// Runs to an end.
    Script,
    /// A shell script around `claude -p`.
    ClaudeAgent,
    /// Stays up and answers on a port.
    Service,
}

/// Which foundation, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FoundationRef {
    /// Its name.
    pub name: String,
    /// Digest over all of its files.
    pub digest: Digest,
}

/// Everything an automation may touch beyond its own `/state` and `/tmp`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    /// Folders of the host, each at `/data/<name>` inside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<FolderPermission>,
    /// Public hosts it may connect to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<HostPort>,
    /// Private addresses it may connect to; each asks for a person's own yes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_private: Vec<HostPort>,
    /// Programs of the host beyond the standard set (`claude`, `psql`); missing ones refuse the deploy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// Secrets by name and reference; the value is resolved when it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretPermission>,
    /// Plain environment variables it is given.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

/// One folder of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderPermission {
    /// Its name inside: `/data/<name>`.
    pub name: Slug,
    /// The absolute path on the host, free of symbolic links.
    pub path: String,
    /// Read or write.
    pub access: Access,
    /// Whether a missing folder is made at deploy (writable ones only).
    #[serde(default)]
    pub create: bool,
}

/// How a folder is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Read-only.
    Read,
    /// Read and write.
    Write,
}

/// A host and a port, matched exactly. Written `host:port`.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct HostPort {
    /// Host name or address, in lower case.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Why a text is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not host:port: expected a host name or address, a colon and a port from 1 to 65535"
)]
pub struct NotAHostPort(pub String);

impl TryFrom<String> for HostPort {
    type Error = NotAHostPort;
    fn try_from(text: String) -> Result<Self, NotAHostPort> {
        let wrong = || NotAHostPort(text.chars().take(80).collect());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let shaped = !host.is_empty()
            && host.len() <= 253
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'_'));
        if !shaped || port == 0 {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

impl From<HostPort> for String {
    fn from(value: HostPort) -> String {
        value.to_string()
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A secret handed in when it runs; only the reference is ever stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretPermission {
    /// Its name inside: the variable that holds it, or the name of its file.
    pub variable: String,
    /// `env:NAME`, `file:/PATH` or `vault:MOUNT/PATH#FIELD`.
    pub reference: String,
    /// Whether a variable holds it or a file.
    #[serde(
        rename = "as",
        default,
        skip_serializing_if = "SecretForm::is_variable"
    )]
    pub form: SecretForm,
}

/// How a secret comes into the sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretForm {
    /// In the environment variable of its name.
    #[default]
    Variable,
    /// In the file `/run/secrets/NAME`, read-only and in memory only, to which the variable `NAME_FILE` points.
    File,
}

impl SecretForm {
    fn is_variable(&self) -> bool {
        *self == Self::Variable
    }
}

/// Where secrets that come as files are, inside.
pub const SECRET_FILES: &str = "/run/secrets";
/// The most secrets that come as files. What is exported hands them over by the descriptors 3 to 9.
pub const SECRET_FILES_MAX: usize = 7;

impl SecretPermission {
    /// The file that holds it inside, where one does.
    pub fn file(&self) -> Option<String> {
        match self.form {
            SecretForm::Variable => None,
            SecretForm::File => Some(format!("{SECRET_FILES}/{}", self.variable)),
        }
    }

    /// The variable that is set for it inside: with the secret, or with the path of its file.
    pub fn is_set_as(&self) -> String {
        match self.form {
            SecretForm::Variable => self.variable.clone(),
            SecretForm::File => format!("{}_FILE", self.variable),
        }
    }

    /// For people: `TOKEN from env:TOKEN`, and where it is when it comes as a file.
    pub fn in_words(&self) -> String {
        match self.file() {
            None => format!("{} from {}", self.variable, self.reference),
            Some(path) => format!(
                "{} from {}, as the file {path}",
                self.variable, self.reference
            ),
        }
    }
}

/// When an automation runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum Trigger {
    /// At the times of a cron expression.
    Schedule {
        /// Five fields: minute, hour, day of month, month, day of week.
        cron: String,
        /// IANA zone name, for example `Europe/Berlin`.
        zone: String,
        /// What happens to firings missed while nothing was running.
        #[serde(default)]
        missed: Missed,
    },
    /// All the time.
    Service {
        /// The port it listens on inside.
        port: u16,
        /// The port on 127.0.0.1 where it is published; 0 lets agentwright choose.
        publish: u16,
        /// Answers 200 when it is well.
        health_path: String,
    },
    /// Once, at deploy.
    Once,
    /// Only when a person asks (`run-now`).
    Manual,
}

/// What happens to firings missed while nothing was running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// They are dropped.
    Skip,
    /// However many were missed, it runs once, now.
    #[default]
    RunOnce,
}

/// What one execution may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutionLimits {
    /// Wall clock, seconds. Not for services.
    pub wall_s: u64,
    /// Memory of all processes together, MiB.
    pub memory_mib: u64,
    /// Processes and threads.
    pub processes: u32,
    /// Bytes it may write below `/state`, MiB.
    pub disk_mib: u64,
}

impl Default for ExecutionLimits {
    fn default() -> Self {
        Self {
            wall_s: 600,
            memory_mib: 512,
            processes: 64,
            disk_mib: 1024,
        }
    }
}

/// What happens when an execution fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FailurePolicy {
    /// Further tries of the same execution.
    pub retries: u32,
    /// Pause before the first further try, seconds; doubles each time.
    pub backoff_s: u64,
    /// The automation is paused after so many failed executions in a row; 0 means never.
    pub pause_after: u32,
    /// Repair builds that failures may start in a row, each through its own gates; 0 means none, at most
    /// [`REPAIR_BUILDS_MAX`].
    #[serde(skip_serializing_if = "is_zero")]
    pub repairs: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Default for FailurePolicy {
    fn default() -> Self {
        Self {
            retries: 2,
            backoff_s: 60,
            pause_after: 5,
            repairs: 0,
        }
    }
}

/// What is wrong with a spec, for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct SpecProblem {
    /// JSON pointer into the spec.
    pub at: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl Spec {
    /// Checks everything that can be checked without looking at the machine. An empty list means
    /// that the spec is well formed.
    pub fn problems(&self) -> Vec<SpecProblem> {
        let mut found = Problems(Vec::new());
        if self.format != SPEC_FORMAT {
            found.add(
                "/format",
                format!("this version reads format {SPEC_FORMAT}"),
            );
        }
        if self.on_failure.repairs > REPAIR_BUILDS_MAX {
            found.add(
                "/on_failure/repairs",
                format!("at most {REPAIR_BUILDS_MAX} repair builds in a row"),
            );
        }
        if self.purpose.trim().is_empty() {
            found.add("/purpose", "say in one sentence what it does".into());
        }
        if self.command.first().is_none_or(String::is_empty) {
            found.add(
                "/command",
                "name the program to run, for example [\"python3\", \"/app/main.py\"]".into(),
            );
        }
        for (i, word) in self
            .command
            .iter()
            .chain(self.preview.iter().flatten())
            .enumerate()
        {
            if word.contains('\0') {
                found.add(&format!("/command/{i}"), "contains a NUL character".into());
            }
        }
        match (&self.kind, &self.trigger) {
            (
                AutomationKind::Service,
                Trigger::Service {
                    port, health_path, ..
                },
            ) => {
                if *port == 0 {
                    found.add(
                        "/trigger/port",
                        "a service needs a port from 1 to 65535".into(),
                    );
                }
                if !health_path.starts_with('/') {
                    found.add("/trigger/health_path", "must begin with /".into());
                }
            }
            (AutomationKind::Service, _) => {
                found.add(
                    "/trigger",
                    "a service has the trigger type \"service\"".into(),
                );
            }
            (_, Trigger::Service { .. }) => {
                found.add(
                    "/kind",
                    "the trigger type \"service\" needs the kind \"service\"".into(),
                );
            }
            _ => {}
        }
        self.permissions.check(&mut found);
        self.acceptance.check(&self.permissions, &mut found);
        found.0
    }
}

/// Collects problems in the order in which they are met.
pub(crate) struct Problems(Vec<SpecProblem>);

impl Problems {
    pub(crate) fn add(&mut self, at: &str, problem: String) {
        self.0.push(SpecProblem {
            at: at.to_owned(),
            problem,
        });
    }
}

impl Permissions {
    fn check(&self, found: &mut Problems) {
        let mut names = std::collections::BTreeSet::new();
        for (i, folder) in self.folders.iter().enumerate() {
            let at = format!("/permissions/folders/{i}");
            if !names.insert(folder.name.as_str()) {
                found.add(
                    &format!("{at}/name"),
                    format!("{} is declared twice", folder.name),
                );
            }
            let absolute = folder.path.starts_with('/') && !folder.path.contains('\0');
            if !absolute || folder.path.split('/').any(|part| part == "..") {
                found.add(
                    &format!("{at}/path"),
                    "must be an absolute path without \"..\"".into(),
                );
            }
            if folder.create && folder.access == Access::Read {
                found.add(
                    &format!("{at}/create"),
                    "only a writable folder can be made".into(),
                );
            }
        }
        self.check_secrets(found);
        for name in self.environment.keys() {
            if !is_variable(name) {
                found.add(
                    "/permissions/environment",
                    format!("{name:?} is not a variable name"),
                );
            }
        }
    }

    fn check_secrets(&self, found: &mut Problems) {
        let mut set: std::collections::BTreeSet<String> =
            self.environment.keys().cloned().collect();
        for (i, secret) in self.secrets.iter().enumerate() {
            let at = format!("/permissions/secrets/{i}");
            if !is_variable(&secret.variable) {
                found.add(
                    &format!("{at}/variable"),
                    "must be a name of A-Z, 0-9 and _".into(),
                );
            }
            let sets = secret.is_set_as();
            if !set.insert(sets.clone()) {
                found.add(
                    &format!("{at}/variable"),
                    format!("the variable {sets} is set twice: give it another name"),
                );
            }
            // What is exported writes it into a shell script.
            let known = secret.reference.parse::<Reference>().is_ok();
            if !known {
                found.add(&format!("{at}/reference"), NotAReference.to_string());
            }
        }
        let files = self.secrets.iter().filter_map(SecretPermission::file);
        if files.count() > SECRET_FILES_MAX {
            found.add(
                "/permissions/secrets",
                format!("at most {SECRET_FILES_MAX} secrets can come as files"),
            );
        }
    }

    /// The folder declared under this name.
    pub fn folder(&self, name: &str) -> Option<&FolderPermission> {
        self.folders
            .iter()
            .find(|folder| folder.name.as_str() == name)
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}
