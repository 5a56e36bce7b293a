//! The `[[notify]]` tables of the configuration, and the channels that they make.

use crate::http::Poster;
use crate::mail::MailConfig;
use crate::ntfy::NtfyConfig;
use crate::{
    Channel, Command, Discord, Mail, Message, Ntfy, Resolve, SendError, Slack, Webhook, When,
    WhenConfig,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One way for notices to reach people. `name` is unique among the channels and kept across restarts; addresses
/// and secrets may be references (`env:NAME`, `file:/PATH`, `vault:MOUNT/PATH#FIELD`); `when` says which notices and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum ChannelConfig {
    /// Push to a phone through ntfy, with buttons.
    Ntfy {
        /// Which.
        name: String,
        /// The server, without the topic.
        url: String,
        /// The topic. Whoever knows it can read it, unless the server asks for a token.
        topic: String,
        /// A reference to the access token.
        #[serde(default)]
        token: Option<String>,
        /// Which notices, and when.
        #[serde(default)]
        when: WhenConfig,
    },
    /// A signed JSON POST (Standard Webhooks).
    Webhook {
        /// Which.
        name: String,
        /// Where to.
        url: String,
        /// A reference to the signing secret: `whsec_` and Base64; two of them, with a space between, while one
        /// replaces the other. Without it nothing is signed.
        #[serde(default)]
        secret: Option<String>,
        /// Which notices, and when.
        #[serde(default)]
        when: WhenConfig,
    },
    /// A Slack incoming webhook.
    Slack {
        /// Which.
        name: String,
        /// The webhook's address, which is a secret.
        url: String,
        /// Which notices, and when.
        #[serde(default)]
        when: WhenConfig,
    },
    /// A Discord webhook.
    Discord {
        /// Which.
        name: String,
        /// The webhook's address, which is a secret.
        url: String,
        /// Which notices, and when.
        #[serde(default)]
        when: WhenConfig,
    },
    /// Mail over SMTP.
    Mail {
        /// Which.
        name: String,
        /// The mail server.
        host: String,
        /// Its port; by default 465 with `tls`, 587 with `starttls`, 25 with `none`.
        #[serde(default)]
        port: Option<u16>,
        /// How the connection is protected.
        #[serde(default)]
        security: MailSecurity,
        /// Who logs in; nobody where it is left out.
        #[serde(default)]
        user: Option<String>,
        /// A reference to the password.
        #[serde(default)]
        password: Option<String>,
        /// Who it comes from.
        from: String,
        /// Who it goes to.
        to: Vec<String>,
        /// Which notices, and when.
        #[serde(default)]
        when: WhenConfig,
    },
    /// A program that gets the notice as JSON on its standard input.
    Command {
        /// Which.
        name: String,
        /// Program and arguments.
        command: Vec<String>,
        /// Which notices, and when.
        #[serde(default)]
        when: WhenConfig,
    },
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailSecurity {
    /// TLS from the first byte.
    #[default]
    Tls,
    /// TLS after a greeting in the clear; a server without it is refused.
    Starttls,
    /// Not at all: only to a server on this machine.
    None,
}

/// Why a channel cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the channel {name:?} {problem}")]
pub struct OpenError {
    /// Which channel.
    pub name: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// Makes the channels. Reads no secret yet: each is read when it is needed.
///
/// # Errors
/// [`OpenError`] for the first that cannot be meant.
pub fn open(
    configs: &[ChannelConfig],
    resolve: &Resolve,
) -> Result<Vec<Arc<dyn Channel>>, OpenError> {
    let mut names = BTreeSet::new();
    let mut channels: Vec<Arc<dyn Channel>> = Vec::new();
    for config in configs {
        let of = |problem: String| OpenError {
            name: config.name().to_owned(),
            problem,
        };
        if !names.insert(config.name()) {
            return Err(of("is there twice: names are unique".to_owned()));
        }
        if config.name().is_empty() {
            return Err(of("needs a name that is not empty".to_owned()));
        }
        let inner = config.channel(resolve).map_err(of)?;
        let when = When::new(config.when()).map_err(of)?;
        channels.push(Arc::new(Routed { inner, when }));
    }
    Ok(channels)
}

impl ChannelConfig {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Ntfy { name, .. }
            | Self::Webhook { name, .. }
            | Self::Slack { name, .. }
            | Self::Discord { name, .. }
            | Self::Mail { name, .. }
            | Self::Command { name, .. } => name,
        }
    }

    fn when(&self) -> &WhenConfig {
        match self {
            Self::Ntfy { when, .. }
            | Self::Webhook { when, .. }
            | Self::Slack { when, .. }
            | Self::Discord { when, .. }
            | Self::Mail { when, .. }
            | Self::Command { when, .. } => when,
        }
    }

    fn channel(&self, resolve: &Resolve) -> Result<Box<dyn Channel>, String> {
        Ok(match self.clone() {
            Self::Ntfy {
                name,
                url,
                topic,
                token,
                when: _,
            } => {
                let config = NtfyConfig { url, topic, token };
                Box::new(Ntfy::new(&name, &config, resolve, Poster::new()?)?)
            }
            Self::Webhook {
                name,
                url,
                secret,
                when: _,
            } => Box::new(Webhook::new(&name, &url, secret.as_deref(), resolve)?),
            Self::Slack { name, url, when: _ } => Box::new(Slack::new(&name, &url, resolve)?),
            Self::Discord { name, url, when: _ } => Box::new(Discord::new(&name, &url, resolve)?),
            Self::Mail {
                name,
                host,
                port,
                security,
                user,
                password,
                from,
                to,
                when: _,
            } => {
                let config = MailConfig {
                    host,
                    port,
                    security,
                    user,
                    password,
                    from,
                    to,
                };
                Box::new(Mail::new(&name, &config, resolve)?)
            }
            Self::Command {
                name,
                command,
                when: _,
            } => {
                if command.is_empty() {
                    return Err("names no program".to_owned());
                }
                Box::new(Command::new(&name, command))
            }
        })
    }
}

