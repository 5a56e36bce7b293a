//! The instance: what the doctor finds, what is limited, who may come in, and who changed what.

use super::frame::Fields;
use super::frame::{Frame, html, html_as};
use crate::app::App;
use crate::auth::Trail;
use crate::doctor;
use crate::error::ApiError;
use crate::extract::{Body, Named, Query, Who, checked_value};
use crate::routes::{audit as trails, keys, organizations};
use agentwright_api::{
    AuditQuery, CreateKey, CreateLoginCode, CreateOrganization, Key, LoginCode, SessionInfo,
};
use agentwright_domain::ids::Slug;
use agentwright_domain::principal::{KeyKind, Principal, Role};
use agentwright_pages::{
    AuditLine, AuditPage, KeyLine, OrganizationLine, SessionLine, Settings, ShownOnce,
};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use garde::Validate;
use serde::Deserialize;

/// Entries of the audit trail in one page.
const PAGE: u32 = 50;

pub(super) async fn page(State(app): State<App>, frame: Frame) -> Result<Response, ApiError> {
    html(&settings(&app, &frame).await?)
}

async fn settings(app: &App, frame: &Frame) -> Result<Settings, ApiError> {
    let who = &frame.who;
    let mut page = Settings::new(frame.shell(app).await?, &app.health(), limits(app));
    // The machine is the business of those who run it.
    if who.is_instance_admin() {
        page = page.with_machine(app.health(), doctor::examine(app).await);
    }
    if who.require(Role::Admin).is_ok() {
        let Json(found) = keys::list(State(app.clone()), who.clone()).await?;
        let Json(open) = keys::sessions(State(app.clone()), who.clone()).await?;
        page = page.with_access(
            found.items.into_iter().map(line).collect(),
            open.items
                .into_iter()
                .map(|one| session(one, who))
                .collect(),
        );
    }
    if who.is_instance_admin() {
        let Json(found) = organizations::list(State(app.clone()), who.clone()).await?;
        let lines = found.items.into_iter().map(|one| OrganizationLine {
            current: one.id == *who.scope.organization(),
            id: one.id.as_str().to_owned(),
            name: one.name,
        });
        page = page.with_organizations(lines.collect());
    }
    Ok(page)
}

fn line(key: Key) -> KeyLine {
    KeyLine {
        prefix: format!("aw_{}", key.id),
        id: key.id,
        name: key.name,
        kind: key.kind.word().to_owned(),
        role: key.role.word().to_owned(),
        created_at: key.created_at,
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
    }
}

fn session(one: SessionInfo, who: &Who) -> SessionLine {
    let current = matches!(&who.principal, Principal::Session { id, .. } if *id == one.id);
    SessionLine {
        id: one.id,
        name: one.name,
        role: one.role.word().to_owned(),
        created_at: one.created_at,
        expires_at: one.expires_at,
        current,
    }
}

