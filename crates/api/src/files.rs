//! What a build's repository holds: commits, files, differences.

use crate::time::Time;
use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most files in one answer.
pub const FILES_MAX: usize = 10_000;
/// The longest commit's name, in digits.
const COMMIT_MAX: usize = 40;
/// The longest path, in bytes.
const PATH_MAX: usize = 4_096;

/// One commit of a build; each try of a stage that wrote something has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    /// Its name, 40 hexadecimal digits.
    pub id: String,
    /// When.
    pub at: Time,
    /// Its first line.
    pub subject: String,
    /// The stage that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Which try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// One file at a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileEntry {
    /// From the root of the repository.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Whether it may be run.
    pub executable: bool,
}

/// What differs between two commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diff {
    /// The older one; git's empty tree before the first.
    pub from: String,
    /// The newer one.
    pub to: String,
    /// Each file, by path.
    pub files: Vec<ChangedFile>,
    /// The unified difference.
    pub text: String,
    /// Whether the text was too long and is cut.
    pub cut: bool,
}

/// How much of a file differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangedFile {
    /// From the root of the repository.
    pub path: String,
    /// Lines added; absent where it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<u64>,
    /// Lines removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<u64>,
}

/// The query of `GET /builds/{id}/files` and of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct FilesQuery {
    /// At which commit, at least 7 of its digits; the newest when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = COMMIT_MAX))]
    pub commit: Option<String>,
}

/// The query of `GET /builds/{id}/diff`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct DiffQuery {
    /// From which commit; the one before `to` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = COMMIT_MAX))]
    pub from: Option<String>,
    /// To which commit; the newest when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = COMMIT_MAX))]
    pub to: Option<String>,
    /// Only this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(length(max = PATH_MAX))]
    pub path: Option<String>,
}
