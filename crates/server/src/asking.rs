//! Notices of a gate get links that decide: a channel around each configured one.
//!
//! A link holds a token for one decision on exactly what waits (`store::decision_tokens`); `routes::hooks` takes it.
//! Without `public_url` nobody could reach a link, and notices go out as they are.

use agentwright_domain::approval::{Gate, Subject};
use agentwright_domain::build::Phase;
use agentwright_domain::ids::{OrganizationId, RunId};
use agentwright_domain::run::{Run, RunState};
use agentwright_notify::{Action, Channel, Does, Message, SendError, When};
use agentwright_store::{DecisionToken, OrgScope, Store};
use std::sync::Arc;

/// How long a link decides: a day. It passed through other people's servers.
const LIFE_MS: i64 = 24 * 3_600_000;
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// The path below which links decide.
pub(crate) const PATH: &str = "/hooks/decide/";
/// Notices of builds.
const BUILDS: &str = "build.";
/// The notice of a gate.
const WAITING: &str = "build.waiting";

/// A channel whose notices can be answered.
pub(crate) struct Asking {
    inner: Arc<dyn Channel>,
    store: Store,
    /// Without a slash at its end.
    public_url: String,
}

impl Asking {
    /// Around each of them.
    pub(crate) fn around(
        channels: Vec<Arc<dyn Channel>>,
        store: &Store,
        public_url: Option<&str>,
    ) -> Vec<Arc<dyn Channel>> {
        let Some(public_url) = public_url else {
            return channels;
        };
        let around = |inner| {
            let (store, public_url) = (store.clone(), public_url.trim_end_matches('/').to_owned());
            Arc::new(Self {
                inner,
                store,
                public_url,
            }) as Arc<dyn Channel>
        };
        channels.into_iter().map(around).collect()
    }

    /// The message with what can be done about it, as things stand now.
    async fn answerable(&self, message: &Message) -> Result<Message, agentwright_store::Error> {
        let mut message = message.clone();
        let about = message.run.clone().map(RunId::new);
        let Some(id) = about.filter(|_| message.notice.topic.starts_with(BUILDS)) else {
            return Ok(message);
        };
        if message.notice.topic == WAITING {
            let scope = OrgScope::authenticated(OrganizationId::new(&message.organization));
            let run = self.store.run(&scope, &id).await?;
            match run.as_ref().and_then(|run| asked(run, &message.id)) {
                Some((gate, subject)) => {
                    for does in [Does::Approve, Does::Reject] {
                        let action = self.decides(does, &id, &scope, (gate, subject)).await?;
                        message.actions.push(action);
                    }
                }
                None => {
                    message.notice.body = "Decided meanwhile: nothing waits here any more.".into();
                }
            }
        }
        let url = format!("{}/builds/{id}", self.public_url);
        let does = Does::Open;
        message.actions.push(Action { does, url });
        Ok(message)
    }

    async fn decides(
        &self,
        does: Does,
        run: &RunId,
        scope: &OrgScope,
        (gate, subject): (Gate, &Subject),
    ) -> Result<Action, agentwright_store::Error> {
        let token = new_token();
        let of = DecisionToken {
            scope: scope.clone(),
            run: run.clone(),
            gate,
            subject: subject.digest.clone(),
            approves: does == Does::Approve,
            sent_to: self.inner.name().to_owned(),
            expires_at_ms: self.store.now_ms().await? + LIFE_MS,
            used_at_ms: None,
        };
        self.store.keep_decision_token(&token, &of).await?;
        let url = format!("{}{PATH}{token}", self.public_url);
        Ok(Action { does, url })
    }
}

#[async_trait::async_trait]
impl Channel for Asking {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let answerable = self.answerable(message).await.map_err(|error| {
            SendError::later(format!("cannot make the links of a notice: {error}"))
        })?;
        self.inner.send(&answerable).await
    }

    fn when(&self) -> &When {
        self.inner.when()
    }
}

/// What the notice asks about, while exactly that still waits: the notice's id begins with the epoch of the commit
/// that wrote it, and a waiting run keeps its epoch until it is decided.
fn asked<'a>(run: &'a Run, notice: &str) -> Option<(Gate, &'a Subject)> {
    let RunState::Build(state) = &run.state else {
        return None;
    };
    let Phase::Gate { gate, .. } = &state.phase else {
        return None;
    };
    let same = notice.starts_with(&format!("{}-{}-", run.id, run.epoch));
    let subject = state.facts.subject.as_ref().filter(|_| same)?;
    Some((*gate, subject))
}

/// Base 16: safe in every address, and no receiver's markup touches it.
///
/// # Panics
/// When the system has no randomness: a guessable token would be worse.
fn new_token() -> String {
    let mut bytes = [0; TOKEN_BYTES];
    #[expect(
        clippy::expect_used,
        reason = "Invariant: every system that we run on has randomness"
    )]
    getrandom::fill(&mut bytes).expect("randomness");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
