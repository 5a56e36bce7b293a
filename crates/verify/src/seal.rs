//! Sealing: an acceptance is checked for emptiness of meaning before any code exists, and named by its
//! digest.
//!
//! Nothing is run. Each case's fixtures are laid out with trial draws; every template, glob, expression and
//! pointer is tried; each effect must be false and each invariant true; what the acceptance arranges itself
//! must not make an effect true; and each invariant must be broken by at least one mutant of the
//! folder it looks into ([`crate::mutants`]). Not tried here: rows of PostgreSQL (there is no server), and
//! probes of a service, which are false as long as nothing runs.

use crate::clock;
use crate::digest;
use crate::draw::draw_all;
use crate::fixture::lay_out;
use crate::mutants;
use crate::outcome::Stop;
use crate::probe::{Plan, Runs, look, matcher, plan};
use crate::template::Scope;
use crate::world::World;
use agentwright_domain::acceptance::{Case, Check, Fixture, Holds, Probe, Step};
use agentwright_domain::digest::Digest;
use agentwright_domain::spec::{AutomationKind, HostPort, Spec, SpecProblem, Trigger};
use agentwright_sandbox::spec_policy::zone;
use std::path::Path;

/// Trial draws: what holds for one drawn value may not hold for another.
const TRIALS: u8 = 2;
/// The most problems that are listed.
const PROBLEMS_MAX: usize = 50;
/// The longest a run step may ask for, in seconds.
pub(crate) const STEP_LIMIT_MAX_S: u64 = 600;

/// A sealed acceptance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its one JSON text.
    pub canonical: Vec<u8>,
    /// The digest of that text.
    pub digest: Digest,
}

/// Why an acceptance is not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The spec is wrong: show the problems to whoever wrote it.
    #[error("the spec has {} problems, the first: {}", .0.len(), first(.0))]
    Problems(Vec<SpecProblem>),
    /// It could not be checked: a fault of this machine, named with what to do.
    #[error("cannot check the acceptance: {0}")]
    Fault(String),
}

fn first(problems: &[SpecProblem]) -> String {
    problems
        .first()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Checks a spec's acceptance and seals it. `scratch` is an empty directory of ours; what is written there
/// may be removed afterwards.
///
/// # Errors
/// [`SealError::Problems`] with everything that is wrong, [`SealError::Fault`] when it cannot be told.
pub async fn seal(spec: &Spec, scratch: &Path) -> Result<Sealed, SealError> {
    let mut problems = spec.problems();
    if problems.is_empty() {
        for trial in 1..=TRIALS {
            let mut sealing = Sealing {
                spec,
                found: Vec::new(),
            };
            let directory = scratch.join(format!("trial-{trial}"));
            sealing
                .try_all([trial; 32], &directory)
                .await
                .map_err(SealError::Fault)?;
            problems = sealing.found;
            if !problems.is_empty() {
                break;
            }
        }
    }
    if problems.is_empty() {
        let canonical = digest::canonical(&spec.acceptance);
        let digest = digest::of(&canonical);
        Ok(Sealed { canonical, digest })
    } else {
        Err(SealError::Problems(problems))
    }
}

struct Sealing<'a> {
    spec: &'a Spec,
    found: Vec<SpecProblem>,
}

