//! What comes out of understanding a sentence: a plan, or a refusal that helps.

use agentwright_domain::ids::Slug;
use agentwright_domain::spec::{Permissions, Trigger};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The longest intent, in characters.
pub const INTENT_MAX: usize = 20_000;

/// What the caller knows beside the sentence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The absolute folder that relative paths start from.
    pub base_dir: String,
    /// The person's home directory, for `~`.
    pub home: Option<String>,
    /// IANA zone for times without one.
    pub zone: String,
    /// Inputs given explicitly (`--input name=value`); they win over the sentence.
    pub given: BTreeMap<String, Value>,
    /// Names that are taken; a made-up name avoids them.
    pub existing: Vec<String>,
    /// What the caller calls it, where the sentence gives no name; a taken one gets a number.
    pub called: Option<Slug>,
}

/// The name, or where it is taken the first one with a number behind it that is free; `None` when all are taken.
pub fn free_name(base: &Slug, taken: &[String]) -> Option<Slug> {
    let free = |name: &Slug| !taken.iter().any(|taken| taken == name.as_str());
    if free(base) {
        return Some(base.clone());
    }
    (2..10_000).map(|n| base.numbered(n)).find(free)
}

/// What would be built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The foundation's name.
    pub foundation: String,
    /// Its inputs: given, found or default; those that have none are null.
    pub inputs: BTreeMap<String, Value>,
    /// Which of them the sentence or the caller gave.
    pub said: Vec<String>,
    /// What must be answered before anything is built.
    pub missing: Vec<Question>,
    /// When it runs.
    pub trigger: Trigger,
    /// The automation's name.
    pub name: Slug,
    /// One sentence for people.
    pub purpose: String,
    /// How sure the match is, 0 to 1.
    pub confidence: f64,
    /// What it may touch.
    pub permissions: Permissions,
    /// Things a person may want to know: defaults that were taken, a name that exists.
    pub notes: Vec<String>,
}

/// Something that only the person knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// The input; `schedule` for the time.
    pub input: String,
    /// The question.
    pub question: String,
    /// Answers that would do.
    pub examples: Vec<String>,
}

/// Something that can be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Possible {
    /// The foundation's name.
    pub foundation: String,
    /// What it does.
    pub does: String,
    /// A sentence that asks for it.
    pub example: String,
}

/// Why nothing is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Refusal {
    /// No words.
    #[error("the intent is empty: say in a sentence what you want built, for example {example:?}")]
    Empty {
        /// A sentence that works.
        example: String,
    },
    /// Above [`INTENT_MAX`].
    #[error(
        "the intent has {characters} characters; at most {INTENT_MAX} are read. Say it in a sentence or two, or use --spec FILE"
    )]
    TooLong {
        /// Its length.
        characters: usize,
    },
    /// Control characters, a path as a name, and the like.
    #[error("the intent is refused: {what}")]
    Hostile {
        /// What is wrong and what to do.
        what: String,
    },
    /// It does not say what is wanted.
    #[error("too vague to build: {}{}", missing.join("; "), list(possible))]
    TooVague {
        /// What is missing.
        missing: Vec<String>,
        /// What can be built.
        possible: Vec<Possible>,
    },
    /// No foundation does this.
    #[error("nothing that is installed can build this{}\n{hint}", list(possible))]
    NothingMatches {
        /// What can be built.
        possible: Vec<Possible>,
        /// How to get more.
        hint: String,
    },
    /// Two foundations fit about equally well.
    #[error(
        "this can mean several things; say it more exactly{}",
        list(candidates)
    )]
    Ambiguous {
        /// The foundations.
        candidates: Vec<Possible>,
    },
    /// The foundation fits, but not for all of it.
    #[error("{foundation} fits, but cannot do a part of this: {part}. {hint}")]
    TooMuch {
        /// The foundation.
        foundation: String,
        /// The part of the sentence, and why.
        part: String,
        /// What to do.
        hint: String,
    },
}

/// How to get more than the foundations offer.
pub(crate) const HINT: &str = "To get more: put a foundation of your own into a directory and name it with --foundations DIR \
 (check it with `agentwright foundation check DIR`), or write a spec and use `build --spec FILE`. \
 Building freely with a language model comes with the model providers.";

fn list(possible: &[Possible]) -> String {
    if possible.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = possible
        .iter()
        .map(|p| {
            format!(
                "\n  {}: {} For example: \"{}\"",
                p.foundation, p.does, p.example
            )
        })
        .collect();
    format!(". What can be built:{}", lines.concat())
}
