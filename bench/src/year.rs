//! A year of heartbeats by a clock that is moved: does the memory stay as it is?
//!
//! The server is this process: its clock goes on by half an hour at a time, and at each the queue is looked at, as its
//! heartbeat does. Each day items come, are built and are removed when they are done; the others wait, for every
//! reason there is.

use crate::served::{Empty, resident_mb};
use agentwright_api::{BeatMode, BeatRequest, Client, QueueAdd, QueueAdds, QueuePriority};
use agentwright_domain::build::ApprovalMode;
use agentwright_domain::run::RunKind;
use agentwright_engine::Executor;
use agentwright_server::daemon::Served;
use agentwright_server::{Clocks, Config, Work};
use agentwright_testkit::TestClock;
use anyhow::{Result, ensure};
use clap::Parser;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LOOK_MS: i64 = 30 * 60 * 1_000;
const LOOKS_A_DAY: usize = 48;
const DAYS_A_MONTH: usize = 30;
/// Midnight of 2026-01-01 in UTC, ms.
const BEGIN_MS: i64 = 1_767_225_600_000;
/// How long builds of one look may take.
const SETTLED: Duration = Duration::from_secs(30);

#[derive(Parser)]
pub(crate) struct Options {
    /// Months of 30 days.
    #[arg(long, default_value_t = 12)]
    months: usize,
    /// Items that wait all the time.
    #[arg(long, default_value_t = 200)]
    items: usize,
    /// Items that come each day.
    #[arg(long, default_value_t = 4)]
    daily: usize,
}

pub(crate) async fn run(options: &Options) -> Result<Value> {
    let dir = tempfile::tempdir()?;
    let mut config = Config::plain(&dir.path().join("data"));
    config.settings.queue.dir = Some(dir.path().join("queue"));
    config.settings.queue.mode = ApprovalMode::Auto;
    std::fs::create_dir(dir.path().join("queue"))?;
    let client = Client::unix(config.socket());
    let clock = TestClock::at(BEGIN_MS);
    let clocks = Clocks {
        clock: Arc::new(clock.clone()),
        store: clock.for_store(),
    };
    let executor: Arc<dyn Executor> = Arc::new(Empty {
        stage: Duration::ZERO,
    });
    let work = Work::Given(vec![(RunKind::Build, executor)]);
    let served = Served::start_by(config, work, clocks).await?;
    client.queue_add(&waiting(options.items)).await?;

    let (since, mut built) = (Instant::now(), 0);
    let mut months = Vec::new();
    for month in 0..options.months {
        for day in 0..DAYS_A_MONTH {
            client
                .queue_add(&coming(options.daily, month * DAYS_A_MONTH + day))
                .await?;
            for _ in 0..LOOKS_A_DAY {
                clock.advance(LOOK_MS);
                let mode = BeatMode::Start;
                client.beat(&BeatRequest { mode }).await?;
                built += settled(&client).await?;
            }
        }
        months.push(resident_mb(std::process::id())?);
    }
    let took = since.elapsed();
    let looks = options.months * DAYS_A_MONTH * LOOKS_A_DAY;
    let bytes = std::fs::metadata(dir.path().join("data/agentwright.db")).map_or(0, |it| it.len());
    served.stop(Duration::from_secs(2)).await;
    Ok(json!({
        "bench": "year", "items": options.items, "looks": looks, "built": built,
        "rss_mb": months, "database_mb": bytes / (1 << 20), "s": took.as_secs(),
    }))
}

/// Items that never start, for the reasons there are.
fn waiting(count: usize) -> QueueAdds {
    let item = |n: usize| {
        let mut item = QueueAdd {
            name: format!("waits {n}"),
            description: Some("Count the words of each note and append them to a table".into()),
            criteria: vec!["the table has one row for each note".into()],
            ..QueueAdd::default()
        };
        match (n % 32, n % 3) {
            // Few: each is planned at every look.
            (0, _) => item.description = Some("make it better".into()),
            (_, 0) => item.priority = QueuePriority::Low,
            (_, 1) => item.blockers = vec!["the key of Ann".into()],
            _ => item.start = Some("2030-01-01 00:00".into()),
        }
        item
    };
    adds((0..count).map(item).collect())
}

/// Those of a day: one starts at once, others at night.
fn coming(count: usize, day: usize) -> QueueAdds {
    let item = |n: usize| QueueAdd {
        name: format!("day {day} item {n}"),
        description: Some(format!(
            "Count the words of note {n} of day {day} and append them to a table"
        )),
        criteria: vec!["the table has one row for each note".into()],
        priority: if n == 0 {
            QueuePriority::High
        } else {
            QueuePriority::Medium
        },
        ..QueueAdd::default()
    };
    adds((0..count).map(item).collect())
}

fn adds(items: Vec<QueueAdd>) -> QueueAdds {
    QueueAdds {
        items,
        base_dir: "/".into(),
        zone: "UTC".into(),
    }
}

/// Waits until nothing is being built, and removes what is done; answers how many.
async fn settled(client: &Client) -> Result<usize> {
    let since = Instant::now();
    loop {
        let items = client.queue().await?.items;
        if items.iter().any(|item| item.status == "building") {
            ensure!(since.elapsed() < SETTLED, "a build does not end");
            let mode = BeatMode::Start;
            tokio::time::sleep(Duration::from_millis(5)).await;
            client.beat(&BeatRequest { mode }).await?;
            continue;
        }
        let done = items.iter().filter(|item| item.status == "done");
        let mut count = 0;
        for item in done {
            client.queue_remove(item.label.as_str()).await?;
            count += 1;
        }
        return Ok(count);
    }
}
