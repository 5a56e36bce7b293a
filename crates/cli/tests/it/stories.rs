//! Stories: what a person does from a sentence to an automation at work, and back.

use crate::home::{Home, README_WISH, Said, mounts_in, processes_in};
use serde_json::{Value, json};
use std::process::Command;

/// Builds the README's wish and returns the deployment's name.
fn deployed(home: &Home) -> String {
    let end = home.json(0, &["build", "--yes", README_WISH]);
    let name = end["deployment"]["name"].as_str().expect("a deployment");
    name.to_owned()
}

/// Builds it without a yes and returns the label and the exact approve command.
fn waiting(home: &Home) -> (String, Vec<String>) {
    let end = home.json(3, &["build", README_WISH]);
    let label = end["build"]["label"].as_str().expect("a label").to_owned();
    let approve = end["approve"].as_str().expect("the command");
    // The program and the data directory are what the harness gives anyhow.
    let words = approve.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let at = words
        .iter()
        .position(|word| word == "approve")
        .expect("approve");
    (label, words[at..].to_vec())
}

fn count(home: &Home, command: &str) -> usize {
    home.json(0, &[command])["items"]
        .as_array()
        .expect("items")
        .len()
}

fn lines_with(said: &Said, part: &str) -> usize {
    said.out.lines().filter(|line| line.contains(part)).count()
}

#[test]
fn the_readme_wish_is_deployed_runs_and_goes_away_without_a_trace() {
    let home = Home::with_notes();
    let said = home.done(&["build", "--yes", README_WISH]);
    for part in [
        "is deployed, version 1",
        "4 of 4 levels held",
        "tier full",
        "next",
        "run-now",
        "remove",
    ] {
        assert!(said.out.contains(part), "{part} not in {said:#?}");
    }
    for part in [
        "level 1",
        "level 2",
        "level 3",
        "level 4",
        "✓ spec",
        "✓ register",
    ] {
        assert!(said.err.contains(part), "{part} not in {said:#?}");
    }
    assert!(
        home.zips().is_empty(),
        "the build itself must not touch the person's folders"
    );

    let list = home.json(0, &["deployments"]);
    let name = list["items"][0]["name"].as_str().unwrap();
    assert_eq!(list["items"][0]["activity"], "active");
    assert!(list["items"][0]["next_due_at"].is_string());
    let ran = home.done(&["run-now", name]);
    assert!(ran.out.contains(&format!("{name} ran")), "{ran:#?}");
    assert_eq!(home.zips().len(), 1);
    assert!(!home.done(&["logs", name]).out.trim().is_empty());
    let shown = home.done(&["show", name]);
    assert_eq!(lines_with(&shown, "completed"), 2, "{shown:#?}");

    home.done(&["remove", name]);
    assert_eq!(count(&home, "deployments"), 0);
    assert!(!home.data().join("deployments").join(name).exists());
    assert_eq!(home.zips().len(), 1, "what it made for the person stays");
    assert_eq!(home.run(&["run-now", name]).code, 1);
}

#[test]
fn without_a_yes_and_without_a_terminal_the_build_waits_and_says_how_to_go_on() {
    let home = Home::with_notes();
    let (label, approve) = waiting(&home);
    assert_eq!(count(&home, "deployments"), 0);
    let listed = home.json(0, &["list", "--status", "waiting"]);
    assert_eq!(listed["items"][0]["label"], json!(label));
    let shown = home.done(&["show", &label]);
    assert!(
        shown.out.contains("waiting") && shown.out.contains("approve"),
        "{shown:#?}"
    );

    let words: Vec<&str> = approve.iter().map(String::as_str).collect();
    assert!(words.contains(&"--subject"), "{words:?}");
    let said = home.done(&words);
    assert!(said.out.contains("is deployed"), "{said:#?}");
    let again = home.run(&words);
    assert_eq!(again.code, 1, "{again:#?}");
}

