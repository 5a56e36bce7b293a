//! What the machine can do, and what is refused when it cannot.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use agentwright_sandbox::{Ending, Error, Network, Policy, Sandbox, Settings, SyntheticFile, Tier};
use tokio_util::sync::CancellationToken;

use crate::support::{
    attempt, folder, init, output, python, run, sandbox, sandbox_with, sh, writes,
};

fn without_bwrap(allow_process_tier: bool) -> Settings {
    Settings {
        allow_process_tier,
        containers_are_disposable: false,
        bwrap: PathBuf::from("/nonexistent/bwrap"),
        ..Settings::default()
    }
}

#[tokio::test]
async fn the_probe_runs_the_profile_and_says_how_memory_is_held() {
    let probe = sandbox().probe().await;
    assert_eq!(probe.tier, Tier::Full, "{:?}", probe.reasons);
    assert!(
        probe
            .reasons
            .iter()
            .all(|r| r.starts_with("memory is watched")),
        "{:?}",
        probe.reasons
    );
}

#[tokio::test]
async fn without_bubblewrap_nothing_runs_and_the_reason_says_what_to_install() {
    let sandbox = sandbox_with(without_bwrap(false));
    let probe = sandbox.probe().await;
    assert_eq!(probe.tier, Tier::None);
    let error = sandbox
        .start(Policy::default(), sh("true"))
        .await
        .err()
        .unwrap();
    assert!(matches!(
        error,
        Error::TooWeak {
            needed: Tier::Full,
            offered: Tier::None,
            ..
        }
    ));
    assert!(
        error.to_string().contains("apt install bubblewrap"),
        "{error}"
    );
    let lowest = Policy {
        minimum: Tier::None,
        ..Policy::default()
    };
    assert!(
        matches!(
            sandbox.start(lowest, sh("true")).await,
            Err(Error::TooWeak { .. })
        ),
        "no walls, no run"
    );
}

