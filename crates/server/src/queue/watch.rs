//! Builds under way, watched: evidence is gathered, judged (`agentwright_queue::stall`), and told (requirements E6, E7).
//!
//! Evidence of one look at a build: its state, the ledger of its model calls, the processes of its sandboxes, what it
//! said, the files in its directory. What was seen lives in this process; what was told is in the store, so that a
//! restart looks anew and tells nothing twice. Of a build that another process works on, its processes are not seen.

use super::progress;
use crate::app::App;
use crate::error::ApiError;
use agentwright_api::Time;
use agentwright_domain::ids::RunId;
use agentwright_domain::run::{Notice, Run, RunStatus};
use agentwright_queue::stall::{Doing, Sample, Verdict, judge};
use agentwright_store::{BuildFilter, BuildRow, OrgScope, Standing, Told};
use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Looks at one build that are kept; the oldest go first. At one a minute it is more than eight hours.
const SAMPLES_MAX: usize = 512;
/// Events of one build that are read at one look.
const EVENTS_MAX: u32 = 500;
/// Files that are looked at in the directory of one build.
const FILES_MAX: usize = 5_000;
/// Builds of one organization that are watched.
const BUILDS_MAX: u32 = 1_000;
/// What a stall that nobody ended is told again after, as urgent, ms.
const ESCALATE_MS: i64 = 30 * 60_000;
/// Bytes that a token stands for.
const TOKEN_BYTES: u64 = 4;

/// What was seen of builds under way.
#[derive(Default)]
pub(crate) struct Watching {
    seen: Mutex<HashMap<RunId, Seen>>,
}

/// What a build's evidence comes to, for whoever asks.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) verdict: &'static str,
    pub(crate) because: Option<String>,
}

impl Watching {
    /// How a build gets on.
    pub(crate) fn of(&self, run: &RunId) -> Watched {
        let seen = self.seen();
        let (verdict, because) = match seen.get(run).map(|seen| &seen.verdict) {
            None => ("unwatched", None),
            Some(Verdict::Working) => ("working", None),
            Some(Verdict::Waiting) => ("waiting", None),
            Some(Verdict::Hung(why)) => ("hung", Some(why.clone())),
            Some(Verdict::Looping(why)) => ("looping", Some(why.clone())),
        };
        Watched { verdict, because }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<RunId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One build, look by look.
struct Seen {
    samples: Vec<Sample>,
    verdict: Verdict,
    /// Since when the verdict is a stall, ms.
    stalled_since_ms: Option<i64>,
    /// The newest event that was counted.
    event_seq: i64,
    log_bytes: u64,
    processes: HashMap<(u32, u64), (u64, u64)>,
    cpu_ms: u64,
    io_bytes: u64,
    /// The newest draft with its bytes, and the bytes of all.
    draft: (u64, u64),
    draft_bytes: u64,
    /// Until when it was parked at the last look, ms.
    parked_until_ms: Option<i64>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            samples: Vec::new(),
            verdict: Verdict::Working,
            stalled_since_ms: None,
            event_seq: 0,
            log_bytes: 0,
            processes: HashMap::new(),
            cpu_ms: 0,
            io_bytes: 0,
            draft: (0, 0),
            draft_bytes: 0,
            parked_until_ms: None,
        }
    }
}

