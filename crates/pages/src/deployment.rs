//! One deployment: how it is, what it did, its versions and the way back.

use agentwright_api::{ActivityNow, Deployment, DeploymentDetail, Execution, Version};
use agentwright_domain::execution::Firing;
use askama::Template;

use crate::parts::{Chip, Name, Tone, When};
use crate::shell::{Live, Section, Shell};
use crate::words::{self, Permit};

/// What the page is made of.
#[derive(Clone, Debug)]
pub struct DeploymentGiven {
    /// Everything of it.
    pub detail: DeploymentDetail,
    /// When it runs, in words.
    pub runs: String,
    /// The run whose log is shown, and its end.
    pub log: Option<(String, String)>,
    /// What the person is told about what they did a moment ago.
    pub said: Option<String>,
    /// What could not be done.
    pub problem: Option<String>,
}

struct Run {
    id: String,
    short: String,
    chip: Chip,
    fired: String,
    version: u32,
    at: When,
    took: String,
    reason: Option<String>,
}

struct Release {
    version: u32,
    active: bool,
    build: String,
    code: Name,
    at: When,
    revoked: bool,
}

/// The page.
#[derive(Template)]
#[template(path = "deployment.html")]
pub struct DeploymentPage {
    shell: Shell,
    section: Section,
    live: Live,
    deployment: Deployment,
    chip: Chip,
    kind: &'static str,
    runs: String,
    next: Option<When>,
    deployed: When,
    permits: Vec<Permit>,
    history: Vec<Run>,
    releases: Vec<Release>,
    previous: Option<u32>,
    state_dir: String,
    log: Option<(String, String)>,
    said: Option<String>,
    problem: Option<String>,
    paused: Option<String>,
}

impl DeploymentPage {
    /// The page of one deployment.
    pub fn new(shell: Shell, given: DeploymentGiven) -> Self {
        let now = shell.now_ms;
        let detail = given.detail;
        let deployment = detail.deployment;
        let paused = match &deployment.activity {
            ActivityNow::Active => None,
            ActivityNow::Paused { reason, .. } => Some(format!("Paused: {reason}")),
            ActivityNow::Stopped { .. } => Some("Stopped: nothing of it runs.".to_owned()),
        };
        let releases: Vec<Release> = detail
            .versions
            .iter()
            .map(|version| release(version, now))
            .collect();
        let previous = releases
            .iter()
            .filter(|release| release.version < deployment.version && !release.revoked)
            .map(|release| release.version)
            .max();
        Self {
            section: Section::Deployments,
            live: Live::All,
            chip: words::activity(&deployment),
            kind: words::kind(deployment.kind),
            runs: given.runs,
            next: deployment.next_due_at.map(|at| When::new(at, now)),
            deployed: When::new(deployment.deployed_at, now),
            permits: words::permits(&detail.permissions),
            history: detail
                .executions
                .into_iter()
                .map(|run| history(run, now))
                .collect(),
            releases,
            previous,
            state_dir: detail.state_dir,
            log: given.log,
            said: given.said,
            problem: given.problem,
            paused,
            deployment,
            shell,
        }
    }

    fn failures(&self) -> String {
        match self.deployment.failures_in_a_row {
            1 => "Its last run failed.".to_owned(),
            n => format!("Its last {n} runs failed."),
        }
    }

    fn active(&self) -> bool {
        self.paused.is_none()
    }

    fn stopped(&self) -> bool {
        matches!(self.deployment.activity, ActivityNow::Stopped { .. })
    }

    fn is_service(&self) -> bool {
        self.deployment.kind == agentwright_domain::spec::AutomationKind::Service
    }
}

fn release(version: &Version, now_ms: i64) -> Release {
    Release {
        version: version.version,
        active: version.active,
        build: version.build.as_str().to_owned(),
        code: Name::from(&version.code),
        at: When::new(version.deployed_at, now_ms),
        revoked: version.revoked_at.is_some(),
    }
}

fn history(run: Execution, now_ms: i64) -> Run {
    let id = run.id.as_str().to_owned();
    let took = match (&run.usage, run.started_at, run.ended_at) {
        (Some(usage), _, _) => words::took(i64::try_from(usage.wall_ms).unwrap_or(i64::MAX)),
        (None, Some(from), Some(to)) => words::took(to.as_ms() - from.as_ms()),
        (None, Some(from), None) => words::took(now_ms - from.as_ms()),
        (None, None, _) => String::new(),
    };
    let chip = words::execution(run.status);
    Run {
        short: id
            .chars()
            .rev()
            .take(8)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect(),
        fired: match &run.firing {
            Firing::Scheduled { .. } => "by its schedule".to_owned(),
            Firing::Manual { by } => format!("by {by}"),
            Firing::Once => "once".to_owned(),
            Firing::Service => "as a service".to_owned(),
        },
        chip: if run.attempt > 1 && chip.tone == Tone::Busy {
            chip.saying(format!("Try {}", run.attempt))
        } else {
            chip
        },
        version: run.version,
        at: When::new(run.created_at, now_ms),
        took,
        reason: run.reason,
        id,
    }
}
