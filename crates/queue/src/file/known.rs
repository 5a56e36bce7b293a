//! Items that are known already: each keeps its label while its name stays.

use crate::item::Item;
use agentwright_domain::ids::Slug;
use std::collections::{HashMap, HashSet, VecDeque};

/// The items that are known by name.
#[derive(Default)]
pub(super) struct Known<'i> {
    items: Vec<&'i Item>,
    labels: HashSet<&'i str>,
}

impl<'i> Known<'i> {
    /// Of two with one name the first is the first.
    pub(super) fn new(items: impl Iterator<Item = &'i Item>) -> Self {
        let mut known = Self::default();
        for item in items {
            if known.labels.insert(item.label.as_str()) {
                known.items.push(item);
            }
        }
        known
    }

    pub(super) fn has(&self, label: &str) -> bool {
        self.labels.contains(label)
    }

    /// Gives the items without a label the one that their name has: the name as it is, then its words alone (a
    /// person took a sign out, or the writer did), then a name that is the label itself, the writer's last resort.
    pub(super) fn recall(
        &self,
        names: &[(usize, &str)],
        taken: &mut HashSet<String>,
        labels: &mut [Option<Slug>],
    ) {
        let mut pass = |of_name, of_item| self.pass(names, of_name, of_item, taken, labels);
        let exact: fn(&str) -> String = str::to_owned;
        pass(exact, |item| item.name.clone());
        pass(words, |item| words(&item.name));
        pass(exact, |item| item.label.as_str().to_owned());
    }

    fn pass(
        &self,
        names: &[(usize, &str)],
        of_name: fn(&str) -> String,
        of_item: fn(&Item) -> String,
        taken: &mut HashSet<String>,
        labels: &mut [Option<Slug>],
    ) {
        if self.items.is_empty() || labels.iter().all(Option::is_some) {
            return;
        }
        let mut by_name: HashMap<String, VecDeque<&Slug>> = HashMap::new();
        for item in &self.items {
            if !taken.contains(item.label.as_str()) {
                let of = by_name.entry(of_item(item)).or_default();
                of.push_back(&item.label);
            }
        }
        for (at, name) in names {
            if labels[*at].is_none()
                && let Some(of) = by_name.get_mut(&of_name(name))
                && let Some(found) = of.pop_front()
            {
                taken.insert(found.as_str().to_owned());
                labels[*at] = Some(found.clone());
            }
        }
    }
}

/// A name's words in small letters, whatever stands between them. Unlike a label it keeps every alphabet.
fn words(name: &str) -> String {
    let parts = name.split(|c: char| !c.is_alphanumeric());
    let parts: Vec<String> = parts
        .filter(|part| !part.is_empty())
        .map(str::to_lowercase)
        .collect();
    parts.join(" ")
}
