//! Backups of an instance: one archive with a consistent copy of the database, SQLite's file or the tables of
//! PostgreSQL, and every file of the data directory, and the way back.
//!
//! The daemon makes the copy of the database (`POST /snapshots`); [`write`] and [`restore`] are for the command
//! line, which owns the directory. A restored directory is fenced ([`FENCE`]) until somebody confirms that the
//! instance it was copied from is gone. Deployments go on while a backup is made: their private directories are
//! copied as they are at that moment.

use agentwright_api::{Snapshot, StoreKind, Time};
use agentwright_store::OpenError;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Builder, EntryType, Header};

/// While this file is in the data directory nothing is worked, fired or told.
pub const FENCE: &str = "restored.fence";
/// How the line of the fence begins that says which database was filled.
const STORE: &str = "store: ";
/// The first entry of every backup.
const MANIFEST: &str = "backup.json";
/// The form of the archive.
const FORMAT: u32 = 1;
/// The longest manifest that is read, in bytes.
const MANIFEST_MAX: u64 = 64 * 1024;
/// The database, in the archive and in the data directory.
const DATABASE: &str = "agentwright.db";
/// The tables of PostgreSQL, in the archive.
const TABLES: &str = "agentwright.tables";
/// What a data directory has beside what is kept: belongs to a running daemon, can be made again, or is a copy.
const NOT_KEPT: &[&str] = &[
    DATABASE,
    TABLES,
    "agentwright.db-wal",
    "agentwright.db-shm",
    "agentwright.db.lock",
    "daemon.sock",
    "daemon.lock",
    "daemon.json",
    "daemon.log",
    "daemon.start.log",
    "sandboxes",
    FENCE,
];
/// How snapshots begin; see [`crate::daemon`].
pub(crate) const SNAPSHOT: &str = "snapshot-";

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the archive.
    pub format: u32,
    /// The program that made it.
    pub version: String,
    /// When the copy of the database was made.
    pub made_at: Time,
    /// What the tables were in.
    #[serde(default)]
    pub store: StoreKind,
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The system refused something.
    #[error("cannot {attempted}: {source}")]
    Io {
        /// What was tried, on what.
        attempted: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// There is something already.
    #[error("{0} is there already: name a file that is not, or move it away")]
    There(PathBuf),
    /// The place is not empty.
    #[error(
        "{0} is not empty: a backup is restored into a new or empty directory (--data DIR); move the old one away"
    )]
    NotEmpty(PathBuf),
    /// It is no backup of ours.
    #[error("{file} is no backup that this version can restore: {why}; nothing was changed")]
    NotABackup {
        /// The archive.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is meant for another kind of database.
    #[error("{file} cannot be restored there: {why}; nothing was changed")]
    WrongStore {
        /// The archive.
        file: PathBuf,
        /// What to do.
        why: &'static str,
    },
    /// The database did not take the tables.
    #[error(transparent)]
    Tables(#[from] OpenError),
}

fn io(attempted: impl Into<String>) -> impl FnOnce(io::Error) -> BackupError {
    let attempted = attempted.into();
    move |source| BackupError::Io { attempted, source }
}

/// Writes the archive, whole or not at all, for its owner only, with the copy of the database that the daemon made.
///
/// # Errors
/// [`BackupError`]; no file is left.
pub fn write(data: &Path, snapshot: &Snapshot, to: &Path) -> Result<Manifest, BackupError> {
    if to.exists() {
        return Err(BackupError::There(to.to_owned()));
    }
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: snapshot.made_at,
        store: snapshot.store,
    };
    let copy = Path::new(&snapshot.file);
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let done = archive(data, copy, &manifest, &part)
        .and_then(|()| std::fs::rename(&part, to))
        .map_err(io(format!("write the backup {}", to.display())));
    if done.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    done.map(|()| manifest)
}

/// Where the copy of the database is in an archive.
fn database(store: StoreKind) -> &'static str {
    match store {
        StoreKind::Sqlite => DATABASE,
        StoreKind::Postgres => TABLES,
    }
}

