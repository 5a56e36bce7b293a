//! `POST /api/v1/hooks/{id}`: a program elsewhere adds an item to the queue. Signed as Standard Webhooks has it, so it
//! needs no key; the same message twice is one item.

use crate::app::App;
use crate::auth::Trail;
use crate::config::HookSettings;
use crate::error::ApiError;
use crate::extract::{Named, Who, of_report};
use crate::queue::edit;
use agentwright_api::{HookTaken, QueueAdd, QueueAdds, QueuePriority, code};
use agentwright_domain::ids::{OrganizationId, Slug};
use agentwright_domain::principal::{KeyKind, Principal, Role};
use agentwright_notify::{Unverified, verify};
use agentwright_store::{Actor, Change, OrgScope};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use garde::Validate;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Paths below this are opened by a signature, not by a key.
pub(crate) const PATH: &str = "/api/v1/hooks/";
/// The longest id of a message, in bytes.
const MESSAGE_MAX: usize = 200;
/// Characters of a name that are taken into a label.
const NAME_PART: usize = 40;

pub(crate) async fn take(
    State(app): State<App>,
    Named(id): Named,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<HookTaken>), ApiError> {
    let hooks = &app.config().settings.queue.hooks;
    let hook = hooks.iter().find(|hook| hook.id == id);
    let hook = hook.ok_or_else(|| ApiError::no("hook", &id))?;
    let secret = app.secret(&hook.secret).await.map_err(|why| {
        tracing::warn!(hook = hook.id, why, "the secret of a hook cannot be read");
        ApiError::Unavailable(
            code::BUSY,
            "the secret of this hook cannot be read here: its server has to be mended".to_owned(),
        )
    })?;
    let message = believed(&app, hook, &secret, (&headers, &body))?;
    let scope = scope(&app, hook).await?;
    if let Some(label) = app.store().hook_message(&scope, &id, &message).await? {
        return Ok((
            StatusCode::OK,
            Json(HookTaken {
                label,
                repeated: true,
            }),
        ));
    }
    let add = item(&body)?;
    let label = label(&add.name, &id, &message);
    let who = Who {
        name: format!("hook {id}"),
        scope: scope.clone(),
        role: Role::Operator,
        principal: Principal::Key {
            id: format!("hook-{id}"),
            kind: KeyKind::Agent,
        },
        trail: Trail::named("hook"),
    };
    let adds = QueueAdds {
        items: vec![QueueAdd {
            label: Some(label.clone()),
            ..add
        }],
        base_dir: crate::config::home()
            .map_or_else(|| "/".to_owned(), |home| home.display().to_string()),
        zone: app.queue_zone().iana_name().unwrap_or("UTC").to_owned(),
    };
    adds.validate().map_err(|report| of_report(&report))?;
    let repeated = match edit::add(&app, &who, adds).await {
        Ok(_) => false,
        // The label is made from the message: it was added, and whoever did was ended before it was noted.
        Err(ApiError::Conflict(code::LABEL_TAKEN, _)) => true,
        Err(error) => return Err(error),
    };
    app.store()
        .keep_hook_message(&scope, &id, &message, &label)
        .await?;
    if !repeated {
        trail(&app, &who, &label).await;
        app.heart().look_soon();
    }
    let status = if repeated {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, Json(HookTaken { label, repeated })))
}

/// The id of a message that is what it says it is.
fn believed(
    app: &App,
    hook: &HookSettings,
    secret: &str,
    (headers, body): (&HeaderMap, &[u8]),
) -> Result<String, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(id), Some(timestamp), Some(signature)) = (
        text("webhook-id"),
        text("webhook-timestamp"),
        text("webhook-signature"),
    ) else {
        return Err(ApiError::Unauthorized(
            "sign it as Standard Webhooks has it: webhook-id, webhook-timestamp and webhook-signature",
        ));
    };
    if id.is_empty() || id.len() > MESSAGE_MAX {
        return Err(ApiError::invalid(
            "webhook-id",
            "must have 1 to 200 characters",
        ));
    }
    let now_s = app.now_ms().div_euclid(1_000);
    match verify(secret, (id, timestamp), signature, body, now_s) {
        Ok(()) => Ok(id.to_owned()),
        Err(Unverified::Time) => Err(ApiError::Unauthorized(
            "webhook-timestamp is not within five minutes of now: send the time of this try, in seconds",
        )),
        Err(Unverified::Signature) => Err(ApiError::Unauthorized(
            "webhook-signature is not one of this hook's secret over webhook-id, webhook-timestamp and the body",
        )),
        Err(Unverified::Secret) => {
            tracing::warn!(
                hook = hook.id,
                "the secret of a hook is no whsec_ and Base64"
            );
            Err(ApiError::Unavailable(
                code::BUSY,
                "the secret of this hook cannot be used as a key: its server has to be mended"
                    .to_owned(),
            ))
        }
    }
}

