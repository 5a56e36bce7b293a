//! What a person sees where something cannot be shown or done.

use askama::Template;

use crate::shell::{Live, Section, Shell};

/// The page.
#[derive(Template)]
#[template(path = "problem.html")]
pub struct ProblemPage {
    shell: Shell,
    section: Section,
    live: Live,
    status: u16,
    title: String,
    detail: String,
    request: Option<String>,
    back: Option<(String, String)>,
}

impl ProblemPage {
    /// What happened: the HTTP status, a title, what to do, and the id under which the server's log has it.
    pub fn new(shell: Shell, status: u16, title: String, detail: String) -> Self {
        Self {
            shell,
            section: Section::Elsewhere,
            live: Live::Off,
            status,
            title,
            detail,
            request: None,
            back: None,
        }
    }

    /// With the request's id.
    #[must_use]
    pub fn of_request(mut self, id: Option<String>) -> Self {
        self.request = id;
        self
    }

    /// With a way on: a path relative to the base, and its words.
    #[must_use]
    pub fn with_way(mut self, path: String, words: String) -> Self {
        self.back = Some((path, words));
        self
    }
}
