//! Whether a build that says nothing is at work, waits, hangs or goes round in circles (requirements E7).
//!
//! Judged from evidence over time, never from silence alone: a long compile is silent and works, a parked build is
//! silent and waits. Whoever watches hands in what it saw since the work began, oldest first.

use serde::{Deserialize, Serialize};

/// A model that sends nothing while it is asked.
pub const MODEL_SILENT_MS: i64 = 10 * 60_000;
/// A process tree that does nothing at all.
pub const IDLE_MS: i64 = 20 * 60_000;
/// A process that lives on after it gave its result.
pub const AFTER_RESULT_MS: i64 = 5 * 60_000;
/// A parked or timed wait that is over and does not end.
pub const OVERDUE_MS: i64 = 10 * 60_000;
/// The same action so often in a row, and nothing else changes.
pub const SAME_ACTION: usize = 6;
/// Rounds of one short cycle of actions, and nothing else changes.
pub const CYCLE_ROUNDS: usize = 5;
/// The longest cycle that is looked for.
const CYCLE_MAX: usize = 4;
/// Actions that end well and change nothing.
pub const FRUITLESS: usize = 60;
/// Work that leads nowhere for so long is told whatever it looks like (requirements E7).
pub const NO_PROGRESS_MS: i64 = 4 * 3_600_000;
/// Processor time below this share counts as nothing: timers tick in every idle process.
const IDLE_CPU_PERMILLE: i64 = 5;

/// What a build is doing, as its state says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Doing {
    /// Waits for a free slot.
    Queued,
    /// Waits for a person.
    Gate,
    /// Waits for a quota, a budget or a timer.
    Parked {
        /// Until when, ms; `None` until somebody lets it go on.
        until_ms: Option<i64>,
    },
    /// Works.
    Working {
        /// A step that says how long it may take is not over before this, ms.
        step_until_ms: Option<i64>,
    },
}

/// One look at a build. Totals only grow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When, ms.
    pub at_ms: i64,
    /// What it is doing.
    pub doing: Doing,
    /// A model is being asked.
    pub call_open: bool,
    /// Bytes of models' answers so far.
    pub model_bytes: u64,
    /// Processor time of its process tree so far, ms.
    pub cpu_ms: i64,
    /// Bytes that the tree read and wrote so far.
    pub io_bytes: u64,
    /// Bytes of logs so far.
    pub log_bytes: u64,
    /// Progress reports so far.
    pub progress: u64,
    /// Digest of the files that are being written; differs when something was changed.
    pub tree: u64,
    /// Digests of what was done since the last look, with what it answered, in order.
    pub actions: Vec<u64>,
    /// When the agent gave its result, ms.
    pub result_at_ms: Option<i64>,
}

/// What a build's evidence comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "because")]
pub enum Verdict {
    /// It is at work.
    Working,
    /// It waits for something that will come.
    Waiting,
    /// It does nothing and will not go on by itself.
    Hung(String),
    /// It is busy and gets nowhere.
    Looping(String),
}

impl Verdict {
    /// Whether somebody is told.
    pub fn is_stall(&self) -> bool {
        match self {
            Self::Hung(_) | Self::Looping(_) => true,
            Self::Working | Self::Waiting => false,
        }
    }
}

/// Judges a build by what was seen of it, oldest first. Without a look it is taken as working.
pub fn judge(samples: &[Sample]) -> Verdict {
    let Some(last) = samples.last() else {
        return Verdict::Working;
    };
    match last.doing {
        Doing::Queued | Doing::Gate | Doing::Parked { until_ms: None } => Verdict::Waiting,
        Doing::Parked {
            until_ms: Some(until_ms),
        } if until_ms + OVERDUE_MS > last.at_ms => Verdict::Waiting,
        Doing::Parked { .. } => Verdict::Hung("its wait is over and it does not go on".to_owned()),
        Doing::Working { step_until_ms } => {
            let seen = Seen::new(samples);
            if let Some(why) = seen.circles() {
                return Verdict::Looping(why);
            }
            if step_until_ms.is_some_and(|until_ms| until_ms + OVERDUE_MS > last.at_ms) {
                return Verdict::Waiting;
            }
            let over = if step_until_ms.is_some() {
                "its step is long over: "
            } else {
                ""
            };
            seen.hangs()
                .map(|why| Verdict::Hung(format!("{over}{why}")))
                .or_else(|| seen.leads_nowhere().map(Verdict::Looping))
                .unwrap_or(Verdict::Working)
        }
    }
}

/// The looks since it last began to work.
struct Seen<'a> {
    samples: &'a [Sample],
    last: &'a Sample,
}

