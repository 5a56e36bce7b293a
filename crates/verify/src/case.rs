//! One case, played for real: fixtures, steps behind the walls, probes before and after.
//!
//! Beside its probes every case must keep some rules: a run step ends as it is expected to and leaves no
//! process behind, no undeclared host is tried, no limit is hit, a service stays up until it is stopped.
//! Start at [`play`].

use crate::clock;
use crate::digest;
use crate::exchange;
use crate::fixture::lay_out;
use crate::outcome::{Stop, tail};
use crate::probe::plan::{self, Request};
use crate::probe::{Plan, Runs, look};
use crate::seal::{needs_service, service_port};
use crate::template::Scope;
use crate::world::{STATE, Shared, World};
use agentwright_domain::acceptance::{Case, Check, ExpectedExit, Fixture, Holds, Step};
use agentwright_domain::spec::{HostPort, Spec, Trigger};
use agentwright_sandbox::spec_policy::{self, Routes};
use agentwright_sandbox::{
    Captured, Command, Ending, Error, Limit, NetworkDecision, Policy, Report, Running, Sandbox,
    SyntheticFile, Usage,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long a service may take until it is healthy, unless the operator says otherwise.
pub const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a service may take to end when it is asked to.
pub const STOP_GRACE: Duration = Duration::from_secs(5);
/// How often a starting service is asked for its health.
const HEALTH_POLL: Duration = Duration::from_millis(20);
/// The most bytes of each output that are kept as evidence.
const OUTPUT_MAX: usize = 32 << 10;

/// What every case of a verify is played with.
pub(crate) struct Stage<'a> {
    pub(crate) spec: &'a Spec,
    /// The copy of the code.
    pub(crate) app: &'a Path,
    pub(crate) seed: [u8; 32],
    pub(crate) programs: &'a BTreeMap<String, PathBuf>,
    pub(crate) start_limit: Duration,
}

/// How a case went.
pub(crate) struct Played {
    pub(crate) held: Result<(), Stop>,
    /// For people.
    pub(crate) lines: Vec<String>,
    pub(crate) evidence: Value,
    pub(crate) usage: Usage,
}

/// Plays a case in a new directory.
pub(crate) async fn play(
    stage: &Stage<'_>,
    case: &Case,
    directory: &Path,
    scope: Scope,
    shared: &mut Shared,
) -> Played {
    let sandbox = Arc::clone(&shared.sandbox);
    let cancel = shared.cancel.clone();
    let ca_bundle = shared.authority.bundle().to_owned();
    let world = match World::new(stage.spec, directory, Some(shared)) {
        Ok(world) => world,
        Err(stop) => {
            return Played {
                held: Err(stop),
                lines: Vec::new(),
                evidence: Value::Null,
                usage: Usage::default(),
            };
        }
    };
    let mut player = Player {
        stage,
        world,
        scope,
        sandbox,
        cancel,
        ca_bundle,
        service: None,
        runs: Runs::None,
        lines: Vec::new(),
        steps: Vec::new(),
        probes: Vec::new(),
        usage: Usage::default(),
    };
    let held = player.play(case).await;
    player.finish(case, held)
}

struct Player<'a, 'w> {
    stage: &'a Stage<'a>,
    world: World<'w>,
    scope: Scope,
    sandbox: Arc<Sandbox>,
    cancel: CancellationToken,
    ca_bundle: String,
    service: Option<Running>,
    runs: Runs,
    lines: Vec<String>,
    steps: Vec<Value>,
    probes: Vec<Value>,
    usage: Usage,
}

