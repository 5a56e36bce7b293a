//! Submissions, transitions and reports.

use crate::bed::{
    Bed, LEASE_MS, START_MS, asking, cancel, digest, done, done_with, of_organization, transition,
};
use agentwright_domain::approval::{Approval, Gate};
use agentwright_domain::evidence::{EvidenceRef, Level, TestResult, Verdict};
use agentwright_domain::ids::ApprovalId;
use agentwright_domain::run::{Decision, NewEvent, Next, Record, RunStatus, Signal, Usage, decide};
use agentwright_store::{CommitError, Error, Report, SubmitError, Writer};
use agentwright_testkit::{build_run, execution_run, slug};

pub(crate) async fn a_run_submitted_twice_is_one_run(bed: Bed) {
    let new = build_run(&bed.store.new_id(), "run");
    let (a, b) = tokio::join!(
        bed.store.submit(new.clone(), None),
        bed.store.submit(new.clone(), None)
    );
    let mut repeated = [a.unwrap().repeated(), b.unwrap().repeated()];
    repeated.sort_unstable();
    assert_eq!(repeated, [false, true]);
    assert_eq!(bed.run(&new.id).await, new.clone().submitted(START_MS));
    let run = bed.work(bed.claim("worker").await.remove(0)).await;
    assert_eq!(run.status, RunStatus::Completed);
    // Also when it has long ended.
    assert!(bed.other.submit(new, None).await.unwrap().repeated());
    assert_eq!(bed.claim("worker").await, []);
}

pub(crate) async fn a_label_is_unique_among_live_runs_of_a_kind(bed: Bed) {
    let first = bed.submit("backup").await;
    let second = build_run(&bed.store.new_id(), "backup");
    let taken = bed.store.submit(second.clone(), None).await;
    let Err(SubmitError::LabelTaken { label, by }) = taken else {
        panic!("{taken:?}")
    };
    assert_eq!((label, by), (slug("backup"), Some(first.clone())));
    let execution = execution_run(&bed.store.new_id(), "backup");
    bed.store.submit(execution, None).await.unwrap();
    let run = bed.run(&first).await;
    bed.commit(&run, &cancel(), Writer::Outsider).await.unwrap();
    assert!(!bed.store.submit(second, None).await.unwrap().repeated());
}

pub(crate) async fn a_commit_writes_state_stage_events_and_notices_at_once(bed: Bed) {
    bed.store
        .submit(asking(&bed.store.new_id(), "asks"), None)
        .await
        .unwrap();
    let run = bed.claim("worker").await.remove(0);
    bed.clock.advance(250);
    let done = bed.commit(&run, &done(&run), Writer::Holder).await.unwrap();
    assert_eq!(done.run, bed.run(&run.id).await);
    assert_eq!(done.run.status, RunStatus::Waiting);
    assert_eq!((done.run.epoch, done.run.worked_ms), (run.epoch + 1, 250));
    let stages = bed.store.stages(&bed.scope, &run.id).await.unwrap();
    assert_eq!(
        (stages[0].stage.as_str(), stages[0].status.as_str()),
        ("spec", "done")
    );
    let events = bed.store.events(&bed.scope, &run.id, 0, 100).await.unwrap();
    let said: Vec<_> = events
        .iter()
        .map(|event| (event.seq, event.event.as_str()))
        .collect();
    assert_eq!(
        said,
        [(1, "run.submitted"), (2, "stage.done"), (3, "gate.waiting")]
    );
    assert_eq!(events[2].data["gate"], "spec");
    assert_eq!(events[2].at_ms, START_MS + 250);
    assert_eq!(done.event_seq, 3);
    assert_eq!(
        bed.store.notices(&bed.scope, 9).await.unwrap()[0]
            .notice
            .topic,
        "build.waiting"
    );
}

