//! One command, its output, its folders, its usage.

use std::os::unix::fs::MetadataExt;

use agentwright_sandbox::{Command, Ending, Policy, Tier};

use crate::support::{folder, output, python, reads, run, sh, writes};

#[tokio::test]
async fn a_command_runs_in_the_full_tier_and_is_accounted_for() {
    let report = run(Policy::default(), python("import time\nprint('out')\nb=bytearray(30_000_000)\nt=time.process_time()\nwhile time.process_time()-t<0.2: pass")).await;
    assert_eq!(report.ending, Ending::Exited(0), "{}", report.stderr.text());
    assert_eq!(report.tier, Tier::Full);
    assert_eq!(report.stdout.text(), "out\n");
    assert!(
        (200..3000).contains(&report.usage.cpu_ms),
        "{:?}",
        report.usage
    );
    assert!(
        (30_000_000..200_000_000).contains(&report.usage.max_rss_bytes),
        "{:?}",
        report.usage
    );
    assert_eq!(report.left_over_processes, 0);
}

#[tokio::test]
async fn exit_codes_signals_and_missing_programs_are_told_apart() {
    assert_eq!(
        run(Policy::default(), sh("exit 7")).await.ending,
        Ending::Exited(7)
    );
    assert_eq!(
        run(Policy::default(), sh("kill -SEGV $$")).await.ending,
        Ending::Signalled(11)
    );
    let missing = Command {
        argv: vec!["no-such-program".into()],
        stdin: Vec::new(),
    };
    let report = run(Policy::default(), missing).await;
    assert_eq!(report.ending, Ending::Exited(127));
    assert!(report.stderr.text().contains("cannot find no-such-program"));
}

#[tokio::test]
async fn standard_input_arrives_and_both_outputs_come_back_separately() {
    let command = Command {
        argv: vec![
            "sh".into(),
            "-c".into(),
            "cat; echo err >&2; echo again > /dev/stdout".into(),
        ],
        stdin: b"hello\n".to_vec(),
    };
    let report = run(Policy::default(), command).await;
    assert_eq!(
        (report.stdout.text().as_str(), report.stderr.text().as_str()),
        ("hello\nagain\n", "err\n")
    );
}

#[tokio::test]
async fn declared_folders_are_writable_or_read_only_exactly_as_said() {
    let (data, code) = (folder(), folder());
    std::fs::write(data.path().join("in.txt"), "from the host").unwrap();
    std::fs::write(code.path().join("main.py"), "print(open('/data/notes/in.txt').read())\nopen('/data/notes/out.txt','w').write('from inside')").unwrap();
    let policy = Policy {
        mounts: vec![
            writes(data.path(), "/data/notes"),
            reads(code.path(), "/app"),
        ],
        ..Policy::default()
    };
    let command = Command {
        argv: vec!["python3".into(), "/app/main.py".into()],
        stdin: Vec::new(),
    };
    assert_eq!(output(policy.clone(), command).await, "from the host\n");
    let made = std::fs::metadata(data.path().join("out.txt")).unwrap();
    let root = std::fs::metadata(data.path()).unwrap();
    assert_eq!(
        (made.uid(), made.gid()),
        (root.uid(), root.gid()),
        "what is written belongs to the folder's owner"
    );
    let refused = run(policy, sh("echo x > /app/main.py || echo x > /app/new || touch /usr/x /etc/x /x /run/x; echo done")).await;
    assert_eq!(refused.stdout.text(), "done\n");
    assert_eq!(std::fs::read_dir(code.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn the_layout_inside_is_always_the_same() {
    let script = "id -u; pwd; echo $HOME; command -v python3; touch /state/a /tmp/b; ls -d /app /data /state /tmp /run/bin; ls -A /home /root /mnt /var 2>/dev/null; python3 -c 'import sys,sqlite3,ssl;print(sys.executable)'; git --version";
    let text = output(Policy::default(), sh(script)).await;
    assert!(text.starts_with("1000\n/state\n/state\n/usr/bin/python3\n/app\n/data\n/run/bin\n/state\n/tmp\n/usr/bin/python3\ngit version"), "{text}");
}

#[tokio::test]
async fn single_files_are_mounted_and_do_not_close_unix_sockets() {
    let dir = folder();
    let (given, log) = (dir.path().join("bundle.pem"), dir.path().join("log"));
    std::fs::write(&given, "bundle").unwrap();
    std::fs::write(&log, "").unwrap();
    let mounts = vec![
        reads(&given, "/run/ca/bundle.pem"),
        writes(&log, "/data/log"),
    ];
    let script = "cat /run/ca/bundle.pem; echo line >> /data/log; echo x >> /run/ca/bundle.pem || echo refused; \
                  python3 -c 'import socket;s=socket.socket(socket.AF_UNIX);s.bind(\"/tmp/s\");print(\"unix\")'";
    assert_eq!(
        output(
            Policy {
                mounts,
                ..Policy::default()
            },
            sh(script)
        )
        .await,
        "bundlerefused\nunix\n"
    );
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "line\n");
}

#[tokio::test]
async fn a_mount_below_a_mount_is_seen_there() {
    let (outer, inner) = (folder(), folder());
    std::fs::create_dir(outer.path().join("sub")).unwrap();
    std::fs::write(inner.path().join("file"), "inner").unwrap();
    let mounts = vec![
        writes(inner.path(), "/state/sub"),
        reads(outer.path(), "/state"),
    ];
    let said = output(
        Policy {
            mounts,
            ..Policy::default()
        },
        sh("cat /state/sub/file; touch /state/sub/new; touch /state/new || echo refused"),
    )
    .await;
    assert_eq!(said, "innerrefused\n");
    assert!(inner.path().join("new").exists());
}
