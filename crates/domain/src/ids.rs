//! Identifiers: opaque texts with a type. Made by the store (UUIDv7), never parsed for meaning.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// Wraps a text that is already known to be such an id.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }
            /// The text, as stored and sent.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// The tenant that a row belongs to.
    OrganizationId
);
id!(
    /// A run of any kind.
    RunId
);
id!(
    /// One person's recorded yes or no.
    ApprovalId
);
id!(
    /// What a yes turned into at deploy.
    GrantId
);

/// The organization of a single-user installation.
pub const LOCAL_ORGANIZATION: &str = "local";

/// The longest slug, in bytes: it names directories and files.
pub const SLUG_MAX: usize = 63;

/// A name that is safe as a directory, a file stem, a host label and a URL segment:
/// `[a-z0-9]` and single inner hyphens, at most [`SLUG_MAX`] bytes. Never a path.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^[a-z0-9]+(-[a-z0-9]+)*$", "maxLength" = 63))]
pub struct Slug(String);

/// Why a text is not a slug.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name: use 1 to {SLUG_MAX} of a-z, 0-9 and single hyphens between them")]
pub struct NotASlug(pub String);

impl Slug {
    /// Accepts a text that already is a slug.
    pub fn parse(text: &str) -> Result<Self, NotASlug> {
        let shaped = !text.is_empty()
            && text.len() <= SLUG_MAX
            && text.split('-').all(|part| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            });
        if shaped {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotASlug(text.chars().take(80).collect()))
        }
    }

    /// Makes a slug out of any text: letters and digits kept in lower case, everything else a
    /// hyphen, cut at [`SLUG_MAX`]. `None` when nothing is left.
    pub fn from_words(text: &str) -> Option<Self> {
        let mut slug = String::new();
        for c in text.chars() {
            if slug.len() >= SLUG_MAX {
                break;
            }
            if c.is_ascii_alphanumeric() {
                slug.push(c.to_ascii_lowercase());
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        let slug = slug.trim_end_matches('-');
        (!slug.is_empty()).then(|| Self(slug.to_owned()))
    }

    /// The name with a number behind it, shortened where both have no room.
    pub fn numbered(&self, number: usize) -> Self {
        let ending = format!("-{number}");
        let short: String = self.0.chars().take(SLUG_MAX - ending.len()).collect();
        Self(format!("{}{ending}", short.trim_end_matches('-')))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Slug {
    type Error = NotASlug;
    fn try_from(text: String) -> Result<Self, NotASlug> {
        Self::parse(&text)
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> String {
        slug.0
    }
}
