//! Delivers notices through the configured channels.
//!
//! Each channel gets a notice once, as far as that is possible: what arrived is noted before the
//! next channel is tried, and every try carries the same id. A channel that fails is left alone for a
//! while, so that what waits for it keeps nobody else waiting. After [`GIVE_UP_MS`] a notice is
//! parked, where people see it. Without a channel it is kept as told to nobody.

use crate::dispatch::Shared;
use agentwright_domain::run::backoff_ms;
use agentwright_notify::{Channel, Due, Message, Recent, SendError};
use agentwright_store::{Delivery, Error, OutboxRow};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a notice is tried: three days, so that a receiver may be away over a weekend.
pub(crate) const GIVE_UP_MS: i64 = 3 * 24 * 3_600_000;
/// Notices taken at once.
const BATCH: u32 = 16;
/// How long one channel may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a taken notice is ours; longer than a batch can take.
const LEASE_MS: i64 = 15 * 60_000;
/// The first pause after a failure.
const BACKOFF_MS: i64 = 2_000;

/// Starts the loop.
pub(crate) fn start(shared: &Arc<Shared>) {
    shared.loops.spawn(deliver(Arc::clone(shared)));
}

async fn deliver(shared: Arc<Shared>) {
    let mut memory = Memory::default();
    loop {
        if let Err(error) = round(&shared, &mut memory).await {
            tracing::warn!(%error, "cannot deliver notices");
        }
        tokio::select! {
            () = shared.outbox.notified() => {}
            () = tokio::time::sleep(shared.settings.poll) => {}
            () = shared.stopped.cancelled() => return,
        }
    }
}

/// What is known of channels from round to round.
#[derive(Default)]
struct Memory {
    recent: Recent,
    resting: HashMap<String, Rest>,
}

/// A channel that failed.
#[derive(Default)]
struct Rest {
    failures: u32,
    until_ms: i64,
}

impl Memory {
    /// Until when a channel is left alone, when it is.
    fn rests(&self, channel: &str, now_ms: i64) -> Option<i64> {
        let until_ms = self.resting.get(channel)?.until_ms;
        (until_ms > now_ms).then_some(until_ms)
    }

    fn failed(&mut self, channel: &str, wait_ms: i64, now_ms: i64) -> i64 {
        let rest = self.resting.entry(channel.to_owned()).or_default();
        rest.failures += 1;
        rest.until_ms = now_ms + backoff_ms(BACKOFF_MS, rest.failures).max(wait_ms);
        rest.until_ms
    }
}

/// A notice in this round.
struct Try {
    row: OutboxRow,
    failed: bool,
    /// Channels that can never have it.
    hopeless: usize,
    /// When a channel may have it next, ms.
    again_ms: Option<i64>,
}

impl Try {
    fn new(row: OutboxRow) -> Self {
        Self {
            row,
            failed: false,
            hopeless: 0,
            again_ms: None,
        }
    }

    fn not_before(&mut self, at_ms: i64) {
        self.again_ms = Some(self.again_ms.map_or(at_ms, |known| known.min(at_ms)));
    }

    fn message(&self, now_ms: i64) -> Message {
        Message {
            id: self.row.id.clone(),
            organization: self.row.scope.organization().0.clone(),
            run: self.row.run.as_ref().map(|run| run.0.clone()),
            at_ms: self.row.created_at_ms,
            sent_at_ms: now_ms,
            notice: self.row.notice.clone(),
            actions: Vec::new(),
        }
    }
}

/// One look at what is due.
async fn round(shared: &Shared, memory: &mut Memory) -> Result<(), Error> {
    let due = shared.store.due_notices(BATCH, LEASE_MS).await?;
    let mut tries: Vec<Try> = due.into_iter().map(Try::new).collect();
    for channel in &shared.settings.channels {
        if tries.is_empty() || shared.stopped.is_cancelled() {
            break;
        }
        let mut desk = Desk {
            shared,
            memory,
            channel: channel.as_ref(),
            tries: &mut tries,
        };
        desk.tell().await?;
    }
    for one in tries {
        settle(shared, one).await?;
    }
    Ok(())
}

/// One channel in one round.
struct Desk<'a> {
    shared: &'a Shared,
    memory: &'a mut Memory,
    channel: &'a dyn Channel,
    tries: &'a mut [Try],
}

