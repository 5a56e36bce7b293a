//! What the machine can do: each check is data, with what to do where it is not as it should be.

use crate::app::App;
use agentwright_api::{Check, CheckStatus, Doctor, Supervision};
use agentwright_llm::Detected;
use agentwright_sandbox::Tier;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// How long a program may take to say its version.
const VERSION_MAX: Duration = Duration::from_secs(10);
/// Less free room than this is worth a warning: 1 GiB.
const ROOM_WARNING: u64 = 1 << 30;
/// With less than this nothing works for long: 64 MiB.
const ROOM_FAILED: u64 = 64 << 20;
/// A clock before this (2026-01-01) is wrong.
const CLOCK_MIN_MS: i64 = 1_767_225_600_000;
/// The database's clock may differ by so much.
const CLOCK_DIFFERENCE_MS: i64 = 2_000;

/// The one that is inside the walls; another one on `PATH` is of no use there.
const PYTHON: &str = "/usr/bin/python3";

/// Looks at everything, in an order in which a person would.
pub(crate) async fn examine(app: &App) -> Doctor {
    let (walls, git, python, psql, claude) = tokio::join!(
        walls(app),
        program(
            "git",
            "every build keeps its code in a git repository",
            Need::Must
        ),
        program(
            "python3",
            "most foundations are Python programs",
            Need::Must
        ),
        program(
            "psql",
            "only for automations that query PostgreSQL",
            Need::May
        ),
        program(
            "claude",
            "only for automations of the kind claude_agent",
            Need::May
        ),
    );
    let mut checks = vec![walls, git, python, psql, claude];
    checks.push(models(app).await);
    checks.push(clock(app).await);
    checks.push(room(&app.config().data_dir));
    checks.push(directory(&app.config().data_dir));
    checks.push(daemon(app));
    checks.push(store(app).await);
    checks.extend(vault(app).await);
    checks.push(boot().await);
    let status = checks.iter().map(|check| check.status).max();
    Doctor {
        status: status.unwrap_or(CheckStatus::Ok),
        checks,
    }
}

fn check(name: &str, status: CheckStatus, detail: impl Into<String>, fix: Option<&str>) -> Check {
    Check {
        name: name.to_owned(),
        status,
        detail: detail.into(),
        fix: fix.map(str::to_owned),
    }
}

/// What each role would ask, or how to get a model. Foundations work without one.
async fn models(app: &App) -> Check {
    let found = app.builds().models().found().await;
    if found.providers.is_empty() {
        let [first, rest @ ..] = Detected::help();
        let fix = rest.join("\n");
        return check("models", CheckStatus::Warning, first, Some(&fix));
    }
    check("models", CheckStatus::Ok, found.lines.join("\n"), None)
}

async fn walls(app: &App) -> Check {
    let probe = app.sandbox().probe().await;
    let reasons = probe.reasons.join("; ");
    let status = match probe.tier {
        Tier::Strong | Tier::Full => CheckStatus::Ok,
        Tier::Engine | Tier::Process => CheckStatus::Warning,
        Tier::None => CheckStatus::Failed,
    };
    let detail = match reasons.as_str() {
        "" => format!("tier {}", probe.tier),
        reasons => format!("tier {}: {reasons}", probe.tier),
    };
    // The reasons say what to do.
    check("sandbox", status, detail, None)
}

/// How much a program is needed.
#[derive(Clone, Copy)]
enum Need {
    Must,
    May,
}

async fn program(name: &str, why: &str, need: Need) -> Check {
    match version(name).await {
        Some(version) => check(name, CheckStatus::Ok, version, None),
        None => {
            let status = match need {
                Need::Must => CheckStatus::Failed,
                Need::May => CheckStatus::Warning,
            };
            let package = match name {
                "psql" => "postgresql-client",
                name => name,
            };
            let fix = match name {
                "claude" => "install Claude Code, when you want such automations".to_owned(),
                _ => format!("apt install {package}"),
            };
            check(name, status, format!("not found: {why}"), Some(&fix))
        }
    }
}

/// The first line of `NAME --version`.
#[expect(
    clippy::disallowed_methods,
    reason = "the doctor asks trusted host programs for their versions"
)]
async fn version(name: &str) -> Option<String> {
    let program = if name == "python3" { PYTHON } else { name };
    let asked = tokio::process::Command::new(program)
        .arg("--version")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(VERSION_MAX, asked).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next().unwrap_or(name).chars().take(100);
    output.status.success().then(|| line.collect())
}

