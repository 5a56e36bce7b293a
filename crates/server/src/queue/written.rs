//! What is written about builds beside the queue's file: `BUILD_STATUS.md`, `HEARTBEAT.md`, `progress.html`,
//! `subagents/active.json`, `subagents/{label}-progress.md`. Made from the store, never read back.
//!
//! Builds commit many times a second and a queue may have thousands of items: what nothing changed is neither read
//! from the store nor made nor written again. Start at [`report`].

use super::files::put;
use super::{active, progress, shown};
use crate::app::App;
use crate::error::ApiError;
use agentwright_api::{Beat, Heartbeat, QueueItem, Time};
use agentwright_domain::ids::Slug;
use agentwright_store::OrgScope;
use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash as _, Hasher as _};
use std::path::Path;

/// Looks at the heartbeat's page.
const LOOKS: usize = 10;
/// Items that are not being built and whose progress is written all the same: the last ones.
const ENDED: usize = 20;
/// Items are read again after so long, whatever seems unchanged.
const READ_AGAIN_MS: i64 = 60_000;
/// What a file says.
type Made = fn(&Beat, &Heartbeat) -> String;
/// The written files beside those of single builds.
const FILES: [(&str, Made); 4] = [
    ("BUILD_STATUS.md", active::status),
    ("HEARTBEAT.md", |now, heartbeat| {
        active::heartbeat(now, heartbeat, LOOKS)
    }),
    ("subagents/active.json", |now, _| active::json(now)),
    ("progress.html", page),
];

/// What was last written.
#[derive(Default)]
pub(crate) struct Written {
    read: Option<Read>,
    /// What all files say together.
    said: Option<u64>,
    /// What the file of each build says.
    builds: HashMap<Slug, u64>,
}

/// The items as they were read.
struct Read {
    at_ms: i64,
    of: State,
    items: Vec<QueueItem>,
}

/// As long as it is the same, so are the items, but for the progress of builds.
#[derive(PartialEq)]
struct State {
    revision: i64,
    heartbeat: Heartbeat,
}

/// Writes what is to be known about builds, where it changed. A disk that is full stops no build.
pub(crate) async fn report(app: &App, written: &mut Written) -> Result<(), ApiError> {
    let Some(dir) = app.config().settings.queue.dir.clone() else {
        return Ok(());
    };
    let scope = OrgScope::local();
    let state = State {
        // Before the items: what is newer than it is read again.
        revision: app.store().backlog_revision(&scope).await?,
        heartbeat: shown::heartbeat(app, &scope).await?,
    };
    let read = read(app, &scope, written.read.take(), state).await?;
    let now = Beat {
        at: Time::from_ms(app.now_ms()),
        started: Vec::new(),
        items: read.items,
    };
    builds(app, &scope, &dir, written, &now).await?;
    let said = said(&read.of, read.at_ms, &now.items);
    let changed = written.said.replace(said) != Some(said);
    for (name, text) in FILES {
        let path = dir.join(name);
        // One that somebody deleted comes back.
        if changed || !path.exists() {
            write_one(&path, &text(&now, &read.of.heartbeat));
        }
    }
    written.read = Some(Read {
        items: now.items,
        ..read
    });
    Ok(())
}

/// The items as they stand: those that were read, with the progress of builds as it is now, or all anew.
async fn read(
    app: &App,
    scope: &OrgScope,
    before: Option<Read>,
    state: State,
) -> Result<Read, ApiError> {
    let now_ms = app.now_ms();
    let fresh = |read: &Read| {
        read.of == state && (read.at_ms..read.at_ms + READ_AGAIN_MS).contains(&now_ms)
    };
    let Some(mut read) = before.filter(fresh) else {
        return Ok(Read {
            at_ms: now_ms,
            items: shown::items(app, scope).await?,
            of: state,
        });
    };
    let under_way = |item: &&mut QueueItem| {
        matches!(item.status.as_str(), "building" | "awaiting_approval") && item.build.is_some()
    };
    let building: Vec<&mut QueueItem> = read.items.iter_mut().filter(under_way).collect();
    let ids = building.iter().filter_map(|item| item.build.clone());
    let mut stand = progress::of(app, scope, ids.collect()).await?;
    for item in building {
        let stands = item.build.as_ref().and_then(|run| stand.remove(run));
        item.progress = stands.map(|stands| stands.progress);
    }
    Ok(read)
}

/// What the files say, but for the time that they say it at.
fn said(state: &State, read_at_ms: i64, items: &[QueueItem]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let look = state.heartbeat.looks.first();
    (read_at_ms, state.revision, state.heartbeat.late).hash(&mut hasher);
    look.map(|look| look.at.as_ms()).hash(&mut hasher);
    for item in items.iter().filter(|item| item.progress.is_some()) {
        stands(item, &mut hasher);
    }
    hasher.finish()
}

/// How a build stands. Its expected end is another one at every look, by milliseconds: minutes count.
fn stands(item: &QueueItem, hasher: &mut DefaultHasher) {
    (&item.label, &item.status, &item.build, item.failures).hash(hasher);
    let progress = item.progress.as_ref().map(|it| {
        let expected = it.expected.map(|at| at.as_ms() / 60_000);
        let words = (&it.phase, &it.verdict, &it.because);
        (words, it.percent, expected, it.last.as_ms())
    });
    progress.hash(hasher);
}

fn page(now: &Beat, heartbeat: &Heartbeat) -> String {
    let page = agentwright_pages::Progress::new(now, heartbeat).text();
    page.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot make progress.html");
        String::new()
    })
}

/// `subagents/{label}-progress.md` of what is being built, and of what has just ended. A label is no path.
async fn builds(
    app: &App,
    scope: &OrgScope,
    dir: &Path,
    written: &mut Written,
    now: &Beat,
) -> Result<(), ApiError> {
    let built = |item: &&QueueItem| item.build.is_some();
    let under_way = |item: &&QueueItem| item.progress.is_some();
    let mut of: Vec<&QueueItem> = now.items.iter().filter(built).filter(under_way).collect();
    let ended = now.items.iter().rev().filter(built);
    of.extend(ended.filter(|item| item.progress.is_none()).take(ENDED));
    let listed: HashSet<&Slug> = of.iter().map(|item| &item.label).collect();
    written.builds.retain(|label, _| listed.contains(label));
    let mut changed = Vec::new();
    for item in of {
        let mut hasher = DefaultHasher::new();
        stands(item, &mut hasher);
        let state = hasher.finish();
        if written.builds.insert(item.label.clone(), state) != Some(state) {
            changed.push(item);
        }
    }
    let ids = changed
        .iter()
        .filter_map(|item| item.build.clone())
        .collect();
    let stand = progress::of(app, scope, ids).await?;
    for item in changed {
        let Some(stands) = item.build.as_ref().and_then(|run| stand.get(run)) else {
            continue;
        };
        let entry = shown::entry(app, scope, &item.label).await?;
        let made = active::Made {
            repository: app.layout().build(&stands.job.build_id).join("repo"),
            artifacts: app.store().artifacts(scope, &stands.job.build_id).await?,
        };
        let text = active::progress(item, entry.as_ref().map(|entry| &entry.item), stands, &made);
        let name = format!("{}-progress.md", item.label);
        write_one(&dir.join("subagents").join(name), &text);
    }
    Ok(())
}

fn write_one(path: &Path, text: &str) {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    if let Err(error) = made.and_then(|()| put(path, text)) {
        tracing::warn!(%error, path = %path.display(), "cannot write about builds");
    }
}
