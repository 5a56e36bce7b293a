//! API keys: made once, shown once, kept as an HMAC.
//!
//! A key is `aw_`, 16 hexadecimal digits that are its id, 48 that are secret, and 8 that are the beginning of
//! the SHA-256 of all that stands before them: a mistyped key is told from a wrong one without a look at the
//! table, and a scanner finds one in a repository (`aw_[0-9a-f]{72}`). Start at [`Store::add_key`] and
//! [`Store::check_key`].

use crate::Store;
use crate::audit::{Actor, Change, append};
use crate::db::{Arg, Conn, Row};
use crate::error::Error;
use crate::scope::OrgScope;
use crate::secret::{hex, random_hex, same};
use agentwright_domain::ids::OrganizationId;
use agentwright_domain::principal::{KeyKind, Role};
use sha2::{Digest as _, Sha256};

/// Stands before every key.
pub const KEY_PREFIX: &str = "aw_";
/// The most keys of one organization, revoked ones not counted.
pub const KEYS_MAX: u32 = 1_000;
/// The most organizations that one service key acts for.
pub const KEY_ORGANIZATIONS_MAX: usize = 1_000;
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 24;
const CHECKSUM_BYTES: usize = 4;

crate::db::statements! {
    LIVE = "counting an organization's keys":
        "SELECT COUNT(*) AS live FROM api_keys WHERE organization_id = $1 AND revoked_at_ms IS NULL";
    EVER = "counting the keys of all organizations":
        "SELECT COUNT(*) AS ever,
           COUNT(CASE WHEN revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > $1) THEN 1 END) AS live
         FROM api_keys";
    ADD = "adding a key":
        "INSERT INTO api_keys (organization_id, id, name, kind, role, mac, created_at_ms, created_by, expires_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    CONNECT = "letting a service key act for organizations":
        "INSERT INTO key_organizations (organization_id, key_id)
         SELECT o.id, $2 FROM organizations AS o
         JOIN json_each(CAST($1 AS TEXT)) AS j ON o.id = j.value ->> 'id'
         WHERE true ON CONFLICT (organization_id, key_id) DO NOTHING";
    CONNECTED = "reading which organizations a service key acts for":
        "SELECT organization_id FROM key_organizations WHERE key_id = $1 ORDER BY organization_id";
    BY_ID = "finding the key that was shown":
        "SELECT organization_id, id, name, kind, role, mac, created_at_ms, created_by, expires_at_ms, revoked_at_ms
         FROM api_keys WHERE id = $1";
    OWN = "reading a key":
        "SELECT organization_id, id, name, kind, role, mac, created_at_ms, created_by, expires_at_ms, revoked_at_ms
         FROM api_keys WHERE organization_id = $1 AND id = $2";
    LIST = "listing an organization's keys":
        "SELECT organization_id, id, name, kind, role, mac, created_at_ms, created_by, expires_at_ms, revoked_at_ms
         FROM api_keys WHERE organization_id = $1 ORDER BY created_at_ms DESC, id";
    REVOKE = "revoking a key":
        "UPDATE api_keys SET revoked_at_ms = $3, revoked_by = $4
         WHERE organization_id = $1 AND id = $2 AND revoked_at_ms IS NULL";
    END_SESSIONS = "ending the sessions of a revoked key":
        "DELETE FROM sessions WHERE key_id = $1";
}

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// What it is for, in words.
    pub name: String,
    /// Whose it is.
    pub kind: KeyKind,
    /// What it may do; at most [`KeyKind::role_max`].
    pub role: Role,
    /// Service keys only: which organizations it may act for.
    pub organizations: Vec<OrganizationId>,
    /// From when on it no longer holds.
    pub expires_at_ms: Option<i64>,
}

/// A key as it is kept: everything but what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The organization that it belongs to.
    pub organization: OrganizationId,
    /// The first digits after the prefix.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Whose it is.
    pub kind: KeyKind,
    /// What it may do.
    pub role: Role,
    /// Service keys only: which organizations it may act for.
    pub organizations: Vec<OrganizationId>,
    /// When it was made.
    pub created_at_ms: i64,
    /// By whom.
    pub created_by: String,
    /// From when on it no longer holds.
    pub expires_at_ms: Option<i64>,
    /// Since when it no longer holds.
    pub revoked_at_ms: Option<i64>,
    mac: String,
}

