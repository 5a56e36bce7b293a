//! `queue`, `heartbeat`, `why` and `status`.

use agentwright_api::{
    BeatMode, BeatRequest, QueueAdds, QueueChange, QueueImport, QueueItem, QueuePriority,
    QueueProgress, ReportQuery, code,
};
use agentwright_domain::ids::Slug;

use super::App;
use super::plan::here;
use crate::args::{Heartbeat, Priority, QueueAdd, QueueCommand, QueueStatus, ReportArgs};
use crate::fault::{Exit, Fault};
use crate::output::{safe_line, table, zone};

/// The largest file that is imported, in bytes; the daemon takes no larger request.
const IMPORT_MAX: u64 = 1 << 20;

/// What is not found here is an item, and no build.
pub(super) fn of_items(fault: Fault) -> Fault {
    match fault.code.as_str() {
        code::NOT_FOUND => fault.hint("see what there is: agentwright queue list"),
        _ => fault,
    }
}

/// `queue`.
pub(super) async fn queue(app: &App, command: QueueCommand) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let (item, change) = match command {
        QueueCommand::Add(args) => {
            let page = client.queue_add(&adds(*args)?).await?;
            app.out.json(&page);
            for item in &page.items {
                app.out.line(format!(
                    "{} is in the queue as {}",
                    safe_line(&item.name),
                    item.label
                ));
                app.out.note(format!(
                    "see why it starts or not: {}",
                    app.command(&["why", item.label.as_str()])
                ));
            }
            return Ok(Exit::Done);
        }
        QueueCommand::Import { file } => return import(app, &file).await,
        QueueCommand::List => {
            let page = client.queue().await?;
            app.out.json(&page);
            listed(app, &page.items.iter().collect::<Vec<_>>());
            return Ok(Exit::Done);
        }
        QueueCommand::Remove { item } => {
            let removed = client.queue_remove(&item).await?;
            app.out.json(&removed);
            app.out
                .line(format!("{} is no longer in the queue", removed.label));
            return Ok(Exit::Done);
        }
        QueueCommand::Move { item, before } => (
            item,
            QueueChange::Move {
                before: before.as_deref().map(slug).transpose()?,
            },
        ),
        QueueCommand::Block { item, by } => (item, QueueChange::Block { by }),
        QueueCommand::Unblock { item, by } => (item, QueueChange::Unblock { by }),
        QueueCommand::Priority { item, to } => (item, QueueChange::Priority { to: priority(to) }),
        QueueCommand::Approve { item } => (item, QueueChange::Approve {}),
        QueueCommand::Retry { item } => (item, QueueChange::Retry {}),
        QueueCommand::Fail { item } => (item, QueueChange::Fail {}),
    };
    let changed = client.queue_change(&item, &change).await?;
    app.out.json(&changed);
    listed(app, &[&changed]);
    Ok(Exit::Done)
}

fn slug(text: &str) -> Result<Slug, Fault> {
    Slug::parse(text).map_err(|error| Fault::usage(error.to_string()))
}

fn priority(of: Priority) -> QueuePriority {
    match of {
        Priority::High => QueuePriority::High,
        Priority::Medium => QueuePriority::Medium,
        Priority::Low => QueuePriority::Low,
    }
}

fn adds(args: QueueAdd) -> Result<QueueAdds, Fault> {
    let item = agentwright_api::QueueAdd {
        name: args.name,
        description: args.desc,
        criteria: args.criteria,
        priority: priority(args.priority),
        tech: args.tech,
        estimate: args.time,
        blockers: args.blockers,
        touches: args.touches,
        start: args.at,
        label: args.label.as_deref().map(slug).transpose()?,
    };
    Ok(QueueAdds {
        items: vec![item],
        base_dir: here()?,
        zone: zone(),
    })
}

async fn import(app: &App, file: &std::path::Path) -> Result<Exit, Fault> {
    let attempted = format!("read {}", file.display());
    let metadata = file
        .metadata()
        .map_err(|error| Fault::caused(&attempted, &error))?;
    if metadata.len() > IMPORT_MAX {
        return Err(Fault::usage(format!(
            "{} is larger than {IMPORT_MAX} bytes: import it in parts",
            file.display()
        )));
    }
    let text = std::fs::read_to_string(file).map_err(|error| Fault::caused(&attempted, &error))?;
    let client = app.data.connect(&app.out).await?;
    let import = QueueImport {
        text,
        base_dir: here()?,
        zone: zone(),
    };
    let made = client.queue_import(&import).await?;
    app.out.json(&made);
    for problem in &made.problems {
        app.out
            .note(format!("{}:{}", file.display(), safe_line(problem)));
    }
    app.out
        .line(format!("{} items were added", made.items.len()));
    Ok(Exit::Done)
}

