//! One group of operations as a few statements over sets, inside an open transaction.
//!
//! The rows of all runs concerned are locked first, in sorted order; stale operations drop out
//! there. What is left is worked out in memory ([`Plan`]) and written set by set.

use super::plan::{Locked, Plan};
use super::records::{holds, replaces, write_record};
use super::{Commit, Key, Op, Submitted, claim};
use crate::audit::append_each;
use crate::db::{Arg, Conn, Statement, json_rows, json_text};
use crate::error::{CommitError, Error, Found, SubmitError};
use crate::secret::Secret;
use crate::watch::News;
use agentwright_domain::build;
use agentwright_domain::ids::{OrganizationId, RunId};
use agentwright_domain::run::{NewRun, Record};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

crate::db::statements! {
    LOCK = "locking runs":
        "WITH j AS MATERIALIZED (SELECT value ->> 'o' AS o, value ->> 'r' AS r FROM json_each(CAST($1 AS TEXT)))
         SELECT r.organization_id, r.id, r.epoch, r.event_seq
         FROM j CROSS JOIN runs AS r
         WHERE r.organization_id = j.o AND r.id = j.r
         ORDER BY r.organization_id, r.id" lock " FOR UPDATE OF r";
    INSERT_RUNS = "submitting runs":
        "WITH j AS MATERIALIZED (SELECT value FROM json_each(CAST($1 AS TEXT)))
         INSERT INTO runs (organization_id, id, kind, label, priority, status, stage, attempt, epoch,
           event_seq, definition, claims, worked_ms, attempt_started_at_ms, repeats, created_at_ms,
           progress_at_ms, state, input)
         SELECT j.value ->> 'o', j.value ->> 'r', j.value ->> 'kind', j.value ->> 'label',
           CAST(j.value ->> 'priority' AS BIGINT), 'ready', j.value ->> 'stage',
           CAST(j.value ->> 'attempt' AS BIGINT), 0, 1, CAST(j.value ->> 'definition' AS BIGINT), 0, 0,
           CAST($2 AS BIGINT), j.value ->> 'repeats', CAST($2 AS BIGINT), CAST($2 AS BIGINT),
           j.value ->> 'state', j.value ->> 'input'
         FROM j WHERE true
         ON CONFLICT DO NOTHING RETURNING id";
    FIND_RUN = "finding a run submitted before":
        "SELECT id FROM runs WHERE organization_id = $1 AND id = $2";
    FIND_LABEL = "finding the live run of a label":
        "SELECT id FROM runs
         WHERE organization_id = $1 AND kind = $2 AND label = $3 AND ended_at_ms IS NULL";
    UPDATE_RUNS = "writing runs":
        "WITH j AS MATERIALIZED (SELECT value ->> 'o' AS o, value ->> 'r' AS r, value FROM json_each(CAST($1 AS TEXT)))
         UPDATE runs SET status = j.value ->> 'status', stage = j.value ->> 'stage',
           attempt = CAST(j.value ->> 'attempt' AS BIGINT), epoch = runs.epoch + 1,
           event_seq = CAST(j.value ->> 'seq' AS BIGINT), claims = 0,
           worked_ms = CAST(j.value ->> 'worked' AS BIGINT),
           attempt_started_at_ms = CAST($2 AS BIGINT), progress_at_ms = CAST($2 AS BIGINT),
           ended_at_ms = CAST(j.value ->> 'ended' AS BIGINT), state = j.value ->> 'state'
         FROM j
         WHERE runs.organization_id = j.o AND runs.id = j.r
           AND runs.epoch = CAST(j.value ->> 'epoch' AS BIGINT)";
    TOUCH_RUNS = "writing progress":
        "WITH j AS MATERIALIZED (SELECT value ->> 'o' AS o, value ->> 'r' AS r, value FROM json_each(CAST($1 AS TEXT)))
         UPDATE runs SET event_seq = CAST(j.value ->> 'seq' AS BIGINT),
           progress_at_ms = CAST($2 AS BIGINT)
         FROM j
         WHERE runs.organization_id = j.o AND runs.id = j.r
           AND runs.epoch = CAST(j.value ->> 'epoch' AS BIGINT)";
    INSERT_STAGES = "writing stages":
        "WITH j AS MATERIALIZED (SELECT value FROM json_each(CAST($1 AS TEXT)))
         INSERT INTO stages (organization_id, run_id, epoch, stage, attempt, status, started_at_ms,
           ended_at_ms, summary)
         SELECT j.value ->> 'o', j.value ->> 'r', CAST(j.value ->> 'epoch' AS BIGINT),
           j.value ->> 'stage', CAST(j.value ->> 'attempt' AS BIGINT), j.value ->> 'status',
           CAST(j.value ->> 'started' AS BIGINT), CAST(j.value ->> 'ended' AS BIGINT),
           j.value ->> 'summary'
         FROM j";
    INSERT_EVENTS = "writing events":
        "WITH j AS MATERIALIZED (SELECT value FROM json_each(CAST($1 AS TEXT)))
         INSERT INTO events (organization_id, run_id, seq, at_ms, event, stage, message, data)
         SELECT j.value ->> 'o', j.value ->> 'r', CAST(j.value ->> 'seq' AS BIGINT),
           CAST($2 AS BIGINT), j.value ->> 'event', j.value ->> 'stage', j.value ->> 'message',
           j.value ->> 'data'
         FROM j";
    DELETE_DISPATCH = "taking runs out of the queue":
        "WITH j AS MATERIALIZED (SELECT value FROM json_each(CAST($1 AS TEXT)))
         DELETE FROM dispatch
         WHERE run_id IN (SELECT j.value ->> 'r' FROM j)";
    QUEUE = "putting runs into the queue":
        "WITH j AS MATERIALIZED (SELECT value FROM json_each(CAST($1 AS TEXT)))
         INSERT INTO dispatch (run_id, organization_id, kind, priority, created_at_ms, not_before_ms)
         SELECT j.value ->> 'r', j.value ->> 'o', j.value ->> 'kind',
           CAST(j.value ->> 'priority' AS BIGINT), CAST(j.value ->> 'created' AS BIGINT),
           CAST(j.value ->> 'not_before' AS BIGINT)
         FROM j WHERE true
         ON CONFLICT (run_id) DO UPDATE SET not_before_ms = excluded.not_before_ms, owner = NULL,
           lease_until_ms = NULL";
    INSERT_OUTBOX = "writing notices":
        "WITH j AS MATERIALIZED (SELECT value FROM json_each(CAST($1 AS TEXT)))
         INSERT INTO outbox (organization_id, id, run_id, topic, title, body, created_at_ms, status,
           tries, not_before_ms, delivered_to)
         SELECT j.value ->> 'o', j.value ->> 'id', j.value ->> 'r', j.value ->> 'topic',
           j.value ->> 'title', j.value ->> 'body', CAST($2 AS BIGINT), 'waiting', 0,
           CAST($2 AS BIGINT), '[]'
         FROM j";
    CLEAR_CURRENT = "ending what a deployment runs":
        "WITH j AS MATERIALIZED (SELECT value ->> 'o' AS o, value ->> 'r' AS r, value ->> 'name' AS name
           FROM json_each(CAST($1 AS TEXT)))
         UPDATE deployments SET current_run = NULL, revision = deployments.revision + 1,
           changed_at_ms = CAST($2 AS BIGINT)
         FROM j
         WHERE deployments.organization_id = j.o AND deployments.name = j.name
           AND deployments.current_run = j.r";
}

