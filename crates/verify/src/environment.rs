//! What an automation runs on: interpreters and host programs, by version and digest. Drift asks for a new
//! verify.

use crate::case::sandbox_stop;
use crate::digest;
use crate::level::code::{self, Language};
use crate::outcome::Stop;
use crate::verifier::Verifier;
use agentwright_domain::digest::Digest;
use agentwright_domain::spec::Spec;
use agentwright_sandbox::{Command, Limits, Network, Policy, Tier};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// Where programs are found inside, in this order; the same directories as outside.
const SEARCH: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
/// The largest program whose bytes are read.
const PROGRAM_MAX: u64 = 512 << 20;
/// How long `--version` may take.
const VERSION_LIMIT_MS: u64 = 20_000;

/// The programs of an automation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Over all of them: `DeployedVersion.environment`.
    pub digest: Digest,
    /// Each of them, sorted by name.
    pub programs: Vec<Program>,
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// The file behind the name; absent when the machine lacks it.
    pub path: Option<String>,
    /// SHA-256 of that file.
    pub sha256: Option<String>,
    /// The first line of `--version`, asked inside the walls.
    pub version: Option<String>,
}

impl Verifier {
    /// Looks at every program that the automation uses. Asked again at deploy and before executions, another
    /// digest means drift.
    ///
    /// # Errors
    /// Why it could not be told.
    pub async fn program_environment(
        &self,
        spec: &Spec,
        app: &Path,
        cancel: &CancellationToken,
    ) -> Result<Environment, String> {
        let files = code::read(app).map_err(words)?;
        let mut names: BTreeSet<String> = spec.permissions.programs.iter().cloned().collect();
        names.extend(
            spec.command
                .first()
                .filter(|word| !word.starts_with('/'))
                .cloned(),
        );
        for file in &files {
            match file.language {
                Language::Python => drop(names.insert("python3".into())),
                Language::Sh => drop(names.insert("sh".into())),
                Language::Bash => drop(names.insert("bash".into())),
                Language::Json | Language::Toml | Language::Dockerfile | Language::Other => {}
            }
        }
        let mut programs = Vec::new();
        for name in names {
            programs.push(self.program(name, cancel).await?);
        }
        let digest = digest::of(&digest::canonical(&programs));
        Ok(Environment { digest, programs })
    }

    async fn program(&self, name: String, cancel: &CancellationToken) -> Result<Program, String> {
        let Some(path) = find(&name) else {
            return Ok(Program {
                name,
                path: None,
                sha256: None,
                version: None,
            });
        };
        let hashed = path.clone();
        let sha256 = tokio::task::spawn_blocking(move || hash(&hashed))
            .await
            .map_err(|error| error.to_string())??;
        let version = self.version(&name, cancel).await?;
        Ok(Program {
            name,
            path: Some(path.to_string_lossy().into_owned()),
            sha256: Some(sha256),
            version,
        })
    }

    async fn version(
        &self,
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<Option<String>, String> {
        let policy = Policy {
            network: Network::Off,
            limits: Limits {
                wall_ms: Some(VERSION_LIMIT_MS),
                ..Limits::default()
            },
            minimum: Tier::Process,
            ..Policy::default()
        };
        let command = Command {
            argv: vec![name.to_owned(), "--version".into()],
            stdin: Vec::new(),
        };
        let report = self
            .sandbox
            .run(policy, command, cancel.clone())
            .await
            .map_err(|error| words(sandbox_stop(&error)))?;
        let text = report.stdout.text();
        let line = text
            .lines()
            .next()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        Ok(line.filter(|_| report.succeeded()).map(str::to_owned))
    }
}

fn words(stop: Stop) -> String {
    match stop {
        Stop::Code(why) | Stop::Spec(why) | Stop::Fault(why) => why,
        Stop::Cancelled => "cancelled".into(),
    }
}

fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return std::fs::canonicalize(name).ok();
    }
    SEARCH
        .iter()
        .filter_map(|directory| std::fs::canonicalize(Path::new(directory).join(name)).ok())
        .find(|path| path.is_file())
}

fn hash(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut file = std::fs::File::open(path).map_err(failed)?.take(PROGRAM_MAX);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(Digest::from_sha256(hasher.finalize().into())
        .hex()
        .to_owned())
}
