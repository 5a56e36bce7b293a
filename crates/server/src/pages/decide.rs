//! What people do to a build by clicking. The same signals as over the API.

use super::build::given;
use super::frame::{Fields, Frame, html_as};
use crate::app::{App, Undecided};
use crate::error::ApiError;
use crate::extract::{IdempotencyKey, Named};
use crate::find;
use crate::submit::{self, Wish};
use crate::view;
use agentwright_api::{DeployBuild, NOTES_MAX_CHARS, RetryBuild};
use agentwright_domain::approval::Subject;
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::ApprovalId;
use agentwright_domain::principal::Role;
use agentwright_domain::run::{Decision, Refusal, Run, RunKind, Signal};
use agentwright_engine::SignalError;
use agentwright_pages::{BuildPage, SAW};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

pub(super) async fn approve(
    State(app): State<App>,
    frame: Frame,
    Named(id): Named,
    fields: Fields,
) -> Result<Response, ApiError> {
    decide(&app, &frame, &id, &fields, Answer::Yes).await
}

pub(super) async fn reject(
    State(app): State<App>,
    frame: Frame,
    Named(id): Named,
    fields: Fields,
) -> Result<Response, ApiError> {
    decide(&app, &frame, &id, &fields, Answer::No).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
}

/// Says yes or no to exactly the subject that the form carries. Where something else waits by now, nothing is
/// decided: the page is shown as it is, with what changed.
async fn decide(
    app: &App,
    frame: &Frame,
    id: &str,
    fields: &Fields,
    answer: Answer,
) -> Result<Response, ApiError> {
    frame.who.require(Role::Approver)?;
    let run = find::run(app, &frame.who, RunKind::Build, id).await?;
    let subject = Digest::parse(fields.text("subject")).map_err(|_| {
        ApiError::Invalid(vec![agentwright_api::FieldProblem {
            at: "subject".into(),
            problem: "is no digest: load the build's page again and decide there".into(),
        }])
    })?;
    let notes: Option<String> = fields.given("notes");
    let decision = Decision {
        id: ApprovalId::new(app.store().new_id()),
        approved: answer == Answer::Yes,
        by: frame.who.name.clone(),
        notes: notes.map(|notes| notes.chars().take(NOTES_MAX_CHARS).collect()),
        subject: Some(subject),
    };
    let did = match answer {
        Answer::Yes => "approve",
        Answer::No => "reject",
    };
    let audit = frame.who.audit();
    match app.decide(&frame.who.scope, &run, decision, audit).await {
        Ok(_) => Ok(frame.onward(&format!("builds/{}?did={did}", run.id))),
        Err(Undecided::Engine(SignalError::Refused(refusal))) => {
            refused(app, frame, &run, |now| words(now, &refusal, fields)).await
        }
        // The row or the version that it was made from is not what it was.
        Err(Undecided::Row(ApiError::Conflict(_, said))) => {
            refused(app, frame, &run, |_| said).await
        }
        Err(error) => Err(error.into()),
    }
}

/// The build's page as it is now, saying why nothing was done: 409.
async fn refused(
    app: &App,
    frame: &Frame,
    run: &Run,
    problem: impl FnOnce(&Run) -> String,
) -> Result<Response, ApiError> {
    let run = app.store().run(&frame.who.scope, &run.id).await?;
    let run = run.ok_or_else(|| ApiError::no("build", "of this page"))?;
    let mut given = given(app, frame, &run).await?;
    given.problem = Some(problem(&run));
    let page = BuildPage::new(frame.shell(app).await?, given);
    html_as(StatusCode::CONFLICT, &page)
}

