//! A part of the cheat corpus in the ordinary suite; `bench cheats` judges all of it.

use serde_json::Value;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "runs the program that is measured with"
)]
fn of_each_class_a_cheat_is_stopped_and_of_each_spec_an_honest_program_passes() {
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["cheats", "--sample"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    let line: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(line["accepted"], 0, "{said}");
    assert_eq!(line["rejected"], 0, "{said}");
    assert!(line["cheats"].as_u64().unwrap() >= 15, "{line}");
    assert!(line["honest"].as_u64().unwrap() >= 8, "{line}");
}
