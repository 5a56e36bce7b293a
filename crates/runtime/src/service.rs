//! A service's life between starts: started, awaited until it is well, watched, stopped.
//!
//! Starting it anew is the supervisor's business. The health check is our own request through the
//! published port, the way a person's request comes in.

use crate::Runtime;
use crate::error::blocking;
use crate::executions::{Failure, Prepared, Ran, chain, over};
use crate::install::InstallError;
use crate::secrets::Secrets;
use crate::tree;
use agentwright_domain::execution::ExecutionState;
use agentwright_domain::ids::Slug;
use agentwright_domain::run::NewEvent;
use agentwright_domain::spec::{Spec, Trigger};
use agentwright_engine::Handle;
use agentwright_sandbox::{Command, Ending, Policy, Running};
use agentwright_store::OrgScope;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long a service may take to become well.
pub(crate) const START_MAX: Duration = Duration::from_secs(30);
/// Pause between looks while it starts.
const START_PAUSE: Duration = Duration::from_millis(50);
/// Pause between looks while it is up.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// One look may take so long.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// So many looks in a row without an answer, and it is started anew.
const LOOKS_MISSED_MAX: u32 = 3;
/// How long it may take to end when it is asked to.
const STOP_GRACE: Duration = Duration::from_secs(8);
/// The live log is started anew when it is larger; the one before is kept.
pub(crate) const LIVE_LOG_MAX: u64 = 1 << 20;
/// The first port that we choose ourselves, and how many there are.
const OWN_PORTS_FROM: u16 = 20_000;
const OWN_PORTS: u16 = 10_000;
/// So often the port of last time is waited for before another one is taken.
const KEPT_PORT_WAITS: u32 = 40;
/// So many of them are tried.
const PORTS_TRIED: u64 = 100;
/// A state up to this size is copied for a trial start; a larger one is left out.
const TRIAL_STATE_MAX: u64 = 64 << 20;

/// A service that was started on trial and was well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What it answered, in words.
    pub answer: String,
}

struct Port {
    inside: u16,
    publish: u16,
    health_path: String,
}

fn port(spec: &Spec) -> Option<Port> {
    match &spec.trigger {
        Trigger::Service {
            port,
            publish,
            health_path,
        } => Some(Port {
            inside: *port,
            publish: *publish,
            health_path: health_path.clone(),
        }),
        Trigger::Schedule { .. } | Trigger::Once | Trigger::Manual => None,
    }
}

impl Runtime {
    /// From start to end. Answers when the service ended or was asked to.
    pub(crate) async fn serve(
        &self,
        state: &ExecutionState,
        prepared: &Prepared,
        handle: &Handle,
    ) -> Result<Ran, Failure> {
        let Some(port) = port(&prepared.spec) else {
            return Err(Failure::last("it is not a service"));
        };
        let name = &state.deployment;
        let running = self
            .start_sticky(handle.scope(), name, &prepared.policy, &prepared.spec)
            .await?;
        let log = self.layout().of(handle.scope()).service_log(name);
        let end = tokio::select! {
            end = self.watch(name, &running, &port, handle) => end,
            () = self.follow_output(&log, &running, &prepared.secrets) => Err(Failure::again("it ended")),
        };
        let _ = self.store().set_endpoint(handle.scope(), name, None).await;
        // Whatever the reason: nothing of it stays.
        running.stop(STOP_GRACE).await;
        let report = running.wait().await?;
        let end = match (end, report.ending) {
            (Ok(summary), _) => Ok(summary),
            (Err(failure), Ending::Stopped(limit)) => Err(Failure::again(format!(
                "{}: {}",
                failure.reason,
                over(limit, &prepared.spec)
            ))),
            (Err(failure), _) => Err(failure),
        };
        Ok(Ran {
            report: (*report).clone(),
            end,
        })
    }

