//! Changes put into the file's text; every line that no change touches stays as it is.

use super::entry::{Field, entry};
use super::lines::usual_ending;
use super::read::{Placed, Scan, Section};
use crate::item::{Item, Priority, label};
use agentwright_domain::ids::Slug;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What is to be changed; numbers are places in [`Scan::placed`].
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub(super) remove: Vec<usize>,
    pub(super) complete: Vec<usize>,
    pub(super) reopen: Vec<usize>,
    pub(super) priority: Vec<(usize, Priority)>,
    pub(super) start: Vec<(usize, Option<&'a str>)>,
    pub(super) blockers: Vec<(usize, &'a [String])>,
    pub(super) add: Vec<&'a Item>,
    /// All active items that are to be in this order; empty: as they are.
    pub(super) order: Vec<&'a Slug>,
}

impl Plan<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.complete.is_empty()
            && self.reopen.is_empty()
            && self.priority.is_empty()
            && self.start.is_empty()
            && self.blockers.is_empty()
            && self.add.is_empty()
            && self.order.is_empty()
    }

    /// Whether items come, go, or change places.
    fn moves_lines(&self) -> bool {
        let Self {
            remove,
            complete,
            reopen,
            add,
            order,
            ..
        } = self;
        let moved = [remove, complete, reopen];
        !(moved.iter().all(|of| of.is_empty()) && add.is_empty() && order.is_empty())
    }
}

/// A place for one active item: its lines in the file, or none yet.
struct Slot {
    label: Slug,
    text: String,
    at: Option<usize>,
}

/// The file while it is changed.
pub(super) struct Draft<'s, 'a> {
    scan: &'s Scan<'a>,
    lines: Vec<Cow<'a, str>>,
    /// Lines of details that come before a line.
    before: BTreeMap<usize, String>,
    /// What comes to the end of a section, by the line that it comes before.
    inserts: BTreeMap<(usize, Section), Insert>,
    ending: &'static str,
    /// Names that several items have.
    shared: HashSet<String>,
    /// The names of all details, as labels.
    described: HashSet<Slug>,
}

/// Text for the end of a section.
struct Insert {
    lead: Lead,
    texts: Vec<String>,
}

/// What comes before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lead {
    None,
    Blank,
    /// The section is new.
    Heading,
}

impl<'s, 'a> Draft<'s, 'a> {
    pub(super) fn new(scan: &'s Scan<'a>) -> Self {
        let ending = usual_ending(&scan.lines);
        let mut lines: Vec<Cow<'a, str>> = scan
            .lines
            .iter()
            .map(|line| Cow::Borrowed(line.whole))
            .collect();
        // Something may come after the last line.
        if let Some(last) = lines.last_mut()
            && !last.ends_with('\n')
        {
            last.to_mut().push_str(ending);
        }
        Self {
            scan,
            lines,
            before: BTreeMap::new(),
            inserts: BTreeMap::new(),
            ending,
            shared: HashSet::new(),
            described: HashSet::new(),
        }
    }

    pub(super) fn write(mut self, plan: &Plan<'_>) -> String {
        if plan.moves_lines() {
            self.tell_apart(plan);
        }
        for (tick, of) in [("x", &plan.complete), (" ", &plan.reopen)] {
            for at in of {
                self.tick(*at, tick);
            }
        }
        self.values(plan);
        for (at, blockers) in &plan.blockers {
            self.block(*at, blockers);
        }
        for at in &plan.remove {
            let placed = &self.scan.placed[*at];
            let details = placed.details.as_ref().map(|details| details.lines.clone());
            for line in placed.block.clone().chain(details.unwrap_or_default()) {
                self.lines[line] = Cow::Borrowed("");
            }
        }
        let done: String = self.finished(plan);
        self.active(plan);
        self.insert(Section::Completed, &done);
        for item in &plan.add {
            self.describe(item);
        }
        self.put_together()
    }

