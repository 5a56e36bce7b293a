//! An execution: one firing of a deployed automation, and [`decide`] for it.
//!
//! A script's execution runs to its end; a service's is its life between starts. Whether it is due
//! is `runtime`'s business, what its end means for the deployment is decided here.

use crate::deployment::Health;
use crate::evidence::EvidenceRef;
use crate::ids::Slug;
use crate::run::{
    NewEvent, Next, Notice, Record, Refusal, Run, RunState, RunStatus, Signal, StageRow,
    Transition, Usage, backoff_ms,
};
use crate::spec::FailurePolicy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The only stage of an execution.
pub const STAGE: &str = "execute";

/// Why it fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "fired")]
pub enum Firing {
    /// Its time came.
    Scheduled {
        /// The time that it was due, ms.
        due_at_ms: i64,
    },
    /// A person asked.
    Manual {
        /// Who.
        by: String,
    },
    /// Once, at deploy.
    Once,
    /// A service is to be up.
    Service,
}

/// Where an execution stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "at")]
pub enum Phase {
    /// To be run, or running: the lease says which.
    Working {
        /// From 1.
        attempt: u32,
    },
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed {
        /// Why.
        reason: String,
    },
    /// A person ended it.
    Cancelled {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
}

impl Phase {
    /// The try, from 1.
    pub fn attempt(&self) -> u32 {
        match self {
            Self::Working { attempt } => *attempt,
            Self::Completed | Self::Failed { .. } | Self::Cancelled { .. } => 1,
        }
    }
}

/// The state of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionState {
    /// The deployment.
    pub deployment: Slug,
    /// The version that was active when it fired.
    pub version: u32,
    /// Why it fired.
    pub firing: Firing,
    /// What a failure leads to.
    pub policy: FailurePolicy,
    /// Failed executions of the deployment in a row before this one.
    pub failures_before: u32,
    /// Where it stands.
    pub phase: Phase,
}

/// What came out of running it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum ExecutionOutcome {
    /// It ended well, or a service was asked to stop and did.
    Succeeded {
        /// One sentence.
        summary: String,
        /// What it used.
        usage: Usage,
        /// Its log.
        log: Option<EvidenceRef>,
        /// What it wants a person to know.
        notices: Vec<Notice>,
    },
    /// It ended badly.
    Failed {
        /// Why, for people.
        reason: String,
        /// Whether another try can help; never where the grant is gone.
        retryable: bool,
        /// What it used.
        usage: Usage,
        /// Its log.
        log: Option<EvidenceRef>,
        /// What it wants a person to know.
        notices: Vec<Notice>,
    },
}

/// Decides what a signal makes of an execution.
pub fn decide(
    run: &Run,
    state: &ExecutionState,
    signal: &Signal,
    now_ms: i64,
) -> Result<Transition, Refusal> {
    let Phase::Working { attempt } = state.phase else {
        return Err(Refusal::Ended {
            label: run.label.clone(),
            status: run.status,
        });
    };
    let at = At {
        run,
        state,
        attempt,
        now_ms,
    };
    match signal {
        Signal::Executed { outcome } => Ok(match outcome.as_ref() {
            ExecutionOutcome::Succeeded {
                summary,
                usage,
                log,
                notices,
            } => {
                let mut to = at.end(Phase::Completed, RunStatus::Completed, "done", summary);
                to.records.push(at.health(0, None));
                at.seen(&mut to, *usage, log.as_ref(), notices);
                to
            }
            ExecutionOutcome::Failed {
                reason,
                retryable,
                usage,
                log,
                notices,
            } => {
                let mut to = at.failed(reason, *retryable);
                at.seen(&mut to, *usage, log.as_ref(), notices);
                to
            }
        }),
        Signal::Fault { message, retryable } => Ok(at.failed(message, *retryable)),
        Signal::Overdue { limit } => Ok(at.failed(limit, true)),
        Signal::Cancel { by, reason } => {
            let phase = Phase::Cancelled {
                by: by.clone(),
                reason: reason.clone(),
            };
            Ok(at.end(
                phase,
                RunStatus::Cancelled,
                "cancelled",
                &format!("cancelled by {by}: {reason}"),
            ))
        }
        Signal::Decided(_) => Err(Refusal::NotWaiting {
            label: run.label.clone(),
            stage: STAGE.to_owned(),
        }),
        Signal::Resume { .. } => Err(Refusal::NotSpent {
            label: run.label.clone(),
            stage: "execute".to_owned(),
        }),
        Signal::Stage { .. } => Err(Refusal::NotWorking {
            label: run.label.clone(),
        }),
    }
}

