//! Every built-in foundation: what its examples ask for is sealed and passes all four levels, and each of its
//! broken variants is stopped at the level that its file says.
//!
//! `tests/mutants/<foundation>/mutants.toml` holds `also`, further sentences that must pass, and a list of
//! `[[mutant]]`:
//!
//! ```toml
//! [[mutant]]
//! name = "prints success and does nothing"
//! stops_at = "assertion"        # structure, deployment, smoke or assertion
//! why = "found 0"               # optional: part of the summary
//! intent = "…"                  # optional: the sentence; else the foundation's first example
//! inputs = { name = "value" }   # optional: inputs given by hand, instead of a sentence
//! file = "backup.py"            # the file below files/ (without .j2) that is changed
//! replace = "…"                 # this text, which must be there, …
//! with = "…"                    # … becomes this one,
//! text = "…"                    # or: the whole file is this text
//! ```

use crate::support::*;
use agentwright_domain::spec::Spec;
use agentwright_intent::{Context, Foundation, FoundationSource, plan_for, understand};
use agentwright_verify::{SealError, Verifier, seal};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Fewest broken variants of a foundation.
const MUTANTS_MIN: usize = 6;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutants {
    /// Further sentences whose automations must pass, beside the foundation's examples.
    #[serde(default)]
    also: Vec<String>,
    mutant: Vec<Mutant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    name: String,
    stops_at: String,
    #[serde(default)]
    why: String,
    intent: Option<String>,
    #[serde(default)]
    inputs: BTreeMap<String, Value>,
    file: String,
    replace: Option<String>,
    with: Option<String>,
    text: Option<String>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn source(directory: &Path) -> FoundationSource {
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(here) = open.pop() {
        for entry in std::fs::read_dir(here).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path
                    .strip_prefix(directory)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                files.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    FoundationSource { files }
}

fn foundation(name: &str) -> Foundation {
    let source = source(&repository().join("foundations").join(name));
    Foundation::parse(&source).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"))
}

/// The spec and the files that a sentence asks for.
fn build(
    foundation: &Foundation,
    intent: &str,
    given: BTreeMap<String, Value>,
) -> (Spec, BTreeMap<String, Vec<u8>>) {
    let by_hand = !given.is_empty();
    let context = Context {
        base_dir: "/srv/person".into(),
        home: Some("/home/person".into()),
        zone: "UTC".into(),
        given,
        existing: Vec::new(),
        called: None,
    };
    let only = std::slice::from_ref(foundation);
    let plan = match by_hand {
        true => plan_for(foundation, &context),
        false => understand(intent, &context, only),
    };
    let plan = plan.unwrap_or_else(|refusal| panic!("{intent:?}: {refusal}"));
    let spec = agentwright_intent::spec(&plan, foundation)
        .unwrap_or_else(|problems| panic!("{intent:?}: {problems:#?}"));
    let files = foundation
        .files(&spec.inputs, spec.name.as_str())
        .unwrap_or_else(|why| panic!("{intent:?}: {why}"));
    (spec, files)
}

fn lay_out(files: &BTreeMap<String, Vec<u8>>) -> tempfile::TempDir {
    let app = folder();
    for (name, content) in files {
        let path = app.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        if content.starts_with(b"#!") {
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
        }
    }
    app
}

async fn verify_files(
    verifier: &Verifier,
    spec: &Spec,
    files: &BTreeMap<String, Vec<u8>>,
    seed: u8,
) -> Done {
    let app = lay_out(files);
    verify_at(
        verifier,
        &serde_json::to_value(spec).unwrap(),
        app.path(),
        [seed; 32],
    )
    .await
}

async fn examples_hold(name: &str) {
    let foundation = foundation(name);
    let verifier = verifier();
    let also = mutants(name).also;
    for (i, example) in foundation.manifest.examples.iter().chain(&also).enumerate() {
        let (spec, files) = build(&foundation, example, BTreeMap::new());
        match seal(&spec, folder().path()).await {
            Ok(_) => {}
            Err(SealError::Problems(problems)) => {
                panic!("{example:?} is not sealed: {problems:#?}")
            }
            Err(SealError::Fault(why)) => panic!("{why}"),
        }
        let done = verify_files(&verifier, &spec, &files, u8::try_from(i).unwrap()).await;
        done.assert_passed();
    }
}

fn mutants(name: &str) -> Mutants {
    let path = repository()
        .join("crates/verify/tests/mutants")
        .join(name)
        .join("mutants.toml");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

async fn mutants_are_stopped(name: &str) {
    let mutants = mutants(name);
    assert!(
        mutants.mutant.len() >= MUTANTS_MIN,
        "{name} has only {} mutants",
        mutants.mutant.len()
    );
    let foundation = foundation(name);
    let verifier = verifier();
    let mut wrong = Vec::new();
    for (i, mutant) in mutants.mutant.iter().enumerate() {
        let intent = mutant
            .intent
            .as_ref()
            .unwrap_or(&foundation.manifest.examples[0]);
        let (spec, mut files) = build(&foundation, intent, mutant.inputs.clone());
        mutate(&mut files, mutant);
        let done = verify_files(&verifier, &spec, &files, u8::try_from(i).unwrap()).await;
        let found = match done.verification.stopped_at() {
            None => "passed".to_owned(),
            Some((level, result))
                if level.word() == mutant.stops_at && result.summary.contains(&mutant.why) =>
            {
                continue;
            }
            Some((level, result)) => format!("stopped at {}: {}", level.word(), result.summary),
        };
        wrong.push(format!(
            "{:?} should stop at {} ({}): {found}",
            mutant.name, mutant.stops_at, mutant.why
        ));
    }
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
}

fn mutate(files: &mut BTreeMap<String, Vec<u8>>, mutant: &Mutant) {
    let name = &mutant.name;
    let file = files
        .get_mut(&mutant.file)
        .unwrap_or_else(|| panic!("{name}: there is no {}", mutant.file));
    *file = match (&mutant.replace, &mutant.with, &mutant.text) {
        (None, None, Some(text)) => text.clone().into_bytes(),
        (Some(replace), Some(with), None) => {
            let text = String::from_utf8(file.clone()).unwrap();
            assert!(
                text.contains(replace),
                "{name}: {replace:?} is not in {}",
                mutant.file
            );
            text.replace(replace, with).into_bytes()
        }
        _ => panic!("{name}: give replace and with, or text"),
    };
}

macro_rules! foundations {
    ($($module:ident: $name:literal),* $(,)?) => {
        $(mod $module {
            #[tokio::test]
            async fn what_its_examples_ask_for_passes_all_four_levels() {
                super::examples_hold($name).await;
            }

            #[tokio::test]
            async fn its_broken_variants_are_stopped_where_they_should_be() {
                super::mutants_are_stopped($name).await;
            }
        })*

        const LISTED: &[&str] = &[$($name),*];
    };
}

foundations! {
    claude_agent: "claude-agent",
    crud_service: "crud-service",
    csv_report: "csv-report",
    feed_digest: "feed-digest",
    folder_backup: "folder-backup",
    folder_tidy: "folder-tidy",
    log_digest: "log-digest",
    sql_export: "sql-export",
    url_watch: "url-watch",
    webhook_inbox: "webhook-inbox",
}

#[test]
fn every_foundation_is_listed_here() {
    let mut there: Vec<String> = std::fs::read_dir(repository().join("foundations"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, LISTED);
}
