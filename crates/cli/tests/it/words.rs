//! What the program says and how it ends when nothing is built: usage, schemas, hostile text, lost readers.

use crate::home::{Home, finished};
use serde_json::json;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    let home = Home::new();
    for args in [
        &["bogus"][..],
        &["build"],
        &["build", "--input", "nonsense", "x"],
        &["build", "--spec", "a.json", "and a sentence"],
        &["list", "--limit", "0"],
        &["approve", "x", "--subject", "not a digest"],
        &["change", "../up", "also this"],
        &["sandbox"],
        &["--data", "", "list"],
    ] {
        let said = home.run(args);
        assert_eq!(said.code, 2, "{args:?}: {said:#?}");
        assert!(said.out.is_empty() && !said.err.is_empty(), "{said:#?}");
    }
}

#[test]
fn the_address_of_a_database_is_never_taken_from_the_command_line() {
    let home = Home::new();
    for address in [
        "postgres://ann:s3cret@db.example.org/api_business",
        "host=db password=s3cret",
        "s3cret",
        "vault:s3cret",
        "env:s3cret-and-more",
    ] {
        let said = home.run(&["connect", address]);
        assert_eq!(said.code, 2, "{said:#?}");
        let all = format!("{}{}", said.out, said.err);
        assert!(
            all.contains("the shell's history") && all.contains("connect file:PATH"),
            "{all}"
        );
        assert!(!all.contains("s3cret"), "{all}");
    }
    // Nothing was started for it.
    assert!(!home.data().exists());
    let said = home.run(&["connect"]);
    assert!(
        said.code == 2 && said.err.contains("REFERENCE"),
        "{said:#?}"
    );
}

#[test]
fn a_table_that_cannot_be_connected_says_why_and_none_is_listed() {
    let home = Home::new();
    let url = home.work().join("business.url");
    std::fs::write(&url, "postgres://ann:s3cret@127.0.0.1:9/api_business\n").unwrap();
    let mode = |mode| {
        std::fs::set_permissions(&url, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (bits, why) in [
        (0o644, "its mode is 644, so others may use it: chmod 640 it"),
        (0o600, "cannot be connected now: the database is away"),
    ] {
        mode(bits);
        // A path is meant from where the command is given.
        let said = home.run(&["connect", "file:business.url"]);
        assert_eq!(said.code, 1, "{said:#?}");
        assert!(
            said.err.contains(why) && !said.err.contains("s3cret"),
            "{said:#?}"
        );
    }
    let said = home.run(&["connect", "vault:secret/business#url"]);
    assert!(
        said.code == 1 && said.err.contains("no Vault is configured"),
        "{said:#?}"
    );
    assert!(
        home.done(&["connect", "--list"])
            .out
            .contains("no table is connected")
    );
    assert_eq!(home.json(0, &["connect", "--list"]), json!({ "items": [] }));
    let said = home.run(&["connect", "--remove", "nothing"]);
    assert!(
        said.code == 1 && said.err.contains("no connected table"),
        "{said:#?}"
    );
}

#[test]
fn an_empty_list_teaches_what_to_do() {
    let home = Home::new();
    let said = home.done(&["list"]);
    assert!(said.out.contains("build --plan \"every night"), "{said:#?}");
    assert!(said.err.contains("started the daemon"), "{said:#?}");
    assert_eq!(home.json(0, &["list"]), json!({ "items": [] }));
    assert_eq!(home.json(0, &["deployments"]), json!({ "items": [] }));
}

#[test]
fn a_name_that_nothing_has_ends_with_1_and_a_hint() {
    let home = Home::new();
    for args in [
        &["show", "nothing"][..],
        &["logs", "nothing"],
        &["watch", "nothing"],
        &["approve", "nothing"],
        &["reject", "nothing"],
        &["cancel", "nothing"],
        &["retry", "nothing"],
        &["deploy", "nothing"],
        &["run-now", "nothing"],
        &["pause", "nothing"],
        &["resume", "nothing"],
        &["stop", "nothing"],
        &["rollback", "nothing"],
        &["export", "nothing"],
        &["remove", "nothing"],
    ] {
        let said = home.run(args);
        assert_eq!(said.code, 1, "{args:?}: {said:#?}");
        assert!(
            said.err.contains("hint: see what there is"),
            "{args:?}: {said:#?}"
        );
    }
    let error = home.json(1, &["show", "nothing"]);
    assert_eq!(error["error"]["exit"], 1);
}

#[test]
fn the_schemas_are_json_schemas_of_the_formats() {
    let home = Home::new();
    for (format, field) in [
        ("spec", "permissions"),
        ("acceptance", "cases"),
        ("foundation", "examples"),
    ] {
        let said = home.done(&["schema", format]);
        let schema: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert!(
            schema["$schema"].is_string() && schema["properties"][field].is_object(),
            "{format}"
        );
    }
}

#[test]
fn completions_are_scripts_for_each_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            home.done(&["completions", shell]).out.contains("run-now"),
            "{shell}"
        );
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::new();
    let mut child = home.start(&["schema", "spec"]);
    let mut stdout = child.stdout.take().expect("its output");
    let mut first = [0_u8; 1];
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let said = finished(child, &["schema"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let home = Home::new();
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let child = home
        .command(&["schema", "spec"])
        .stdout(Stdio::from(full))
        .spawn()
        .unwrap();
    let said = finished(child, &["schema"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("write to standard output"), "{said:?}");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    let home = Home::new();
    let file = home.work().join("file");
    std::fs::write(&file, "").unwrap();
    let inside = file.join("data").display().to_string();
    let said = home.run(&["--data", &inside, "list"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(
        said.err.contains(&inside) && said.err.contains("--data"),
        "{said:#?}"
    );
}

#[test]
fn a_spec_that_is_wrong_is_refused_with_every_problem() {
    let home = Home::new();
    let path = home.work().join("spec.json");
    std::fs::write(&path, "{ \"format\": 1 }").unwrap();
    let said = home.run(&["build", "--spec", "spec.json"]);
    assert_eq!(said.code, 4, "{said:#?}");
    assert!(
        said.err.contains("missing field") && said.err.contains("schema spec"),
        "{said:#?}"
    );
    let said = home.run(&["build", "--spec", "absent.json"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.err.contains("absent.json"), "{said:#?}");
}

#[test]
fn what_others_wrote_cannot_move_the_cursor() {
    let home = Home::new();
    let said = home.run(&["show", "evil\u{1b}[2J\u{202e}name"]);
    assert_eq!(said.code, 1);
    assert!(
        !said.err.contains('\u{1b}') && !said.err.contains('\u{202e}'),
        "{said:?}"
    );
}

#[test]
fn the_data_directory_belongs_to_its_owner_alone() {
    let home = Home::new();
    home.done(&["list"]);
    let mode = std::fs::metadata(home.data()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
