//! A seeded simulation: two workers, a clock that jumps, crashes at the worst moments.
//!
//! Each seed is a list of operations (submit, work, advance time, crash before and after a commit,
//! lose a lease, faults, approve, reject, cancel, failed deploys), with invariants checked on
//! the way and, at the end, everything carried to its end. A failing seed prints itself;
//! `AGENTWRIGHT_SIM_SEED=n` repeats it, `AGENTWRIGHT_SIM_SEEDS=n` runs that many.

use crate::dispatch::Shared;
use crate::worker::{self, Step};
use crate::{Clock, Engine, Executor, Settings, SignalError};
use agentwright_domain::approval::{Gate, Subject};
use agentwright_domain::build::{
    ATTEMPTS_MAX, ApprovalMode, Facts, FailureClass, Phase, Repair, Stage, StageOutcome,
};
use agentwright_domain::digest::Digest;
use agentwright_domain::ids::{ApprovalId, RunId};
use agentwright_domain::run::{Decision, Run, RunKind, RunState, RunStatus, Signal};
use agentwright_store::{Location, Options, OrgScope, Store, Time};
use agentwright_testkit::{Cluster, build_run, temp_dir};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Operations of one seed before everything is carried to its end.
const OPERATIONS: usize = 24;
/// Runs of one seed.
const RUNS_MAX: usize = 3;
/// Rounds in which everything must then have ended.
const ROUNDS_MAX: usize = 400;
const LEASE_MS: i64 = 15_000;

/// SplitMix64 (public domain, Sebastiano Vigna).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone)]
struct SimClock(Arc<AtomicI64>);

impl Clock for SimClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct Never;

#[async_trait::async_trait]
impl Executor for Never {
    async fn execute(&self, _: &Run, _: &crate::Handle) -> Signal {
        unreachable!("the simulation works by hand")
    }
}

/// One process: what dies when it crashes.
struct Process {
    shared: Arc<Shared>,
    held: Vec<Run>,
}

/// What the simulation knows to be durable.
#[derive(Default)]
struct Known {
    ended: BTreeMap<RunId, RunStatus>,
}

struct World {
    location: Location,
    options: Options,
    clock: SimClock,
    random: Random,
    store: Store,
    processes: Vec<Process>,
    runs: Vec<RunId>,
    known: Known,
    seed: u64,
    trace: Vec<String>,
}

impl World {
    async fn new(location: Location, dir: &Path) -> Self {
        let clock = SimClock(Arc::new(AtomicI64::new(1_000_000)));
        let options = Options {
            time: Time::Given(Arc::clone(&clock.0)),
            ..Options::new(dir)
        };
        let store = Store::open(location.clone(), options.clone())
            .await
            .unwrap();
        let mut world = Self {
            location,
            options,
            clock,
            random: Random(0),
            store,
            processes: Vec::new(),
            runs: Vec::new(),
            known: Known::default(),
            seed: 0,
            trace: Vec::new(),
        };
        world.processes = vec![world.process(), world.process()];
        world
    }

    fn process(&self) -> Process {
        let settings = Settings {
            builds: 4,
            builds_per_organization: 3,
            lease: Duration::from_millis(LEASE_MS.unsigned_abs()),
            ..Settings::default()
        };
        let never: Arc<dyn Executor> = Arc::new(Never);
        let executors = vec![(RunKind::Build, never)];
        let clock = Arc::new(self.clock.clone());
        Process {
            shared: Arc::new(Shared::new(self.store.clone(), clock, executors, settings)),
            held: Vec::new(),
        }
    }

    async fn seed(&mut self, seed: u64) {
        self.seed = seed;
        self.random = Random(seed);
        self.runs.clear();
        self.trace.clear();
        self.known = Known::default();
        self.submit().await;
        for at in 0..OPERATIONS {
            self.operation().await;
            if at % 6 == 0 {
                self.check().await;
            }
        }
        self.check().await;
        self.finish().await;
        self.check().await;
        self.check_logs().await;
    }

