//! What no sequence of signals can break.
use crate::made::{NOW, advance, digest, policy, proved, run, subject};
use agentwright_domain::approval::{Gate, GateReason};
use agentwright_domain::build::{
    ATTEMPTS_MAX, ApprovalMode, BuildPolicy, BuildState, Facts, FailureClass, Oversight, PARKS_MAX,
    Phase, Repair, Stage, StageOutcome, Tried, due,
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
        code: u8,
        risk: bool,
        subject: u8,
        oversight: u8,
    },
    Failed,
    Retry,
    Park,
    Spent,
    Repair {
        failure: u8,
    },
    Amend,
    Resume,
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
        12 => (1_u8..5, prop::bool::weighted(0.2), 7_u8..9, 0_u8..6)
            .prop_map(|(code, risk, subject, oversight)| Op::Done { code, risk, subject, oversight }),
        1 => Just(Op::Failed),
        3 => Just(Op::Retry),
        1 => Just(Op::Park),
        1 => Just(Op::Spent),
        4 => (0_u8..3).prop_map(|failure| Op::Repair { failure }),
        1 => Just(Op::Amend),
        3 => Just(Op::Resume),
        4 => (any::<bool>(), prop::option::of(7_u8..9)).prop_map(|(approved, subject)| Op::Decide { approved, subject }),
        1 => Just(Op::Cancel),
        2 => any::<bool>().prop_map(|retryable| Op::Fault { retryable }),
        1 => Just(Op::Overdue),
    ]
}

/// What the stage at work would know now: the facts so far and its own.
fn known(before: &BuildState, op: &Op) -> Facts {
    let mut facts = before.facts.clone();
    let Op::Done {
        code,
        risk,
        subject: s,
        oversight,
    } = op
    else {
        return facts;
    };
    let Phase::Stage { stage, .. } = &before.phase else {
        return facts;
    };
    match stage {
        Stage::Spec => {
            facts.permissions = Some(digest(9));
            facts.subject = Some(subject(*s));
        }
        // Now and then somebody touches the code after it was looked at.
        Stage::Generate => facts.code = Some(digest(*code)),
        Stage::Review => {
            facts.reviewed.clone_from(&facts.code);
            facts.oversight = match oversight {
                0 | 1 => Oversight::None,
                2 if !facts.tried.is_empty() && facts.verified.is_none() => Oversight::Due,
                3 => Oversight::Missing {
                    reason: "too large".to_owned(),
                },
                _ => Oversight::Passed {
                    code: facts.code.clone().unwrap_or_else(|| digest(0)),
                },
            };
        }
        Stage::Verify => facts.verified.clone_from(&facts.code),
        Stage::Preview => {
            facts.subject = Some(subject(*s));
            if *code == 4 {
                facts.code = Some(digest(99));
            }
        }
        Stage::Package | Stage::Deploy | Stage::Register => {}
    }
    if *risk {
        facts.risks = vec!["reaches a private address".to_owned()];
    }
    facts
}

