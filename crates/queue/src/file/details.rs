//! What stands below `### Name` in the task details.

use super::entry::{checkbox, trimmed};
use super::lines::{Line, indent};
use crate::item::{Criterion, label};
use agentwright_domain::ids::Slug;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

/// A block of details, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Details {
    /// Its lines, the heading first.
    pub(super) lines: Range<usize>,
    /// After its last line that is not empty.
    pub(super) filled: usize,
    pub(super) name: String,
    pub(super) label: Option<String>,
    pub(super) priority: Option<String>,
    pub(super) start: Option<String>,
    pub(super) description: Option<String>,
    pub(super) criteria: Vec<Criterion>,
    pub(super) tech: Option<String>,
    pub(super) estimate: Option<String>,
    pub(super) blockers: Vec<String>,
    /// The lines of the blockers, where they are named.
    pub(super) blockers_at: Option<Range<usize>>,
    pub(super) touches: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Label,
    Priority,
    Start,
    Description,
    Criteria,
    Tech,
    Estimate,
    Blockers,
    Touches,
    /// Somebody's own.
    Other,
}

/// The words for each key, whatever their case.
const WORDS: [(Key, &[&str]); 9] = [
    (Key::Label, &["label"]),
    (Key::Priority, &["priority"]),
    (Key::Start, &["start", "at", "starts", "not before"]),
    (Key::Description, &["description", "desc"]),
    (
        Key::Criteria,
        &[
            "completion criteria",
            "criteria",
            "acceptance criteria",
            "done when",
        ],
    ),
    (Key::Tech, &["tech stack", "tech", "stack"]),
    (
        Key::Estimate,
        &["estimated time", "estimate", "time", "time estimate"],
    ),
    (
        Key::Blockers,
        &[
            "blockers",
            "blocker",
            "blocked by",
            "depends on",
            "dependencies",
        ],
    ),
    (Key::Touches, &["touches", "files", "service", "target"]),
];

impl Key {
    fn of(word: &str) -> Option<Self> {
        let says = |known: &&str| known.eq_ignore_ascii_case(word);
        let found = WORDS.iter().find(|(_, words)| words.iter().any(says));
        found.map(|(key, _)| *key)
    }
}

/// Reads a block. `range` begins with its heading.
fn details(lines: &[Line<'_>], range: Range<usize>) -> Details {
    let heading = lines[range.start].text.trim_start().trim_start_matches('#');
    let mut found = Details {
        name: heading.trim().trim_end_matches('#').trim().to_owned(),
        filled: range.start + 1,
        lines: range.clone(),
        ..Details::default()
    };
    let mut current: Option<(Key, usize)> = None;
    for at in range.start + 1..range.end {
        let line = lines[at].text;
        if line.trim().is_empty() {
            continue;
        }
        found.filled = at + 1;
        if lines[at].shown {
            continue;
        }
        let deeper = current.is_some_and(|(_, deep)| indent(line) > deep);
        match key(line, deeper) {
            Some((key, value)) => {
                current = Some((key, indent(line)));
                if key == Key::Blockers {
                    found.blockers_at = Some(at..at + 1);
                }
                found.take(key, value, Form::Inline);
            }
            None => {
                let Some((key, _)) = current else { continue };
                if key == Key::Blockers
                    && let Some(lines) = &mut found.blockers_at
                {
                    lines.end = at + 1;
                }
                found.take(key, line, Form::Further);
            }
        }
    }
    found
}

/// How a text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Behind the key.
    Inline,
    /// On a line of its own below.
    Further,
}

impl Details {
    fn take(&mut self, key: Key, text: &str, form: Form) {
        let (said, done) = match checkbox(text) {
            Some((_, done, from)) => (text[from..].trim(), done),
            None => (bare(text), false),
        };
        if said.is_empty() {
            return;
        }
        match key {
            Key::Label => set(&mut self.label, said),
            Key::Priority => set(&mut self.priority, said),
            Key::Start => set(&mut self.start, said),
            Key::Description => append(&mut self.description, said),
            Key::Tech => append(&mut self.tech, said),
            Key::Estimate => append(&mut self.estimate, said),
            Key::Criteria => self.criteria.push(Criterion {
                text: said.to_owned(),
                done,
            }),
            // A ticked one is out of the way.
            Key::Blockers if done => {}
            Key::Blockers => self.blockers.extend(listed(said, form)),
            Key::Touches => self.touches.extend(listed(said, form)),
            Key::Other => {}
        }
    }
}