/// A channel with what it wants.
struct Routed {
    inner: Box<dyn Channel>,
    when: When,
}

#[async_trait::async_trait]
impl Channel for Routed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn send(&self, message: &Message) -> Result<(), SendError> {
        self.inner.send(message).await
    }

    fn when(&self) -> &When {
        &self.when
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(json: serde_json::Value) -> Vec<ChannelConfig> {
        serde_json::from_value(json).unwrap()
    }

    fn nothing() -> Resolve {
        Arc::new(|_| Err("it is not set".to_owned()))
    }

    #[test]
    fn every_kind_is_made_from_its_table_without_reading_a_secret() {
        let configs = configs(serde_json::json!([
            {"type": "ntfy", "name": "phone", "url": "https://ntfy.sh", "topic": "builds", "token": "env:T"},
            {"type": "webhook", "name": "hook", "url": "env:HOOK", "secret": "file:/s"},
            {"type": "slack", "name": "slack", "url": "env:SLACK"},
            {"type": "discord", "name": "discord", "url": "https://discord.com/api/webhooks/1/x"},
            {"type": "mail", "name": "mail", "host": "mail.example.org", "from": "Builds <b@example.org>",
             "to": ["ann@example.org"], "user": "b", "password": "env:P"},
            {"type": "command", "name": "say", "command": ["say"],
             "when": {"topics": ["build.failed"], "quiet": {"from": "22:00", "to": "07:00"}}},
        ]));
        let channels = open(&configs, &nothing()).unwrap();
        let names: Vec<_> = channels.iter().map(|channel| channel.name()).collect();
        assert_eq!(names, ["phone", "hook", "slack", "discord", "mail", "say"]);
        assert_eq!(
            channels[5].when().due("build.waiting", 0, 0),
            crate::Due::Never
        );
        let back: Vec<ChannelConfig> =
            serde_json::from_value(serde_json::to_value(&configs).unwrap()).unwrap();
        assert_eq!(back, configs);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_channels_name_and_without_its_secrets() {
        let mail = |host: &str, security: &str, from: &str, to: &[&str]| {
            serde_json::json!({"type": "mail", "name": "it", "host": host, "security": security,
                "from": from, "to": to})
        };
        let ann = ["ann@example.org"];
        for (config, says) in [
            (
                serde_json::json!({"type": "ntfy", "name": "it", "url": "ntfy.sh", "topic": "b"}),
                "http",
            ),
            (
                serde_json::json!({"type": "ntfy", "name": "it", "url": "https://ntfy.sh", "topic": "a/b"}),
                "topic",
            ),
            (
                serde_json::json!({"type": "ntfy", "name": "it", "url": "https://ntfy.sh", "topic": "b",
                "token": "tk_s3cret"}),
                "env:NAME",
            ),
            (
                serde_json::json!({"type": "webhook", "name": "it", "url": "https://x", "secret": "whsec_s3cret"}),
                "never the secret",
            ),
            (
                serde_json::json!({"type": "slack", "name": "it", "url": "s3cret"}),
                "http",
            ),
            (
                serde_json::json!({"type": "discord", "name": "it", "url": "s3cret"}),
                "http",
            ),
            (
                serde_json::json!({"type": "command", "name": "it", "command": []}),
                "program",
            ),
            (
                serde_json::json!({"type": "command", "name": "it", "command": ["x"],
                "when": {"zone": "Moon"}}),
                "Moon",
            ),
            (
                mail("mail.example.org", "none", "a@b.org", &ann),
                "this machine",
            ),
            (
                mail("mail.example.org", "tls", "not an address", &ann),
                "not an address",
            ),
            (mail("mail.example.org", "tls", "a@b.org", &[]), "nobody"),
            (mail("mail.example.org", "tls", "a@b.org", &["x"]), "\"x\""),
        ] {
            let error = open(&configs(serde_json::json!([config])), &nothing())
                .err()
                .unwrap_or_else(|| panic!("{config} was taken"))
                .to_string();
            assert!(
                error.contains(says) && error.contains("\"it\""),
                "{config}: {error}"
            );
            assert!(!error.contains("s3cret"), "{error}");
        }
        let twice = configs(serde_json::json!([
            {"type": "command", "name": "it", "command": ["x"]},
            {"type": "command", "name": "it", "command": ["y"]},
        ]));
        let error = open(&twice, &nothing()).err().unwrap();
        assert!(error.to_string().contains("twice"));
    }
}
