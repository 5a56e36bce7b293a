//! The four levels in order; the first that does not hold stops.
//!
//! Start at [`Verifier::verify`]. What a level does stands in `level/` and `case`; here are only their order,
//! their timing and what becomes of their results.

use crate::case::{self, Played, START_LIMIT, Stage};
use crate::clock;
use crate::digest;
use crate::draw::{draw_all, seed_text};
use crate::level::{deployment, structure};
use crate::outcome::{Log, Stop};
use crate::report::{Ended, Reporter, Verification};
use crate::template::Scope;
use crate::world::Shared;
use agentwright_domain::acceptance::Case;
use agentwright_domain::digest::Digest;
use agentwright_domain::evidence::{EvidenceRef, Level, TestResult, Verdict};
use agentwright_domain::spec::Spec;
use agentwright_sandbox::spec_policy::zone;
use agentwright_sandbox::{Sandbox, Tier, Usage};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What the operator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Below this tier nothing above the structure level runs. Less than [`Tier::Full`] counts as that.
    pub minimum: Tier,
    /// How long a service may take until it is healthy.
    pub start_limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            minimum: Tier::Full,
            start_limit: START_LIMIT,
        }
    }
}

/// Verifies automations. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) settings: Settings,
}

/// One piece of work.
#[derive(Clone, Debug)]
pub struct Work<'a> {
    /// What was asked for, with its sealed acceptance.
    pub spec: &'a Spec,
    /// The directory of the code; it is copied, the copy is tested.
    pub app: PathBuf,
    /// An empty directory of ours, absolute and without symbolic links on its way. The caller removes it
    /// afterwards.
    pub scratch: PathBuf,
    /// Drawn by the caller after the code was committed.
    pub seed: [u8; 32],
    /// Declared programs that lie outside `/usr`: name → file.
    pub programs: BTreeMap<String, PathBuf>,
}

/// What one level saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) log: Log,
    /// Name → bytes, kept when the level ends.
    pub(crate) evidence: Vec<(String, Vec<u8>)>,
    pub(crate) cpu_ms: u64,
    pub(crate) max_rss_bytes: u64,
    pub(crate) summary: String,
}

impl Seen {
    pub(crate) fn used(&mut self, usage: &Usage) {
        self.cpu_ms += usage.cpu_ms;
        self.max_rss_bytes = self.max_rss_bytes.max(usage.max_rss_bytes);
    }
}

/// A verify on its way.
struct Verify<'a> {
    verifier: &'a Verifier,
    work: &'a Work<'a>,
    reporter: &'a dyn Reporter,
    cancel: &'a CancellationToken,
    tier: Tier,
    results: Vec<TestResult>,
    code: Option<Digest>,
}

impl Verifier {
    /// Uses this sandbox.
    pub fn new(sandbox: Arc<Sandbox>, settings: Settings) -> Self {
        Self { sandbox, settings }
    }

    /// The same, whose processes are known under a name ([`Sandbox::living`]).
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self {
            sandbox: Arc::new(self.sandbox.named(name)),
            settings: self.settings,
        }
    }

    /// Tests code against its spec: structure, deployment, smoke, assertion; the first that does not hold
    /// stops. Never an error: a fault of ours is a result of level 0.
    pub async fn verify(
        &self,
        work: &Work<'_>,
        reporter: &dyn Reporter,
        cancel: &CancellationToken,
    ) -> Verification {
        let probe = self.sandbox.probe().await;
        let mut verify = Verify {
            verifier: self,
            work,
            reporter,
            cancel,
            tier: probe.tier,
            results: Vec::new(),
            code: None,
        };
        let ended = match verify.levels(&probe.reasons).await {
            Ok(()) => Ended::Passed,
            Err(ended) => ended,
        };
        Verification::new(verify.results, ended, verify.code)
    }
}