    async fn operation(&mut self) {
        let at = self.random.below(2);
        match self.random.below(20) {
            0..=2 if self.runs.len() < RUNS_MAX => self.submit().await,
            0..=11 => self.work(at).await,
            12 | 13 => {
                let by_ms = [10, 900, 5_000, LEASE_MS, 120_000][self.random.below(5)];
                self.note(format!("advance {by_ms}"));
                self.clock.0.fetch_add(by_ms, Ordering::SeqCst);
            }
            14 => self.renew(at).await,
            15 => self.crash(at).await,
            16 => self.decide(true).await,
            17 => {
                let id = self.any();
                self.resume(&id).await;
            }
            18 => self.decide(false).await,
            _ => self.cancel().await,
        }
    }

    fn note(&mut self, line: String) {
        self.trace.push(line);
    }

    async fn submit(&mut self) {
        let mut new = build_run(
            &self.store.new_id(),
            &format!(
                "s{}-{}-{}",
                self.seed,
                self.runs.len(),
                self.random.below(1 << 30)
            ),
        );
        if let RunState::Build(state) = &mut new.state {
            let modes = [
                ApprovalMode::Auto,
                ApprovalMode::Final,
                ApprovalMode::Checkpoints,
            ];
            state.policy.mode = modes[self.random.below(3)];
            state.policy.production = self.random.one_in(8);
        }
        new.priority = i64::try_from(self.random.below(3)).unwrap();
        self.note(format!("submit {}", new.label));
        let id = self.store.submit(new.clone(), None).await.unwrap().id;
        if self.random.one_in(4) {
            assert!(self.store.submit(new, None).await.unwrap().repeated());
        }
        self.runs.push(id);
    }

    /// One process claims, and takes one step with one of its runs.
    async fn work(&mut self, at: usize) {
        let looks = self.random.one_in(3);
        let process = &mut self.processes[at];
        if (looks || process.held.is_empty())
            && let Some(request) = process.shared.request()
        {
            for run in self.store.claim(request).await.unwrap() {
                process.shared.begin(&run);
                process.held.push(run);
            }
        }
        let count = self.processes[at].held.len();
        if count == 0 {
            return;
        }
        let which = self.random.below(count);
        let run = self.processes[at].held.swap_remove(which);
        self.step(at, run).await;
    }

    async fn step(&mut self, at: usize, run: Run) {
        let signal = self.script(&run);
        self.note(format!(
            "{at}: {} {} -> {}",
            run.label,
            run.state.stage(),
            words(&signal)
        ));
        self.may_execute(&run).await;
        if self.random.one_in(12) {
            self.note("crash before its commit".to_owned());
            self.processes[at].held.push(run);
            return self.crash(at).await;
        }
        let shared = Arc::clone(&self.processes[at].shared);
        let token = CancellationToken::new();
        let step = worker::settle(&shared, &run, &signal, &token).await;
        if self.random.one_in(12) {
            self.note("crash after its commit".to_owned());
            return self.crash(at).await;
        }
        match step.unwrap() {
            Step::On(next) => self.processes[at].held.push(*next),
            Step::Left => shared.end(&run.id),
        }
    }

