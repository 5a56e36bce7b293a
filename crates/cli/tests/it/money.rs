//! Budgets, costs, replay and resume, as a person meets them.

use crate::home::Home;
use serde_json::json;

#[test]
fn a_budget_is_set_shown_and_refused_where_it_makes_no_sense() {
    let home = Home::new();
    let all = home.json(0, &["budget", "show"]);
    assert_eq!(all["items"][1]["budget"]["micro_usd"], json!(20_000_000));
    let set = home.json(
        0,
        &["budget", "set", "day", "--usd", "2.50", "--calls", "40"],
    );
    assert_eq!(
        set["items"][1]["budget"],
        json!({ "calls": 40, "micro_usd": 2_500_000 })
    );
    let shown = home.done(&["budget", "show"]);
    assert!(shown.out.contains("2.50 USD, 40 calls"), "{shown:#?}");
    for args in [
        &["budget", "set", "day"][..],
        &["budget", "set", "day", "--usd", "-1"],
        &["budget", "set", "day", "--usd", "1", "--of", "x"],
        &["budget", "set", "week", "--usd", "1"],
        &["budget", "set", "day", "--unlimited", "--usd", "1"],
    ] {
        let said = home.run(args);
        assert_eq!(said.code, 2, "{args:?}: {said:#?}");
        assert!(!said.err.is_empty(), "{said:#?}");
    }
    let unknown = home.run(&["budget", "set", "build", "--of", "nobody", "--usd", "1"]);
    assert_eq!(unknown.code, 1, "{unknown:#?}");
    assert!(unknown.err.contains("nobody"), "{unknown:#?}");
}

#[test]
fn nothing_spent_is_said_and_unknown_builds_are_named() {
    let home = Home::new();
    let said = home.done(&["costs"]);
    assert!(said.out.contains("nothing was spent"), "{said:#?}");
    assert_eq!(
        home.json(0, &["costs", "--by", "model"]),
        json!({ "items": [] })
    );
    for args in [
        &["costs", "--build", "nobody"][..],
        &["replay", "nobody"],
        &["resume", "nobody"],
    ] {
        let said = home.run(args);
        assert_eq!(said.code, 1, "{args:?}: {said:#?}");
        assert!(said.err.contains("nobody"), "{args:?}: {said:#?}");
    }
    assert_eq!(home.run(&["costs", "--days", "0"]).code, 2);
}
