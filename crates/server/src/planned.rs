//! A plan: what the pipeline would build, on the wire.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use agentwright_api::{
    Choice, CreateBuild, Difference, Missing, Plan, PlanRequest, PlanVerdict, code,
};
use agentwright_domain::build::BuildRequest;
use agentwright_domain::ids::Slug;
use agentwright_pipeline::Verdict;

/// What would be built.
pub(crate) async fn plan(app: &App, who: &Who, request: PlanRequest) -> Result<Plan, ApiError> {
    if !request.foundations.is_empty() {
        who.require_instance_admin()?;
    }
    let request = BuildRequest {
        intent: request.intent,
        spec: request.spec,
        inputs: request.inputs,
        base_dir: request.base_dir,
        zone: request.zone,
        changes: request.changes,
        foundations: request.foundations,
        ..BuildRequest::default()
    };
    let unable = |why| ApiError::Unavailable(code::UNAVAILABLE, why);
    let builds = app.builds().builds().await.map_err(unable)?;
    let plan = builds.plan(&who.scope, &request).await.map_err(unable)?;
    Ok(worded(plan))
}

/// The name that a build of this intent would give its automation; `None` where it would be refused.
pub(crate) async fn name(app: &App, who: &Who, request: &CreateBuild) -> Option<Slug> {
    let request = BuildRequest {
        intent: request.intent.clone(),
        inputs: request.inputs.clone(),
        base_dir: request.base_dir.clone(),
        zone: request.zone.clone(),
        foundations: request.foundations.clone(),
        ..BuildRequest::default()
    };
    let builds = app.builds().builds().await.ok()?;
    builds.plan(&who.scope, &request).await.ok()?.name
}

fn worded(plan: agentwright_pipeline::Plan) -> Plan {
    let verdict = match plan.verdict {
        Verdict::Ready => PlanVerdict::Ready,
        Verdict::Model => PlanVerdict::Model,
        Verdict::Incomplete => PlanVerdict::Incomplete,
        Verdict::Refused => PlanVerdict::Refused,
    };
    let missing = plan.missing.into_iter().map(|question| Missing {
        name: question.input,
        question: question.question,
        examples: question.examples,
    });
    let possible = plan.possible.into_iter().map(|possible| Choice {
        foundation: possible.foundation,
        does: possible.does,
        example: Some(possible.example),
    });
    let differs = plan.differs.into_iter().map(|difference| Difference {
        at: difference.at,
        before: difference.before,
        after: difference.after,
    });
    Plan {
        verdict,
        reason: plan.reason,
        foundation: plan.foundation,
        name: plan.name,
        kind: plan.kind,
        purpose: plan.purpose,
        trigger: plan.trigger,
        inputs: plan.inputs,
        missing: missing.collect(),
        permissions: plan.permissions,
        acceptance: plan.acceptance,
        permissions_digest: plan.permissions_digest,
        spec: plan.spec,
        possible: possible.collect(),
        notes: plan.notes,
        differs: differs.collect(),
        from_version: plan.from_version,
    }
}
