//! A change is made from one version and replaces that one: whether it still is the active one.

use crate::deployment::DeployedVersion;
use crate::ids::{RunId, Slug};
use crate::run::{Run, RunInput, RunState};
use serde::{Deserialize, Serialize};

/// A version, beyond its number: an automation that was removed and built anew counts from 1 again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeFrom {
    /// Its number.
    pub version: u32,
    /// The build that made it.
    pub build: RunId,
}

impl From<&DeployedVersion> for MadeFrom {
    fn from(version: &DeployedVersion) -> Self {
        Self {
            version: version.version,
            build: version.build.clone(),
        }
    }
}

/// Why a change cannot be deployed any more as it was made; `active` is what is deployed under its name now. `None` for
/// what is no change, and for one that was made before versions were kept.
///
/// What the build itself deployed, or the build that it deploys again, is no other version.
pub fn outdated(run: &Run, active: Option<&DeployedVersion>) -> Option<String> {
    let (RunState::Build(state), RunInput::Build(request)) = (&run.state, &run.input) else {
        return None;
    };
    let name = request.changes.as_ref()?;
    let Some(active) = active else {
        return Some(format!(
            "{name} was to be changed, but it was removed meanwhile"
        ));
    };
    let from = state.facts.replaces.as_ref()?;
    let same = *from == MadeFrom::from(active) || is_of(run, &active.build);
    (!same).then(|| wrong_version(name, from.version, active.version))
}

/// Whether what `build` deployed is the run's own: it is that build, deploys its result or repeats it.
pub fn is_of(run: &Run, build: &RunId) -> bool {
    let deploys = match &run.input {
        RunInput::Build(request) => request.deploys.as_ref(),
        RunInput::Execution => None,
    };
    *build == run.id || deploys == Some(build) || run.repeats.as_ref() == Some(build)
}

/// A change of a version that is not the active one, and what to do.
pub fn wrong_version(name: &Slug, from: u32, active: u32) -> String {
    let what = if from == active {
        format!("{name} was removed and built anew since this change was made")
    } else {
        format!(
            "this change was made from version {from} of {name}, and version {active} is active now"
        )
    };
    format!("{what}: make it again from what is active (agentwright change {name} …)")
}
