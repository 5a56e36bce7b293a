//! The built-in foundations and the labelled corpus, understood from their files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a test that cannot go on panics; the corpus prints its rates; tables of sentences are long"
)]

use agentwright_intent::{Context, Foundation, FoundationSource};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

mod amending;
mod corpus;
mod foundations;
mod people;
mod reading;
mod refusals;

/// A foundation's directory as bytes.
fn source(directory: &Path) -> FoundationSource {
    fn walk(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "__pycache__") {
                    walk(root, &path, files);
                }
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(directory, directory, &mut files);
    FoundationSource { files }
}

static ALL: LazyLock<Vec<Foundation>> = LazyLock::new(builtin);

/// All built-in foundations.
fn builtin() -> Vec<Foundation> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../foundations");
    let mut directories: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    directories.sort();
    directories
        .iter()
        .map(|directory| {
            Foundation::parse(&source(directory))
                .unwrap_or_else(|problems| panic!("{directory:?}: {problems:#?}"))
        })
        .collect()
}

fn context() -> Context {
    Context {
        base_dir: "/home/ada/work".into(),
        home: Some("/home/ada".into()),
        zone: "Europe/Berlin".into(),
        ..Context::default()
    }
}
