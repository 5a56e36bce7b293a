//! What a signal makes of a build: the heart, one pure function over the phase.

use super::{
    ATTEMPTS_MAX, ApprovalMode, BuildPolicy, BuildState, Facts, FailureClass, Oversight, Phase,
    Stage, StageOutcome, told,
};
use crate::approval::{Approval, Gate, GateReason, Subject};
use crate::ids::ApprovalId;
use crate::run::{
    BACKOFF_FIRST_MS, Decision, NewEvent, Next, Record, Refusal, Run, RunInput, RunState,
    RunStatus, Signal, StageRow, Transition, backoff_ms,
};
use serde_json::json;

/// Why a person is asked at this gate; empty means that nobody is.
pub fn due(gate: Gate, policy: &BuildPolicy, facts: &Facts) -> Vec<GateReason> {
    let mut reasons = Vec::new();
    let by_mode = match (policy.mode, gate) {
        (ApprovalMode::Checkpoints, Gate::Spec | Gate::Deploy)
        | (ApprovalMode::Final, Gate::Deploy) => true,
        (ApprovalMode::Auto, Gate::Spec | Gate::Deploy) | (ApprovalMode::Final, Gate::Spec) => {
            false
        }
    };
    if by_mode {
        reasons.push(GateReason::Mode);
    }
    if policy.production && gate == Gate::Deploy {
        reasons.push(GateReason::Production);
    }
    if gate == Gate::Deploy {
        reasons.extend(facts.risks.iter().cloned().map(GateReason::Risk));
        if let Oversight::Missing { reason } = &facts.oversight {
            reasons.push(GateReason::Unreviewed(reason.clone()));
        }
    }
    if gate == Gate::Spec {
        reasons.extend(facts.amendment.iter().cloned().map(GateReason::Amended));
    }
    reasons
}

/// Decides what a signal makes of a build.
pub fn decide(
    run: &Run,
    state: &BuildState,
    signal: &Signal,
    now_ms: i64,
) -> Result<Transition, Refusal> {
    let at = At { run, state, now_ms };
    match (&state.phase, signal) {
        (Phase::Stage { stage, attempt }, Signal::Stage { outcome }) => {
            Ok(at.outcome(*stage, *attempt, outcome))
        }
        (Phase::Stage { stage, attempt }, Signal::Fault { message, retryable }) => {
            Ok(if *retryable {
                at.again(*stage, *attempt, message, None)
            } else {
                at.failed(*stage, *attempt, FailureClass::Fault, message, &[])
            })
        }
        (Phase::Stage { stage, attempt }, Signal::Overdue { limit }) => {
            Ok(at.failed(*stage, *attempt, FailureClass::Limit, limit, &[]))
        }
        (Phase::Gate { gate, reasons, .. }, Signal::Decided(decision)) => {
            at.decided(*gate, reasons, decision)
        }
        (
            Phase::Stage { .. } | Phase::Gate { .. } | Phase::Spent { .. },
            Signal::Cancel { by, reason },
        ) => Ok(at.cancelled(by, reason)),
        (Phase::Spent { stage, attempt, .. }, Signal::Resume { by }) => {
            Ok(at.resumed(*stage, *attempt, by))
        }
        (Phase::Stage { stage, .. } | Phase::Spent { stage, .. }, Signal::Decided(_)) => {
            Err(Refusal::NotWaiting {
                label: run.label.clone(),
                stage: stage.word().to_owned(),
            })
        }
        (Phase::Stage { .. } | Phase::Gate { .. }, Signal::Resume { .. }) => {
            Err(Refusal::NotSpent {
                label: run.label.clone(),
                stage: state.phase.stage_word().to_owned(),
            })
        }
        (
            Phase::Gate { .. } | Phase::Spent { .. },
            Signal::Stage { .. } | Signal::Fault { .. } | Signal::Overdue { .. },
        )
        | (
            Phase::Stage { .. } | Phase::Gate { .. } | Phase::Spent { .. },
            Signal::Executed { .. },
        ) => Err(Refusal::NotWorking {
            label: run.label.clone(),
        }),
        (
            Phase::Completed { .. }
            | Phase::Failed { .. }
            | Phase::Rejected { .. }
            | Phase::Cancelled { .. },
            Signal::Stage { .. }
            | Signal::Executed { .. }
            | Signal::Decided(_)
            | Signal::Cancel { .. }
            | Signal::Resume { .. }
            | Signal::Fault { .. }
            | Signal::Overdue { .. },
        ) => Err(Refusal::Ended {
            label: run.label.clone(),
            status: state.phase.status(),
        }),
    }
}

