//! Who waits for news of which run. A signal only says "look": the truth is in the tables.

use agentwright_domain::ids::RunId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{broadcast, watch};

/// So many commits are kept for whoever follows all of them; beyond it he looks at the tables.
const COMMITS_KEPT: usize = 1_024;

/// The waiting ones. Holds an entry per watched run, none for the others.
pub(crate) struct Watches {
    runs: Mutex<HashMap<RunId, watch::Sender<News>>>,
    commits: broadcast::Sender<(RunId, i64)>,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            runs: Mutex::default(),
            commits: broadcast::channel(COMMITS_KEPT).0,
        }
    }
}

/// The newest that was signalled of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Its newest event; 0 before the first signal.
    pub(crate) seq: i64,
    /// Whether it has ended or waits for a person.
    pub(crate) settled: bool,
}

/// One who waits; ends its entry when it was the last.
pub(crate) struct Watch {
    watches: Arc<Watches>,
    run: RunId,
    news: Option<watch::Receiver<News>>,
}

impl Watches {
    /// Begins to wait for a run. News from now on is not missed.
    pub(crate) fn watch(self: &Arc<Self>, run: &RunId) -> Watch {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let news = runs
            .entry(run.clone())
            .or_insert_with(|| watch::channel(News::default()).0)
            .subscribe();
        Watch {
            watches: Arc::clone(self),
            run: run.clone(),
            news: Some(news),
        }
    }

    /// Every commit of this process from now on.
    pub(crate) fn commits(&self) -> broadcast::Receiver<(RunId, i64)> {
        self.commits.subscribe()
    }

    /// Says what is new of a run.
    pub(crate) fn publish(&self, run: &RunId, new: News) {
        if self.commits.receiver_count() > 0 {
            // Without a receiver left nobody is told.
            let _ = self.commits.send((run.clone(), new.seq));
        }
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(news) = runs.get(run) {
            news.send_if_modified(|known| {
                let newer = new.seq >= known.seq;
                if newer {
                    *known = new;
                }
                newer
            });
        }
    }
}

impl Watch {
    /// The newest that was signalled.
    pub(crate) fn news(&self) -> News {
        self.news
            .as_ref()
            .map_or_else(News::default, |news| *news.borrow())
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        if let Some(news) = &mut self.news {
            // The sender lives as long as this entry.
            let _ = news.changed().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut runs = self
            .watches
            .runs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.news = None;
        if runs
            .get(&self.run)
            .is_some_and(|news| news.receiver_count() == 0)
        {
            runs.remove(&self.run);
        }
    }
}
