//! The help of every command, reviewed as one snapshot.

use crate::home::Home;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const COMMANDS: &[&[&str]] = &[
    &[],
    &["build"],
    &["list"],
    &["show"],
    &["logs"],
    &["watch"],
    &["approve"],
    &["reject"],
    &["cancel"],
    &["retry"],
    &["replay"],
    &["deploy"],
    &["deployments"],
    &["run-now"],
    &["pause"],
    &["resume"],
    &["stop"],
    &["change"],
    &["rollback"],
    &["export"],
    &["remove"],
    &["costs"],
    &["budget"],
    &["budget", "show"],
    &["budget", "set"],
    &["queue"],
    &["queue", "add"],
    &["queue", "import"],
    &["queue", "list"],
    &["queue", "move"],
    &["queue", "block"],
    &["queue", "unblock"],
    &["queue", "priority"],
    &["queue", "approve"],
    &["queue", "retry"],
    &["queue", "fail"],
    &["queue", "remove"],
    &["heartbeat"],
    &["why"],
    &["connect"],
    &["status"],
    &["report"],
    &["up"],
    &["login"],
    &["key"],
    &["key", "create"],
    &["key", "list"],
    &["key", "revoke"],
    &["organization"],
    &["organization", "create"],
    &["organization", "list"],
    &["organization", "delete"],
    &["audit"],
    &["audit", "list"],
    &["audit", "verify"],
    &["backup"],
    &["restore"],
    &["doctor"],
    &["schema"],
    &["foundation"],
    &["foundation", "list"],
    &["foundation", "check"],
    &["sandbox"],
    &["daemon"],
    &["daemon", "start"],
    &["daemon", "stop"],
    &["daemon", "status"],
    &["daemon", "run"],
    &["service"],
    &["service", "install"],
    &["service", "uninstall"],
    &["service", "status"],
    &["completions"],
];

#[test]
fn the_help_of_every_command_is_what_was_reviewed() {
    let home = Home::new();
    let mut all = String::new();
    for words in COMMANDS {
        let mut args = words.to_vec();
        args.push("--help");
        let said = home.done(&args);
        assert!(said.err.is_empty(), "{said:?}");
        let _ = writeln!(all, "$ agentwright {}\n{}", args.join(" "), said.out);
    }
    insta::assert_snapshot!(all);
}

#[test]
fn no_command_is_missing_from_the_snapshot() {
    let top = Home::new().done(&["--help"]).out;
    let listed = top
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|word| !word.is_empty());
    let listed: BTreeSet<&str> = listed.collect();
    let kept = COMMANDS.iter().filter_map(|words| words.first().copied());
    assert_eq!(listed, kept.collect(), "{top}");
}

#[test]
fn every_help_is_also_a_json_option() {
    let home = Home::new();
    for words in COMMANDS {
        let mut args = words.to_vec();
        args.push("--help");
        assert!(home.done(&args).out.contains("--json"), "{words:?}");
    }
}
