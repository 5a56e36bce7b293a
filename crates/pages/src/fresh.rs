//! New build: a sentence, what it would become as it is typed, the inputs that are missing, a forecast.

use agentwright_api::{Plan, PlanVerdict};
use askama::Template;
use serde_json::Value;

use crate::money::quantile;
use crate::parts::{Chip, Icon, Name, Tone, icon};
use crate::shell::{Live, Section, Shell};
use crate::words::{self, Permit};

/// How much of a value is shown, in characters.
const VALUE_SHOWN: usize = 200;

/// What the person has put into the form so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The sentence.
    pub intent: String,
    /// Answers to what was missing.
    pub inputs: Vec<(String, String)>,
    /// The directory that relative paths are meant from.
    pub base_dir: String,
    /// Time zone.
    pub zone: String,
    /// `auto`, `checkpoints`, `final`.
    pub mode: String,
    /// Whether it is deployed in the end.
    pub auto_deploy: bool,
    /// Whether the target counts as production.
    pub production: bool,
    /// The deployment that it changes; empty for a new one.
    pub changes: String,
    /// A name for people; empty for a made-up one.
    pub label: String,
    /// Makes sending it twice one build.
    pub key: String,
}

/// How long and how much it will probably be, from builds that were made before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// How many builds it is drawn from.
    pub builds: usize,
    /// What these have in common with the planned one, in words that go behind their number.
    pub alike: String,
    /// Of how many of them something was paid to a model lately.
    pub paid: usize,
    /// Half of them took no longer, ms of work.
    pub median_ms: i64,
    /// Nine of ten took no longer.
    pub p90_ms: i64,
    /// Half of them cost no more, millionths of a dollar.
    pub median_micro_usd: i64,
}

/// The forecast from what builds took and cost before.
pub fn forecast(alike: String, mut worked_ms: Vec<i64>, mut micro_usd: Vec<i64>) -> Forecast {
    worked_ms.sort_unstable();
    micro_usd.sort_unstable();
    Forecast {
        builds: worked_ms.len(),
        alike,
        paid: micro_usd.len(),
        median_ms: quantile(&worked_ms, 50),
        p90_ms: quantile(&worked_ms, 90),
        median_micro_usd: quantile(&micro_usd, 50),
    }
}

/// What a sentence would become: also a fragment of its own, for the form as it is typed.
#[derive(Template)]
#[template(path = "matched.html")]
pub struct Matched {
    chip: Option<Chip>,
    reason: Option<String>,
    purpose: Option<String>,
    name: Option<String>,
    kind: Option<&'static str>,
    foundation: Option<String>,
    runs: Option<String>,
    permits: Vec<Permit>,
    shows_permits: bool,
    inputs: Vec<(String, String)>,
    missing: Vec<Question>,
    possible: Vec<(String, Option<String>)>,
    notes: Vec<String>,
    differs: Vec<(String, Option<String>, Option<String>)>,
    from_version: Option<u32>,
    probes: Option<String>,
    digest: Option<(String, Name)>,
    forecast: Option<String>,
    cost: Option<String>,
    icons: Icons,
}

impl askama::filters::HtmlSafe for Matched {}

struct Icons {
    clock: Icon,
    check: Icon,
    chart: Icon,
    help: Icon,
    bulb: Icon,
}

struct Question {
    name: String,
    question: String,
    examples: Vec<String>,
    value: String,
}

impl Matched {
    /// What the plan says; `runs` is when it will run, in words.
    pub fn new(
        plan: Plan,
        runs: Option<String>,
        asked: &Asked,
        forecast: Option<Forecast>,
    ) -> Self {
        let shows_permits = match plan.verdict {
            PlanVerdict::Ready | PlanVerdict::Incomplete => true,
            PlanVerdict::Model | PlanVerdict::Refused => false,
        };
        let (chip, probes) = (chip(plan.verdict), probes(&plan));
        let cost = cost(plan.verdict, forecast.as_ref());
        let missing = questions(plan.missing, asked);
        Self {
            chip: Some(chip),
            reason: plan.reason,
            purpose: plan.purpose,
            name: plan.name.map(|name| name.as_str().to_owned()),
            kind: plan.kind.map(words::kind),
            foundation: plan.foundation,
            runs,
            permits: words::permits(&plan.permissions),
            shows_permits,
            inputs: plan
                .inputs
                .iter()
                .filter(|(_, value)| !empty(value))
                .map(|(name, value)| (name.clone(), short(value)))
                .collect(),
            missing,
            possible: plan
                .possible
                .into_iter()
                .map(|choice| (choice.does, choice.example))
                .collect(),
            notes: plan.notes,
            from_version: plan.from_version,
            differs: plan
                .differs
                .into_iter()
                .map(|one| {
                    (
                        one.at,
                        one.before.as_ref().map(short),
                        one.after.as_ref().map(short),
                    )
                })
                .collect(),
            probes,
            digest: plan
                .permissions_digest
                .as_ref()
                .map(|digest| (digest.as_str().to_owned(), Name::from(digest))),
            forecast: forecast
                .filter(|forecast| forecast.builds > 0)
                .map(|forecast| {
                    format!(
                        "About {}, nine of ten within {} (drawn from {} {})",
                        words::took(forecast.median_ms),
                        words::took(forecast.p90_ms),
                        words::count(forecast.builds, "build", "builds"),
                        forecast.alike
                    )
                }),
            cost,
            icons: Icons::default(),
        }
    }

