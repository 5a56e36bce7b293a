//! Whether an item starts now, and if not the one reason why not (requirements E4, E5, E7, E9).
//!
//! One function, [`decide_start`], and [`tick`], which asks it for every item in turn. What a person has to mend
//! comes before what only takes time, and limits come last, so that the reason told is the one to do something
//! about.

use crate::needs::{Missing, Understood, missing};
use crate::risk::{Risk, of_words};
use crate::window::{Window, moment};
use crate::{Item, Priority};
use agentwright_domain::ids::Slug;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// The pause before a failed build is repeated.
pub const RETRY_MS: i64 = 5 * 60_000;
/// Repetitions of a failed build before a person is asked.
pub const RETRIES: u32 = 3;

/// Where an item stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Standing {
    /// Never started, or to be started anew.
    Queued,
    /// A build of it is under way.
    Building,
    /// Its last build failed.
    Failed {
        /// Builds that failed in a row.
        failures: u32,
        /// When the last one did, ms.
        at_ms: i64,
    },
    /// Built, or ticked by a person.
    Done,
}

/// What is known of an item besides its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The item.
    pub item: &'a Item,
    /// Where it stands.
    pub standing: Standing,
    /// Who said yes to its start, if anybody.
    pub approved_by: Option<&'a str>,
    /// What its words say.
    pub assessment: &'a Assessment,
}

/// What an item's words say: the same as long as it is the same, so that a look at many items reads none of them
/// again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assessment {
    /// What it lacks.
    pub missing: Vec<Missing>,
    /// What always waits for a person.
    pub risks: Vec<Risk>,
    /// Whether a model writes it: then it waits for budgets and quotas.
    pub asks_a_model: bool,
}

impl Assessment {
    /// Reads an item.
    pub fn of(item: &Item, understood: Understood) -> Self {
        Self {
            missing: missing(item, understood),
            risks: of_words(item),
            asks_a_model: understood == Understood::No,
        }
    }
}

/// A build that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its label.
    pub label: Slug,
    /// What it touches.
    pub touches: Vec<String>,
    /// Who started it.
    pub started: Started,
}

/// Who started a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// The queue.
    ByItself,
    /// A person or a program.
    ByHand,
}

/// Everything around the items.
#[derive(Clone, Debug)]
pub struct World<'a> {
    /// The off-hours of the person.
    pub window: &'a Window,
    /// Builds under way.
    pub running: Vec<Running>,
    /// Builds that may have started by themselves at once.
    pub limit: usize,
    /// Until when a calendar says not to disturb, ms; what is high starts all the same.
    pub busy_until_ms: Option<i64>,
    /// Why nobody knows whether the person is busy: what is not high waits until that is known.
    pub calendar_unread: Option<String>,
    /// Until when a provider's quota is used up, ms.
    pub quota_until_ms: Option<i64>,
    /// The budget that is spent, in words.
    pub budget_spent: Option<String>,
    /// What the machine has no room for, in words.
    pub no_room: Option<String>,
    /// Items by their labels and by the slugs of their names: whether each is done.
    pub known: HashMap<Slug, bool>,
}

/// What is to happen to an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "decision", content = "reason")]
pub enum Decision {
    /// It starts.
    Start,
    /// It does not.
    Hold(Reason),
}

