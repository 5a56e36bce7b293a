//! Level 2: the copy can be deployed as it is: nothing to install, every import and program is there, a
//! script answers `--help`.

use super::code::{self, Language};
use super::{answer, inspect};
use crate::judge::{ending_words, last_words, sandbox_stop};
use crate::outcome::{Stop, tail};
use crate::verifier::{Seen, Verifier, Work, json_evidence};
use agentwright_domain::acceptance::{Case, Fixture};
use agentwright_domain::spec::{AutomationKind, Spec};
use agentwright_sandbox::spec_policy::{self, Routes};
use agentwright_sandbox::{Command, Ending, Tier};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// How long `--help` may take.
const HELP_LIMIT_MS: u64 = 20_000;
/// Finds imports that cannot be resolved, without running any of the code; prints `[[path, line, name], …]`.
/// Imports in a `try` that catches the failure are optional. Only the standard library and the code's own
/// modules count, because nothing can be installed offline.
const RESOLVE_IMPORTS: &str = "
import ast, importlib, os, sys, json
own = set()
for path in sys.argv[1:]:
    parts = os.path.relpath(path, '/app').split(os.sep)
    own.update(p[:-3] if p.endswith('.py') else p for p in parts)
standard = getattr(sys, 'stdlib_module_names', None)
bad = []
known = {}
def there(name):
    if name in own or name == '__future__':
        return True
    if name not in known:
        if standard is not None and name not in standard:
            known[name] = False
        else:
            try:
                importlib.import_module(name)
                known[name] = True
            except BaseException:
                known[name] = False
    return known[name]
def catches(handler):
    names = ast.walk(handler.type) if handler.type else []
    return handler.type is None or any(
        getattr(n, 'id', getattr(n, 'attr', '')) in ('ImportError', 'ModuleNotFoundError', 'Exception')
        for n in names)
def visit(node, path, optional):
    if isinstance(node, ast.Import):
        names = [a.name for a in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        names = [node.module]
    else:
        names = []
    for name in names:
        if not optional and not there(name.split('.')[0]):
            bad.append([path, node.lineno, name])
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                inner = optional or (isinstance(node, ast.Try) and field == 'body'
                                     and any(catches(h) for h in node.handlers))
                visit(child, path, inner)
sys.setrecursionlimit(20000)
for path in sys.argv[1:]:
    with open(path, 'rb') as f:
        visit(ast.parse(f.read(), path), path, False)
print(json.dumps(bad))
";
/// Prints those of its arguments that are no programs.
const MISSING_PROGRAMS: &str =
    "for p; do command -v \"$p\" >/dev/null 2>&1 || printf '%s\\n' \"$p\"; done";

/// Checks that the copy can be deployed.
pub(crate) async fn check(
    verifier: &Verifier,
    work: &Work<'_>,
    app: &Path,
    cancel: &CancellationToken,
    seen: &mut Seen,
) -> Result<(), Stop> {
    let files = code::read(app)?;
    requirements(&files)?;
    let paths: Vec<String> = files
        .iter()
        .filter(|file| file.language == Language::Python)
        .map(|file| format!("/app/{}", file.path))
        .collect();
    imports(verifier, app, &paths, cancel, seen).await?;
    programs(verifier, work, app, cancel, seen).await?;
    if work.spec.kind != AutomationKind::Service {
        help(verifier, work, app, cancel, seen).await?;
    }
    seen.evidence.push(json_evidence(
        "deployment.json",
        &json!({"python_files": paths, "programs": needed(work.spec)}),
    ));
    seen.summary = "it installs: imports resolve, programs are there".into();
    Ok(())
}

/// What a package manager would have to install.
fn requirements(files: &[code::CodeFile]) -> Result<(), Stop> {
    for file in files {
        let text = String::from_utf8_lossy(&file.content);
        let wanted = match file.path.rsplit('/').next() {
            Some("requirements.txt") => text
                .lines()
                .map(|line| line.split('#').next().unwrap_or_default().trim())
                .find(|line| !line.is_empty())
                .map(str::to_owned),
            Some("pyproject.toml") => toml::from_str::<toml::Table>(&text).ok().and_then(|table| {
                let wanted = table
                    .get("project")?
                    .get("dependencies")?
                    .as_array()?
                    .first()?;
                Some(wanted.to_string())
            }),
            Some("package.json") => serde_json::from_str::<serde_json::Value>(&text)
                .ok()
                .and_then(|json| {
                    json.get("dependencies")?
                        .as_object()?
                        .keys()
                        .next()
                        .cloned()
                }),
            _ => None,
        };
        if let Some(wanted) = wanted {
            return Err(Stop::Code(format!(
                "{} asks for {wanted}, which cannot be installed offline: use the standard library",
                file.path
            )));
        }
    }
    Ok(())
}

async fn imports(
    verifier: &Verifier,
    app: &Path,
    paths: &[String],
    cancel: &CancellationToken,
    seen: &mut Seen,
) -> Result<(), Stop> {
    if paths.is_empty() {
        return Ok(());
    }
    let mut argv: Vec<String> = ["python3", "-I", "-S", "-c", RESOLVE_IMPORTS]
        .map(str::to_owned)
        .to_vec();
    argv.extend_from_slice(paths);
    let command = Command {
        argv,
        stdin: Vec::new(),
    };
    let report = inspect(verifier, app, Tier::Full, command, cancel, seen).await?;
    let bad: Vec<(String, u32, String)> = answer(&report, "resolving the imports")?;
    for (path, line, name) in &bad {
        seen.log
            .line(format!("{path}:{line}: cannot import {name}"));
    }
    match bad.first() {
        None => Ok(()),
        Some((path, line, name)) => Err(Stop::Code(format!(
            "{} line {line} imports {name}, which is neither its own nor in Python's standard library",
            path.trim_start_matches("/app/")
        ))),
    }
}

/// Programs that the automation needs, besides what its fixtures stand in for.
fn needed(spec: &Spec) -> BTreeSet<String> {
    let acceptance = &spec.acceptance;
    let cases: Vec<&Case> = std::iter::once(&acceptance.smoke)
        .chain(&acceptance.cases)
        .collect();
    let supplied = |program: &str| {
        cases.iter().all(|case| {
            case.fixtures
                .iter()
                .any(|fixture| matches!(fixture, Fixture::Program { name, .. } if name == program))
        })
    };
    let first = spec
        .command
        .first()
        .filter(|word| !word.starts_with("/app/"));
    first
        .into_iter()
        .chain(
            spec.permissions
                .programs
                .iter()
                .filter(|program| !supplied(program)),
        )
        .cloned()
        .collect()
}

async fn programs(
    verifier: &Verifier,
    work: &Work<'_>,
    app: &Path,
    cancel: &CancellationToken,
    seen: &mut Seen,
) -> Result<(), Stop> {
    let mut argv: Vec<String> = ["sh", "-c", MISSING_PROGRAMS, "sh"]
        .map(str::to_owned)
        .to_vec();
    argv.extend(
        needed(work.spec)
            .into_iter()
            .filter(|name| !work.programs.contains_key(name)),
    );
    let command = Command {
        argv,
        stdin: Vec::new(),
    };
    let report = inspect(verifier, app, Tier::Full, command, cancel, seen).await?;
    if report.ending != Ending::Exited(0) {
        return Err(Stop::Fault(format!(
            "looking for programs {}",
            ending_words(report.ending)
        )));
    }
    let text = report.stdout.text();
    let missing: Vec<&str> = text.lines().collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Stop::Code(format!(
        "it needs {}, which this machine does not have",
        crate::probe::some_of(missing.into_iter())
    )))
}

