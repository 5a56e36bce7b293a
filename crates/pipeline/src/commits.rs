//! What each commit of a build's repository changed: for people who look, never for the build itself.
//!
//! Read from one `git log --patch` with whole files as context, so that one process tells everything.

use crate::repository::{GitError, Repository};
use std::path::Path;

/// The most commits that are read.
const COMMITS_MAX: u32 = 40;
/// The most bytes of patches that are read; what is beyond is not shown.
const BYTES_MAX: u64 = 4 << 20;

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The beginning of its hash.
    pub name: String,
    /// Its first line: the stage, a colon, what was done.
    pub subject: String,
    /// What it changed, by path.
    pub files: Vec<ChangedFile>,
}

/// What a commit did to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedFile {
    /// Where it is in the repository.
    pub path: String,
    /// Its text before; absent when it was not there, or is no text.
    pub before: Option<String>,
    /// Its text after; absent when it is gone, or is no text.
    pub after: Option<String>,
    /// Whether it has no text that could be compared.
    pub binary: bool,
}

/// The commits of a build's repository, oldest first; none where there is no repository yet.
///
/// # Errors
/// Git is missing or hangs: in words.
pub async fn commits(repository: &Path) -> Result<Vec<Commit>, String> {
    if !repository.join(".git").is_dir() {
        return Ok(Vec::new());
    }
    let patches = Repository::reading(repository)
        .patches(COMMITS_MAX, BYTES_MAX)
        .await
        .map_err(|error: GitError| error.to_string())?;
    Ok(read(&patches))
}

fn read(patches: &str) -> Vec<Commit> {
    patches
        .split('\0')
        .filter(|part| !part.trim().is_empty())
        .map(commit)
        .collect()
}

fn commit(text: &str) -> Commit {
    let (head, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (name, subject) = head.split_once(' ').unwrap_or((head, ""));
    let mut reader = Reader::default();
    for line in rest.split_inclusive('\n') {
        reader.line(line);
    }
    Commit {
        name: name.to_owned(),
        subject: subject.to_owned(),
        files: reader.files,
    }
}

/// Where the reader is in a patch. Lines of files begin with a space, `+`, `-` or a backslash, and only after the
/// `@@` of their file; so no file can look like the head of another.
#[derive(Default)]
struct Reader {
    files: Vec<ChangedFile>,
    in_text: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        if let Some(paths) = line.strip_prefix("diff --git ") {
            self.in_text = false;
            self.files.push(ChangedFile {
                path: path(paths.trim_end()),
                before: None,
                after: None,
                binary: false,
            });
            return;
        }
        let Some(file) = self.files.last_mut() else {
            return;
        };
        if self.in_text {
            let (mark, text) = line.split_at_checked(1).unwrap_or((line, ""));
            match mark {
                " " => {
                    file.before.get_or_insert_default().push_str(text);
                    file.after.get_or_insert_default().push_str(text);
                }
                "-" => file.before.get_or_insert_default().push_str(text),
                "+" => file.after.get_or_insert_default().push_str(text),
                // "\\ No newline at end of file", or the next hunk.
                _ => {}
            }
        } else if line.starts_with("@@ ") {
            self.in_text = true;
        } else if line.starts_with("new file") {
            file.after = Some(String::new());
        } else if line.starts_with("deleted file") {
            file.before = Some(String::new());
        } else if line.starts_with("Binary files ") {
            file.binary = true;
        }
    }
}

/// The path in `a/PATH b/PATH`: both halves are the same, renames are not looked for.
fn path(pair: &str) -> String {
    let half = pair.len() / 2;
    let second = pair.get(half + 1..).unwrap_or(pair).trim_matches('"');
    second.strip_prefix("b/").unwrap_or(second).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCHES: &str = "\0abc1234 package: spec\n\ndiff --git a/spec.json b/spec.json\nnew file mode 100644\nindex 0..1\n--- /dev/null\n+++ b/spec.json\n@@ -0,0 +1,2 @@\n+{\n+}\n\\ No newline at end of file\n\0def5678 generate: code\n\ndiff --git a/a b.py b/a b.py\nindex 1..2 100644\n--- a/a b.py\n+++ b/a b.py\n@@ -1,3 +1,3 @@\n one\n---- two\n++++ b/evil\n three\ndiff --git a/x.png b/x.png\nnew file mode 100644\nBinary files /dev/null and b/x.png differ\ndiff --git a/old b/old\ndeleted file mode 100644\n--- a/old\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n";

    #[test]
    fn each_commit_tells_its_files_before_and_after() {
        let commits = read(PATCHES);
        assert_eq!(commits.len(), 2);
        assert_eq!(
            (commits[0].name.as_str(), commits[0].subject.as_str()),
            ("abc1234", "package: spec")
        );
        assert_eq!(commits[0].files[0].after.as_deref(), Some("{\n}\n"));
        assert_eq!(commits[0].files[0].before, None);
        let [text, picture, old] = commits[1].files.as_slice() else {
            panic!("{:?}", commits[1].files);
        };
        assert_eq!(text.path, "a b.py");
        assert_eq!(text.before.as_deref(), Some("one\n--- two\nthree\n"));
        assert_eq!(text.after.as_deref(), Some("one\n+++ b/evil\nthree\n"));
        assert!(picture.binary);
        assert_eq!(
            (old.before.as_deref(), old.after.as_deref()),
            (Some("gone\n"), None)
        );
    }

    #[tokio::test]
    async fn where_nothing_was_committed_there_is_nothing_to_tell() {
        let dir = tempfile::TempDir::new().unwrap();
        assert_eq!(commits(dir.path()).await, Ok(Vec::new()));
    }
}
