//! What each commit of a build changed: read from one patch, kept while the repository stands still.

use crate::app::App;
use crate::repository::Repository;
use agentwright_domain::ids::RunId;
use agentwright_pages::{Change, Step};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Builds whose commits are kept; beyond it all are read anew.
const BUILDS_MAX: usize = 16;

/// The commits of builds that were looked at lately.
#[derive(Default)]
pub(crate) struct Kept {
    read: Mutex<HashMap<RunId, (String, Vec<Step>)>>,
}

/// What each commit of the build changed, oldest first; nothing where there is no repository, or git does not
/// answer.
pub(super) async fn steps(app: &App, build: &RunId) -> Vec<Step> {
    let Ok(repository) = Repository::of(app, build) else {
        return Vec::new();
    };
    let head = repository.head();
    {
        let kept = app.kept_steps().read.lock();
        let kept = kept.unwrap_or_else(PoisonError::into_inner);
        if let Some((at, steps)) = kept.get(build).filter(|_| !head.is_empty())
            && *at == head
        {
            return steps.clone();
        }
    }
    let steps = match repository.patches().await {
        Ok(patches) => read(&patches),
        Err(error) => {
            tracing::warn!(%build, ?error, "the commits of a build cannot be shown");
            return Vec::new();
        }
    };
    let kept = app.kept_steps().read.lock();
    let mut kept = kept.unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= BUILDS_MAX {
        kept.clear();
    }
    kept.insert(build.clone(), (head, steps.clone()));
    steps
}

fn read(patches: &str) -> Vec<Step> {
    let commits = patches.split('\0').filter(|part| !part.trim().is_empty());
    commits.map(step).collect()
}

fn step(text: &str) -> Step {
    let (head, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (name, subject) = head.split_once(' ').unwrap_or((head, ""));
    let mut reader = Reader::default();
    for line in rest.split_inclusive('\n') {
        reader.line(line);
    }
    Step {
        title: subject.to_owned(),
        commit: name.to_owned(),
        changes: reader.files,
    }
}

/// Where the reader is in a patch. Lines of files begin with a space, `+`, `-` or a backslash, and only after the
/// `@@` of their file; so no file can look like the head of another.
#[derive(Default)]
struct Reader {
    files: Vec<Change>,
    in_text: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        if let Some(paths) = line.strip_prefix("diff --git ") {
            self.in_text = false;
            self.files.push(Change {
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
            (commits[0].commit.as_str(), commits[0].title.as_str()),
            ("abc1234", "package: spec")
        );
        assert_eq!(commits[0].changes[0].after.as_deref(), Some("{\n}\n"));
        assert_eq!(commits[0].changes[0].before, None);
        let [text, picture, old] = commits[1].changes.as_slice() else {
            panic!("{:?}", commits[1].changes);
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
}