    /// Where the port was left to us, the one of last time is taken again if it is free.
    async fn start_sticky(
        &self,
        scope: &OrgScope,
        name: &Slug,
        policy: &Policy,
        spec: &Spec,
    ) -> Result<Running, Failure> {
        let command = Command {
            argv: spec.command.clone(),
            stdin: Vec::new(),
        };
        let at = self.layout().of(scope).deployment(name).join("port");
        let chosen = policy
            .publish
            .is_some_and(|publish| publish.host.port() == 0);
        if !chosen {
            return Ok(self.sandbox().start(policy.clone(), command).await?);
        }
        let last: Option<u16> = std::fs::read_to_string(&at)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        // The last resort is whatever the system gives.
        let mut tries = last.into_iter().chain(own_ports(&at)).chain([0]);
        let mut port = tries.next();
        let mut waits = 0;
        while let Some(at_port) = port {
            let mut policy = policy.clone();
            if let Some(publish) = &mut policy.publish {
                publish.host.set_port(at_port);
            }
            let running = match self.sandbox().start(policy, command.clone()).await {
                // Whoever ended just now may not have let go of it yet.
                Err(agentwright_sandbox::Error::AddressInUse(_))
                    if port == last && waits < KEPT_PORT_WAITS =>
                {
                    waits += 1;
                    sleep(START_PAUSE).await;
                    continue;
                }
                Err(agentwright_sandbox::Error::AddressInUse(_)) => {
                    port = tries.next();
                    continue;
                }
                other => other?,
            };
            let published = running.published().map(|published| published.port());
            if let Some(port) = published.filter(|port| Some(*port) != last) {
                let text = port.to_string();
                let kept = blocking(move || tree::replace_file(&at, text.as_bytes())).await;
                if let Err(error) = kept {
                    tracing::warn!(automation = %name, %error, "cannot remember the port of a service");
                }
            }
            return Ok(running);
        }
        Err(Failure::again(
            "no port is free on 127.0.0.1 to publish it on".to_owned(),
        ))
    }

    async fn watch(
        &self,
        name: &Slug,
        running: &Running,
        port: &Port,
        handle: &Handle,
    ) -> Result<String, Failure> {
        let cancelled = handle.cancelled();
        let answer = tokio::select! {
            () = cancelled.cancelled() => return Ok("stopped".to_owned()),
            answer = until_well(running, port) => answer?,
        };
        if let Some(at) = running.published() {
            let url = format!("http://{at}");
            self.store()
                .set_endpoint(handle.scope(), name, Some(&url))
                .await?;
            let line = format!("answers at {url}: {answer}");
            let _ = handle
                .event(NewEvent::new("service.well", "execute", line))
                .await;
        }
        self.wake();
        tokio::select! {
            () = cancelled.cancelled() => Ok("stopped".to_owned()),
            failure = until_unwell(running, port) => Err(failure),
        }
    }

    /// Writes the output to the live log, without secrets, until it ends.
    async fn follow_output(&self, log: &Path, running: &Running, secrets: &Secrets) {
        let mut lines = running.subscribe_output();
        loop {
            let text = match lines.recv().await {
                Ok(line) => secrets.redact(&line.text),
                Err(RecvError::Lagged(lost)) => format!("… {lost} lines left out"),
                // The watch sees how it ended.
                Err(RecvError::Closed) => return std::future::pending().await,
            };
            let path = log.to_owned();
            if let Err(error) = blocking(move || append(&path, &text)).await {
                tracing::warn!(log = %log.display(), %error, "cannot write the live log of a service");
            }
        }
    }

    /// The live log of a service: what it printed lately, oldest first.
    pub async fn live_log(&self, scope: &OrgScope, name: &Slug) -> String {
        let path = self.layout().of(scope).service_log(name);
        blocking(move || {
            let read = |path: &Path| std::fs::read(path).unwrap_or_default();
            let mut bytes = read(&older(&path));
            bytes.extend(read(&path));
            String::from_utf8_lossy(&bytes).into_owned()
        })
        .await
    }

