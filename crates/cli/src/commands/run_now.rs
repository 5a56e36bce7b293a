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

/// How long one question waits for news, seconds.
const WAIT_S: u32 = 30;

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
        ended = to_its_end(&client, execution.clone()) => said(app, &client, &ended?).await,
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

async fn to_its_end(client: &Client, mut execution: Execution) -> Result<Execution, Fault> {
    while !has_ended(execution.status) {
        execution = client
            .wait_execution(execution.id.as_str(), execution.seq, WAIT_S)
            .await?;
    }
    Ok(execution)
}

async fn said(app: &App, client: &Client, execution: &Execution) -> Result<Exit, Fault> {
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
        "exit": exit.number(),
    }));
    if let Some(log) = log.filter(|log| !log.text.trim().is_empty()) {
        app.out.line(safe(log.text.trim_end()));
    }
    let mut line = if exit == Exit::Done {
        format!("{} {name} ran", "✓".green())
    } else {
        let reason = execution.reason.as_deref().unwrap_or("it did not end well");
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
