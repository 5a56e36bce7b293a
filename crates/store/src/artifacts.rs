//! Big bytes, named by their digest, in a directory beside the tables.
//!
//! `<dir>/<two digits>/<62 digits>`; written beside, fsynced, renamed, the directory fsynced. Past
//! the quota the oldest go, but never those that a live deployment's build or an open run names.

use crate::Store;
use crate::error::{Error, OpenError};
use agentwright_domain::digest::Digest;
use agentwright_domain::evidence::TestResult;
use sha2::Digest as _;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// How many bytes of artifacts are kept, unless configured: 5 GB.
pub const ARTIFACTS_QUOTA_BYTES: u64 = 5_000_000_000;
/// The largest artifact: 256 MiB.
pub const ARTIFACT_MAX_BYTES: usize = 256 << 20;

crate::db::statements! {
    PROTECTED = "finding artifacts that must stay":
        "SELECT DISTINCT a.digest FROM artifacts AS a
         JOIN runs AS r ON r.organization_id = a.organization_id AND r.id = a.run_id
         WHERE r.ended_at_ms IS NULL
         UNION
         SELECT DISTINCT a.digest FROM artifacts AS a
         JOIN versions AS v ON v.organization_id = a.organization_id AND v.build_id = a.run_id
         JOIN deployments AS d ON d.organization_id = v.organization_id AND d.name = v.name";
    RESULTS_OF_OPEN = "finding evidence that must stay":
        "SELECT t.result FROM test_results AS t
         JOIN runs AS r ON r.organization_id = t.organization_id AND r.id = t.run_id
         WHERE r.ended_at_ms IS NULL
         UNION ALL
         SELECT t.result FROM test_results AS t
         JOIN versions AS v ON v.organization_id = t.organization_id AND v.build_id = t.run_id
         JOIN deployments AS d ON d.organization_id = v.organization_id AND d.name = v.name";
}

/// The directory.
pub(crate) struct Artifacts {
    dir: PathBuf,
    quota: u64,
    /// Bytes kept; exact at open, kept up to date after.
    kept: AtomicU64,
    /// Numbers the temporary files of this process.
    next: AtomicU64,
}

impl Artifacts {
    /// Opens the directory, clears what a crash left half written, and counts.
    pub(crate) fn open(dir: PathBuf, quota: u64) -> Result<Self, OpenError> {
        let place = dir.display().to_string();
        let of = |error: std::io::Error| crate::open::of_io(&place, &error);
        fs::create_dir_all(dir.join("tmp")).map_err(of)?;
        for entry in fs::read_dir(dir.join("tmp")).map_err(of)? {
            fs::remove_file(entry.map_err(of)?.path()).map_err(of)?;
        }
        let kept = files(&dir).map_err(of)?.iter().map(|file| file.bytes).sum();
        Ok(Self {
            dir,
            quota,
            kept: AtomicU64::new(kept),
            next: AtomicU64::new(0),
        })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let (shelf, rest) = digest.hex().split_at(2);
        self.dir.join(shelf).join(rest)
    }

    /// Writes beside, fsyncs, renames. Answers whether it is new.
    fn write(&self, digest: &Digest, bytes: &[u8]) -> std::io::Result<bool> {
        let path = self.path(digest);
        if touched(&path, bytes.len() as u64) {
            return Ok(false);
        }
        let shelf = path.parent().unwrap_or(&self.dir);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let tmp = self.dir.join("tmp").join(name);
        let done = (|| {
            let mut file = File::create(&tmp)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            if !shelf.is_dir() {
                fs::create_dir_all(shelf)?;
                File::open(&self.dir)?.sync_all()?;
            }
            fs::rename(&tmp, &path)?;
            File::open(shelf)?.sync_all()
        })();
        if done.is_err() {
            // Invariant: nothing half written stays under a digest.
            let _ = fs::remove_file(&tmp);
        }
        done.map(|()| true)
    }
}

struct Kept {
    path: PathBuf,
    digest: Option<Digest>,
    bytes: u64,
    used: SystemTime,
}

