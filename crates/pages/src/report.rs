//! A report: plots of its days, each drawn from the table beside it, and every build with what it took.

use agentwright_api::{QueueItem, Report, ReportBuild, ReportDay};
use askama::Template;

use crate::money::{Plot, Rows};
use crate::parts::When;
use crate::shell::{Live, Section, Shell};
use crate::words;

struct Ended {
    label: String,
    build: String,
    status: String,
    ended: When,
    outcome: String,
    took: String,
    estimated: String,
    worked: String,
    cost: String,
    cpu: String,
    memory: String,
    disk: String,
}

struct Item {
    name: String,
    build: Option<String>,
    words: String,
}

/// The page.
#[derive(Template)]
#[template(path = "report.html")]
pub struct ReportPage {
    shell: Shell,
    section: Section,
    live: Live,
    from: String,
    to: String,
    zone: String,
    night: Option<String>,
    rate: String,
    completed: u32,
    failed: u32,
    cancelled: u32,
    worked: String,
    spent: String,
    calls: String,
    plots: Vec<Plot>,
    ended: Vec<Ended>,
    active: Vec<Item>,
    queue: Vec<Item>,
    causes: Vec<(String, u32)>,
    problem: Option<String>,
}

impl ReportPage {
    /// The page of a report; `asked` is what stands in the form, from and to, and `problem` what was wrong with it.
    pub fn new(
        shell: Shell,
        report: Report,
        asked: (String, String),
        problem: Option<String>,
    ) -> Self {
        let now = shell.now_ms;
        let totals = &report.totals;
        let rate = totals.success_percent;
        Self {
            section: Section::Reports,
            live: Live::Off,
            from: asked.0,
            to: asked.1,
            zone: report.zone,
            night: report.night,
            rate: rate.map_or_else(|| "–".to_owned(), |percent| format!("{percent} %")),
            completed: totals.completed,
            failed: totals.failed,
            cancelled: totals.cancelled,
            worked: words::took(totals.worked_s * 1_000),
            spent: words::usd(totals.micro_usd),
            calls: words::grouped(totals.calls),
            plots: plots(&report.days),
            ended: report
                .ended
                .into_iter()
                .map(|one| ended(one, now))
                .collect(),
            active: report.active.into_iter().map(item).collect(),
            queue: report.queue.into_iter().map(item).collect(),
            causes: report
                .causes
                .into_iter()
                .map(|one| (one.cause, one.builds))
                .collect(),
            problem,
            shell,
        }
    }
}

fn ended(one: ReportBuild, now_ms: i64) -> Ended {
    let estimated = one.estimated_s;
    Ended {
        label: one.label.to_string(),
        build: one.build.as_str().to_owned(),
        status: one.status,
        ended: When::new(one.ended_at, now_ms),
        outcome: one.outcome,
        took: words::took(one.took_s * 1_000),
        estimated: estimated.map_or_else(|| "–".to_owned(), |s| words::took(s * 1_000)),
        worked: words::took(one.worked_s * 1_000),
        cost: words::usd(one.micro_usd),
        cpu: words::took(one.cpu_ms),
        memory: size(one.memory_bytes),
        disk: size(one.disk_bytes),
    }
}

fn size(n: i64) -> String {
    words::bytes(u64::try_from(n).unwrap_or(0))
}

fn item(item: QueueItem) -> Item {
    let words = match (&item.progress, &item.why) {
        (Some(it), _) => format!("{} %, {}, {}", it.percent, it.phase, it.verdict),
        (None, Some(why)) => why.words.clone(),
        (None, None) => item.status.replace('_', " "),
    };
    Item {
        name: item.name,
        build: item.build.map(|build| build.as_str().to_owned()),
        words,
    }
}

/// The days of a report, drawn.
fn plots(days: &[ReportDay]) -> Vec<Plot> {
    let rows = |of: &dyn Fn(&ReportDay) -> Vec<(f64, String)>| -> Rows {
        days.iter().map(|day| (day.date.clone(), of(day))).collect()
    };
    let count = |n: u32| (f64::from(n), n.to_string());
    // Of a plot: a double has room for every length, size and amount of a report.
    let length = |ms: i64| vec![(ms as f64, words::took(ms))];
    let megabytes = |n: i64| vec![(n as f64 / 1e6, size(n))];
    vec![
        Plot::new(
            ("plot-report-ends", "How builds ended", "builds a day"),
            ("stack", "count"),
            vec!["Completed", "Failed", "Ended by a person"],
            rows(&|day| {
                vec![
                    count(day.completed),
                    count(day.failed),
                    count(day.cancelled),
                ]
            }),
        ),
        Plot::new(
            ("plot-report-work", "Work", "a day, waiting not counted"),
            ("bars", "ms"),
            vec!["Work"],
            rows(&|day| length(day.worked_s * 1_000)),
        ),
        Plot::new(
            (
                "plot-report-spend",
                "Spend",
                "US dollars, of the builds that ended that day",
            ),
            ("bars", "usd"),
            vec!["Cost"],
            rows(&|day| vec![(day.micro_usd as f64 / 1e6, words::usd(day.micro_usd))]),
        ),
        Plot::new(
            ("plot-report-cpu", "Processor time", "of tests, a day"),
            ("bars", "ms"),
            vec!["Processor time"],
            rows(&|day| length(day.cpu_ms)),
        ),
        Plot::new(
            (
                "plot-report-memory",
                "Memory",
                "megabytes, the most that a test of the day held",
            ),
            ("bars", "count"),
            vec!["Memory"],
            rows(&|day| megabytes(day.memory_bytes)),
        ),
        Plot::new(
            (
                "plot-report-disk",
                "Disk",
                "megabytes that the builds of the day keep",
            ),
            ("bars", "count"),
            vec!["Kept"],
            rows(&|day| megabytes(day.disk_bytes)),
        ),
    ]
}