/// Watches until the app stops.
pub(crate) async fn run(app: App) {
    let every = Duration::from_secs(app.config().settings.queue.watch.every_s);
    loop {
        if let Err(error) = round(&app).await {
            tracing::warn!(?error, "cannot watch builds");
        }
        tokio::select! {
            () = app.stopping().cancelled() => return,
            () = app.heart().watch_asked() => {}
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// One look at every build under way.
pub(crate) async fn round(app: &App) -> Result<(), ApiError> {
    let mut there = HashSet::new();
    for organization in app.store().organizations().await? {
        let scope = OrgScope::authenticated(organization.id);
        let filter = BuildFilter {
            standing: Some(Standing::Begun),
            limit: BUILDS_MAX,
            ..BuildFilter::default()
        };
        for row in app.store().builds(&scope, filter).await? {
            there.insert(row.run.id.clone());
            look(app, &scope, &row).await?;
        }
    }
    app.watching().seen().retain(|run, _| there.contains(run));
    Ok(())
}

async fn look(app: &App, scope: &OrgScope, row: &BuildRow) -> Result<(), ApiError> {
    let evidence = evidence(app, scope, row).await?;
    let told = {
        let mut seen = app.watching().seen();
        let seen = seen.entry(row.run.id.clone()).or_default();
        seen.take(&evidence);
        let stall_ms = seconds(app.config().settings.queue.watch.stall_s);
        seen.tells(&row.run, app.now_ms(), stall_ms)
    };
    for one in told {
        app.store().tell(scope, &one).await?;
    }
    tell_progress(app, scope, row).await
}

/// What was gathered at one look.
struct Evidence {
    at_ms: i64,
    doing: Doing,
    call_open: bool,
    tokens: u64,
    /// The draft that a model writes, and its bytes.
    draft: Option<(u64, u64)>,
    living: Vec<agentwright_sandbox::Living>,
    said: Vec<(i64, String)>,
    commits: u64,
    tree: u64,
}

async fn evidence(app: &App, scope: &OrgScope, row: &BuildRow) -> Result<Evidence, ApiError> {
    let (store, run) = (app.store(), &row.run);
    let after = app
        .watching()
        .seen()
        .get(&run.id)
        .map_or(0, |seen| seen.event_seq);
    let events = store.events(scope, &run.id, after, EVENTS_MAX).await?;
    let (call_open, tokens) = store
        .model_activity(scope, &run.id, run.attempt_started_at_ms)
        .await?;
    let (sandbox, id) = (app.sandbox().clone(), run.id.clone());
    let dir = app.layout().build(&run.id);
    let looked = tokio::task::spawn_blocking(move || (sandbox.living(id.as_str()), tree(&dir)));
    let (living, tree) = looked
        .await
        .map_err(|error| ApiError::Internal(anyhow::Error::new(error)))?;
    Ok(Evidence {
        at_ms: app.now_ms(),
        doing: doing(app, row),
        call_open,
        tokens: u64::try_from(tokens).unwrap_or(0),
        draft: app.engine().written(&run.id),
        living,
        said: events
            .into_iter()
            .map(|event| (event.seq, event.message))
            .collect(),
        commits: u64::try_from(run.epoch).unwrap_or(0),
        tree,
    })
}

fn doing(app: &App, row: &BuildRow) -> Doing {
    let now_ms = app.now_ms();
    match row.run.status {
        RunStatus::Leased if at_work(app, row) => Doing::Working {
            step_until_ms: None,
        },
        RunStatus::Leased => Doing::Queued,
        RunStatus::Waiting => Doing::Parked { until_ms: None },
        RunStatus::Ready => match row.not_before_ms.filter(|at_ms| *at_ms > now_ms) {
            Some(at_ms) => Doing::Parked {
                until_ms: Some(at_ms),
            },
            None => Doing::Queued,
        },
        RunStatus::Completed | RunStatus::Failed | RunStatus::Cancelled => Doing::Gate,
    }
}

/// A live lease, or our own work whose lease is just being renewed: after a sleep of the machine, for example.
fn at_work(app: &App, row: &BuildRow) -> bool {
    row.live || app.engine().active().contains(&row.run.id)
}

/// A digest of names, sizes and times of the files of a build: differs when something was written.
fn tree(dir: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut open = vec![dir.to_owned()];
    let mut left = FILES_MAX;
    while let Some(dir) = open.pop() {
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        for entry in entries {
            let Some(rest) = left.checked_sub(1) else {
                return hasher.finish();
            };
            left = rest;
            // Never through a link: what is behind one is not the build's.
            let Ok(metadata) = entry.path().symlink_metadata() else {
                continue;
            };
            entry.path().hash(&mut hasher);
            (metadata.len(), metadata.mtime(), metadata.mtime_nsec()).hash(&mut hasher);
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
    }
    hasher.finish()
}

impl Seen {
    /// Adds a look.
    fn take(&mut self, evidence: &Evidence) {
        let mut processes = HashMap::with_capacity(evidence.living.len());
        for one in &evidence.living {
            let key = (one.pid, one.started);
            let (cpu, io) = self.processes.get(&key).copied().unwrap_or((0, 0));
            self.cpu_ms += one.cpu_ms.saturating_sub(cpu);
            self.io_bytes += one.io_bytes.saturating_sub(io);
            processes.insert(key, (one.cpu_ms, one.io_bytes));
        }
        self.processes = processes;
        if let Some((round, bytes)) = evidence.draft {
            let known = if round == self.draft.0 {
                self.draft.1
            } else {
                0
            };
            self.draft_bytes += bytes.saturating_sub(known);
            self.draft = (round, bytes);
        }
        let mut actions = Vec::new();
        for (seq, message) in &evidence.said {
            self.event_seq = self.event_seq.max(*seq);
            self.log_bytes += message.len() as u64;
            let mut hasher = DefaultHasher::new();
            message.hash(&mut hasher);
            actions.push(hasher.finish());
        }
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.remove(0);
        }
        self.samples.push(Sample {
            at_ms: evidence.at_ms,
            doing: evidence.doing,
            call_open: evidence.call_open,
            model_bytes: evidence
                .tokens
                .saturating_mul(TOKEN_BYTES)
                .saturating_add(self.draft_bytes),
            cpu_ms: i64::try_from(self.cpu_ms).unwrap_or(i64::MAX),
            io_bytes: self.io_bytes,
            log_bytes: self.log_bytes,
            progress: evidence.commits,
            tree: evidence.tree,
            actions,
            result_at_ms: None,
        });
        self.verdict = judge(&self.samples);
    }

    /// What is to be told after a look.
    fn tells(&mut self, run: &Run, now_ms: i64, stall_ms: i64) -> Vec<Told> {
        let mut told = Vec::new();
        let doing = self.samples.last().map(|sample| sample.doing);
        self.parked(run, doing, &mut told);
        let works = matches!(doing, Some(Doing::Working { .. }));
        let silent_ms = now_ms - run.progress_at_ms;
        let stall = match &self.verdict {
            Verdict::Hung(why) => Some(format!("hangs: {why}")),
            Verdict::Looping(why) => Some(format!("goes round in circles: {why}")),
            Verdict::Working | Verdict::Waiting => None,
        };
        let silent = works && silent_ms >= stall_ms;
        let why = stall.or_else(|| {
            silent.then(|| format!("has made no progress for {} minutes", silent_ms / 60_000))
        });
        let Some(why) = why else {
            self.stalled_since_ms = None;
            return told;
        };
        let since_ms = *self.stalled_since_ms.get_or_insert(now_ms);
        told.push(stalled(run, "build.stalled", &why));
        if now_ms - since_ms >= ESCALATE_MS {
            told.push(stalled(run, "build.escalated", &format!("still {why}")));
        }
        told
    }

    /// It began to wait for a time, or goes on after it.
    fn parked(&mut self, run: &Run, doing: Option<Doing>, told: &mut Vec<Told>) {
        match doing {
            Some(Doing::Parked {
                until_ms: Some(until_ms),
            }) => {
                self.parked_until_ms = Some(until_ms);
                let until = Time::from_ms(until_ms);
                told.push(Told {
                    id: format!("parked-{}-{until_ms}", run.id),
                    run: Some(run.id.clone()),
                    notice: Notice {
                        topic: "build.parked".to_owned(),
                        title: format!("{} waits until {until}", run.label),
                        body: format!(
                            "It goes on by itself. See why: agentwright show {}",
                            run.label
                        ),
                    },
                });
            }
            Some(Doing::Working { .. }) => {
                if let Some(until_ms) = self.parked_until_ms.take() {
                    told.push(Told {
                        id: format!("resumed-{}-{until_ms}", run.id),
                        run: Some(run.id.clone()),
                        notice: Notice {
                            topic: "build.resumed".to_owned(),
                            title: format!("{} goes on", run.label),
                            body: format!("agentwright watch {}", run.label),
                        },
                    });
                }
            }
            Some(Doing::Queued | Doing::Gate | Doing::Parked { until_ms: None }) | None => {}
        }
    }
}

/// Of one try at one stage it is told once.
fn stalled(run: &Run, topic: &str, why: &str) -> Told {
    let label = &run.label;
    Told {
        id: format!("{topic}-{}-{}", run.id, run.epoch),
        run: Some(run.id.clone()),
        notice: Notice {
            topic: topic.to_owned(),
            title: format!("{label} {why}"),
            body: format!(
                "At {}, try {}. Look: agentwright show {label}\n\
                 Let it fail and be built again, where the queue started it: agentwright queue fail {label}\n\
                 End it: agentwright cancel {label}",
                run.state.stage(),
                run.state.attempt()
            ),
        },
    }
}

/// Every so often of a build that runs: how far it is. After a pause of the machine the last one only.
async fn tell_progress(app: &App, scope: &OrgScope, row: &BuildRow) -> Result<(), ApiError> {
    let every_ms = seconds(app.config().settings.queue.watch.progress_s);
    let Some(started_ms) = row.run.started_at_ms.filter(|_| every_ms > 0) else {
        return Ok(());
    };
    let count = (app.now_ms() - started_ms) / every_ms;
    if count < 1 || !at_work(app, row) {
        return Ok(());
    }
    let label = row.run.label.clone();
    let id = format!("progress-{}-{count}", row.run.id);
    let jobs = progress::jobs_of(app, scope, vec![row.clone()]).await?;
    let Some(job) = jobs.into_iter().next() else {
        return Ok(());
    };
    let mut lines: Vec<String> = progress::breakdown(&job)
        .into_iter()
        .map(|line| format!("- {line}"))
        .collect();
    lines.push(match job.estimated_completion {
        Some(at) => format!("Expected at {at}."),
        None => "No like builds are known to estimate its end by.".to_owned(),
    });
    let told = Told {
        id,
        run: Some(row.run.id.clone()),
        notice: Notice {
            topic: "build.progress".to_owned(),
            title: format!(
                "{label}: {} %, {}",
                job.progress_percent,
                progress::phase(&job)
            ),
            body: lines.join("\n"),
        },
    };
    app.store().tell(scope, &told).await?;
    Ok(())
}

fn seconds(s: u64) -> i64 {
    i64::try_from(s.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_differs_when_a_file_is_written_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("repo")).unwrap();
        let empty = tree(dir.path());
        assert_eq!(tree(dir.path()), empty);
        std::fs::write(dir.path().join("repo/main.py"), "x").unwrap();
        let one = tree(dir.path());
        assert_ne!(one, empty);
        std::os::unix::fs::symlink("/proc", dir.path().join("repo/all")).unwrap();
        let linked = tree(dir.path());
        assert_eq!(tree(dir.path()), linked);
        assert_eq!(
            tree(Path::new("/nowhere/at/all")),
            tree(Path::new("/nowhere"))
        );
    }

    fn look(at_ms: i64, living: &[(u32, u64)]) -> Evidence {
        Evidence {
            at_ms,
            doing: Doing::Working {
                step_until_ms: None,
            },
            call_open: false,
            tokens: 0,
            draft: None,
            living: living
                .iter()
                .map(|(pid, cpu_ms)| agentwright_sandbox::Living {
                    pid: *pid,
                    started: 7,
                    cpu_ms: *cpu_ms,
                    io_bytes: 0,
                })
                .collect(),
            said: Vec::new(),
            commits: 1,
            tree: 1,
        }
    }

    #[test]
    fn what_processes_used_only_grows_also_when_they_end() {
        let mut seen = Seen::default();
        for (at, living, cpu_ms) in [
            (0, &[(1, 10)][..], 10),
            (1, &[(1, 30), (2, 5)], 35),
            (2, &[(2, 6)], 36),
            (3, &[], 36),
            // A number that is used again is another process.
            (4, &[(1, 4)], 40),
        ] {
            seen.take(&look(at, living));
            assert_eq!(seen.samples.last().unwrap().cpu_ms, cpu_ms, "{at}");
        }
    }

    #[test]
    fn what_a_model_writes_counts_as_it_comes_also_when_it_begins_anew() {
        let mut seen = Seen::default();
        let drafts = [
            Some((1, 10)),
            Some((1, 30)),
            None,
            Some((2, 5)),
            Some((2, 5)),
        ];
        let mut bytes = Vec::new();
        for (at, draft) in (0..).zip(drafts) {
            seen.take(&Evidence {
                draft,
                ..look(at, &[])
            });
            bytes.push(seen.samples.last().unwrap().model_bytes);
        }
        assert_eq!(bytes, [10, 30, 30, 35, 35]);
    }

    #[test]
    fn a_compile_works_and_a_silent_idle_build_hangs() {
        let minute = 60_000;
        let (mut busy, mut idle) = (Seen::default(), Seen::default());
        for at in 0..40 {
            busy.take(&look(
                at * minute,
                &[(1, u64::try_from(at).unwrap() * 50_000)],
            ));
            idle.take(&look(at * minute, &[(1, 3)]));
        }
        assert_eq!(busy.verdict, Verdict::Working);
        assert!(
            matches!(idle.verdict, Verdict::Hung(_)),
            "{:?}",
            idle.verdict
        );
    }
}
