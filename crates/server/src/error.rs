//! What a route answers when it does not do what was asked: one enum, by HTTP meaning, as RFC 9457.
//!
//! The inside of a 5xx never leaves the process: the cause travels in the response's extensions to
//! `router::watched`, which logs its chain under the request's id.

use agentwright_api::{FieldProblem, Problem, code};
use agentwright_domain::run::Refusal;
use agentwright_engine::SignalError;
use agentwright_store::SubmitError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Why a request is not carried out.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The body or query cannot be read: 400, 413 or 415.
    Unreadable(StatusCode, &'static str, String),
    /// Fields are wrong: 422.
    Invalid(Vec<FieldProblem>),
    /// The same on the paths of `/executor` and of the service contract: 400.
    Malformed(Vec<FieldProblem>),
    /// No key, or one that does not hold: 401.
    Unauthorized(&'static str),
    /// They are known, and may not: 403.
    Forbidden(&'static str, String),
    /// Nothing has this id, label or name: 404.
    NotFound(String),
    /// No such path: 404.
    NoRoute,
    /// The path does not take this method: 405.
    Method,
    /// It does not go with the state that things are in: 409.
    Conflict(&'static str, String),
    /// It has changed since the caller looked (`If-Match`): 412.
    Changed(String),
    /// Too many requests; again after so many seconds: 429.
    TooMany(u64),
    /// It was there, and is over: 410.
    Gone(&'static str, String),
    /// The machine or the daemon cannot now: 503.
    Unavailable(&'static str, String),
    /// A fault of ours: 500.
    Internal(anyhow::Error),
}

/// The chain behind a 500, for the log.
#[derive(Clone)]
pub(crate) struct Cause(pub(crate) Arc<anyhow::Error>);

impl ApiError {
    /// Nothing of that kind answers to that text.
    pub(crate) fn no(kind: &str, text: &str) -> Self {
        let text: String = text.chars().take(80).collect();
        Self::NotFound(format!("there is no {kind} {text:?}"))
    }

    /// As `/executor` answers it: every fault of a body or parameter is a 400.
    pub(crate) fn plain(self) -> Self {
        match self {
            Self::Invalid(errors) => Self::Malformed(errors),
            other => other,
        }
    }

    /// One parameter of such a path is wrong.
    pub(crate) fn malformed(at: &str, problem: impl Into<String>) -> Self {
        Self::Malformed(vec![FieldProblem {
            at: at.to_owned(),
            problem: problem.into(),
        }])
    }

    /// One field is wrong.
    pub(crate) fn invalid(at: &str, problem: &str) -> Self {
        Self::Invalid(vec![FieldProblem {
            at: at.to_owned(),
            problem: problem.to_owned(),
        }])
    }

    pub(crate) fn problem(&self) -> Problem {
        let of = |status: StatusCode, code, title, detail: &str| {
            Problem::new(status.as_u16(), code, title, detail)
        };
        match self {
            Self::Unreadable(status, code, detail) => {
                of(*status, code, "The request cannot be read", detail)
            }
            Self::Invalid(errors) => invalid(StatusCode::UNPROCESSABLE_ENTITY, errors),
            Self::Malformed(errors) => invalid(StatusCode::BAD_REQUEST, errors),
            Self::Unauthorized(detail) => of(
                StatusCode::UNAUTHORIZED,
                code::UNAUTHORIZED,
                "A key is needed",
                detail,
            ),
            Self::Forbidden(code, detail) => of(StatusCode::FORBIDDEN, code, "Not allowed", detail),
            Self::NotFound(detail) => {
                of(StatusCode::NOT_FOUND, code::NOT_FOUND, "Not found", detail)
            }
            Self::NoRoute => of(
                StatusCode::NOT_FOUND,
                code::NO_ROUTE,
                "No such path",
                "nothing is here; /api/v1/openapi.json lists the routes",
            ),
            Self::Method => of(
                StatusCode::METHOD_NOT_ALLOWED,
                code::METHOD,
                "Method not allowed",
                "this path does not take this method; the Allow header lists those that it takes",
            ),
            Self::Conflict(code, detail) => {
                of(StatusCode::CONFLICT, code, "Not in this state", detail)
            }
            Self::Changed(detail) => of(
                StatusCode::PRECONDITION_FAILED,
                code::CHANGED,
                "It has changed",
                detail,
            ),
            Self::TooMany(seconds) => of(
                StatusCode::TOO_MANY_REQUESTS,
                code::RATE,
                "Too many requests",
                &format!("too many requests with this key: try again in {seconds} s"),
            ),
            Self::Gone(code, detail) => of(StatusCode::GONE, code, "No longer valid", detail),
            Self::Unavailable(code, detail) => of(
                StatusCode::SERVICE_UNAVAILABLE,
                code,
                "Not possible now",
                detail,
            ),
            Self::Internal(_) => internal(),
        }
    }
}

fn invalid(status: StatusCode, errors: &[FieldProblem]) -> Problem {
    let detail: Vec<String> = errors
        .iter()
        .map(|error| format!("{} {}", error.at, error.problem).trim().to_owned())
        .collect();
    let title = "The request is not valid";
    let mut problem = Problem::new(status.as_u16(), code::INVALID, title, detail.join("; "));
    problem.errors = errors.to_vec();
    problem
}

/// The whole text of a 500.
pub(crate) fn internal() -> Problem {
    Problem::new(
        500,
        code::INTERNAL,
        "A fault of agentwright",
        "something went wrong inside; the daemon's log has it under this request id",
    )
}

/// A problem as a response.
pub(crate) fn respond(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, axum::Json(problem)).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = respond(&self.problem());
        match self {
            Self::Internal(cause) => {
                response.extensions_mut().insert(Cause(Arc::new(cause)));
            }
            Self::Unauthorized(_) => {
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::TooMany(seconds) => {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            Self::Unavailable(..) => {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Unreadable(..)
            | Self::Invalid(_)
            | Self::Malformed(_)
            | Self::Changed(_)
            | Self::Forbidden(..)
            | Self::NotFound(_)
            | Self::NoRoute
            | Self::Method
            | Self::Conflict(..)
            | Self::Gone(..) => {}
        }
        response
    }
}

impl From<agentwright_store::Error> for ApiError {
    fn from(error: agentwright_store::Error) -> Self {
        use agentwright_store::Error;
        match error {
            Error::Unavailable { .. } => Self::Unavailable(
                code::STORE_AWAY,
                "the database does not answer now: try again".into(),
            ),
            Error::Full { .. } => Self::Unavailable(
                code::STORE_FULL,
                "no room left on the disk of the data directory: free some and try again".into(),
            ),
            Error::Corrupt { .. } | Error::Refused { .. } => Self::Internal(error.into()),
            Error::Closed => Self::Unavailable(code::STOPPING, "the daemon is stopping".into()),
        }
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::LabelTaken { .. } => Self::Conflict(code::LABEL_TAKEN, error.to_string()),
            SubmitError::Store(error) => error.into(),
        }
    }
}

impl From<SignalError> for ApiError {
    fn from(error: SignalError) -> Self {
        match error {
            SignalError::Refused(refusal) => refusal.into(),
            SignalError::Unknown => Self::NotFound("there is no such run".into()),
            SignalError::Busy => Self::Unavailable(code::BUSY, error.to_string()),
            SignalError::Store(error) => error.into(),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::Ended { .. } => code::ENDED,
            Refusal::NotWaiting { .. } | Refusal::NotWorking { .. } => code::NOT_WAITING,
            Refusal::NotSpent { .. } => code::NOT_SPENT,
            Refusal::Stale { .. } => code::STALE,
        };
        Self::Conflict(code, refusal.to_string())
    }
}
