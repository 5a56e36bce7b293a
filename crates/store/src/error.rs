//! What can go wrong, by what the caller does next.

use agentwright_domain::ids::{RunId, Slug};

/// A read or write that did not happen. Nothing of it was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached or is busy: the same call may work later.
    #[error("the database does not answer while {doing}: {detail}")]
    Unavailable {
        /// What was attempted.
        doing: &'static str,
        /// The driver's words.
        detail: String,
    },
    /// No room left, or a quota is used up: make room, then repeat.
    #[error("no room left on the disk of the data directory while {doing}: free some and repeat")]
    Full {
        /// What was attempted.
        doing: &'static str,
    },
    /// The stored bytes are not what they must be: restore from a copy.
    #[error("what is stored cannot be read while {doing}: {detail}")]
    Corrupt {
        /// What was attempted.
        doing: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// The database refused what was to be written; repeating cannot help.
    #[error("the database refused {doing}: {detail}")]
    Refused {
        /// What was attempted.
        doing: &'static str,
        /// The driver's words.
        detail: String,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a store does not open. Nothing of the database was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{place} is in use by another agentwright process: stop that one, or use its socket")]
    Locked {
        /// The database.
        place: String,
    },
    /// A newer agentwright wrote it.
    #[error(
        "{place} was written by a newer agentwright (format {found}, this one knows {known}): use the newer program; nothing was changed"
    )]
    Newer {
        /// The database.
        place: String,
        /// The newest migration in it.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// It is no database of ours, or it is damaged.
    #[error(
        "{place} is not an intact agentwright database ({detail}): restore a copy or move it away; nothing was changed"
    )]
    Corrupt {
        /// The database.
        place: String,
        /// What is wrong.
        detail: String,
    },
    /// A copy is to go where something is already.
    #[error(
        "{place} has tables of agentwright already: name an empty database; nothing was changed"
    )]
    NotEmpty {
        /// The database.
        place: String,
    },
    /// A restored data directory belongs to another database.
    #[error(
        "this data directory was restored for {restored}, and the configuration names {place}: write store = … of the restored one into config.toml"
    )]
    Elsewhere {
        /// The database of the configuration.
        place: String,
        /// The one that was filled.
        restored: String,
    },
    /// It cannot be written.
    #[error("{place} cannot be written ({detail}): check owner, mode and mount")]
    ReadOnly {
        /// The database or its directory.
        place: String,
        /// The system's words.
        detail: String,
    },
    /// No room left.
    #[error("no room left on the disk of {place}: free some and start again")]
    Full {
        /// The database.
        place: String,
    },
    /// The key outside the database is not this database's.
    #[error(
        "{place} cannot be used: {detail}; put the file back from a backup of this data directory"
    )]
    Secret {
        /// The file.
        place: String,
        /// What is wrong.
        detail: &'static str,
    },
    /// Organizations would not be kept apart by the database.
    #[error("{place} does not keep organizations apart: {detail}")]
    NoWall {
        /// The database.
        place: String,
        /// What is wrong and what to do.
        detail: String,
    },
    /// It does not answer.
    #[error("{place} does not answer ({detail}): check the address and that the server runs")]
    Unreachable {
        /// The database, without any password.
        place: String,
        /// The driver's words.
        detail: String,
    },
}

/// Why a submission wrote nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// A live run of that kind already has the label.
    #[error("a run named {label} is still going on: wait for it, cancel it, or give another name")]
    LabelTaken {
        /// The label.
        label: Slug,
        /// The run that has it, where it could be found.
        by: Option<RunId>,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// How a deployment is that a commit does not find as it expects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is there.
    Deployed,
    /// It is not.
    Removed,
    /// Another version is the active one, or it is not there at all.
    Replaced,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Deployed => "is deployed meanwhile",
            Self::Removed => "was removed meanwhile",
            Self::Replaced => "has another active version meanwhile",
        })
    }
}

/// Why a commit or a report wrote nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The run has moved on since it was loaded: what was worked out for it no longer counts.
    #[error("the run has moved on (epoch {expected} expected): this outcome no longer counts")]
    Stale {
        /// The epoch that was expected.
        expected: i64,
    },
    /// A deployment is not as the commit expects it ([`agentwright_domain::run::Record::Expects`]): nothing is written.
    #[error("{name} {found}")]
    Unexpected {
        /// The deployment.
        name: Slug,
        /// How it is instead.
        found: Found,
    },
    /// There is no such run.
    #[error("no such run")]
    Unknown,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Error {
    /// What a driver's error means for the caller.
    pub(crate) fn of(doing: &'static str, error: &sqlx::Error) -> Self {
        let detail = error.to_string();
        let unavailable = |detail| Self::Unavailable { doing, detail };
        match error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default().into_owned();
                match class(&code) {
                    Class::Busy => unavailable(detail),
                    Class::Full => Self::Full { doing },
                    Class::Corrupt => Self::Corrupt { doing, detail },
                    Class::Refused => Self::Refused { doing, detail },
                }
            }
            sqlx::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => {
                Self::Full { doing }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => unavailable(detail),
            _ => Self::Refused { doing, detail },
        }
    }

    /// A value that cannot be written.
    pub(crate) fn argument(error: &dyn std::fmt::Display) -> Self {
        Self::Refused {
            doing: "preparing what is written",
            detail: error.to_string(),
        }
    }

    /// A stored value that cannot be read.
    pub(crate) fn corrupt(column: &str, what: &dyn std::fmt::Display) -> Self {
        Self::Corrupt {
            doing: "reading a row",
            detail: format!("column {column}: {what}"),
        }
    }

    /// Whether it was only in the way of another transaction: the same transaction can be tried
    /// again at once. SQLSTATE class 40: serialization failure, deadlock.
    pub(crate) fn busy(&self) -> bool {
        matches!(self, Self::Unavailable { detail, .. } if detail.contains("deadlock detected") || detail.contains("could not serialize"))
    }

    /// Whether the connection must be made anew.
    pub(crate) fn lost(&self) -> bool {
        matches!(self, Self::Unavailable { .. }) && !self.busy()
    }

    /// Whether the same call may work when it is simply repeated.
    pub fn passing(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Full { .. } => true,
            Self::Corrupt { .. } | Self::Refused { .. } | Self::Closed => false,
        }
    }
}

pub(crate) enum Class {
    Busy,
    Full,
    Corrupt,
    Refused,
}

/// SQLite's result codes (sqlite.org/rescode.html, the low byte is the primary code) are numbers of
/// up to four digits; PostgreSQL's SQLSTATEs have five characters.
pub(crate) fn class(code: &str) -> Class {
    if code.len() < 5
        && let Ok(number) = code.parse::<u32>()
    {
        return match number & 0xff {
            5 | 6 | 10 | 14 => Class::Busy,
            13 => Class::Full,
            11 | 26 => Class::Corrupt,
            _ => Class::Refused,
        };
    }
    match code {
        "53100" => Class::Full,
        "XX001" | "XX002" => Class::Corrupt,
        _ if ["08", "40", "53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Class::Busy
        }
        _ => Class::Refused,
    }
}
