//! Changing what exists.

use super::{ALL, context};
use agentwright_domain::spec::{Spec, Trigger};
use agentwright_intent::{Foundation, Plan, Refusal, amend, spec, understand};
use serde_json::json;

const BACKUP: &str =
    "every night, keep a zip of ./notes in ./backups and keep the last 7, except *.tmp";

fn existing(sentence: &str) -> (Spec, Foundation) {
    let plan = understand(sentence, &context(), &ALL).unwrap();
    let foundation = ALL
        .iter()
        .find(|f| f.name() == plan.foundation)
        .cloned()
        .unwrap();
    (spec(&plan, &foundation).unwrap(), foundation)
}

fn changed(sentence: &str) -> Result<Plan, Refusal> {
    let (spec, foundation) = existing(BACKUP);
    amend(&spec, &foundation, sentence, &context())
}

#[test]
fn only_what_is_said_changes() {
    let (old, foundation) = existing(BACKUP);
    let plan = amend(&old, &foundation, "keep 14 instead", &context()).unwrap();
    let new = spec(&plan, &foundation).unwrap();
    assert_eq!(plan.said, ["keep"]);
    assert_eq!(new.inputs["keep"], json!(14));
    assert_eq!(
        (new.name, new.trigger, new.permissions),
        (old.name, old.trigger, old.permissions)
    );
}

#[test]
fn the_time_changes() {
    let plan = changed("every hour").unwrap();
    assert!(matches!(plan.trigger, Trigger::Schedule { ref cron, .. } if cron == "0 * * * *"));
    assert_eq!(plan.inputs["keep"], json!(7));
    assert!(!changed("every 45 minutes").unwrap().missing.is_empty());
}

#[test]
fn also_adds_to_a_list_and_without_it_the_list_is_replaced() {
    assert_eq!(
        changed("also exclude *.log").unwrap().inputs["exclude"],
        json!(["*.tmp", "*.log"])
    );
    assert_eq!(
        changed("exclude *.log").unwrap().inputs["exclude"],
        json!(["*.log"])
    );
}

#[test]
fn a_place_is_swapped_by_naming_the_old_one() {
    let plan = changed("use ./other instead of ./backups").unwrap();
    assert_eq!(plan.inputs["target"], json!("/home/ada/work/other"));
    assert_eq!(plan.inputs["source"], json!("/home/ada/work/notes"));
}

#[test]
fn what_cannot_be_added_is_refused() {
    for sentence in [
        "also back up the folder ./pics",
        "also upload it to S3",
        "also email me",
        "and then dance the tango",
    ] {
        let refusal = changed(sentence).expect_err(sentence);
        assert!(
            matches!(refusal, Refusal::TooMuch { .. }),
            "{sentence}: {refusal:?}"
        );
    }
    for sentence in ["make it better", "please improve it"] {
        let refusal = changed(sentence).expect_err(sentence);
        assert!(
            matches!(refusal, Refusal::TooVague { .. }),
            "{sentence}: {refusal:?}"
        );
    }
    assert!(matches!(changed(""), Err(Refusal::Empty { .. })));
}

#[test]
fn a_service_keeps_its_record_and_changes_its_port() {
    let (old, foundation) = existing("a JSON service for books with title and author on port 8100");
    let plan = amend(&old, &foundation, "use port 8200", &context()).unwrap();
    assert!(matches!(
        plan.trigger,
        Trigger::Service { publish: 8200, .. }
    ));
    assert_eq!(plan.inputs["entity"], old.inputs["entity"]);
}

const BOOKS: &str = "a JSON service for books with title, author and year (integer)";

/// The fields after a change: name, type and `?` where it may be left out.
fn fields(sentence: &str) -> Result<Vec<String>, Refusal> {
    let (old, foundation) = existing(BOOKS);
    let plan = amend(&old, &foundation, sentence, &context())?;
    assert_eq!(plan.inputs["entity"]["name"], "book", "{sentence}");
    let list = plan.inputs["entity"]["fields"].as_array().unwrap().clone();
    Ok(list
        .iter()
        .map(|f| {
            format!(
                "{}:{}{}",
                f["name"].as_str().unwrap(),
                f["type"].as_str().unwrap(),
                if f["required"] == true { "" } else { "?" }
            )
        })
        .collect())
}