/// `--help` answers with 0, says something, and does none of the work.
async fn help(
    verifier: &Verifier,
    work: &Work<'_>,
    app: &Path,
    cancel: &CancellationToken,
    seen: &mut Seen,
) -> Result<(), Stop> {
    let spec = work.spec;
    let directory = work.scratch.join("help");
    let world = crate::world::World::new(spec, &directory, None)?;
    let routes = Routes::Fixtures {
        addresses: BTreeMap::new(),
        ca_bundle: String::new(),
    };
    let mut limits = spec_policy::limits(spec);
    limits.wall_ms = Some(HELP_LIMIT_MS);
    let state = directory.join("state");
    let policy = spec_policy::policy(spec, app, &state, world.folders(), &routes, limits)
        .map_err(|error| Stop::Fault(error.to_string()))?;
    let argv = help_command(spec);
    let shown = argv.join(" ");
    let command = Command {
        argv,
        stdin: Vec::new(),
    };
    let report = verifier
        .sandbox
        .run(policy, command, cancel.clone())
        .await
        .map_err(|error| sandbox_stop(&error))?;
    seen.used(&report.usage);
    seen.log.block(&shown, &tail(&report.stdout.text()));
    match report.ending {
        Ending::Exited(0) => {}
        Ending::Cancelled => return Err(Stop::Cancelled),
        ending => {
            return Err(Stop::Code(format!(
                "{shown}: {}{}",
                ending_words(ending),
                last_words(&report)
            )));
        }
    }
    if report.stdout.text().trim().is_empty() {
        return Err(Stop::Code(format!("{shown} says nothing")));
    }
    for folder in &spec.permissions.folders {
        let name = folder.name.as_str();
        let made = world
            .root(name)
            .and_then(|root| root.walk())
            .map_err(Stop::Code)?;
        if let Some(entry) = made.first() {
            return Err(Stop::Code(format!(
                "{shown} does more than say how it is used: it made /data/{name}/{}",
                entry.path
            )));
        }
    }
    Ok(())
}

/// The command up to its entry, and `--help`.
fn help_command(spec: &Spec) -> Vec<String> {
    let entry = spec
        .command
        .iter()
        .position(|word| word.starts_with("/app/"));
    let upto = entry.map_or(spec.command.len(), |entry| entry + 1);
    let mut argv = spec.command[..upto].to_vec();
    argv.push("--help".into());
    argv
}
