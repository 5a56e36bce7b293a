//! Logging in with a browser: a one-time code or a key, typed or sent as a form, becomes a session's cookie.
//!
//! `GET /login?code=…` shows a form with the code in it and uses nothing up: mail scanners and link previews open
//! links, too. `POST /login` does.

use super::shown::COOKIE;
use super::{csrf, said};
use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use crate::pages::{Place, html_as};
use agentwright_domain::principal::{KeyKind, Principal};
use agentwright_pages::Login;
use agentwright_store::{KeyCheck, SESSION_MS};
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

/// The longest code or key that is looked at.
const SHOWN_MAX: usize = 200;
/// The longest page to return to.
const NEXT_MAX: usize = 2_000;
/// `GET /login`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    code: String,
    next: String,
}

/// `POST /login`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Given {
    code: String,
    key: String,
    next: String,
}

pub(crate) async fn form(
    State(app): State<App>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    // Whatever else the address says: there is a form to fill in.
    let Query(asked) = asked.unwrap_or_default();
    page(&app, StatusCode::OK, &asked, "")
}

pub(crate) async fn log_in(
    State(app): State<App>,
    headers: HeaderMap,
    given: Result<Form<Given>, FormRejection>,
) -> Result<Response, ApiError> {
    let Form(given) = given.unwrap_or_default();
    // Nobody is logged in by another site's form.
    csrf::same_site(&headers)?;
    let asked = Asked {
        code: String::new(),
        next: given.next,
    };
    let refused = |why: &str| Ok(page(&app, StatusCode::UNAUTHORIZED, &asked, why));
    let (code, key) = (given.code.trim(), given.key.trim());
    if code.len() > SHOWN_MAX || key.len() > SHOWN_MAX {
        return refused("This is neither a code nor a key.");
    }
    let begun = if key.is_empty() {
        app.store().redeem_login_code(code).await?
    } else {
        match app.store().check_key(key).await? {
            KeyCheck::Valid(key) if key.kind == KeyKind::Person => {
                Some(app.store().add_session(&key).await?)
            }
            KeyCheck::Valid(_) => {
                return refused("Keys of agents and services are not for browsers.");
            }
            check => return refused(said(&check)),
        }
    };
    let Some((session, token)) = begun else {
        return refused(
            "This code is unknown, used already, or older than ten minutes. Make another: agentwright login",
        );
    };
    tracing::info!(by = session.name, role = %session.role, "logged in");
    let cookie = cookie(&app, &token, SESSION_MS / 1_000);
    Ok(moved(&next_page(&app, &asked.next), Some(&cookie)))
}

/// `POST /logout`: ends the session and takes its cookie away.
pub(crate) async fn log_out(
    State(app): State<App>,
    who: Option<axum::Extension<Who>>,
    trail: super::Trail,
) -> Result<Response, ApiError> {
    if let Some(axum::Extension(who)) = who
        && let Principal::Session { id, .. } = &who.principal
    {
        let actor = super::trail::actor(&who);
        app.store().end_session(&who.scope, id, &actor).await?;
        app.access_changed();
    }
    trail.written();
    let gone = cookie(&app, "", 0);
    Ok(moved(
        &format!("{}/login", app.config().prefix()),
        Some(&gone),
    ))
}

/// To the login page, and back to here afterwards.
pub(super) fn redirect(app: &App, request: &Request) -> Response {
    let here = request
        .uri()
        .path_and_query()
        .map_or("/", axum::http::uri::PathAndQuery::as_str);
    let next = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("next", here)
        .finish();
    moved(&format!("{}/login?{next}", app.config().prefix()), None)
}

fn moved(to: &str, cookie: Option<&str>) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    if let Ok(to) = HeaderValue::from_str(to) {
        headers.insert(header::LOCATION, to);
    }
    if let Some(Ok(cookie)) = cookie.map(HeaderValue::from_str) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `Lax`, so that a link in a notice opens its page; what changes something is guarded by the CSRF token.
fn cookie(app: &App, token: &str, seconds: i64) -> String {
    let secure = if app.config().is_https() {
        "; Secure"
    } else {
        ""
    };
    let prefix = app.config().prefix();
    format!("{COOKIE}={token}; Path={prefix}/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}")
}

/// Only a path of ours: never another host's.
fn next_page(app: &App, asked: &str) -> String {
    let ours = asked.starts_with('/')
        && asked.len() <= NEXT_MAX
        && !asked[1..].starts_with(['/', '\\'])
        && asked.bytes().all(|byte| byte.is_ascii_graphic());
    let path = if ours { asked } else { "/" };
    format!("{}{path}", app.config().prefix())
}

fn page(app: &App, status: StatusCode, asked: &Asked, problem: &str) -> Response {
    let shell = Place::outside(app).shell(app, "", 0);
    let problem = (!problem.is_empty()).then(|| problem.to_owned());
    let login = Login::new(shell, problem, asked.next.clone(), asked.code.clone());
    html_as(status, &login).unwrap_or_else(IntoResponse::into_response)
}