    /// Items of one name, and their details, are told apart by their order: before it changes they need their labels.
    fn tell_apart(&mut self, plan: &Plan<'_>) {
        let scan = self.scan;
        let there = scan.placed.iter().map(|placed| &placed.item);
        let mut seen = HashSet::new();
        for item in there.chain(plan.add.iter().copied()) {
            let name = one_line(&item.name);
            if !seen.insert(name.clone()) {
                self.shared.insert(name);
            }
        }
        // Only new details can be taken for others'.
        if !(plan.add.is_empty() && plan.blockers.is_empty()) {
            let details = scan.placed.iter().filter_map(|it| it.details.as_ref());
            let slugs = details.map(|details| label(&details.name, |_| false));
            self.described = slugs.chain(scan.orphans.iter().cloned()).collect();
        }
        for (at, placed) in scan.placed.iter().enumerate() {
            let details = placed.details.as_ref();
            if let Some(details) = details.filter(|details| details.label.is_none())
                && self.is_shared(&placed.item)
                && !plan.remove.contains(&at)
            {
                let line = self.whose(&placed.item);
                let at = details.lines.start + 1;
                self.before.entry(at).or_default().push_str(&line);
            }
        }
    }

    fn is_shared(&self, item: &Item) -> bool {
        self.shared.contains(&one_line(&item.name))
    }

    /// The line that says whose details these are, where the name does not.
    fn whose(&self, item: &Item) -> String {
        let slug = label(&item.name, |_| false);
        let unclear = slug != item.label || self.described.contains(&slug);
        match unclear || self.is_shared(item) {
            true => format!("- **Label:** {}{}", item.label, self.ending),
            false => String::new(),
        }
    }

