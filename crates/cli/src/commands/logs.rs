//! `logs`: what a deployment's run, or a build, said.

use agentwright_api::{BuildDetail, Client, ExecutionLog, LogQuery};
use serde_json::json;

use super::run_now::has_ended;
use super::{App, show};
use crate::args::Logs;
use crate::fault::{Exit, Fault};
use crate::follow::{Events, follow};
use crate::output::{clock, safe, safe_line};
use crate::progress::Seen;

/// How long one question waits for more, seconds.
const WAIT_S: u32 = 5;

/// `logs`.
pub(super) async fn logs(app: &App, args: Logs) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let query = LogQuery {
        execution: args.execution,
    };
    if query.execution.is_some() {
        return execution(app, &client, &args.name, query, args.follow).await;
    }
    let found = show::find(&client, &args.name).await?;
    match (found.deployment, found.build) {
        (Some(it), _) if !args.build && !it.executions.is_empty() => {
            let name = it.deployment.name.as_str();
            execution(app, &client, name, query, args.follow).await
        }
        (Some(it), None) => Err(Fault::failed(format!(
            "{} has not run yet, and its build is gone",
            it.deployment.name
        ))),
        (deployment, Some(it)) => {
            if deployment.is_some() && !args.build {
                app.out.note(format!(
                    "{} has not run yet; this is its build's log",
                    safe_line(&args.name)
                ));
            }
            build(app, &client, &it, args.follow).await
        }
        (None, None) => Err(Fault::failed(format!(
            "there is nothing called {}",
            safe_line(&args.name)
        ))),
    }
}

async fn build(
    app: &App,
    client: &Client,
    build: &BuildDetail,
    go_on: bool,
) -> Result<Exit, Fault> {
    let id = build.build.id.as_str();
    let log = client.build_log(id).await?;
    app.out.json(&json!({ "build": build.build, "log": log }));
    for line in &log.lines {
        let at = line
            .at
            .map_or_else(|| " ".repeat(8), |at| clock(at.as_ms()));
        app.out.line(format!(
            "{at} {:<10} {}",
            safe_line(&line.stage),
            safe(&line.text)
        ));
    }
    if go_on && !build.build.status().ended() {
        follow(app, client, id, Events::Kept, &mut Seen::all_of(build)).await?;
    }
    Ok(Exit::Done)
}

async fn execution(
    app: &App,
    client: &Client,
    name: &str,
    query: LogQuery,
    go_on: bool,
) -> Result<Exit, Fault> {
    let mut log = client.execution_log(name, &query).await?;
    if !go_on {
        app.out.json(&log);
    }
    if log.omitted_bytes > 0 {
        app.out.note(format!(
            "the first {} bytes are left out",
            log.omitted_bytes
        ));
    }
    let mut printed = print(app, &log, 0);
    while go_on && !has_ended(log.execution.status) {
        // The same run all the time, even when the next one begins meanwhile.
        let id = log.execution.id.as_str().to_owned();
        client
            .wait_execution(&id, log.execution.seq, WAIT_S)
            .await?;
        let same = LogQuery {
            execution: Some(id),
        };
        log = client.execution_log(name, &same).await?;
        printed = print(app, &log, printed);
    }
    if go_on {
        app.out.json(&log);
    }
    Ok(Exit::Done)
}

/// Prints what is new beyond the first `printed` bytes of the whole output, in whole lines while it goes on.
fn print(app: &App, log: &ExecutionLog, printed: u64) -> u64 {
    let skip = usize::try_from(printed.saturating_sub(log.omitted_bytes)).unwrap_or(usize::MAX);
    let fresh = log.text.get(skip..).unwrap_or_default();
    let whole = if has_ended(log.execution.status) {
        fresh
    } else {
        fresh.rfind('\n').map_or("", |end| &fresh[..=end])
    };
    if !whole.is_empty() {
        app.out.line(safe(whole.trim_end_matches('\n')));
    }
    printed.max(log.omitted_bytes) + whole.len() as u64
}
