//! Everything that happens in an organization, as one stream.
//!
//! A pump hears of every commit of this process, reads the new events of each run once and gives them a common
//! order: the last [`KEPT`] are kept, for [`LINGER`] longer than anybody follows. A reader that comes back with the
//! `id` of its last message goes on after it; one that comes too late, or after a restart of the daemon, is told to
//! `reset`: it reads its lists anew. So nothing is lost and nothing comes twice without a reset in between.

use super::{KEEP_ALIVE, QUIET, REVOKED, streamed};
use crate::app::App;
use crate::auth::Standing;
use crate::extract::Who;
use crate::view;
use agentwright_api::CloudEvent;
use agentwright_domain::ids::{OrganizationId, RunId};
use agentwright_domain::run::RunKind;
use agentwright_store::{Error, OrgScope};
use axum::body::Bytes;
use axum::response::Response;
use futures::stream;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

/// Events kept for readers who come back.
const KEPT: usize = 4_096;
/// How long they are kept after the last reader.
const LINGER: Duration = Duration::from_secs(60);
/// Commits of other processes are looked for so often.
const OTHERS: Duration = Duration::from_secs(1);
/// Events read at once.
const PAGE: u32 = 500;
/// Runs remembered that have ended, and runs of other organizations.
const REMEMBERED: usize = 4_096;

/// One message: its number, and its lines without the `id`.
struct Said {
    number: u64,
    lines: Bytes,
}

struct Feed {
    /// New with every pump: ids of another one mean nothing here.
    name: String,
    kept: Mutex<VecDeque<Arc<Said>>>,
    /// The number of the newest message; `None` when the pump has ended.
    newest: watch::Sender<Option<u64>>,
}

/// The organizations that are followed now.
#[derive(Clone, Default)]
pub(crate) struct Everything {
    feeds: Arc<Mutex<HashMap<OrganizationId, Arc<Feed>>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `GET /events`: from now on, or after the message of that id.
pub(crate) fn everything(app: &App, who: &Who, after: Option<&str>) -> Response {
    let reader = app.everything().follow(app, who, after);
    let lines = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        reader.next().await.map(|line| (line, Some(reader)))
    });
    streamed(app, lines)
}

impl Everything {
    /// Where the stream is now: whoever renders a page takes this first, then reads, then follows from here.
    pub(crate) fn cursor(&self, app: &App, scope: &OrgScope) -> String {
        let (feed, _) = self.feed(app, scope);
        let newest = feed.newest.borrow().unwrap_or(0);
        format!("{}.{newest}", feed.name)
    }

    /// A reader of everything from now on, or after the message of that id.
    pub(crate) fn follow(&self, app: &App, who: &Who, after: Option<&str>) -> Reader {
        let (feed, newest) = self.feed(app, &who.scope);
        let head = newest.borrow().unwrap_or(0);
        let known = after.map(|after| {
            let (name, number) = after.rsplit_once('.')?;
            let number = number.parse::<u64>().ok()?;
            (name == feed.name && number <= head && feed.has(number)).then_some(number)
        });
        let (after, first) = match known {
            None => (head, Some("ready")),
            Some(Some(number)) => (number, None),
            Some(None) => (head, Some("reset")),
        };
        Reader {
            app: app.clone(),
            standing: Standing::of(app, who),
            over: false,
            feed,
            newest,
            after,
            first,
        }
    }

    fn feed(&self, app: &App, scope: &OrgScope) -> (Arc<Feed>, watch::Receiver<Option<u64>>) {
        let mut feeds = locked(&self.feeds);
        let feed = feeds
            .entry(scope.organization().clone())
            .or_insert_with(|| {
                let feed = Arc::new(Feed {
                    name: app.store().new_id(),
                    kept: Mutex::default(),
                    newest: watch::channel(Some(0)).0,
                });
                let pump = Pump {
                    app: app.clone(),
                    scope: scope.clone(),
                    feed: Arc::clone(&feed),
                    // From here on no commit is missed.
                    commits: app.store().commits(),
                    known: HashMap::new(),
                    over: VecDeque::new(),
                    foreign: HashSet::new(),
                    alone_since: Instant::now(),
                };
                app.tasks().spawn(pump.run(self.clone()));
                feed
            });
        (Arc::clone(feed), feed.newest.subscribe())
    }
}

