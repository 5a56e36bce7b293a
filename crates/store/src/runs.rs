//! Reading runs and what belongs to them.

use crate::Store;
use crate::error::Error;
use crate::rows::{Event, RunFilter, RunRow, TestResultRow, UsageTotals};
use crate::scope::OrgScope;
use agentwright_domain::approval::Approval;
use agentwright_domain::evidence::EvidenceRef;
use agentwright_domain::ids::{RunId, Slug};
use agentwright_domain::run::{Run, RunKind, StageRow, Usage};

impl Store {
    /// One run, whole.
    pub async fn run(&self, scope: &OrgScope, id: &RunId) -> Result<Option<Run>, Error> {
        let _ = (scope, id);
        Err(Error::Closed)
    }

    /// One run as a line of a list.
    pub async fn run_row(&self, scope: &OrgScope, id: &RunId) -> Result<Option<RunRow>, Error> {
        let _ = (scope, id);
        Err(Error::Closed)
    }

    /// The newest run with that label, or the one whose id begins so (at least 8 characters).
    pub async fn run_by_label(
        &self,
        scope: &OrgScope,
        kind: Option<RunKind>,
        text: &str,
    ) -> Result<Option<Run>, Error> {
        let _ = (scope, kind, text);
        Err(Error::Closed)
    }

    /// A page of runs, newest first.
    pub async fn runs(&self, scope: &OrgScope, filter: RunFilter) -> Result<Vec<RunRow>, Error> {
        let _ = (scope, filter);
        Err(Error::Closed)
    }

    /// A run's events after a number, in order, at most `limit`.
    pub async fn events(
        &self,
        scope: &OrgScope,
        id: &RunId,
        after_seq: i64,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let _ = (scope, id, after_seq, limit);
        Err(Error::Closed)
    }

    /// A run's ended stages, in order.
    pub async fn stages(&self, scope: &OrgScope, id: &RunId) -> Result<Vec<StageRow>, Error> {
        let _ = (scope, id);
        Err(Error::Closed)
    }

    /// A build's test results, by attempt and level.
    pub async fn test_results(
        &self,
        scope: &OrgScope,
        id: &RunId,
    ) -> Result<Vec<TestResultRow>, Error> {
        let _ = (scope, id);
        Err(Error::Closed)
    }

    /// A build's decisions, in order.
    pub async fn approvals(&self, scope: &OrgScope, id: &RunId) -> Result<Vec<Approval>, Error> {
        let _ = (scope, id);
        Err(Error::Closed)
    }

    /// A run's named artifacts.
    pub async fn artifacts(&self, scope: &OrgScope, id: &RunId) -> Result<Vec<EvidenceRef>, Error> {
        let _ = (scope, id);
        Err(Error::Closed)
    }

    /// What a run used.
    pub async fn usage(&self, scope: &OrgScope, id: &RunId) -> Result<Option<Usage>, Error> {
        let _ = (scope, id);
        Err(Error::Closed)
    }

    /// What all executions of a deployment used.
    pub async fn usage_totals(&self, scope: &OrgScope, name: &Slug) -> Result<UsageTotals, Error> {
        let _ = (scope, name);
        Err(Error::Closed)
    }
}
