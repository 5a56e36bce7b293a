//! One typed configuration: `<data>/config.toml` < environment `AGENTWRIGHT_*` < flags.
//!
//! The only place besides the command line's edge that reads the environment. Every error names the key and
//! where it came from; an unknown key is an error.

mod queue;

use crate::secrets::Resolve;
use agentwright_llm::detect::OLLAMA_URL;
use agentwright_llm::{ModelsConfig, Prices};
pub use agentwright_notify::ChannelConfig as NotifyChannel;
use agentwright_pipeline::{CONVENTIONS_MAX, CoderConfig, ModelSettings, OverseerConfig};
pub use agentwright_vault::Config as VaultConfig;
use agentwright_vault::{NotAVault, Vault};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
pub use queue::{
    HookSettings, PushSettings, QueueSettings, ReportSettings, RoomSettings, WatchSettings,
};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file in the data directory.
const FILE: &str = "config.toml";
/// The executable that is running.
const INIT: &str = "/proc/self/exe";
/// The most days that something is kept for.
const DAYS_MAX: u64 = 36_500;
/// Before the key, in the environment.
const PREFIX: &str = "AGENTWRIGHT_";
/// Read by the command line before there is a configuration.
const NOT_SETTINGS: &[&str] = &["data", "yes", "json"];

/// What a daemon is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory, absolute.
    pub data_dir: PathBuf,
    /// The executable that becomes the inner init of a sandbox: one whose `main` begins with
    /// `agentwright_sandbox::run_init_if_requested`.
    pub init: PathBuf,
    /// Everything else.
    pub settings: Settings,
}

/// The keys of `config.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `sqlite` (a file in the data directory) or `postgres://…`.
    pub store: String,
    /// An address to listen on besides the socket, for example `127.0.0.1:8400`. Whoever connects there shows a
    /// key. Beyond this machine's loopback it is only opened when there is one.
    pub listen: Option<SocketAddr>,
    /// The address under which people reach the server, where a proxy stands before it: `https://…`, with the
    /// path that it adds, if any. Notices of a gate then carry links that decide.
    pub public_url: Option<String>,
    /// Builds at once, 1 to 64.
    pub builds: u32,
    /// Builds of one organization at once; when not set, as many as [`Self::builds`].
    pub builds_per_organization: Option<u32>,
    /// Executions at once, 1 to 1024.
    pub executions: u32,
    /// Executions of one organization at once; when not set, as many as [`Self::executions`].
    pub executions_per_organization: Option<u32>,
    /// How long a worker's lease lasts, seconds, 3 to 300.
    pub lease_s: u64,
    /// How much is logged.
    pub log: LogLevel,
    /// Whether generated code may run in the weaker sandbox tier `process` where `full` is not possible.
    pub allow_process_tier: bool,
    /// The bubblewrap program.
    pub bwrap: PathBuf,
    /// Directories with foundations of your own, absolute.
    pub foundations: Vec<PathBuf>,
    /// How many megabytes of artifacts are kept.
    pub artifacts_quota_mb: u64,
    /// After how many days ended runs go, with everything of them but what is deployed; kept for good when not
    /// set.
    pub keep_runs_days: Option<u32>,
    /// The same for what coders said while they wrote.
    pub keep_transcripts_days: Option<u32>,
    /// The same for what executions printed.
    pub keep_logs_days: Option<u32>,
    /// Where notices go.
    pub notify: Vec<NotifyChannel>,
    /// Where `vault:` references are read.
    pub vault: Option<VaultConfig>,
    /// Builds that start by themselves.
    pub queue: QueueSettings,
    /// Model providers and what each role uses; where nothing is said the machine is looked at.
    pub models: ModelsConfig,
    /// Who writes code where no foundation does.
    pub coder: CoderConfig,
    /// The independent look at such code.
    pub overseer: OverseerConfig,
    /// A table of prices that stands over the built-in one; a file, absolute.
    pub prices: Option<PathBuf>,
    /// What every spec and all code follow here, in words.
    pub conventions: String,
    /// Where Ollama is looked for.
    pub ollama_url: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            store: "sqlite".into(),
            listen: None,
            public_url: None,
            builds: 3,
            builds_per_organization: None,
            executions: 64,
            executions_per_organization: None,
            lease_s: 15,
            log: LogLevel::Info,
            allow_process_tier: false,
            bwrap: PathBuf::from("/usr/bin/bwrap"),
            foundations: Vec::new(),
            artifacts_quota_mb: agentwright_store::ARTIFACTS_QUOTA_BYTES / 1_000_000,
            keep_runs_days: None,
            keep_transcripts_days: None,
            keep_logs_days: None,
            notify: Vec::new(),
            vault: None,
            queue: QueueSettings::default(),
            models: ModelsConfig::default(),
            coder: CoderConfig::default(),
            overseer: OverseerConfig::default(),
            prices: None,
            conventions: String::new(),
            ollama_url: OLLAMA_URL.to_owned(),
        }
    }
}

