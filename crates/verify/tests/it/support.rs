//! A verifier over the crate's own init, a small honest automation, and short words to verify variants of it.

use agentwright_domain::digest::Digest;
use agentwright_domain::evidence::{EvidenceRef, Level};
use agentwright_domain::spec::Spec;
use agentwright_sandbox::{Sandbox, Settings as SandboxSettings};
use agentwright_verify::{Ended, NotKept, Reporter, Settings, Verification, Verifier, Work};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// Keeps everything in memory.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) evidence: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(crate) progress: Mutex<Vec<(u8, String)>>,
    /// Refuses to keep what has this name.
    pub(crate) refuses: Option<&'static str>,
    /// Cancels when this is begun.
    pub(crate) cancels: Option<(&'static str, CancellationToken)>,
}

impl Kept {
    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.evidence.lock().unwrap()[name]).unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.evidence.lock().unwrap().keys().cloned().collect()
    }
}

#[async_trait]
impl Reporter for Kept {
    async fn progress(&self, percent: u8, message: &str) {
        if let Some((when, cancel)) = &self.cancels
            && *when == message
        {
            cancel.cancel();
        }
        self.progress
            .lock()
            .unwrap()
            .push((percent, message.to_owned()));
    }

    async fn keep(&self, name: &str, bytes: Vec<u8>) -> Result<EvidenceRef, NotKept> {
        if self.refuses == Some(name) {
            return Err(NotKept {
                name: name.to_owned(),
                why: "the disk is full".into(),
            });
        }
        let kept = EvidenceRef {
            name: name.to_owned(),
            digest: Digest::from_sha256([0; 32]),
            bytes: bytes.len() as u64,
        };
        self.evidence.lock().unwrap().insert(name.to_owned(), bytes);
        Ok(kept)
    }
}

/// A directory without symbolic links on its way.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("aw-")
        .tempdir_in(std::env::temp_dir().canonicalize().unwrap())
        .unwrap()
}

pub(crate) fn verifier() -> Verifier {
    verifier_with(Settings::default())
}

pub(crate) fn verifier_with(settings: Settings) -> Verifier {
    static SCRATCH: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    let scratch = SCRATCH.get_or_init(folder).path().to_owned();
    let init = PathBuf::from(env!("CARGO_BIN_EXE_verify-init"));
    let sandbox = Sandbox::new(init, scratch, SandboxSettings::default()).unwrap();
    Verifier::new(Arc::new(sandbox), settings)
}

/// Writes the files of an automation.
pub(crate) fn app(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = folder();
    for (name, content) in files {
        write(dir.path(), name, content);
    }
    dir
}

