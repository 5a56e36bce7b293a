//! The group committer: the only writer of runs.

use crate::Store;
use crate::error::{CommitError, Error, SubmitError};
use crate::scope::OrgScope;
use agentwright_domain::ids::RunId;
use agentwright_domain::run::{NewEvent, NewRun, Record, Run, RunKind, Transition};

/// What a submission made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The run.
    pub id: RunId,
    /// It had been submitted before: nothing was written.
    pub repeated: bool,
}

/// Who writes a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The worker that holds the lease: `Continue` keeps it.
    Holder,
    /// Somebody else: `Continue` puts the run into the queue.
    Outsider,
}

/// One transition of one run.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The run as it was loaded; its epoch guards the write.
    pub run: Run,
    /// What is written.
    pub to: Transition,
    /// By whom.
    pub writer: Writer,
}

/// What a commit made.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The run as it is now.
    pub run: Run,
    /// Its newest event.
    pub event_seq: i64,
}

/// Something durable said about work that goes on.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rows to write.
    pub records: Vec<Record>,
    /// Events to append.
    pub events: Vec<NewEvent>,
}

/// How many runs of a kind may be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindLimit {
    /// Which kind.
    pub kind: RunKind,
    /// How many this worker can take now.
    pub free: u32,
    /// How many may be live in all processes together.
    pub global: u32,
    /// How many may be live in one organization.
    pub per_organization: u32,
}

/// A request for work.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The boot id of the process.
    pub owner: String,
    /// How long the lease lasts.
    pub lease_ms: i64,
    /// What is wanted.
    pub kinds: Vec<KindLimit>,
    /// The runs that this process works on now: never claimed again.
    pub active: Vec<RunId>,
}

impl Store {
    /// Submits a run. A repeated submission of the same id writes nothing and says so.
    pub async fn submit(&self, new: NewRun) -> Result<Submitted, SubmitError> {
        let _ = new;
        Err(SubmitError::Store(Error::Closed))
    }

    /// Writes one transition, guarded by the run's epoch; durable when it returns.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let _ = commit;
        Err(CommitError::Store(Error::Closed))
    }

    /// Writes records and events of work that goes on, fenced by the run's epoch; answers the
    /// newest event's number.
    pub async fn report(&self, run: &Run, report: Report) -> Result<i64, CommitError> {
        let _ = (run, report);
        Err(CommitError::Store(Error::Closed))
    }

    /// Takes ready runs, by priority, then age.
    pub async fn claim(&self, claim: Claim) -> Result<Vec<Run>, Error> {
        let _ = claim;
        Err(Error::Closed)
    }

    /// Renews the leases of exactly these runs; answers those that are still the owner's.
    pub async fn renew(
        &self,
        owner: &str,
        runs: &[RunId],
        lease_ms: i64,
    ) -> Result<Vec<RunId>, Error> {
        let _ = (owner, runs, lease_ms);
        Err(Error::Closed)
    }

    /// Gives a run back to the queue at once, unless it has moved on.
    pub async fn release(&self, owner: &str, runs: &[RunId]) -> Result<(), Error> {
        let _ = (owner, runs);
        Err(Error::Closed)
    }

    /// Waits until a run has an event newer than `after_seq`, or until `timeout`; answers the
    /// newest event's number as far as it is known. Signalled by this process's commits.
    pub async fn changed(
        &self,
        scope: &OrgScope,
        id: &RunId,
        after_seq: i64,
        timeout: std::time::Duration,
    ) -> Result<i64, Error> {
        let _ = (scope, id, after_seq, timeout);
        Err(Error::Closed)
    }
}
