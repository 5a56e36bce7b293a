//! Every phase × every signal, as one table that people review.
use crate::made::{NOW, digest, policy, proved, run};
use agentwright_domain::approval::{Gate, GateReason};
use agentwright_domain::build::{ApprovalMode, FailureClass, Phase, Repair, Stage, StageOutcome};
use agentwright_domain::deployment::{self, Action, Activity};
use agentwright_domain::execution::{ExecutionOutcome, ExecutionState, Firing, Phase as Fired};
use agentwright_domain::ids::{ApprovalId, Slug};
use agentwright_domain::run::{
    Decision, Next, Record, Run, RunKind, RunState, Signal, Transition, Usage, decide,
};
use agentwright_domain::spec::FailurePolicy;

fn build_phases() -> Vec<Phase> {
    let mut phases: Vec<Phase> = Stage::ALL
        .into_iter()
        .map(|stage| Phase::Stage { stage, attempt: 1 })
        .collect();
    phases.push(Phase::Stage {
        stage: Stage::Verify,
        attempt: 10,
    });
    for gate in [Gate::Spec, Gate::Deploy] {
        phases.push(Phase::Gate {
            gate,
            reasons: vec![GateReason::Mode],
            since_ms: NOW,
        });
    }
    phases.push(Phase::Spent {
        stage: Stage::Generate,
        attempt: 2,
        limit: "1.00 USD a day".to_owned(),
        since_ms: NOW,
    });
    phases.push(Phase::Completed { deployed: true });
    phases.push(Phase::Failed {
        stage: Stage::Verify,
        class: FailureClass::Tests,
        reason: "x".to_owned(),
    });
    phases.push(Phase::Rejected {
        gate: Gate::Deploy,
        by: "owner".to_owned(),
        notes: None,
    });
    phases.push(Phase::Cancelled {
        by: "owner".to_owned(),
        reason: "x".to_owned(),
    });
    phases
}

fn decision(approved: bool, subject: Option<u8>) -> Signal {
    Signal::Decided(Decision {
        id: ApprovalId::new("a1"),
        approved,
        by: "owner".to_owned(),
        notes: None,
        subject: subject.map(digest),
    })
}

fn signals() -> Vec<(&'static str, Signal)> {
    let stage = |outcome| Signal::Stage {
        outcome: Box::new(outcome),
    };
    let executed = |outcome| Signal::Executed {
        outcome: Box::new(outcome),
    };
    let (usage, log, notices) = (Usage::default(), None, Vec::new());
    vec![
        (
            "done",
            stage(StageOutcome::Done {
                summary: "ok".to_owned(),
                facts: Box::new(proved()),
                records: Vec::new(),
            }),
        ),
        (
            "failed",
            stage(StageOutcome::Failed {
                class: FailureClass::Tests,
                reason: "no".to_owned(),
                records: Vec::new(),
            }),
        ),
        (
            "retry",
            stage(StageOutcome::Retry {
                reason: "busy".to_owned(),
                not_before_ms: None,
            }),
        ),
        (
            "retry at",
            stage(StageOutcome::Retry {
                reason: "quota".to_owned(),
                not_before_ms: Some(NOW + 60_000),
            }),
        ),
        (
            "park",
            stage(StageOutcome::Park {
                reason: "quota".to_owned(),
                until_ms: NOW + 60_000,
            }),
        ),
        (
            "spent",
            stage(StageOutcome::Spent {
                limit: "1.00 USD a day".to_owned(),
            }),
        ),
        (
            "repair",
            stage(StageOutcome::Repair {
                repair: Repair {
                    reason: "no zip".to_owned(),
                    evidence: "evidence-1.json".to_owned(),
                },
                failure: digest(11),
                records: Vec::new(),
            }),
        ),
        (
            "amend",
            stage(StageOutcome::Amend {
                reason: "the file is never there".to_owned(),
                records: Vec::new(),
            }),
        ),
        (
            "resume",
            Signal::Resume {
                by: "owner".to_owned(),
            },
        ),
        ("yes", decision(true, None)),
        ("yes to what waits", decision(true, Some(7))),
        ("yes to something else", decision(true, Some(8))),
        ("no", decision(false, None)),
        (
            "cancel",
            Signal::Cancel {
                by: "owner".to_owned(),
                reason: "changed my mind".to_owned(),
            },
        ),
        (
            "fault",
            Signal::Fault {
                message: "panic".to_owned(),
                retryable: true,
            },
        ),
        (
            "final fault",
            Signal::Fault {
                message: "gone".to_owned(),
                retryable: false,
            },
        ),
        (
            "overdue",
            Signal::Overdue {
                limit: "2 hours of work".to_owned(),
            },
        ),
        (
            "executed",
            executed(ExecutionOutcome::Succeeded {
                summary: "ok".to_owned(),
                usage,
                log: log.clone(),
                notices: notices.clone(),
            }),
        ),
        (
            "execution failed",
            executed(ExecutionOutcome::Failed {
                reason: "exit 1".to_owned(),
                retryable: true,
                usage,
                log: log.clone(),
                notices: notices.clone(),
            }),
        ),
        (
            "execution refused",
            executed(ExecutionOutcome::Failed {
                reason: "no grant".to_owned(),
                retryable: false,
                usage,
                log,
                notices,
            }),
        ),
    ]
}

