//! Who may do what: roles, and the kinds of whoever asks.
//!
//! Not here: how somebody proves who they are (`server`), where keys are kept (`store`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What somebody may do. Each role may do what those before it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Submits, cancels, retries, pauses, resumes, fires.
    Operator,
    /// Decides at gates and deploys.
    Approver,
    /// Sets budgets, makes keys, reads the audit trail.
    Admin,
}

impl Role {
    /// From the least.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Approver, Self::Admin];

    /// As stored and sent.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }

    /// Reads [`Self::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// A person's, in one organization.
    Person,
    /// A program's that works by itself, in one organization.
    Agent,
    /// Another server's, which acts for the organizations on its list.
    Service,
}

impl KeyKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Person, Self::Agent, Self::Service];

    /// As stored and sent.
    pub fn word(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Agent => "agent",
            Self::Service => "service",
        }
    }

    /// Reads [`Self::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The highest role that such a key may have: only people approve.
    pub fn role_max(self) -> Role {
        match self {
            Self::Person => Role::Admin,
            Self::Agent | Self::Service => Role::Operator,
        }
    }
}

/// Who asks, by what they showed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The owner of the data directory, over its socket.
    Owner,
    /// A key.
    Key {
        /// Its id.
        id: String,
        /// Whose.
        kind: KeyKind,
    },
    /// A browser that logged in.
    Session {
        /// Its id.
        id: String,
        /// The key that it logged in with; none with a login code.
        key: Option<String>,
    },
}

impl Principal {
    /// Whether a person is behind it. Nobody else approves, whatever their role.
    pub fn is_person(&self) -> bool {
        match self {
            Self::Owner | Self::Session { .. } => true,
            Self::Key { kind, .. } => *kind == KeyKind::Person,
        }
    }

    /// As the audit trail names it: the kind, and the id where there is one.
    pub fn label(&self) -> String {
        match self {
            Self::Owner => "owner".to_owned(),
            Self::Key { id, kind } => format!("{}_key:{id}", kind.word()),
            Self::Session { id, .. } => format!("session:{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_those_before_it_may() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(Role::from_word(role.word()), Some(role));
        }
        assert_eq!(Role::from_word("root"), None);
    }

    #[test]
    fn only_a_person_may_approve() {
        let key = |kind| Principal::Key {
            id: "k".into(),
            kind,
        };
        assert!(Principal::Owner.is_person() && key(KeyKind::Person).is_person());
        for kind in [KeyKind::Agent, KeyKind::Service] {
            assert!(!key(kind).is_person());
            assert!(kind.role_max() < Role::Approver);
        }
        for kind in KeyKind::ALL {
            assert_eq!(KeyKind::from_word(kind.word()), Some(kind));
        }
    }
}
