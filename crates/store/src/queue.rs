//! The backlog `automation_ideas`, why its ideas started or did not, and the looks at it.
//!
//! Not here: what an item says and when it may start (crate `queue`): items and reasons are JSON to the store. A
//! write of the backlog names the revision that it was decided on, so that of two at once one is decided anew.

use crate::Store;
use crate::db::{Arg, Row, json_rows, json_text};
use crate::error::Error;
use crate::scope::OrgScope;
use agentwright_domain::ids::{OrganizationId, RunId, Slug};
use agentwright_domain::run::RunStatus;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Ideas of one organization.
pub const IDEAS_MAX: usize = 10_000;
/// Answers that are kept of one idea; the oldest go first.
pub const RECEIPTS_MAX: i64 = 50;
/// How long a message of a webhook is known: a month, far longer than any sender repeats it.
const MESSAGES_KEPT_MS: i64 = 30 * 24 * 3_600_000;
/// How long looks are kept: a month.
const LOOKS_KEPT_MS: i64 = 30 * 24 * 3_600_000;
/// Looks of one answer.
const LOOKS_SHOWN: i64 = 100;

crate::db::statements! {
    REVISION = "reading the backlog's revision":
        "SELECT revision FROM queue_state WHERE organization_id = $1";
    FIRST_REVISION = "beginning a backlog":
        "INSERT INTO queue_state (organization_id, revision) VALUES ($1, 0)
         ON CONFLICT (organization_id) DO NOTHING";
    ALONE = "taking the backlog for a look":
        "SELECT revision FROM queue_state WHERE organization_id = $1" lock " FOR UPDATE";
    NEXT_REVISION = "guarding a write of the backlog":
        "UPDATE queue_state SET revision = revision + 1 WHERE organization_id = $1 AND revision = $2";
    IDEAS = "reading the backlog":
        "SELECT label, id, name, task_description, type, infrastructure_requirement, status,
           builder_status, priority, position, item, agreed, base_dir, zone, approved_by, run_id,
           failures, failed_at_ms, created_at_ms
         FROM automation_ideas WHERE organization_id = $1 ORDER BY position, id";
    PUT = "writing ideas":
        "INSERT INTO automation_ideas (organization_id, label, id, name, task_description, type,
           infrastructure_requirement, status, builder_status, priority, position, item, agreed,
           base_dir, zone, approved_by, run_id, failures, failed_at_ms, created_at_ms)
         SELECT CAST($1 AS TEXT), j.value ->> 'label', CAST(j.value ->> 'id' AS BIGINT),
           j.value ->> 'name', j.value ->> 'task_description', j.value ->> 'type',
           j.value ->> 'infrastructure_requirement', j.value ->> 'status',
           j.value ->> 'builder_status', CAST(j.value ->> 'priority' AS BIGINT),
           CAST(j.value ->> 'position' AS BIGINT), j.value ->> 'item', j.value ->> 'agreed',
           j.value ->> 'base_dir', j.value ->> 'zone', j.value ->> 'approved_by',
           j.value ->> 'run', CAST(j.value ->> 'failures' AS BIGINT),
           CAST(j.value ->> 'failed_at_ms' AS BIGINT), CAST(j.value ->> 'created_at_ms' AS BIGINT)
         FROM json_each(CAST($2 AS TEXT)) AS j WHERE true
         ON CONFLICT (organization_id, label) DO UPDATE SET name = excluded.name,
           task_description = excluded.task_description, type = excluded.type,
           infrastructure_requirement = excluded.infrastructure_requirement,
           status = excluded.status, builder_status = excluded.builder_status,
           priority = excluded.priority, position = excluded.position, item = excluded.item,
           agreed = excluded.agreed, approved_by = excluded.approved_by, run_id = excluded.run_id,
           failures = excluded.failures, failed_at_ms = excluded.failed_at_ms";
    DROP = "removing ideas":
        "DELETE FROM automation_ideas WHERE organization_id = $1
         AND label IN (WITH j AS MATERIALIZED (SELECT value ->> 'label' AS label FROM json_each(CAST($2 AS TEXT))) SELECT j.label FROM j)";
    NEWEST = "reading the newest answers":
        "SELECT label, seq, decision, detail, first_at_ms, last_at_ms, looks
         FROM queue_receipts WHERE organization_id = $1 AND newest = 1";
    SAME = "counting an answer that is the same":
        "UPDATE queue_receipts SET last_at_ms = $3, looks = looks + 1
         WHERE organization_id = $1 AND newest = 1
           AND label IN (WITH j AS MATERIALIZED (SELECT value ->> 'label' AS label FROM json_each(CAST($2 AS TEXT))) SELECT j.label FROM j)";
    OLD = "closing answers":
        "UPDATE queue_receipts SET newest = 0
         WHERE organization_id = $1 AND newest = 1
           AND label IN (WITH j AS MATERIALIZED (SELECT value ->> 'label' AS label FROM json_each(CAST($2 AS TEXT))) SELECT j.label FROM j)";
    NEW = "writing answers":
        "INSERT INTO queue_receipts (organization_id, label, seq, newest, decision, detail,
           first_at_ms, last_at_ms, looks)
         SELECT CAST($1 AS TEXT), j.value ->> 'label', CAST(j.value ->> 'seq' AS BIGINT), 1,
           j.value ->> 'decision', j.value ->> 'detail', CAST($3 AS BIGINT), CAST($3 AS BIGINT), 1
         FROM json_each(CAST($2 AS TEXT)) AS j WHERE true";
    FORGET = "forgetting old answers":
        "DELETE FROM queue_receipts WHERE organization_id = $1 AND label = $2 AND seq <= $3";
    RECEIPTS = "reading the answers of an idea":
        "SELECT label, seq, decision, detail, first_at_ms, last_at_ms, looks
         FROM queue_receipts WHERE organization_id = $1 AND label = $2 ORDER BY seq DESC";
    BUILDING = "reading what of a backlog is being built":
        "SELECT i.label, i.builder_status, i.run_id, r.status FROM automation_ideas AS i
         LEFT JOIN runs AS r ON r.organization_id = i.organization_id AND r.id = i.run_id
         WHERE i.organization_id = $1 AND i.builder_status IN ('queued', 'building', 'awaiting_approval')";
    PARKED = "reading until when builds wait for a quota":
        "SELECT min(d.not_before_ms) AS until_ms FROM dispatch AS d
         JOIN runs AS r ON r.id = d.run_id AND r.organization_id = $1
         WHERE r.kind = 'build' AND r.status = 'ready' AND d.not_before_ms > $2
           AND 'parked' = (SELECT s.status FROM stages AS s
             WHERE s.organization_id = r.organization_id AND s.run_id = r.id ORDER BY s.epoch DESC LIMIT 1)";
    KNOWN_MESSAGE = "looking for a message of a webhook":
        "SELECT label FROM hook_messages WHERE organization_id = $1 AND hook = $2 AND message = $3";
    KEEP_MESSAGE = "noting a message of a webhook":
        "INSERT INTO hook_messages (organization_id, hook, message, label, at_ms) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (organization_id, hook, message) DO NOTHING";
    OLD_MESSAGES = "forgetting old messages of webhooks":
        "DELETE FROM hook_messages WHERE organization_id = $1 AND at_ms < $2";
    LOOK = "noting a look at the backlog":
        "INSERT INTO heartbeats (organization_id, at_ms, cause, items, started)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (organization_id, at_ms) DO UPDATE SET cause = excluded.cause,
           items = excluded.items, started = heartbeats.started + excluded.started";
    LOOKS_OVER = "forgetting old looks":
        "DELETE FROM heartbeats WHERE organization_id = $1 AND at_ms < $2";
    BACKLOGS = "reading who has a backlog":
        "SELECT organization_id FROM queue_state ORDER BY organization_id";
    LOOKS = "reading looks at the backlog":
        "SELECT at_ms, cause, items, started FROM heartbeats WHERE organization_id = $1
         ORDER BY at_ms DESC LIMIT CAST($2 AS BIGINT)";
}