#[tokio::test]
async fn a_stronger_tier_than_the_machine_has_is_refused() {
    let strong = Policy {
        minimum: Tier::Strong,
        ..Policy::default()
    };
    let error = sandbox().start(strong, sh("true")).await.err().unwrap();
    assert!(
        matches!(
            error,
            Error::TooWeak {
                needed: Tier::Strong,
                offered: Tier::Full,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn tier_process_runs_only_where_it_is_enough_and_says_so() {
    // The spare identity must be able to enter it.
    let own = tempfile::tempdir().unwrap();
    let dead = own.path().join("run-999999999-0");
    std::fs::create_dir_all(dead.join("tmp")).unwrap();
    let scratch = || own.path();
    let sandbox = Sandbox::new(init(), scratch(), without_bwrap(true)).unwrap();
    assert!(!dead.exists(), "what a killed daemon left is swept");
    assert_eq!(sandbox.probe().await.tier, Tier::Process);
    assert!(matches!(
        sandbox.start(Policy::default(), sh("true")).await,
        Err(Error::TooWeak {
            offered: Tier::Process,
            ..
        })
    ));
    let policy = Policy {
        minimum: Tier::Process,
        ..Policy::default()
    };
    let none = CancellationToken::new;
    let report = sandbox
        .run(
            policy.clone(),
            sh("echo hi > /dev/null; pwd; echo x > file && cat file; (setsid sleep 99 &); exit 4"),
            none(),
        )
        .await
        .unwrap();
    assert_eq!(
        (report.tier, report.ending, report.left_over_processes),
        (Tier::Process, Ending::Exited(4), 1),
        "{}",
        report.stderr.text()
    );
    assert!(
        report
            .stdout
            .text()
            .contains(&scratch().display().to_string()),
        "{}",
        report.stdout.text()
    );
    sandbox.drained().await;
    assert_eq!(
        std::fs::read_dir(scratch()).unwrap().count(),
        0,
        "its scratch directory is gone"
    );
}

#[tokio::test]
async fn tier_process_refuses_what_needs_a_private_view() {
    let sandbox = sandbox_with(without_bwrap(true));
    let policy = Policy {
        minimum: Tier::Process,
        ..Policy::default()
    };
    let offline = Policy {
        network: Network::Allow(Vec::new()),
        ..policy.clone()
    };
    assert!(
        sandbox
            .start(offline, sh("true"))
            .await
            .err()
            .unwrap()
            .to_string()
            .contains("network")
    );
    let given = SyntheticFile {
        inside: "/run/x".into(),
        content: Vec::new(),
        mode: 0o644,
    };
    assert!(
        sandbox
            .start(
                Policy {
                    files: vec![given],
                    ..policy
                },
                sh("true")
            )
            .await
            .is_err()
    );
}

#[tokio::test]
async fn tier_process_denies_files_sockets_and_signals() {
    let sandbox = sandbox_with(without_bwrap(true));
    let secret = folder();
    std::fs::write(secret.path().join("key"), "private").unwrap();
    let mut victim = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let attacks = [
        format!("return open('{}/key').read()", secret.path().display()),
        "return open('/etc/shadow').read()".into(),
        "return open('/proc/1/environ').read()".into(),
        "return open('/tmp/aw-escape','w').write('x')".into(),
        "return socket.socket()".into(),
        "return socket.socket(socket.AF_UNIX)".into(),
        format!("return os.kill({},9)", victim.id()),
        "return os.kill(os.getppid(),9)".into(),
        "return sc(272,0x10000000)".into(),
    ];
    for body in attacks {
        let policy = Policy {
            minimum: Tier::Process,
            ..Policy::default()
        };
        let report = sandbox
            .run(policy, python(&attempt(&body)), CancellationToken::new())
            .await
            .unwrap();
        let said = report.stdout.text();
        assert!(
            ["STOPPED EACCES\n", "STOPPED EPERM\n"].contains(&said.as_str()),
            "{body}: {said} {}",
            report.stderr.text()
        );
    }
    assert!(victim.try_wait().unwrap().is_none());
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[tokio::test]
async fn given_files_are_there_with_their_modes_and_cannot_be_changed() {
    let fake = SyntheticFile {
        inside: "/run/bin/claude".into(),
        content: b"#!/bin/sh\necho fake \"$@\"\n".to_vec(),
        mode: 0o755,
    };
    let bundle = SyntheticFile {
        inside: "/etc/ssl/certs/ca-certificates.crt".into(),
        content: b"mine".to_vec(),
        mode: 0o644,
    };
    let other = SyntheticFile {
        inside: "/opt/deep/er/file".into(),
        content: b"deep".to_vec(),
        mode: 0o444,
    };
    let files = if std::path::Path::new("/etc/ssl/certs/ca-certificates.crt").exists() {
        vec![fake, bundle, other]
    } else {
        vec![fake, other]
    };
    let with_bundle = files.len() == 3;
    let policy = Policy {
        files,
        ..Policy::default()
    };
    assert_eq!(
        output(policy.clone(), sh("claude -p x; cat /opt/deep/er/file")).await,
        "fake -p x\ndeep"
    );
    if with_bundle {
        assert_eq!(
            output(policy.clone(), sh("cat /etc/ssl/certs/ca-certificates.crt")).await,
            "mine"
        );
    }
    let report = run(policy, sh("echo x > /run/bin/claude")).await;
    assert!(!report.succeeded());
    let data = folder();
    let clash = SyntheticFile {
        inside: "/data/d/x".into(),
        content: Vec::new(),
        mode: 0o644,
    };
    let policy = Policy {
        mounts: vec![writes(data.path(), "/data/d")],
        files: vec![clash],
        ..Policy::default()
    };
    assert!(sandbox().start(policy, sh("true")).await.is_err());
}

#[tokio::test]
async fn empty_commands_and_odd_environments_are_refused() {
    assert!(
        sandbox()
            .start(Policy::default(), agentwright_sandbox::Command::default())
            .await
            .is_err()
    );
    let mut policy = Policy::default();
    policy.env.insert("A=B".into(), "x".into());
    assert!(sandbox().start(policy, sh("true")).await.is_err());
    let policy = Policy {
        workdir: "/data/none".into(),
        ..Policy::default()
    };
    let report = run(policy, sh("true")).await;
    assert_eq!(report.ending, Ending::Exited(126));
    assert!(report.stderr.text().contains("/data/none does not exist"));
}

/// A bubblewrap that fails as it says.
fn failing(says: &str) -> (tempfile::TempDir, Settings) {
    let dir = tempfile::tempdir().unwrap();
    let bwrap = dir.path().join("bwrap");
    std::fs::write(
        &bwrap,
        format!("#!/bin/sh\necho 'bwrap: {says}' >&2\nexit 1\n"),
    )
    .unwrap();
    std::fs::set_permissions(&bwrap, std::fs::Permissions::from_mode(0o755)).unwrap();
    (
        dir,
        Settings {
            bwrap,
            ..without_bwrap(false)
        },
    )
}

#[tokio::test]
async fn a_bubblewrap_that_is_not_allowed_to_work_is_explained() {
    for (says, advice) in [
        ("setting up uid map: Permission denied", "AppArmor"),
        (
            "loopback: Failed RTM_NEWADDR: Operation not permitted",
            "AppArmor",
        ),
        ("something else", "run it by hand"),
    ] {
        let (_dir, settings) = failing(says);
        let probe = sandbox_with(settings).probe().await;
        assert_eq!(probe.tier, Tier::None);
        let why = probe.reasons.join("; ");
        let in_container = why.contains("in a container");
        assert!(
            why.contains(says) && (why.contains(advice) || in_container),
            "{why}"
        );
    }
}

#[tokio::test]
async fn a_folder_that_only_root_may_enter_is_refused_in_tier_process() {
    let dir = folder();
    let policy = Policy {
        minimum: Tier::Process,
        mounts: vec![writes(dir.path(), "/data/d")],
        ..Policy::default()
    };
    let started = sandbox_with(without_bwrap(true))
        .run(
            policy,
            sh("echo hi > /data/d/file"),
            CancellationToken::new(),
        )
        .await;
    if crate::support::is_root() {
        assert!(
            started
                .err()
                .unwrap()
                .to_string()
                .contains("nothing runs as root")
        );
    } else {
        assert!(
            started.is_ok() && !dir.path().join("file").exists(),
            "words are translated, scripts are not"
        );
    }
}

#[tokio::test]
async fn words_of_a_command_name_the_hosts_paths_in_tier_process() {
    let dir = folder();
    std::fs::write(
        dir.path().join("main.py"),
        "import sys; open(sys.argv[1],'w').write('made')",
    )
    .unwrap();
    if crate::support::is_root() {
        std::os::unix::fs::chown(dir.path(), Some(4321), Some(4321)).unwrap();
    }
    let policy = Policy {
        minimum: Tier::Process,
        mounts: vec![writes(dir.path(), "/app")],
        workdir: "/app".into(),
        ..Policy::default()
    };
    let argv = ["python3", "/app/main.py", "/app/out"]
        .map(String::from)
        .to_vec();
    let command = agentwright_sandbox::Command {
        argv,
        stdin: Vec::new(),
    };
    let report = sandbox_with(without_bwrap(true))
        .run(policy, command, CancellationToken::new())
        .await
        .unwrap();
    assert!(report.succeeded(), "{}", report.stderr.text());
    assert_eq!(
        std::fs::read_to_string(dir.path().join("out")).unwrap(),
        "made"
    );
}
