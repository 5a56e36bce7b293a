//! A build with everything that its stages left: read in one place, for `show`, `logs` and artifacts.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use crate::find;
use crate::view::{self, Lease};
use agentwright_api::{
    Artifact, BuildDetail, Log, LogLine, ShowQuery, Until, View, WAIT_DEFAULT_S,
};
use agentwright_domain::ids::RunId;
use agentwright_domain::run::{Run, RunKind};
use agentwright_store::RunRow;
use std::time::Duration;

/// Events in one log.
const LOG_EVENTS_MAX: u32 = 5_000;

/// The build, now or when what is waited for is so.
pub(crate) async fn build(
    app: &App,
    who: &Who,
    id: &str,
    query: &ShowQuery,
) -> Result<BuildDetail, ApiError> {
    // Who polls knows the whole id: it is not looked up first.
    let mut found = wait(app, who, &RunId::new(id), query).await?;
    if found.is_none() {
        let id = find::run_id(app, who, RunKind::Build, id).await?;
        found = wait(app, who, &id, query).await?;
    }
    let (run, row) = found.ok_or_else(|| ApiError::no("build", id))?;
    detail(app, who, &run, row, query.view).await
}

/// Waits as asked, then answers the build and its line, read at the same moment; `None` at once when there is none.
async fn wait(
    app: &App,
    who: &Who,
    id: &RunId,
    query: &ShowQuery,
) -> Result<Option<(Run, RunRow)>, ApiError> {
    let (store, scope) = (app.store(), &who.scope);
    let seconds = query.timeout_s.unwrap_or(WAIT_DEFAULT_S);
    let limit = Duration::from_secs(u64::from(seconds));
    let waited = async {
        match (query.wait_until, query.wait_after) {
            (Some(Until::Settled), _) => store.settled(scope, RunKind::Build, id, limit).await,
            (None, Some(after)) => {
                let row = store.run_row(scope, id).await?;
                let row = row.filter(|row| row.kind == RunKind::Build);
                if row.is_some_and(|row| row.event_seq <= after && !row.status.ended()) {
                    store.changed(scope, id, after, limit).await?;
                }
                store.run_and_row(scope, id).await
            }
            (None, None) => store.run_and_row(scope, id).await,
        }
    };
    let found = tokio::select! {
        found = waited => found?,
        () = app.stopping().cancelled() => store.run_and_row(scope, id).await?,
    };
    Ok(found.filter(|(run, _)| run.kind == RunKind::Build))
}

async fn detail(
    app: &App,
    who: &Who,
    run: &Run,
    row: RunRow,
    view: View,
) -> Result<BuildDetail, ApiError> {
    let missing = || ApiError::no("build", run.id.as_str());
    let build = view::build(run, Lease::of(Some(&row))).ok_or_else(missing)?;
    let (state, request) = view::build_parts(run).ok_or_else(missing)?;
    let made_by = request.deploys.as_ref().unwrap_or(&run.id);
    let mut detail = BuildDetail {
        build,
        seq: row.event_seq,
        stages: Vec::new(),
        levels: Vec::new(),
        approvals: Vec::new(),
        artifacts: Vec::new(),
        preview: state.facts.preview.clone(),
        risks: state.facts.risks.clone(),
        digests: view::digests(&state.facts),
        repository: app
            .layout()
            .build(made_by)
            .join("repo")
            .display()
            .to_string(),
    };
    if view == View::Full {
        let (store, scope) = (app.store(), &who.scope);
        let stages = store.stages(scope, &run.id).await?;
        detail.stages = stages.into_iter().map(view::stage).collect();
        let levels = store.test_results(scope, &run.id).await?;
        detail.levels = levels.into_iter().map(view::level).collect();
        let approvals = store.approvals(scope, &run.id).await?;
        detail.approvals = approvals.into_iter().map(view::approval).collect();
        let artifacts = store.artifacts(scope, &run.id).await?;
        detail.artifacts = artifacts.into_iter().map(view::artifact).collect();
    }
    Ok(detail)
}

/// Events and levels as one text, in the order of their times.
pub(crate) async fn log(app: &App, who: &Who, id: &str) -> Result<Log, ApiError> {
    let run = find::run(app, who, RunKind::Build, id).await?;
    let (store, scope) = (app.store(), &who.scope);
    let events = store.events(scope, &run.id, 0, LOG_EVENTS_MAX).await?;
    let mut levels = store
        .test_results(scope, &run.id)
        .await?
        .into_iter()
        .peekable();
    let seq = events.last().map_or(0, |event| event.seq);
    let mut lines = Vec::new();
    for event in events {
        while let Some(level) = levels.next_if(|level| level.at_ms < event.at_ms) {
            tell(&mut lines, level);
        }
        lines.push(LogLine::from(&view::event(event)));
    }
    levels.for_each(|level| tell(&mut lines, level));
    Ok(Log { lines, seq })
}

fn tell(lines: &mut Vec<LogLine>, row: agentwright_store::TestResultRow) {
    let result = row.result;
    let (number, word) = (result.level.number(), result.level.word());
    let verdict = match result.verdict {
        agentwright_domain::evidence::Verdict::Pass => "pass",
        agentwright_domain::evidence::Verdict::Fail => "FAIL",
    };
    lines.push(LogLine {
        at: Some(agentwright_api::Time::from_ms(row.at_ms)),
        stage: "verify".to_owned(),
        text: format!("level {number} {word}: {verdict}, {}", result.summary),
    });
    lines.extend(result.log.lines().map(|line| LogLine {
        at: None,
        stage: "verify".to_owned(),
        text: format!("  {line}"),
    }));
}

/// Everything that was kept: named artifacts, then the levels' evidence.
pub(crate) async fn artifacts(app: &App, who: &Who, id: &RunId) -> Result<Vec<Artifact>, ApiError> {
    let named = app.store().artifacts(&who.scope, id).await?;
    let levels = app.store().test_results(&who.scope, id).await?;
    let evidence = levels.into_iter().flat_map(|row| row.result.evidence);
    let mut all: Vec<Artifact> = Vec::new();
    for kept in named.into_iter().chain(evidence).map(view::artifact) {
        if !all.contains(&kept) {
            all.push(kept);
        }
    }
    Ok(all)
}

/// One of them, by name (the newest of that name) or by digest.
pub(crate) async fn artifact(
    app: &App,
    who: &Who,
    id: &RunId,
    name: &str,
) -> Result<(Artifact, Vec<u8>), ApiError> {
    let all = artifacts(app, who, id).await?;
    let kept = all
        .into_iter()
        .rev()
        .find(|kept| kept.name == name || kept.digest.as_str() == name)
        .ok_or_else(|| ApiError::no("artifact", name))?;
    let bytes = app.store().artifact(&kept.digest).await?;
    let gone = || {
        ApiError::NotFound(format!(
            "{name} was evicted to make room for newer artifacts"
        ))
    };
    Ok((kept, bytes.ok_or_else(gone)?))
}