impl Settings {
    /// Each number with its bounds.
    fn numbers(&self) -> [(&'static str, u64, u64, u64); 9] {
        let it = self;
        [
            ("builds", u64::from(it.builds), 1, 64),
            ("executions", u64::from(it.executions), 1, 1024),
            (
                "builds_per_organization",
                u64::from(it.organization_builds()),
                1,
                u64::from(it.builds),
            ),
            (
                "executions_per_organization",
                u64::from(it.organization_executions()),
                1,
                u64::from(it.executions),
            ),
            ("lease_s", it.lease_s, 3, 300),
            ("keep_runs_days", days(it.keep_runs_days), 1, DAYS_MAX),
            (
                "keep_transcripts_days",
                days(it.keep_transcripts_days),
                1,
                DAYS_MAX,
            ),
            ("keep_logs_days", days(it.keep_logs_days), 1, DAYS_MAX),
            ("artifacts_quota_mb", it.artifacts_quota_mb, 10, 1 << 30),
        ]
    }

    /// The built-in prices with the person's own over them.
    fn price_table(&self) -> Result<Prices, String> {
        let Some(path) = &self.prices else {
            return Ok(Prices::embedded());
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("names {}: {error}", path.display()))?;
        Prices::load(Some(&text)).map_err(|error| format!("names {}: {error}", path.display()))
    }

    /// Builds of one organization at once.
    pub(crate) fn organization_builds(&self) -> u32 {
        self.builds_per_organization.unwrap_or(self.builds)
    }

    /// Executions of one organization at once.
    pub(crate) fn organization_executions(&self) -> u32 {
        self.executions_per_organization.unwrap_or(self.executions)
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what looks wrong.
    Warn,
    /// And what happened.
    Info,
    /// And how.
    Debug,
}

/// What flags say; each wins over file and environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Flags {
    /// `--listen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// `--store`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// `--foundations`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foundations: Option<Vec<PathBuf>>,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key is unknown or has a value of the wrong kind.
    #[error("cannot read the configuration: {0}")]
    Unreadable(String),
    /// A value is out of its bounds.
    #[error("{key} in the configuration ({place}) {problem}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// File, environment or flag.
        place: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl Config {
    /// Reads the configuration of a data directory, which need not exist yet.
    ///
    /// # Errors
    /// [`ConfigError`], naming the key and where it came from.
    pub fn load(data_dir: &Path, flags: Flags) -> Result<Self, ConfigError> {
        let file = data_dir.join(FILE);
        // The file is optional; one that is there and cannot be read is an error.
        let from_file = if file.exists() {
            Toml::file_exact(&file)
        } else {
            Toml::string("")
        };
        let figment = Figment::from(Serialized::defaults(Settings::default()))
            .merge(from_file)
            .merge(Env::prefixed(PREFIX).ignore(NOT_SETTINGS))
            .merge(Serialized::globals(flags));
        let settings: Settings = figment.extract().map_err(|errors| {
            let each: Vec<String> = errors.into_iter().map(|error| worded(&error)).collect();
            ConfigError::Unreadable(each.join("; "))
        })?;
        let config = Self {
            settings,
            ..Self::plain(data_dir)
        };
        config.check(&figment)?;
        Ok(config)
    }

    /// The configuration of a data directory with nothing set.
    pub fn plain(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            init: PathBuf::from(INIT),
            settings: Settings::default(),
        }
    }

    /// What the pipeline is told about models.
    pub(crate) fn models(&self, keys: Resolve) -> ModelSettings {
        let it = &self.settings;
        ModelSettings {
            models: it.models.clone(),
            coder: it.coder.clone(),
            overseer: it.overseer.clone(),
            // Checked when the configuration was read; a table that vanished since leaves the built-in one.
            prices: Arc::new(it.price_table().unwrap_or_else(|_| Prices::embedded())),
            conventions: it.conventions.clone(),
            ollama_url: it.ollama_url.clone(),
            env: Arc::new(variable),
            keys: Some(keys),
        }
    }

    /// The path that a proxy puts before ours, without a slash at its end; usually empty.
    pub(crate) fn prefix(&self) -> String {
        let url = self.settings.public_url.as_deref();
        let url = url.and_then(|text| url::Url::parse(text).ok());
        url.map_or_else(String::new, |url| {
            url.path().trim_end_matches('/').to_owned()
        })
    }

    /// Whether browsers reach us over TLS.
    pub(crate) fn is_https(&self) -> bool {
        let url = self.settings.public_url.as_deref();
        url.is_some_and(|text| text.starts_with("https://"))
    }

    /// Where the socket is.
    pub fn socket(&self) -> PathBuf {
        self.data_dir.join("daemon.sock")
    }

    fn check(&self, figment: &Figment) -> Result<(), ConfigError> {
        let it = &self.settings;
        let wrong = |key: &'static str, problem: String| {
            let place = figment
                .find_metadata(key)
                .map_or_else(|| "default".to_owned(), place);
            Err(ConfigError::Invalid {
                key,
                place,
                problem,
            })
        };
        if let Some(problem) = it.public_url.as_deref().and_then(not_an_address) {
            return wrong("public_url", problem);
        }
        let known = it.store == "sqlite"
            || it.store.starts_with("postgres://")
            || it.store.starts_with("postgresql://");
        if !known {
            return wrong("store", "must be sqlite or postgres://…".into());
        }
        for (key, value, min, max) in it.numbers() {
            if !(min..=max).contains(&value) {
                return wrong(key, format!("is {value}: it must be from {min} to {max}"));
            }
        }
        if it.conventions.len() > CONVENTIONS_MAX {
            let problem = format!("is longer than {CONVENTIONS_MAX} bytes: say less");
            return wrong("conventions", problem);
        }
        if it
            .coder
            .program
            .as_ref()
            .is_some_and(|path| !path.is_absolute())
        {
            return wrong("coder", "has a program that is not an absolute path".into());
        }
        if let Some(problem) = it.queue.problem() {
            return wrong("queue", problem);
        }
        if let Err(why) = it.vault.clone().map(Vault::new).transpose() {
            return wrong("vault", why.to_string());
        }
        if let Err(why) = it.price_table() {
            return wrong("prices", why);
        }
        if let Some(dir) = it.foundations.iter().find(|dir| !dir.is_absolute()) {
            return wrong(
                "foundations",
                format!("has {}: it must be an absolute path", dir.display()),
            );
        }
        Ok(())
    }
}

