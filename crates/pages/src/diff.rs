//! What each step of a build changed in its files: lines with numbers, colours and the changed words.

use askama::Template;
use similar::{ChangeTag, DiffOp, TextDiff};
use std::time::Duration;

use crate::code::{self, Piece};
use crate::parts::{Icon, icon};
use crate::words;

/// Files longer than this are named, not shown, bytes.
const FILE_MAX_BYTES: usize = 200_000;
/// The most lines of one file's diff.
const LINES_MAX: usize = 600;
/// The most files of one step.
const FILES_MAX: usize = 60;
/// Unchanged lines around a change.
const CONTEXT: usize = 3;
/// How long the comparison of one file may look for the shortest diff.
const LOOK_MAX: Duration = Duration::from_millis(200);

/// What a commit did to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where it is in the repository.
    pub path: String,
    /// Its text before; absent when it is new.
    pub before: Option<String>,
    /// Its text after; absent when it is gone.
    pub after: Option<String>,
    /// Whether it has no text that could be compared.
    pub binary: bool,
}

/// One commit of a build's repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The commit's first line.
    pub title: String,
    /// Its name, short.
    pub commit: String,
    /// What it changed.
    pub changes: Vec<Change>,
}

/// A step, ready to be shown.
pub(crate) struct Shown {
    pub(crate) title: String,
    pub(crate) commit: String,
    pub(crate) files: Vec<File>,
    pub(crate) more: usize,
    pub(crate) added: usize,
    pub(crate) removed: usize,
}

/// A file of a step.
#[derive(Template)]
#[template(path = "diff.html")]
pub(crate) struct File {
    path: String,
    icon: Icon,
    what: &'static str,
    added: usize,
    removed: usize,
    hunks: Vec<Vec<Line>>,
    note: Option<String>,
    open: bool,
}

impl askama::filters::HtmlSafe for File {}

struct Line {
    class: &'static str,
    mark: &'static str,
    old: String,
    new: String,
    words: Vec<Word>,
}

/// A run of characters that look the same.
struct Word {
    class: &'static str,
    changed: bool,
    text: String,
}

impl From<Step> for Shown {
    fn from(step: Step) -> Self {
        let more = step.changes.len().saturating_sub(FILES_MAX);
        let files: Vec<File> = step.changes.iter().take(FILES_MAX).map(file).collect();
        Self {
            title: step.title,
            commit: step.commit,
            added: files.iter().map(|file| file.added).sum(),
            removed: files.iter().map(|file| file.removed).sum(),
            files,
            more,
        }
    }
}

fn file(change: &Change) -> File {
    let (what, name) = match (&change.before, &change.after) {
        (None, Some(_)) => ("new", "plus"),
        (Some(_), None) => ("removed", "minus"),
        (Some(_), Some(_)) => ("changed", "pen"),
        (None, None) => ("changed", "file"),
    };
    let mut shown = File {
        path: change.path.clone(),
        icon: icon(name),
        what,
        added: 0,
        removed: 0,
        hunks: Vec::new(),
        note: None,
        open: true,
    };
    let before = change.before.as_deref().unwrap_or_default();
    let after = change.after.as_deref().unwrap_or_default();
    if change.binary {
        shown.note = Some("It is no text, and not shown.".to_owned());
        return shown;
    }
    if before.len().max(after.len()) > FILE_MAX_BYTES {
        let size = words::bytes(before.len().max(after.len()) as u64);
        shown.note = Some(format!(
            "{size}: too long to be compared here; look into the repository."
        ));
        return shown;
    }
    compare(&mut shown, before, after);
    // A long file is a click away, so that the page stays short.
    shown.open = shown.added + shown.removed <= 80;
    shown
}

fn compare(shown: &mut File, before: &str, after: &str) {
    let diff = TextDiff::configure()
        .timeout(LOOK_MAX)
        .diff_lines(before, after);
    let inks = [
        code::pieces(&shown.path, before),
        code::pieces(&shown.path, after),
    ];
    let mut lines = 0;
    for group in diff.grouped_ops(CONTEXT) {
        let mut hunk = Vec::new();
        for op in &group {
            for change in changes(&diff, op) {
                match change.tag {
                    ChangeTag::Insert => shown.added += 1,
                    ChangeTag::Delete => shown.removed += 1,
                    ChangeTag::Equal => {}
                }
                lines += 1;
                if lines <= LINES_MAX {
                    hunk.push(line(&change, &inks));
                }
            }
        }
        if !hunk.is_empty() {
            shown.hunks.push(hunk);
        }
    }
    if lines > LINES_MAX {
        let left = lines - LINES_MAX;
        shown.note = Some(format!(
            "{left} more lines are not shown; look into the repository."
        ));
    }
}

