//! The repository of each build, pushed to a configured remote as it grows (requirements E11). Never in the way of a
//! build: what cannot be pushed is tried again, and told once.
//!
//! A build is the branch `builds/LABEL/ID`. What was pushed is noted beside the repository, so that a restart goes on
//! where it was. Git is told where to push by the configuration only, runs no hook and asks nobody for a password.

use crate::app::App;
use crate::config::PushSettings;
use crate::error::ApiError;
use agentwright_domain::ids::RunId;
use agentwright_domain::run::Notice;
use agentwright_store::{BuildFilter, OrgScope, Told};
use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::sync::broadcast::error::TryRecvError;

/// One push may take so long.
const PUSH_MAX: Duration = Duration::from_secs(120);
/// How often it is looked whether there is something to push.
const LOOK: Duration = Duration::from_secs(2);
/// The first pause after a failure; doubles.
const PAUSE_MS: i64 = 60_000;
/// The longest pause.
const PAUSE_MAX_MS: i64 = 3_600_000;
/// Builds that are looked at after a start, the newest.
const BUILDS_MAX: u32 = 200;
/// Beside the repository: the newest commit that was pushed.
const MARK: &str = "pushed";
/// Characters of what git said that are told.
const SAID_MAX: usize = 500;
/// What git and ssh say, and what a person does about it; the first that fits counts.
const KNOWN: [(&str, &str); 5] = [
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the remote shows another host key than known_hosts has: find out why before you change it there",
    ),
    (
        "Host key verification failed",
        "the remote's host key is not in known_hosts: add it, after comparing it with the remote's own",
    ),
    (
        "Permission denied (publickey",
        "the remote does not take the key: add its public half there, or name another one in [queue.push]",
    ),
    (
        "error in libcrypto",
        "the key cannot be used: it must be a private key without a passphrase",
    ),
    (
        "[remote rejected]",
        "the remote refuses the branch: its hooks or rights say why",
    ),
];

/// A build that may have something to push.
struct Waiting {
    scope: OrgScope,
    label: String,
    failures: u32,
    not_before_ms: i64,
}

