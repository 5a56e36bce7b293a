//! Every change over HTTP leaves a row in the audit trail: who, what, to what, before and after.
//!
//! [`kept`] writes one for each changing request that succeeded, so that no route can forget it. A route says
//! more through [`Trail`], which it takes as an extractor: the digests, or that the store already wrote the row
//! with the change itself. What changes a run takes [`Who::audit`] along into the run's commit.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use agentwright_api::code;
use agentwright_domain::digest::Digest;
use agentwright_store::{Actor, Audit, Change};
use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is under way when the daemon stops may take so long to end.
const STOP_MAX: Duration = Duration::from_secs(2);

/// What a route knows of its change. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail(Arc<Mutex<Said>>);

#[derive(Clone, Debug, Default)]
struct Said {
    action: String,
    path: String,
    target: Option<String>,
    before: Option<Digest>,
    after: Option<Digest>,
    written: bool,
}

impl Trail {
    /// Of a request. One that changes nothing says nothing.
    pub(super) fn of(request: &Request) -> Self {
        if request.method().is_safe() {
            return Self::default();
        }
        let path = request.uri().path();
        let route = request.extensions().get::<MatchedPath>();
        let route = route.map_or(path, MatchedPath::as_str);
        let trail = Self::named(&format!("{} {route}", request.method()));
        path.clone_into(&mut trail.lock().path);
        trail
    }

    /// Of something that no request asked for.
    pub(crate) fn named(action: &str) -> Self {
        let trail = Self::default();
        action.clone_into(&mut trail.lock().action);
        trail
    }

    /// What was changed, from what to what.
    pub(crate) fn says(&self, target: &str, before: Option<Digest>, after: Option<Digest>) {
        let mut said = self.lock();
        said.target = Some(target.to_owned());
        said.before = before;
        said.after = after;
    }

    /// The store wrote the row, in the transaction of the change; or nothing was changed.
    pub(crate) fn written(&self) {
        self.lock().written = true;
    }

    /// What is done; whoever asks writes the row.
    fn taken(&self) -> String {
        let mut said = self.lock();
        said.written = true;
        said.action.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Sync> FromRequestParts<S> for Trail {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// The digest of a value, for [`Trail::says`]; none of what has no JSON.
pub(crate) fn digest(value: &impl serde::Serialize) -> Option<Digest> {
    agentwright_proof::of_json(value).ok()
}

/// Carries the request out. A changing one goes on when its client hangs up: what it changes and the row about
/// it belong together.
pub(super) async fn kept(app: App, mut request: Request, next: Next) -> Response {
    let who = request.extensions().get::<Who>().cloned();
    let (Some(who), false) = (who, request.method().is_safe()) else {
        return next.run(request).await;
    };
    request.extensions_mut().insert(who.trail.clone());
    let (tasks, stopping) = (app.tasks().clone(), app.stopping().clone());
    let work = async move {
        let response = next.run(request).await;
        if response.status().is_success() || response.status().is_redirection() {
            write(&app, &who).await;
        }
        response
    };
    let task = tasks.spawn(async move {
        let late = async {
            stopping.cancelled().await;
            tokio::time::sleep(STOP_MAX).await;
        };
        tokio::select! {
            response = work => response,
            () = late => {
                ApiError::Unavailable(code::STOPPING, "the daemon is stopping".into()).into_response()
            }
        }
    });
    task.await.unwrap_or_else(|error| {
        ApiError::Internal(anyhow::anyhow!("a request broke: {error}")).into_response()
    })
}

/// The change is done by now: a row that cannot be written is told in the log, with all that it has.
async fn write(app: &App, who: &Who) {
    let said = who.trail.lock().clone();
    if said.written {
        return;
    }
    let change = Change {
        action: said.action,
        target: said.target.unwrap_or(said.path),
        before: said.before.map(|digest| digest.to_string()),
        after: said.after.map(|digest| digest.to_string()),
    };
    let actor = actor(who);
    if let Err(error) = app.store().audit(&who.scope, actor, change.clone()).await {
        let organization = who.scope.organization();
        tracing::error!(%error, %organization, by = who.name, ?change, "a change is missing in the audit trail");
    }
}

impl Who {
    /// For a change of a run: its row, which is written in the run's own commit.
    pub(crate) fn audit(&self) -> Option<Audit> {
        Some(Audit {
            actor: actor(self),
            action: self.trail.taken(),
        })
    }
}

/// Somebody, as the audit trail names them.
pub(crate) fn actor(who: &Who) -> Actor {
    Actor {
        name: who.name.clone(),
        principal: who.principal.label(),
    }
}
