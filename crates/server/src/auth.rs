//! Who asks: from a connection and what it shows to a [`Who`], before any route sees the request.
//!
//! The one door in front of every route ([`guard`]). Whoever shows nothing is the owner on the socket and
//! nobody on TCP; nobody reaches only what [`is_open`] lists. Not here: what a role may do (`Who::require`), how
//! keys and sessions are kept (`store`). Start at [`guard`].

mod csrf;
pub(crate) mod login;
mod organization;
mod shown;
mod trail;

pub(crate) use csrf::Session;
pub(crate) use organization::{FIELDS, agrees};
pub(crate) use trail::{Trail, actor, digest};

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use crate::routes::inbound;
use agentwright_domain::principal::{KeyKind, Principal, Role};
use agentwright_store::{ApiKey, KeyCheck, OrgScope};
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use shown::Shown;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Paths that need nobody: exactly these.
const OPEN_PATHS: &[&str] = &["/health", "/executor/health", "/login"];
/// And everything below this: files of the pages.
const OPEN_FOLDERS: &[&str] = &["/assets/"];

/// How often something long-lived looks whether it still may, when nothing in this process says so sooner.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Through which door a request came; set by `daemon::doors` on every request.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// The socket, from a process of this user.
    Socket(Arc<str>),
    /// TCP.
    Tcp,
}

/// Whether a path is for everybody.
pub(crate) fn is_open(path: &str) -> bool {
    OPEN_PATHS.contains(&path) || OPEN_FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// Establishes who asks, for which organization, and that they themselves sent it; or refuses.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let to_login = is_navigation(&request).then(|| login::redirect(&app, &request));
    match (admit(&app, request).await, to_login) {
        (Ok(request), _) => {
            let who = request.extensions().get::<Who>().cloned();
            let session = request.extensions().get::<Session>().cloned();
            let mut response = trail::kept(app, request, next).await;
            // For whoever comes after: the log, and the frame of a page.
            if let Some(who) = who {
                response.extensions_mut().insert(who);
            }
            if let Some(session) = session {
                response.extensions_mut().insert(session);
            }
            response
        }
        (Err(ApiError::Unauthorized(_)), Some(to_login)) => to_login,
        (Err(refusal), _) => refusal.into_response(),
    }
}

async fn admit(app: &App, mut request: Request) -> Result<Request, ApiError> {
    // Nothing that came over the wire is an extension; this is only against a second pass.
    request.extensions_mut().remove::<Who>();
    // The token in the path, or the signature over the body, is the key, whoever sends it.
    let path = request.uri().path();
    if path.starts_with(crate::asking::PATH) || path.starts_with(inbound::PATH) {
        return Ok(request);
    }
    let shown = Shown::of(request.headers())?;
    let door = request.extensions().get::<Door>().cloned();
    let trail = Trail::of(&request);
    let who = match (shown, door) {
        (Shown::Key(text), _) => with_key(app, &text, trail, &mut request).await?,
        (Shown::Session(token), _) => match app.store().session(&token).await? {
            Some(session) => {
                request = csrf::checked(app, request, &session).await?;
                let scope = OrgScope::authenticated(session.organization.clone());
                organization::own(&scope, &mut request)?;
                Who {
                    name: session.name,
                    scope,
                    role: session.role,
                    principal: Principal::Session {
                        id: session.id,
                        key: session.key,
                    },
                    trail,
                }
            }
            None if is_open(request.uri().path()) => return Ok(request),
            None => {
                return Err(ApiError::Unauthorized(
                    "this session has ended: log in again at /login",
                ));
            }
        },
        (Shown::Nothing, Some(Door::Socket(user))) => Who {
            name: user.as_ref().to_owned(),
            scope: organization::of_owner(app, &mut request).await?,
            role: Role::Admin,
            principal: Principal::Owner,
            trail,
        },
        (Shown::Nothing, Some(Door::Tcp) | None) if is_open(request.uri().path()) => {
            return Ok(request);
        }
        (Shown::Nothing, Some(Door::Tcp) | None) => {
            return Err(ApiError::Unauthorized(
                "show a key: Authorization: Bearer aw_…, or X-API-Key: aw_…",
            ));
        }
    };
    request.extensions_mut().insert(who);
    Ok(request)
}

