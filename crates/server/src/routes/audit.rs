//! The audit trail: reading it, and whether it is what was written.

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Query, Who};
use agentwright_api::{AuditBreak, AuditEntry, AuditQuery, AuditReport, LIST_DEFAULT, Page, Time};
use agentwright_domain::principal::Role;
use agentwright_store::AuditRow;
use axum::Json;
use axum::extract::State;

pub(crate) async fn list(
    State(app): State<App>,
    who: Who,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Page<AuditEntry>>, ApiError> {
    who.require(Role::Admin)?;
    let limit = query.limit.unwrap_or(LIST_DEFAULT);
    let rows = app
        .store()
        .audit_page(&who.scope, query.before, limit)
        .await?;
    let full = u32::try_from(rows.len()) == Ok(limit);
    let next = rows.last().filter(|row| full && row.seq > 1);
    let next = next.map(|row| row.seq.to_string());
    let items = rows.into_iter().map(entry).collect();
    Ok(Json(Page { items, next }))
}

pub(crate) async fn verify(
    State(app): State<App>,
    who: Who,
) -> Result<Json<AuditReport>, ApiError> {
    who.require(Role::Admin)?;
    let verdict = app.store().verify_audit(&who.scope).await?;
    Ok(Json(AuditReport {
        intact: verdict.intact,
        broken: verdict.broken.map(|broken| AuditBreak {
            seq: broken.seq,
            why: broken.why.to_owned(),
        }),
    }))
}

fn entry(row: AuditRow) -> AuditEntry {
    AuditEntry {
        seq: row.seq,
        at: Time::from_ms(row.at_ms),
        by: row.actor.name,
        principal: row.actor.principal,
        action: row.change.action,
        target: row.change.target,
        before: row.change.before,
        after: row.change.after,
    }
}
