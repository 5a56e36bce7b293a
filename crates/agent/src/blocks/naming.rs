//! Which path a block is meant for. Pure. Start at [`name`].
//!
//! Looked for in this order: behind the opening fence, in the line above, in the first line inside. What looks like
//! a path here is only a wish; [`crate::paths`] decides.

use super::fences::Fence;

/// Files without a dot in their name.
const KNOWN: &[&str] = &[
    "Makefile",
    "Dockerfile",
    "Containerfile",
    "Procfile",
    "Gemfile",
    "Justfile",
    "LICENSE",
    "README",
    "run",
];
/// Words before a path, each with its sign.
const LABELS: &[&str] = &[
    "file:",
    "filename:",
    "file name:",
    "path:",
    "filepath:",
    "file path:",
    "file=",
    "filename=",
    "path=",
    "title=",
    "name=",
];

/// The path and the content, without a first line that only said the path.
pub(super) fn name(fence: &Fence<'_>) -> Option<(String, String)> {
    let outside = from_info(fence.info).or_else(|| fence.above.and_then(from_line));
    if let Some(path) = outside {
        return Some((path, fence.content.clone()));
    }
    let (first, rest) = fence.content.split_once('\n')?;
    let (shebang, line, rest) = if first.starts_with("#!") {
        let (second, rest) = rest.split_once('\n')?;
        (format!("{first}\n"), second, rest)
    } else {
        (String::new(), first, rest)
    };
    let path = from_comment(line)?;
    Some((path, format!("{shebang}{rest}")))
}

/// Whether the words behind a fence name a path.
pub(super) fn names_a_path(info: &str) -> bool {
    from_info(info).is_some()
}

/// Whether the block holds Markdown, in which fences are content.
pub(super) fn is_markdown(info: &str, above: Option<&str>) -> bool {
    let path = from_info(info).or_else(|| above.and_then(from_line));
    let by_path = path.is_some_and(|p| {
        let p = p.to_ascii_lowercase();
        p.ends_with(".md") || p.ends_with(".markdown") || p.ends_with(".rst")
    });
    let language = info.split_whitespace().next().unwrap_or_default();
    by_path || matches!(language.to_ascii_lowercase().as_str(), "md" | "markdown")
}

fn from_info(info: &str) -> Option<String> {
    let words: Vec<&str> = info
        .split(|c: char| c.is_whitespace() || "{}".contains(c))
        .filter(|word| !word.is_empty())
        .collect();
    let labelled_word = words
        .iter()
        .find_map(|word| labelled(word).filter(|p| !p.is_empty()));
    if let Some(path) = labelled_word {
        return wish(path);
    }
    match words.as_slice() {
        [] => None,
        [only] => match only.split_once(':') {
            Some((before, path)) if language(before) && !path.is_empty() => wish(path),
            _ => wish_behind_fence(only),
        },
        [_, label, path, ..] if label.ends_with(':') => wish(path),
        [_, second, ..] => wish_behind_fence(second),
    }
}

/// A media type or a class (`.python`) is a language, too.
fn wish_behind_fence(word: &str) -> Option<String> {
    let media = ["text/", "application/"]
        .iter()
        .any(|kind| word.starts_with(kind) && !word.contains('.'));
    let class = word.len() > 1
        && word.starts_with('.')
        && word != ".env"
        && word[1..].chars().all(|c| c.is_ascii_alphanumeric());
    if media || class { None } else { wish(word) }
}

/// A line that says a path and nothing else.
fn from_line(line: &str) -> Option<String> {
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let line = if numbered.len() < line.len()
        && numbered.starts_with(['.', ')'])
        && numbered[1..].starts_with(' ')
    {
        &numbered[1..]
    } else {
        line
    };
    let bare = line
        .trim()
        .trim_start_matches(['#', '-', '*', '>', ' '])
        .trim_end_matches([' ', '*']);
    let bare = labelled(bare.trim_start_matches(['*', '`', ' '])).unwrap_or(bare);
    wish(bare.trim().trim_end_matches(':'))
}

/// A comment that says a path with a label.
fn from_comment(line: &str) -> Option<String> {
    let line = line.trim();
    let open = ["<!--", "//", "/*", "--", "#", ";", "%"]
        .iter()
        .find_map(|sign| line.strip_prefix(sign))?;
    let said = open.trim_end_matches("-->").trim_end_matches("*/").trim();
    wish(labelled(said)?)
}

fn labelled(text: &str) -> Option<&str> {
    let text = text.trim();
    LABELS.iter().find_map(|label| {
        let head = text.get(..label.len())?;
        head.eq_ignore_ascii_case(label)
            .then(|| text[label.len()..].trim_start_matches('*').trim())
    })
}

/// A programming language's name, as it stands behind a fence.
fn language(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= 20
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+#-".contains(c))
}

/// Takes quotes off; `None` when it does not look like a path. A path that leads elsewhere does look like one.
fn wish(text: &str) -> Option<String> {
    let bare = text
        .trim()
        .trim_matches(['`', '"', '\'', '*', '(', ')', '[', ']', '<', '>', ',']);
    let path_like = !bare.is_empty()
        && !bare.contains(char::is_whitespace)
        && !bare.starts_with("http")
        && (bare.contains(['.', '/', '\\']) || KNOWN.contains(&bare))
        && bare.chars().any(|c| c.is_alphanumeric() || c == '.');
    let sentence = bare.ends_with(['.', '!', '?']) && !bare.ends_with("..");
    (path_like && !sentence).then(|| bare.to_owned())
}
