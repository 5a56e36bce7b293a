//! The file as lines: their text, their endings, and which of them are only shown (fences, comments).

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Without its ending.
    pub(super) text: &'a str,
    /// With its ending.
    pub(super) whole: &'a str,
    /// `\n`, `\r\n`, or nothing at the end of the file.
    pub(super) ending: &'a str,
    /// In a code fence or a comment: a person's own words, whatever they look like.
    pub(super) shown: bool,
}

/// The lines of a text. Put together again they are the text.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = text
        .split_inclusive('\n')
        .map(|whole| {
            let text = whole.strip_suffix('\n').unwrap_or(whole);
            let text = text.strip_suffix('\r').unwrap_or(text);
            Line {
                text,
                whole,
                ending: &whole[text.len()..],
                shown: false,
            }
        })
        .collect();
    mark(&mut lines);
    lines
}

/// Marks fences and comments that are closed; one that never ends hides nothing, so that no task is lost in it.
fn mark(lines: &mut [Line<'_>]) {
    let mut at = 0;
    while at < lines.len() {
        let text = lines[at].text.trim_start();
        let end = if let Some(fence) = fence(text) {
            lines[at + 1..]
                .iter()
                .position(|line| line.text.trim().starts_with(fence))
                .map(|after| at + 1 + after)
        } else if text.starts_with("<!--") {
            lines[at..]
                .iter()
                .position(|line| line.text.contains("-->"))
                .map(|after| at + after)
        } else {
            None
        };
        let Some(end) = end else {
            at += 1;
            continue;
        };
        for line in &mut lines[at..=end] {
            line.shown = true;
        }
        at = end + 1;
    }
}

fn fence(text: &str) -> Option<&'static str> {
    ["```", "~~~"]
        .into_iter()
        .find(|fence| text.starts_with(fence))
}

/// The ending that most lines have.
pub(super) fn usual_ending(lines: &[Line<'_>]) -> &'static str {
    let windows = lines.iter().filter(|line| line.ending == "\r\n").count();
    if windows * 2 > lines.len() {
        "\r\n"
    } else {
        "\n"
    }
}

/// How far a line is moved in; a tab counts as four.
pub(super) fn indent(text: &str) -> usize {
    let white = text.chars().take_while(|c| matches!(c, ' ' | '\t'));
    white.map(|c| if c == '\t' { 4 } else { 1 }).sum()
}
