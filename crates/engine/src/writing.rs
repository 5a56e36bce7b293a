//! What a model writes while it writes it: for whoever looks just now.
//!
//! Not the log: nothing of it is kept, a process that ends loses it, and work of other processes is not heard of. The
//! whole answer is recorded by whoever asked for it. Start at [`Handle::draft`](crate::Handle::draft) and
//! [`Engine::writing`](crate::Engine::writing).

use agentwright_domain::ids::RunId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Bytes of a draft that whoever comes late still sees; what is older is forgotten.
const KEPT_BYTES: usize = 32 * 1024;
/// What comes within this time is one piece.
const GATHERED: Duration = Duration::from_millis(50);

/// The drafts of this process.
#[derive(Default)]
pub(crate) struct Desk {
    drafts: Mutex<HashMap<RunId, watch::Sender<Page>>>,
    /// How many drafts were begun or begun again.
    begun: watch::Sender<u64>,
}

#[derive(Default)]
struct Page {
    /// Differs for every draft and every new beginning of one.
    round: u64,
    /// Bytes before `text` that are forgotten.
    forgotten: usize,
    text: String,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, watch::Sender<Page>>> {
        self.drafts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn round(&self) -> u64 {
        self.begun.send_modify(|begun| *begun += 1);
        *self.begun.borrow()
    }

    /// Begins a draft; it takes the place of the run's last one.
    pub(crate) fn begin(self: &Arc<Self>, run: &RunId) -> Draft {
        let page = Page::default();
        let page = watch::Sender::new(page);
        self.lock().insert(run.clone(), page.clone());
        let draft = Draft {
            desk: Arc::clone(self),
            run: run.clone(),
            page,
        };
        draft.again();
        draft
    }

    /// Which draft of a run is being written, and how many bytes of it there are.
    pub(crate) fn written(&self, run: &RunId) -> Option<(u64, u64)> {
        let drafts = self.lock();
        let page = drafts.get(run)?.borrow();
        let bytes = page.forgotten + page.text.len();
        Some((page.round, u64::try_from(bytes).unwrap_or(u64::MAX)))
    }

    pub(crate) fn follow(self: &Arc<Self>, run: &RunId) -> Writing {
        Writing {
            begun: self.begun.subscribe(),
            desk: Arc::clone(self),
            run: run.clone(),
            page: None,
            seen: (0, 0),
        }
    }
}

/// Something that is being written. Ends when it is dropped.
pub struct Draft {
    desk: Arc<Desk>,
    run: RunId,
    page: watch::Sender<Page>,
}

impl Draft {
    /// More of it.
    pub fn push(&self, text: &str) {
        self.page.send_modify(|page| {
            page.text.push_str(text);
            let mut spare = page.text.len().saturating_sub(2 * KEPT_BYTES);
            if spare > 0 {
                // Cut by half at a time, at the beginning of a character.
                spare += KEPT_BYTES;
                while !page.text.is_char_boundary(spare) {
                    spare += 1;
                }
                page.text.drain(..spare);
                page.forgotten += spare;
            }
        });
    }

    /// What was written before is void: it begins anew.
    pub fn again(&self) {
        let round = self.desk.round();
        self.page.send_modify(|page| {
            *page = Page {
                round,
                ..Page::default()
            }
        });
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let mut drafts = self.desk.lock();
        let ours = |page: &watch::Sender<Page>| page.same_channel(&self.page);
        if drafts.get(&self.run).is_some_and(ours) {
            drafts.remove(&self.run);
        }
    }
}

/// A piece of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Whether what was shown before goes away.
    pub first: bool,
    /// More of the text.
    pub text: String,
}

/// Follows what is written for one run, from one draft to the next.
pub struct Writing {
    desk: Arc<Desk>,
    run: RunId,
    begun: watch::Receiver<u64>,
    page: Option<watch::Receiver<Page>>,
    /// The round, and the bytes of it that were given out.
    seen: (u64, usize),
}

