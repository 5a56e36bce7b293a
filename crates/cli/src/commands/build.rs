//! `build` and `change`: plan, submit, follow to the end.

use agentwright_api::{Build, Client, ClientError, CreateBuild, Plan, PlanRequest, code};
use agentwright_domain::ids::Slug;
use uuid::Uuid;

use super::{App, finish, plan};
use crate::args::{self, How, Mode, WaitForQuota};
use crate::ask::{self, Answer};
use crate::describe;
use crate::fault::{Exit, Fault};
use crate::output::can_ask;

/// `build`.
pub(super) async fn build(app: &App, args: args::Build) -> Result<Exit, Fault> {
    let request = plan::request(args.intent, args.spec.as_deref(), &args.how)?;
    from_plan(app, request, args.label, args.mode, &args.how).await
}

/// `change`: the same with the deployment that it changes; what differs is shown with the plan.
pub(super) async fn change(app: &App, args: args::Change) -> Result<Exit, Fault> {
    let mut request = plan::request(args.intent, None, &args.how)?;
    request.changes = Some(args.name);
    from_plan(app, request, None, Mode::Final, &args.how).await
}

async fn from_plan(
    app: &App,
    mut request: PlanRequest,
    label: Option<Slug>,
    mode: Mode,
    how: &How,
) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    if how.plan {
        let plan = client.plan(&request).await?;
        let exit = plan::show(app, &plan);
        show_differences(app, &plan, request.changes.is_some(), true);
        return Ok(exit);
    }
    let plan = match plan::ready(app, &client, &mut request).await? {
        Ok(plan) => plan,
        Err(exit) => return Ok(exit),
    };
    let is_change = request.changes.is_some();
    if !app.out.is_json() {
        for line in describe::plan(&plan) {
            app.out.note(line);
        }
    }
    show_differences(app, &plan, is_change, false);
    if is_change && !how.yes && can_ask() && !app.out.is_json() {
        match ask::yes_or_no("Build this next version?", Answer::Yes).await {
            Answer::Yes => {}
            Answer::No | Answer::Later => {
                app.out.note("nothing was changed");
                return Ok(Exit::Done);
            }
        }
    }
    let chosen = label.is_some();
    let mut create = CreateBuild {
        // People look for it under the automation's name.
        label: label.or_else(|| plan.name.clone()),
        mode: mode.into(),
        auto_deploy: !how.no_deploy,
        repairs: how.repairs,
        wait_for_quota: how.wait_for_quota == WaitForQuota::Yes,
        repair_failing: how.repair_failing,
        // A yes to the plan that was shown, and to nothing beyond it.
        advance: how.yes.then(|| plan.permissions_digest.clone()).flatten(),
        // Where somebody deploys another version meanwhile it is refused, not put over that.
        from_version: plan.from_version,
        ..CreateBuild::of(request)
    };
    let mut made = created(&client, &create).await;
    if !chosen && label_taken(&made) {
        // Another build of it is under way; the daemon makes a label that is free.
        create.label = None;
        made = created(&client, &create).await;
    }
    let build = made?;
    finish::submitted(app, &client, &build, how.detach).await
}

async fn created(client: &Client, create: &CreateBuild) -> Result<Build, ClientError> {
    let key = Uuid::now_v7().to_string();
    client.create_build(create, Some(&key)).await
}

fn label_taken(made: &Result<Build, ClientError>) -> bool {
    let problem = made.as_ref().err().and_then(ClientError::problem);
    problem.is_some_and(|problem| problem.code == code::LABEL_TAKEN)
}

fn show_differences(app: &App, plan: &Plan, is_change: bool, result: bool) {
    if !is_change || app.out.is_json() {
        return;
    }
    for line in describe::differences(&plan.differs) {
        if result {
            app.out.line(line);
        } else {
            app.out.note(line);
        }
    }
}
