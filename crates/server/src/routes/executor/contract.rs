//! The contract of every service: `/health`, `/capabilities`, `/state`, `/dependencies`, `/message`.

use super::plain::Told;
use super::{cancelled, refused};
use crate::app::App;
use crate::error::ApiError;
use crate::extract::Who;
use crate::{jobs, metrics};
use agentwright_api::executor::{
    Backing, BackingStatus, ContractCapabilities, ContractHealth, ContractState, Dependencies,
    Message, MessageReply, MessageType, ResourceUsage, ServiceStatus, UDC_VERSION,
};
use agentwright_api::{Time, code};
use agentwright_domain::principal::Role;
use agentwright_sandbox::Tier;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use garde::Validate;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use sha2::Sha256;

const SERVICE: &str = "agentwright";
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// A signed command is good for so long, before and after its time, ms.
const COMMAND_GOOD_FOR_MS: i64 = 5 * 60_000;
/// What it does, for those who look for a service.
const FEATURES: [&str; 6] = [
    "build",
    "verify",
    "deploy",
    "register",
    "approvals",
    "live-events",
];
/// The commands of `POST /message`.
const CANCEL: &str = "cancel";

/// All of them, without a prefix.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/health", get(health))
        .route("/capabilities", get(capabilities))
        .route("/state", get(state))
        .route("/dependencies", get(dependencies))
        .route("/message", post(message))
}

async fn health(State(app): State<App>) -> (StatusCode, Json<ContractHealth>) {
    let (status, code) = match app.store().now_ms().await {
        Err(_) => (ServiceStatus::Error, StatusCode::INTERNAL_SERVER_ERROR),
        Ok(_) if app.stops() => (ServiceStatus::Inactive, StatusCode::OK),
        Ok(_) => (ServiceStatus::Active, StatusCode::OK),
    };
    let health = ContractHealth {
        status,
        service: SERVICE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        timestamp: Time::from_ms(app.now_ms()),
    };
    (code, Json(health))
}

async fn capabilities(State(app): State<App>, _who: Who) -> Json<ContractCapabilities> {
    let known = backings(&app).await;
    let names = known.required.into_iter().chain(known.optional);
    let mut metadata = Map::new();
    metadata.insert("api".into(), json!("/api/v1/openapi.json"));
    metadata.insert("executor".into(), json!("/executor/capabilities"));
    Json(ContractCapabilities {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        features: FEATURES.map(str::to_owned).into(),
        dependencies: names.map(|backing| backing.name).collect(),
        udc_version: UDC_VERSION.to_owned(),
        metadata,
    })
}

async fn state(State(app): State<App>, who: Who) -> Result<Json<ContractState>, ApiError> {
    let requests = app.metrics().requests();
    let (active_builds, _) = app.store().builds_at_work(Some(&who.scope)).await?;
    Ok(Json(ContractState {
        uptime_seconds: app.uptime_s(),
        requests_total: requests.total,
        requests_per_minute: requests.per_minute,
        errors_last_hour: requests.errors,
        last_restart: app.health().started_at,
        resource_usage: ResourceUsage {
            active_builds,
            ..metrics::used()
        },
    }))
}

async fn dependencies(State(app): State<App>, _who: Who) -> Json<Dependencies> {
    Json(backings(&app).await)
}

/// What is looked at costs nothing: what is known already, files, no call to anybody but a local Ollama.
async fn backings(app: &App) -> Dependencies {
    let backing = |name: &str, status| Backing {
        name: name.to_owned(),
        status,
    };
    let there = |yes| match yes {
        true => BackingStatus::Available,
        false => BackingStatus::Unavailable,
    };
    let store = match app.store().now_ms().await {
        Ok(_) => BackingStatus::Connected,
        Err(_) => BackingStatus::Unavailable,
    };
    let walls = app.sandbox().probe().await.tier != Tier::None;
    let git = ["/usr/local/bin/git", "/usr/bin/git", "/bin/git"];
    let git = git.iter().any(|path| std::path::Path::new(path).exists());
    let required = vec![
        backing("store", store),
        backing("sandbox", there(walls)),
        backing("git", there(git)),
    ];
    let found = app.builds().models().found().await;
    let optional = found
        .providers
        .iter()
        .map(|provider| backing(&provider.name, BackingStatus::Available))
        .collect();
    let missing = required
        .iter()
        .filter(|one| one.status == BackingStatus::Unavailable)
        .map(|one| one.name.clone())
        .collect();
    Dependencies {
        required,
        optional,
        missing,
    }
}

