//! The file and the store, brought together.

use agentwright_queue::file::{EMPTY, merge, parse, parse_known};
use agentwright_queue::{Criterion, Item, Priority, item};
use proptest::prelude::*;

const FILE: &str = "# My queue\n<!-- mine -->\n\n## Active Queue\n\n- [ ] One - Priority: High   \n  note of One\n* [ ] Two - Added: 2026-02-06 15:00\n- [ ] Three - Priority: low\n\nwords between\n\n## Task Details\n\n### Two\n- **Description:** the second\n- **Blockers:** Ann\n\n### One\nanything\n\n## Completed\n\n- [x] Zero\n";

fn agreed(text: &str) -> Vec<Item> {
    parse(text).items
}

fn new(name: &str) -> Item {
    Item::new(item::label(name, |_| false), name)
}

#[test]
fn where_nothing_changed_every_byte_stays() {
    for text in [FILE, &FILE.replace('\n', "\r\n"), "- [ ] x", EMPTY] {
        let items = agreed(text);
        let merged = merge(text, &items, &items);
        assert_eq!(merged.text, text);
        assert_eq!(merged.items, items);
    }
}

#[test]
fn what_the_store_changed_is_put_into_the_line_and_nothing_else_moves() {
    let base = agreed(FILE);
    let mut store = base.clone();
    store[0].priority = Priority::Medium;
    store[1].start = Some("2026-02-07 09:00".into());
    store[1].blockers = vec!["the key".into(), "One".into()];
    store[2].priority = Priority::High;
    let merged = merge(FILE, &base, &store);
    let expected = FILE
        .replace("One - Priority: High   \n", "One - Priority: Medium   \n")
        .replace("15:00\n", "15:00 - Start: 2026-02-07 09:00\n")
        .replace("**Blockers:** Ann", "**Blockers:** the key; One")
        .replace("Priority: low", "Priority: High");
    assert_eq!(merged.text, expected);
    assert_eq!(merged.items, store);
}

#[test]
fn what_is_done_moves_to_the_completed_with_its_notes_and_its_details_stay() {
    let base = agreed(FILE);
    let mut store = base.clone();
    store[0].done = true;
    let merged = merge(FILE, &base, &store);
    let expected = FILE
        .replace("- [ ] One - Priority: High   \n  note of One\n", "")
        .replace(
            "- [x] Zero\n",
            "- [x] Zero\n- [x] One - Priority: High   \n  note of One\n",
        );
    assert_eq!(merged.text, expected);
    assert!(merged.text.contains("### One\nanything\n"));
    assert!(
        merged
            .items
            .iter()
            .any(|item| item.name == "One" && item.done)
    );
    // And back.
    let again = merge(&merged.text, &merged.items, &base);
    assert!(
        again
            .text
            .contains("- [ ] One - Priority: High   \n  note of One\n")
    );
    assert!(
        again
            .items
            .iter()
            .all(|item| item.name != "One" || !item.done)
    );
}

#[test]
fn new_items_come_last_with_their_details_and_removed_ones_go_with_theirs() {
    let base = agreed(FILE);
    let mut store = base.clone();
    store.remove(1);
    let mut four = new("Four - Priority: fake");
    four.description = Some("line one\nline two".into());
    four.criteria = vec![Criterion {
        text: "a report is there".into(),
        done: false,
    }];
    four.blockers = vec!["a, b".into()];
    store.push(four);
    let merged = merge(FILE, &base, &store);
    assert!(
        !merged.text.contains("Two") && !merged.text.contains("the second"),
        "{}",
        merged.text
    );
    assert!(
        merged
            .text
            .contains("- [ ] Three - Priority: low\n- [ ] Four - Priority fake - Priority: High\n"),
        "{}",
        merged.text
    );
    assert!(
        merged
            .text
            .contains("- **Description:** line one line two\n"),
        "{}",
        merged.text
    );
    let four = merged
        .items
        .iter()
        .find(|item| item.name.starts_with("Four"))
        .unwrap();
    assert_eq!(four.priority, Priority::High);
    assert_eq!(four.criteria.len(), 1);
    assert_eq!(four.blockers, ["a b"]);
}

