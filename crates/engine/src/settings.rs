//! How an engine works.

use agentwright_domain::run::RunKind;
use agentwright_notify::Channel;
use agentwright_store::KindLimit;
use std::sync::Arc;
use std::time::Duration;

/// Renewals within one lease.
pub(crate) const RENEWALS: u32 = 3;

/// How an engine works. Limits hold over all processes that share the store.
#[derive(Clone)]
pub struct Settings {
    /// Builds at once.
    pub builds: u32,
    /// Builds of one organization at once.
    pub builds_per_organization: u32,
    /// Executions at once.
    pub executions: u32,
    /// Executions of one organization at once.
    pub executions_per_organization: u32,
    /// How long a lease lasts; renewed three times in it.
    pub lease: Duration,
    /// How often the queue is looked at when nothing wakes it.
    pub poll: Duration,
    /// How long a cancelled attempt may take to end by itself.
    pub wind_down: Duration,
    /// Where notices go.
    pub channels: Vec<Arc<dyn Channel>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            builds: 3,
            builds_per_organization: 3,
            executions: 64,
            executions_per_organization: 64,
            lease: Duration::from_secs(15),
            poll: Duration::from_secs(1),
            wind_down: Duration::from_secs(10),
            channels: Vec::new(),
        }
    }
}

impl Settings {
    /// What may be claimed of a kind while `here` of it are worked on in this process.
    pub(crate) fn limit(&self, kind: RunKind, here: u32) -> KindLimit {
        let (global, per_organization) = match kind {
            RunKind::Build => (self.builds, self.builds_per_organization),
            RunKind::Execution => (self.executions, self.executions_per_organization),
        };
        KindLimit {
            kind,
            free: global.saturating_sub(here),
            global,
            per_organization,
        }
    }

    pub(crate) fn lease_ms(&self) -> i64 {
        i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX)
    }
}
