//! Fenced blocks of Markdown, as models really write them. Pure. Start at [`scan`].

/// Most blocks that are looked at.
const MAX_BLOCKS: usize = 2000;

/// One fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fence<'a> {
    /// What stands behind the opening fence.
    pub(super) info: &'a str,
    /// The nearest line above that is not empty, when at most one empty line lies between.
    pub(super) above: Option<&'a str>,
    /// The lines inside, each with its `\n`.
    pub(super) content: String,
}

/// A line that may open or close a block.
#[derive(Clone, Copy)]
struct Mark<'a> {
    sign: char,
    length: usize,
    indent: usize,
    info: &'a str,
}

/// All blocks of a text, in order. A block that is not closed ends with the text, but only the last may be so.
///
/// Fences inside a block (a README that shows commands) are counted: one with words behind it opens, one without
/// closes. An error when a block with a path begins inside another that is not Markdown: then a closing fence is
/// missing and nobody can say where.
pub(super) fn scan(text: &str) -> Result<Vec<Fence<'_>>, String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some(mark) = mark(lines[at]) else {
            at += 1;
            continue;
        };
        if blocks.len() >= MAX_BLOCKS {
            return Err(format!("it holds more than {MAX_BLOCKS} blocks"));
        }
        let end = end_of_block(&lines, at, mark)?;
        let mut content = String::new();
        for line in &lines[at + 1..end] {
            content.push_str(without_indent(line, mark.indent));
            content.push('\n');
        }
        blocks.push(Fence {
            info: mark.info,
            above: line_above(&lines[..at]),
            content,
        });
        at = end + 1;
    }
    Ok(blocks)
}

/// The index of the closing line, or of the end of the text.
fn end_of_block(lines: &[&str], begin: usize, outer: Mark<'_>) -> Result<usize, String> {
    let markdown = super::naming::is_markdown(outer.info, line_above(&lines[..begin]));
    let mut inner: Vec<Mark<'_>> = Vec::new();
    for (at, line) in lines.iter().enumerate().skip(begin + 1) {
        let Some(found) = mark(line) else { continue };
        let current = inner.last().copied().unwrap_or(outer);
        if found.info.is_empty() {
            let closes = found.sign == current.sign && found.length >= current.length;
            match (closes, inner.is_empty()) {
                (true, true) => return Ok(at),
                (true, false) => drop(inner.pop()),
                (false, _) => {}
            }
        } else if found.sign == outer.sign && found.length >= outer.length {
            if !markdown && super::naming::names_a_path(found.info) {
                return Err(format!(
                    "a block begins ({}) before the one above it is closed; close every block with a fence",
                    crate::paths::shown(found.info)
                ));
            }
            inner.push(found);
        }
    }
    if inner.is_empty() {
        Ok(lines.len())
    } else {
        Err("fences inside a block do not balance; use a longer fence outside".to_owned())
    }
}

fn mark(line: &str) -> Option<Mark<'_>> {
    let trimmed = line.trim_start();
    let sign = trimmed.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = trimmed.chars().take_while(|c| *c == sign).count();
    let info = trimmed[length..].trim();
    if length < 3 || (sign == '`' && info.contains('`')) {
        return None;
    }
    Some(Mark {
        sign,
        length,
        indent: line.len() - trimmed.len(),
        info,
    })
}

fn without_indent(line: &str, most: usize) -> &str {
    let blank = line.len() - line.trim_start_matches([' ', '\t']).len();
    &line[blank.min(most)..]
}

fn line_above<'a>(before: &[&'a str]) -> Option<&'a str> {
    let mut above = before.iter().rev().map(|line| line.trim());
    let first = above.next()?;
    let line = if first.is_empty() {
        above.next()?
    } else {
        first
    };
    (!line.is_empty() && mark(line).is_none()).then_some(line)
}
