//! The audit trail: who did what, when, to what, and whether the chain of it holds.

use agentwright_api::Time;
use askama::Template;

use crate::parts::When;
use crate::shell::{Live, Section, Shell};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// Its place in the chain.
    pub seq: i64,
    /// When.
    pub at: Time,
    /// Who.
    pub who: String,
    /// What: `key.created`, `build.approved`, …
    pub what: String,
    /// To what.
    pub subject: String,
    /// What is known beside, in words.
    pub detail: String,
}

struct Line {
    seq: i64,
    at: When,
    who: String,
    what: String,
    subject: String,
    detail: String,
}

/// The page.
#[derive(Template)]
#[template(path = "audit.html")]
pub struct AuditPage {
    shell: Shell,
    section: Section,
    live: Live,
    lines: Vec<Line>,
    next: Option<i64>,
    later_page: bool,
}

impl AuditPage {
    /// A page of entries, newest first; `next` is the cursor of the page after it.
    pub fn new(shell: Shell, entries: Vec<AuditLine>, next: Option<i64>, later_page: bool) -> Self {
        let now = shell.now_ms;
        let line = |entry: AuditLine| Line {
            seq: entry.seq,
            at: When::new(entry.at, now),
            who: entry.who,
            what: entry.what,
            subject: entry.subject,
            detail: entry.detail,
        };
        Self {
            shell,
            section: Section::Audit,
            live: Live::Off,
            lines: entries.into_iter().map(line).collect(),
            next,
            later_page,
        }
    }
}
