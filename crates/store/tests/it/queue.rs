//! The backlog and its receipts.

use crate::bed::{Bed, START_MS};
use agentwright_domain::ids::{OrganizationId, RunId, Slug};
use agentwright_store::{Answer, Idea, Look, OrgScope, RECEIPTS_MAX, Store};
use serde_json::json;

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

fn idea(label: &str, position: i64) -> Idea {
    Idea {
        label: slug(label),
        id: position,
        name: format!("{label} \"quoted\" ü"),
        task_description: "zip it".into(),
        kind: "script".into(),
        infrastructure_requirement: None,
        status: "ready_to_build".into(),
        builder_status: "not_started".into(),
        priority: None,
        position,
        item: json!({"name": label, "criteria": [1, null]}),
        agreed: None,
        base_dir: "/home/ann".into(),
        zone: "Europe/Berlin".into(),
        approved_by: None,
        run: None,
        failures: 0,
        failed_at_ms: None,
        created_at_ms: START_MS,
    }
}

pub(crate) async fn a_write_on_an_old_revision_changes_nothing_and_ideas_are_read_back_in_order(
    bed: Bed,
) {
    let read = async || bed.other.backlog(&bed.scope).await.unwrap();
    let write = async |revision, put: &[Idea], removed: &[Slug]| {
        bed.store
            .write_backlog(&bed.scope, revision, put, removed)
            .await
            .unwrap()
    };
    assert_eq!((read().await.revision, read().await.ideas), (0, Vec::new()));
    let (a, b) = (idea("a", 2), idea("b", 1));
    assert!(write(0, &[a.clone(), b.clone()], &[]).await);
    assert_eq!(read().await.ideas, [b.clone(), a.clone()]);
    // Decided on what was there before: nothing of it is written.
    assert!(!write(0, &[idea("c", 0)], &[slug("a")]).await);
    assert_eq!(read().await.ideas, [b.clone(), a.clone()]);
    let changed = Idea {
        priority: Some(3),
        position: 0,
        agreed: Some(json!({"name": "a"})),
        approved_by: Some("ann".into()),
        run: Some(RunId::new("run")),
        failures: 2,
        failed_at_ms: Some(7),
        builder_status: "failed".into(),
        ..a
    };
    assert!(
        write(
            1,
            std::slice::from_ref(&changed),
            &[slug("b"), slug("nobody")]
        )
        .await
    );
    assert_eq!(
        (read().await.revision, read().await.ideas),
        (2, vec![changed])
    );
    // Of many at once one wins.
    let ideas: Vec<Idea> = (0..6).map(|n| idea(&format!("x{n}"), n)).collect();
    let writes = ideas.iter().map(|one| {
        bed.store
            .write_backlog(&bed.scope, 2, std::slice::from_ref(one), &[])
    });
    let won = futures::future::join_all(writes).await;
    assert_eq!(
        won.into_iter().filter(|won| *won.as_ref().unwrap()).count(),
        1
    );
    assert_eq!(read().await.ideas.len(), 2);
}

pub(crate) async fn what_is_being_built_is_read_with_how_its_run_stands(bed: Bed) {
    let run = bed.submit("run").await;
    let with = |label: &str, status: &str, run: Option<RunId>| Idea {
        builder_status: status.into(),
        run,
        ..idea(label, 1)
    };
    let ideas = [
        with("built", "building", Some(run.clone())),
        with("lost", "building", Some(RunId::new("never"))),
        with("waits", "not_started", None),
        with("done", "deployed", Some(run.clone())),
    ];
    assert!(
        bed.store
            .write_backlog(&bed.scope, 0, &ideas, &[])
            .await
            .unwrap()
    );
    assert_eq!(bed.other.backlog_revision(&bed.scope).await.unwrap(), 1);
    let mut built = bed.other.being_built(&bed.scope).await.unwrap();
    built.sort_by_key(|one| one.label.to_string());
    let stands: Vec<_> = built
        .iter()
        .map(|one| (one.label.as_str(), one.status.map(|status| status.word())))
        .collect();
    assert_eq!(stands, [("built", Some("ready")), ("lost", None)]);
}