#[test]
fn a_yes_to_something_else_than_what_waits_is_refused() {
    let home = Home::with_notes();
    let (label, _) = waiting(&home);
    let other = format!("sha256:{}", "0".repeat(64));
    let said = home.run(&["approve", &label, "--subject", &other]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert_eq!(home.run(&["watch", &label]).code, 3);
    assert_eq!(count(&home, "deployments"), 0);
}

#[test]
fn a_no_ends_the_build_and_keeps_its_reason() {
    let home = Home::with_notes();
    let (label, _) = waiting(&home);
    let said = home.done(&["reject", &label, "--notes", "wrong folder"]);
    assert!(
        said.out.contains("rejected") && said.out.contains("wrong folder"),
        "{said:#?}"
    );
    let watched = home.run(&["watch", &label]);
    assert_eq!(watched.code, 1, "{watched:#?}");
    assert_eq!(count(&home, "deployments"), 0);
}

#[test]
fn a_cancelled_build_can_be_built_again_as_a_new_one_that_names_it() {
    let home = Home::with_notes();
    let (label, _) = waiting(&home);
    let said = home.done(&["cancel", &label, "--reason", "not today"]);
    assert!(said.out.contains("cancelled"), "{said:#?}");
    let old = home.json(0, &["show", &label])["build"]["id"].clone();
    let again = home.json(3, &["retry", &label]);
    assert_eq!(again["build"]["repeats"], old);
}

#[test]
fn a_build_that_was_left_can_be_joined_again() {
    let home = Home::with_notes();
    let said = home.json(0, &["build", "--yes", "--detach", README_WISH]);
    let label = said["label"].as_str().unwrap();
    let end = home.done(&["watch", label]);
    assert!(end.out.contains("is deployed"), "{end:#?}");
    let lines = home.done(&["watch", label, "--json"]).out;
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["exit"], 0);
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["seq"], 1);
}

#[test]
fn a_plan_says_what_would_be_built_and_changes_nothing() {
    let home = Home::with_notes();
    let plan = home.json(0, &["build", "--plan", README_WISH]);
    assert_eq!(plan["foundation"], "folder-backup");
    assert_eq!(plan["missing"], json!([]));
    for field in ["inputs", "permissions", "acceptance"] {
        assert!(plan[field].is_object(), "{field}");
    }
    assert_eq!(count(&home, "list"), 0);
    let made: Vec<_> = std::fs::read_dir(home.work()).unwrap().collect();
    assert_eq!(made.len(), 1, "only ./notes is there: {made:?}");
}

#[test]
fn what_cannot_be_built_is_refused_with_4_and_leaves_no_build() {
    let home = Home::with_notes();
    let long = "a word ".repeat(10_000);
    for wish in [
        "make it better",
        "paint my kitchen blue",
        "",
        "   ",
        "keep a zip of ./notes\u{1b}[2J in ./backups",
        &long,
    ] {
        let said = home.run(&["build", "--yes", wish]);
        let shown: String = wish.chars().take(40).collect();
        assert_eq!(said.code, 4, "{shown:?}: {said:#?}");
        assert!(!said.err.contains('\u{1b}'), "{said:?}");
    }
    let vague = home.json(4, &["build", "make it better"]);
    assert_eq!(vague["error"]["exit"], 4);
    assert_eq!(count(&home, "list"), 0);
}

#[test]
fn a_missing_input_is_named_and_can_be_given() {
    let home = Home::with_notes();
    let wish = "every night, keep a zip of the folder ./notes";
    let said = home.run(&["build", wish]);
    assert_eq!(said.code, 4, "{said:#?}");
    assert!(said.err.contains("--input"), "{said:#?}");
    let plan = home.json(4, &["build", "--plan", wish]);
    let name = plan["missing"][0]["name"].as_str().unwrap();
    let given = format!("{name}=./backups");
    let plan = home.json(0, &["build", "--plan", "--input", &given, wish]);
    assert_eq!(plan["missing"], json!([]));
}

#[test]
fn a_spec_can_be_built_instead_of_a_sentence() {
    let home = Home::with_notes();
    let plan = home.json(0, &["build", "--plan", README_WISH]);
    let file = home.work().join("spec.json");
    std::fs::write(&file, plan["spec"].to_string()).unwrap();
    let end = home.json(
        0,
        &[
            "build",
            "--yes",
            "--spec",
            "spec.json",
            "--label",
            "from-a-file",
        ],
    );
    assert_eq!(end["build"]["label"], "from-a-file");
    assert_eq!(end["deployment"]["name"], plan["name"]);
}

