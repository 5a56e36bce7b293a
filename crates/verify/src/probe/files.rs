//! Probes of files. Reading happens on a blocking thread.

use super::plan::{FileWant, Plan};
use super::{Finding, archive, rows, some_of};
use crate::beneath::{Entry, Kind, Root};
use crate::snapshot::Snapshot;
use crate::world::World;
use globset::{GlobMatcher, GlobSet};
use serde_json::Value;

/// The largest file whose content is compared.
pub(crate) const CONTENT_MAX: u64 = 16 << 20;

/// Asks a probe of files, archives or folders.
pub(super) async fn look(plan: &Plan, world: &World<'_>) -> Finding {
    let plan = plan.clone();
    let folder = match &plan {
        Plan::Files { folder, .. }
        | Plan::Tree { folder, .. }
        | Plan::Archive { folder, .. }
        | Plan::Unchanged { folder, .. } => folder.clone(),
        _ => String::new(),
    };
    let root = world.root(&folder);
    let baseline = world.baseline(&folder).cloned().unwrap_or_default();
    let asked = tokio::task::spawn_blocking(move || match root {
        Ok(root) => ask(&plan, &root, &baseline),
        Err(error) => Finding::new("a folder".into(), Err(error)),
    })
    .await;
    asked.unwrap_or_else(|error| Finding::new("an answer".into(), Err(error.to_string())))
}

fn ask(plan: &Plan, root: &Root, baseline: &Snapshot) -> Finding {
    match plan {
        Plan::Files { glob, want, .. } => ask_files(root, glob, want),
        Plan::Tree { files, .. } => {
            let expected = format!("exactly {}", some_of(files.iter().map(String::as_str)));
            Finding::new(expected, tree(root, files))
        }
        Plan::Archive {
            glob,
            entries,
            count,
            ..
        } => {
            let expected = archive_words(glob, entries, *count);
            let found = newest(root, glob).and_then(|entry| {
                let (file, _) = root.open_file(&entry.path)?;
                let read =
                    archive::read(file).and_then(|read| archive::check(&read, entries, *count));
                read.map(|()| format!("{} with it", entry.path))
                    .map_err(|error| format!("{}: {error}", root.shown(&entry.path)))
            });
            Finding::new(expected, found)
        }
        Plan::Unchanged { except, .. } => Finding::new(
            "nothing else changed".into(),
            unchanged(root, baseline, except),
        ),
        _ => Finding::new("a file".into(), Err("is no probe of files".into())),
    }
}

fn archive_words(
    glob: &GlobMatcher,
    entries: &[(String, super::matcher::Wanted)],
    count: Option<u64>,
) -> String {
    let mut words = format!("an archive {} with ", glob.glob());
    if let Some(count) = count {
        words.push_str(&format!("{count} files, among them "));
    }
    let entries: Vec<String> = entries
        .iter()
        .map(|(path, content)| format!("{path}: {}", content.expected()))
        .collect();
    words.push_str(&some_of(entries.iter().map(String::as_str)));
    words
}

fn ask_files(root: &Root, glob: &GlobMatcher, want: &FileWant) -> Finding {
    let name = root.shown(glob.glob().glob());
    match want {
        FileWant::Exist { count } => {
            let expected = match count {
                Some(count) => format!("{count} files {name}"),
                None => format!("a file {name}"),
            };
            Finding::new(expected, exist(root, glob, *count))
        }
        FileWant::Absent => Finding::new(format!("nothing at {name}"), absent(root, glob)),
        FileWant::Content(wanted) => {
            let found = newest(root, glob).and_then(|entry| {
                let bytes = root.read(&entry.path, CONTENT_MAX)?;
                wanted
                    .check(&bytes)
                    .map(|()| format!("it in {}", root.shown(&entry.path)))
                    .map_err(|found| format!("in {}: {found}", root.shown(&entry.path)))
            });
            Finding::new(format!("{name} with {}", wanted.expected()), found)
        }
        FileWant::Size { min, max } => {
            let found = newest(root, glob).and_then(|entry| {
                let fits = min.is_none_or(|min| entry.size >= min)
                    && max.is_none_or(|max| entry.size <= max);
                let found = format!("{} of {} bytes", root.shown(&entry.path), entry.size);
                if fits { Ok(found) } else { Err(found) }
            });
            let bound =
                |bound: &Option<u64>| bound.map_or("any".to_owned(), |bound| bound.to_string());
            Finding::new(
                format!("{name} of {} to {} bytes", bound(min), bound(max)),
                found,
            )
        }
        FileWant::Mode(mode) => {
            let found = newest(root, glob).and_then(|entry| {
                let found = format!("{} with mode {:o}", root.shown(&entry.path), entry.mode);
                if entry.mode == *mode {
                    Ok(found)
                } else {
                    Err(found)
                }
            });
            Finding::new(format!("{name} with mode {mode:o}"), found)
        }
    }
}

