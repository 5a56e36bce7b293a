//! The ledger: what is set aside, settled, refused and added up.

use crate::bed::Bed;
use agentwright_domain::build::StageOutcome;
use agentwright_domain::run::{Run, RunStatus, Signal};
use agentwright_domain::spend::{Amount, Budget, BudgetScope, PlannedCall, SettledCall};
use agentwright_store::{CostsBy, DAY_MS, Reserved, Store, Writer};

fn call(role: &str, micro_usd: i64) -> PlannedCall {
    PlannedCall {
        role: role.to_owned(),
        provider: "anthropic".to_owned(),
        model: "m1".to_owned(),
        wire_attempt: 1,
        most: Amount {
            calls: 1,
            tokens: 1_000,
            micro_usd,
            wire_ms: 60_000,
        },
    }
}

async fn yes(store: &Store, run: &Run, call: &PlannedCall) -> String {
    match store.reserve(run, call).await.unwrap() {
        Reserved::Yes(id) => id,
        no @ (Reserved::No(_) | Reserved::Stale) => panic!("{no:?}"),
    }
}

async fn no(store: &Store, run: &Run, call: &PlannedCall) -> BudgetScope {
    match store.reserve(run, call).await.unwrap() {
        Reserved::No(exceeded) => exceeded.scope,
        other @ (Reserved::Yes(_) | Reserved::Stale) => panic!("{other:?}"),
    }
}

fn took(tokens: i64, micro_usd: Option<i64>) -> SettledCall {
    SettledCall {
        input: Some(tokens),
        micro_usd,
        ended: "end".to_owned(),
        latency_ms: 900,
        ..SettledCall::default()
    }
}

fn money(micro_usd: i64) -> Budget {
    Budget {
        micro_usd: Some(micro_usd),
        ..Budget::default()
    }
}

pub(crate) async fn what_is_set_aside_counts_until_it_is_settled(bed: Bed) {
    let run = bed.held("a").await;
    let (store, scope) = (&bed.store, &bed.scope);
    store
        .set_budget(scope, BudgetScope::Build, None, &money(100), "owner")
        .await
        .unwrap();
    let begun_ms = run.attempt_started_at_ms;
    let activity = async |since_ms| {
        let of = store.model_activity(scope, &run.id, since_ms).await;
        of.unwrap()
    };
    assert_eq!(activity(begun_ms).await, (false, 0));
    let first = yes(store, &run, &call("spec", 80)).await;
    assert_eq!(activity(begun_ms).await, (true, 0));
    // One that was left open before this attempt began is nobody's any more.
    let later_ms = store.now_ms().await.unwrap() + 1;
    assert_eq!(activity(later_ms).await, (false, 0));
    assert_eq!(
        no(&bed.other, &run, &call("code", 30)).await,
        BudgetScope::Build
    );
    store
        .settle(scope, &first, &took(10, Some(20)))
        .await
        .unwrap();
    assert_eq!(activity(begun_ms).await, (false, 10));
    let second = yes(store, &run, &call("code", 80)).await;
    // Nobody knows what it cost: it counts as what was set aside. Settling again changes nothing.
    store.settle(scope, &second, &took(5, None)).await.unwrap();
    store
        .settle(scope, &second, &took(5, Some(0)))
        .await
        .unwrap();
    assert_eq!(no(store, &run, &call("code", 1)).await, BudgetScope::Build);
    let spent = store
        .spent(scope, BudgetScope::Build, Some(&run.id), "spec")
        .await
        .unwrap();
    assert_eq!(
        spent,
        Amount {
            calls: 2,
            tokens: 15,
            micro_usd: 100,
            wire_ms: 1_800
        }
    );
}

pub(crate) async fn every_scope_from_organization_to_stage_must_have_room(bed: Bed) {
    let run = bed.held("a").await;
    let (store, scope) = (&bed.store, &bed.scope);
    for of in BudgetScope::ALL {
        store
            .set_budget(scope, of, None, &money(50), "owner")
            .await
            .unwrap();
        assert_eq!(no(store, &run, &call("spec", 51)).await, of);
        store
            .set_budget(scope, of, None, &Budget::default(), "owner")
            .await
            .unwrap();
    }
    // One build's own limit stands over the one for all, and only for it.
    let other = bed.held("b").await;
    store
        .set_budget(scope, BudgetScope::Build, None, &money(10), "owner")
        .await
        .unwrap();
    store
        .set_budget(
            scope,
            BudgetScope::Build,
            Some(&run.id),
            &money(70),
            "owner",
        )
        .await
        .unwrap();
    yes(store, &run, &call("spec", 51)).await;
    assert_eq!(
        no(store, &other, &call("spec", 51)).await,
        BudgetScope::Build
    );
}