impl Phase {
    fn status(&self) -> RunStatus {
        match self {
            Self::Stage { .. } => RunStatus::Ready,
            Self::Gate { .. } | Self::Spent { .. } => RunStatus::Waiting,
            Self::Completed { .. } => RunStatus::Completed,
            Self::Failed { .. } => RunStatus::Failed,
            Self::Rejected { .. } | Self::Cancelled { .. } => RunStatus::Cancelled,
        }
    }
}

/// A build at one moment.
pub(super) struct At<'a> {
    pub(super) run: &'a Run,
    pub(super) state: &'a BuildState,
    pub(super) now_ms: i64,
}

impl At<'_> {
    fn outcome(&self, stage: Stage, attempt: u32, outcome: &StageOutcome) -> Transition {
        match outcome {
            StageOutcome::Done {
                summary,
                facts,
                records,
            } => self.done(stage, attempt, summary, facts, records),
            StageOutcome::Failed {
                class,
                reason,
                records,
            } => self.failed(stage, attempt, *class, reason, records),
            StageOutcome::Retry {
                reason,
                not_before_ms,
            } => self.again(stage, attempt, reason, *not_before_ms),
            StageOutcome::Park { reason, until_ms } => self.park(stage, attempt, reason, *until_ms),
            StageOutcome::Spent { limit } => self.spent(stage, attempt, limit),
            StageOutcome::Repair {
                repair,
                failure,
                records,
            } => self.repair(stage, attempt, repair, failure, records),
            StageOutcome::Amend { reason, records } => self.amend(stage, attempt, reason, records),
        }
    }

    fn done(
        &self,
        stage: Stage,
        attempt: u32,
        summary: &str,
        facts: &Facts,
        records: &[Record],
    ) -> Transition {
        let mut to = self.to(facts);
        to.stage = Some(self.row(stage, attempt, "done", summary));
        to.records = records.to_vec();
        to.events
            .push(NewEvent::new("stage.done", stage.word(), summary));
        match stage {
            Stage::Spec => {
                // A spec that is made anew begins nothing.
                if self.state.facts.spec.is_none() {
                    to.notices.extend(told::begun(self.run));
                }
                self.gate(to, Gate::Spec)
            }
            Stage::Package => to.work(Stage::Generate, 1),
            // From generate to verify tries are numbered through, so that each has its own results.
            Stage::Generate => to.work(Stage::Review, attempt),
            // Reviewed again after a repair, and nothing changed since the tests held.
            Stage::Review if is_verified(to.facts()) => self.verified(to),
            Stage::Review => to.work(Stage::Verify, attempt),
            // The code was repaired since the overseer saw it.
            Stage::Verify if to.facts().oversight == Oversight::Due => {
                to.work(Stage::Review, (attempt + 1).min(ATTEMPTS_MAX))
            }
            Stage::Verify => self.verified(to),
            Stage::Preview => self.gate(to, Gate::Deploy),
            Stage::Deploy => to.work(Stage::Register, 1),
            Stage::Register => {
                to.notices.push(told::completed(self.run, to.facts(), true));
                to.end(Phase::Completed { deployed: true }, "completed")
            }
        }
    }

    /// All levels hold, and whoever is to look at the code has looked.
    fn verified(&self, mut to: Transition) -> Transition {
        if self.state.policy.auto_deploy {
            to.work(Stage::Preview, 1)
        } else {
            if !self.replays() {
                to.notices
                    .push(told::completed(self.run, to.facts(), false));
            }
            to.end(
                Phase::Completed { deployed: false },
                "verified; not deployed, as asked",
            )
        }
    }

    /// Waits at the gate, or passes it where nobody is due or the yes was given in advance.
    fn gate(&self, mut to: Transition, gate: Gate) -> Transition {
        let policy = &self.state.policy;
        let reasons = due(gate, policy, to.facts());
        // A replay deploys nothing: its spec needs no yes, and nobody is asked for one.
        let replay = gate == Gate::Spec && self.replays();
        if reasons.is_empty() || replay {
            return self.past(to, gate);
        }
        let Some(subject) = to.facts().subject.clone() else {
            // Invariant: a person is never asked to approve something without a digest.
            return to.fail(gate.after(), FailureClass::Fault, "no subject to approve");
        };
        let risky = !reasons.iter().all(GateReason::may_be_covered);
        if let Some(advance) = policy.advance.as_ref()
            && !risky
            && to.facts().permissions.as_ref() == Some(&advance.permissions)
        {
            let id = ApprovalId::new(format!("{}-{}-advance", self.run.id, gate.word()));
            let decision = Decision {
                id,
                approved: true,
                by: advance.by.clone(),
                notes: None,
                subject: None,
            };
            return self.approved(to, gate, &decision, &subject, true);
        }
        let line = format!("waits for a yes before {}", gate.before().word());
        let mut event = NewEvent::new("gate.waiting", to.state.stage(), line.clone());
        event.data = json!({ "gate": gate, "reasons": reasons, "subject": subject });
        to.events.push(event);
        to.notices.push(told::waiting(self.run, gate, &line));
        to.phase(Phase::Gate {
            gate,
            reasons,
            since_ms: self.now_ms,
        });
        to.next = Next::Wait;
        to
    }

    fn replays(&self) -> bool {
        match &self.run.input {
            RunInput::Build(request) => request.replays.is_some() && !self.state.policy.auto_deploy,
            RunInput::Execution => false,
        }
    }

    fn decided(
        &self,
        gate: Gate,
        reasons: &[GateReason],
        decision: &Decision,
    ) -> Result<Transition, Refusal> {
        let to = self.to(&self.state.facts);
        let Some(subject) = self.state.facts.subject.clone() else {
            return Err(Refusal::NotWaiting {
                label: self.run.label.clone(),
                stage: gate.word().to_owned(),
            });
        };
        if let Some(given) = decision
            .subject
            .as_ref()
            .filter(|given| **given != subject.digest)
        {
            let (current, given) = (subject.digest.clone(), given.clone());
            return Err(Refusal::Stale {
                label: self.run.label.clone(),
                current,
                given,
            });
        }
        debug_assert!(
            !reasons.is_empty(),
            "a gate without a reason is never waited at"
        );
        if decision.approved {
            return Ok(self.approved(to, gate, decision, &subject, false));
        }
        let mut to = to;
        to.records.push(Record::Approval(
            self.approval(gate, decision, &subject, false),
        ));
        to.events.push(NewEvent::new(
            "gate.rejected",
            gate.word(),
            format!("rejected by {}", decision.by),
        ));
        let (by, notes) = (decision.by.clone(), decision.notes.clone());
        Ok(to.end(Phase::Rejected { gate, by, notes }, "rejected"))
    }

    fn approved(
        &self,
        mut to: Transition,
        gate: Gate,
        decision: &Decision,
        subject: &Subject,
        in_advance: bool,
    ) -> Transition {
        let how = if in_advance { " in advance" } else { "" };
        to.records.push(Record::Approval(
            self.approval(gate, decision, subject, in_advance),
        ));
        to.events.push(NewEvent::new(
            "gate.approved",
            gate.word(),
            format!(
                "approved{how} by {}: {}",
                decision.by,
                subject.digest.short()
            ),
        ));
        to.facts_mut().approval = Some(decision.id.clone());
        self.past(to, gate)
    }

    fn approval(
        &self,
        gate: Gate,
        decision: &Decision,
        subject: &Subject,
        in_advance: bool,
    ) -> Approval {
        Approval {
            id: decision.id.clone(),
            gate,
            subject: subject.digest.clone(),
            approved: decision.approved,
            by: decision.by.clone(),
            at_ms: self.now_ms,
            notes: decision.notes.clone(),
            in_advance,
        }
    }

    /// Beyond the gate. Invariant: what deploys is what was reviewed and verified.
    fn past(&self, to: Transition, gate: Gate) -> Transition {
        match gate {
            Gate::Spec => {
                let mut to = to;
                // A yes to the spec is no yes to what will be built from it.
                to.facts_mut().approval = None;
                to.facts_mut().subject = None;
                to.work(Stage::Package, 1)
            }
            Gate::Deploy => {
                let facts = to.facts();
                let same = facts.code == facts.reviewed && facts.code == facts.verified;
                if same {
                    to.work(Stage::Deploy, 1)
                } else {
                    to.fail(
                        Stage::Deploy,
                        FailureClass::Fault,
                        "the code is not the code that was reviewed and verified",
                    )
                }
            }
        }
    }

    fn again(
        &self,
        stage: Stage,
        attempt: u32,
        reason: &str,
        not_before_ms: Option<i64>,
    ) -> Transition {
        if attempt >= ATTEMPTS_MAX {
            let reason = format!("gave up after {attempt} tries: {reason}");
            return self.failed(stage, attempt, FailureClass::Fault, &reason, &[]);
        }
        let mut to = self.to(&self.state.facts);
        to.stage = Some(self.row(stage, attempt, "retried", reason));
        let at_ms = not_before_ms
            .unwrap_or(self.now_ms + backoff_ms(BACKOFF_FIRST_MS, attempt))
            .max(self.now_ms);
        let mut event = NewEvent::new(
            "stage.retry",
            stage.word(),
            format!("tries again: {reason}"),
        );
        event.data = json!({ "not_before_ms": at_ms, "attempt": attempt + 1 });
        to.events.push(event);
        to.phase(Phase::Stage {
            stage,
            attempt: attempt + 1,
        });
        to.next = Next::Requeue {
            not_before_ms: at_ms,
        };
        to
    }

    pub(super) fn failed(
        &self,
        stage: Stage,
        attempt: u32,
        class: FailureClass,
        reason: &str,
        records: &[Record],
    ) -> Transition {
        let mut to = self.to(&self.state.facts);
        to.stage = Some(self.row(stage, attempt, "failed", reason));
        to.records = records.to_vec();
        let failure = told::Failure {
            stage,
            class,
            reason,
            records,
        };
        to.notices.push(told::failed(self.run, &failure));
        to.fail(stage, class, reason)
    }

    fn cancelled(&self, by: &str, reason: &str) -> Transition {
        let mut to = self.to(&self.state.facts);
        if let Phase::Stage { stage, attempt } = self.state.phase {
            to.stage = Some(self.row(stage, attempt, "cancelled", reason));
        }
        let end = Phase::Cancelled {
            by: by.to_owned(),
            reason: reason.to_owned(),
        };
        to.end(end, &format!("cancelled by {by}: {reason}"))
    }

    pub(super) fn row(&self, stage: Stage, attempt: u32, status: &str, summary: &str) -> StageRow {
        StageRow {
            stage: stage.word().to_owned(),
            attempt,
            status: status.to_owned(),
            started_at_ms: self.run.attempt_started_at_ms.min(self.now_ms),
            ended_at_ms: self.now_ms,
            summary: summary.to_owned(),
        }
    }

    pub(super) fn to(&self, facts: &Facts) -> Transition {
        let state = BuildState {
            facts: facts.clone(),
            ..self.state.clone()
        };
        Transition {
            state: RunState::Build(Box::new(state)),
            next: Next::Continue,
            stage: None,
            events: Vec::new(),
            records: Vec::new(),
            notices: Vec::new(),
        }
    }
}

