//! What every page knows of its request: where it is, who looks, what forms carry.

use crate::app::App;
use crate::auth::Session;
use crate::error::ApiError;
use crate::extract::Who;
use agentwright_api::{BODY_MAX_BYTES, code};
use agentwright_domain::run::{RunKind, RunStatus};
use agentwright_pages::{Shell, Template};
use agentwright_store::RunFilter;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// Builds that wait, counted for the navigation; more are shown as so many.
const WAITING_MAX: u32 = 99;

/// A request for a page.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Who looks.
    pub(crate) who: Who,
    place: Place,
}

/// Where a request is, as its page's links need it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    base: String,
    here: String,
    csrf: Option<String>,
    /// Where the stream of the organization was before anything was read.
    cursor: String,
}

impl Place {
    pub(super) fn of(app: &App, parts: &Parts) -> Self {
        let path = parts.uri.path_and_query();
        let here = path.map_or("", |path| path.as_str().trim_start_matches('/'));
        Self {
            base: format!("{}/", app.config().prefix()),
            here: here.to_owned(),
            csrf: parts.extensions.get().map(|it: &Session| it.csrf.clone()),
            cursor: String::new(),
        }
    }

    /// The same in a response, where the session was established after this was made.
    pub(super) fn of_session(mut self, response: &Response) -> Self {
        let session: Option<&Session> = response.extensions().get();
        self.csrf = session.map(|session| session.csrf.clone());
        self
    }

    /// For a page that needs nobody.
    pub(crate) fn outside(app: &App) -> Self {
        Self {
            base: format!("{}/", app.config().prefix()),
            here: "login".to_owned(),
            csrf: None,
            cursor: String::new(),
        }
    }

    /// A path relative to the base, as a browser is sent there.
    pub(super) fn to(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn shell(&self, app: &App, who: &str, waiting: usize) -> Shell {
        Shell {
            base: self.base.clone(),
            here: self.here.clone(),
            csrf: self.csrf.clone().unwrap_or_default(),
            cursor: self.cursor.clone(),
            who: who.to_owned(),
            session: self.csrf.is_some(),
            waiting,
            now_ms: app.now_ms(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: app.health().boot_id,
        }
    }
}

impl FromRequestParts<App> for Frame {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let who = Who::from_request_parts(parts, app).await?;
        let place = Place {
            cursor: app.everything().cursor(app, &who.scope),
            ..Place::of(app, parts)
        };
        Ok(Self { who, place })
    }
}

impl Frame {
    /// What stands around the page.
    pub(crate) async fn shell(&self, app: &App) -> Result<Shell, ApiError> {
        let waiting = RunFilter {
            kind: Some(RunKind::Build),
            status: Some(RunStatus::Waiting),
            limit: WAITING_MAX,
            ..RunFilter::default()
        };
        let waiting = app.store().runs(&self.who.scope, waiting).await?.len();
        Ok(self.place.shell(app, &self.who.name, waiting))
    }

    /// What forms carry.
    pub(crate) fn csrf(&self) -> String {
        self.place.csrf.clone().unwrap_or_default()
    }

    /// Sends the browser on, after something was done: to a path relative to the base.
    pub(crate) fn onward(&self, path: &str) -> Response {
        let to = self.place.to(path);
        match HeaderValue::from_str(&to) {
            Ok(to) => (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response(),
            Err(_) => ApiError::NoRoute.into_response(),
        }
    }
}

/// A page as a response.
pub(crate) fn html(page: &impl Template) -> Result<Response, ApiError> {
    html_as(StatusCode::OK, page)
}

/// A page as a response with this status.
pub(crate) fn html_as(status: StatusCode, page: &impl Template) -> Result<Response, ApiError> {
    let text = page
        .render()
        .map_err(|error| ApiError::Internal(anyhow::anyhow!("a page cannot be made: {error}")))?;
    Ok((status, Html(text)).into_response())
}

/// A submitted form, field by field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// What a field holds; empty when it is not there.
    pub(crate) fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// What a field holds, when it holds something.
    pub(crate) fn given(&self, name: &str) -> Option<String> {
        let text = self.text(name).trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Whether a field was sent, with or without something in it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Whether a box is ticked.
    pub(crate) fn ticked(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// The fields whose names begin so, without that beginning.
    pub(crate) fn under(&self, prefix: &str) -> Vec<(String, String)> {
        let fields = self.0.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(prefix)?;
            Some((name.to_owned(), value.clone()))
        });
        fields.collect()
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let is_form = kind.split(';').next().is_some_and(|kind| {
            kind.trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
        let bytes = Bytes::from_request(request, state).await.map_err(|_| {
            ApiError::Unreadable(
                StatusCode::PAYLOAD_TOO_LARGE,
                code::TOO_LARGE,
                format!("the form is larger than {BODY_MAX_BYTES} bytes, or broke off"),
            )
        })?;
        if !is_form && !bytes.is_empty() {
            return Err(ApiError::Unreadable(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                code::MEDIA_TYPE,
                "this takes a form: send Content-Type: application/x-www-form-urlencoded".into(),
            ));
        }
        let fields = url::form_urlencoded::parse(&bytes);
        Ok(Self(
            fields
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        ))
    }
}
