//! `agentwright up`: the daemon in the foreground with its TCP door, and all that a first start needs.
//!
//! The first start writes `config.toml` and makes an admin key; every start makes a login code. Not here: the
//! life of the process (`daemon`). [`check`] looks at what is in the way and changes nothing.

use super::place::{self, Found, Held};
use super::{Attachment, DaemonError, Opening, Served, be};
use crate::app::{App, StartError, Work};
use crate::config::Config;
use crate::doctor;
use agentwright_api::{Check, CheckStatus};
use agentwright_domain::principal::{KeyKind, Role};
use agentwright_store::{Actor, NewKey, NewKeyError, OrgScope};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// What a person is told when the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Where the server is.
    pub url: String,
    /// Logs a browser in, once.
    pub login_url: String,
    /// The admin key, on the first start only.
    pub first_key: Option<String>,
    /// What the person should know about how it is reached.
    pub warning: Option<String>,
}

/// Is the server until it is asked to stop. `tell` is called once, when it answers.
///
/// # Errors
/// As [`super::run`].
pub fn up(config: Config, mut tell: impl FnMut(&Welcome)) -> Result<(), DaemonError> {
    be(config, Attachment::Foreground, Opening::Up(&mut tell))
}

/// Starts the app, makes what a first start needs, and only then opens the doors.
pub(super) async fn open(
    config: Config,
    work: Work,
    held: Held,
) -> Result<(Served, Welcome), DaemonError> {
    let text = first_config(&config);
    held.configure(&text)
        .map_err(DaemonError::io("write config.toml"))?;
    let app = App::start(config, work).await?;
    let made = async {
        let key = first_key(&app).await?;
        let by = actor();
        let scope = OrgScope::local();
        let code = app
            .store()
            .add_login_code(&scope, &by.name, Role::Admin, &by);
        Ok::<_, StartError>((key, code.await.map_err(StartError::Keys)?))
    };
    let (first_key, code) = match made.await {
        Ok(made) => made,
        Err(error) => {
            app.stop(Duration::ZERO).await;
            return Err(error.into());
        }
    };
    let served = Served::serve(app, held).await?;
    let url = served.app().address().unwrap_or_default();
    let welcome = Welcome {
        login_url: format!("{url}/login?code={code}"),
        url,
        first_key,
        warning: in_the_clear(served.app().config()),
    };
    Ok((served, welcome))
}

fn actor() -> Actor {
    Actor {
        name: place::user_name(rustix::process::geteuid().as_raw()),
        principal: "owner".to_owned(),
    }
}

/// The admin key of a store that never had one.
async fn first_key(app: &App) -> Result<Option<String>, StartError> {
    let (ever, _) = app.store().count_keys().await.map_err(StartError::Keys)?;
    if ever > 0 {
        return Ok(None);
    }
    let new = NewKey {
        name: "first admin".to_owned(),
        kind: KeyKind::Person,
        role: Role::Admin,
        organizations: Vec::new(),
        expires_at_ms: None,
    };
    match app
        .store()
        .add_key(&OrgScope::local(), &new, &actor())
        .await
    {
        Ok((_, secret)) => Ok(Some(secret)),
        Err(NewKeyError::Store(error)) => Err(StartError::Keys(error)),
        Err(
            error @ (NewKeyError::Role(_) | NewKeyError::TooMany | NewKeyError::NoOrganization(_)),
        ) => unreachable!("the first key is refused: {error}"),
    }
}

fn first_config(config: &Config) -> String {
    let listen = config.settings.listen.map_or_else(
        || "# listen = \"127.0.0.1:8400\"".to_owned(),
        |address| format!("listen = \"{address}\""),
    );
    format!(
        "# Written by the first start of agentwright up. All settings: docs/operations.md.\n\
         # Where programs and browsers reach the server; each shows a key or a session.\n\
         {listen}\n\
         # Where people reach it, when a proxy with TLS stands before it:\n\
         # public_url = \"https://build.example.org\"\n"
    )
}

/// Beyond loopback without a proxy, keys and pages can be read on the way.
fn in_the_clear(config: &Config) -> Option<String> {
    let address = config.settings.listen?;
    (!address.ip().is_loopback() && !config.is_https()).then(|| {
        format!(
            "{address} is plain HTTP, so keys can be read on the way: put a proxy with TLS before it and set public_url = \"https://…\" in config.toml"
        )
    })
}

/// What a start would find, and what is in its way. Nothing is changed.
pub fn check(config: &Config) -> Vec<Check> {
    let ok = |name: &str, detail: String| Check {
        name: name.to_owned(),
        status: CheckStatus::Ok,
        detail,
        fix: None,
    };
    let dir = &config.data_dir;
    let shown = dir.display();
    let mut checks = Vec::new();
    match place::look(dir) {
        Ok(Found::Nothing) => checks.push(ok("data", format!("{shown} would be made"))),
        Ok(Found::Ours) => {
            checks.push(ok("data", format!("{shown} is free")));
            checks.push(doctor::room(dir));
        }
        Err(error) => checks.push(Check {
            status: CheckStatus::Failed,
            ..ok("data", error.to_string())
        }),
    }
    let config_file = if dir.join("config.toml").exists() {
        "config.toml is read"
    } else {
        "config.toml would be written"
    };
    checks.push(ok("configuration", config_file.to_owned()));
    let first = !dir.join("auth.key").exists();
    let keys = if first {
        "a first start: an admin key would be made and shown once"
    } else {
        "an admin key would be made and shown only if there never was a key"
    };
    checks.push(ok("keys", keys.to_owned()));
    if let Some(address) = config.settings.listen {
        checks.push(port(address));
    }
    if let Some(warning) = in_the_clear(config) {
        checks.push(Check {
            status: CheckStatus::Warning,
            ..ok("reach", warning)
        });
    }
    if !config.settings.bwrap.exists() {
        checks.push(Check {
            status: CheckStatus::Warning,
            fix: Some("install bubblewrap (apt install bubblewrap)".to_owned()),
            ..ok(
                "sandbox",
                format!(
                    "{} is not there: nothing could be tested or run",
                    config.settings.bwrap.display()
                ),
            )
        });
    }
    checks
}

/// Whether the address is free: bound for a moment.
fn port(address: SocketAddr) -> Check {
    let (status, detail) = match TcpListener::bind(address) {
        Ok(_) => (CheckStatus::Ok, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => (
            CheckStatus::Failed,
            DaemonError::PortTaken(address).to_string(),
        ),
        Err(error) => (
            CheckStatus::Failed,
            format!("cannot listen on {address}: {error}"),
        ),
    };
    Check {
        name: "address".to_owned(),
        status,
        detail,
        fix: None,
    }
}