/// The tests held for exactly the code that is there.
fn is_verified(facts: &Facts) -> bool {
    facts.code.is_some() && facts.code == facts.verified
}

impl Transition {
    fn build(&self) -> &BuildState {
        match &self.state {
            RunState::Build(state) => state,
            RunState::Execution(_) => unreachable!("made by At::to"),
        }
    }

    fn build_mut(&mut self) -> &mut BuildState {
        match &mut self.state {
            RunState::Build(state) => state,
            RunState::Execution(_) => unreachable!("made by At::to"),
        }
    }

    fn facts(&self) -> &Facts {
        &self.build().facts
    }

    pub(super) fn facts_mut(&mut self) -> &mut Facts {
        &mut self.build_mut().facts
    }

    pub(super) fn phase(&mut self, phase: Phase) {
        self.build_mut().phase = phase;
    }

    pub(super) fn work(mut self, stage: Stage, attempt: u32) -> Self {
        self.phase(Phase::Stage { stage, attempt });
        self.next = Next::Continue;
        self
    }

    fn end(mut self, phase: Phase, line: &str) -> Self {
        let status = phase.status();
        self.events
            .push(NewEvent::new("run.ended", phase.stage_word(), line));
        self.phase(phase);
        self.next = Next::End { status };
        self
    }

    fn fail(self, stage: Stage, class: FailureClass, reason: &str) -> Self {
        self.end(
            Phase::Failed {
                stage,
                class,
                reason: reason.to_owned(),
            },
            reason,
        )
    }
}
