//! Leases.

use crate::bed::{Bed, LEASE_MS, done, of_organization, request};
use agentwright_domain::ids::OrganizationId;
use agentwright_domain::run::{NewEvent, RunStatus};
use agentwright_store::{CommitError, Report, Writer};
use agentwright_testkit::build_run;
use std::collections::BTreeSet;

pub(crate) async fn they_follow_priority_then_age(bed: Bed) {
    let mut ids = Vec::new();
    for (at, priority) in [5, 1, 5, 1].into_iter().enumerate() {
        bed.clock.advance(1);
        let mut new = build_run(&bed.store.new_id(), &format!("run{at}"));
        new.priority = priority;
        ids.push(bed.store.submit(new, None).await.unwrap().id);
    }
    let claimed = bed.claim("worker").await;
    let order: Vec<_> = claimed.iter().map(|run| run.id.clone()).collect();
    assert_eq!(
        order,
        [&ids[1], &ids[3], &ids[0], &ids[2]].map(Clone::clone)
    );
    assert!(
        claimed
            .iter()
            .all(|run| run.status == RunStatus::Leased && run.epoch == 1)
    );
}

pub(crate) async fn they_honour_not_before(bed: Bed) {
    let mut new = build_run(&bed.store.new_id(), "later");
    new.not_before_ms = Some(bed.store.now_ms().await.unwrap() + 100);
    bed.store.submit(new, None).await.unwrap();
    assert_eq!(bed.claim("worker").await, []);
    bed.clock.advance(99);
    assert_eq!(bed.claim("worker").await, []);
    bed.clock.advance(1);
    assert_eq!(bed.claim("worker").await.len(), 1);
}

pub(crate) async fn they_keep_the_global_limit(bed: Bed) {
    for at in 0..5 {
        bed.submit(&format!("run{at}")).await;
    }
    assert_eq!(bed.store.claim(request("a", 2)).await.unwrap().len(), 2);
    // Counted over all processes, not per claimer.
    assert_eq!(bed.other.claim(request("b", 2)).await.unwrap().len(), 0);
    assert_eq!(bed.other.claim(request("b", 3)).await.unwrap().len(), 1);
    let (a, b) = tokio::join!(
        bed.store.claim(request("a", 4)),
        bed.other.claim(request("b", 4))
    );
    assert_eq!(a.unwrap().len() + b.unwrap().len(), 1);
}

pub(crate) async fn they_keep_the_limit_of_an_organization_and_pass_over_it(bed: Bed) {
    let others = OrganizationId::new("others");
    let by = crate::bed::actor();
    bed.store
        .add_organization(&others, "Others", &by)
        .await
        .unwrap();
    for at in 0..30 {
        bed.submit(&format!("run{at}")).await;
    }
    let new = build_run(&bed.store.new_id(), "theirs");
    let theirs = bed
        .store
        .submit(of_organization("others", new), None)
        .await
        .unwrap();
    let mut limited = request("worker", 3);
    for kind in &mut limited.kinds {
        kind.per_organization = 2;
    }
    let claimed = bed.store.claim(limited.clone()).await.unwrap();
    assert_eq!(claimed.len(), 3);
    // The one behind thirty of another organization that has its share is not starved.
    assert!(claimed.iter().any(|run| run.id == theirs.id));
    limited.kinds[0].global = 100;
    limited.kinds[0].free = 100;
    assert_eq!(bed.store.claim(limited).await.unwrap(), []);
}

pub(crate) async fn two_claimers_never_get_the_same_run(bed: Bed) {
    for at in 0..60 {
        bed.submit(&format!("run{at}")).await;
    }
    let some = |owner| {
        let mut request = request(owner, 1_000);
        request.kinds[0].free = 7;
        request
    };
    let mut seen = BTreeSet::new();
    let mut total = 0;
    while total < 60 {
        let (a, b) = tokio::join!(bed.store.claim(some("a")), bed.other.claim(some("b")));
        for run in a.unwrap().into_iter().chain(b.unwrap()) {
            total += 1;
            assert!(seen.insert(run.id.clone()), "{} was claimed twice", run.id);
        }
    }
}

