//! What is known of a row of a connected table, and what its build means for it (requirements A1, A9, A10). Pure.

use agentwright_backlog::{BuilderStatus, Change, Level, Line, Row};
use agentwright_domain::approval::Gate;
use agentwright_domain::build::{BacklogRow, FailureClass, Phase, Stage};
use agentwright_domain::evidence::Verdict;
use agentwright_domain::ids::Slug;
use agentwright_domain::run::{Run, RunState};
use agentwright_store::TestResultRow;
use serde::{Deserialize, Serialize};

/// Who ends the build of a row that was edited or taken away.
pub(super) const NAME: &str = "the connected table";
/// The pause after a row was released for the first time; it doubles with each further one.
const RELEASED_MS: i64 = 5 * 60_000;
/// The longest pause after a release.
const RELEASED_MAX_MS: i64 = 24 * 3_600_000;
/// The longest text of one row of results, in bytes.
const LOG_MAX: usize = 60_000;

/// What holds for every row (requirements A3); that an answer is code only, whoever asks for code says.
const STANDING: &str = "Requirements:
- It handles its own errors, ends with a non-zero code where it cannot do its work, and logs to standard output.
- Secrets are never hard-coded. Each one is declared with its reference (vault:MOUNT/PATH#FIELD, env:NAME or file:/PATH) and read from its variable.
- Where a script needs more than the standard library, a Dockerfile says so.";

/// What is known of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// Whose it is.
    pub(super) hold: Hold,
    /// What it said when it was claimed, or last seen.
    pub(super) said: Said,
    /// The `builder_status` that stands there because of us.
    pub(super) stands: BuilderStatus,
    /// Rows of results that were written.
    pub(super) lines: usize,
    /// A write whose end was not heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Pending>,
    /// Its build was submitted: it is never submitted again.
    #[serde(default)]
    pub(super) submitted: bool,
    /// It was edited while it was built: when its build has ended it is released.
    #[serde(default)]
    pub(super) anew: bool,
    /// How often it was released before anything was generated.
    #[serde(default)]
    pub(super) releases: u32,
    /// Not claimed before this time, ms.
    #[serde(default)]
    pub(super) not_before_ms: i64,
}

/// Whose a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Hold {
    /// Nobody's: it waits.
    Seen,
    /// Ours.
    Mine,
    /// It was ours; everything is written.
    Ended,
    /// It was ours until somebody else changed or removed it: nothing more is written.
    Left,
}

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) name: String,
    pub(super) task_description: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) infrastructure_requirement: Option<String>,
}

/// A write on its way: what is known when it was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) ticket: i64,
    pub(super) hold: Hold,
    pub(super) stands: BuilderStatus,
    pub(super) lines: usize,
}

/// What should stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) status: BuilderStatus,
    /// Whose it is then.
    pub(super) hold: Hold,
    /// Why it failed, where no level says so: a row of results with level 0.
    pub(super) fault: Option<String>,
}

impl Said {
    pub(super) fn of(row: &Row) -> Self {
        Self {
            name: row.name.clone(),
            task_description: row.task_description.clone(),
            kind: row.kind.clone(),
            infrastructure_requirement: row.infrastructure_requirement.clone(),
        }
    }

    /// The columns in which a row no longer says the same.
    pub(super) fn edited(&self, row: &Row) -> Vec<&'static str> {
        let now = Self::of(row);
        [
            ("name", self.name != now.name),
            (
                "task_description",
                self.task_description != now.task_description,
            ),
            ("type", self.kind != now.kind),
            (
                "infrastructure_requirement",
                self.infrastructure_requirement != now.infrastructure_requirement,
            ),
        ]
        .into_iter()
        .filter_map(|(column, differs)| differs.then_some(column))
        .collect()
    }

    /// The specification alone: what a foundation may cover.
    pub(super) fn sentence(&self) -> String {
        let text = self.task_description.trim();
        if text.is_empty() {
            self.name.trim()
        } else {
            text
        }
        .to_owned()
    }

    /// Everything that the row says (requirements A3).
    pub(super) fn intent(&self) -> String {
        let infrastructure = self
            .infrastructure_requirement
            .as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty());
        let infrastructure =
            infrastructure.map_or_else(String::new, |text| format!("Infrastructure: {text}\n"));
        let whole = format!(
            "Build a {} automation with the following specification.\n\nName: {}\n{infrastructure}\n{STANDING}\n\nSpecification:\n{}",
            self.kind,
            self.name.trim(),
            self.sentence()
        );
        whole
            .chars()
            .take(agentwright_domain::build::INTENT_MAX_CHARS)
            .collect()
    }

    pub(super) fn of_build(&self, source: &Slug, id: i64) -> BacklogRow {
        BacklogRow {
            source: source.clone(),
            id,
            name: self.name.clone(),
            kind: self.kind.clone(),
        }
    }
}

impl Known {
    /// A row that waits.
    pub(super) fn seen(row: &Row) -> Self {
        Self {
            hold: Hold::Seen,
            said: Said::of(row),
            stands: BuilderStatus::NotStarted,
            lines: 0,
            pending: None,
            submitted: false,
            anew: false,
            releases: 0,
            not_before_ms: 0,
        }
    }

    /// Whether something is still to be written of it.
    pub(super) fn open(&self) -> bool {
        self.hold == Hold::Mine || self.pending.is_some()
    }

