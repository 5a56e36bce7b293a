//! The group committer: the only writer of runs.
//!
//! Operations wait on a bounded channel. A committer takes all that wait, writes them in one
//! transaction with a few statements over sets ([`apply`]), and answers each only after the commit
//! is durable. An operation that is stale fails alone. When the database refuses a group, each of
//! its operations is tried alone, so that one bad row cannot fail its neighbours.

mod apply;
mod claim;
mod plan;
mod records;

use crate::Store;
use crate::audit::{Audit, Said};
use crate::connections::{Db, Held};
use crate::db::{Conn, Statement};
use crate::error::{CommitError, Error, SubmitError};
use crate::open::Time;
use crate::rows::RunRow;
use crate::scope::OrgScope;
use crate::secret::Secret;
use crate::watch::{News, Watches};
use agentwright_domain::ids::{OrganizationId, RunId};
use agentwright_domain::run::{NewEvent, NewRun, Record, Run, RunKind, RunStatus, Transition};
use sqlx::{ConnectOptions, Connection, Executor as _, PgConnection};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

pub(crate) use claim::run_of;

/// Operations that may wait; more make their callers wait.
const WAITING_MAX: usize = 4_096;
/// Operations of one transaction.
const GROUP_MAX: usize = 256;
/// Turns of the runtime that a group waits for more, as long as more come.
const GATHER_TURNS: usize = 16;
/// Tries of one group when the database is only busy.
const TRIES: u32 = 5;
/// PostgreSQL looks at the tables anew when a committer has written so many runs. It plans each statement once, mostly
/// while there is nothing yet, and behind row level security such a plan reads all runs for each one that it wants; its
/// own look comes a minute later.
const LOOKS: [u64; 4] = [64, 512, 4_096, 32_768];
/// What it looks at.
const LOOK: &str =
    "ANALYZE agentwright.runs, agentwright.stages, agentwright.events, agentwright.dispatch";
/// Commits of other processes are looked for this often.
const OTHERS: Duration = Duration::from_secs(1);

/// What a submission made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The run.
    pub id: RunId,
    /// When it was written, ms; `None` when it had been submitted before and nothing was written.
    pub at_ms: Option<i64>,
}

impl Submitted {
    /// Whether it had been submitted before.
    pub fn repeated(&self) -> bool {
        self.at_ms.is_none()
    }
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
    /// The row about it in the audit trail, where somebody did it.
    pub audit: Option<Audit>,
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

/// A renewal or a giving back.
#[derive(Clone, Debug)]
pub(crate) struct Leases {
    pub(crate) owner: String,
    pub(crate) runs: Vec<RunId>,
    pub(crate) lease_ms: i64,
}

/// Where an operation's answer goes, once the transaction is durable.
pub(crate) struct Slot<T> {
    reply: oneshot::Sender<T>,
    answer: Option<T>,
}

impl<T> Slot<T> {
    pub(crate) fn set(&mut self, answer: T) {
        self.answer = Some(answer);
    }

    fn send(self) {
        if let Some(answer) = self.answer {
            // Whoever asked may have gone; what was written stays written.
            let _ = self.reply.send(answer);
        }
    }
}

/// One waiting operation.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub(crate) enum Op {
    Submit(
        Box<(NewRun, Option<Audit>)>,
        Slot<Result<Submitted, SubmitError>>,
    ),
    Commit(Box<Commit>, Slot<Result<Committed, CommitError>>),
    Report(Box<(Run, Report)>, Slot<Result<i64, CommitError>>),
    Claim(Claim, Slot<Result<Vec<Run>, Error>>),
    Renew(Leases, Slot<Result<Vec<RunId>, Error>>),
    Release(Leases, Slot<Result<(), Error>>),
    Audit(Said, Slot<Result<(), Error>>),
}

impl Op {
    fn fail(&mut self, error: &Error) {
        let error = error.clone();
        match self {
            Self::Submit(_, slot) => slot.set(Err(error.into())),
            Self::Commit(_, slot) => slot.set(Err(error.into())),
            Self::Report(_, slot) => slot.set(Err(error.into())),
            Self::Claim(_, slot) => slot.set(Err(error)),
            Self::Renew(_, slot) => slot.set(Err(error)),
            Self::Release(_, slot) | Self::Audit(_, slot) => slot.set(Err(error)),
        }
    }

