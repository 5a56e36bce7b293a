//! Runs, specs and an executor for tests that are about something else.

use agentwright_domain::build::{
    ApprovalMode, BuildPolicy, BuildRequest, BuildState, Phase, StageOutcome,
};
use agentwright_domain::execution::{self, ExecutionOutcome, ExecutionState, Firing};
use agentwright_domain::ids::{LOCAL_ORGANIZATION, OrganizationId, RunId, Slug};
use agentwright_domain::run::{NewRun, Run, RunInput, RunState, Signal, Usage};
use agentwright_domain::spec::Spec;
use agentwright_engine::{Executor, Handle};
use serde_json::json;

/// A slug that is known to be one.
///
/// # Panics
/// When it is none.
pub fn slug(text: &str) -> Slug {
    Slug::parse(text).expect("a slug")
}

/// A build that asks nobody.
pub fn build_run(id: &str, label: &str) -> NewRun {
    let policy = BuildPolicy::new(ApprovalMode::Auto);
    NewRun {
        organization: OrganizationId::new(LOCAL_ORGANIZATION),
        id: RunId::new(id),
        label: slug(label),
        priority: 100,
        state: RunState::Build(Box::new(BuildState::new(policy))),
        input: RunInput::Build(BuildRequest {
            intent: "nothing".to_owned(),
            base_dir: "/".to_owned(),
            zone: "UTC".to_owned(),
            ..BuildRequest::default()
        }),
        not_before_ms: None,
        repeats: None,
    }
}

/// One firing of a deployment.
pub fn execution_run(id: &str, deployment: &str) -> NewRun {
    NewRun {
        organization: OrganizationId::new(LOCAL_ORGANIZATION),
        id: RunId::new(id),
        label: slug(deployment),
        priority: 50,
        state: RunState::Execution(ExecutionState {
            deployment: slug(deployment),
            version: 1,
            firing: Firing::Scheduled { due_at_ms: 0 },
            policy: spec(deployment).on_failure,
            failures_before: 0,
            phase: execution::Phase::Working { attempt: 1 },
        }),
        input: RunInput::Execution,
        not_before_ms: None,
        repeats: None,
    }
}

/// A small spec.
///
/// # Panics
/// When the format has changed and this was not.
pub fn spec(name: &str) -> Spec {
    serde_json::from_value(json!({
        "format": 1,
        "name": name,
        "purpose": "does nothing",
        "kind": "script",
        "command": ["/bin/true"],
        "trigger": { "type": "once" },
        "acceptance": { "smoke": { "name": "it ends well", "steps": [] }, "cases": [] },
    }))
    .expect("a spec")
}

/// Works every stage at once and well.
pub struct Empty;

#[async_trait::async_trait]
impl Executor for Empty {
    async fn execute(&self, run: &Run, _: &Handle) -> Signal {
        match &run.state {
            RunState::Build(state) => {
                debug_assert!(matches!(state.phase, Phase::Stage { .. }));
                Signal::Stage {
                    outcome: Box::new(StageOutcome::Done {
                        summary: "done".to_owned(),
                        facts: Box::new(state.facts.clone()),
                        records: Vec::new(),
                    }),
                }
            }
            RunState::Execution(_) => Signal::Executed {
                outcome: Box::new(ExecutionOutcome::Succeeded {
                    summary: "done".to_owned(),
                    usage: Usage::default(),
                    log: None,
                    notices: Vec::new(),
                }),
            },
        }
    }
}
