//! Lists of whole builds, and what is read across runs.

use crate::bed::{Bed, START_MS, asking, cancel, done, of_organization};
use agentwright_domain::ids::{OrganizationId, RunId};
use agentwright_domain::run::{NewEvent, Run, Signal};
use agentwright_domain::spend::{Amount, PlannedCall, SettledCall};
use agentwright_store::{BuildFilter, OrgScope, Report, Standing, Writer};
use agentwright_testkit::{build_run, execution_run};
use serde_json::json;

async fn ids(bed: &Bed, filter: BuildFilter) -> Vec<RunId> {
    let limit = filter.limit.max(1);
    let filter = BuildFilter { limit, ..filter };
    let rows = bed.store.builds(&bed.scope, filter).await.unwrap();
    rows.into_iter().map(|row| row.run.id).collect()
}

pub(crate) async fn builds_are_listed_by_how_they_stand_and_when_they_came(bed: Bed) {
    let ended = bed.held("ended").await;
    let done_one = bed.work(ended).await;
    let gated = bed.store.new_id();
    bed.store
        .submit(asking(&gated, "gated"), None)
        .await
        .unwrap();
    let at_gate = bed.claim("worker").await.remove(0);
    let at_gate = bed.work(at_gate).await;
    let begun = bed.held("begun").await;
    bed.clock.advance(1_000);
    let gone = bed.submit("gone").await;
    let gone = bed
        .commit(&bed.run(&gone).await, &cancel(), Writer::Outsider)
        .await
        .unwrap()
        .run;
    let fresh = bed.submit("fresh").await;
    let execution = execution_run(&bed.store.new_id(), "backup");
    bed.store.submit(execution, None).await.unwrap();
    let foreign = OrganizationId::new("other");
    let by = crate::bed::actor();
    bed.store
        .add_organization(&foreign, "other", &by)
        .await
        .unwrap();
    let theirs = build_run(&bed.store.new_id(), "theirs");
    bed.store
        .submit(of_organization("other", theirs), None)
        .await
        .unwrap();

    let all = BuildFilter {
        limit: 100,
        ..BuildFilter::default()
    };
    let newest = [&fresh, &gone.id, &begun.id, &at_gate.id, &done_one.id].map(RunId::clone);
    assert_eq!(ids(&bed, all).await, newest);
    let page = BuildFilter {
        limit: 2,
        offset: 1,
        ..all
    };
    assert_eq!(ids(&bed, page).await, newest[1..3]);
    for (standing, found) in [
        (Standing::New, Some(&fresh)),
        (Standing::Begun, Some(&begun.id)),
        (Standing::Gate, Some(&at_gate.id)),
        (Standing::Completed, Some(&done_one.id)),
        (Standing::Failed, None),
        (Standing::Cancelled, Some(&gone.id)),
    ] {
        let filter = BuildFilter {
            standing: Some(standing),
            ..all
        };
        let found: Vec<RunId> = found.into_iter().cloned().collect();
        assert_eq!(ids(&bed, filter).await, found, "{standing:?}");
    }
    let early = BuildFilter {
        to_ms: Some(START_MS),
        ..all
    };
    assert_eq!(ids(&bed, early).await, newest[2..]);
    let late = BuildFilter {
        from_ms: Some(START_MS + 1),
        ..all
    };
    assert_eq!(ids(&bed, late).await, newest[..2]);

    let row = bed
        .store
        .build(&bed.scope, &begun.id)
        .await
        .unwrap()
        .unwrap();
    assert!(row.live && row.run == bed.run(&begun.id).await);
    let other = OrgScope::authenticated(foreign);
    assert!(bed.store.build(&other, &begun.id).await.unwrap().is_none());
    let at_work = async |of| bed.store.builds_at_work(of).await.unwrap();
    assert_eq!(at_work(None).await, (1, 2), "of all organizations");
    let mine = at_work(Some(&bed.scope)).await;
    let theirs = at_work(Some(&other)).await;
    assert_eq!((mine.0 + theirs.0, mine.1 + theirs.1), (1, 2));
    assert_eq!((mine.0, theirs.0), (1, 0), "what is worked on is ours");
    let open = bed.store.open_runs(&bed.scope).await.unwrap();
    assert_eq!(open.len(), 4, "three builds and an execution");
    let named = bed.store.runs_of(&other, &newest).await.unwrap();
    assert_eq!(named, []);
    let named = bed.store.runs_of(&bed.scope, &newest[..1]).await.unwrap();
    assert_eq!(named, [(fresh, "build".into(), "fresh".into())]);
}

