//! From rows and domain values to the wire. No decisions here.

use agentwright_api::{
    Approval, Artifact, Build, BuildState, BuildStatus, BuildSummary, Deployed, Digests, Event,
    Execution, ExecutionStatus, LevelResult, Service, StageResult, Time, Version,
};
use agentwright_domain::approval::{self, Grant};
use agentwright_domain::build::{self, BuildRequest, Phase};
use agentwright_domain::deployment::{DeployedVersion, ServiceEntry};
use agentwright_domain::evidence::EvidenceRef;
use agentwright_domain::execution;
use agentwright_domain::run::{Run, RunInput, RunState, RunStatus, StageRow, Usage};
use agentwright_store::{RunRow, TestResultRow};

/// How a lease stands when a run is leased.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lease {
    /// A worker renews it.
    Live,
    /// Its worker is gone.
    Lost,
}

impl Lease {
    /// As the row shows it. A row that is no longer leased says nothing about the lease of before.
    pub(crate) fn of(row: Option<&RunRow>) -> Self {
        match row {
            Some(row) if row.status == RunStatus::Leased && !row.live => Self::Lost,
            Some(_) | None => Self::Live,
        }
    }
}

/// A build; `None` when the run is of another kind.
pub(crate) fn build(run: &Run, lease: Lease) -> Option<Build> {
    let (RunState::Build(state), RunInput::Build(request)) = (&run.state, &run.input) else {
        return None;
    };
    let facts = &state.facts;
    let deployed = facts
        .name
        .clone()
        .zip(facts.version)
        .map(|(name, version)| Deployed {
            name,
            version,
            url: facts.url.clone(),
        });
    Some(Build {
        id: run.id.clone(),
        label: run.label.clone(),
        state: build_state(run, &state.phase, state.facts.subject.as_ref(), lease),
        stage: state.phase.stage_word().to_owned(),
        attempt: state.phase.attempt(),
        intent: request.intent.clone(),
        name: facts.name.clone(),
        mode: state.policy.mode,
        auto_deploy: state.policy.auto_deploy,
        priority: run.priority,
        created_at: Time::from_ms(run.created_at_ms),
        started_at: run.started_at_ms.map(Time::from_ms),
        progress_at: Time::from_ms(run.progress_at_ms),
        ended_at: run.ended_at_ms.map(Time::from_ms),
        worked_ms: run.worked_ms,
        repeats: run.repeats.clone(),
        changes: request.changes.clone(),
        from_version: from_version(request, facts),
        deploys: request.deploys.clone(),
        mends: request.mends.clone(),
        deployed,
    })
}

/// The version that a change is made from: as its spec was made, before that as it was submitted.
fn from_version(request: &BuildRequest, facts: &build::Facts) -> Option<u32> {
    let made_from = facts.replaces.as_ref().map(|replaces| replaces.version);
    made_from.or(request.from_version)
}

fn build_state(
    run: &Run,
    phase: &Phase,
    subject: Option<&approval::Subject>,
    lease: Lease,
) -> BuildState {
    match phase {
        Phase::Stage { .. } if run.status != RunStatus::Leased => BuildState::Queued,
        Phase::Stage { .. } if lease == Lease::Lost => BuildState::Resuming,
        Phase::Stage { .. } => BuildState::Running,
        Phase::Gate {
            gate,
            reasons,
            since_ms,
        } => BuildState::Waiting {
            gate: *gate,
            reasons: reasons.clone(),
            subject: subject.cloned(),
            since: Time::from_ms(*since_ms),
        },
        Phase::Spent {
            limit, since_ms, ..
        } => BuildState::Spent {
            limit: limit.clone(),
            since: Time::from_ms(*since_ms),
        },
        Phase::Completed { .. } => BuildState::Completed,
        Phase::Failed { class, reason, .. } => BuildState::Failed {
            class: *class,
            reason: reason.clone(),
        },
        Phase::Rejected { gate, by, notes } => BuildState::Rejected {
            gate: *gate,
            by: by.clone(),
            notes: notes.clone(),
        },
        Phase::Cancelled { by, reason } => BuildState::Cancelled {
            by: by.clone(),
            reason: reason.clone(),
        },
    }
}

/// A line of the list.
pub(crate) fn summary(row: RunRow) -> BuildSummary {
    BuildSummary {
        status: status(&row),
        id: row.id,
        label: row.label,
        stage: row.stage,
        attempt: row.attempt,
        priority: row.priority,
        created_at: Time::from_ms(row.created_at_ms),
        started_at: row.started_at_ms.map(Time::from_ms),
        progress_at: Time::from_ms(row.progress_at_ms),
        ended_at: row.ended_at_ms.map(Time::from_ms),
        not_before: row.not_before_ms.map(Time::from_ms),
        worked_ms: row.worked_ms,
        repeats: row.repeats,
    }
}

/// The status of a build, as far as its row tells: a rejected one is stored as cancelled at its gate.
pub(crate) fn status(row: &RunRow) -> BuildStatus {
    match row.status {
        RunStatus::Ready => BuildStatus::Queued,
        RunStatus::Leased if row.live => BuildStatus::Running,
        RunStatus::Leased => BuildStatus::Resuming,
        RunStatus::Waiting => BuildStatus::Waiting,
        RunStatus::Completed => BuildStatus::Completed,
        RunStatus::Failed => BuildStatus::Failed,
        RunStatus::Cancelled if row.stage == "cancelled" => BuildStatus::Cancelled,
        RunStatus::Cancelled => BuildStatus::Rejected,
    }
}