/// Why no key is made.
#[derive(Debug, thiserror::Error)]
pub enum NewKeyError {
    /// Such a key may not have that role.
    #[error("a key of the kind {} has at most the role {}: only people approve", .0.word(), .0.role_max())]
    Role(KeyKind),
    /// There are too many.
    #[error("this organization has {KEYS_MAX} keys: revoke some that are no longer used")]
    TooMany,
    /// One of the organizations does not exist.
    #[error("there is no organization {0:?}: see agentwright organization list")]
    NoOrganization(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// What a shown text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyCheck {
    /// No key of ours: wrong form, or the checksum does not fit.
    Malformed,
    /// Nobody's, or not with this secret.
    Unknown,
    /// It was right, and its time is over.
    Expired,
    /// It was right, and was revoked.
    Revoked,
    /// It holds.
    Valid(Box<ApiKey>),
}

impl Store {
    /// Makes a key. The text comes back once and is not kept.
    pub async fn add_key(
        &self,
        scope: &OrgScope,
        new: &NewKey,
        by: &Actor,
    ) -> Result<(ApiKey, String), NewKeyError> {
        if new.role > new.kind.role_max() {
            return Err(NewKeyError::Role(new.kind));
        }
        let id = random_hex(ID_BYTES)?;
        let text = sealed(&format!("{KEY_PREFIX}{id}{}", random_hex(SECRET_BYTES)?));
        let key = ApiKey {
            organization: scope.organization().clone(),
            id,
            name: new.name.clone(),
            kind: new.kind,
            role: new.role,
            organizations: new.organizations.clone(),
            created_at_ms: self.now_ms().await?,
            created_by: by.name.clone(),
            expires_at_ms: new.expires_at_ms,
            revoked_at_ms: None,
            mac: self.inner.secret.mac("key", &[&text]),
        };
        let mut held = self.inner.db.writer().await?;
        held.begin().await?;
        let added = self.insert(&mut held.conn(), scope, &key, by).await;
        match added {
            Ok(()) => held.end(Ok(())).await?,
            Err(error) => {
                held.undo().await;
                return Err(error);
            }
        }
        Ok((key, text))
    }

    async fn insert(
        &self,
        conn: &mut Conn<'_>,
        scope: &OrgScope,
        key: &ApiKey,
        by: &Actor,
    ) -> Result<(), NewKeyError> {
        let live = conn.fetch(&LIVE, &[scope.arg()]).await?;
        let live = live.first().map_or(Ok(0), |row| row.count("live"))?;
        if live >= KEYS_MAX {
            return Err(NewKeyError::TooMany);
        }
        let args = [
            scope.arg(),
            Arg::Text(&key.id),
            Arg::Text(&key.name),
            Arg::Text(key.kind.word()),
            Arg::Text(key.role.word()),
            Arg::Text(&key.mac),
            Arg::Int(key.created_at_ms),
            Arg::Text(&key.created_by),
            Arg::OptInt(key.expires_at_ms),
        ];
        conn.execute(&ADD, &args).await?;
        let rows: Vec<_> = key
            .organizations
            .iter()
            .map(|id| serde_json::json!({ "id": id }))
            .collect();
        let list = crate::db::json_rows(&rows)?;
        let args = [Arg::Text(&list), Arg::Text(&key.id)];
        conn.execute(&CONNECT, &args).await?;
        let connected = connected(conn, &key.id).await?;
        if let Some(missing) = key.organizations.iter().find(|id| !connected.contains(id)) {
            return Err(NewKeyError::NoOrganization(missing.as_str().to_owned()));
        }
        let change = Change {
            action: "key.create".to_owned(),
            target: key.id.clone(),
            before: None,
            after: Some(key.digest()),
        };
        append(
            conn,
            &self.inner.secret,
            (scope, key.created_at_ms),
            by,
            &change,
        )
        .await?;
        Ok(())
    }

    /// What somebody showed. Reads the table at each call: what is revoked no longer holds at once, in every
    /// process.
    pub async fn check_key(&self, text: &str) -> Result<KeyCheck, Error> {
        let Some(id) = id_of(text) else {
            return Ok(KeyCheck::Malformed);
        };
        let mut held = self.inner.db.reader().await?;
        let rows = held.conn().fetch(&BY_ID, &[Arg::Text(id)]).await?;
        let Some(mut found) = rows.first().map(key).transpose()? else {
            return Ok(KeyCheck::Unknown);
        };
        let shown = self.inner.secret.mac("key", &[text]);
        if !same(shown.as_bytes(), found.mac.as_bytes()) {
            return Ok(KeyCheck::Unknown);
        }
        if found.revoked_at_ms.is_some() {
            return Ok(KeyCheck::Revoked);
        }
        if let Some(until) = found.expires_at_ms
            && until <= self.now_ms().await?
        {
            return Ok(KeyCheck::Expired);
        }
        if found.kind == KeyKind::Service {
            found.organizations = connected(&mut held.conn(), &found.id).await?;
        }
        Ok(KeyCheck::Valid(Box::new(found)))
    }

    /// Whether a key that held once still does, for the organization.
    pub async fn key_stands(&self, id: &str, scope: &OrgScope) -> Result<bool, Error> {
        let mut held = self.inner.db.reader().await?;
        let rows = held.conn().fetch(&BY_ID, &[Arg::Text(id)]).await?;
        let Some(found) = rows.first().map(key).transpose()? else {
            return Ok(false);
        };
        let now_ms = self.now_ms().await?;
        let live =
            found.revoked_at_ms.is_none() && found.expires_at_ms.is_none_or(|until| until > now_ms);
        Ok(live
            && match found.kind {
                KeyKind::Person | KeyKind::Agent => found.organization == *scope.organization(),
                KeyKind::Service => connected(&mut held.conn(), id)
                    .await?
                    .contains(scope.organization()),
            })
    }