/// A message, and all that was sent: what is signed is what was sent, not what was understood.
#[derive(Debug, Validate)]
struct Sent {
    #[garde(skip)]
    raw: Map<String, Value>,
    #[garde(dive)]
    message: Message,
}

impl<'de> Deserialize<'de> for Sent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = Map::deserialize(from)?;
        let message = serde_json::from_value(Value::Object(raw.clone()));
        let message = message.map_err(D::Error::custom)?;
        Ok(Self { raw, message })
    }
}

async fn message(
    State(app): State<App>,
    who: Who,
    headers: HeaderMap,
    Told(sent): Told<Sent>,
) -> Result<Json<MessageReply>, ApiError> {
    let message = &sent.message;
    let result = match message.message_type {
        MessageType::Status | MessageType::Event => {
            let (source, kind) = (&message.source, message.message_type);
            tracing::info!(source, ?kind, trace = message.trace_id, "a message");
            None
        }
        MessageType::Query => Some(query(&app, &who, &message.payload).await?),
        MessageType::Command => {
            who.require(Role::Operator)?;
            signed(&headers, &sent)?;
            timely(&app, message)?;
            Some(command(&app, &who, &message.payload).await?)
        }
    };
    Ok(Json(MessageReply {
        received: true,
        trace_id: message.trace_id.clone(),
        processed_at: Time::from_ms(app.now_ms()),
        result,
    }))
}

/// A build's job.
async fn query(app: &App, who: &Who, payload: &Map<String, Value>) -> Result<Value, ApiError> {
    let row = jobs::row(app, who, build_id(payload)?).await?;
    let job = jobs::one(app, who, row).await?;
    serde_json::to_value(job).map_err(|error| ApiError::Internal(error.into()))
}

async fn command(app: &App, who: &Who, payload: &Map<String, Value>) -> Result<Value, ApiError> {
    if payload.get("command").and_then(Value::as_str) != Some(CANCEL) {
        let possible = format!("must be {CANCEL:?}: no other command is known");
        return Err(ApiError::malformed("payload.command", possible));
    }
    let done = cancelled(app, who, build_id(payload)?, None).await?;
    serde_json::to_value(done).map_err(|error| ApiError::Internal(error.into()))
}

fn build_id(payload: &Map<String, Value>) -> Result<&str, ApiError> {
    let id = payload.get("build_id").and_then(Value::as_str);
    id.ok_or_else(|| ApiError::malformed("payload.build_id", "must be the id of a build"))
}

/// HMAC-SHA256 of the canonical JSON of everything but the signature, with the key that the request shows.
fn signed(headers: &HeaderMap, sent: &Sent) -> Result<(), ApiError> {
    let no = |what, detail| Err(refused(StatusCode::FORBIDDEN, what, detail));
    let Some(signature) = &sent.message.signature else {
        return no(code::UNSIGNED, "a command needs a signature");
    };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let Some(key) = bearer.or_else(|| text(API_KEY)) else {
        let keyless = "a command is signed with the key of its request, and this one has none; over the socket, use /executor";
        return no(code::SIGNATURE, keyless);
    };
    let mut raw = sent.raw.clone();
    raw.remove("signature");
    let canonical = agentwright_proof::canonical(&Value::Object(raw))
        .map_err(|error| ApiError::malformed("payload", error.to_string()))?;
    // Invariant: HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.trim().as_bytes()) else {
        return no(code::SIGNATURE, "the key cannot sign");
    };
    mac.update(&canonical);
    let given = unhex(signature);
    if given.is_some_and(|given| mac.verify_slice(&given).is_ok()) {
        return Ok(());
    }
    no(
        code::SIGNATURE,
        "the signature is not that of this message with the key of this request",
    )
}

fn timely(app: &App, message: &Message) -> Result<(), ApiError> {
    let age_ms = app.now_ms() - message.timestamp.as_ms();
    if age_ms.abs() <= COMMAND_GOOD_FOR_MS {
        return Ok(());
    }
    Err(ApiError::malformed(
        "timestamp",
        "is not now: a signed command is good for five minutes",
    ))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
