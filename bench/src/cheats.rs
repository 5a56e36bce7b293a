//! The cheat corpus: programs that lie about their work and programs that do it, judged by the product's
//! own path: the static review, then the four levels with values drawn now.
//!
//! The corpus lies in `bench/cheats/`: a folder for each automation with `spec.toml`, `honest.toml` and
//! `cheats.toml` (its README says how to read them). No cheat may be accepted, no honest program rejected,
//! and a cheat must be stopped where its file says: one that fails for another reason shows nothing.

use agentwright_domain::digest::Digest;
use agentwright_domain::evidence::EvidenceRef;
use agentwright_domain::spec::Spec;
use agentwright_pipeline::review::{File, review};
use agentwright_sandbox::{Sandbox, Settings as SandboxSettings};
use agentwright_verify::{Ended, NotKept, Reporter, Settings, Verifier, Work, seal};
use anyhow::{Context, bail, ensure};
use async_trait::async_trait;
use clap::Parser;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Fewest cheats and honest programs of a whole corpus.
const CHEATS_MIN: usize = 60;
const HONEST_MIN: usize = 30;

#[derive(Parser, Clone)]
pub(crate) struct Options {
    /// Where the corpus lies.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/cheats"))]
    corpus: PathBuf,
    /// Only one cheat of each class and one honest program of each spec.
    #[arg(long)]
    sample: bool,
    /// Only cases whose spec, class or name contains this.
    #[arg(long)]
    only: Option<String>,
    /// How many are judged at a time.
    #[arg(long, default_value_t = 3)]
    jobs: usize,
    /// Says of every case where it was stopped.
    #[arg(long)]
    verbose: bool,
}

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    case: Vec<Entry>,
}

/// A case as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    class: Option<String>,
    stops_at: Option<String>,
    why: Option<String>,
    /// The honest case that it changes.
    of: Option<String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    change: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    file: String,
    replace: String,
    with: String,
}

/// What is to be judged.
struct Case {
    spec: Arc<Spec>,
    of: String,
    name: String,
    files: BTreeMap<String, String>,
    /// `None` where it is honest.
    cheat: Option<Expected>,
}

#[derive(Clone)]
struct Expected {
    class: String,
    stops_at: String,
    /// Part of the reason.
    why: String,
}

struct Judged {
    case: Case,
    seed: String,
    /// Where and why it was stopped; `None` when it was accepted.
    stopped: Option<(String, String)>,
}

/// Judges the corpus; whether every goal was reached.
pub(crate) async fn run(options: &Options) -> anyhow::Result<(Value, bool)> {
    let started = Instant::now();
    let scratch = tempfile::tempdir().context("a directory for the sandboxes")?;
    let root = scratch.path().canonicalize()?;
    let mut waiting = load(&options.corpus, &root).await?;
    if let Some(only) = &options.only {
        waiting.retain(|case| case.is(only));
    }
    if options.sample {
        waiting = sample(waiting);
    }
    let init = PathBuf::from("/proc/self/exe");
    let sandboxes = root.join("sandboxes");
    std::fs::create_dir_all(&sandboxes)?;
    let sandbox = Sandbox::new(init, sandboxes, SandboxSettings::default())?;
    let verifier = Verifier::new(Arc::new(sandbox), Settings::default());
    let mut running = JoinSet::new();
    let mut judged = Vec::new();
    waiting.reverse();
    loop {
        while running.len() < options.jobs.max(1) {
            let Some(case) = waiting.pop() else { break };
            let (verifier, root) = (verifier.clone(), root.clone());
            running.spawn(async move { Box::pin(judge(case, &verifier, &root)).await });
        }
        match running.join_next().await {
            Some(done) => judged.push(done??),
            None => break,
        }
    }
    let whole = !options.sample && options.only.is_none();
    let (mut line, reached) = summary(&judged, whole, options.verbose);
    line["seconds"] = json!(started.elapsed().as_secs_f64().round());
    Ok((line, reached))
}

