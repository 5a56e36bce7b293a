//! Times, paths, columns, records and names as they are read out of sentences.

use super::{ALL, context};
use agentwright_domain::ids::Slug;
use agentwright_domain::spec::Trigger;
use agentwright_intent::{Context, Plan, understand};
use serde_json::{Value, json};

fn plan(sentence: &str) -> Plan {
    understand(sentence, &context(), &ALL).unwrap_or_else(|why| panic!("{sentence}: {why}"))
}

fn cron(time: &str) -> String {
    let plan = plan(&format!("back up ./notes to ./bak {time}"));
    assert!(plan.missing.is_empty(), "{time}: {:?}", plan.missing);
    match plan.trigger {
        Trigger::Schedule { cron, .. } => cron,
        other => panic!("{time}: {other:?}"),
    }
}

#[test]
fn times_become_cron_expressions() {
    let cases = [
        ("every night", "0 2 * * *"),
        ("nightly", "0 2 * * *"),
        ("every weekday at 7", "0 7 * * 1-5"),
        ("on weekdays at 19:30", "30 19 * * 1-5"),
        ("hourly", "0 * * * *"),
        ("every hour", "0 * * * *"),
        ("every 15 minutes", "*/15 * * * *"),
        ("every quarter of an hour", "*/15 * * * *"),
        ("every half hour", "*/30 * * * *"),
        ("every half an hour", "*/30 * * * *"),
        ("each minute", "* * * * *"),
        ("every other hour", "0 */2 * * *"),
        ("every 6 hours", "0 */6 * * *"),
        ("every 90 seconds please, no, every 2 hours", ""),
        ("at noon on Mondays", "0 12 * * 1"),
        ("every Sunday at 3", "0 3 * * 0"),
        ("twice a day", "0 6,18 * * *"),
        ("three times a day", "0 6,14,22 * * *"),
        ("at 8 and 20", "0 8,20 * * *"),
        ("every day at 8am, noon and 6pm", "0 8,12,18 * * *"),
        ("first of the month", "0 6 1 * *"),
        ("on the first of every month at 6:30", "30 6 1 * *"),
        ("on the 1st and 15th of each month", "0 6 1,15 * *"),
        ("on the last day of the month at 18:00", "0 18 L * *"),
        ("on the first Monday of the month at 9", "0 9 * * 1#1"),
        ("at 6:30pm", "30 18 * * *"),
        ("every evening at 9", "0 21 * * *"),
        ("every night at 11", "0 23 * * *"),
        ("every night at 1:30", "30 1 * * *"),
        ("daily at midnight", "0 0 * * *"),
        ("every morning", "0 7 * * *"),
        ("at 7 in the evening", "0 19 * * *"),
        ("every day at half past six", "30 6 * * *"),
        ("each friday at 18:00", "0 18 * * 5"),
        ("Mondays and Thursdays at 8", "0 8 * * 1,4"),
        ("monday to friday at 7:15", "15 7 * * 1-5"),
        ("mon-fri at 7", "0 7 * * 1-5"),
        ("on weekends", "0 6 * * 0,6"),
        ("every day except Sunday at 5", "0 5 * * 1-6"),
        (
            "every 10 minutes between 9 and 17 on weekdays",
            "*/10 9-16 * * 1-5",
        ),
        ("weekly", "0 6 * * 1"),
        ("monthly", "0 6 1 * *"),
        ("quarterly", "0 6 1 */3 *"),
        ("once a year", "0 6 1 1 *"),
        ("once an hour", "0 * * * *"),
        ("at 0 3 * * 2", "0 3 * * 2"),
        ("evry nigth", "0 2 * * *"),
        ("at the end of each month", "0 6 L * *"),
        ("every 5 minuts", "*/5 * * * *"),
        ("at 5 minute intervals", "*/5 * * * *"),
        ("in an interval of 2 hours", "0 */2 * * *"),
        ("each month on day 3", "0 6 3 * *"),
    ];
    let wrong: Vec<String> = cases
        .iter()
        .filter(|(_, expected)| !expected.is_empty())
        .filter_map(|(time, expected)| {
            let found = cron(time);
            (found != *expected).then(|| format!("{time}: {found}, not {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_cron_expression_that_is_made_is_one() {
    for time in [
        "first monday of the month",
        "last friday of the month",
        "last day of each month",
        "every 20 minutes on weekends",
        "1st and 15th",
    ] {
        let cron = cron(time);
        assert!(cron.parse::<croner::Cron>().is_ok(), "{time}: {cron}");
    }
}

#[test]
fn times_that_cron_cannot_say_are_asked_back() {
    for time in [
        "every other day",
        "every 45 minutes",
        "every 7 hours",
        "every two weeks",
        "fortnightly",
        "at 25:00",
        "every day at 8:15 and 17:40",
        "tomorrow at 8",
        "every 30 seconds",
        "twice a week",
        "every 3 days",
        "on the 32nd of each month",
        "on the 1st of the month and every Monday",
        "at 7:75",
        "every few hours",
        "at 61 * * * *",
    ] {
        let plan = plan(&format!("back up ./notes to ./bak {time}"));
        assert!(
            plan.missing.iter().any(|q| q.input == "schedule"),
            "{time}: {:?}",
            plan.trigger
        );
    }
}

#[test]
fn zones_and_manual_starts_are_read() {
    let zone = |sentence: &str| match plan(sentence).trigger {
        Trigger::Schedule { zone, .. } => zone,
        other => panic!("{other:?}"),
    };
    assert_eq!(zone("back up ./a to ./b every day at 7"), "Europe/Berlin");
    assert_eq!(zone("back up ./a to ./b every day at 7 UTC"), "UTC");
    assert_eq!(
        zone("back up ./a to ./b every day at 7 America/New_York"),
        "America/New_York"
    );
    assert_eq!(
        zone("back up ./a to ./b every day at 7 London time"),
        "Europe/London"
    );
    assert_eq!(
        plan("back up ./a to ./b only when I ask").trigger,
        Trigger::Manual
    );
    assert_eq!(plan("back up ./a to ./b right now").trigger, Trigger::Once);
}

fn inputs(sentence: &str, expected: &[(&str, Value)]) {
    let plan = plan(sentence);
    for (name, value) in expected {
        assert_eq!(
            &plan.inputs[*name], value,
            "{sentence}: {name} in {:?}",
            plan.inputs
        );
    }
}

#[test]
fn paths_find_their_inputs_however_they_are_written() {
    let (source, target) = ("source", "target");
    inputs(
        "every night, keep a zip of the folder ./notes in ./backups and keep the last 7",
        &[
            (source, json!("/home/ada/work/notes")),
            (target, json!("/home/ada/work/backups")),
            ("keep", json!(7)),
        ],
    );
    inputs(
        "in ./backups keep a zip of ./notes",
        &[
            (source, json!("/home/ada/work/notes")),
            (target, json!("/home/ada/work/backups")),
        ],
    );
    inputs(
        "store archives of ~/x in /mnt/y",
        &[(source, json!("/home/ada/x")), (target, json!("/mnt/y"))],
    );
    inputs(
        "back up \"./my notes\" to '../other place'",
        &[
            (source, json!("/home/ada/work/my notes")),
            (target, json!("/home/ada/other place")),
        ],
    );
    inputs(
        "zip the folder notes into the bak folder",
        &[
            (source, json!("/home/ada/work/notes")),
            (target, json!("/home/ada/work/bak")),
        ],
    );
    inputs(
        "back up my Documents to ./safe",
        &[
            (source, json!("/home/ada/Documents")),
            (target, json!("/home/ada/work/safe")),
        ],
    );
    inputs(
        "move files older than 2 weeks from ~/Downloads to ~/Old",
        &[
            ("folder", json!("/home/ada/Downloads")),
            ("destination", json!("/home/ada/Old")),
            ("older_than", json!(14 * 86_400)),
        ],
    );
    inputs(
        "delete files larger than 1.5 GB in ./cache",
        &[("larger_than", json!(1_500_000_000u64))],
    );
}

#[test]
fn columns_records_queries_and_ports_are_read() {
    inputs(
        "sum unit price and quantity by region and product from ./sales.csv as html",
        &[
            ("sum", json!(["unit price", "quantity"])),
            ("group", json!(["region", "product"])),
            ("format", json!(["html"])),
        ],
    );
    inputs(
        "a JSON service for books with title, author (optional) and year (integer) on port 8123, call it library",
        &[
            (
                "entity",
                json!({"name": "book", "plural": "books", "fields": [
            {"name": "title", "type": "text", "required": true},
            {"name": "author", "type": "text", "required": false},
            {"name": "year", "type": "integer", "required": true}]}),
            ),
            ("port", json!(8123)),
        ],
    );
    assert_eq!(
        plan("a JSON service for books with title and author, call it my-library")
            .name
            .as_str(),
        "my-library"
    );
    inputs(
        "run SELECT a, count(*) FROM t WHERE b >= 3 GROUP BY a on ./x.db and save to ./y.json",
        &[
            (
                "query",
                json!("SELECT a, count(*) FROM t WHERE b >= 3 GROUP BY a"),
            ),
            ("output", json!("/home/ada/work/y.json")),
        ],
    );
}

#[test]
fn given_inputs_win_and_missing_ones_are_asked_for() {
    let all = &*ALL;
    let plain = understand("back up ./notes every night", &context(), all).unwrap();
    assert_eq!(
        plain
            .missing
            .iter()
            .map(|q| q.input.as_str())
            .collect::<Vec<_>>(),
        ["target"]
    );
    let mut given = context();
    given.given = [
        ("target", json!("./b")),
        ("keep", json!("14")),
        ("keep_age", json!("30d")),
        ("schedule", json!("hourly")),
    ]
    .map(|(k, v)| (k.to_owned(), v))
    .into();
    let answered = understand("back up ./notes every night", &given, all).unwrap();
    assert!(answered.missing.is_empty(), "{:?}", answered.missing);
    assert_eq!(answered.inputs["target"], json!("/home/ada/work/b"));
    assert_eq!(answered.inputs["keep"], json!(14));
    assert_eq!(answered.inputs["keep_age"], json!(30 * 86_400));
    assert!(matches!(answered.trigger, Trigger::Schedule { ref cron, .. } if cron == "0 * * * *"));
    given.given = [("keep", json!("many")), ("nonsense", json!(1))]
        .map(|(k, v)| (k.to_owned(), v))
        .into();
    let asked: Vec<String> = understand("back up ./notes to ./b", &given, all)
        .unwrap()
        .missing
        .into_iter()
        .map(|q| q.input)
        .collect();
    assert_eq!(asked, ["keep", "nonsense"]);
}

#[test]
fn a_made_up_name_avoids_those_that_exist() {
    let mut taken = context();
    taken.existing = vec!["notes-backup".into()];
    let plan = understand("back up ./notes to ./b", &taken, &ALL).unwrap();
    assert_eq!(plan.name.as_str(), "notes-backup-2");
}

#[test]
fn what_the_caller_calls_it_it_is_called_unless_that_is_taken_or_the_sentence_says_a_name() {
    let mut given = context();
    given.called = Slug::from_words("Keeper of Notes");
    let named = |sentence: &str, given: &Context| {
        let plan = understand(sentence, given, &ALL).unwrap();
        plan.name.to_string()
    };
    let sentence = "back up ./notes to ./b";
    assert_eq!(named(sentence, &given), "keeper-of-notes");
    let said = "a JSON service for books with title and author, call it my-library";
    assert_eq!(named(said, &given), "my-library");
    given.existing = vec!["keeper-of-notes".into(), "keeper-of-notes-2".into()];
    assert_eq!(named(sentence, &given), "keeper-of-notes-3");
}

#[test]
fn private_addresses_need_a_yes_of_their_own() {
    let hosts = |sentence: &str| {
        let p = plan(sentence).permissions;
        (
            p.network
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            p.allow_private
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        hosts("watch https://example.com/a and tell me when it changes").0,
        ["example.com:443"]
    );
    for url in [
        "http://localhost:8080/x",
        "http://192.168.1.5/",
        "http://10.0.0.1:99/",
        "http://[::1]:8080/",
        "http://nas.local/",
    ] {
        let (public, private) = hosts(&format!("watch {url} and tell me when it changes"));
        assert_eq!((public.len(), private.len()), (0, 1), "{url}");
    }
}
