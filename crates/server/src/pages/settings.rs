//! The instance: what the doctor finds, what is limited, who may come in, and who changed what.

use super::frame::Fields;
use super::frame::{Frame, html, html_as};
use crate::app::App;
use crate::auth::Trail;
use crate::doctor;
use crate::error::ApiError;
use crate::extract::{Body, Named, Query, checked_value};
use crate::routes::{audit as trails, keys};
use agentwright_api::{AuditQuery, CreateKey, Key};
use agentwright_domain::principal::{KeyKind, Role};
use agentwright_pages::{AuditLine, AuditPage, KeyLine, OrganizationLine, Settings};
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
        let here = who.scope.organization().as_str();
        let organization = OrganizationLine {
            id: here.to_owned(),
            name: here.to_owned(),
            current: true,
        };
        page = page.with_keys(
            found.items.into_iter().map(line).collect(),
            vec![organization],
        );
    }
    Ok(page)
}

fn line(key: Key) -> KeyLine {
    KeyLine {
        prefix: format!("aw_{}", key.id),
        id: key.id,
        name: key.name,
        role: key.role.word().to_owned(),
        created_at: key.created_at,
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
    }
}

/// Makes a key and shows it, this one time.
pub(super) async fn make_key(
    State(app): State<App>,
    frame: Frame,
    trail: Trail,
    fields: Fields,
) -> Result<Response, ApiError> {
    let role = Role::from_word(fields.text("role")).ok_or(ApiError::NoRoute)?;
    let request = CreateKey {
        name: fields.text("name").trim().to_owned(),
        role,
        kind: KeyKind::Person,
        organizations: Vec::new(),
        expires_in_days: None,
    };
    if let Err(ApiError::Invalid(errors)) = checked_value(&request) {
        let words: Vec<String> = errors
            .into_iter()
            .map(|one| format!("{} {}", one.at, one.problem))
            .collect();
        let problem = format!("No key was made: {}.", words.join("; "));
        let page = settings(&app, &frame).await?.saying(None, Some(problem));
        return html_as(StatusCode::UNPROCESSABLE_ENTITY, &page);
    }
    let made = keys::create(State(app.clone()), frame.who.clone(), trail, Body(request)).await?;
    let (_, Json(made)) = made;
    html(&settings(&app, &frame).await?.with_new_key(made.secret))
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
