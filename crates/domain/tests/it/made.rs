//! Runs and facts for the tests.
use agentwright_domain::approval::{AdvanceApproval, Subject};
use agentwright_domain::build::{ApprovalMode, BuildPolicy, BuildState, DEFINITION, Facts, Phase};
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::{OrganizationId, RunId, Slug};
use agentwright_domain::run::{Run, RunInput, RunState, RunStatus};

pub(crate) const NOW: i64 = 1_800_000_000_000;

pub(crate) fn digest(n: u8) -> Digest {
    Digest::from_sha256([n; 32])
}

pub(crate) fn subject(n: u8) -> Subject {
    Subject {
        spec: digest(n),
        code: Some(digest(1)),
        evidence: Some(digest(2)),
        target: digest(3),
        policy: digest(4),
        digest: digest(n),
    }
}

pub(crate) fn policy(mode: ApprovalMode) -> BuildPolicy {
    BuildPolicy {
        repairs: 3,
        ..BuildPolicy::new(mode)
    }
}

pub(crate) fn advance() -> AdvanceApproval {
    AdvanceApproval {
        by: "owner".to_owned(),
        permissions: digest(9),
    }
}

/// Facts of a build that passed review and verify.
pub(crate) fn proved() -> Facts {
    Facts {
        name: Slug::parse("notes-backup").ok(),
        spec: Some(digest(5)),
        permissions: Some(digest(9)),
        code: Some(digest(1)),
        reviewed: Some(digest(1)),
        verified: Some(digest(1)),
        evidence: Some(digest(2)),
        subject: Some(subject(7)),
        ..Facts::default()
    }
}

pub(crate) fn run(policy: BuildPolicy, facts: Facts, phase: Phase) -> Run {
    let state = BuildState {
        phase,
        policy,
        facts,
    };
    Run {
        organization: OrganizationId::new("local"),
        id: RunId::new("r1"),
        kind: agentwright_domain::run::RunKind::Build,
        label: Slug::parse("notes-backup").unwrap(),
        priority: 1,
        status: RunStatus::Ready,
        state: RunState::Build(Box::new(state)),
        input: RunInput::Execution,
        epoch: 1,
        definition: DEFINITION,
        claims: 1,
        worked_ms: 0,
        attempt_started_at_ms: NOW - 5,
        repeats: None,
        created_at_ms: NOW - 10,
        started_at_ms: Some(NOW - 9),
        progress_at_ms: NOW - 5,
        ended_at_ms: None,
    }
}
