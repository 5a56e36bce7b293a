//! Sixty days of a queue of 200 items, over changes of the clock both ways, suspends, jumps and restart storms:
//! every look leaves an answer for every item, none starts twice, medium starts in its window only.

use crate::starting::clear;
use agentwright_domain::ids::Slug;
use agentwright_queue::needs::Understood;
use agentwright_queue::start::{
    Assessment, Candidate, Decision, RETRIES, Reason, Running, Standing, Started, World, known,
    tick,
};
use agentwright_queue::window::Window;
use agentwright_queue::{Item, Priority};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, HashMap, HashSet};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const ITEMS: usize = 200;
const SEEDS: u64 = 1;

/// What the tables would hold.
struct Kept {
    item: Item,
    assessment: Assessment,
    standing: Standing,
    approved: bool,
    builds: Vec<Build>,
}

struct Build {
    ends_at_ms: i64,
    fails: bool,
}

struct Sim {
    rng: StdRng,
    window: Window,
    now_ms: i64,
    kept: Vec<Kept>,
    /// Which items are done, as blockers name them.
    known: HashMap<Slug, bool>,
    /// Which build of which item was submitted: the key of its idempotency.
    submitted: HashSet<(usize, usize)>,
    receipts: BTreeMap<&'static str, usize>,
    looks: usize,
    limit: usize,
}

impl Sim {
    fn new(seed: u64, zone: &str, begin_ms: i64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let kept = (0..ITEMS)
            .map(|n| {
                let priority = [
                    Priority::High,
                    Priority::Medium,
                    Priority::Medium,
                    Priority::Low,
                ][n % 4];
                let mut item = clear(&format!("item {n}"), priority);
                match rng.random_range(0..12) {
                    0 => item.description = Some("make it better".into()),
                    1 => item.blockers = vec![format!("item {}", rng.random_range(0..ITEMS))],
                    2 => item.touches = vec!["/srv/shared".into()],
                    3 => item.start = Some("2026-04-01 03:00".into()),
                    _ => {}
                }
                Kept {
                    assessment: Assessment::of(&item, Understood::No),
                    item,
                    standing: Standing::Queued,
                    approved: false,
                    builds: Vec::new(),
                }
            })
            .collect();
        let kept: Vec<Kept> = kept;
        let known = known(kept.iter().map(|kept| (&kept.item, &kept.standing)));
        Self {
            known,
            window: Window::off_hours(zone).unwrap(),
            limit: rng.random_range(1..4),
            rng,
            now_ms: begin_ms,
            kept,
            submitted: HashSet::new(),
            receipts: BTreeMap::new(),
            looks: 0,
        }
    }

    /// Builds whose time has come end.
    fn ends(&mut self) {
        for kept in &mut self.kept {
            let Some(build) = kept
                .builds
                .last()
                .filter(|build| build.ends_at_ms <= self.now_ms)
            else {
                continue;
            };
            if kept.standing != Standing::Building {
                continue;
            }
            kept.standing = if build.fails {
                Standing::Failed {
                    failures: u32::try_from(kept.builds.len()).unwrap(),
                    at_ms: self.now_ms,
                }
            } else {
                Standing::Done
            };
            let done = kept.standing == Standing::Done;
            self.known.insert(kept.item.label.clone(), done);
        }
    }

    /// One look: the answers, and what comes of those that start. A crash loses what was not written yet.
    fn look(&mut self, crash: bool) {
        self.ends();
        let world = World {
            window: &self.window,
            running: self
                .kept
                .iter()
                .filter(|kept| kept.standing == Standing::Building)
                .map(|kept| Running {
                    label: kept.item.label.clone(),
                    touches: kept.item.touches.clone(),
                    started: Started::ByItself,
                })
                .collect(),
            limit: self.limit,
            busy_until_ms: None,
            calendar_unread: None,
            quota_until_ms: None,
            budget_spent: None,
            no_room: None,
            known: self.known.clone(),
        };
        assert!(world.running.len() <= self.limit, "more run than may");
        let candidates: Vec<Candidate<'_>> = self
            .kept
            .iter()
            .map(|kept| Candidate {
                item: &kept.item,
                standing: kept.standing.clone(),
                approved_by: kept.approved.then_some("ann"),
                assessment: &kept.assessment,
            })
            .collect();
        let decisions = tick(&candidates, &world, self.now_ms);
        self.looks += 1;
        assert_eq!(decisions.len(), ITEMS, "an answer for every item");
        for (at, decision) in decisions.into_iter().enumerate() {
            match decision {
                Decision::Hold(reason) => {
                    self.truth(at, &reason);
                    *self.receipts.entry(reason.word()).or_default() += 1;
                }
                Decision::Start if crash && self.rng.random_bool(0.5) => return,
                Decision::Start => self.start(at),
            }
        }
    }

