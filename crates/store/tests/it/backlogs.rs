//! Connected tables and what is known of their rows.

use crate::bed::{Bed, START_MS};
use agentwright_domain::ids::{OrganizationId, RunId, Slug};
use agentwright_store::{BacklogSource, KnownRow, OrgScope};
use serde_json::json;

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

fn source(name: &str) -> BacklogSource {
    BacklogSource {
        name: slug(name),
        reference: "env:BUSINESS".into(),
        ideas_table: "public.automation_ideas".into(),
        results_table: "agent_test_results".into(),
        base_dir: "/home/ann".into(),
        zone: "Europe/Berlin".into(),
        added_by: "ann".into(),
        created_at_ms: START_MS,
        looked_at_ms: None,
        failures: 0,
        error: None,
    }
}

fn row(id: i64) -> KnownRow {
    KnownRow {
        source: slug("ideas"),
        id,
        label: slug(&format!("agent-{id}")),
        run: None,
        open: false,
        known: json!({"name": "ü \"quoted\""}),
        revision: 0,
    }
}

pub(crate) async fn a_connected_table_is_kept_looked_at_and_disconnected(bed: Bed) {
    let (store, scope) = (&bed.store, &bed.scope);
    assert!(
        store
            .add_backlog_source(scope, &source("ideas"))
            .await
            .unwrap()
    );
    assert!(
        !store
            .add_backlog_source(scope, &source("ideas"))
            .await
            .unwrap()
    );
    assert!(
        store
            .add_backlog_source(scope, &source("more"))
            .await
            .unwrap()
    );
    let look = async |error: Option<&str>| {
        let name = slug("ideas");
        store
            .looked_at_backlog(scope, &name, 7, error)
            .await
            .unwrap();
        bed.other.backlog_sources(scope).await.unwrap().remove(0)
    };
    assert_eq!(look(Some("away")).await.failures, 1);
    let failed = look(Some("away")).await;
    assert_eq!(
        (failed.failures, failed.error.as_deref()),
        (2, Some("away"))
    );
    let well = BacklogSource {
        looked_at_ms: Some(7),
        ..source("ideas")
    };
    assert_eq!(look(None).await, well);
    assert_eq!(
        store.backlog_owners().await.unwrap(),
        std::slice::from_ref(scope)
    );
    let open = KnownRow {
        open: true,
        ..row(1)
    };
    assert!(store.put_backlog_row(scope, &open).await.unwrap());
    let remove = async |name| {
        store
            .remove_backlog_source(scope, &slug(name))
            .await
            .unwrap()
    };
    // What is still to be written is not forgotten.
    assert_eq!(remove("ideas").await, Some(1));
    let closed = KnownRow {
        revision: 1,
        ..row(1)
    };
    assert!(store.put_backlog_row(scope, &closed).await.unwrap());
    assert_eq!(
        (remove("ideas").await, remove("ideas").await),
        (Some(0), None)
    );
    assert_eq!(store.backlog_rows(scope).await.unwrap(), []);
    assert_eq!(store.backlog_sources(scope).await.unwrap().len(), 1);
}

pub(crate) async fn of_two_that_write_one_row_of_a_table_one_goes_on(bed: Bed) {
    let (store, scope) = (&bed.store, &bed.scope);
    store
        .add_backlog_source(scope, &source("ideas"))
        .await
        .unwrap();
    let new = row(1);
    let both = [&bed.store, &bed.other].map(|store| store.put_backlog_row(scope, &new));
    let won = futures::future::join_all(both).await;
    assert_eq!(won.iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
    let claimed = KnownRow {
        run: Some(RunId::new("run")),
        open: true,
        revision: 1,
        ..row(1)
    };
    assert!(store.put_backlog_row(scope, &claimed).await.unwrap());
    assert!(!store.put_backlog_row(scope, &claimed).await.unwrap());
    let kept = KnownRow {
        revision: 2,
        ..claimed.clone()
    };
    assert_eq!(
        store.backlog_rows(scope).await.unwrap(),
        std::slice::from_ref(&kept)
    );
    assert!(!store.drop_backlog_row(scope, &claimed).await.unwrap());
    assert!(store.drop_backlog_row(scope, &kept).await.unwrap());
    assert_eq!(store.backlog_rows(scope).await.unwrap(), []);
}

pub(crate) async fn rows_that_ended_are_kept_for_a_while_and_open_ones_for_good(bed: Bed) {
    let (store, scope) = (&bed.store, &bed.scope);
    store
        .add_backlog_source(scope, &source("ideas"))
        .await
        .unwrap();
    for id in 0..205 {
        let ended = KnownRow {
            run: Some(RunId::new("run")),
            open: id == 0,
            ..row(id)
        };
        assert!(store.put_backlog_row(scope, &ended).await.unwrap());
    }
    store
        .looked_at_backlog(scope, &slug("ideas"), 1, None)
        .await
        .unwrap();
    let left: Vec<i64> = store
        .backlog_rows(scope)
        .await
        .unwrap()
        .iter()
        .map(|row| row.id)
        .collect();
    assert_eq!((left.len(), left[0], left[1]), (201, 0, 5));
}

pub(crate) async fn tables_of_other_organizations_are_not_seen(bed: Bed) {
    let (store, other) = (&bed.store, OrganizationId::new("other"));
    let by = crate::bed::actor();
    store.add_organization(&other, "other", &by).await.unwrap();
    let other = OrgScope::authenticated(other);
    store
        .add_backlog_source(&bed.scope, &source("ideas"))
        .await
        .unwrap();
    store.put_backlog_row(&bed.scope, &row(1)).await.unwrap();
    assert_eq!(store.backlog_sources(&other).await.unwrap(), []);
    assert_eq!(store.backlog_rows(&other).await.unwrap(), []);
    let removed = store.remove_backlog_source(&other, &slug("ideas")).await;
    assert_eq!(removed.unwrap(), None);
    assert_eq!(store.backlog_rows(&bed.scope).await.unwrap().len(), 1);
}
