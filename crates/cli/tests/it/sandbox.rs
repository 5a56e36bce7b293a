//! `agentwright sandbox`: the walls, without a daemon.

use crate::home::Home;

#[test]
fn a_command_runs_in_an_empty_directory_without_a_daemon() {
    let home = Home::new();
    let said = home.done(&["sandbox", "--", "sh", "-c", "ls -A; echo well"]);
    assert_eq!(said.out, "well\n");
    assert!(
        said.err.contains("tier full") && said.err.contains("ended with 0"),
        "{said:?}"
    );
    assert!(!home.data().exists());
}

#[test]
fn its_report_has_the_documented_fields() {
    let home = Home::new();
    let report = home.json(
        1,
        &[
            "sandbox",
            "--",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 7",
        ],
    );
    assert_eq!(report["tier"], "full");
    assert_eq!(report["exit_code"], 7);
    assert_eq!(report["stdout"], "out\n");
    assert_eq!(report["stderr"], "err\n");
    assert!(
        report["limit"].is_null() && report["usage"]["wall_ms"].is_u64(),
        "{report}"
    );
}

#[test]
fn each_limit_ends_with_5() {
    let home = Home::new();
    let time = home.json(5, &["sandbox", "--timeout", "1", "--", "sleep", "60"]);
    assert_eq!(time["limit"], "wall");
    let eat = "x = bytearray(10**9)";
    let memory = home.json(
        5,
        &["sandbox", "--memory", "64", "--", "python3", "-c", eat],
    );
    assert_eq!(memory["limit"], "memory");
}

#[test]
fn a_directory_is_shown_writable_and_nothing_else_is() {
    let home = Home::new();
    let shown = home.work().join("shown");
    std::fs::create_dir(&shown).unwrap();
    std::fs::write(shown.join("in.txt"), "hello").unwrap();
    std::fs::write(home.work().join("secret.txt"), "hidden").unwrap();
    let secret = home.work().join("secret.txt").display().to_string();
    let script = format!("cp in.txt out.txt; cat {secret} 2>/dev/null; echo done");
    let said = home.done(&["sandbox", "--dir", "shown", "--", "sh", "-c", &script]);
    assert_eq!(said.out, "done\n");
    assert_eq!(
        std::fs::read_to_string(shown.join("out.txt")).unwrap(),
        "hello"
    );
    let gone = home.run(&["sandbox", "--dir", "absent", "--", "true"]);
    assert_eq!(gone.code, 1, "{gone:?}");
    assert!(gone.err.contains("absent"), "{gone:?}");
}

#[test]
fn the_commands_output_cannot_move_the_cursor() {
    let home = Home::new();
    let said = home.done(&["sandbox", "--", "printf", "\\033[2Jx\\n"]);
    assert_eq!(said.out, "\\u{1b}[2Jx\n");
}
