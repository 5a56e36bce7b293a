//! The same coders for an ordinary user: when the tests run as root, those without real agents run once more.

use crate::support::init;

#[test]
fn coders_work_for_an_ordinary_user_too() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = tempfile::Builder::new()
        .prefix("aw-agent-user-")
        .tempdir_in(std::env::temp_dir().canonicalize().unwrap())
        .unwrap();
    let (tests, helper) = (home.path().join("it"), home.path().join("agent-init"));
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    std::fs::copy(init(), &helper).unwrap();
    for path in [home.path(), &tests, &helper] {
        std::os::unix::fs::chown(path, Some(4712), Some(4712)).unwrap();
    }
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=4712", "--regid=4712", "--clear-groups"])
        .arg(&tests)
        .args(["--test-threads=2", "--skip", "users::", "--skip", "real_"])
        .env("TMPDIR", home.path())
        .env("HOME", home.path())
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
