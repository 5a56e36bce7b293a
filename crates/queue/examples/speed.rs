//! How fast the queue is: prints one JSON line. `cargo run --release -p agentwright-queue --example speed`.
//!
//! A file of 5,000 items with details is read, merged with a store that changed a tenth of them, and rewritten (goal:
//! 50 ms); 10,000 items are asked whether they start (goal: 20 ms). The best of several rounds counts.

#![expect(clippy::print_stdout, reason = "the result")]

use agentwright_queue::file::{EMPTY, merge, parse};
use agentwright_queue::needs::Understood;
use agentwright_queue::start::{Assessment, Candidate, Standing, World, known, tick};
use agentwright_queue::window::Window;
use agentwright_queue::{Criterion, Item, Priority, item};
use std::time::{Duration, Instant};

const FILED: usize = 5_000;
const ASKED: usize = 10_000;
const ROUNDS: usize = 7;

fn items(count: usize) -> Vec<Item> {
    let made = |n: usize| {
        let name = format!("Item number {n}");
        let mut item = Item::new(item::label(&name, |_| false), name);
        item.priority = [Priority::High, Priority::Medium, Priority::Low][n % 3];
        item.added = Some("2026-02-06 15:00".into());
        item.description = Some(format!(
            "Count the words of note {n} and append them to the table of notes"
        ));
        item.criteria = vec![Criterion {
            text: "the table has one row for each note".into(),
            done: false,
        }];
        item.estimate = Some("4 hours".into());
        item
    };
    (0..count).map(made).collect()
}

fn best(mut work: impl FnMut()) -> Duration {
    let round = |_| {
        let begin = Instant::now();
        work();
        begin.elapsed()
    };
    (0..ROUNDS).map(round).min().unwrap_or_default()
}

fn main() {
    let text = merge(EMPTY, &[], &items(FILED)).text;
    let base = parse(&text).items;
    let mut store = base.clone();
    for item in store.iter_mut().step_by(10) {
        item.priority = Priority::Low;
        item.done = true;
    }
    let mut rewritten = 0;
    let merged = best(|| rewritten = merge(&text, &base, &store).text.len());

    let asked = items(ASKED);
    let Ok(window) = Window::off_hours("Europe/Berlin") else {
        return;
    };
    let queued = Standing::Queued;
    let read: Vec<Assessment> = asked
        .iter()
        .map(|item| Assessment::of(item, Understood::No))
        .collect();
    let candidates: Vec<Candidate<'_>> = asked
        .iter()
        .zip(&read)
        .map(|(item, assessment)| Candidate {
            item,
            standing: Standing::Queued,
            approved_by: None,
            assessment,
        })
        .collect();
    let mut answers = 0;
    let ticked = best(|| {
        let world = World {
            window: &window,
            running: Vec::new(),
            limit: 1,
            busy_until_ms: None,
            calendar_unread: None,
            quota_until_ms: None,
            budget_spent: None,
            no_room: None,
            known: known(asked.iter().map(|item| (item, &queued))),
        };
        answers = tick(&candidates, &world, 1_770_000_000_000).len();
    });
    println!(
        "{{\"bench\":\"queue\",\"items\":{FILED},\"bytes\":{rewritten},\"merge_ms\":{:.1},\"asked\":{answers},\"tick_ms\":{:.1}}}",
        merged.as_secs_f64() * 1e3,
        ticked.as_secs_f64() * 1e3
    );
}
