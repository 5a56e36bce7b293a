//! Reading and copying a tree of files: what `proof::Tree` takes digests of. Blocking; async callers go
//! through `spawn_blocking`.

use agentwright_proof::{Tree, TreeEntry, of_bytes};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Most files in a tree of code.
pub const FILES_MAX: usize = 2_000;
/// Most bytes in a tree of code.
pub const BYTES_MAX: u64 = 32 << 20;
/// Deepest nesting in a tree of code.
pub const DEPTH_MAX: usize = 16;

/// Why a tree cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// It holds something else than plain files and directories, or too much.
    #[error("{path}: {why}")]
    Refused {
        /// Below the root.
        path: String,
        /// What it holds.
        why: String,
    },
    /// The system refused to read or write it.
    #[error("cannot {attempted} {}", path.display())]
    Io {
        /// What was tried.
        attempted: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Attaches what was tried to an I/O error.
pub fn io_error(attempted: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TreeError {
    let path = path.to_owned();
    move |source| TreeError::Io {
        attempted,
        path,
        source,
    }
}

/// Reads a tree without the top-level names in `without`. Links and special files are refused, so
/// that a digest never depends on anything outside the tree.
///
/// # Errors
/// [`TreeError`]; also when the tree is larger than the limits of this module.
pub fn read(root: &Path, without: &[&str]) -> Result<Tree, TreeError> {
    let mut entries = Vec::new();
    let mut total = 0;
    walk(root, without, &mut |relative, path, meta| {
        let bytes = fs::read(path).map_err(io_error("read", path))?;
        total += bytes.len() as u64;
        entries.push(TreeEntry {
            path: relative.to_owned(),
            executable: meta.permissions().mode() & 0o100 != 0,
            content: of_bytes(&bytes),
            bytes: bytes.len() as u64,
        });
        if entries.len() > FILES_MAX || total > BYTES_MAX {
            return Err(TreeError::Refused {
                path: relative.to_owned(),
                why: format!("the tree has more than {FILES_MAX} files or {BYTES_MAX} bytes"),
            });
        }
        Ok(())
    })?;
    Ok(Tree::new(entries))
}

/// A file with what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFile {
    /// Below the root.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Reads a tree with its contents, as [`read`], in the order of the paths.
///
/// # Errors
/// As [`read`].
pub fn files(root: &Path, without: &[&str]) -> Result<Vec<TreeFile>, TreeError> {
    let (mut files, mut total) = (Vec::new(), 0);
    walk(root, without, &mut |relative, path, meta| {
        total += meta.len();
        if files.len() >= FILES_MAX || total > BYTES_MAX {
            return Err(TreeError::Refused {
                path: relative.to_owned(),
                why: format!("the tree has more than {FILES_MAX} files or {BYTES_MAX} bytes"),
            });
        }
        files.push(TreeFile {
            path: relative.to_owned(),
            mode: meta.permissions().mode() & 0o7777,
            bytes: fs::read(path).map_err(io_error("read", path))?,
        });
        Ok(())
    })?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Copies a tree into a directory that does not exist yet, and makes it durable. Only the execute bit
/// of the mode is taken over.
///
/// # Errors
/// As [`read`].
pub fn copy(from: &Path, without: &[&str], to: &Path) -> Result<(), TreeError> {
    fs::create_dir_all(to).map_err(io_error("make the directory", to))?;
    walk(from, without, &mut |relative, path, meta| {
        let target = to.join(relative);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(io_error("make the directory", parent))?;
        }
        let bytes = fs::read(path).map_err(io_error("read", path))?;
        let executable = meta.permissions().mode() & 0o100 != 0;
        write_file(&target, &bytes, executable)
    })?;
    sync_directories(to)
}

/// Writes one file and makes it durable.
///
/// # Errors
/// [`TreeError::Io`].
pub fn write_file(path: &Path, bytes: &[u8], executable: bool) -> Result<(), TreeError> {
    let mode = if executable { 0o755 } else { 0o644 };
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(io_error("write", path))?;
    file.write_all(bytes)
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .map_err(io_error("write", path))
}

/// Replaces a file in one step: readers see the old bytes or the new ones, also after a crash.
///
/// # Errors
/// [`TreeError::Io`].
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), TreeError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(io_error("make the directory", parent))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    write_file(&new, bytes, false)?;
    fs::rename(&new, path).map_err(io_error("put in place", path))?;
    sync(parent)
}