/// An idea of the backlog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Idea {
    /// Unique in the organization.
    pub label: Slug,
    /// A number, in the order in which they came.
    pub id: i64,
    /// As a person wrote it.
    pub name: String,
    /// What is wanted.
    pub task_description: String,
    /// `script`, `claude_agent`, `service`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it needs to reach.
    pub infrastructure_requirement: Option<String>,
    /// `ready_to_build` … `deployed` (requirements A1).
    pub status: String,
    /// `not_started`, `building`, `failed`, `deployed`, … (requirements A1).
    pub builder_status: String,
    /// Lower goes first.
    pub priority: Option<i64>,
    /// Its place in the queue.
    pub position: i64,
    /// The item, as the crate `queue` has it.
    #[serde(with = "as_text")]
    pub item: Value,
    /// What the queue's file said of it when both last agreed; none where it was never there.
    #[serde(with = "as_text_or_none")]
    pub agreed: Option<Value>,
    /// The directory that relative paths are meant from; absolute.
    pub base_dir: String,
    /// The person's time zone.
    pub zone: String,
    /// Who said yes to its start.
    pub approved_by: Option<String>,
    /// Its last build.
    pub run: Option<RunId>,
    /// Builds that failed in a row.
    pub failures: u32,
    /// When the last one did, ms.
    pub failed_at_ms: Option<i64>,
    /// When it came, ms.
    pub created_at_ms: i64,
}

