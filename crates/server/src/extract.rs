//! What routes take out of a request: who asks, a checked body, a checked query, a path's segment.

use crate::auth::{FIELDS, Trail, agrees};
use crate::error::ApiError;
use agentwright_api::{BODY_MAX_BYTES, FieldProblem, IDEMPOTENCY_HEADER, IDEMPOTENCY_MAX, code};
use agentwright_domain::principal::{Principal, Role};
use agentwright_domain::spec::Spec;
use agentwright_store::OrgScope;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use garde::Validate;
use serde::de::DeserializeOwned;

/// Who asks. Established by the authenticator (`auth`), never by what a route reads.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    /// Their name, as approvals and events show it.
    pub(crate) name: String,
    /// Whose rows they may see.
    pub(crate) scope: OrgScope,
    /// What they may do there.
    pub(crate) role: Role,
    /// What they showed.
    pub(crate) principal: Principal,
    /// What they are doing, for the audit trail.
    pub(crate) trail: Trail,
}

impl Who {
    /// Refuses whoever may do less. From approver on only a person may, whatever the role of a key.
    pub(crate) fn require(&self, role: Role) -> Result<(), ApiError> {
        if self.role < role {
            return Err(ApiError::Forbidden(
                code::FORBIDDEN,
                format!(
                    "this needs the role {role}, and {:?} has the role {}: an admin can make a key with it",
                    self.name, self.role
                ),
            ));
        }
        if role >= Role::Approver && !self.principal.is_person() {
            return Err(ApiError::Forbidden(
                code::FORBIDDEN,
                "only a person may do this: no agent's and no service's key".into(),
            ));
        }
        Ok(())
    }

    /// Refuses everybody but an admin of the whole instance: the owner of the data directory, or an admin of
    /// the organization `local`. For what concerns the machine, its files, or other organizations.
    pub(crate) fn require_instance_admin(&self) -> Result<(), ApiError> {
        self.require(Role::Admin)?;
        if self.is_instance_admin() {
            return Ok(());
        }
        Err(ApiError::Forbidden(
            code::FORBIDDEN,
            "this concerns the whole server: only an admin of its own organization (local) may do it"
                .into(),
        ))
    }

    /// Whether [`Self::require_instance_admin`] lets them through.
    pub(crate) fn is_instance_admin(&self) -> bool {
        let at_home = self.scope == OrgScope::local() || self.principal == Principal::Owner;
        at_home && self.role == Role::Admin && self.principal.is_person()
    }
}

/// Without anybody known: 401. Whoever only reads is refused wherever something may change (403), so that a
/// route cannot forget it.
impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let who = parts.extensions.get::<Self>().cloned();
        let who = who.ok_or(ApiError::Unauthorized(
            "show a key: Authorization: Bearer aw_…, or X-API-Key: aw_…",
        ))?;
        if !parts.method.is_safe() {
            who.require(Role::Operator)?;
        }
        Ok(who)
    }
}

/// A JSON body, bounded, without unknown fields, checked. An empty body counts as `{}`.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T> FromRequest<S> for Body<T>
where
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_json = media_type(request.headers());
        let who = request.extensions().get::<Who>().cloned();
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| unread(&rejection))?;
        if bytes.is_empty() {
            return checked(serde_json::from_slice(b"{}")).map(Self);
        }
        if !is_json {
            return Err(ApiError::Unreadable(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                code::MEDIA_TYPE,
                "the body must be JSON: send Content-Type: application/json".into(),
            ));
        }
        match who {
            Some(who) if names_organization(&bytes) => {
                checked(of_organization(&who, &bytes)?).map(Self)
            }
            Some(_) | None => checked(serde_json::from_slice(&bytes)).map(Self),
        }
    }
}

fn names_organization(body: &[u8]) -> bool {
    FIELDS.iter().any(|field| {
        body.windows(field.len())
            .any(|window| window == field.as_bytes())
    })
}

/// A body may say for which organization it is, as header and query may; it must be the caller's.
fn of_organization<T: DeserializeOwned>(
    who: &Who,
    body: &[u8],
) -> Result<serde_json::Result<T>, ApiError> {
    let mut value: serde_json::Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(fields) = value.as_object_mut() {
        for field in FIELDS {
            if let Some(named) = fields.remove(field) {
                agrees(&who.scope, named.as_str().unwrap_or_default())?;
            }
        }
    }
    Ok(serde_json::from_value(value))
}

fn media_type(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| {
            let value = value.trim().to_ascii_lowercase();
            value == "application/json" || value.ends_with("+json")
        })
}

fn unread(rejection: &BytesRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::Unreadable(
            StatusCode::PAYLOAD_TOO_LARGE,
            code::TOO_LARGE,
            format!("the body is larger than {BODY_MAX_BYTES} bytes"),
        );
    }
    ApiError::Unreadable(
        StatusCode::BAD_REQUEST,
        code::BAD_JSON,
        "the body broke off".into(),
    )
}

fn checked<T: Validate<Context = ()>>(read: serde_json::Result<T>) -> Result<T, ApiError> {
    let value = read.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => invalid("", error.to_string()),
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => ApiError::Unreadable(
            StatusCode::BAD_REQUEST,
            code::BAD_JSON,
            format!("the body is not JSON: {error}"),
        ),
    })?;
    validated(value)
}

/// Checks what was put together elsewhere, as a form is.
pub(crate) fn checked_value<T: Validate<Context = ()>>(value: &T) -> Result<(), ApiError> {
    value.validate().map_err(|report| of_report(&report))
}

fn validated<T: Validate<Context = ()>>(value: T) -> Result<T, ApiError> {
    match value.validate() {
        Ok(()) => Ok(value),
        Err(report) => Err(of_report(&report)),
    }
}

/// What garde found, as a refusal.
pub(crate) fn of_report(report: &garde::Report) -> ApiError {
    let problems = report.iter().map(|(path, error)| FieldProblem {
        at: path.to_string(),
        problem: error.to_string(),
    });
    ApiError::Invalid(problems.collect())
}

fn invalid(at: &str, problem: String) -> ApiError {
    ApiError::Invalid(vec![FieldProblem {
        at: at.to_owned(),
        problem,
    }])
}

/// A given spec must be well formed; each problem names its place in it.
pub(crate) fn well_formed(spec: Option<&Spec>) -> Result<(), ApiError> {
    let problems = spec.map(Spec::problems).unwrap_or_default();
    if problems.is_empty() {
        return Ok(());
    }
    let errors = problems.into_iter().map(|problem| FieldProblem {
        at: format!("spec{}", problem.at),
        problem: problem.problem,
    });
    Err(ApiError::Invalid(errors.collect()))
}

/// A query without unknown fields, checked.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let axum::extract::Query(value) = axum::extract::Query::try_from_uri(&parts.uri)
            .map_err(|rejection| invalid("query", rejection.body_text()))?;
        validated(value).map(Self)
    }
}

/// The one segment of the path that names something.
pub(crate) struct Named(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(_) => Err(ApiError::NoRoute),
        }
    }
}

/// The `Idempotency-Key`, when there is one.
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_HEADER) else {
            return Ok(Self(None));
        };
        match value.to_str() {
            Ok(key) if !key.is_empty() && key.len() <= IDEMPOTENCY_MAX => {
                Ok(Self(Some(key.to_owned())))
            }
            Ok(_) | Err(_) => Err(invalid(
                "Idempotency-Key",
                format!("must be 1 to {IDEMPOTENCY_MAX} printable characters"),
            )),
        }
    }
}