pub(crate) async fn an_answer_is_counted_while_it_is_the_same_and_old_ones_are_forgotten(bed: Bed) {
    let look = async |at_ms: i64, answers: &[(&str, &'static str, i64)]| {
        let look = Look {
            at_ms,
            cause: "timer".into(),
            items: u32::try_from(answers.len()).unwrap(),
            started: 0,
        };
        let answers: Vec<Answer> = answers
            .iter()
            .map(|(label, decision, detail)| Answer {
                label: slug(label),
                decision,
                detail: json!({"opens_ms": detail}),
            })
            .collect();
        bed.store
            .write_look(&bed.scope, &look, &answers)
            .await
            .unwrap();
    };
    look(10, &[("a", "window", 1), ("b", "limit", 0)]).await;
    look(20, &[("a", "window", 1), ("b", "start", 0)]).await;
    look(30, &[("a", "window", 2)]).await;
    let of = async |label: &str| {
        let receipts = bed.other.receipts(&bed.scope, &slug(label)).await.unwrap();
        let told = receipts
            .into_iter()
            .map(|one| (one.decision, one.first_at_ms, one.last_at_ms, one.looks));
        told.collect::<Vec<_>>()
    };
    let window = |first, last, looks| ("window".to_owned(), first, last, looks);
    assert_eq!(of("a").await, [window(30, 30, 1), window(10, 20, 2)]);
    assert_eq!(of("b").await.len(), 2);
    let newest = bed.store.newest_receipts(&bed.scope).await.unwrap();
    assert_eq!(newest.len(), 2);
    for n in 0..RECEIPTS_MAX + 9 {
        look(100 + n, &[("a", "window", n)]).await;
    }
    assert_eq!(of("a").await.len(), usize::try_from(RECEIPTS_MAX).unwrap());
    let looks = bed.store.looks(&bed.scope).await.unwrap();
    assert_eq!(
        (looks[0].at_ms, looks[0].items),
        (100 + RECEIPTS_MAX + 8, 1)
    );
    // A month later the old ones are gone.
    look(31 * 24 * 3_600_000, &[]).await;
    assert_eq!(bed.store.looks(&bed.scope).await.unwrap().len(), 1);
}

pub(crate) async fn looks_at_the_same_time_number_their_answers_one_after_the_other(bed: Bed) {
    let look = |store: Store, at_ms: i64| {
        let scope = bed.scope.clone();
        async move {
            let look = Look {
                at_ms,
                cause: "timer".into(),
                items: 1,
                started: 0,
            };
            let answer = Answer {
                label: slug("a"),
                decision: "window",
                detail: json!({"opens_ms": at_ms}),
            };
            store.write_look(&scope, &look, &[answer]).await
        }
    };
    const LOOKS: i64 = 12;
    let stores = [&bed.store, &bed.other];
    let looks = (0..LOOKS).map(|n| look(stores[usize::try_from(n % 2).unwrap()].clone(), n));
    for written in futures::future::join_all(looks).await {
        written.unwrap();
    }
    let receipts = bed.store.receipts(&bed.scope, &slug("a")).await.unwrap();
    assert_eq!(receipts.len(), usize::try_from(LOOKS).unwrap());
}

pub(crate) async fn backlogs_of_other_organizations_are_not_seen(bed: Bed) {
    let other = OrganizationId::new("other");
    let by = crate::bed::actor();
    let added = bed.store.add_organization(&other, "other", &by).await;
    assert!(added.unwrap().is_some());
    let other = OrgScope::authenticated(other);
    assert!(
        bed.store
            .write_backlog(&bed.scope, 0, &[idea("a", 1)], &[])
            .await
            .unwrap()
    );
    let theirs = bed.store.backlog(&other).await.unwrap();
    assert_eq!((theirs.revision, theirs.ideas.len()), (0, 0));
    assert!(
        bed.store
            .write_backlog(&other, 0, &[idea("a", 1)], &[])
            .await
            .unwrap()
    );
    assert!(
        bed.store
            .write_backlog(&other, 1, &[], &[slug("a")])
            .await
            .unwrap()
    );
    assert_eq!(bed.store.backlog(&bed.scope).await.unwrap().ideas.len(), 1);
    let all = bed.store.backlogs().await.unwrap();
    assert_eq!(all, [bed.scope.clone(), other]);
}