impl Desk<'_> {
    /// Tells the channel what it does not have yet and wants now.
    async fn tell(&mut self) -> Result<(), Error> {
        let wanted = self.wanted(self.shared.store.now_ms().await?);
        let groups: Vec<Vec<usize>> = if self.channel.when().gathers() {
            vec![wanted]
        } else {
            wanted.into_iter().map(|at| vec![at]).collect()
        };
        for group in groups {
            self.send(group).await?;
        }
        Ok(())
    }

    /// Which tries are for now.
    fn wanted(&mut self, now_ms: i64) -> Vec<usize> {
        let (name, when) = (self.channel.name(), self.channel.when());
        let mut wanted = Vec::new();
        for (at, one) in self.tries.iter_mut().enumerate() {
            if one.row.delivered_to.iter().any(|has| has == name) {
                continue;
            }
            match when.due(&one.row.notice.topic, one.row.created_at_ms, now_ms) {
                Due::Never => one.row.delivered_to.push(name.to_owned()),
                Due::At(at_ms) => one.not_before(at_ms),
                Due::Now => wanted.push(at),
            }
        }
        wanted
    }

    /// Sends some as one message.
    async fn send(&mut self, mut group: Vec<usize>) -> Result<(), Error> {
        let (name, when) = (self.channel.name(), self.channel.when());
        let now_ms = self.shared.store.now_ms().await?;
        group.retain(|at| {
            let row = &mut self.tries[*at].row;
            let again = self.memory.recent.repeats(name, when, &row.notice, now_ms);
            if again {
                row.delivered_to.push(name.to_owned());
            }
            !again
        });
        if let Some(until_ms) = self.memory.rests(name, now_ms) {
            group
                .iter()
                .for_each(|at| self.tries[*at].not_before(until_ms));
            return Ok(());
        }
        let messages = group.iter().map(|at| self.tries[*at].message(now_ms));
        let Some(message) = Message::gathered(messages.collect()) else {
            return Ok(());
        };
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.channel.send(&message)).await;
        match sent.unwrap_or_else(|_| Err(SendError::later("no answer in time"))) {
            Ok(()) => {
                self.memory.resting.remove(name);
                for at in group {
                    let row = &mut self.tries[at].row;
                    row.delivered_to.push(name.to_owned());
                    self.memory.recent.told(name, when, &row.notice, now_ms);
                    self.shared
                        .store
                        .settle_notice(row, now_ms + LEASE_MS)
                        .await?;
                }
            }
            Err(error) => {
                tracing::warn!(channel = name, %error, "a notice was not delivered");
                self.failed(&group, &error, now_ms);
            }
        }
        Ok(())
    }

    fn failed(&mut self, group: &[usize], error: &SendError, now_ms: i64) {
        let name = self.channel.name();
        let again_ms = match error {
            SendError::Never(_) => None,
            SendError::Later { wait, .. } => {
                let wait = wait.unwrap_or_default().as_millis();
                let wait_ms = i64::try_from(wait).unwrap_or(i64::MAX);
                Some(self.memory.failed(name, wait_ms, now_ms))
            }
        };
        for at in group {
            let one = &mut self.tries[*at];
            one.failed = true;
            one.row.last_error = Some(format!("{name}: {error}"));
            match again_ms {
                Some(at_ms) => {
                    one.not_before(at_ms.max(now_ms + backoff_ms(BACKOFF_MS, one.row.tries + 1)));
                }
                None => one.hopeless += 1,
            }
        }
    }
}

/// Writes how a notice stands after the round.
async fn settle(shared: &Shared, mut one: Try) -> Result<(), Error> {
    let channels = &shared.settings.channels;
    let has = |channel: &&Arc<dyn Channel>| {
        let name = channel.name();
        one.row.delivered_to.iter().any(|known| known == name)
    };
    let missing = channels.len() - channels.iter().filter(has).count();
    let now_ms = shared.store.now_ms().await?;
    let old = one.failed && now_ms - one.row.created_at_ms >= GIVE_UP_MS;
    one.row.tries += u32::from(one.failed);
    one.row.delivery = if channels.is_empty() {
        Delivery::Nobody
    } else if missing == 0 {
        Delivery::Delivered
    } else if old || one.hopeless == missing {
        Delivery::Parked
    } else {
        Delivery::Waiting
    };
    // Not tried because the process stops: due again at once for the next one.
    let at_ms = one.again_ms.unwrap_or(now_ms);
    shared.store.settle_notice(&one.row, at_ms).await
}
