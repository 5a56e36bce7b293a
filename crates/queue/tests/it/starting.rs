//! One answer for every item, and the one to do something about.

use agentwright_domain::ids::Slug;
use agentwright_queue::file::parse;
use agentwright_queue::needs::{Understood, missing};
use agentwright_queue::start::{
    Assessment, Candidate, Decision, RETRY_MS, Reason, Running, Standing, Started, World,
    decide_start, known, tick,
};
use agentwright_queue::window::Window;
use agentwright_queue::{Criterion, Item, Priority, item};
use std::collections::HashMap;

const HOUR: i64 = 3_600_000;

pub(crate) fn clear(name: &str, priority: Priority) -> Item {
    let mut item = Item::new(item::label(name, |_| false), name);
    item.priority = priority;
    item.description = Some("Count the words of each note and append them to a table".into());
    item.criteria = vec![Criterion {
        text: "the table has one row for each note".into(),
        done: false,
    }];
    item
}

fn candidate(item: &Item) -> Candidate<'_> {
    Candidate {
        item,
        standing: Standing::Queued,
        approved_by: None,
        // A test may leave it behind.
        assessment: Box::leak(Box::new(Assessment::of(item, Understood::No))),
    }
}

fn world(window: &Window) -> World<'_> {
    World {
        window,
        running: Vec::new(),
        limit: 1,
        busy_until_ms: None,
        calendar_unread: None,
        quota_until_ms: None,
        budget_spent: None,
        no_room: None,
        known: HashMap::new(),
    }
}

fn utc() -> Window {
    Window::off_hours("UTC").unwrap()
}

/// Why it does not start.
fn why(of: &Candidate<'_>, world: &World<'_>, now_ms: i64) -> String {
    match decide_start(of, world, now_ms) {
        Decision::Start => "start".into(),
        Decision::Hold(reason) => reason.word().into(),
    }
}

#[test]
fn the_seeds_good_description_starts_and_its_bad_one_is_refused_naming_each_field() {
    let text = "## Active Queue\n\
        - [ ] Spotify Playlist Automation - Added: 2026-02-06 15:00 - Priority: High\n\
        - [ ] Spotify Thing - Priority: High\n\
        ## Task Details\n\
        ### Spotify Playlist Automation\n\
        - **Description:** Build OAuth integration with Spotify API. Create Python script that authenticates user, fetches liked songs, and auto-generates weekly playlists based on mood categories.\n\
        - **Completion Criteria:**\n  - [ ] OAuth flow working\n  - [ ] Can fetch user's liked songs\n  - [ ] Playlist generation logic complete\n  - [ ] Runs via cron weekly\n\
        - **Tech Stack:** Python, Spotipy library, OAuth2\n\
        - **Estimated Time:** 4 hours\n\
        ### Spotify Thing\n\
        - **Description:** Do Spotify stuff\n\
        - **Completion Criteria:** When it works\n\
        - **Tech Stack:** Whatever\n\
        - **Estimated Time:** IDK\n";
    let items = parse(text).items;
    let window = utc();
    let noon = 12 * HOUR;
    assert_eq!(
        decide_start(&candidate(&items[0]), &world(&window), noon),
        Decision::Start
    );
    let Decision::Hold(Reason::Vague { missing }) =
        decide_start(&candidate(&items[1]), &world(&window), noon)
    else {
        panic!("it started");
    };
    let fields: Vec<_> = missing.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "Description",
            "Completion Criteria",
            "Tech Stack",
            "Estimated Time"
        ]
    );
}

#[test]
fn high_starts_at_any_time_medium_in_its_window_and_low_on_a_yes() {
    let (high, medium, low) = (
        clear("high", Priority::High),
        clear("medium", Priority::Medium),
        clear("low", Priority::Low),
    );
    let window = utc();
    let world = world(&window);
    for (hour, expected) in [
        (12, ["start", "window", "unapproved"]),
        (22, ["start", "start", "unapproved"]),
        (5, ["start", "start", "unapproved"]),
        (6, ["start", "window", "unapproved"]),
    ] {
        let got = [&high, &medium, &low].map(|item| why(&candidate(item), &world, hour * HOUR));
        assert_eq!(got, expected, "{hour}:00");
    }
    let opens = decide_start(&candidate(&medium), &world, 12 * HOUR);
    let opens_ms = Some(22 * HOUR);
    assert_eq!(opens, Decision::Hold(Reason::Window { opens_ms }));
    let yes = Candidate {
        approved_by: Some("ann"),
        ..candidate(&low)
    };
    assert_eq!(why(&yes, &world, 12 * HOUR), "start");
}