struct At<'a> {
    run: &'a Run,
    state: &'a ExecutionState,
    attempt: u32,
    now_ms: i64,
}

impl At<'_> {
    fn failed(&self, reason: &str, retryable: bool) -> Transition {
        let policy = &self.state.policy;
        // A service is started anew by the runtime, with its own back-off.
        let service = matches!(self.state.firing, Firing::Service);
        if retryable && !service && self.attempt <= policy.retries {
            return self.again(reason);
        }
        let failures = self.state.failures_before.saturating_add(1);
        let paused = (policy.pause_after > 0 && failures >= policy.pause_after)
            .then(|| format!("{failures} executions in a row failed; the last: {reason}"));
        let phase = Phase::Failed {
            reason: reason.to_owned(),
        };
        let mut to = self.end(phase, RunStatus::Failed, "failed", reason);
        let name = &self.state.deployment;
        to.notices.push(Notice {
            topic: "execution.failed".to_owned(),
            title: format!("{name} failed"),
            body: reason.to_owned(),
        });
        if let Some(why) = &paused {
            to.notices.push(Notice {
                topic: "automation.paused".to_owned(),
                title: format!("{name} is paused"),
                body: format!("{why}\nagentwright resume {name}"),
            });
        }
        to.records.push(self.health(failures, paused));
        to
    }

    fn again(&self, reason: &str) -> Transition {
        let first_ms =
            i64::try_from(self.state.policy.backoff_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        let at_ms = self
            .now_ms
            .saturating_add(backoff_ms(first_ms, self.attempt));
        let mut to = self.to(Phase::Working {
            attempt: self.attempt + 1,
        });
        to.stage = Some(self.row("retried", reason));
        to.events.push(NewEvent::new(
            "stage.retry",
            STAGE,
            format!("tries again: {reason}"),
        ));
        to.next = Next::Requeue {
            not_before_ms: at_ms,
        };
        to
    }

    fn end(&self, phase: Phase, status: RunStatus, word: &str, line: &str) -> Transition {
        let mut to = self.to(phase);
        to.stage = Some(self.row(word, line));
        to.events.push(NewEvent::new("run.ended", STAGE, line));
        to.next = Next::End { status };
        to
    }

    fn health(&self, failures_in_a_row: u32, paused: Option<String>) -> Record {
        Record::Health(Health {
            name: self.state.deployment.clone(),
            failures_in_a_row,
            paused,
        })
    }

    fn seen(
        &self,
        to: &mut Transition,
        usage: Usage,
        log: Option<&EvidenceRef>,
        notices: &[Notice],
    ) {
        to.records.push(Record::Usage(usage));
        to.records.extend(log.cloned().map(Record::Artifact));
        to.notices.extend_from_slice(notices);
    }

    fn row(&self, status: &str, summary: &str) -> StageRow {
        StageRow {
            stage: STAGE.to_owned(),
            attempt: self.attempt,
            status: status.to_owned(),
            started_at_ms: self.run.attempt_started_at_ms.min(self.now_ms),
            ended_at_ms: self.now_ms,
            summary: summary.to_owned(),
        }
    }

    fn to(&self, phase: Phase) -> Transition {
        let state = ExecutionState {
            phase,
            ..self.state.clone()
        };
        Transition {
            state: RunState::Execution(state),
            next: Next::Continue,
            stage: None,
            events: Vec::new(),
            records: Vec::new(),
            notices: Vec::new(),
        }
    }
}
