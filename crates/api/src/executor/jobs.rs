//! From one of our builds to a job in the seed's names. Pure; the table of it is a snapshot.

use crate::executor::phase::{Phase as Name, percent_of, stage_of};
use crate::executor::{FinalDecision, Job, JobPhase, JobStatus, PhaseStatus};
use crate::time::Time;
use agentwright_domain::approval::Gate;
use agentwright_domain::build::{BuildRequest, BuildState, Phase, Stage};
use agentwright_domain::run::{Run, RunInput, RunState, RunStatus, StageRow};
use serde_json::{Map, Value, json};

/// The most sentences of stages in one phase's `details`; older ones are left out.
const STAGES_MAX: usize = 20;

/// Everything that a job is made of.
#[derive(Clone, Copy, Debug)]
pub struct JobParts<'a> {
    /// The build; another kind of run is no job.
    pub run: &'a Run,
    /// Its ended attempts, in order.
    pub stages: &'a [StageRow],
    /// How far the stage is that is worked on now, 0 to 100.
    pub progress: u8,
    /// Whether a worker has it whose lease is live.
    pub live: bool,
    /// When it is tried again, ms, where it waits for that.
    pub not_before_ms: Option<i64>,
    /// How long like builds took.
    pub estimates: Option<Estimates>,
    /// Now, ms.
    pub now_ms: i64,
}

/// How long like builds worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimates {
    /// Half of them no longer than this, ms.
    pub median_ms: i64,
    /// Nine of ten no longer than this, ms.
    pub p90_ms: i64,
}

impl Estimates {
    /// Work that is expected to be left after so much, ms; `None` when it takes longer than like builds do.
    pub fn left_ms(self, worked_ms: i64) -> Option<i64> {
        [self.median_ms, self.p90_ms]
            .into_iter()
            .map(|whole| whole - worked_ms)
            .find(|left| *left > 0)
    }
}

/// How a build stands.
pub fn job_status(run: &Run) -> Option<JobStatus> {
    let RunState::Build(state) = &run.state else {
        return None;
    };
    Some(match &state.phase {
        Phase::Stage { .. } | Phase::Spent { .. } if run.started_at_ms.is_none() => {
            JobStatus::Queued
        }
        Phase::Stage { .. } | Phase::Spent { .. } => JobStatus::Running,
        Phase::Gate { .. } => JobStatus::AwaitingApproval,
        Phase::Completed { .. } => JobStatus::Completed,
        Phase::Failed { .. } => JobStatus::Failed,
        Phase::Rejected { .. } | Phase::Cancelled { .. } => JobStatus::Cancelled,
    })
}

/// The job; `None` when the run is of another kind.
pub fn job(parts: JobParts<'_>) -> Option<Job> {
    let (RunState::Build(state), RunInput::Build(request)) = (&parts.run.state, &parts.run.input)
    else {
        return None;
    };
    let run = parts.run;
    let it = Place::of(parts, state, request);
    let (phases, status) = (it.phases(), job_status(run)?);
    let left_ms = match status.ended() {
        true => None,
        false => parts
            .estimates
            .and_then(|estimates| estimates.left_ms(run.worked_ms)),
    };
    let by_itself = matches!(status, JobStatus::Queued | JobStatus::Running);
    let droplet = request.droplet.as_ref();
    let named = droplet.and_then(|droplet| droplet.name.clone());
    let facts = &state.facts;
    Some(Job {
        build_id: run.id.clone(),
        architect_intent: request.intent.clone(),
        droplet_id: droplet.and_then(|droplet| droplet.id),
        droplet_name: named.unwrap_or_else(|| {
            let name = facts.name.as_ref().unwrap_or(&run.label);
            name.as_str().to_owned()
        }),
        approval_mode: state.policy.mode,
        status,
        current_phase: it.current,
        progress_percent: it.percent,
        phases,
        created_at: Time::from_ms(run.created_at_ms),
        started_at: run.started_at_ms.map(Time::from_ms),
        completed_at: run.ended_at_ms.map(Time::from_ms),
        estimated_completion: left_ms
            .filter(|_| by_itself)
            .map(|left| Time::from_ms(parts.now_ms.saturating_add(left))),
        estimated_time_remaining: left_ms.map(|left| (left + 999) / 1000),
        final_decision: match &state.phase {
            Phase::Rejected { .. } => Some(FinalDecision::Rejected),
            _ if facts.approval.is_some() => Some(FinalDecision::Approved),
            _ => None,
        },
        deployment_url: facts.url.clone().filter(|_| facts.version.is_some()),
        error: why(&state.phase),
    })
}