#[test]
fn an_order_of_the_stores_moves_whole_entries() {
    let base = agreed(FILE);
    let mut store = base.clone();
    store.swap(0, 2);
    let merged = merge(FILE, &base, &store);
    let expected = FILE.replace(
        "- [ ] One - Priority: High   \n  note of One\n* [ ] Two - Added: 2026-02-06 15:00\n- [ ] Three - Priority: low\n",
        "- [ ] Three - Priority: low\n* [ ] Two - Added: 2026-02-06 15:00\n- [ ] One - Priority: High   \n  note of One\n",
    );
    assert_eq!(merged.text, expected);
    assert_eq!(merged.items, store);
}

#[test]
fn a_persons_edit_wins_over_the_stores() {
    let base = agreed(FILE);
    let mut store = base.clone();
    store[0].priority = Priority::Low;
    store[2].done = true;
    store.remove(1);
    let edited = FILE
        .replace("One - Priority: High", "One - Priority: medium")
        .replace("15:00\n", "15:00 - Priority: Low\n")
        .replace("- [ ] Three - Priority: low\n", "");
    let merged = merge(&edited, &base, &store);
    // The priority is the person's; the item that both touched stays; the one that they deleted is gone.
    assert_eq!(merged.text, edited);
    let names: Vec<_> = merged.items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["One", "Two", "Zero"]);
}

#[test]
fn a_file_that_was_lost_or_emptied_is_written_anew_and_no_task_is_lost() {
    let items = agreed(FILE);
    for text in ["", "\u{feff}", " \r\n\n"] {
        let merged = merge(text, &items, &items);
        let mut names: Vec<_> = merged.items.iter().map(|item| item.name.clone()).collect();
        names.sort();
        assert_eq!(names, ["One", "Three", "Two", "Zero"]);
        assert!(
            merged
                .text
                .starts_with("# Build queue\n\n## Active Queue\n\n- [ ] One"),
            "{}",
            merged.text
        );
        assert!(
            merged.text.contains("\n## Completed\n\n- [x] Zero - "),
            "{}",
            merged.text
        );
        assert_eq!(
            merge(&merged.text, &merged.items, &merged.items).text,
            merged.text
        );
    }
}

#[test]
fn sections_that_are_missing_are_made_where_they_are_needed() {
    let base = agreed("- [ ] One");
    let mut store = base.clone();
    store[0].done = true;
    store[0].blockers = Vec::new();
    let mut two = new("Two");
    two.description = Some("the second".into());
    store.push(two);
    let merged = merge("- [ ] One", &base, &store);
    assert_eq!(merged.items.len(), 2, "{}", merged.text);
    assert!(
        merged
            .items
            .iter()
            .any(|item| item.description.as_deref() == Some("the second")),
        "{}",
        merged.text
    );
    assert!(
        merged.text.contains("## Completed\n\n- [x] One"),
        "{}",
        merged.text
    );
}

#[test]
fn a_tick_of_the_store_reaches_its_own_item_whatever_a_person_wrote_above_it() {
    // Neither name has a letter that a label can have, so both would be called "item".
    let base = agreed("## Active Queue\n- [ ] ß\n");
    let mut store = base.clone();
    store[0].done = true;
    let merged = merge("## Active Queue\n- [ ] ä\n- [ ] ß\n", &base, &store);
    let of = |name: &str| merged.items.iter().find(|item| item.name == name).unwrap();
    assert!(of("ß").done && !of("ä").done, "{}", merged.text);
    assert_eq!(of("ß").label, base[0].label);
    assert_ne!(of("ä").label, base[0].label);
}

#[test]
fn a_new_item_of_the_file_and_one_of_the_store_that_would_share_a_label_are_both_kept() {
    let store = vec![new("ß")];
    let merged = merge("## Active Queue\n- [ ] ä\n", &[], &store);
    let names: Vec<&str> = merged.items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["ä", "ß"], "{}", merged.text);
    assert_eq!(merged.items[1].label, store[0].label);
}

