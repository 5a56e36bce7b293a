//! That a browser's request was meant: its CSRF token, and where it comes from.
//!
//! Only sessions are concerned: a cookie goes along by itself, a key does not.

use crate::app::App;
use crate::error::ApiError;
use agentwright_api::{BODY_MAX_BYTES, CSRF_FIELD, CSRF_HEADER, code};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};

/// What pages need to know of the session that asks; an extension of its requests.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Every form has it in a hidden field `_csrf`, every script sends it as `X-CSRF-Token`.
    pub(crate) csrf: String,
}

/// Refuses a changing request without its token, and every request that another site's page sent. Hands the
/// request back with its body and the [`Session`].
pub(super) async fn checked(
    app: &App,
    mut request: Request,
    session: &agentwright_store::Session,
) -> Result<Request, ApiError> {
    let csrf = app.store().csrf_token(session);
    same_site(request.headers())?;
    if !request.method().is_safe() {
        let shown = match request.headers().get(CSRF_HEADER) {
            Some(value) => value.to_str().unwrap_or_default().to_owned(),
            None if is_form(request.headers()) => {
                let (whole, shown) = from_form(request).await?;
                request = whole;
                shown
            }
            None => String::new(),
        };
        if !same(shown.as_bytes(), csrf.as_bytes()) {
            return Err(refused(
                "this session's CSRF token is missing or wrong: load the page again and repeat",
            ));
        }
    }
    request.extensions_mut().insert(Session { csrf });
    Ok(request)
}

/// A browser says where a request comes from; what it does not say is no proof of anything.
pub(super) fn same_site(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else {
        return Ok(());
    };
    let host = text(header::HOST).unwrap_or_default();
    let from = origin.split_once("://").map_or("", |(_, host)| host);
    if !from.is_empty() && from.eq_ignore_ascii_case(host) {
        return Ok(());
    }
    Err(refused(
        "this request comes from another site's page; behind a proxy, let it pass the Host header on",
    ))
}

fn refused(detail: &str) -> ApiError {
    ApiError::Forbidden(code::CSRF, detail.to_owned())
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim() == "application/x-www-form-urlencoded")
}

async fn from_form(request: Request) -> Result<(Request, String), ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, BODY_MAX_BYTES)
        .await
        .map_err(|_| {
            ApiError::Unreadable(
                StatusCode::PAYLOAD_TOO_LARGE,
                code::TOO_LARGE,
                format!("the form is larger than {BODY_MAX_BYTES} bytes, or broke off"),
            )
        })?;
    let shown = url::form_urlencoded::parse(&bytes)
        .find(|(name, _)| name == CSRF_FIELD)
        .map(|(_, value)| value.into_owned());
    let request = Request::from_parts(parts, Body::from(bytes));
    Ok((request, shown.unwrap_or_default()))
}

/// Compares in a time that does not tell where the difference is.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}