/// Whether that many bytes are there. Makes them the newest: the row that will name them is not
/// written yet, and until then only their age protects them from the quota.
fn touched(path: &Path, bytes: u64) -> bool {
    let Ok(there) = File::options().append(true).open(path) else {
        return false;
    };
    let whole = there.metadata().is_ok_and(|about| about.len() == bytes);
    // A file that goes away in between cannot be touched to any avail: it is written again.
    whole && there.set_modified(now()).is_ok() && path.exists()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the age of a file, by the file system's clock"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn files(dir: &Path) -> std::io::Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for shelf in fs::read_dir(dir)? {
        let shelf = shelf?;
        if shelf.file_name() == "tmp" || !shelf.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(shelf.path())? {
            let file = file?;
            let about = match file.metadata() {
                // Evicted by somebody else meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                about => about?,
            };
            let hex = format!(
                "sha256:{}{}",
                shelf.file_name().to_string_lossy(),
                file.file_name().to_string_lossy()
            );
            kept.push(Kept {
                path: file.path(),
                digest: Digest::parse(&hex).ok(),
                bytes: about.len(),
                used: about.modified()?,
            });
        }
    }
    Ok(kept)
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(sha2::Sha256::digest(bytes).into())
}

fn io_error(doing: &'static str, error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::Full { doing },
        _ => Error::Unavailable {
            doing,
            detail: error.to_string(),
        },
    }
}

impl Store {
    /// Keeps bytes; durable when it returns. Keeping the same bytes again costs nothing.
    pub async fn put_artifact(&self, bytes: Vec<u8>) -> Result<(Digest, u64), Error> {
        let doing = "keeping an artifact";
        if bytes.len() > ARTIFACT_MAX_BYTES {
            let detail = format!("{} bytes, {ARTIFACT_MAX_BYTES} at most", bytes.len());
            return Err(Error::Refused { doing, detail });
        }
        let store = self.clone();
        let size = bytes.len() as u64;
        let written = tokio::task::spawn_blocking(move || {
            let digest = digest_of(&bytes);
            let fresh = store.inner.artifacts.write(&digest, &bytes)?;
            Ok::<_, std::io::Error>((digest, fresh))
        })
        .await
        .map_err(|_| Error::Closed)?;
        let (digest, fresh) = written.map_err(|error| io_error(doing, &error))?;
        if fresh {
            let kept = &self.inner.artifacts.kept;
            let total = kept.fetch_add(size, Ordering::Relaxed) + size;
            if total > self.inner.artifacts.quota {
                self.evict(&digest).await?;
            }
        }
        Ok((digest, size))
    }

    /// The bytes, unless they were evicted. Damaged bytes are an error, never returned.
    pub async fn artifact(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let doing = "reading an artifact";
        let path = self.artifact_path(digest);
        let bytes = match tokio::fs::read(&path).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(doing, &error)),
        };
        if digest_of(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        let detail = format!("the bytes of {digest} are damaged");
        Err(Error::Corrupt { doing, detail })
    }

    /// Where the bytes are, or would be.
    pub fn artifact_path(&self, digest: &Digest) -> PathBuf {
        self.inner.artifacts.path(digest)
    }

    /// Removes the oldest until the quota holds. `fresh` is not named by any row yet.
    async fn evict(&self, fresh: &Digest) -> Result<(), Error> {
        let mut stay = self.protected().await?;
        stay.insert(fresh.clone());
        let store = self.clone();
        let evicted = tokio::task::spawn_blocking(move || {
            let artifacts = &store.inner.artifacts;
            let mut kept = files(&artifacts.dir)?;
            kept.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
            let mut total: u64 = kept.iter().map(|file| file.bytes).sum();
            for file in kept {
                if total <= artifacts.quota {
                    break;
                }
                if file
                    .digest
                    .as_ref()
                    .is_some_and(|digest| stay.contains(digest))
                {
                    continue;
                }
                match fs::remove_file(&file.path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
                total -= file.bytes;
            }
            artifacts.kept.store(total, Ordering::Relaxed);
            Ok::<_, std::io::Error>(())
        })
        .await
        .map_err(|_| Error::Closed)?;
        evicted.map_err(|error| io_error("evicting artifacts", &error))
    }

    /// The artifacts of open runs and of live deployments.
    async fn protected(&self) -> Result<BTreeSet<Digest>, Error> {
        let mut held = self.inner.db.reader().await?;
        let mut conn = held.conn();
        let mut stay = BTreeSet::new();
        for row in conn.fetch(&PROTECTED, &[]).await? {
            stay.insert(row.parse("digest", |text| Digest::parse(text).ok())?);
        }
        for row in conn.fetch(&RESULTS_OF_OPEN, &[]).await? {
            let result: TestResult = row.json("result")?;
            stay.extend(result.evidence.into_iter().map(|kept| kept.digest));
        }
        Ok(stay)
    }
}