#[test]
fn items_of_one_name_get_their_labels_written_before_their_order_changes() {
    let text = "## Active Queue\n- [ ] One\n- [ ] One\n- [ ] Two\n";
    let base = agreed(text);
    let mut store = base.clone();
    store[0].done = true;
    let merged = merge(text, &base, &store);
    let expected = "## Active Queue\n- [ ] One - Label: one-2\n- [ ] Two\n\n## Completed\n\n- [x] One - Label: one\n";
    assert_eq!(merged.text, expected);
    let done: Vec<_> = merged
        .items
        .iter()
        .map(|item| (item.label.as_str(), item.done))
        .collect();
    assert_eq!(done, [("one-2", false), ("two", false), ("one", true)]);
}

#[test]
fn items_of_one_name_keep_their_details_and_ticks_when_one_moves() {
    let text = "## Active Queue\n- [ ] A  B\n- [ ] A  B\n\n## Task Details\n\n### A  B\n- **Description:** first\n\n### A  B\n- **Description:** second\n";
    let base = agreed(text);
    let mut store = base.clone();
    store[0].done = true;
    let merged = merge(text, &base, &store);
    let told = |items: &[Item]| -> Vec<(String, bool, String)> {
        let of = |item: &Item| {
            let said = item.description.clone().unwrap_or_default();
            (item.label.to_string(), item.done, said)
        };
        items.iter().map(of).collect()
    };
    let expected = [
        ("a-b-2".to_owned(), false, "second".to_owned()),
        ("a-b".to_owned(), true, "first".to_owned()),
    ];
    assert_eq!(told(&merged.items), expected, "{}", merged.text);

    // One that is new gets its own details, whatever is done above or below it.
    let mut store = merged.items.clone();
    let mut third = Item::new(item::label("a b 3", |_| false), "A  B");
    third.description = Some("third".into());
    store.push(third);
    store.remove(1);
    let again = merge(&merged.text, &merged.items, &store);
    let expected = [
        ("a-b-2".to_owned(), false, "second".to_owned()),
        ("a-b-3".to_owned(), false, "third".to_owned()),
    ];
    assert_eq!(told(&again.items), expected, "{}", again.text);
    assert!(!again.text.contains("first"), "{}", again.text);
}

#[test]
fn an_item_whose_like_was_deleted_keeps_its_label() {
    let text = "## Active Queue\n- [ ] One\n";
    let base = agreed(text);
    let merged = merge("## Active Queue\n- [ ] One!\n- [ ] One\n", &base, &[]);
    let labels: Vec<_> = merged
        .items
        .iter()
        .map(|item| item.label.as_str())
        .collect();
    assert_eq!(labels, ["one-2"], "{}", merged.text);
}

#[test]
fn details_belong_to_the_item_of_their_name_before_one_that_only_looks_like_it() {
    let text =
        "## Active Queue\n- [ ] ä\n- [ ] ß\n\n## Task Details\n\n### ß\n- **Description:** sharp\n";
    let said: Vec<_> = agreed(text)
        .into_iter()
        .map(|item| item.description)
        .collect();
    assert_eq!(said, [None, Some("sharp".to_owned())]);
}

