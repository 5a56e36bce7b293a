//! From the file's text to items, with every problem at its place.

use super::details::{Described, Details};
use super::entry::{Entry, Field, checkbox, entry};
use super::known::Known;
use super::lines::{Line, indent, lines};
use super::{ITEMS_MAX, PROBLEMS_MAX, Problem};
use crate::item::{Item, Priority, label, numbered};
use crate::window;
use agentwright_domain::ids::Slug;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Active ones in their order, then completed ones.
    pub items: Vec<Item>,
    /// In the order of their lines.
    pub problems: Vec<Problem>,
}

/// Reads a file. Never fails: what cannot be read is a problem, and everything else is there.
pub fn parse(text: &str) -> Parsed {
    parse_known(text, &[], &[])
}

/// The same with what the file and the store last agreed on, and what the store holds now: an item keeps its label
/// as long as its name stays, wherever in the file it stands and whatever is written above it.
pub fn parse_known(text: &str, base: &[Item], store: &[Item]) -> Parsed {
    Scan::new(text, &Known::new(base.iter().chain(store))).parsed()
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Active,
    Details,
    Completed,
    /// Before or between those; a person's own.
    Other,
}

/// An item with its place.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) item: Item,
    pub(super) section: Section,
    /// The checklist line and what is moved in below it.
    pub(super) block: Range<usize>,
    pub(super) entry: Entry,
    pub(super) details: Option<Details>,
}

/// The file, taken apart.
pub(super) struct Scan<'a> {
    pub(super) lines: Vec<Line<'a>>,
    pub(super) placed: Vec<Placed>,
    pub(super) problems: Vec<Problem>,
    /// The lines of the three headings.
    pub(super) headings: BTreeMap<Section, usize>,
    /// After the last line of each section that is not empty.
    pub(super) ends: BTreeMap<Section, usize>,
    /// Names of details that no item has, as labels.
    pub(super) orphans: HashSet<Slug>,
}

/// What is found on the way through the lines.
struct Outline {
    section: Section,
    /// Of the section's heading.
    level: usize,
    entries: Vec<(Section, Range<usize>, Entry)>,
    blocks: Vec<Range<usize>>,
    /// The line before belongs to an item.
    open_entry: bool,
    /// Lines belong to the last block of details.
    open_block: bool,
    /// There are more items than are read.
    full: bool,
}

impl Outline {
    fn new(section: Section) -> Self {
        Self {
            section,
            level: 0,
            entries: Vec::new(),
            blocks: Vec::new(),
            open_entry: false,
            open_block: false,
            full: false,
        }
    }

