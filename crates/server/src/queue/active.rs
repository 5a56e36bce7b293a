//! What is written about builds, as text (requirements E2). Made from the store at every look, never read back.

use agentwright_api::{Beat, Heartbeat, QueueItem};
use serde_json::json;

/// Completions that are listed.
const RECENT: usize = 10;

fn of<'a>(beat: &'a Beat, statuses: &'a [&str]) -> impl Iterator<Item = &'a QueueItem> {
    beat.items
        .iter()
        .filter(move |item| statuses.contains(&item.status.as_str()))
}

/// A name in Markdown: one line, and nothing in it is markup.
fn plain(text: &str) -> String {
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
        format!(
            "- {} ({}{build})",
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
    let row = |item: &QueueItem| json!({"label": item.label, "name": item.name, "status": item.status, "build": item.build});
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
