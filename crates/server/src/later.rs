//! The pipeline, made at its first use: reading the foundations takes longer than a start may.

use crate::config::Config;
use crate::secrets::Resolve;
use agentwright_domain::run::{Run, Signal};
use agentwright_engine::{Executor, Handle};
use agentwright_pipeline::{Builds, Foundations, Models, Parts};
use agentwright_runtime::Runtime;
use agentwright_sandbox::Tier;
use agentwright_verify::Verifier;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Builds, or what they are made of. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Later {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Runtime,
    minimum: Tier,
    foundation_dirs: Vec<PathBuf>,
    models: Models,
    made: OnceCell<Builds>,
}

impl Later {
    pub(crate) fn new(config: &Config, runtime: &Runtime, keys: Resolve) -> Self {
        let minimum = if config.settings.allow_process_tier {
            Tier::Process
        } else {
            Tier::Full
        };
        Self {
            inner: Arc::new(Inner {
                runtime: runtime.clone(),
                minimum,
                foundation_dirs: config.settings.foundations.clone(),
                models: Models::new(config.models(keys)),
                made: OnceCell::new(),
            }),
        }
    }

    /// The pipeline.
    ///
    /// # Errors
    /// Why the built-in foundations cannot be read: the program is damaged.
    pub(crate) async fn builds(&self) -> Result<&Builds, String> {
        let made = self.inner.made.get_or_try_init(|| async {
            let loaded = tokio::task::spawn_blocking(|| Foundations::load(&[])).await;
            let foundations = loaded
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())?;
            Ok::<_, String>(self.make(foundations))
        });
        made.await
    }

    fn make(&self, foundations: Foundations) -> Builds {
        let it = &self.inner;
        let settings = agentwright_verify::Settings {
            minimum: it.minimum,
            ..agentwright_verify::Settings::default()
        };
        let sandbox = Arc::new(it.runtime.sandbox().clone());
        Builds::new(Parts {
            runtime: it.runtime.clone(),
            verifier: Verifier::new(sandbox, settings),
            foundations: Arc::new(foundations),
            foundation_dirs: it.foundation_dirs.clone(),
            home: crate::config::home().map(|home| home.display().to_string()),
            models: it.models.clone(),
        })
    }

    /// The models of this machine.
    pub(crate) fn models(&self) -> &Models {
        &self.inner.models
    }
}

#[async_trait::async_trait]
impl Executor for Later {
    async fn execute(&self, run: &Run, handle: &Handle) -> Signal {
        match self.builds().await {
            Ok(builds) => builds.execute(run, handle).await,
            Err(why) => Signal::Fault {
                message: format!("cannot read the built-in foundations: {why}"),
                retryable: false,
            },
        }
    }
}