impl Feed {
    /// Whether everything after that number is still kept.
    fn has(&self, number: u64) -> bool {
        let kept = locked(&self.kept);
        kept.front().is_none_or(|said| said.number <= number + 1)
    }

    fn after(&self, number: u64) -> Option<Arc<Said>> {
        let kept = locked(&self.kept);
        let newer = kept.partition_point(|said| said.number <= number);
        kept.get(newer).cloned()
    }

    fn push(&self, lines: Bytes) {
        let number = self.newest.borrow().unwrap_or(0) + 1;
        let mut kept = locked(&self.kept);
        kept.push_back(Arc::new(Said { number, lines }));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        drop(kept);
        self.newest.send_replace(Some(number));
    }
}

/// Where one reader is.
pub(crate) struct Reader {
    app: App,
    standing: Standing,
    over: bool,
    feed: Arc<Feed>,
    newest: watch::Receiver<Option<u64>>,
    after: u64,
    first: Option<&'static str>,
}

impl Reader {
    /// The next lines of the stream; `None` when it ends. Can be given up and asked again.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over {
                return None;
            }
            if self.standing.lost().await.ok()? {
                self.over = true;
                return Some(REVOKED);
            }
            if let Some(word) = self.first.take() {
                return Some(self.word(word));
            }
            let newest = (*self.newest.borrow_and_update())?;
            if !self.feed.has(self.after) {
                self.after = newest;
                return Some(self.word("reset"));
            }
            if let Some(said) = self.feed.after(self.after) {
                self.after = said.number;
                let id = format!("id: {}.{}\n", self.feed.name, said.number);
                return Some([id.as_bytes(), &said.lines].concat().into());
            }
            let stopping = self.app.stopping().clone();
            tokio::select! {
                changed = tokio::time::timeout(KEEP_ALIVE, self.newest.changed()) => match changed {
                    Ok(changed) => changed.ok()?,
                    Err(_) => return Some(QUIET),
                },
                () = self.standing.told() => {}
                () = stopping.cancelled() => return None,
            }
        }
    }

    /// A message of the stream itself, with the place that it is at.
    fn word(&self, word: &str) -> Bytes {
        format!(
            "id: {}.{}\nevent: {word}\ndata: {{}}\n\n",
            self.feed.name, self.after
        )
        .into()
    }
}

/// What is known of a run of this organization.
struct Known {
    last: i64,
    kind: RunKind,
    label: String,
    ended: bool,
}

struct Pump {
    app: App,
    scope: OrgScope,
    feed: Arc<Feed>,
    commits: broadcast::Receiver<(RunId, i64)>,
    known: HashMap<RunId, Known>,
    over: VecDeque<RunId>,
    foreign: HashSet<RunId>,
    alone_since: Instant,
}

/// What the pump does next.
enum Heard {
    Commit(RunId, i64),
    Look,
    Tick,
    Stop,
}

impl Pump {
    async fn run(mut self, everything: Everything) {
        if let Err(error) = self.work(&everything).await {
            tracing::warn!(%error, "the stream of an organization ends early");
        }
        let mut feeds = locked(&everything.feeds);
        let organization = self.scope.organization();
        let mine = feeds.get(organization);
        if mine.is_some_and(|feed| Arc::ptr_eq(feed, &self.feed)) {
            feeds.remove(organization);
        }
        drop(feeds);
        self.feed.newest.send_replace(None);
    }

    async fn work(&mut self, everything: &Everything) -> Result<(), Error> {
        self.begin().await?;
        // What could not be read is read at the next tick.
        let mut behind = false;
        loop {
            let (looked, done) = match self.heard().await {
                Heard::Commit(run, seq) => (false, self.committed(run, seq).await),
                Heard::Look => (true, self.look().await),
                Heard::Tick if self.lonely(everything) => return Ok(()),
                Heard::Tick if behind || self.app.store().shared() => (true, self.look().await),
                Heard::Tick => continue,
                Heard::Stop => return Ok(()),
            };
            match done {
                Ok(()) => behind &= !looked,
                Err(error) if error.passing() && !self.app.stops() => behind = true,
                Err(error) => return Err(error),
            }
        }
    }

