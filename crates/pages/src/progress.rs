//! `progress.html`: what is being built, on one page that opens without a server. Everything that it needs is in it;
//! it has no script, asks nobody for anything, and is as old as it says.

use agentwright_api::{Beat, Heartbeat, QueueItem};
use askama::Template;

/// Completions that are listed.
const RECENT: usize = 20;

struct Line {
    name: String,
    status: String,
    percent: Option<u8>,
    detail: String,
}

/// The page.
#[derive(Template)]
#[template(path = "progress.html")]
pub struct Progress {
    at: String,
    late: bool,
    every_s: u64,
    active: Vec<Line>,
    queue: Vec<Line>,
    done: Vec<Line>,
}

impl Progress {
    /// The page of a look.
    pub fn new(now: &Beat, heartbeat: &Heartbeat) -> Self {
        let of = |statuses: &[&str]| -> Vec<Line> {
            let items = now.items.iter();
            let items = items.filter(|item| statuses.contains(&item.status.as_str()));
            items.map(line).collect()
        };
        let mut done = of(&["done"]);
        done.reverse();
        done.truncate(RECENT);
        Self {
            at: crate::parts::exact(now.at),
            late: heartbeat.late,
            every_s: heartbeat.every_s,
            active: of(&["building", "awaiting_approval"]),
            queue: of(&["queued", "failed"]),
            done,
        }
    }

    /// As a file.
    ///
    /// # Errors
    /// Never in practice: writing into memory does not fail.
    pub fn text(&self) -> Result<String, askama::Error> {
        self.render()
    }
}

fn line(item: &QueueItem) -> Line {
    let detail = match (&item.progress, &item.why) {
        (Some(it), _) => {
            let because = it
                .because
                .as_deref()
                .map_or_else(String::new, |why| format!(": {why}"));
            let expected = it.expected.map_or_else(String::new, |at| {
                format!(", expected at {}", crate::parts::exact(at))
            });
            format!("{}, {}{because}{expected}", it.phase, it.verdict)
        }
        (None, Some(why)) if item.status != "done" => why.words.clone(),
        (None, _) => String::new(),
    };
    Line {
        name: item.name.clone(),
        status: item.status.replace('_', " "),
        percent: item.progress.as_ref().map(|it| it.percent),
        detail,
    }
}