/// The one reason why an item does not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum Reason {
    /// It is done.
    Done,
    /// Its build is under way.
    Building,
    /// It failed too often: a person decides.
    Escalated {
        /// Builds that failed in a row.
        failures: u32,
    },
    /// Something of it cannot be read.
    Unreadable {
        /// What, in words.
        flaws: Vec<String>,
    },
    /// It says too little.
    Vague {
        /// What is missing.
        missing: Vec<Missing>,
    },
    /// Something must be out of the way first.
    Blocked {
        /// What, as written.
        by: Vec<String>,
    },
    /// It always waits for a person.
    Risk {
        /// Why.
        risks: Vec<Risk>,
    },
    /// Its priority is low: it waits for a yes.
    Unapproved,
    /// It has a time.
    NotBefore {
        /// Which, ms.
        at_ms: i64,
    },
    /// It failed and is repeated.
    Retry {
        /// When, ms.
        at_ms: i64,
        /// Builds that failed in a row.
        failures: u32,
    },
    /// It is not the time of day for it.
    Window {
        /// When it opens, ms.
        opens_ms: Option<i64>,
    },
    /// The person is busy.
    Calendar {
        /// Until when, ms.
        until_ms: i64,
    },
    /// Nobody knows whether the person is busy.
    CalendarUnread {
        /// Why.
        problem: String,
    },
    /// A budget is spent.
    Budget {
        /// Which, in words.
        budget: String,
    },
    /// A provider's quota is used up.
    Quota {
        /// Until when, ms.
        until_ms: i64,
    },
    /// The machine has no room.
    Room {
        /// For what.
        what: String,
    },
    /// Something that runs touches the same.
    Conflict {
        /// Which build.
        with: Slug,
        /// What both touch.
        over: String,
    },
    /// Somebody else holds a lock on its row.
    Locked,
    /// Another builder has its row, or it was changed just now.
    Taken,
    /// The database of its row is away.
    Away {
        /// What was said.
        said: String,
    },
    /// As many as may run do.
    Limit {
        /// How many.
        limit: usize,
        /// Which.
        running: Vec<Slug>,
    },
}

impl Reason {
    /// Its name, as stored.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Building => "building",
            Self::Escalated { .. } => "escalated",
            Self::Unreadable { .. } => "unreadable",
            Self::Vague { .. } => "vague",
            Self::Blocked { .. } => "blocked",
            Self::Risk { .. } => "risk",
            Self::Unapproved => "unapproved",
            Self::NotBefore { .. } => "not_before",
            Self::Retry { .. } => "retry",
            Self::Window { .. } => "window",
            Self::Calendar { .. } => "calendar",
            Self::CalendarUnread { .. } => "calendar_unread",
            Self::Budget { .. } => "budget",
            Self::Quota { .. } => "quota",
            Self::Room { .. } => "room",
            Self::Conflict { .. } => "conflict",
            Self::Locked => "locked",
            Self::Taken => "taken",
            Self::Away { .. } => "away",
            Self::Limit { .. } => "limit",
        }
    }

    /// In a sentence, with times as a wall clock of the zone shows them.
    pub fn words(&self, zone: &TimeZone) -> String {
        let at = |ms: &i64| clock(*ms, zone);
        match self {
            Self::Done => "it is done".to_owned(),
            Self::Building => "its build is under way".to_owned(),
            Self::Escalated { failures } => {
                format!("it failed {failures} times in a row: look at why, then retry it")
            }
            Self::Unreadable { flaws } => format!("it cannot be read: {}", flaws.join("; ")),
            Self::Vague { missing } => {
                let fields: Vec<String> = missing
                    .iter()
                    .map(|one| format!("{} ({})", one.field, one.ask))
                    .collect();
                format!("it says too little: {}", fields.join("; "))
            }
            Self::Blocked { by } => format!("it waits for: {}", by.join("; ")),
            Self::Risk { risks } => {
                let risks: Vec<String> = risks.iter().map(ToString::to_string).collect();
                format!("it needs a person's yes: {}", risks.join("; "))
            }
            Self::Unapproved => "its priority is low: it needs a person's yes".to_owned(),
            Self::NotBefore { at_ms } => format!("it is set for {}", at(at_ms)),
            Self::Retry { at_ms, failures } => {
                format!("it failed ({failures}) and is built again at {}", at(at_ms))
            }
            Self::Window { opens_ms } => match opens_ms {
                Some(opens_ms) => {
                    format!("medium items start in the off-hours: from {}", at(opens_ms))
                }
                None => "medium items start in the off-hours".to_owned(),
            },
            Self::Calendar { until_ms } => format!("the calendar is busy until {}", at(until_ms)),
            Self::CalendarUnread { problem } => {
                format!("the calendar cannot be read, and only high items start: {problem}")
            }
            Self::Budget { budget } => format!("a budget is spent: {budget}"),
            Self::Quota { until_ms } => {
                format!("a model's quota is used up until {}", at(until_ms))
            }
            Self::Room { what } => format!("the machine has no room: {what}"),
            Self::Conflict { with, over } => {
                format!("{with} is being built and touches {over} too")
            }
            Self::Locked => "somebody else holds a lock on its row".to_owned(),
            Self::Taken => "another builder has its row".to_owned(),
            Self::Away { said } => format!("its database cannot be used: {said}"),
            Self::Limit { limit, running } => {
                let running: Vec<&str> = running.iter().map(Slug::as_str).collect();
                format!(
                    "{limit} may start by themselves at once, and {} is being built",
                    running.join(", ")
                )
            }
        }
    }

    /// Whether a person is told, once: unclear requirements, a risk, a give-up (requirements E4, E7).
    pub fn asks_a_person(&self) -> bool {
        match self {
            Self::Escalated { .. }
            | Self::Unreadable { .. }
            | Self::Vague { .. }
            | Self::Risk { .. } => true,
            Self::Done
            | Self::Building
            | Self::Blocked { .. }
            | Self::Unapproved
            | Self::NotBefore { .. }
            | Self::Retry { .. }
            | Self::Window { .. }
            | Self::Calendar { .. }
            | Self::CalendarUnread { .. }
            | Self::Budget { .. }
            | Self::Quota { .. }
            | Self::Room { .. }
            | Self::Conflict { .. }
            | Self::Locked
            | Self::Taken
            | Self::Away { .. }
            | Self::Limit { .. } => false,
        }
    }
}

