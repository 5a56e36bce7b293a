//! The short commands about builds: `list`, `watch`, `cancel`, `retry`, `deploy`.

use agentwright_api::{
    BuildQuery, BuildState, BuildStatus, CancelRequest, DeployBuild, RetryBuild,
};
use uuid::Uuid;

use super::{App, finish};
use crate::args::{Cancel, Deploy, List, Retry, Status};
use crate::describe::{self, field};
use crate::fault::{Exit, Fault};
use crate::follow::Events;
use crate::output::{age, safe_line, short_id, table};
use crate::progress::Seen;

/// One wait for a replay's end, seconds.
const WAIT_S: u32 = 30;

/// `list`.
pub(super) async fn list(app: &App, args: List) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let query = BuildQuery {
        status: args.status.map(status),
        label: None,
        limit: Some(args.limit),
        before: args.before,
    };
    let page = client.builds(&query).await?;
    app.out.json(&page);
    if page.items.is_empty() {
        teach(app, args.status.is_some());
        return Ok(Exit::Done);
    }
    let rows = page
        .items
        .iter()
        .map(|build| {
            let took = build.ended_at.map_or_else(
                || format!("{} ago", age(build.progress_at.as_ms())),
                |at| format!("ended {} ago", age(at.as_ms())),
            );
            vec![
                safe_line(build.label.as_str()),
                build.status.word().to_owned(),
                safe_line(&build.stage),
                format!("{} ago", age(build.created_at.as_ms())),
                took,
                short_id(build.id.as_str()),
            ]
        })
        .collect();
    app.out.line(table(
        &["build", "status", "at", "submitted", "last news", "id"],
        rows,
    ));
    if let Some(next) = &page.next {
        app.out
            .line(field("more", &app.command(&["list", "--before", next])));
    }
    Ok(Exit::Done)
}

fn teach(app: &App, filtered: bool) {
    if filtered {
        app.out.line("no build is in that status");
        return;
    }
    app.out
        .line("no builds yet. Say what you want built, for example:");
    let wish = "every night, keep a zip of the folder ./notes in ./backups and keep the last 7";
    app.out.line(format!(
        "  {} \"{wish}\"",
        app.command(&["build", "--plan"])
    ));
    app.out.line(format!(
        "  {}   what can be built",
        app.command(&["foundation", "list"])
    ));
}

/// `watch`.
pub(super) async fn watch(app: &App, build: &str) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let detail = client.build(build).await?;
    let id = detail.build.id.as_str();
    finish::to_the_end(app, &client, id, Events::Printed, Seen::default()).await
}

/// `cancel`.
pub(super) async fn cancel(app: &App, args: Cancel) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let request = CancelRequest {
        reason: args.reason,
    };
    let build = client.cancel(&args.build, &request).await?;
    app.out.json(&build);
    app.out.line(format!(
        "{}: {}",
        build.label,
        describe::state(&build.state)
    ));
    Ok(Exit::Done)
}

/// `retry`.
pub(super) async fn retry(app: &App, args: Retry) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let request = RetryBuild {
        inputs: args.inputs.into_iter().collect(),
    };
    let key = Uuid::now_v7().to_string();
    let build = client.retry(&args.build, &request, Some(&key)).await?;
    finish::submitted(app, &client, &build, args.detach).await
}

/// `replay`.
pub(super) async fn replay(app: &App, build: &str) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let key = Uuid::now_v7().to_string();
    let again = client.replay(build, Some(&key)).await?;
    let id = again.id.as_str();
    app.out
        .note(format!("replaying {build} as {}", again.label));
    loop {
        let now = client.settled_build(id, WAIT_S).await?;
        if now.build.status().ended() {
            break;
        }
    }
    let came = client.replayed(id).await?;
    app.out.json(&came);
    for line in &came.same {
        app.out.line(field("same", &safe_line(line)));
    }
    for line in &came.differences {
        app.out.line(field("differs", &safe_line(line)));
    }
    Ok(if came.identical {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// `deploy`.
pub(super) async fn deploy(app: &App, args: Deploy) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let made = client.build(&args.build).await?;
    if !matches!(made.build.state, BuildState::Completed) {
        let label = made.build.label.as_str();
        return Err(Fault::failed(format!(
            "{label} has nothing to deploy yet: it is {}",
            made.build.status().word()
        ))
        .hint(format!(
            "follow it with: {}",
            app.command(&["watch", label])
        )));
    }
    let request = DeployBuild {
        advance: args.yes.then(|| made.digests.permissions.clone()).flatten(),
    };
    let key = Uuid::now_v7().to_string();
    let id = made.build.id.as_str();
    let build = client.deploy(id, &request, Some(&key)).await?;
    finish::submitted(app, &client, &build, args.detach).await
}

fn status(status: Status) -> BuildStatus {
    match status {
        Status::Queued => BuildStatus::Queued,
        Status::Running => BuildStatus::Running,
        Status::Resuming => BuildStatus::Resuming,
        Status::Waiting => BuildStatus::Waiting,
        Status::Completed => BuildStatus::Completed,
        Status::Failed => BuildStatus::Failed,
        Status::Rejected => BuildStatus::Rejected,
        Status::Cancelled => BuildStatus::Cancelled,
    }
}
