//! One case, played for real: fixtures, steps behind the walls, probes before and after.
//!
//! Beside its probes every case must keep some rules: a run step ends as it is expected to and leaves no
//! process behind, no undeclared host is tried, no limit is hit, a service stays up until it is stopped.
//! Start at [`play`].

mod service;

pub use service::STOP_GRACE;

use crate::clock;
use crate::digest;
use crate::fixture::lay_out;
use crate::judge::{ending_words, judge_exit, last_words, limit_words, output, sandbox_stop};
use crate::outcome::{Stop, tail};
use crate::probe::{Plan, Runs, look};
use crate::seal::{needs_service, service_port};
use crate::template::Scope;
use crate::world::{STATE, Shared, World};
use agentwright_domain::acceptance::{Case, Check, Fixture, Holds, Step};
use agentwright_domain::spec::{HostPort, Spec};
use agentwright_sandbox::spec_policy::{self, Routes};
use agentwright_sandbox::{
    Command, Ending, NetworkDecision, Policy, Report, Running, Sandbox, SyntheticFile, Usage,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a service may take until it is healthy, unless the operator says otherwise.
pub const START_LIMIT: Duration = Duration::from_secs(20);

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

    async fn arrange(&mut self, fixture: &Fixture) -> Result<(), Stop> {
        self.lines.push("the world is changed".into());
        let Some(folder) = fixture.folder().map(str::to_owned) else {
            return lay_out(&mut self.world, fixture, &self.scope).await;
        };
        let before = self.world.snapshot(&folder).map_err(Stop::Code)?;
        // The code was here before us: what is in the way now, it put there.
        match lay_out(&mut self.world, fixture, &self.scope).await {
            Err(Stop::Fault(why)) => return Err(Stop::Code(why)),
            laid_out => laid_out?,
        }
        let after = self.world.snapshot(&folder).map_err(Stop::Code)?;
        self.world.adopt(&folder, &before, &after);
        Ok(())
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
        // What the case says a secret is comes the way of the secret; else a value is made up.
        let mut given = self.world.variables().clone();
        for secret in &spec.permissions.secrets {
            let made = || {
                let seed = [secret.variable.as_bytes(), &self.stage.seed].concat();
                digest::of(&seed).hex().to_owned()
            };
            let value = given.remove(&secret.variable).unwrap_or_else(made);
            spec_policy::add_secret(&mut policy, secret, &value);
        }
        policy.env.extend(given);
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
