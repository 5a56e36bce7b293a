//! The plan before a build: made by the daemon, completed by the person, shown.

use agentwright_api::{Client, Plan, PlanRequest, PlanVerdict};
use agentwright_domain::build::INTENT_MAX_CHARS;
use agentwright_domain::spec::{SPEC_MAX_BYTES, Spec};
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::App;
use crate::args::How;
use crate::ask;
use crate::describe;
use crate::fault::{Exit, Fault};
use crate::output::{can_ask, quoted, safe, safe_line, zone};

/// How often a person is asked for what is missing before it is given up.
const ROUNDS_MAX: usize = 5;

/// What the command line says about what to plan.
pub(super) fn request(
    intent: Option<String>,
    spec: Option<&Path>,
    how: &How,
) -> Result<PlanRequest, Fault> {
    let base_dir = here()?;
    let foundations = how
        .foundations
        .iter()
        .map(|dir| folder(dir))
        .collect::<Result<_, _>>()?;
    if let Some(words) = &intent {
        check_words(words)?;
    }
    Ok(PlanRequest {
        intent: intent.unwrap_or_default(),
        spec: spec.map(read_spec).transpose()?.map(Box::new),
        inputs: how.inputs.iter().cloned().collect(),
        base_dir,
        zone: zone(),
        changes: None,
        foundations,
    })
}

/// The directory that relative paths are meant from.
pub(super) fn here() -> Result<String, Fault> {
    let here = std::env::current_dir()
        .map_err(|error| Fault::caused("find the current directory", &error))?;
    text_of(&here)
}

/// What the daemon would not even read.
fn check_words(words: &str) -> Result<(), Fault> {
    let count = words.chars().count();
    if count > INTENT_MAX_CHARS {
        return Err(Fault::refused(format!(
            "the intent has {count} characters; at most {INTENT_MAX_CHARS} are read"
        ))
        .hint("say it in a sentence or two, or give a spec with --spec FILE"));
    }
    if words.trim().is_empty() {
        return Err(Fault::refused("the intent is empty")
            .hint("say in a sentence what you want; agentwright foundation list has examples"));
    }
    Ok(())
}

/// Plans until it can be built; asks a terminal for what is missing. Every other end is a fault, said
/// with what is missing or possible.
pub(super) async fn ready(
    app: &App,
    client: &Client,
    request: &mut PlanRequest,
) -> Result<Result<Plan, Exit>, Fault> {
    for _ in 0..ROUNDS_MAX {
        let plan = client.plan(request).await?;
        match plan.verdict {
            PlanVerdict::Ready | PlanVerdict::Model => return Ok(Ok(plan)),
            PlanVerdict::Refused => return Ok(Err(refuse(app, &plan))),
            PlanVerdict::Incomplete if !can_ask() || app.out.is_json() => {
                return Ok(Err(incomplete(app, &plan)));
            }
            PlanVerdict::Incomplete => {
                if !ask_for(app, &plan, request).await {
                    return Ok(Err(incomplete(app, &plan)));
                }
            }
        }
    }
    Err(Fault::refused("the answers do not complete the plan")
        .hint("give them as --input NAME=VALUE"))
}

/// Shows a plan whatever it is, for `--plan`.
pub(super) fn show(app: &App, plan: &Plan) -> Exit {
    app.out.json(plan);
    match plan.verdict {
        PlanVerdict::Ready | PlanVerdict::Model => {
            for line in describe::plan(plan) {
                app.out.line(line);
            }
            Exit::Done
        }
        PlanVerdict::Incomplete => {
            for line in describe::plan(plan) {
                app.out.line(line);
            }
            for line in missing(plan) {
                app.out.line(line);
            }
            Exit::Refused
        }
        PlanVerdict::Refused => {
            for line in possible(plan) {
                app.out.line(line);
            }
            Exit::Refused
        }
    }
}

fn refuse(app: &App, plan: &Plan) -> Exit {
    app.out.json(&refusal(plan, "intent.refused"));
    for line in possible(plan) {
        app.out.note(line);
    }
    Exit::Refused
}

fn incomplete(app: &App, plan: &Plan) -> Exit {
    app.out.json(&refusal(plan, "intent.incomplete"));
    for line in describe::plan(plan).into_iter().chain(missing(plan)) {
        app.out.note(line);
    }
    Exit::Refused
}

