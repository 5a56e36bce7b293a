//! Home: what waits, what runs, what failed, what comes next, what today cost.

use agentwright_api::{BuildSummary, Deployment};
use askama::Template;

use crate::builds::Row;
use crate::deployments::Line;
use crate::gate::{Ask, Gated};
use crate::shell::{Live, Section, Shell};
use crate::words;

/// Lines of one list.
const LINES_MAX: usize = 8;

/// What home is made of.
#[derive(Clone, Debug, Default)]
pub struct HomeGiven {
    /// Builds that wait for a person.
    pub waiting: Vec<Ask>,
    /// Builds that wait for a budget.
    pub spent: Vec<BuildSummary>,
    /// Builds under way, queued ones too.
    pub running: Vec<BuildSummary>,
    /// The newest failed builds.
    pub failed: Vec<BuildSummary>,
    /// The newest builds that ended well.
    pub completed: Vec<BuildSummary>,
    /// All deployments.
    pub deployments: Vec<Deployment>,
    /// What models cost today, millionths of a dollar.
    pub today_micro_usd: i64,
    /// What they may cost today; not limited when absent.
    pub today_limit_micro_usd: Option<i64>,
    /// Calls of models today.
    pub today_calls: i64,
}

/// The page.
#[derive(Template)]
#[template(path = "home.html")]
pub struct Home {
    shell: Shell,
    section: Section,
    live: Live,
    asks: Vec<Gated>,
    running: Vec<Row>,
    failed: Vec<Row>,
    completed: Vec<Row>,
    next: Vec<Line>,
    unwell: Vec<Line>,
    deployed: usize,
    today: String,
    today_of: String,
    today_share: i64,
    today_calls: String,
    fresh: bool,
}

impl Home {
    /// The page of what is given.
    pub fn new(shell: Shell, given: HomeGiven) -> Self {
        let now = shell.now_ms;
        let rows = |list: Vec<BuildSummary>| -> Vec<Row> {
            let few = list.into_iter().take(LINES_MAX);
            few.map(|build| Row::new(&build, now)).collect()
        };
        let fresh = given.waiting.is_empty()
            && given.running.is_empty()
            && given.failed.is_empty()
            && given.completed.is_empty()
            && given.deployments.is_empty();
        let (unwell, mut well): (Vec<Deployment>, Vec<Deployment>) = given
            .deployments
            .into_iter()
            .partition(|deployment| deployment.failures_in_a_row > 0);
        let deployed = unwell.len() + well.len();
        well.retain(|deployment| deployment.next_due_at.is_some());
        well.sort_by_key(|deployment| deployment.next_due_at);
        let lines = |list: Vec<Deployment>| -> Vec<Line> {
            let few = list.into_iter().take(LINES_MAX);
            few.map(|deployment| Line::new(deployment, String::new(), now))
                .collect()
        };
        let (spent, limit) = (given.today_micro_usd, given.today_limit_micro_usd);
        let mut running = rows(given.spent);
        running.extend(rows(given.running));
        Self {
            section: Section::Home,
            live: Live::All,
            asks: given
                .waiting
                .into_iter()
                .map(|ask| Gated::brief(ask, now, 3))
                .collect(),
            running,
            failed: rows(given.failed),
            completed: rows(given.completed),
            next: lines(well),
            unwell: lines(unwell),
            deployed,
            today: words::usd(spent),
            today_of: limit.map_or_else(
                || "no limit".to_owned(),
                |limit| format!("of {}", words::usd(limit)),
            ),
            today_share: limit.map_or(0, |limit| share(spent, limit)),
            today_calls: words::count(
                usize::try_from(given.today_calls).unwrap_or(0),
                "call",
                "calls",
            ),
            fresh,
            shell,
        }
    }
}

/// How much of a limit is used, 0 to 100.
pub(crate) fn share(used: i64, limit: i64) -> i64 {
    match limit {
        ..=0 => 100,
        limit => used.saturating_mul(100).saturating_div(limit).clamp(0, 100),
    }
}