/// JSON inside of JSON: the column holds text.
mod as_text {
    use super::Value;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &Value, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        serde_json::from_str(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// The same where there may be none.
mod as_text_or_none {
    use super::Value;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Value>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.serialize_str(&value.to_string()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Value>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| serde_json::from_str(&text).map_err(D::Error::custom))
            .transpose()
    }
}

/// A backlog as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Backlog {
    /// Named by the next write.
    pub revision: i64,
    /// In the queue's order.
    pub ideas: Vec<Idea>,
}

/// Why an idea started or did not.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// Which idea.
    pub label: String,
    /// `start`, or the reason's name.
    pub decision: String,
    /// The reason, as the crate `queue` has it.
    pub detail: Value,
    /// When this was first the answer, ms.
    pub first_at_ms: i64,
    /// When it last was, ms.
    pub last_at_ms: i64,
    /// How many looks came to it.
    pub looks: i64,
}

/// An answer to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Which idea.
    pub label: Slug,
    /// `start`, or the reason's name.
    pub decision: &'static str,
    /// The reason.
    pub detail: Value,
}

/// A look at the backlog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// When, ms.
    pub at_ms: i64,
    /// What it was for.
    pub cause: String,
    /// Ideas that it answered for.
    pub items: u32,
    /// Ideas that it started.
    pub started: u32,
}

/// An idea that is being built, and how its run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeingBuilt {
    /// Which idea.
    pub label: Slug,
    /// What the backlog says of it.
    pub builder_status: String,
    /// Its build.
    pub run: Option<RunId>,
    /// How that stands; `None` where it was kept and never submitted.
    pub status: Option<RunStatus>,
}

#[derive(Serialize)]
struct Labelled<'a> {
    label: &'a str,
}

#[derive(Serialize)]
struct Written<'a> {
    label: &'a str,
    seq: i64,
    decision: &'a str,
    detail: String,
}

