//! The lessons of the prototypes that belong to the engine. The other two, the lock on the run's row
//! and the numbering of events under it, are in the store's suite.

use crate::bed::{Bed, cancel, done, scripted, settings};
use agentwright_domain::run::{RunKind, RunStatus};
use agentwright_engine::{Engine, Settings};
use agentwright_store::{Claim, KindLimit};
use agentwright_testkit::{DEADLINE, Empty, TestClock, eventually, sqlite, temp_dir};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Renewing "whatever is mine" under a stable name keeps a dead predecessor's leases alive forever.
#[tokio::test]
async fn a_dead_process_s_leases_are_renewed_by_nobody() {
    let bed = Bed::new().await;
    let claim = Claim {
        owner: "dead".to_owned(),
        lease_ms: 15_000,
        kinds: vec![KindLimit {
            kind: RunKind::Build,
            free: 1,
            global: 9,
            per_organization: 9,
        }],
        active: Vec::new(),
    };
    let left = bed.submit("left").await;
    assert_eq!(bed.store.claim(claim).await.unwrap().len(), 1);
    let (begun, mut begins) = mpsc::unbounded_channel();
    let often = Settings {
        lease: Duration::from_millis(60),
        ..settings()
    };
    let engine = bed.engine(
        scripted(move |run, handle| {
            let begun = begun.clone();
            async move {
                begun.send(run.id.clone()).unwrap();
                handle.cancelled().cancelled().await;
                done(&run)
            }
        }),
        often,
    );
    let mine = bed.submit("mine").await;
    engine.wake(&mine, 0);
    assert_eq!(begins.recv().await.unwrap(), mine);
    // Its own lease is renewed meanwhile, again and again; the dead one's runs out.
    let until = async || {
        bed.store
            .run_row(&bed.scope, &mine)
            .await
            .unwrap()
            .unwrap()
            .live
    };
    for _ in 0..5 {
        bed.clock.advance(59);
        eventually("its own lease is renewed", async || {
            bed.clock.advance(0);
            until().await.then_some(())
        })
        .await;
    }
    bed.clock.advance(15_000);
    assert_eq!(begins.recv().await.unwrap(), left);
    engine.stop(Duration::ZERO).await;
}

/// A cancel without the epoch is undone by the worker's commit; one without the token lets it work on.
#[tokio::test]
async fn a_cancel_moves_the_epoch_and_fires_the_token() {
    let bed = Bed::new().await;
    let (said, mut says) = mpsc::unbounded_channel();
    let engine = bed.engine(
        scripted(move |run, handle| {
            let said = said.clone();
            async move {
                said.send("begun").unwrap();
                handle.cancelled().cancelled().await;
                said.send("told").unwrap();
                // It finishes all the same, and well.
                done(&run)
            }
        }),
        settings(),
    );
    let id = bed.submit("cancelled").await;
    engine.wake(&id, 0);
    assert_eq!(says.recv().await, Some("begun"));
    let before = bed.run(&id).await.epoch;
    let cancelled = engine
        .signal(&bed.scope, &id, cancel(), None)
        .await
        .unwrap();
    assert_eq!(
        (cancelled.status, cancelled.epoch),
        (RunStatus::Cancelled, before + 1)
    );
    assert_eq!(says.recv().await, Some("told"));
    eventually("its slot is free", async || {
        engine.active().is_empty().then_some(())
    })
    .await;
    assert_eq!(bed.run(&id).await, cancelled);
    engine.stop(DEADLINE).await;
}

/// A process whose clock runs ahead must not take over what another one works on.
#[tokio::test]
async fn a_clock_that_runs_ahead_takes_no_lease_away() {
    let dir = temp_dir();
    let store = sqlite(dir.path()).await;
    let (begun, mut begins) = mpsc::unbounded_channel();
    let slow = scripted(move |run, handle| {
        let begun = begun.clone();
        async move {
            begun.send(()).unwrap();
            handle.cancelled().cancelled().await;
            done(&run)
        }
    });
    let one = Settings {
        builds: 1,
        ..settings()
    };
    let right: Arc<dyn agentwright_engine::Clock> = Arc::new(agentwright_engine::SystemClock);
    let first = Engine::start(
        store.clone(),
        Arc::clone(&right),
        vec![(RunKind::Build, slow)],
        one,
    );
    let new = agentwright_testkit::build_run(&store.new_id(), "held");
    let held = first.submit(new, None).await.unwrap().id;
    begins.recv().await.unwrap();

    let ahead = TestClock::at(right.now_ms() + 10 * 365 * 86_400_000);
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let quick = scripted(move |run, _| {
        counted.fetch_add(u32::from(run.label.as_str() == "held"), Ordering::SeqCst);
        async move { done(&run) }
    });
    let second = Engine::start(
        store.clone(),
        Arc::new(ahead),
        vec![(RunKind::Build, quick)],
        settings(),
    );
    let new = agentwright_testkit::build_run(&store.new_id(), "other");
    let other = second.submit(new, None).await.unwrap().id;
    let scope = agentwright_store::OrgScope::local();
    eventually("the second one works", async || {
        let run = store.run(&scope, &other).await.unwrap().unwrap();
        run.status.ended().then_some(())
    })
    .await;
    assert_eq!(count.load(Ordering::SeqCst), 0);
    assert!(store.run_row(&scope, &held).await.unwrap().unwrap().live);
    second.stop(DEADLINE).await;
    first.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_timer_is_a_row_and_fires_when_its_time_has_come() {
    let bed = Bed::new().await;
    let engine = bed.engine(Arc::new(Empty), settings());
    let mut new = agentwright_testkit::build_run(&bed.store.new_id(), "later");
    new.not_before_ms = Some(crate::bed::START_MS + 3_600_000);
    let id = engine.submit(new, None).await.unwrap().id;
    engine.wake(&id, crate::bed::START_MS + 3_600_000);
    let first = bed.submit("first").await;
    bed.is(&first, RunStatus::Completed).await;
    assert_eq!(bed.run(&id).await.status, RunStatus::Ready);
    bed.clock.advance(3_600_000);
    bed.is(&id, RunStatus::Completed).await;
    engine.stop(DEADLINE).await;
}
