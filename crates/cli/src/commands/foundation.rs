//! `foundation`: what builds can start from, and checking one's own. Needs no daemon.

use agentwright_intent::{Context, Foundation, Problem, understand};
use agentwright_pipeline::{FoundationError, Foundations, read_source};
use owo_colors::OwoColorize as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

use super::App;
use super::plan::folder;
use crate::args::FoundationCommand;
use crate::fault::{Exit, Fault, chain};
use crate::output::{quoted, safe_line};

/// The file that makes a directory a foundation.
const MANIFEST: &str = "foundation.toml";
/// Where examples are thought to be given; nothing is looked up there.
const BASE_DIR: &str = "/work";

/// `foundation`.
pub(super) fn foundation(app: &App, command: FoundationCommand) -> Result<Exit, Fault> {
    match command {
        FoundationCommand::List { foundations } => list(app, &foundations),
        FoundationCommand::Check { dir } => check(app, &dir),
    }
}

fn list(app: &App, dirs: &[PathBuf]) -> Result<Exit, Fault> {
    let all = Foundations::load(dirs).map_err(|error| unusable(&error))?;
    let items: Vec<Value> = all.list().iter().map(summary).collect();
    app.out.json(&json!({ "items": items }));
    for it in all.list() {
        app.out.line(format!(
            "{}  {}",
            safe_line(it.name()).bold(),
            safe_line(&it.manifest.does)
        ));
        for example in it.manifest.examples.iter().take(1) {
            app.out.line(format!("    {}", quoted(example).dimmed()));
        }
    }
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
    let built_in = Foundations::load(&[]).map_err(|error| unusable(&error))?;
    let mut exit = Exit::Done;
    let mut items = Vec::new();
    for place in places(dir)? {
        let shown = safe_line(&place.display().to_string());
        let (name, problems) = problems_of(&place, &built_in)?;
        if problems.is_empty() {
            app.out.line(format!(
                "{} {shown}: {} is sound",
                "✓".green(),
                safe_line(&name)
            ));
        } else {
            exit = Exit::Failed;
            app.out.line(format!("{} {shown}", "✗".red()));
            for problem in &problems {
                app.out.line(format!("  {}", safe_line(problem)));
            }
        }
        items.push(json!({ "dir": place, "name": name, "problems": problems }));
    }
    app.out
        .json(&json!({ "items": items, "exit": exit.number() }));
    Ok(exit)
}

/// Its name, as far as it has one, and everything that is wrong with it.
fn problems_of(place: &Path, built_in: &Foundations) -> Result<(String, Vec<String>), Fault> {
    let source = read_source(place).map_err(|error| unusable(&error))?;
    match Foundation::parse(&source) {
        Ok(it) => Ok((it.name().to_owned(), misunderstood(&it, built_in))),
        Err(problems) => Ok((
            String::new(),
            problems.iter().map(Problem::to_string).collect(),
        )),
    }
}

/// The examples that do not lead to this foundation while the built-in ones are there, too.
fn misunderstood(it: &Foundation, built_in: &Foundations) -> Vec<String> {
    let others = built_in
        .list()
        .iter()
        .filter(|other| other.name() != it.name());
    let all: Vec<Foundation> = others.chain([it]).cloned().collect();
    let context = Context {
        base_dir: BASE_DIR.to_owned(),
        home: Some(BASE_DIR.to_owned()),
        zone: "UTC".to_owned(),
        ..Context::default()
    };
    let mut problems = Vec::new();
    for example in &it.manifest.examples {
        let what = match understand(example, &context, &all) {
            Ok(plan) if plan.foundation == it.name() => continue,
            Ok(plan) => format!("is understood as {}", plan.foundation),
            Err(refusal) => format!("is refused: {refusal}"),
        };
        problems.push(format!("{MANIFEST} examples: {example:?} {what}"));
    }
    problems
}

/// The directory itself, or the foundations in it.
fn places(dir: &Path) -> Result<Vec<PathBuf>, Fault> {
    let dir = PathBuf::from(folder(dir)?);
    if dir.join(MANIFEST).is_file() {
        return Ok(vec![dir]);
    }
    let entries = std::fs::read_dir(&dir)
        .map_err(|error| Fault::caused(format!("list {}", dir.display()), &error))?;
    let mut places: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.join(MANIFEST).is_file())
        .collect();
    places.sort();
    if places.is_empty() {
        return Err(Fault::failed(format!(
            "{} holds no foundation: expected {MANIFEST} in it or in a directory directly below",
            dir.display()
        )));
    }
    Ok(places)
}

fn unusable(error: &FoundationError) -> Fault {
    Fault::failed(chain(error)).hint("look at it with: agentwright foundation check DIR")
}
