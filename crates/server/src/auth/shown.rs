//! What a request shows for itself: a key, a session, or nothing.

use crate::error::ApiError;
use agentwright_api::{KEY_HEADER, code};
use axum::http::{HeaderMap, StatusCode, header};

/// The cookie that carries a session's token.
pub(super) const COOKIE: &str = "aw_session";

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// A text that should be a key.
    Key(String),
    /// A session's token. A key that is shown beside it counts instead.
    Session(String),
    /// Nothing.
    Nothing,
}

impl Shown {
    /// Reads it. Two different keys are refused: which one is meant cannot be guessed.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut keys = Vec::new();
        for value in headers.get_all(header::AUTHORIZATION) {
            let text = value.to_str().unwrap_or_default();
            let (scheme, key) = text.split_once(' ').unwrap_or((text, ""));
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(ApiError::Unauthorized("Authorization must be: Bearer aw_…"));
            }
            keys.push(key.trim());
        }
        for value in headers.get_all(KEY_HEADER) {
            keys.push(value.to_str().unwrap_or_default().trim());
        }
        keys.dedup();
        match keys.as_slice() {
            [] => Ok(session(headers).map_or(Self::Nothing, Self::Session)),
            [key] => Ok(Self::Key((*key).to_owned())),
            [_, ..] => Err(ApiError::Unreadable(
                StatusCode::BAD_REQUEST,
                code::UNAUTHORIZED,
                "two different keys are shown: send one".into(),
            )),
        }
    }
}

fn session(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, token)| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &'static str)]) -> Result<Shown, u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        Shown::of(&headers).map_err(|error| match error {
            ApiError::Unreadable(status, ..) => status.as_u16(),
            ApiError::Unauthorized(_) => 401,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_key_is_read_from_either_header_and_counts_before_a_session() {
        let key = |text: &str| Ok(Shown::Key(text.to_owned()));
        assert_eq!(of(&[]), Ok(Shown::Nothing));
        assert_eq!(of(&[("authorization", "bearer  aw_1 ")]), key("aw_1"));
        assert_eq!(of(&[("x-api-key", "aw_1")]), key("aw_1"));
        let both = [("x-api-key", "aw_1"), ("authorization", "Bearer aw_1")];
        assert_eq!(of(&both), key("aw_1"));
        assert_eq!(of(&[("authorization", "Bearer")]), key(""));
        let session = ("cookie", "a=b; aw_session=t; c");
        assert_eq!(of(&[session]), Ok(Shown::Session("t".into())));
        assert_eq!(of(&[session, ("x-api-key", "aw_1")]), key("aw_1"));
    }

    #[test]
    fn two_keys_and_other_schemes_are_refused() {
        let two = [("x-api-key", "aw_1"), ("authorization", "Bearer aw_2")];
        assert_eq!(of(&two), Err(400));
        assert_eq!(of(&[("x-api-key", "a"), ("x-api-key", "b")]), Err(400));
        assert_eq!(of(&[("authorization", "Basic YTpi")]), Err(401));
        assert_eq!(of(&[("authorization", "")]), Err(401));
    }
}