    /// Nothing that is recorded is worked again, and nothing is deployed without its yes. A process
    /// that does not know yet that its lease is gone works on; its commit is what is fenced.
    async fn may_execute(&self, run: &Run) {
        let scope = OrgScope::local();
        let now = self.store.run(&scope, &run.id).await.unwrap().unwrap();
        if now.epoch != run.epoch {
            return;
        }
        let RunState::Build(state) = &run.state else {
            panic!("no build")
        };
        let Phase::Stage { stage, attempt } = &state.phase else {
            panic!("{self}: claimed at {:?}", state.phase)
        };
        assert!(*attempt <= ATTEMPTS_MAX, "{self}");
        let recorded = self.store.stages(&scope, &run.id).await.unwrap();
        let twice = recorded.iter().any(|row| {
            row.stage == stage.word() && row.attempt == *attempt && row.status == "done"
        });
        assert!(
            !twice,
            "{self}: {} {} is worked twice",
            run.label,
            stage.word()
        );
        let asked = state.policy.mode != ApprovalMode::Auto
            || state.policy.production
            || !state.facts.risks.is_empty();
        if *stage == Stage::Deploy && asked {
            let subject = &state.facts.subject.as_ref().unwrap().digest;
            let given = self
                .store
                .approvals(&OrgScope::local(), &run.id)
                .await
                .unwrap();
            let yes = given
                .iter()
                .any(|yes| yes.approved && yes.gate == Gate::Deploy && yes.subject == *subject);
            assert!(yes, "{self}: {} deploys without a yes", run.label);
        }
    }

    /// What the executor would say.
    fn script(&mut self, run: &Run) -> Signal {
        let RunState::Build(state) = &run.state else {
            panic!("no build")
        };
        let Phase::Stage { stage, .. } = state.phase else {
            panic!("no stage")
        };
        let may_repair = matches!(stage, Stage::Generate | Stage::Review | Stage::Verify);
        let outcome = match self.random.below(17) {
            14 => StageOutcome::Park {
                reason: "quota".to_owned(),
                until_ms: self.clock.now_ms() + 60_000,
            },
            15 if self.random.one_in(3) => StageOutcome::Spent {
                limit: "a day's money".to_owned(),
            },
            16 if may_repair => StageOutcome::Repair {
                repair: Repair {
                    reason: "no zip".to_owned(),
                    evidence: "evidence.json".to_owned(),
                },
                failure: digest(self.seed, u8::try_from(self.random.below(3)).unwrap()),
                records: Vec::new(),
            },
            0 => StageOutcome::Retry {
                reason: "busy".to_owned(),
                not_before_ms: None,
            },
            1 => {
                return Signal::Fault {
                    message: "a fault".to_owned(),
                    retryable: true,
                };
            }
            2 if self.random.one_in(3) => StageOutcome::Failed {
                class: if stage == Stage::Deploy {
                    FailureClass::Deploy
                } else {
                    FailureClass::Tests
                },
                reason: "it does not hold".to_owned(),
                records: Vec::new(),
            },
            3 if self.random.one_in(4) => {
                return Signal::Overdue {
                    limit: "time".to_owned(),
                };
            }
            _ => {
                let risky = self.random.one_in(10);
                StageOutcome::Done {
                    summary: "done".to_owned(),
                    facts: Box::new(facts(&state.facts, stage, risky, self.seed)),
                    records: Vec::new(),
                }
            }
        };
        Signal::Stage {
            outcome: Box::new(outcome),
        }
    }

    async fn renew(&mut self, at: usize) {
        self.note(format!("{at}: renew"));
        crate::dispatch::renew(&self.processes[at].shared).await;
    }

    /// The process is gone. On SQLite it is the only one: the store closes, and is opened anew.
    async fn crash(&mut self, at: usize) {
        self.note(format!("{at}: crash"));
        if self.store.shared() {
            self.processes[at] = self.process();
            return;
        }
        self.processes.clear();
        self.store.close().await;
        let opened = Store::open(self.location.clone(), self.options.clone()).await;
        // The old handle holds the lock until it is replaced; close() has let go of it.
        self.store = opened.unwrap();
        self.processes = vec![self.process(), self.process()];
    }

    fn any(&mut self) -> RunId {
        let which = self.random.below(self.runs.len());
        self.runs[which].clone()
    }

    async fn signal(&mut self, id: &RunId, signal: Signal) -> Option<Run> {
        let engine = Engine {
            shared: Arc::clone(&self.processes[0].shared),
        };
        match engine.signal(&OrgScope::local(), id, signal, None).await {
            Ok(run) => Some(run),
            Err(SignalError::Refused(_)) => None,
            Err(error) => panic!("{self}: {error}"),
        }
    }

