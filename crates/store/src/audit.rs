//! The audit trail: who changed what, one chain for each organization.
//!
//! Each row carries an HMAC over itself and the HMAC before it, and the head says where the chain ends: a row
//! that is changed, taken out, put in or cut off the end is found by [`Store::verify_audit`]. What this crate
//! changes itself is written in the same transaction ([`append`], and [`Audit`] with a run); the rest comes
//! through [`Store::audit`].

use crate::Store;
use crate::db::{Arg, Conn, Row, json_rows};
use crate::error::Error;
use crate::group::Op;
use crate::scope::OrgScope;
use crate::secret::{Secret, same};
use agentwright_domain::ids::OrganizationId;
use serde::Serialize;

/// The longest page of the trail.
pub const AUDIT_PAGE_MAX: u32 = 500;
/// The longest text of one column, in characters; what is longer is cut.
const TEXT_MAX: usize = 300;

crate::db::statements! {
    MAKE_HEAD = "beginning an audit trail":
        "INSERT INTO audit_heads (organization_id, seq, last_mac, mac) VALUES ($1, 0, '', '')
         ON CONFLICT (organization_id) DO NOTHING";
    LOCK_HEAD = "taking the head of an audit trail":
        "SELECT seq, last_mac FROM audit_heads WHERE organization_id = $1" lock " FOR UPDATE";
    APPEND = "writing an audit row":
        "WITH j AS MATERIALIZED (SELECT value FROM json_each(CAST($2 AS TEXT)))
         INSERT INTO audit (organization_id, seq, at_ms, actor, principal, action, target, before_digest, after_digest, mac)
         SELECT CAST($1 AS TEXT), CAST(j.value ->> 'seq' AS BIGINT), CAST($3 AS BIGINT), j.value ->> 'actor',
           j.value ->> 'principal', j.value ->> 'action', j.value ->> 'target', j.value ->> 'before',
           j.value ->> 'after', j.value ->> 'mac'
         FROM j";
    MOVE_HEAD = "moving the head of an audit trail":
        "UPDATE audit_heads SET seq = $2, last_mac = $3, mac = $4 WHERE organization_id = $1";
    HEAD = "reading the head of an audit trail":
        "SELECT seq, last_mac, mac FROM audit_heads WHERE organization_id = $1";
    AFTER = "reading an audit trail in order":
        "SELECT seq, at_ms, actor, principal, action, target, before_digest, after_digest, mac FROM audit
         WHERE organization_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
    BEFORE = "reading an audit trail from its end":
        "SELECT seq, at_ms, actor, principal, action, target, before_digest, after_digest, mac FROM audit
         WHERE organization_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";
}

/// Who changed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Their name.
    pub name: String,
    /// What they showed: `owner`, `person_key:…`, `session:…`.
    pub principal: String,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What was done: `key.create`, `build.decide`, …
    pub action: String,
    /// To what.
    pub target: String,
    /// The digest of what it was; none where it is new or nothing of it is told.
    pub before: Option<String>,
    /// The digest of what it became; none where it is gone.
    pub after: Option<String>,
}

/// Who changes a run, and how: the row about it is written in the commit of the change, with the digests of
/// the run's state before and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Who.
    pub actor: Actor,
    /// What was done, as in [`Change::action`].
    pub action: String,
}

/// One row of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// 1, 2, 3, … for each organization.
    pub seq: i64,
    /// When, by the store's clock.
    pub at_ms: i64,
    /// Who.
    pub actor: Actor,
    /// What.
    pub change: Change,
    mac: String,
}

/// What [`Store::verify_audit`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditVerdict {
    /// How many rows hold, from the first one on.
    pub intact: i64,
    /// The first one that does not.
    pub broken: Option<BrokenRow>,
}

/// Where a trail is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRow {
    /// The row's number.
    pub seq: i64,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A change that waits to be written.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) organization: OrganizationId,
    pub(crate) actor: Actor,
    pub(crate) change: Change,
}