pub(crate) async fn a_stale_commit_fails_alone_in_its_group(bed: Bed) {
    let mut held = Vec::new();
    for at in 0..20 {
        held.push(bed.held(&format!("run{at}")).await);
    }
    held[7].epoch -= 1;
    let commits = held.iter().map(|run| {
        let (store, commit) = (
            bed.store.clone(),
            transition(run, &done(run), Writer::Holder),
        );
        tokio::spawn(async move { store.commit(commit).await })
    });
    let commits: Vec<_> = commits.collect();
    for (at, commit) in commits.into_iter().enumerate() {
        let commit = commit.await.unwrap();
        assert_eq!(
            matches!(commit, Err(CommitError::Stale { .. })),
            at == 7,
            "{commit:?}"
        );
    }
    let mut ghost = held.remove(0);
    ghost.id.0.push('x');
    let unknown = bed.commit(&ghost, &done(&ghost), Writer::Holder).await;
    assert!(matches!(unknown, Err(CommitError::Unknown)));
}

pub(crate) async fn a_refused_row_fails_alone_in_its_group(bed: Bed) {
    let new = |at: usize| {
        let new = build_run(&bed.store.new_id(), &format!("run{at}"));
        if at == 5 {
            of_organization("nobody", new)
        } else {
            new
        }
    };
    let submits: Vec<_> = (0..16)
        .map(|at| {
            let (store, new) = (bed.store.clone(), new(at));
            tokio::spawn(async move { store.submit(new, None).await })
        })
        .collect();
    for (at, submit) in submits.into_iter().enumerate() {
        match submit.await.unwrap() {
            Ok(_) => assert_ne!(at, 5),
            Err(SubmitError::Store(Error::Refused { .. })) => assert_eq!(at, 5),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(bed.claim("worker").await.len(), 15);
}

pub(crate) async fn of_two_that_commit_one_run_at_once_one_wins(bed: Bed) {
    for round in 0..40 {
        let run = bed.held(&format!("run{round}")).await;
        let yes = transition(&run, &done(&run), Writer::Holder);
        let no = transition(&run, &cancel(), Writer::Outsider);
        let (a, b) = tokio::join!(bed.store.commit(yes), bed.other.commit(no));
        let lost = [a.as_ref().err(), b.as_ref().err()];
        // Without the lock on the row the loser's group fails as a whole instead.
        assert!(
            matches!(
                lost,
                [Some(CommitError::Stale { .. }), None] | [None, Some(CommitError::Stale { .. })]
            ),
            "{lost:?}"
        );
        assert_eq!(bed.run(&run.id).await.epoch, run.epoch + 1);
    }
}

pub(crate) async fn events_have_no_gaps_when_many_report_at_once(bed: Bed) {
    let run = bed.held("run").await;
    let said: Vec<_> = (0..60)
        .map(|at| {
            let store = if at % 2 == 0 {
                bed.store.clone()
            } else {
                bed.other.clone()
            };
            let run = run.clone();
            let event = NewEvent::new("progress", "spec", at.to_string());
            let report = Report {
                events: vec![event; 2],
                ..Report::default()
            };
            tokio::spawn(async move { store.report(&run, report).await })
        })
        .collect();
    for report in said {
        report.await.unwrap().unwrap();
    }
    let events = bed
        .store
        .events(&bed.scope, &run.id, 0, 1_000)
        .await
        .unwrap();
    let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=121).collect::<Vec<_>>());
    assert_eq!(bed.store.event_seq(&bed.scope, &run.id).await.unwrap(), 121);
}

pub(crate) async fn a_cancel_by_somebody_else_fences_the_holder(bed: Bed) {
    let run = bed.held("run").await;
    let ended = bed
        .commit(&run, &cancel(), Writer::Outsider)
        .await
        .unwrap()
        .run;
    assert_eq!(
        (ended.status, ended.epoch),
        (RunStatus::Cancelled, run.epoch + 1)
    );
    let late = bed.commit(&run, &done(&run), Writer::Holder).await;
    assert!(matches!(late, Err(CommitError::Stale { .. })));
    let held = bed
        .store
        .renew("worker", std::slice::from_ref(&run.id), LEASE_MS)
        .await
        .unwrap();
    assert_eq!(held, []);
    assert_eq!(bed.claim("worker").await, []);
}

