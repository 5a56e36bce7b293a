//! An item of the queue: what a person wants built, as they wrote it.

use agentwright_domain::ids::Slug;
use serde::{Deserialize, Serialize};

/// How soon an item may start by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// At any time.
    High,
    /// In the off-hours window.
    Medium,
    /// After an explicit yes.
    Low,
}

impl Priority {
    /// As it is written in the file.
    pub fn title(self) -> &'static str {
        match self {
            Self::High => "High",
            Self::Medium => "Medium",
            Self::Low => "Low",
        }
    }

    /// Reads the word, or a backlog's number: 1 to 3 high, 4 to 6 medium, 7 and up low (requirements E1).
    pub fn from_word(text: &str) -> Option<Self> {
        let word = text
            .trim()
            .trim_matches(['*', '_', '`', '.'])
            .to_ascii_lowercase();
        match word.as_str() {
            "high" => Some(Self::High),
            "medium" => Some(Self::Medium),
            "low" => Some(Self::Low),
            number => number.parse().ok().map(Self::from_number),
        }
    }

    /// A backlog's number.
    pub fn from_number(number: i64) -> Self {
        match number {
            ..=3 => Self::High,
            4..=6 => Self::Medium,
            7.. => Self::Low,
        }
    }
}

/// One thing that must hold when the item is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Criterion {
    /// In words.
    pub text: String,
    /// Whether it is ticked.
    pub done: bool,
}

/// An item. Texts are a person's: data, never a path or a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Unique in the queue; safe as a file name.
    pub label: Slug,
    /// As a person wrote it.
    pub name: String,
    /// Whether it is ticked.
    pub done: bool,
    /// When nobody said one: high, a person's own request (requirements E1).
    pub priority: Priority,
    /// When it was added, as written.
    #[serde(default)]
    pub added: Option<String>,
    /// Not before this time, as written.
    #[serde(default)]
    pub start: Option<String>,
    /// What is wanted.
    #[serde(default)]
    pub description: Option<String>,
    /// When it is done.
    #[serde(default)]
    pub criteria: Vec<Criterion>,
    /// With what.
    #[serde(default)]
    pub tech: Option<String>,
    /// How long it may take, as written.
    #[serde(default)]
    pub estimate: Option<String>,
    /// What must be out of the way first: names of other items, or words.
    #[serde(default)]
    pub blockers: Vec<String>,
    /// The service, target and files that it touches, as written: two that share one do not run at once.
    #[serde(default)]
    pub touches: Vec<String>,
    /// What could not be read of it: it does not start by itself until that is mended.
    #[serde(default)]
    pub flaws: Vec<String>,
}

impl Item {
    /// One with a name only.
    pub fn new(label: Slug, name: impl Into<String>) -> Self {
        Self {
            label,
            name: name.into(),
            done: false,
            priority: Priority::High,
            added: None,
            start: None,
            description: None,
            criteria: Vec::new(),
            tech: None,
            estimate: None,
            blockers: Vec::new(),
            touches: Vec::new(),
            flaws: Vec::new(),
        }
    }
}

/// The label of a name: letters and digits, never a path; `item` where it has none. `taken` says which labels are
/// used: then `-2`, `-3`, … is put behind it.
pub fn label(name: &str, taken: impl Fn(&str) -> bool) -> Slug {
    let base = Slug::from_words(name).or_else(|| Slug::from_words("item"));
    // Invariant: "item" is a slug.
    let base = base.unwrap_or_else(|| unreachable!("item is a slug"));
    numbered(&base, 1, taken).0
}

/// The same from the name's own label, counting on from a number; answers the number that it came to.
pub(crate) fn numbered(base: &Slug, from: usize, taken: impl Fn(&str) -> bool) -> (Slug, usize) {
    let mut number = from.max(1);
    loop {
        let label = if number == 1 {
            base.clone()
        } else {
            base.numbered(number)
        };
        if !taken(label.as_str()) {
            return (label, number);
        }
        number += 1;
    }
}