#[test]
fn every_reason_can_be_met_and_what_a_person_can_mend_is_told_first() {
    let window = utc();
    let noon = 12 * HOUR;
    let plain = clear("plain", Priority::High);
    let mut seen = Vec::new();
    let mut met = |candidate: &Candidate<'_>, world: &World<'_>, now_ms: i64| {
        let word = why(candidate, world, now_ms);
        seen.push(word.clone());
        word
    };
    let with = |standing| Candidate {
        standing,
        ..candidate(&plain)
    };
    let base = world(&window);
    assert_eq!(met(&with(Standing::Done), &base, noon), "done");
    assert_eq!(met(&with(Standing::Building), &base, noon), "building");
    let failed = |failures, at_ms| Standing::Failed { failures, at_ms };
    assert_eq!(
        met(&with(failed(4, noon - RETRY_MS)), &base, noon),
        "escalated"
    );
    assert_eq!(
        met(&with(failed(3, noon - RETRY_MS + 1)), &base, noon),
        "retry"
    );
    assert_eq!(why(&with(failed(3, noon - RETRY_MS)), &base, noon), "start");
    let changed = |change: fn(&mut Item)| {
        let mut item = plain.clone();
        change(&mut item);
        item
    };
    for (change, word) in [
        (
            (|item| item.flaws = vec!["x".into()]) as fn(&mut Item),
            "unreadable",
        ),
        (|item| item.description = None, "vague"),
        (
            |item| item.blockers = vec!["the key of Ann".into()],
            "blocked",
        ),
        (
            |item| {
                item.description =
                    Some("Delete all old records from the production database".into());
            },
            "risk",
        ),
        (|item| item.priority = Priority::Low, "unapproved"),
        (
            |item| item.start = Some("1970-01-01 12:01".into()),
            "not_before",
        ),
        (|item| item.priority = Priority::Medium, "window"),
    ] {
        assert_eq!(met(&candidate(&changed(change)), &base, noon), word);
    }
    let medium = changed(|item| item.priority = Priority::Medium);
    let busy = World {
        busy_until_ms: Some(24 * HOUR),
        ..base.clone()
    };
    assert_eq!(met(&candidate(&medium), &busy, 23 * HOUR), "calendar");
    assert_eq!(why(&candidate(&plain), &busy, 23 * HOUR), "start");
    let unread = World {
        calendar_unread: Some("it is away".into()),
        ..base.clone()
    };
    assert_eq!(
        met(&candidate(&medium), &unread, 23 * HOUR),
        "calendar_unread"
    );
    assert_eq!(why(&candidate(&plain), &unread, 23 * HOUR), "start");
    let spent = World {
        budget_spent: Some("20 USD a day".into()),
        ..base.clone()
    };
    assert_eq!(met(&candidate(&plain), &spent, noon), "budget");
    let quota = World {
        quota_until_ms: Some(noon + 1),
        ..base.clone()
    };
    assert_eq!(met(&candidate(&plain), &quota, noon), "quota");
    assert_eq!(why(&candidate(&plain), &quota, noon + 1), "start");
    // What asks no model spends nothing.
    let covered = Candidate {
        assessment: &Assessment::of(&plain, Understood::Foundation),
        ..candidate(&plain)
    };
    assert_eq!(why(&covered, &spent, noon), "start");
    assert_eq!(why(&covered, &quota, noon), "start");
    let full = World {
        no_room: Some("disk".into()),
        ..base.clone()
    };
    assert_eq!(met(&candidate(&plain), &full, noon), "room");
    assert_eq!(why(&covered, &full, noon), "room");
    let running = |started, touches: &[&str]| World {
        running: vec![Running {
            label: Slug::parse("other").unwrap(),
            touches: touches.iter().map(|one| (*one).to_owned()).collect(),
            started,
        }],
        ..base.clone()
    };
    assert_eq!(
        met(&candidate(&plain), &running(Started::ByItself, &[]), noon),
        "limit"
    );
    assert_eq!(
        why(&candidate(&plain), &running(Started::ByHand, &[]), noon),
        "start"
    );
    let touching = changed(|item| item.touches = vec!["`src/Lib/`".into()]);
    assert_eq!(
        met(
            &candidate(&touching),
            &running(Started::ByHand, &["src/lib/x.rs"]),
            noon
        ),
        "conflict"
    );
    assert_eq!(
        why(
            &candidate(&touching),
            &running(Started::ByHand, &["src/library"]),
            noon
        ),
        "start"
    );
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 18, "every reason was met: {seen:?}");
}

#[test]
fn an_item_that_another_one_waits_for_lets_it_go_when_it_is_done() {
    let window = utc();
    let one = clear("One thing", Priority::High);
    let mut two = clear("two", Priority::High);
    two.blockers = vec!["one thing".into(), "TWO".into()];
    let of = |standing: &Standing| World {
        known: known([(&one, standing), (&two, &Standing::Queued)]),
        ..world(&window)
    };
    assert_eq!(why(&candidate(&two), &of(&Standing::Queued), 0), "blocked");
    assert_eq!(why(&candidate(&two), &of(&Standing::Done), 0), "start");
}

#[test]
fn one_look_starts_as_many_as_may_run_the_most_urgent_first() {
    let window = utc();
    let items = [
        clear("low", Priority::Low),
        clear("medium", Priority::Medium),
        clear("first", Priority::High),
        clear("second", Priority::High),
        clear("first", Priority::High),
    ];
    let candidates: Vec<_> = items.iter().map(candidate).collect();
    let of = |limit| {
        let world = World {
            limit,
            ..world(&window)
        };
        let decisions = tick(&candidates, &world, 23 * HOUR);
        let word = |decision: &Decision| match decision {
            Decision::Start => "start",
            Decision::Hold(reason) => reason.word(),
        };
        decisions.iter().map(word).collect::<Vec<_>>()
    };
    assert_eq!(of(1), ["unapproved", "limit", "start", "limit", "building"]);
    assert_eq!(of(3), ["unapproved", "start", "start", "start", "building"]);
    assert_eq!(of(0), ["unapproved", "limit", "limit", "limit", "limit"]);
}

#[test]
fn reasons_are_kept_as_data_and_only_some_of_them_ask_a_person() {
    let missing = missing(&Item::new(Slug::parse("x").unwrap(), "x"), Understood::No);
    let vague = Decision::Hold(Reason::Vague { missing });
    let json = serde_json::to_value(&vague).unwrap();
    assert_eq!(
        (&json["decision"], &json["reason"]["why"]),
        (&"hold".into(), &"vague".into())
    );
    assert_eq!(serde_json::from_value::<Decision>(json).unwrap(), vague);
    let Decision::Hold(vague) = vague else {
        unreachable!()
    };
    assert!(vague.asks_a_person() && !Reason::Unapproved.asks_a_person());
}
