//! What no sequence of signals can break.
use crate::made::{NOW, advance, digest, policy, proved, run, subject};
use agentwright_domain::approval::Gate;
use agentwright_domain::build::{
    ATTEMPTS_MAX, ApprovalMode, BuildState, Facts, FailureClass, Phase, Stage, StageOutcome, due,
};
use agentwright_domain::ids::ApprovalId;
use agentwright_domain::run::{
    BACKOFF_FIRST_MS, BACKOFF_MAX_MS, Decision, Next, Record, Run, RunState, RunStatus, Signal,
    backoff_ms, decide,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Done {
        same_code: bool,
        risk: bool,
        subject: u8,
    },
    Failed,
    Retry,
    Decide {
        approved: bool,
        subject: Option<u8>,
    },
    Cancel,
    Fault {
        retryable: bool,
    },
    Overdue,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (any::<bool>(), prop::bool::weighted(0.2), 7_u8..9).prop_map(|(same_code, risk, subject)| Op::Done { same_code, risk, subject }),
        1 => Just(Op::Failed),
        3 => Just(Op::Retry),
        4 => (any::<bool>(), prop::option::of(7_u8..9)).prop_map(|(approved, subject)| Op::Decide { approved, subject }),
        1 => Just(Op::Cancel),
        2 => any::<bool>().prop_map(|retryable| Op::Fault { retryable }),
        1 => Just(Op::Overdue),
    ]
}

fn signal(op: &Op, n: usize) -> Signal {
    let stage = |outcome| Signal::Stage {
        outcome: Box::new(outcome),
    };
    match op {
        Op::Done {
            same_code,
            risk,
            subject: s,
        } => {
            let mut facts = Facts {
                subject: Some(subject(*s)),
                approval: None,
                ..proved()
            };
            if !same_code {
                facts.code = Some(digest(99));
            }
            if *risk {
                facts.risks = vec!["reaches a private address".to_owned()];
            }
            stage(StageOutcome::Done {
                summary: "ok".to_owned(),
                facts: Box::new(facts),
                records: Vec::new(),
            })
        }
        Op::Failed => stage(StageOutcome::Failed {
            class: FailureClass::Tests,
            reason: "no".to_owned(),
            records: Vec::new(),
        }),
        Op::Retry => stage(StageOutcome::Retry {
            reason: "busy".to_owned(),
            not_before_ms: None,
        }),
        Op::Decide { approved, subject } => Signal::Decided(Decision {
            id: ApprovalId::new(format!("a{n}")),
            approved: *approved,
            by: "owner".to_owned(),
            notes: None,
            subject: subject.map(digest),
        }),
        Op::Cancel => Signal::Cancel {
            by: "owner".to_owned(),
            reason: "enough".to_owned(),
        },
        Op::Fault { retryable } => Signal::Fault {
            message: "panic".to_owned(),
            retryable: *retryable,
        },
        Op::Overdue => Signal::Overdue {
            limit: "2 hours of work".to_owned(),
        },
    }
}

fn state(run: &Run) -> &BuildState {
    match &run.state {
        RunState::Build(state) => state,
        RunState::Execution(_) => panic!("a build stays a build"),
    }
}

fn status(next: Next) -> RunStatus {
    match next {
        Next::Continue | Next::Requeue { .. } => RunStatus::Ready,
        Next::Wait => RunStatus::Waiting,
        Next::End { status } => status,
    }
}

