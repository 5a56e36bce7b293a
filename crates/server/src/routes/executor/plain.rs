//! What these paths do differently: faults are 400, addresses are absolute.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Body;
use agentwright_api::executor::JobQuery;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, header};
use garde::Validate;
use serde::de::DeserializeOwned;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Where the server is when nothing says more.
const ADDRESS: &str = "http://127.0.0.1:8400";

/// The same as what it wraps, with 400 for its faults.
pub(super) struct Plain<E>(pub(super) E);

impl<S, E> FromRequestParts<S> for Plain<E>
where
    S: Send + Sync,
    E: FromRequestParts<S, Rejection = ApiError>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let taken = E::from_request_parts(parts, state).await;
        taken.map(Self).map_err(ApiError::plain)
    }
}

/// A JSON body, with 400 for its faults.
pub(super) struct Told<T>(pub(super) T);

impl<S, T> FromRequest<S> for Told<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Body(told) = Body::from_request(request, state)
            .await
            .map_err(ApiError::plain)?;
        Ok(Self(told))
    }
}

/// Where people reach us: as configured, else as the caller says itself; used in answers to that caller only.
pub(super) struct Place {
    base: String,
}

impl Place {
    pub(super) fn of(app: &App, headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(FORWARDED_HOST)
            .or_else(|| text(header::HOST))
            .and_then(|host| host.parse::<Authority>().ok());
        let tls = text(FORWARDED_PROTO) == Some("https");
        let scheme = if tls { "https" } else { "http" };
        let base = match (&app.config().settings.public_url, host) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(host)) => format!("{scheme}://{host}"),
            (None, None) => app.address().unwrap_or_else(|| ADDRESS.to_owned()),
        };
        Self { base }
    }

    pub(super) fn http(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(super) fn ws(&self, path: &str) -> String {
        // http becomes ws, https becomes wss.
        let rest = self.base.strip_prefix("http").unwrap_or(&self.base);
        format!("ws{rest}{path}")
    }

    /// The same list from another offset on.
    pub(super) fn next(&self, query: &JobQuery, limit: u32, offset: u32) -> String {
        let mut pairs = vec![format!("limit={limit}"), format!("offset={offset}")];
        let status = query.status.map(|status| status.word().to_owned());
        for (name, value) in [
            ("status", &status),
            ("from", &query.from),
            ("to", &query.to),
            ("date_range", &query.date_range),
        ] {
            if let Some(value) = value {
                pairs.push(format!("{name}={}", escaped(value)));
            }
        }
        self.http(&format!("/executor/builds?{}", pairs.join("&")))
    }
}

/// RFC 3986: everything but unreserved characters.
fn escaped(text: &str) -> String {
    let mut to = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            to.push_str(&format!("%{byte:02X}"));
        }
    }
    to
}
