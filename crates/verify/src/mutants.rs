//! Standard mutants of a folder: what a broken program might do to it.
//!
//! Only ever used on the folders of a trial, in which nothing was run. Each mutant is undone.

use crate::beneath::{Entry, Kind, NewFile, Root};
use crate::probe::{FileWant, Plan, Runs, glob, look};
use crate::world::World;
use globset::GlobMatcher;
use std::time::{Duration, UNIX_EPOCH};

/// The most files that are mutated for one invariant.
const FILES_MAX: usize = 10;
/// A name that no sensible probe excepts.
const STRAY: &str = "agentwright-stray.tmp";

/// Whether at least one mutant makes the probe false.
pub(crate) async fn break_it(plan: &Plan, world: &World<'_>) -> Result<bool, String> {
    let (folder, glob) = match plan {
        Plan::Files { folder, glob, want } => {
            // An absence is broken by what appears, everything else by what goes.
            let appears = matches!(want, FileWant::Absent);
            return files(plan, world, folder, Some(glob), appears).await;
        }
        Plan::Archive { folder, glob, .. } | Plan::SqliteRows { folder, glob, .. } => {
            (folder, Some(glob))
        }
        Plan::Tree { folder, .. } | Plan::Unchanged { folder, .. } => (folder, None),
        Plan::HttpSeen { host, wanted } => {
            if let Some(fixture) = world.http(host) {
                fixture.pretend(&wanted.method, &wanted.path);
            }
            return Ok(!holds(plan, world).await);
        }
        // Compared row by row: any other row breaks it.
        Plan::PostgresRows { .. } => return Ok(true),
        // Any run that ends otherwise breaks it.
        Plan::ExitCode => return Ok(true),
        Plan::Http(_) | Plan::Tcp { .. } | Plan::Process { .. } => return Ok(false),
    };
    files(plan, world, folder, glob, true).await
}

async fn holds(plan: &Plan, world: &World<'_>) -> bool {
    look(plan, world, None, Runs::None).await.holds
}

async fn files(
    plan: &Plan,
    world: &World<'_>,
    folder: &str,
    glob: Option<&GlobMatcher>,
    stray: bool,
) -> Result<bool, String> {
    let root = world.root(folder)?;
    if stray {
        let sample = glob.and_then(|glob| glob::sample(glob.glob().glob()));
        for path in sample.as_deref().into_iter().chain([STRAY]) {
            if stray_breaks(plan, world, &root, path).await? {
                return Ok(true);
            }
        }
    }
    let mut there: Vec<Entry> = root.walk()?;
    there.retain(|entry| {
        entry.kind == Kind::File && glob.is_none_or(|glob| glob.is_match(&entry.path))
    });
    // The probe looks at the newest; the oldest matters to rotations.
    there.sort_by_key(|entry| std::cmp::Reverse(entry.changed_ns));
    let last = there.pop();
    there.truncate(FILES_MAX);
    there.extend(last);
    for entry in &there {
        if file_breaks(plan, world, &root, entry).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn stray_breaks(
    plan: &Plan,
    world: &World<'_>,
    root: &Root,
    path: &str,
) -> Result<bool, String> {
    if root.look(path)?.is_some() {
        return Ok(false);
    }
    let missing = missing_parents(root, path)?;
    root.write(&NewFile {
        path,
        content: b"stray\n",
        mode: 0o644,
        changed_at: None,
    })?;
    let broken = !holds(plan, world).await;
    root.remove(path)?;
    for directory in missing.iter().rev() {
        root.remove_directory(directory)?;
    }
    Ok(broken)
}

fn missing_parents(root: &Root, path: &str) -> Result<Vec<String>, String> {
    let mut missing = Vec::new();
    for (end, _) in path.match_indices('/') {
        if root.look(&path[..end])?.is_none() {
            missing.push(path[..end].to_owned());
        }
    }
    Ok(missing)
}

async fn file_breaks(
    plan: &Plan,
    world: &World<'_>,
    root: &Root,
    entry: &Entry,
) -> Result<bool, String> {
    let path = entry.path.as_str();
    let content = root.read(path, crate::fixture::BYTES_MAX)?;
    let age = u64::try_from(entry.changed_ns).unwrap_or(0);
    let changed_at = Some(UNIX_EPOCH + Duration::from_nanos(age));
    let write = |content: &[u8], mode| {
        root.write(&NewFile {
            path,
            content,
            mode,
            changed_at,
        })
    };

    root.remove(path)?;
    let mut broken = !holds(plan, world).await;
    let longer = [content.as_slice(), b"changed\n"].concat();
    let mutants: [(&[u8], u32); 3] = [
        (&longer, entry.mode),
        (&content[..content.len() / 2], entry.mode),
        (&content, entry.mode ^ 0o111),
    ];
    for (content, mode) in mutants {
        if !broken {
            write(content, mode)?;
            broken = !holds(plan, world).await;
        }
    }
    write(&content, entry.mode)?;
    Ok(broken)
}
