//! One attempt: what ends it, and what its end means.

use crate::bed::{Bed, cancel, done, done_with, scripted, settings};
use agentwright_domain::build::{FailureClass, Phase, WORK_MAX_MS};
use agentwright_domain::execution::ExecutionOutcome;
use agentwright_domain::run::{
    Expected, NewEvent, Record, Run, RunState, RunStatus, Signal, Usage,
};
use agentwright_engine::{Settings, SignalError};
use agentwright_testkit::{DEADLINE, Empty, build_run, slug};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

fn failure(run: &Run) -> (FailureClass, String) {
    let RunState::Build(state) = &run.state else {
        panic!("no build")
    };
    let Phase::Failed { class, reason, .. } = &state.phase else {
        panic!("{:?}", state.phase)
    };
    (*class, reason.clone())
}

#[tokio::test]
async fn a_build_goes_through_all_its_stages_to_its_end() {
    let bed = Bed::new().await;
    let engine = bed.engine(Arc::new(Empty), settings());
    let new = build_run(&bed.store.new_id(), "empty");
    let id = engine.submit(new.clone(), None).await.unwrap().id;
    assert!(engine.submit(new, None).await.unwrap().repeated());
    let mut seq = 0;
    let run = loop {
        let run = bed.run(&id).await;
        if run.status.ended() {
            break run;
        }
        seq = engine
            .changed(&bed.scope, &id, seq, DEADLINE)
            .await
            .unwrap();
    };
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!(bed.store.stages(&bed.scope, &id).await.unwrap().len(), 8);
    let late = engine.signal(&bed.scope, &id, cancel(), None).await;
    assert!(matches!(late, Err(SignalError::Refused(_))));
    engine.stop(DEADLINE).await;
    assert!(engine.active().is_empty());
}

#[tokio::test]
async fn a_panic_is_a_fault_and_tried_again() {
    let bed = Bed::new().await;
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    let engine = bed.engine(
        scripted(move |run, _| {
            let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                assert!(!first, "boom");
                done(&run)
            }
        }),
        settings(),
    );
    let id = bed.submit("panics").await;
    assert_eq!(bed.ended(&id).await.status, RunStatus::Completed);
    let stages = bed.store.stages(&bed.scope, &id).await.unwrap();
    assert_eq!(
        (stages[0].status.as_str(), stages[1].status.as_str()),
        ("retried", "done")
    );
    assert!(stages[0].summary.contains("boom"), "{}", stages[0].summary);
    engine.stop(DEADLINE).await;
}

#[tokio::test]
async fn work_beyond_its_limit_is_ended_and_waiting_does_not_count() {
    let bed = Bed::new().await;
    let clock = bed.clock.clone();
    let engine = bed.engine(
        scripted(move |run, handle| {
            let clock = clock.clone();
            async move {
                // No stage counts for more than its own limit; together they use up all of it.
                if run.state.stage() != "preview" {
                    clock.advance(WORK_MAX_MS);
                    return done(&run);
                }
                // Only its token ends it.
                handle.cancelled().cancelled().await;
                done(&run)
            }
        }),
        settings(),
    );
    let id = bed.submit("slow").await;
    let run = bed.ended(&id).await;
    let (class, reason) = failure(&run);
    assert_eq!(class, FailureClass::Limit);
    assert!(reason.contains("2 hours"), "{reason}");
    engine.stop(DEADLINE).await;
}

