//! Watching the writable folders grow, and stopping the command that fills them.
//!
//! Looks as often as the room that is left could be used up, and never more than a tenth of the time.
//! Not here: the walk itself, which is [`crate::disk`]. Start at [`Growth::follow`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::disk::{Size, Watched};
use crate::policy::Limits;
use crate::report::Limit;
use crate::running::Wish;
use crate::wire::StopReason;

/// The writable folders and what they held before.
pub(crate) struct Growth {
    pub(crate) watched: Arc<Watched>,
    pub(crate) before: Arc<Size>,
}

/// How fast a disk can fill, for choosing when to look next.
const FILL_BYTES_PER_MS: u64 = 1024 * 1024;
/// How fast files can be made.
const INODES_PER_MS: u64 = 100;
/// Bounds of the time between two looks at the writable folders.
const LOOK_MS: std::ops::RangeInclusive<u64> = 20..=2000;
/// A look may take this part of the time.
const LOOK_SHARE: u32 = 10;

impl Growth {
    /// Looks at the writable folders as often as they could fill up, and stops the command that fills them.
    pub(crate) fn follow(
        &self,
        limits: Limits,
        wishes: mpsc::WeakSender<Wish>,
        until: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let (watched, before) = (Arc::clone(&self.watched), Arc::clone(&self.before));
        async move {
            let mut pause = next_look(&limits, 0, 0, Duration::ZERO);
            loop {
                if until
                    .run_until_cancelled(tokio::time::sleep(pause))
                    .await
                    .is_none()
                {
                    return;
                }
                let (watched, measured_from) = (Arc::clone(&watched), Arc::clone(&before));
                let most = before.inodes.saturating_add(limits.inodes);
                let began = Instant::now();
                let Ok(now) =
                    tokio::task::spawn_blocking(move || watched.during(&measured_from, most)).await
                else {
                    return;
                };
                let bytes = now.bytes.saturating_sub(before.bytes);
                let inodes = now.inodes.saturating_sub(before.inodes);
                let limit = if inodes > limits.inodes || (now.beyond && !before.beyond) {
                    Some(Limit::Inodes)
                } else if bytes > limits.disk_bytes {
                    Some(Limit::Disk)
                } else {
                    None
                };
                if let Some(limit) = limit {
                    if let Some(wishes) = wishes.upgrade() {
                        let _ = wishes
                            .send(Wish::Stop(StopReason::Limit(limit), Duration::ZERO))
                            .await;
                    }
                    return;
                }
                pause = next_look(&limits, bytes, inodes, began.elapsed());
            }
        }
    }

    /// The growth, after taking set-id bits off new files.
    pub(crate) async fn finish(self) -> (u64, u64) {
        if self.watched.roots.is_empty() {
            return (0, 0);
        }
        let before = Arc::clone(&self.before);
        let after = tokio::task::spawn_blocking(move || self.watched.after(&self.before))
            .await
            .unwrap_or_default();
        (
            after.bytes.saturating_sub(before.bytes),
            after.inodes.saturating_sub(before.inodes),
        )
    }
}

fn next_look(limits: &Limits, bytes: u64, inodes: u64, took: Duration) -> Duration {
    let room = limits.disk_bytes.saturating_sub(bytes) / FILL_BYTES_PER_MS;
    let files = limits.inodes.saturating_sub(inodes) / INODES_PER_MS;
    Duration::from_millis(room.min(files).clamp(*LOOK_MS.start(), *LOOK_MS.end()))
        .max(took * LOOK_SHARE)
}
