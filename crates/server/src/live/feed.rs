//! One run's events, read once for all who follow it.
//!
//! A pump waits for commits, reads what is new and keeps the last [`KEPT`] events; followers take from there, or
//! from the tables where they are further behind. The pump ends with its last follower.

use super::{KEEP_ALIVE, Of};
use crate::app::App;
use crate::auth::Standing;
use crate::extract::Who;
use crate::view;
use agentwright_api::{CloudEvent, Event};
use agentwright_domain::ids::RunId;
use agentwright_store::{Error, OrgScope};
use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Events kept for followers who are almost up to date.
const KEPT: usize = 256;
/// The number before the pump has looked.
const UNREAD: i64 = -1;
/// Events read, and taken by a follower, at once.
const PAGE: u32 = 200;

/// An event as all followers get it.
pub(crate) struct Said {
    /// The event.
    pub(crate) event: Event,
    /// Its envelope, for a WebSocket.
    pub(crate) text: Utf8Bytes,
    /// The same as lines of server-sent events.
    pub(crate) lines: Bytes,
}

impl Said {
    fn new(of: &Of, row: agentwright_store::Event) -> Self {
        let event = view::event(row);
        let cloud = CloudEvent::of(of.kind, &of.run, Some(&of.label), event.clone());
        // Invariant: an envelope has string keys only, so it always has a JSON form.
        let text = serde_json::to_string(&cloud).unwrap_or_default();
        let lines = format!(
            "id: {}\nevent: {}\ndata: {text}\n\n",
            event.seq, event.event
        );
        Self {
            event,
            text: text.into(),
            lines: lines.into(),
        }
    }
}

/// What is new of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct News {
    seq: i64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// More may come.
    Open,
    /// Nothing more comes.
    Ended,
    /// Nothing more comes from here: the daemon stops, or the store fails.
    Closed,
}

struct Feed {
    of: Of,
    scope: OrgScope,
    kept: Mutex<VecDeque<Arc<Said>>>,
    news: watch::Sender<News>,
}

/// The runs that are followed now.
#[derive(Clone, Default)]
pub(crate) struct Feeds {
    runs: Arc<Mutex<HashMap<RunId, Arc<Feed>>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feeds {
    /// Follows a run, whose scope the caller has shown to have, from after an event on.
    pub(crate) fn follow(&self, app: &App, who: &Who, of: Of, after: i64) -> Follower {
        let mut runs = locked(&self.runs);
        let feed = runs.entry(of.run.clone()).or_insert_with(|| {
            let feed = Arc::new(Feed {
                of,
                scope: who.scope.clone(),
                kept: Mutex::default(),
                news: watch::channel(News {
                    seq: UNREAD,
                    state: State::Open,
                })
                .0,
            });
            let pump = pump(app.clone(), self.clone(), Arc::clone(&feed));
            app.tasks().spawn(pump);
            feed
        });
        Follower {
            app: app.clone(),
            standing: Standing::of(app, who),
            news: feed.news.subscribe(),
            feed: Arc::clone(feed),
            after,
            read: VecDeque::new(),
        }
    }

    /// Takes the feed away when nobody follows it. Whoever comes at the same time is seen under the lock.
    fn leave(&self, feed: &Feed) -> bool {
        let mut runs = locked(&self.runs);
        let alone = feed.news.receiver_count() == 0;
        if alone {
            runs.remove(&feed.of.run);
        }
        alone
    }
}

async fn pump(app: App, feeds: Feeds, feed: Arc<Feed>) {
    let mut at = None;
    loop {
        if feeds.leave(&feed) {
            return;
        }
        match turn(&app, &feed, &mut at).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::warn!(run = %feed.of.run, %error, "live streams of a run end early");
                break;
            }
        }
    }
    feed.news.send_modify(|news| {
        if news.state == State::Open {
            news.state = State::Closed;
        }
    });
    locked(&feeds.runs).remove(&feed.of.run);
}