#[test]
fn a_build_without_deploy_is_deployed_later_through_its_gate() {
    let home = Home::with_notes();
    let end = home.json(0, &["build", "--no-deploy", README_WISH]);
    assert!(end["deployment"].is_null());
    let label = end["build"]["label"].as_str().unwrap();
    assert_eq!(home.run(&["deploy", label]).code, 3);
    let id = end["build"]["id"].as_str().unwrap();
    let said = home.done(&["deploy", id, "--yes"]);
    assert!(said.out.contains("is deployed"), "{said:#?}");
}

#[test]
fn a_change_shows_what_differs_makes_a_version_and_can_be_taken_back() {
    let home = Home::with_notes();
    let name = deployed(&home);
    let plan = home.done(&["change", &name, "--plan", "keep the last 14 instead"]);
    assert!(
        plan.out.contains("- 7") && plan.out.contains("+ 14"),
        "{plan:#?}"
    );
    let end = home.json(0, &["change", &name, "--yes", "keep the last 14 instead"]);
    assert_eq!(end["deployment"]["version"], 2);
    assert_eq!(end["deployment"]["name"], json!(name));
    let back = home.json(0, &["rollback", &name]);
    assert_eq!(back["version"], 1);
    home.done(&["run-now", &name]);
    assert_eq!(home.zips().len(), 1);
}

#[test]
fn a_change_that_another_one_overtook_cannot_be_approved_and_says_what_to_do() {
    let home = Home::with_notes();
    let name = deployed(&home);
    let waits = |words: &str| {
        let end = home.json(3, &["change", &name, words]);
        end["build"]["label"].as_str().expect("a label").to_owned()
    };
    let (first, second) = (waits("keep the last 14 instead"), waits("keep 3 instead"));
    home.done(&["approve", &first]);
    let said = home.run(&["approve", &second]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(
        said.err.contains("version 2 is active now")
            && said.err.contains(&format!("agentwright change {name}")),
        "{said:#?}"
    );
    home.done(&["reject", &second]);
    let end = home.json(0, &["change", &name, "--yes", "keep 3 instead"]);
    assert_eq!(end["deployment"]["version"], 3);
}

#[test]
fn an_export_runs_without_agentwright() {
    let home = Home::with_notes();
    let name = deployed(&home);
    let export = home.json(0, &["export", &name, "elsewhere"]);
    assert!(
        export["crontab"].as_str().unwrap().contains(" * * * /"),
        "{export}"
    );
    home.done(&["remove", &name]);
    home.done(&["daemon", "stop"]);
    let ran = Command::new("sh")
        .args(["-c", export["command"].as_str().unwrap()])
        .current_dir("/")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(home.zips().len(), 1);
}

#[test]
fn a_paused_deployment_rests_until_it_is_resumed() {
    let home = Home::with_notes();
    let name = deployed(&home);
    let paused = home.json(0, &["pause", &name, "--reason", "disk is being replaced"]);
    assert_eq!(paused["activity"], "paused");
    assert!(home.done(&["deployments"]).out.contains("disk is being"));
    assert_eq!(home.run(&["pause", &name]).code, 1);
    assert_eq!(home.json(0, &["resume", &name])["activity"], "active");
    assert_eq!(home.json(0, &["stop", &name])["activity"], "stopped");
}

#[test]
fn a_run_that_fails_ends_with_1_and_says_why() {
    let home = Home::with_notes();
    let name = deployed(&home);
    std::fs::remove_dir_all(home.work().join("notes")).unwrap();
    let said = home.run(&["run-now", &name]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.out.contains("failed"), "{said:#?}");
}

#[test]
fn what_is_left_after_a_build_is_what_was_promised() {
    let home = Home::with_notes();
    deployed(&home);
    let daemon = home.daemon().expect("a daemon");
    let left = processes_in(&home.data());
    assert!(left.len() <= 1, "only the daemon ({daemon}): {left:?}");
    assert!(mounts_in(&home.data()).is_empty());
}
