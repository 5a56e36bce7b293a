//! Programs that lie about their work, or do more than they may. Each is stopped, and the test says where.

use crate::support::*;
use agentwright_domain::evidence::Level;
use agentwright_domain::evidence::Level::{Assertion, Smoke};
use serde_json::json;

async fn stopped(code: &str, level: Level, why: &str) {
    verify(&shout_spec(), &[("main.py", code)])
        .await
        .assert_stopped(level, why);
}

const HELP: &str = "import sys\nif '--help' in sys.argv: sys.exit(print('help'))\n";

fn cheat(code: &str) -> String {
    format!("{HELP}{code}")
}

#[tokio::test]
async fn saying_ok_and_doing_nothing_is_stopped() {
    stopped(&cheat("print('OK, all done')"), Assertion, "missing: ").await;
}

#[tokio::test]
async fn ending_with_0_after_a_crash_is_stopped() {
    let code = SHOUT.replace(
        "names =",
        "try:\n    raise RuntimeError('lost')\nexcept Exception: sys.exit(0)\nnames =",
    );
    stopped(&code, Assertion, "missing: ").await;
}

#[tokio::test]
async fn hiding_a_failure_is_stopped() {
    let code = SHOUT.replace(
        "path.read_text()",
        "(path.read_text() if path.is_file() else '')",
    );
    stopped(&code, Assertion, "the failure is hidden").await;
}

#[tokio::test]
async fn knowing_the_names_of_a_fixture_is_useless() {
    let code = cheat(
        "import pathlib\nfor n in ('a', 'report', 'text'): pathlib.Path('/data/target', n + '.txt').write_text('A')\n\
         pathlib.Path('/data/target/count').write_text('3')",
    );
    stopped(&code, Assertion, "not expected: ").await;
}

#[tokio::test]
async fn a_wrong_total_is_stopped() {
    stopped(
        &SHOUT.replace("str(len(names))", "str(len(names) + 1)"),
        Assertion,
        "counted: expected",
    )
    .await;
}

#[tokio::test]
async fn a_link_instead_of_a_file_is_stopped() {
    let code = SHOUT.replace(
        "pathlib.Path(a.target, path.name).write_text(path.read_text().upper())",
        "pathlib.Path(a.target, path.name).symlink_to(path)",
    );
    stopped(&code, Assertion, "symbolic link").await;
}

#[tokio::test]
async fn a_pipe_instead_of_a_file_does_not_hang_us() {
    let code = format!(
        "{SHOUT}\nimport os\nif names:\n    n = pathlib.Path(a.target, names[0].name)\n    n.unlink()\n    os.mkfifo(n)\n"
    );
    stopped(&code, Assertion, "a named pipe").await;
}

#[tokio::test]
async fn writing_elsewhere_is_stopped() {
    let more = format!("{SHOUT}\npathlib.Path(a.target, 'more.bin').write_text('x')\n");
    stopped(&more, Assertion, "not expected: more.bin").await;
    let state = format!("{SHOUT}\npathlib.Path('/state/hidden').write_text('x')\n");
    stopped(&state, Assertion, "hidden is new").await;
}

#[tokio::test]
async fn changing_what_it_may_only_read_fails() {
    let code = format!("{SHOUT}\nfor path in names: path.unlink()\n");
    stopped(&code, Smoke, "Read-only file system").await;
}

#[tokio::test]
async fn never_ending_is_stopped_by_the_time_limit() {
    stopped(
        &shout_with("while True: pass"),
        Smoke,
        "it was stopped by the time limit",
    )
    .await;
}

#[tokio::test]
async fn a_daemon_left_behind_is_stopped() {
    let code = format!(
        "{SHOUT}\nimport subprocess\nsubprocess.Popen(['sleep', '60'], start_new_session=True, stdin=subprocess.DEVNULL,\n\
         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
    );
    stopped(&code, Smoke, "it left 1 process running").await;
}

#[tokio::test]
async fn an_undeclared_host_is_named_even_when_the_refusal_is_swallowed() {
    let code = shout_with(
        "import urllib.request\ntry:\n    urllib.request.urlopen('http://collector.example.com/x', timeout=5)\nexcept OSError: pass",
    );
    stopped(&code, Smoke, "tried to reach collector.example.com:80").await;
}

#[tokio::test]
async fn eating_memory_is_stopped_by_its_limit() {
    let mut spec = shout_spec();
    spec["limits"] = json!({"memory_mib": 64, "wall_s": 30, "processes": 16, "disk_mib": 16});
    let code =
        shout_with("import time\nx = [bytearray(1 << 20) for _ in range(200)]\ntime.sleep(5)");
    verify(&spec, &[("main.py", &code)])
        .await
        .assert_stopped(Smoke, "emory");
}

#[tokio::test]
async fn flooding_the_output_is_stopped_by_its_limit() {
    stopped(
        &shout_with("while True: print('x' * 65536)"),
        Smoke,
        "output limit",
    )
    .await;
}

#[tokio::test]
async fn changing_the_code_itself_fails() {
    stopped(
        &shout_with("open('/app/main.py', 'w')"),
        Smoke,
        "Read-only file system",
    )
    .await;
}

#[tokio::test]
async fn being_killed_by_a_signal_is_no_failure_by_itself() {
    let mut spec = shout_spec();
    spec["acceptance"]["smoke"]["steps"][0]["exit"] = json!("failure");
    let code = shout_with("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)");
    verify(&spec, &[("main.py", &code)])
        .await
        .assert_stopped(Smoke, "signal 11");
}

#[tokio::test]
async fn detecting_the_test_by_its_paths_is_not_possible() {
    // What a program sees is the declared view and nothing of ours.
    let code = shout_with(
        "import os\nseen = ' '.join(os.environ) + open('/proc/self/mountinfo').read().split(' - ')[0]\n\
         assert 'VERIFY' not in seen.upper() and 'AW_TEST' not in seen, seen",
    );
    verify(&shout_spec(), &[("main.py", &code)])
        .await
        .assert_passed();
}
