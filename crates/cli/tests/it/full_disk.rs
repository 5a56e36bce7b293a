//! A data directory on a disk that fills up under the running daemon.

use crate::home::{Home, README_WISH, Said, finished};
use std::process::Command;

/// Mounts a disk of its own for the data directory, where nobody else sees it; fills it, and frees it again.
const STORY: &str = r#"
mount -t tmpfs -o size=96m full "$AGENTWRIGHT_DATA" || exit 90
"$0" list >/dev/null || exit 91
cat /dev/zero >"$AGENTWRIGHT_DATA/filler" 2>/dev/null
"$0" build --yes "$1"; echo "full: $?"
"$0" list; echo "list: $?"
truncate -s 60M "$AGENTWRIGHT_DATA/filler"
"$0" build --yes "$1"; echo "nearly: $?"
rm "$AGENTWRIGHT_DATA/filler"
"$0" build --yes "$1" >/dev/null; echo "freed: $?"
"$0" daemon stop >/dev/null
"#;

#[test]
fn a_full_disk_is_named_and_the_same_daemon_goes_on_when_there_is_room() {
    let home = Home::with_notes();
    std::fs::create_dir(home.data()).expect("the mount point");
    let program = env!("CARGO_BIN_EXE_agentwright");
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let ready = home.command(&[]);
    unshare
        .args(["--mount", "sh", "-c", STORY, program, README_WISH])
        .envs(
            ready
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .current_dir(home.work())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let child = unshare.spawn().expect("unshare, of util-linux");
    let Said { code, out, err } = finished(child, &["the story"]);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(out.contains("full: 1\n"), "{out}\n{err}");
    let says = "no room left on the disk of the data directory";
    assert!(err.contains(says), "{out}\n{err}");
    let nearly = "MB of disk are free, and 64 MB are kept free";
    assert!(
        out.contains("nearly: 1\n") && err.contains(nearly),
        "{out}\n{err}"
    );
    assert!(out.contains("list: 0\n"), "{out}\n{err}");
    assert!(out.contains("freed: 0\n"), "{out}\n{err}");
    assert_eq!(
        home.zips().len(),
        0,
        "the schedule's first night is to come"
    );
}
