use super::*;
use agentwright_domain::ids::{ApprovalId, GrantId, RunId, Slug};
use agentwright_proof::of_bytes;
use serde_json::json;

fn spec() -> Spec {
    serde_json::from_value(json!({
        "format": 1, "name": "backup", "purpose": "p", "kind": "script",
        "command": ["sh", "/app/main.sh"], "trigger": {"type": "manual"},
        "limits": {"wall_s": 7, "memory_mib": 64, "processes": 8, "disk_mib": 10},
        "acceptance": {"smoke": {"name": "s", "steps": []}, "cases": []},
    }))
    .unwrap()
}

fn version() -> DeployedVersion {
    DeployedVersion {
        name: Slug::parse("backup").unwrap(),
        version: 2,
        build: RunId::new("b"),
        grant: GrantId::new("g"),
        code: of_bytes(b"code"),
        spec: spec(),
        environment: of_bytes(b"env"),
        deployed_at_ms: 0,
    }
}

fn grant() -> Grant {
    Grant {
        id: GrantId::new("g"),
        approval: Some(ApprovalId::new("a")),
        deployment: Slug::parse("backup").unwrap(),
        code: of_bytes(b"code"),
        spec: of_json(&spec()).unwrap(),
        permissions: spec().permissions,
        trigger: spec().trigger,
        target: "local".into(),
        granted_at_ms: 0,
        revoked_at_ms: None,
    }
}

fn report(ending: Ending, stdout: &str, stderr: &str) -> Report {
    let captured = |text: &str| agentwright_sandbox::Captured {
        bytes: text.as_bytes().to_vec(),
        truncated_bytes: 0,
    };
    Report {
        tier: agentwright_sandbox::Tier::Full,
        ending,
        stdout: captured(stdout),
        stderr: captured(stderr),
        usage: agentwright_sandbox::Usage::default(),
        network: Vec::new(),
        left_over_processes: 0,
    }
}

#[test]
fn a_live_grant_for_exactly_this_allows_it() {
    assert!(allowed(&version(), Some(&grant())).is_ok());
}

#[test]
fn without_a_live_grant_nothing_runs_and_nothing_is_tried_again() {
    let revoked = Grant {
        revoked_at_ms: Some(1),
        ..grant()
    };
    for grant in [None, Some(&revoked)] {
        let failure = allowed(&version(), grant).err().unwrap();
        assert!(!failure.retryable);
        assert!(failure.reason.contains("taken back"), "{}", failure.reason);
    }
}

#[test]
fn a_grant_for_other_code_permissions_or_times_allows_nothing() {
    let more = agentwright_domain::spec::Permissions {
        network: vec!["example.org:443".to_owned().try_into().unwrap()],
        ..Default::default()
    };
    let others = [
        Grant {
            code: of_bytes(b"other"),
            ..grant()
        },
        Grant {
            spec: of_bytes(b"other"),
            ..grant()
        },
        Grant {
            trigger: Trigger::Once,
            ..grant()
        },
        Grant {
            permissions: more,
            ..grant()
        },
        Grant {
            deployment: Slug::parse("other").unwrap(),
            ..grant()
        },
    ];
    for other in others {
        let failure = allowed(&version(), Some(&other)).err().unwrap();
        assert!(failure.reason.contains("something else") && !failure.retryable);
    }
}

#[test]
fn the_end_of_a_script_is_told_in_its_own_last_words() {
    let good = judge(
        &report(Ending::Exited(0), "a\nmade 1 zip\n\n", ""),
        &spec(),
        &Secrets::default(),
    );
    assert_eq!(good.ok().unwrap(), "made 1 zip");
    let cases = [
        (Ending::Exited(3), "exit code 3: no such folder"),
        (Ending::Signalled(9), "signal 9"),
        (Ending::Stopped(Limit::Wall), "longer than 7 s"),
        (Ending::Stopped(Limit::Memory), "more than 64 MiB of memory"),
        (Ending::Stopped(Limit::Disk), "more than 10 MiB"),
    ];
    for (ending, expected) in cases {
        let failure = judge(
            &report(ending, "out\n", "no such folder\n"),
            &spec(),
            &Secrets::default(),
        )
        .err()
        .unwrap();
        assert!(failure.reason.contains(expected), "{}", failure.reason);
        assert!(failure.retryable);
    }
}

#[test]
fn the_log_holds_both_streams_and_what_the_network_refused() {
    let mut report = report(Ending::Exited(0), "one", "two\n");
    report.network.push(agentwright_sandbox::NetworkDecision {
        at_ms: 1,
        host: "evil.example".into(),
        port: 443,
        allowed: false,
        reason: "not declared".into(),
        method: None,
        path: None,
        status: None,
        sent_bytes: 0,
        received_bytes: 0,
    });
    let log = log_text(&report, &Secrets::default());
    assert_eq!(
        log,
        "--- stdout\none\n--- stderr\ntwo\n--- network: evil.example:443 refused: not declared\n"
    );
}
