//! The way to the daemon: where the data directory is, and starting the daemon when nobody answers.
//!
//! Not here: how a daemon is started and what it does (`server::daemon`).

use agentwright_api::{Client, ClientError, Health};
use agentwright_server::daemon::{DetachError, Started, start_detached};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fault::{Fault, chain};
use crate::output::{Out, safe, safe_line};

/// How often a dying daemon is looked at again: for about five seconds.
const DYING_LOOKS: u32 = 250;
/// The pause between two looks.
const DYING_PAUSE: Duration = Duration::from_millis(20);

/// A data directory; it need not exist yet.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    dir: PathBuf,
    organization: Option<String>,
}

impl Data {
    /// The given one, else the usual place of the user.
    pub(crate) fn find(given: Option<&Path>) -> Result<Self, Fault> {
        let dir = match given {
            Some(dir) if dir.as_os_str().is_empty() => {
                return Err(Fault::usage("the data directory is an empty text")
                    .hint("give --data a directory, or unset AGENTWRIGHT_DATA"));
            }
            Some(dir) => std::path::absolute(dir)
                .map_err(|error| Fault::caused(format!("find {}", dir.display()), &error))?,
            None => usual().ok_or_else(|| {
                Fault::usage("there is no home directory for the data")
                    .hint("name one: --data DIR, or AGENTWRIGHT_DATA=DIR")
            })?,
        };
        Ok(Self {
            dir,
            organization: None,
        })
    }

    /// The same, asked for another organization.
    pub(crate) fn for_organization(self, organization: Option<String>) -> Self {
        Self {
            organization,
            ..self
        }
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A client, whether or not somebody answers.
    pub(crate) fn client(&self) -> Client {
        let client = Client::unix(self.dir.join("daemon.sock"));
        match &self.organization {
            Some(organization) => client.for_organization(organization),
            None => client,
        }
    }

    /// The daemon's health; `None` when there is no daemon. One that is just dying takes the connection
    /// and breaks it: then its end is waited for.
    pub(crate) async fn health(&self) -> Result<Option<Health>, Fault> {
        let mut looks = 0;
        loop {
            match self.client().health().await {
                Ok(health) => return Ok(Some(health)),
                Err(ClientError::Unreachable { .. }) => return Ok(None),
                Err(ClientError::Broken { .. }) if looks < DYING_LOOKS => {
                    looks += 1;
                    tokio::time::sleep(DYING_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A client of a daemon that answers. Starts one where there is none, and says so.
    pub(crate) async fn connect(&self, out: &Out) -> Result<Client, Fault> {
        if let Some(health) = self.health().await? {
            if health.version != env!("CARGO_PKG_VERSION") {
                out.note(format!(
                    "note: the daemon is version {}, this command is {}; 'agentwright daemon stop' lets the new one start",
                    safe(&health.version),
                    env!("CARGO_PKG_VERSION")
                ));
            }
            return Ok(self.client());
        }
        let started = self.start(out, &[]).await?;
        if started.by_us {
            out.note(format!(
                "started the daemon (pid {}) for {}",
                started.health.pid,
                safe_line(&self.dir.display().to_string())
            ));
        }
        Ok(self.client())
    }

    /// Starts a daemon and waits until one answers. Two commands that do this at once end with the same one.
    pub(crate) async fn start(&self, out: &Out, further: &[String]) -> Result<Started, Fault> {
        let own = std::env::current_exe()
            .map_err(|error| Fault::caused("find this program's own file", &error))?;
        start_detached(&own, &self.dir, further, |line| out.note(safe(line)))
            .await
            .map_err(|error| self.not_started(&error))
    }

    fn not_started(&self, error: &DetachError) -> Fault {
        let fault = Fault::failed(chain(error));
        match error {
            DetachError::Refused { .. } => fault.hint(format!(
                "see it start in the foreground: agentwright --data {} daemon run",
                self.dir.display()
            )),
            DetachError::Unwritable { .. }
            | DetachError::Program { .. }
            | DetachError::TooSlow { .. } => fault,
        }
    }
}

/// `$XDG_DATA_HOME/agentwright`, else `~/.local/share/agentwright`.
fn usual() -> Option<PathBuf> {
    let given = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let base = match given {
        // The XDG specification has relative paths ignored.
        Some(dir) if dir.is_absolute() => dir,
        Some(_) | None => std::env::home_dir()
            .filter(|home| home.is_absolute())?
            .join(".local/share"),
    };
    Some(base.join("agentwright"))
}