fn listed(app: &App, items: &[&QueueItem]) {
    if items.is_empty() {
        app.out.line("nothing is there");
        return;
    }
    let rows = items
        .iter()
        .map(|item| {
            let why = match (&item.progress, &item.why) {
                (Some(progress), _) => getting_on(progress),
                (None, Some(why)) => safe_line(&why.words),
                (None, None) => "not looked at yet".to_owned(),
            };
            let place = item
                .position
                .map_or_else(String::new, |place| place.to_string());
            vec![
                place,
                item.label.to_string(),
                item.priority.word().to_owned(),
                item.status.replace('_', " "),
                why,
            ]
        })
        .collect();
    app.out
        .line(table(&["", "item", "priority", "status", "why"], rows));
    for item in items {
        if let Some(suggestion) = &item.suggestion {
            let label = item.label.as_str();
            let to = suggestion.priority.word();
            app.out.note(format!(
                "{label} could be {to} ({}): {}",
                safe_line(&suggestion.words),
                app.command(&["queue", "priority", label, to])
            ));
        }
    }
}

/// How far a build is and whether it gets on.
fn getting_on(it: &QueueProgress) -> String {
    let because = it
        .because
        .as_ref()
        .map_or_else(String::new, |why| format!(": {}", safe_line(why)));
    let expected = it
        .expected
        .map_or_else(String::new, |at| format!(", expected at {at}"));
    format!(
        "{} %, {}, {}{because}{expected}",
        it.percent,
        safe_line(&it.phase),
        safe_line(&it.verdict)
    )
}

/// `report`.
pub(super) async fn report(app: &App, args: ReportArgs) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let query = ReportQuery {
        from: args.from,
        to: args.to,
        night: args.night,
    };
    let report = client.report(&query).await?;
    app.out.json(&report);
    for line in report.markdown.lines() {
        app.out.line(safe_line(line));
    }
    Ok(Exit::Done)
}

/// `why`.
pub(super) async fn why(app: &App, item: &str) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let why = client.queue_why(item).await?;
    app.out.json(&why);
    listed(app, &[&why.item]);
    let rows = why.receipts.iter().map(|one| {
        vec![
            one.since.to_string(),
            one.last.to_string(),
            one.looks.to_string(),
            safe_line(&one.words),
        ]
    });
    app.out.line(table(
        &["since", "until", "looks", "answer"],
        rows.collect(),
    ));
    Ok(Exit::Done)
}

/// `heartbeat`.
pub(super) async fn heartbeat(app: &App, args: Heartbeat) -> Result<Exit, Fault> {
    if let Some(item) = args.fail {
        return queue(app, QueueCommand::Fail { item }).await;
    }
    let client = app.data.connect(&app.out).await?;
    if args.monitor {
        let heartbeat = client.heartbeat().await?;
        app.out.json(&heartbeat);
        let [from, to, zone] = &heartbeat.off_hours;
        let late = if heartbeat.late {
            "; the last look is too long ago"
        } else {
            ""
        };
        app.out.line(format!(
            "every {} s, off-hours {from} to {to} in {zone}{late}",
            heartbeat.every_s
        ));
        let rows = heartbeat.looks.iter().map(|look| {
            vec![
                look.at.to_string(),
                safe_line(&look.cause),
                look.items.to_string(),
                look.started.to_string(),
            ]
        });
        app.out
            .line(table(&["at", "cause", "items", "started"], rows.collect()));
        return Ok(Exit::Done);
    }
    let mode = if args.check {
        BeatMode::Check
    } else {
        BeatMode::Start
    };
    let beat = client.beat(&BeatRequest { mode }).await?;
    app.out.json(&beat);
    let verb = if args.check { "would start" } else { "started" };
    for label in &beat.started {
        app.out.line(format!("{verb}: {label}"));
    }
    listed(app, &beat.items.iter().collect::<Vec<_>>());
    Ok(Exit::Done)
}

/// `status`.
pub(super) async fn status(app: &App, args: QueueStatus) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let page = client.queue().await?;
    let all = !(args.queue || args.active || args.completed);
    let asked: Vec<String> = args
        .words
        .join(" ")
        .to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .map(str::to_owned)
        .collect();
    let named = |item: &QueueItem| {
        let name = format!("{} {}", item.name, item.label).to_lowercase();
        name.split(|c: char| !c.is_alphanumeric())
            .any(|word| word.len() > 2 && asked.iter().any(|one| one == word))
    };
    let wanted = |item: &&QueueItem| {
        let of_kind = match item.status.as_str() {
            "building" | "awaiting_approval" => args.active,
            "done" => args.completed,
            _ => args.queue,
        };
        (all || of_kind) && (args.words.is_empty() || named(item))
    };
    let items: Vec<&QueueItem> = page.items.iter().filter(wanted).collect();
    app.out.json(&items);
    listed(app, &items);
    Ok(Exit::Done)
}