impl Store {
    /// The backlog of an organization.
    pub async fn backlog(&self, scope: &OrgScope) -> Result<Backlog, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        // The revision first: ideas that are newer than it fail the next write, and it is decided anew.
        let revision = held.conn().fetch(&REVISION, &[scope.arg()]).await?;
        let revision = revision
            .first()
            .map(|row| row.int("revision"))
            .transpose()?;
        let rows = held.conn().fetch(&IDEAS, &[scope.arg()]).await?;
        let ideas: Result<Vec<Idea>, Error> = rows.iter().map(idea).collect();
        Ok(Backlog {
            revision: revision.unwrap_or(0),
            ideas: ideas?,
        })
    }

    /// The revision alone: what a look every second can afford, however long the backlog is.
    pub async fn backlog_revision(&self, scope: &OrgScope) -> Result<i64, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&REVISION, &[scope.arg()]).await?;
        let revision = rows.first().map(|row| row.int("revision")).transpose()?;
        Ok(revision.unwrap_or(0))
    }

    /// The ideas that are being built.
    pub async fn being_built(&self, scope: &OrgScope) -> Result<Vec<BeingBuilt>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&BUILDING, &[scope.arg()]).await?;
        let built = |row: &Row| {
            let status = row.opt_text("status")?;
            Ok(BeingBuilt {
                label: row.parse("label", |text| Slug::parse(text).ok())?,
                builder_status: row.text("builder_status")?,
                run: row.opt_text("run_id")?.map(RunId::new),
                status: status.as_deref().and_then(RunStatus::from_word),
            })
        };
        rows.iter().map(built).collect()
    }

    /// Until when builds of an organization wait for a model's quota, ms; the soonest.
    pub async fn quota_until(&self, scope: &OrgScope) -> Result<Option<i64>, Error> {
        let now_ms = self.now_ms().await?;
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Int(now_ms)];
        let rows = held.conn().fetch(&PARKED, &args).await?;
        rows.first().map_or(Ok(None), |row| row.opt_int("until_ms"))
    }

    /// The item that a message of a webhook became, where it came before.
    pub async fn hook_message(
        &self,
        scope: &OrgScope,
        hook: &str,
        message: &str,
    ) -> Result<Option<Slug>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(hook), Arg::Text(message)];
        let rows = held.conn().fetch(&KNOWN_MESSAGE, &args).await?;
        let label = |row: &Row| row.parse("label", |text| Slug::parse(text).ok());
        rows.first().map(label).transpose()
    }

    /// Notes what a message of a webhook became.
    pub async fn keep_hook_message(
        &self,
        scope: &OrgScope,
        hook: &str,
        message: &str,
        label: &Slug,
    ) -> Result<(), Error> {
        let now_ms = self.now_ms().await?;
        self.within_of(scope, async |conn| {
            let old = [scope.arg(), Arg::Int(now_ms - MESSAGES_KEPT_MS)];
            conn.execute(&OLD_MESSAGES, &old).await?;
            let args = [
                scope.arg(),
                Arg::Text(hook),
                Arg::Text(message),
                Arg::Text(label.as_str()),
                Arg::Int(now_ms),
            ];
            conn.execute(&KEEP_MESSAGE, &args).await.map(|_| ())
        })
        .await
    }

    /// Writes ideas that are new or changed and removes others, all or nothing. `false`, and nothing written, when
    /// the backlog is no longer at that revision.
    pub async fn write_backlog(
        &self,
        scope: &OrgScope,
        revision: i64,
        put: &[Idea],
        removed: &[Slug],
    ) -> Result<bool, Error> {
        let (put, dropped) = (json_rows(put)?, labels(removed.iter())?);
        self.within(async |conn| {
            conn.execute(&FIRST_REVISION, &[scope.arg()]).await?;
            let guard = [scope.arg(), Arg::Int(revision)];
            if conn.execute(&NEXT_REVISION, &guard).await? != 1 {
                return Ok(false);
            }
            conn.execute(&DROP, &[scope.arg(), Arg::Text(&dropped)])
                .await?;
            conn.execute(&PUT, &[scope.arg(), Arg::Text(&put)]).await?;
            Ok(true)
        })
        .await
    }

    /// Writes one look: what it answered for every idea, and the look itself. An answer that is the same as before
    /// is counted, a new one begins a new row.
    pub async fn write_look(
        &self,
        scope: &OrgScope,
        look: &Look,
        answers: &[Answer],
    ) -> Result<(), Error> {
        let at_ms = Arg::Int(look.at_ms);
        self.within(async |conn| {
            // Looks of two processes, or one by hand beside the heartbeat's, number their answers one after the other.
            conn.execute(&FIRST_REVISION, &[scope.arg()]).await?;
            conn.fetch(&ALONE, &[scope.arg()]).await?;
            let rows = conn.fetch(&NEWEST, &[scope.arg()]).await?;
            let mut known = std::collections::HashMap::with_capacity(rows.len());
            for row in &rows {
                let (receipt, seq) = receipt(row)?;
                known.insert(receipt.label.clone(), (receipt, seq));
            }
            let (mut same, mut new) = (Vec::new(), Vec::new());
            for answer in answers {
                match known.get(answer.label.as_str()) {
                    Some((old, _))
                        if old.decision == answer.decision && old.detail == answer.detail =>
                    {
                        same.push(&answer.label);
                    }
                    old => new.push(Written {
                        label: answer.label.as_str(),
                        seq: old.map_or(0, |(_, seq)| *seq) + 1,
                        decision: answer.decision,
                        detail: answer.detail.to_string(),
                    }),
                }
            }
            let same = labels(same.into_iter())?;
            conn.execute(&SAME, &[scope.arg(), Arg::Text(&same), at_ms])
                .await?;
            let written = json_rows(&new)?;
            conn.execute(&OLD, &[scope.arg(), Arg::Text(&written)])
                .await?;
            conn.execute(&NEW, &[scope.arg(), Arg::Text(&written), at_ms])
                .await?;
            for one in new.iter().filter(|one| one.seq > RECEIPTS_MAX) {
                let old = [
                    scope.arg(),
                    Arg::Text(one.label),
                    Arg::Int(one.seq - RECEIPTS_MAX),
                ];
                conn.execute(&FORGET, &old).await?;
            }
            let counts = [
                scope.arg(),
                at_ms,
                Arg::Text(&look.cause),
                Arg::Int(i64::from(look.items)),
                Arg::Int(i64::from(look.started)),
            ];
            conn.execute(&LOOK, &counts).await?;
            let over = [scope.arg(), Arg::Int(look.at_ms - LOOKS_KEPT_MS)];
            conn.execute(&LOOKS_OVER, &over).await.map(|_| ())
        })
        .await
    }

    /// The answers for one idea, newest first.
    pub async fn receipts(&self, scope: &OrgScope, label: &Slug) -> Result<Vec<Receipt>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let args = [scope.arg(), Arg::Text(label.as_str())];
        let rows = held.conn().fetch(&RECEIPTS, &args).await?;
        rows.iter()
            .map(|row| receipt(row).map(|(receipt, _)| receipt))
            .collect()
    }

    /// The newest answer for every idea that was ever asked about.
    pub async fn newest_receipts(&self, scope: &OrgScope) -> Result<Vec<Receipt>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held.conn().fetch(&NEWEST, &[scope.arg()]).await?;
        rows.iter()
            .map(|row| receipt(row).map(|(receipt, _)| receipt))
            .collect()
    }

    /// Everybody who has or had a backlog, for the heartbeat: like a lease, it mints the scopes.
    pub async fn backlogs(&self) -> Result<Vec<OrgScope>, Error> {
        let mut held = self.inner.db.reader().await?;
        let rows = held.conn().fetch(&BACKLOGS, &[]).await?;
        let scope = |row: &Row| {
            let organization = OrganizationId::new(row.text("organization_id")?);
            Ok(OrgScope::authenticated(organization))
        };
        rows.iter().map(scope).collect()
    }

    /// The last looks, newest first.
    pub async fn looks(&self, scope: &OrgScope) -> Result<Vec<Look>, Error> {
        let mut held = self.inner.db.reader_of(scope).await?;
        let rows = held
            .conn()
            .fetch(&LOOKS, &[scope.arg(), Arg::Int(LOOKS_SHOWN)])
            .await?;
        let look = |row: &Row| {
            Ok(Look {
                at_ms: row.int("at_ms")?,
                cause: row.text("cause")?,
                items: row.count("items")?,
                started: row.count("started")?,
            })
        };
        rows.iter().map(look).collect()
    }
}