async fn clock(app: &App) -> Check {
    let now = app.now_ms();
    if now < CLOCK_MIN_MS {
        let fix = "set the clock, for example with timedatectl set-ntp true";
        let detail = "the machine's clock is in the past: schedules fire at wrong times";
        return check("clock", CheckStatus::Failed, detail, Some(fix));
    }
    let difference = match app.store().now_ms().await {
        Ok(database) => database - app.now_ms(),
        Err(_) => 0,
    };
    if difference.abs() > CLOCK_DIFFERENCE_MS {
        let detail = format!("the database's clock differs by {difference} ms");
        let fix = "synchronise both machines' clocks";
        return check("clock", CheckStatus::Warning, detail, Some(fix));
    }
    match app.clock_jump_ms() {
        0 => check("clock", CheckStatus::Ok, "steady", None),
        by => {
            let detail =
                format!("was set by {by} ms while the daemon ran; schedules were worked out anew");
            check("clock", CheckStatus::Ok, detail, None)
        }
    }
}

pub(crate) fn room(dir: &Path) -> Check {
    let Ok(stat) = rustix::fs::statvfs(dir) else {
        let detail = "cannot ask the file system of the data directory";
        return check("disk", CheckStatus::Warning, detail, None);
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let status = match free {
        free if free < ROOM_FAILED => CheckStatus::Failed,
        free if free < ROOM_WARNING => CheckStatus::Warning,
        _ => CheckStatus::Ok,
    };
    let fix = (status != CheckStatus::Ok).then_some("free some room on that disk");
    check("disk", status, format!("{} MiB free", free >> 20), fix)
}

fn directory(dir: &Path) -> Check {
    let shown = dir.display();
    let Ok(metadata) = dir.metadata() else {
        let detail = format!("{shown} cannot be looked at");
        return check("data directory", CheckStatus::Failed, detail, None);
    };
    let open = metadata.mode() & 0o077 != 0;
    let foreign = metadata.uid() != rustix::process::geteuid().as_raw();
    if open || foreign {
        let detail = format!(
            "{shown}: others may get at it (mode {:o})",
            metadata.mode() & 0o777
        );
        let fix = format!("chmod 700 {shown}; it must belong to the user of the daemon");
        return check("data directory", CheckStatus::Failed, detail, Some(&fix));
    }
    check("data directory", CheckStatus::Ok, shown.to_string(), None)
}

fn daemon(app: &App) -> Check {
    let health = app.health();
    let detail = format!(
        "version {}, process {}, since {}",
        health.version, health.pid, health.started_at
    );
    check("daemon", CheckStatus::Ok, detail, None)
}

async fn store(app: &App) -> Check {
    let kind = match app.config().settings.store.as_str() {
        "sqlite" => "SQLite, in the data directory",
        _ => "PostgreSQL",
    };
    match app.store().now_ms().await {
        Ok(_) => check("store", CheckStatus::Ok, kind, None),
        Err(error) => {
            let detail = format!("{kind}: {error}");
            check("store", CheckStatus::Failed, detail, None)
        }
    }
}

/// Whether Vault is there, unsealed and lets us in; nothing where none is configured.
async fn vault(app: &App) -> Option<Check> {
    let vault = app.vault()?.clone();
    let address = vault.address().to_owned();
    let asked = tokio::task::spawn_blocking(move || vault.check()).await;
    Some(match asked {
        Ok(Ok(version)) => {
            let detail = format!("{address} lets the AppRole in ({version})");
            check("vault", CheckStatus::Ok, detail, None)
        }
        // What is wrong says what to do.
        Ok(Err(fault)) => check(
            "vault",
            CheckStatus::Failed,
            format!("{address}: {fault}"),
            None,
        ),
        Err(error) => check("vault", CheckStatus::Failed, error.to_string(), None),
    })
}

async fn boot() -> Check {
    let (status, detail) = match crate::boot::installed().await {
        Supervision::SystemdSystem => (CheckStatus::Ok, "a systemd unit of the machine"),
        Supervision::SystemdUser => (CheckStatus::Ok, "a systemd unit of the user"),
        Supervision::Crontab => (CheckStatus::Ok, "an @reboot line in the crontab"),
        Supervision::None => (
            CheckStatus::Warning,
            "nothing starts the daemon with the machine: schedules rest after a restart until a command is given",
        ),
    };
    let fix = (status != CheckStatus::Ok).then_some("agentwright service install");
    check("boot", status, detail, fix)
}