fn yes(id: String) -> Signal {
    Signal::Decided(Decision {
        id: ApprovalId::new(id),
        approved: true,
        by: "anna".to_owned(),
        notes: None,
        subject: Some(digest(4)),
    })
}

pub(crate) async fn waiting_leaves_the_queue_and_a_yes_returns_to_it(bed: Bed) {
    bed.store
        .submit(asking(&bed.store.new_id(), "asks"), None)
        .await
        .unwrap();
    let waiting = bed.work(bed.claim("worker").await.remove(0)).await;
    assert_eq!(waiting.status, RunStatus::Waiting);
    bed.clock.advance(10 * LEASE_MS);
    assert_eq!(bed.claim("worker").await, []);
    let on = bed
        .commit(&waiting, &yes(bed.store.new_id()), Writer::Outsider)
        .await
        .unwrap()
        .run;
    assert_eq!((on.status, on.state.stage()), (RunStatus::Ready, "package"));
    assert_eq!(
        bed.store.approvals(&bed.scope, &on.id).await.unwrap().len(),
        1
    );
    let again = bed.claim("worker").await.remove(0);
    assert_eq!((again.id, again.claims), (on.id, 1));
}

/// Parking and approving at once: whichever comes first, the run goes on (a lost wake-up hung one
/// of 600 runs of a prototype that did not lock the run first).
pub(crate) async fn a_yes_at_the_moment_of_parking_is_never_lost(bed: Bed) {
    for round in 0..25 {
        let new = asking(&bed.store.new_id(), &format!("asks{round}"));
        let id = bed.store.submit(new, None).await.unwrap().id;
        let run = bed.claim("worker").await.remove(0);
        let park = transition(&run, &done(&run), Writer::Holder);
        let approve = async {
            loop {
                let seen = bed.other.run(&bed.scope, &id).await.unwrap().unwrap();
                let Ok(to) = decide(&seen, &yes(bed.store.new_id()), START_MS) else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let commit = agentwright_store::Commit {
                    run: seen,
                    to,
                    writer: Writer::Outsider,
                    audit: None,
                };
                match bed.other.commit(commit).await {
                    Ok(_) => break,
                    Err(CommitError::Stale { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let (parked, ()) = tokio::join!(bed.store.commit(park), approve);
        parked.unwrap();
        let on = bed.claim("worker").await;
        assert_eq!(on.len(), 1, "round {round}: the yes was lost");
        bed.commit(&on[0], &cancel(), Writer::Outsider)
            .await
            .unwrap();
    }
}

pub(crate) async fn a_retry_waits_in_the_queue(bed: Bed) {
    let run = bed.held("run").await;
    let fault = Signal::Fault {
        message: "no answer".to_owned(),
        retryable: true,
    };
    let commit = transition(&run, &fault, Writer::Holder);
    let Next::Requeue { not_before_ms } = commit.to.next else {
        panic!("{commit:?}")
    };
    let again = bed.store.commit(commit).await.unwrap().run;
    assert_eq!((again.status, again.state.attempt()), (RunStatus::Ready, 2));
    assert_eq!(bed.claim("worker").await, []);
    bed.clock.set(not_before_ms);
    assert_eq!(bed.claim("worker").await.len(), 1);
}

pub(crate) async fn work_is_counted_and_waiting_is_not(bed: Bed) {
    bed.store
        .submit(asking(&bed.store.new_id(), "asks"), None)
        .await
        .unwrap();
    bed.clock.advance(1_000);
    let run = bed.claim("worker").await.remove(0);
    bed.clock.advance(30);
    let waiting = bed
        .commit(&run, &done(&run), Writer::Holder)
        .await
        .unwrap()
        .run;
    bed.clock.advance(1_000_000);
    bed.commit(&waiting, &yes(bed.store.new_id()), Writer::Outsider)
        .await
        .unwrap();
    bed.clock.advance(1_000);
    let run = bed.claim("worker").await.remove(0);
    bed.clock.advance(12);
    let run = bed
        .commit(&run, &done(&run), Writer::Holder)
        .await
        .unwrap()
        .run;
    assert_eq!(run.worked_ms, 42);
    // A machine that slept, or whose clock was set: no attempt works longer than its limit.
    let most = run.time_limit().unwrap().left_ms;
    bed.clock.advance(10 * 3_600_000);
    let done = bed.commit(&run, &done(&run), Writer::Holder).await;
    assert_eq!(done.unwrap().run.worked_ms, 42 + most);
}

pub(crate) async fn characters_that_no_engine_keeps_are_replaced(bed: Bed) {
    let run = bed.held("run").await;
    let mut event = NewEvent::new("progress", "spec", "a\0b \\u0000 \u{1F980} \"'; --");
    event.data = serde_json::json!({ "line": "x\0y", "number": 12_345_678_901_234_567_u64 });
    let record = Record::Artifact(EvidenceRef {
        name: "n\0".to_owned(),
        digest: digest(1),
        bytes: 1,
    });
    let report = Report {
        events: vec![event],
        records: vec![record],
    };
    bed.store.report(&run, report).await.unwrap();
    let event = bed
        .store
        .events(&bed.scope, &run.id, 1, 1)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(event.message, "a\u{fffd}b \\u0000 \u{1F980} \"'; --");
    assert_eq!(event.data["number"], 12_345_678_901_234_567_u64);
    let kept = bed.store.artifacts(&bed.scope, &run.id).await.unwrap();
    assert_eq!(kept[0].name, "n\u{fffd}");
}

pub(crate) async fn every_kind_of_record_is_read_back_and_may_be_written_twice(bed: Bed) {
    let run = bed.held("run").await;
    let evidence = EvidenceRef {
        name: "stdout".to_owned(),
        digest: digest(9),
        bytes: 12,
    };
    let result = |verdict| TestResult {
        level: Level::Smoke,
        verdict,
        summary: "it ran".to_owned(),
        log: "line\n".to_owned(),
        evidence: vec![evidence.clone()],
        duration_ms: 1,
        cpu_ms: 2,
        max_rss_bytes: 3,
        tier: "full".to_owned(),
    };
    let approval = Approval {
        id: ApprovalId::new("yes"),
        gate: Gate::Deploy,
        subject: digest(4),
        approved: true,
        by: "anna".to_owned(),
        at_ms: 7,
        notes: None,
        in_advance: false,
    };
    let used = Usage {
        wall_ms: 5,
        cpu_ms: 6,
        max_rss_bytes: 7,
    };
    let records = |verdict| {
        vec![
            Record::TestResult(result(verdict)),
            Record::Approval(approval.clone()),
            Record::Usage(used),
            Record::Artifact(evidence.clone()),
        ]
    };
    let report = Report {
        records: records(Verdict::Fail),
        events: Vec::new(),
    };
    bed.store.report(&run, report).await.unwrap();
    let signal = done_with(&run, records(Verdict::Pass));
    bed.commit(&run, &signal, Writer::Holder).await.unwrap();

    let results = bed.store.test_results(&bed.scope, &run.id).await.unwrap();
    assert_eq!(results.len(), 1);
    assert_eq!(
        (results[0].attempt, &results[0].result),
        (1, &result(Verdict::Pass))
    );
    assert_eq!(
        bed.store.approvals(&bed.scope, &run.id).await.unwrap(),
        [approval]
    );
    assert_eq!(
        bed.store.artifacts(&bed.scope, &run.id).await.unwrap(),
        [evidence]
    );
    // What each attempt used adds up.
    let twice = Usage {
        wall_ms: 10,
        cpu_ms: 12,
        max_rss_bytes: 7,
    };
    assert_eq!(
        bed.store.usage(&bed.scope, &run.id).await.unwrap(),
        Some(twice)
    );
}