/// Writes a group; fills every slot. Answers the runs that have news, with their newest event.
pub(super) async fn apply(
    conn: &mut Conn<'_>,
    secret: &Secret,
    now_ms: i64,
    group: &mut [Op],
) -> Result<Vec<(RunId, News)>, Error> {
    let mut plan = Plan::new(now_ms);
    submit(conn, &mut plan, group).await?;
    let mut locked = lock(conn, group).await?;
    for op in group.iter_mut() {
        match op {
            Op::Commit(commit, slot) => {
                let done = match unexpected(conn, now_ms, &locked, commit).await? {
                    Some(error) => Err(error),
                    None => plan.commit(&mut locked, commit)?,
                };
                slot.set(done);
            }
            Op::Report(said, slot) => slot.set(plan.report(&mut locked, &said.0, &said.1)),
            Op::Audit(said, slot) => {
                plan.audits.push(said.clone());
                slot.set(Ok(()));
            }
            Op::Submit(..) | Op::Claim(..) | Op::Renew(..) | Op::Release(..) => {}
        }
    }
    let audits = std::mem::take(&mut plan.audits);
    let news = write(conn, plan).await?;
    // Claims come last: they see what this very group has put into the queue.
    for op in group {
        match op {
            Op::Claim(claim, slot) => slot.set(Ok(claim::claim(conn, now_ms, claim).await?)),
            Op::Renew(leases, slot) => slot.set(Ok(claim::renew(conn, now_ms, leases).await?)),
            Op::Release(leases, slot) => {
                claim::release(conn, leases).await?;
                slot.set(Ok(()));
            }
            Op::Submit(..) | Op::Commit(..) | Op::Report(..) | Op::Audit(..) => {}
        }
    }
    // The head of a trail is one row for a whole organization: it is locked last, for the shortest time.
    append_each(conn, secret, now_ms, &audits).await?;
    Ok(news)
}