    fn start(&mut self, at: usize) {
        *self.receipts.entry("start").or_default() += 1;
        let (now_ms, limit) = (self.now_ms, self.limit);
        let open = self.window.contains(now_ms);
        let build = Build {
            ends_at_ms: now_ms + self.rng.random_range(5..300) * MINUTE,
            fails: self.rng.random_bool(0.3),
        };
        let running = self
            .kept
            .iter()
            .filter(|kept| kept.standing == Standing::Building)
            .count();
        let kept = &mut self.kept[at];
        assert!(running < limit);
        assert!(
            matches!(kept.standing, Standing::Queued | Standing::Failed { .. }),
            "{} started while {:?}",
            kept.item.name,
            kept.standing
        );
        assert!(
            self.submitted.insert((at, kept.builds.len())),
            "started twice"
        );
        assert!(
            kept.item.priority != Priority::Medium || open,
            "medium outside its window"
        );
        assert!(
            kept.item.priority != Priority::Low || kept.approved,
            "low without a yes"
        );
        assert!(kept.builds.len() <= RETRIES as usize, "repeated too often");
        kept.builds.push(build);
        kept.standing = Standing::Building;
    }

    /// A reason is true.
    fn truth(&self, at: usize, reason: &Reason) {
        let kept = &self.kept[at];
        match reason {
            Reason::Done => assert_eq!(kept.standing, Standing::Done),
            Reason::Building => assert_eq!(kept.standing, Standing::Building),
            Reason::Window { opens_ms } => {
                assert!(!self.window.contains(self.now_ms));
                assert!(
                    opens_ms
                        .is_some_and(|opens| opens > self.now_ms && self.window.contains(opens))
                );
            }
            Reason::NotBefore { at_ms } | Reason::Retry { at_ms, .. } => {
                assert!(*at_ms > self.now_ms);
            }
            Reason::Escalated { failures } => assert!(*failures > RETRIES),
            Reason::Unapproved => assert!(!kept.approved),
            Reason::Limit { running, .. } => assert!(running.len() >= self.limit),
            Reason::Vague { .. } | Reason::Blocked { .. } | Reason::Conflict { .. } => {}
            other => panic!("nobody said that: {other:?}"),
        }
    }

    fn run(&mut self) {
        let end_ms = self.now_ms + 60 * DAY;
        while self.now_ms < end_ms {
            match self.rng.random_range(0..100) {
                // The machine sleeps.
                0 => self.now_ms += self.rng.random_range(1..40) * HOUR,
                // Somebody sets the clock, forwards or back.
                1 => self.now_ms += self.rng.random_range(-90..90) * MINUTE,
                // It is started again and again, and dies between deciding and writing.
                2..5 => (0..self.rng.random_range(2..15)).for_each(|_| self.look(true)),
                // A person says yes to something.
                5 => {
                    let at = self.rng.random_range(0..ITEMS);
                    self.kept[at].approved = true;
                }
                _ => self.now_ms += 30 * MINUTE,
            }
            self.look(false);
        }
    }
}

fn begin(text: &str) -> i64 {
    text.parse::<jiff::Zoned>()
        .unwrap()
        .timestamp()
        .as_millisecond()
}

#[test]
fn sixty_days_with_clocks_changed_both_ways_start_nothing_twice_or_out_of_its_time() {
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..SEEDS {
        for (zone, from) in [
            ("Europe/Berlin", "2026-03-01T09:00[Europe/Berlin]"),
            ("America/New_York", "2026-10-01T09:00[America/New_York]"),
            (
                "Australia/Lord_Howe",
                "2026-03-01T09:00[Australia/Lord_Howe]",
            ),
        ] {
            let mut sim = Sim::new(seed, zone, begin(from));
            sim.run();
            let told: usize = sim.receipts.values().sum();
            assert!(told <= sim.looks * ITEMS && told > sim.looks * (ITEMS - 4));
            // Nothing that may start is left lying.
            let open = |kept: &&Kept| {
                kept.item.priority == Priority::High && kept.standing == Standing::Queued
            };
            let left: Vec<_> = sim.kept.iter().filter(open).collect();
            let held = |kept: &&Kept| {
                kept.item.description.as_deref() == Some("make it better")
                    || !kept.item.blockers.is_empty()
            };
            assert!(
                left.iter().all(held),
                "{zone} {seed}: {} are left",
                left.len()
            );
            for (word, count) in sim.receipts {
                *all.entry(word).or_default() += count;
            }
        }
    }
    println!("receipts: {all:?}");
    for word in [
        "start",
        "done",
        "building",
        "window",
        "unapproved",
        "vague",
        "blocked",
        "limit",
        "escalated",
        "not_before",
        "conflict",
    ] {
        assert!(all.contains_key(word), "{word} was never met");
    }
}
