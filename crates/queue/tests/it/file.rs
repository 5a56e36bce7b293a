//! Reading `BUILD_QUEUE.md`.

use agentwright_queue::file::{self, parse};
use agentwright_queue::{Criterion, Priority};

/// The seed's two forms of an entry: the line, and the details below a heading of their own; saved in the wrong
/// encoding, as the seed is.
const SEED: &str = "# ðŸ¤– Build Queue\n\n\
## ðŸ“‹ Active Queue\n\n\
- [ ] Spotify Playlist Automation - Added: 2026-02-06 15:00 - Priority: High\n\
- [ ] Workout playlist â€” later â€“ Added: 2026-02-06 22:00 â€“ Priority: medium\n\n\
---\n\n\
## ðŸ“ Task Details\n\n\
### Spotify Playlist Automation\n\
- **Description:** Build OAuth integration with Spotify API. Create Python script that authenticates user.\n\
- **Completion Criteria:**\n  - [ ] OAuth flow working\n  - [x] Can fetch user's liked songs: all of them\n\
- **Tech Stack:** Python, Spotipy library, OAuth2\n\
- **Estimated Time:** 4 hours\n\
- **Blockers:** None\n\n\
## âœ… Completed\n\n\
- [x] Old thing - Completed: 2026-02-01\n";

#[test]
fn the_seeds_two_forms_of_an_entry_are_read_whatever_the_encoding_did_to_them() {
    let read = parse(SEED);
    assert_eq!(read.problems, []);
    let names: Vec<_> = read.items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "Spotify Playlist Automation",
            "Workout playlist â€” later",
            "Old thing"
        ]
    );
    let spotify = &read.items[0];
    assert_eq!(spotify.label.as_str(), "spotify-playlist-automation");
    assert_eq!(spotify.added.as_deref(), Some("2026-02-06 15:00"));
    assert_eq!(
        spotify.tech.as_deref(),
        Some("Python, Spotipy library, OAuth2")
    );
    assert_eq!(spotify.estimate.as_deref(), Some("4 hours"));
    assert!(spotify.blockers.is_empty() && !spotify.done);
    assert!(
        spotify
            .description
            .as_ref()
            .unwrap()
            .ends_with("authenticates user.")
    );
    let second = Criterion {
        text: "Can fetch user's liked songs: all of them".into(),
        done: true,
    };
    assert_eq!((spotify.criteria.len(), &spotify.criteria[1]), (2, &second));
    assert_eq!(read.items[1].priority, Priority::Medium);
    assert!(read.items[2].done);
}

#[test]
fn line_endings_tabs_marks_and_missing_details_change_nothing() {
    let windows = SEED.replace('\n', "\r\n");
    assert_eq!(parse(&windows), parse(SEED));
    let marked = format!("\u{feff}{SEED}");
    assert_eq!(parse(&marked), parse(SEED));
    let tabs = "## Active Queue\n\t-\t[ ]\tOne\t\n\t- [X] Two  - Priority:low\n* [ ] Three\n+ [ ] Four - with a dash";
    let read = parse(tabs);
    let names: Vec<_> = read
        .items
        .iter()
        .map(|item| (item.name.as_str(), item.done))
        .collect();
    assert_eq!(
        names,
        [
            ("One", false),
            ("Two", true),
            ("Three", false),
            ("Four - with a dash", false)
        ]
    );
    assert_eq!(read.items[1].priority, Priority::Low);
    // Nobody said a priority: a person's own request is high.
    assert_eq!(read.items[0].priority, Priority::High);
    assert_eq!(read.problems, []);
}