    /// A write was done.
    pub(super) fn done(&mut self, now_ms: i64) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let released = self.hold == Hold::Mine && pending.hold == Hold::Seen;
        self.hold = pending.hold;
        self.stands = pending.stands;
        self.lines = pending.lines;
        if released {
            if !self.anew {
                self.releases += 1;
                let doubled = RELEASED_MS << (self.releases - 1).min(10);
                self.not_before_ms = now_ms + doubled.min(RELEASED_MAX_MS);
            }
            (self.lines, self.submitted, self.anew) = (0, false, false);
        }
    }

    /// Whether the row must be visited for this build.
    pub(super) fn behind(&self, run: Option<&Run>) -> bool {
        if self.pending.is_some() {
            return true;
        }
        self.hold == Hold::Mine && (!self.submitted || wanted(run, self.anew).status != self.stands)
    }
}

/// What the build of a row means for it. Without a run that was submitted: it is no longer kept.
pub(super) fn wanted(run: Option<&Run>, anew: bool) -> Wanted {
    let of = |status| Wanted {
        status,
        hold: Hold::Mine,
        fault: None,
    };
    let failed = |fault: Option<String>| Wanted {
        status: BuilderStatus::Failed,
        hold: Hold::Ended,
        fault,
    };
    let released = |fault| Wanted {
        status: BuilderStatus::NotStarted,
        hold: Hold::Seen,
        fault,
    };
    let Some(RunState::Build(state)) = run.map(|run| &run.state) else {
        return failed(Some("its build is no longer kept".to_owned()));
    };
    match &state.phase {
        Phase::Stage {
            stage: Stage::Deploy | Stage::Register,
            ..
        } => of(BuilderStatus::Approved),
        Phase::Stage {
            stage:
                Stage::Spec
                | Stage::Package
                | Stage::Generate
                | Stage::Review
                | Stage::Verify
                | Stage::Preview,
            ..
        }
        | Phase::Spent { .. } => of(BuilderStatus::Building),
        Phase::Gate { .. } => of(BuilderStatus::AwaitingApproval),
        Phase::Completed { deployed: true } => Wanted {
            hold: Hold::Ended,
            ..of(BuilderStatus::Deployed)
        },
        Phase::Completed { deployed: false } => failed(Some("it was not deployed".to_owned())),
        // Before anything was generated the claim is released, so that another try is made.
        Phase::Failed {
            stage: stage @ (Stage::Spec | Stage::Package),
            class: FailureClass::Fault,
            reason,
        } => released(Some(format!("{}: {reason}", stage.word()))),
        Phase::Failed {
            stage: Stage::Verify,
            class: FailureClass::Tests,
            ..
        } => failed(None),
        Phase::Failed { stage, reason, .. } => failed(Some(format!("{}: {reason}", stage.word()))),
        Phase::Rejected { gate, by, notes } => {
            let notes = notes
                .as_deref()
                .map_or_else(String::new, |notes| format!(": {notes}"));
            let what = match gate {
                Gate::Spec => "the spec was",
                Gate::Deploy => "promotion was",
            };
            failed(Some(format!("{what} rejected by {by}{notes}")))
        }
        Phase::Cancelled { by, .. } if anew && by == NAME => released(None),
        Phase::Cancelled { by, reason } => failed(Some(format!("cancelled by {by}: {reason}"))),
    }
}

/// What is to be written to come from what stands there to what should; `None` when nothing is.
pub(super) fn change(
    id: i64,
    known: &Known,
    wanted: &Wanted,
    results: &[TestResultRow],
) -> Option<Change> {
    let mut lines: Vec<Line> = results.iter().map(line).collect();
    // A failed level says itself why.
    let told = lines.iter().any(|line| line.status == Level::Fail);
    let fault = wanted.fault.clone().or_else(|| {
        (wanted.status == BuilderStatus::Failed && !told).then(|| "its build failed".to_owned())
    });
    lines.extend(fault.map(|log| Line {
        level: 0,
        status: Level::Fail,
        log: cut(log),
    }));
    let lines = lines.split_off(known.lines.min(lines.len()));
    let to = path(known.stands, wanted.status);
    (!to.is_empty() || !lines.is_empty()).then_some(Change {
        id,
        from: known.stands,
        to,
        lines,
    })
}

/// Every status on the way: nobody who watches the row misses one.
fn path(from: BuilderStatus, to: BuilderStatus) -> Vec<BuilderStatus> {
    use BuilderStatus::{Approved, AwaitingApproval, Building, Deployed, Queued};
    if from == to {
        return Vec::new();
    }
    let order = [Queued, Building, AwaitingApproval, Approved, Deployed];
    let at = |one| order.iter().position(|known| *known == one);
    match (at(from), at(to)) {
        (Some(from), Some(to)) if from < to => order[from + 1..=to].to_vec(),
        _ => vec![to],
    }
}

fn line(row: &TestResultRow) -> Line {
    let result = &row.result;
    Line {
        level: result.level.number(),
        status: match result.verdict {
            Verdict::Pass => Level::Pass,
            Verdict::Fail => Level::Fail,
        },
        log: cut(format!("{}\n{}", result.summary, result.log)),
    }
}

/// At most [`LOG_MAX`] bytes, the beginning.
fn cut(mut text: String) -> String {
    if text.len() > LOG_MAX {
        let mut at = LOG_MAX;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.truncate(at);
        text.push_str("\n[cut]");
    }
    text
}
