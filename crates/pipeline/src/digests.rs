//! What exactly a person says yes to, as digests. Each is made again from what is there when it
//! counts, and compared.

use crate::stages::Stop;
use agentwright_domain::approval::{Gate, Subject};
use agentwright_domain::build::{BuildPolicy, Facts, MadeFrom, due};
use agentwright_domain::digest::Digest;
use agentwright_domain::spec::Spec;
use agentwright_proof::{NoJson, of_json};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt as _;

/// The only target so far.
pub const TARGET: &str = "local";

/// The digest of permissions, trigger and target: what an approval in advance is bounded by.
///
/// # Errors
/// Never in practice: a spec can always be written as JSON.
pub fn permissions_digest(spec: &Spec) -> Result<Digest, NoJson> {
    of_json(&json!({
        "permissions": spec.permissions,
        "trigger": spec.trigger,
        "target": TARGET,
    }))
}

/// Target, the folders that are really behind the declared paths, the programs of the host, and the version that is
/// replaced there.
pub(crate) fn target_digest(
    spec: &Spec,
    environment: &Digest,
    replaces: Option<&MadeFrom>,
) -> Result<Digest, NoJson> {
    let folders: Vec<Value> = spec
        .permissions
        .folders
        .iter()
        .map(|folder| {
            let identity = std::fs::symlink_metadata(&folder.path)
                .ok()
                .filter(std::fs::Metadata::is_dir)
                .map(|meta| format!("{}:{}", meta.dev(), meta.ino()));
            // A folder that is made at deploy has no identity of its own yet.
            let identity = if folder.create { None } else { identity };
            json!({ "path": folder.path, "identity": identity })
        })
        .collect();
    let mut target = json!({ "target": TARGET, "folders": folders, "environment": environment });
    if let Some(replaces) = replaces {
        target["replaces"] = json!(replaces);
    }
    of_json(&target)
}

/// What waits at a gate.
pub(crate) fn subject(
    spec: &Spec,
    facts: &Facts,
    policy: &BuildPolicy,
    gate: Gate,
    environment: &Digest,
) -> Result<Subject, Stop> {
    let (code, evidence) = match gate {
        Gate::Spec => (None, None),
        Gate::Deploy => (facts.code.clone(), facts.evidence.clone()),
    };
    let policy_parts = json!({
        "mode": policy.mode,
        "production": policy.production,
        "reasons": due(gate, policy, facts),
        "permissions": permissions_digest(spec)?,
    });
    let mut subject = Subject {
        spec: of_json(spec)?,
        code,
        evidence,
        target: target_digest(spec, environment, facts.replaces.as_ref())?,
        policy: of_json(&policy_parts)?,
        digest: of_json(&Value::Null)?,
    };
    subject.digest = of_json(&json!({
        "spec": subject.spec,
        "code": subject.code,
        "evidence": subject.evidence,
        "target": subject.target,
        "policy": subject.policy,
    }))?;
    Ok(subject)
}

/// What differs between what was approved and what is there now, in words.
pub(crate) fn changed(approved: &Subject, now: &Subject) -> Vec<&'static str> {
    let parts = [
        (approved.spec != now.spec, "the spec"),
        (approved.code != now.code, "the code"),
        (approved.evidence != now.evidence, "the evidence"),
        (
            approved.target != now.target,
            "a folder or a program of this machine",
        ),
        (
            approved.policy != now.policy,
            "the permissions or the approval mode",
        ),
    ];
    parts
        .into_iter()
        .filter(|(differs, _)| *differs)
        .map(|(_, what)| what)
        .collect()
}
