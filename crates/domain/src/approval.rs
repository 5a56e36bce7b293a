//! Approvals and grants: a person's yes to exactly this, and what it turned into.

use crate::digest::Digest;
use crate::ids::{ApprovalId, GrantId, Slug};
use crate::spec::{Permissions, Trigger};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A place where a build waits for a person.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// After the spec, before anything is written.
    Spec,
    /// Before deploy.
    Deploy,
}

/// Why a gate is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "why", content = "detail")]
pub enum GateReason {
    /// The approval mode asks for it.
    Mode,
    /// The target is marked as production.
    Production,
    /// A risk; never covered by an approval in advance.
    Risk(String),
    /// No overseer has judged this code; never covered by an approval in advance.
    Unreviewed(String),
    /// The spec proved wrong and was changed; never covered by an approval in advance.
    Amended(String),
}

impl GateReason {
    /// Whether an approval in advance can cover it.
    pub fn may_be_covered(&self) -> bool {
        match self {
            Self::Mode | Self::Production => true,
            Self::Risk(_) | Self::Unreviewed(_) | Self::Amended(_) => false,
        }
    }
}

/// What exactly is approved. Each part is a digest; any change makes the approval stale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subject {
    /// `spec.json`, with the sealed acceptance.
    pub spec: Digest,
    /// The tree of code that was reviewed and verified. Absent at the spec gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Digest>,
    /// Everything verify saw. Absent at the spec gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Digest>,
    /// Target and its settings.
    pub target: Digest,
    /// Approval mode, gate reasons and permissions.
    pub policy: Digest,
    /// Digest over all of the above: what a person says yes to.
    pub digest: Digest,
}

/// A recorded decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// Which gate.
    pub gate: Gate,
    /// What was decided on.
    pub subject: Digest,
    /// Yes or no.
    pub approved: bool,
    /// Who.
    pub by: String,
    /// When, ms.
    pub at_ms: i64,
    /// What they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Whether it was given in advance (`--yes`).
    pub in_advance: bool,
}

/// An approval given before the build, bounded by the permissions of the plan that was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdvanceApproval {
    /// Who.
    pub by: String,
    /// Digest of the shown plan's permissions, trigger and target.
    pub permissions: Digest,
}

/// What a yes turned into at deploy. Every execution needs a live one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The approval behind it; `None` only where no gate was due.
    pub approval: Option<ApprovalId>,
    /// The deployment it is for.
    pub deployment: Slug,
    /// The code it allows.
    pub code: Digest,
    /// The spec it allows.
    pub spec: Digest,
    /// What that code may touch.
    pub permissions: Permissions,
    /// When it may run.
    pub trigger: Trigger,
    /// Where.
    pub target: String,
    /// When it was given, ms.
    pub granted_at_ms: i64,
    /// When it was taken back, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<i64>,
}