/// The product's path, with a new seed.
async fn judge(case: Case, verifier: &Verifier, root: &Path) -> anyhow::Result<Judged> {
    let files: Vec<File> = case
        .files
        .iter()
        .map(|(path, text)| File {
            path: path.clone(),
            mode: mode(text),
            bytes: text.clone().into_bytes(),
        })
        .collect();
    if let Some(finding) = review(&files, &case.spec).first() {
        let stopped = Some(("review".to_owned(), finding.to_string()));
        return Ok(Judged {
            case,
            seed: String::new(),
            stopped,
        });
    }
    let place = tempfile::tempdir_in(root)?;
    let app = place.path().join("code");
    lay_out(&case.files, &app)?;
    let scratch = place.path().join("work");
    std::fs::create_dir_all(&scratch)?;
    let seed: [u8; 32] = rand::random();
    let work = Work {
        spec: &case.spec,
        app,
        scratch,
        seed,
        programs: BTreeMap::new(),
    };
    let verified = verifier
        .verify(&work, &Nowhere, &CancellationToken::new())
        .await;
    let stopped = match (verified.ended, verified.stopped_at()) {
        (Ended::Passed, _) => None,
        (Ended::CodeFailed, Some((level, result))) => {
            Some((level.word().to_owned(), result.summary.clone()))
        }
        (ended, result) => {
            let why = result.map_or_else(String::new, |(_, result)| result.summary.clone());
            bail!(
                "{} / {}: it could not be judged ({ended:?}): {why}",
                case.of,
                case.name
            );
        }
    };
    let seed = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Judged {
        case,
        seed,
        stopped,
    })
}

fn mode(text: &str) -> u32 {
    if text.starts_with("#!") { 0o755 } else { 0o644 }
}

fn lay_out(files: &BTreeMap<String, String>, app: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for (name, text) in files {
        let path = app.join(name);
        std::fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode(text)))?;
    }
    Ok(())
}

/// Evidence is not kept: only verdicts count here.
struct Nowhere;

#[async_trait]
impl Reporter for Nowhere {
    async fn progress(&self, _percent: u8, _message: &str) {}

    async fn keep(&self, name: &str, bytes: Vec<u8>) -> Result<EvidenceRef, NotKept> {
        Ok(EvidenceRef {
            name: name.to_owned(),
            digest: Digest::from_sha256([0; 32]),
            bytes: bytes.len() as u64,
        })
    }
}