/// The page with what was made, or with why nothing was.
async fn answered(
    app: &App,
    frame: &Frame,
    made: Result<ShownOnce, ApiError>,
) -> Result<Response, ApiError> {
    let problem = match made {
        Ok(once) => return html(&settings(app, frame).await?.showing_once(once)),
        Err(ApiError::Invalid(errors)) => {
            let each = errors.into_iter();
            let each: Vec<String> = each
                .map(|one| format!("{} {}", one.at, one.problem))
                .collect();
            each.join("; ")
        }
        Err(ApiError::Conflict(_, why)) => why,
        Err(error) => return Err(error),
    };
    let problem = Some(format!("Nothing was made: {problem}."));
    let page = settings(app, frame).await?.saying(None, problem);
    html_as(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

fn role(fields: &Fields) -> Result<Role, ApiError> {
    Role::from_word(fields.text("role"))
        .ok_or_else(|| ApiError::invalid("role", "must be viewer, operator, approver or admin"))
}

/// Makes a key and shows it, this one time.
pub(super) async fn make_key(
    State(app): State<App>,
    frame: Frame,
    trail: Trail,
    fields: Fields,
) -> Result<Response, ApiError> {
    let made = key(&app, &frame, trail, &fields).await;
    answered(&app, &frame, made).await
}

async fn key(
    app: &App,
    frame: &Frame,
    trail: Trail,
    fields: &Fields,
) -> Result<ShownOnce, ApiError> {
    let kind = match fields.text("kind") {
        "agent" => KeyKind::Agent,
        _ => KeyKind::Person,
    };
    let days = fields.given("days").map(|days| {
        days.parse().map_err(|_| {
            ApiError::invalid(
                "days",
                "must be a number of days, or empty for a key without an end",
            )
        })
    });
    let request = CreateKey {
        name: fields.text("name").trim().to_owned(),
        role: role(fields)?,
        kind,
        organizations: Vec::new(),
        expires_in_days: days.transpose()?,
    };
    checked_value(&request)?;
    let who = frame.who.clone();
    let (_, Json(made)) = keys::create(State(app.clone()), who, trail, Body(request)).await?;
    Ok(ShownOnce {
        title: "The new key".to_owned(),
        words: "Copy it now: it is shown once, and only its beginning is kept.".to_owned(),
        text: made.secret,
    })
}

pub(super) async fn revoke_key(
    State(app): State<App>,
    frame: Frame,
    trail: Trail,
    Named(id): Named,
) -> Result<Response, ApiError> {
    let Json(_revoked) = keys::revoke(State(app), frame.who.clone(), trail, Named(id)).await?;
    Ok(frame.onward("settings"))
}

pub(super) async fn end_session(
    State(app): State<App>,
    frame: Frame,
    trail: Trail,
    Named(id): Named,
) -> Result<Response, ApiError> {
    let Json(_ended) = keys::end_session(State(app), frame.who.clone(), trail, Named(id)).await?;
    Ok(frame.onward("settings"))
}

/// Makes a link for one login of somebody else.
pub(super) async fn invite(
    State(app): State<App>,
    frame: Frame,
    trail: Trail,
    fields: Fields,
) -> Result<Response, ApiError> {
    let made = match role(&fields) {
        Ok(role) => invitation(&app, &frame.who, trail, fields.text("name"), role).await,
        Err(error) => Err(error),
    };
    answered(&app, &frame, made).await
}

async fn invitation(
    app: &App,
    who: &Who,
    trail: Trail,
    name: &str,
    role: Role,
) -> Result<ShownOnce, ApiError> {
    let request = CreateLoginCode {
        name: Some(name.trim().to_owned()),
        role: Some(role),
    };
    checked_value(&request)?;
    let made = keys::login_code(State(app.clone()), who.clone(), trail, Body(request)).await?;
    let (_, Json(made)) = made;
    Ok(link(format!("The invitation of {}", name.trim()), made))
}

/// Makes an organization, and a link for the first login of its admin.
pub(super) async fn make_organization(
    State(app): State<App>,
    frame: Frame,
    trail: Trail,
    fields: Fields,
) -> Result<Response, ApiError> {
    let made = organization(&app, &frame.who, trail, &fields).await;
    answered(&app, &frame, made).await
}

async fn organization(
    app: &App,
    who: &Who,
    trail: Trail,
    fields: &Fields,
) -> Result<ShownOnce, ApiError> {
    let id = Slug::parse(fields.text("id").trim())
        .map_err(|why| ApiError::invalid("id", &why.to_string()))?;
    let request = CreateOrganization {
        id,
        name: fields.given("name"),
    };
    checked_value(&request)?;
    let made = organizations::create(
        State(app.clone()),
        who.clone(),
        trail.clone(),
        Body(request),
    );
    let (_, Json(made)) = made.await?;
    let mut once = admin_link(app, who, trail, made.id.as_str()).await?;
    once.title = format!("The first login to {}", made.name);
    Ok(once)
}

/// Makes another link for the admin of an organization: the one of its first login runs out after minutes.
pub(super) async fn invite_admin(
    State(app): State<App>,
    frame: Frame,
    trail: Trail,
    Named(id): Named,
) -> Result<Response, ApiError> {
    let made = admin_link(&app, &frame.who, trail, &id).await;
    answered(&app, &frame, made).await
}

async fn admin_link(app: &App, who: &Who, trail: Trail, id: &str) -> Result<ShownOnce, ApiError> {
    let (app, who, id) = (State(app.clone()), who.clone(), id.to_owned());
    let title = format!("A login for the admin of {id}");
    let (_, Json(made)) = organizations::login_code(app, who, trail, Named(id)).await?;
    Ok(link(title, made))
}

fn link(title: String, made: LoginCode) -> ShownOnce {
    ShownOnce {
        title,
        words: "Whoever opens it first is logged in, within ten minutes; it is shown once."
            .to_owned(),
        text: made.url.unwrap_or(made.code),
    }
}

/// From where on the trail is shown.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default)]
pub(super) struct Before {
    #[garde(inner(range(min = 1)))]
    before: Option<i64>,
}

pub(super) async fn audit(
    State(app): State<App>,
    frame: Frame,
    Query(asked): Query<Before>,
) -> Result<Response, ApiError> {
    let query = AuditQuery {
        limit: Some(PAGE),
        before: asked.before,
    };
    let Json(found) = trails::list(State(app.clone()), frame.who.clone(), Query(query)).await?;
    let next = found.next.and_then(|next| next.parse().ok());
    let lines = found.items.into_iter().map(|entry| {
        let short = |digest: &str| {
            digest
                .trim_start_matches("sha256:")
                .chars()
                .take(12)
                .collect::<String>()
        };
        let detail = match (&entry.before, &entry.after) {
            (None, None) => String::new(),
            (None, Some(after)) => format!("became {}", short(after)),
            (Some(before), None) => format!("was {}", short(before)),
            (Some(before), Some(after)) => {
                format!("was {}, became {}", short(before), short(after))
            }
        };
        AuditLine {
            seq: entry.seq,
            at: entry.at,
            who: entry.by,
            what: entry.action,
            subject: entry.target,
            detail,
        }
    });
    let page = AuditPage::new(
        frame.shell(&app).await?,
        lines.collect(),
        next,
        asked.before.is_some(),
    );
    html(&page)
}

fn limits(app: &App) -> Vec<(String, String)> {
    let it = &app.config().settings;
    let walls = if it.allow_process_tier {
        "tier process is allowed where tier full is not possible"
    } else {
        "tier full or better"
    };
    let line = |name: &str, value: String| (name.to_owned(), value);
    vec![
        line("Builds at once", it.builds.to_string()),
        line("of one organization", it.organization_builds().to_string()),
        line("Executions at once", it.executions.to_string()),
        line(
            "of one organization",
            it.organization_executions().to_string(),
        ),
        line("Kept files", format!("{} MB", it.artifacts_quota_mb)),
        line("Walls", walls.to_owned()),
    ]
}