fn archive(data: &Path, copy: &Path, manifest: &Manifest, to: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    let packed = GzEncoder::new(BufWriter::new(file), Compression::fast());
    let mut tar = Builder::new(packed);
    tar.follow_symlinks(false);
    let text = serde_json::to_vec_pretty(manifest).map_err(io::Error::other)?;
    let mut header = Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    tar.append_data(&mut header, MANIFEST, text.as_slice())?;
    append(&mut tar, copy, Path::new(database(manifest.store)))?;
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if NOT_KEPT.contains(&text.as_ref()) || text.starts_with(SNAPSHOT) {
            continue;
        }
        append(&mut tar, &entry.path(), Path::new(&name))?;
    }
    let file = tar.into_inner()?.finish()?.into_inner();
    file.map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// One file, link or directory with all that is in it. What vanishes meanwhile is left out; sockets and pipes
/// cannot be kept.
fn append<W: Write>(tar: &mut Builder<W>, from: &Path, name: &Path) -> io::Result<()> {
    let about = match from.symlink_metadata() {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut header = Header::new_gnu();
    header.set_metadata(&about);
    if about.is_dir() {
        tar.append_data(&mut header, name, io::empty())?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            append(tar, &entry.path(), &name.join(entry.file_name()))?;
        }
    } else if about.is_symlink() {
        header.set_size(0);
        tar.append_link(&mut header, name, std::fs::read_link(from)?)?;
    } else if about.is_file() {
        // Exactly as many bytes as the header says, whatever happens to the file while it is read.
        let bytes = File::open(from)?
            .take(about.len())
            .chain(io::repeat(0))
            .take(about.len());
        tar.append_data(&mut header, name, bytes)?;
    }
    Ok(())
}

/// Writes a backup into a new or empty directory, fenced. `store` is the setting of that name: tables that were in
/// PostgreSQL go into the empty database that it names.
///
/// # Errors
/// [`BackupError`]; directory and database are as they were.
pub async fn restore(file: &Path, data: &Path, store: &str) -> Result<Manifest, BackupError> {
    // Without a slash at the end, which would lead into it.
    let data: &Path = &data.components().collect::<PathBuf>();
    let empty = std::fs::read_dir(data).map_or(!data.exists(), |mut all| all.next().is_none());
    if !empty {
        return Err(BackupError::NotEmpty(data.to_owned()));
    }
    let mut beside = data.as_os_str().to_owned();
    beside.push(".restoring");
    let beside = PathBuf::from(beside);
    if beside.exists() {
        return Err(BackupError::There(beside));
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&beside)
        .map_err(io(format!("make {}", beside.display())))?;
    let done = restored(file, data, &beside, store).await;
    if done.is_err() {
        let _ = std::fs::remove_dir_all(&beside);
    }
    done
}

async fn restored(
    file: &Path,
    data: &Path,
    beside: &Path,
    store: &str,
) -> Result<Manifest, BackupError> {
    let manifest = unpack(file, beside)?;
    let wrong = |why| BackupError::WrongStore {
        file: file.to_owned(),
        why,
    };
    match (manifest.store, store) {
        (StoreKind::Sqlite, "sqlite") => {}
        (StoreKind::Sqlite, _) => return Err(wrong("its tables are SQLite's (--store sqlite)")),
        (StoreKind::Postgres, "sqlite") => {
            return Err(wrong(
                "its tables were in PostgreSQL; name an empty database (--store postgres://…)",
            ));
        }
        (StoreKind::Postgres, _) => {}
    }
    let place = format!("put the backup in its place, {}", data.display());
    fence(beside, &named(store)?).map_err(io(place.clone()))?;
    let was_there = data.exists();
    match std::fs::remove_dir(data) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => std::fs::rename(beside, data),
    }
    .map_err(io(place))?;
    // Last, for it is what cannot be taken back.
    let tables = data.join(TABLES);
    if manifest.store == StoreKind::Postgres
        && let Err(error) = agentwright_store::load_postgres(store, &tables).await
    {
        let _ = std::fs::rename(data, beside);
        if was_there {
            let _ = std::fs::create_dir(data);
        }
        return Err(error.into());
    }
    let _ = std::fs::remove_file(&tables);
    Ok(manifest)
}

/// A store as a fence remembers it: without a password.
fn named(store: &str) -> Result<String, OpenError> {
    match store {
        "sqlite" => Ok(store.to_owned()),
        url => agentwright_store::postgres_place(url),
    }
}