fn why(phase: &Phase) -> Option<String> {
    match phase {
        Phase::Failed { reason, .. } => Some(reason.clone()),
        Phase::Rejected { by, notes, .. } => Some(match notes {
            Some(notes) => format!("rejected by {by}: {notes}"),
            None => format!("rejected by {by}"),
        }),
        Phase::Cancelled { by, reason } => Some(format!("cancelled by {by}: {reason}")),
        Phase::Stage { .. }
        | Phase::Gate { .. }
        | Phase::Spent { .. }
        | Phase::Completed { .. } => None,
    }
}

/// Where a build stands among the phases.
struct Place<'a> {
    parts: JobParts<'a>,
    state: &'a BuildState,
    request: &'a BuildRequest,
    current: Name,
    percent: u8,
}

impl<'a> Place<'a> {
    fn of(parts: JobParts<'a>, state: &'a BuildState, request: &'a BuildRequest) -> Self {
        let gate = |gate: &Gate| (Name::of(gate.before()), percent_of(gate.before(), 0));
        let (current, percent) = match &state.phase {
            Phase::Stage { stage, .. } => {
                let at_work = parts.run.status == RunStatus::Leased;
                let part = if at_work { parts.progress } else { 0 };
                (Name::of(*stage), percent_of(*stage, part))
            }
            Phase::Spent { stage, .. } | Phase::Failed { stage, .. } => {
                (Name::of(*stage), percent_of(*stage, 0))
            }
            Phase::Gate { gate: at, .. } | Phase::Rejected { gate: at, .. } => gate(at),
            Phase::Completed { deployed: true } => (Name::Register, 100),
            Phase::Completed { deployed: false } => (Name::Verify, 100),
            Phase::Cancelled { .. } => cancelled_at(parts.stages, state, request),
        };
        Self {
            parts,
            state,
            request,
            current,
            percent,
        }
    }

    fn phases(&self) -> Vec<JobPhase> {
        Name::ALL.map(|name| self.phase(name)).into()
    }

    fn phase(&self, name: Name) -> JobPhase {
        let rows: Vec<&StageRow> = self
            .parts
            .stages
            .iter()
            .filter(|row| stage_of(&row.stage).map(Name::of) == Some(name))
            .collect();
        let status = self.status(name, &rows);
        let over = matches!(status, PhaseStatus::Completed | PhaseStatus::Failed);
        let began = rows.iter().map(|row| row.started_at_ms).min().or_else(|| {
            let now = status == PhaseStatus::Running && self.parts.run.status == RunStatus::Leased;
            now.then_some(self.parts.run.attempt_started_at_ms)
        });
        let ended = rows.last().map(|row| row.ended_at_ms).filter(|_| over);
        JobPhase {
            phase_name: name,
            status,
            started_at: began.map(Time::from_ms),
            completed_at: ended.map(Time::from_ms),
            duration_seconds: began.zip(ended).map(|(from, to)| (to - from).max(0) / 1000),
            progress_percent: match status {
                PhaseStatus::Completed => 100,
                PhaseStatus::Pending | PhaseStatus::Skipped => 0,
                PhaseStatus::Running | PhaseStatus::Failed => name.part(self.percent),
            },
            details: self.details(name, status, &rows),
            error: match status {
                PhaseStatus::Failed => why(&self.state.phase),
                PhaseStatus::Pending
                | PhaseStatus::Running
                | PhaseStatus::Completed
                | PhaseStatus::Skipped => None,
            },
        }
    }

    fn status(&self, name: Name, rows: &[&StageRow]) -> PhaseStatus {
        if name < self.current {
            // A build that deploys what another one made begins at preview.
            return match rows {
                [] => PhaseStatus::Skipped,
                [_, ..] => PhaseStatus::Completed,
            };
        }
        let here = name == self.current;
        match &self.state.phase {
            Phase::Stage { .. } | Phase::Spent { .. } if !here => PhaseStatus::Pending,
            Phase::Stage { .. } | Phase::Spent { .. } => match self.parts.run.started_at_ms {
                None => PhaseStatus::Pending,
                Some(_) => PhaseStatus::Running,
            },
            Phase::Gate { .. } => PhaseStatus::Pending,
            Phase::Completed { .. } if here => PhaseStatus::Completed,
            Phase::Failed { .. } if here => PhaseStatus::Failed,
            Phase::Cancelled { .. } if here && !rows.is_empty() => PhaseStatus::Failed,
            Phase::Completed { .. }
            | Phase::Failed { .. }
            | Phase::Rejected { .. }
            | Phase::Cancelled { .. } => PhaseStatus::Skipped,
        }
    }

