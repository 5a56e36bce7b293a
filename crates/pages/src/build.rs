//! One build: where it is, what each stage left, what was written, what was seen, what it cost.

use agentwright_api::{
    Approval, Build, BuildDetail, BuildState, BuildStatus, Cost, Event, LevelResult, StageResult,
    Time,
};
use agentwright_domain::build::{ApprovalMode, Stage};
use agentwright_domain::evidence::Verdict;
use askama::Template;

use crate::diff::{Shown, Step};
use crate::gate::{Ask, Gated};
use crate::parts::{self, Chip, Icon, Name, Tone, When, icon};
use crate::shell::{Live, Section, Shell};
use crate::words;

/// What the page is made of.
#[derive(Clone, Debug)]
pub struct BuildGiven {
    /// Everything of it.
    pub detail: BuildDetail,
    /// Its newest events, in order.
    pub events: Vec<Event>,
    /// What waits, when it waits.
    pub ask: Option<Ask>,
    /// What models cost, by role.
    pub costs: Vec<Cost>,
    /// What each commit changed, oldest first.
    pub steps: Vec<Step>,
    /// When it is tried again, while it waits for that.
    pub not_before: Option<Time>,
    /// Why it is taken as hanging, or as going round in circles, when it is.
    pub stalled: Option<String>,
    /// Who wrote the code, when it was no foundation.
    pub coder: Option<String>,
    /// What the person was told about what they did a moment ago.
    pub said: Option<String>,
    /// What could not be done.
    pub problem: Option<String>,
    /// Whether what it made can be deployed now.
    pub deployable: bool,
}

/// One step of the rail.
struct Stop {
    name: &'static str,
    class: &'static str,
    icon: Icon,
    word: &'static str,
    took: String,
}

/// One attempt of the timeline.
struct Entry {
    stage: String,
    attempt: u32,
    chip: Chip,
    summary: String,
    took: String,
    at: When,
}

/// One level's card.
struct Card {
    number: u8,
    name: &'static str,
    about: &'static str,
    chip: Chip,
    summary: String,
    log: String,
    facts: String,
    evidence: Vec<(String, String)>,
}

/// All levels of one try.
struct Round {
    attempt: u32,
    newest: bool,
    cards: Vec<Card>,
}

/// A line of the log.
struct Said {
    seq: i64,
    at: String,
    stage: String,
    text: String,
    class: &'static str,
}

/// A recorded decision.
struct Decided {
    chip: Chip,
    by: String,
    at: When,
    notes: Option<String>,
    subject: Name,
}

/// The page.
#[derive(Template)]
#[template(path = "build.html")]
pub struct BuildPage {
    shell: Shell,
    section: Section,
    live: Live,
    build: Build,
    chip: Chip,
    reason: Option<String>,
    ask: Option<Gated>,
    rail: Vec<Stop>,
    entries: Vec<Entry>,
    rounds: Vec<Round>,
    log: Vec<Said>,
    steps: Vec<Shown>,
    costs: Vec<(String, String, String)>,
    cost: String,
    decided: Vec<Decided>,
    digests: Vec<(&'static str, Name)>,
    preview: Vec<String>,
    artifacts: Vec<(String, String)>,
    repository: String,
    created: When,
    worked: String,
    mode: &'static str,
    coder: Option<String>,
    not_before: Option<When>,
    stalled: Option<String>,
    said: Option<String>,
    problem: Option<String>,
    deployable: bool,
}

impl BuildPage {
    /// The page of one build.
    pub fn new(shell: Shell, given: BuildGiven) -> Self {
        let now = shell.now_ms;
        let detail = given.detail;
        let build = detail.build;
        let known: i64 = given.costs.iter().map(|cost| cost.micro_usd).sum();
        Self {
            section: Section::Builds,
            live: if build.status().ended() {
                Live::Off
            } else {
                Live::Run {
                    id: build.id.as_str().to_owned(),
                    after: detail.seq,
                }
            },
            chip: words::state(&build.state),
            reason: reason(&build.state),
            ask: given.ask.map(|ask| Gated::whole(ask, now)),
            rail: rail(&build, &detail.stages),
            entries: detail
                .stages
                .iter()
                .rev()
                .map(|stage| entry(stage, now))
                .collect(),
            rounds: rounds(&build, detail.levels),
            log: given.events.iter().map(said).collect(),
            steps: given.steps.into_iter().rev().map(Shown::from).collect(),
            cost: words::usd(known),
            costs: given.costs.into_iter().map(cost).collect(),
            decided: detail
                .approvals
                .iter()
                .map(|approval| decided(approval, now))
                .collect(),
            digests: digests(&detail.digests),
            preview: detail.preview,
            artifacts: detail
                .artifacts
                .into_iter()
                .map(|kept| (kept.name, words::bytes(kept.bytes)))
                .collect(),
            repository: detail.repository,
            created: When::new(build.created_at, now),
            worked: words::took(build.worked_ms),
            mode: match build.mode {
                ApprovalMode::Auto => "asks only where something is a risk",
                ApprovalMode::Checkpoints => "asks after the spec and before it deploys",
                ApprovalMode::Final => "asks before it deploys",
            },
            coder: given.coder,
            not_before: given.not_before.map(|at| When::new(at, now)),
            stalled: given.stalled,
            said: given.said,
            problem: given.problem,
            deployable: given.deployable,
            build,
            shell,
        }
    }