/// Why a decision was not taken, on the page.
fn words(run: &Run, refusal: &Refusal, fields: &Fields) -> String {
    let now = view::build_parts(run).and_then(|(state, _)| state.facts.subject.as_ref());
    match refusal {
        Refusal::Stale { .. } => format!(
            "Nothing was decided: what waits is no longer what you saw. {} Look at it below and decide again.",
            changed(fields, now)
        ),
        Refusal::NotWaiting { .. } => {
            format!("Nothing was decided: {refusal}. Somebody may have decided before you.")
        }
        Refusal::Ended { .. } | Refusal::NotSpent { .. } | Refusal::NotWorking { .. } => {
            format!("Nothing was done: {refusal}.")
        }
    }
}

/// Which parts of what waits differ from those that the form was made of.
fn changed(saw: &Fields, now: Option<&Subject>) -> String {
    let Some(now) = now else {
        return "Nothing waits any more.".to_owned();
    };
    let parts = [
        ("the spec", SAW.spec, Some(&now.spec)),
        ("the code", SAW.code, now.code.as_ref()),
        ("the evidence", SAW.evidence, now.evidence.as_ref()),
        ("the target", SAW.target, Some(&now.target)),
        ("the policy", SAW.policy, Some(&now.policy)),
    ];
    let differs: Vec<String> = parts
        .into_iter()
        .filter(|(_, field, now)| saw.text(field) != now.map_or("", Digest::as_str))
        .map(|(what, field, now)| {
            let was = Digest::parse(saw.text(field));
            let was = was.as_ref().map_or("none", Digest::short).to_owned();
            format!(
                "{what} was {was} and is {}",
                now.map_or("none", Digest::short)
            )
        })
        .collect();
    match differs.as_slice() {
        [] => "It is asked anew.".to_owned(),
        some => format!("What changed: {}.", some.join("; ")),
    }
}

pub(super) async fn cancel(
    State(app): State<App>,
    frame: Frame,
    Named(id): Named,
    fields: Fields,
) -> Result<Response, ApiError> {
    let reason = fields.given("reason");
    let signal = Signal::Cancel {
        by: frame.who.name.clone(),
        reason: reason
            .unwrap_or_else(|| "as asked".to_owned())
            .chars()
            .take(1_000)
            .collect(),
    };
    signalled(&app, &frame, &id, signal, "cancel").await
}

pub(super) async fn resume(
    State(app): State<App>,
    frame: Frame,
    Named(id): Named,
) -> Result<Response, ApiError> {
    let signal = Signal::Resume {
        by: frame.who.name.clone(),
    };
    signalled(&app, &frame, &id, signal, "resume").await
}

async fn signalled(
    app: &App,
    frame: &Frame,
    id: &str,
    signal: Signal,
    did: &str,
) -> Result<Response, ApiError> {
    let run = find::run(app, &frame.who, RunKind::Build, id).await?;
    match app
        .engine()
        .signal(&frame.who.scope, &run.id, signal, frame.who.audit())
        .await
    {
        Ok(_) => Ok(frame.onward(&format!("builds/{}?did={did}", run.id))),
        Err(SignalError::Refused(refusal)) => {
            refused(app, frame, &run, |now| {
                words(now, &refusal, &Fields::default())
            })
            .await
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn retry(
    State(app): State<App>,
    frame: Frame,
    Named(id): Named,
) -> Result<Response, ApiError> {
    let run = find::run(&app, &frame.who, RunKind::Build, &id).await?;
    let wish = Wish::again(&run, RetryBuild::default())?;
    let build = submit::build(&app, &frame.who, IdempotencyKey(None), wish).await?;
    Ok(frame.onward(&format!("builds/{}?did=submit", build.id)))
}

pub(super) async fn deploy(
    State(app): State<App>,
    frame: Frame,
    Named(id): Named,
) -> Result<Response, ApiError> {
    frame.who.require(Role::Approver)?;
    let run = find::run(&app, &frame.who, RunKind::Build, &id).await?;
    let wish = Wish::deploying(&run, DeployBuild::default(), &frame.who)?;
    let build = submit::build(&app, &frame.who, IdempotencyKey(None), wish).await?;
    Ok(frame.onward(&format!("builds/{}?did=submit", build.id)))
}
