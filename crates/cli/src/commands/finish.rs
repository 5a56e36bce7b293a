//! From a submitted build to the exit code: follow it, ask at its gates, say what came out.

use agentwright_api::{
    Build, BuildDetail, BuildState, Client, Decide, DecisionRequest, DeploymentDetail,
};
use agentwright_domain::approval::{GateReason, Subject};
use agentwright_domain::build::FailureClass;
use owo_colors::OwoColorize as _;
use serde_json::json;

use super::App;
use crate::ask::{self, Answer};
use crate::describe::{self, field};
use crate::fault::{Exit, Fault};
use crate::follow::{Events, Followed, follow};
use crate::output::{can_ask, safe_line};
use crate::progress::{self, Seen};

/// A build that was just made: followed, or left to itself.
pub(super) async fn submitted(
    app: &App,
    client: &Client,
    build: &Build,
    detach: bool,
) -> Result<Exit, Fault> {
    let label = build.label.as_str();
    if detach {
        app.out.json(build);
        app.out.line(format!("submitted {label} ({})", build.id));
        app.out
            .line(field("follow", &app.command(&["watch", label])));
        return Ok(Exit::Done);
    }
    if !app.out.is_json() {
        app.out.note(format!("{} {label}", "build".bold()));
    }
    let seen = Seen::default();
    to_the_end(app, client, build.id.as_str(), Events::Kept, seen).await
}

/// Follows a build through its gates to its end.
pub(super) async fn to_the_end(
    app: &App,
    client: &Client,
    id: &str,
    events: Events,
    mut seen: Seen,
) -> Result<Exit, Fault> {
    loop {
        let build = match follow(app, client, id, events, &mut seen).await? {
            Followed::Settled(build) => build,
            Followed::Left => return Ok(left(app, id)),
        };
        let BuildState::Waiting {
            reasons, subject, ..
        } = &build.build.state
        else {
            return ended(app, client, &build).await;
        };
        show_gate(app, &build, reasons, subject.as_ref());
        let (Some(subject), true) = (subject, can_ask() && !app.out.is_json()) else {
            return Ok(waits(app, &build, subject.as_ref()));
        };
        let decision = match ask::yes_or_no("Go on?", Answer::Later).await {
            Answer::Yes => Decide::Approve,
            Answer::No => Decide::Reject,
            Answer::Later => return Ok(waits(app, &build, Some(subject))),
        };
        let notes = match decision {
            Decide::Approve => None,
            Decide::Reject => ask::text("Why not? (may be empty)").await,
        };
        let request = DecisionRequest {
            decision,
            subject: Some(subject.digest.clone()),
            notes: notes.filter(|text| !text.is_empty()),
        };
        client.decide(build.build.id.as_str(), &request).await?;
    }
}

/// What a person looks at before a yes.
pub(super) fn show_gate(
    app: &App,
    build: &BuildDetail,
    reasons: &[GateReason],
    subject: Option<&Subject>,
) {
    if app.out.is_json() {
        return;
    }
    app.out.note(format!(
        "{} {} waits for your yes",
        "gate".yellow().bold(),
        build.build.label
    ));
    for line in describe::gate(reasons, subject) {
        app.out.note(line);
    }
    for risk in &build.risks {
        app.out.note(field("risk", &safe_line(risk)));
    }
    if !build.preview.is_empty() {
        app.out
            .note(field("preview", "on your real data, without changing it:"));
        for line in progress::preview(&build.preview) {
            app.out.note(line);
        }
    }
}

fn waits(app: &App, build: &BuildDetail, subject: Option<&Subject>) -> Exit {
    let label = build.build.label.as_str();
    let digest = subject.map_or("", |subject| subject.digest.as_str());
    let approve = app.command(&["approve", label, "--subject", digest]);
    let reject = app.command(&["reject", label]);
    app.out.json(&json!({
        "build": build,
        "approve": approve,
        "reject": reject,
        "exit": Exit::Waiting.number(),
    }));
    app.out.line(format!("{label} waits for a person"));
    app.out.line(field("yes", &approve));
    app.out.line(field("no", &reject));
    app.out.line(field("look", &app.command(&["show", label])));
    Exit::Waiting
}

fn left(app: &App, id: &str) -> Exit {
    app.out.note(format!(
        "left; the build goes on. Join it again: {}",
        app.command(&["watch", id])
    ));
    Exit::Left
}