pub(crate) async fn an_expired_lease_is_taken_over_and_the_old_holder_is_fenced(bed: Bed) {
    let old = bed.held("run").await;
    bed.clock.advance(LEASE_MS - 1);
    assert_eq!(bed.claim("next").await, []);
    bed.clock.advance(1);
    let new = bed.other.claim(request("next", 9)).await.unwrap().remove(0);
    assert_eq!(
        (new.id.clone(), new.claims, new.epoch),
        (old.id.clone(), 2, old.epoch + 1)
    );

    let late = bed.commit(&old, &done(&old), Writer::Holder).await;
    assert!(matches!(late, Err(CommitError::Stale { expected }) if expected == old.epoch));
    let report = Report {
        events: vec![NewEvent::new("late", "spec", "late")],
        ..Report::default()
    };
    let late = bed.store.report(&old, report).await;
    assert!(matches!(late, Err(CommitError::Stale { .. })));
    assert_eq!(
        bed.store
            .events(&bed.scope, &old.id, 0, 10)
            .await
            .unwrap()
            .len(),
        1
    );

    let next = bed
        .commit(&new, &done(&new), Writer::Holder)
        .await
        .unwrap()
        .run;
    assert_eq!(next.claims, 0);
}

pub(crate) async fn a_renewed_lease_is_not_taken_over(bed: Bed) {
    let run = bed.held("run").await;
    for _ in 0..4 {
        bed.clock.advance(LEASE_MS / 3);
        let held = bed
            .store
            .renew("worker", std::slice::from_ref(&run.id), LEASE_MS)
            .await
            .unwrap();
        assert_eq!(held, std::slice::from_ref(&run.id));
        assert_eq!(bed.claim("next").await, []);
    }
}

pub(crate) async fn only_the_named_leases_are_renewed(bed: Bed) {
    let (kept, dropped) = (bed.held("kept").await, bed.held("dropped").await);
    bed.clock.advance(LEASE_MS / 2);
    let both = [kept.id.clone(), dropped.id.clone()];
    // Another owner renews nothing; the owner renews what it names and nothing else.
    assert_eq!(bed.other.renew("other", &both, LEASE_MS).await.unwrap(), []);
    assert_eq!(
        bed.store
            .renew("worker", &both[..1], LEASE_MS)
            .await
            .unwrap(),
        &both[..1]
    );
    bed.clock.advance(LEASE_MS / 2);
    let taken = bed.claim("next").await;
    assert_eq!(
        taken.iter().map(|run| &run.id).collect::<Vec<_>>(),
        [&dropped.id]
    );
}

pub(crate) async fn what_a_process_works_on_it_never_claims_again(bed: Bed) {
    let run = bed.held("run").await;
    bed.clock.advance(LEASE_MS * 2);
    let mut mine = request("worker", 9);
    mine.active = vec![run.id.clone()];
    assert_eq!(bed.store.claim(mine).await.unwrap(), []);
    // Once it has dropped it, it may.
    assert_eq!(bed.claim("worker").await.len(), 1);
}

pub(crate) async fn a_run_that_was_given_back_is_ready_and_its_claim_does_not_count(bed: Bed) {
    let run = bed.held("run").await;
    bed.store
        .release("somebody", std::slice::from_ref(&run.id))
        .await
        .unwrap();
    assert_eq!(bed.claim("next").await, []);
    bed.store
        .release("worker", std::slice::from_ref(&run.id))
        .await
        .unwrap();
    assert_eq!(bed.run(&run.id).await.status, RunStatus::Ready);
    let late = bed.commit(&run, &done(&run), Writer::Holder).await;
    assert!(matches!(late, Err(CommitError::Stale { .. })));
    assert_eq!(bed.claim("next").await[0].claims, 1);
}
