//! A build's repository for readers: its commits, the files at one, the difference between two. Read only.
//!
//! The one place of the server that starts git. What a caller names is checked before git sees it: a commit is
//! hexadecimal digits, a path is a tree's own; nothing is an option. What git says is read up to a bound.

use crate::app::App;
use crate::error::ApiError;
use agentwright_api::{ChangedFile, Commit, Diff, FILES_MAX, FileEntry, Time, code};
use agentwright_domain::ids::RunId;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// One git command may take so long.
const GIT_MAX: Duration = Duration::from_secs(20);
/// The largest file that is shown, in bytes.
pub(crate) const FILE_MAX_BYTES: usize = 8 << 20;
/// The longest difference that is shown, in bytes; the rest is cut.
const DIFF_MAX_BYTES: usize = 2 << 20;
/// What the patches of all commits may take, in bytes.
const PATCHES_MAX_BYTES: usize = 4 << 20;
/// What a list of files may take, in bytes.
const LIST_MAX_BYTES: usize = 8 << 20;
/// The most commits that are listed: all tries of all stages are far fewer.
const COMMITS_MAX: &str = "--max-count=500";
/// The longest path, in bytes.
const PATH_MAX_BYTES: usize = 4_096;
/// The commit that stands before the first one: git's name of the empty tree.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// A build's repository.
pub(crate) struct Repository {
    path: PathBuf,
}

/// What git wrote, whole or cut.
struct Output {
    bytes: Vec<u8>,
    cut: bool,
}

impl Repository {
    /// Of that build; 404 while it has none, and when it was cleared away.
    pub(crate) fn of(app: &App, build: &RunId) -> Result<Self, ApiError> {
        let path = app.layout().build(build).join("repo");
        if path.join(".git").is_dir() {
            return Ok(Self { path });
        }
        let none = "this build has no repository: it has not come so far, or was cleared away";
        Err(ApiError::NotFound(none.into()))
    }

    /// Newest first.
    pub(crate) async fn commits(&self) -> Result<Vec<Commit>, ApiError> {
        let format = "--format=%H%x00%at%x00%s%x00%(trailers:key=Agentwright-Stage,valueonly,separator=%x2C)%x00%(trailers:key=Agentwright-Attempt,valueonly,separator=%x2C)";
        let output = self
            .git(&["log", COMMITS_MAX, format, "HEAD"], LIST_MAX_BYTES)
            .await?;
        let text = String::from_utf8_lossy(&output.bytes);
        Ok(text.lines().filter_map(commit).collect())
    }

    /// The newest commits, oldest first, each as a whole patch against the one before, with whole files as context:
    /// one git for everything that a page shows. Cut after [`PATCHES_MAX_BYTES`]; empty before the first commit.
    pub(crate) async fn patches(&self) -> Result<String, ApiError> {
        let log = [
            "log",
            "--reverse",
            "--root",
            "--patch",
            "--unified=1000000",
            "--no-renames",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            "--format=%x00%h %s",
            "--max-count=40",
        ];
        let (_, output) = self.run(&log, PATCHES_MAX_BYTES).await?;
        Ok(String::from_utf8_lossy(&output.bytes).into_owned())
    }

    /// The newest commit's name as it stands in the repository, without asking git; empty before the first one.
    pub(crate) fn head(&self) -> String {
        std::fs::read_to_string(self.path.join(".git/refs/heads/main")).unwrap_or_default()
    }

    /// The files at a commit, by path.
    pub(crate) async fn files(&self, commit: Option<&str>) -> Result<Vec<FileEntry>, ApiError> {
        let commit = self.resolved(commit).await?;
        let list = ["ls-tree", "-r", "-l", "-z", "--full-tree", &commit];
        let output = self.git(&list, LIST_MAX_BYTES).await?;
        let entries = output.bytes.split(|byte| *byte == 0);
        Ok(entries.filter_map(entry).take(FILES_MAX).collect())
    }

    /// A file's bytes at a commit.
    pub(crate) async fn file(&self, commit: Option<&str>, path: &str) -> Result<Vec<u8>, ApiError> {
        let path = checked(path)?;
        let commit = self.resolved(commit).await?;
        let missing = || ApiError::no("file", path);
        let entries = self.files(Some(&commit)).await?;
        let known = entries.iter().find(|entry| entry.path == path);
        let bytes = known.ok_or_else(missing)?.bytes;
        if bytes > FILE_MAX_BYTES as u64 {
            return Err(ApiError::Unreadable(
                axum::http::StatusCode::PAYLOAD_TOO_LARGE,
                code::TOO_LARGE,
                format!(
                    "{path} is larger than {FILE_MAX_BYTES} bytes: look at it in the repository"
                ),
            ));
        }
        let object = format!("{commit}:{path}");
        let output = self
            .git(&["cat-file", "blob", &object], FILE_MAX_BYTES)
            .await?;
        Ok(output.bytes)
    }

    /// What differs from one commit (the one before the other, when absent) to another (the newest).
    pub(crate) async fn diff(
        &self,
        from: Option<&str>,
        to: Option<&str>,
        path: Option<&str>,
    ) -> Result<Diff, ApiError> {
        let path = path.map(checked).transpose()?;
        let to = self.resolved(to).await?;
        let from = match from {
            Some(from) => self.resolved(Some(from)).await?,
            None => self.parent(&to).await?,
        };
        let at = path.map_or_else(Vec::new, |path| vec!["--", path]);
        let plain = [
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--no-renames",
        ];
        let with = |form: &[&'static str]| {
            let mut all = vec!["--literal-pathspecs", "diff"];
            all.extend(plain);
            all.extend(form);
            all
        };
        let mut text = with(&["--unified=3"]);
        text.extend([from.as_str(), to.as_str()]);
        text.extend(&at);
        let text = self.git(&text, DIFF_MAX_BYTES).await?;
        let mut counts = with(&["--numstat", "-z"]);
        counts.extend([from.as_str(), to.as_str()]);
        counts.extend(&at);
        let counts = self.git(&counts, LIST_MAX_BYTES).await?;
        let files = counts.bytes.split(|byte| *byte == 0);
        Ok(Diff {
            files: files.filter_map(changed).take(FILES_MAX).collect(),
            text: String::from_utf8_lossy(&text.bytes).into_owned(),
            cut: text.cut,
            from,
            to,
        })
    }