    fn placed(&self, at: usize) -> &'s Placed {
        &self.scan.placed[at]
    }

    fn tick(&mut self, at: usize, tick: &str) {
        let placed = self.placed(at);
        let from = placed.entry.tick;
        self.lines[placed.block.start]
            .to_mut()
            .replace_range(from..=from, tick);
    }

    /// Priorities and starts: fields of the items' own lines. Places are those of the line as it was: the tick has
    /// the same length, and of several changes the last one in the line is made first.
    fn values(&mut self, plan: &Plan<'_>) {
        let mut edits: BTreeMap<usize, Vec<(std::ops::Range<usize>, String)>> = BTreeMap::new();
        for (at, priority) in &plan.priority {
            let entry = &self.placed(*at).entry;
            let edit = match entry.value(Field::Priority) {
                Some(range) => (range, priority.title().to_owned()),
                None => (
                    entry.end..entry.end,
                    format!(" - Priority: {}", priority.title()),
                ),
            };
            edits.entry(*at).or_default().push(edit);
        }
        for (at, start) in &plan.start {
            let entry = &self.placed(*at).entry;
            let edit = match (entry.part(Field::Start), start) {
                (Some(part), Some(start)) => (part.value.clone(), one_line(start)),
                (Some(part), None) => (part.whole.clone(), String::new()),
                (None, Some(start)) => (
                    entry.end..entry.end,
                    format!(" - Start: {}", one_line(start)),
                ),
                (None, None) => continue,
            };
            edits.entry(*at).or_default().push(edit);
        }
        for (at, Placed { item, entry, .. }) in self.scan.placed.iter().enumerate() {
            if self.is_shared(item) && entry.value(Field::Label).is_none() {
                let label = (entry.end..entry.end, format!(" - Label: {}", item.label));
                edits.entry(at).or_default().push(label);
            }
        }
        for (at, mut edits) in edits {
            edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
            let line = self.placed(at).block.start;
            for (range, text) in edits {
                self.lines[line].to_mut().replace_range(range, &text);
            }
        }
    }

    fn block(&mut self, at: usize, blockers: &[String]) {
        let words = if blockers.is_empty() {
            "none".to_owned()
        } else {
            listed(blockers)
        };
        let placed = self.placed(at);
        let line = format!("- **Blockers:** {words}{}", self.ending);
        match &placed.details {
            Some(details) => match details.blockers_at.clone() {
                Some(lines) => {
                    let first = lines.start;
                    for old in lines {
                        self.lines[old] = Cow::Borrowed("");
                    }
                    self.lines[first] = Cow::Owned(line);
                }
                None => self
                    .before
                    .entry(details.filled)
                    .or_default()
                    .push_str(&line),
            },
            None if blockers.is_empty() => {}
            None => {
                let whose = self.whose(&placed.item);
                let text = format!("### {}{}{whose}{line}", placed.item.name, self.ending);
                self.insert(Section::Details, &text);
            }
        }
    }

    /// What goes to the completed ones, taken out of where it was.
    fn finished(&mut self, plan: &Plan<'_>) -> String {
        let mut done = String::new();
        for at in &plan.complete {
            let placed = self.placed(*at);
            if placed.section == Section::Active {
                done.push_str(&self.take(placed));
            }
        }
        for item in plan.add.iter().filter(|item| item.done) {
            done.push_str(&self.line(item));
        }
        done
    }

    fn take(&mut self, placed: &Placed) -> String {
        let mut text = String::new();
        for line in placed.block.clone() {
            text.push_str(&std::mem::take(&mut self.lines[line]));
        }
        text
    }

    /// Reopened and new items, and the order of the active ones.
    fn active(&mut self, plan: &Plan<'_>) {
        let gone: HashSet<usize> = plan.remove.iter().chain(&plan.complete).copied().collect();
        let mut slots = Vec::new();
        for (at, placed) in self.scan.placed.iter().enumerate() {
            let reopened = plan.reopen.contains(&at) && placed.section == Section::Completed;
            if gone.contains(&at) || !(placed.section == Section::Active || reopened) {
                continue;
            }
            let moves = reopened || !plan.order.is_empty();
            slots.push(Slot {
                label: placed.item.label.clone(),
                at: (!reopened).then_some(placed.block.start),
                text: if moves {
                    self.take(placed)
                } else {
                    String::new()
                },
            });
        }
        for item in plan.add.iter().filter(|item| !item.done) {
            slots.push(Slot {
                label: item.label.clone(),
                text: self.line(item),
                at: None,
            });
        }
        // Those that have a place keep the places; what is new comes last.
        slots.sort_by_key(|slot| slot.at.is_none());
        if !plan.order.is_empty() {
            reorder(&mut slots, &plan.order);
        }
        let mut new = String::new();
        for slot in slots {
            match slot.at {
                Some(line) if !plan.order.is_empty() => self.lines[line] = Cow::Owned(slot.text),
                Some(_) => {}
                None => new.push_str(&slot.text),
            }
        }
        self.insert(Section::Active, &new);
    }

    /// An item's line. A name that would not be read back as one is taken apart.
    fn line(&self, item: &Item) -> String {
        let name = one_line(&item.name);
        let words = |keep: fn(char) -> bool| {
            let kept = name.chars().map(|c| if keep(c) { c } else { ' ' });
            one_line(&kept.collect::<String>())
        };
        let softly = words(|c| !matches!(c, ':' | '*'));
        let barely = words(char::is_alphanumeric);
        let label = item.label.as_str().to_owned();
        let mut names = [name.clone(), softly, barely, label].into_iter();
        // Invariant: the last of them, a label, is always read back.
        let line = names
            .find_map(|name| line_of(item, &name, self.is_shared(item)))
            .unwrap_or_default();
        format!("{line}{}", self.ending)
    }

    /// The details of a new item, where it has some.
    fn describe(&mut self, item: &Item) {
        let end = self.ending;
        let mut text = String::new();
        let mut field = |key: &str, value: Option<&str>| {
            if let Some(value) = value.map(one_line).filter(|value| !value.is_empty()) {
                text.push_str(&format!("- **{key}:** {value}{end}"));
            }
        };
        field("Description", item.description.as_deref());
        if !item.criteria.is_empty() {
            text.push_str(&format!("- **Completion Criteria:**{end}"));
            for criterion in &item.criteria {
                let tick = if criterion.done { 'x' } else { ' ' };
                text.push_str(&format!("  - [{tick}] {}{end}", one_line(&criterion.text)));
            }
        }
        let mut field = |key: &str, value: Option<&str>| {
            if let Some(value) = value.map(one_line).filter(|value| !value.is_empty()) {
                text.push_str(&format!("- **{key}:** {value}{end}"));
            }
        };
        field("Tech Stack", item.tech.as_deref());
        field("Estimated Time", item.estimate.as_deref());
        field(
            "Blockers",
            (!item.blockers.is_empty())
                .then(|| listed(&item.blockers))
                .as_deref(),
        );
        field(
            "Touches",
            (!item.touches.is_empty())
                .then(|| listed(&item.touches))
                .as_deref(),
        );
        if !text.is_empty() {
            let name = one_line(&item.name);
            let whose = self.whose(item);
            self.insert(Section::Details, &format!("### {name}{end}{whose}{text}"));
        }
    }

    /// Puts text at the end of a section, which is made where there is none.
    fn insert(&mut self, section: Section, text: &str) {
        if text.is_empty() {
            return;
        }
        let lines = &self.scan.lines;
        let heading = self.scan.headings.get(&section);
        let placed = self
            .scan
            .placed
            .iter()
            .filter(|placed| placed.section == section);
        let after = placed.map(|placed| placed.block.end).max();
        let (at, lead) = match (after.as_ref().or(self.scan.ends.get(&section)), heading) {
            // After the last item, wherever else words of a person's stand.
            (Some(end), _) if after.is_some() => (*end, Lead::None),
            (Some(end), Some(heading)) if *end == heading + 1 => {
                let blank = lines
                    .get(*end)
                    .is_some_and(|line| line.text.trim().is_empty());
                if blank {
                    (*end + 1, Lead::None)
                } else {
                    (*end, Lead::Blank)
                }
            }
            (Some(end), _) => (*end, Lead::None),
            (None, _) => match (section, self.scan.headings.get(&Section::Completed)) {
                (Section::Details, Some(completed)) => (*completed, Lead::Heading),
                _ => (lines.len(), Lead::Heading),
            },
        };
        let new = || Insert {
            lead,
            texts: Vec::new(),
        };
        let insert = self.inserts.entry((at, section)).or_insert_with(new);
        insert.texts.push(text.to_owned());
    }

    fn put_together(mut self) -> String {
        let mut text = String::new();
        let lines = std::mem::take(&mut self.lines);
        for at in 0..=lines.len() {
            if let Some(before) = self.before.get(&at) {
                text.push_str(before);
            }
            for ((_, section), insert) in self
                .inserts
                .range((at, Section::Active)..(at + 1, Section::Active))
            {
                self.put(&mut text, *section, insert);
                let next = lines
                    .get(at..)
                    .unwrap_or_default()
                    .iter()
                    .find(|line| !line.is_empty());
                if next.is_some_and(|next| !next.trim().is_empty()) {
                    self.blank(&mut text);
                }
            }
            if let Some(line) = lines.get(at) {
                text.push_str(line);
            }
        }
        text
    }

    fn put(&self, text: &mut String, section: Section, insert: &Insert) {
        match insert.lead {
            Lead::None => {}
            Lead::Blank => text.push_str(self.ending),
            Lead::Heading => {
                let title = match section {
                    Section::Active | Section::Other => "Active Queue",
                    Section::Details => "Task Details",
                    Section::Completed => "Completed",
                };
                self.blank(text);
                text.push_str(&format!("## {title}{0}{0}", self.ending));
            }
        }
        for one in &insert.texts {
            if section == Section::Details {
                self.blank(text);
            }
            text.push_str(one);
        }
    }

    /// One empty line, where none is.
    fn blank(&self, text: &mut String) {
        let two = [self.ending, self.ending].concat();
        if !text.is_empty() && !text.ends_with(&two) {
            text.push_str(self.ending);
        }
    }
}

