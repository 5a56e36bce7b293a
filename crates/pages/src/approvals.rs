//! The inbox: everything that waits for a person's yes.

use askama::Template;

use crate::gate::{Ask, Gated};
use crate::shell::{Live, Section, Shell};

/// The page.
#[derive(Template)]
#[template(path = "approvals.html")]
pub struct Approvals {
    shell: Shell,
    section: Section,
    live: Live,
    asks: Vec<Gated>,
}

impl Approvals {
    /// The page of what waits, oldest first.
    pub fn new(shell: Shell, asks: Vec<Ask>) -> Self {
        let now = shell.now_ms;
        Self {
            shell,
            section: Section::Approvals,
            live: Live::All,
            asks: asks
                .into_iter()
                .map(|ask| Gated::brief(ask, now, 2))
                .collect(),
        }
    }
}