    /// The full name of a commit; the newest where none is given.
    async fn resolved(&self, commit: Option<&str>) -> Result<String, ApiError> {
        let commit = commit.unwrap_or("HEAD");
        let missing = || ApiError::no("commit", commit);
        let hex = (7..=40).contains(&commit.len()) && commit.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex && commit != "HEAD" {
            return Err(missing());
        }
        let name = format!("{commit}^{{commit}}");
        let found = self
            .said(&["rev-parse", "--quiet", "--verify", &name])
            .await?;
        found.ok_or_else(missing)
    }

    async fn parent(&self, commit: &str) -> Result<String, ApiError> {
        let name = format!("{commit}^");
        let found = self
            .said(&["rev-parse", "--quiet", "--verify", &name])
            .await?;
        Ok(found.unwrap_or_else(|| EMPTY_TREE.to_owned()))
    }

    /// One line of git's; `None` when it says no.
    async fn said(&self, arguments: &[&str]) -> Result<Option<String>, ApiError> {
        let (status, output) = self.run(arguments, PATH_MAX_BYTES).await?;
        let line = String::from_utf8_lossy(&output.bytes).trim().to_owned();
        Ok(Some(line).filter(|line| status && !line.is_empty()))
    }

    async fn git(&self, arguments: &[&str], max: usize) -> Result<Output, ApiError> {
        let (done, output) = self.run(arguments, max).await?;
        if done || output.cut {
            return Ok(output);
        }
        let what = arguments.first().copied().unwrap_or_default();
        let place = self.path.display();
        Err(ApiError::Internal(anyhow::anyhow!(
            "git {what} failed in {place}"
        )))
    }

    /// Runs git, and whether it ended well; beyond `max` bytes it is ended.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of the server that starts git"
    )]
    async fn run(&self, arguments: &[&str], max: usize) -> Result<(bool, Output), ApiError> {
        let lost = |error: std::io::Error| ApiError::Internal(error.into());
        let mut child = tokio::process::Command::new("git")
            .current_dir(&self.path)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_CEILING_DIRECTORIES", parent(&self.path))
            .args(["-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null"])
            .args(["-c", "core.fsmonitor=false", "-c", "core.quotePath=false"])
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(lost)?;
        let mut bytes = Vec::new();
        let mut out = child.stdout.take();
        let work = async {
            if let Some(out) = &mut out {
                let mut bounded = out.take(max as u64 + 1);
                bounded.read_to_end(&mut bytes).await?;
            }
            if bytes.len() > max {
                return Ok(None);
            }
            child.wait().await.map(Some)
        };
        let ended = tokio::time::timeout(GIT_MAX, work).await;
        let Ok(ended) = ended else {
            let slow = format!("git did not end within {} s", GIT_MAX.as_secs());
            return Err(ApiError::Unavailable(code::BUSY, slow));
        };
        let cut = bytes.len() > max;
        bytes.truncate(max);
        let well = ended.map_err(lost)?.is_some_and(|status| status.success());
        Ok((well, Output { bytes, cut }))
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// A path as it stands in a tree: relative, without `.` and `..`.
fn checked(path: &str) -> Result<&str, ApiError> {
    let plain = !path.is_empty()
        && path.len() <= PATH_MAX_BYTES
        && !path.contains('\0')
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
    if plain {
        Ok(path)
    } else {
        Err(ApiError::no("file", path))
    }
}

fn commit(line: &str) -> Option<Commit> {
    let mut fields = line.split('\0');
    let id = fields.next()?.to_owned();
    let at_s: i64 = fields.next()?.parse().ok()?;
    let subject = fields.next()?.to_owned();
    let stage = fields.next().filter(|stage| !stage.is_empty());
    let attempt = fields.next().and_then(|attempt| attempt.parse().ok());
    Some(Commit {
        id,
        at: Time::from_ms(at_s.saturating_mul(1000)),
        subject,
        stage: stage.map(str::to_owned),
        attempt,
    })
}

/// `<mode> <type> <object> <size>\t<path>`; a path that is no UTF-8 cannot be asked for and is left out.
fn entry(record: &[u8]) -> Option<FileEntry> {
    let record = std::str::from_utf8(record).ok()?;
    let (about, path) = record.split_once('\t')?;
    let mut fields = about.split_ascii_whitespace();
    let mode = fields.next()?;
    let kind = fields.next()?;
    let size = fields.nth(1)?.parse().ok()?;
    (kind == "blob").then(|| FileEntry {
        path: path.to_owned(),
        bytes: size,
        executable: mode == "100755",
    })
}

/// `<added>\t<removed>\t<path>`, with `-` for bytes that are no text.
fn changed(record: &[u8]) -> Option<ChangedFile> {
    let record = String::from_utf8_lossy(record);
    let mut fields = record.splitn(3, '\t');
    let (added, removed) = (fields.next()?, fields.next()?);
    Some(ChangedFile {
        path: fields.next()?.to_owned(),
        added: added.parse().ok(),
        removed: removed.parse().ok(),
    })
}