impl Store {
    /// Writes one change, with whatever else is waiting to be written. Durable when it returns.
    pub async fn audit(&self, scope: &OrgScope, actor: Actor, change: Change) -> Result<(), Error> {
        let said = Said {
            organization: scope.organization().clone(),
            actor,
            change,
        };
        let committers = &self.inner.committers;
        committers.ask(None, |slot| Op::Audit(said, slot)).await?
    }

    /// A page of the trail, newest first: what is before `before`, or the newest.
    pub async fn audit_page(
        &self,
        scope: &OrgScope,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, Error> {
        let args = [
            scope.arg(),
            Arg::Int(before.unwrap_or(i64::MAX)),
            Arg::Int(i64::from(limit.min(AUDIT_PAGE_MAX))),
        ];
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&BEFORE, &args).await?;
        rows.iter().map(row).collect()
    }

    /// Reads the whole trail and says whether it is what was written.
    pub async fn verify_audit(&self, scope: &OrgScope) -> Result<AuditVerdict, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let heads = held.conn().fetch(&HEAD, &[scope.arg()]).await?;
        let head = match heads.first() {
            Some(row) => (row.int("seq")?, row.text("last_mac")?, row.text("mac")?),
            None => (0, String::new(), String::new()),
        };
        let (mut seq, mut last) = (0, String::new());
        let broken = |intact, why| AuditVerdict {
            intact,
            broken: Some(BrokenRow {
                seq: intact + 1,
                why,
            }),
        };
        loop {
            let args = [
                scope.arg(),
                Arg::Int(seq),
                Arg::Int(i64::from(AUDIT_PAGE_MAX)),
            ];
            let rows = held.conn().fetch(&AFTER, &args).await?;
            if rows.is_empty() {
                break;
            }
            for kept in &rows {
                let kept = row(kept)?;
                if kept.seq != seq + 1 {
                    return Ok(broken(seq, "it is missing"));
                }
                let mac = mac_of(&self.inner.secret, scope.organization(), &last, &kept);
                if !same(mac.as_bytes(), kept.mac.as_bytes()) {
                    return Ok(broken(seq, "it is not as it was written"));
                }
                // Rows after the head that was read first were written meanwhile.
                (seq, last) = (kept.seq, kept.mac);
                if seq == head.0 && last != head.1 {
                    return Ok(broken(seq - 1, "it is not the one that the head names"));
                }
            }
        }
        if seq < head.0 {
            return Ok(broken(seq, "it is missing"));
        }
        let ours = head.0 == 0
            || head.2 == head_mac(&self.inner.secret, scope.organization(), head.0, &head.1);
        if !ours || (head.0 == 0 && seq > 0) {
            return Ok(broken(
                head.0,
                "the head does not name where the trail ends",
            ));
        }
        Ok(AuditVerdict {
            intact: seq,
            broken: None,
        })
    }
}

/// Writes one row inside the caller's transaction.
pub(crate) async fn append(
    conn: &mut Conn<'_>,
    secret: &Secret,
    at: (&OrgScope, i64),
    actor: &Actor,
    change: &Change,
) -> Result<(), Error> {
    let (scope, at_ms) = at;
    append_all(
        conn,
        secret,
        (scope.organization(), at_ms),
        &[(actor, change)],
    )
    .await
}

/// Writes rows of any organizations inside the caller's transaction, in their order.
pub(crate) async fn append_each(
    conn: &mut Conn<'_>,
    secret: &Secret,
    at_ms: i64,
    said: &[Said],
) -> Result<(), Error> {
    // Heads are locked in one order everywhere, so that two processes do not wait for each other.
    let mut order: Vec<_> = said.iter().collect();
    order.sort_by(|a, b| a.organization.cmp(&b.organization));
    for of_one in order.chunk_by(|a, b| a.organization == b.organization) {
        let changes: Vec<_> = of_one.iter().map(|it| (&it.actor, &it.change)).collect();
        append_all(conn, secret, (&of_one[0].organization, at_ms), &changes).await?;
    }
    Ok(())
}