#[tokio::test]
async fn a_run_that_kills_its_workers_is_given_up() {
    let bed = Bed::new().await;
    let id = bed.submit("deadly").await;
    for worker in 0..5 {
        let kinds = vec![agentwright_store::KindLimit {
            kind: agentwright_domain::run::RunKind::Build,
            free: 1,
            global: 1,
            per_organization: 1,
        }];
        let claim = agentwright_store::Claim {
            owner: format!("dead{worker}"),
            lease_ms: 10,
            kinds,
            active: Vec::new(),
        };
        assert_eq!(bed.store.claim(claim).await.unwrap().len(), 1);
        bed.clock.advance(10);
    }
    let engine = bed.engine(
        scripted(|_, _| async { panic!("not worked again") }),
        settings(),
    );
    let run = bed.ended(&id).await;
    assert!(failure(&run).1.contains("workers died"), "{run:?}");
    engine.stop(DEADLINE).await;
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_a_fault_of_ours() {
    let bed = Bed::new().await;
    let engine = bed.engine(
        scripted(|_, _| async {
            Signal::Executed {
                outcome: Box::new(ExecutionOutcome::Succeeded {
                    summary: "wrong kind".to_owned(),
                    usage: Usage::default(),
                    log: None,
                    notices: Vec::new(),
                }),
            }
        }),
        settings(),
    );
    let id = bed.submit("odd").await;
    let run = bed.ended(&id).await;
    assert_eq!(failure(&run).0, FailureClass::Fault);
    engine.stop(DEADLINE).await;
}

#[tokio::test]
async fn a_stage_whose_outcome_expects_what_is_no_longer_so_is_done_again() {
    let bed = Bed::new().await;
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    let engine = bed.engine(
        scripted(move |run, _| {
            let expected = Expected {
                name: slug("backup"),
                deployed: true,
            };
            let records = match counted.fetch_add(1, Ordering::SeqCst) {
                0 => vec![Record::Expects(expected)],
                _ => Vec::new(),
            };
            async move { done_with(&run, records) }
        }),
        settings(),
    );
    let id = bed.submit("changes").await;
    assert_eq!(bed.ended(&id).await.status, RunStatus::Completed);
    let stages = bed.store.stages(&bed.scope, &id).await.unwrap();
    let first: Vec<_> = stages.iter().take(2).map(|it| it.status.as_str()).collect();
    assert_eq!(first, ["retried", "done"]);
    let why = &stages[0].summary;
    assert!(why.contains("backup was removed meanwhile"), "{why}");
    engine.stop(DEADLINE).await;
}

#[tokio::test]
async fn stopping_lets_work_finish_and_gives_back_the_rest() {
    let bed = Bed::new().await;
    let (begun, mut begins) = mpsc::unbounded_channel();
    let engine = bed.engine(
        scripted(move |run, _| {
            begun.send(run.id.clone()).unwrap();
            async { std::future::pending().await }
        }),
        settings(),
    );
    let id = bed.submit("endless").await;
    engine.wake(&id, 0);
    begins.recv().await.unwrap();
    assert_eq!(engine.active(), std::slice::from_ref(&id));
    engine.stop(Duration::from_millis(10)).await;
    let run = bed.run(&id).await;
    assert_eq!((run.status, run.claims), (RunStatus::Ready, 0));
    // The next process takes it up at once.
    let engine = bed.engine(Arc::new(Empty), settings());
    assert_eq!(bed.ended(&id).await.status, RunStatus::Completed);
    engine.stop(DEADLINE).await;
}

#[tokio::test]
async fn what_an_attempt_reports_is_durable_until_it_is_cancelled() {
    let bed = Bed::new().await;
    let (said, mut says) = mpsc::unbounded_channel();
    let engine = bed.engine(
        scripted(move |run, handle| {
            let said = said.clone();
            async move {
                handle.progress(40, "reading").await.unwrap();
                handle
                    .event(NewEvent::new("note", "spec", "half way"))
                    .await
                    .unwrap();
                handle.keep("stdout", b"hello".to_vec()).await.unwrap();
                said.send(None).unwrap();
                handle.cancelled().cancelled().await;
                let late = handle.progress(90, "too late").await;
                said.send(Some(late.unwrap_err().to_string())).unwrap();
                done(&run)
            }
        }),
        settings(),
    );
    let id = bed.submit("reports").await;
    assert_eq!(says.recv().await.unwrap(), None);
    let events = bed.store.events(&bed.scope, &id, 1, 9).await.unwrap();
    assert_eq!(
        (events[0].message.as_str(), &events[0].data["percent"]),
        ("reading", &40.into())
    );
    assert_eq!(events[1].event, "note");
    let kept = bed
        .store
        .artifacts(&bed.scope, &id)
        .await
        .unwrap()
        .remove(0);
    let bytes = bed.store.artifact(&kept.digest).await.unwrap();
    assert_eq!(bytes.as_deref(), Some(b"hello".as_slice()));

    let cancelled = engine
        .signal(&bed.scope, &id, cancel(), None)
        .await
        .unwrap();
    assert_eq!(cancelled.status, RunStatus::Cancelled);
    let late = says.recv().await.unwrap().unwrap();
    assert!(late.contains("no longer holds"), "{late}");
    engine.stop(DEADLINE).await;
    assert_eq!(bed.run(&id).await, cancelled);
    let last = bed
        .store
        .events(&bed.scope, &id, 0, 99)
        .await
        .unwrap()
        .pop()
        .unwrap();
    assert_eq!(last.event, "run.ended");
}

#[tokio::test]
async fn never_more_than_the_limit_work_at_once() {
    let bed = Bed::new().await;
    let now = Arc::new(Mutex::new((0_u32, 0_u32)));
    let counted = Arc::clone(&now);
    let limits = Settings {
        builds: 2,
        ..settings()
    };
    let engine = bed.engine(
        scripted(move |run, _| {
            let counted = Arc::clone(&counted);
            async move {
                {
                    let mut now = counted.lock().unwrap();
                    now.0 += 1;
                    now.1 = now.1.max(now.0);
                }
                tokio::task::yield_now().await;
                counted.lock().unwrap().0 -= 1;
                done(&run)
            }
        }),
        limits,
    );
    let mut ids = Vec::new();
    for at in 0..8 {
        ids.push(bed.submit(&format!("run{at}")).await);
    }
    for id in ids {
        assert_eq!(bed.ended(&id).await.status, RunStatus::Completed);
    }
    assert!(now.lock().unwrap().1 <= 2);
    engine.stop(DEADLINE).await;
}
