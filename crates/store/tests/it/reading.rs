//! Reads.

use crate::bed::{Bed, LEASE_MS, START_MS, cancel, done, of_organization};
use crate::deployments::deployed;
use agentwright_domain::ids::{GrantId, OrganizationId, RunId};
use agentwright_domain::run::{RunKind, RunStatus};
use agentwright_store::{Order, OrgScope, RunFilter, Search, Writer};
use agentwright_testkit::{build_run, execution_run, slug};
use std::time::Duration;

pub(crate) async fn lists_are_newest_first_and_filtered(bed: Bed) {
    let mut ids = Vec::new();
    for at in 0..6 {
        ids.push(bed.submit(&format!("run{at}")).await);
    }
    let execution = execution_run(&bed.store.new_id(), "backup");
    ids.push(bed.store.submit(execution, None).await.unwrap().id);
    bed.commit(&bed.run(&ids[2]).await, &cancel(), Writer::Outsider)
        .await
        .unwrap();
    ids.reverse();
    let list = async |filter| {
        let rows = bed.store.runs(&bed.scope, filter).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(list(RunFilter::default()).await, ids);
    let builds = RunFilter {
        kind: Some(RunKind::Build),
        ..RunFilter::default()
    };
    assert_eq!(list(builds.clone()).await, ids[1..]);
    let ended = RunFilter {
        open: Some(false),
        ..builds.clone()
    };
    assert_eq!(list(ended).await, [ids[4].clone()]);
    let cancelled = RunFilter {
        status: Some(RunStatus::Cancelled),
        ..RunFilter::default()
    };
    assert_eq!(list(cancelled).await, [ids[4].clone()]);
    let open = RunFilter {
        open: Some(true),
        label: Some(slug("run0")),
        ..builds.clone()
    };
    assert_eq!(list(open).await, [ids[6].clone()]);
    let page = RunFilter {
        limit: 2,
        before: Some(ids[2].clone()),
        ..builds
    };
    assert_eq!(list(page).await, ids[3..5]);
}

pub(crate) async fn builds_are_found_by_words_in_either_order(bed: Bed) {
    let mut ids = Vec::new();
    for label in ["notes-zip", "url-watch", "notes-again"] {
        ids.push(bed.submit(label).await);
    }
    let execution = execution_run(&bed.store.new_id(), "notes-zip");
    bed.store.submit(execution, None).await.unwrap();
    let find = async |search: Search| {
        let rows = bed.store.search_builds(&bed.scope, &search).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let words = |words: &str| Search {
        words: words.to_owned(),
        limit: 50,
        ..Search::default()
    };
    let newest = [ids[2].clone(), ids[1].clone(), ids[0].clone()];
    assert_eq!(find(words("")).await, newest);
    assert_eq!(
        find(words(" NOTES")).await,
        [ids[2].clone(), ids[0].clone()]
    );
    assert_eq!(find(words(ids[1].as_str())).await, [ids[1].clone()]);
    for nothing in ["%", "_otes", "~", "\"", "no such words"] {
        assert_eq!(find(words(nothing)).await, [], "{nothing}");
    }
    let oldest = Search {
        order: Order::Oldest,
        after: Some(ids[0].clone()),
        ..words("")
    };
    assert_eq!(find(oldest).await, ids[1..]);
    let page = Search {
        after: Some(ids[2].clone()),
        limit: 1,
        ..words("")
    };
    assert_eq!(find(page).await, [ids[1].clone()]);
    bed.commit(&bed.run(&ids[1]).await, &cancel(), Writer::Outsider)
        .await
        .unwrap();
    let cancelled = Search {
        status: Some(RunStatus::Cancelled),
        ..words("")
    };
    assert_eq!(find(cancelled).await, [ids[1].clone()]);
    let ended = bed.store.ended_since(&bed.scope, 0).await.unwrap();
    assert_eq!(
        (ended.len(), ended[0].status, ended[0].generated),
        (1, RunStatus::Cancelled, 0)
    );
    let later = ended[0].ended_at_ms + 1;
    assert_eq!(bed.store.ended_since(&bed.scope, later).await.unwrap(), []);
    let foreign = OrgScope::authenticated(OrganizationId::new("other"));
    assert_eq!(
        bed.store.search_builds(&foreign, &words("")).await.unwrap(),
        []
    );
}

pub(crate) async fn a_run_is_found_by_label_and_by_the_beginning_of_its_id(bed: Bed) {
    let first = bed.submit("backup").await;
    bed.commit(&bed.run(&first).await, &cancel(), Writer::Outsider)
        .await
        .unwrap();
    let second = bed.submit("backup").await;
    let find = async |kind, text: &str| bed.store.find_runs(&bed.scope, kind, text).await.unwrap();
    let (build, execution) = (RunKind::Build, RunKind::Execution);
    assert_eq!(find(build, "backup").await, [second]);
    assert_eq!(find(execution, "backup").await, []);
    assert_eq!(
        find(build, first.as_str()).await,
        std::slice::from_ref(&first)
    );
    assert_eq!(find(execution, first.as_str()).await, []);
    assert_eq!(
        find(build, &first.0[..30]).await,
        std::slice::from_ref(&first)
    );
    assert_eq!(find(build, &first.0[..7]).await, []);
    assert_eq!(find(build, "%%%%%%%%%%").await, []);
}

pub(crate) async fn running_is_said_only_while_the_lease_is_live(bed: Bed) {
    let id = bed.submit("run").await;
    let live = async || {
        bed.store
            .run_row(&bed.scope, &id)
            .await
            .unwrap()
            .unwrap()
            .live
    };
    assert!(!live().await);
    bed.claim("worker").await;
    assert!(live().await);
    assert!(
        bed.store
            .runs(&bed.scope, RunFilter::default())
            .await
            .unwrap()[0]
            .live
    );
    bed.clock.advance(LEASE_MS);
    assert!(!live().await);
    let row = bed.store.run_row(&bed.scope, &id).await.unwrap().unwrap();
    assert_eq!(
        (row.status, row.started_at_ms),
        (RunStatus::Leased, Some(START_MS))
    );
    assert_eq!(
        bed.store
            .run_row(&bed.scope, &RunId::new("none"))
            .await
            .unwrap(),
        None
    );
}

pub(crate) async fn another_organization_sees_nothing(bed: Bed) {
    let others = OrganizationId::new("others");
    let by = crate::bed::actor();
    for made in [true, false] {
        let added = bed.store.add_organization(&others, "Others", &by).await;
        assert_eq!(added.unwrap().is_some(), made);
    }
    let seen = deployed(&bed, 1..=1).await;
    let run = bed.held("mine").await;
    bed.commit(&run, &done(&run), Writer::Holder).await.unwrap();
    let (store, their, name) = (&bed.store, OrgScope::authenticated(others), slug("backup"));
    let id = &run.id;

    assert_eq!(store.run(&their, id).await.unwrap(), None);
    assert_eq!(store.run_row(&their, id).await.unwrap(), None);
    for text in ["mine", id.as_str(), &id.as_str()[..30]] {
        let found = store.find_runs(&their, RunKind::Build, text).await.unwrap();
        assert_eq!(found, []);
    }
    assert_eq!(store.run_and_row(&their, id).await.unwrap(), None);
    assert_eq!(store.runs(&their, RunFilter::default()).await.unwrap(), []);
    assert_eq!(store.events(&their, id, 0, 9).await.unwrap(), []);
    assert_eq!(store.event_seq(&their, id).await.unwrap(), 0);
    assert_eq!(store.stages(&their, id).await.unwrap(), []);
    assert_eq!(store.test_results(&their, id).await.unwrap(), []);
    assert_eq!(store.approvals(&their, id).await.unwrap(), []);
    assert_eq!(store.artifacts(&their, id).await.unwrap(), []);
    assert_eq!(store.usage(&their, id).await.unwrap(), None);
    assert_eq!(store.usage_totals(&their, &name).await.unwrap().runs, 0);
    assert_eq!(store.deployments(&their).await.unwrap(), []);
    assert_eq!(store.deployment(&their, &name).await.unwrap(), None);
    assert_eq!(store.versions(&their, &name).await.unwrap(), []);
    assert_eq!(store.version(&their, &name, 1).await.unwrap(), None);
    assert_eq!(store.grants(&their, &name).await.unwrap(), []);
    let grant = GrantId::new("backup-grant-1");
    assert_eq!(store.grant(&their, &grant).await.unwrap(), None);
    assert!(!store.revoke_grant(&their, &grant).await.unwrap());
    assert!(
        !store
            .set_activity(&their, &name, seen.revision, &seen.activity, None, None)
            .await
            .unwrap()
    );
    assert!(!store.set_endpoint(&their, &name, None).await.unwrap());
    let firing = of_organization("others", execution_run(&store.new_id(), "backup"));
    assert!(
        !store
            .fire(&their, &name, seen.revision, firing, None)
            .await
            .unwrap()
    );
    assert!(!store.remove_deployment(&their, &name).await.unwrap());
    assert_eq!(store.services(&their).await.unwrap(), []);
    assert_eq!(store.notices(&their, 9).await.unwrap(), []);
    // The same label and the same key are theirs to use.
    let new = of_organization("others", build_run(&store.new_id(), "mine"));
    store.submit(new, None).await.unwrap();
    // A run that is named with the wrong organization is unknown.
    let mut theirs = bed.run(id).await;
    theirs.organization = OrganizationId::new("others");
    let stolen = bed.commit(&theirs, &cancel(), Writer::Outsider).await;
    assert!(matches!(
        stolen,
        Err(agentwright_store::CommitError::Unknown)
    ));
}

pub(crate) async fn news_of_a_run_wakes_whoever_waits(bed: Bed) {
    let run = bed.held("run").await;
    let long = Duration::from_secs(60);
    let (store, scope, id) = (bed.store.clone(), bed.scope.clone(), run.id.clone());
    let seq = store.changed(&scope, &id, 0, long).await.unwrap();
    assert_eq!(seq, 1);
    let waiting = tokio::spawn(async move { store.changed(&scope, &id, seq, long).await });
    // Committed by the other process: on PostgreSQL nothing in this one signals it.
    let commit = crate::bed::transition(&run, &done(&run), Writer::Holder);
    bed.other.commit(commit).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 2);
    let none = bed
        .store
        .changed(&bed.scope, &run.id, 2, Duration::from_millis(20))
        .await;
    assert_eq!(none.unwrap(), 2);
    // Whoever waits for the end sleeps through what comes before it.
    let (store, scope, id) = (bed.store.clone(), bed.scope.clone(), run.id.clone());
    let waiting =
        tokio::spawn(async move { store.settled(&scope, RunKind::Build, &id, long).await });
    let run = bed.run(&run.id).await;
    bed.work(run.clone()).await;
    let (told, row) = waiting.await.unwrap().unwrap().unwrap();
    assert!(told.status.ended() && row.status.ended());
    let settled = async |kind, id: &RunId| {
        let found = bed.store.settled(&bed.scope, kind, id, long).await;
        found.unwrap().map(|(run, _)| run)
    };
    assert_eq!(settled(RunKind::Build, &run.id).await, Some(told));
    assert_eq!(settled(RunKind::Build, &RunId::new("none")).await, None);
    // Nobody waits for a run of another kind, though it goes on.
    let id = bed.store.new_id();
    let execution = execution_run(&id, "notes");
    bed.store.submit(execution, None).await.unwrap();
    assert_eq!(settled(RunKind::Build, &RunId::new(&id)).await, None);
}
