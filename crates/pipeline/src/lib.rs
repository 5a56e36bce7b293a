//! The stages of a build: from an intent to a deployed, registered automation.
//!
//! Not here: what an outcome means for the build (`domain::build`), storing anything (`engine`),
//! the tests themselves (`verify`), what happens after deploy (`runtime`). Start with
//! `stages/mod.rs`, one match on the stage and one file for each; `plan.rs` is what `build --plan` shows.

mod coding;
mod digests;
mod document;
mod drafting;
mod failure;
mod foundations;
mod mending;
mod models;
mod plan;
mod repository;
mod resolve;
mod stages;

pub mod review;

pub use digests::{TARGET, permissions_digest};
pub use foundations::{FoundationError, Foundations, read_source};
pub use models::{
    CONVENTIONS_MAX, CoderConfig, CoderKind, Environment, ModelSettings, Models, OverseerConfig,
};
pub use plan::{Difference, Plan, VERIFY_AGAIN, Verdict};

use agentwright_domain::build::Phase;
use agentwright_domain::run::{Run, RunInput, RunState, Signal};
use agentwright_engine::{Executor, Handle};
use agentwright_runtime::Runtime;
use agentwright_verify::Verifier;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the works of this process.
static WORKS: AtomicU64 = AtomicU64::new(0);

/// What builds work with.
#[derive(Clone)]
pub struct Parts {
    /// What is deployed, and where files lie.
    pub runtime: Runtime,
    /// The four levels.
    pub verifier: Verifier,
    /// The built-in foundations; shared, for they are some hundred kilobytes.
    pub foundations: Arc<Foundations>,
    /// Directories with foundations of the person's own; read anew for each build.
    pub foundation_dirs: Vec<PathBuf>,
    /// The person's home, for `~` in an intent.
    pub home: Option<String>,
    /// Who makes specs and code where no foundation does.
    pub models: Models,
}

/// Carries out builds. Cheap to clone; one per daemon.
#[derive(Clone)]
pub struct Builds {
    parts: Arc<Parts>,
}

impl Builds {
    /// Builds with these parts.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
        }
    }

    /// The built-in foundations.
    pub fn foundations(&self) -> &Arc<Foundations> {
        &self.parts.foundations
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.parts.runtime
    }

    /// The verifier of a build: what it starts is known as the build's.
    pub(crate) fn verifier(&self, of: &Run) -> Verifier {
        self.parts.verifier.named(of.id.as_str())
    }

    pub(crate) fn foundation_dirs(&self) -> &[PathBuf] {
        &self.parts.foundation_dirs
    }

    /// The models of this machine.
    pub fn models(&self) -> &Models {
        &self.parts.models
    }

    pub(crate) fn home(&self) -> Option<&str> {
        self.parts.home.as_deref()
    }
}

#[async_trait::async_trait]
impl Executor for Builds {
    async fn execute(&self, run: &Run, handle: &Handle) -> Signal {
        let (RunState::Build(state), RunInput::Build(request)) = (&run.state, &run.input) else {
            return Signal::Fault {
                message: "not a build".to_owned(),
                retryable: false,
            };
        };
        let Phase::Stage { stage, attempt } = state.phase else {
            return Signal::Fault {
                message: "the build is at no stage".to_owned(),
                retryable: false,
            };
        };
        let work = stages::Work {
            builds: self,
            run,
            state,
            request,
            handle,
            attempt,
            serial: WORKS.fetch_add(1, Ordering::Relaxed),
        };
        Signal::Stage {
            outcome: Box::new(Box::pin(work.stage(stage)).await),
        }
    }
}