fn modes() -> impl Strategy<Value = ApprovalMode> {
    prop_oneof![
        Just(ApprovalMode::Auto),
        Just(ApprovalMode::Checkpoints),
        Just(ApprovalMode::Final)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_build_never_deploys_unapproved_and_an_ended_one_stays_ended(
        mode in modes(),
        in_advance in any::<bool>(),
        production in any::<bool>(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut policy = policy(mode);
        policy.production = production;
        policy.advance = in_advance.then(advance);
        let mut run = run(policy, Facts::default(), Phase::Stage { stage: Stage::Spec, attempt: 1 });
        let mut yes: Option<(agentwright_domain::digest::Digest, bool)> = None;
        for (n, op) in ops.iter().enumerate() {
            let before = state(&run).clone();
            let ended = run.status.ended();
            let answer = decide(&run, &signal(op, n), NOW + i64::try_from(n).unwrap());
            if ended {
                prop_assert!(answer.is_err(), "an ended run changed");
                continue;
            }
            if matches!(op, Op::Cancel) {
                prop_assert!(matches!(&answer, Ok(to) if to.next == Next::End { status: RunStatus::Cancelled }), "cancel did not win");
            }
            let Ok(to) = answer else { continue };
            for record in &to.records {
                if let Record::Approval(approval) = record
                    && approval.gate == Gate::Deploy && approval.approved
                {
                    yes = Some((approval.subject.clone(), approval.in_advance));
                }
            }
            run.state = to.state;
            run.status = status(to.next);
            let after = state(&run);
            prop_assert!(after.phase.attempt() <= ATTEMPTS_MAX);
            let entered = matches!(after.phase, Phase::Stage { stage: Stage::Deploy, attempt: 1 })
                && !matches!(before.phase, Phase::Stage { stage: Stage::Deploy, .. });
            if entered {
                let facts = &after.facts;
                prop_assert_eq!(&facts.code, &facts.reviewed);
                prop_assert_eq!(&facts.code, &facts.verified);
                if !due(Gate::Deploy, &after.policy, facts).is_empty() {
                    let (approved, in_advance) = yes.clone().expect("deployed without a yes");
                    prop_assert_eq!(&approved, &facts.subject.as_ref().unwrap().digest);
                    prop_assert!(!in_advance || facts.risks.is_empty(), "a risk was covered in advance");
                    prop_assert!(facts.approval.is_some());
                }
            }
            if let Phase::Gate { .. } = after.phase {
                prop_assert_eq!(to.next, Next::Wait);
                prop_assert!(after.facts.subject.is_some(), "waits for a yes to nothing");
            }
        }
    }

    #[test]
    fn a_pause_between_tries_grows_and_is_bounded(attempt in 1_u32..1_000) {
        let pause = backoff_ms(BACKOFF_FIRST_MS, attempt);
        prop_assert!((BACKOFF_FIRST_MS..=BACKOFF_MAX_MS).contains(&pause));
        prop_assert!(backoff_ms(BACKOFF_FIRST_MS, attempt + 1) >= pause);
    }
}

#[test]
fn a_yes_in_advance_covers_the_shown_permissions_only() {
    let mut policy = policy(ApprovalMode::Final);
    policy.advance = Some(advance());
    let preview = Phase::Stage {
        stage: Stage::Preview,
        attempt: 1,
    };
    let done = |facts: Facts| Signal::Stage {
        outcome: Box::new(StageOutcome::Done {
            summary: "ok".to_owned(),
            facts: Box::new(facts),
            records: Vec::new(),
        }),
    };
    let run = run(policy, proved(), preview);
    let covered = decide(&run, &done(proved()), NOW).unwrap();
    assert_eq!(covered.next, Next::Continue);
    assert!(matches!(&covered.records[..], [Record::Approval(a)] if a.in_advance && a.approved));

    let wider = Facts {
        permissions: Some(digest(10)),
        ..proved()
    };
    assert_eq!(decide(&run, &done(wider), NOW).unwrap().next, Next::Wait);

    let risky = Facts {
        risks: vec!["private address".to_owned()],
        ..proved()
    };
    assert_eq!(decide(&run, &done(risky), NOW).unwrap().next, Next::Wait);
}

#[test]
fn a_gate_without_a_subject_fails_instead_of_asking() {
    let preview = Phase::Stage {
        stage: Stage::Preview,
        attempt: 1,
    };
    let run = run(policy(ApprovalMode::Final), proved(), preview);
    let facts = Facts {
        subject: None,
        ..proved()
    };
    let done = StageOutcome::Done {
        summary: "ok".to_owned(),
        facts: Box::new(facts),
        records: Vec::new(),
    };
    let to = decide(
        &run,
        &Signal::Stage {
            outcome: Box::new(done),
        },
        NOW,
    )
    .unwrap();
    assert_eq!(
        to.next,
        Next::End {
            status: RunStatus::Failed
        }
    );
}

#[test]
fn without_auto_deploy_a_verified_build_is_completed_undeployed() {
    let mut policy = policy(ApprovalMode::Auto);
    policy.auto_deploy = false;
    let run = run(
        policy.clone(),
        proved(),
        Phase::Stage {
            stage: Stage::Verify,
            attempt: 1,
        },
    );
    let done = StageOutcome::Done {
        summary: "ok".to_owned(),
        facts: Box::new(proved()),
        records: Vec::new(),
    };
    let to = decide(
        &run,
        &Signal::Stage {
            outcome: Box::new(done),
        },
        NOW,
    )
    .unwrap();
    assert_eq!(
        to.next,
        Next::End {
            status: RunStatus::Completed
        }
    );
    let later = BuildState::deploying(policy, &proved());
    assert!(later.facts.approval.is_none() && later.policy.auto_deploy);
    assert!(matches!(
        later.phase,
        Phase::Stage {
            stage: Stage::Preview,
            ..
        }
    ));
}