fn refusal(plan: &Plan, code: &str) -> Value {
    let reason = plan.reason.clone().unwrap_or_else(|| {
        let names: Vec<_> = plan.missing.iter().map(|m| m.name.as_str()).collect();
        format!("inputs are missing: {}", names.join(", "))
    });
    json!({
        "error": {
            "code": code,
            "message": reason,
            "hint": null,
            "exit": Exit::Refused.number(),
        },
        "plan": plan,
    })
}

fn possible(plan: &Plan) -> Vec<String> {
    let reason = plan.reason.as_deref().unwrap_or("this cannot be built");
    let mut lines = vec![format!("refused: {}", safe(reason))];
    // A reason may already list what is possible.
    let fresh = plan
        .possible
        .iter()
        .filter(|choice| !reason.contains(&choice.does));
    for choice in fresh {
        lines.push(format!(
            "  {}: {}",
            safe_line(&choice.foundation),
            safe_line(&choice.does)
        ));
        if let Some(example) = &choice.example {
            lines.push(format!("      for example: {}", quoted(example)));
        }
    }
    lines
}

fn missing(plan: &Plan) -> Vec<String> {
    let mut lines =
        vec!["refused: something is missing; say it in the sentence, or give it with:".to_owned()];
    for missing in &plan.missing {
        let example = missing.examples.first().map_or("…", String::as_str);
        lines.push(format!(
            "  --input {}   {}",
            quoted(&format!("{}={example}", missing.name)),
            safe_line(&missing.question)
        ));
    }
    lines
}

/// Asks for each missing input; false when the person left.
async fn ask_for(app: &App, plan: &Plan, request: &mut PlanRequest) -> bool {
    if let Some(purpose) = &plan.purpose {
        app.out.note(safe_line(purpose));
    }
    for missing in &plan.missing {
        let examples = missing.examples.join(", ");
        let question = if examples.is_empty() {
            safe_line(&missing.question)
        } else {
            format!(
                "{} (for example {})",
                safe_line(&missing.question),
                safe_line(&examples)
            )
        };
        match ask::text(&question).await {
            Some(answer) if !answer.is_empty() => {
                request
                    .inputs
                    .insert(missing.name.clone(), Value::String(answer));
            }
            Some(_) | None => return false,
        }
    }
    true
}

fn read_spec(path: &Path) -> Result<Spec, Fault> {
    let shown = safe_line(&path.display().to_string());
    let read = |from: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        from.take(SPEC_MAX_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map(|_| bytes)
    };
    let bytes = if path == Path::new("-") {
        read(&mut std::io::stdin().lock())
    } else {
        std::fs::File::open(path).and_then(|mut file| read(&mut file))
    }
    .map_err(|error| Fault::caused(format!("read the spec {shown}"), &error))?;
    if bytes.len() > SPEC_MAX_BYTES {
        return Err(Fault::refused(format!(
            "the spec {shown} is larger than {SPEC_MAX_BYTES} bytes"
        )));
    }
    let spec: Spec = serde_json::from_slice(&bytes).map_err(|error| {
        Fault::refused(format!(
            "the spec {shown} is not of the right shape: {error}"
        ))
        .hint("the format: agentwright schema spec")
    })?;
    let problems = spec.problems();
    if problems.is_empty() {
        return Ok(spec);
    }
    let list: Vec<String> = problems.iter().map(|p| format!("\n  {p}")).collect();
    Err(
        Fault::refused(format!("the spec {shown} has problems:{}", list.concat()))
            .hint("the format: agentwright schema spec"),
    )
}

/// A directory that is there, as an absolute path.
pub(super) fn folder(dir: &Path) -> Result<String, Fault> {
    let shown = safe_line(&dir.display().to_string());
    let full: PathBuf = std::fs::canonicalize(dir)
        .map_err(|error| Fault::caused(format!("open the directory {shown}"), &error))?;
    if !full.is_dir() {
        return Err(Fault::failed(format!("{shown} is not a directory")));
    }
    text_of(&full)
}

/// A path as text.
pub(super) fn text_of(path: &Path) -> Result<String, Fault> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Fault::failed(format!(
            "the path {} is not UTF-8, which specs need",
            safe_line(&path.display().to_string())
        ))
    })
}