async fn with_key(
    app: &App,
    text: &str,
    trail: Trail,
    request: &mut Request,
) -> Result<Who, ApiError> {
    let key = match app.store().check_key(text).await? {
        KeyCheck::Valid(key) => *key,
        refused => return Err(ApiError::Unauthorized(said(&refused))),
    };
    let scope = match key.kind {
        KeyKind::Person | KeyKind::Agent => {
            let scope = OrgScope::authenticated(key.organization.clone());
            organization::own(&scope, request)?;
            scope
        }
        KeyKind::Service => organization::of_service(&key.organizations, request)?,
    };
    Ok(of_key(key, scope, trail))
}

fn of_key(key: ApiKey, scope: OrgScope, trail: Trail) -> Who {
    Who {
        name: key.name,
        scope,
        role: key.role,
        principal: Principal::Key {
            id: key.id,
            kind: key.kind,
        },
        trail,
    }
}

/// What whoever showed a key is told. That it expired or was revoked is said only to whoever has its secret.
pub(crate) fn said(check: &KeyCheck) -> &'static str {
    match check {
        KeyCheck::Malformed => "this is no key: it begins with aw_ and is copied whole",
        KeyCheck::Unknown => "nobody has this key",
        KeyCheck::Expired => "this key has expired: an admin can make another",
        KeyCheck::Revoked => "this key was revoked: an admin can make another",
        KeyCheck::Valid(_) => "this key holds",
    }
}

/// A person who opens a page, rather than a program that asks.
fn is_navigation(request: &Request) -> bool {
    let path = request.uri().path();
    let page = !["/api/", "/executor/", "/mcp", "/metrics"]
        .iter()
        .any(|of_programs| path.starts_with(of_programs));
    let accept = request.headers().get(header::ACCEPT);
    page && request.method() == Method::GET
        && !request.headers().contains_key(header::AUTHORIZATION)
        && accept.is_some_and(|types| types.to_str().is_ok_and(|text| text.contains("text/html")))
}

/// Whether what let somebody in still does, for whatever lasts longer than a request: streams and sockets.
pub(crate) struct Standing {
    app: App,
    who: Who,
    access: watch::Receiver<u64>,
    looked: Instant,
}

impl Standing {
    /// From now on.
    pub(crate) fn of(app: &App, who: &Who) -> Self {
        Self {
            access: app.access(),
            app: app.clone(),
            who: who.clone(),
            looked: Instant::now(),
        }
    }

    /// Whether it is lost. Looks when somebody lost access in this process, and every [`LOOK_AGAIN`] for what
    /// happened in others or by time; in between it costs nothing.
    pub(crate) async fn lost(&mut self) -> Result<bool, agentwright_store::Error> {
        let told = self.access.has_changed().unwrap_or(false);
        if !told && self.looked.elapsed() < LOOK_AGAIN {
            return Ok(false);
        }
        self.access.borrow_and_update();
        self.looked = Instant::now();
        let store = self.app.store();
        let stands = match &self.who.principal {
            Principal::Owner => true,
            Principal::Key { id, .. } => store.key_stands(id, &self.who.scope).await?,
            Principal::Session { id, .. } => store.session_by_id(id).await?.is_some(),
        };
        Ok(!stands)
    }

    /// Waits until it is worth asking [`Self::lost`].
    pub(crate) async fn told(&mut self) {
        tokio::select! {
            _ = self.access.changed() => self.access.mark_changed(),
            () = tokio::time::sleep_until(self.looked + LOOK_AGAIN) => {}
        }
    }
}
