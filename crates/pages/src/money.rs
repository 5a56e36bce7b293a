//! Costs and insights: every plot is drawn from the table beside it, so that both say the same.

use agentwright_api::{BudgetNow, BuildStatus, Cost, Time};
use agentwright_domain::spend::BudgetScope;
use askama::Template;
use std::collections::BTreeMap;

use crate::home::share;
use crate::shell::{Live, Section, Shell};
use crate::words;

const DAY_MS: i64 = 86_400_000;
/// Lines of one table of costs.
const LINES_MAX: usize = 50;

/// A table that is drawn as well: the first column is the x axis.
#[derive(Template)]
#[template(path = "plot.html")]
pub(crate) struct Plot {
    id: &'static str,
    title: &'static str,
    about: String,
    /// `bars`, `stack` or `lines`.
    drawn: &'static str,
    /// `usd`, `ms`, `percent` or `count`: how the y axis is labelled.
    unit: &'static str,
    columns: Vec<&'static str>,
    rows: Rows,
}

impl askama::filters::HtmlSafe for Plot {}

impl Plot {
    /// Id, title and what it is of; how it is drawn and in what; its columns and rows.
    pub(crate) fn new(
        (id, title, about): (&'static str, &'static str, &str),
        (drawn, unit): (&'static str, &'static str),
        columns: Vec<&'static str>,
        rows: Rows,
    ) -> Self {
        Self {
            id,
            title,
            about: about.to_owned(),
            drawn,
            unit,
            columns,
            rows,
        }
    }
}

struct CostLine {
    key: String,
    calls: String,
    tokens: String,
    money: String,
    unpriced: i64,
}

struct BudgetLine {
    scope: BudgetScope,
    name: &'static str,
    usd: String,
    calls: String,
    tokens: String,
    spent: Option<String>,
    share: i64,
}

/// What models cost.
#[derive(Template)]
#[template(path = "costs.html")]
pub struct Costs {
    shell: Shell,
    section: Section,
    live: Live,
    days: u32,
    total: String,
    calls: String,
    unpriced: i64,
    plot: Plot,
    tables: Vec<(&'static str, &'static str, Vec<CostLine>)>,
    budgets: Vec<BudgetLine>,
    said: Option<String>,
    problem: Option<String>,
    empty: bool,
}

/// What the page of costs is made of.
#[derive(Clone, Debug, Default)]
pub struct CostsGiven {
    /// Over how many days.
    pub days: u32,
    /// By day; the key is the date.
    pub by_day: Vec<Cost>,
    /// By build.
    pub by_build: Vec<Cost>,
    /// By role.
    pub by_role: Vec<Cost>,
    /// By provider and model.
    pub by_model: Vec<Cost>,
    /// The budgets.
    pub budgets: Vec<BudgetNow>,
    /// What the person is told about what they did.
    pub said: Option<String>,
    /// What could not be done.
    pub problem: Option<String>,
}

impl Costs {
    /// The page.
    pub fn new(shell: Shell, given: CostsGiven) -> Self {
        let total: i64 = given.by_day.iter().map(|cost| cost.micro_usd).sum();
        let calls: i64 = given.by_day.iter().map(|cost| cost.calls).sum();
        let days = dates(shell.now_ms, given.days);
        let of_day: BTreeMap<&str, &Cost> = given
            .by_day
            .iter()
            .map(|cost| (cost.key.as_str(), cost))
            .collect();
        let rows = days.into_iter().map(|day| {
            let micro = of_day.get(day.as_str()).map_or(0, |cost| cost.micro_usd);
            (day, vec![(dollars(micro), words::usd(micro))])
        });
        let plot = Plot {
            id: "plot-costs",
            title: "Cost by day",
            about: format!("US dollars, the last {} days, UTC", given.days),
            drawn: "bars",
            unit: "usd",
            columns: vec!["Cost"],
            rows: rows.collect(),
        };
        let lines = |list: Vec<Cost>| -> Vec<CostLine> {
            list.into_iter().take(LINES_MAX).map(cost_line).collect()
        };
        Self {
            section: Section::Costs,
            live: Live::All,
            days: given.days,
            total: words::usd(total),
            calls: words::grouped(calls),
            unpriced: given.by_day.iter().map(|cost| cost.unpriced).sum(),
            empty: given.by_day.is_empty(),
            plot,
            tables: vec![
                ("By build", "Build", lines(given.by_build)),
                ("By model", "Model", lines(given.by_model)),
                ("By role", "Role", lines(given.by_role)),
            ],
            budgets: given.budgets.iter().map(budget_line).collect(),
            said: given.said,
            problem: given.problem,
            shell,
        }
    }

    fn range(&self) -> Range {
        range("costs", self.days)
    }
}

