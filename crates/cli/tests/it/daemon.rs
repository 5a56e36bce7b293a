//! The daemon's life: started once, by whoever needs it first; stopped, killed, and started again.

use crate::home::{Home, alive, eventually, finished, kill};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};

#[test]
fn it_is_started_when_needed_and_stops_when_asked() {
    let home = Home::new();
    let none = home.run(&["daemon", "status"]);
    assert_eq!(none.code, 1);
    assert!(none.out.contains("no daemon runs"), "{none:?}");
    assert!(home.done(&["list"]).err.contains("started the daemon"));
    assert!(home.done(&["list"]).err.is_empty());
    let pid = home.daemon().expect("a daemon");
    assert!(home.done(&["daemon", "start"]).out.contains("runs already"));
    home.done(&["daemon", "stop"]);
    assert!(!alive(pid));
    assert!(
        home.done(&["daemon", "stop"])
            .out
            .contains("no daemon runs")
    );
}

#[test]
fn it_takes_the_right_to_as_many_open_files_as_it_may_have() {
    let home = Home::new();
    let ready = home.command(&[]);
    let given = ready.get_envs();
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -S -n 256; exec \"$0\" list"])
        .arg(env!("CARGO_BIN_EXE_agentwright"))
        .envs(given.filter_map(|(key, value)| Some((key, value?))))
        .current_dir(home.work())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let said = finished(few.spawn().expect("sh starts"), &["list"]);
    assert_eq!(said.code, 0, "{said:?}");
    let pid = home.daemon().expect("a daemon");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let mut words = line.expect("a limit").split_whitespace().skip(3);
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    let (soft, hard) = (number().expect("a number"), number().unwrap_or(u64::MAX));
    assert_eq!(soft, hard.min(65_536), "{limits}");
}

#[test]
fn ten_commands_at_once_end_with_one_daemon() {
    let home = Home::new();
    let children: Vec<_> = (0..10).map(|_| home.start(&["list", "--json"])).collect();
    let said: Vec<_> = children
        .into_iter()
        .map(|child| finished(child, &["list"]))
        .collect();
    assert!(said.iter().all(|it| it.code == 0), "{said:#?}");
    let started = said
        .iter()
        .filter(|it| it.err.contains("started the daemon"))
        .count();
    assert_eq!(started, 1, "{said:#?}");
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused() {
    let home = Home::new();
    home.done(&["list"]);
    let second = home.run(&["daemon", "run"]);
    assert_eq!(second.code, 75, "{second:#?}");
    assert!(second.err.contains("already running"), "{second:#?}");
}

#[test]
fn a_killed_daemon_is_started_again_and_knows_what_it_knew() {
    let home = Home::new();
    home.done(&["list"]);
    let pid = home.daemon().expect("a daemon");
    kill(pid);
    eventually("the killed daemon is gone", || (!alive(pid)).then_some(()));
    assert!(home.done(&["list"]).err.contains("started the daemon"));
    assert_ne!(home.daemon(), Some(pid));
}

#[test]
fn a_configuration_that_cannot_be_read_names_key_and_file() {
    let home = Home::new();
    std::fs::create_dir(home.data()).unwrap();
    std::fs::write(home.data().join("config.toml"), "bulids = 3\n").unwrap();
    let said = home.run(&["list"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(
        said.err.contains("bulids") && said.err.contains("config.toml"),
        "{said:#?}"
    );
}

#[test]
fn a_damaged_store_is_named_and_left_as_it_is() {
    let home = Home::new();
    home.done(&["list"]);
    home.done(&["daemon", "stop"]);
    let path = home.data().join("agentwright.db");
    std::fs::File::create(&path)
        .unwrap()
        .write_all(&[7; 4096])
        .unwrap();
    let said = home.run(&["list"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.err.contains("agentwright.db"), "{said:#?}");
    assert_eq!(std::fs::read(&path).unwrap(), vec![7; 4096]);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn the_doctor_names_what_it_looked_at() {
    let home = Home::new();
    let found = home.json(0, &["doctor"]);
    let names: Vec<&str> = found["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|check| check["name"].as_str())
        .collect();
    for name in ["sandbox", "git", "python3", "store", "daemon"] {
        assert!(names.contains(&name), "{name} not in {names:?}");
    }
}

#[test]
fn nothing_is_installed_by_asking_for_the_service() {
    let home = Home::new();
    let said = home.json(0, &["service", "status"]);
    assert!(matches!(said["supervision"], Value::String(_)), "{said}");
}
