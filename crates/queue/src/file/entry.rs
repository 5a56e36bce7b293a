//! One line of the queue: `- [ ] Name - Added: 2026-02-06 15:00 - Priority: High`.

use std::ops::Range;

/// What stands between the parts of a line: a hyphen or a dash with spaces, also one that was saved in the wrong
/// encoding.
const SEPARATORS: [&str; 5] = [" - ", " – ", " — ", " â€“ ", " â€” "];

/// A checklist line, taken apart. Ranges are bytes of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The one character between the brackets.
    pub(super) tick: usize,
    pub(super) done: bool,
    pub(super) name: Range<usize>,
    /// In their order.
    pub(super) fields: Vec<Part>,
    /// Where a further field goes.
    pub(super) end: usize,
}

/// A field and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) field: Field,
    pub(super) value: Range<usize>,
    /// With the separator before it.
    pub(super) whole: Range<usize>,
}

/// A field of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Added,
    Priority,
    Start,
    Label,
    /// Somebody's own: kept, not read.
    Other,
}

impl Entry {
    /// The place of a field; the first one counts.
    pub(super) fn part(&self, field: Field) -> Option<&Part> {
        self.fields.iter().find(|part| part.field == field)
    }

    /// Where its value is.
    pub(super) fn value(&self, field: Field) -> Option<Range<usize>> {
        self.part(field).map(|part| part.value.clone())
    }
}

/// Takes a line apart; `None` where it is no checklist line.
pub(super) fn entry(line: &str) -> Option<Entry> {
    let (tick, done, from) = checkbox(line)?;
    let end = line.trim_end().len().max(from);
    let mut cuts = vec![from];
    let mut ends = Vec::new();
    for at in from..end {
        // Every separator begins with one.
        if line.as_bytes()[at] != b' ' || cuts.last().is_some_and(|cut| at < *cut) {
            continue;
        }
        let separator = SEPARATORS
            .iter()
            .find(|separator| line[at..end].starts_with(**separator));
        if let Some(separator) = separator {
            ends.push(at);
            cuts.push(at + separator.len());
        }
    }
    ends.push(end);
    let parts: Vec<Range<usize>> = cuts
        .into_iter()
        .zip(ends)
        .map(|(from, to)| from..to)
        .collect();
    // From the end on, as long as parts are fields: a name may have a dash of its own.
    let mut fields: Vec<Part> = Vec::new();
    let mut last = parts.len();
    while last > 1
        && let Some((field, value)) = field(line, &parts[last - 1])
    {
        let whole = parts[last - 2].end..parts[last - 1].end;
        fields.push(Part {
            field,
            value,
            whole,
        });
        last -= 1;
    }
    fields.reverse();
    let name = trimmed(line, from..parts[last - 1].end);
    Some(Entry {
        tick,
        done,
        name,
        fields,
        end,
    })
}

/// The place of the tick, whether it is set, and where the text begins.
pub(super) fn checkbox(line: &str) -> Option<(usize, bool, usize)> {
    let start = line.len() - line.trim_start_matches([' ', '\t', '\u{feff}']).len();
    let rest = line[start..].strip_prefix(['-', '*', '+'])?;
    let bullet = line.len() - rest.len();
    let bracket = bullet + (rest.len() - rest.trim_start().len());
    if bracket == bullet {
        return None;
    }
    let inner = line[bracket..].strip_prefix('[')?;
    let tick = inner.chars().next()?;
    let done = match tick {
        ' ' => false,
        'x' | 'X' => true,
        _ => return None,
    };
    let after = inner[1..].strip_prefix(']')?;
    let text = line.len() - after.trim_start().len();
    Some((bracket + 1, done, text))
}

fn field(line: &str, part: &Range<usize>) -> Option<(Field, Range<usize>)> {
    let text = &line[part.clone()];
    let (key, value) = text.split_once(':')?;
    let plain = |c: char| c.is_ascii_alphabetic() || matches!(c, ' ' | '*' | '_');
    if key.is_empty() || key.len() > 20 || !key.chars().all(plain) {
        return None;
    }
    let field = match key
        .trim_matches(['*', '_', ' '])
        .to_ascii_lowercase()
        .as_str()
    {
        "added" => Field::Added,
        "priority" => Field::Priority,
        "start" | "at" | "starts" | "not before" => Field::Start,
        "label" => Field::Label,
        "completed" | "finished" | "status" | "owner" | "due" | "build" => Field::Other,
        _ => return None,
    };
    let from = part.end - value.len();
    Some((field, trimmed(line, from..part.end)))
}

/// A range without the white space and the bold marks around it.
pub(super) fn trimmed(line: &str, range: Range<usize>) -> Range<usize> {
    let text = &line[range.clone()];
    let left = text.trim_start().trim_start_matches("**").trim_start();
    let from = range.end - left.len();
    let to = from + left.trim_end().trim_end_matches("**").trim_end().len();
    from..to
}