    async fn heard(&mut self) -> Heard {
        tokio::select! {
            commit = self.commits.recv() => match commit {
                Ok((run, seq)) => Heard::Commit(run, seq),
                Err(RecvError::Lagged(_)) => Heard::Look,
                Err(RecvError::Closed) => Heard::Stop,
            },
            () = tokio::time::sleep(OTHERS) => Heard::Tick,
            () = self.app.stopping().cancelled() => Heard::Stop,
        }
    }

    /// Whether nobody has followed for [`LINGER`]; then the feed is gone.
    fn lonely(&mut self, everything: &Everything) -> bool {
        let mut feeds = locked(&everything.feeds);
        if self.feed.newest.receiver_count() > 0 {
            self.alone_since = Instant::now();
            return false;
        }
        let lonely = self.alone_since.elapsed() >= LINGER;
        if lonely {
            feeds.remove(self.scope.organization());
        }
        lonely
    }

    /// Where everything stands now: events up to here are not of this stream.
    async fn begin(&mut self) -> Result<(), Error> {
        let store = self.app.store().clone();
        let open = store.open_runs(&self.scope).await?;
        let seqs: HashMap<RunId, i64> = open.into_iter().collect();
        let ids: Vec<RunId> = seqs.keys().cloned().collect();
        self.learn(&ids, |id| seqs.get(id).copied().unwrap_or(0))
            .await?;
        // What ended meanwhile is not among the open ones, and was told before.
        let mut heard = Vec::new();
        loop {
            match self.commits.try_recv() {
                Ok((run, seq)) if self.known.contains_key(&run) => heard.push((run, seq)),
                Ok((run, seq)) => self.learn(&[run], |_| seq).await?,
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        for (run, seq) in heard {
            self.committed(run, seq).await?;
        }
        Ok(())
    }

    /// Remembers those of the runs that are of this organization.
    async fn learn(&mut self, ids: &[RunId], last: impl Fn(&RunId) -> i64) -> Result<(), Error> {
        let ours = self.app.store().runs_of(&self.scope, ids).await?;
        for (id, kind, label) in ours {
            let kind = match kind.as_str() {
                "build" => RunKind::Build,
                _ => RunKind::Execution,
            };
            let known = Known {
                last: last(&id),
                kind,
                label,
                ended: false,
            };
            self.known.insert(id, known);
        }
        for id in ids.iter().filter(|id| !self.known.contains_key(*id)) {
            if self.foreign.len() >= REMEMBERED {
                self.foreign.clear();
            }
            self.foreign.insert(id.clone());
        }
        Ok(())
    }

    async fn committed(&mut self, run: RunId, seq: i64) -> Result<(), Error> {
        if self.foreign.contains(&run) {
            return Ok(());
        }
        if !self.known.contains_key(&run) {
            self.learn(std::slice::from_ref(&run), |_| 0).await?;
        }
        let newer = self.known.get(&run).is_some_and(|known| known.last < seq);
        if newer { self.tell(&run).await } else { Ok(()) }
    }

    /// Takes up what a run has said since.
    async fn tell(&mut self, run: &RunId) -> Result<(), Error> {
        loop {
            let Some(known) = self.known.get_mut(run) else {
                return Ok(());
            };
            let store = self.app.store();
            let rows = store.events(&self.scope, run, known.last, PAGE).await?;
            let all = rows.len() < PAGE as usize;
            for row in rows {
                known.last = row.seq;
                let event = view::event(row);
                if event.event == "run.ended" && !known.ended {
                    known.ended = true;
                    self.over.push_back(run.clone());
                }
                let name = event.event.clone();
                let cloud = CloudEvent::of(known.kind, run, Some(&known.label), event);
                let text = serde_json::to_string(&cloud).unwrap_or_default();
                self.feed
                    .push(format!("event: {name}\ndata: {text}\n\n").into());
            }
            if all {
                break;
            }
        }
        while self.over.len() > REMEMBERED {
            if let Some(oldest) = self.over.pop_front() {
                self.known.remove(&oldest);
            }
        }
        Ok(())
    }

    /// Looks at every run that may have said something: after a lag, and where other processes work, too.
    async fn look(&mut self) -> Result<(), Error> {
        let open = self.app.store().open_runs(&self.scope).await?;
        let mut open: HashMap<RunId, i64> = open.into_iter().collect();
        for (run, known) in &self.known {
            if !known.ended {
                open.entry(run.clone()).or_insert(i64::MAX);
            }
        }
        for (run, seq) in open {
            self.committed(run, seq).await?;
        }
        Ok(())
    }
}