    fn answer(self) {
        match self {
            Self::Submit(_, slot) => slot.send(),
            Self::Commit(_, slot) => slot.send(),
            Self::Report(_, slot) => slot.send(),
            Self::Claim(_, slot) => slot.send(),
            Self::Renew(_, slot) => slot.send(),
            Self::Release(_, slot) | Self::Audit(_, slot) => slot.send(),
        }
    }
}

/// The committers of one process.
pub(crate) struct Committers {
    queues: std::sync::Mutex<Vec<mpsc::Sender<Op>>>,
    tasks: TaskTracker,
}

impl Committers {
    pub(crate) fn start(
        db: &Db,
        secret: &Arc<Secret>,
        time: &Time,
        watches: &Arc<Watches>,
        count: usize,
    ) -> Self {
        let tasks = TaskTracker::new();
        let queues = (0..count)
            .map(|_| {
                let (queue, waiting) = mpsc::channel(WAITING_MAX);
                let committer = Committer {
                    db: db.clone(),
                    secret: Arc::clone(secret),
                    time: time.clone(),
                    watches: Arc::clone(watches),
                    postgres: None,
                    submitted: 0,
                };
                tasks.spawn(committer.run(waiting));
                queue
            })
            .collect();
        tasks.close();
        Self {
            queues: std::sync::Mutex::new(queues),
            tasks,
        }
    }

    pub(crate) async fn close(&self) {
        self.queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.tasks.wait().await;
    }

    /// The queue of a run: the same for all of its operations, so that they keep their order.
    fn queue(&self, run: Option<&RunId>) -> Option<mpsc::Sender<Op>> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match (run, queues.len()) {
            (_, 0) => return None,
            (None, _) | (_, 1) => 0,
            (Some(run), count) => {
                let mut hasher = DefaultHasher::new();
                run.hash(&mut hasher);
                usize::try_from(hasher.finish() % count as u64).unwrap_or(0)
            }
        };
        queues.get(at).cloned()
    }

    /// Puts an operation into its queue, then waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        run: Option<&RunId>,
        op: impl FnOnce(Slot<T>) -> Op,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue(run).ok_or(Error::Closed)?;
        let slot = Slot {
            reply,
            answer: None,
        };
        queue.send(op(slot)).await.map_err(|_| Error::Closed)?;
        drop(queue);
        answer.await.map_err(|_| Error::Closed)
    }
}

/// One of them.
struct Committer {
    db: Db,
    secret: Arc<Secret>,
    time: Time,
    watches: Arc<Watches>,
    postgres: Option<PgConnection>,
    /// Runs that it has written.
    submitted: u64,
}

impl Committer {
    /// The loop: take what waits, write it, answer.
    async fn run(mut self, mut waiting: mpsc::Receiver<Op>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while waiting.recv_many(&mut group, GROUP_MAX).await > 0 {
            gather(&mut waiting, &mut group).await;
            self.write(&mut group).await;
            let submits = group.iter().filter(|op| matches!(op, Op::Submit(..)));
            let submits = submits.count() as u64;
            for op in group.drain(..) {
                op.answer();
            }
            self.look(submits).await;
        }
        if let Some(conn) = self.postgres.take() {
            let _ = conn.close().await;
        }
    }

    /// Nobody waits for it: what was written is answered by now.
    async fn look(&mut self, submits: u64) {
        let Some(conn) = self.postgres.as_mut() else {
            return;
        };
        let before = self.submitted;
        self.submitted += submits;
        let due = |at: &u64| before < *at && *at <= self.submitted;
        if LOOKS.iter().any(due)
            && let Err(error) = conn.execute(LOOK).await
        {
            tracing::warn!(%error, "PostgreSQL does not look at its tables; it plans badly until it does by itself");
        }
    }

    /// Writes a group; every operation has its answer afterwards.
    async fn write(&mut self, group: &mut [Op]) {
        let mut tries = 1;
        loop {
            match self.transaction(group).await {
                Ok(()) => return,
                Err(error) if error.busy() && tries < TRIES => {
                    tracing::debug!(%error, tries, "the group is written again");
                    tries += 1;
                }
                Err(error) if group.len() > 1 && !error.passing() => {
                    tracing::warn!(%error, "the group is written one by one");
                    return self.one_by_one(group).await;
                }
                Err(error) => {
                    tracing::warn!(%error, operations = group.len(), "not written");
                    for op in group.iter_mut() {
                        op.fail(&error);
                    }
                    return;
                }
            }
        }
    }

