//! Leases: claiming, renewing, giving back.
//!
//! Limits are counted under the lock of the `claim_gate` row. The guard of the sub-select is
//! repeated where the row is written, so that two claimers never get the same run.

use super::{Claim, KindLimit, Leases};
use crate::db::{Arg, Conn, Row, json_rows};
use crate::error::Error;
use agentwright_domain::ids::{OrganizationId, RunId, Slug};
use agentwright_domain::run::{Run, RunKind, RunState, RunStatus};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Pages looked through for one kind, when organizations at their limit fill the front.
const PAGES_MAX: usize = 8;
/// Rows of a page beyond what is wanted.
const PAGE_EXTRA: u32 = 8;

crate::db::statements! {
    GATE = "waiting for the gate of claims":
        "SELECT id FROM claim_gate WHERE id = 1" lock " FOR UPDATE";
    LIVE = "counting what is live":
        "SELECT kind, organization_id, count(*) AS live FROM dispatch
         WHERE owner IS NOT NULL AND lease_until_ms > CAST($1 AS BIGINT)
         GROUP BY kind, organization_id";
    READY = "finding what is ready":
        "SELECT d.run_id, d.organization_id FROM dispatch AS d
         CROSS JOIN runs AS r
         WHERE d.kind = CAST($1 AS TEXT) AND d.not_before_ms <= CAST($2 AS BIGINT)
           AND (d.owner IS NULL OR d.lease_until_ms <= CAST($2 AS BIGINT))
           AND d.organization_id NOT IN (SELECT j.value ->> 'id' FROM json_each(CAST($3 AS TEXT)) AS j)
           AND d.run_id NOT IN (SELECT j.value ->> 'id' FROM json_each(CAST($4 AS TEXT)) AS j)
           AND r.organization_id = d.organization_id AND r.id = d.run_id
         ORDER BY d.priority, d.created_at_ms, d.run_id
         LIMIT CAST($5 AS BIGINT)" lock " FOR UPDATE OF r SKIP LOCKED";
    TAKE = "taking leases":
        "UPDATE dispatch SET owner = CAST($2 AS TEXT), lease_until_ms = CAST($3 AS BIGINT)
         FROM json_each(CAST($1 AS TEXT)) AS j
         WHERE dispatch.run_id = j.value ->> 'id' AND dispatch.not_before_ms <= CAST($4 AS BIGINT)
           AND (dispatch.owner IS NULL OR dispatch.lease_until_ms <= CAST($4 AS BIGINT))
         RETURNING run_id, organization_id";
    START = "starting claimed runs":
        "WITH j AS MATERIALIZED (SELECT value ->> 'organization' AS o, value ->> 'id' AS r
           FROM json_each(CAST($1 AS TEXT)))
         UPDATE runs SET status = 'leased', epoch = runs.epoch + 1, claims = runs.claims + 1,
           started_at_ms = COALESCE(runs.started_at_ms, CAST($2 AS BIGINT)),
           attempt_started_at_ms = CAST($2 AS BIGINT), progress_at_ms = CAST($2 AS BIGINT)
         FROM j WHERE runs.organization_id = j.o AND runs.id = j.r
         RETURNING organization_id, id, kind, label, priority, status, epoch, definition, claims,
           worked_ms, attempt_started_at_ms, repeats, created_at_ms, started_at_ms, progress_at_ms,
           ended_at_ms, state, input";
    RENEW = "renewing leases":
        "UPDATE dispatch SET lease_until_ms = CAST($2 AS BIGINT)
         WHERE owner = CAST($3 AS TEXT) AND run_id IN (
           SELECT d.run_id FROM dispatch AS d
           WHERE d.run_id IN (SELECT j.value ->> 'id' FROM json_each(CAST($1 AS TEXT)) AS j)
           ORDER BY d.run_id" lock " FOR UPDATE OF d SKIP LOCKED" ")";
    HELD = "looking which leases are held":
        "SELECT d.run_id FROM dispatch AS d
         WHERE d.owner = CAST($2 AS TEXT)
           AND d.run_id IN (SELECT j.value ->> 'id' FROM json_each(CAST($1 AS TEXT)) AS j)";
    UNCOUNT = "not counting a claim that was given back":
        "UPDATE runs SET status = 'ready', epoch = runs.epoch + 1,
           claims = CASE WHEN runs.claims > 0 THEN runs.claims - 1 ELSE 0 END
         FROM dispatch AS d
         WHERE runs.organization_id = d.organization_id AND runs.id = d.run_id
           AND runs.status = 'leased' AND d.owner = CAST($2 AS TEXT) AND d.run_id = CAST($1 AS TEXT)";
    GIVE_BACK = "giving a run back to the queue":
        "UPDATE dispatch SET owner = NULL, lease_until_ms = NULL
         WHERE owner = CAST($2 AS TEXT) AND run_id = CAST($1 AS TEXT)";
}

#[derive(Serialize)]
struct Id<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<&'a str>,
}

fn ids<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<String, Error> {
    let rows: Vec<_> = texts
        .into_iter()
        .map(|id| Id {
            id,
            organization: None,
        })
        .collect();
    json_rows(&rows)
}

/// Takes ready runs of each kind.
pub(super) async fn claim(
    conn: &mut Conn<'_>,
    now_ms: i64,
    claim: &Claim,
) -> Result<Vec<Run>, Error> {
    conn.fetch(&GATE, &[]).await?;
    let mut live = BTreeMap::new();
    for row in conn.fetch(&LIVE, &[Arg::Int(now_ms)]).await? {
        live.insert(
            (row.text("kind")?, row.text("organization_id")?),
            row.count("live")?,
        );
    }
    let mut chosen = Vec::new();
    for limit in &claim.kinds {
        chosen.extend(choose(conn, now_ms, limit, &live, &claim.active).await?);
    }
    take(conn, now_ms, claim, &chosen).await
}

