//! `agentwright foundation`: what can be built, and checking one's own.

use crate::home::Home;
use std::path::Path;

/// The repository's own, as a directory.
const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../foundations");

#[test]
fn the_list_has_an_example_for_each_and_needs_no_daemon() {
    let home = Home::new();
    let list = home.json(0, &["foundation", "list"]);
    let items = list["items"].as_array().unwrap();
    assert!(
        items.iter().any(|it| it["name"] == "folder-backup"),
        "{list}"
    );
    let text = home.done(&["foundation", "list"]).out;
    for it in items {
        assert!(it["examples"][0].is_string(), "{it}");
        assert!(text.contains(it["name"].as_str().unwrap()), "{text}");
    }
    assert!(!home.data().exists());
}

#[test]
fn our_own_foundations_are_sound() {
    let home = Home::new();
    let said = home.run(&["foundation", "check", OURS]);
    assert_eq!(said.code, 0, "{said:#?}");
}

#[test]
fn a_broken_foundation_is_named_with_file_and_place() {
    let home = Home::new();
    let own = home.work().join("mine");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("foundation.toml"), "format = 1\nname = 7\n").unwrap();
    let said = home.run(&["foundation", "check", "mine"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.out.contains("foundation.toml"), "{said:#?}");
    let report = home.json(1, &["foundation", "check", "mine"]);
    assert!(
        !report["items"][0]["problems"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        home.run(&["foundation", "list", "--foundations", "mine"])
            .code,
        1
    );
}

#[test]
fn an_example_that_is_understood_otherwise_is_a_problem() {
    let home = Home::new();
    let own = home.work().join("folder-backup");
    copy(&Path::new(OURS).join("folder-backup"), &own);
    let manifest = own.join("foundation.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let text = text.replacen("examples = [", "examples = [\"paint my kitchen blue\",", 1);
    std::fs::write(&manifest, text).unwrap();
    let said = home.run(&["foundation", "check", "folder-backup"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.out.contains("paint my kitchen blue"), "{said:#?}");
}

#[test]
fn a_directory_without_a_foundation_is_refused() {
    let home = Home::new();
    let said = home.run(&["foundation", "check", "."]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.err.contains("holds no foundation"), "{said:#?}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from)
        .expect("a directory")
        .filter_map(Result::ok)
    {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