    async fn one_by_one(&mut self, group: &mut [Op]) {
        for op in group {
            if let Err(error) = self.transaction(std::slice::from_mut(op)).await {
                tracing::warn!(%error, "not written");
                op.fail(&error);
            }
        }
    }

    async fn transaction(&mut self, group: &mut [Op]) -> Result<(), Error> {
        let done = match &self.db {
            Db::Sqlite { .. } => {
                let mut held = self.db.writer().await?;
                one_transaction(&mut held.conn(), &self.secret, &self.time, group).await
            }
            Db::Postgres { options, .. } => {
                if self.postgres.is_none() {
                    let conn = options.connect().await;
                    self.postgres = Some(conn.map_err(|error| Error::of("connecting", &error))?);
                }
                let Some(conn) = self.postgres.as_mut() else {
                    return Err(Error::Closed);
                };
                one_transaction(&mut Conn::Postgres(conn), &self.secret, &self.time, group).await
            }
        };
        if done.as_ref().is_err_and(Error::lost) {
            self.postgres = None;
        }
        for (run, news) in done? {
            self.watches.publish(&run, news);
        }
        Ok(())
    }
}

/// Lets those come who are about to: whoever was answered by the last group runs once before the next one is
/// written, so that a busy store has few large groups and not a small one for every large one.
async fn gather(waiting: &mut mpsc::Receiver<Op>, group: &mut Vec<Op>) {
    for _ in 0..GATHER_TURNS {
        tokio::task::yield_now().await;
        let before = group.len();
        while group.len() < GROUP_MAX
            && let Ok(op) = waiting.try_recv()
        {
            group.push(op);
        }
        if group.len() == before {
            return;
        }
    }
}

/// Begin, apply, commit; rolls back on an error. Answers the runs that have news.
async fn one_transaction(
    conn: &mut Conn<'_>,
    secret: &Secret,
    time: &Time,
    group: &mut [Op],
) -> Result<Vec<(RunId, News)>, Error> {
    conn.begin().await?;
    let done = async {
        let now_ms = crate::open::now_ms(conn, time).await?;
        let news = apply::apply(conn, secret, now_ms, group).await?;
        conn.commit().await?;
        Ok(news)
    }
    .await;
    if done.is_err() {
        conn.rollback().await;
    }
    done
}

/// Applies one operation in a transaction that the caller has opened.
pub(crate) async fn submit_within(
    conn: &mut Conn<'_>,
    secret: &Secret,
    now_ms: i64,
    run: NewRun,
) -> Result<Result<Submitted, SubmitError>, Error> {
    let (reply, mut answer) = oneshot::channel();
    let slot = Slot {
        reply,
        answer: None,
    };
    let mut group = [Op::Submit(Box::new((run, None)), slot)];
    apply::apply(conn, secret, now_ms, &mut group).await?;
    for op in group {
        op.answer();
    }
    answer.try_recv().map_err(|_| Error::Closed)
}

/// All statements of the committer.
pub(crate) fn statements() -> Vec<&'static Statement> {
    [apply::STATEMENTS, claim::STATEMENTS, records::STATEMENTS].concat()
}

impl Store {
    /// Submits a run, with the row about it in the audit trail where somebody did it. A repeated submission
    /// of the same id writes nothing and says so.
    pub async fn submit(
        &self,
        new: NewRun,
        audit: Option<Audit>,
    ) -> Result<Submitted, SubmitError> {
        let id = new.id.clone();
        self.inner
            .committers
            .ask(Some(&id), |slot| Op::Submit(Box::new((new, audit)), slot))
            .await?
    }