fn matching(root: &Root, glob: &GlobMatcher) -> Result<Vec<Entry>, String> {
    let mut all = root.walk()?;
    all.retain(|entry| glob.is_match(&entry.path));
    Ok(all)
}

fn exist(root: &Root, glob: &GlobMatcher, count: Option<u64>) -> Result<String, String> {
    let all = matching(root, glob)?;
    let regular: Vec<&str> = all
        .iter()
        .filter(|entry| entry.kind == Kind::File)
        .map(|entry| entry.path.as_str())
        .collect();
    let mut found = format!("{}", regular.len());
    if !regular.is_empty() {
        found.push_str(&format!(" ({})", some_of(regular.iter().copied())));
    }
    if let Some(odd) = all
        .iter()
        .find(|entry| !matches!(entry.kind, Kind::File | Kind::Directory))
    {
        found.push_str(&format!(
            "; {} is {}, which does not count",
            odd.path,
            odd.kind.word()
        ));
    }
    let regular = regular.len() as u64;
    let holds = count.map_or(regular > 0, |count| regular == count);
    if holds { Ok(found) } else { Err(found) }
}

fn absent(root: &Root, glob: &GlobMatcher) -> Result<String, String> {
    let all = matching(root, glob)?;
    if all.is_empty() {
        Ok("nothing".into())
    } else {
        Err(some_of(all.iter().map(|entry| entry.path.as_str())))
    }
}

/// The newest regular file that matches; of equally old ones the last by name.
fn newest(root: &Root, glob: &GlobMatcher) -> Result<Entry, String> {
    let all = matching(root, glob)?;
    let odd = all.iter().find(|entry| entry.kind != Kind::File);
    let nothing = match odd {
        Some(odd) => format!("{} is {}", root.shown(&odd.path), odd.kind.word()),
        None => format!("no file {}", root.shown(glob.glob().glob())),
    };
    all.into_iter()
        .filter(|entry| entry.kind == Kind::File)
        .max_by(|a, b| {
            a.changed_ns
                .cmp(&b.changed_ns)
                .then_with(|| a.path.cmp(&b.path))
        })
        .ok_or(nothing)
}

fn tree(root: &Root, wanted: &[String]) -> Result<String, String> {
    let all = root.walk()?;
    let odd = all
        .iter()
        .find(|entry| !matches!(entry.kind, Kind::File | Kind::Directory));
    if let Some(odd) = odd {
        return Err(format!("{} is {}", root.shown(&odd.path), odd.kind.word()));
    }
    let files: std::collections::BTreeSet<&str> = all
        .iter()
        .filter(|entry| entry.kind == Kind::File)
        .map(|entry| entry.path.as_str())
        .collect();
    let wanted: std::collections::BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
    if files == wanted {
        return Ok(format!("these {}", files.len()));
    }
    let missing: Vec<&str> = wanted.difference(&files).copied().collect();
    let more: Vec<&str> = files.difference(&wanted).copied().collect();
    let mut found = Vec::new();
    if !missing.is_empty() {
        found.push(format!("missing: {}", some_of(missing.into_iter())));
    }
    if !more.is_empty() {
        found.push(format!("not expected: {}", some_of(more.into_iter())));
    }
    Err(found.join("; "))
}

fn unchanged(root: &Root, baseline: &Snapshot, except: &GlobSet) -> Result<String, String> {
    let now = Snapshot::take(root)?;
    let changes = baseline.changes(&now, except);
    if changes.is_empty() {
        Ok(format!("the same {} entries", now.len()))
    } else {
        Err(format!(
            "in {}: {}",
            root.shown(""),
            some_of(changes.iter().map(String::as_str))
        ))
    }
}

/// Rows of an SQLite file, by way of a private copy.
pub(super) async fn sqlite_rows(
    world: &World<'_>,
    folder: &str,
    glob: &GlobMatcher,
    query: &str,
) -> Result<Vec<Value>, String> {
    let root = world.root(folder)?;
    let glob = glob.clone();
    let copy = world.private_file("probe.db")?;
    let to = copy.clone();
    tokio::task::spawn_blocking(move || {
        let entry = newest(&root, &glob)?;
        rows::copy_sqlite(&root, &entry.path, &to)
    })
    .await
    .map_err(|error| error.to_string())??;
    rows::query_sqlite(&copy, query).await
}

#[cfg(test)]
mod tests;