    fn details(&self, name: Name, status: PhaseStatus, rows: &[&StageRow]) -> Map<String, Value> {
        let mut details = Map::new();
        if !rows.is_empty() {
            let told = rows.iter().skip(rows.len().saturating_sub(STAGES_MAX));
            let stages: Vec<Value> = told
                .map(|row| {
                    json!({ "stage": row.stage, "attempt": row.attempt, "status": row.status, "summary": row.summary })
                })
                .collect();
            details.insert("attempts".into(), json!(rows.len()));
            details.insert("stages".into(), Value::from(stages));
        }
        if let (PhaseStatus::Skipped, true, Some(made)) =
            (status, name < self.current, &self.request.deploys)
        {
            details.insert("made_by".into(), json!(made));
        }
        if name == self.current {
            self.waiting(&mut details);
        }
        details
    }

    /// What the build waits for, in its current phase.
    fn waiting(&self, details: &mut Map<String, Value>) {
        let run = self.parts.run;
        match &self.state.phase {
            Phase::Gate { gate, reasons, .. } => {
                details.insert("waits_for".into(), json!("approval"));
                details.insert("gate".into(), json!(gate));
                details.insert("reasons".into(), json!(reasons));
                let subject = self.state.facts.subject.as_ref();
                details.insert(
                    "subject_digest".into(),
                    json!(subject.map(|subject| &subject.digest)),
                );
            }
            Phase::Spent { limit, .. } => {
                details.insert("waits_for".into(), json!("budget"));
                details.insert("reason".into(), json!(limit));
            }
            Phase::Stage { stage, attempt } if run.status == RunStatus::Ready => {
                let last = self.parts.stages.last();
                let same = last.filter(|row| row.stage == stage.word());
                let (what, reason) = match same.map(|row| (row.status.as_str(), &row.summary)) {
                    Some(("parked", why)) => ("quota", Some(why)),
                    Some(("retried", why)) => ("retry", Some(why)),
                    Some(_) | None => ("worker", None),
                };
                details.insert("waits_for".into(), json!(what));
                details.insert("attempt".into(), json!(attempt));
                if let Some(reason) = reason {
                    details.insert("reason".into(), json!(reason));
                    let at = self.parts.not_before_ms.map(Time::from_ms);
                    details.insert("not_before".into(), json!(at));
                }
            }
            Phase::Stage { stage, attempt } => {
                details.insert("stage".into(), json!(stage));
                details.insert("attempt".into(), json!(attempt));
                if !self.parts.live {
                    details.insert("waits_for".into(), json!("worker"));
                    details.insert(
                        "reason".into(),
                        json!("its worker is gone; another takes over"),
                    );
                }
            }
            Phase::Completed { .. }
            | Phase::Failed { .. }
            | Phase::Rejected { .. }
            | Phase::Cancelled { .. } => {}
        }
    }
}

/// Where a cancelled build stood: at the stage that was being worked, else after the last one that was done.
fn cancelled_at(stages: &[StageRow], state: &BuildState, request: &BuildRequest) -> (Name, u8) {
    let first = match request.deploys {
        Some(_) => Stage::Preview,
        None => Stage::Spec,
    };
    let stage = match stages.last() {
        None => first,
        Some(row) => {
            let last = stage_of(&row.stage).unwrap_or(first);
            match row.status.as_str() {
                "done" => after(last, state),
                "repairing" => Stage::Generate,
                "amending" => Stage::Spec,
                _ => last,
            }
        }
    };
    (Name::of(stage), percent_of(stage, 0))
}

fn after(stage: Stage, state: &BuildState) -> Stage {
    let place = Stage::ALL.iter().position(|one| *one == stage);
    let next = place.and_then(|place| Stage::ALL.get(place + 1)).copied();
    let next = next.unwrap_or(Stage::Register);
    match next {
        Stage::Preview if !state.policy.auto_deploy => Stage::Verify,
        next => next,
    }
}
