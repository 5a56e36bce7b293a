//! What waits for a person: what exactly a yes is said to, and what it will be allowed to do.

use agentwright_api::{LevelResult, Time};
use agentwright_domain::approval::{Gate, GateReason, Subject};
use agentwright_domain::evidence::Verdict;
use agentwright_domain::spec::Permissions;
use askama::Template;

use crate::parts::{Csrf, Icon, Name, When, icon};
use crate::words::{self, Permit};

/// The names of the fields that say what a decision's form was made of; for words only, the subject's digest counts.
pub struct Saw {
    /// The spec.
    pub spec: &'static str,
    /// The code.
    pub code: &'static str,
    /// What verify saw.
    pub evidence: &'static str,
    /// Where it goes.
    pub target: &'static str,
    /// Under which policy.
    pub policy: &'static str,
}

/// See [`Saw`].
pub const SAW: Saw = Saw {
    spec: "saw.spec",
    code: "saw.code",
    evidence: "saw.evidence",
    target: "saw.target",
    policy: "saw.policy",
};

/// A build at a gate.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The build.
    pub id: String,
    /// Its label.
    pub label: String,
    /// The sentence.
    pub intent: String,
    /// At which gate.
    pub gate: Gate,
    /// Why.
    pub reasons: Vec<GateReason>,
    /// What is asked; its digest goes into the form.
    pub subject: Option<Subject>,
    /// Since when.
    pub since: Time,
    /// What it will be, in a sentence.
    pub purpose: Option<String>,
    /// When it will run, in words.
    pub runs: Option<String>,
    /// Where it will be deployed.
    pub target: String,
    /// What it will be allowed to touch.
    pub permissions: Option<Permissions>,
    /// What the dry run said.
    pub preview: Vec<String>,
    /// The levels of verify so far.
    pub levels: Vec<LevelResult>,
    /// What the form carries.
    pub csrf: String,
    /// Whether the person who looks may decide.
    pub may_decide: bool,
}

/// The same, ready to be shown.
#[derive(Template)]
#[template(path = "gate.html")]
pub struct Gated {
    id: String,
    label: String,
    intent: String,
    gate: &'static str,
    question: &'static str,
    reasons: Vec<String>,
    subject: Option<String>,
    parts: Vec<(&'static str, &'static str, Name)>,
    since: When,
    purpose: Option<String>,
    runs: Option<String>,
    target: String,
    permits: Option<Vec<Permit>>,
    preview: Vec<String>,
    evidence: Option<String>,
    csrf: Csrf,
    may_decide: bool,
    brief: bool,
    /// Which headings it has: 2 below a page's own, 3 below a section's.
    level: u8,
    icons: Icons,
}

impl askama::filters::HtmlSafe for Gated {}

struct Icons {
    hand: Icon,
    check: Icon,
    cross: Icon,
    clock: Icon,
    rocket: Icon,
    alert: Icon,
}

impl Gated {
    /// In a list whose heading is of the level above: with a link to the build.
    pub(crate) fn brief(ask: Ask, now_ms: i64, level: u8) -> Self {
        Self {
            brief: true,
            level,
            ..Self::whole(ask, now_ms)
        }
    }

    /// On the build's own page.
    pub(crate) fn whole(ask: Ask, now_ms: i64) -> Self {
        Self {
            gate: words::gate(ask.gate),
            question: match ask.gate {
                Gate::Spec => "Shall this be built?",
                Gate::Deploy => "Shall this be deployed?",
            },
            reasons: ask.reasons.iter().filter_map(words::reason).collect(),
            parts: ask.subject.as_ref().map(parts).unwrap_or_default(),
            subject: ask
                .subject
                .map(|subject| subject.digest.as_str().to_owned()),
            since: When::new(ask.since, now_ms),
            permits: ask.permissions.as_ref().map(words::permits),
            evidence: evidence(&ask.levels),
            csrf: Csrf { csrf: ask.csrf },
            id: ask.id,
            label: ask.label,
            intent: ask.intent,
            purpose: ask.purpose,
            runs: ask.runs,
            target: ask.target,
            preview: ask.preview,
            may_decide: ask.may_decide,
            brief: false,
            level: 2,
            icons: Icons {
                hand: icon("hand"),
                check: icon("check"),
                cross: icon("cross"),
                clock: icon("clock"),
                rocket: icon("rocket"),
                alert: icon("alert"),
            },
        }
    }
}

fn parts(subject: &Subject) -> Vec<(&'static str, &'static str, Name)> {
    [
        ("Spec", SAW.spec, Some(&subject.spec)),
        ("Code", SAW.code, subject.code.as_ref()),
        ("Evidence", SAW.evidence, subject.evidence.as_ref()),
        ("Target", SAW.target, Some(&subject.target)),
        ("Policy", SAW.policy, Some(&subject.policy)),
    ]
    .into_iter()
    .filter_map(|(what, field, digest)| Some((what, field, Name::from(digest?))))
    .collect()
}

/// `4 of 4 levels held`, of the newest try.
fn evidence(levels: &[LevelResult]) -> Option<String> {
    let newest = levels.last()?.attempt;
    let ours: Vec<&LevelResult> = levels
        .iter()
        .filter(|level| level.attempt == newest && level.number > 0)
        .collect();
    let held = ours
        .iter()
        .filter(|level| level.verdict == Verdict::Pass)
        .count();
    Some(format!("{held} of {} levels held", ours.len()))
}
