//! A priority learned from what was done before: a suggestion with its reason. Nothing ever applies it but a person
//! (requirements E11).

use crate::needs::naming;
use crate::{Item, Priority};
use agentwright_domain::ids::Slug;
use std::collections::{BTreeSet, HashMap};

/// So many done items are remembered, the last ones.
const REMEMBERED: usize = 500;
/// With fewer like items than this nothing is suggested.
const LIKE_MIN: usize = 3;
/// How many of ten like items must have had the other priority.
const AGREE_OF_TEN: usize = 8;
/// Items are alike when of the words that they name together at least one in so many is in both.
const SHARED_ONE_IN: usize = 3;
/// Items that a reason names.
const NAMED: usize = 3;

/// What done items tell.
#[derive(Debug, Default)]
pub struct History {
    past: Vec<Past>,
    /// Which of them have a word.
    by_word: HashMap<String, Vec<usize>>,
}

#[derive(Debug)]
struct Past {
    label: Slug,
    priority: Priority,
    words: usize,
}

/// Another priority than the item has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// Which.
    pub priority: Priority,
    /// The items like it that had it, the newest first.
    pub had_it: Vec<Slug>,
    /// All items like it.
    pub like: usize,
}

impl Suggestion {
    /// The reason, in a sentence.
    pub fn words(&self) -> String {
        let named: Vec<&str> = self.had_it.iter().take(NAMED).map(Slug::as_str).collect();
        let more = if self.had_it.len() > NAMED {
            ", …"
        } else {
            ""
        };
        format!(
            "{} of {} done items like it were {}: {}{more}",
            self.had_it.len(),
            self.like,
            self.priority.title().to_lowercase(),
            named.join(", ")
        )
    }
}

impl History {
    /// Of the items that are done, in the order in which they were.
    pub fn of<'i>(items: impl Iterator<Item = &'i Item>) -> Self {
        let done: Vec<&Item> = items.filter(|item| item.done).collect();
        let mut history = Self::default();
        for item in &done[done.len().saturating_sub(REMEMBERED)..] {
            let words = words(item);
            for word in &words {
                let of = history.by_word.entry(word.clone()).or_default();
                of.push(history.past.len());
            }
            history.past.push(Past {
                label: item.label.clone(),
                priority: item.priority,
                words: words.len(),
            });
        }
        history
    }

    /// What the items like this one had, where it is another priority and nearly all agree.
    pub fn suggest(&self, item: &Item) -> Option<Suggestion> {
        if item.done || self.past.len() < LIKE_MIN {
            return None;
        }
        let words = words(item);
        let mut shared = vec![0_usize; self.past.len()];
        let of = words.iter().filter_map(|word| self.by_word.get(word));
        for at in of.flatten() {
            shared[*at] += 1;
        }
        let alike = |(past, both): &(&Past, &usize)| {
            let together = words.len() + past.words - **both;
            **both > 0 && **both * SHARED_ONE_IN >= together
        };
        let past = self.past.iter().zip(&shared).rev().filter(alike);
        let like: Vec<&Past> = past.map(|(past, _)| past).collect();
        let of = |priority: Priority| {
            let had_it = like.iter().filter(|past| past.priority == priority);
            let had_it: Vec<Slug> = had_it.map(|past| past.label.clone()).collect();
            (had_it.len() * 10 >= like.len() * AGREE_OF_TEN).then_some(Suggestion {
                priority,
                had_it,
                like: like.len(),
            })
        };
        let learned = [Priority::High, Priority::Medium, Priority::Low];
        let learned = learned.into_iter().find_map(of)?;
        (like.len() >= LIKE_MIN && learned.priority != item.priority).then_some(learned)
    }
}

/// What an item names: in its name, its description and what it touches. Numbers tell items of one kind apart.
fn words(item: &Item) -> BTreeSet<String> {
    let mut text = item.name.to_lowercase();
    for more in item.description.iter().chain(&item.touches) {
        text.push(' ');
        text.push_str(&more.to_lowercase());
    }
    let names = naming(&text).filter(|word| word.chars().any(char::is_alphabetic));
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::label;

    fn item(name: &str, priority: Priority, done: bool) -> Item {
        let mut item = Item::new(label(name, |_| false), name);
        (item.priority, item.done) = (priority, done);
        item
    }

    fn learned(done: &[Item], item: &Item) -> Option<(Priority, String)> {
        let suggestion = History::of(done.iter()).suggest(item)?;
        Some((suggestion.priority, suggestion.words()))
    }

    #[test]
    fn what_like_items_had_is_suggested_with_its_reason() {
        use Priority::{High, Low, Medium};
        let done: Vec<Item> = (1..=4)
            .map(|n| item(&format!("Spotify playlist {n}"), High, true))
            .chain([item("Zip the notes", Medium, true)])
            .collect();
        let reason = "4 of 4 done items like it were high: spotify-playlist-4, spotify-playlist-3, spotify-playlist-2, …";
        let new = item("Spotify playlist of June", Medium, false);
        assert_eq!(learned(&done, &new), Some((High, reason.to_owned())));
        let had = item("Spotify playlist of June", High, false);
        assert_eq!(learned(&done, &had), None, "it has it already");
        let other = item("Watch the disk", Low, false);
        assert_eq!(learned(&done, &other), None, "nothing is like it");
        assert_eq!(learned(&done[..2], &new), None, "too few");
    }

    #[test]
    fn items_that_do_not_agree_suggest_nothing_and_open_ones_are_no_history() {
        use Priority::{High, Low, Medium};
        let new = item("Spotify playlist", Medium, false);
        let mixed: Vec<Item> = [High, High, High, Low]
            .into_iter()
            .map(|priority| item("Spotify playlist", priority, true))
            .collect();
        assert_eq!(learned(&mixed, &new), None);
        let mut open = mixed[..3].to_vec();
        assert!(learned(&open, &new).is_some());
        open[0].done = false;
        assert_eq!(learned(&open, &new), None);
        let nameless = item("???", Low, false);
        assert_eq!(learned(&mixed, &nameless), None);
    }
}
