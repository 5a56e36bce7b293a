//! The steps of a case that concern a service: start it, ask it, stop it, and judge its life.

use super::Player;
use crate::exchange;
use crate::judge::{clipped, ending_words, last_words, sandbox_stop};
use crate::outcome::Stop;
use crate::probe::matcher::shown;
use crate::probe::plan::{self, Request};
use crate::seal::service_port;
use agentwright_domain::acceptance::Step;
use agentwright_domain::spec::Trigger;
use agentwright_sandbox::{Command, Report, Running};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a service may take to end when it is asked to.
pub const STOP_GRACE: Duration = Duration::from_secs(5);
/// How often a starting service is asked for its health.
const HEALTH_POLL: Duration = Duration::from_millis(20);
/// How long after an answer that broke off the end of the service is waited for.
const END_LIMIT: Duration = Duration::from_millis(500);

impl Player<'_, '_> {
    pub(super) async fn start(&mut self) -> Result<(), Stop> {
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

    pub(super) async fn request(&mut self, step: &Step) -> Result<(), Stop> {
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
                shown(&answer.text())
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
        let shown = shown(&String::from_utf8_lossy(body));
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

    /// Ends the service, if one runs, and judges its life.
    pub(super) async fn stop_service(&mut self) -> Result<(), Stop> {
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
        match tokio::time::timeout(END_LIMIT, service.wait()).await {
            Ok(Ok(report)) => format!(
                "; the service ended: {}{}",
                ending_words(report.ending),
                last_words(&report)
            ),
            Ok(Err(_)) | Err(_) => String::new(),
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
