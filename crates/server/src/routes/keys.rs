//! Keys, login codes and sessions: who may come in.

use crate::app::App;
use crate::auth::{Session, Trail, actor};
use crate::error::ApiError;
use crate::extract::{Body, Named, Who};
use agentwright_api::{
    CreateKey, CreateLoginCode, CreatedKey, Key, LoginCode, Me, Page, SessionInfo, Time, code,
};
use agentwright_domain::ids::OrganizationId;
use agentwright_domain::principal::{KeyKind, Principal, Role};
use agentwright_store::{ApiKey, DAY_MS, LOGIN_CODE_MS, NewKey, NewKeyError};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

pub(crate) async fn me(who: Who, session: Option<Extension<Session>>) -> Json<Me> {
    Json(Me {
        csrf: session.map(|Extension(session)| session.csrf),
        organization: who.scope.organization().clone(),
        role: who.role,
        principal: who.principal.label(),
        name: who.name,
    })
}

pub(crate) async fn list(State(app): State<App>, who: Who) -> Result<Json<Page<Key>>, ApiError> {
    who.require(Role::Admin)?;
    let keys = app.store().keys(&who.scope).await?;
    let items = keys.into_iter().map(shown).collect();
    Ok(Json(Page { items, next: None }))
}

pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Body(request): Body<CreateKey>,
) -> Result<(StatusCode, Json<CreatedKey>), ApiError> {
    who.require(Role::Admin)?;
    let organizations: Vec<_> = request
        .organizations
        .iter()
        .map(|id| OrganizationId::new(id.as_str()))
        .collect();
    match request.kind {
        // It reaches beyond the organization.
        KeyKind::Service => who.require_instance_admin()?,
        KeyKind::Person | KeyKind::Agent if !organizations.is_empty() => {
            return Err(ApiError::invalid(
                "organizations",
                "is for keys of the kind service only",
            ));
        }
        KeyKind::Person | KeyKind::Agent => {}
    }
    let now_ms = app.store().now_ms().await?;
    let new = NewKey {
        name: request.name,
        kind: request.kind,
        role: request.role,
        organizations,
        expires_at_ms: request
            .expires_in_days
            .map(|days| now_ms + i64::from(days) * DAY_MS),
    };
    let (key, secret) = app.store().add_key(&who.scope, &new, &actor(&who)).await?;
    trail.written();
    let key = shown(key);
    Ok((StatusCode::CREATED, Json(CreatedKey { key, secret })))
}

pub(crate) async fn revoke(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(id): Named,
) -> Result<Json<Key>, ApiError> {
    who.require(Role::Admin)?;
    let revoked = app
        .store()
        .revoke_key(&who.scope, &id, &actor(&who))
        .await?;
    let key = revoked.ok_or_else(|| ApiError::no("key", &id))?;
    trail.written();
    app.access_changed();
    Ok(Json(shown(key)))
}

pub(crate) async fn login_code(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Body(request): Body<CreateLoginCode>,
) -> Result<(StatusCode, Json<LoginCode>), ApiError> {
    who.require(Role::Admin)?;
    let name = request.name.unwrap_or_else(|| who.name.clone());
    let role = request.role.unwrap_or(who.role);
    let code = app
        .store()
        .add_login_code(&who.scope, &name, role, &actor(&who))
        .await?;
    trail.written();
    let now_ms = app.store().now_ms().await?;
    let answer = LoginCode {
        url: app
            .address()
            .map(|base| format!("{base}/login?code={code}")),
        code,
        expires_at: Time::from_ms(now_ms + LOGIN_CODE_MS),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

pub(crate) async fn sessions(
    State(app): State<App>,
    who: Who,
) -> Result<Json<Page<SessionInfo>>, ApiError> {
    who.require(Role::Admin)?;
    let sessions = app.store().sessions(&who.scope).await?;
    let items = sessions.into_iter().map(of_session).collect();
    Ok(Json(Page { items, next: None }))
}

/// One's own session, or, for an admin, another one of the organization.
pub(crate) async fn end_session(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(id): Named,
) -> Result<Json<SessionInfo>, ApiError> {
    let own = matches!(&who.principal, Principal::Session { id: own, .. } if *own == id);
    if !own {
        who.require(Role::Admin)?;
    }
    let missing = || ApiError::no("session", &id);
    let session = app.store().session_by_id(&id).await?;
    let session = session.filter(|it| it.organization == *who.scope.organization());
    let session = session.ok_or_else(missing)?;
    if !app
        .store()
        .end_session(&who.scope, &id, &actor(&who))
        .await?
    {
        return Err(missing());
    }
    trail.written();
    app.access_changed();
    Ok(Json(of_session(session)))
}

fn shown(key: ApiKey) -> Key {
    Key {
        id: key.id,
        name: key.name,
        kind: key.kind,
        role: key.role,
        organizations: key.organizations,
        created_at: Time::from_ms(key.created_at_ms),
        created_by: key.created_by,
        expires_at: key.expires_at_ms.map(Time::from_ms),
        revoked_at: key.revoked_at_ms.map(Time::from_ms),
    }
}

fn of_session(session: agentwright_store::Session) -> SessionInfo {
    SessionInfo {
        id: session.id,
        name: session.name,
        role: session.role,
        key: session.key,
        created_at: Time::from_ms(session.created_at_ms),
        expires_at: Time::from_ms(session.expires_at_ms),
    }
}

impl From<NewKeyError> for ApiError {
    fn from(error: NewKeyError) -> Self {
        match error {
            NewKeyError::Role(_) => Self::invalid("role", &error.to_string()),
            NewKeyError::NoOrganization(_) => Self::invalid("organizations", &error.to_string()),
            NewKeyError::TooMany => Self::Conflict(code::TOO_MANY, error.to_string()),
            NewKeyError::Store(error) => error.into(),
        }
    }
}
