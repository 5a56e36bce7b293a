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
use agentwright_domain::run::{Run, RunKind, RunStatus};
use agentwright_store::RunRow;
use std::time::Duration;
use tokio::time::Instant;

/// Events in one log.
const LOG_EVENTS_MAX: u32 = 5_000;

/// The build, now or when what is waited for is so.
pub(crate) async fn build(
    app: &App,
    who: &Who,
    id: &str,
    query: &ShowQuery,
) -> Result<BuildDetail, ApiError> {
    let run = find::run(app, who, RunKind::Build, id).await?;
    let row = wait(app, who, &run.id, query).await?;
    // Read after the row: what the row knows is in it.
    let run = if waits(query) {
        let again = app.store().run(&who.scope, &run.id).await?;
        again.ok_or_else(|| ApiError::no("build", id))?
    } else {
        run
    };
    detail(app, who, &run, row, query.view).await
}

fn waits(query: &ShowQuery) -> bool {
    query.wait_after.is_some() || query.wait_until.is_some()
}

/// Waits as asked, then answers the row.
async fn wait(app: &App, who: &Who, id: &RunId, query: &ShowQuery) -> Result<RunRow, ApiError> {
    let seconds = query.timeout_s.unwrap_or(WAIT_DEFAULT_S);
    let deadline = Instant::now() + Duration::from_secs(u64::from(seconds));
    loop {
        let row = app.store().run_row(&who.scope, id).await?;
        let row = row.ok_or_else(|| ApiError::no("build", id.as_str()))?;
        let settled = row.status.ended() || row.status == RunStatus::Waiting;
        let newer = query.wait_after.is_none_or(|after| row.event_seq > after);
        let there = match query.wait_until {
            Some(Until::Settled) => settled,
            None => newer || row.status.ended(),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if there || !waits(query) || left.is_zero() || app.stopping().is_cancelled() {
            return Ok(row);
        }
        let engine = app.engine();
        let changed = async {
            match query.wait_until {
                Some(Until::Settled) => engine.settled(&who.scope, id, left).await,
                None => engine
                    .changed(&who.scope, id, row.event_seq, left)
                    .await
                    .map(|_| ()),
            }
        };
        tokio::select! {
            changed = changed => changed?,
            () = app.stopping().cancelled() => {}
        }
    }
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