    /// Starts a service that is not deployed yet, beside the one that is, and looks whether it
    /// becomes well: on a port of its own and with a copy of its state.
    ///
    /// # Errors
    /// Why it did not, for people.
    pub async fn trial(
        &self,
        scope: &OrgScope,
        spec: &Spec,
        app: &Path,
        scratch: &Path,
        cancelled: &CancellationToken,
    ) -> Result<Trial, String> {
        let Some(port) = port(spec) else {
            return Err("it is not a service".to_owned());
        };
        self.port_is_free(spec, port.publish).await?;
        let (runtime, this) = (self.clone(), spec.clone());
        let (app, scratch) = (app.to_owned(), scratch.join("trial-state"));
        let state = scratch.clone();
        let own = self.layout().of(scope).state(&spec.name);
        let policy = move || {
            tree::remove_all(&state).map_err(|e| chain(&e))?;
            copy_state(&own, &state)?;
            runtime.trial_policy(&this, &app, &state)
        };
        let (policy, secrets) = blocking(policy).await?;
        let command = Command {
            argv: spec.command.clone(),
            stdin: Vec::new(),
        };
        let running = self
            .sandbox()
            .start(policy, command)
            .await
            .map_err(|error| chain(&error))?;
        let well = tokio::select! {
            () = cancelled.cancelled() => Err(Failure::again("it was stopped")),
            answer = until_well(&running, &port) => answer,
        };
        running.stop(STOP_GRACE).await;
        let _ = running.wait().await;
        if let Err(error) = blocking(move || tree::remove_all(&scratch)).await {
            tracing::warn!(%error, "cannot remove the state of a trial start");
        }
        match well {
            Ok(answer) => Ok(Trial { answer }),
            Err(failure) => Err(secrets.redact(&failure.reason)),
        }
    }

    fn trial_policy(
        &self,
        spec: &Spec,
        app: &Path,
        state: &Path,
    ) -> Result<(Policy, Secrets), String> {
        let (mut policy, secrets) = self
            .policy(spec, app, state)
            .map_err(|failure| failure.reason)?;
        if let Some(publish) = &mut policy.publish {
            publish.host = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        }
        Ok((policy, secrets))
    }

    /// A fixed port must be free, or taken by the version that is to be replaced.
    async fn port_is_free(&self, spec: &Spec, publish: u16) -> Result<(), String> {
        if publish == 0 {
            return Ok(());
        }
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, publish));
        let Err(error) = tokio::net::TcpListener::bind(at).await else {
            return Ok(());
        };
        let ours = self.store().all_deployments().await.unwrap_or_default();
        let mine = format!("http://{at}");
        let replaced = ours
            .iter()
            .any(|(_, row)| row.name == spec.name && row.endpoint.as_deref() == Some(&mine));
        if replaced {
            return Ok(());
        }
        Err(format!(
            "cannot publish on {at}: {error}; stop what listens there or choose another port"
        ))
    }
}

/// Waits until it answers its health path with 200.
/// Ports to try for a deployment that leaves the choice to us: below the range that the system gives to
/// outgoing connections, so that nobody takes one while the service is down.
fn own_ports(deployment: &Path) -> impl Iterator<Item = u16> + use<> {
    let mut hasher = DefaultHasher::new();
    deployment.hash(&mut hasher);
    let from = hasher.finish() % u64::from(OWN_PORTS);
    (0..PORTS_TRIED).map(move |n| {
        let at = (from + n) % u64::from(OWN_PORTS);
        OWN_PORTS_FROM + u16::try_from(at).unwrap_or(0)
    })
}

