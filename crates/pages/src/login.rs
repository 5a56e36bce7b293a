//! Coming in: with a key, or with the one-time code that `agentwright up` prints.

use askama::Template;

use crate::shell::{Live, Section, Shell};

/// The page.
#[derive(Template)]
#[template(path = "login.html")]
pub struct Login {
    shell: Shell,
    section: Section,
    live: Live,
    problem: Option<String>,
    next: String,
    code: String,
}

impl Login {
    /// The form; `next` is where the person wanted to go, relative to the base, `code` what came in the link.
    pub fn new(shell: Shell, problem: Option<String>, next: String, code: String) -> Self {
        Self {
            shell,
            section: Section::Elsewhere,
            live: Live::Off,
            problem,
            next,
            code,
        }
    }
}