/// One change on either side.
#[derive(Clone, Debug)]
enum Edit {
    FileAdd(String),
    FileRemove(usize),
    FilePriority(usize, u8),
    FileNote(usize, String),
    FileSwap(usize),
    FileTick(usize),
    StoreAdd(String),
    StoreRemove(usize),
    StorePriority(usize, u8),
    StoreDone(usize),
    StoreBlock(usize, String),
    StoreMove(usize),
    Sync,
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let name = prop_oneof![
        "[A-Za-zäß][A-Za-z0-9 :äß*.,'-]{0,18}",
        prop::sample::select(vec!["ß", "ä", "One", "One!", "Two", "item", "item-2"])
            .prop_map(String::from),
    ];
    let at = 0usize..8;
    let one = prop_oneof![
        name.clone().prop_map(Edit::FileAdd),
        at.clone().prop_map(Edit::FileRemove),
        (at.clone(), 0u8..3).prop_map(|(at, to)| Edit::FilePriority(at, to)),
        (at.clone(), "[a-z ]{1,12}").prop_map(|(at, text)| Edit::FileNote(at, text)),
        at.clone().prop_map(Edit::FileSwap),
        at.clone().prop_map(Edit::FileTick),
        name.prop_map(Edit::StoreAdd),
        at.clone().prop_map(Edit::StoreRemove),
        (at.clone(), 0u8..3).prop_map(|(at, to)| Edit::StorePriority(at, to)),
        at.clone().prop_map(Edit::StoreDone),
        (at.clone(), "[a-z ,;]{0,12}").prop_map(|(at, text)| Edit::StoreBlock(at, text)),
        at.prop_map(Edit::StoreMove),
        Just(Edit::Sync),
    ];
    prop::collection::vec(one, 1..40)
}

/// A person at the file, programs at the store, and what both last agreed on.
struct Both {
    text: String,
    base: Vec<Item>,
    store: Vec<Item>,
    /// Lines that a person wrote, and that nobody may change.
    notes: Vec<String>,
    /// Tasks of the store so far: each has a description of its own.
    told: usize,
}

impl Both {
    /// The active checklist lines of the file.
    fn entries(&self) -> Vec<usize> {
        let mut active = false;
        let mut found = Vec::new();
        for (at, line) in self.text.lines().enumerate() {
            if line.starts_with("## ") {
                active = line.contains("Active");
            } else if active && line.starts_with("- [") {
                found.push(at);
            }
        }
        found
    }

    fn line(&mut self, at: usize, change: impl Fn(&str) -> Vec<String>) {
        let entries = self.entries();
        let Some(line) = entries.get(at) else { return };
        let lines: Vec<String> = self
            .text
            .lines()
            .enumerate()
            .flat_map(|(n, text)| {
                if n == *line {
                    change(text)
                } else {
                    vec![text.to_owned()]
                }
            })
            .collect();
        self.text = format!("{}\n", lines.join("\n"));
    }

    fn apply(&mut self, edit: &Edit) {
        const WORDS: [Priority; 3] = [Priority::High, Priority::Medium, Priority::Low];
        let labels: Vec<_> = self
            .store
            .iter()
            .map(|item| item.label.as_str().to_owned())
            .collect();
        match edit {
            Edit::FileAdd(name) => {
                let line = format!("## Active Queue\n- [ ] {name}\n");
                self.text = self.text.replacen("## Active Queue\n", &line, 1);
            }
            Edit::FileRemove(at) => self.line(*at, |_| Vec::new()),
            Edit::FilePriority(at, to) => {
                let title = WORDS[usize::from(*to)].title();
                self.line(*at, |text| {
                    let bare = text.split(" - Priority: ").next().unwrap();
                    vec![format!("{bare} - Priority: {title}")]
                });
            }
            Edit::FileNote(at, note) => {
                let note = format!("      {} #{}", note.trim(), self.notes.len());
                if self.entries().len() > *at {
                    self.notes.push(note.clone());
                    self.line(*at, |text| vec![text.to_owned(), note.clone()]);
                }
            }
            Edit::FileSwap(at) => {
                let entries = self.entries();
                if let (Some(one), Some(two)) = (entries.get(*at), entries.get(at + 1))
                    && one + 1 == *two
                {
                    let mut lines: Vec<&str> = self.text.lines().collect();
                    lines.swap(*one, *two);
                    self.text = format!("{}\n", lines.join("\n"));
                }
            }
            Edit::FileTick(at) => self.line(*at, |text| vec![text.replacen("[ ]", "[x]", 1)]),
            Edit::StoreAdd(name) => {
                let label = item::label(name, |label| labels.iter().any(|known| known == label));
                let mut item = Item::new(label, name.clone());
                self.told += 1;
                item.description = Some(format!("task {}", self.told));
                self.store.push(item);
            }
            Edit::StoreRemove(at) if *at < self.store.len() => {
                self.store.remove(*at);
            }
            Edit::StoreMove(at) if *at + 1 < self.store.len() => self.store.swap(*at, at + 1),
            Edit::StorePriority(at, to) => {
                if let Some(item) = self.store.get_mut(*at) {
                    item.priority = WORDS[usize::from(*to)];
                }
            }
            Edit::StoreDone(at) => {
                if let Some(item) = self.store.get_mut(*at) {
                    item.done = true;
                }
            }
            Edit::StoreBlock(at, by) => {
                if let Some(item) = self.store.get_mut(*at) {
                    item.blockers = vec![by.clone()];
                }
            }
            Edit::StoreRemove(_) | Edit::StoreMove(_) => {}
            Edit::Sync => self.sync(),
        }
    }