fn signal(before: &BuildState, op: &Op, n: usize) -> Signal {
    let stage = |outcome| Signal::Stage {
        outcome: Box::new(outcome),
    };
    match op {
        Op::Done { .. } => stage(StageOutcome::Done {
            summary: "ok".to_owned(),
            facts: Box::new(known(before, op)),
            records: Vec::new(),
        }),
        Op::Park => stage(StageOutcome::Park {
            reason: "quota".to_owned(),
            until_ms: NOW + 60_000,
        }),
        Op::Spent => stage(StageOutcome::Spent {
            limit: "a day's money".to_owned(),
        }),
        Op::Repair { failure } => stage(StageOutcome::Repair {
            repair: Repair {
                reason: "no zip".to_owned(),
                evidence: "evidence.json".to_owned(),
            },
            failure: digest(*failure),
            records: Vec::new(),
        }),
        Op::Amend => stage(StageOutcome::Amend {
            reason: "impossible".to_owned(),
            records: Vec::new(),
        }),
        Op::Resume => Signal::Resume {
            by: "owner".to_owned(),
        },
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
        ops in prop::collection::vec(op(), 1..90),
    ) {
        let mut policy = policy(mode);
        policy.production = production;
        policy.advance = in_advance.then(advance);
        let mut run = run(policy, Facts::default(), Phase::Stage { stage: Stage::Spec, attempt: 1 });
        let mut yes: Option<(agentwright_domain::digest::Digest, bool)> = None;
        for (n, op) in ops.iter().enumerate() {
            let before = state(&run).clone();
            let ended = run.status.ended();
            let answer = decide(&run, &signal(&before, op, n), NOW + i64::try_from(n).unwrap());
            if matches!(before.phase, Phase::Spent { .. }) {
                let may = matches!(op, Op::Resume | Op::Cancel);
                prop_assert_eq!(answer.is_ok(), may, "a spent budget was passed by {:?}", op);
            }
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
            prop_assert!(after.facts.tried.len() <= after.policy.repairs as usize);
            prop_assert!(after.facts.parks <= PARKS_MAX);
            for (i, tried) in after.facts.tried.iter().enumerate() {
                let earlier = &after.facts.tried[..i];
                prop_assert!(earlier.iter().all(|other| other.code != tried.code), "repaired the same code twice");
            }
            let entered = matches!(after.phase, Phase::Stage { stage: Stage::Deploy, attempt: 1 })
                && !matches!(before.phase, Phase::Stage { stage: Stage::Deploy, .. });
            if entered {
                let facts = &after.facts;
                prop_assert_eq!(&facts.code, &facts.reviewed);
                prop_assert_eq!(&facts.code, &facts.verified);
                prop_assert!(facts.oversight != Oversight::Due, "nobody looked at the repaired code");
                if !due(Gate::Deploy, &after.policy, facts).is_empty() {
                    let (approved, in_advance) = yes.clone().expect("deployed without a yes");
                    prop_assert_eq!(&approved, &facts.subject.as_ref().unwrap().digest);
                    let open = due(Gate::Deploy, &after.policy, facts);
                    let coverable = open.iter().all(GateReason::may_be_covered);
                    prop_assert!(!in_advance || coverable, "{:?} was covered in advance", open);
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

#[test]
fn repaired_code_is_looked_at_again_only_when_the_tests_hold() {
    let stage = |stage, attempt| Phase::Stage { stage, attempt };
    let done = |facts: Facts| Signal::Stage {
        outcome: Box::new(StageOutcome::Done {
            summary: "ok".to_owned(),
            facts: Box::new(facts),
            records: Vec::new(),
        }),
    };
    let next = |at, facts: Facts| {
        let run = run(policy(ApprovalMode::Auto), facts.clone(), at);
        decide(&run, &done(facts), NOW).unwrap().state
    };
    let repaired = Facts {
        oversight: Oversight::Due,
        tried: vec![Tried {
            code: digest(40),
            failure: digest(41),
        }],
        verified: None,
        ..proved()
    };
    let tested = next(stage(Stage::Review, 2), repaired.clone());
    assert_eq!((tested.stage(), tested.attempt()), ("verify", 2));
    let looked = next(
        stage(Stage::Verify, 2),
        Facts {
            verified: Some(digest(1)),
            ..repaired.clone()
        },
    );
    assert_eq!((looked.stage(), looked.attempt()), ("review", 3));
    let passed = Oversight::Passed { code: digest(1) };
    let shown = next(
        stage(Stage::Review, 2),
        Facts {
            oversight: passed,
            verified: Some(digest(1)),
            ..repaired
        },
    );
    assert_eq!((shown.stage(), shown.attempt()), ("preview", 1));
}

#[test]
fn repair_stops_where_it_gets_nowhere_and_says_why() {
    let at = Phase::Stage {
        stage: Stage::Verify,
        attempt: 3,
    };
    let tried = |pairs: &[(u8, u8)]| Facts {
        tried: pairs
            .iter()
            .map(|(code, failure)| Tried {
                code: digest(*code),
                failure: digest(*failure),
            })
            .collect(),
        ..proved()
    };
    let repair = Signal::Stage {
        outcome: Box::new(StageOutcome::Repair {
            repair: Repair {
                reason: "no zip".to_owned(),
                evidence: "evidence.json".to_owned(),
            },
            failure: digest(50),
            records: Vec::new(),
        }),
    };
    for (facts, repairs, words) in [
        (tried(&[(1, 51)]), 9, "changed nothing"),
        (tried(&[(20, 50), (21, 50)]), 9, "the same failure 3 times"),
        (tried(&[(20, 51), (21, 52)]), 2, "gave up after 2 repairs"),
        (tried(&[]), 0, "no zip"),
    ] {
        let policy = BuildPolicy {
            repairs,
            ..policy(ApprovalMode::Auto)
        };
        let to = decide(&run(policy, facts, at.clone()), &repair, NOW).unwrap();
        let RunState::Build(state) = &to.state else {
            panic!("a build stays a build")
        };
        let Phase::Failed { class, reason, .. } = &state.phase else {
            panic!("{words}: {:?}", state.phase)
        };
        assert_eq!(*class, FailureClass::Tests);
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn a_build_may_work_two_hours_and_longer_only_where_its_estimate_is() {
    let at = Phase::Stage {
        stage: Stage::Package,
        attempt: 1,
    };
    let hour = 3_600_000;
    for (set, worked_ms, over) in [
        (None, 2 * hour, true),
        (Some(hour), 2 * hour - 1, false),
        (Some(8 * hour), 2 * hour, false),
        (Some(8 * hour), 8 * hour, true),
    ] {
        let of = BuildPolicy {
            work_max_ms: set,
            ..policy(ApprovalMode::Auto)
        };
        let mut run = run(of, proved(), at.clone());
        run.worked_ms = worked_ms;
        let limit = run.time_limit().unwrap();
        assert_eq!(limit.left_ms == 0, over, "{set:?} {worked_ms}: {limit:?}");
    }
}

#[test]
fn a_build_told_not_to_wait_for_a_quota_fails_at_once() {
    let at = Phase::Stage {
        stage: Stage::Generate,
        attempt: 1,
    };
    let park = Signal::Stage {
        outcome: Box::new(StageOutcome::Park {
            reason: "the quota is used up".to_owned(),
            until_ms: NOW + 3_600_000,
        }),
    };
    let forbidden = BuildPolicy {
        may_park: false,
        ..policy(ApprovalMode::Auto)
    };
    let to = decide(&run(forbidden, proved(), at.clone()), &park, NOW).unwrap();
    assert!(matches!(
        to.next,
        Next::End {
            status: RunStatus::Failed
        }
    ));
    let often = Facts {
        parks: PARKS_MAX,
        ..proved()
    };
    let to = decide(&run(policy(ApprovalMode::Auto), often, at), &park, NOW).unwrap();
    assert!(matches!(
        to.next,
        Next::End {
            status: RunStatus::Failed
        }
    ));
}