pub(crate) async fn a_new_day_has_a_new_budget(bed: Bed) {
    let run = bed.held("a").await;
    let (store, scope) = (&bed.store, &bed.scope);
    store
        .set_budget(scope, BudgetScope::Day, None, &money(50), "owner")
        .await
        .unwrap();
    yes(store, &run, &call("spec", 50)).await;
    assert_eq!(no(store, &run, &call("spec", 1)).await, BudgetScope::Day);
    bed.clock.advance(DAY_MS);
    yes(store, &run, &call("spec", 50)).await;
}

pub(crate) async fn of_two_that_want_the_last_one_gets_it(bed: Bed) {
    let run = bed.held("a").await;
    let budget = Budget {
        calls: Some(3),
        ..Budget::default()
    };
    bed.store
        .set_budget(&bed.scope, BudgetScope::Build, None, &budget, "owner")
        .await
        .unwrap();
    let tries = (0..8).map(|n| {
        let store = if n % 2 == 0 { &bed.store } else { &bed.other };
        let run = &run;
        async move { store.reserve(run, &call("code", 1)).await.unwrap() }
    });
    let answers = futures::future::join_all(tries).await;
    let got = answers.iter().filter(|a| matches!(a, Reserved::Yes(_)));
    assert_eq!(got.count(), 3);
}

pub(crate) async fn a_run_that_was_cancelled_reserves_nothing_and_still_settles(bed: Bed) {
    let run = bed.held("a").await;
    let id = yes(&bed.store, &run, &call("code", 40)).await;
    let cancel = Signal::Cancel {
        by: "owner".to_owned(),
        reason: "enough".to_owned(),
    };
    bed.commit(&run, &cancel, Writer::Outsider).await.unwrap();
    let answer = bed.store.reserve(&run, &call("code", 1)).await.unwrap();
    assert_eq!(answer, Reserved::Stale);
    bed.store
        .settle(&bed.scope, &id, &took(7, Some(3)))
        .await
        .unwrap();
    let rows = bed
        .store
        .costs(&bed.scope, CostsBy::Build, 0, None)
        .await
        .unwrap();
    assert_eq!(
        (
            rows[0].key.as_str(),
            rows[0].micro_usd,
            rows[0].reserved_micro_usd
        ),
        ("a", 3, 0)
    );
}

pub(crate) async fn costs_are_added_up_by_build_day_role_and_model(bed: Bed) {
    let (a, b) = (bed.held("a").await, bed.held("b").await);
    let (store, scope) = (&bed.store, &bed.scope);
    for (run, role, cost) in [
        (&a, "spec", Some(5)),
        (&a, "code", Some(70)),
        (&b, "code", None),
    ] {
        let id = yes(store, run, &call(role, 100)).await;
        store.settle(scope, &id, &took(10, cost)).await.unwrap();
    }
    yes(store, &b, &call("review", 100)).await;
    let costs = async |by| {
        let rows = store.costs(scope, by, 0, None).await.unwrap();
        rows.into_iter()
            .map(|row| {
                (
                    row.key,
                    row.calls,
                    row.micro_usd,
                    row.unpriced,
                    row.reserved_micro_usd,
                )
            })
            .collect::<Vec<_>>()
    };
    let row = |key: &str, calls, usd, unpriced, reserved| {
        (key.to_owned(), calls, usd, unpriced, reserved)
    };
    assert_eq!(
        costs(CostsBy::Build).await,
        [row("a", 2, 75, 0, 0), row("b", 2, 0, 2, 100)]
    );
    assert_eq!(
        costs(CostsBy::Role).await,
        [
            row("code", 2, 70, 1, 0),
            row("spec", 1, 5, 0, 0),
            row("review", 1, 0, 1, 100)
        ]
    );
    assert_eq!(
        costs(CostsBy::Model).await,
        [row("anthropic m1", 4, 75, 2, 100)]
    );
    assert_eq!(costs(CostsBy::Day).await, [row("0", 4, 75, 2, 100)]);
    let later = store
        .costs(scope, CostsBy::Day, DAY_MS, None)
        .await
        .unwrap();
    assert_eq!(later, []);
    let only = store
        .costs(scope, CostsBy::Role, 0, Some(&b.id))
        .await
        .unwrap();
    assert_eq!(only.len(), 2);
}

pub(crate) async fn a_build_without_budget_waits_and_goes_on_when_resumed(bed: Bed) {
    let run = bed.held("a").await;
    let spent = Signal::Stage {
        outcome: Box::new(StageOutcome::Spent {
            limit: "the build budget".to_owned(),
        }),
    };
    let waiting = bed.commit(&run, &spent, Writer::Holder).await.unwrap().run;
    assert_eq!(waiting.status, RunStatus::Waiting);
    assert_eq!(bed.claim("worker").await, []);
    let resume = Signal::Resume {
        by: "owner".to_owned(),
    };
    bed.commit(&waiting, &resume, Writer::Outsider)
        .await
        .unwrap();
    let again = bed.claim("worker").await;
    assert_eq!(
        (again[0].id.clone(), again[0].state.stage()),
        (run.id, "spec")
    );
}