/// What a commit expects and does not find. A stale one expects nothing: it is refused for that.
async fn unexpected(
    conn: &mut Conn<'_>,
    now_ms: i64,
    locked: &BTreeMap<Key, Locked>,
    commit: &Commit,
) -> Result<Option<CommitError>, Error> {
    let organization = &commit.run.organization;
    let key = (organization.clone(), commit.run.id.clone());
    let stale = locked
        .get(&key)
        .is_none_or(|at| at.epoch != commit.run.epoch);
    for record in &commit.to.records {
        if stale {
            break;
        }
        let (name, found) = match record {
            Record::Expects(expected) => {
                if holds(conn, now_ms, organization, expected).await? {
                    continue;
                }
                let found = match expected.deployed {
                    true => Found::Removed,
                    false => Found::Deployed,
                };
                (&expected.name, found)
            }
            Record::Replaces(replaced) => {
                if replaces(conn, organization, replaced).await? {
                    continue;
                }
                (&replaced.name, Found::Replaced)
            }
            _ => continue,
        };
        let name = name.clone();
        return Ok(Some(CommitError::Unexpected { name, found }));
    }
    Ok(None)
}

#[derive(Serialize)]
struct NewRunRow<'a> {
    o: &'a str,
    r: &'a str,
    kind: &'a str,
    label: &'a str,
    priority: i64,
    stage: &'a str,
    attempt: u32,
    definition: u32,
    repeats: Option<&'a str>,
    state: String,
    input: String,
}

