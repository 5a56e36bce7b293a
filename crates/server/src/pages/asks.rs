//! What waits for a person, with everything that a yes means.

use super::frame::Frame;
use crate::app::App;
use crate::error::ApiError;
use crate::view;
use agentwright_api::{BuildState, Time};
use agentwright_domain::approval::Subject;
use agentwright_domain::ids::RunId;
use agentwright_domain::principal::Role;
use agentwright_domain::run::{Run, RunKind, RunStatus};
use agentwright_domain::spec::{SPEC_MAX_BYTES, Spec};
use agentwright_pages::Ask;
use agentwright_store::RunFilter;
use std::path::Path;

/// Builds in the inbox at once; the next ones follow when these are decided.
const ASKS_MAX: u32 = 50;

/// Everything that waits at a gate, the longest waiting first, and what waits for a budget.
pub(super) async fn waiting(
    app: &App,
    frame: &Frame,
) -> Result<(Vec<Ask>, Vec<agentwright_api::BuildSummary>), ApiError> {
    let filter = RunFilter {
        kind: Some(RunKind::Build),
        status: Some(RunStatus::Waiting),
        limit: ASKS_MAX,
        ..RunFilter::default()
    };
    let (mut asks, mut spent) = (Vec::new(), Vec::new());
    for row in app.store().runs(&frame.who.scope, filter).await? {
        let Some(run) = app.store().run(&frame.who.scope, &row.id).await? else {
            continue;
        };
        match ask(app, frame, &run).await? {
            Some(ask) => asks.push(ask),
            None => spent.push(view::summary(row)),
        }
    }
    asks.sort_by_key(|ask| ask.since);
    Ok((asks, spent))
}

/// What this build asks; `None` when it waits at no gate.
pub(super) async fn ask(app: &App, frame: &Frame, run: &Run) -> Result<Option<Ask>, ApiError> {
    let Some(build) = view::build(run, view::Lease::Live) else {
        return Ok(None);
    };
    let BuildState::Waiting {
        gate,
        reasons,
        subject,
        since,
    } = build.state
    else {
        return Ok(None);
    };
    let (store, scope) = (app.store(), &frame.who.scope);
    let levels = store.test_results(scope, &run.id).await?;
    let made_by = build.deploys.as_ref().unwrap_or(&run.id);
    let spec = match &subject {
        Some(subject) => spec(app, made_by, subject).await,
        None => None,
    };
    let preview = view::build_parts(run).map(|(state, _)| state.facts.preview.clone());
    Ok(Some(Ask {
        id: run.id.as_str().to_owned(),
        label: build.label.as_str().to_owned(),
        intent: build.intent,
        gate,
        reasons,
        since: Time::from_ms(since.as_ms()),
        purpose: spec.as_ref().map(|spec| spec.purpose.clone()),
        runs: spec
            .as_ref()
            .map(|spec| agentwright_intent::describe(&spec.trigger)),
        target: target(),
        permissions: spec.map(|spec| spec.permissions),
        subject,
        preview: preview.unwrap_or_default(),
        levels: levels.into_iter().map(view::level).collect(),
        csrf: frame.csrf(),
        may_decide: frame.who.require(Role::Approver).is_ok(),
    }))
}

/// Where things are deployed, in words.
fn target() -> String {
    match agentwright_pipeline::TARGET {
        "local" => "this server, behind the walls of its sandbox".to_owned(),
        other => other.to_owned(),
    }
}

/// The spec that a yes would be to: read from the build's repository, and only when it is exactly that one.
async fn spec(app: &App, build: &RunId, subject: &Subject) -> Option<Spec> {
    let path = app.layout().build(build).join("repo/spec.json");
    let text = tokio::task::spawn_blocking(move || read(&path))
        .await
        .ok()??;
    let spec: Spec = serde_json::from_str(&text).ok()?;
    let digest = agentwright_proof::of_json(&spec).ok()?;
    (digest == subject.spec).then_some(spec)
}

fn read(path: &Path) -> Option<String> {
    let size = path.symlink_metadata().ok()?;
    let fits = size.is_file() && size.len() <= SPEC_MAX_BYTES as u64;
    fits.then(|| std::fs::read_to_string(path).ok())?
}
