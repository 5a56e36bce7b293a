//! For which organization somebody asks: what they belong to, checked against what the request says.
//!
//! A request may name its organization in the header, in the query, or both; it never widens what the
//! credential allows. Named twice, or not as an id is written: 400. Another one than the credential's: 403,
//! whether it exists or not.

use crate::app::App;
use crate::error::ApiError;
use agentwright_api::{ORGANIZATION_HEADER, code};
use agentwright_domain::ids::{OrganizationId, Slug};
use agentwright_store::OrgScope;
use axum::extract::Request;
use axum::http::{StatusCode, Uri};
use url::form_urlencoded::{Serializer, parse};

/// How a query or a body names it.
pub(crate) const FIELDS: [&str; 2] = ["organizationId", "organization_id"];

/// Whoever belongs to one organization may name that one only.
pub(super) fn own(scope: &OrgScope, request: &mut Request) -> Result<(), ApiError> {
    match named(request)? {
        Some(named) => agrees(scope, named.as_str()),
        None => Ok(()),
    }
}

/// A service key must name one of its own.
pub(super) fn of_service(
    connected: &[OrganizationId],
    request: &mut Request,
) -> Result<OrgScope, ApiError> {
    let Some(named) = named(request)? else {
        return Err(unclear(format!(
            "a service key must say for which organization: {ORGANIZATION_HEADER}: ID"
        )));
    };
    connected
        .iter()
        .find(|id| id.as_str() == named.as_str())
        .map(|id| OrgScope::authenticated(id.clone()))
        .ok_or_else(mismatch)
}

/// The owner of the data directory may name any that exists; without a word it is their own.
pub(super) async fn of_owner(app: &App, request: &mut Request) -> Result<OrgScope, ApiError> {
    let Some(named) = named(request)? else {
        return Ok(OrgScope::local());
    };
    let id = OrganizationId::new(named.as_str());
    match app.store().organization(&id).await? {
        Some(_) => Ok(OrgScope::authenticated(id)),
        None => Err(ApiError::no("organization", named.as_str())),
    }
}

/// Refuses another organization than the scope's.
pub(crate) fn agrees(scope: &OrgScope, named: &str) -> Result<(), ApiError> {
    if scope.organization().as_str() == named {
        Ok(())
    } else {
        Err(mismatch())
    }
}

fn mismatch() -> ApiError {
    ApiError::Forbidden(
        code::ORG_MISMATCH,
        "this key or session may not act for the organization that the request names".into(),
    )
}

fn unclear(detail: String) -> ApiError {
    ApiError::Unreadable(StatusCode::BAD_REQUEST, code::ORGANIZATION, detail)
}

/// What the request names, and takes it out of the query: routes refuse fields that they do not know.
fn named(request: &mut Request) -> Result<Option<Slug>, ApiError> {
    let mut said = Vec::new();
    for value in request.headers().get_all(ORGANIZATION_HEADER) {
        said.push(value.to_str().unwrap_or_default().to_owned());
    }
    if said.len() > 1 {
        return Err(unclear(format!("{ORGANIZATION_HEADER} is there twice")));
    }
    let from_query = taken_from_query(request)?;
    if from_query.len() > 1 {
        return Err(unclear("the query names an organization twice".into()));
    }
    said.extend(from_query);
    said.dedup();
    match said.as_slice() {
        [] => Ok(None),
        [one] => match Slug::parse(one) {
            Ok(id) => Ok(Some(id)),
            Err(error) => Err(unclear(format!("the organization: {error}"))),
        },
        [_, ..] => Err(unclear(
            "the header and the query name different organizations".into(),
        )),
    }
}

fn taken_from_query(request: &mut Request) -> Result<Vec<String>, ApiError> {
    let query = request.uri().query().unwrap_or_default();
    if !query.contains("rganization") {
        return Ok(Vec::new());
    }
    let (ours, rest): (Vec<_>, Vec<_>) = parse(query.as_bytes())
        .into_owned()
        .partition(|(name, _)| FIELDS.contains(&name.as_str()));
    if !ours.is_empty() {
        let path = request.uri().path().to_owned();
        let rest = Serializer::new(String::new()).extend_pairs(rest).finish();
        let left = if rest.is_empty() {
            path
        } else {
            format!("{path}?{rest}")
        };
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(left.parse().map_err(|_| ApiError::NoRoute)?);
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| ApiError::NoRoute)?;
    }
    Ok(ours.into_iter().map(|(_, value)| value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(uri: &str, headers: &[&str]) -> Request {
        let mut request = Request::builder().uri(uri);
        for value in headers {
            request = request.header(ORGANIZATION_HEADER, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn status(error: &ApiError) -> u16 {
        match error {
            ApiError::Unreadable(status, ..) => status.as_u16(),
            ApiError::Forbidden(..) => 403,
            other => panic!("{other:?}"),
        }
    }

    fn own_of(uri: &str, headers: &[&str]) -> Result<String, u16> {
        let scope = OrgScope::authenticated(OrganizationId::new("a"));
        let mut request = request(uri, headers);
        own(&scope, &mut request)
            .map(|()| request.uri().to_string())
            .map_err(|error| status(&error))
    }

    #[test]
    fn ones_own_organization_may_be_named_and_leaves_the_query() {
        assert_eq!(own_of("/x?b=1", &[]), Ok("/x?b=1".into()));
        assert_eq!(own_of("/x", &["a"]), Ok("/x".into()));
        for uri in ["/x?organizationId=a", "/x?organization_id=a"] {
            assert_eq!(own_of(uri, &["a"]), Ok("/x".into()));
        }
        assert_eq!(
            own_of("/x?q=%26y&organizationId=a&z=1", &[]),
            Ok("/x?q=%26y&z=1".into())
        );
    }

    #[test]
    fn another_one_is_403_and_an_unclear_one_400() {
        assert_eq!(own_of("/x", &["b"]), Err(403));
        assert_eq!(own_of("/x?organizationId=b", &[]), Err(403));
        for headers in [
            vec!["A"],
            vec!["a,b"],
            vec!["a, b"],
            vec![""],
            vec!["а"],
            vec!["a", "a"],
            vec!["../b"],
        ] {
            assert_eq!(own_of("/x", &headers), Err(400), "{headers:?}");
        }
        for uri in [
            "/x?organizationId=a&organizationId=b",
            "/x?organizationId=a&organization_id=a",
            "/x?organization%49d=a&organizationId=b",
            "/x?organizationId=",
        ] {
            assert_eq!(own_of(uri, &[]), Err(400), "{uri}");
        }
        assert_eq!(own_of("/x?organizationId=b", &["a"]), Err(400));
    }

    #[test]
    fn a_service_key_names_one_of_its_own() {
        let connected = [OrganizationId::new("a"), OrganizationId::new("c")];
        let of = |headers: &[&str]| {
            of_service(&connected, &mut request("/x", headers))
                .map(|scope| scope.organization().as_str().to_owned())
                .map_err(|error| status(&error))
        };
        assert_eq!(of(&["c"]), Ok("c".into()));
        assert_eq!(of(&[]), Err(400));
        assert_eq!(of(&["b"]), Err(403));
    }
}