#[derive(Serialize)]
struct AuditSet {
    seq: i64,
    actor: String,
    principal: String,
    action: String,
    target: String,
    before: Option<String>,
    after: Option<String>,
    mac: String,
}

/// Writes rows of one organization, in this order, inside the caller's transaction.
async fn append_all(
    conn: &mut Conn<'_>,
    secret: &Secret,
    (organization, at_ms): (&OrganizationId, i64),
    changes: &[(&Actor, &Change)],
) -> Result<(), Error> {
    let of = Arg::Text(organization.as_str());
    let mut heads = conn.fetch(&LOCK_HEAD, &[of]).await?;
    if heads.is_empty() {
        conn.execute(&MAKE_HEAD, &[of]).await?;
        heads = conn.fetch(&LOCK_HEAD, &[of]).await?;
    }
    let head = heads
        .first()
        .ok_or_else(|| Error::corrupt("seq", &"an audit trail has no head"))?;
    let (mut seq, mut last) = (head.int("seq")?, head.text("last_mac")?);
    let mut rows = Vec::with_capacity(changes.len());
    for (actor, change) in changes {
        seq += 1;
        let mut new = AuditRow {
            seq,
            at_ms,
            actor: Actor {
                name: short(&actor.name),
                principal: short(&actor.principal),
            },
            change: Change {
                action: short(&change.action),
                target: short(&change.target),
                before: change.before.clone(),
                after: change.after.clone(),
            },
            mac: String::new(),
        };
        new.mac = mac_of(secret, organization, &last, &new);
        last.clone_from(&new.mac);
        rows.push(AuditSet {
            seq,
            actor: new.actor.name,
            principal: new.actor.principal,
            action: new.change.action,
            target: new.change.target,
            before: new.change.before,
            after: new.change.after,
            mac: new.mac,
        });
    }
    let args = [of, Arg::Text(&json_rows(&rows)?), Arg::Int(at_ms)];
    conn.execute(&APPEND, &args).await?;
    let head = head_mac(secret, organization, seq, &last);
    let args = [of, Arg::Int(seq), Arg::Text(&last), Arg::Text(&head)];
    conn.execute(&MOVE_HEAD, &args).await?;
    Ok(())
}

/// Cut, and without U+0000, which is not stored as it is: the HMAC must be of what is stored.
fn short(text: &str) -> String {
    text.chars()
        .take(TEXT_MAX)
        .map(|c| if c == '\0' { '\u{fffd}' } else { c })
        .collect()
}

fn mac_of(secret: &Secret, organization: &OrganizationId, last: &str, row: &AuditRow) -> String {
    let absent = |text: &Option<String>| {
        text.clone()
            .map_or_else(|| "-".to_owned(), |it| format!("+{it}"))
    };
    secret.mac(
        "audit",
        &[
            last,
            organization.as_str(),
            &row.seq.to_string(),
            &row.at_ms.to_string(),
            &row.actor.name,
            &row.actor.principal,
            &row.change.action,
            &row.change.target,
            &absent(&row.change.before),
            &absent(&row.change.after),
        ],
    )
}

fn head_mac(secret: &Secret, organization: &OrganizationId, seq: i64, last: &str) -> String {
    secret.mac(
        "audit head",
        &[organization.as_str(), &seq.to_string(), last],
    )
}

fn row(row: &Row) -> Result<AuditRow, Error> {
    Ok(AuditRow {
        seq: row.int("seq")?,
        at_ms: row.int("at_ms")?,
        actor: Actor {
            name: row.text("actor")?,
            principal: row.text("principal")?,
        },
        change: Change {
            action: row.text("action")?,
            target: row.text("target")?,
            before: row.opt_text("before_digest")?,
            after: row.opt_text("after_digest")?,
        },
        mac: row.text("mac")?,
    })
}
