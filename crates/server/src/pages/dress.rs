//! What holds for every page: what its browser may do, and how a refusal looks.

use super::frame::{Place, html_as};
use crate::app::App;
use crate::error::Cause;
use crate::extract::Who;
use agentwright_api::{PREFIX, Problem, code};
use agentwright_pages::ProblemPage;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Only our own files, nothing inline, nothing evaluated; forms go nowhere else, and nobody frames us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'";
/// The longest problem that is made a page of, in bytes.
const PROBLEM_MAX_BYTES: usize = 1 << 20;

/// The id under which the log knows a request; an extension of every request.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// Makes a page of a refusal for whoever asked for a page, and says what a browser may do with pages.
pub(crate) async fn dressed(State(app): State<App>, request: Request, next: Next) -> Response {
    let for_program = !wants_page(request.uri().path(), request.headers());
    let get = request.method() == Method::GET;
    let id = request.extensions().get::<RequestId>().cloned();
    let (parts, body) = request.into_parts();
    let place = Place::of(&app, &parts);
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if is(&response, "application/problem+json") && !for_program {
        let who = response.extensions().get::<Who>().cloned();
        let place = place.of_session(&response);
        response = as_page(&app, &place, who, id, response).await;
    }
    if is(&response, "text/html") {
        guard(response.headers_mut(), get);
    }
    response
}

/// Whether a person looks: a browser, and no path of programs.
fn wants_page(path: &str, headers: &HeaderMap) -> bool {
    let program = [PREFIX, "/executor/", "/mcp", "/metrics"]
        .iter()
        .any(|of_programs| path.starts_with(of_programs));
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    !program && accept.is_some_and(|types| types.contains("text/html"))
}

/// Whether the response is of that type.
pub(crate) fn is(response: &Response, media_type: &str) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with(media_type))
}

fn guard(headers: &mut HeaderMap, get: bool) {
    let cache = if get { "private, no-cache" } else { "no-store" };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, cache),
        (header::VARY, "accept, cookie"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

async fn as_page(
    app: &App,
    place: &Place,
    who: Option<Who>,
    id: Option<RequestId>,
    response: Response,
) -> Response {
    let status = response.status();
    let (mut parts, body) = response.into_parts();
    let read = axum::body::to_bytes(body, PROBLEM_MAX_BYTES).await;
    let problem: Option<Problem> = read
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let (title, detail) = match problem {
        Some(problem) if problem.code == code::NO_ROUTE => (
            "There is nothing here".to_owned(),
            "The address may be mistyped, or what it named is gone.".to_owned(),
        ),
        Some(problem) => (problem.title, problem.detail),
        None => ("Something went wrong".to_owned(), String::new()),
    };
    let name = who.map_or_else(String::new, |who| who.name);
    let shell = place.shell(app, &name, 0);
    let fault = status.is_server_error();
    let page = ProblemPage::new(shell, status.as_u16(), title, detail)
        .of_request(id.filter(|_| fault).map(|RequestId(id)| id));
    let mut made = match html_as(status, &page) {
        Ok(made) => made,
        Err(error) => return error.into_response(),
    };
    // Who waits, who authenticates and why it failed is said with the page too.
    for name in [header::RETRY_AFTER, header::WWW_AUTHENTICATE, header::ALLOW] {
        if let Some(value) = parts.headers.remove(&name) {
            made.headers_mut().insert(name, value);
        }
    }
    if let Some(cause) = parts.extensions.remove::<Cause>() {
        made.extensions_mut().insert(cause);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_a_page_and_a_program_a_problem() {
        let mut headers = HeaderMap::new();
        assert!(!wants_page("/builds/x", &headers));
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/html,*/*"));
        assert!(wants_page("/builds/x", &headers));
        assert!(!wants_page("/api/v1/builds/x", &headers));
    }
}