impl Player<'_, '_> {
    async fn play(&mut self, case: &Case) -> Result<(), Stop> {
        for step in &case.steps {
            if let Step::Request { save, .. } = step {
                for name in save.keys() {
                    self.scope.announce(name);
                }
            }
        }
        for fixture in &case.fixtures {
            lay_out(&mut self.world, fixture, &self.scope).await?;
        }
        self.world.set_baselines()?;
        self.probes_before(case).await?;
        for step in &case.steps {
            if self.cancel.is_cancelled() {
                return Err(Stop::Cancelled);
            }
            self.step(step).await?;
        }
        self.probes_after(case).await?;
        self.stop_service().await
    }

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Run { .. } => self.run(step).await,
            Step::Start {} => self.start().await,
            Step::Request { .. } => self.request(step).await,
            Step::Stop {} => self.stop_service().await,
            Step::Arrange { fixture } => self.arrange(fixture).await,
        }
    }

    async fn run(&mut self, step: &Step) -> Result<(), Stop> {
        let Step::Run {
            args,
            stdin,
            exit,
            limit_s,
        } = step
        else {
            return Ok(());
        };
        let mut policy = self.policy()?;
        policy.limits.wall_ms = Some(limit_s.saturating_mul(1000));
        let mut argv = self.stage.spec.command.clone();
        for arg in args {
            argv.push(self.scope.text(arg).map_err(Stop::Spec)?);
        }
        let stdin = self.scope.text(stdin).map_err(Stop::Spec)?.into_bytes();
        self.lines.push(format!("run: {}", argv.join(" ")));
        let command = Command { argv, stdin };
        let report = self
            .sandbox
            .run(policy, command, self.cancel.clone())
            .await
            .map_err(|error| sandbox_stop(&error))?;
        self.tell("run", &report);
        self.rules(&report)?;
        judge_exit(&report, *exit)?;
        self.runs = Runs::AsExpected;
        Ok(())
    }

    async fn start(&mut self) -> Result<(), Stop> {
        if self.service.is_some() {
            return Err(Stop::Spec("the service is already running".into()));
        }
        let Trigger::Service {
            port, health_path, ..
        } = &self.stage.spec.trigger
        else {
            return Err(Stop::Spec("only a service is started".into()));
        };
        let mut policy = self.policy()?;
        policy.limits.wall_ms = None;
        let command = Command {
            argv: self.stage.spec.command.clone(),
            stdin: Vec::new(),
        };
        self.lines
            .push(format!("start: {}", command.argv.join(" ")));
        let running = self
            .sandbox
            .start(policy, command)
            .await
            .map_err(|error| sandbox_stop(&error))?;
        self.service = Some(running.clone());
        let health = Request {
            port: *port,
            method: "GET".into(),
            path: health_path.clone(),
            headers: Vec::new(),
            body: String::new(),
            status: 200,
            content: None,
        };
        let started = Instant::now();
        let until_healthy = wait_until_healthy(&running, &health);
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Stop::Cancelled),
            ended = running.wait() => {
                let report = ended.map_err(|error| sandbox_stop(&error))?;
                self.service = None;
                self.tell("service", &report);
                self.rules(&report)?;
                Err(Stop::Code(format!(
                    "the service ended while it was starting: {}{}",
                    ending_words(report.ending),
                    last_words(&report)
                )))
            }
            healthy = tokio::time::timeout(self.stage.start_limit, until_healthy) => match healthy {
                Ok(()) => {
                    self.lines.push(format!("healthy after {} ms", started.elapsed().as_millis()));
                    Ok(())
                }
                Err(_) => Err(Stop::Code(format!(
                    "the service did not answer 200 on {health_path} at port {port} within {} s",
                    self.stage.start_limit.as_secs()
                ))),
            },
        }
    }

    async fn request(&mut self, step: &Step) -> Result<(), Stop> {
        let Step::Request {
            method,
            path,
            headers,
            body,
            status,
            save,
        } = step
        else {
            return Ok(());
        };
        let (Some(service), Some(port)) = (self.service.clone(), service_port(self.stage.spec))
        else {
            return Err(Stop::Spec("the service is not running".into()));
        };
        let text = |template: &str| self.scope.text(template).map_err(Stop::Spec);
        let request = Request {
            port,
            method: plan::method_of(method).map_err(Stop::Spec)?,
            path: plan::request_path(&text(path)?).map_err(Stop::Spec)?,
            headers: headers
                .iter()
                .map(|(name, value)| Ok((name.clone(), text(value)?)))
                .collect::<Result<_, Stop>>()?,
            body: text(body)?,
            status: *status,
            content: None,
        };
        let asked = format!("{} {}", request.method, request.path);
        let answer = tokio::select! {
            answer = exchange::ask(&service, &request) => answer,
            () = self.cancel.cancelled() => return Err(Stop::Cancelled),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                return Err(Stop::Code(format!(
                    "request {why}{}",
                    self.service_words().await
                )));
            }
        };
        self.lines
            .push(format!("request: {asked} → {}", answer.status));
        self.steps.push(json!({
            "step": "request", "request": asked, "status": answer.status,
            "body": clipped(&answer.body),
        }));
        if answer.status != request.status {
            return Err(Stop::Code(format!(
                "{asked} answered {}, {} was expected: {}",
                answer.status,
                request.status,
                crate::probe::matcher::shown(&answer.text())
            )));
        }
        self.save(save, &asked, &answer.body)
    }

    fn save(
        &mut self,
        save: &BTreeMap<String, String>,
        asked: &str,
        body: &[u8],
    ) -> Result<(), Stop> {
        if save.is_empty() {
            return Ok(());
        }
        let shown = crate::probe::matcher::shown(&String::from_utf8_lossy(body));
        let json: Value = serde_json::from_slice(body)
            .map_err(|error| Stop::Code(format!("{asked} answered no JSON ({error}): {shown}")))?;
        for (name, pointer) in save {
            let value = json.pointer(pointer).ok_or_else(|| {
                Stop::Code(format!("{asked} answered nothing at {pointer:?}: {shown}"))
            })?;
            self.scope.save(name, value.clone());
        }
        Ok(())
    }

    async fn arrange(&mut self, fixture: &Fixture) -> Result<(), Stop> {
        self.lines.push("the world is changed".into());
        let Some(folder) = fixture.folder().map(str::to_owned) else {
            return lay_out(&mut self.world, fixture, &self.scope).await;
        };
        let before = self.world.snapshot(&folder).map_err(Stop::Code)?;
        lay_out(&mut self.world, fixture, &self.scope).await?;
        let after = self.world.snapshot(&folder).map_err(Stop::Code)?;
        self.world.adopt(&folder, &before, &after);
        Ok(())
    }

    /// Ends the service, if one runs, and judges its life.
    async fn stop_service(&mut self) -> Result<(), Stop> {
        let Some(service) = self.service.take() else {
            return Ok(());
        };
        if let Ok(ended) = tokio::time::timeout(Duration::ZERO, service.wait()).await {
            let report = ended.map_err(|error| sandbox_stop(&error))?;
            self.tell("service", &report);
            self.rules(&report)?;
            return Err(Stop::Code(format!(
                "the service ended by itself: {}{}",
                ending_words(report.ending),
                last_words(&report)
            )));
        }
        service.stop(STOP_GRACE).await;
        let report = service.wait().await.map_err(|error| sandbox_stop(&error))?;
        self.tell("service", &report);
        // What a service leaves when it is asked to end is ended with it.
        let report = Report {
            left_over_processes: 0,
            ..report.as_ref().clone()
        };
        self.rules(&report)
    }

    /// What is known of a service that does not answer.
    async fn service_words(&self) -> String {
        let Some(service) = &self.service else {
            return String::new();
        };
        match tokio::time::timeout(HEALTH_POLL, service.wait()).await {
            Ok(Ok(report)) => format!(
                "; the service ended: {}{}",
                ending_words(report.ending),
                last_words(&report)
            ),
            Ok(Err(_)) | Err(_) => String::new(),
        }
    }

    fn policy(&self) -> Result<Policy, Stop> {
        let routes = Routes::Fixtures {
            addresses: self.world.addresses(),
            ca_bundle: self.ca_bundle.clone(),
        };
        let folders = self.world.folders();
        let spec = self.stage.spec;
        let state = folders
            .get(STATE)
            .map(PathBuf::as_path)
            .unwrap_or(Path::new("/nonexistent"));
        let limits = spec_policy::limits(spec);
        let mut policy = spec_policy::policy(spec, self.stage.app, state, folders, &routes, limits)
            .map_err(|error| Stop::Fault(error.to_string()))?;
        let real = self.stage.programs.iter();
        let real = real.filter(|(name, _)| !self.world.programs().contains_key(*name));
        let real = real
            .map(|(name, path)| (name.clone(), path.clone()))
            .collect();
        spec_policy::add_programs(&mut policy, spec, &real);
        for secret in &spec.permissions.secrets {
            let made = digest::of(&[secret.variable.as_bytes(), &self.stage.seed].concat());
            policy
                .env
                .insert(secret.variable.clone(), format!("test-{}", made.short()));
        }
        policy.env.extend(self.world.variables().clone());
        for (name, script) in self.world.programs() {
            policy.files.push(SyntheticFile {
                inside: Path::new(spec_policy::PROGRAMS).join(name),
                content: script.clone().into_bytes(),
                mode: 0o755,
            });
        }
        Ok(policy)
    }

    /// The rules that every case must keep.
    fn rules(&mut self, report: &Report) -> Result<(), Stop> {
        if report.ending == Ending::Cancelled {
            return Err(Stop::Cancelled);
        }
        if let Ending::Stopped(limit) = report.ending {
            return Err(Stop::Code(format!(
                "{} after {} ms{}",
                limit_words(limit),
                report.usage.wall_ms,
                last_words(report)
            )));
        }
        if let Some(tried) = report
            .network
            .iter()
            .find(|decision| self.undeclared(decision))
        {
            return Err(Stop::Code(format!(
                "it tried to reach {}:{}, which is not declared in the permissions",
                tried.host, tried.port
            )));
        }
        for decision in report.network.iter().filter(|decision| !decision.allowed) {
            let line = format!(
                "{}:{} was not reached: {}",
                decision.host, decision.port, decision.reason
            );
            self.lines.push(line);
        }
        match report.left_over_processes {
            0 => Ok(()),
            1 => Err(Stop::Code("it left 1 process running when it ended".into())),
            count => Err(Stop::Code(format!(
                "it left {count} processes running when it ended"
            ))),
        }
    }

    fn undeclared(&self, decision: &NetworkDecision) -> bool {
        let asked = HostPort {
            host: decision.host.to_ascii_lowercase(),
            port: decision.port,
        };
        let permissions = &self.stage.spec.permissions;
        !decision.allowed
            && !permissions.network.contains(&asked)
            && !permissions.allow_private.contains(&asked)
    }

    /// Writes down what a report says.
    fn tell(&mut self, what: &str, report: &Report) {
        self.usage.cpu_ms += report.usage.cpu_ms;
        self.usage.wall_ms += report.usage.wall_ms;
        self.usage.max_rss_bytes = self.usage.max_rss_bytes.max(report.usage.max_rss_bytes);
        self.lines.push(format!(
            "{what}: {} after {} ms",
            ending_words(report.ending),
            report.usage.wall_ms
        ));
        for (name, output) in [("stdout", &report.stdout), ("stderr", &report.stderr)] {
            let text = tail(&output.text());
            if !text.is_empty() {
                self.lines.push(format!("{name}:"));
                self.lines
                    .extend(text.lines().map(|line| format!("  {line}")));
            }
        }
        self.steps.push(json!({
            "step": what,
            "ending": ending_words(report.ending),
            "tier": report.tier.to_string(),
            "stdout": output(&report.stdout),
            "stderr": output(&report.stderr),
            "usage": report.usage,
            "network": report.network,
            "left_over_processes": report.left_over_processes,
        }));
    }

    async fn probes_before(&mut self, case: &Case) -> Result<(), Stop> {
        for probe in &case.probes {
            // False as long as nothing runs; a trial said so when it was sealed.
            if needs_service(&probe.check) || matches!(probe.check, Check::ExitCode {}) {
                continue;
            }
            let plan = self.plan(&probe.check, &probe.name)?;
            let finding = look(&plan, &self.world, None, self.runs).await;
            let fits = finding.holds == (probe.holds == Holds::Invariant);
            self.probes
                .push(json!({"probe": probe.name, "when": "before", "finding": finding}));
            if !fits {
                let why = match probe.holds {
                    Holds::Effect => "already holds before anything ran",
                    Holds::Invariant => "does not hold before anything ran",
                };
                return Err(Stop::Spec(format!(
                    "{:?} {why}: expected {}, found {}",
                    probe.name, finding.expected, finding.found
                )));
            }
        }
        Ok(())
    }

    async fn probes_after(&mut self, case: &Case) -> Result<(), Stop> {
        let mut failed = Vec::new();
        for probe in &case.probes {
            let plan = self.plan(&probe.check, &probe.name)?;
            let finding = tokio::select! {
                finding = look(&plan, &self.world, self.service.as_ref(), self.runs) => finding,
                () = self.cancel.cancelled() => return Err(Stop::Cancelled),
            };
            if finding.holds {
                self.lines.push(format!("holds: {}", probe.name));
            } else {
                let why = format!(
                    "{}: expected {}, found {}",
                    probe.name, finding.expected, finding.found
                );
                self.lines.push(format!("does not hold: {why}"));
                failed.push(why);
            }
            self.probes
                .push(json!({"probe": probe.name, "when": "after", "finding": finding}));
        }
        match failed.len() {
            0 => Ok(()),
            1 => Err(Stop::Code(failed.remove(0))),
            more => Err(Stop::Code(format!(
                "{} (and {} more)",
                failed.remove(0),
                more - 1
            ))),
        }
    }

    fn plan(&self, check: &Check, name: &str) -> Result<Plan, Stop> {
        Plan::render(check, &self.scope, service_port(self.stage.spec))
            .map_err(|why| Stop::Spec(format!("probe {name:?}: {why}")))
    }

    fn finish(mut self, case: &Case, held: Result<(), Stop>) -> Played {
        let after = self.world.snapshots();
        if let (Ok(()), Err(why)) = (&held, &after) {
            self.lines
                .push(format!("the folders could not be read afterwards: {why}"));
        }
        let hosts: Value = self
            .world
            .https()
            .iter()
            .map(|(host, fixture)| (host.to_string(), json!(fixture.seen())))
            .collect::<serde_json::Map<String, Value>>()
            .into();
        let evidence = json!({
            "case": case.name,
            "held": held.is_ok(),
            "played_at": jiff::Timestamp::try_from(clock::now()).map(|at| at.to_string()).unwrap_or_default(),
            "fixtures": self.world.notes(),
            "steps": self.steps,
            "probes": self.probes,
            "hosts": hosts,
            "before": self.world.baselines(),
            "after": after.unwrap_or_default(),
        });
        Played {
            held,
            lines: self.lines,
            evidence,
            usage: self.usage,
        }
    }
}