fn cost_line(cost: Cost) -> CostLine {
    let tokens =
        cost.input_tokens + cost.output_tokens + cost.cache_read_tokens + cost.cache_write_tokens;
    CostLine {
        key: cost.key,
        calls: words::grouped(cost.calls),
        tokens: words::grouped(tokens),
        money: words::usd(cost.micro_usd),
        unpriced: cost.unpriced,
    }
}

fn budget_line(now: &BudgetNow) -> BudgetLine {
    let number = |limit: Option<i64>| limit.map_or_else(String::new, |limit| limit.to_string());
    let spent = now.spent.map(|spent| spent.micro_usd);
    BudgetLine {
        scope: now.scope,
        name: match now.scope {
            BudgetScope::Organization => "Everything, for all time",
            BudgetScope::Day => "Each day",
            BudgetScope::Build => "Each build",
            BudgetScope::Stage => "Each stage of a build",
        },
        usd: now.budget.micro_usd.map_or_else(String::new, plain_usd),
        calls: number(now.budget.calls),
        tokens: number(now.budget.tokens),
        share: match (spent, now.budget.micro_usd) {
            (Some(spent), Some(limit)) => share(spent, limit),
            (Some(_), None) | (None, Some(_)) | (None, None) => 0,
        },
        spent: spent.map(words::usd),
    }
}

/// The choice of how far a page looks back.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<p class="range" role="group" aria-label="How far back">{% for n in choices %}<a href="{{ page }}?days={{ n }}" class="button"{% if *n == days %} aria-current="true"{% endif %}>{{ n }} days</a>{% endfor %}</p>"#
)]
struct Range {
    page: &'static str,
    days: u32,
    choices: [u32; 3],
}

impl askama::filters::HtmlSafe for Range {}

fn range(page: &'static str, days: u32) -> Range {
    Range {
        page,
        days,
        choices: [7, 30, 90],
    }
}

/// An amount as it is typed into a form: `1.25`.
fn plain_usd(micro: i64) -> String {
    words::exact_usd(micro).replace('$', "")
}

fn dollars(micro: i64) -> f64 {
    // Money of a plot: a double has room for every amount that is a budget.
    micro as f64 / 1e6
}

/// The dates of the last so many days, UTC, oldest first.
fn dates(now_ms: i64, days: u32) -> Vec<String> {
    let today = now_ms.div_euclid(DAY_MS);
    let first = today - i64::from(days.max(1)) + 1;
    (first..=today).map(date).collect()
}

fn date(day: i64) -> String {
    Time::from_ms(day.saturating_mul(DAY_MS))
        .to_string()
        .chars()
        .take(10)
        .collect()
}

/// One ended build, as insights count it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub status: BuildStatus,
    /// Where.
    pub stage: String,
    /// When it ended, ms.
    pub ended_at_ms: i64,
    /// How long it was worked on, ms.
    pub worked_ms: i64,
    /// How often its code was written anew after it did not hold.
    pub repairs: u32,
}

/// What insights are made of.
#[derive(Clone, Debug, Default)]
pub struct InsightsGiven {
    /// Over how many days.
    pub days: u32,
    /// Builds that ended in them.
    pub finished: Vec<Finished>,
    /// What models cost, by day.
    pub by_day: Vec<Cost>,
}

/// How builds go.
#[derive(Template)]
#[template(path = "insights.html")]
pub struct Insights {
    shell: Shell,
    section: Section,
    live: Live,
    days: u32,
    ended: usize,
    rate: String,
    median: String,
    p90: String,
    first_try: String,
    plots: Vec<Plot>,
    where_failed: Vec<(String, usize)>,
}

impl Insights {
    /// The page.
    pub fn new(shell: Shell, given: &InsightsGiven) -> Self {
        let good: Vec<&Finished> = of(&given.finished, BuildStatus::Completed);
        let bad: Vec<&Finished> = of(&given.finished, BuildStatus::Failed);
        let mut worked: Vec<i64> = good.iter().map(|one| one.worked_ms).collect();
        worked.sort_unstable();
        let at_once = good.iter().filter(|one| one.repairs == 0).count();
        let mut stages: BTreeMap<String, usize> = BTreeMap::new();
        for one in &bad {
            *stages.entry(one.stage.clone()).or_default() += 1;
        }
        let mut where_failed: Vec<(String, usize)> = stages.into_iter().collect();
        where_failed.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        Self {
            section: Section::Insights,
            live: Live::All,
            days: given.days,
            ended: given.finished.len(),
            rate: percent(good.len(), good.len() + bad.len()),
            median: words::took(quantile(&worked, 50)),
            p90: words::took(quantile(&worked, 90)),
            first_try: percent(at_once, good.len()),
            plots: plots(&shell, given),
            where_failed,
            shell,
        }
    }

