//! The loop: execute → decide → commit, for one claimed run until it waits or ends.

use crate::Handle;
use crate::dispatch::Shared;
use crate::journal;
use agentwright_domain::run::{Next, Run, Signal, TimeLimit, decide};
use agentwright_store::{Commit, CommitError, Committed, Writer};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Claims without a commit between them before a run counts as one that kills its workers.
pub(crate) const CLAIMS_MAX: u32 = 5;
/// Tries of a commit while the database does not answer or the disk is full.
const COMMIT_TRIES: u32 = 100;
/// The first pause between them; doubles to [`COMMIT_PAUSE_MAX`].
const COMMIT_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between them.
const COMMIT_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Works a claimed run until it waits, ends, or is no longer ours.
pub(crate) async fn work(shared: Arc<Shared>, mut run: Run, token: CancellationToken) {
    let left = loop {
        let Some(signal) = attempt(&shared, &run, &token).await else {
            break false;
        };
        match settle(&shared, &run, &signal, &token).await {
            Some(Step::On(next)) => run = *next,
            Some(Step::Left) => break true,
            None => break false,
        }
    };
    if !left {
        give_back(&shared, &run).await;
    }
    shared.end(&run.id);
}

/// What a commit left to do.
pub(crate) enum Step {
    /// The same worker goes on with the run.
    On(Box<Run>),
    /// The run waits, is queued, has ended, or is somebody else's.
    Left,
}

/// Lets the executor work once. `None` when the run is no longer ours to work on.
async fn attempt(shared: &Shared, run: &Run, token: &CancellationToken) -> Option<Signal> {
    if run.claims > CLAIMS_MAX {
        return Some(Signal::Fault {
            message: format!("{CLAIMS_MAX} workers died at {}", run.state.stage()),
            retryable: false,
        });
    }
    let executor = shared.executors.get(&run.kind)?;
    let attempt_token = token.child_token();
    let handle = Handle::new(
        shared.store.clone(),
        Arc::clone(&shared.desk),
        run.clone(),
        attempt_token.clone(),
    );
    let mut working = AssertUnwindSafe(executor.execute(run, &handle)).catch_unwind();
    let limit = run.time_limit();
    let signal = tokio::select! {
        biased;
        done = &mut working => done.unwrap_or_else(|panic| Signal::Fault {
            message: format!("a fault of agentwright: {}", words(&*panic)),
            retryable: true,
        }),
        () = token.cancelled() => {
            let _ = tokio::time::timeout(shared.settings.wind_down, working).await;
            return None;
        }
        words = overdue(limit) => {
            attempt_token.cancel();
            let _ = tokio::time::timeout(shared.settings.wind_down, working).await;
            Signal::Overdue { limit: words.to_owned() }
        }
    };
    // Whoever fired the token has moved the run on, or wants it back.
    (!token.is_cancelled()).then_some(signal)
}

/// Ends when the limit is reached; never where there is none.
async fn overdue(limit: Option<TimeLimit>) -> &'static str {
    match limit {
        Some(limit) => {
            let left = u64::try_from(limit.left_ms).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(left)).await;
            limit.words
        }
        None => std::future::pending().await,
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it panicked")
}

/// Decides what the signal means and commits it. An outcome that cannot be decided or written
/// becomes a fault. `None` when nothing could be written.
pub(crate) async fn settle(
    shared: &Shared,
    run: &Run,
    signal: &Signal,
    token: &CancellationToken,
) -> Option<Step> {
    let fault = match commit(shared, run, signal, token).await {
        Ok(step) => return Some(step),
        Err(Unwritten::Gone) => return None,
        Err(Unwritten::Refused(message)) => Signal::Fault {
            message,
            retryable: false,
        },
        Err(Unwritten::Unexpected(message)) => Signal::Fault {
            message,
            retryable: true,
        },
    };
    tracing::warn!(run = %run.id, ?fault, "the outcome cannot be written");
    commit(shared, run, &fault, token).await.ok()
}

enum Unwritten {
    /// It will not be written: the engine stops, or the store stays away.
    Gone,
    /// It cannot be written.
    Refused(String),
    /// The world has changed while it was worked out: it is to be worked out again.
    Unexpected(String),
}

async fn commit(
    shared: &Shared,
    run: &Run,
    signal: &Signal,
    token: &CancellationToken,
) -> Result<Step, Unwritten> {
    let to = decide(run, signal, shared.clock.now_ms())
        .map_err(|refusal| Unwritten::Refused(format!("the executor's answer: {refusal}")))?;
    let commit = Commit {
        run: run.clone(),
        to,
        writer: Writer::Holder,
        audit: None,
    };
    let mut pause = COMMIT_PAUSE;
    for _ in 0..COMMIT_TRIES {
        match shared.store.commit(commit.clone()).await {
            Ok(done) => return Ok(committed(shared, &commit, done)),
            Err(CommitError::Stale { .. } | CommitError::Unknown) => return Ok(Step::Left),
            Err(error @ CommitError::Unexpected { .. }) => {
                return Err(Unwritten::Unexpected(error.to_string()));
            }
            Err(CommitError::Store(error)) if error.passing() => {
                tracing::warn!(run = %run.id, %error, "the commit is tried again");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = token.cancelled() => return Err(Unwritten::Gone),
                }
                pause = (pause * 2).min(COMMIT_PAUSE_MAX);
            }
            Err(CommitError::Store(error)) => return Err(Unwritten::Refused(error.to_string())),
        }
    }
    Err(Unwritten::Gone)
}

/// What follows from a commit.
fn committed(shared: &Shared, commit: &Commit, done: Committed) -> Step {
    journal::committed(&commit.run, &commit.to);
    if !commit.to.notices.is_empty() {
        shared.outbox.notify_one();
    }
    match commit.to.next {
        Next::Continue => Step::On(Box::new(done.run)),
        Next::Requeue { not_before_ms } => {
            shared.wake_at(not_before_ms);
            Step::Left
        }
        Next::Wait | Next::End { .. } => Step::Left,
    }
}

/// Back into the queue, where it is still ours; otherwise the lease runs out by itself.
async fn give_back(shared: &Shared, run: &Run) {
    let runs = std::slice::from_ref(&run.id);
    if let Err(error) = shared.store.release(&shared.owner, runs).await {
        tracing::warn!(run = %run.id, %error, "cannot give it back");
    }
}