/// Refuses a restored directory whose configuration names another database than the one that was filled: its
/// own old one perhaps, which another instance works on. And one whose restore was cut short before the tables were in
/// their database.
///
/// # Errors
/// [`OpenError::Elsewhere`], [`OpenError::Corrupt`].
pub fn restored_there(data: &Path, store: &str) -> Result<(), OpenError> {
    let Ok(text) = std::fs::read_to_string(data.join(FENCE)) else {
        return Ok(());
    };
    let Some(restored) = text.lines().find_map(|line| line.strip_prefix(STORE)) else {
        return Ok(());
    };
    if data.join(TABLES).exists() {
        return Err(OpenError::Corrupt {
            place: data.display().to_string(),
            detail: "its restore was cut short: remove it, drop the schema agentwright of the new database where there is one, and restore again".to_owned(),
        });
    }
    let place = named(store)?;
    if place == restored {
        return Ok(());
    }
    let restored = restored.to_owned();
    Err(OpenError::Elsewhere { place, restored })
}

fn fence(dir: &Path, store: &str) -> io::Result<()> {
    let mut file = File::create(dir.join(FENCE))?;
    writeln!(
        file,
        "Restored from a backup. agentwright restore --confirm takes this away.\n{STORE}{store}"
    )?;
    file.sync_all()
}

fn unpack(file: &Path, to: &Path) -> Result<Manifest, BackupError> {
    let not = |why: &str| BackupError::NotABackup {
        file: file.to_owned(),
        why: why.to_owned(),
    };
    let broken = |error: io::Error| not(&format!("it cannot be read ({error})"));
    let opened = File::open(file).map_err(io(format!("open {}", file.display())))?;
    let mut tar = Archive::new(GzDecoder::new(BufReader::new(opened)));
    tar.set_preserve_permissions(true);
    tar.set_preserve_mtime(true);
    let mut entries = tar.entries().map_err(broken)?;
    let mut first = match entries.next() {
        Some(entry) => entry.map_err(broken)?,
        None => return Err(not("it is empty")),
    };
    if first.path().map_err(broken)?.as_ref() != Path::new(MANIFEST) {
        return Err(not("it does not begin with its manifest"));
    }
    let mut text = String::new();
    (&mut first)
        .take(MANIFEST_MAX)
        .read_to_string(&mut text)
        .map_err(broken)?;
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| not(&format!("its manifest: {error}")))?;
    if manifest.format != FORMAT {
        let why = format!(
            "its form is {}, this version knows {FORMAT}",
            manifest.format
        );
        return Err(not(&why));
    }
    let (copy, mut found) = (Path::new(database(manifest.store)), false);
    for entry in entries {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.into_owned();
        let inside = name
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let kind = entry.header().entry_type();
        let known = [EntryType::Regular, EntryType::Directory, EntryType::Symlink].contains(&kind);
        // `unpack_in` does not follow links that lead out.
        if !inside || !known || !entry.unpack_in(to).map_err(broken)? {
            return Err(not(&format!("{} has no place in it", name.display())));
        }
        found |= name == copy;
    }
    if found {
        Ok(manifest)
    } else {
        Err(not("it has no database"))
    }
}

