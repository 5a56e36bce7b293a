//! A deployed automation: its versions, whether it is on, and the service directory.

use crate::digest::Digest;
use crate::ids::{GrantId, RunId, Slug};
use crate::spec::{AutomationKind, Spec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One version of a deployed automation. Never changed once written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeployedVersion {
    /// The automation.
    pub name: Slug,
    /// 1, 2, 3, …
    pub version: u32,
    /// The build that made it.
    pub build: RunId,
    /// The grant that allows it.
    pub grant: GrantId,
    /// The tree of code.
    pub code: Digest,
    /// The whole spec.
    pub spec: Spec,
    /// Digest over interpreter and other host programs at verify; drift asks for a new verify.
    pub environment: Digest,
    /// When, ms.
    pub deployed_at_ms: i64,
}

/// Whether a deployment fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Activity {
    /// It fires when it is due.
    Active,
    /// A person or repeated failure paused it.
    Paused {
        /// Why.
        reason: String,
        /// Since when, ms.
        since_ms: i64,
    },
    /// A person stopped it; nothing of it runs.
    Stopped {
        /// Since when, ms.
        since_ms: i64,
    },
}

/// What a person can ask of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Action {
    /// No further firings; what runs is let finish.
    Pause {
        /// Why.
        reason: String,
    },
    /// Fires again; the count of failures starts anew.
    Resume,
    /// What runs is ended, and nothing fires.
    Stop,
    /// Another version becomes the active one; its grant must be live.
    Switch {
        /// Which.
        version: u32,
    },
}

/// Why an action is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionRefused {
    /// It already is so.
    #[error("{name} is already {state}")]
    Already {
        /// Which deployment.
        name: Slug,
        /// What it already is.
        state: &'static str,
    },
}

/// Decides what an action makes of the activity.
pub fn decide(
    name: &Slug,
    now_is: &Activity,
    action: &Action,
    now_ms: i64,
) -> Result<Activity, ActionRefused> {
    let already = |state| {
        Err(ActionRefused::Already {
            name: name.clone(),
            state,
        })
    };
    match (now_is, action) {
        (Activity::Active, Action::Resume) => already("active"),
        (Activity::Paused { .. }, Action::Pause { .. }) => already("paused"),
        (Activity::Stopped { .. }, Action::Stop) => already("stopped"),
        (Activity::Stopped { .. }, Action::Pause { .. }) => already("stopped"),
        (Activity::Active, Action::Pause { reason }) => Ok(Activity::Paused {
            reason: reason.clone(),
            since_ms: now_ms,
        }),
        (Activity::Paused { .. } | Activity::Stopped { .. }, Action::Resume) => {
            Ok(Activity::Active)
        }
        (Activity::Active | Activity::Paused { .. }, Action::Stop) => {
            Ok(Activity::Stopped { since_ms: now_ms })
        }
        (
            Activity::Active | Activity::Paused { .. } | Activity::Stopped { .. },
            Action::Switch { .. },
        ) => Ok(now_is.clone()),
    }
}

/// How an execution leaves its deployment: written in the same commit as the execution's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Which deployment.
    pub name: Slug,
    /// Failed executions in a row.
    pub failures_in_a_row: u32,
    /// Set when this failure pauses it.
    pub paused: Option<String>,
}

/// An entry of the service directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceEntry {
    /// The automation.
    pub name: Slug,
    /// What it is.
    pub kind: AutomationKind,
    /// What it does.
    pub purpose: String,
    /// Active version.
    pub version: u32,
    /// Where it answers; services only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// When it was registered, ms.
    pub registered_at_ms: i64,
}
