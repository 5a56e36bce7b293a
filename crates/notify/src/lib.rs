//! How notices reach people: one [`Channel`] per way.
//!
//! A channel tries once and says how it went; when to try again is the outbox's business
//! (`engine`). The same notice may come twice after a crash: its id is the same.

mod command;
mod webhook;

pub use command::Command;
pub use webhook::{Webhook, WebhookError};

use agentwright_domain::run::Notice;
use serde_json::{Value, json};

/// A notice on its way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The same for every try: the receiver's idempotency key.
    pub id: String,
    /// Whose.
    pub organization: String,
    /// The run that it is about.
    pub run: String,
    /// When it was written, ms.
    pub at_ms: i64,
    /// What is said.
    pub notice: Notice,
}

impl Message {
    /// What channels send: the same JSON for all of them (docs/formats.md, "Notices").
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "type": self.notice.topic,
            "organization": self.organization,
            "run": self.run,
            "at_ms": self.at_ms,
            "title": self.notice.title,
            "body": self.notice.body,
        })
    }
}

/// Why a message did not arrive.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    /// Another try may work.
    #[error("{0}")]
    Later(String),
    /// No try can work: it is parked.
    #[error("{0}")]
    Never(String),
}

/// One way to reach people.
#[async_trait::async_trait]
pub trait Channel: Send + Sync {
    /// Its name, unique among the configured ones and kept across restarts.
    fn name(&self) -> &str;
    /// Tries once.
    async fn send(&self, message: &Message) -> Result<(), SendError>;
}

#[cfg(test)]
mod tests {
    use super::Message;
    use agentwright_domain::run::Notice;

    pub(crate) fn message() -> Message {
        Message {
            id: "run-1-0".to_owned(),
            organization: "local".to_owned(),
            run: "run".to_owned(),
            at_ms: 12_345,
            notice: Notice {
                topic: "build.failed".to_owned(),
                title: "backup failed at verify".to_owned(),
                body: "the archive is empty".to_owned(),
            },
        }
    }
}