/// Whose queue it is.
async fn scope(app: &App, hook: &HookSettings) -> Result<OrgScope, ApiError> {
    let Some(named) = &hook.organization else {
        return Ok(OrgScope::local());
    };
    let all = app.store().organizations().await?;
    let id = OrganizationId::new(named);
    if all.iter().any(|one| one.id == id) {
        return Ok(OrgScope::authenticated(id));
    }
    tracing::warn!(
        hook = hook.id,
        organization = named,
        "a hook names no organization"
    );
    Err(ApiError::Unavailable(
        code::BUSY,
        "this hook's organization is not there: its server has to be mended".to_owned(),
    ))
}

/// The item: the body itself, or what is below `data` of an event. What says no priority is medium: nobody is asking
/// in person.
fn item(body: &[u8]) -> Result<QueueAdd, ApiError> {
    let wrong = |why: String| ApiError::Unreadable(StatusCode::BAD_REQUEST, code::BAD_JSON, why);
    let mut value: Value = serde_json::from_slice(body)
        .map_err(|error| wrong(format!("the body is no JSON: {error}")))?;
    if value.get("name").is_none()
        && let Some(data) = value.get_mut("data")
    {
        value = data.take();
    }
    let says = value.get("priority").is_some();
    let mut add: QueueAdd = serde_json::from_value(value)
        .map_err(|error| wrong(format!("the body is no item of the queue: {error}")))?;
    if !says {
        add.priority = QueuePriority::Medium;
    }
    if add.label.is_some() {
        let said = "is made from the message: leave it out";
        return Err(ApiError::invalid("label", said));
    }
    Ok(add)
}

/// Different for every message, the same for the same one.
fn label(name: &str, hook: &str, message: &str) -> Slug {
    let digest = Sha256::digest(format!("{hook}\n{message}"));
    let end: String = digest[..5]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let start: String = name.chars().take(NAME_PART).collect();
    agentwright_queue::item::label(&format!("{start} {end}"), |_| false)
}

/// Nobody was known at the door, so the row is written here.
async fn trail(app: &App, who: &Who, label: &Slug) {
    let change = Change {
        action: "POST /api/v1/hooks/{id}".to_owned(),
        target: label.to_string(),
        before: None,
        after: None,
    };
    let actor = Actor {
        name: who.name.clone(),
        principal: "hook".to_owned(),
    };
    if let Err(error) = app.store().audit(&who.scope, actor, change).await {
        tracing::error!(%error, %label, "an item of a hook is missing in the audit trail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_of_its_message_and_what_says_no_priority_is_medium() {
        let one = label("Spotify: a playlist", "crm", "m1");
        assert_eq!(one, label("Spotify: a playlist", "crm", "m1"));
        assert!(one.as_str().starts_with("spotify-a-playlist-"), "{one}");
        assert_ne!(one, label("Spotify: a playlist", "crm", "m2"));
        let long = label(&"x".repeat(200), "crm", "m1");
        assert_ne!(long, label(&"x".repeat(200), "crm", "m2"));
        let of = |body: &str| item(body.as_bytes());
        assert_eq!(
            of(r#"{"name": "a"}"#).unwrap().priority,
            QueuePriority::Medium
        );
        let event = r#"{"type": "lead.won", "data": {"name": "a", "priority": "high"}}"#;
        assert_eq!(of(event).unwrap().priority, QueuePriority::High);
        for body in [
            "",
            "[]",
            r#"{"data": 1}"#,
            r#"{"name": "a", "label": "b"}"#,
            r#"{"name": "a", "run": "rm"}"#,
        ] {
            assert!(of(body).is_err(), "{body}");
        }
    }
}
