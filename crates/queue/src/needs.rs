//! Whether an item says enough to be built (requirements E4): rules only. A model's opinion comes on top, in the spec
//! stage of its build, and can only hold back: there it asks or refuses.

use crate::Item;
use serde::{Deserialize, Serialize};

/// Words of a description that name something.
const DESCRIPTION_WORDS: usize = 4;
/// Words of a criterion that name something.
const CRITERION_WORDS: usize = 2;
/// Words that name nothing.
const EMPTY_WORDS: [&str; 86] = [
    "a",
    "about",
    "all",
    "also",
    "an",
    "and",
    "any",
    "anything",
    "are",
    "as",
    "at",
    "be",
    "better",
    "by",
    "can",
    "cool",
    "do",
    "does",
    "done",
    "etc",
    "everything",
    "fast",
    "faster",
    "few",
    "fine",
    "finished",
    "fix",
    "for",
    "from",
    "get",
    "good",
    "great",
    "has",
    "have",
    "how",
    "i",
    "idk",
    "improve",
    "improved",
    "in",
    "is",
    "it",
    "its",
    "just",
    "kind",
    "like",
    "make",
    "makes",
    "more",
    "my",
    "need",
    "needs",
    "nice",
    "nicer",
    "of",
    "ok",
    "on",
    "or",
    "should",
    "so",
    "some",
    "somehow",
    "something",
    "sort",
    "stuff",
    "tbd",
    "that",
    "the",
    "them",
    "thing",
    "things",
    "this",
    "to",
    "todo",
    "use",
    "useful",
    "want",
    "way",
    "well",
    "whatever",
    "when",
    "which",
    "with",
    "work",
    "works",
    "you",
];
/// Values that say nothing.
const PLACEHOLDERS: [&str; 17] = [
    "?",
    "??",
    "???",
    "any",
    "anything",
    "idk",
    "i don't know",
    "n/a",
    "na",
    "no idea",
    "none",
    "not sure",
    "tba",
    "tbd",
    "todo",
    "unknown",
    "whatever",
];

/// A field that says too little.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// As the file calls it.
    pub field: String,
    /// What to write.
    pub ask: String,
}

/// What is known of an item besides its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Understood {
    /// A foundation covers the description, with every input: it makes spec and acceptance by itself.
    Foundation,
    /// Nothing does.
    No,
}

/// What an item lacks; empty when it is clear.
pub fn missing(item: &Item, understood: Understood) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut ask = |field: &str, ask: &str| {
        missing.push(Missing {
            field: field.to_owned(),
            ask: ask.to_owned(),
        });
    };
    match understood {
        Understood::Foundation => {}
        Understood::No => {
            if !says(item.description.as_deref(), DESCRIPTION_WORDS) {
                ask(
                    "Description",
                    "say what it reads, what it does and what it leaves, in a sentence or two",
                );
            }
            let concrete = item
                .criteria
                .iter()
                .any(|one| says(Some(&one.text), CRITERION_WORDS));
            if !concrete {
                ask(
                    "Completion Criteria",
                    "list what can be checked when it is done, for example \"- [ ] a zip of the folder is there\"",
                );
            }
        }
    }
    if item.tech.as_deref().is_some_and(is_placeholder) {
        ask(
            "Tech Stack",
            "name what it is built with, or leave the line out",
        );
    }
    if item
        .estimate
        .as_deref()
        .is_some_and(|said| estimate_ms(said).is_none())
    {
        ask(
            "Estimated Time",
            "write a time such as \"4 hours\", or leave the line out",
        );
    }
    missing
}

/// Whether a text names at least so many things.
fn says(text: Option<&str>, words: usize) -> bool {
    let Some(text) = text else { return false };
    naming(&text.to_lowercase()).take(words).count() == words
}

/// The words of a text in small letters that name something.
pub(crate) fn naming(lower: &str) -> impl Iterator<Item = &str> {
    lower
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '’' | '/' | '.' | '-' | '_')))
        .map(|word| word.trim_matches(['.', '-', '\'', '’']))
        .filter(|word| !word.is_empty() && EMPTY_WORDS.binary_search(word).is_err())
}

fn is_placeholder(text: &str) -> bool {
    let text = text.trim().trim_end_matches(['.', '!']).to_lowercase();
    text.is_empty() || PLACEHOLDERS.contains(&text.as_str())
}

/// Reads a time that somebody thinks it takes: "4 hours", "30 min", "1.5h", "2-3 days" (the longer one), ms.
pub fn estimate_ms(text: &str) -> Option<i64> {
    let lower = text
        .trim()
        .trim_start_matches(['~', '≈', ' '])
        .to_lowercase()
        .replace('–', "-");
    let numbers = lower.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | ' ')))?;
    let (number, unit) = lower.split_at(numbers);
    let longer = number.rsplit('-').next()?.trim();
    let amount: f64 = longer
        .parse()
        .ok()
        .filter(|amount: &f64| *amount > 0.0 && *amount < 10_000.0)?;
    let word = unit.split(|c: char| !c.is_alphabetic()).next()?;
    let unit_ms = match word {
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000.0,
        "d" | "day" | "days" => 24.0 * 3_600_000.0,
        "w" | "week" | "weeks" => 7.0 * 24.0 * 3_600_000.0,
        _ => return None,
    };
    // Below 10,000 weeks in milliseconds: it fits.
    Some((amount * unit_ms) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::label;

    #[test]
    fn words_that_name_nothing_are_sorted() {
        assert!(EMPTY_WORDS.is_sorted());
    }

    fn item(description: &str, criteria: &[&str]) -> Item {
        let mut item = Item::new(label("x", |_| false), "x");
        item.description = Some(description.to_owned());
        item.criteria = criteria
            .iter()
            .map(|text| crate::Criterion {
                text: (*text).to_owned(),
                done: false,
            })
            .collect();
        item
    }

    fn fields(item: &Item) -> Vec<String> {
        missing(item, Understood::No)
            .into_iter()
            .map(|one| one.field)
            .collect()
    }

    #[test]
    fn vague_sentences_are_told_from_ones_that_say_something() {
        let criteria = ["the report is in /srv/reports"];
        for clear in [
            "Build OAuth integration with Spotify API.",
            "every night zip /home/ann/notes into /backups",
            "Watch https://example.org and append its title to /srv/titles.csv",
        ] {
            assert_eq!(fields(&item(clear, &criteria)), [""; 0], "{clear}");
        }
        for vague in [
            "make it better",
            "Do Spotify stuff",
            "fix the thing",
            "improve the dashboard so that it is nicer",
            "",
        ] {
            assert_eq!(fields(&item(vague, &criteria)), ["Description"], "{vague}");
        }
    }

    #[test]
    fn what_a_foundation_covers_needs_no_criteria() {
        let item = item("zip it", &[]);
        assert_eq!(fields(&item).len(), 2);
        assert_eq!(missing(&item, Understood::Foundation), []);
    }

    #[test]
    fn estimates_are_read_as_people_write_them() {
        for (text, minutes) in [
            ("4 hours", Some(240)),
            ("30 min", Some(30)),
            ("1.5h", Some(90)),
            ("2-3 days", Some(3 * 1_440)),
            ("2 – 3 days", Some(3 * 1_440)),
            ("~1 week", Some(7 * 1_440)),
            ("1 hour (maybe more)", Some(60)),
            ("IDK", None),
            ("soon", None),
            ("-3 hours", Some(180)),
            ("0 hours", None),
            ("4", None),
            ("99999999 hours", None),
        ] {
            assert_eq!(estimate_ms(text).map(|ms| ms / 60_000), minutes, "{text}");
        }
    }
}