    /// An organization's keys, newest first, those that no longer hold too.
    pub async fn keys(&self, scope: &OrgScope) -> Result<Vec<ApiKey>, Error> {
        // What a service key is connected to are rows of those organizations.
        let mut held = self.inner.db.reader().await?;
        let rows = held.conn().fetch(&LIST, &[scope.arg()]).await?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut found = key(row)?;
            if found.kind == KeyKind::Service {
                found.organizations = connected(&mut held.conn(), &found.id).await?;
            }
            keys.push(found);
        }
        Ok(keys)
    }

    /// Revokes a key and ends the sessions that logged in with it. `None` when the organization has no such
    /// key; a second time changes nothing.
    pub async fn revoke_key(
        &self,
        scope: &OrgScope,
        id: &str,
        by: &Actor,
    ) -> Result<Option<ApiKey>, Error> {
        let now_ms = self.now_ms().await?;
        self.within(async |conn| {
            let own = [scope.arg(), Arg::Text(id)];
            let before = conn.fetch(&OWN, &own).await?;
            let Some(before) = before.first().map(key).transpose()? else {
                return Ok(None);
            };
            let args = [
                scope.arg(),
                Arg::Text(id),
                Arg::Int(now_ms),
                Arg::Text(&by.name),
            ];
            if conn.execute(&REVOKE, &args).await? == 0 {
                return Ok(Some(before));
            }
            conn.execute(&END_SESSIONS, &[Arg::Text(id)]).await?;
            let after = ApiKey {
                revoked_at_ms: Some(now_ms),
                ..before.clone()
            };
            let change = Change {
                action: "key.revoke".to_owned(),
                target: id.to_owned(),
                before: Some(before.digest()),
                after: Some(after.digest()),
            };
            append(conn, &self.inner.secret, (scope, now_ms), by, &change).await?;
            Ok(Some(after))
        })
        .await
    }

    /// How many keys were ever made, and how many of them hold.
    pub async fn count_keys(&self) -> Result<(u32, u32), Error> {
        let now = Arg::Int(self.now_ms().await?);
        let mut held = self.inner.db.reader().await?;
        let rows = held.conn().fetch(&EVER, &[now]).await?;
        match rows.first() {
            Some(row) => Ok((row.count("ever")?, row.count("live")?)),
            None => Ok((0, 0)),
        }
    }
}

impl ApiKey {
    /// Of everything that is kept of it, without what proves it.
    fn digest(&self) -> String {
        let text = format!(
            "{:?}",
            (
                &self.organization,
                &self.id,
                &self.name,
                self.kind,
                self.role,
                self.expires_at_ms,
                self.revoked_at_ms,
            )
        );
        format!("sha256:{}", hex(&Sha256::digest(text.as_bytes())))
    }
}

async fn connected(conn: &mut Conn<'_>, id: &str) -> Result<Vec<OrganizationId>, Error> {
    let rows = conn.fetch(&CONNECTED, &[Arg::Text(id)]).await?;
    rows.iter()
        .map(|row| row.text("organization_id").map(OrganizationId::new))
        .collect()
}

fn key(row: &Row) -> Result<ApiKey, Error> {
    Ok(ApiKey {
        organization: row.text("organization_id").map(OrganizationId::new)?,
        id: row.text("id")?,
        name: row.text("name")?,
        kind: row.parse("kind", KeyKind::from_word)?,
        role: row.parse("role", Role::from_word)?,
        organizations: Vec::new(),
        created_at_ms: row.int("created_at_ms")?,
        created_by: row.text("created_by")?,
        expires_at_ms: row.opt_int("expires_at_ms")?,
        revoked_at_ms: row.opt_int("revoked_at_ms")?,
        mac: row.text("mac")?,
    })
}

/// With its checksum.
fn sealed(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    format!("{text}{}", hex(&digest[..CHECKSUM_BYTES]))
}

/// The id in a text that has the form of a key and the right checksum.
fn id_of(text: &str) -> Option<&str> {
    let digits = text.strip_prefix(KEY_PREFIX)?;
    let length = (ID_BYTES + SECRET_BYTES + CHECKSUM_BYTES) * 2;
    let shaped = digits.len() == length
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !shaped || sealed(&text[..text.len() - CHECKSUM_BYTES * 2]) != text {
        return None;
    }
    digits.get(..ID_BYTES * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_is_told_without_a_look_at_the_table() {
        let body = format!("{KEY_PREFIX}{}", "0123456789abcdef".repeat(4));
        let key = sealed(&body);
        assert_eq!(id_of(&key), Some("0123456789abcdef"));
        let mut wrong = vec![body, key.to_uppercase(), format!("{key}0"), String::new()];
        wrong.push(key.replacen("01", "10", 1));
        wrong.push(key.replacen("aw_", "aw-", 1));
        wrong.push(format!("é{}", &key[2..]));
        for text in wrong {
            assert_eq!(id_of(&text), None, "{text}");
        }
    }
}
