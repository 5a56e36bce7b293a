//! The file and the store brought together, by what both said when they last agreed.

use super::known::Known;
use super::read::{Placed, Scan, Section};
use super::write::{Draft, Plan};
use super::{EMPTY, Problem};
use crate::item::Item;
use agentwright_domain::ids::Slug;
use std::collections::{HashMap, HashSet};

/// What both sides are to be from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The file; the same as before, byte for byte, where the store had nothing to add.
    pub text: String,
    /// The items, in the file's order: what the store keeps, and what the next merge begins from.
    pub items: Vec<Item>,
    /// What cannot be read in the file.
    pub problems: Vec<Problem>,
}

/// Merges what people wrote (`text`) with what the store holds now, `base` being what both said last time.
///
/// A person's edit wins: a field that they changed, an order that they chose, an item that they added, deleted, or
/// changed while the other side deleted it. Of the store's side an item's tick, priority, start and blockers reach
/// the file, and added, deleted and reordered items. An item keeps its label as long as its name stays. A file without
/// a word counts as lost and is written anew. Merging again what came out changes nothing.
pub fn merge(text: &str, base: &[Item], store: &[Item]) -> Merged {
    let lost = text
        .trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
        .is_empty();
    let (text, base) = if lost { (EMPTY, &[][..]) } else { (text, base) };
    let scan = Scan::new(text, &Known::new(base.iter().chain(store)));
    let plan = plan(&scan, base, store);
    let (text, parsed) = if plan.is_empty() {
        (text.to_owned(), scan.parsed())
    } else {
        let text = Draft::new(&scan).write(&plan);
        // What the lines are called is settled by now.
        let stays = |(at, placed)| (!plan.remove.contains(&at)).then_some(placed);
        let placed: Vec<&Placed> = scan.placed.iter().enumerate().filter_map(stays).collect();
        let stay = placed.iter().map(|placed| &placed.item);
        let known = Known::new(stay.chain(plan.add.iter().copied()));
        let parsed = Scan::new(&text, &known).parsed();
        (text, parsed)
    };
    Merged {
        text,
        items: parsed.items,
        problems: parsed.problems,
    }
}

fn by_label(items: &[Item]) -> HashMap<&Slug, &Item> {
    items.iter().map(|item| (&item.label, item)).collect()
}

fn plan<'a>(scan: &Scan<'_>, base: &[Item], store: &'a [Item]) -> Plan<'a> {
    let (old, new) = (by_label(base), by_label(store));
    let mut plan = Plan::default();
    for (at, placed) in scan.placed.iter().enumerate() {
        let file = &placed.item;
        match (old.get(&file.label), new.get(&file.label)) {
            (Some(old), Some(new)) => fields(&mut plan, at, file, (*old, *new)),
            (Some(old), None) if *old == file => plan.remove.push(at),
            // Changed by a person, new in the file, or new on both sides: theirs.
            (Some(_), None) | (None, Some(_) | None) => {}
        }
    }
    let here: HashSet<&Slug> = scan
        .placed
        .iter()
        .map(|placed| &placed.item.label)
        .collect();
    let unknown = |item: &&Item| !here.contains(&item.label) && !old.contains_key(&item.label);
    plan.add = store.iter().filter(unknown).collect();
    plan.order = order(scan, &plan, base, store);
    plan
}

/// What the store changed since both agreed, of what the person left as it was.
fn fields<'a>(plan: &mut Plan<'a>, at: usize, file: &Item, (old, new): (&Item, &'a Item)) {
    if file.done == old.done && new.done != old.done {
        if new.done {
            plan.complete.push(at);
        } else {
            plan.reopen.push(at);
        }
    }
    if file.priority == old.priority && new.priority != old.priority {
        plan.priority.push((at, new.priority));
    }
    if file.start == old.start && new.start != old.start {
        plan.start.push((at, new.start.as_deref()));
    }
    if file.blockers == old.blockers && new.blockers != old.blockers {
        plan.blockers.push((at, &new.blockers));
    }
}

/// The store's order of the active items, where the person left theirs as it was and it differs.
fn order<'a>(scan: &Scan<'_>, plan: &Plan<'a>, base: &[Item], store: &'a [Item]) -> Vec<&'a Slug> {
    // Most often nobody moved anything.
    let labels = store.iter().map(|item| &item.label);
    if plan.add.is_empty() && labels.eq(base.iter().map(|item| &item.label)) {
        return Vec::new();
    }
    let gone: HashSet<usize> = plan.remove.iter().chain(&plan.complete).copied().collect();
    let stays = |(at, placed): &(usize, &Placed)| {
        !gone.contains(at) && (placed.section == Section::Active || plan.reopen.contains(at))
    };
    let placed = scan.placed.iter().enumerate().filter(stays);
    let file: Vec<&Slug> = placed.map(|(_, placed)| &placed.item.label).collect();
    let added = plan
        .add
        .iter()
        .filter(|item| !item.done)
        .map(|item| &item.label);
    let there: HashSet<&Slug> = file.iter().copied().chain(added.clone()).collect();
    let known: HashSet<&Slug> = store.iter().map(|item| &item.label).collect();
    let (old, both): (Vec<&Slug>, HashSet<&Slug>) = {
        let old = base.iter().map(|item| &item.label);
        let old: Vec<&Slug> = old
            .filter(|label| there.contains(label) && known.contains(label))
            .collect();
        let both = old.iter().copied().collect();
        (old, both)
    };
    let of_file: Vec<&Slug> = file
        .iter()
        .copied()
        .filter(|label| both.contains(label))
        .collect();
    if of_file != old {
        return Vec::new();
    }
    let wanted: Vec<&Slug> = store
        .iter()
        .map(|item| &item.label)
        .filter(|label| there.contains(label))
        .collect();
    let in_wanted: HashSet<&Slug> = wanted.iter().copied().collect();
    let now: Vec<&Slug> = file
        .into_iter()
        .chain(added)
        .filter(|label| in_wanted.contains(label))
        .collect();
    if now == wanted { Vec::new() } else { wanted }
}
