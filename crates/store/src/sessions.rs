//! Browser sessions and the login codes that begin them.
//!
//! Both are random texts that are shown once; kept is an HMAC. A code holds for ten minutes and for one login.
//! A session ends by itself, with its key, or by logging out.

use crate::Store;
use crate::audit::{Actor, Change, append};
use crate::db::{Arg, Conn, Row};
use crate::error::Error;
use crate::keys::ApiKey;
use crate::scope::OrgScope;
use crate::secret::random_hex;
use agentwright_domain::ids::OrganizationId;
use agentwright_domain::principal::Role;

/// How long a login code holds.
pub const LOGIN_CODE_MS: i64 = 10 * 60_000;
/// How long a session lasts.
pub const SESSION_MS: i64 = 7 * 24 * 3_600_000;
/// The most sessions of one organization; the oldest go.
pub const SESSIONS_MAX: i64 = 1_000;
const CODE_BYTES: usize = 16;
const TOKEN_BYTES: usize = 32;

crate::db::statements! {
    FORGET_CODES = "forgetting old login codes":
        "DELETE FROM login_codes WHERE organization_id = $1 AND expires_at_ms <= $2";
    ADD_CODE = "keeping a login code":
        "INSERT INTO login_codes (organization_id, id, name, role, expires_at_ms) VALUES ($1, $2, $3, $4, $5)";
    USE_CODE = "using up a login code":
        "DELETE FROM login_codes WHERE id = $1
         RETURNING organization_id, name, role, expires_at_ms";
    FORGET_SESSIONS = "forgetting old sessions":
        "DELETE FROM sessions WHERE organization_id = $1 AND (expires_at_ms <= $2 OR id IN (
           SELECT id FROM sessions WHERE organization_id = $1 ORDER BY created_at_ms DESC, id LIMIT 1000000 OFFSET $3))";
    ADD_SESSION = "beginning a session":
        "INSERT INTO sessions (organization_id, id, name, role, key_id, created_at_ms, expires_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    SESSION = "finding a session":
        "SELECT organization_id, id, name, role, key_id, created_at_ms, expires_at_ms FROM sessions
         WHERE id = $1 AND expires_at_ms > $2";
    SESSIONS = "listing an organization's sessions":
        "SELECT organization_id, id, name, role, key_id, created_at_ms, expires_at_ms FROM sessions
         WHERE organization_id = $1 AND expires_at_ms > $2 ORDER BY created_at_ms DESC, id";
    END_SESSION = "ending a session":
        "DELETE FROM sessions WHERE organization_id = $1 AND id = $2";
}

/// A session as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// An HMAC of its token.
    pub id: String,
    /// Whose rows it may see.
    pub organization: OrganizationId,
    /// The person's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The key that it logged in with; none with a login code.
    pub key: Option<String>,
    /// Since when.
    pub created_at_ms: i64,
    /// Until when.
    pub expires_at_ms: i64,
}

impl Store {
    /// A code for one login as that person with that role, within [`LOGIN_CODE_MS`].
    pub async fn add_login_code(
        &self,
        scope: &OrgScope,
        name: &str,
        role: Role,
        by: &Actor,
    ) -> Result<String, Error> {
        let code = random_hex(CODE_BYTES)?;
        let id = self.inner.secret.mac("login code", &[&code]);
        let now_ms = self.now_ms().await?;
        self.within(async |conn| {
            conn.execute(&FORGET_CODES, &[scope.arg(), Arg::Int(now_ms)])
                .await?;
            let args = [
                scope.arg(),
                Arg::Text(&id),
                Arg::Text(name),
                Arg::Text(role.word()),
                Arg::Int(now_ms + LOGIN_CODE_MS),
            ];
            conn.execute(&ADD_CODE, &args).await?;
            let change = change("login_code.create", &format!("{name} ({role})"));
            append(conn, &self.inner.secret, (scope, now_ms), by, &change).await
        })
        .await?;
        Ok(code)
    }

    /// Uses a code up and begins its session: the session and its token. `None` when the code is unknown, used
    /// or too old; of two that use it at once one gets it.
    pub async fn redeem_login_code(&self, code: &str) -> Result<Option<(Session, String)>, Error> {
        let id = self.inner.secret.mac("login code", &[code]);
        let token = random_hex(TOKEN_BYTES)?;
        let now_ms = self.now_ms().await?;
        let session = self
            .within(async |conn| {
                let rows = conn.fetch(&USE_CODE, &[Arg::Text(&id)]).await?;
                let Some(row) = rows.first() else {
                    return Ok(None);
                };
                if row.int("expires_at_ms")? <= now_ms {
                    return Ok(None);
                }
                let session = Session {
                    id: self.session_id(&token),
                    organization: row.text("organization_id").map(OrganizationId::new)?,
                    name: row.text("name")?,
                    role: row.parse("role", Role::from_word)?,
                    key: None,
                    created_at_ms: now_ms,
                    expires_at_ms: now_ms + SESSION_MS,
                };
                self.begin_session(conn, &session).await?;
                Ok(Some(session))
            })
            .await?;
        Ok(session.map(|session| (session, token)))
    }