/// The line with this name; `None` where it would be read as something else.
fn line_of(item: &Item, name: &str, shared: bool) -> Option<String> {
    let tick = if item.done { 'x' } else { ' ' };
    let mut line = format!("- [{tick}] {name}");
    let mut fields = 1;
    for (key, value) in [("Added", &item.added), ("Start", &item.start)] {
        if let Some(value) = value {
            line.push_str(&format!(" - {key}: {}", one_line(value)));
            fields += 1;
        }
    }
    line.push_str(&format!(" - Priority: {}", item.priority.title()));
    if shared || label(name, |_| false) != item.label {
        line.push_str(&format!(" - Label: {}", item.label));
        fields += 1;
    }
    let read = entry(&line)?;
    let same = line[read.name.clone()] == *name && read.fields.len() == fields && !name.is_empty();
    same.then_some(line)
}

/// Puts the texts of the named items into their places in the given order; the others stay where they are.
fn reorder(slots: &mut [Slot], order: &[&Slug]) {
    let wanted: HashSet<&Slug> = order.iter().copied().collect();
    let places: Vec<usize> = (0..slots.len())
        .filter(|at| wanted.contains(&slots[*at].label))
        .collect();
    let mut texts: HashMap<Slug, String> = HashMap::new();
    for at in &places {
        let slot = &mut slots[*at];
        texts.insert(slot.label.clone(), std::mem::take(&mut slot.text));
    }
    let mut left = order
        .iter()
        .filter(|label| texts.contains_key(**label))
        .copied()
        .collect::<Vec<_>>()
        .into_iter();
    for at in places {
        if let Some(label) = left.next() {
            slots[at].label = label.clone();
            slots[at].text = texts.remove(label).unwrap_or_default();
        }
    }
}

fn one_line(text: &str) -> String {
    let kept = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    kept.collect::<String>()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn listed(words: &[String]) -> String {
    let clean = |word: &String| one_line(&word.replace([',', ';'], " "));
    words.iter().map(clean).collect::<Vec<_>>().join("; ")
}
