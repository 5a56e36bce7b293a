//! What is written about builds, as text (requirements E2). Made from the store at every look, never read back.

use super::progress::{Stands, breakdown};
use agentwright_api::{Beat, Heartbeat, QueueItem};
use agentwright_domain::evidence::EvidenceRef;
use agentwright_queue::Item;
use serde_json::json;
use std::path::PathBuf;

/// Completions that are listed.
const RECENT: usize = 10;

fn of<'a>(beat: &'a Beat, statuses: &'a [&str]) -> impl Iterator<Item = &'a QueueItem> {
    beat.items
        .iter()
        .filter(move |item| statuses.contains(&item.status.as_str()))
}

/// A name in Markdown: one line, and nothing in it is markup.
pub(super) fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' => {
                safe.push('\\');
                safe.push(c);
            }
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// `BUILD_STATUS.md`.
pub(super) fn status(beat: &Beat, heartbeat: &Heartbeat) -> String {
    let build = |item: &QueueItem| {
        let build = item.build.as_ref();
        let build = build.map_or_else(String::new, |id| format!(", build {id}"));
        let progress = item.progress.as_ref().map_or_else(String::new, |it| {
            let expected = it
                .expected
                .map_or_else(String::new, |at| format!(", expected at {at}"));
            let because = it
                .because
                .as_ref()
                .map_or_else(String::new, |why| format!(": {}", plain(why)));
            format!(
                " — {} %, {}, {}{because}{expected}",
                it.percent, it.phase, it.verdict
            )
        });
        format!(
            "- {} ({}{build}){progress}",
            plain(&item.name),
            item.status.replace('_', " ")
        )
    };
    let waiting = |item: &QueueItem| {
        let why = item
            .why
            .as_ref()
            .map_or("not looked at yet", |why| why.words.as_str());
        format!(
            "{}. {} — {}",
            item.position.unwrap_or(0),
            plain(&item.name),
            plain(why)
        )
    };
    let active = of(beat, &["building", "awaiting_approval"])
        .map(build)
        .collect();
    let queued = of(beat, &["queued", "failed"]).map(waiting).collect();
    let done: Vec<&QueueItem> = of(beat, &["done"]).collect();
    let recent = done
        .iter()
        .rev()
        .take(RECENT)
        .map(|item| format!("- {}", plain(&item.name)));
    let health = if heartbeat.late {
        "the heartbeat is late"
    } else {
        "the heartbeat is on time"
    };
    let mut text = format!("# Build status\n\nAs of {}.\n", beat.at);
    section(&mut text, "Currently building", active);
    section(&mut text, "Queue", queued);
    section(&mut text, "Recent completions", recent.collect());
    section(
        &mut text,
        "System health",
        vec![format!("- {health}, every {} s", heartbeat.every_s)],
    );
    text
}

fn section(text: &mut String, title: &str, lines: Vec<String>) {
    text.push_str(&format!("\n## {title}\n\n"));
    if lines.is_empty() {
        text.push_str("(none)\n");
    }
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
}

/// What a build has made so far.
pub(super) struct Made {
    pub(super) repository: PathBuf,
    pub(super) artifacts: Vec<EvidenceRef>,
}

/// `subagents/{label}-progress.md`: task breakdown, status, blockers, percent, links to what was delivered.
pub(super) fn progress(
    item: &QueueItem,
    wanted: Option<&Item>,
    stands: &Stands,
    made: &Made,
) -> String {
    let (job, it) = (&stands.job, &stands.progress);
    let mut text = format!("# {}\n\n", plain(&item.name));
    text.push_str(&format!("- status: {}\n", item.status.replace('_', " ")));
    text.push_str(&format!("- completion: {} %\n", it.percent));
    text.push_str(&format!("- now: {}, {}\n", it.phase, it.verdict));
    if let Some(why) = &it.because {
        text.push_str(&format!("- because: {}\n", plain(why)));
    }
    if let Some(at) = it.expected {
        text.push_str(&format!("- expected at: {at}\n"));
    }
    text.push_str(&format!(
        "- last progress: {}\n- build: {}\n",
        it.last, job.build_id
    ));
    let steps = breakdown(job);
    section(
        &mut text,
        "Task breakdown",
        steps
            .iter()
            .map(|line| format!("- {}", plain(line)))
            .collect(),
    );
    let criteria = wanted.map_or(&[][..], |item| &item.criteria);
    let criteria = criteria.iter().map(|one| {
        let mark = if one.done { "x" } else { " " };
        format!("- [{mark}] {}", plain(&one.text))
    });
    section(&mut text, "Completion criteria", criteria.collect());
    let mut blockers: Vec<String> = item
        .blockers
        .iter()
        .map(|one| format!("- {}", plain(one)))
        .collect();
    blockers.extend(job.error.iter().map(|error| format!("- {}", plain(error))));
    section(&mut text, "Blockers", blockers);
    let mut links = vec![format!("- repository: `{}`", made.repository.display())];
    links.extend(
        job.deployment_url
            .iter()
            .map(|url| format!("- answers at <{}>", plain(url))),
    );
    links.extend(made.artifacts.iter().map(|one| {
        format!(
            "- {} ({} bytes, {})",
            plain(&one.name),
            one.bytes,
            one.digest.short()
        )
    }));
    section(&mut text, "Deliverables", links);
    text
}

/// `HEARTBEAT.md`.
pub(super) fn heartbeat(beat: &Beat, heartbeat: &Heartbeat, looks: usize) -> String {
    let [from, to, zone] = &heartbeat.off_hours;
    let mut text = format!(
        "# Heartbeat\n\n- every {} s\n- off-hours {from} to {to}, {zone}\n- at once by itself: {}\n\n## Last looks\n\n",
        heartbeat.every_s, heartbeat.limit
    );
    for look in heartbeat.looks.iter().take(looks) {
        text.push_str(&format!(
            "- {}: {}, {} items, {} started\n",
            look.at, look.cause, look.items, look.started
        ));
    }
    text.push_str("\n## Receipts\n\n");
    for item in beat.items.iter().filter(|item| item.status != "done") {
        let why = item
            .why
            .as_ref()
            .map_or("not looked at yet", |why| why.words.as_str());
        text.push_str(&format!("- {}: {}\n", item.label, plain(why)));
    }
    text
}

/// `subagents/active.json`.
pub(super) fn json(beat: &Beat) -> String {
    let row = |item: &QueueItem| json!({"label": item.label, "name": item.name, "status": item.status, "build": item.build, "progress": item.progress});
    let rows =
        |statuses: &[&str]| -> Vec<serde_json::Value> { of(beat, statuses).map(row).collect() };
    let active = json!({
        "at": beat.at,
        "active": rows(&["building", "awaiting_approval"]),
        "queued": rows(&["queued", "failed"]),
        "completed": rows(&["done"]),
    });
    format!("{active:#}\n")
}
