//! `up` and `login`: the server that people live with, and the way in for a browser.

use agentwright_api::{CheckStatus, CreateLoginCode};
use agentwright_server::daemon::{self as server, Welcome};
use agentwright_server::{Config, Flags};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{App, access::role};
use crate::args::{Login, Up};
use crate::describe::field;
use crate::fault::{Exit, Fault, chain};
use crate::output::{moment, safe, safe_line};

/// Where it listens when nothing is said.
const PORT: u16 = 8400;

/// `up`: becomes the server; returns when it was stopped.
pub(super) fn up(app: &App, args: &Up) -> Result<Exit, Fault> {
    let config = config(app, args)?;
    if args.check {
        return Ok(check(app, &config));
    }
    let told = server::up(config, |welcome| tell(app, welcome));
    match told {
        Ok(()) => Ok(Exit::Done),
        Err(error) => {
            let mut fault = Fault::failed(chain(&error));
            if error.exit_code() == server::EXIT_RUNNING {
                fault.exit = Exit::Taken;
                fault.hint = Some(format!(
                    "{} ends it; with 'listen' in config.toml it listens, too, and {} makes an address to log in",
                    app.command(&["daemon", "stop"]),
                    app.command(&["login"])
                ));
            }
            Err(fault)
        }
    }
}

/// What is given wins, then what is configured, then 127.0.0.1:8400.
fn config(app: &App, args: &Up) -> Result<Config, Fault> {
    let load =
        |flags| Config::load(app.data.dir(), flags).map_err(|error| Fault::failed(chain(&error)));
    let configured = load(Flags::default())?.settings.listen;
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let host = args
        .host
        .unwrap_or_else(|| configured.map_or(loopback, |address| address.ip()));
    let port = args
        .port
        .unwrap_or_else(|| configured.map_or(PORT, |address| address.port()));
    load(Flags {
        listen: Some(SocketAddr::new(host, port)),
        store: args.store.clone(),
        foundations: None,
    })
}

fn check(app: &App, config: &Config) -> Exit {
    let checks = server::check(config);
    app.out.json(&json!({ "checks": checks }));
    for one in &checks {
        let mark = match one.status {
            CheckStatus::Ok => "ok",
            CheckStatus::Warning => "note",
            CheckStatus::Failed => "FAILED",
        };
        app.out
            .line(field(&one.name, &format!("{mark}: {}", safe(&one.detail))));
        if let Some(fix) = &one.fix {
            app.out.line(field("", &safe(fix)));
        }
    }
    let failed = checks.iter().any(|one| one.status == CheckStatus::Failed);
    app.out.line(if failed {
        "it would not start; nothing was changed"
    } else {
        "it would start; nothing was changed"
    });
    if failed { Exit::Failed } else { Exit::Done }
}

fn tell(app: &App, welcome: &Welcome) {
    app.out.json(&json!({
        "url": welcome.url,
        "login_url": welcome.login_url,
        "key": welcome.first_key,
    }));
    let line = |text: String| app.out.line(text);
    line(format!("agentwright is up: {}", safe_line(&welcome.url)));
    if let Some(key) = &welcome.first_key {
        line("an admin key, shown this once:".to_owned());
        line(format!("  {key}"));
    }
    line("open this in a browser; it logs in once, within ten minutes:".to_owned());
    line(format!("  {}", safe_line(&welcome.login_url)));
    line(format!("another such address: {}", app.command(&["login"])));
    if let Some(warning) = &welcome.warning {
        app.out.note(format!("note: {warning}"));
    }
}

/// `login`.
pub(super) async fn login(app: &App, args: Login) -> Result<Exit, Fault> {
    let client = app.data.connect(&app.out).await?;
    let request = CreateLoginCode {
        name: args.name,
        role: args.role.map(role),
    };
    let made = client.create_login_code(&request).await?;
    let Some(url) = &made.url else {
        return Err(
            Fault::failed("this daemon does not listen on TCP, so no browser reaches it").hint(
                format!(
                    "end it ({}) and give {}",
                    app.command(&["daemon", "stop"]),
                    app.command(&["up"])
                ),
            ),
        );
    };
    app.out.json(&made);
    app.out.line(safe_line(url));
    app.out.note(format!(
        "holds for one login, until {}",
        moment(made.expires_at.as_ms())
    ));
    Ok(Exit::Done)
}