async fn until_well(running: &Running, port: &Port) -> Result<String, Failure> {
    let began = Instant::now();
    let mut last = "no answer".to_owned();
    let ended = running.wait();
    tokio::pin!(ended);
    while began.elapsed() < START_MAX {
        tokio::select! {
            report = &mut ended => {
                let how = report.map(|report| ended_how(report.ending)).unwrap_or_else(|e| chain(&e));
                return Err(Failure::again(format!("it ended before it was well: {how}")));
            }
            answer = look(running, port) => match answer {
                Ok(200) => return Ok(format!("{} answers 200", port.health_path)),
                Ok(status) => last = format!("{} answers {status}", port.health_path),
                Err(why) => last = why,
            }
        }
        sleep(START_PAUSE).await;
    }
    let (path, limit) = (&port.health_path, START_MAX.as_secs());
    Err(Failure::again(format!(
        "it did not answer {path} on port {} with 200 within {limit} s; the last look: {last}",
        port.inside
    )))
}

/// Waits until it ends or no longer answers.
async fn until_unwell(running: &Running, port: &Port) -> Failure {
    let mut missed = 0;
    let ended = running.wait();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            report = &mut ended => {
                let how = report.map(|report| ended_how(report.ending)).unwrap_or_else(|e| chain(&e));
                return Failure::again(format!("it ended by itself: {how}"));
            }
            () = sleep(LOOK_EVERY) => match look(running, port).await {
                Ok(200) => missed = 0,
                Ok(status) => missed = unwell(missed, &format!("it answers {status}")),
                Err(why) => missed = unwell(missed, &why),
            }
        }
        if missed >= LOOKS_MISSED_MAX {
            return Failure::again(format!(
                "it did not answer {} with 200 for {missed} looks in a row",
                port.health_path
            ));
        }
    }
}

fn unwell(missed: u32, why: &str) -> u32 {
    tracing::info!(why, "a service missed a look at its health");
    missed + 1
}

fn ended_how(ending: Ending) -> String {
    match ending {
        Ending::Exited(code) => format!("exit code {code}"),
        Ending::Signalled(signal) => format!("signal {signal}"),
        Ending::Stopped(limit) => format!("a limit ({limit:?})").to_lowercase(),
        Ending::Cancelled => "it was stopped".to_owned(),
    }
}

/// One request, through the published port. Answers the status.
async fn look(running: &Running, port: &Port) -> Result<u16, String> {
    let Some(at) = running.published() else {
        return Err("its port is not published".to_owned());
    };
    let asked = timeout(LOOK_MAX, ask(at, &port.health_path)).await;
    match asked {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LOOK_MAX.as_secs())),
    }
}

async fn ask(at: SocketAddr, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(at).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    // `HTTP/1.1 200`: the status line is all that is looked at.
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head).await?;
    let text = String::from_utf8_lossy(&head);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    status
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

fn older(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

fn append(path: &Path, line: &str) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() > LIVE_LOG_MAX) {
        std::fs::rename(path, older(path))?;
    }
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

/// Copies plain files only: the automation owns what lies there.
fn copy_state(from: &Path, to: &Path) -> Result<(), String> {
    let words = |error: InstallError| chain(&error);
    std::fs::create_dir_all(to).map_err(|error| {
        words(InstallError::Tree(
            tree::io_error("make the directory", to)(error),
        ))
    })?;
    let small = size(from).is_some_and(|bytes| bytes <= TRIAL_STATE_MAX);
    if small && tree::copy(from, &[], to).is_err() {
        // Links or special files: it starts with an empty state, as the first time.
        tree::remove_all(to).map_err(|error| words(error.into()))?;
        std::fs::create_dir_all(to).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// All bytes below, or `None` when it cannot be known.
fn size(path: &Path) -> Option<u64> {
    let mut total = 0;
    let mut open = vec![path.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).ok()? {
            let entry = entry.ok()?;
            let meta = entry.metadata().ok()?;
            if meta.is_dir() {
                open.push(entry.path());
            } else {
                total += meta.len();
            }
            if total > TRIAL_STATE_MAX {
                return Some(total);
            }
        }
    }
    Some(total)
}
