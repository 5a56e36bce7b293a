//! The report channel: what an attempt may say while it works, fenced by its epoch.

use crate::writing::{Desk, Draft};
use agentwright_domain::evidence::EvidenceRef;
use agentwright_domain::run::{NewEvent, Record, Run};
use agentwright_domain::spend::{Exceeded, PlannedCall, SettledCall};
use agentwright_store::{CommitError, OrgScope, Report, Reserved, Store};
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Why a report changed nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReportError {
    /// The run was cancelled or taken over: stop working on it.
    #[error("this attempt no longer holds the run: stop")]
    Stale,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] agentwright_store::Error),
}

impl From<CommitError> for ReportError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Stale { .. } | CommitError::Unexpected { .. } | CommitError::Unknown => {
                Self::Stale
            }
            CommitError::Store(error) => Self::Store(error),
        }
    }
}

/// One attempt's way to say something durable. After a takeover or a cancel it changes nothing.
#[derive(Clone)]
pub struct Handle {
    store: Store,
    run: Run,
    scope: OrgScope,
    cancelled: CancellationToken,
    desk: Arc<Desk>,
}

impl Handle {
    /// A handle for a run as it was claimed or committed.
    pub(crate) fn new(
        store: Store,
        desk: Arc<Desk>,
        run: Run,
        cancelled: CancellationToken,
    ) -> Self {
        let scope = OrgScope::for_run(&run);
        Self {
            store,
            run,
            scope,
            cancelled,
            desk,
        }
    }

    /// For what a model writes while it writes it: whoever follows the run now sees it, and nothing of it is kept.
    pub fn draft(&self) -> Draft {
        self.desk.begin(&self.run.id)
    }

    /// Writes a row beside the run.
    pub async fn record(&self, record: Record) -> Result<(), ReportError> {
        self.report(Report {
            records: vec![record],
            events: Vec::new(),
        })
        .await
    }

    /// Says how far the work is, 0 to 100, and what it does now.
    pub async fn progress(&self, percent: u8, message: &str) -> Result<(), ReportError> {
        let mut event = NewEvent::new("progress", self.run.state.stage(), message);
        event.data = json!({ "percent": percent.min(100) });
        self.event(event).await
    }

    /// Appends to the run's event log.
    pub async fn event(&self, event: NewEvent) -> Result<(), ReportError> {
        self.report(Report {
            records: Vec::new(),
            events: vec![event],
        })
        .await
    }

    /// Keeps bytes under a name of this run.
    pub async fn keep(&self, name: &str, bytes: Vec<u8>) -> Result<EvidenceRef, ReportError> {
        let (digest, bytes) = self.store.put_artifact(bytes).await?;
        let kept = EvidenceRef {
            name: name.to_owned(),
            digest,
            bytes,
        };
        self.record(Record::Artifact(kept.clone())).await?;
        Ok(kept)
    }

    /// Sets the most of a model call aside; answers what settles it, or which budget has no room.
    pub async fn reserve(
        &self,
        call: &PlannedCall,
    ) -> Result<Result<String, Exceeded>, ReportError> {
        match self.store.reserve(&self.run, call).await? {
            Reserved::Yes(id) => Ok(Ok(id)),
            Reserved::No(exceeded) => Ok(Err(exceeded)),
            Reserved::Stale => Err(ReportError::Stale),
        }
    }

    /// Says what a reserved call took; also when the run is no longer ours, for the money is gone.
    pub async fn settle(&self, id: &str, call: &SettledCall) -> Result<(), ReportError> {
        Ok(self.store.settle(&self.scope, id, call).await?)
    }

    /// Fires when the attempt is to stop: cancelled, overdue, taken over, or the engine stops.
    pub fn cancelled(&self) -> CancellationToken {
        self.cancelled.clone()
    }

    /// Whose run it is.
    pub fn scope(&self) -> &OrgScope {
        &self.scope
    }

    async fn report(&self, report: Report) -> Result<(), ReportError> {
        self.store.report(&self.run, report).await?;
        Ok(())
    }
}