/// A line of a diff with the parts that changed.
struct Changed {
    tag: ChangeTag,
    old: Option<usize>,
    new: Option<usize>,
    parts: Vec<(bool, String)>,
}

fn changes(diff: &TextDiff<'_, '_, str>, op: &DiffOp) -> Vec<Changed> {
    diff.iter_inline_changes(op)
        .map(|change| Changed {
            tag: change.tag(),
            old: change.old_index(),
            new: change.new_index(),
            parts: change
                .iter_strings_lossy()
                .map(|(changed, text)| (changed, text.trim_end_matches(['\n', '\r']).to_owned()))
                .collect(),
        })
        .collect()
}

fn line(change: &Changed, inks: &[Vec<Vec<Piece>>; 2]) -> Line {
    let (class, mark, side, index) = match change.tag {
        ChangeTag::Equal => ("", " ", 1, change.new),
        ChangeTag::Delete => ("del", "−", 0, change.old),
        ChangeTag::Insert => ("add", "+", 1, change.new),
    };
    let number = |index: Option<usize>| index.map_or_else(String::new, |i| (i + 1).to_string());
    let pieces = index.and_then(|i| inks[side].get(i));
    Line {
        class,
        mark,
        old: number(change.old),
        new: number(change.new),
        words: coloured(&change.parts, pieces.map_or(&[], Vec::as_slice)),
    }
}

/// Lays the colours over the changed parts.
fn coloured(parts: &[(bool, String)], pieces: &[Piece]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut pieces = pieces.iter().copied();
    let mut piece: Option<Piece> = pieces.next();
    for (changed, part) in parts {
        let mut rest = part.as_str();
        while !rest.is_empty() {
            let (class, room) = piece.map_or(("", rest.len()), |(ink, left)| (ink.class(), left));
            let mut take = room.min(rest.len());
            while !rest.is_char_boundary(take) {
                take += 1;
            }
            let (now, later) = rest.split_at(take);
            words.push(Word {
                class,
                changed: *changed,
                text: now.to_owned(),
            });
            rest = later;
            piece = match piece {
                Some((ink, left)) if left > take => Some((ink, left - take)),
                Some(_) => pieces.next(),
                None => None,
            };
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: Option<&str>, after: Option<&str>) -> File {
        file(&Change {
            path: "app/main.py".to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
            binary: false,
        })
    }

    #[test]
    fn a_changed_word_is_marked_inside_its_line() {
        let file = change(Some("keep = 7\nsame\n"), Some("keep = 14\nsame\n"));
        assert_eq!((file.what, file.added, file.removed), ("changed", 1, 1));
        let html = file.to_string();
        assert!(html.contains("<mark"), "{html}");
        let lines = &file.hunks[0];
        let text = |line: &Line| {
            line.words
                .iter()
                .map(|word| word.text.as_str())
                .collect::<String>()
        };
        assert_eq!(text(&lines[0]), "keep = 7");
        assert_eq!(text(&lines[1]), "keep = 14");
        assert_eq!(
            (lines[0].class, lines[1].class, lines[2].class),
            ("del", "add", "")
        );
    }

    #[test]
    fn code_is_text_and_never_markup() {
        let html = change(None, Some("print('<script>alert(1)</script>')\n")).to_string();
        assert!(!html.contains("<script>"), "{html}");
    }

    #[test]
    fn long_and_foreign_files_are_named_and_not_shown() {
        let long = "x\n".repeat(FILE_MAX_BYTES);
        assert!(change(None, Some(&long)).note.unwrap().contains("too long"));
        let many = "x\n".repeat(LINES_MAX + 5);
        assert!(
            change(None, Some(&many))
                .note
                .unwrap()
                .starts_with("5 more lines")
        );
        let binary = file(&Change {
            path: "a.png".into(),
            before: None,
            after: None,
            binary: true,
        });
        assert!(binary.note.unwrap().contains("no text"));
        let step = Step {
            title: "generate".into(),
            commit: "abc".into(),
            changes: vec![
                Change {
                    path: "a".into(),
                    before: None,
                    after: Some("a".into()),
                    binary: false
                };
                FILES_MAX + 2
            ],
        };
        assert_eq!(Shown::from(step).more, 2);
    }
}