/// Removes a directory and all below it; one that is not there is fine.
///
/// # Errors
/// [`TreeError::Io`].
pub fn remove_all(path: &Path) -> Result<(), TreeError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Makes a directory's entries durable.
pub(crate) fn sync(directory: &Path) -> Result<(), TreeError> {
    fs::File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(io_error("make durable", directory))
}

fn sync_directories(root: &Path) -> Result<(), TreeError> {
    for entry in fs::read_dir(root).map_err(io_error("read", root))? {
        let path = entry.map_err(io_error("read", root))?.path();
        if path.is_dir() {
            sync_directories(&path)?;
        }
    }
    sync(root)
}

/// Called for each regular file: path below the root, path, metadata.
type Visit<'a> = dyn FnMut(&str, &Path, &fs::Metadata) -> Result<(), TreeError> + 'a;

fn walk(root: &Path, without: &[&str], visit: &mut Visit<'_>) -> Result<(), TreeError> {
    let mut open = vec![(root.to_owned(), String::new(), 0)];
    while let Some((directory, prefix, depth)) = open.pop() {
        for entry in fs::read_dir(&directory).map_err(io_error("read", &directory))? {
            let entry = entry.map_err(io_error("read", &directory))?;
            let name = entry.file_name();
            let refused = |why: &str| TreeError::Refused {
                path: format!("{prefix}{}", name.to_string_lossy()),
                why: why.to_owned(),
            };
            let Some(text) = name.to_str() else {
                return Err(refused("its name is not UTF-8"));
            };
            if depth == 0 && without.contains(&text) {
                continue;
            }
            let relative = format!("{prefix}{text}");
            let path = entry.path();
            let meta = fs::symlink_metadata(&path).map_err(io_error("look at", &path))?;
            if meta.is_dir() {
                if depth + 1 >= DEPTH_MAX {
                    return Err(refused("it lies too deep"));
                }
                open.push((path, format!("{relative}/"), depth + 1));
            } else if meta.is_file() {
                visit(&relative, &path, &meta)?;
            } else {
                return Err(refused("it is neither a plain file nor a directory"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn sample() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("lib/deep")).unwrap();
        fs::create_dir_all(dir.path().join(".git")).unwrap();
        write_file(&dir.path().join("main.py"), b"print(1)\n", true).unwrap();
        write_file(&dir.path().join("lib/deep/a.py"), b"x = 1\n", false).unwrap();
        write_file(&dir.path().join(".git/HEAD"), b"ref\n", false).unwrap();
        dir
    }

    #[test]
    fn a_copy_of_a_tree_has_the_same_digest_and_leaves_out_what_was_asked() {
        let dir = sample();
        let to = tempfile::tempdir().unwrap();
        let copy_at = to.path().join("app");
        copy(dir.path(), &[".git"], &copy_at).unwrap();
        let one = read(dir.path(), &[".git"]).unwrap();
        let two = read(&copy_at, &[]).unwrap();
        assert_eq!(one.digest().unwrap(), two.digest().unwrap());
        assert_eq!(two.entries().len(), 2);
        assert!(
            two.entries()
                .iter()
                .any(|e| e.path == "main.py" && e.executable)
        );
    }

    #[test]
    fn links_and_special_files_are_refused() {
        let dir = sample();
        symlink("/etc/passwd", dir.path().join("lib/link")).unwrap();
        let error = read(dir.path(), &[".git"]).unwrap_err();
        assert!(error.to_string().contains("lib/link"), "{error}");
    }

    #[test]
    fn a_tree_beyond_the_limits_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut path = dir.path().to_owned();
        for _ in 0..=DEPTH_MAX {
            path.push("d");
        }
        fs::create_dir_all(&path).unwrap();
        assert!(
            read(dir.path(), &[])
                .unwrap_err()
                .to_string()
                .contains("too deep")
        );

        let dir = tempfile::tempdir().unwrap();
        for i in 0..=FILES_MAX {
            fs::write(dir.path().join(i.to_string()), b"").unwrap();
        }
        assert!(
            read(dir.path(), &[])
                .unwrap_err()
                .to_string()
                .contains("more than")
        );
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        remove_all(&dir.path().join("nothing")).unwrap();
    }
}