    fn close_block(&mut self, at: usize) {
        if self.open_block
            && let Some(block) = self.blocks.last_mut()
        {
            block.end = at + 1;
        }
    }
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str, known: &Known<'_>) -> Self {
        let mut scan = Self {
            lines: lines(text),
            placed: Vec::new(),
            problems: Vec::new(),
            headings: BTreeMap::new(),
            ends: BTreeMap::new(),
            orphans: HashSet::new(),
        };
        let outline = scan.outline();
        scan.items(outline.entries, outline.blocks, known);
        scan.problems
            .sort_by_key(|problem| (problem.line, problem.column));
        scan.problems.truncate(PROBLEMS_MAX);
        scan
    }

    pub(super) fn parsed(self) -> Parsed {
        let (active, done): (Vec<Placed>, Vec<Placed>) = self
            .placed
            .into_iter()
            .partition(|placed| placed.section == Section::Active);
        Parsed {
            items: active
                .into_iter()
                .chain(done)
                .map(|placed| placed.item)
                .collect(),
            problems: self.problems,
        }
    }

    fn problem(&mut self, line: usize, byte: usize, message: impl Into<String>) {
        let before = &self.lines[line].text[..byte];
        self.problems.push(Problem {
            line: line + 1,
            column: before.chars().count() + 1,
            message: message.into(),
        });
    }

    /// The checklist lines of the queue, and the blocks of details.
    fn outline(&mut self) -> Outline {
        let known = |line: &Line<'_>| {
            !line.shown && heading(line.text).is_some_and(|it| it.2 == Section::Active)
        };
        // A file without headings is a bare list.
        let bare = !self.lines.iter().any(known);
        let mut outline = Outline::new(if bare {
            Section::Active
        } else {
            Section::Other
        });
        for at in 0..self.lines.len() {
            let Line { text, shown, .. } = self.lines[at];
            if shown {
                outline.close_block(at);
                self.fill(outline.section, at);
            } else if let Some((deep, byte, of)) = heading(text) {
                self.title(&mut outline, at, (deep, byte, of));
            } else if is_rule(text) {
                (outline.open_entry, outline.open_block) = (false, false);
            } else {
                outline.close_block(at);
                if text.trim().is_empty() {
                    outline.open_entry = false;
                } else {
                    self.fill(outline.section, at);
                    self.words(&mut outline, at);
                }
            }
        }
        if bare && !self.lines.is_empty() {
            self.problem(0, 0, "there is no heading \"## Active Queue\": every item of the list is taken as active");
        }
        outline
    }

    /// A heading: of a section, or of somebody's details.
    fn title(
        &mut self,
        outline: &mut Outline,
        at: usize,
        (deep, byte, of): (usize, usize, Section),
    ) {
        outline.open_entry = false;
        if of != Section::Other || deep <= outline.level.max(2) {
            outline.open_block = false;
            (outline.section, outline.level) = (of, deep);
            self.headed(of, at, byte);
            return;
        }
        if outline.section == Section::Details {
            outline.blocks.push(at..at + 1);
            outline.open_block = true;
        }
        self.fill(outline.section, at);
    }

    /// Any other line: an item, what is moved in below one, or a person's own words.
    fn words(&mut self, outline: &mut Outline, at: usize) {
        let text = self.lines[at].text;
        if !matches!(outline.section, Section::Active | Section::Completed) {
            return;
        }
        if outline.open_entry
            && let Some((_, block, _)) = outline.entries.last_mut()
            && indent(text) > indent(self.lines[block.start].text)
        {
            block.end = at + 1;
            return;
        }
        outline.open_entry = false;
        match entry(text) {
            Some(entry) if entry.name.is_empty() => {
                self.problem(
                    at,
                    text.len(),
                    "this item has no name: write one behind the box",
                );
            }
            Some(_) if outline.entries.len() == ITEMS_MAX => {
                if !outline.full {
                    self.problem(at, 0, format!("only the first {ITEMS_MAX} items are read: move what is done into another file"));
                }
                outline.full = true;
            }
            Some(entry) => {
                outline.open_entry = true;
                outline.entries.push((outline.section, at..at + 1, entry));
            }
            None if looks_like_a_box(text) => {
                let byte = text.find('[').unwrap_or(0);
                self.problem(
                    at,
                    byte,
                    "this looks like an item and is none: write \"- [ ] Name\" or \"- [x] Name\"",
                );
            }
            None => {}
        }
    }

    fn fill(&mut self, section: Section, at: usize) {
        self.ends.insert(section, at + 1);
    }

    fn headed(&mut self, section: Section, at: usize, byte: usize) {
        if section == Section::Other {
            return;
        }
        if *self.headings.entry(section).or_insert(at) != at {
            self.problem(
                at,
                byte,
                "this heading is here twice: what stands below both is read",
            );
        }
        self.fill(section, at);
    }

    fn items(
        &mut self,
        entries: Vec<(Section, Range<usize>, Entry)>,
        blocks: Vec<Range<usize>>,
        known: &Known<'_>,
    ) {
        let names: Vec<String> = entries
            .iter()
            .map(|(_, block, entry)| self.lines[block.start].text[entry.name.clone()].to_owned())
            .collect();
        let labels = self.labels(&entries, &names, known);
        let mut described = Described::new(&self.lines, blocks, &names, &labels);
        self.placed.reserve(entries.len());
        for (((section, block, entry), name), label) in entries.into_iter().zip(names).zip(labels) {
            let mut found = described.take(&name, &label);
            let item = self.item(label, name, &block, &entry, found.as_mut());
            let done = item.done || section == Section::Completed;
            self.placed.push(Placed {
                item: Item { done, ..item },
                section,
                block,
                entry,
                details: found,
            });
        }
        self.left_over(described.left());
    }

    /// What each item is called: the label that is written in its line, the one that it has already, or a new one.
    fn labels(
        &mut self,
        entries: &[(Section, Range<usize>, Entry)],
        names: &[String],
        known: &Known<'_>,
    ) -> Vec<Slug> {
        let (mut taken, mut labels) = self.chosen(entries);
        // In the order of items: of two with one name the active one comes first.
        let order = |active: bool| {
            let of = move |at: &usize| (entries[*at].0 == Section::Active) == active;
            (0..entries.len()).filter(of)
        };
        let open = order(true)
            .chain(order(false))
            .map(|at| (at, names[at].as_str()));
        known.recall(&open.collect::<Vec<_>>(), &mut taken, &mut labels);
        let mut counted: HashMap<Slug, usize> = HashMap::new();
        let mut all = Vec::with_capacity(labels.len());
        for ((found, name), (_, block, entry)) in labels.into_iter().zip(names).zip(entries) {
            let label = found.unwrap_or_else(|| {
                let slug = label(name, |_| false);
                let from = counted.entry(slug.clone()).or_insert(1);
                let used = |label: &str| taken.contains(label) || known.has(label);
                let (label, number) = numbered(&slug, *from, used);
                *from = number;
                if label != slug {
                    let message = format!("another item has this name: this one is called {label}");
                    self.problem(block.start, entry.name.start, message);
                }
                taken.insert(label.as_str().to_owned());
                label
            });
            all.push(label);
        }
        all
    }

    /// Labels that somebody chose are theirs, wherever they stand.
    fn chosen(
        &mut self,
        entries: &[(Section, Range<usize>, Entry)],
    ) -> (HashSet<String>, Vec<Option<Slug>>) {
        let mut taken = HashSet::new();
        let mut chosen = Vec::with_capacity(entries.len());
        for (_, block, entry) in entries {
            let Some(range) = entry.value(Field::Label) else {
                chosen.push(None);
                continue;
            };
            let text = self.lines[block.start].text;
            let label = match Slug::parse(&text[range.clone()]) {
                Ok(slug) if taken.insert(slug.as_str().to_owned()) => Ok(slug),
                Ok(_) => Err("another item has this label: choose another one".to_owned()),
                Err(error) => Err(format!("this label cannot be used: {error}")),
            };
            if let Err(message) = &label {
                self.problem(block.start, range.start, message);
            }
            chosen.push(label.ok());
        }
        (taken, chosen)
    }

    /// Details that no item has.
    fn left_over(&mut self, left: impl Iterator<Item = Details>) {
        for details in left {
            self.orphans.insert(label(&details.name, |_| false));
            let at = details.lines.start;
            let text = self.lines[at].text;
            let byte = text.len() - text.trim_start_matches(['#', ' ', '\t']).len();
            self.problem(
                at,
                byte,
                "no item of the queue has this name: add \"- [ ] …\" below \"Active Queue\"",
            );
        }
    }

    fn item(
        &mut self,
        label: Slug,
        name: String,
        block: &Range<usize>,
        entry: &Entry,
        details: Option<&mut Details>,
    ) -> Item {
        let at = block.start;
        let text = self.lines[at].text;
        let of = |field| {
            entry
                .value(field)
                .map(|range| (text[range.clone()].to_owned(), range.start))
        };
        let mut item = Item::new(label, name);
        item.done = entry.done;
        let details = details.map(|details| {
            item.description = details.description.take();
            item.criteria = std::mem::take(&mut details.criteria);
            item.tech = details.tech.take();
            item.estimate = details.estimate.take();
            item.blockers = std::mem::take(&mut details.blockers);
            item.touches = std::mem::take(&mut details.touches);
            &*details
        });
        let below = |said: Option<&String>| said.map(|said| (said.clone(), 0));
        let priority = of(Field::Priority).or_else(|| below(details?.priority.as_ref()));
        if let Some((said, byte)) = priority {
            match Priority::from_word(&said) {
                Some(priority) => item.priority = priority,
                None => {
                    item.priority = Priority::Low;
                    item.flaws.push(format!(
                        "the priority {said:?} is none of High, Medium and Low"
                    ));
                    self.problem(
                        at,
                        byte,
                        "this priority is none of High, Medium and Low: until then the item waits",
                    );
                }
            }
        }
        if let Some((said, byte)) = of(Field::Added) {
            if window::moment(&said).is_none() {
                self.problem(at, byte, "this time cannot be read: write 2026-02-06 15:00");
            }
            item.added = Some(said);
        }
        if let Some((said, byte)) = of(Field::Start).or_else(|| below(details?.start.as_ref())) {
            if window::moment(&said).is_none() {
                item.flaws
                    .push(format!("the start {said:?} cannot be read"));
                self.problem(
                    at,
                    byte,
                    "this start cannot be read: write 2026-02-06 15:00; until then the item waits",
                );
            }
            item.start = Some(said);
        }
        item
    }
}

