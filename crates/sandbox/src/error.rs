//! What can go wrong, shaped by what the caller does next. A command that fails or is stopped is not an
//! error: it is a [`crate::Report`].

use std::net::SocketAddr;

use crate::policy::Tier;

/// Why nothing ran.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine cannot build walls as strong as the policy asks for. Show the reasons; do not retry.
    #[error("the command needs sandbox tier {needed}, this machine offers {offered}: {}", reasons.join("; "))]
    TooWeak {
        /// What the policy asks for.
        needed: Tier,
        /// What the probe found.
        offered: Tier,
        /// What is missing and how to get it.
        reasons: Vec<String>,
    },
    /// The policy cannot be carried out as written. Show it; the policy must change.
    #[error("refused {what}: {why}; {fix}")]
    Refused {
        /// Which entry.
        what: String,
        /// Why not.
        why: String,
        /// What to do.
        fix: String,
    },
    /// The published address is taken. Choose another or stop its owner.
    #[error(
        "cannot publish on {0}: the address is in use; choose another port or stop what listens there"
    )]
    AddressInUse(SocketAddr),
    /// The sandbox has ended; there is nothing to talk to.
    #[error("the sandbox has ended")]
    Ended,
    /// The walls could not be built this time. May be retried.
    #[error("cannot set up the sandbox: {0}")]
    Setup(String),
    /// The system refused something needed.
    #[error("cannot {attempted}")]
    Io {
        /// What was tried, on what.
        attempted: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn refused(
        what: impl std::fmt::Display,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::Refused {
            what: what.to_string(),
            why: why.into(),
            fix: fix.into(),
        }
    }

    pub(crate) fn io(attempted: impl Into<String>, source: impl Into<std::io::Error>) -> Self {
        Self::Io {
            attempted: attempted.into(),
            source: source.into(),
        }
    }
}
