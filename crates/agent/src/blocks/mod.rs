//! Files out of a model's answer: tolerant about how they are marked, strict about what they are. Pure.
//!
//! Three forms are understood: fenced blocks with a path ([`naming`]), a JSON object with `files`, and code alone
//! for the one main file. Whatever else the answer says is text and changes nothing. Start at [`parse`].

mod fences;
mod naming;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::coder::CoderLimits;
use crate::paths::{checked, shown};
use crate::protected::Protected;
use fences::Fence;

/// Longest answer that is looked at.
pub const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// One file of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileBlock {
    /// Checked: relative, plain, not protected.
    pub path: String,
    /// Text with `\n` line ends.
    pub content: String,
}

/// Why an answer gives no files. The message can be shown to the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockProblem {
    /// There is nothing that could be a file.
    #[error("it holds no file; write each file as a fenced block with its path after the language")]
    Nothing,
    /// Something in it is not acceptable, so nothing of it is taken.
    #[error("{0}")]
    Refused(String),
}

/// All files of an answer, sorted by path. One file that is refused refuses the answer.
///
/// # Errors
/// [`BlockProblem::Nothing`], or [`BlockProblem::Refused`] with the reason.
pub fn parse(
    answer: &[u8],
    limits: &CoderLimits,
    protected: &Protected,
    main_file: Option<&str>,
) -> Result<Vec<FileBlock>, BlockProblem> {
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(refused(format!(
            "the answer is larger than {MAX_ANSWER_BYTES} bytes"
        )));
    }
    let text =
        std::str::from_utf8(answer).map_err(|_| refused("the answer is not UTF-8".to_owned()))?;
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let found = named_files(&text, main_file)?;
    accept(found, limits, protected)
}

fn refused(why: String) -> BlockProblem {
    BlockProblem::Refused(why)
}

/// A path as it was written, and the content.
type Named = (String, String);

fn named_files(text: &str, main_file: Option<&str>) -> Result<Vec<Named>, BlockProblem> {
    if let Some(files) = json_files(text.trim()) {
        return files;
    }
    let fences = fences::scan(text).map_err(refused)?;
    if let [only] = fences.as_slice()
        && let Some(files) = json_files(only.content.trim())
    {
        return files;
    }
    let mut named = Vec::new();
    let mut nameless = Vec::new();
    for fence in fences {
        match naming::name(&fence) {
            Some((path, content)) => named.push((path, content)),
            None => nameless.push(fence),
        }
    }
    if !named.is_empty() {
        return Ok(named);
    }
    let main_file = main_file.ok_or(BlockProblem::Nothing)?;
    let code = only_code(text, &nameless)?;
    Ok(vec![(main_file.to_owned(), code)])
}

/// The form for the smallest models: code and nothing else.
fn only_code(text: &str, nameless: &[Fence<'_>]) -> Result<String, BlockProblem> {
    match nameless {
        [] if looks_like_code(text) => Ok(format!("{}\n", text.trim_matches('\n').trim_end())),
        [] => Err(BlockProblem::Nothing),
        [only] if only.content.trim().is_empty() => Err(BlockProblem::Nothing),
        [only] => Ok(only.content.clone()),
        _ => Err(refused(
            "it holds several blocks and none has a path; write the path after the language"
                .to_owned(),
        )),
    }
}

/// Whether text without any fence is meant as code: by its first line that is not empty.
fn looks_like_code(text: &str) -> bool {
    const BEGINS: &[&str] = &[
        "#!",
        "# ",
        "//",
        "/*",
        "\"\"\"",
        "'''",
        "import ",
        "from ",
        "def ",
        "class ",
        "@",
        "set -",
        "const ",
        "let ",
        "var ",
        "use ",
        "fn ",
        "package ",
        "async ",
        "function ",
        "<?",
        "<!",
    ];
    let first = text.lines().find(|line| !line.trim().is_empty());
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    first.is_some_and(|line| {
        let prose = line.starts_with("from ") && !line.contains(" import ");
        !prose && (BEGINS.iter().any(|begin| line.starts_with(begin)))
    }) && lines > 1
}

#[derive(Deserialize)]
struct JsonFile {
    path: String,
    content: String,
}

/// `{"files":[{"path","content"}]}` or `{"files":{path: content}}`; `None` when it is not this form at all.
fn json_files(text: &str) -> Option<Result<Vec<Named>, BlockProblem>> {
    if !text.starts_with('{') {
        return None;
    }
    let Value::Object(mut object) = serde_json::from_str(text).ok()? else {
        return None;
    };
    let files = object.remove("files")?;
    let listed = match files {
        Value::Array(_) => serde_json::from_value::<Vec<JsonFile>>(files)
            .map(|all| all.into_iter().map(|f| (f.path, f.content)).collect()),
        other => serde_json::from_value::<BTreeMap<String, String>>(other)
            .map(|all| all.into_iter().collect()),
    };
    Some(listed.map_err(|e| {
        refused(format!(
            "its `files` are not of the form [{{\"path\":…,\"content\":…}}]: {e}"
        ))
    }))
}

/// Checks every file; the result is sorted and has no two that collide.
fn accept(
    found: Vec<Named>,
    limits: &CoderLimits,
    protected: &Protected,
) -> Result<Vec<FileBlock>, BlockProblem> {
    if found.is_empty() {
        return Err(BlockProblem::Nothing);
    }
    if found.len() > limits.files {
        return Err(refused(format!(
            "it holds {} files; at most {} are taken",
            found.len(),
            limits.files
        )));
    }
    let mut total = 0_u64;
    let mut accepted: BTreeMap<String, FileBlock> = BTreeMap::new();
    for (path, content) in found {
        let path = checked(path.trim(), protected).map_err(refused)?;
        let bytes = content.len() as u64;
        total = total.saturating_add(bytes);
        if bytes > limits.file_bytes || total > limits.total_bytes {
            return Err(refused(format!(
                "{} is too large (a file may have {} bytes, all together {})",
                shown(&path),
                limits.file_bytes,
                limits.total_bytes
            )));
        }
        if let Some(odd) = content.chars().find(|c| odd(*c)) {
            return Err(refused(format!(
                "{} is not text: it holds the character U+{:04X}",
                shown(&path),
                u32::from(odd)
            )));
        }
        let key = path.to_lowercase();
        let content = content.replace("\r\n", "\n");
        if accepted
            .insert(
                key,
                FileBlock {
                    path: path.clone(),
                    content,
                },
            )
            .is_some()
        {
            return Err(refused(format!("{} stands in it twice", shown(&path))));
        }
    }
    collide(&accepted)?;
    let mut all: Vec<FileBlock> = accepted.into_values().collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(all)
}

/// Control characters that text files do not hold.
fn odd(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t' | '\r' | '\u{c}' | '\u{1b}')
}

/// A file cannot also be a directory.
fn collide(accepted: &BTreeMap<String, FileBlock>) -> Result<(), BlockProblem> {
    for key in accepted.keys() {
        let mut above = key.as_str();
        while let Some((parent, _)) = above.rsplit_once('/') {
            if accepted.contains_key(parent) {
                return Err(refused(format!(
                    "{} is both a file and a directory",
                    shown(parent)
                )));
            }
            above = parent;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
