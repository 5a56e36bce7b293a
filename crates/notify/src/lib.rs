//! How notices reach people: one [`Channel`] per way.
//!
//! A channel tries once and says how it went; when to try again is the outbox's business
//! (`engine`). The same notice may come twice after a crash: its id is the same. Start with [`open`], which
//! makes channels out of the configuration; `when.rs` says which notices a channel wants, and when.

mod calendar;
mod command;
mod config;
mod discord;
mod http;
mod mail;
mod message;
mod ntfy;
mod secret;
mod slack;
#[cfg(test)]
mod testing;
mod text;
mod webhook;
mod when;

pub use calendar::CalendarSource;
pub use command::Command;
pub use config::{ChannelConfig, MailSecurity, OpenError, open};
pub use discord::Discord;
pub use mail::{Mail, MailConfig};
pub use message::{Action, Does, Message};
pub use ntfy::{Ntfy, NtfyConfig};
pub use secret::Resolve;
pub use slack::Slack;
pub use webhook::{Unverified, Webhook, verify};
pub use when::{Due, QuietConfig, Recent, When, WhenConfig};

use std::sync::LazyLock;
use std::time::Duration;

/// Why a message did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Another try may work.
    #[error("{said}")]
    Later {
        /// What went wrong.
        said: String,
        /// How long the receiver asked to be left alone.
        wait: Option<Duration>,
    },
    /// No try can work: it is parked.
    #[error("{0}")]
    Never(String),
}

impl SendError {
    /// Another try may work, at any time.
    pub fn later(said: impl Into<String>) -> Self {
        Self::Later {
            said: said.into(),
            wait: None,
        }
    }
}

/// One way to reach people.
#[async_trait::async_trait]
pub trait Channel: Send + Sync {
    /// Its name, unique among the configured ones and kept across restarts.
    fn name(&self) -> &str;
    /// Tries once.
    async fn send(&self, message: &Message) -> Result<(), SendError>;
    /// Which notices it wants, and when.
    fn when(&self) -> &When {
        static ALWAYS: LazyLock<When> = LazyLock::new(When::default);
        &ALWAYS
    }
}
