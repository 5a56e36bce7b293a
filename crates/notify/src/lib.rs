//! How notices reach people: one [`Channel`] per way.
//!
//! A channel tries once and says how it went; when to try again is the outbox's business
//! (`engine`). The same notice may come twice after a crash: its id is the same.

use agentwright_domain::run::Notice;

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
