//! Organizations: the tenants of this server. All of it is for admins of the instance.

use crate::app::App;
use crate::auth::{Trail, actor};
use crate::error::ApiError;
use crate::extract::{Body, Named, Who};
use crate::removal;
use crate::routes::keys;
use agentwright_api::{
    CreateLoginCode, CreateOrganization, DeletedOrganization, LoginCode, Organization, Page, Time,
    code,
};
use agentwright_domain::ids::OrganizationId;
use agentwright_domain::principal::Role;
use agentwright_store::{OrgScope, OrganizationRow};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
) -> Result<Json<Page<Organization>>, ApiError> {
    who.require_instance_admin()?;
    let rows = app.store().organizations().await?;
    let items = rows.into_iter().map(shown).collect();
    Ok(Json(Page { items, next: None }))
}

pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Body(request): Body<CreateOrganization>,
) -> Result<(StatusCode, Json<Organization>), ApiError> {
    who.require_instance_admin()?;
    let id = OrganizationId::new(request.id.as_str());
    let name = request.name.unwrap_or_else(|| id.as_str().to_owned());
    let made = app
        .store()
        .add_organization(&id, &name, &actor(&who))
        .await?;
    let Some(made) = made else {
        return Err(ApiError::Conflict(
            code::ORGANIZATION_TAKEN,
            format!("there is, or was, an organization {id:?}: choose another id"),
        ));
    };
    trail.written();
    Ok((StatusCode::CREATED, Json(shown(made))))
}

/// A link for one login of an admin of it: of the first one, or of one whose link ran out. Whoever makes it is not in
/// the organization; the row about it is in that one's trail.
pub(crate) async fn login_code(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(id): Named,
) -> Result<(StatusCode, Json<LoginCode>), ApiError> {
    // Before anything is looked for: to everybody else a foreign id is like one that nobody has.
    who.require_instance_admin()?;
    let id = OrganizationId::new(id);
    if app.store().organization(&id).await?.is_none() {
        return Err(ApiError::no("organization", id.as_str()));
    }
    // Of the id, which is short: a name of a person has a length.
    let request = CreateLoginCode {
        name: Some(format!("admin of {}", id.as_str())),
        role: Some(Role::Admin),
    };
    let there = Who {
        scope: OrgScope::authenticated(id),
        ..who
    };
    keys::login_code(State(app), there, trail, Body(request)).await
}

pub(crate) async fn remove(
    State(app): State<App>,
    who: Who,
    trail: Trail,
    Named(id): Named,
) -> Result<Json<DeletedOrganization>, ApiError> {
    who.require_instance_admin()?;
    let gone = removal::organization(&app, &who, &id).await?;
    trail.written();
    Ok(Json(gone))
}

fn shown(row: OrganizationRow) -> Organization {
    Organization {
        id: row.id,
        name: row.name,
        created_at: Time::from_ms(row.created_at_ms),
    }
}