    /// While nothing is typed.
    pub fn empty() -> Self {
        Self {
            chip: None,
            reason: None,
            purpose: None,
            name: None,
            kind: None,
            foundation: None,
            runs: None,
            permits: Vec::new(),
            shows_permits: false,
            inputs: Vec::new(),
            missing: Vec::new(),
            possible: Vec::new(),
            notes: Vec::new(),
            differs: Vec::new(),
            from_version: None,
            probes: None,
            digest: None,
            forecast: None,
            cost: None,
            icons: Icons::default(),
        }
    }

    /// Where there is no plan because something in the form is wrong.
    pub fn refused(why: &str) -> Self {
        Self {
            chip: Some(Chip::new(Tone::Wait, "alert", "Not yet")),
            reason: Some(why.to_owned()),
            ..Self::empty()
        }
    }
}

impl Default for Icons {
    fn default() -> Self {
        Self {
            clock: icon("clock"),
            check: icon("check"),
            chart: icon("chart"),
            help: icon("help"),
            bulb: icon("bulb"),
        }
    }
}

fn chip(verdict: PlanVerdict) -> Chip {
    match verdict {
        PlanVerdict::Ready => Chip::new(Tone::Good, "check", "Can be built as it stands"),
        PlanVerdict::Model => Chip::new(Tone::Busy, "bulb", "A model will write it"),
        PlanVerdict::Incomplete => Chip::new(Tone::Wait, "help", "Something is missing"),
        PlanVerdict::Refused => Chip::new(Tone::Bad, "cross", "Cannot be built like this"),
    }
}

fn cost(verdict: PlanVerdict, forecast: Option<&Forecast>) -> Option<String> {
    match verdict {
        PlanVerdict::Ready | PlanVerdict::Incomplete => {
            Some("No model is needed: $0.00".to_owned())
        }
        PlanVerdict::Model => Some(match forecast {
            Some(forecast) if forecast.median_micro_usd > 0 => {
                format!(
                    "About {} (drawn from {} {}, paid for in the last 30 days)",
                    words::usd(forecast.median_micro_usd),
                    words::count(forecast.paid, "build", "builds"),
                    forecast.alike
                )
            }
            Some(_) | None => "What models cost is bounded by the budgets under Costs".to_owned(),
        }),
        PlanVerdict::Refused => None,
    }
}

/// How it is tested, counted.
fn probes(plan: &Plan) -> Option<String> {
    plan.acceptance.as_ref().map(|acceptance| {
        let cases = acceptance.cases.len();
        let probes: usize = acceptance.cases.iter().map(|case| case.probes.len()).sum();
        format!(
            "{} in {}, sealed before any code is written",
            words::count(probes, "probe", "probes"),
            words::count(cases, "case", "cases")
        )
    })
}

fn questions(asks: Vec<agentwright_api::Missing>, asked: &Asked) -> Vec<Question> {
    let answered = |name: &str| -> String {
        let given = asked.inputs.iter().find(|(known, _)| known == name);
        given.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let mut missing: Vec<Question> = Vec::new();
    for one in asks {
        missing.push(Question {
            value: answered(&one.name),
            name: one.name,
            question: one.question,
            examples: one.examples,
        });
    }
    missing
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    match text.char_indices().nth(VALUE_SHOWN) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

/// The page.
#[derive(Template)]
#[template(path = "fresh.html")]
pub struct Fresh {
    shell: Shell,
    section: Section,
    live: Live,
    asked: Asked,
    matched: Matched,
    starting: bool,
    problem: Option<String>,
    problems: Vec<(String, String)>,
    examples: Vec<(String, String)>,
}

impl Fresh {
    /// The form with what was put into it; `examples` are what each foundation does and a sentence for it.
    pub fn new(
        shell: Shell,
        asked: Asked,
        matched: Option<Matched>,
        examples: Vec<(String, String)>,
    ) -> Self {
        Self {
            shell,
            section: Section::New,
            live: Live::Off,
            starting: matched.is_none(),
            matched: matched.unwrap_or_else(Matched::empty),
            asked,
            problem: None,
            problems: Vec::new(),
            examples,
        }
    }

    /// The same with what is wrong: a sentence, and each wrong field with what is wrong with it.
    #[must_use]
    pub fn refused(mut self, problem: String, problems: Vec<(String, String)>) -> Self {
        self.problem = Some(problem);
        self.problems = problems;
        self
    }

    fn wrong(&self, field: &str) -> Option<&str> {
        let found = self.problems.iter().find(|(name, _)| name == field);
        found.map(|(_, problem)| problem.as_str())
    }
}
