//! Level 1: every file parses, the command's entry is there. Nothing of the code is executed.

use super::code::{self, CodeFile, Language};
use super::{answer, dockerfile, inspect};
use crate::outcome::Stop;
use crate::verifier::{Seen, Verifier, Work, json_evidence};
use agentwright_domain::digest::Digest;
use agentwright_domain::spec::Spec;
use agentwright_sandbox::{Command, Ending, Tier};
use serde_json::json;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Parses Python without running it; prints `[[path, line, problem], …]`.
const PARSE_PYTHON: &str = "
import json, sys, warnings
warnings.simplefilter('ignore')
bad = []
for path in sys.argv[1:]:
    try:
        with open(path, 'rb') as f:
            compile(f.read(), path, 'exec', dont_inherit=True)
    except SyntaxError as e:
        bad.append([path, e.lineno or 0, str(e.msg)])
    except (ValueError, RecursionError, MemoryError) as e:
        bad.append([path, 0, str(e) or type(e).__name__])
print(json.dumps(bad))
";
/// Parses shell scripts without running them; arguments are pairs of shell and path.
const PARSE_SHELL: &str = "
status=0
while [ $# -gt 1 ]; do
    \"$1\" -n \"$2\" || status=1
    shift 2
done
exit $status
";

/// Checks and copies the code; the digest is over what was copied.
pub(crate) async fn check(
    verifier: &Verifier,
    work: &Work<'_>,
    copy: &Path,
    cancel: &CancellationToken,
    seen: &mut Seen,
) -> Result<Digest, Stop> {
    let app = work.app.clone();
    let to = copy.to_owned();
    let files = tokio::task::spawn_blocking(move || {
        let files = code::read(&app)?;
        code::copy(&files, &to)?;
        Ok(files)
    })
    .await
    .map_err(|error| Stop::Fault(error.to_string()))??;
    let code = code::digest_of(&files)?;
    seen.log.line(format!("{} files, code {code}", files.len()));
    seen.evidence.push(json_evidence(
        "structure.json",
        &json!({"code": code, "files": files}),
    ));
    if files.is_empty() {
        return Err(Stop::Code(
            "there is no code: the directory is empty".into(),
        ));
    }
    entry(work.spec, &files)?;
    let mut images = 0;
    for file in &files {
        parse_here(file)?;
        if file.language == Language::Dockerfile {
            images += 1;
            seen.log.line(format!(
                "{}: parses; image not verified: no engine",
                file.path
            ));
        }
    }
    python(verifier, copy, &files, cancel, seen).await?;
    shell(verifier, copy, &files, cancel, seen).await?;
    seen.summary = format!("{} files parse", files.len());
    if images > 0 {
        seen.summary.push_str("; image not verified: no engine");
    }
    Ok(code)
}

/// Every file below `/app` that the command names must be there, the first also executable.
fn entry(spec: &Spec, files: &[CodeFile]) -> Result<(), Stop> {
    let words = spec.command.iter().chain(spec.preview.iter().flatten());
    for word in words {
        let Some(path) = word.strip_prefix("/app/") else {
            continue;
        };
        let Some(file) = files.iter().find(|file| file.path == path) else {
            let there = crate::probe::some_of(files.iter().map(|file| file.path.as_str()));
            return Err(Stop::Code(format!(
                "the command names {word}, which is not there; there are {there}"
            )));
        };
        let runs = spec.command.first() == Some(word);
        if runs && !file.executable {
            return Err(Stop::Code(format!(
                "{word} is the command but is not executable"
            )));
        }
    }
    Ok(())
}

fn parse_here(file: &CodeFile) -> Result<(), Stop> {
    if file.language == Language::Other {
        return Ok(());
    }
    let broken = |why: String| Stop::Code(format!("{} does not parse: {why}", file.path));
    let text = std::str::from_utf8(&file.content).map_err(|error| broken(error.to_string()))?;
    match file.language {
        Language::Json => serde_json::from_str::<serde::de::IgnoredAny>(text)
            .map(drop)
            .map_err(|error| broken(error.to_string())),
        Language::Toml => toml::from_str::<toml::Table>(text)
            .map(drop)
            .map_err(|error| broken(error.message().to_owned())),
        Language::Dockerfile => dockerfile::parse(text).map_err(broken),
        Language::Python | Language::Sh | Language::Bash | Language::Other => Ok(()),
    }
}

async fn python(
    verifier: &Verifier,
    app: &Path,
    files: &[CodeFile],
    cancel: &CancellationToken,
    seen: &mut Seen,
) -> Result<(), Stop> {
    let paths = inside(files, &[Language::Python]);
    if paths.is_empty() {
        return Ok(());
    }
    let mut argv: Vec<String> = ["python3", "-I", "-S", "-c", PARSE_PYTHON]
        .map(str::to_owned)
        .to_vec();
    argv.extend(paths);
    let command = Command {
        argv,
        stdin: Vec::new(),
    };
    let report = inspect(verifier, app, Tier::Process, command, cancel, seen).await?;
    let bad: Vec<(String, u32, String)> = answer(&report, "parsing the Python files")?;
    for (path, line, problem) in &bad {
        seen.log.line(format!("{path}:{line}: {problem}"));
    }
    match bad.first() {
        None => Ok(()),
        Some((path, line, problem)) => {
            let path = path.trim_start_matches("/app/");
            Err(Stop::Code(format!(
                "{path} does not parse: line {line}: {problem}"
            )))
        }
    }
}

async fn shell(
    verifier: &Verifier,
    app: &Path,
    files: &[CodeFile],
    cancel: &CancellationToken,
    seen: &mut Seen,
) -> Result<(), Stop> {
    let mut argv: Vec<String> = ["sh", "-c", PARSE_SHELL, "sh"].map(str::to_owned).to_vec();
    for (shell, language) in [("sh", Language::Sh), ("bash", Language::Bash)] {
        for path in inside(files, &[language]) {
            argv.extend([shell.to_owned(), path]);
        }
    }
    if argv.len() == 4 {
        return Ok(());
    }
    let command = Command {
        argv,
        stdin: Vec::new(),
    };
    let report = inspect(verifier, app, Tier::Process, command, cancel, seen).await?;
    if report.ending == Ending::Exited(0) {
        return Ok(());
    }
    let said = report.stderr.text();
    seen.log.block("the shell says", &said);
    let first = said.lines().next().unwrap_or_default().replace("/app/", "");
    Err(Stop::Code(format!(
        "a shell script does not parse: {first}"
    )))
}

fn inside(files: &[CodeFile], languages: &[Language]) -> Vec<String> {
    files
        .iter()
        .filter(|file| languages.contains(&file.language))
        .map(|file| format!("/app/{}", file.path))
        .collect()
}