/// Takes the fence away. `false` when there is none.
///
/// # Errors
/// [`BackupError`].
pub fn confirm(data: &Path) -> Result<bool, BackupError> {
    match std::fs::remove_file(data.join(FENCE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io(format!("take the fence of {} away", data.display()))(
            error,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn snapshot(data: &Path, store: StoreKind) -> Snapshot {
        Snapshot {
            file: data.join("snapshot-1").display().to_string(),
            made_at: Time::from_ms(1_000),
            store,
        }
    }

    /// A data directory with a bit of everything.
    fn data(dir: &Path) -> PathBuf {
        let data = dir.join("data");
        std::fs::create_dir_all(data.join("artifacts/ab")).unwrap();
        std::fs::create_dir_all(data.join("deployments/x/state")).unwrap();
        for (name, text) in [
            ("agentwright.db", "live and half written"),
            ("agentwright.db-wal", "log"),
            ("auth.key", "secret"),
            ("artifacts/ab/cd", "bytes"),
            ("deployments/x/run.sh", "#!/bin/sh"),
            ("daemon.lock", "1"),
            ("snapshot-1", "snapshot"),
        ] {
            std::fs::write(data.join(name), text).unwrap();
        }
        let program = data.join("deployments/x/run.sh");
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("run.sh", data.join("deployments/x/start")).unwrap();
        std::os::unix::net::UnixListener::bind(data.join("deployments/x/state/s")).unwrap();
        data
    }

    #[tokio::test]
    async fn what_is_restored_is_what_was_kept_with_the_snapshot_and_a_fence() {
        let dir = tempfile::tempdir().unwrap();
        let (data, file) = (data(dir.path()), dir.path().join("b.tar.gz"));
        let snapshot = snapshot(&data, StoreKind::Sqlite);
        let made = write(&data, &snapshot, &file).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let there = write(&data, &snapshot, &file).unwrap_err();
        assert!(matches!(there, BackupError::There(_)));

        let to = dir.path().join("new");
        let elsewhere = restore(&file, &to, "postgres://x").await.unwrap_err();
        assert!(matches!(elsewhere, BackupError::WrongStore { .. }));
        assert!(!to.exists());
        assert_eq!(restore(&file, &to, "sqlite").await.unwrap(), made);
        let text = |name: &str| std::fs::read_to_string(to.join(name)).unwrap();
        assert_eq!(text("agentwright.db"), "snapshot");
        assert_eq!(text("auth.key"), "secret");
        assert_eq!(text("artifacts/ab/cd"), "bytes");
        assert_eq!(text("deployments/x/start"), "#!/bin/sh");
        let mode = |name: &str| to.join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("deployments/x/run.sh"), mode("")), (0o755, 0o700));
        for gone in [
            "agentwright.db-wal",
            "daemon.lock",
            "snapshot-1",
            "deployments/x/state/s",
        ] {
            assert!(!to.join(gone).exists(), "{gone}");
        }
        let again = restore(&file, &to, "sqlite").await;
        assert!(matches!(again, Err(BackupError::NotEmpty(_))));
        assert!(to.join(FENCE).exists());
        restored_there(&to, "sqlite").unwrap();
        std::fs::write(to.join(TABLES), "half").unwrap();
        let short = restored_there(&to, "sqlite").unwrap_err().to_string();
        assert!(short.contains("cut short"), "{short}");
        assert!(confirm(&to).unwrap() && !confirm(&to).unwrap());
    }

    fn packed(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, text) in entries {
            let mut header = Header::new_old();
            header.set_entry_type(*kind);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if *kind == EntryType::Symlink {
                header.set_link_name(text).unwrap();
                header.set_size(0);
            } else {
                header.set_size(text.len() as u64);
            }
            header.set_mode(0o644);
            header.set_cksum();
            let body = if *kind == EntryType::Symlink {
                ""
            } else {
                text
            };
            tar.append(&header, body.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[tokio::test]
    async fn an_archive_that_is_not_ours_or_leads_out_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = r#"{"format":1,"version":"0","made_at":"2026-01-01T00:00:00Z"}"#;
        let newer = manifest.replace(":1,", ":2,");
        let (file, link) = (EntryType::Regular, EntryType::Symlink);
        let first = (MANIFEST, file, manifest);
        let whole = packed(&[first, (DATABASE, file, "x")]);
        let archives = [
            b"hello".to_vec(),
            packed(&[]),
            packed(&[(DATABASE, file, "x")]),
            packed(&[(MANIFEST, file, "{}")]),
            packed(&[(MANIFEST, file, &newer), (DATABASE, file, "x")]),
            packed(&[first]),
            packed(&[first, ("../out", file, "x")]),
            packed(&[first, ("/tmp/out", file, "x")]),
            packed(&[first, ("a", link, "../.."), ("a/out", file, "x")]),
            packed(&[first, ("a", EntryType::Fifo, "")]),
            whole[..whole.len() / 2].to_vec(),
        ];
        for (at, bytes) in archives.iter().enumerate() {
            let (from, to) = (dir.path().join("b"), dir.path().join("inner/new"));
            std::fs::write(&from, bytes).unwrap();
            let error = restore(&from, &to, "sqlite").await.unwrap_err();
            assert!(
                matches!(error, BackupError::NotABackup { .. }),
                "{at}: {error}"
            );
            assert!(!to.exists(), "{at}");
            assert!(!dir.path().join("out").exists() && !dir.path().join("inner/out").exists());
        }
        std::fs::write(dir.path().join("b"), whole).unwrap();
        let to = dir.path().join("inner/new");
        restore(&dir.path().join("b"), &to, "sqlite").await.unwrap();
    }
}
