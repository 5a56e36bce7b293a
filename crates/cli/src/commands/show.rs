//! `show`: a deployment, or a build, with everything that is known of it.

use agentwright_api::{
    BuildDetail, BuildState, Client, ClientError, DeploymentDetail, Execution, ExecutionStatus,
    code,
};
use owo_colors::OwoColorize as _;
use serde_json::json;

use super::App;
use crate::describe::{self, field};
use crate::fault::{Exit, Fault};
use crate::output::{moment, safe_line, short_id, table};
use crate::progress;

/// The most executions that are listed.
const EXECUTIONS_SHOWN: usize = 10;

/// `show`. A name that is both shows both.
pub(super) async fn show(app: &App, name: &str) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let found = find(&client, name).await?;
    app.out
        .json(&json!({ "deployment": found.deployment, "build": found.build }));
    if let Some(it) = &found.deployment {
        deployment(app, it);
    }
    if let Some(it) = &found.build {
        if found.deployment.is_some() {
            app.out.line("");
        }
        build(app, it);
    }
    Ok(Exit::Done)
}

/// What a name stands for; at least one of them.
pub(super) struct Found {
    /// The deployment of that name.
    pub(super) deployment: Option<DeploymentDetail>,
    /// The build of that label or id.
    pub(super) build: Option<BuildDetail>,
}

/// Looks for a deployment and a build.
pub(super) async fn find(client: &Client, name: &str) -> Result<Found, Fault> {
    let deployment = known(client.deployment(name).await)?;
    let build = match known(client.build(name).await)? {
        Some(build) => Some(build),
        // A deployment's build may have another label.
        None => match deployment.as_ref().and_then(|it| it.versions.first()) {
            Some(version) => known(client.build(version.build.as_str()).await)?,
            None => None,
        },
    };
    if deployment.is_none() && build.is_none() {
        return Err(Fault::failed(format!(
            "there is no deployment and no build {}",
            safe_line(name)
        ))
        .hint("see what there is: agentwright list, agentwright deployments"));
    }
    Ok(Found { deployment, build })
}

fn known<T>(answer: Result<T, ClientError>) -> Result<Option<T>, Fault> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) => match error.problem() {
            // A name that cannot be one is not found either.
            Some(problem) if [code::NOT_FOUND, code::INVALID].contains(&problem.code.as_str()) => {
                Ok(None)
            }
            Some(_) | None => Err(error.into()),
        },
    }
}

fn deployment(app: &App, detail: &DeploymentDetail) {
    let it = &detail.deployment;
    app.out.line(format!(
        "{} {}  {}",
        "deployment".bold(),
        it.name.bold(),
        describe::activity(it)
    ));
    app.out.line(field("does", &safe_line(&it.purpose)));
    app.out.line(field(
        "is",
        &format!("a {}, version {}", describe::kind(it.kind), it.version),
    ));
    app.out.line(field("runs", &describe::trigger(&it.trigger)));
    app.out.line(field("next", &describe::next(it)));
    if it.failures_in_a_row > 0 {
        let count = format!("{} in a row", it.failures_in_a_row);
        app.out.line(field("failures", &count.red().to_string()));
    }
    for line in describe::permissions(&detail.permissions) {
        app.out.line(line);
    }
    app.out.line(field("state", &safe_line(&detail.state_dir)));
    for version in &detail.versions {
        let mut text = format!(
            "{} of {}, code {}",
            version.version,
            moment(version.deployed_at.as_ms()),
            version.code.short()
        );
        if version.active {
            text.push_str(", active");
        }
        if version.revoked_at.is_some() {
            text.push_str(", its grant was taken back");
        }
        app.out.line(field("version", &text));
    }
    if detail.executions.is_empty() {
        app.out.line(field("runs so far", "none"));
        return;
    }
    let rows = detail
        .executions
        .iter()
        .take(EXECUTIONS_SHOWN)
        .map(execution)
        .collect();
    app.out
        .line(table(&["run", "version", "is", "when", "why not"], rows));
}

