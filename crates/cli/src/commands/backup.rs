//! `backup` and `restore`.

use agentwright_server::backup::{self, BackupError};
use agentwright_server::{Config, Flags};
use serde_json::json;
use std::path::Path;

use super::{App, daemon};
use crate::args::Restore;
use crate::fault::{Exit, Fault, chain};
use crate::output::{bytes, moment};

/// `backup`: the daemon copies the database, everything beside it is read here.
pub(super) async fn backup(app: &App, file: &Path) -> Result<Exit, Fault> {
    let to = std::path::absolute(file)
        .map_err(|error| Fault::caused(format!("find {}", file.display()), &error))?;
    if to.exists() {
        return Err(failed(&BackupError::There(to)));
    }
    let client = app.data.connect(&app.out).await?;
    let snapshot = client.create_snapshot().await?;
    let made = backup::write(app.data.dir(), &snapshot, &to);
    let _ = std::fs::remove_file(&snapshot.file);
    let made = made.map_err(|error| failed(&error))?;
    let size = to.metadata().map_or(0, |about| about.len());
    app.out
        .json(&json!({ "file": to, "bytes": size, "made_at": made.made_at }));
    app.out
        .line(format!("wrote {} ({})", to.display(), bytes(size)));
    app.out
        .note("note: it holds keys and everything that was built; keep it as you keep a password");
    Ok(Exit::Done)
}

/// `restore`: into a new directory, or the word that the old instance is gone.
pub(super) async fn restore(app: &App, args: Restore) -> Result<Exit, Fault> {
    let data = app.data.dir();
    let Some(file) = args.file else {
        return confirm(app).await;
    };
    let config =
        |flags| Config::load(data, flags).map_err(|error| Fault::failed(error.to_string()));
    let store = config(Flags {
        store: args.store,
        ..Flags::default()
    })?
    .settings
    .store;
    let manifest = backup::restore(&file, data, &store)
        .await
        .map_err(|error| failed(&error))?;
    app.out
        .json(&json!({ "data": data, "made_at": manifest.made_at, "fenced": true }));
    app.out.line(format!(
        "restored {} as it was {}",
        data.display(),
        moment(manifest.made_at.as_ms())
    ));
    if store != "sqlite" {
        app.out.note(format!(
            "note: write the new database into {} (store = …): the backup's own may stand there, and is refused",
            data.join("config.toml").display()
        ));
    }
    app.out.line(
        "it can be looked at, and works nothing until you say that the old instance is gone:",
    );
    app.out
        .line(format!("  {}", app.command(&["restore", "--confirm"])));
    Ok(Exit::Done)
}

async fn confirm(app: &App) -> Result<Exit, Fault> {
    let data = app.data.dir();
    if !data.join(backup::FENCE).exists() {
        return Err(Fault::failed(format!(
            "{} was not restored from a backup, or it was confirmed already",
            data.display()
        )));
    }
    let store = Config::load(data, Flags::default())
        .map_err(|error| Fault::failed(error.to_string()))?
        .settings
        .store;
    backup::restored_there(data, &store).map_err(|error| Fault::failed(error.to_string()))?;
    // A daemon that came up behind the fence stays behind it.
    daemon::end(app).await?;
    backup::confirm(data).map_err(|error| failed(&error))?;
    app.out.json(&json!({ "data": data, "fenced": false }));
    app.out.line(format!(
        "{} goes on where the backup ends, with the next start of its daemon",
        data.display()
    ));
    Ok(Exit::Done)
}

fn failed(error: &BackupError) -> Fault {
    Fault::failed(chain(error))
}