/// Reads what is new and waits for more; `false` when the run has ended or the daemon stops.
async fn turn(app: &App, feed: &Feed, at: &mut Option<i64>) -> Result<bool, Error> {
    let (store, scope, run) = (app.store(), &feed.scope, &feed.of.run);
    // Asked before reading: what is committed in between is in the events or in the next turn.
    let row = store.run_row(scope, run).await?;
    let (ended, newest) = row.map_or((true, 0), |row| (row.status.ended(), row.event_seq));
    let mut after = at.unwrap_or(newest);
    let rows = store.events(scope, run, after, PAGE).await?;
    {
        let mut kept = locked(&feed.kept);
        for row in rows {
            after = row.seq;
            kept.push_back(Arc::new(Said::new(&feed.of, row)));
            if kept.len() > KEPT {
                kept.pop_front();
            }
        }
    }
    *at = Some(after);
    let over = ended && newest <= after;
    feed.news.send_replace(News {
        seq: after,
        state: if over { State::Ended } else { State::Open },
    });
    if over {
        return Ok(false);
    }
    let changed = app.engine().changed(scope, run, after, KEEP_ALIVE);
    tokio::select! {
        changed = changed => changed.map(|_| true),
        () = app.stopping().cancelled() => Ok(false),
    }
}

/// Where one reader is.
pub(crate) struct Follower {
    app: App,
    standing: Standing,
    feed: Arc<Feed>,
    news: watch::Receiver<News>,
    after: i64,
    read: VecDeque<Arc<Said>>,
}

/// What a follower gets next.
pub(crate) enum Turn {
    /// An event.
    Said(Arc<Said>),
    /// Nothing for a while.
    Quiet,
    /// Nothing more, ever.
    Over,
    /// They may no longer.
    Revoked,
    /// The daemon stops, or the store fails: come back.
    Stopping,
}

impl Follower {
    /// The event after the last one, where it is committed; it stays the next.
    pub(crate) async fn peek(&mut self) -> Option<Arc<Said>> {
        if self.read.is_empty() && !self.refill().await.ok()? {
            // What is kept may end within a commit.
            self.read_tables().await.ok()?;
        }
        self.read.front().cloned()
    }

    /// The next event after the last one.
    pub(crate) async fn next(&mut self) -> Turn {
        loop {
            match self.standing.lost().await {
                Ok(false) => {}
                Ok(true) => return Turn::Revoked,
                Err(_) => return Turn::Stopping,
            }
            if let Some(said) = self.read.pop_front() {
                self.after = said.event.seq;
                return Turn::Said(said);
            }
            let news = *self.news.borrow_and_update();
            match self.refill().await {
                Ok(true) => continue,
                Ok(false) => match news.state {
                    State::Ended if news.seq <= self.after => return Turn::Over,
                    State::Closed => return Turn::Stopping,
                    State::Ended | State::Open => {}
                },
                Err(error) => {
                    tracing::warn!(run = %self.feed.of.run, %error, "a live stream ends early");
                    return Turn::Stopping;
                }
            }
            let stopping = self.app.stopping().clone();
            tokio::select! {
                changed = tokio::time::timeout(KEEP_ALIVE, self.news.changed()) => match changed {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Turn::Stopping,
                    Err(_) => return Turn::Quiet,
                },
                () = self.standing.told() => {}
                () = stopping.cancelled() => return Turn::Stopping,
            }
        }
    }

    /// Takes what there is after the last event: what is kept, else what the tables have.
    async fn refill(&mut self) -> Result<bool, Error> {
        let (after, read) = (self.after, &mut self.read);
        {
            let kept = locked(&self.feed.kept);
            let first = kept.front().map(|said| said.event.seq);
            if first.is_some_and(|first| first <= after + 1) {
                let newer = kept.partition_point(|said| said.event.seq <= after);
                let some = kept.range(newer..).take(PAGE as usize);
                read.extend(some.cloned());
                return Ok(!read.is_empty());
            }
        }
        let seq = self.news.borrow().seq;
        if (0..=after).contains(&seq) {
            return Ok(false);
        }
        self.read_tables().await
    }

    async fn read_tables(&mut self) -> Result<bool, Error> {
        let (store, of) = (self.app.store(), &self.feed.of);
        let scope = &self.feed.scope;
        let rows = store.events(scope, &of.run, self.after, PAGE).await?;
        let said = rows.into_iter().map(|row| Arc::new(Said::new(of, row)));
        self.read.extend(said);
        Ok(!self.read.is_empty())
    }
}