/// What is not set is kept, which is no wrong number.
fn days(set: Option<u32>) -> u64 {
    set.map_or(1, u64::from)
}

/// What is wrong with a text that should be the address of a server.
fn not_an_address(text: &str) -> Option<String> {
    let read = url::Url::parse(text).ok();
    let fits = read.is_some_and(|url| {
        ["http", "https"].contains(&url.scheme())
            && url.host_str().is_some()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    (!fits).then(|| format!("is {text:?}: it must be like https://build.example.org or https://example.org/agentwright"))
}

fn worded(error: &figment::Error) -> String {
    let key = error.path.join(".");
    let from = error
        .metadata
        .as_ref()
        .map_or_else(|| "unknown place".to_owned(), place);
    if key.is_empty() {
        format!("{} ({from})", error.kind)
    } else {
        format!("{key}: {} ({from})", error.kind)
    }
}

fn place(metadata: &figment::Metadata) -> String {
    match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        Some(_) | None if metadata.name.contains("environment") => "environment".to_owned(),
        Some(_) | None if metadata.name.contains("Flags") => "flag".to_owned(),
        Some(_) | None => metadata.name.to_string(),
    }
}

impl Config {
    /// Where declared programs are looked for besides the system's directories.
    pub(crate) fn program_dirs(&self) -> Vec<PathBuf> {
        home()
            .map(|home| home.join(".local/bin"))
            .into_iter()
            .collect()
    }
}

/// What ssh finds its keys by.
pub(crate) fn ssh() -> Vec<(&'static str, String)> {
    let known = ["HOME", "SSH_AUTH_SOCK"].into_iter();
    known
        .filter_map(|name| Some((name, variable(name)?)))
        .collect()
}

/// The home directory of the daemon's user.
pub(crate) fn home() -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from)
}

/// The Vault of the configuration.
pub(crate) fn vault(settings: &Settings) -> Result<Option<Vault>, NotAVault> {
    settings.vault.clone().map(Vault::new).transpose()
}

/// The resolver of references.
pub(crate) fn secrets(vault: Option<Vault>) -> Resolve {
    crate::secrets::resolver(variable, vault)
}

#[expect(clippy::disallowed_methods, reason = "the home of the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
