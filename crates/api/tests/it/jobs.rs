//! Our states in the seed's names: one table that people review.

use agentwright_api::executor::{Estimates, JobParts, PhaseStatus, job};
use agentwright_domain::approval::{Gate, GateReason};
use agentwright_domain::build::{
    ApprovalMode, BuildPolicy, BuildRequest, BuildState, FailureClass, Phase, Stage,
};
use agentwright_domain::ids::{ApprovalId, OrganizationId, RunId, Slug};
use agentwright_domain::run::{Run, RunInput, RunKind, RunState, RunStatus, StageRow};

/// A build at a phase.
struct Case {
    name: String,
    phase: Phase,
    status: RunStatus,
    started: bool,
    rows: Vec<(Stage, &'static str)>,
}

impl Case {
    fn new(name: impl Into<String>, phase: Phase, status: RunStatus) -> Self {
        Self {
            name: name.into(),
            phase,
            status,
            started: true,
            rows: Vec::new(),
        }
    }

    /// With all stages before that one done.
    fn before(mut self, stage: Stage) -> Self {
        let done = Stage::ALL.into_iter().take_while(|one| *one != stage);
        self.rows = done.map(|one| (one, "done")).collect();
        self
    }

    fn then(mut self, stage: Stage, status: &'static str) -> Self {
        self.rows.push((stage, status));
        self
    }
}

fn run(case: &Case, policy: BuildPolicy) -> Run {
    let state = BuildState {
        phase: case.phase.clone(),
        ..BuildState::new(policy)
    };
    Run {
        organization: OrganizationId::new("local"),
        id: RunId::new("r1"),
        kind: RunKind::Build,
        label: Slug::parse("zip-notes").unwrap(),
        priority: 0,
        status: case.status,
        state: RunState::Build(Box::new(state)),
        input: RunInput::Build(BuildRequest::default()),
        epoch: 1,
        definition: 1,
        claims: 0,
        worked_ms: 4_000,
        attempt_started_at_ms: 9_000,
        repeats: None,
        created_at_ms: 1_000,
        started_at_ms: case.started.then_some(2_000),
        progress_at_ms: 9_000,
        ended_at_ms: case.status.ended().then_some(9_500),
    }
}

fn rows(case: &Case) -> Vec<StageRow> {
    let row = |(at, (stage, status)): (usize, &(Stage, &str))| {
        let began = 2_000 + i64::try_from(at).unwrap() * 500;
        StageRow {
            stage: stage.word().into(),
            attempt: 1,
            status: (*status).into(),
            started_at_ms: began,
            ended_at_ms: began + 500,
            summary: format!("{} is {status}", stage.word()),
        }
    };
    case.rows.iter().enumerate().map(row).collect()
}

/// `c` completed, `r` running, `p` pending, `f` failed, `-` skipped.
fn letter(status: PhaseStatus) -> char {
    match status {
        PhaseStatus::Pending => 'p',
        PhaseStatus::Running => 'r',
        PhaseStatus::Completed => 'c',
        PhaseStatus::Failed => 'f',
        PhaseStatus::Skipped => '-',
    }
}

#[expect(clippy::too_many_lines, reason = "one table, read as a whole")]
fn cases() -> Vec<Case> {
    let at = |stage| Phase::Stage { stage, attempt: 1 };
    let gate = |gate| Phase::Gate {
        gate,
        reasons: vec![GateReason::Mode],
        since_ms: 1,
    };
    let rejected = |gate| Phase::Rejected {
        gate,
        by: "ann".into(),
        notes: None,
    };
    let failed = |stage| Phase::Failed {
        stage,
        class: FailureClass::Tests,
        reason: "it does not hold".into(),
    };
    let cancelled = || Phase::Cancelled {
        by: "ann".into(),
        reason: "as asked".into(),
    };
    let mut all = Vec::new();
    let mut queued = Case::new("in the queue", at(Stage::Spec), RunStatus::Ready);
    queued.started = false;
    all.push(queued);
    for stage in Stage::ALL {
        let leased = format!("works at {}", stage.word());
        all.push(Case::new(leased, at(stage), RunStatus::Leased).before(stage));
    }
    for (why, row) in [("retry", "retried"), ("quota", "parked")] {
        for stage in [Stage::Spec, Stage::Generate] {
            let name = format!("waits for a {why} at {}", stage.word());
            let case = Case::new(name, at(stage), RunStatus::Ready).before(stage);
            all.push(case.then(stage, row));
        }
    }
    let spent = Phase::Spent {
        stage: Stage::Generate,
        attempt: 1,
        limit: "the day's budget is spent".into(),
        since_ms: 1,
    };
    let case = Case::new("waits for a budget at generate", spent, RunStatus::Waiting);
    all.push(case.before(Stage::Generate).then(Stage::Generate, "parked"));
    for (one, after) in [(Gate::Spec, Stage::Package), (Gate::Deploy, Stage::Deploy)] {
        let name = format!("at the {} gate", one.word());
        all.push(Case::new(name, gate(one), RunStatus::Waiting).before(after));
        let name = format!("rejected at the {} gate", one.word());
        all.push(Case::new(name, rejected(one), RunStatus::Cancelled).before(after));
    }
    let again = Case::new("is repaired", at(Stage::Generate), RunStatus::Leased);
    all.push(again.before(Stage::Verify).then(Stage::Verify, "repairing"));
    for stage in [Stage::Spec, Stage::Verify, Stage::Deploy] {
        let name = format!("failed at {}", stage.word());
        let case = Case::new(name, failed(stage), RunStatus::Failed).before(stage);
        all.push(case.then(stage, "failed"));
    }
    let case = Case::new("cancelled at generate", cancelled(), RunStatus::Cancelled);
    all.push(
        case.before(Stage::Generate)
            .then(Stage::Generate, "cancelled"),
    );
    let case = Case::new(
        "cancelled at the deploy gate",
        cancelled(),
        RunStatus::Cancelled,
    );
    all.push(case.before(Stage::Deploy));
    let mut early = Case::new("cancelled in the queue", cancelled(), RunStatus::Cancelled);
    early.started = false;
    all.push(early);
    for (name, deployed, last) in [
        ("completed, verified only", false, Stage::Preview),
        ("completed, deployed", true, Stage::Register),
    ] {
        let mut case =
            Case::new(name, Phase::Completed { deployed }, RunStatus::Completed).before(last);
        if deployed {
            case = case.then(Stage::Register, "done");
        }
        all.push(case);
    }
    all
}

#[test]
fn every_state_has_its_status_phase_and_percent() {
    let mut table = vec![format!(
        "{:<32}| {:<18}| {:<16}| phases | percent | waits for",
        "our state", "status", "current phase"
    )];
    for case in cases() {
        let policy = BuildPolicy {
            auto_deploy: case.name != "completed, verified only",
            ..BuildPolicy::new(ApprovalMode::Auto)
        };
        let (run, rows) = (run(&case, policy), rows(&case));
        let job = job(JobParts {
            run: &run,
            stages: &rows,
            progress: 50,
            live: true,
            not_before_ms: Some(20_000),
            estimates: None,
            now_ms: 10_000,
        })
        .unwrap();
        let phases: String = job
            .phases
            .iter()
            .map(|phase| letter(phase.status))
            .collect();
        let current = job
            .phases
            .iter()
            .find(|phase| phase.phase_name == job.current_phase);
        let waits = current.unwrap().details.get("waits_for");
        let line = format!(
            "{:<32}| {:<18}| {:<16}| {phases} | {:>7} | {}",
            case.name,
            job.status.word(),
            job.current_phase.word(),
            job.progress_percent,
            waits.map_or("", |waits| waits.as_str().unwrap()),
        );
        table.push(line.trim_end().to_owned());
        assert_eq!(
            job.completed_at.is_some(),
            job.status.ended(),
            "{}",
            case.name
        );
    }
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn times_estimates_and_decisions_stand_in_a_job() {
    let at = Phase::Stage {
        stage: Stage::Deploy,
        attempt: 1,
    };
    let case = Case::new("deploys", at, RunStatus::Leased).before(Stage::Deploy);
    let mut run = run(&case, BuildPolicy::new(ApprovalMode::Final));
    let RunState::Build(state) = &mut run.state else {
        panic!("no build");
    };
    state.facts.approval = Some(ApprovalId::new("a"));
    state.facts.url = Some("http://127.0.0.1:9".into());
    let rows = rows(&case);
    let parts = JobParts {
        run: &run,
        stages: &rows,
        progress: 50,
        live: false,
        not_before_ms: None,
        estimates: Some(Estimates {
            median_ms: 7_500,
            p90_ms: 20_000,
        }),
        now_ms: 10_000,
    };
    let told = job(parts).unwrap();
    assert_eq!(told.estimated_time_remaining, Some(4), "3.5 s, rounded up");
    assert_eq!(told.estimated_completion.unwrap().as_ms(), 13_500);
    let build = &told.phases[2];
    assert_eq!(
        build.duration_seconds,
        Some(1),
        "generate and review, half a second each"
    );
    assert_eq!(
        (build.progress_percent, told.phases[4].progress_percent),
        (100, 46)
    );
    assert_eq!(told.deployment_url, None, "nothing is deployed yet");
    assert_eq!(
        told.phases[4].details["waits_for"], "worker",
        "its lease is lost"
    );
    let json = serde_json::to_value(&told).unwrap();
    assert_eq!(json["final_decision"], "approved");
    let none = JobParts {
        estimates: None,
        ..parts
    };
    assert_eq!(job(none).unwrap().estimated_completion, None);
}
