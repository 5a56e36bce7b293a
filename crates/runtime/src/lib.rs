//! The local target: supervises deployed automations and fires their executions.
//!
//! Not here: how a build comes to be deployed (`pipeline`), what an end means for the deployment
//! (`domain::execution`), the walls (`sandbox`). Start with [`Runtime`]: `supervise.rs` decides what
//! fires, `executions.rs` runs one firing, `actions.rs` does what a person asks.

mod actions;
mod crontab;
mod deploying;
mod error;
mod executions;
mod mending;
mod service;
mod supervise;

pub mod environment;
pub mod install;
pub mod layout;
pub mod notices;
pub mod schedule;
pub mod secrets;
pub mod tree;

pub use actions::Status;
pub use agentwright_store::OrgScope;
pub use error::{Error, blocking};
pub use executions::{Executions, chain, real_policy};
pub use mending::{ToMend, shape};
pub use service::Trial;

use agentwright_engine::{Clock, Engine};
use agentwright_sandbox::Sandbox;
use agentwright_store::Store;
use environment::Programs;
use layout::Layout;
use secrets::Resolve;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::Notify;

/// What the runtime works with.
#[derive(Clone)]
pub struct Parts {
    /// Deployments and their history.
    pub store: Store,
    /// Where everything runs.
    pub sandbox: Sandbox,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where files lie.
    pub layout: Layout,
    /// Where programs are looked for.
    pub programs: Programs,
    /// Who resolves the references of secrets.
    pub secrets: Resolve,
}

/// The local target. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    engine: RwLock<Option<Engine>>,
    wake: Notify,
    files: Arc<Mutex<()>>,
}

/// Says whether somebody still waits.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Runtime {
    /// A runtime that fires nothing yet: the engine comes with [`Self::attach`], because it needs
    /// [`Executions`] first.
    pub fn new(parts: Parts) -> Self {
        Self {
            inner: Arc::new(Inner {
                parts,
                engine: RwLock::new(None),
                wake: Notify::new(),
                files: Arc::default(),
            }),
        }
    }

    /// Hands in the engine. It is let go of when [`Self::supervise`] ends: the two hold each other.
    pub fn attach(&self, engine: Engine) {
        self.set_engine(Some(engine));
        self.wake();
    }

    fn set_engine(&self, engine: Option<Engine>) {
        let mut held = self
            .inner
            .engine
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *held = engine;
    }

    /// Lets the supervisor look at once: something was deployed, ended or asked for.
    pub fn wake(&self) {
        self.inner.wake.notify_one();
    }

    /// Runs blocking work that writes below the data directory, one at a time: what a cancelled
    /// attempt still writes is finished before the next attempt looks, and what it has not begun never
    /// begins.
    pub async fn writing<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let files = Arc::clone(&self.inner.files);
        let waiting = Waiting(Arc::new(AtomicBool::new(true)));
        let waited_for = Arc::clone(&waiting.0);
        let done = blocking(move || {
            let _alone = files.lock().unwrap_or_else(PoisonError::into_inner);
            waited_for.load(Ordering::SeqCst).then(work)
        })
        .await;
        match done {
            Some(value) => value,
            // Only work that nobody waits for any more is left undone.
            None => std::future::pending().await,
        }
    }

    /// Where files lie.
    pub fn layout(&self) -> &Layout {
        &self.inner.parts.layout
    }

    /// Where programs are looked for.
    pub fn programs(&self) -> &Programs {
        &self.inner.parts.programs
    }

    /// The time.
    pub fn now_ms(&self) -> i64 {
        self.inner.parts.clock.now_ms()
    }

    /// The sandbox that everything runs in.
    pub fn sandbox(&self) -> &Sandbox {
        &self.inner.parts.sandbox
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.parts.store
    }

    pub(crate) fn secrets(&self) -> &Resolve {
        &self.inner.parts.secrets
    }

    pub(crate) fn engine(&self) -> Result<Engine, Error> {
        let held = self
            .inner
            .engine
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        held.clone().ok_or(Error::Starting)
    }
}
