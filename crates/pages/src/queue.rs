//! The queue of builds that start by themselves: every item with its answer, and what can be done about it.

use agentwright_api::{ConnectedTable, Heartbeat, QueueItem, QueueSuggestion, TableRow};
use askama::Template;

use crate::parts::{Chip, Tone, When};
use crate::shell::{Live, Section, Shell};

struct Line {
    label: String,
    name: String,
    description: Option<String>,
    priority: &'static str,
    chip: Chip,
    place: Option<u32>,
    blockers: Vec<String>,
    start: Option<String>,
    build: Option<String>,
    failures: u32,
    why: Option<String>,
    since: Option<When>,
    progress: Option<Far>,
    stalled: bool,
    suggestion: Option<QueueSuggestion>,
    /// Whether a yes would let it start.
    approve: bool,
    retry: bool,
    fail: bool,
    /// The item that it would stand before, one place up.
    up: Option<String>,
    /// The item that it would stand before, one place down; empty for the end.
    down: Option<String>,
}

/// A table of a person's own, with its rows.
struct Table {
    name: String,
    table: String,
    looked: Option<When>,
    error: Option<String>,
    rows: Vec<Row>,
}

struct Row {
    id: i64,
    name: String,
    chip: Chip,
    build: Option<String>,
    why: Option<String>,
    to_write: bool,
}

struct Far {
    percent: u8,
    words: String,
    expected: Option<When>,
}

/// What was typed into the form, when it comes back with a problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueTyped {
    /// The name.
    pub name: String,
    /// What is wanted.
    pub description: String,
    /// When it is done, one a line.
    pub criteria: String,
    /// `high`, `medium`, `low`.
    pub priority: String,
    /// How long it may take.
    pub estimate: String,
    /// What is in the way, one a line.
    pub blockers: String,
    /// Not before this time.
    pub start: String,
}

/// What the page of the queue is made of.
#[derive(Clone, Debug)]
pub struct QueueGiven {
    /// The items, in their order.
    pub items: Vec<QueueItem>,
    /// The connected tables with their rows.
    pub tables: Vec<ConnectedTable>,
    /// The heartbeat.
    pub heartbeat: Heartbeat,
    /// What was typed.
    pub typed: QueueTyped,
    /// What the person is told about what they did.
    pub said: Option<String>,
    /// What could not be done.
    pub problem: Option<String>,
}

/// The page.
#[derive(Template)]
#[template(path = "queue.html")]
pub struct Queue {
    shell: Shell,
    section: Section,
    live: Live,
    lines: Vec<Line>,
    done: Vec<Line>,
    tables: Vec<Table>,
    heartbeat: String,
    looked: Option<When>,
    late: bool,
    typed: QueueTyped,
    said: Option<String>,
    problem: Option<String>,
}

impl Queue {
    /// The page.
    pub fn new(shell: Shell, given: QueueGiven) -> Self {
        let now = shell.now_ms;
        let (done, open): (Vec<QueueItem>, Vec<QueueItem>) = given
            .items
            .into_iter()
            .partition(|item| item.status == "done");
        let labels: Vec<String> = open.iter().map(|item| item.label.to_string()).collect();
        let mut lines: Vec<Line> = open.into_iter().map(|item| line(item, now)).collect();
        for (at, line) in lines.iter_mut().enumerate() {
            line.up = at.checked_sub(1).map(|up| labels[up].clone());
            let last = at + 1 == labels.len();
            line.down = (!last).then(|| labels.get(at + 2).cloned().unwrap_or_default());
        }
        let [from, to, zone] = &given.heartbeat.off_hours;
        Self {
            section: Section::Queue,
            live: Live::All,
            lines,
            done: done.into_iter().rev().map(|item| line(item, now)).collect(),
            tables: given.tables.into_iter().map(|it| table(it, now)).collect(),
            heartbeat: format!(
                "Looked at every {} min, and whenever something changes. High starts at any time, medium from {from} to {to} ({zone}), low after your yes. At once by itself: {}.",
                given.heartbeat.every_s / 60,
                given.heartbeat.limit
            ),
            looked: given
                .heartbeat
                .looks
                .first()
                .map(|look| When::new(look.at, now)),
            late: given.heartbeat.late,
            typed: given.typed,
            said: given.said,
            problem: given.problem,
            shell,
        }
    }
}

fn table(it: ConnectedTable, now_ms: i64) -> Table {
    Table {
        name: it.name.to_string(),
        table: it.table,
        looked: it.looked_at.map(|at| When::new(at, now_ms)),
        error: it.error,
        rows: it.rows.into_iter().map(row).collect(),
    }
}

fn row(it: TableRow) -> Row {
    let ended = ["deployed", "failed"].contains(&it.builder_status.as_str());
    Row {
        id: it.id,
        name: it.name,
        chip: match it.builder_status.as_str() {
            "building" => Chip::new(Tone::Busy, "spin", "Building"),
            "awaiting_approval" => Chip::new(Tone::Wait, "hand", "Waits for your yes"),
            "approved" => Chip::new(Tone::Busy, "check", "Approved"),
            "failed" => Chip::new(Tone::Bad, "cross", "Failed"),
            "deployed" => Chip::new(Tone::Good, "check", "Deployed"),
            "queued" => Chip::new(Tone::Calm, "clock", "Claimed"),
            _ => Chip::new(Tone::Calm, "clock", "Waits"),
        },
        build: it.build.map(|build| build.as_str().to_owned()),
        why: it.why.filter(|_| !ended).map(|why| why.words),
        to_write: it.to_write,
    }
}

fn line(item: QueueItem, now_ms: i64) -> Line {
    let decision = item.why.as_ref().map(|why| why.decision.clone());
    let is = |word: &str| decision.as_deref() == Some(word);
    let building = item.progress.is_some();
    let stalled = item
        .progress
        .as_ref()
        .is_some_and(|it| it.verdict == "hung" || it.verdict == "looping");
    let chip = match item.status.as_str() {
        "building" if stalled => Chip::new(Tone::Bad, "alert", "Stalled"),
        "building" => Chip::new(Tone::Busy, "spin", "Building"),
        "awaiting_approval" => Chip::new(Tone::Wait, "hand", "Waits for your yes"),
        "failed" => Chip::new(Tone::Bad, "cross", "Failed"),
        "done" => Chip::new(Tone::Good, "check", "Done"),
        _ if is("risk") || is("unapproved") => Chip::new(Tone::Wait, "hand", "Needs your yes"),
        _ => Chip::new(Tone::Calm, "clock", "Queued"),
    };
    Line {
        approve: item.approved_by.is_none() && (is("risk") || is("unapproved")),
        retry: item.status == "failed",
        fail: item.status == "building",
        chip,
        stalled,
        label: item.label.to_string(),
        priority: item.priority.word(),
        suggestion: item.suggestion,
        name: item.name,
        description: item.description,
        place: item.position,
        blockers: item.blockers,
        start: item.start,
        build: item.build.map(|build| build.as_str().to_owned()),
        failures: item.failures,
        since: item.why.as_ref().map(|why| When::new(why.since, now_ms)),
        why: item.why.filter(|_| !building).map(|why| why.words),
        progress: item.progress.map(|it| Far {
            percent: it.percent,
            words: match it.because {
                Some(because) => format!("{}, {}: {because}", it.phase, it.verdict),
                None => format!("{}, {}", it.phase, it.verdict),
            },
            expected: it.expected.map(|at| When::new(at, now_ms)),
        }),
        up: None,
        down: None,
    }
}