    /// Merges, and checks everything that a merge promises.
    fn sync(&mut self) {
        let before = parse_known(&self.text, &self.base, &self.store).items;
        let merged = merge(&self.text, &self.base, &self.store);
        let of = |items: &[Item], label: &str| {
            items
                .iter()
                .find(|item| item.label.as_str() == label)
                .cloned()
        };
        let read = parse_known(&merged.text, &merged.items, &merged.items);
        assert_eq!(read.items, merged.items);
        let again = merge(&merged.text, &merged.items, &merged.items);
        assert_eq!(again.text, merged.text, "merging again changes nothing");
        for item in &before {
            let label = item.label.as_str();
            let (old, new) = (of(&self.base, label), of(&self.store, label));
            let kept = of(&merged.items, label);
            if old.as_ref() != Some(item) || new.is_some() {
                let kept = kept.unwrap_or_else(|| {
                    panic!("{label} was lost:\n{}\n→\n{}", self.text, merged.text)
                });
                if old.as_ref().is_none_or(|old| old.priority != item.priority) {
                    assert_eq!(kept.priority, item.priority, "a person's edit wins");
                }
                if old.as_ref().is_none_or(|old| old.done != item.done) {
                    assert_eq!(kept.done, item.done, "a person's tick wins");
                }
            }
        }
        for item in &self.store {
            let label = item.label.as_str();
            if of(&self.base, label).is_none() {
                let kept = of(&merged.items, label)
                    .unwrap_or_else(|| panic!("{label} of the store was lost:\n{}", merged.text));
                if of(&before, label).is_none() {
                    assert_eq!(kept.description, item.description, "{}", merged.text);
                }
            }
        }
        for item in &before {
            let label = item.label.as_str();
            if let (Some(old), Some(new)) = (of(&self.base, label), of(&self.store, label)) {
                let kept = of(&merged.items, label).unwrap();
                let done = if item.done == old.done {
                    new.done
                } else {
                    item.done
                };
                assert_eq!(
                    (&kept.name, kept.done),
                    (&item.name, done),
                    "{label} is itself"
                );
            }
        }
        if self.store == self.base && before.len() >= self.base.len() {
            assert_eq!(merged.text, self.text, "the store had nothing to add");
        }
        (self.text, self.base) = (merged.text, merged.items.clone());
        self.store = merged.items;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn edits_of_both_sides_in_any_order_lose_no_task_and_end_in_agreement(edits in edits(), windows: bool) {
        let text = if windows { FILE.replace('\n', "\r\n") } else { FILE.to_owned() };
        let base = parse(&text).items;
        let mut both = Both { text, base: base.clone(), store: base, notes: Vec::new(), told: 0 };
        for edit in &edits {
            both.apply(edit);
        }
        both.sync();
        prop_assert!(both.text.contains("words between"));
        prop_assert!(both.text.contains("<!-- mine -->"));
    }

    #[test]
    fn reading_never_fails_and_agreement_is_stable_whatever_the_file_is(text in "[ -~\n\t#*\\[\\]xäðŸ`]{0,300}") {
        let items = parse(&text).items;
        prop_assert_eq!(&merge(&text, &items, &items).text, &if text.trim().is_empty() { merge(&text, &items, &items).text } else { text.clone() });
    }
}