/// What review answers is not verified yet.
fn at(phase: &Phase, mut signal: Signal) -> Signal {
    if let Signal::Stage { outcome } = &mut signal
        && let StageOutcome::Done { facts, .. } = &mut **outcome
        && phase.stage_word() == "review"
    {
        facts.verified = None;
    }
    signal
}

fn records(transition: &Transition) -> String {
    let words: Vec<String> = transition
        .records
        .iter()
        .map(|record| match record {
            Record::Approval(a) => format!("approval({})", if a.approved { "yes" } else { "no" }),
            Record::Health(h) => format!(
                "health({}{})",
                h.failures_in_a_row,
                if h.paused.is_some() { ", paused" } else { "" }
            ),
            Record::Usage(_) => "usage".to_owned(),
            Record::TestResult(_)
            | Record::Grant(_)
            | Record::Version(_)
            | Record::Service(_)
            | Record::Expects(_)
            | Record::Replaces(_)
            | Record::Artifact(_) => "row".to_owned(),
        })
        .collect();
    words.join(" ")
}

fn describe(run: &Run, signal: &Signal) -> String {
    match decide(run, signal, NOW) {
        Err(refusal) => format!("refused: {refusal}"),
        Ok(to) => {
            let next = match to.next {
                Next::Continue => "goes on".to_owned(),
                Next::Requeue { not_before_ms } => format!("again in {} ms", not_before_ms - NOW),
                Next::Wait => "waits".to_owned(),
                Next::End { status } => format!("ended {}", status.word()),
            };
            let notices = if to.notices.is_empty() {
                ""
            } else {
                " +notice"
            };
            let records = records(&to);
            let records = if records.is_empty() {
                String::new()
            } else {
                format!(" [{records}]")
            };
            format!(
                "{}/{}: {next}{records}{notices}",
                to.state.stage(),
                to.state.attempt()
            )
        }
    }
}

#[test]
fn the_whole_table_is_as_reviewed() {
    let mut table = String::new();
    for mode in [
        ApprovalMode::Final,
        ApprovalMode::Checkpoints,
        ApprovalMode::Auto,
    ] {
        for phase in build_phases() {
            let mut run = run(policy(mode), proved(), phase.clone());
            if matches!(phase, Phase::Completed { .. }) {
                run.status = agentwright_domain::run::RunStatus::Completed;
            }
            for (name, signal) in signals() {
                let signal = at(&phase, signal);
                let line = describe(&run, &signal);
                table += &format!(
                    "build {mode:?} | {}/{} | {name} | {line}\n",
                    phase.stage_word(),
                    phase.attempt()
                );
            }
        }
    }
    for attempt in [1, 3] {
        for (firing, failures_before) in
            [(Firing::Once, 0), (Firing::Once, 4), (Firing::Service, 0)]
        {
            let state = ExecutionState {
                deployment: Slug::parse("notes-backup").unwrap(),
                version: 1,
                firing: firing.clone(),
                policy: FailurePolicy::default(),
                failures_before,
                phase: Fired::Working { attempt },
            };
            let mut run = run(
                policy(ApprovalMode::Auto),
                proved(),
                Phase::Completed { deployed: true },
            );
            run.kind = RunKind::Execution;
            run.state = RunState::Execution(state);
            for (name, signal) in signals() {
                let line = describe(&run, &signal);
                table += &format!(
                    "execution {firing:?}, {failures_before} before | try {attempt} | {name} | {line}\n"
                );
            }
        }
    }
    insta::assert_snapshot!("transitions", table);
}

#[test]
fn a_deployment_follows_what_a_person_asks() {
    let name = Slug::parse("inbox").unwrap();
    let activities = [
        ("active", Activity::Active),
        (
            "paused",
            Activity::Paused {
                reason: "r".to_owned(),
                since_ms: 1,
            },
        ),
        ("stopped", Activity::Stopped { since_ms: 1 }),
    ];
    let actions = [
        (
            "pause",
            Action::Pause {
                reason: "holiday".to_owned(),
            },
        ),
        ("resume", Action::Resume),
        ("stop", Action::Stop),
        ("switch", Action::Switch { version: 2 }),
    ];
    let mut table = String::new();
    for (is, activity) in &activities {
        for (asked, action) in &actions {
            let line = match deployment::decide(&name, activity, action, 5) {
                Ok(to) => format!("{to:?}"),
                Err(refusal) => format!("refused: {refusal}"),
            };
            table += &format!("{is} | {asked} | {line}\n");
        }
    }
    insta::assert_snapshot!("activities", table);
}