    async fn decide(&mut self, approved: bool) {
        let id = self.any();
        self.decide_on(&id, approved).await;
    }

    async fn decide_on(&mut self, id: &RunId, approved: bool) {
        self.note(format!("decide {approved} on {id}"));
        let decision = Decision {
            id: ApprovalId::new(self.store.new_id()),
            approved,
            by: "anna".to_owned(),
            notes: None,
            subject: None,
        };
        self.signal(id, Signal::Decided(decision)).await;
    }

    async fn resume(&mut self, id: &RunId) {
        self.note(format!("resume {id}"));
        let by = "anna".to_owned();
        self.signal(id, Signal::Resume { by }).await;
    }

    async fn cancel(&mut self) {
        let id = self.any();
        self.note(format!("cancel {id}"));
        let cancel = Signal::Cancel {
            by: "anna".to_owned(),
            reason: "no more".to_owned(),
        };
        if let Some(run) = self.signal(&id, cancel).await {
            assert_eq!(run.status, RunStatus::Cancelled, "{self}");
        }
    }

    /// What has ended stays as it ended; what is leased is held by at most one process.
    async fn check(&mut self) {
        for id in &self.runs {
            let run = self
                .store
                .run(&OrgScope::local(), id)
                .await
                .unwrap()
                .unwrap();
            if let Some(ended) = self.known.ended.get(id) {
                assert_eq!(run.status, *ended, "{self}: {id} ended otherwise");
            }
            let RunState::Build(state) = &run.state else {
                panic!("no build")
            };
            let phase_ended = !matches!(
                state.phase,
                Phase::Stage { .. } | Phase::Gate { .. } | Phase::Spent { .. }
            );
            assert_eq!(run.status.ended(), phase_ended, "{self}: {id}");
            assert_eq!(run.ended_at_ms.is_some(), phase_ended, "{self}: {id}");
            assert!(
                run.worked_ms >= 0 && run.claims <= worker::CLAIMS_MAX + 40,
                "{self}"
            );
            if run.status.ended() {
                self.known.ended.insert(id.clone(), run.status);
            }
        }
    }

    /// Everything ends: nothing is stuck, whatever happened before.
    async fn finish(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut open = 0;
            for id in self.runs.clone() {
                let run = self
                    .store
                    .run(&OrgScope::local(), &id)
                    .await
                    .unwrap()
                    .unwrap();
                if run.status == RunStatus::Waiting {
                    self.decide_on(&id, true).await;
                    self.resume(&id).await;
                }
                open += usize::from(!run.status.ended());
            }
            if open == 0 {
                return self.empty_queue().await;
            }
            self.work(0).await;
            self.work(1).await;
            self.clock.0.fetch_add(LEASE_MS / 3, Ordering::SeqCst);
        }
        panic!("{self}: something is stuck");
    }

    async fn empty_queue(&mut self) {
        self.clock.0.fetch_add(10 * LEASE_MS, Ordering::SeqCst);
        for process in &mut self.processes {
            for run in process.held.drain(..) {
                process.shared.end(&run.id);
            }
        }
        let request = self.processes[0].shared.request().unwrap();
        let left = self.store.claim(request).await.unwrap();
        assert!(left.is_empty(), "{self}: still in the queue: {left:?}");
    }

    /// The log of every run: numbers without gaps, each attempt once, one end.
    async fn check_logs(&self) {
        let scope = OrgScope::local();
        for id in &self.runs {
            let events = self.store.events(&scope, id, 0, 1_000).await.unwrap();
            let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
            let all: Vec<_> = (1..=i64::try_from(seqs.len()).unwrap()).collect();
            assert_eq!(seqs, all, "{self}: {id}");
            let ends = events.iter().filter(|event| event.event == "run.ended");
            assert_eq!(ends.count(), 1, "{self}: {id}");
            let mut stages = self.store.stages(&scope, id).await.unwrap();
            // Waiting for a quota or a budget is no try.
            stages.retain(|row| row.status != "parked");
            let attempts: BTreeSet<_> =
                stages.iter().map(|row| (&row.stage, row.attempt)).collect();
            assert_eq!(attempts.len(), stages.len(), "{self}: {id}: {stages:?}");
        }
    }
}

