//! A refusal on the wire: RFC 9457 problem details with a stable `code`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `application/problem+json` carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `urn:agentwright:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every occurrence of the code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time and what to do. Never the inside of a 5xx.
    pub detail: String,
    /// Stable; see [`code`].
    pub code: String,
    /// Which fields are wrong; with [`code::INVALID`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// Where the log of the daemon has more; with 5xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldProblem {
    /// Path of the field in the request.
    pub at: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Problem {
    /// A problem without field errors.
    pub fn new(status: u16, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:agentwright:problem:{code}"),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            code: code.to_owned(),
            errors: Vec::new(),
            request_id: None,
        }
    }
}

/// The stable codes. A code never changes its meaning; new ones may come.
pub mod code {
    /// The body is not JSON of the right shape.
    pub const BAD_JSON: &str = "request.json";
    /// A field is missing, unknown, or out of its bounds.
    pub const INVALID: &str = "request.invalid";
    /// The body is larger than [`crate::BODY_MAX_BYTES`].
    pub const TOO_LARGE: &str = "request.too_large";
    /// The body is not `application/json`.
    pub const MEDIA_TYPE: &str = "request.media_type";
    /// No such path.
    pub const NO_ROUTE: &str = "request.path";
    /// The path does not take this method.
    pub const METHOD: &str = "request.method";
    /// A key or session is missing, wrong, expired or revoked.
    pub const UNAUTHORIZED: &str = "auth.key";
    /// The role is too low, or the caller is no person where one must decide.
    pub const FORBIDDEN: &str = "forbidden";
    /// The organization that is named is not one that the caller may act for.
    pub const ORG_MISMATCH: &str = "org_mismatch";
    /// The organization is not named where it must be, or not as it must be.
    pub const ORGANIZATION: &str = "request.organization";
    /// A session's request without its CSRF token, or from another site.
    pub const CSRF: &str = "auth.csrf";
    /// The login code is unknown, used or too old.
    pub const LOGIN_CODE: &str = "auth.login_code";
    /// The path takes a WebSocket only.
    pub const UPGRADE: &str = "request.upgrade";
    /// A browser's page of another origin asks for a stream.
    pub const ORIGIN: &str = "request.origin";
    /// It has changed since the caller looked (`If-Match`).
    pub const CHANGED: &str = "request.changed";
    /// Too many requests with this key.
    pub const RATE: &str = "rate.limited";
    /// A command without a signature.
    pub const UNSIGNED: &str = "message.unsigned";
    /// The message's signature is not that of the key.
    pub const SIGNATURE: &str = "message.signature";
    /// There are as many of this as there may be.
    pub const TOO_MANY: &str = "too_many";
    /// There is, or was, an organization with this id.
    pub const ORGANIZATION_TAKEN: &str = "organization.taken";
    /// Nothing has this id, label or name.
    pub const NOT_FOUND: &str = "not_found";
    /// The id's beginning fits several.
    pub const AMBIGUOUS: &str = "id.ambiguous";
    /// It has already ended.
    pub const ENDED: &str = "run.ended";
    /// It has not ended yet.
    pub const NOT_ENDED: &str = "run.not_ended";
    /// It does not wait for a decision.
    pub const NOT_WAITING: &str = "decision.not_waiting";
    /// The build is no replay, or cannot be replayed.
    pub const NOT_A_REPLAY: &str = "run.not_a_replay";
    /// The build does not wait for a budget.
    pub const NOT_SPENT: &str = "run.not_spent";
    /// What waits is no longer what was decided on.
    pub const STALE: &str = "decision.stale";
    /// A link that decides was used, or its gate was decided with another one.
    pub const LINK_USED: &str = "decision.link_used";
    /// A link that decides has expired.
    pub const LINK_EXPIRED: &str = "decision.link_expired";
    /// A live build has this label.
    pub const LABEL_TAKEN: &str = "build.label_taken";
    /// The idempotency key was used for another request.
    pub const IDEMPOTENCY: &str = "idempotency.mismatch";
    /// The build has nothing that could be deployed.
    pub const NOT_DEPLOYABLE: &str = "build.not_deployable";
    /// The deployment already is so, or cannot do that now.
    pub const CONFLICT: &str = "deployment.conflict";
    /// The intent, spec or input is refused; the detail lists what is missing or possible.
    pub const REFUSED: &str = "intent.refused";
    /// The machine lacks something; the detail says what and how to get it.
    pub const UNAVAILABLE: &str = "machine.unavailable";
    /// The database of a connected table is away: 503.
    pub const TABLE_AWAY: &str = "table.unavailable";
    /// The database does not answer now.
    pub const STORE_AWAY: &str = "store.unavailable";
    /// The disk of the data directory is full.
    pub const STORE_FULL: &str = "store.full";
    /// The daemon is stopping.
    pub const STOPPING: &str = "daemon.stopping";
    /// Too many requests are being worked on.
    pub const BUSY: &str = "daemon.busy";
    /// A fault of agentwright; the log has more.
    pub const INTERNAL: &str = "internal";
}