fn labels<'a>(labels: impl Iterator<Item = &'a Slug>) -> Result<String, Error> {
    let rows: Vec<Labelled<'_>> = labels
        .map(|label| Labelled {
            label: label.as_str(),
        })
        .collect();
    json_text(&rows)
}

fn idea(row: &Row) -> Result<Idea, Error> {
    let agreed = row.opt_text("agreed")?;
    let agreed = agreed.map(|text| serde_json::from_str(&text)).transpose();
    Ok(Idea {
        label: row.parse("label", |text| Slug::parse(text).ok())?,
        id: row.int("id")?,
        name: row.text("name")?,
        task_description: row.text("task_description")?,
        kind: row.text("type")?,
        infrastructure_requirement: row.opt_text("infrastructure_requirement")?,
        status: row.text("status")?,
        builder_status: row.text("builder_status")?,
        priority: row.opt_int("priority")?,
        position: row.int("position")?,
        item: row.json("item")?,
        agreed: agreed.map_err(|error| Error::corrupt("agreed", &error))?,
        base_dir: row.text("base_dir")?,
        zone: row.text("zone")?,
        approved_by: row.opt_text("approved_by")?,
        run: row.opt_text("run_id")?.map(RunId::new),
        failures: row.count("failures")?,
        failed_at_ms: row.opt_int("failed_at_ms")?,
        created_at_ms: row.int("created_at_ms")?,
    })
}

fn receipt(row: &Row) -> Result<(Receipt, i64), Error> {
    let receipt = Receipt {
        label: row.text("label")?,
        decision: row.text("decision")?,
        detail: row.json("detail")?,
        first_at_ms: row.int("first_at_ms")?,
        last_at_ms: row.int("last_at_ms")?,
        looks: row.int("looks")?,
    };
    Ok((receipt, row.int("seq")?))
}
