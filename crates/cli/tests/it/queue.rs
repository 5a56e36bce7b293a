//! The queue on a terminal: from an item that is added to the build that it starts, and every refusal on the way.

use crate::home::{Home, Said, eventually};
use serde_json::Value;

const WISH: &str = "every night, keep a zip of the folder ./notes in ./backups";

/// In the form of the seed's document, with details of an item that is not there.
const FILE: &str = "# Build Queue

## Active Queue
- [ ] Letters - Added: 2026-02-06 15:00 - Priority: Low

## Task Details

### Letters
**Description:** zip the folder ./letters into ./sent each day
**Completion Criteria:**
- [ ] a zip is there

### Ghost
**Description:** belongs to nobody
";

fn add(home: &Home, more: &[&str]) -> Said {
    let base = ["queue", "add", "Notes zip", "--desc", WISH];
    let done = ["--criterion", "a zip is there", "--priority", "low"];
    let args: Vec<&str> = base.iter().chain(&done).chain(more).copied().collect();
    home.run(&args)
}

/// What the item's last look came to.
fn why(home: &Home, item: &str) -> Option<String> {
    let why = home.json(0, &["why", item, "--json"]);
    why["item"]["why"]["decision"].as_str().map(str::to_owned)
}

fn answered(home: &Home, item: &str, decision: &str) {
    eventually(&format!("{item} is answered {decision}"), || {
        (why(home, item)? == decision).then_some(())
    });
}

#[test]
fn an_item_is_added_held_back_let_go_built_and_reported() {
    let home = Home::with_notes();
    let added = add(&home, &[]);
    assert!(
        added.out.contains("is in the queue as notes-zip"),
        "{added:?}"
    );
    assert!(added.err.contains("why notes-zip"), "{added:?}");
    answered(&home, "notes-zip", "unapproved");
    let list = home.done(&["queue", "list"]);
    assert!(
        list.out.contains("low") && list.out.contains("yes"),
        "{list:?}"
    );
    let said = home.done(&["why", "notes-zip"]);
    assert!(said.out.contains("ANSWER"), "{said:?}");

    home.done(&["queue", "block", "notes-zip", "the weather"]);
    answered(&home, "notes-zip", "blocked");
    let free = home.done(&["queue", "unblock", "notes-zip", "the weather"]);
    assert!(free.out.contains("notes-zip"), "{free:?}");
    let later = home.done(&["queue", "priority", "notes-zip", "low"]);
    assert!(later.out.contains("low"), "{later:?}");
    answered(&home, "notes-zip", "unapproved");
    let check = home.done(&["heartbeat", "--check"]);
    assert!(!check.out.contains("would start"), "{check:?}");

    home.done(&["queue", "approve", "Notes zip"]);
    eventually("it waits for the yes before deploy", || {
        let list = home.json(0, &["queue", "list", "--json"]);
        (list["items"][0]["status"] == "awaiting_approval").then_some(())
    });
    let active = home.done(&["status", "--active"]);
    assert!(active.out.contains("notes-zip"), "{active:?}");
    let asked = home.done(&["status", "how", "is", "the", "notes", "zip?"]);
    assert!(asked.out.contains("awaiting approval"), "{asked:?}");
    home.done(&["approve", "notes-zip"]);
    eventually("it is done", || {
        let done = home.run(&["status", "--completed"]);
        done.out.contains("notes-zip").then_some(())
    });
    let report = home.done(&["report"]);
    let completed = report.out.split("## Failed").next().unwrap_or_default();
    assert!(completed.contains("notes-zip"), "{report:?}");
    let looks = home.done(&["heartbeat", "--monitor"]);
    assert!(looks.out.contains("every 1800 s"), "{looks:?}");
    let gone = home.done(&["queue", "remove", "notes-zip"]);
    assert!(gone.out.contains("no longer in the queue"), "{gone:?}");
    assert_eq!(home.done(&["queue", "list"]).out.trim(), "nothing is there");
}

#[test]
fn a_file_of_items_is_imported_and_what_it_says_wrong_is_named_with_its_place() {
    let home = Home::with_notes();
    let file = home.work().join("more.md");
    std::fs::write(&file, FILE).expect("a file");
    let made = home.done(&["queue", "import", "more.md"]);
    assert!(made.out.contains("1 items were added"), "{made:?}");
    assert!(
        made.err
            .contains("more.md:13:5: no item of the queue has this name"),
        "{made:?}"
    );
    add(&home, &[]);
    home.done(&["queue", "move", "notes-zip", "--before", "letters"]);
    let list = home.json(0, &["queue", "list", "--json"]);
    let labels: Vec<&Value> = list["items"].as_array().map_or_else(Vec::new, |items| {
        items.iter().map(|item| &item["label"]).collect()
    });
    assert_eq!(labels, ["notes-zip", "letters"]);

    std::fs::write(&file, "x".repeat(1_100_000)).expect("a large file");
    for (args, code, says) in [
        (&["queue", "import", "more.md"][..], 2, "import it in parts"),
        (&["queue", "import", "nowhere.md"], 1, "nowhere.md"),
        (
            &["queue", "move", "letters", "--before", "No Label"],
            2,
            "is not a name",
        ),
        (&["queue", "remove", "nothing"], 1, "agentwright queue list"),
        (&["queue", "fail", "letters"], 1, "letters"),
        (&["queue", "retry", "letters"], 1, "letters"),
        (
            &["heartbeat", "--fail", "nothing"],
            1,
            "agentwright queue list",
        ),
        (&["report", "--from", "yesterday-ish"], 1, "must be a date"),
        (
            &["connect", "postgres://ann:pw@db/x", "--table", "t"],
            2,
            "shell's history",
        ),
        (&["connect", "env:NOT_SET", "--table", "t"], 1, "NOT_SET"),
    ] {
        let said = home.run(args);
        assert!(
            said.err.contains(says) && said.code == code,
            "{args:?}: {said:?}"
        );
    }
    let same = add(&home, &["--label", "letters"]);
    assert_eq!(same.code, 1, "{same:?}");
    assert!(same.err.contains("letters"), "{same:?}");
    let none = home.done(&["connect", "--list"]);
    assert!(none.out.contains("no table is connected"), "{none:?}");
}
