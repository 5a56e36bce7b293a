//! The key outside the database: 32 random bytes in a file of mode 0600 beside it, as hex.
//!
//! Keys, sessions and login codes are stored as HMACs under it, and the audit trail is chained with it: whoever
//! can only read or write the database can neither use what is stored nor forge it. A database belongs to one
//! such file; another one is refused at open.

use crate::connections::Db;
use crate::db::{Arg, Conn};
use crate::error::{Error, OpenError};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Bytes of the key.
const KEY_BYTES: usize = 32;
/// The row of `meta` that tells whether the file belongs to the database.
const CHECK: &str = "secret_check";

crate::db::statements! {
    KEEP_CHECK = "marking the database with its secret":
        "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
    READ_CHECK = "comparing the secret with the database's":
        "SELECT value FROM meta WHERE key = $1";
}

/// The key.
pub(crate) struct Secret {
    key: [u8; KEY_BYTES],
}

impl Secret {
    /// The one of a database; made where the database is new.
    pub(crate) async fn of(db: &Db, path: &Path) -> Result<Self, OpenError> {
        let secret = Self::open(path)?;
        let held = db.writer().await;
        let mut held =
            held.map_err(|error| crate::open::of_store(&path.display().to_string(), error))?;
        secret.belongs(&mut held.conn(), path).await?;
        Ok(secret)
    }

    /// Reads the file, or makes it where there is none.
    fn open(path: &Path) -> Result<Self, OpenError> {
        let place = path.display().to_string();
        let of = |error: std::io::Error| crate::open::of_io(&place, &error);
        if !path.exists() {
            let random = |bytes| {
                random_hex(bytes).map_err(|error| OpenError::Unreachable {
                    place: "the system's source of randomness".to_owned(),
                    detail: error.to_string(),
                })
            };
            let beside = path.with_extension(random(4)?);
            write_new(&beside, path, &random(KEY_BYTES)?).map_err(of)?;
        }
        let text = std::fs::read_to_string(path).map_err(of)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(of)?;
        let key = unhex(text.trim()).ok_or_else(|| OpenError::Secret {
            place: place.clone(),
            detail: "it does not hold 64 hexadecimal digits",
        })?;
        Ok(Self { key })
    }

    /// Marks a new database with this key; refuses one that was marked with another.
    async fn belongs(&self, conn: &mut Conn<'_>, path: &Path) -> Result<(), OpenError> {
        let check = self.mac("check", &[]);
        let args = [Arg::Text(CHECK), Arg::Text(&check)];
        let kept = async {
            conn.execute(&KEEP_CHECK, &args).await?;
            let rows = conn.fetch(&READ_CHECK, &[Arg::Text(CHECK)]).await?;
            rows.first().map_or(Ok(None), |row| row.opt_text("value"))
        };
        let place = path.display().to_string();
        match kept.await {
            Ok(Some(kept)) if same(kept.as_bytes(), check.as_bytes()) => Ok(()),
            Ok(_) => Err(OpenError::Secret {
                place,
                detail: "the keys and the audit trail of this database were made with another one",
            }),
            Err(error) => Err(crate::open::of_store(&place, error)),
        }
    }

    /// HMAC-SHA-256 (RFC 2104) over a purpose and parts, each with its length before it; hex.
    pub(crate) fn mac(&self, purpose: &str, parts: &[&str]) -> String {
        // Invariant: HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            unreachable!("HMAC refused its key");
        };
        for part in [purpose].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        hex(&mac.finalize().into_bytes())
    }
}

/// Writes it whole. Of two that start at once on one directory the first one's file stays.
fn write_new(beside: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(beside)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    let linked = std::fs::hard_link(beside, path);
    std::fs::remove_file(beside)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// So many random bytes, as hex.
pub(crate) fn random_hex(bytes: usize) -> Result<String, Error> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| Error::Unavailable {
        doing: "drawing random bytes",
        detail: error.to_string(),
    })?;
    Ok(hex(&random))
}

/// Compares in a time that does not tell where the difference is.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn unhex(text: &str) -> Option<[u8; KEY_BYTES]> {
    let mut bytes = [0; KEY_BYTES];
    if text.len() != KEY_BYTES * 2 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_be_moved_between_each_other() {
        let secret = Secret { key: [7; 32] };
        let mac = secret.mac("a", &["bc", "d"]);
        assert_eq!(mac, secret.mac("a", &["bc", "d"]));
        for parts in [["b", "cd"], ["bcd", ""], ["d", "bc"]] {
            assert_ne!(mac, secret.mac("a", &parts));
        }
        assert_ne!(mac, secret.mac("ab", &["c", "d"]));
        assert_ne!(mac, Secret { key: [8; 32] }.mac("a", &["bc", "d"]));
    }

    #[test]
    fn a_secret_is_made_once_closed_to_others_and_refused_when_it_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.key");
        let made = Secret::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let again = Secret::open(&path).unwrap();
        assert_eq!(made.mac("x", &[]), again.mac("x", &[]));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(Secret::open(&path), Err(OpenError::Secret { .. })));
    }
}
