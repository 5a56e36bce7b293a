//! `service`: whether the machine starts the daemon when it starts. What is written is decided in
//! `server::boot`; here it is shown and carried out.

use agentwright_api::Supervision;
use agentwright_server::boot::{self, BootStart, CRONTAB_MARK, Place};
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::App;
use crate::args::ServiceCommand;
use crate::describe::field;
use crate::fault::{Exit, Fault};
use crate::output::{quoted, safe};

/// `service`.
pub(super) async fn service(app: &App, command: ServiceCommand) -> Result<Exit, Fault> {
    match command {
        ServiceCommand::Install => install(app),
        ServiceCommand::Uninstall => uninstall(app).await,
        ServiceCommand::Status => {
            let found = boot::installed().await;
            app.out.json(&json!({ "supervision": found }));
            app.out.line(words(found));
            Ok(Exit::Done)
        }
    }
}

/// Says so where nothing starts the daemon with the machine.
pub(super) async fn advise(app: &App) {
    if !app.out.is_json() && boot::installed().await == Supervision::None {
        app.out.note(format!(
            "note: after a restart of the machine nothing runs until a command is given; {} changes that",
            app.command(&["service", "install"])
        ));
    }
}

fn words(found: Supervision) -> &'static str {
    match found {
        Supervision::SystemdSystem => "a systemd unit of the machine starts the daemon",
        Supervision::SystemdUser => "a systemd unit of the user starts the daemon",
        Supervision::Crontab => "an @reboot line in the crontab starts the daemon",
        Supervision::None => "nothing starts the daemon when the machine starts",
    }
}

fn install(app: &App) -> Result<Exit, Fault> {
    let plan = plan(app)?;
    if let Some((path, text)) = &plan.file {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| Fault::caused(format!("make {}", folder.display()), &error))?;
        }
        std::fs::write(path, text)
            .map_err(|error| Fault::caused(format!("write {}", path.display()), &error))?;
        app.out.line(format!("wrote {}", path.display()));
    }
    if let Some(line) = &plan.crontab_line {
        let mut table = without_ours(&crontab()?);
        table.push_str(line);
        table.push('\n');
        set_crontab(&table)?;
        app.out.line("added to the crontab:");
        app.out.line(format!("  {}", safe(line)));
    }
    for words in &plan.enable {
        give(app, words)?;
    }
    for note in &plan.notes {
        app.out.line(field("note", note));
    }
    app.out.json(&json!({ "supervision": plan.kind }));
    Ok(Exit::Done)
}

async fn uninstall(app: &App) -> Result<Exit, Fault> {
    let found = boot::installed().await;
    if found == Supervision::None {
        app.out.json(&json!({ "supervision": Supervision::None }));
        app.out.line("there is nothing to take back");
        return Ok(Exit::Done);
    }
    let plan = plan(app)?;
    if found == Supervision::Crontab {
        set_crontab(&without_ours(&crontab()?))?;
        app.out.line("took our line out of the crontab");
    } else {
        for words in &plan.disable {
            give(app, words)?;
        }
        if let Some((path, _)) = &plan.file {
            std::fs::remove_file(path)
                .map_err(|error| Fault::caused(format!("remove {}", path.display()), &error))?;
            app.out.line(format!("removed {}", path.display()));
        }
    }
    app.out.json(&json!({ "supervision": Supervision::None }));
    Ok(Exit::Done)
}

fn plan(app: &App) -> Result<BootStart, Fault> {
    let exe = std::env::current_exe()
        .map_err(|error| Fault::caused("find this program's own file", &error))?;
    let home = std::env::home_dir().ok_or_else(|| Fault::failed("there is no home directory"))?;
    let user = std::env::var_os("USER")
        .or_else(|| std::env::var_os("LOGNAME"))
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| rustix::process::getuid().as_raw().to_string());
    Ok(boot::choose(&Place {
        exe: &exe,
        data: app.data.dir(),
        home: &home,
        user: &user,
        root: rustix::process::geteuid().is_root(),
    }))
}

fn crontab() -> Result<String, Fault> {
    let output = program("crontab")
        .arg("-l")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| no_cron(&error))?;
    // Without a crontab yet, it ends with 1 and says so.
    Ok(if output.status.success() {
        String::from_utf8_lossy(&output.stdout).into_owned()
    } else {
        String::new()
    })
}

fn set_crontab(text: &str) -> Result<(), Fault> {
    let mut child = program("crontab")
        .arg("-")
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| no_cron(&error))?;
    let written = match child.stdin.take() {
        Some(mut input) => input.write_all(text.as_bytes()),
        None => Ok(()),
    };
    let status = child
        .wait()
        .map_err(|error| Fault::caused("wait for crontab", &error))?;
    written.map_err(|error| Fault::caused("write the crontab", &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Fault::failed("crontab did not take the new table"))
    }
}

fn no_cron(error: &std::io::Error) -> Fault {
    Fault::caused("run crontab", error).hint(
        "this machine has neither systemd nor cron; let whatever starts its programs run 'agentwright daemon run'",
    )
}

fn without_ours(table: &str) -> String {
    table
        .lines()
        .filter(|line| !line.trim_end().ends_with(CRONTAB_MARK))
        .flat_map(|line| [line, "\n"])
        .collect()
}

fn give(app: &App, words: &[String]) -> Result<(), Fault> {
    let Some((name, arguments)) = words.split_first() else {
        return Ok(());
    };
    let shown: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let shown = shown.join(" ");
    app.out.line(format!("ran {shown}"));
    let status = program(name)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| Fault::caused(format!("run {shown}"), &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Fault::failed(format!("{shown} did not succeed"))
            .hint("run it yourself to see why; the file that was written stays"))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "systemctl, loginctl and crontab are the person's own programs, run for the person"
)]
fn program(name: impl AsRef<Path>) -> Command {
    Command::new(name.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_line_leaves_a_crontab() {
        let table = format!("0 4 * * * backup\n@reboot agentwright {CRONTAB_MARK}\n# my notes\n");
        assert_eq!(without_ours(&table), "0 4 * * * backup\n# my notes\n");
        assert_eq!(without_ours(""), "");
    }
}