fn execution(it: &Execution) -> Vec<String> {
    vec![
        short_id(it.id.as_str()),
        it.version.to_string(),
        execution_word(it.status).to_owned(),
        moment(it.started_at.unwrap_or(it.created_at).as_ms()),
        it.reason.as_deref().map(safe_line).unwrap_or_default(),
    ]
}

fn execution_word(status: ExecutionStatus) -> &'static str {
    match status {
        ExecutionStatus::Queued => "queued",
        ExecutionStatus::Running => "running",
        ExecutionStatus::Resuming => "resuming",
        ExecutionStatus::Completed => "completed",
        ExecutionStatus::Failed => "failed",
        ExecutionStatus::Cancelled => "cancelled",
    }
}

fn build(app: &App, detail: &BuildDetail) {
    let it = &detail.build;
    app.out.line(format!(
        "{} {}  {}",
        "build".bold(),
        it.label.bold(),
        describe::state(&it.state)
    ));
    if !it.intent.is_empty() {
        app.out.line(field("intent", &safe_line(&it.intent)));
    }
    app.out.line(field("id", it.id.as_str()));
    if let Some(old) = &it.repeats {
        app.out.line(field("repeats", old.as_str()));
    }
    if let Some(mends) = &it.mends {
        let line = format!(
            "run {} of version {} failed: {}",
            short_id(mends.execution.as_str()),
            mends.version,
            mends.reason
        );
        app.out.line(field("repairs", &safe_line(&line)));
    }
    app.out
        .line(field("submitted", &moment(it.created_at.as_ms())));
    for stage in &detail.stages {
        if stage.stage == "verify" {
            for level in detail.levels.iter().filter(|l| l.attempt == stage.attempt) {
                app.out.line(format!("  {}", describe::level(level)));
            }
        }
        app.out.line(format!("  {}", describe::stage(stage)));
    }
    if !detail.preview.is_empty() {
        app.out.line(field("preview", "on your real data:"));
        for line in progress::preview(&detail.preview) {
            app.out.line(line);
        }
    }
    for risk in &detail.risks {
        app.out.line(field("risk", &safe_line(risk)));
    }
    decisions(app, detail);
    digests(app, detail);
    app.out.line(field("code", &safe_line(&detail.repository)));
    waiting(app, detail);
}

fn waiting(app: &App, detail: &BuildDetail) {
    let BuildState::Waiting {
        reasons, subject, ..
    } = &detail.build.state
    else {
        return;
    };
    for line in describe::gate(reasons, subject.as_ref()) {
        app.out.line(line);
    }
    let label = detail.build.label.as_str();
    if let Some(subject) = subject {
        let words = ["approve", label, "--subject", subject.digest.as_str()];
        app.out.line(field("yes", &app.command(&words)));
        app.out.line(field("no", &app.command(&["reject", label])));
    }
}

fn decisions(app: &App, detail: &BuildDetail) {
    for approval in &detail.approvals {
        let notes = approval.notes.as_deref();
        let text = format!(
            "{} at the {} gate by {}{}, {}{}",
            if approval.approved { "yes" } else { "no" },
            approval.gate.word(),
            safe_line(&approval.by),
            if approval.in_advance {
                " in advance"
            } else {
                ""
            },
            moment(approval.at.as_ms()),
            notes.map_or_else(String::new, |notes| format!(": {}", safe_line(notes)))
        );
        app.out.line(field("decision", &text));
    }
}

fn digests(app: &App, detail: &BuildDetail) {
    let digests = &detail.digests;
    for (name, digest) in [
        ("spec", &digests.spec),
        ("sealed", &digests.acceptance),
        ("code is", &digests.code),
        ("evidence", &digests.evidence),
    ] {
        if let Some(digest) = digest {
            app.out.line(field(name, digest.as_str()));
        }
    }
    for kept in &detail.artifacts {
        app.out.line(field(
            "kept",
            &format!(
                "{} ({}, {})",
                safe_line(&kept.name),
                crate::output::bytes(kept.bytes),
                kept.digest.short()
            ),
        ));
    }
}
