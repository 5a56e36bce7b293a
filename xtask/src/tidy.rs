//! The rules of the house that neither the compiler nor clippy holds, each as a list of complaints.
//!
//! Function length, arguments and banned calls are clippy's (`clippy.toml`). Each rule is a pure
//! function over texts, so that its tests need no repository; [`run`] reads the files.

mod dependencies;
mod documents;
mod licences;
mod sources;

use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Directories that hold nothing of ours.
const SKIPPED: &[&str] = &["target", ".git", "node_modules", "snapshots"];

/// Everything that is wrong in the repository at `root`; empty when all is well.
///
/// # Errors
/// When a file cannot be read or cargo cannot describe the workspace.
pub(crate) fn run(root: &Path) -> anyhow::Result<Vec<String>> {
    let architecture = read(&root.join("ARCHITECTURE.md"))?;
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(vec![
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            format!("{}-unknown-linux-gnu", std::env::consts::ARCH),
        ])
        .exec()
        .context("ask cargo to describe the workspace")?;

    let mut complaints = dependencies::ours(&architecture, &metadata);
    complaints.extend(dependencies::others(
        &architecture,
        &read(&root.join("Cargo.toml"))?,
    ));
    complaints.extend(licences::check(
        &read(&root.join("deny.toml"))?,
        &metadata.packages,
    ));
    let mut rust = Vec::new();
    for path in files(root, "rs")? {
        rust.push((shown(root, &path), read(&path)?));
    }
    let for_tests: Vec<String> = rust
        .iter()
        .flat_map(|(path, text)| sources::test_modules(path, text))
        .collect();
    for (path, text) in &rust {
        complaints.extend(sources::check(path, text, for_tests.contains(path)));
    }
    for path in files(root, "md")? {
        let folder = path.parent().unwrap_or(root);
        complaints.extend(documents::check(
            &shown(root, &path),
            &read(&path)?,
            &|link| folder.join(link).exists(),
            &|place| root.join(place).exists(),
        ));
    }
    Ok(complaints)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// All files below `root` whose name ends so, in a fixed order. The foundations are data: what they
/// hold has rules of its own (`agentwright foundation check`).
fn files(root: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?
        {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let foreign = name.is_none_or(|name| SKIPPED.contains(&name));
            if foreign || path == root.join("foundations") || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