fn set(to: &mut Option<String>, said: &str) {
    if to.is_none() {
        *to = Some(said.to_owned());
    }
}

fn append(to: &mut Option<String>, said: &str) {
    match to {
        Some(text) => {
            text.push(' ');
            text.push_str(said);
        }
        None => *to = Some(said.to_owned()),
    }
}

/// Several in one line have commas or semicolons between them; a line of its own is one. Words for nothing are
/// none.
fn listed(said: &str, form: Form) -> Vec<String> {
    let separators: &[char] = match form {
        Form::Inline => &[',', ';'],
        Form::Further => &[],
    };
    let nothing = |word: &&str| {
        let word = word.trim_end_matches('.').to_ascii_lowercase();
        !matches!(
            word.as_str(),
            "" | "none" | "no" | "n/a" | "-" | "–" | "nothing"
        )
    };
    said.split(separators)
        .map(str::trim)
        .filter(nothing)
        .map(str::to_owned)
        .collect()
}

/// Without the bullet before it.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let rest = text.strip_prefix(['-', '*', '+']);
    rest.filter(|rest| rest.starts_with([' ', '\t']))
        .unwrap_or(text)
        .trim()
}

/// `- **Key:** value`. Deeper than a field that is being read only bold keys are keys: a criterion may have a colon.
fn key(line: &str, deeper: bool) -> Option<(Key, &str)> {
    let text = bare(line);
    let bold = text.starts_with("**");
    let (word, value) = text.split_once(':')?;
    let word = word.trim_matches(['*', '_', ' ']);
    let value = &value[trimmed(value, 0..value.len())];
    match Key::of(word) {
        Some(key) if bold || !deeper => Some((key, value)),
        None if bold && word.len() <= 30 => Some((Key::Other, value)),
        Some(_) | None => None,
    }
}

/// The blocks of details, until their items are found.
pub(super) struct Described {
    blocks: Vec<Option<Details>>,
    /// Those that say whose they are.
    by_label: HashMap<String, usize>,
    /// Of one name in their order.
    by_name: HashMap<String, VecDeque<usize>>,
    /// Those whose name no item has to the letter, by the label that it makes.
    by_slug: HashMap<Slug, VecDeque<usize>>,
}

impl Described {
    /// The blocks among these lines, for items of these names and labels.
    pub(super) fn new(
        lines: &[Line<'_>],
        blocks: Vec<Range<usize>>,
        names: &[String],
        labels: &[Slug],
    ) -> Self {
        let blocks = blocks.into_iter().map(|block| Some(details(lines, block)));
        let mut described = Self {
            blocks: blocks.collect(),
            by_label: HashMap::new(),
            by_name: HashMap::new(),
            by_slug: HashMap::new(),
        };
        let names: HashSet<&str> = names.iter().map(String::as_str).collect();
        let labels: HashSet<&str> = labels.iter().map(Slug::as_str).collect();
        // Of two that say they are one item's the later one is: the other may be left from an item that was deleted.
        for (at, details) in described.blocks.iter().flatten().enumerate() {
            if let Some(own) = &details.label
                && labels.contains(own.as_str())
            {
                described.by_label.insert(own.clone(), at);
                continue;
            }
            let of = if names.contains(details.name.as_str()) {
                described.by_name.entry(details.name.clone()).or_default()
            } else {
                let slug = label(&details.name, |_| false);
                described.by_slug.entry(slug).or_default()
            };
            of.push_back(at);
        }
        described
    }

    /// The block of an item.
    pub(super) fn take(&mut self, name: &str, label_of_item: &Slug) -> Option<Details> {
        let own = self.by_label.remove(label_of_item.as_str());
        let named = || self.by_name.get_mut(name).and_then(VecDeque::pop_front);
        let at = own.or_else(named).or_else(|| {
            let slug = label(name, |_| false);
            self.by_slug.get_mut(&slug).and_then(VecDeque::pop_front)
        });
        at.and_then(|at| self.blocks[at].take())
    }

    /// Those that no item took.
    pub(super) fn left(self) -> impl Iterator<Item = Details> {
        self.blocks.into_iter().flatten()
    }
}