    /// Begins a session of whoever showed a person's key; it ends with the key at the latest.
    pub async fn add_session(&self, key: &ApiKey) -> Result<(Session, String), Error> {
        let token = random_hex(TOKEN_BYTES)?;
        let now_ms = self.now_ms().await?;
        let longest = now_ms + SESSION_MS;
        let session = Session {
            id: self.session_id(&token),
            organization: key.organization.clone(),
            name: key.name.clone(),
            role: key.role,
            key: Some(key.id.clone()),
            created_at_ms: now_ms,
            expires_at_ms: key
                .expires_at_ms
                .map_or(longest, |until| until.min(longest)),
        };
        self.within(async |conn| self.begin_session(conn, &session).await)
            .await?;
        Ok((session, token))
    }

    async fn begin_session(&self, conn: &mut Conn<'_>, new: &Session) -> Result<(), Error> {
        let scope = OrgScope::authenticated(new.organization.clone());
        let args = [
            scope.arg(),
            Arg::Int(new.created_at_ms),
            Arg::Int(SESSIONS_MAX - 1),
        ];
        conn.execute(&FORGET_SESSIONS, &args).await?;
        let args = [
            scope.arg(),
            Arg::Text(&new.id),
            Arg::Text(&new.name),
            Arg::Text(new.role.word()),
            Arg::OptText(new.key.as_deref()),
            Arg::Int(new.created_at_ms),
            Arg::Int(new.expires_at_ms),
        ];
        conn.execute(&ADD_SESSION, &args).await?;
        let change = change("session.begin", &new.id);
        let at = (&scope, new.created_at_ms);
        append(conn, &self.inner.secret, at, &new.actor(), &change).await
    }

    /// The session with that token, while it lasts.
    pub async fn session(&self, token: &str) -> Result<Option<Session>, Error> {
        self.session_by_id(&self.session_id(token)).await
    }

    /// The session with that id, while it lasts.
    pub async fn session_by_id(&self, id: &str) -> Result<Option<Session>, Error> {
        let args = [Arg::Text(id), Arg::Int(self.now_ms().await?)];
        let mut held = self.inner.db.reader().await?;
        let rows = held.conn().fetch(&SESSION, &args).await?;
        rows.first().map(session).transpose()
    }

    /// An organization's sessions, newest first.
    pub async fn sessions(&self, scope: &OrgScope) -> Result<Vec<Session>, Error> {
        let now = Arg::Int(self.now_ms().await?);
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&SESSIONS, &[scope.arg(), now]).await?;
        rows.iter().map(session).collect()
    }

    /// Ends a session. `false` when the organization has none with that id.
    pub async fn end_session(&self, scope: &OrgScope, id: &str, by: &Actor) -> Result<bool, Error> {
        let now_ms = self.now_ms().await?;
        self.within(async |conn| {
            let ended = conn
                .execute(&END_SESSION, &[scope.arg(), Arg::Text(id)])
                .await?;
            if ended == 0 {
                return Ok(false);
            }
            let change = change("session.end", id);
            append(conn, &self.inner.secret, (scope, now_ms), by, &change).await?;
            Ok(true)
        })
        .await
    }

    /// What a session's changing requests must show: bound to its token, never stored.
    pub fn csrf_token(&self, session: &Session) -> String {
        self.inner.secret.mac("csrf", &[&session.id])
    }

    fn session_id(&self, token: &str) -> String {
        self.inner.secret.mac("session", &[token])
    }
}

impl Session {
    fn actor(&self) -> Actor {
        Actor {
            name: self.name.clone(),
            principal: format!("session:{}", self.id),
        }
    }
}

fn change(action: &str, target: &str) -> Change {
    Change {
        action: action.to_owned(),
        target: target.to_owned(),
        before: None,
        after: None,
    }
}

fn session(row: &Row) -> Result<Session, Error> {
    Ok(Session {
        id: row.text("id")?,
        organization: row.text("organization_id").map(OrganizationId::new)?,
        name: row.text("name")?,
        role: row.parse("role", Role::from_word)?,
        key: row.opt_text("key_id")?,
        created_at_ms: row.int("created_at_ms")?,
        expires_at_ms: row.int("expires_at_ms")?,
    })
}
