//! HashiCorp Vault (and OpenBao): AppRole in, fields of KV version 2 out. Nothing is ever written there.
//!
//! Our own client: what there is prints whole answers, tokens included, into its errors. Here no error and no `Debug`
//! holds a body, a token or an id; an answer is read by what it must have and nothing else. Start with [`Vault::read`].
//!
//! A read blocks: whoever resolves references stands in blocking code, or asks from a thread for that. The talking is
//! done by one thread of this crate, so that tokens have one owner.

mod client;
mod config;
mod fault;

pub use config::{Config, NotAVault};
pub use fault::Fault;

use agentwright_domain::secret::VaultPath;
use client::{Client, Got};
use std::collections::HashMap;
use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long one read may take, login and waiting for others included.
const READ_MAX: Duration = Duration::from_secs(25);
/// Reads that wait for their turn.
const WAITING_MAX: usize = 64;
/// How long a failure is believed, so that many who ask at once do not all wait for it.
const FAILED_FOR: Duration = Duration::from_secs(2);

/// A value that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A Vault. Cheap to clone; clones share their token.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    authorities: Option<Vec<reqwest::Certificate>>,
    desk: OnceLock<Result<mpsc::Sender<Asked>, Fault>>,
    kept: Mutex<HashMap<VaultPath, Kept>>,
}

enum Asked {
    Field(VaultPath, SyncSender<Result<Got, Fault>>),
    Check(SyncSender<Result<String, Fault>>),
}

struct Kept {
    until: Instant,
    value: Result<Secret, Fault>,
}

impl Vault {
    /// By configuration. Nobody is asked before the first read.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: Config) -> Result<Self, NotAVault> {
        config.check()?;
        Ok(Self {
            inner: Arc::new(Inner {
                authorities: config.authorities()?,
                config,
                desk: OnceLock::new(),
                kept: Mutex::default(),
            }),
        })
    }

    /// A field of a secret. Blocks, at most for [`READ_MAX`]. What was read is believed for [`Config::keep_s`] seconds,
    /// and never longer than Vault leases it.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn read(&self, path: &VaultPath) -> Result<Secret, Fault> {
        let now = Instant::now();
        if let Some(kept) = self.kept().get(path).filter(|kept| kept.until > now) {
            return kept.value.clone();
        }
        let got = self.ask(|answer| Asked::Field(path.clone(), answer));
        let keep = Duration::from_secs(self.inner.config.keep_s);
        let (value, keep) = match got {
            Ok(Got {
                value,
                lease: Some(lease),
            }) => (Ok(value), keep.min(lease)),
            Ok(Got { value, lease: None }) => (Ok(value), keep),
            Err(fault) => (Err(fault), keep.min(FAILED_FOR)),
        };
        let mut kept = self.kept();
        kept.retain(|_, one| one.until > now);
        kept.insert(
            path.clone(),
            Kept {
                until: Instant::now() + keep,
                value: value.clone(),
            },
        );
        value
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<VaultPath, Kept>> {
        self.inner
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it answers, is unsealed and lets us in; answers its version. Blocks, at most for [`READ_MAX`]. Reads no
    /// secret, and logs in only where no token is held that still counts.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn check(&self) -> Result<String, Fault> {
        self.ask(Asked::Check)
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.inner.config.address
    }

    fn ask<T>(
        &self,
        asked: impl FnOnce(SyncSender<Result<T, Fault>>) -> Asked,
    ) -> Result<T, Fault> {
        let desk = self.inner.desk.get_or_init(|| desk(&self.inner));
        let desk = desk.as_ref().map_err(Clone::clone)?;
        let (answer, answered) = sync_channel(1);
        let busy = || Fault::Away("too many ask it at once".to_owned());
        desk.try_send(asked(answer)).map_err(|_| busy())?;
        match answered.recv_timeout(READ_MAX) {
            Ok(got) => got,
            Err(RecvTimeoutError::Timeout) => Err(Fault::Away("it takes too long".to_owned())),
            Err(RecvTimeoutError::Disconnected) => Err(Fault::Away("it was left".to_owned())),
        }
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vault")
            .field(&self.inner.config.address)
            .finish()
    }
}

/// Starts the thread that talks; it ends when the last [`Vault`] is gone.
fn desk(vault: &Inner) -> Result<mpsc::Sender<Asked>, Fault> {
    let mut client = Client::new(&vault.config, vault.authorities.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::Away(error.to_string()))?;
    let (desk, mut asked) = mpsc::channel::<Asked>(WAITING_MAX);
    let talk = move || {
        runtime.block_on(async {
            while let Some(asked) = asked.recv().await {
                // Whoever asked may have left.
                match asked {
                    Asked::Field(path, answer) => _ = answer.send(client.read(&path).await),
                    Asked::Check(answer) => _ = answer.send(client.check().await),
                }
            }
        });
    };
    std::thread::Builder::new()
        .name("vault".to_owned())
        .spawn(talk)
        .map_err(|error| Fault::Away(error.to_string()))?;
    Ok(desk)
}