    /// Writes one transition, guarded by the run's epoch; durable when it returns.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let id = commit.run.id.clone();
        self.inner
            .committers
            .ask(Some(&id), |slot| Op::Commit(Box::new(commit), slot))
            .await?
    }

    /// Writes records and events of work that goes on, fenced by the run's epoch; answers the
    /// newest event's number.
    pub async fn report(&self, run: &Run, report: Report) -> Result<i64, CommitError> {
        let said = Box::new((run.clone(), report));
        self.inner
            .committers
            .ask(Some(&run.id), |slot| Op::Report(said, slot))
            .await?
    }

    /// Takes ready runs, by priority, then age.
    pub async fn claim(&self, claim: Claim) -> Result<Vec<Run>, Error> {
        let mut held = self.leasing().await?;
        if !matches!(held, Held::Postgres(_)) {
            drop(held);
            return self
                .inner
                .committers
                .ask(None, |slot| Op::Claim(claim, slot))
                .await?;
        }
        held.begin().await?;
        let claimed = async {
            let mut conn = held.conn();
            let now_ms = crate::open::now_ms(&mut conn, &self.inner.time).await?;
            claim::claim(&mut conn, now_ms, &claim).await
        }
        .await;
        held.end(claimed).await
    }

    /// Renews the leases of exactly these runs; answers those that are still the owner's.
    pub async fn renew(
        &self,
        owner: &str,
        runs: &[RunId],
        lease_ms: i64,
    ) -> Result<Vec<RunId>, Error> {
        let leases = Leases {
            owner: owner.to_owned(),
            runs: runs.to_vec(),
            lease_ms,
        };
        let Held::Postgres(mut pooled) = self.leasing().await? else {
            return self
                .inner
                .committers
                .ask(None, |slot| Op::Renew(leases, slot))
                .await?;
        };
        let mut conn = Conn::Postgres(&mut pooled.conn);
        let now_ms = crate::open::now_ms(&mut conn, &self.inner.time).await?;
        claim::renew(&mut conn, now_ms, &leases).await
    }

    /// Gives runs back to the queue at once, where the owner still holds them; their claim does
    /// not count.
    pub async fn release(&self, owner: &str, runs: &[RunId]) -> Result<(), Error> {
        let leases = Leases {
            owner: owner.to_owned(),
            runs: runs.to_vec(),
            lease_ms: 0,
        };
        self.inner
            .committers
            .ask(None, |slot| Op::Release(leases, slot))
            .await?
    }

    /// Leases have a connection of their own where there can be more than one.
    async fn leasing(&self) -> Result<Held, Error> {
        match &self.inner.db {
            Db::Sqlite { .. } => self.inner.db.reader().await,
            Db::Postgres { .. } => self.inner.db.writer().await,
        }
    }

    /// Waits until a run has an event newer than `after_seq`, or until `timeout`; answers the
    /// newest event's number. Commits of this process are signalled, those of others are seen
    /// within a second.
    pub async fn changed(
        &self,
        scope: &OrgScope,
        id: &RunId,
        after_seq: i64,
        timeout: Duration,
    ) -> Result<i64, Error> {
        let mut watch = self.inner.watches.watch(id);
        let deadline = tokio::time::Instant::now() + timeout;
        let mut seq = self.event_seq(scope, id).await?;
        while seq <= after_seq && tokio::time::Instant::now() < deadline {
            let pause = if self.shared() {
                deadline.min(tokio::time::Instant::now() + OTHERS)
            } else {
                deadline
            };
            if tokio::time::timeout_at(pause, watch.next()).await.is_ok() {
                seq = watch.news().seq;
            } else {
                seq = self.event_seq(scope, id).await?;
            }
        }
        Ok(seq)
    }
}

impl Store {
    /// Waits until a run of this kind has ended or waits for a person, or until `timeout`; answers how it stands
    /// then. `None` at once when there is no such run.
    pub async fn settled(
        &self,
        scope: &OrgScope,
        kind: RunKind,
        id: &RunId,
        timeout: Duration,
    ) -> Result<Option<(Run, RunRow)>, Error> {
        let mut watch = self.inner.watches.watch(id);
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            let found = self.run_and_row(scope, id).await?;
            let found = found.filter(|(run, _)| run.kind == kind);
            let settled = found
                .as_ref()
                .is_none_or(|(run, _)| run.status.ended() || run.status == RunStatus::Waiting);
            if settled || tokio::time::Instant::now() >= deadline {
                return Ok(found);
            }
            let pause = if self.shared() {
                deadline.min(tokio::time::Instant::now() + OTHERS)
            } else {
                deadline
            };
            let signalled = async {
                watch.next().await;
                while !watch.news().settled {
                    watch.next().await;
                }
            };
            // Signalled or not: the tables say how it stands.
            let _ = tokio::time::timeout_at(pause, signalled).await;
        }
    }
}

/// A run's key within a group.
pub(crate) type Key = (OrganizationId, RunId);
