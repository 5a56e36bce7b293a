//! What is deployed, and the directory of services.

use agentwright_api::{Deployment, Service};
use askama::Template;

use crate::parts::{Chip, When};
use crate::shell::{Live, Section, Shell};
use crate::words;

/// One line of a list of deployments.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) purpose: String,
    pub(crate) kind: &'static str,
    pub(crate) version: u32,
    pub(crate) chip: Chip,
    pub(crate) runs: String,
    pub(crate) next: Option<When>,
    pub(crate) endpoint: Option<String>,
}

impl Line {
    /// The line of a deployment; `runs` is when it runs, in words.
    pub(crate) fn new(deployment: Deployment, runs: String, now_ms: i64) -> Self {
        Self {
            chip: words::activity(&deployment),
            kind: words::kind(deployment.kind),
            version: deployment.version,
            runs,
            next: deployment.next_due_at.map(|at| When::new(at, now_ms)),
            name: deployment.name.as_str().to_owned(),
            purpose: deployment.purpose,
            endpoint: deployment.endpoint,
        }
    }
}

/// The page of deployments.
#[derive(Template)]
#[template(path = "deployments.html")]
pub struct Deployments {
    shell: Shell,
    section: Section,
    live: Live,
    lines: Vec<Line>,
    said: Option<String>,
}

impl Deployments {
    /// All of them, each with when it runs, in words; `said` is what the person is told about what they did.
    pub fn new(shell: Shell, deployments: Vec<(Deployment, String)>, said: Option<String>) -> Self {
        let now = shell.now_ms;
        Self {
            shell,
            section: Section::Deployments,
            live: Live::All,
            said,
            lines: deployments
                .into_iter()
                .map(|(deployment, runs)| Line::new(deployment, runs, now))
                .collect(),
        }
    }
}

struct Entry {
    name: String,
    kind: &'static str,
    purpose: String,
    version: u32,
    endpoint: Option<String>,
    registered: When,
}

/// The page of the directory.
#[derive(Template)]
#[template(path = "services.html")]
pub struct Services {
    shell: Shell,
    section: Section,
    live: Live,
    entries: Vec<Entry>,
}

impl Services {
    /// All entries.
    pub fn new(shell: Shell, services: Vec<Service>) -> Self {
        let now = shell.now_ms;
        let entry = |service: Service| Entry {
            name: service.name.as_str().to_owned(),
            kind: words::kind(service.kind),
            purpose: service.purpose,
            version: service.version,
            endpoint: service.endpoint,
            registered: When::new(service.registered_at, now),
        };
        Self {
            shell,
            section: Section::Services,
            live: Live::All,
            entries: services.into_iter().map(entry).collect(),
        }
    }
}
