//! Notices on their way to people. Written in the commit that caused them, delivered by `engine`.
//!
//! A notice is leased while it is tried, so that of several processes one delivers it. A channel
//! that has it is noted at once: a crash repeats at most the try that was going on.

use crate::Store;
use crate::db::{Arg, Row, json_text};
use crate::error::Error;
use crate::scope::OrgScope;
use agentwright_domain::ids::{OrganizationId, RunId};
use agentwright_domain::run::Notice;

crate::db::statements! {
    DUE = "looking for due notices":
        "SELECT organization_id, id, run_id, topic, title, body, created_at_ms, status, tries,
           delivered_to, last_error FROM outbox
         WHERE status = 'waiting' AND not_before_ms <= CAST($1 AS BIGINT)
         ORDER BY not_before_ms, id LIMIT CAST($2 AS BIGINT)" lock " FOR UPDATE SKIP LOCKED";
    LEASE = "leasing a notice":
        "UPDATE outbox SET not_before_ms = CAST($3 AS BIGINT)
         WHERE organization_id = $1 AND id = $2 AND status = 'waiting'";
    SETTLE = "writing how a notice went":
        "UPDATE outbox SET status = $3, tries = $4, not_before_ms = $5, delivered_to = $6,
           last_error = CAST($7 AS TEXT)
         WHERE organization_id = $1 AND id = $2 AND status = 'waiting'";
    NOTICES = "reading notices":
        "SELECT organization_id, id, run_id, topic, title, body, created_at_ms, status, tries,
           delivered_to, last_error FROM outbox
         WHERE organization_id = $1 ORDER BY created_at_ms DESC, id DESC LIMIT CAST($2 AS BIGINT)";
    TELL = "writing a notice of no commit":
        "INSERT INTO outbox (organization_id, id, run_id, topic, title, body, created_at_ms, status, tries,
           not_before_ms, delivered_to)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'waiting', 0, $7, '[]')
         ON CONFLICT (organization_id, id) DO NOTHING";
    NEXT_DUE = "looking when the next notice is due":
        "SELECT not_before_ms FROM outbox WHERE status = 'waiting' ORDER BY not_before_ms LIMIT 1";
}

/// The most notices of one answer.
const NOTICES_MAX: u32 = 1_000;

/// How a notice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Not at every channel yet.
    Waiting,
    /// Every channel has it.
    Delivered,
    /// No channel was configured when it was due.
    Nobody,
    /// Given up.
    Parked,
}

impl Delivery {
    /// As stored.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Nobody => "nobody",
            Self::Parked => "parked",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Waiting, Self::Delivered, Self::Nobody, Self::Parked]
            .into_iter()
            .find(|delivery| delivery.word() == word)
    }
}

/// A notice and how far it got.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    /// Its id, the same for every try: receivers recognise repetitions by it.
    pub id: String,
    /// Whose.
    pub scope: OrgScope,
    /// The run that it is about, where it is about one.
    pub run: Option<RunId>,
    /// What is said.
    pub notice: Notice,
    /// When it was written, ms.
    pub created_at_ms: i64,
    /// Failed tries so far.
    pub tries: u32,
    /// The channels that have it already.
    pub delivered_to: Vec<String>,
    /// What the last failed try said.
    pub last_error: Option<String>,
    /// How it stands.
    pub delivery: Delivery,
}

/// A notice that no commit of a run writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Made from what it tells of: the same thing is told once, however often it is noticed.
    pub id: String,
    /// The run that it is about.
    pub run: Option<RunId>,
    /// What is said.
    pub notice: Notice,
}

impl Store {
    /// Puts a notice into the outbox; `false` when it was told already.
    pub async fn tell(&self, scope: &OrgScope, told: &Told) -> Result<bool, Error> {
        let now_ms = self.now_ms().await?;
        let args = [
            scope.arg(),
            Arg::Text(&told.id),
            Arg::OptText(told.run.as_ref().map(RunId::as_str)),
            Arg::Text(&told.notice.topic),
            Arg::Text(&told.notice.title),
            Arg::Text(&told.notice.body),
            Arg::Int(now_ms),
        ];
        self.within_of(scope, async |conn| {
            Ok(conn.execute(&TELL, &args).await? == 1)
        })
        .await
    }

    /// Takes due notices, oldest first; each is this caller's for `lease_ms`.
    pub async fn due_notices(&self, limit: u32, lease_ms: i64) -> Result<Vec<OutboxRow>, Error> {
        let now_ms = self.now_ms().await?;
        let limit = Arg::Int(i64::from(limit));
        let mut held = self.inner.db.reader().await?;
        let next = held.conn().fetch(&NEXT_DUE, &[]).await?;
        drop(held);
        let due = next
            .first()
            .map(|row| row.int("not_before_ms"))
            .transpose()?;
        if due.is_none_or(|due_ms| due_ms > now_ms) {
            return Ok(Vec::new());
        }
        self.within(async |conn| {
            let rows = conn.fetch(&DUE, &[Arg::Int(now_ms), limit]).await?;
            let due: Result<Vec<_>, _> = rows.iter().map(outbox_row).collect();
            let due = due?;
            for row in &due {
                let until = Arg::Int(now_ms + lease_ms);
                let args = [row.scope.arg(), Arg::Text(&row.id), until];
                conn.execute(&LEASE, &args).await?;
            }
            Ok(due)
        })
        .await
    }

    /// Writes how a try went: the row as it is now, and when it may be tried again.
    pub async fn settle_notice(&self, row: &OutboxRow, not_before_ms: i64) -> Result<(), Error> {
        let args = [
            row.scope.arg(),
            Arg::Text(&row.id),
            Arg::Text(row.delivery.word()),
            Arg::Int(i64::from(row.tries)),
            Arg::Int(not_before_ms),
            Arg::Text(&json_text(&row.delivered_to)?),
            Arg::OptText(row.last_error.as_deref()),
        ];
        let mut held = self.inner.db.writer().await?;
        held.conn().execute(&SETTLE, &args).await.map(|_| ())
    }

    /// The newest notices of an organization, for people.
    pub async fn notices(&self, scope: &OrgScope, limit: u32) -> Result<Vec<OutboxRow>, Error> {
        let limit = Arg::Int(i64::from(limit.min(NOTICES_MAX)));
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&NOTICES, &[scope.arg(), limit]).await?;
        rows.iter().map(outbox_row).collect()
    }
}

fn outbox_row(row: &Row) -> Result<OutboxRow, Error> {
    let organization = OrganizationId::new(row.text("organization_id")?);
    Ok(OutboxRow {
        id: row.text("id")?,
        scope: OrgScope::authenticated(organization),
        run: row.opt_text("run_id")?.map(RunId::new),
        notice: Notice {
            topic: row.text("topic")?,
            title: row.text("title")?,
            body: row.text("body")?,
        },
        created_at_ms: row.int("created_at_ms")?,
        tries: row.count("tries")?,
        delivered_to: row.json("delivered_to")?,
        last_error: row.opt_text("last_error")?,
        delivery: row.parse("status", Delivery::from_word)?,
    })
}
