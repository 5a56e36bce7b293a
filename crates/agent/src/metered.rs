//! What every agent behind a relay begins with: its program, its relay, its walls and its transcript.

use crate::coder::{Progress, Task, Workspace};
use crate::error::CoderError;
use crate::program::Program;
use crate::relay::{Relay, RelayLimits, Upstream};
use crate::talk::Bounds;
use crate::transcript::Transcript;
use agentwright_sandbox::Policy;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// An agent that is about to start.
pub(crate) struct Metered<'a> {
    pub(crate) program: Program,
    pub(crate) relay: Relay,
    /// Knows the relay and nothing of the provider.
    pub(crate) policy: Policy,
    pub(crate) bounds: Bounds,
    pub(crate) transcript: Transcript<'a>,
}

impl<'a> Metered<'a> {
    /// Finds the program and starts its relay.
    ///
    /// # Errors
    /// [`CoderError::NotInstalled`], [`CoderError::Workspace`].
    pub(crate) async fn begin(
        (program, upstream): (&Path, &Upstream),
        task: &Task,
        work: &Workspace,
        report: &'a dyn Progress,
        cancel: &CancellationToken,
    ) -> Result<Self, CoderError> {
        let program = Program::find(program)?;
        let relay = Relay::start(upstream.clone(), RelayLimits::of(&task.limits)).await?;
        let mut secrets = work.secrets.clone();
        secrets.extend(upstream.secrets.iter().cloned());
        secrets.push(relay.token().clone());
        Ok(Self {
            policy: program.policy(work, &task.limits, relay.network())?,
            bounds: Bounds::new(task.limits.wall, cancel, relay.over()),
            transcript: Transcript::new(secrets, report),
            program,
            relay,
        })
    }
}