impl Sealing<'_> {
    fn add(&mut self, at: &str, problem: impl Into<String>) {
        if self.found.len() < PROBLEMS_MAX {
            self.found.push(SpecProblem {
                at: at.to_owned(),
                problem: problem.into(),
            });
        }
    }

    /// `Ok` when it could be tried; what is wrong is collected.
    async fn try_all(&mut self, seed: [u8; 32], directory: &Path) -> Result<(), String> {
        let draws = match draw_all(&self.spec.acceptance.draw, seed) {
            Ok(draws) => draws,
            Err((name, why)) => {
                self.add(&format!("/acceptance/draw/{name}"), why);
                return Ok(());
            }
        };
        let scope = Scope::new(self.spec, draws, clock::today(&zone(self.spec)));
        let spec = self.spec;
        let cases = std::iter::once(("/acceptance/smoke".to_owned(), &spec.acceptance.smoke))
            .chain(
                spec.acceptance
                    .cases
                    .iter()
                    .enumerate()
                    .map(|(i, case)| (format!("/acceptance/cases/{i}"), case)),
            );
        for (number, (at, case)) in cases.enumerate() {
            self.try_case(
                &at,
                case,
                scope.clone(),
                &directory.join(number.to_string()),
            )
            .await?;
        }
        Ok(())
    }

    async fn try_case(
        &mut self,
        at: &str,
        case: &Case,
        mut scope: Scope,
        directory: &Path,
    ) -> Result<(), String> {
        let mut world = match World::new(self.spec, directory, None) {
            Ok(world) => world,
            Err(stop) => return Err(fault(stop)),
        };
        for name in case.steps.iter().flat_map(saved) {
            scope.announce(name);
        }
        for (i, fixture) in case.fixtures.iter().enumerate() {
            self.try_fixture(&format!("{at}/fixtures/{i}"), fixture, &scope, &mut world)
                .await?;
        }
        let mut order = Order {
            service: self.spec.kind == AutomationKind::Service,
            up: false,
        };
        for (i, step) in case.steps.iter().enumerate() {
            if let Err(why) = order.step(step, &scope) {
                self.add(&format!("{at}/steps/{i}"), why);
            }
        }
        if !self.found.is_empty() {
            return Ok(());
        }
        world.set_baselines().map_err(fault)?;
        let plans = self.plans(at, case, &scope, &world);
        self.try_probes(&plans, &world, "before anything ran").await;
        for (i, step) in case.steps.iter().enumerate() {
            if let Step::Arrange { fixture } = step {
                let at = format!("{at}/steps/{i}/fixture");
                self.try_arrangement(&at, fixture, &scope, &mut world)
                    .await?;
            }
        }
        if case
            .steps
            .iter()
            .any(|step| matches!(step, Step::Arrange { .. }))
        {
            self.try_probes(
                &plans,
                &world,
                "through what the acceptance itself arranges",
            )
            .await;
        }
        if self.found.is_empty() {
            self.try_mutants(&plans, &world).await?;
        }
        Ok(())
    }

    async fn try_fixture(
        &mut self,
        at: &str,
        fixture: &Fixture,
        scope: &Scope,
        world: &mut World<'_>,
    ) -> Result<(), String> {
        if let Fixture::Http { host, .. } | Fixture::Postgres { host, .. } = fixture {
            match scope.host(host) {
                Ok(host) if !self.declared(&host) => {
                    self.add(at, format!("{host} is not declared in the permissions"));
                }
                _ => {}
            }
        }
        match lay_out(world, fixture, scope).await {
            Ok(()) => Ok(()),
            Err(Stop::Spec(why)) => {
                self.add(at, why);
                Ok(())
            }
            Err(stop) => Err(fault(stop)),
        }
    }

    async fn try_arrangement(
        &mut self,
        at: &str,
        fixture: &Fixture,
        scope: &Scope,
        world: &mut World<'_>,
    ) -> Result<(), String> {
        let Some(folder) = fixture.folder().map(str::to_owned) else {
            return self.try_fixture(at, fixture, scope, world).await;
        };
        let before = world.snapshot(&folder)?;
        self.try_fixture(at, fixture, scope, world).await?;
        let after = world.snapshot(&folder)?;
        world.adopt(&folder, &before, &after);
        Ok(())
    }

    fn declared(&self, host: &HostPort) -> bool {
        let permissions = &self.spec.permissions;
        permissions.network.contains(host) || permissions.allow_private.contains(host)
    }

    fn plans<'p>(
        &mut self,
        at: &str,
        case: &'p Case,
        scope: &Scope,
        world: &World<'_>,
    ) -> Vec<Trial<'p>> {
        let mut plans = Vec::new();
        for (i, probe) in case.probes.iter().enumerate() {
            let at = format!("{at}/probes/{i}");
            match Plan::render(&probe.check, scope, service_port(self.spec)) {
                Ok(plan) => {
                    if let Some(why) = self.impossible(probe, &plan, case, scope, world) {
                        self.add(&at, why);
                    } else {
                        plans.push(Trial { at, probe, plan });
                    }
                }
                Err(why) => self.add(&at, why),
            }
        }
        plans
    }

    /// Why a probe cannot hold whatever the code does.
    fn impossible(
        &self,
        probe: &Probe,
        plan: &Plan,
        case: &Case,
        scope: &Scope,
        world: &World<'_>,
    ) -> Option<String> {
        let service = self.spec.kind == AutomationKind::Service;
        match plan {
            Plan::Http(_) | Plan::Tcp { .. } | Plan::Process { .. } if !service => {
                Some("only a service can be asked while it runs: a script has ended by then".into())
            }
            Plan::Http(_) | Plan::Tcp { .. } | Plan::Process { .. } if probe.holds == Holds::Invariant => {
                Some("nothing runs before the first step, so this cannot hold before: make it an effect".into())
            }
            Plan::HttpSeen { host, .. } if world.http(host).is_none() && !arranges(case, host, scope) => {
                Some(format!("no HTTP fixture of this case is at {host}"))
            }
            Plan::PostgresRows { host, .. } if !arranges(case, host, scope) => {
                Some(format!("no PostgreSQL fixture of this case is at {host}"))
            }
            _ => None,
        }
    }

    async fn try_probes(&mut self, plans: &[Trial<'_>], world: &World<'_>, when: &str) {
        for Trial { at, probe, plan } in plans {
            if matches!(plan, Plan::PostgresRows { .. } | Plan::ExitCode) {
                continue;
            }
            let finding = look(plan, world, None, Runs::None).await;
            match (probe.holds, finding.holds) {
                (Holds::Effect, true) => self.add(
                    at,
                    format!(
                        "the effect {:?} already holds {when} ({})",
                        probe.name, finding.found
                    ),
                ),
                (Holds::Invariant, false) => self.add(
                    at,
                    format!(
                        "the invariant {:?} does not hold {when}: expected {}, found {}",
                        probe.name, finding.expected, finding.found
                    ),
                ),
                (Holds::Effect, false) | (Holds::Invariant, true) => {}
            }
        }
    }

    async fn try_mutants(&mut self, plans: &[Trial<'_>], world: &World<'_>) -> Result<(), String> {
        for Trial { at, probe, plan } in plans {
            if probe.holds == Holds::Invariant && !mutants::break_it(plan, world).await? {
                self.add(
                    at,
                    format!(
                        "the invariant {:?} shows nothing: no stray, deleted, changed, truncated or re-moded \
                         file and no further request breaks it",
                        probe.name
                    ),
                );
            }
        }
        Ok(())
    }
}

struct Trial<'p> {
    at: String,
    probe: &'p Probe,
    plan: Plan,
}

