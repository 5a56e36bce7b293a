//! Each level holds for honest code and stops broken code; faults of ours are level 0.

use crate::support::*;
use agentwright_domain::evidence::{Level, Verdict};
use agentwright_sandbox::Tier;
use agentwright_verify::{Ended, Settings};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn honest_code_passes_all_four_levels_with_evidence() {
    let done = verify(&shout_spec(), &[("main.py", SHOUT)]).await;
    done.assert_passed();
    let levels: Vec<(Level, Verdict)> = done
        .verification
        .results
        .iter()
        .map(|result| (result.level, result.verdict))
        .collect();
    assert_eq!(
        levels,
        [
            (Level::Structure, Verdict::Pass),
            (Level::Deployment, Verdict::Pass),
            (Level::Smoke, Verdict::Pass),
            (Level::Assertion, Verdict::Pass)
        ]
    );
    let assertion = &done.verification.results[3];
    assert_eq!(assertion.tier, "full");
    assert!(assertion.cpu_ms > 0 && assertion.max_rss_bytes > 1 << 20);
    assert!(
        assertion.log.contains("holds: in capitals"),
        "{}",
        assertion.log
    );
    let names = done.kept.names();
    for name in [
        "seed",
        "draw.json",
        "structure.json",
        "deployment.json",
        "smoke.json",
        "case-1.json",
        "case-2.json",
    ] {
        assert!(names.iter().any(|kept| kept == name), "{name} in {names:?}");
    }
    let case = done.kept.json("case-1.json");
    assert!(case["before"]["source"].as_object().unwrap().len() >= 2);
    assert!(case["after"]["target"]["count"]["sha256"].is_string());
    assert_eq!(case["steps"][0]["ending"], "ended with exit code 0");
    assert!(
        case["steps"][0]["stdout"]["text"]
            .as_str()
            .unwrap()
            .starts_with("wrote")
    );
    let progress = done.kept.progress.lock().unwrap().clone();
    assert_eq!(progress.last().unwrap().0, 100);
    assert!(progress.is_sorted_by_key(|(percent, _)| *percent));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_world_and_another_one_does_not() {
    let verifier = verifier();
    let app = app(&[("main.py", SHOUT)]);
    let one = verify_at(&verifier, &shout_spec(), app.path(), [1; 32]).await;
    let same = verify_at(&verifier, &shout_spec(), app.path(), [1; 32]).await;
    let other = verify_at(&verifier, &shout_spec(), app.path(), [2; 32]).await;
    assert_eq!(one.kept.json("draw.json"), same.kept.json("draw.json"));
    assert_ne!(one.kept.json("draw.json"), other.kept.json("draw.json"));
    assert_eq!(one.verification.code, same.verification.code);
    assert_eq!(
        one.kept.evidence.lock().unwrap()["seed"],
        "01".repeat(32).into_bytes()
    );
}

#[tokio::test]
async fn code_that_does_not_parse_stops_at_structure() {
    let spec = shout_spec();
    for (files, why) in [
        (
            vec![("main.py", "def broken(:\n")],
            "main.py does not parse: line 1",
        ),
        (
            vec![("main.py", SHOUT), ("run.sh", "if true; then\n")],
            "shell script does not parse",
        ),
        (
            vec![("main.py", SHOUT), ("run", "#!/bin/bash\nfoo() {\n")],
            "shell script does not parse",
        ),
        (
            vec![("main.py", SHOUT), ("data.json", "{")],
            "data.json does not parse",
        ),
        (
            vec![("main.py", SHOUT), ("data.toml", "a =")],
            "data.toml does not parse",
        ),
        (
            vec![("main.py", SHOUT), ("Dockerfile", "RUN x")],
            "Dockerfile does not parse",
        ),
        (
            vec![("other.py", SHOUT)],
            "/app/main.py, which is not there",
        ),
        (vec![], "no code"),
    ] {
        let done = verify(&spec, &files).await;
        done.assert_stopped(Level::Structure, why);
        assert_eq!(done.verification.ended, Ended::CodeFailed);
        assert_eq!(done.verification.results.len(), 1);
    }
}

#[tokio::test]
async fn a_link_in_the_code_stops_at_structure() {
    let app = app(&[("main.py", SHOUT)]);
    std::os::unix::fs::symlink("/etc/passwd", app.path().join("data")).unwrap();
    let done = verify_at(&verifier(), &shout_spec(), app.path(), [0; 32]).await;
    done.assert_stopped(Level::Structure, "symbolic link");
}

#[tokio::test]
async fn a_dockerfile_is_parsed_and_said_not_to_be_verified() {
    let done = verify(
        &shout_spec(),
        &[("main.py", SHOUT), ("Dockerfile", "FROM scratch\n")],
    )
    .await;
    done.assert_passed();
    assert!(
        done.verification.results[0]
            .summary
            .contains("not verified: no engine")
    );
}

#[tokio::test]
async fn parsing_executes_nothing() {
    let hostile = format!("import os\nos.abort()\n{SHOUT}");
    let done = verify(&shout_spec(), &[("main.py", &hostile)]).await;
    done.assert_stopped(Level::Deployment, "--help");
    assert_eq!(done.verification.results[0].verdict, Verdict::Pass);
}

#[tokio::test]
async fn code_that_cannot_be_deployed_stops_at_deployment() {
    let spec = shout_spec();
    let requests = format!("import requests\n{SHOUT}");
    let typo = format!("from helpers import x\n{SHOUT}");
    for (files, why) in [
        (
            vec![("main.py", requests.as_str())],
            "line 1 imports requests",
        ),
        (vec![("main.py", typo.as_str())], "imports helpers"),
        (
            vec![
                ("main.py", SHOUT),
                ("requirements.txt", "# none\nrequests==2\n"),
            ],
            "asks for requests==2",
        ),
        (
            vec![
                ("main.py", SHOUT),
                (
                    "pyproject.toml",
                    "[project]\nname='x'\ndependencies=['rich']\n",
                ),
            ],
            "asks for \"rich\"",
        ),
        (
            vec![
                ("main.py", SHOUT),
                ("package.json", "{\"dependencies\": {\"x\": \"1\"}}"),
            ],
            "asks for x",
        ),
        (
            vec![("main.py", "import sys\nsys.exit(3)\n")],
            "--help: ended with exit code 3",
        ),
        (vec![("main.py", "pass\n")], "--help says nothing"),
        (
            vec![(
                "main.py",
                "import pathlib\npathlib.Path('/data/target/x').touch()\nprint('help')\n",
            )],
            "does more than say how it is used",
        ),
    ] {
        verify(&spec, &files)
            .await
            .assert_stopped(Level::Deployment, why);
    }
}

#[tokio::test]
async fn own_modules_and_optional_imports_are_fine() {
    let code = format!(
        "try:\n    import requests\nexcept ImportError:\n    requests = None\nfrom pkg import tool\n{SHOUT}"
    );
    let files = [
        ("main.py", code.as_str()),
        ("pkg/tool.py", "import json\n"),
        ("requirements.txt", "# none\n"),
    ];
    verify(&shout_spec(), &files).await.assert_passed();
}

#[tokio::test]
async fn a_missing_program_stops_at_deployment() {
    let mut spec = shout_spec();
    spec["permissions"]["programs"] = json!(["no-such-program"]);
    verify(&spec, &[("main.py", SHOUT)])
        .await
        .assert_stopped(Level::Deployment, "it needs no-such-program");
}

#[tokio::test]
async fn without_walls_nothing_above_structure_is_run() {
    let verifier = verifier_with(Settings {
        minimum: Tier::Strong,
        ..Settings::default()
    });
    let app = app(&[("main.py", SHOUT)]);
    let done = verify_at(&verifier, &shout_spec(), app.path(), [0; 32]).await;
    done.assert_stopped(Level::Fault, "nothing above the structure level was run");
    assert_eq!(done.verification.ended, Ended::Fault);
    assert_eq!(done.verification.results.len(), 2);
}

#[tokio::test]
async fn evidence_that_cannot_be_kept_is_a_fault_and_no_pass() {
    let kept = Kept {
        refuses: Some("case-1.json"),
        ..Kept::default()
    };
    let app = app(&[("main.py", SHOUT)]);
    let cancel = CancellationToken::new();
    let done = verify_into(
        &verifier(),
        &shout_spec(),
        app.path(),
        [0; 32],
        kept,
        &cancel,
    )
    .await;
    done.assert_stopped(Level::Fault, "the disk is full");
}

#[tokio::test]
async fn a_cancelled_verify_ends_soon_and_passes_nothing() {
    let app = app(&[("main.py", &shout_with("import time; time.sleep(60)"))]);
    let mut spec = shout_spec();
    spec["acceptance"]["smoke"]["steps"][0]["limit_s"] = json!(60);
    let cancel = CancellationToken::new();
    let kept = Kept {
        cancels: Some(("verify: smoke", cancel.clone())),
        ..Kept::default()
    };
    let started = std::time::Instant::now();
    let done = verify_into(&verifier(), &spec, app.path(), [0; 32], kept, &cancel).await;
    assert_eq!(done.verification.ended, Ended::Cancelled);
    assert!(started.elapsed().as_secs() < 20);
}

#[tokio::test]
async fn an_acceptance_that_is_wrong_for_the_drawn_values_is_not_the_codes_fault() {
    let mut spec = shout_spec();
    let probe = json!({"name": "always", "holds": "effect",
        "check": {"type": "file_absent", "folder": "target", "path": "never"}});
    spec["acceptance"]["cases"][0]["probes"] = Value::Array(vec![probe]);
    let done = verify(&spec, &[("main.py", SHOUT)]).await;
    done.assert_stopped(Level::Assertion, "the acceptance is wrong");
    assert_eq!(done.verification.ended, Ended::SpecWrong);
}

#[tokio::test]
async fn files_have_the_age_and_mode_that_the_fixture_says() {
    let mut spec = shout_spec();
    spec["acceptance"]["cases"] = json!([{
        "name": "old files are listed",
        "fixtures": [
            {"type": "file", "folder": "source", "path": "old.txt", "age": "30d", "mode": "640"},
            {"type": "file", "folder": "source", "path": "new.txt"},
            {"type": "environment", "name": "GREETING", "value": "hello {{ draw.texts|length }}"}
        ],
        "steps": [
            {"type": "run", "args": ["{{ today }}"], "stdin": "in {{ draw.texts[0].name }}"},
            {"type": "arrange", "fixture": {"type": "file", "folder": "source", "path": "later.txt", "content": "x"}},
            {"type": "run"}
        ],
        "probes": [
            {"name": "told", "holds": "effect", "check": {"type": "file_content", "folder": "target", "path": "told",
                "content": {"equals": "new.txt 0 0o644\nold.txt 30 0o640\nhello {{ draw.texts|length }}\n{{ today }}\nin {{ draw.texts[0].name }}\n"}}},
            {"name": "both runs", "holds": "effect", "check": {"type": "file_exists", "folder": "state", "path": "run-*", "count": "2"}},
            {"name": "our own change does not count", "holds": "invariant", "check": {"type": "unchanged", "folder": "source"}}
        ]
    }]);
    let code = r#"
import os, pathlib, sys, time
if "--help" in sys.argv:
    sys.exit(print("help"))
runs = len(list(pathlib.Path("/state").glob("run-*")))
pathlib.Path(f"/state/run-{runs}").touch()
if runs == 0:
    with open(sys.argv[2] + "/told", "w") as out:
        for p in sorted(pathlib.Path(sys.argv[1]).iterdir()):
            s = p.stat()
            print(p.name, int((time.time() - s.st_mtime) // 86400), oct(s.st_mode & 0o777), file=out)
        print(os.environ.get("GREETING", "none"), file=out)
        print(sys.argv[3] if len(sys.argv) > 3 else "", file=out)
        print(sys.stdin.read(), file=out)
"#;
    verify(&spec, &[("main.py", code)]).await.assert_passed();
}
