//! The commands about what is deployed, except running and showing it.

use agentwright_api::{BuildState, Deployment, ExportRequest, PauseRequest, RollbackRequest};

use super::plan::text_of;
use super::{App, service};
use crate::args::{Export, Pause, Remove, Rollback};
use crate::ask::{self, Answer};
use crate::describe::{self, field};
use crate::fault::{Exit, Fault};
use crate::output::{can_ask, safe_line, table};

/// `deployments`.
pub(super) async fn list(app: &App) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let page = client.deployments().await?;
    app.out.json(&page);
    if page.items.is_empty() {
        app.out.line("nothing is deployed yet");
        let example = app.command(&["build", "--plan"]);
        app.out.line(format!(
            "  {example} \"every night, zip ./notes into ./backups\""
        ));
        return Ok(Exit::Done);
    }
    let rows = page
        .items
        .iter()
        .map(|it| {
            vec![
                safe_line(it.name.as_str()),
                it.version.to_string(),
                anstream::adapter::strip_str(&describe::activity(it)).to_string(),
                describe::next(it),
                safe_line(&it.purpose),
            ]
        })
        .collect();
    app.out
        .line(table(&["name", "version", "is", "next", "does"], rows));
    service::advise(app).await;
    Ok(Exit::Done)
}

/// `pause`.
pub(super) async fn pause(app: &App, args: Pause) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let request = PauseRequest {
        reason: args.reason,
    };
    let it = client.pause(&args.name, &request).await?;
    said(app, &it, "paused");
    Ok(Exit::Done)
}

/// `resume`.
pub(super) async fn resume(app: &App, name: &str) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    match client.build(name).await {
        Ok(detail) if matches!(detail.build.state, BuildState::Spent { .. }) => {
            let build = client.resume_build(name).await?;
            app.out.json(&build);
            let label = build.label.as_str();
            app.out.line(format!("{label} goes on"));
            app.out
                .line(field("follow", &app.command(&["watch", label])));
            return Ok(Exit::Done);
        }
        Ok(_) | Err(_) => {}
    }
    let it = client.resume(name).await?;
    said(app, &it, "active again");
    Ok(Exit::Done)
}

/// `stop`.
pub(super) async fn stop(app: &App, name: &str) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let it = client.stop(name).await?;
    said(app, &it, "stopped");
    app.out
        .line(field("again", &app.command(&["resume", it.name.as_str()])));
    Ok(Exit::Done)
}

/// `rollback`.
pub(super) async fn rollback(app: &App, args: Rollback) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let request = RollbackRequest { to: args.to };
    let it = client.rollback(&args.name, &request).await?;
    said(app, &it, &format!("now version {}", it.version));
    Ok(Exit::Done)
}

/// `export`.
pub(super) async fn export(app: &App, args: Export) -> Result<Exit, Fault> {
    let to = args.to.unwrap_or_else(|| args.name.clone().into());
    let to = std::path::absolute(&to)
        .map_err(|error| Fault::caused(format!("find {}", to.display()), &error))?;
    let client = app.data.connect(&app.out).await?;
    let request = ExportRequest { to: text_of(&to)? };
    let export = client.export(&args.name, &request).await?;
    app.out.json(&export);
    app.out.line(format!(
        "wrote version {} of {} into {}",
        export.version,
        safe_line(&args.name),
        safe_line(&export.dir)
    ));
    app.out.line(field("run it", &safe_line(&export.command)));
    for line in export.crontab.iter().flat_map(|text| text.lines()) {
        app.out.line(field("crontab", &safe_line(line)));
    }
    app.out.line(field(
        "note",
        "it needs no agentwright, and agentwright does not watch over it",
    ));
    Ok(Exit::Done)
}

/// `remove`.
pub(super) async fn remove(app: &App, args: Remove) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    if !args.yes && can_ask() && !app.out.is_json() {
        let it = client.deployment(&args.name).await?;
        app.out.note(format!(
            "{}: {} versions and its private directory {} go",
            it.deployment.name,
            it.versions.len(),
            safe_line(&it.state_dir)
        ));
        if ask::yes_or_no("Remove it?", Answer::No).await != Answer::Yes {
            app.out.note("nothing was removed");
            return Ok(Exit::Done);
        }
    }
    let removed = client.remove(&args.name).await?;
    app.out.json(&removed);
    app.out.line(format!(
        "removed {} ({} versions)",
        removed.name, removed.versions
    ));
    Ok(Exit::Done)
}

fn said(app: &App, it: &Deployment, what: &str) {
    app.out.json(it);
    app.out.line(format!("{} is {what}", it.name));
}
