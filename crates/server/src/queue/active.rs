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
    let mut text = format!(
        "# Build status\n\nAs of {}.\n\n## Currently building\n\n",
        beat.at
    );
    let mut lines = |items: Vec<String>| {
        if items.is_empty() {
            text.push_str("(nothing)\n");
        }
        for line in items {
            text.push_str(&line);
            text.push('\n');
        }
    };
    let build = |item: &QueueItem| {
        let build = item
            .build
            .as_ref()
            .map_or_else(String::new, |id| format!(", build {id}"));
        format!(
            "- {} ({}{build})",
            plain(&item.name),
            item.status.replace('_', " ")
        )
    };
    lines(
        of(beat, &["building", "awaiting_approval"])
            .map(build)
            .collect(),
    );
    text.push_str("\n## Queue\n\n");
    let queued = of(beat, &["queued", "failed"]).map(|item| {
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
    });
    let mut lines = |items: Vec<String>| {
        if items.is_empty() {
            text.push_str("(empty)\n");
        }
        for line in items {
            text.push_str(&line);
            text.push('\n');
        }
    };
    lines(queued.collect());
    text.push_str("\n## Recent completions\n\n");
    let done: Vec<&QueueItem> = of(beat, &["done"]).collect();
    if done.is_empty() {
        text.push_str("(none yet)\n");
    }
    for item in done.iter().rev().take(RECENT) {
        text.push_str(&format!("- {}\n", plain(&item.name)));
    }
    let health = if heartbeat.late {
        "the heartbeat is late"
    } else {
        "the heartbeat is on time"
    };
    text.push_str(&format!(
        "\n## System health\n\n- {health}, every {} s\n",
        heartbeat.every_s
    ));
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