fn fault(stop: Stop) -> String {
    match stop {
        Stop::Code(why) | Stop::Spec(why) | Stop::Fault(why) => why,
        Stop::Cancelled => "cancelled".into(),
    }
}

fn saved(step: &Step) -> impl Iterator<Item = &str> {
    let save = match step {
        Step::Request { save, .. } => Some(save),
        _ => None,
    };
    save.into_iter()
        .flat_map(|save| save.keys().map(String::as_str))
}

/// Whether a fixture of the case, also a later one, stands for the host.
fn arranges(case: &Case, wanted: &HostPort, scope: &Scope) -> bool {
    let later = case.steps.iter().filter_map(|step| match step {
        Step::Arrange { fixture } => Some(fixture),
        _ => None,
    });
    case.fixtures
        .iter()
        .chain(later)
        .any(|fixture| match fixture {
            Fixture::Http { host, .. } | Fixture::Postgres { host, .. } => {
                scope.host(host).is_ok_and(|host| host == *wanted)
            }
            _ => false,
        })
}

/// The service's port, where the spec is one.
pub(crate) fn service_port(spec: &Spec) -> Option<u16> {
    match spec.trigger {
        Trigger::Service { port, .. } => Some(port),
        Trigger::Schedule { .. } | Trigger::Once | Trigger::Manual => None,
    }
}

/// Whether steps come in an order that can be carried out.
struct Order {
    service: bool,
    up: bool,
}

impl Order {
    fn step(&mut self, step: &Step, scope: &Scope) -> Result<(), String> {
        match step {
            Step::Run { .. } if self.service => {
                Err("a service does not run to an end: use start, request and stop".into())
            }
            Step::Run {
                args,
                stdin,
                limit_s,
                ..
            } => {
                if *limit_s == 0 || *limit_s > STEP_LIMIT_MAX_S {
                    return Err(format!("limit_s must be from 1 to {STEP_LIMIT_MAX_S}"));
                }
                args.iter().try_for_each(|arg| scope.text(arg).map(drop))?;
                scope.text(stdin).map(drop)
            }
            Step::Start {} if !self.service => Err("only a service is started: use run".into()),
            Step::Start {} if self.up => Err("the service is already running".into()),
            Step::Start {} => {
                self.up = true;
                Ok(())
            }
            Step::Request { .. } | Step::Stop {} if !self.up => {
                Err("the service is not running: start it".into())
            }
            Step::Stop {} => {
                self.up = false;
                Ok(())
            }
            Step::Request { .. } => request(step, scope),
            Step::Arrange { .. } => Ok(()),
        }
    }
}

fn request(step: &Step, scope: &Scope) -> Result<(), String> {
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
    plan::method_of(method)?;
    plan::request_path(&scope.text(path)?)?;
    http::StatusCode::from_u16(*status).map_err(|_| format!("{status} is no HTTP status"))?;
    for (name, value) in headers {
        http::HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("{name:?} is no header name"))?;
        let value = scope.text(value)?;
        http::HeaderValue::from_str(&value)
            .map_err(|_| format!("header {name} cannot be {value:?}"))?;
    }
    scope.text(body)?;
    save.values()
        .try_for_each(|pointer| matcher::check_pointer(pointer))
}

/// Whether a check looks at a service that runs.
pub(crate) fn needs_service(check: &Check) -> bool {
    matches!(
        check,
        Check::Http { .. } | Check::Tcp { .. } | Check::Process { .. }
    )
}