/// The stored status that a wire status is found under.
pub(crate) fn stored(status: BuildStatus) -> RunStatus {
    match status {
        BuildStatus::Queued => RunStatus::Ready,
        BuildStatus::Running | BuildStatus::Resuming => RunStatus::Leased,
        BuildStatus::Waiting => RunStatus::Waiting,
        BuildStatus::Completed => RunStatus::Completed,
        BuildStatus::Failed => RunStatus::Failed,
        BuildStatus::Rejected | BuildStatus::Cancelled => RunStatus::Cancelled,
    }
}

/// What a build is made of.
pub(crate) fn digests(facts: &build::Facts) -> Digests {
    Digests {
        spec: facts.spec.clone(),
        acceptance: facts.acceptance.clone(),
        permissions: facts.permissions.clone(),
        code: facts.code.clone(),
        reviewed: facts.reviewed.clone(),
        verified: facts.verified.clone(),
        evidence: facts.evidence.clone(),
    }
}

/// The facts and request of a build.
pub(crate) fn build_parts(run: &Run) -> Option<(&build::BuildState, &BuildRequest)> {
    match (&run.state, &run.input) {
        (RunState::Build(state), RunInput::Build(request)) => Some((state, request)),
        (RunState::Build(_) | RunState::Execution(_), _) => None,
    }
}

/// One ended attempt.
pub(crate) fn stage(row: StageRow) -> StageResult {
    StageResult {
        stage: row.stage,
        attempt: row.attempt,
        status: row.status,
        started_at: Time::from_ms(row.started_at_ms),
        ended_at: Time::from_ms(row.ended_at_ms),
        duration_ms: row.ended_at_ms.saturating_sub(row.started_at_ms),
        summary: row.summary,
    }
}

/// One level's result.
pub(crate) fn level(row: TestResultRow) -> LevelResult {
    let result = row.result;
    LevelResult {
        attempt: row.attempt,
        number: result.level.number(),
        level: result.level,
        verdict: result.verdict,
        summary: result.summary,
        log: result.log,
        evidence: result.evidence.into_iter().map(artifact).collect(),
        duration_ms: result.duration_ms,
        cpu_ms: result.cpu_ms,
        max_rss_bytes: result.max_rss_bytes,
        tier: result.tier,
    }
}

/// A decision.
pub(crate) fn approval(approval: approval::Approval) -> Approval {
    Approval {
        id: approval.id,
        gate: approval.gate,
        subject: approval.subject,
        approved: approval.approved,
        by: approval.by,
        at: Time::from_ms(approval.at_ms),
        notes: approval.notes,
        in_advance: approval.in_advance,
    }
}

/// One kept file.
pub(crate) fn artifact(kept: EvidenceRef) -> Artifact {
    Artifact {
        name: kept.name,
        digest: kept.digest,
        bytes: kept.bytes,
    }
}

/// One event.
pub(crate) fn event(row: agentwright_store::Event) -> Event {
    Event {
        seq: row.seq,
        at: Time::from_ms(row.at_ms),
        event: row.event,
        stage: row.stage,
        message: row.message,
        data: row.data,
    }
}

/// One execution; `None` when the run is of another kind.
pub(crate) fn execution(
    run: &Run,
    row: Option<&RunRow>,
    usage: Option<Usage>,
) -> Option<Execution> {
    let RunState::Execution(state) = &run.state else {
        return None;
    };
    let (status, reason) = match &state.phase {
        execution::Phase::Working { .. } if run.status != RunStatus::Leased => {
            (ExecutionStatus::Queued, None)
        }
        execution::Phase::Working { .. } if Lease::of(row) == Lease::Lost => {
            (ExecutionStatus::Resuming, None)
        }
        execution::Phase::Working { .. } => (ExecutionStatus::Running, None),
        execution::Phase::Completed => (ExecutionStatus::Completed, None),
        execution::Phase::Failed { reason } => (ExecutionStatus::Failed, Some(reason.clone())),
        execution::Phase::Cancelled { by, reason } => (
            ExecutionStatus::Cancelled,
            Some(format!("cancelled by {by}: {reason}")),
        ),
    };
    Some(Execution {
        id: run.id.clone(),
        deployment: state.deployment.clone(),
        version: state.version,
        firing: state.firing.clone(),
        status,
        attempt: state.phase.attempt(),
        reason,
        created_at: Time::from_ms(run.created_at_ms),
        started_at: run.started_at_ms.map(Time::from_ms),
        ended_at: run.ended_at_ms.map(Time::from_ms),
        seq: row.map_or(0, |row| row.event_seq),
        usage,
    })
}

/// One version of a deployment.
pub(crate) fn version(version: &DeployedVersion, active: u32, grants: &[Grant]) -> Version {
    let grant = grants.iter().find(|grant| grant.id == version.grant);
    Version {
        version: version.version,
        active: version.version == active,
        build: version.build.clone(),
        code: version.code.clone(),
        deployed_at: Time::from_ms(version.deployed_at_ms),
        revoked_at: grant
            .and_then(|grant| grant.revoked_at_ms)
            .map(Time::from_ms),
    }
}

/// One entry of the directory.
pub(crate) fn service(entry: ServiceEntry) -> Service {
    Service {
        name: entry.name,
        kind: entry.kind,
        purpose: entry.purpose,
        version: entry.version,
        endpoint: entry.endpoint,
        registered_at: Time::from_ms(entry.registered_at_ms),
    }
}