#[test]
fn details_are_read_in_the_ways_people_write_them() {
    let text = "## Queue\n- [ ] A\n  a note of mine\n  - [ ] not an item\n- [ ] B\n## Details\n### A\n\
        **Description**: first\nsecond line\n* Blockers:\n  - [x] the key\n  - waiting for Ann, really\n  - B\n\
        Files: src/a.rs, src/b.rs\n- **Owner:** Ann\n  - of the old one\n### B #\n- **Criteria:** When it works\n- Start: 2026-02-07 09:00\n";
    let read = parse(text);
    assert_eq!(read.problems, []);
    let [a, b] = &read.items[..] else {
        panic!("{:?}", read.items)
    };
    assert_eq!(a.description.as_deref(), Some("first second line"));
    assert_eq!(a.blockers, ["waiting for Ann, really", "B"]);
    assert_eq!(a.touches, ["src/a.rs", "src/b.rs"]);
    assert_eq!(b.criteria[0].text, "When it works");
    assert_eq!(b.start.as_deref(), Some("2026-02-07 09:00"));
}

#[test]
fn every_problem_is_told_with_line_and_column() {
    let text = "## Active Queue\n\
        - [ ] Same\n\
        - [ ] Same\n\
        - [ ] Wrong - Priority: urgent\n\
        - [ ] Late - Added: yesterday - Start: soon\n\
        - [ ]\n\
        - [?] Odd\n\
        - [ ] Named - Label: ../etc\n\
        ## Task Details\n\
        ### Nobody\n\
        - **Description:** x\n\
        ## Active Queue\n\
        - [ ] Ünique – Priority: none of them\n";
    let told: Vec<String> = parse(text)
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    let places: Vec<&str> = told
        .iter()
        .map(|one| one.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "3:7", "4:25", "5:21", "5:40", "6:6", "7:3", "8:22", "10:5", "12:4", "13:26"
        ],
        "{told:#?}"
    );
    let read = parse(text);
    let labels: Vec<_> = read.items.iter().map(|item| item.label.as_str()).collect();
    assert_eq!(
        labels,
        ["same", "same-2", "wrong", "late", "named", "nique"]
    );
    assert_eq!(read.items[2].priority, Priority::Low);
    assert_eq!(
        (read.items[2].flaws.len(), read.items[3].flaws.len()),
        (1, 1)
    );
}

#[test]
fn fences_and_comments_are_a_persons_own_and_one_that_never_ends_hides_no_task() {
    let text = "## Active Queue\n```markdown\n- [ ] Example\n```\n<!-- - [ ] Later\n- [ ] Much later -->\n- [ ] Real\n";
    let names = |text: &str| -> Vec<String> {
        parse(text)
            .items
            .into_iter()
            .map(|item| item.name)
            .collect()
    };
    assert_eq!(names(text), ["Real"]);
    assert_eq!(names("## Active Queue\n```\n- [ ] Kept\n"), ["Kept"]);
}

#[test]
fn a_bare_list_is_read_and_told_about() {
    let read = parse("- [ ] One\n- [ ] Two\n");
    assert_eq!(read.items.len(), 2);
    assert!(read.problems[0].message.contains("Active Queue"));
    assert_eq!(parse("").items, []);
}

#[test]
fn what_is_no_text_is_refused_at_its_place() {
    assert_eq!(file::text("a\nü".as_bytes()), Ok("a\nü"));
    let binary = file::text(b"ab\nc\0d").unwrap_err();
    assert_eq!((binary.line, binary.column), (2, 2));
    let latin = file::text(b"ab\n\xfcber").unwrap_err();
    assert_eq!((latin.line, latin.column), (2, 1));
    assert!(latin.message.contains("UTF-8"));
    let large = vec![b'x'; 20 * 1024 * 1024];
    assert!(file::text(&large).unwrap_err().message.contains("20971520"));
}

#[test]
fn items_and_problems_of_one_file_are_bounded() {
    let many = format!(
        "## Active Queue\n{}",
        "- [ ] x - Priority: ?\n".repeat(file::ITEMS_MAX + 1)
    );
    let read = parse(&many);
    assert_eq!(read.items.len(), file::ITEMS_MAX);
    assert_eq!(read.problems.len(), file::PROBLEMS_MAX);
}
