//! The same walls for an ordinary user: when the tests run as root, all of them run once more without it.

use crate::support::{init, is_root};

#[test]
fn everything_holds_for_an_ordinary_user_too() {
    if !is_root() {
        return;
    }
    let home = tempfile::Builder::new()
        .prefix("aw-user-")
        .tempdir_in(std::env::temp_dir().canonicalize().unwrap())
        .unwrap();
    let (tests, helper) = (home.path().join("it"), home.path().join("sandbox-init"));
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    std::fs::copy(init(), &helper).unwrap();
    for path in [home.path(), &tests, &helper] {
        std::os::unix::fs::chown(path, Some(4711), Some(4711)).unwrap();
    }
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=4711", "--regid=4711", "--clear-groups"])
        .arg(&tests)
        .args(["--test-threads=2", "--skip", "users::"])
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
