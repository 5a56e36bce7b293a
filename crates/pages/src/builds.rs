//! The list of builds: filter, search, order, pages.

use agentwright_api::{BuildStatus, BuildSummary};
use askama::Template;

use crate::parts::{Chip, When};
use crate::shell::{Live, Section, Shell};
use crate::words;

/// What the list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildsQuery {
    /// Only this status.
    pub status: Option<BuildStatus>,
    /// Only what has these words in label, sentence or id.
    pub search: String,
    /// Oldest first.
    pub oldest: bool,
    /// Whether this is not the first page.
    pub later_page: bool,
}

/// One line of a list.
#[derive(Clone, Debug)]
pub struct Row {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) chip: Chip,
    pub(crate) at: String,
    pub(crate) when: When,
    pub(crate) created: When,
    pub(crate) worked: String,
}

impl Row {
    /// The line of a build.
    pub fn new(build: &BuildSummary, now_ms: i64) -> Self {
        let at = match (build.status, build.attempt) {
            (BuildStatus::Completed, _) => format!("took {}", words::took(build.worked_ms)),
            (BuildStatus::Failed, _) => format!("at {}", build.stage),
            (BuildStatus::Cancelled | BuildStatus::Rejected, _) => build.stage.clone(),
            (
                BuildStatus::Queued
                | BuildStatus::Running
                | BuildStatus::Resuming
                | BuildStatus::Waiting,
                attempt,
            ) => match attempt {
                0 | 1 => build.stage.clone(),
                attempt => format!("{}, try {attempt}", build.stage),
            },
        };
        Self {
            id: build.id.as_str().to_owned(),
            label: build.label.as_str().to_owned(),
            chip: words::status(build.status),
            at,
            when: When::new(build.ended_at.unwrap_or(build.progress_at), now_ms),
            created: When::new(build.created_at, now_ms),
            worked: words::took(build.worked_ms),
        }
    }
}

/// The page.
#[derive(Template)]
#[template(path = "builds.html")]
pub struct Builds {
    shell: Shell,
    section: Section,
    live: Live,
    query: BuildsQuery,
    rows: Vec<Row>,
    next: Option<String>,
    statuses: Vec<(BuildStatus, &'static str)>,
}

impl Builds {
    /// A page of the list; `next` is the cursor of the page after it.
    pub fn new(
        shell: Shell,
        query: BuildsQuery,
        builds: Vec<BuildSummary>,
        next: Option<&str>,
    ) -> Self {
        let now = shell.now_ms;
        let next = next.map(|cursor| {
            let mut path = address(&query);
            path.push_str(if path.contains('?') { "&" } else { "?" });
            path.push_str("before=");
            path.push_str(cursor);
            path
        });
        Self {
            section: Section::Builds,
            // A page further back is looked at, not watched.
            live: if query.later_page {
                Live::Off
            } else {
                Live::All
            },
            rows: builds
                .into_iter()
                .map(|build| Row::new(&build, now))
                .collect(),
            query,
            next,
            statuses: vec![
                (BuildStatus::Running, "Running"),
                (BuildStatus::Queued, "Queued"),
                (BuildStatus::Waiting, "Waiting"),
                (BuildStatus::Completed, "Completed"),
                (BuildStatus::Failed, "Failed"),
                (BuildStatus::Rejected, "Rejected"),
                (BuildStatus::Cancelled, "Cancelled"),
            ],
            shell,
        }
    }

    fn filtered(&self) -> bool {
        self.query.status.is_some() || !self.query.search.is_empty() || self.query.later_page
    }
}

/// The list's address without its cursor.
fn address(query: &BuildsQuery) -> String {
    let mut parts = Vec::new();
    if let Some(status) = query.status {
        parts.push(format!("status={}", status.word()));
    }
    if !query.search.is_empty() {
        parts.push(format!("q={}", percent(&query.search)));
    }
    if query.oldest {
        parts.push("sort=oldest".to_owned());
    }
    if parts.is_empty() {
        "builds".to_owned()
    } else {
        format!("builds?{}", parts.join("&"))
    }
}

/// A text as a part of a query.
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
                out.push(digit.to_ascii_uppercase());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_keeps_filter_search_and_order() {
        let query = BuildsQuery {
            status: Some(BuildStatus::Failed),
            search: "a&b ü".into(),
            oldest: true,
            later_page: false,
        };
        assert_eq!(
            address(&query),
            "builds?status=failed&q=a%26b%20%C3%BC&sort=oldest"
        );
        assert_eq!(address(&BuildsQuery::default()), "builds");
    }
}
