//! `POST /plans`: what would be built, without building it.

use crate::build::{absolute, few_foundations, few_inputs, one_wish, short_zone};
use agentwright_domain::acceptance::Acceptance;
use agentwright_domain::build::INTENT_MAX_CHARS;
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::Slug;
use agentwright_domain::spec::{AutomationKind, Permissions, Spec, Trigger};
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What somebody thinks of building.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// The sentence; empty when a spec is given.
    #[serde(default)]
    #[garde(length(chars, max = INTENT_MAX_CHARS), custom(one_wish(self.spec.is_some())))]
    pub intent: String,
    /// A ready spec instead of an intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub spec: Option<Box<Spec>>,
    /// Inputs given beside the sentence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[garde(custom(few_inputs))]
    pub inputs: BTreeMap<String, Value>,
    /// The directory that relative paths are meant from; absolute.
    #[garde(custom(absolute))]
    pub base_dir: String,
    /// The person's time zone, IANA.
    #[garde(custom(short_zone))]
    pub zone: String,
    /// The deployment that is to be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub changes: Option<Slug>,
    /// Extra foundation directories, absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[garde(custom(few_foundations))]
    pub foundations: Vec<String>,
}

/// What would be built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Whether it can be built as it stands.
    pub verdict: PlanVerdict,
    /// Why not, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The foundation it starts from.
    pub foundation: Option<String>,
    /// The automation's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Slug>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<AutomationKind>,
    /// What it does, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// When it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// The inputs, filled.
    pub inputs: BTreeMap<String, Value>,
    /// The inputs that are still to be given.
    pub missing: Vec<Missing>,
    /// What it may touch.
    pub permissions: Permissions,
    /// What must hold of it.
    pub acceptance: Option<Acceptance>,
    /// Digest of permissions, trigger and target: what a yes in advance is bounded by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions_digest: Option<Digest>,
    /// The whole spec, when nothing is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Spec>,
    /// What agentwright could build instead, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub possible: Vec<Choice>,
    /// What a person may want to know: defaults that were taken, a name that exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What differs from the deployed version; for a change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<Difference>,
    /// The deployed version that it is made from; for a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_version: Option<u32>,
}

/// Whether a plan can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanVerdict {
    /// As it stands.
    Ready,
    /// No foundation covers it; a model is asked for the spec when it is built.
    Model,
    /// When the missing inputs are given.
    Incomplete,
    /// Vague, impossible, or nothing fits.
    Refused,
}

/// An input that is still to be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Missing {
    /// Its name; give it as `--input name=value`.
    pub name: String,
    /// The question that it answers.
    pub question: String,
    /// Answers that would do.
    pub examples: Vec<String>,
}

/// Something that agentwright can build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Choice {
    /// The foundation's name.
    pub foundation: String,
    /// What it does.
    pub does: String,
    /// A sentence that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
}

/// One line of what a change changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Path into the spec.
    pub at: String,
    /// What the deployed version has; absent when it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What the next version would have; absent when it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}