async fn ended(app: &App, client: &Client, build: &BuildDetail) -> Result<Exit, Fault> {
    let deployment = match &build.build.deployed {
        Some(deployed) => client.deployment(deployed.name.as_str()).await.ok(),
        None => None,
    };
    let exit = exit_of(&build.build.state);
    app.out.json(&json!({
        "build": build,
        "deployment": deployment,
        "exit": exit.number(),
    }));
    match (&build.build.state, &deployment) {
        (BuildState::Completed, Some(deployment)) => deployed(app, build, deployment),
        (BuildState::Completed, None) => not_deployed(app, build),
        (
            BuildState::Failed { .. }
            | BuildState::Rejected { .. }
            | BuildState::Cancelled { .. }
            | BuildState::Queued
            | BuildState::Running
            | BuildState::Resuming
            | BuildState::Waiting { .. }
            | BuildState::Spent { .. },
            _,
        ) => failed(app, build),
    }
    Ok(exit)
}

/// The exit code that a build's end means.
pub(super) fn exit_of(state: &BuildState) -> Exit {
    match state {
        BuildState::Completed => Exit::Done,
        BuildState::Waiting { .. } | BuildState::Spent { .. } => Exit::Waiting,
        BuildState::Failed { class, .. } => match class {
            FailureClass::Refused => Exit::Refused,
            FailureClass::Limit => Exit::Limit,
            FailureClass::Review
            | FailureClass::Tests
            | FailureClass::Deploy
            | FailureClass::Fault => Exit::Failed,
        },
        BuildState::Rejected { .. }
        | BuildState::Cancelled { .. }
        | BuildState::Queued
        | BuildState::Running
        | BuildState::Resuming => Exit::Failed,
    }
}

fn deployed(app: &App, build: &BuildDetail, detail: &DeploymentDetail) {
    let it = &detail.deployment;
    let name = it.name.as_str();
    app.out.line(format!(
        "{} {} is deployed, version {}",
        "✓".green(),
        name.bold(),
        it.version
    ));
    app.out.line(field("does", &safe_line(&it.purpose)));
    app.out.line(field("runs", &describe::trigger(&it.trigger)));
    app.out.line(field("next", &describe::next(it)));
    for line in describe::permissions(&detail.permissions) {
        app.out.line(line);
    }
    if let Some(evidence) = describe::evidence(&build.levels) {
        app.out.line(field("evidence", &evidence));
    }
    if let Some(digest) = &build.digests.evidence {
        app.out.line(field("", digest.as_str()));
    }
    app.out.line("");
    let commands: Vec<(String, &str)> = [
        (&["show", name][..], "what it is, its versions and runs"),
        (&["run-now", name], "run it now"),
        (&["logs", name], "what its last run said"),
        (&["logs", name, "--build"], "what the build did and saw"),
        (&["change", name, "also …"], "the next version of it"),
        (&["remove", name], "take it away"),
    ]
    .into_iter()
    .map(|(words, what)| (app.command(words), what))
    .collect();
    let widest = commands
        .iter()
        .map(|(text, _)| text.len())
        .max()
        .unwrap_or(0);
    for (command, what) in commands {
        app.out
            .line(format!("  {command:<widest$}   {}", what.dimmed()));
    }
}

fn not_deployed(app: &App, build: &BuildDetail) {
    let label = build.build.label.as_str();
    app.out.line(format!(
        "{} {} is built and not deployed",
        "✓".green(),
        label.bold()
    ));
    if let Some(evidence) = describe::evidence(&build.levels) {
        app.out.line(field("evidence", &evidence));
    }
    app.out.line(field("code", &safe_line(&build.repository)));
    app.out.line(format!(
        "  {}   {}",
        app.command(&["deploy", label]),
        "put it to work".dimmed()
    ));
}

fn failed(app: &App, build: &BuildDetail) {
    let label = build.build.label.as_str();
    app.out.line(format!(
        "{} {} {}",
        "✗".red(),
        label.bold(),
        describe::state(&build.build.state)
    ));
    app.out.line(field("at", &safe_line(&build.build.stage)));
    app.out.line(field("code", &safe_line(&build.repository)));
    let hints: Vec<(Vec<&str>, &str)> = match build.build.state {
        BuildState::Spent { .. } => vec![
            (vec!["costs", "--build", label], "what it took so far"),
            (
                vec!["budget", "set", "--help"],
                "raise the budget that is spent",
            ),
            (vec!["resume", label], "then let it go on"),
        ],
        _ => vec![
            (vec!["logs", label, "--build"], "all that it said and saw"),
            (vec!["retry", label], "build the same again"),
        ],
    };
    for (words, what) in &hints {
        app.out
            .line(format!("  {}   {}", app.command(words), what.dimmed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builds_end_has_the_documented_exit_code() {
        for (class, code) in [
            (FailureClass::Refused, 4),
            (FailureClass::Limit, 5),
            (FailureClass::Review, 1),
            (FailureClass::Tests, 1),
            (FailureClass::Deploy, 1),
            (FailureClass::Fault, 1),
        ] {
            let state = BuildState::Failed {
                class,
                reason: String::new(),
            };
            assert_eq!(exit_of(&state).number(), code, "{class:?}");
        }
        assert_eq!(exit_of(&BuildState::Completed).number(), 0);
    }
}