pub(crate) async fn stages_progress_and_times_are_read_for_several_builds(bed: Bed) {
    let first = bed.held("first").await;
    let first = bed.work(first).await;
    let second = bed.held("second").await;
    let said = |percent: u8| {
        let mut event = NewEvent::new("progress", "spec", "working");
        event.data = json!({ "percent": percent });
        Report {
            records: Vec::new(),
            events: vec![event],
        }
    };
    assert_eq!(bed.store.progress(&bed.scope, &second).await.unwrap(), 0);
    for percent in [10, 40] {
        bed.store.report(&second, said(percent)).await.unwrap();
    }
    assert_eq!(bed.store.progress(&bed.scope, &second).await.unwrap(), 40);
    let moved: Run = bed
        .commit(&second, &done(&second), Writer::Holder)
        .await
        .unwrap()
        .run;
    assert_eq!(bed.store.progress(&bed.scope, &moved).await.unwrap(), 0);

    let both = [first.id.clone(), second.id.clone()];
    let stages = bed.store.stages_of(&bed.scope, &both).await.unwrap();
    let alone = bed.store.stages(&bed.scope, &first.id).await.unwrap();
    assert_eq!(stages[&first.id], alone);
    assert_eq!(stages[&second.id].len(), 1);
    let ended = bed.store.ended_builds(&bed.scope, 10).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(
        (&ended[0].id, ended[0].worked_ms),
        (&first.id, first.worked_ms)
    );
    assert_eq!(ended[0].label, "first");
}

pub(crate) async fn the_last_call_of_a_provider_tells_how_it_ended(bed: Bed) {
    let run = bed.held("first").await;
    let last = async || bed.store.last_call("anthropic", START_MS).await.unwrap();
    assert_eq!(last().await, None);
    let call = PlannedCall {
        role: "spec".into(),
        provider: "anthropic".into(),
        model: "m1".into(),
        wire_attempt: 1,
        most: Amount {
            calls: 1,
            tokens: 1_000,
            micro_usd: 10,
            wire_ms: 1_000,
        },
    };
    let agentwright_store::Reserved::Yes(id) = bed.store.reserve(&run, &call).await.unwrap() else {
        panic!("not reserved");
    };
    assert_eq!(last().await, None, "it goes on");
    let settled = SettledCall {
        ended: "overloaded".into(),
        ..SettledCall::default()
    };
    bed.store.settle(&bed.scope, &id, &settled).await.unwrap();
    assert_eq!(last().await, Some(Some("overloaded".into())));
    let later = bed
        .store
        .last_call("anthropic", START_MS + 1)
        .await
        .unwrap();
    assert_eq!(later, None);
}

pub(crate) async fn every_commit_of_this_process_is_heard_in_order(bed: Bed) {
    let mut commits = bed.store.commits();
    let id = bed.submit("heard").await;
    let run = bed.claim("worker").await.remove(0);
    bed.commit(&run, &done(&run), Writer::Holder).await.unwrap();
    let signal: Signal = cancel();
    let now = bed.run(&id).await;
    bed.commit(&now, &signal, Writer::Outsider).await.unwrap();
    let mut last = 0;
    while let Ok((run, seq)) = commits.try_recv() {
        assert_eq!(run, id);
        assert!(seq > last);
        last = seq;
    }
    assert_eq!(last, bed.store.event_seq(&bed.scope, &id).await.unwrap());
}