impl Verify<'_> {
    async fn levels(&mut self, reasons: &[String]) -> Result<(), Ended> {
        self.reporter.progress(0, "verify: structure").await;
        let app = self.work.scratch.join("app");
        let started = Instant::now();
        let mut seen = Seen::default();
        let copied = structure::check(self.verifier, self.work, &app, self.cancel, &mut seen).await;
        let held = match copied {
            Ok(code) => {
                self.code = Some(code);
                Ok(())
            }
            Err(stop) => Err(stop),
        };
        self.end(Level::Structure, started, seen, held).await?;
        self.walls(reasons).await?;

        self.reporter.progress(10, "verify: deployment").await;
        let started = Instant::now();
        let mut seen = Seen::default();
        let held = deployment::check(self.verifier, self.work, &app, self.cancel, &mut seen).await;
        self.end(Level::Deployment, started, seen, held).await?;

        let (mut shared, scope) = self.prepare().await?;
        self.reporter.progress(25, "verify: smoke").await;
        let smoke = &self.work.spec.acceptance.smoke;
        self.cases(
            Level::Smoke,
            std::slice::from_ref(smoke),
            &scope,
            &mut shared,
        )
        .await?;
        let cases = &self.work.spec.acceptance.cases;
        self.cases(Level::Assertion, cases, &scope, &mut shared)
            .await?;
        self.reporter
            .progress(100, "verify: every level held")
            .await;
        Ok(())
    }

    /// No walls, no run.
    async fn walls(&mut self, reasons: &[String]) -> Result<(), Ended> {
        let needed = self.verifier.settings.minimum.max(Tier::Full);
        if self.tier >= needed {
            return Ok(());
        }
        let why = format!(
            "nothing above the structure level was run: the sandbox offers tier {}, {} is needed: {}",
            self.tier,
            needed,
            reasons.join("; ")
        );
        self.end(
            Level::Deployment,
            Instant::now(),
            Seen::default(),
            Err(Stop::Fault(why)),
        )
        .await
    }

    async fn prepare(&mut self) -> Result<(Shared, Scope), Ended> {
        let made = self.try_prepare();
        match made {
            Ok(prepared) => Ok(prepared),
            Err(stop) => match self
                .end(Level::Smoke, Instant::now(), Seen::default(), Err(stop))
                .await
            {
                Err(ended) => Err(ended),
                Ok(()) => Err(Ended::Fault),
            },
        }
    }

    fn try_prepare(&self) -> Result<(Shared, Scope), Stop> {
        let spec = self.work.spec;
        let draws = draw_all(&spec.acceptance.draw, self.work.seed)
            .map_err(|(name, why)| Stop::Spec(format!("draw {name:?}: {why}")))?;
        let password = digest::of(&[b"fixture database ".as_slice(), &self.work.seed].concat());
        let shared = Shared::new(
            Arc::clone(&self.verifier.sandbox),
            self.work.scratch.clone(),
            password.hex().to_owned(),
            self.cancel.clone(),
        )?;
        Ok((shared, Scope::new(spec, draws, clock::today(&zone(spec)))))
    }

    async fn cases(
        &mut self,
        level: Level,
        cases: &[Case],
        scope: &Scope,
        shared: &mut Shared,
    ) -> Result<(), Ended> {
        let started = Instant::now();
        let mut seen = Seen::default();
        seen.evidence
            .push(("seed".into(), seed_text(self.work.seed).into_bytes()));
        seen.evidence
            .push(("draw.json".into(), digest::canonical(scope.drawn())));
        seen.log.line(format!("seed {}", seed_text(self.work.seed)));
        let mut held = Ok(());
        for (i, case) in cases.iter().enumerate() {
            let label = match level {
                Level::Smoke => "smoke".to_owned(),
                _ => format!("case-{}", i + 1),
            };
            if level == Level::Assertion {
                let percent = 35 + 60 * i / cases.len();
                let message = format!("verify: {}", case.name);
                self.reporter
                    .progress(u8::try_from(percent).unwrap_or(95), &message)
                    .await;
            }
            let played = self.case(case, &label, scope, shared).await;
            held = record(&label, case, played, &mut seen);
            if held.is_err() {
                break;
            }
        }
        if held.is_ok() {
            seen.summary = match level {
                Level::Smoke => format!("it runs: {}", cases[0].name),
                _ => format!("all {} cases hold", cases.len()),
            };
        }
        self.end(level, started, seen, held).await
    }

    /// One case; repeated once when midnight fell into it and it failed, because dates were drawn before.
    async fn case(&self, case: &Case, label: &str, scope: &Scope, shared: &mut Shared) -> Played {
        let app = self.work.scratch.join("app");
        let stage = Stage {
            spec: self.work.spec,
            app: &app,
            seed: self.work.seed,
            programs: &self.work.programs,
            start_limit: self.verifier.settings.start_limit,
        };
        let zone = zone(self.work.spec);
        let directory = self.work.scratch.join(label);
        let scope = scope.on(clock::today(&zone));
        let played = case::play(&stage, case, &directory, scope.clone(), shared).await;
        let today = clock::today(&zone);
        if today == scope.today() || !matches!(played.held, Err(Stop::Code(_))) {
            return played;
        }
        let again = self.work.scratch.join(format!("{label}-after-midnight"));
        case::play(&stage, case, &again, scope.on(today), shared).await
    }

    /// Keeps a level's evidence and writes its result.
    async fn end(
        &mut self,
        level: Level,
        started: Instant,
        mut seen: Seen,
        held: Result<(), Stop>,
    ) -> Result<(), Ended> {
        let mut evidence: Vec<EvidenceRef> = Vec::new();
        let mut held = held;
        for (name, bytes) in std::mem::take(&mut seen.evidence) {
            match self.reporter.keep(&name, bytes).await {
                Ok(kept) => evidence.push(kept),
                Err(error) => held = Err(Stop::Fault(error.to_string())),
            }
        }
        let (level, summary, ended) = match held {
            Ok(()) => (level, seen.summary.clone(), None),
            Err(Stop::Code(why)) => (level, why, Some(Ended::CodeFailed)),
            Err(Stop::Spec(why)) => (
                level,
                format!("the acceptance is wrong: {why}"),
                Some(Ended::SpecWrong),
            ),
            Err(Stop::Fault(why)) => {
                let why = format!("during the {} level: {why}", level.word());
                (Level::Fault, why, Some(Ended::Fault))
            }
            Err(Stop::Cancelled) => (
                Level::Fault,
                format!("cancelled during the {} level", level.word()),
                Some(Ended::Cancelled),
            ),
        };
        seen.log.line(&summary);
        self.results.push(TestResult {
            level,
            verdict: if ended.is_none() {
                Verdict::Pass
            } else {
                Verdict::Fail
            },
            summary,
            log: seen.log.into_text(),
            evidence,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            cpu_ms: seen.cpu_ms,
            max_rss_bytes: seen.max_rss_bytes,
            tier: self.tier.to_string(),
        });
        ended.map_or(Ok(()), Err)
    }
}

fn record(label: &str, case: &Case, played: Played, seen: &mut Seen) -> Result<(), Stop> {
    seen.log.line(format!("{label}: {}", case.name));
    for line in &played.lines {
        seen.log.line(format!("  {line}"));
    }
    seen.used(&played.usage);
    seen.evidence
        .push((format!("{label}.json"), digest::canonical(&played.evidence)));
    played.held.map_err(|stop| match stop {
        Stop::Code(why) => Stop::Code(format!("{}: {why}", case.name)),
        Stop::Spec(why) => Stop::Spec(format!("{}: {why}", case.name)),
        stop @ (Stop::Fault(_) | Stop::Cancelled) => stop,
    })
}

/// Evidence as JSON, for a level.
pub(crate) fn json_evidence(name: &str, value: &Value) -> (String, Vec<u8>) {
    (name.to_owned(), digest::canonical(value))
}

/// Where the tested copy lies in a scratch directory.
pub fn tested_copy(scratch: &Path) -> PathBuf {
    scratch.join("app")
}