/// The runs of one kind that fit under its limits, best first.
async fn choose(
    conn: &mut Conn<'_>,
    now_ms: i64,
    limit: &KindLimit,
    live: &BTreeMap<(String, String), u32>,
    active: &[RunId],
) -> Result<Vec<String>, Error> {
    let kind = limit.kind.word();
    let mut held: BTreeMap<String, u32> = live
        .iter()
        .filter(|((of, _), _)| of == kind)
        .map(|((_, organization), count)| (organization.clone(), *count))
        .collect();
    let all: u32 = held.values().sum();
    let mut free = limit.free.min(limit.global.saturating_sub(all));
    let mut chosen: Vec<String> = Vec::new();
    let mut seen: BTreeSet<String> = active.iter().map(|id| id.0.clone()).collect();
    for _ in 0..PAGES_MAX {
        if free == 0 {
            break;
        }
        let full = held.iter().filter(|(_, n)| **n >= limit.per_organization);
        let full = ids(full.map(|(organization, _)| organization.as_str()))?;
        let not = ids(seen.iter().map(String::as_str))?;
        let page = free.saturating_add(PAGE_EXTRA);
        let args = [
            Arg::Text(kind),
            Arg::Int(now_ms),
            Arg::Text(&full),
            Arg::Text(&not),
            Arg::Int(i64::from(page)),
        ];
        let rows = conn.fetch(&READY, &args).await?;
        for row in &rows {
            let (run, organization) = (row.text("run_id")?, row.text("organization_id")?);
            let count = held.entry(organization).or_insert(0);
            if free > 0 && *count < limit.per_organization {
                *count += 1;
                free -= 1;
                seen.insert(run.clone());
                chosen.push(run);
            }
        }
        if rows.len() < page as usize {
            break;
        }
    }
    Ok(chosen)
}

/// Takes the leases and starts the runs.
async fn take(
    conn: &mut Conn<'_>,
    now_ms: i64,
    claim: &Claim,
    chosen: &[String],
) -> Result<Vec<Run>, Error> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = ids(chosen.iter().map(String::as_str))?;
    let args = [
        Arg::Text(&wanted),
        Arg::Text(&claim.owner),
        Arg::Int(now_ms + claim.lease_ms),
        Arg::Int(now_ms),
    ];
    let mut taken = Vec::new();
    for row in conn.fetch(&TAKE, &args).await? {
        taken.push((row.text("run_id")?, row.text("organization_id")?));
    }
    let rows: Vec<_> = taken
        .iter()
        .map(|(id, organization)| Id {
            id,
            organization: Some(organization),
        })
        .collect();
    let args = [Arg::Text(&json_rows(&rows)?), Arg::Int(now_ms)];
    let mut runs = Vec::new();
    for row in conn.fetch(&START, &args).await? {
        runs.push(run_of(&row)?);
    }
    let place = |run: &Run| chosen.iter().position(|id| *id == run.id.0);
    runs.sort_by_key(place);
    Ok(runs)
}

/// Renews exactly these leases, where they are the owner's; answers which are.
pub(super) async fn renew(
    conn: &mut Conn<'_>,
    now_ms: i64,
    leases: &Leases,
) -> Result<Vec<RunId>, Error> {
    let wanted = ids(leases.runs.iter().map(RunId::as_str))?;
    let until = Arg::Int(now_ms + leases.lease_ms);
    let owner = Arg::Text(&leases.owner);
    conn.execute(&RENEW, &[Arg::Text(&wanted), until, owner])
        .await?;
    let rows = conn.fetch(&HELD, &[Arg::Text(&wanted), owner]).await?;
    rows.iter()
        .map(|row| row.text("run_id").map(RunId::new))
        .collect()
}

/// Gives runs back; the next claim counts as this one.
pub(super) async fn release(conn: &mut Conn<'_>, leases: &Leases) -> Result<(), Error> {
    let mut runs = leases.runs.clone();
    runs.sort();
    for run in &runs {
        let args = [Arg::Text(run.as_str()), Arg::Text(&leases.owner)];
        conn.execute(&UNCOUNT, &args).await?;
        conn.execute(&GIVE_BACK, &args).await?;
    }
    Ok(())
}

/// Reads a whole run.
pub(crate) fn run_of(row: &Row) -> Result<Run, Error> {
    let state: RunState = row.json("state")?;
    let kind = row.parse("kind", |text| {
        [RunKind::Build, RunKind::Execution]
            .into_iter()
            .find(|kind| kind.word() == text)
    })?;
    Ok(Run {
        organization: OrganizationId::new(row.text("organization_id")?),
        id: RunId::new(row.text("id")?),
        kind,
        label: row.parse("label", |text| Slug::parse(text).ok())?,
        priority: row.int("priority")?,
        status: row.parse("status", RunStatus::from_word)?,
        state,
        input: row.json("input")?,
        epoch: row.int("epoch")?,
        definition: row.count("definition")?,
        claims: row.count("claims")?,
        worked_ms: row.int("worked_ms")?,
        attempt_started_at_ms: row.int("attempt_started_at_ms")?,
        repeats: row.opt_text("repeats")?.map(RunId::new),
        created_at_ms: row.int("created_at_ms")?,
        started_at_ms: row.opt_int("started_at_ms")?,
        progress_at_ms: row.int("progress_at_ms")?,
        ended_at_ms: row.opt_int("ended_at_ms")?,
    })
}
