//! The dry run on real folders, which is never changed.

use crate::support::*;
use agentwright_domain::spec::Spec;
use agentwright_verify::{PreviewError, PreviewReport, PreviewWork};
use serde_json::{Value, json};
use std::path::Path;
use tokio_util::sync::CancellationToken;

fn spec(folder: &Path, create: &Path) -> Value {
    let mut spec = shout_spec();
    spec["preview"] = json!(["python3", "/app/main.py", "--dry-run"]);
    spec["permissions"]["folders"] = json!([
        {"name": "source", "path": folder, "access": "write"},
        {"name": "target", "path": create, "access": "write", "create": true}
    ]);
    spec
}

async fn preview(spec: &Value, code: &str) -> Result<PreviewReport, PreviewError> {
    let spec: Spec = serde_json::from_value(spec.clone()).unwrap();
    let app = app(&[("main.py", code)]);
    let scratch = folder();
    let work = PreviewWork {
        spec: &spec,
        app: app.path().to_owned(),
        scratch: scratch.path().to_owned(),
        programs: std::collections::BTreeMap::new(),
    };
    verifier().preview(&work, &CancellationToken::new()).await
}

#[tokio::test]
async fn a_preview_sees_the_real_data_and_says_what_would_change() {
    let real = folder();
    write(real.path(), "letter.txt", "dear");
    let new = real.path().join("not-there");
    let code = "import os\nfor n in os.listdir('/data/source'): print('would create', n.upper())\nprint(len(os.listdir('/data/target')))";
    let report = preview(&spec(real.path(), &new), code).await.unwrap();
    assert!(report.succeeded, "{report:?}");
    assert_eq!(report.changes, ["would create LETTER.TXT"]);
    assert_eq!(report.tier, "full");
    assert!(report.stdout.ends_with("0\n"));
    assert!(!new.exists());
}

#[tokio::test]
async fn a_preview_cannot_change_the_real_data() {
    let real = folder();
    write(real.path(), "letter.txt", "dear");
    let code = "import os\nos.remove('/data/source/letter.txt')";
    let report = preview(&spec(real.path(), real.path()), code)
        .await
        .unwrap();
    assert!(!report.succeeded);
    assert!(report.stderr.contains("Read-only"), "{}", report.stderr);
    assert!(real.path().join("letter.txt").exists());
}

#[tokio::test]
async fn a_missing_folder_and_a_missing_dry_run_are_named() {
    let real = folder();
    let missing = real.path().join("missing");
    let error = preview(&spec(&missing, real.path()), "pass")
        .await
        .unwrap_err();
    assert!(
        matches!(&error, PreviewError::FolderMissing(path) if path.ends_with("missing")),
        "{error}"
    );
    let error = preview(&shout_spec(), "pass").await.unwrap_err();
    assert!(matches!(error, PreviewError::None));
}

#[tokio::test]
async fn a_preview_sees_data_or_hosts_and_never_both() {
    let real = folder();
    write(real.path(), "letter.txt", "dear");
    let new = real.path().join("not-there");
    let code = "import os\nprint(os.listdir('/data/source'), os.environ.get('HTTPS_PROXY'))";
    let mut hosts = spec(real.path(), &new);
    hosts["permissions"]["network"] = json!(["example.com:443"]);

    let writing = preview(&hosts, code).await.unwrap();
    assert!(writing.stdout.starts_with("[] http"), "{writing:?}");

    hosts["permissions"]["folders"][0]["access"] = json!("read");
    let reading = preview(&hosts, code).await.unwrap();
    assert_eq!(reading.stdout, "['letter.txt'] None\n", "{reading:?}");
}