async fn wait_until_healthy(running: &Running, health: &Request) {
    loop {
        if exchange::ask(running, health)
            .await
            .is_ok_and(|answer| answer.status == 200)
        {
            return;
        }
        tokio::time::sleep(HEALTH_POLL).await;
    }
}

/// What a refusal or failure of the sandbox means.
pub(crate) fn sandbox_stop(error: &Error) -> Stop {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    Stop::Fault(text)
}

fn judge_exit(report: &Report, expected: ExpectedExit) -> Result<(), Stop> {
    match (report.ending, expected) {
        (Ending::Exited(0), ExpectedExit::Success) => Ok(()),
        (Ending::Exited(0), ExpectedExit::Failure) => Err(Stop::Code(
            "it ended with 0 although it could not do its work: the failure is hidden".into(),
        )),
        (Ending::Exited(code @ (126 | 127)), _) => Err(Stop::Code(format!(
            "the command could not be started (exit code {code}){}",
            last_words(report)
        ))),
        (Ending::Exited(_), ExpectedExit::Failure) => Ok(()),
        (ending, _) => Err(Stop::Code(format!(
            "it {}{}",
            ending_words(ending),
            last_words(report)
        ))),
    }
}

/// How it ended, for people.
pub(crate) fn ending_words(ending: Ending) -> String {
    match ending {
        Ending::Exited(code) => format!("ended with exit code {code}"),
        Ending::Signalled(signal) => format!("was ended by signal {signal}"),
        Ending::Stopped(limit) => limit_words(limit).to_owned(),
        Ending::Cancelled => "was cancelled".to_owned(),
    }
}

fn limit_words(limit: Limit) -> &'static str {
    match limit {
        Limit::Wall => "it was stopped by the time limit",
        Limit::Cpu => "it was stopped by the processor time limit",
        Limit::Memory => "it was stopped by the memory limit",
        Limit::Disk => "it was stopped by the disk limit",
        Limit::Inodes => "it was stopped by the limit on new files",
        Limit::Output => "it was stopped by the output limit",
    }
}

/// The last line of what it said, for a summary.
pub(crate) fn last_words(report: &Report) -> String {
    let said = |captured: &Captured| {
        captured
            .text()
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .map(crate::probe::matcher::cut)
    };
    match said(&report.stderr).or_else(|| said(&report.stdout)) {
        Some(line) => format!("; its last words: {}", line.trim()),
        None => String::new(),
    }
}

fn output(captured: &Captured) -> Value {
    json!({
        "text": clipped(&captured.bytes),
        "bytes": captured.bytes.len(),
        "dropped_bytes": captured.truncated_bytes,
    })
}

fn clipped(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(OUTPUT_MAX);
    String::from_utf8_lossy(&bytes[from..]).into_owned()
}