impl<'a> Seen<'a> {
    fn new(samples: &'a [Sample]) -> Self {
        let worked = |sample: &Sample| matches!(sample.doing, Doing::Working { .. });
        let begun = samples
            .iter()
            .rposition(|sample| !worked(sample))
            .map_or(0, |at| at + 1);
        let samples = &samples[begun..];
        Self {
            samples,
            last: &samples[samples.len() - 1],
        }
    }

    /// How long nothing of a kind has changed, ms.
    fn since<T: PartialEq>(&self, of: impl Fn(&Sample) -> T) -> i64 {
        let now = of(self.last);
        let changed = self.samples.iter().rposition(|sample| of(sample) != now);
        // It changed somewhere between two looks: the later one is taken, so that nobody is told too soon.
        let from = changed.map_or(0, |at| at + 1);
        self.last.at_ms - self.samples[from].at_ms
    }

    /// How long the process tree has used next to no processor time, ms.
    fn cpu_idle_ms(&self) -> i64 {
        let quiet = |pair: &[Sample]| {
            let (wall, cpu) = (
                pair[1].at_ms - pair[0].at_ms,
                pair[1].cpu_ms - pair[0].cpu_ms,
            );
            cpu * 1_000 <= wall * IDLE_CPU_PERMILLE
        };
        let busy = self.samples.windows(2).rposition(|pair| !quiet(pair));
        let from = busy.map_or(0, |at| at + 1);
        self.last.at_ms - self.samples[from].at_ms
    }

    fn hangs(&self) -> Option<String> {
        let idle_ms = self
            .cpu_idle_ms()
            .min(self.since(|sample| (sample.io_bytes, sample.log_bytes)));
        let silent_ms = self.since(|sample| sample.model_bytes);
        if let Some(result_ms) = self.last.result_at_ms {
            let after_ms = self.last.at_ms - result_ms;
            if after_ms >= AFTER_RESULT_MS && idle_ms >= AFTER_RESULT_MS.min(after_ms) {
                return Some("it gave its result and does not end".to_owned());
            }
        }
        let asked_ms = self.since(|sample| sample.call_open);
        if self.last.call_open {
            let silent_ms = silent_ms.min(asked_ms);
            if silent_ms >= MODEL_SILENT_MS && idle_ms >= MODEL_SILENT_MS {
                return Some(format!(
                    "the model has sent nothing for {} minutes",
                    silent_ms / 60_000
                ));
            }
            return None;
        }
        let nothing_ms = idle_ms
            .min(silent_ms)
            .min(self.since(|sample| (sample.progress, sample.tree)));
        (nothing_ms >= IDLE_MS).then(|| {
            format!(
                "nothing of it has moved for {} minutes",
                nothing_ms / 60_000
            )
        })
    }

    /// The actions since something last came of them.
    fn fruitless(&self) -> Vec<u64> {
        let now = (self.last.progress, self.last.tree);
        let changed = self
            .samples
            .iter()
            .rposition(|sample| (sample.progress, sample.tree) != now);
        let from = changed.map_or(0, |at| at + 1);
        // The look at which the change was seen holds actions that led to it.
        let after = self.samples.get(from + 1..).unwrap_or_default();
        after
            .iter()
            .flat_map(|sample| sample.actions.iter().copied())
            .collect()
    }

    fn circles(&self) -> Option<String> {
        let actions = self.fruitless();
        for length in 1..=CYCLE_MAX {
            let rounds = if length == 1 {
                SAME_ACTION
            } else {
                CYCLE_ROUNDS
            };
            let tail = actions
                .len()
                .checked_sub(length * rounds)
                .map(|from| &actions[from..]);
            let Some(tail) = tail else { continue };
            let (first, rest) = tail.split_at(length);
            if rest.chunks(length).all(|round| round == first) {
                return Some(match length {
                    1 => format!("it has done the same {rounds} times in a row"),
                    _ => format!("it goes through the same {length} steps again and again"),
                });
            }
        }
        (actions.len() >= FRUITLESS)
            .then(|| format!("{} actions have changed nothing", actions.len()))
    }

    fn leads_nowhere(&self) -> Option<String> {
        let nothing_ms = self.since(|sample| (sample.progress, sample.tree));
        let said_ms = self.since(|sample| (sample.model_bytes, sample.log_bytes));
        (nothing_ms.min(said_ms) >= NO_PROGRESS_MS).then(|| {
            format!(
                "it is busy and nothing has come of it for {} hours",
                nothing_ms / 3_600_000
            )
        })
    }
}