    fn ended(&self) -> bool {
        self.build.status().ended()
    }

    fn spent(&self) -> bool {
        matches!(self.build.state, BuildState::Spent { .. })
    }
}

fn reason(state: &BuildState) -> Option<String> {
    match state {
        BuildState::Failed { reason, .. } => Some(reason.clone()),
        BuildState::Rejected { by, notes, .. } => Some(match notes {
            Some(notes) => format!("Rejected by {by}: {notes}"),
            None => format!("Rejected by {by}."),
        }),
        BuildState::Cancelled { by, reason } => Some(format!("Cancelled by {by}: {reason}")),
        BuildState::Spent { limit, .. } => Some(format!(
            "{limit} Raise it under Costs, then let the build go on."
        )),
        BuildState::Queued
        | BuildState::Running
        | BuildState::Resuming
        | BuildState::Waiting { .. }
        | BuildState::Completed => None,
    }
}

/// Every stage with how it stands; the newest attempt counts.
fn rail(build: &Build, stages: &[StageResult]) -> Vec<Stop> {
    let of_gate = |gate: &str| build.stage == gate;
    let mut stops = Vec::new();
    for stage in Stage::ALL {
        let newest = stages.iter().rev().find(|row| row.stage == stage.word());
        let all_ms: i64 = stages
            .iter()
            .filter(|row| row.stage == stage.word())
            .map(|row| row.duration_ms)
            .sum();
        let here = build.stage == stage.word() && !build.status().ended();
        let (class, name, word) = match (here, newest.map(|row| row.status.as_str())) {
            (true, _) => match build.status() {
                BuildStatus::Running => ("busy", "spin", "at work"),
                BuildStatus::Waiting => ("wait", "coin", "waits"),
                BuildStatus::Queued
                | BuildStatus::Resuming
                | BuildStatus::Completed
                | BuildStatus::Failed
                | BuildStatus::Rejected
                | BuildStatus::Cancelled => ("busy", "clock", "queued"),
            },
            (false, Some("done")) => ("good", "check", "done"),
            (false, Some("failed")) => ("bad", "cross", "failed"),
            (false, Some("skipped")) => ("calm", "skip", "skipped"),
            (false, Some("retried" | "parked")) => ("wait", "retry", "tried again"),
            (false, Some(_)) => ("calm", "ban", "ended"),
            (false, None) => ("todo", "dot", "to come"),
        };
        stops.push(Stop {
            name: stage.word(),
            class,
            icon: icon(name),
            word,
            took: newest.map_or_else(String::new, |_| words::took(all_ms)),
        });
        let gate = match stage {
            Stage::Spec => Some(("spec gate", "your yes")),
            Stage::Preview => Some(("deploy gate", "your yes")),
            Stage::Package
            | Stage::Generate
            | Stage::Review
            | Stage::Verify
            | Stage::Deploy
            | Stage::Register => None,
        };
        if let Some((_, name)) = gate.filter(|(gate, _)| of_gate(gate)) {
            let waits = build.status() == BuildStatus::Waiting;
            stops.push(Stop {
                name,
                class: if waits { "wait" } else { "bad" },
                icon: icon(if waits { "hand" } else { "cross" }),
                word: if waits { "waits for you" } else { "no" },
                took: String::new(),
            });
        }
    }
    stops
}

fn entry(stage: &StageResult, now_ms: i64) -> Entry {
    Entry {
        stage: stage.stage.clone(),
        attempt: stage.attempt,
        chip: words::attempt(&stage.status),
        summary: stage.summary.clone(),
        took: words::took(stage.duration_ms),
        at: When::new(stage.ended_at, now_ms),
    }
}

fn rounds(build: &Build, levels: Vec<LevelResult>) -> Vec<Round> {
    let newest = levels.iter().map(|level| level.attempt).max();
    let mut rounds: Vec<Round> = Vec::new();
    for level in levels {
        let attempt = level.attempt;
        let card = card(build.id.as_str(), level);
        match rounds.last_mut() {
            Some(round) if round.attempt == attempt => round.cards.push(card),
            Some(_) | None => rounds.push(Round {
                attempt,
                newest: Some(attempt) == newest,
                cards: vec![card],
            }),
        }
    }
    rounds.reverse();
    rounds
}

fn card(build: &str, level: LevelResult) -> Card {
    use agentwright_domain::evidence::Level;
    let (name, about) = match level.level {
        Level::Fault => ("Fault", "agentwright could not test it"),
        Level::Structure => ("Structure", "the files are there and can be read"),
        Level::Deployment => ("Deployment", "it starts in a place like the real one"),
        Level::Smoke => ("Smoke", "it does its work once without an error"),
        Level::Assertion => (
            "Assertion",
            "what was asked for really happens, and nothing else",
        ),
    };
    let chip = match level.verdict {
        Verdict::Pass => Chip::new(Tone::Good, "check", "Holds"),
        Verdict::Fail => Chip::new(Tone::Bad, "cross", "Fails"),
    };
    let ms = |ms: u64| words::took(i64::try_from(ms).unwrap_or(i64::MAX));
    let mut facts = vec![ms(level.duration_ms)];
    if level.cpu_ms > 0 {
        facts.push(format!("{} of processor time", ms(level.cpu_ms)));
    }
    if level.max_rss_bytes > 0 {
        facts.push(format!("{} of memory", words::bytes(level.max_rss_bytes)));
    }
    if !level.tier.is_empty() {
        facts.push(format!("sandbox tier {}", level.tier));
    }
    Card {
        number: level.number,
        name,
        about,
        chip,
        summary: level.summary,
        log: level.log,
        facts: facts.join(" · "),
        evidence: level
            .evidence
            .into_iter()
            .map(|kept| {
                let path = format!("api/v1/builds/{build}/artifacts/{}", kept.digest);
                (
                    path,
                    format!("{} ({})", kept.name, words::bytes(kept.bytes)),
                )
            })
            .collect(),
    }
}

fn said(event: &Event) -> Said {
    let class = match event.event.as_str() {
        "progress" => "",
        "gate.waiting" | "stage.retry" | "stage.repair" | "spec.amend" | "stage.parked"
        | "budget.spent" => "wait",
        "gate.rejected" => "bad",
        _ => "mark",
    };
    Said {
        seq: event.seq,
        at: parts::clock(event.at),
        stage: event.stage.clone(),
        text: event.message.clone(),
        class,
    }
}

fn cost(cost: Cost) -> (String, String, String) {
    let tokens = words::grouped(
        cost.input_tokens + cost.output_tokens + cost.cache_read_tokens + cost.cache_write_tokens,
    );
    let calls = words::count(usize::try_from(cost.calls).unwrap_or(0), "call", "calls");
    let money = match cost.unpriced {
        0 => words::usd(cost.micro_usd),
        n => format!("{} and {n} without a price", words::usd(cost.micro_usd)),
    };
    (cost.key, format!("{calls}, {tokens} tokens"), money)
}

fn decided(approval: &Approval, now_ms: i64) -> Decided {
    let chip = if approval.approved {
        Chip::new(Tone::Good, "check", "Yes")
    } else {
        Chip::new(Tone::Bad, "cross", "No")
    };
    let word = if approval.in_advance {
        "Yes, in advance"
    } else {
        ""
    };
    Decided {
        chip: if word.is_empty() {
            chip
        } else {
            chip.saying(word)
        },
        by: approval.by.clone(),
        at: When::new(approval.at, now_ms),
        notes: approval.notes.clone(),
        subject: Name::from(&approval.subject),
    }
}

fn digests(digests: &agentwright_api::Digests) -> Vec<(&'static str, Name)> {
    [
        ("Spec", &digests.spec),
        ("Acceptance", &digests.acceptance),
        ("Permissions", &digests.permissions),
        ("Code", &digests.code),
        ("Reviewed", &digests.reviewed),
        ("Verified", &digests.verified),
        ("Evidence", &digests.evidence),
    ]
    .into_iter()
    .filter_map(|(what, digest)| Some((what, Name::from(digest.as_ref()?))))
    .collect()
}