/// Pushes until the app stops.
pub(crate) async fn run(app: App) {
    let Some(push) = app.config().settings.queue.push.clone() else {
        return;
    };
    let mut commits = app.store().commits();
    let mut waiting = HashMap::new();
    if let Err(error) = known(&app, &mut waiting).await {
        tracing::warn!(?error, "cannot tell which builds are to be pushed");
    }
    loop {
        let mut moved = HashSet::new();
        loop {
            match commits.try_recv() {
                Ok((run, _)) => _ = moved.insert(run),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if let Err(error) = round(&app, &push, moved, &mut waiting).await {
            tracing::warn!(?error, "cannot push builds");
        }
        tokio::select! {
            () = app.stopping().cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// What was there before this process.
async fn known(app: &App, waiting: &mut HashMap<RunId, Waiting>) -> Result<(), ApiError> {
    for organization in app.store().organizations().await? {
        let scope = OrgScope::authenticated(organization.id);
        let filter = BuildFilter {
            limit: BUILDS_MAX,
            ..BuildFilter::default()
        };
        for row in app.store().builds(&scope, filter).await? {
            waiting.insert(row.run.id.clone(), fresh(&scope, row.run.label.to_string()));
        }
    }
    Ok(())
}

fn fresh(scope: &OrgScope, label: String) -> Waiting {
    Waiting {
        scope: scope.clone(),
        label,
        failures: 0,
        not_before_ms: 0,
    }
}

async fn round(
    app: &App,
    push: &PushSettings,
    moved: HashSet<RunId>,
    waiting: &mut HashMap<RunId, Waiting>,
) -> Result<(), ApiError> {
    let new: Vec<RunId> = moved
        .into_iter()
        .filter(|run| !waiting.contains_key(run))
        .collect();
    if !new.is_empty() {
        for organization in app.store().organizations().await? {
            let scope = OrgScope::authenticated(organization.id);
            for (run, kind, label) in app.store().runs_of(&scope, &new).await? {
                if kind == "build" {
                    waiting.insert(run, fresh(&scope, label));
                }
            }
        }
    }
    let due: Vec<RunId> = waiting
        .iter()
        .filter(|(_, one)| one.not_before_ms <= app.now_ms())
        .map(|(run, _)| run.clone())
        .collect();
    for run in due {
        let Some(one) = waiting.get_mut(&run) else {
            continue;
        };
        let remote = &push.remote;
        match build(app, push, &run, &one.label).await {
            Ok(()) => _ = waiting.remove(&run),
            Err((head, said)) => {
                one.failures += 1;
                let pause_ms = PAUSE_MS << one.failures.saturating_sub(1).min(10);
                one.not_before_ms = app.now_ms() + pause_ms.min(PAUSE_MAX_MS);
                tracing::warn!(%run, remote, said, "a build is not pushed");
                let told = told(&run, &one.label, remote, &head, &said);
                app.store().tell(&one.scope, &told).await?;
            }
        }
        if app.stopping().is_cancelled() {
            return Ok(());
        }
    }
    Ok(())
}

fn told(run: &RunId, label: &str, remote: &str, head: &str, said: &str) -> Told {
    Told {
        id: format!("push-{run}-{head}"),
        run: Some(run.clone()),
        notice: Notice {
            topic: "build.push_failed".to_owned(),
            title: format!("The repository of {label} is not pushed"),
            body: format!("to {remote}: {said}\nThe build goes on, and it is tried again."),
        },
    }
}

/// Pushes a build whose newest commit was not pushed; otherwise the commit and what git said.
async fn build(
    app: &App,
    to: &PushSettings,
    run: &RunId,
    label: &str,
) -> Result<(), (String, String)> {
    let remote = &to.remote;
    let dir = app.layout().build(run);
    let head = std::fs::read_to_string(dir.join("repo/.git/refs/heads/main"));
    // No repository yet, or none any more.
    let Ok(head) = head.map(|head| head.trim().to_owned()) else {
        return Ok(());
    };
    let mark = dir.join(MARK);
    let pushed = std::fs::read_to_string(&mark).unwrap_or_default();
    if pushed == format!("{head} {remote}") {
        return Ok(());
    }
    let branch = format!("{head}:refs/heads/builds/{label}/{run}");
    let failed = |said: String| (head.clone(), said);
    let ssh = Ssh::new(app, to).await.map_err(failed)?;
    push(&dir.join("repo"), remote, &branch, &ssh)
        .await
        .map_err(failed)?;
    std::fs::write(&mark, format!("{head} {remote}")).map_err(|error| failed(error.to_string()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "git, a trusted program of the machine, pushes where the configuration says"
)]
async fn push(repository: &Path, remote: &str, branch: &str, ssh: &Ssh) -> Result<(), String> {
    let mut command = tokio::process::Command::new("git");
    command
        .current_dir(repository)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_SSH_COMMAND", &ssh.command)
        .args(["-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null"])
        .args([
            "-c",
            "protocol.allow=never",
            "-c",
            "protocol.file.allow=always",
        ])
        .args([
            "-c",
            "protocol.ssh.allow=always",
            "-c",
            "credential.helper=",
        ])
        .args(["push", "--quiet", "--no-verify", "--", remote, branch])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // The keys of ssh are the daemon user's own.
    for (name, value) in crate::config::ssh() {
        command.env(name, value);
    }
    let output = tokio::time::timeout(PUSH_MAX, command.output()).await;
    let output = output
        .map_err(|_| format!("git gave no answer within {} s", PUSH_MAX.as_secs()))?
        .map_err(|error| format!("git cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(words(&String::from_utf8_lossy(&output.stderr)))
}

/// What went wrong, first what to do about it where that is known.
fn words(said: &str) -> String {
    let todo = KNOWN.iter().find(|(sign, _)| said.contains(sign));
    let todo = todo.map_or(String::new(), |(_, todo)| format!("{todo}: "));
    let said: Vec<&str> = said
        .split_whitespace()
        // The frame of ssh's warning.
        .filter(|word| !word.starts_with("@@"))
        .collect();
    let said: String = said.join(" ").chars().take(SAID_MAX).collect();
    format!("{todo}{said}")
}

/// How ssh is started for git: nobody is asked, and no host key is taken on trust.
struct Ssh {
    command: String,
    /// The private key, in memory as long as this is.
    _key: Option<OwnedFd>,
}

impl Ssh {
    async fn new(app: &App, to: &PushSettings) -> Result<Self, String> {
        let mut command =
            "ssh -o BatchMode=yes -o ConnectTimeout=20 -o StrictHostKeyChecking=yes".to_owned();
        if let Some(known) = &to.known_hosts {
            // Plain characters only: the configuration was checked.
            let known = known.display();
            command += &format!(" -o UserKnownHostsFile={known} -o GlobalKnownHostsFile=/dev/null");
        }
        let mut key = None;
        if let Some(reference) = &to.key {
            let text = app.secret(reference).await;
            // The reference is the operator's; the notice goes to the organization of the build.
            let text = text.map_err(|why| {
                tracing::warn!(reference, why, "the key of pushes cannot be read");
                "the key of pushes cannot be read: whoever runs the server finds why in its log"
                    .to_owned()
            })?;
            let held = in_memory(&text).map_err(|error| format!("cannot hold the key: {error}"))?;
            // Ssh closes what it inherits, so it opens ours.
            let (process, descriptor) = (std::process::id(), held.as_raw_fd());
            command += &format!(
                " -F none -o IdentitiesOnly=yes -o IdentityAgent=none -i /proc/{process}/fd/{descriptor}"
            );
            key = Some(held);
        }
        Ok(Self { command, _key: key })
    }
}

/// A file that only we open, and that is nowhere on a disk.
fn in_memory(key: &str) -> std::io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("key", rustix::fs::MemfdFlags::CLOEXEC)?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
    let mut file = std::fs::File::from(file);
    // A key without its last line break is none to ssh.
    writeln!(file, "{}", key.trim_end())?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_is_one_line_and_begins_with_what_to_do() {
        let changed = "@@@@@@@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@@@@@@@\nHost key verification failed.\n";
        assert!(words(changed).starts_with("the remote shows another host key"));
        assert!(!words(changed).contains("@@"));
        assert_eq!(words("fatal:\n  no such\tplace\n"), "fatal: no such place");
    }
}