impl Writing {
    /// The next piece, as soon as there is one: may be for ever away. Loses nothing when it is dropped before.
    pub async fn next(&mut self) -> Piece {
        loop {
            let Some(page) = &mut self.page else {
                let there = self
                    .desk
                    .lock()
                    .get(&self.run)
                    .map(watch::Sender::subscribe);
                match there {
                    Some(mut page) => {
                        page.mark_changed();
                        self.page = Some(page);
                    }
                    // The desk holds the sender: it is not closed.
                    None => {
                        let _ = self.begun.changed().await;
                    }
                }
                continue;
            };
            let open = page.changed().await.is_ok();
            if open {
                // Not taken yet: whoever gives up while we wait finds it again.
                page.mark_changed();
                tokio::time::sleep(GATHERED).await;
            }
            let piece = taken(page, &mut self.seen);
            if !open {
                self.page = None;
            }
            if let Some(piece) = piece {
                return piece;
            }
        }
    }
}

/// What is new on the page.
fn taken(page: &mut watch::Receiver<Page>, seen: &mut (u64, usize)) -> Option<Piece> {
    let now = page.borrow_and_update();
    let first = now.round != seen.0;
    let given = if first { 0 } else { seen.1 };
    let text = now.text.get(given.saturating_sub(now.forgotten)..)?;
    if text.is_empty() {
        return None;
    }
    *seen = (now.round, now.forgotten + now.text.len());
    Some(Piece {
        first,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(first: bool, text: &str) -> Piece {
        Piece {
            first,
            text: text.to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_is_heard_in_pieces_from_one_draft_to_the_next() {
        let desk = Arc::new(Desk::default());
        let (run, other) = (RunId::new("run"), RunId::new("other"));
        let mut early = desk.follow(&run);
        let draft = desk.begin(&run);
        let _unheard = desk.begin(&other);
        draft.push("one ");
        draft.push("two ");
        assert_eq!(early.next().await, piece(true, "one two "));
        draft.push("three");
        let hasty = tokio::time::timeout(GATHERED / 2, early.next()).await;
        assert!(hasty.is_err(), "it gathers");
        assert_eq!(early.next().await, piece(false, "three"));
        let mut late = desk.follow(&run);
        assert_eq!(late.next().await, piece(true, "one two three"));
        draft.again();
        draft.push("anew");
        assert_eq!(early.next().await, piece(true, "anew"));
        draft.push(", the end");
        drop(draft);
        assert_eq!(early.next().await, piece(false, ", the end"));
        let next = desk.begin(&run);
        next.push("next");
        assert_eq!(early.next().await, piece(true, "next"));
        // What it had begun to read it reads to the end.
        assert_eq!(late.next().await, piece(true, "anew, the end"));
        assert_eq!(late.next().await, piece(true, "next"));
        drop(next);
        assert!(desk.lock().keys().eq([&other]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_draft_that_another_one_replaced_takes_nothing_away() {
        let desk = Arc::new(Desk::default());
        let run = RunId::new("run");
        let old = desk.begin(&run);
        let new = desk.begin(&run);
        drop(old);
        new.push("still there");
        assert_eq!(desk.follow(&run).next().await.text, "still there");
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_long_draft_the_end_is_kept_whole_characters_only() {
        let desk = Arc::new(Desk::default());
        let run = RunId::new("run");
        let draft = desk.begin(&run);
        let mut follower = desk.follow(&run);
        let mut heard = String::new();
        for _ in 0..9 {
            draft.push(&"äöü€".repeat(1_500));
            heard.push_str(&follower.next().await.text);
        }
        assert_eq!(heard, "äöü€".repeat(13_500));
        let late = desk.follow(&run).next().await.text;
        assert!(late.len() <= 2 * KEPT_BYTES, "{}", late.len());
        assert!(heard.ends_with(&late));
    }
}