/// Reads the corpus; every spec must be one that the product seals.
async fn load(corpus: &Path, scratch: &Path) -> anyhow::Result<Vec<Case>> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(corpus)
        .with_context(|| format!("cannot read the corpus {}", corpus.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    let mut cases = Vec::new();
    for folder in folders {
        let name = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let spec: Spec = read(&folder.join("spec.toml"))?;
        let trial = scratch.join(format!("seal-{name}"));
        std::fs::create_dir_all(&trial)?;
        if let Err(error) = seal(&spec, &trial).await {
            bail!("{name}: the product does not seal this spec: {error:?}");
        }
        let spec = Arc::new(spec);
        let honest: Page = read(&folder.join("honest.toml"))?;
        let cheats: Page = read(&folder.join("cheats.toml"))?;
        let mut known = BTreeMap::new();
        for entry in honest.case {
            ensure!(entry.class.is_none(), "{name}: an honest case has no class");
            let case = case(&spec, &name, entry, &known)?;
            known.insert(case.name.clone(), case.files.clone());
            cases.push(case);
        }
        for entry in cheats.case {
            let case = case(&spec, &name, entry, &known)?;
            ensure!(
                case.cheat.is_some(),
                "{name} / {}: a cheat has a class and stops_at",
                case.name
            );
            cases.push(case);
        }
    }
    Ok(cases)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}

fn case(
    spec: &Arc<Spec>,
    of: &str,
    entry: Entry,
    honest: &BTreeMap<String, BTreeMap<String, String>>,
) -> anyhow::Result<Case> {
    let at = format!("{of} / {}", entry.name);
    let mut files = match &entry.of {
        None => BTreeMap::new(),
        Some(name) => honest
            .get(name)
            .with_context(|| format!("{at}: there is no honest case {name:?}"))?
            .clone(),
    };
    files.extend(entry.files);
    for change in entry.change {
        let text = files
            .get_mut(&change.file)
            .with_context(|| format!("{at}: there is no file {}", change.file))?;
        ensure!(
            text.contains(&change.replace),
            "{at}: {:?} is not in {}",
            change.replace,
            change.file
        );
        *text = text.replace(&change.replace, &change.with);
    }
    let cheat = entry
        .class
        .zip(entry.stops_at)
        .map(|(class, stops_at)| Expected {
            class,
            stops_at,
            why: entry.why.unwrap_or_default(),
        });
    Ok(Case {
        spec: Arc::clone(spec),
        of: of.to_owned(),
        name: entry.name,
        files,
        cheat,
    })
}

impl Case {
    fn is(&self, part: &str) -> bool {
        let class = self.cheat.as_ref().map_or("honest", |cheat| &cheat.class);
        [self.of.as_str(), class, &self.name]
            .iter()
            .any(|text| text.contains(part))
    }
}

/// The first cheat of each class and the first honest program of each spec.
fn sample(cases: Vec<Case>) -> Vec<Case> {
    let mut seen = BTreeSet::new();
    let first = |case: &Case| {
        seen.insert(match &case.cheat {
            Some(cheat) => (false, cheat.class.clone()),
            None => (true, case.of.clone()),
        })
    };
    let mut cases = cases;
    cases.retain(first);
    cases
}

#[derive(Default)]
struct Class {
    cheats: usize,
    accepted: usize,
    stopped_at: BTreeMap<String, usize>,
}

/// The line, and whether the goals were reached; what went wrong is said on stderr.
fn summary(judged: &[Judged], whole: bool, verbose: bool) -> (Value, bool) {
    let mut classes: BTreeMap<&str, Class> = BTreeMap::new();
    let (mut honest, mut rejected, mut elsewhere) = (0, 0, 0);
    for Judged {
        case,
        seed,
        stopped,
    } in judged
    {
        let found = match stopped {
            None => "accepted".to_owned(),
            Some((at, why)) => format!("stopped at {at}: {why}"),
        };
        let right = match (&case.cheat, stopped) {
            (None, stopped) => {
                honest += 1;
                rejected += usize::from(stopped.is_some());
                stopped.is_none()
            }
            (Some(cheat), stopped) => {
                let class = classes.entry(&cheat.class).or_default();
                class.cheats += 1;
                match stopped {
                    None => {
                        class.accepted += 1;
                        false
                    }
                    Some((at, why)) => {
                        *class.stopped_at.entry(at.clone()).or_default() += 1;
                        let right = *at == cheat.stops_at && why.contains(&cheat.why);
                        elsewhere += usize::from(!right);
                        right
                    }
                }
            }
        };
        if verbose || !right {
            let mark = if right { "ok" } else { "WRONG" };
            tell(&format!(
                "{mark}: {} / {}: {found} (seed {seed})",
                case.of, case.name
            ));
        }
    }
    let cheats: usize = classes.values().map(|class| class.cheats).sum();
    let accepted: usize = classes.values().map(|class| class.accepted).sum();
    let by_class: BTreeMap<&str, Value> = classes
        .iter()
        .map(|(name, class)| {
            let Class {
                cheats,
                accepted,
                stopped_at,
            } = class;
            let value = json!({"cheats": cheats, "accepted": accepted, "stopped_at": stopped_at});
            (*name, value)
        })
        .collect();
    let enough = !whole || (cheats >= CHEATS_MIN && honest >= HONEST_MIN);
    let line = json!({
        "bench": "cheats", "cheats": cheats, "accepted": accepted, "honest": honest,
        "rejected": rejected, "elsewhere": elsewhere, "by_class": by_class,
    });
    (
        line,
        enough && accepted == 0 && rejected == 0 && elsewhere == 0,
    )
}

#[expect(clippy::print_stderr, reason = "the result is one line on stdout")]
fn tell(line: &str) {
    eprintln!("{line}");
}
