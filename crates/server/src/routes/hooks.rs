//! Links that decide at a gate: whoever holds one may use it once. A GET only shows what a POST would do, so that
//! a preview of the link, a prefetch or a wrong touch decides nothing.
//!
//! These routes need no key: the token in the path is one, for one decision (`crate::asking`).

use crate::app::{App, Undecided};
use crate::error::ApiError;
use crate::extract::Named;
use agentwright_api::code;
use agentwright_domain::build::Phase;
use agentwright_domain::ids::ApprovalId;
use agentwright_domain::run::{Decision, Run, RunState};
use agentwright_engine::SignalError;
use agentwright_store::{Actor, Audit, DecisionToken};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Lines of a preview on the page.
const PREVIEW_LINES: usize = 20;

/// What the link would do, with a button that does it.
pub(crate) async fn show(State(app): State<App>, Named(token): Named) -> Response {
    match open(&app, &token).await {
        Ok((of, run)) => page(StatusCode::OK, &question(&of, &run)),
        Err(error) => refusal_page(error),
    }
}

/// Decides. Answers a browser with a page, everything else with JSON.
pub(crate) async fn decide(
    State(app): State<App>,
    Named(token): Named,
    headers: HeaderMap,
) -> Response {
    let decided = decided(&app, &token).await;
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let browser = accepts.is_some_and(|kinds| kinds.contains("text/html"));
    match (decided, browser) {
        (Ok((of, run)), true) => page(StatusCode::OK, &answered(&of, &run)),
        (Ok((of, run)), false) => {
            let decision = if of.approves { "approved" } else { "rejected" };
            sealed(Json(json!({"build": run.label, "decision": decision})).into_response())
        }
        (Err(error), true) => refusal_page(error),
        (Err(error), false) => sealed(error.into_response()),
    }
}

/// The token and its run, when it can still decide.
async fn open(app: &App, token: &str) -> Result<(DecisionToken, Run), ApiError> {
    let unknown = || ApiError::NotFound("this link is not known here, or expired long ago".into());
    let of = app
        .store()
        .decision_token(token)
        .await?
        .ok_or_else(unknown)?;
    let run = app
        .store()
        .run(&of.scope, &of.run)
        .await?
        .ok_or_else(unknown)?;
    if of.used_at_ms.is_some() {
        let said = format!("{} was already decided with such a link", run.label);
        return Err(ApiError::Gone(code::LINK_USED, said));
    }
    if of.expires_at_ms <= app.store().now_ms().await? {
        let said = format!("this link has expired: agentwright show {}", run.label);
        return Err(ApiError::Gone(code::LINK_EXPIRED, said));
    }
    let RunState::Build(state) = &run.state else {
        return Err(unknown());
    };
    // What the engine would refuse is said before the button is shown.
    let Phase::Gate { gate, .. } = &state.phase else {
        let said = format!("{} does not wait for a decision any more", run.label);
        return Err(ApiError::Conflict(code::NOT_WAITING, said));
    };
    let subject = state.facts.subject.as_ref().map(|subject| &subject.digest);
    if *gate != of.gate || subject != Some(&of.subject) {
        let said = format!(
            "what waits at {} has changed since this link was sent: look again before you decide",
            run.label
        );
        return Err(ApiError::Conflict(code::STALE, said));
    }
    Ok((of, run))
}

/// The engine's commit is what counts: of two at once it takes one.
async fn decided(app: &App, token: &str) -> Result<(DecisionToken, Run), ApiError> {
    let (of, before) = open(app, token).await?;
    let decision = Decision {
        id: ApprovalId::new(app.store().new_id()),
        approved: of.approves,
        by: format!("a link sent to {}", of.sent_to),
        notes: None,
        subject: Some(of.subject.clone()),
    };
    // Nobody was known at the door: the link is who did it.
    let audit = Audit {
        actor: Actor {
            name: format!("a link sent to {}", of.sent_to),
            principal: "link".to_owned(),
        },
        action: "POST /hooks/decide/{token}".to_owned(),
    };
    let run = match app.decide(&of.scope, &before, decision, Some(audit)).await {
        Ok(run) => run,
        Err(Undecided::Engine(SignalError::Unknown)) => {
            return Err(ApiError::no("build", of.run.as_str()));
        }
        Err(error) => return Err(error.into()),
    };
    // The decision stands; at worst a second use is refused because nothing waits.
    if let Err(error) = app.store().use_decision_tokens(&of).await {
        tracing::warn!(%error, "cannot note that a link was used");
    }
    Ok((of, run))
}

fn question(of: &DecisionToken, run: &Run) -> String {
    let verb = if of.approves { "Approve" } else { "Reject" };
    let mut facts = format!(
        "<p>At the {} gate. What is decided on: <code>{}</code></p>",
        of.gate.word(),
        of.subject.short()
    );
    if let RunState::Build(state) = &run.state {
        let lines = state.facts.risks.iter().map(|risk| format!("risk: {risk}"));
        let lines = lines.chain(state.facts.preview.iter().cloned());
        let lines: Vec<String> = lines
            .take(PREVIEW_LINES)
            .map(|line| escaped(&line))
            .collect();
        if !lines.is_empty() {
            facts.push_str(&format!("<pre>{}</pre>", lines.join("\n")));
        }
    }
    format!(
        "<h1>{verb} {label}?</h1>{facts}<form method=\"post\"><button>{verb} {label}</button></form>",
        label = escaped(run.label.as_str()),
    )
}

fn answered(of: &DecisionToken, run: &Run) -> String {
    let done = if of.approves { "approved" } else { "rejected" };
    format!(
        "<h1>{} is {done}</h1><p>This page can be closed.</p>",
        escaped(run.label.as_str())
    )
}

fn refusal_page(error: ApiError) -> Response {
    let problem = error.problem();
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let said = format!(
        "<h1>{}</h1><p>{}</p>",
        escaped(&problem.title),
        escaped(&problem.detail)
    );
    let mut response = page(status, &said);
    // The cause of a 500 goes to the log as everywhere.
    response
        .extensions_mut()
        .extend(error.into_response().extensions().clone());
    response
}

fn page(status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>agentwright</title><main>{body}</main></html>"
    );
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    );
    sealed(response)
}

/// The address is the key: it is kept nowhere and told to nobody.
fn sealed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// Text in HTML.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