    fn range(&self) -> Range {
        range("insights", self.days)
    }
}

fn of(finished: &[Finished], status: BuildStatus) -> Vec<&Finished> {
    finished.iter().filter(|one| one.status == status).collect()
}

fn percent(part: usize, all: usize) -> String {
    match all {
        0 => "–".to_owned(),
        all => format!("{} %", part * 100 / all),
    }
}

/// The value that so many of a hundred do not exceed; of a sorted list, 0 of an empty one.
pub(crate) fn quantile(sorted: &[i64], hundredths: usize) -> i64 {
    let last = sorted.len().saturating_sub(1);
    let at = (sorted.len() * hundredths).div_ceil(100).saturating_sub(1);
    sorted.get(at.min(last)).copied().unwrap_or(0)
}

/// The rows of one plot.
pub(crate) type Rows = Vec<(String, Vec<(f64, String)>)>;

/// How builds ended, how long they took and how often they were repaired, day by day.
fn daily(days: &[String], given: &InsightsGiven) -> [Rows; 3] {
    let on = |day: &str| -> Vec<&Finished> {
        let all = given.finished.iter();
        all.filter(|one| date(one.ended_at_ms.div_euclid(DAY_MS)) == day)
            .collect()
    };
    let count = |n: usize| (u32::try_from(n).map_or(0.0, f64::from), n.to_string());
    let (mut ends, mut lengths, mut repairs) = (Vec::new(), Vec::new(), Vec::new());
    for day in days {
        let that_day = on(day);
        let is = |status| that_day.iter().filter(|one| one.status == status).count();
        let (good, bad) = (is(BuildStatus::Completed), is(BuildStatus::Failed));
        ends.push((
            day.clone(),
            vec![count(good), count(bad), count(that_day.len() - good - bad)],
        ));
        let mut worked: Vec<i64> = that_day
            .iter()
            .filter(|one| one.status == BuildStatus::Completed)
            .map(|one| one.worked_ms)
            .collect();
        worked.sort_unstable();
        let length = |ms: i64| (milliseconds(ms), words::took(ms));
        lengths.push((
            day.clone(),
            vec![length(quantile(&worked, 50)), length(quantile(&worked, 90))],
        ));
        let rounds: u32 = that_day.iter().map(|one| one.repairs).sum();
        repairs.push((day.clone(), vec![(f64::from(rounds), rounds.to_string())]));
    }
    [ends, lengths, repairs]
}

fn plots(shell: &Shell, given: &InsightsGiven) -> Vec<Plot> {
    let days = dates(shell.now_ms, given.days);
    let [ends, lengths, repairs] = daily(&days, given);
    let costs: BTreeMap<&str, i64> = given
        .by_day
        .iter()
        .map(|cost| (cost.key.as_str(), cost.micro_usd))
        .collect();
    let money = days.iter().map(|day| {
        let micro = costs.get(day.as_str()).copied().unwrap_or(0);
        (day.clone(), vec![(dollars(micro), words::usd(micro))])
    });
    let plot = |id, title, about: &str, drawn, unit, columns, rows| Plot {
        id,
        title,
        about: about.to_owned(),
        drawn,
        unit,
        columns,
        rows,
    };
    let ended = vec!["Completed", "Failed", "Ended by a person"];
    vec![
        plot(
            "plot-ends",
            "How builds ended",
            "builds a day",
            "stack",
            "count",
            ended,
            ends,
        ),
        plot(
            "plot-lengths",
            "How long completed builds took",
            "work, waiting not counted",
            "lines",
            "ms",
            vec!["Median", "Nine of ten"],
            lengths,
        ),
        plot(
            "plot-repairs",
            "Repair rounds",
            "code written anew because a test did not hold, a day",
            "bars",
            "count",
            vec!["Rounds"],
            repairs,
        ),
        plot(
            "plot-spend",
            "Spend",
            "US dollars a day",
            "bars",
            "usd",
            vec!["Cost"],
            money.collect(),
        ),
    ]
}

fn milliseconds(ms: i64) -> f64 {
    // A build is stopped after hours: far below what a double counts exactly.
    ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_few_and_many_values() {
        assert_eq!(quantile(&[], 50), 0);
        assert_eq!(quantile(&[7], 90), 7);
        let ten: Vec<i64> = (1..=10).collect();
        assert_eq!(
            (quantile(&ten, 50), quantile(&ten, 90), quantile(&ten, 100)),
            (5, 9, 10)
        );
    }

    #[test]
    fn days_are_whole_and_end_today() {
        let days = dates(1_795_298_400_123, 3);
        assert_eq!(days, ["2026-11-19", "2026-11-20", "2026-11-21"]);
    }
}
