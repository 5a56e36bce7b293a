//! `run-now`: fire a deployment and wait for the end of that run.

use agentwright_api::{Client, Execution, ExecutionStatus, LogQuery};
use owo_colors::OwoColorize as _;
use serde_json::json;
use std::time::Duration;

use super::App;
use crate::args::RunNow;
use crate::describe::field;
use crate::fault::{Exit, Fault};
use crate::output::{bytes, duration, safe, safe_line};

/// The event of a try that failed and is not the last.
const RETRY_EVENT: &str = "stage.retry";

/// `run-now`.
pub(super) async fn run_now(app: &App, args: RunNow) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let execution = client.run_now(&args.name).await?;
    let name = execution.deployment.as_str();
    if args.detach {
        app.out.json(&execution);
        app.out.line(format!("{name} runs ({})", execution.id));
        app.out.line(field("look", &app.command(&["logs", name])));
        return Ok(Exit::Done);
    }
    tokio::select! {
        waited = to_its_end(&client, execution.clone()) => match waited? {
            Waited::Ended(ended) => said(app, &client, &ended, None).await,
            Waited::TriedAgain(now, why) => said(app, &client, &now, Some(&why)).await,
        },
        _ = tokio::signal::ctrl_c() => {
            app.out.note(format!(
                "left; it goes on. Look at it: {}",
                app.command(&["logs", name, "--follow"])
            ));
            Ok(Exit::Left)
        }
    }
}

/// Whether nothing can happen to it any more.
pub(super) fn has_ended(status: ExecutionStatus) -> bool {
    match status {
        ExecutionStatus::Completed | ExecutionStatus::Failed | ExecutionStatus::Cancelled => true,
        ExecutionStatus::Queued | ExecutionStatus::Running | ExecutionStatus::Resuming => false,
    }
}

/// How waiting for a run ended.
enum Waited {
    /// It ended.
    Ended(Execution),
    /// Its first try failed; by the deployment's policy it is tried again later.
    TriedAgain(Execution, String),
}

async fn to_its_end(client: &Client, execution: Execution) -> Result<Waited, Fault> {
    let id = execution.id.as_str();
    let mut events = client.execution_events(id, 0);
    while let Some(event) = events.next().await {
        let event = event?;
        if event.event == RETRY_EVENT {
            let now = client.wait_execution(id, 0, 0).await?;
            return Ok(Waited::TriedAgain(now, event.message));
        }
    }
    Ok(Waited::Ended(client.wait_execution(id, 0, 0).await?))
}

/// Says how it went; `again` is why its first try failed, when another one follows.
async fn said(
    app: &App,
    client: &Client,
    execution: &Execution,
    again: Option<&str>,
) -> Result<Exit, Fault> {
    let name = execution.deployment.as_str();
    let query = LogQuery {
        execution: Some(execution.id.as_str().to_owned()),
    };
    let log = client.execution_log(name, &query).await.ok();
    let exit = match execution.status {
        ExecutionStatus::Completed => Exit::Done,
        ExecutionStatus::Failed
        | ExecutionStatus::Cancelled
        | ExecutionStatus::Queued
        | ExecutionStatus::Running
        | ExecutionStatus::Resuming => Exit::Failed,
    };
    app.out.json(&json!({
        "execution": execution,
        "log": log.as_ref().map(|log| log.text.as_str()),
        "tried_again": again,
        "exit": exit.number(),
    }));
    if let Some(log) = log.filter(|log| !log.text.trim().is_empty()) {
        app.out.line(safe(log.text.trim_end()));
    }
    let mut line = if exit == Exit::Done {
        format!("{} {name} ran", "✓".green())
    } else {
        let reason = again.or(execution.reason.as_deref());
        let reason = reason.unwrap_or("it did not end well");
        format!("{} {name} failed: {}", "✗".red(), safe_line(reason))
    };
    if let Some(usage) = execution.usage {
        line.push_str(&format!(
            "  {}",
            format!(
                "{}, {} of processor time, {} of memory",
                duration(Duration::from_millis(usage.wall_ms)),
                duration(Duration::from_millis(usage.cpu_ms)),
                bytes(usage.max_rss_bytes)
            )
            .dimmed()
        ));
    }
    app.out.line(line);
    Ok(exit)
}
