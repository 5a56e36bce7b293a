//! `daemon`: start, stop, look at, or be the daemon of the data directory.

use agentwright_api::ClientError;
use agentwright_server::daemon::{self as server, Attachment};
use agentwright_server::{Config, Flags};
use serde_json::json;
use std::time::Duration;

use super::App;
use crate::args::{DaemonCommand, DaemonSettings};
use crate::describe::field;
use crate::fault::{Exit, Fault, chain};
use crate::output::{moment, safe_line};

/// How long a stopping daemon may take: what runs is given time to finish.
const STOP_MAX: Duration = Duration::from_secs(60);
/// The pause between two looks whether it is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Becomes the daemon; returns when it was stopped.
pub(super) fn run(
    app: &App,
    settings: DaemonSettings,
    attachment: Attachment,
) -> Result<Exit, Fault> {
    let flags = Flags {
        listen: settings.listen,
        store: settings.store,
        foundations: None,
    };
    let config =
        Config::load(app.data.dir(), flags).map_err(|error| Fault::failed(chain(&error)))?;
    match server::run(config, attachment) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => {
            let mut fault = Fault::failed(chain(&error));
            if error.exit_code() == server::EXIT_RUNNING {
                fault.exit = Exit::Taken;
            }
            Err(fault)
        }
    }
}

/// `daemon start|stop|status`.
pub(super) async fn daemon(app: &App, command: DaemonCommand) -> Result<Exit, Fault> {
    match command {
        DaemonCommand::Start(settings) => start(app, settings).await,
        DaemonCommand::Stop => stop(app).await,
        DaemonCommand::Status => status(app).await,
        // Carried out before there is a runtime.
        DaemonCommand::Run { settings, .. } => run(app, settings, Attachment::Foreground),
    }
}

async fn start(app: &App, settings: DaemonSettings) -> Result<Exit, Fault> {
    let mut further = Vec::new();
    for (flag, value) in [
        (
            "--listen",
            settings.listen.map(|address| address.to_string()),
        ),
        ("--store", settings.store),
    ] {
        further.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
    }
    let started = app.data.start(&app.out, &further).await?;
    let word = if started.by_us {
        "started"
    } else {
        "runs already"
    };
    app.out
        .json(&json!({ "running": true, "health": started.health }));
    app.out
        .line(format!("the daemon {word}, pid {}", started.health.pid));
    Ok(Exit::Done)
}

async fn stop(app: &App) -> Result<Exit, Fault> {
    let ended = end(app).await?;
    app.out.json(&json!({ "running": false }));
    app.out.line(match ended {
        Some(pid) => format!("the daemon (pid {pid}) has ended"),
        None => "no daemon runs".to_owned(),
    });
    Ok(Exit::Done)
}

/// Asks the daemon to stop and waits for its end. Answers which process it was; `None` when there was none.
pub(super) async fn end(app: &App) -> Result<Option<u32>, Fault> {
    let health = match app.data.client().stop_daemon().await {
        Ok(health) => health,
        Err(ClientError::Unreachable { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let ended = tokio::time::timeout(STOP_MAX, async {
        while is_alive(health.pid) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    if ended.await.is_err() {
        return Err(Fault::failed(format!(
            "the daemon (pid {}) was asked to stop and has not ended after {} seconds",
            health.pid,
            STOP_MAX.as_secs()
        ))
        .hint("its log, daemon.log in the data directory, says what it waits for"));
    }
    Ok(Some(health.pid))
}

async fn status(app: &App) -> Result<Exit, Fault> {
    let Some(health) = app.data.health().await? else {
        app.out.json(&json!({ "running": false }));
        app.out
            .line("no daemon runs; the next command that needs it starts it");
        return Ok(Exit::Failed);
    };
    app.out.json(&json!({ "running": true, "health": health }));
    app.out
        .line(format!("the daemon is {}", safe_line(&health.status)));
    app.out.line(field("pid", &health.pid.to_string()));
    app.out.line(field("version", &safe_line(&health.version)));
    app.out
        .line(field("since", &moment(health.started_at.as_ms())));
    app.out.line(field("data", &safe_line(&health.data_dir)));
    if let Some(listen) = &health.listen {
        app.out.line(field("listens", &safe_line(listen)));
    }
    Ok(Exit::Done)
}

/// Whether the process is there, and not merely waiting to be collected by its parent.
fn is_alive(pid: u32) -> bool {
    let stat = std::path::Path::new("/proc")
        .join(pid.to_string())
        .join("stat");
    // The state follows the name, which is in parentheses and may hold any character.
    std::fs::read_to_string(stat).is_ok_and(|text| {
        text.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.starts_with(" Z"))
    })
}