fn clock(ms: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(at) => at
            .to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M %Z")
            .to_string(),
        Err(_) => format!("{ms} ms"),
    }
}

/// Whether an item starts now. Pure and total: every item has an answer at every time.
pub fn decide_start(of: &Candidate<'_>, world: &World<'_>, now_ms: i64) -> Decision {
    let hold = standing(&of.standing)
        .or_else(|| to_mend(of, world))
        .or_else(|| in_time(of, world, now_ms))
        .or_else(|| for_want(of, world, now_ms))
        .or_else(|| beside(of.item, world));
    hold.map_or(Decision::Start, Decision::Hold)
}

fn standing(standing: &Standing) -> Option<Reason> {
    match standing {
        Standing::Done => Some(Reason::Done),
        Standing::Building => Some(Reason::Building),
        Standing::Failed { failures, .. } if *failures > RETRIES => {
            let failures = *failures;
            Some(Reason::Escalated { failures })
        }
        Standing::Failed { .. } | Standing::Queued => None,
    }
}

/// What a person has to do something about.
fn to_mend(of: &Candidate<'_>, world: &World<'_>) -> Option<Reason> {
    let item = of.item;
    if item.done {
        return Some(Reason::Done);
    }
    if !item.flaws.is_empty() {
        let flaws = item.flaws.clone();
        return Some(Reason::Unreadable { flaws });
    }
    let Assessment { missing, risks, .. } = of.assessment;
    if !missing.is_empty() {
        let missing = missing.clone();
        return Some(Reason::Vague { missing });
    }
    let by = blockers(item, &world.known);
    if !by.is_empty() {
        return Some(Reason::Blocked { by });
    }
    if of.approved_by.is_some() {
        return None;
    }
    if !risks.is_empty() {
        let risks = risks.clone();
        return Some(Reason::Risk { risks });
    }
    match item.priority {
        Priority::Low => Some(Reason::Unapproved),
        Priority::Medium | Priority::High => None,
    }
}

/// The blockers that are still in the way: words of a person's, and items that are not done. An item never waits
/// for itself.
fn blockers(item: &Item, known: &HashMap<Slug, bool>) -> Vec<String> {
    let open = |blocker: &&String| {
        let slug = Slug::from_words(blocker);
        match slug.as_ref() {
            Some(slug) if *slug == item.label => false,
            Some(slug) => !known.get(slug).copied().unwrap_or(false),
            None => true,
        }
    };
    item.blockers.iter().filter(open).cloned().collect()
}

