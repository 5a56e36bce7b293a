//! `ETag` and `If-Match`: whoever changes a thing may say which state of it was seen.

use crate::error::ApiError;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// The longest tag that is looked at, in bytes.
const TAG_MAX: usize = 200;

/// What the caller saw; nothing when it does not say.
pub(crate) struct IfMatch(Option<String>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let given = parts.headers.get(header::IF_MATCH);
        let text = given.map(|value| value.to_str().unwrap_or_default().to_owned());
        Ok(Self(text.filter(|text| text.len() <= TAG_MAX)))
    }
}

impl IfMatch {
    /// The same; answers the tag where exactly that one was seen, so that the change itself can hold on to it.
    pub(crate) fn pinned(&self, tag: i64) -> Result<Option<i64>, ApiError> {
        self.holds(tag)?;
        let named = |seen: &String| seen.split(',').any(|one| one.trim() == text(tag));
        Ok(self.0.as_ref().filter(|seen| named(seen)).map(|_| tag))
    }

    /// Refuses when something else was seen than what is.
    pub(crate) fn holds(&self, tag: i64) -> Result<(), ApiError> {
        let Some(seen) = &self.0 else {
            return Ok(());
        };
        let now = text(tag);
        let same = seen
            .split(',')
            .map(str::trim)
            .any(|one| one == "*" || one == now);
        if same {
            return Ok(());
        }
        Err(ApiError::Changed(format!(
            "it is at {now} now, If-Match names {seen}: look again"
        )))
    }
}

fn text(tag: i64) -> String {
    format!("\"{tag}\"")
}

/// The answer with the tag of what it shows.
pub(crate) fn tagged(tag: i64, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    if let Ok(value) = HeaderValue::from_str(&text(tag)) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_pinned_only_where_exactly_that_was_named() {
        let pinned = |seen: Option<&str>| IfMatch(seen.map(str::to_owned)).pinned(3);
        for (seen, pins) in [
            (None, None),
            (Some("*"), None),
            (Some("\"3\""), Some(3)),
            (Some("\"2\", \"3\""), Some(3)),
            (Some("*, \"3\""), Some(3)),
        ] {
            assert_eq!(pinned(seen).unwrap(), pins, "{seen:?}");
        }
        for other in ["\"2\"", "3", "\"33\"", "W/\"3\""] {
            assert!(
                matches!(pinned(Some(other)), Err(ApiError::Changed(_))),
                "{other}"
            );
        }
    }
}
