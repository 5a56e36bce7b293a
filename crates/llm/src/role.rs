//! What a model is used for.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A use of a model; each may have its own provider, model and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Makes a spec of an intent.
    Spec,
    /// Writes code.
    Code,
    /// The overseer's one look.
    Review,
    /// Writes code again, after a failed level.
    Repair,
    /// Talks with a person.
    Chat,
}

impl Role {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] = [
        Self::Spec,
        Self::Code,
        Self::Review,
        Self::Repair,
        Self::Chat,
    ];

    /// Its name in configuration, tables and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Code => "code",
            Self::Review => "review",
            Self::Repair => "repair",
            Self::Chat => "chat",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