impl std::fmt::Display for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}\n{}\n", self.seed, self.trace.join("\n"))
    }
}

/// A signal in a few words.
fn words(signal: &Signal) -> &'static str {
    match signal {
        Signal::Stage { outcome } => match **outcome {
            StageOutcome::Done { .. } => "done",
            StageOutcome::Failed { .. } => "failed",
            StageOutcome::Retry { .. } => "retry",
            StageOutcome::Park { .. } => "park",
            StageOutcome::Spent { .. } => "spent",
            StageOutcome::Repair { .. } => "repair",
            StageOutcome::Amend { .. } => "amend",
        },
        Signal::Fault { .. } => "fault",
        Signal::Overdue { .. } => "overdue",
        Signal::Executed { .. }
        | Signal::Decided(_)
        | Signal::Cancel { .. }
        | Signal::Resume { .. } => "other",
    }
}

fn digest(seed: u64, n: u8) -> Digest {
    let mut bytes = [n; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Digest::from_sha256(bytes)
}

/// What a stage would find out.
fn facts(known: &Facts, stage: Stage, risky: bool, seed: u64) -> Facts {
    let mut facts = known.clone();
    let subject = |code: Option<Digest>| {
        Some(Subject {
            spec: digest(seed, 1),
            evidence: None,
            target: digest(seed, 3),
            policy: digest(seed, 4),
            digest: digest(seed, if code.is_some() { 5 } else { 6 }),
            code,
        })
    };
    match stage {
        Stage::Spec => facts.subject = subject(None),
        // A repair writes other code.
        Stage::Generate => {
            let n = u8::try_from(facts.tried.len()).unwrap();
            facts.code = Some(digest(seed, 100 + n));
        }
        Stage::Review => facts.reviewed.clone_from(&facts.code),
        Stage::Verify => facts.verified.clone_from(&facts.code),
        Stage::Preview => {
            facts.subject = subject(facts.code.clone());
            if risky {
                facts.risks = vec!["it deletes".to_owned()];
            }
        }
        Stage::Package | Stage::Deploy | Stage::Register => {}
    }
    facts
}

#[expect(
    clippy::disallowed_methods,
    reason = "how many seeds, for whoever runs the tests"
)]
fn seeds(default: u64) -> std::ops::Range<u64> {
    let read = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    if let Some(seed) = read("AGENTWRIGHT_SIM_SEED") {
        return seed..seed + 1;
    }
    0..read("AGENTWRIGHT_SIM_SEEDS").unwrap_or(default)
}

/// Part `part` of `of` of the seeds on SQLite.
async fn sqlite(part: u64, of: u64) {
    let dir = temp_dir();
    let location = Location::Sqlite(dir.path().join("a.db"));
    let mut world = World::new(location, dir.path()).await;
    for seed in seeds(1_000).filter(|seed| seed % of == part) {
        world.seed(seed).await;
    }
}

#[tokio::test]
async fn every_invariant_holds_on_sqlite_for_even_seeds() {
    sqlite(0, 2).await;
}

#[tokio::test]
async fn every_invariant_holds_on_sqlite_for_odd_seeds() {
    sqlite(1, 2).await;
}

#[tokio::test]
async fn every_invariant_holds_on_postgres() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let dir = temp_dir();
    let mut world = World::new(cluster.location().await, dir.path()).await;
    for seed in seeds(100) {
        world.seed(seed).await;
    }
}
