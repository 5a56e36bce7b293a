//! What the machine can do, and what is refused when it cannot.

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
    let own = folder();
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
    sandbox.drained().await;
    assert_eq!(
        std::fs::read_dir(scratch()).unwrap().count(),
        0,
        "its scratch directory is gone"
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
