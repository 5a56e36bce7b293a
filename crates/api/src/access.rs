//! Who may: keys, login codes, sessions, organizations, and the audit trail of what they changed.

use crate::time::Time;
use agentwright_domain::ids::{OrganizationId, Slug};
use agentwright_domain::principal::{KeyKind, Role};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names the organization that a request is for. Service keys must send it; whoever belongs to one organization
/// may only name that one.
pub const ORGANIZATION_HEADER: &str = "x-organization-id";
/// Carries a key, as `Authorization: Bearer` does.
pub const KEY_HEADER: &str = "x-api-key";
/// Carries a session's CSRF token; a form has it in the field [`CSRF_FIELD`].
pub const CSRF_HEADER: &str = "x-csrf-token";
/// See [`CSRF_HEADER`].
pub const CSRF_FIELD: &str = "_csrf";
/// The longest name of a key, a person or an organization, in characters.
pub const NAME_MAX: usize = 100;
/// The most days after which a key may expire: ten years.
pub const KEY_DAYS_MAX: u32 = 3_653;
/// The most organizations in one request.
const ORGANIZATIONS_MAX: usize = 1_000;

/// `GET /me`: who asks, as the server sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// Their name, as approvals show it.
    pub name: String,
    /// Whose rows they see.
    pub organization: OrganizationId,
    /// What they may do.
    pub role: Role,
    /// What they showed: `owner`, `person_key:…`, `agent_key:…`, `service_key:…`, `session:…`.
    pub principal: String,
    /// Sessions only: what their changing requests must show as `X-CSRF-Token`, or as `_csrf` in a form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf: Option<String>,
}

/// A key as it is kept: everything but its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    /// The 16 digits after `aw_`.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Whose it is.
    pub kind: KeyKind,
    /// What it may do.
    pub role: Role,
    /// Service keys only: which organizations it may act for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organizations: Vec<OrganizationId>,
    /// When it was made.
    pub created_at: Time,
    /// By whom.
    pub created_by: String,
    /// From when on it no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Since when it no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Time>,
}

/// `POST /keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// What it is for.
    #[garde(custom(named))]
    pub name: String,
    /// What it may do. Keys of agents and services are at most `operator`.
    #[garde(skip)]
    pub role: Role,
    /// Whose it is.
    #[serde(default = "person")]
    #[garde(skip)]
    pub kind: KeyKind,
    /// Service keys only: which organizations it may act for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(custom(few))]
    pub organizations: Vec<Slug>,
    /// After how many days it no longer holds; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1, max = KEY_DAYS_MAX)))]
    pub expires_in_days: Option<u32>,
}

fn person() -> KeyKind {
    KeyKind::Person
}

/// A key that was just made: the only time that its text is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreatedKey {
    /// What is kept of it.
    #[serde(flatten)]
    pub key: Key,
    /// The key itself: `aw_…`.
    pub secret: String,
}

/// `POST /login-codes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct CreateLoginCode {
    /// The person's name, as approvals will show it; the caller's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(named)))]
    pub name: Option<String>,
    /// What they may do; the caller's role when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub role: Option<Role>,
}

/// A code for one login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoginCode {
    /// The code.
    pub code: String,
    /// The page that takes it; absent where the server does not listen on TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Until when it can be used.
    pub expires_at: Time,
}

/// A browser that is logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionInfo {
    /// Its id; nothing that could be shown instead of it.
    pub id: String,
    /// The person's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The key that it logged in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Since when.
    pub created_at: Time,
    /// Until when.
    pub expires_at: Time,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Its name for people.
    pub name: String,
    /// When it was made.
    pub created_at: Time,
}

/// `POST /organizations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct CreateOrganization {
    /// Its id, never given twice.
    #[garde(skip)]
    pub id: Slug,
    /// Its name for people; the id when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(custom(named)))]
    pub name: Option<String>,
}

/// What went with an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeletedOrganization {
    /// Its id.
    pub id: OrganizationId,
    /// Deployments that were stopped and removed.
    pub deployments: u32,
    /// Rows that were deleted.
    pub rows: u64,
}

/// The query of `GET /audit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct AuditQuery {
    /// At most so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1, max = crate::LIST_MAX)))]
    pub limit: Option<u32>,
    /// Only what is older than this row: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(inner(range(min = 1)))]
    pub before: Option<i64>,
}

/// One row of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// 1, 2, 3, … in each organization.
    pub seq: i64,
    /// When.
    pub at: Time,
    /// Who, by name.
    pub by: String,
    /// What they showed, as in [`Me::principal`].
    pub principal: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// The digest of what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The digest of what it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// `GET /audit/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditReport {
    /// How many rows hold, from the first one on.
    pub intact: i64,
    /// The first row that does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<AuditBreak>,
}

/// Where a trail is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditBreak {
    /// The row's number.
    pub seq: i64,
    /// What is wrong with it.
    pub why: String,
}

fn named(text: &str, (): &()) -> garde::Result {
    let length = text.chars().count();
    if text.trim().is_empty() || length > NAME_MAX {
        let says = format!("must have 1 to {NAME_MAX} characters");
        return Err(garde::Error::new(says));
    }
    if text.chars().any(char::is_control) {
        return Err(garde::Error::new("must not have control characters"));
    }
    Ok(())
}

fn few(list: &[Slug], (): &()) -> garde::Result {
    if list.len() > ORGANIZATIONS_MAX {
        let says = format!("has more than {ORGANIZATIONS_MAX} entries");
        return Err(garde::Error::new(says));
    }
    Ok(())
}