/// A heading's level, where its text begins, and which section it opens. Pictures before the words, also ones that
/// were saved in the wrong encoding, do not matter.
pub(super) fn heading(text: &str) -> Option<(usize, usize, Section)> {
    let trimmed = text.trim_start_matches(['\u{feff}', ' ']);
    let rest = trimmed.trim_start_matches('#');
    let level = trimmed.len() - rest.len();
    if !(1..=6).contains(&level) || !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return None;
    }
    let words: String = rest
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == ' ')
        .collect::<String>()
        .to_ascii_lowercase();
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let section = match words.as_str() {
        "active queue" | "queue" | "active" => Section::Active,
        "task details" | "details" => Section::Details,
        "completed" | "completed tasks" | "recently completed" | "done" => Section::Completed,
        _ => Section::Other,
    };
    Some((level, text.len() - rest.trim_start().len(), section))
}

fn is_rule(text: &str) -> bool {
    let text = text.trim();
    text.len() >= 3
        && ['-', '*', '_']
            .iter()
            .any(|mark| text.chars().all(|c| c == *mark))
}

fn looks_like_a_box(text: &str) -> bool {
    let text = text.trim_start();
    let bullet = text
        .strip_prefix(['-', '*', '+'])
        .unwrap_or(text)
        .trim_start();
    let mut inner = bullet.chars();
    bullet.starts_with('[')
        && checkbox(text).is_none()
        && (inner.nth(2) == Some(']') || bullet.starts_with("[]"))
        && !bullet.contains("](")
}
