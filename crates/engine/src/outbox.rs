//! Delivers notices through the configured channels.
//!
//! Each channel gets a notice once, as far as that is possible: what arrived is noted before the
//! next channel is tried, and every try carries the same id. After [`TRIES_MAX`] failures it is
//! parked, where people see it. Without a channel it is kept as told to nobody.

use crate::dispatch::Shared;
use agentwright_domain::run::backoff_ms;
use agentwright_notify::{Message, SendError};
use agentwright_store::{Delivery, OutboxRow};
use std::sync::Arc;
use std::time::Duration;

/// Failed tries before a notice is parked.
pub(crate) const TRIES_MAX: u32 = 8;
/// Notices taken at once.
const BATCH: u32 = 16;
/// How long one channel may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a taken notice is ours; longer than a batch can take.
const LEASE_MS: i64 = 15 * 60_000;
/// The first pause after a failure.
const BACKOFF_MS: i64 = 2_000;
/// How often it looks when nothing wakes it.
const POLL: Duration = Duration::from_secs(2);

/// Starts the loop.
pub(crate) fn start(shared: &Arc<Shared>) {
    shared.loops.spawn(deliver(Arc::clone(shared)));
}

async fn deliver(shared: Arc<Shared>) {
    loop {
        if let Err(error) = round(&shared).await {
            tracing::warn!(%error, "cannot deliver notices");
        }
        tokio::select! {
            () = shared.outbox.notified() => {}
            () = tokio::time::sleep(POLL) => {}
            () = shared.stopped.cancelled() => return,
        }
    }
}

/// One look at what is due.
pub(crate) async fn round(shared: &Shared) -> Result<(), agentwright_store::Error> {
    for row in shared.store.due_notices(BATCH, LEASE_MS).await? {
        if shared.stopped.is_cancelled() {
            // Not tried: due again at once for the next process.
            let now_ms = shared.store.now_ms().await?;
            shared.store.settle_notice(&row, now_ms).await?;
            continue;
        }
        tell(shared, row).await?;
    }
    Ok(())
}

/// Tries every channel that does not have it yet.
async fn tell(shared: &Shared, mut row: OutboxRow) -> Result<(), agentwright_store::Error> {
    let channels = &shared.settings.channels;
    if channels.is_empty() {
        row.delivery = Delivery::Nobody;
        return shared.store.settle_notice(&row, 0).await;
    }
    let message = Message {
        id: row.id.clone(),
        organization: row.scope.organization().0.clone(),
        run: row.run.0.clone(),
        at_ms: row.created_at_ms,
        notice: row.notice.clone(),
    };
    let (mut failed, mut hopeless) = (false, 0);
    for channel in channels {
        if row.delivered_to.iter().any(|name| name == channel.name()) {
            continue;
        }
        let sent = tokio::time::timeout(SEND_TIMEOUT, channel.send(&message)).await;
        let late = || Err(SendError::Later("no answer in time".to_owned()));
        match sent.unwrap_or_else(|_| late()) {
            Ok(()) => {
                row.delivered_to.push(channel.name().to_owned());
                let until_ms = shared.store.now_ms().await? + LEASE_MS;
                shared.store.settle_notice(&row, until_ms).await?;
            }
            Err(error) => {
                tracing::warn!(channel = channel.name(), %error, "a notice was not delivered");
                failed = true;
                hopeless += u32::from(matches!(error, SendError::Never(_)));
                row.last_error = Some(format!("{}: {error}", channel.name()));
            }
        }
    }
    let missing = channels.len() - row.delivered_to.len().min(channels.len());
    let given_up = hopeless as usize >= missing || row.tries + 1 >= TRIES_MAX;
    row.tries += u32::from(failed);
    row.delivery = match (failed, given_up) {
        (false, _) => Delivery::Delivered,
        (true, true) => Delivery::Parked,
        (true, false) => Delivery::Waiting,
    };
    let pause_ms = backoff_ms(BACKOFF_MS, row.tries);
    let at_ms = shared.store.now_ms().await? + pause_ms;
    shared.store.settle_notice(&row, at_ms).await
}
