//! Any coding agent that speaks the Agent Client Protocol (version 1) over its standard streams.
//!
//! Six messages of it are spoken: `initialize`, `session/new`, `session/prompt`, `session/cancel` from us;
//! `session/request_permission` and `fs/…` are answered ([`answers`]). Start at [`Acp`].

mod answers;
mod session;

use std::path::PathBuf;

use agentwright_sandbox::{HostRule, Mount, Network, Policy, SyntheticFile};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::coder::{Coder, Progress, Task, Workspace, Written};
use crate::error::CoderError;
use crate::files::WorkFiles;
use crate::program::Program;
use crate::relay::{Relay, RelayLimits, Traffic, Upstream};
use crate::talk::{Bounds, Talk};
use crate::transcript::Transcript;
use session::Session;

/// An agent by configuration. In `arguments`, `env` and `files`, `{relay}` stands for the relay's address
/// (`http://127.0.0.1:…`, without a path), `{token}` for what is presented there instead of a key, and `{model}` for
/// the model's name.
#[derive(Clone)]
pub struct AcpAgent {
    /// Its name in the configuration.
    pub name: String,
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Added to its environment.
    pub env: Vec<(String, String)>,
    /// Configuration files inside, for instance below `/state`, its home.
    pub files: Vec<(PathBuf, String)>,
    /// What it needs beside its program, read-only.
    pub mounts: Vec<Mount>,
    /// How its model calls leave.
    pub way: AcpWay,
}

/// How an agent's model calls leave the sandbox.
#[derive(Clone)]
pub enum AcpWay {
    /// Through a relay: metered, bounded, without a key inside.
    Relay(Box<Upstream>),
    /// By itself, to these hosts. Refused unless the operator has accepted that nobody counts.
    Unmetered {
        /// Whether the operator has accepted it.
        accepted: bool,
        /// What it can reach.
        hosts: Vec<HostRule>,
    },
}

/// An agent that speaks the protocol, as a coder.
pub struct Acp {
    agent: AcpAgent,
}

impl Acp {
    /// By configuration.
    #[must_use]
    pub fn new(agent: AcpAgent) -> Self {
        Self { agent }
    }

    async fn relay(&self, task: &Task) -> Result<Option<Relay>, CoderError> {
        match &self.agent.way {
            AcpWay::Relay(upstream) => {
                let limits = RelayLimits::of(&task.limits);
                Ok(Some(Relay::start((**upstream).clone(), limits).await?))
            }
            AcpWay::Unmetered { accepted: true, .. } => Ok(None),
            AcpWay::Unmetered {
                accepted: false, ..
            } => Err(CoderError::Unmetered {
                program: self.agent.name.clone(),
            }),
        }
    }

    fn network(&self, relay: Option<&Relay>) -> Network {
        match (&self.agent.way, relay) {
            (_, Some(relay)) => relay.network(),
            (AcpWay::Unmetered { hosts, .. }, None) if !hosts.is_empty() => {
                Network::Allow(hosts.clone())
            }
            _ => Network::Off,
        }
    }

    /// Puts the relay's address, its token and the model where the configuration wants them.
    fn fill(&self, text: &str, relay: Option<&Relay>) -> String {
        let (Some(relay), AcpWay::Relay(upstream)) = (relay, &self.agent.way) else {
            return text.to_owned();
        };
        text.replace("{relay}", &relay.inside())
            .replace("{token}", relay.token().expose())
            .replace("{model}", &upstream.model)
    }

    fn equip(&self, policy: &mut Policy, relay: Option<&Relay>) {
        for (name, value) in &self.agent.env {
            policy.env.insert(name.clone(), self.fill(value, relay));
        }
        policy.mounts.extend(self.agent.mounts.iter().cloned());
        policy
            .files
            .extend(self.agent.files.iter().map(|(inside, text)| SyntheticFile {
                inside: inside.clone(),
                content: self.fill(text, relay).into_bytes(),
                mode: 0o644,
            }));
    }

    fn secrets(&self, work: &Workspace, relay: Option<&Relay>) -> Vec<agentwright_llm::Secret> {
        let mut secrets = work.secrets.clone();
        secrets.extend(relay.map(|relay| relay.token().clone()));
        if let AcpWay::Relay(upstream) = &self.agent.way {
            secrets.extend(upstream.secrets.iter().cloned());
        }
        secrets
    }
}

#[async_trait]
impl Coder for Acp {
    fn name(&self) -> &str {
        &self.agent.name
    }

    async fn write(
        &self,
        task: &Task,
        work: &Workspace,
        report: &dyn Progress,
        cancel: &CancellationToken,
    ) -> Result<Written, CoderError> {
        let program = Program::find(&self.agent.program)?;
        let relay = self.relay(task).await?;
        let files = WorkFiles::open(&work.dir)?;
        let mut transcript = Transcript::new(self.secrets(work, relay.as_ref()), report);
        let mut policy = program.policy(work, &task.limits, self.network(relay.as_ref()))?;
        self.equip(&mut policy, relay.as_ref());
        let over = relay
            .as_ref()
            .map_or_else(CancellationToken::new, Relay::over);
        let bounds = Bounds::new(task.limits.wall, cancel, over);
        let arguments = self
            .agent
            .arguments
            .iter()
            .map(|word| self.fill(word, relay.as_ref()));
        let argv = std::iter::once(program.inside.clone())
            .chain(arguments)
            .collect();
        transcript.step("starts");
        let talk = Talk::start(&work.sandbox, policy, argv, bounds).await?;
        let session = Session::new(talk, task, work, &files);
        let (spoken, ended) = session.run(&mut transcript).await;
        let traffic = match relay {
            Some(relay) => relay.finish().await,
            None => Traffic::default(),
        };
        let says = session::judge(&program, spoken, &*ended?, &traffic, &transcript)?;
        Ok(transcript.written(&says, &traffic))
    }
}