/// Inserts the group's new runs and answers their slots.
async fn submit(conn: &mut Conn<'_>, plan: &mut Plan, group: &mut [Op]) -> Result<(), Error> {
    let mut rows = Vec::new();
    for op in group.iter() {
        let Op::Submit(asked, _) = op else { continue };
        let (new, _) = &**asked;
        rows.push(NewRunRow {
            o: new.organization.as_str(),
            r: new.id.as_str(),
            kind: new.state.kind().word(),
            label: new.label.as_str(),
            priority: new.priority,
            stage: new.state.stage(),
            attempt: new.state.attempt(),
            definition: build::DEFINITION,
            repeats: new.repeats.as_ref().map(RunId::as_str),
            state: json_text(&new.state)?,
            input: json_text(&new.input)?,
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    let args = [Arg::Text(&json_rows(&rows)?), Arg::Int(plan.now_ms)];
    let mut made = BTreeSet::new();
    for row in conn.fetch(&INSERT_RUNS, &args).await? {
        made.insert(row.text("id")?);
    }
    for op in group.iter_mut() {
        let Op::Submit(asked, slot) = op else {
            continue;
        };
        let (new, audit) = &**asked;
        let fresh = made.remove(new.id.as_str());
        if fresh {
            plan.submitted(new, audit.as_ref())?;
            let id = new.id.clone();
            let at_ms = Some(plan.now_ms);
            slot.set(Ok(Submitted { id, at_ms }));
        } else {
            slot.set(not_inserted(conn, new).await?);
        }
    }
    Ok(())
}

/// Why a run was not inserted: it is there already, or its label is in use.
async fn not_inserted(
    conn: &mut Conn<'_>,
    new: &NewRun,
) -> Result<Result<Submitted, SubmitError>, Error> {
    let organization = Arg::Text(new.organization.as_str());
    let same = [organization, Arg::Text(new.id.as_str())];
    if !conn.fetch(&FIND_RUN, &same).await?.is_empty() {
        let id = new.id.clone();
        return Ok(Ok(Submitted { id, at_ms: None }));
    }
    let kind = Arg::Text(new.state.kind().word());
    let args = [organization, kind, Arg::Text(new.label.as_str())];
    let holder = conn.fetch(&FIND_LABEL, &args).await?;
    let by = holder
        .first()
        .map(|row| row.text("id").map(RunId::new))
        .transpose()?;
    let label = new.label.clone();
    Ok(Err(SubmitError::LabelTaken { label, by }))
}

#[derive(Serialize)]
struct KeyRow<'a> {
    o: &'a str,
    r: &'a str,
}

/// Locks the rows of all runs that the group commits or reports on, in sorted order. Invariant: the
/// run row is locked before anything of the run is looked at or written.
async fn lock(conn: &mut Conn<'_>, group: &[Op]) -> Result<BTreeMap<Key, Locked>, Error> {
    let mut keys = BTreeSet::new();
    for op in group {
        match op {
            Op::Commit(commit, _) => keys.insert((&commit.run.organization, &commit.run.id)),
            Op::Report(said, _) => keys.insert((&said.0.organization, &said.0.id)),
            Op::Submit(..) | Op::Claim(..) | Op::Renew(..) | Op::Release(..) | Op::Audit(..) => {
                continue;
            }
        };
    }
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<_> = keys
        .iter()
        .map(|(organization, run)| KeyRow {
            o: organization.as_str(),
            r: run.as_str(),
        })
        .collect();
    let mut locked = BTreeMap::new();
    for row in conn.fetch(&LOCK, &[Arg::Text(&json_rows(&rows)?)]).await? {
        let organization = OrganizationId::new(row.text("organization_id")?);
        let key = (organization, RunId::new(row.text("id")?));
        let at = Locked {
            epoch: row.int("epoch")?,
            event_seq: row.int("event_seq")?,
        };
        locked.insert(key, at);
    }
    Ok(locked)
}

/// Writes what was planned, set by set.
async fn write(conn: &mut Conn<'_>, plan: Plan) -> Result<Vec<(RunId, News)>, Error> {
    let now_ms = plan.now_ms;
    let expected = plan.runs.len() as u64;
    let written = set(conn, &UPDATE_RUNS, &plan.runs, now_ms).await?;
    if written != expected {
        // Invariant: a commit changes exactly one run row.
        let detail = format!("{written} of {expected} run rows changed");
        let doing = "writing runs";
        return Err(Error::Refused { doing, detail });
    }
    let touched: Vec<_> = plan.touched.into_values().collect();
    set(conn, &TOUCH_RUNS, &touched, now_ms).await?;
    set(conn, &INSERT_STAGES, &plan.stages, now_ms).await?;
    set(conn, &INSERT_EVENTS, &plan.events, now_ms).await?;
    set(conn, &DELETE_DISPATCH, &plan.unqueued, now_ms).await?;
    set(conn, &QUEUE, &plan.queued, now_ms).await?;
    set(conn, &INSERT_OUTBOX, &plan.notices, now_ms).await?;
    for (key, attempt, record) in &plan.records {
        write_record(conn, now_ms, key, *attempt, record).await?;
    }
    set(conn, &CLEAR_CURRENT, &plan.ended_executions, now_ms).await?;
    Ok(plan.news.into_iter().collect())
}

/// Runs a statement over a set, unless it is empty.
async fn set<T: Serialize>(
    conn: &mut Conn<'_>,
    statement: &'static Statement,
    rows: &[T],
    now_ms: i64,
) -> Result<u64, Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let json = json_rows(rows)?;
    let args = [Arg::Text(&json), Arg::Int(now_ms)];
    let timed = statement.sqlite.contains("$2");
    conn.execute(statement, &args[..if timed { 2 } else { 1 }])
        .await
}