pub(crate) fn write(dir: &Path, name: &str, content: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// A verify that has ended.
pub(crate) struct Done {
    pub(crate) verification: Verification,
    pub(crate) kept: Kept,
}

impl Done {
    /// Level and summary of the result that stopped it.
    pub(crate) fn stopped(&self) -> (Level, &str) {
        let (level, result) = self.verification.stopped_at().expect("it passed");
        (level, &result.summary)
    }

    #[track_caller]
    pub(crate) fn assert_passed(&self) {
        let logs: String = self
            .verification
            .results
            .iter()
            .map(|r| r.log.as_str())
            .collect();
        assert_eq!(self.verification.ended, Ended::Passed, "{logs}");
    }

    #[track_caller]
    pub(crate) fn assert_stopped(&self, level: Level, why: &str) {
        let logs: String = self
            .verification
            .results
            .iter()
            .map(|r| r.log.as_str())
            .collect();
        assert!(!self.verification.passed(), "it passed:\n{logs}");
        let (at, summary) = self.stopped();
        assert_eq!(at, level, "{summary}\n{logs}");
        assert!(summary.contains(why), "{summary}\n{logs}");
    }
}

pub(crate) async fn verify(spec: &Value, files: &[(&str, &str)]) -> Done {
    verify_at(&verifier(), spec, app(files).path(), [7; 32]).await
}

pub(crate) async fn verify_at(
    verifier: &Verifier,
    spec: &Value,
    app: &Path,
    seed: [u8; 32],
) -> Done {
    let kept = Kept::default();
    verify_into(verifier, spec, app, seed, kept, &CancellationToken::new()).await
}

pub(crate) async fn verify_into(
    verifier: &Verifier,
    spec: &Value,
    app: &Path,
    seed: [u8; 32],
    kept: Kept,
    cancel: &CancellationToken,
) -> Done {
    let spec: Spec = serde_json::from_value(spec.clone()).unwrap();
    let scratch = folder();
    let work = Work {
        spec: &spec,
        app: app.to_owned(),
        scratch: scratch.path().to_owned(),
        seed,
        programs: BTreeMap::new(),
    };
    let verification = verifier.verify(&work, &kept, cancel).await;
    Done { verification, kept }
}

/// Copies every text of `source` to `target` in capitals and writes how many there were.
pub(crate) fn shout_spec() -> Value {
    json!({
        "format": 1, "name": "shout", "purpose": "writes texts in capitals", "kind": "script",
        "command": ["python3", "/app/main.py", "/data/source", "/data/target"],
        "permissions": {"folders": [
            {"name": "source", "path": "/srv/source", "access": "read"},
            {"name": "target", "path": "/srv/target", "access": "write"}
        ]},
        "trigger": {"type": "manual"},
        "acceptance": {
            "draw": {
                "texts": {"type": "rows", "min": 2, "max": 4, "columns": {
                    "name": {"type": "word", "length": 8}, "body": {"type": "text", "words": 5}}}
            },
            "smoke": {
                "name": "one text",
                "fixtures": [{"type": "file", "folder": "source", "path": "a.txt", "content": "a"}],
                "steps": [{"type": "run", "limit_s": 3}]
            },
            "cases": [
                {
                    "name": "every text is written in capitals",
                    "fixtures": [{"type": "file", "folder": "source", "repeat": "{{ draw.texts|length }}",
                        "path": "{{ draw.texts[index].name }}.txt", "content": "{{ draw.texts[index].body }}"}],
                    "steps": [{"type": "run", "limit_s": 10}],
                    "probes": [
                        {"name": "one text for each", "holds": "effect", "check": {"type": "tree", "folder": "target",
                            "files": "{% for t in draw.texts %}{{ t.name }}.txt\n{% endfor %}count"}},
                        {"name": "in capitals", "holds": "effect", "check": {"type": "file_content", "folder": "target",
                            "path": "{{ draw.texts[0].name }}.txt",
                            "content": {"equals": "{{ draw.texts[0].body|upper }}"}}},
                        {"name": "counted", "holds": "effect", "check": {"type": "file_content", "folder": "target",
                            "path": "count", "content": {"equals": "{{ draw.texts|length }}"}}},
                        {"name": "texts stay", "holds": "invariant", "check": {"type": "unchanged", "folder": "source"}},
                        {"name": "no more than a log beside", "holds": "invariant", "check": {"type": "unchanged",
                            "folder": "state", "except": ["*.log"]}}
                    ]
                },
                {
                    "name": "a text that is none is an error",
                    "fixtures": [{"type": "directory", "folder": "source", "path": "no.txt"}],
                    "steps": [{"type": "run", "exit": "failure", "limit_s": 10}],
                    "probes": [{"name": "it said so", "holds": "effect", "check": {"type": "exit_code"}}]
                }
            ]
        }
    })
}

/// The honest program for [`shout_spec`].
pub(crate) const SHOUT: &str = r#"
import argparse, pathlib, sys
parser = argparse.ArgumentParser(description="writes texts in capitals")
parser.add_argument("source")
parser.add_argument("target")
a = parser.parse_args()
names = sorted(pathlib.Path(a.source).glob("*.txt"))
for path in names:
    pathlib.Path(a.target, path.name).write_text(path.read_text().upper())
pathlib.Path(a.target, "count").write_text(str(len(names)))
print("wrote", len(names))
"#;

/// The honest program with something before it (after its arguments were read).
pub(crate) fn shout_with(extra: &str) -> String {
    SHOUT.replacen("names =", &format!("{extra}\nnames ="), 1)
}