#[test]
fn a_record_is_changed_field_by_field() {
    let all = ["title:text", "author:text", "year:integer"];
    let with = |more: &[&str]| {
        all.iter()
            .chain(more)
            .map(|f| (*f).to_owned())
            .collect::<Vec<_>>()
    };
    for (sentence, expected) in [
        ("also a field pages (integer)", with(&["pages:integer?"])),
        ("also a field pages:integer", with(&["pages:integer?"])),
        ("add a field pages (integer)", with(&["pages:integer?"])),
        ("add pages as an integer", with(&["pages:integer?"])),
        (
            "add the fields publisher and isbn",
            with(&["publisher:text?", "isbn:text?"]),
        ),
        ("add a column price (number)", with(&["price:number?"])),
        (
            "please add another field called publisher",
            with(&["publisher:text?"]),
        ),
        ("books also have a publisher", with(&["publisher:text?"])),
        ("each book also has an isbn", with(&["isbn:text?"])),
        ("add a publisher to each book", with(&["publisher:text?"])),
        ("add an attribute read (boolean)", with(&["read:boolean?"])),
        ("include a property bought (date)", with(&["bought:date?"])),
        (
            "drop the author",
            vec!["title:text".to_owned(), "year:integer".to_owned()],
        ),
        (
            "remove the field year",
            vec!["title:text".to_owned(), "author:text".to_owned()],
        ),
        ("remove author and year", vec!["title:text".to_owned()]),
        (
            "make year optional",
            vec![
                "title:text".to_owned(),
                "author:text".to_owned(),
                "year:integer?".to_owned(),
            ],
        ),
    ] {
        assert_eq!(
            fields(sentence).unwrap_or_else(|why| panic!("{sentence}: {why}")),
            expected,
            "{sentence}"
        );
    }
}

#[test]
fn what_cannot_be_done_to_a_record_is_refused() {
    for sentence in [
        "rename title to name",
        "drop the publisher field",
        "add a field title (integer)",
        "remove title, author and year",
        "also email me",
        "also with user login",
        "add paging by author and magic",
        "also films with director and year",
        "make it faster",
        "add authentication",
        "a field",
        "change everything",
    ] {
        assert!(
            fields(sentence).is_err(),
            "{sentence}: {:?}",
            fields(sentence)
        );
    }
}

#[test]
fn many_ways_of_changing_a_backup_change_only_what_they_name() {
    for (sentence, name, value) in [
        ("keep 14 instead", "keep", json!(14)),
        ("keep 14 instead of 7", "keep", json!(14)),
        ("keep the last 30", "keep", json!(30)),
        ("retain 20 copies", "keep", json!(20)),
        ("only the last 3", "keep", json!(3)),
        ("keep three instead", "keep", json!(3)),
        ("at most 5 archives please", "keep", json!(5)),
        ("use tar.gz", "format", json!("tar.gz")),
        ("as tar.gz instead of zip", "format", json!("tar.gz")),
        ("make it a tarball", "format", json!("tar.gz")),
        ("exclude *.log", "exclude", json!(["*.log"])),
        ("also skip *.log", "exclude", json!(["*.tmp", "*.log"])),
        (
            "also without node_modules",
            "exclude",
            json!(["*.tmp", "node_modules"]),
        ),
        (
            "use ./other instead of ./backups",
            "target",
            json!("/home/ada/work/other"),
        ),
        (
            "store it in ./other instead of ./backups",
            "target",
            json!("/home/ada/work/other"),
        ),
        (
            "back up ./letters instead of ./notes",
            "source",
            json!("/home/ada/work/letters"),
        ),
    ] {
        let (old, _) = existing(BACKUP);
        let plan = changed(sentence).unwrap_or_else(|why| panic!("{sentence}: {why}"));
        assert!(plan.missing.is_empty(), "{sentence}: {:?}", plan.missing);
        assert_eq!(plan.inputs[name], value, "{sentence}");
        assert_eq!(plan.trigger, old.trigger, "{sentence}");
        for (other, kept) in &plan.inputs {
            assert!(
                other == name || *kept == old.inputs[other],
                "{sentence}: {other} became {kept}"
            );
        }
    }
}

#[test]
fn many_ways_of_changing_the_time_change_nothing_else() {
    for (sentence, expected) in [
        ("every hour", "0 * * * *"),
        ("every hour instead", "0 * * * *"),
        ("hourly please", "0 * * * *"),
        ("at 6 instead of 2", "0 6 * * *"),
        ("at 6", "0 6 * * *"),
        ("run it every weekday at 7", "0 7 * * 1-5"),
        ("make it weekly", "0 6 * * 1"),
        ("only on Sundays", "0 6 * * 0"),
        ("every 15 minutes", "*/15 * * * *"),
        ("at noon instead", "0 12 * * *"),
        ("twice a day", "0 6,18 * * *"),
        ("on the first of the month", "0 6 1 * *"),
    ] {
        let (old, _) = existing(BACKUP);
        let plan = changed(sentence).unwrap_or_else(|why| panic!("{sentence}: {why}"));
        assert!(
            matches!(&plan.trigger, Trigger::Schedule { cron, .. } if cron == expected),
            "{sentence}: {:?}",
            plan.trigger
        );
        for (name, value) in &plan.inputs {
            assert_eq!(*value, old.inputs[name], "{sentence}: {name}");
        }
    }
}

#[test]
fn changes_that_say_nothing_or_too_much_are_refused() {
    for sentence in [
        "faster",
        "do it better",
        "also ./pics",
        "also back up ./pics",
        "and ./pics too",
        "also upload to dropbox",
        "encrypt it",
        "also send me a mail",
        "restart my server",
        "keep cool",
        "something else",
        "change it",
        "rename it",
        "keep 14 bananas in the fridge",
        "translate it",
        "paint it blue",
    ] {
        let result = changed(sentence);
        assert!(
            result.is_err(),
            "{sentence}: {:?}",
            result.map(|p| (p.said, p.trigger))
        );
    }
}
