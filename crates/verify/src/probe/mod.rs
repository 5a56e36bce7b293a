//! Probes: checks of real state, evaluated by us and never by the code under test.
//!
//! [`Plan`] is a check without templates, compiled; [`look`] asks it of the world. A question that cannot be
//! answered (a link in the way, a broken archive, too many files) does not hold, and the reason is what
//! was found.

pub(crate) mod archive;
mod files;
pub(crate) mod glob;
pub(crate) mod matcher;
pub(crate) mod plan;
pub(crate) mod rows;
mod service;
pub(crate) mod sql;

pub(crate) use plan::{FileWant, Plan};

use crate::world::World;
use agentwright_sandbox::Running;
use serde::Serialize;

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Whether it held.
    pub(crate) holds: bool,
    /// For people: what must be.
    pub(crate) expected: String,
    /// For people: what is.
    pub(crate) found: String,
}

impl Finding {
    fn new(expected: String, result: Result<String, String>) -> Self {
        match result {
            Ok(found) => Self {
                holds: true,
                expected,
                found,
            },
            Err(found) => Self {
                holds: false,
                expected,
                found,
            },
        }
    }
}

/// How the run steps of a case have ended so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// None was made yet.
    None,
    /// All as they were expected to.
    AsExpected,
}

/// Asks one probe.
pub(crate) async fn look(
    plan: &Plan,
    world: &World<'_>,
    service: Option<&Running>,
    runs: Runs,
) -> Finding {
    match plan {
        Plan::Files { .. } | Plan::Tree { .. } | Plan::Archive { .. } | Plan::Unchanged { .. } => {
            files::look(plan, world).await
        }
        Plan::SqliteRows {
            folder,
            glob,
            query,
            rows,
        } => {
            let expected = format!("rows {}", matcher::cut(&rows.to_string()));
            let found = files::sqlite_rows(world, folder, glob, query).await;
            Finding::new(expected, found.and_then(|found| said(&found, rows)))
        }
        Plan::PostgresRows {
            host,
            database,
            query,
            rows,
        } => {
            let expected = format!("rows {}", matcher::cut(&rows.to_string()));
            let found = match world.postgres(host) {
                Some(cluster) => rows::query_postgres(cluster.options(database), query).await,
                None => Err(format!("no PostgreSQL fixture is at {host}")),
            };
            Finding::new(expected, found.and_then(|found| said(&found, rows)))
        }
        Plan::HttpSeen { host, wanted } => service::http_seen(world, host, wanted),
        Plan::Http(request) => service::http(request, service).await,
        Plan::Tcp { port } => service::tcp(*port, service).await,
        Plan::Process { argument } => service::process(argument, service).await,
        Plan::ExitCode => Finding::new(
            "every run ended as expected".into(),
            match runs {
                Runs::None => Err("nothing was run yet".into()),
                Runs::AsExpected => Ok("all did".into()),
            },
        ),
    }
}

fn said(found: &[serde_json::Value], wanted: &serde_json::Value) -> Result<String, String> {
    rows::check(found, wanted).map(|()| "these rows".to_owned())
}

/// A few of many, for people.
pub(crate) fn some_of<'a>(all: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let all: Vec<&str> = all.collect();
    if all.is_empty() {
        return "nothing".into();
    }
    let shown = all[..all.len().min(SHOWN)].join(", ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
