//! The files of the code: read once without following links, checked, and copied. The copy is what is tested.

use crate::beneath::{Kind, NewFile, Root};
use crate::outcome::Stop;
use agentwright_domain::digest::Digest;
use agentwright_proof::{Tree, TreeEntry, of_bytes};
use serde::Serialize;
use std::path::Path;

/// The largest file of code, in bytes.
pub(crate) const FILE_MAX: u64 = 5 << 20;
/// The largest code altogether, in bytes.
pub(crate) const TOTAL_MAX: u64 = 50 << 20;
/// The most files.
pub(crate) const FILES_MAX: usize = 2_000;
/// Kept beside the code by git; never part of it.
const GIT: &str = ".git";
/// How much of a file is looked at for its `#!` line.
const FIRST_LINE_MAX: usize = 256;

/// What checks a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Language {
    Python,
    Sh,
    Bash,
    Json,
    Toml,
    Dockerfile,
    Other,
}

/// One file of the code.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CodeFile {
    pub(crate) path: String,
    pub(crate) executable: bool,
    pub(crate) digest: Digest,
    pub(crate) bytes: usize,
    pub(crate) language: Language,
    #[serde(skip)]
    pub(crate) content: Vec<u8>,
}

/// Reads all files below a directory, sorted by path.
pub(crate) fn read(app: &Path) -> Result<Vec<CodeFile>, Stop> {
    let root = Root::open(app, "").map_err(Stop::Fault)?;
    let mut files = Vec::new();
    let mut total = 0;
    for entry in root.walk().map_err(Stop::Code)? {
        if entry.path == GIT || entry.path.starts_with(".git/") {
            continue;
        }
        match entry.kind {
            Kind::Directory => continue,
            Kind::File => {}
            kind => {
                return Err(Stop::Code(format!(
                    "{} is {}; only regular files are deployed",
                    entry.path,
                    kind.word()
                )));
            }
        }
        if entry.size > FILE_MAX {
            return Err(Stop::Code(format!(
                "{} has {} bytes; at most {FILE_MAX} are allowed",
                entry.path, entry.size
            )));
        }
        total += entry.size;
        if total > TOTAL_MAX || files.len() >= FILES_MAX {
            return Err(Stop::Code(format!(
                "the code has more than {FILES_MAX} files or {TOTAL_MAX} bytes"
            )));
        }
        let content = root.read(&entry.path, FILE_MAX).map_err(Stop::Code)?;
        files.push(CodeFile {
            executable: entry.mode & 0o100 != 0,
            digest: of_bytes(&content),
            bytes: content.len(),
            language: language(&entry.path, &content),
            path: entry.path,
            content,
        });
    }
    Ok(files)
}

/// The digest of the tree, as `proof` names it.
pub(crate) fn digest_of(files: &[CodeFile]) -> Result<Digest, Stop> {
    let entry = |file: &CodeFile| TreeEntry {
        path: file.path.clone(),
        executable: file.executable,
        content: file.digest.clone(),
        bytes: file.bytes as u64,
    };
    Tree::new(files.iter().map(entry).collect())
        .digest()
        .map_err(|error| Stop::Fault(error.to_string()))
}

/// Writes the files into a new directory, with ordinary modes.
pub(crate) fn copy(files: &[CodeFile], to: &Path) -> Result<(), Stop> {
    std::fs::create_dir_all(to)
        .map_err(|error| Stop::Fault(format!("cannot make {}: {error}", to.display())))?;
    let root = Root::open(to, "/app").map_err(Stop::Fault)?;
    for file in files {
        let mode = if file.executable { 0o755 } else { 0o644 };
        let new = NewFile {
            path: &file.path,
            content: &file.content,
            mode,
            changed_at: None,
        };
        root.write(&new).map_err(Stop::Fault)?;
    }
    Ok(())
}

fn language(path: &str, content: &[u8]) -> Language {
    let name = path.rsplit('/').next().unwrap_or(path);
    if name == "Dockerfile" || name == "Containerfile" || name.starts_with("Dockerfile.") {
        return Language::Dockerfile;
    }
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("py") => Language::Python,
        Some("json") => Language::Json,
        Some("toml") => Language::Toml,
        Some("bash") => Language::Bash,
        Some("sh") => match shebang(content) {
            Language::Bash => Language::Bash,
            _ => Language::Sh,
        },
        _ => shebang(content),
    }
}

fn shebang(content: &[u8]) -> Language {
    let start = &content[..content.len().min(FIRST_LINE_MAX)];
    let line = String::from_utf8_lossy(start);
    let Some(line) = line.strip_prefix("#!").and_then(|line| line.lines().next()) else {
        return Language::Other;
    };
    let program = line
        .split_whitespace()
        .filter_map(|word| word.rsplit('/').next())
        .find(|word| *word != "env" && !word.starts_with('-'));
    match program {
        Some("bash") => Language::Bash,
        Some("sh" | "dash") => Language::Sh,
        Some(program) if program.starts_with("python") => Language::Python,
        _ => Language::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn files_are_read_with_language_and_copied_with_plain_modes() {
        let app = tempfile::tempdir().unwrap();
        let write =
            |name: &str, content: &str| std::fs::write(app.path().join(name), content).unwrap();
        std::fs::create_dir_all(app.path().join(".git")).unwrap();
        write(".git/config", "x");
        write("main.py", "pass");
        write("run", "#!/usr/bin/env -S bash -e\n");
        write("tool.sh", "#!/bin/bash\n");
        write("plain.sh", "true\n");
        write("data.json", "{}");
        write("Dockerfile", "FROM x");
        write("read.me", "hi");
        std::fs::set_permissions(
            app.path().join("run"),
            std::fs::Permissions::from_mode(0o4777),
        )
        .unwrap();
        let files = read(app.path()).unwrap();
        let found: Vec<(&str, Language)> = files
            .iter()
            .map(|f| (f.path.as_str(), f.language))
            .collect();
        assert_eq!(
            found,
            [
                ("Dockerfile", Language::Dockerfile),
                ("data.json", Language::Json),
                ("main.py", Language::Python),
                ("plain.sh", Language::Sh),
                ("read.me", Language::Other),
                ("run", Language::Bash),
                ("tool.sh", Language::Bash),
            ]
        );
        let to = app.path().join("copy");
        copy(&files, &to).unwrap();
        let mode = |name: &str| {
            std::fs::metadata(to.join(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777
        };
        assert_eq!((mode("run"), mode("main.py")), (0o755, 0o644));
        assert_eq!(digest_of(&read(&to).unwrap()), digest_of(&files));
    }

    #[test]
    fn links_special_files_and_large_files_are_no_code() {
        let app = tempfile::tempdir().unwrap();
        symlink("/etc/passwd", app.path().join("link")).unwrap();
        assert!(matches!(read(app.path()), Err(Stop::Code(why)) if why.contains("symbolic link")));
        std::fs::remove_file(app.path().join("link")).unwrap();
        std::fs::File::create(app.path().join("big"))
            .unwrap()
            .set_len(FILE_MAX + 1)
            .unwrap();
        assert!(matches!(read(app.path()), Err(Stop::Code(why)) if why.contains("at most")));
    }

    #[test]
    fn more_files_than_allowed_are_refused() {
        let app = tempfile::tempdir().unwrap();
        for i in 0..=FILES_MAX {
            std::fs::write(app.path().join(i.to_string()), "").unwrap();
        }
        assert!(matches!(read(app.path()), Err(Stop::Code(why)) if why.contains("more than")));
    }
}