/// What only takes time.
fn in_time(of: &Candidate<'_>, world: &World<'_>, now_ms: i64) -> Option<Reason> {
    let start = of.item.start.as_deref().and_then(moment);
    let start_ms = start.and_then(|start| start.ms(world.window.zone()));
    if let Some(at_ms) = start_ms.filter(|at_ms| *at_ms > now_ms) {
        return Some(Reason::NotBefore { at_ms });
    }
    if let Standing::Failed { failures, at_ms } = of.standing {
        let again_ms = at_ms.saturating_add(RETRY_MS);
        // A clock that was put back would make it wait for the same time again.
        if again_ms > now_ms && now_ms >= at_ms {
            return Some(Reason::Retry {
                at_ms: again_ms,
                failures,
            });
        }
    }
    match of.item.priority {
        Priority::High => None,
        Priority::Medium if !world.window.contains(now_ms) => Some(Reason::Window {
            opens_ms: world.window.opens_ms(now_ms),
        }),
        Priority::Medium | Priority::Low => {
            if let Some(problem) = world.calendar_unread.clone() {
                return Some(Reason::CalendarUnread { problem });
            }
            let busy = world.busy_until_ms.filter(|until_ms| *until_ms > now_ms);
            busy.map(|until_ms| Reason::Calendar { until_ms })
        }
    }
}

/// What is used up.
fn for_want(of: &Candidate<'_>, world: &World<'_>, now_ms: i64) -> Option<Reason> {
    if of.assessment.asks_a_model {
        if let Some(budget) = world.budget_spent.clone() {
            return Some(Reason::Budget { budget });
        }
        let quota = world.quota_until_ms.filter(|until_ms| *until_ms > now_ms);
        if let Some(until_ms) = quota {
            return Some(Reason::Quota { until_ms });
        }
    }
    let what = world.no_room.clone()?;
    Some(Reason::Room { what })
}

/// What runs already.
fn beside(item: &Item, world: &World<'_>) -> Option<Reason> {
    for running in &world.running {
        if running.label == item.label {
            return Some(Reason::Building);
        }
        let same = |one: &&String| running.touches.iter().any(|other| overlaps(one, other));
        if let Some(over) = item.touches.iter().find(same) {
            return Some(Reason::Conflict {
                with: running.label.clone(),
                over: over.clone(),
            });
        }
    }
    let by_itself = world
        .running
        .iter()
        .filter(|running| running.started == Started::ByItself);
    let running: Vec<Slug> = by_itself.map(|running| running.label.clone()).collect();
    (running.len() >= world.limit).then_some(Reason::Limit {
        limit: world.limit,
        running,
    })
}

/// Whether two names are of the same thing: the same words, or a path and what is below it.
fn overlaps(one: &str, other: &str) -> bool {
    let plain = |text: &str| {
        text.trim()
            .trim_matches(['`', '"', '\''])
            .trim_end_matches('/')
            .to_lowercase()
    };
    let (one, other) = (plain(one), plain(other));
    let below = |long: &str, short: &str| {
        long.strip_prefix(short)
            .is_some_and(|rest| rest.starts_with('/'))
            && !short.is_empty()
    };
    one == other || below(&one, &other) || below(&other, &one)
}

/// One look at the whole queue: an answer for every item, in the order in which they were handed in. Those of a
/// higher priority are asked first, then those before others; what starts counts at once for the rest.
pub fn tick(candidates: &[Candidate<'_>], world: &World<'_>, now_ms: i64) -> Vec<Decision> {
    let mut world = world.clone();
    let mut turn: Vec<usize> = (0..candidates.len()).collect();
    turn.sort_by_key(|at| candidates[*at].item.priority);
    let mut decisions = vec![Decision::Hold(Reason::Building); candidates.len()];
    let mut started = HashSet::new();
    for at in turn {
        let of = &candidates[at];
        let decision = decide_start(of, &world, now_ms);
        if decision == Decision::Start && started.insert(&of.item.label) {
            world.running.push(Running {
                label: of.item.label.clone(),
                touches: of.item.touches.clone(),
                started: Started::ByItself,
            });
        }
        decisions[at] = decision;
    }
    decisions
}

/// The labels and names of items, as blockers name them.
pub fn known<'a>(items: impl IntoIterator<Item = (&'a Item, &'a Standing)>) -> HashMap<Slug, bool> {
    let mut known = HashMap::new();
    for (item, standing) in items {
        let done = item.done || *standing == Standing::Done;
        if let Some(name) = Slug::from_words(&item.name) {
            known
                .entry(name)
                .and_modify(|all: &mut bool| *all &= done)
                .or_insert(done);
        }
        known.insert(item.label.clone(), done);
    }
    known
}
