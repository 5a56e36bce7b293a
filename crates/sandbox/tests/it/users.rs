//! The same walls for an ordinary user: when the tests run as root, all of them run once more without it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use agentwright_sandbox::{Policy, Sandbox, Settings};
use tokio_util::sync::CancellationToken;

use crate::support::{folder, init, is_root, output, reads, sandbox, sh, writes};

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

#[tokio::test]
async fn a_file_system_that_cannot_change_owners_is_refused_with_the_way_out() {
    if !is_root() {
        return;
    }
    let policy = Policy {
        mounts: vec![reads("/sys/kernel".as_ref(), "/data/d")],
        ..Policy::default()
    };
    let error = sandbox()
        .start(policy, sh("true"))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("/sys/kernel")
            && error.contains("idmapped")
            && error.contains("ordinary user"),
        "{error}"
    );
}

#[tokio::test]
async fn a_folder_below_a_closed_home_works_and_what_is_written_is_the_owners() {
    if !is_root() {
        return;
    }
    let home = folder();
    let data = home.path().join("notes");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    for path in [home.path(), &data] {
        std::os::unix::fs::chown(path, Some(4321), Some(4322)).unwrap();
    }
    let policy = Policy {
        mounts: vec![writes(&data, "/data/notes")],
        ..Policy::default()
    };
    let script = "mkdir /data/notes/dir; echo x > /data/notes/dir/file; stat -c '%u %g' /data/notes/dir/file; umask";
    assert_eq!(output(policy, sh(script)).await, "1000 1000\n0022\n");
    let meta = std::fs::metadata(data.join("dir/file")).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o777),
        (4321, 4322, 0o644)
    );
}

#[tokio::test]
async fn an_executable_that_only_root_can_reach_still_becomes_the_init() {
    for mode in [0o755, 0o700] {
        let closed = folder();
        let copy = closed.path().join("agentwright");
        std::fs::copy(init(), &copy).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(mode)).unwrap();
        let scratch = folder();
        let sandbox = Sandbox::new(&copy, scratch.path(), Settings::default()).unwrap();
        // An upgrade replaces the file while the daemon runs.
        std::fs::remove_file(&copy).unwrap();
        let report = sandbox
            .run(
                Policy::default(),
                sh("echo alive"),
                CancellationToken::new(),
            )
            .await
            .unwrap();
        assert_eq!(
            report.stdout.text(),
            "alive\n",
            "{mode:o} {}",
            report.stderr.text()
        );
    }
}
